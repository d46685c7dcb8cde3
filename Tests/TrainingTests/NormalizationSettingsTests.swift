import LinearAlgebra
import NeuralNetworks
import Testing

@testable import Training

/// Recalibration, microscope and undone steps under every setting of batch normalization.
@Suite struct NormalizationSettingsTests {
  static let layers = [
    BatchNormalization(name: "bn"), BatchNormalization(convention: .pytorch, name: "bn"),
    BatchNormalization(convention: .paper, gammaConstraint: .unitNorm, name: "bn"),
    BatchNormalization(affine: false, virtualBatchSize: 4, name: "bn"),
    BatchNormalization(gammaRegularizer: .l2(0.1), renormalization: BatchRenormalization(), name: "bn"),
    BatchNormalization(trackRunningStatistics: false, name: "bn"),
  ]

  private func model(_ layer: BatchNormalization, _ policy: NonFinitePolicy = .ignore) throws -> Sequential<Double> {
    let model = Sequential<Double>(layers: [
      Dense(20, activation: .sigmoid), layer, Dense(3, activation: .softmax),
    ])
    try model.compile(loss: .sparseCategoricalCrossEntropy(), threads: 2, nonFinite: policy)
    return model
  }

  @Test(arguments: layers) func recalibrationIsThatOfThePopulation(layer: BatchNormalization) throws {
    let model = try model(layer)
    let data: Samples<Double> = try Fixtures.clusters(count: 48)
    try model.fit(data, epochs: 2, batchSize: 16, verbose: .silent)
    let weights = try model.parameters.filter(\.isTrainable).map { try model.parameter($0.name) }
    let count = try? model.parameter("bn.batch_count")
    let report = try model.recalibrate(on: data, batchSize: 48)
    #expect(try model.parameters.filter(\.isTrainable).map { try model.parameter($0.name) } == weights)
    #expect((try? model.parameter("bn.batch_count")) == count)
    guard layer.tracksRunningStatistics else {
      #expect(report.layers.isEmpty)
      return
    }
    let hidden = try model.activations(of: "dense", on: data)
    for unit in 0..<20 {
      let values = (0..<48).map { hidden.scalars[$0 * 20 + unit] }
      let mean = values.reduce(0, +) / 48
      let variance = values.reduce(0) { $0 + ($1 - mean) * ($1 - mean) } / 47
      #expect(abs(try model.parameter("bn.moving_mean").scalars[unit] - mean) < 1e-12)
      #expect(abs(try model.parameter("bn.moving_variance").scalars[unit] - variance) < 1e-12)
    }
    #expect(try model.checkModes(on: data, batchSize: 48).layers[0].statistics.largestMeanError == 0)
  }

  @Test(arguments: layers) func microscopeChangesNothing(layer: BatchNormalization) throws {
    let data: Samples<Double> = try Fixtures.clusters(count: 50)
    let (watched, alone) = (try model(layer), try model(layer))
    var running: [Double?] = []
    try watched.fit(
      data, epochs: 2, batchSize: 16, verbose: .silent,
      microscope: Microscope(every: 1) { running.append($0.layers[0].features[0].runningMean) })
    try alone.fit(data, epochs: 2, batchSize: 16, verbose: .silent)
    #expect(try watched.weightsSHA256() == alone.weightsSHA256())
    #expect(running.count == 8 && running.allSatisfy { ($0 != nil) == layer.tracksRunningStatistics })
  }

  @Test(arguments: layers) func undoneStepLeavesNoTrace(layer: BatchNormalization) throws {
    let (model, twin) = (try model(layer, .rollBack), try model(layer, .rollBack))
    let (inputs, labels) = Fixtures.points(count: 48, as: Double.self)
    func samples(_ bad: Bool) -> Samples<Double> {
      Samples(
        unchecked: Tensor(shape: inputs.shape) { bad && $0 == 20 * 8 ? .nan : inputs.scalars[$0] },
        targets: .labels(labels.map { Int32($0) }))
    }
    let history = try model.fit(samples(true), batchSize: 16, shuffle: false, verbose: .silent)
    #expect(history.skippedSteps.map(\.batch) == [1] && history.skippedSteps[0].place == .inputs)
    for start in [0, 32] {
      try twin.fit(samples(false)[start..<start + 16], batchSize: 16, shuffle: false, verbose: .silent)
    }
    for each in [model, twin] { try each.fit(samples(false), batchSize: 16, shuffle: false, verbose: .silent) }
    #expect(try model.weightsSHA256() == twin.weightsSHA256())
  }
}
