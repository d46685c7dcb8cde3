import LinearAlgebra
import NeuralNetworks
import Testing
import Training

/// What is done with whole models, done with blocks in them: files, recalibration, the microscope, steps undone.
@Suite("Training with residual blocks")
struct ResidualTrainingTests {
  private func model<Scalar: NetworkScalar>(
    _ nonFinite: NonFinitePolicy = .ignore, as _: Scalar.Type = Scalar.self
  ) throws -> Sequential<Scalar> {
    let model = Sequential<Scalar>(
      seed: 3,
      layers: [
        Dropout(0.1), Dense(70, activation: .relu),
        Residual(activation: .relu, name: "block") {
          Dense(50, useBias: false)
          BatchNormalization(momentum: .weightOfOld(0.9))
          Activation.relu
          Dropout(0.1)
          Residual(activation: .tanh) { Dense(50) }
          Dense(70, useBias: false)
          BatchNormalization(momentum: .weightOfOld(0.9))
        },
        Dense(3, activation: .softmax),
      ])
    try model.compile(loss: .sparseCategoricalCrossEntropy(), threads: 2, nonFinite: nonFinite)
    return model
  }

  @Test("A block learns, and comes back from a file to the bit")
  func file() throws {
    try roundTrip(Float.self)
    try roundTrip(Double.self)
  }

  private func roundTrip<Scalar: NetworkScalar>(_: Scalar.Type) throws {
    let model: Sequential<Scalar> = try model()
    let data: Samples<Scalar> = try Fixtures.clusters(count: 300)
    let history = try model.fit(data, epochs: 6, verbose: .silent)
    #expect(try model.evaluate(data).accuracy ?? 0 > 0.95, "\(history)")
    try Fixtures.withFolder { folder in
      let path = folder + "/model.safetensors"
      try model.save(to: path)
      let file = try ModelFile(contentsOf: path)
      #expect(file.layers == model.layers.map { LayerConfiguration($0) })
      let loaded = try file.makeModel(as: Scalar.self)
      #expect(try loaded.weightsSHA256() == model.weightsSHA256() && loaded.summary() == model.summary())
      #expect(try loaded.predict(data) == model.predict(data))
      #expect(loaded.parameters.contains { $0.name == "block.residual.dense.kernel" })
      try loaded.loadWeights(from: path)
    }
  }

  @Test("A user's layer within a block cannot be described, and is named")
  func customLayer() throws {
    struct Same: CustomLayer {
      func outputShape(inputShape: [Int]) throws -> [Int] { inputShape }
      func forward(
        _ input: MatrixView<Float>, parameters: [MatrixView<Float>], output: MatrixView<Float>, mode: Mode
      ) {}
      func backward(
        input: MatrixView<Float>, output: MatrixView<Float>, outputGradient: MatrixView<Float>,
        parameters: [MatrixView<Float>], inputGradient: MatrixView<Float>, parameterGradients: [MatrixView<Float>]
      ) {}
    }
    let model = Sequential<Float>(layers: [Residual(layers: [Dense(2), Residual(layers: [Same()])])])
    try model.build(inputShape: [2])
    try Fixtures.withFolder { folder in
      _ = #expect(throws: ModelFileError.customLayer("same")) { try model.save(to: folder + "/model") }
    }
  }

  @Test("Recalibration takes the statistics of normalizations within blocks")
  func recalibration() throws {
    let model: Sequential<Double> = try model()
    let data: Samples<Double> = try Fixtures.clusters(count: 90)
    try model.build(inputShape: [8])
    let report = try model.recalibrate(on: data, batchSize: 90)
    #expect(report.layers.map(\.name) == ["block.batch_normalization", "block.batch_normalization_1"])
    // The inputs of the first are the product of the block's own input.
    let still = Sequential<Double>(layers: [Dense(70, activation: .relu), Dense(50, useBias: false)])
    try still.build(inputShape: [8])
    try still.setParameter("dense.kernel", to: model.parameter("dense.kernel"))
    try still.setParameter("dense_1.kernel", to: model.parameter("block.dense.kernel"))
    let inputs = try still.predict(data).scalars
    let moving = try model.parameter("block.batch_normalization.moving_variance").scalars
    for unit in 0..<50 {
      let values = (0..<90).map { inputs[$0 * 50 + unit] }
      let mean = values.reduce(0, +) / 90
      let variance = values.reduce(0) { $0 + ($1 - mean) * ($1 - mean) } / 89
      #expect(abs(moving[unit] - variance) < 1e-12)
    }
    let check = try model.checkModes(on: data)
    #expect(check.layers.count == 2)
  }

  @Test("The microscope and `activations` see the layers of blocks")
  func microscope() throws {
    let model: Sequential<Float> = try model()
    let data: Samples<Float> = try Fixtures.clusters(count: 64)
    var reports: [MicroscopeReport] = []
    try model.fit(data, verbose: .silent, microscope: Microscope(every: 1) { reports.append($0) })
    let other: Sequential<Float> = try self.model()
    try other.fit(data, verbose: .silent)
    #expect(try model.weightsSHA256() == other.weightsSHA256())
    let names = ["block.batch_normalization", "block.batch_normalization_1"]
    #expect(reports.count == 2 && reports.allSatisfy { $0.layers.map(\.name) == names })
    // Normalized, but neither added to nor clamped.
    #expect(reports[0].layers[1].features.allSatisfy { $0.outputs.low < 0 && $0.outputs.high > 0 })
    let x = try model.activations(of: "dense", on: data).scalars
    let normalized = try model.activations(of: "block.batch_normalization_1", on: data).scalars
    let y = try model.activations(of: "block", on: data).scalars
    for (index, value) in y.enumerated() { #expect(abs(value - max(normalized[index] + x[index], 0)) <= 1e-5) }
    #expect(try model.activations(of: "block.residual", on: data).shape == [64, 50])
  }

  @Test("A step that is not finite is undone, and the first layer of a block that made it so is named")
  func nonFinite() throws {
    let model: Sequential<Float> = try model(.rollBack)
    let data: Samples<Float> = try Fixtures.clusters(count: 64)
    try model.fit(data, verbose: .silent)
    let before = try model.weightsSHA256()
    let name = "block.dense.kernel"
    let kernel = try model.parameter(name)
    // Products of these overflow in the block's first layer.
    try model.setParameter(name, to: Tensor(shape: kernel.shape, repeating: .greatestFiniteMagnitude))
    let poisoned = try model.weightsSHA256()
    let history = try model.fit(data, verbose: .silent)
    #expect(history.skippedSteps.count == 2)
    #expect(history.skippedSteps.allSatisfy { $0.place == .output(layer: "block.dense") }, "\(history.skippedSteps)")
    #expect(try model.weightsSHA256() == poisoned)
    try model.setParameter(name, to: kernel)
    #expect(try model.weightsSHA256() == before)
    #expect(try model.fit(data, verbose: .silent).skippedSteps.isEmpty)
    #expect(try model.weightsSHA256() != before)
  }
}
