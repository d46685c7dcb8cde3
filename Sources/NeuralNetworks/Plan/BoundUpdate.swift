import Foundation
import Kernels

/// An update rule with the numbers of one step worked out.
struct BoundUpdate {
  private let rule: UpdateRule
  /// Adam's step size with both bias corrections.
  private let alpha: Double
  private let decay: Double

  /// The rule at `step`, counted from 1.
  init(rule: UpdateRule, step: Int) {
    let rule = rule.at(step: step)
    self.rule = rule
    switch rule {
    case .adam(let learningRate, let beta1, let beta2, _, let weightDecay):
      alpha = learningRate * (1 - pow(beta2, Double(step))).squareRoot() / (1 - pow(beta1, Double(step)))
      decay = 1 - learningRate * weightDecay
    default:
      alpha = 0
      decay = 1
    }
  }

  /// The numbers of the step where the rule is Adam, whose update can run beside the product that makes its gradient.
  @inline(__always)
  var adam: AdamNumbers? {
    guard case .adam(_, let beta1, let beta2, let epsilon, _) = rule else { return nil }
    return AdamNumbers(alpha: alpha, beta1: beta1, beta2: beta2, epsilon: epsilon, decay: decay)
  }

  /// Scalars of scratch memory that an update beside a product takes: sixteen vectors of at most sixteen.
  static var productSums: Int { 256 }

  /// Updates the weights from `start` on with the gradient xᵀ·z + partial.
  @inline(__always)
  static func apply<Scalar: NetworkScalar>(
    _ adam: AdamNumbers, to store: ParameterStore<Scalar>, start: Int, _ x: MatrixView<Scalar>, _ z: MatrixView<Scalar>,
    partial: UnsafeMutablePointer<Scalar>?, sums: UnsafeMutablePointer<Scalar>,
    requests: UnsafeMutablePointer<LineRequests>?, _ fused: WeightGradientKernels<Scalar>.ProductAdam
  ) {
    fused(
      x, z, UnsafePointer(partial), store.weights.baseAddress + start, store.stateVector(0) + start,
      store.stateVector(1) + start, sums, adam.alpha, adam.beta1, adam.beta2, adam.epsilon, adam.decay, requests)
  }

  /// Updates `count` weights from `start` in the store's layout, given their gradients.
  @inline(__always)
  func apply<Scalar: NetworkScalar>(
    to store: ParameterStore<Scalar>, start: Int, count: Int, gradients: UnsafePointer<Scalar>,
    kernels: OptimizerKernels<Scalar>
  ) {
    guard count > 0 else { return }
    let weights = store.weights.baseAddress + start
    @inline(__always) func state(_ index: Int) -> UnsafeMutablePointer<Scalar> { store.stateVector(index) + start }
    switch rule {
    case .sgd(let learningRate):
      kernels.sgd(weights, gradients, count, learningRate, decay)
    case .momentum(let learningRate, let momentum, let nesterov):
      kernels.momentum(weights, gradients, state(0), count, learningRate, momentum, nesterov, decay)
    case .adam(_, let beta1, let beta2, let epsilon, _):
      kernels.adam(weights, gradients, state(0), state(1), count, alpha, beta1, beta2, epsilon, decay)
    case .adamCorrectingEpsilon: break  // `at(step:)` has made it Keras's form
    case .rmsprop(let learningRate, let rho, let momentum, let epsilon, let centered):
      let velocity = momentum > 0 ? state(1) : nil
      let average = centered ? state(momentum > 0 ? 2 : 1) : nil
      kernels.rmsprop(
        weights, gradients, state(0), velocity, average, count, learningRate, rho, momentum, epsilon, decay)
    }
  }
}

/// What a step of Adam is made with: the step size with both bias corrections, and 1 less the decay of the weights.
struct AdamNumbers {
  var alpha: Double
  var beta1: Double
  var beta2: Double
  var epsilon: Double
  var decay: Double
}
