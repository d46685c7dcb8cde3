/// RMSprop (Tieleman and Hinton 2012), with momentum and the centered form (Graves 2013).
///
/// `v = ρ·v + (1 − ρ)·g²; w −= learningRate·g/√(v + ε)`; ε is inside the root (Keras's rule).
public struct RMSprop: Optimizer, Equatable {
  /// The step size, 0.001 by default.
  public var learningRate: Double
  /// Decay of the averages, 0.9 by default.
  public var rho: Double
  /// The share of the last update that is kept, 0 by default.
  public var momentum: Double
  /// Keeps the quotient finite, 1e-7 by default.
  public var epsilon: Double
  /// Whether v is the variance of the gradient rather than its second moment.
  public var centered: Bool

  /// RMSprop with Keras's defaults.
  public init(
    learningRate: Double = 0.001, rho: Double = 0.9, momentum: Double = 0, epsilon: Double = 1e-7,
    centered: Bool = false
  ) {
    self.learningRate = learningRate
    self.rho = rho
    self.momentum = momentum
    self.epsilon = epsilon
    self.centered = centered
  }

  /// The update that the compiled step applies.
  public var updateRule: UpdateRule {
    .rmsprop(learningRate: learningRate, rho: rho, momentum: momentum, epsilon: epsilon, centered: centered)
  }
}
