import LinearAlgebra
import NeuralNetworks
import Testing

/// Folding batch normalization away: what becomes of the layers, what is refused, and the error that is measured.
@Suite("Folding")
struct FoldingTests {
  private let layers: [any Layer] = [
    Dense(33, useBias: false, name: "first"), BatchNormalization(), Activation.relu, Dropout(0.2),
    Dense(17, activation: .tanh), BatchNormalization(), Dropout(0.2), Dense(9, activation: .relu),
    BatchNormalization(name: "kept"), Activation.softmax,
  ]

  @Test("A folded model has no layers left that a product can take")
  func foldedModel() throws {
    let model: Sequential<Float> = try InferenceFixtures.model(layers, inputShape: [21])
    try model.compile(optimizer: SGD(), loss: .sparseCategoricalCrossEntropy(), threads: 1)
    let folded = try model.folded()
    #expect(folded.report.foldedLayers == ["batch_normalization", "batch_normalization_1"])
    #expect(folded.report.remainingLayers == ["kept"])
    #expect(folded.report.error > 0)
    #expect(folded.report.error <= folded.report.tolerance)
    #expect(folded.report.probeCount == 8)
    #expect(folded.model.layers.count == layers.count - 2)
    let names = Set(folded.model.parameters.map(\.name))
    #expect(names.contains("first.bias"))
    #expect(names.contains("dense.kernel"))
    #expect(names.contains("dense_1.kernel"))
    #expect(names.contains("kept.gamma"))
    #expect(!names.contains("batch_normalization.gamma"))
    let inputs: Tensor<Float> = InferenceFixtures.inputs(50, [21])
    let expected = try InferenceFixtures.planOutputs(model, inputs)
    let got = try InferenceFixtures.planOutputs(folded.model, inputs)
    #expect(InferenceFixtures.difference(got, expected) <= folded.report.tolerance)
    #expect(folded.model.isCompiled)
    // Trained further, both are models of their own.
    #expect(try model.parameter("first.kernel") != folded.model.parameter("first.kernel"))
  }

  @Test("In Double the error is a rounding of Double")
  func foldedInDouble() throws {
    let model: Sequential<Double> = try InferenceFixtures.model(layers, inputShape: [21])
    let folded = try model.folded()
    #expect(folded.report.error < 1e-14)
    let inputs: Tensor<Double> = InferenceFixtures.inputs(50, [21])
    let expected = try InferenceFixtures.planOutputs(model, inputs)
    #expect(InferenceFixtures.difference(try InferenceFixtures.planOutputs(folded.model, inputs), expected) < 1e-13)
  }

  @Test("Weights of small whole numbers are folded to the bit")
  func exactly() throws {
    let model = Sequential<Float>(layers: [
      BatchNormalization(epsilon: 0), Dense(2), BatchNormalization(epsilon: 0), Activation.relu,
    ])
    try model.build(inputShape: [2])
    func set(_ name: String, _ values: [Float]) throws {
      try model.setParameter(name, to: Tensor(shape: [2], scalars: values))
    }
    // x' = 2·(x − 3)/2 + 1 and (x − 1)·3; z = x'·W + b; y = 4·(z − 1)/4 and 2·(z + 2)/1 + 5.
    try set("batch_normalization.gamma", [2, 3])
    try set("batch_normalization.beta", [1, 0])
    try set("batch_normalization.moving_mean", [3, 1])
    try set("batch_normalization.moving_variance", [4, 1])
    try model.setParameter("dense.kernel", to: Tensor([[1, 2], [3, 4]]))
    try set("dense.bias", [5, 6])
    try set("batch_normalization_1.gamma", [4, 2])
    try set("batch_normalization_1.moving_mean", [1, -2])
    try set("batch_normalization_1.beta", [0, 5])
    try set("batch_normalization_1.moving_variance", [16, 1])
    let folded = try model.folded()
    // W' = diag(1, 3)·W·diag(1, 2); b' = (b + (−2, −3)·W)·s + t with t = (−1, 9).
    #expect(try folded.model.parameter("dense.kernel").scalars == [1, 4, 9, 24])
    #expect(try folded.model.parameter("dense.bias").scalars == [-7, -11])
  }

  /// A running mean a million deviations away: x·W and μ cancel, in another order than unfolded.
  private func hopeless() throws -> Sequential<Float> {
    let model: Sequential<Float> = try InferenceFixtures.model(
      [
        Dense(5, name: "fine"), BatchNormalization(name: "good"), Activation.tanh, Dense(4),
        BatchNormalization(name: "bad"),
      ],
      inputShape: [6])
    try model.setParameter("dense.bias", to: Tensor(shape: [4], repeating: 1e6))
    try model.setParameter("bad.moving_mean", to: Tensor(shape: [4], repeating: 1e6))
    try model.setParameter("bad.moving_variance", to: Tensor(shape: [4], repeating: 0))
    return model
  }

