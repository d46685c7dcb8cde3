/// Adam (Kingma and Ba 2015), in the form at the end of section 2: the bias corrections are in the step size.
///
/// `m += (1 − β₁)(g − m); v += (1 − β₂)(g² − v); w −= learningRate·√(1 − β₂ᵗ)/(1 − β₁ᵗ)·m/(√v + ε)` (Keras's rule).
/// Cost per step: 7 vectors moved.
public struct Adam: Optimizer, Equatable {
  /// The step size, 0.001 by default.
  public var learningRate: Double
  /// Decay of the first moment, 0.9 by default.
  public var beta1: Double
  /// Decay of the second moment, 0.999 by default.
  public var beta2: Double
  /// Keeps the quotient finite, 1e-7 by default.
  public var epsilon: Double
  /// Whether ε is added to the corrected root √(v/(1 − β₂ᵗ)), as PyTorch does with 1e-8, or to √v, as Keras; false.
  public var correctsEpsilon: Bool

  /// Adam with Keras's defaults.
  public init(
    learningRate: Double = 0.001, beta1: Double = 0.9, beta2: Double = 0.999, epsilon: Double = 1e-7,
    correctsEpsilon: Bool = false
  ) {
    self.learningRate = learningRate
    self.beta1 = beta1
    self.beta2 = beta2
    self.epsilon = epsilon
    self.correctsEpsilon = correctsEpsilon
  }

  /// The update that the compiled step applies.
  public var updateRule: UpdateRule {
    correctsEpsilon
      ? .adamCorrectingEpsilon(
        learningRate: learningRate, beta1: beta1, beta2: beta2, epsilon: epsilon, weightDecay: 0)
      : .adam(learningRate: learningRate, beta1: beta1, beta2: beta2, epsilon: epsilon, weightDecay: 0)
  }
}

/// Adam with decoupled weight decay (Loshchilov and Hutter 2019).
///
/// As `Adam`, with `w −= learningRate·weightDecay·w` before the update. Every trainable parameter decays, as in Keras.
public struct AdamW: Optimizer, Equatable {
  /// The step size, 0.001 by default.
  public var learningRate: Double
  /// The decay, 0.004 by default.
  public var weightDecay: Double
  /// Decay of the first moment, 0.9 by default.
  public var beta1: Double
  /// Decay of the second moment, 0.999 by default.
  public var beta2: Double
  /// Keeps the quotient finite, 1e-7 by default.
  public var epsilon: Double
  /// Whether ε is added to the corrected root √(v/(1 − β₂ᵗ)), as PyTorch does with 1e-8, or to √v, as Keras; false.
  public var correctsEpsilon: Bool

  /// AdamW with Keras's defaults.
  public init(
    learningRate: Double = 0.001, weightDecay: Double = 0.004, beta1: Double = 0.9, beta2: Double = 0.999,
    epsilon: Double = 1e-7, correctsEpsilon: Bool = false
  ) {
    self.learningRate = learningRate
    self.weightDecay = weightDecay
    self.beta1 = beta1
    self.beta2 = beta2
    self.epsilon = epsilon
    self.correctsEpsilon = correctsEpsilon
  }

  /// The update that the compiled step applies.
  public var updateRule: UpdateRule {
    correctsEpsilon
      ? .adamCorrectingEpsilon(
        learningRate: learningRate, beta1: beta1, beta2: beta2, epsilon: epsilon, weightDecay: weightDecay)
      : .adam(learningRate: learningRate, beta1: beta1, beta2: beta2, epsilon: epsilon, weightDecay: weightDecay)
  }
}
