import Foundation

/// Upper bounds on the size of all weights and of the optimizer's vectors.
///
/// Where they and a step's gradients are far from overflow, its update cannot make a number that is not finite, and
/// nothing need be kept for undoing it.
struct StateBounds {
  var weights: Double
  var vectors: (Double, Double, Double)

  /// The bounds after an update by gradients of at most `gradient`; infinite where nothing is certain.
  func after(_ rule: UpdateRule, step: Int, gradient: Double) -> StateBounds {
    var result = self
    switch rule.at(step: step) {
    case .sgd(let learningRate):
      result.weights += learningRate * gradient
    case .momentum(let learningRate, let momentum, _):
      result.vectors.0 = momentum * vectors.0 + learningRate * gradient
      result.weights += result.vectors.0 + learningRate * gradient
    case .adam(let learningRate, let beta1, let beta2, let epsilon, let weightDecay):
      result.vectors.0 = max(vectors.0, gradient)
      result.vectors.1 = max(vectors.1, gradient * gradient)
      let rate = learningRate * (1 - pow(beta2, Double(step))).squareRoot() / (1 - pow(beta1, Double(step)))
      // ε 0 divides by what may be 0.
      let largestStep = epsilon > 0 ? rate * result.vectors.0 / epsilon : .infinity
      result.weights = abs(1 - learningRate * weightDecay) * weights + largestStep
    case .adamCorrectingEpsilon: break  // `at(step:)` has made it Keras's form
    case .rmsprop(let learningRate, _, let momentum, let epsilon, let centered):
      result.vectors.0 = max(vectors.0, gradient * gradient)
      // Centered, the root is of a difference that rounding may make negative.
      let largestStep = epsilon > 0 && !centered ? learningRate * gradient / epsilon.squareRoot() : .infinity
      if momentum > 0 { result.vectors.1 = momentum * vectors.1 + largestStep }
      result.weights += momentum > 0 ? result.vectors.1 : largestStep
    }
    // Rounding adds less than this thousandth.
    let slack = 1.001
    result.weights *= slack
    result.vectors = (slack * result.vectors.0, slack * result.vectors.1, slack * result.vectors.2)
    return result
  }

  /// Whether all bounds are below `limit`; NaN is not.
  func areBelow(_ limit: Double) -> Bool {
    weights < limit && vectors.0 < limit && vectors.1 < limit && vectors.2 < limit
  }
}
