import LinearAlgebra
import NeuralNetworks
import Testing
import Training

/// The layer that normalizes rows.
@Suite("Layer normalization")
struct LayerNormalizationTests {
  static let vectors = Result {
    try GoldenVectors.load("layer_normalization", as: GoldenVectors.LayerNormalization.self)
  }

  @Test("Finite differences", arguments: [1, 2, 33])
  func gradients(rows: Int) throws {
    for (center, scale) in [(true, true), (false, true), (true, false), (false, false)] {
      for shape in [[5], [3, 5]] {
        try GradientCheck(
          layers: [
            Dense(17), LayerNormalization(center: center, scale: scale), Activation.relu, Dense(3),
          ], inputShape: shape, rows: rows, loss: .meanSquaredError
        ).run()
      }
    }
  }

  @Test("Keras and PyTorch, in Double and Float", arguments: 0..<7)
  func golden(index: Int) throws {
    let item = try Self.vectors.get().cases[index]
    try check(item, Double.self)
    try check(item, Float.self)
  }

  private func check<Scalar: NetworkScalar>(_ item: GoldenVectors.LayerNormalization.Case, _: Scalar.Type) throws {
    let features = item.shape[item.shape.count - 1]
    let count = item.shape.reduce(1, *)
    func tensor(_ offset: Int, _ shape: [Int], _ change: (Double) -> Double) -> Tensor<Scalar> {
      let values = GoldenVectors.hashed(seed: item.seed + offset, count: shape.reduce(1, *))
      return Tensor(shape: shape) { Scalar(change(values[$0])) }
    }
    let dy = tensor(4, item.shape) { $0 }.scalars.map { Double($0) }
    let model = Sequential<Scalar>(layers: [
      Offset<Scalar>(rows: count / features, columns: features),
      LayerNormalization(epsilon: item.epsilon, center: item.center, scale: item.scale, name: "ln"),
      GivenGradient<Scalar>(gradient: dy),
    ])
    try model.compile(optimizer: SGD(), loss: .meanSquaredError, threads: 2)
    try model.build(inputShape: Array(item.shape.dropFirst()))
    if item.scale { try model.setParameter("ln.gamma", to: tensor(1, [features]) { 1 + $0 / 8 }) }
    if item.center { try model.setParameter("ln.beta", to: tensor(2, [features]) { $0 / 4 }) }
    let x = tensor(3, item.shape) { $0 + 0.5 }
    func expect(_ values: [Scalar], _ golden: GoldenVectors.Array, _ name: String) {
      let chosen = golden.values.indices.map { place in
        golden.values.count == values.count
          ? values[place] : values[place * (values.count - 1) / (golden.values.count - 1)]
      }
      // Sums of `features` terms, and of the rows for the parameters.
      GoldenComparison.expect(
        chosen, golden, roundings: 4 * Double(features + count / features) + 64,
        "\(name), \(item.shape), \(Scalar.self)")
    }
    expect(try model.predict(x).scalars, item.y, "y")
    try model.computeGradients(Samples(x, targets: .zeros(item.shape)))
    expect(try model.gradient("offset.values").scalars, item.dx, "dx")
    if let dgamma = item.dgamma { expect(try model.gradient("ln.gamma").scalars, dgamma, "dgamma") }
    if let dbeta = item.dbeta { expect(try model.gradient("ln.beta").scalars, dbeta, "dbeta") }
  }

  @Test("A single row trains; a bad ε is refused")
  func edges() throws {
    let model = Sequential<Float> {
      Dense(4)
      LayerNormalization()
      Dense(2)
    }
    try model.compile(optimizer: Adam(), loss: .meanSquaredError)
    let x = Tensor<Float>(shape: [1, 3]) { Float($0) }
    try model.trainOnBatch(Samples(x, targets: .zeros([1, 2])))
    #expect(try model.predict(x).scalars.allSatisfy(\.isFinite))
    #expect(model.parameters.map(\.name).contains("layer_normalization.gamma"))
    #expect(throws: ModelError.self) {
      try Sequential<Float>(layers: [LayerNormalization(epsilon: -1)]).build(inputShape: [3])
    }
  }
}
