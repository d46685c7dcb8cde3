import LinearAlgebra
import NeuralNetworks
import Testing
import Training

/// Each optimizer against Keras over five steps, driven through a model whose gradients are the given ones.
@Suite("Golden optimizers")
struct GoldenOptimizerTests {
  static let vectors = Result { try GoldenVectors.load("optimizers", as: GoldenVectors.Optimizers.self) }

  @Test("Five steps, in Double and Float", arguments: 0..<11)
  func steps(index: Int) throws {
    let vectors = try Self.vectors.get()
    try #require(vectors.cases.count == 11)
    try check(vectors, vectors.cases[index], in: Double.self)
    try check(vectors, vectors.cases[index], in: Float.self)
  }

  private func check<Scalar: NetworkScalar>(
    _ vectors: GoldenVectors.Optimizers, _ item: GoldenVectors.Optimizers.Case, in _: Scalar.Type
  ) throws {
    // One row g into one unit whose gradient is 1: the kernel's gradient is g·1, exactly.
    let count = vectors.initial.values.count
    let model = Sequential<Scalar>(layers: [Dense(1, useBias: false), GivenGradient<Scalar>(gradient: [1])])
    let optimizer = try #require(item.makeOptimizer())
    try model.compile(optimizer: optimizer, loss: .meanSquaredError, threads: 1)
    try model.build(inputShape: [count])
    try model.setParameter("dense.kernel", to: Tensor(shape: [count, 1]) { Scalar(vectors.initial.values[$0]) })
    for (step, gradient) in vectors.gradients.enumerated() {
      let row = Tensor<Scalar>(shape: [1, count]) { Scalar(gradient.values[$0]) }
      let samples = try Samples(row, targets: .zeros([1, 1]))
      try model.computeGradients(samples)
      let used = try model.gradient("dense.kernel").scalars
      #expect(used == row.scalars)
      try model.trainOnBatch(samples)
      // A step rounds each of the state's vectors twice or three times and the weight twice; 16 ulps a step
      // cover their way through √v and m/√v.
      GoldenComparison.expect(
        try model.parameter("dense.kernel").scalars, item.parameters[step], roundings: 16 * Double(step + 1),
        "step \(step) of \(item.optimizer), \(Scalar.self)")
    }
  }
}

extension GoldenVectors.Optimizers.Case {
  /// The optimizer of the case.
  func makeOptimizer() -> (any Optimizer)? {
    switch optimizer {
    case "sgd":
      return SGD(learningRate: learningRate, momentum: momentum ?? 0, nesterov: nesterov ?? false)
    case "adam":
      guard let beta1, let beta2, let epsilon else { return nil }
      return Adam(learningRate: learningRate, beta1: beta1, beta2: beta2, epsilon: epsilon)
    case "adamw":
      guard let beta1, let beta2, let epsilon, let weightDecay else { return nil }
      return AdamW(learningRate: learningRate, weightDecay: weightDecay, beta1: beta1, beta2: beta2, epsilon: epsilon)
    case "rmsprop":
      guard let rho, let momentum, let epsilon, let centered else { return nil }
      return RMSprop(learningRate: learningRate, rho: rho, momentum: momentum, epsilon: epsilon, centered: centered)
    default: return nil
    }
  }
}
