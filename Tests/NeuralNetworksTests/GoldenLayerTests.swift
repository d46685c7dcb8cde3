import LinearAlgebra
import NeuralNetworks
import Testing
import Training

/// Dense and BatchNormalization against Keras and PyTorch, forward and backward.
@Suite("Golden layers")
struct GoldenLayerTests {
  static let dense = Result { try GoldenVectors.load("dense", as: GoldenVectors.Dense.self) }
  static let normalization = Result {
    try GoldenVectors.load("batch_normalization", as: GoldenVectors.BatchNormalization.self)
  }

  @Test("Dense, in Double and Float", arguments: 0..<10)
  func dense(index: Int) throws {
    let vectors = try Self.dense.get()
    try #require(vectors.cases.count == 10)
    try check(vectors, vectors.cases[index], in: Double.self)
    try check(vectors, vectors.cases[index], in: Float.self)
  }

  private func check<Scalar: NetworkScalar>(
    _ vectors: GoldenVectors.Dense, _ item: GoldenVectors.Dense.Case, in _: Scalar.Type
  ) throws {
    let activation = try #require(Activation(golden: item.activation, alpha: item.alpha))
    let dense = Dense(3, activation: activation, useBias: item.useBias, name: "dense")
    // Alone the layer is the first; after an offset it makes a gradient of its inputs too.
    for before in [[], [Offset<Scalar>(rows: 5, columns: 4)]] as [[any Layer]] {
      let model = Sequential<Scalar>(layers: before + [dense, GivenGradient<Scalar>(gradient: vectors.dy.values)])
      try model.compile(optimizer: SGD(), loss: .meanSquaredError, threads: 1)
      try model.build(inputShape: [4])
      try model.setParameter("dense.kernel", to: vectors.kernel.tensor())
      if item.useBias { try model.setParameter("dense.bias", to: vectors.bias.tensor()) }
      let x: Tensor<Scalar> = vectors.x.tensor()
      let what = "\(item.activation), bias \(item.useBias), \(Scalar.self)"
      // Products of 4 terms and a bias of about equal size: 5 roundings, and 4 ulp for the function.
      GoldenComparison.expect(try model.predict(x).scalars, item.y, roundings: 16, "y of \(what)")
      try model.computeGradients(Samples(x, targets: .zeros([5, 3])))
      // Sums of 5 rows of products with f′, itself good to about 8 ulp.
      GoldenComparison.expect(
        try model.gradient("dense.kernel").scalars, item.dkernel, roundings: 32, "dkernel of \(what)")
      if let bias = item.dbias {
        GoldenComparison.expect(try model.gradient("dense.bias").scalars, bias, roundings: 32, "dbias of \(what)")
      }
      if !before.isEmpty {
        GoldenComparison.expect(try model.gradient("offset.values").scalars, item.dx, roundings: 32, "dx of \(what)")
      }
    }
  }

  @Test("BatchNormalization: three steps, the backward pass of the third, inference", arguments: 0..<10)
  func batchNormalization(index: Int) throws {
    let item = try Self.normalization.get().cases[index]
    try check(item, in: Double.self)
    try check(item, in: Float.self)
  }

  private func check<Scalar: NetworkScalar>(
    _ item: GoldenVectors.BatchNormalization.Case, in _: Scalar.Type
  ) throws {
    let sample = Array(item.shape.dropFirst())
    let columns = sample[sample.count - 1]
    let rows = item.shape.reduce(1, *) / columns
    let layer = BatchNormalization(
      axis: item.axis, momentum: .weightOfOld(item.momentum), epsilon: item.epsilon, center: item.center,
      scale: item.scale,
      name: "bn")
    let model = Sequential<Scalar>(layers: [
      Offset<Scalar>(rows: rows, columns: columns), layer, GivenGradient<Scalar>(gradient: item.backward.dy.values),
    ])
    try model.compile(optimizer: SGD(), loss: .meanSquaredError, threads: 2)
    try model.build(inputShape: sample)
    for (name, values) in [
      ("gamma", item.gamma), ("beta", item.beta), ("moving_mean", item.movingMean),
      ("moving_variance", item.movingVariance),
    ] {
      if let values { try model.setParameter("bn.\(name)", to: values.tensor()) }
    }
    let features = item.movingMean.values.count
    let count = Double(item.shape.reduce(1, *) / features)
    // Inputs around an offset many deviations away are the same numbers in Float (short binary fractions), but in Float a
    // moving mean rounds to an ulp of the offset: what inference subtracts is off by that, relative to the deviation.
    let offset = item.steps.flatMap { $0.x.values.map(abs) }.max() ?? 0
    let deviation = (item.steps.last?.movingVariance.values.min() ?? 1).squareRoot()
    let far = max(offset / max(deviation, item.epsilon.squareRoot()), 1)
    let what = "\(item.shape), axis \(item.axis), \(Scalar.self)"
    let roundings = 4 * count + 16
    // Where x − mean is taken from rounded means, Double too loses the offset's digits (README: to about 1e-12).
    let agreement = offset > 100 ? 4e-12 : 1e-12
    for (number, step) in item.steps.enumerated() {
      let plan = try model.plan(samples: item.shape[0])
      try model.computeGradients(Samples(step.x.tensor(), targets: .zeros(item.shape)))
      let view = plan.output(samples: item.shape[0])
      let outputs = (0..<rows * columns).map { view[$0 / columns, $0 % columns] }
      GoldenComparison.expect(
        outputs, step.y, roundings: roundings, agreement: agreement, "y of step \(number) of \(what)")
      GoldenComparison.expect(
        try model.parameter("bn.moving_mean").scalars, step.movingMean, roundings: roundings,
        "moving mean of step \(number) of \(what)")
      GoldenComparison.expect(
        try model.parameter("bn.moving_variance").scalars, step.movingVariance, roundings: roundings,
        agreement: agreement, "moving variance of step \(number) of \(what)")
    }
    // dx is a difference of terms up to γ·max|dy|/√(σ² + ε): of its own size, except where few rows make it cancel.
    let gradientScale = (item.backward.dy.values.map(abs).max() ?? 0) * (item.gamma?.values.map(abs).max() ?? 1)
    GoldenComparison.expect(
      try model.gradient("offset.values").scalars, item.backward.dx, roundings: roundings, scale: gradientScale,
      agreement: agreement, "dx of \(what)")
    if let gamma = item.backward.dgamma {
      GoldenComparison.expect(
        try model.gradient("bn.gamma").scalars, gamma, roundings: roundings, scale: gradientScale,
        agreement: agreement, "dgamma of \(what)")
    }
    if let beta = item.backward.dbeta {
      GoldenComparison.expect(try model.gradient("bn.beta").scalars, beta, roundings: roundings, "dbeta of \(what)")
    }
    let inference = try model.predict(item.inference.x.tensor(), batchSize: 2)
    GoldenComparison.expect(
      inference.scalars, item.inference.y, roundings: roundings * far, agreement: agreement, "inference of \(what)")
  }
}

extension Activation {
  /// The activation that a golden file names.
  init?(golden name: String, alpha: Double?) {
    switch name {
    case "linear": self = .linear
    case "relu": self = .relu
    case "leaky_relu": self = .leakyReLU(negativeSlope: alpha ?? 0.3)
    case "elu": self = .elu(alpha: alpha ?? 1)
    case "selu": self = .selu
    case "gelu": self = .gelu
    case "sigmoid": self = .sigmoid
    case "tanh": self = .tanh
    case "softmax": self = .softmax
    default: return nil
    }
  }
}