  @Test("Folding that changes the outputs is refused, with the error and the layer")
  func refusal() throws {
    let model = try hopeless()
    let error = #expect(throws: FoldingError.self) { try model.predictor() }
    guard case .inexact(let report, let layer)? = error else { return }
    #expect(layer == "bad")
    #expect(report.error > report.tolerance)
    #expect("\(FoldingError.inexact(report, layer: layer))".contains("'bad'"))
    #expect(throws: FoldingError.self) { try model.folded() }
    // Without folding, and where it is tried first, the outputs are the model's.
    let inputs: Tensor<Float> = InferenceFixtures.inputs(20, [6])
    let expected = try InferenceFixtures.planOutputs(model, inputs)
    let fallback = try model.predictor(folding: .whereAccurate)
    #expect(fallback.foldingReport == nil)
    #expect(try #require(fallback.foldingRefusal).contains("'bad'"))
    // Not the tolerance of roundings: this model multiplies every rounding by a million.
    let plain = try model.predictor(folding: .never)
    #expect(plain.foldingRefusal == nil)
    #expect(try plain.predict(inputs) == fallback.predict(inputs))
    let scale = expected.map(abs).max()!
    #expect(zip(try plain.predict(inputs).scalars, expected).allSatisfy { abs($0 - $1) <= 0.2 * scale })
    // Who accepts the error gets the folded predictor.
    #expect(try model.predictor(tolerance: .infinity).foldingReport?.foldedLayers.count == 2)
  }

  @Test("The caller's probe counts")
  func probe() throws {
    let model: Sequential<Float> = try InferenceFixtures.model([Dense(4), BatchNormalization()], inputShape: [6])
    #expect(try model.predictor().foldingReport?.probeCount == 8)
    let probe: Tensor<Float> = InferenceFixtures.inputs(3, [6])
    let report = try #require(try model.predictor(probe: probe).foldingReport)
    #expect(report.probeCount == 11)
    #expect(throws: ModelError.shape(what: "one sample of the probe", expected: [6], got: [5])) {
      try model.predictor(probe: Tensor.zeros([3, 5]))
    }
  }

  @Test("No tolerance at all refuses a rounding")
  func tolerances() throws {
    let model: Sequential<Float> = try InferenceFixtures.model(layers, inputShape: [21])
    #expect(throws: FoldingError.self) { try model.predictor(tolerance: 0) }
    #expect(throws: ModelError.argument(name: "tolerance", problem: "must be at least 0, not -1.0")) {
      try model.folded(tolerance: -1)
    }
    #expect(throws: ModelError.argument(name: "tolerance", problem: "must be at least 0, not nan")) {
      try model.folded(tolerance: .nan)
    }
  }

  @Test(
    "Weights and statistics that are not finite", arguments: ["dense.kernel", "kept.moving_variance", "first.kernel"])
  func notFinite(name: String) throws {
    for bad in [Float.nan, .infinity, -.infinity] {
      let model: Sequential<Float> = try InferenceFixtures.model(layers, inputShape: [21])
      var values = try model.parameter(name).scalars
      values[values.count / 2] = bad
      try model.setParameter(name, to: Tensor(shape: model.parameter(name).shape, scalars: values))
      #expect(throws: ModelError.notFinite(what: "parameter \(name)")) { try model.predictor() }
      #expect(throws: ModelError.notFinite(what: "parameter \(name)")) { try model.folded() }
      let fallback = try model.predictor(folding: .whereAccurate)
      #expect(try #require(fallback.foldingRefusal).contains(name))
      _ = try fallback.predict(InferenceFixtures.inputs(3, [21]))
    }
  }

  @Test("A factor that overflows, and a variance below 0")
  func overflow() throws {
    for (variance, gamma) in [(Float(0), Float(1e38)), (-1, 1)] {
      let model: Sequential<Float> = try InferenceFixtures.model(
        [Dense(4), BatchNormalization(epsilon: 1e-30, name: "bn")], inputShape: [6])
      try model.setParameter("bn.moving_variance", to: Tensor(shape: [4], repeating: variance))
      try model.setParameter("bn.gamma", to: Tensor(shape: [4], repeating: gamma))
      #expect(throws: ModelError.notFinite(what: "'dense', with batch normalization folded into it,")) {
        try model.predictor()
      }
      #expect(try model.predictor(folding: .whereAccurate).foldingReport == nil)
    }
  }
}
