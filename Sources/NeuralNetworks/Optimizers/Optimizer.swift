import Foundation

/// A rule that moves the parameters against their gradients: SGD, Adam, AdamW or RMSprop.
public protocol Optimizer: Sendable {
  /// The step size.
  var learningRate: Double { get set }
  /// The update that the compiled step applies.
  var updateRule: UpdateRule { get }
}

/// An optimizer's update, as the compiled step knows it.
public enum UpdateRule: Sendable, Equatable {
  /// w −= learningRate·g.
  case sgd(learningRate: Double)
  /// Keras's SGD with momentum.
  case momentum(learningRate: Double, momentum: Double, nesterov: Bool)
  /// Keras's Adam; `weightDecay` is decoupled (AdamW).
  case adam(learningRate: Double, beta1: Double, beta2: Double, epsilon: Double, weightDecay: Double)
  /// The same with ε added after the bias correction, as PyTorch does: ε√(1 − β₂ᵗ) in Keras's place at step t.
  case adamCorrectingEpsilon(
    learningRate: Double, beta1: Double, beta2: Double, epsilon: Double, weightDecay: Double)
  /// Keras's RMSprop.
  case rmsprop(learningRate: Double, rho: Double, momentum: Double, epsilon: Double, centered: Bool)

  /// Vectors of optimizer state, each as long as the parameters.
  public var stateVectors: Int {
    switch self {
    case .sgd: 0
    case .momentum: 1
    case .adam, .adamCorrectingEpsilon: 2
    case .rmsprop(_, _, let momentum, _, let centered): 1 + (momentum > 0 ? 1 : 0) + (centered ? 1 : 0)
    }
  }

  /// The same rule with `factor` times its learning rate.
  package func scalingLearningRate(by factor: Double) -> UpdateRule {
    switch self {
    case .sgd(let learningRate): .sgd(learningRate: learningRate * factor)
    case .momentum(let learningRate, let momentum, let nesterov):
      .momentum(learningRate: learningRate * factor, momentum: momentum, nesterov: nesterov)
    case .adam(let learningRate, let beta1, let beta2, let epsilon, let weightDecay):
      .adam(
        learningRate: learningRate * factor, beta1: beta1, beta2: beta2, epsilon: epsilon, weightDecay: weightDecay)
    case .adamCorrectingEpsilon(let learningRate, let beta1, let beta2, let epsilon, let weightDecay):
      .adamCorrectingEpsilon(
        learningRate: learningRate * factor, beta1: beta1, beta2: beta2, epsilon: epsilon, weightDecay: weightDecay)
    case .rmsprop(let learningRate, let rho, let momentum, let epsilon, let centered):
      .rmsprop(learningRate: learningRate * factor, rho: rho, momentum: momentum, epsilon: epsilon, centered: centered)
    }
  }

  /// The rule of one step: an ε that is corrected becomes the one that Keras's form has at `step`.
  package func at(step: Int) -> UpdateRule {
    guard case .adamCorrectingEpsilon(let learningRate, let beta1, let beta2, let epsilon, let weightDecay) = self
    else {
      return self
    }
    let correction = (1 - pow(beta2, Double(step))).squareRoot()
    return .adam(
      learningRate: learningRate, beta1: beta1, beta2: beta2, epsilon: epsilon * correction, weightDecay: weightDecay)
  }
}
