/// Stochastic gradient descent, with momentum and Nesterov's form.
///
/// `v = momentum·v − learningRate·g; w += v`, with Nesterov `w += momentum·v − learningRate·g` (Keras's rule: the
/// learning rate is inside the velocity). Cost per step: 3 vectors moved without momentum, 5 with.
public struct SGD: Optimizer, Equatable {
  /// The step size, 0.01 by default.
  public var learningRate: Double
  /// The share of the last update that is kept, 0 by default.
  public var momentum: Double
  /// Whether the gradient is looked at ahead of the momentum (Nesterov 1983), false by default.
  public var nesterov: Bool

  /// SGD with Keras's defaults.
  public init(learningRate: Double = 0.01, momentum: Double = 0, nesterov: Bool = false) {
    self.learningRate = learningRate
    self.momentum = momentum
    self.nesterov = nesterov
  }

  /// The update that the compiled step applies.
  public var updateRule: UpdateRule {
    momentum == 0
      ? .sgd(learningRate: learningRate)
      : .momentum(learningRate: learningRate, momentum: momentum, nesterov: nesterov)
  }
}
