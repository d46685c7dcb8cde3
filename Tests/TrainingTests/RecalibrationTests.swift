import Foundation
import LinearAlgebra
import NeuralNetworks
import Testing
import Training

/// Algorithm 2 of Ioffe and Szegedy 2015 against sums written out.
@Suite struct RecalibrationTests {
  /// One normalization first, so that its statistics are the data's own.
  private func model(momentum: Double = 0.99) throws -> Sequential<Double> {
    let model = Sequential<Double>(layers: [
      BatchNormalization(momentum: .weightOfOld(momentum), name: "first"), Dense(20, activation: .relu), Dropout(0.5),
      BatchNormalization(name: "second"), Dense(3, activation: .softmax),
    ])
    try model.compile(loss: .sparseCategoricalCrossEntropy(), threads: 2)
    return model
  }

  @Test func oneBatchOfAllGivesTheUnbiasedVariance() throws {
    let model = try model()
    let (inputs, labels) = Fixtures.points(count: 33, as: Double.self)
    try model.recalibrate(on: Samples(inputs, labels: labels), batchSize: 33)
    for feature in 0..<8 {
      let values = (0..<33).map { inputs.scalars[$0 * 8 + feature] }
      let mean = values.reduce(0, +) / 33
      let variance = values.reduce(0) { $0 + ($1 - mean) * ($1 - mean) } / 32
      #expect(abs(try model.parameter("first.moving_mean").scalars[feature] - mean) < 1e-14)
      #expect(abs(try model.parameter("first.moving_variance").scalars[feature] - variance) < 1e-14)
    }
    // The second layer sees the first by its batch's biased variance, and no dropout: E[x̂²] = σ²/(σ² + ε).
    let hidden = try model.activations(of: "dense", on: Samples(inputs), mode: .training)
    for unit in 0..<20 {
      let values = (0..<33).map { hidden.scalars[$0 * 20 + unit] }
      let mean = values.reduce(0, +) / 33
      let variance = values.reduce(0) { $0 + ($1 - mean) * ($1 - mean) } / 32
      #expect(abs(try model.parameter("second.moving_mean").scalars[unit] - mean) < 1e-13)
      #expect(abs(try model.parameter("second.moving_variance").scalars[unit] - variance) < 1e-13)
    }
  }

  @Test func manyBatchesAverageToThePopulation() throws {
    let model = try model()
    let (inputs, _) = Fixtures.points(count: 1_000, as: Double.self)
    // 90 batches of 11 and one of 10: within each the unbiased variance has the population's as its mean.
    let report = try model.recalibrate(on: Samples(inputs), batchSize: 11)
    #expect(report.layers.map(\.name) == ["first", "second"] && report.samples == 1_000)
    for feature in 0..<8 {
      let values = (0..<1_000).map { inputs.scalars[$0 * 8 + feature] }
      let mean = values.reduce(0, +) / 1_000
      let variance = values.reduce(0) { $0 + ($1 - mean) * ($1 - mean) } / 999
      #expect(abs(try model.parameter("first.moving_mean").scalars[feature] - mean) < 1e-12)
      // A biased variance would be too small by 1/11; the mean of 91 variances is off by √(2/1000) of it.
      #expect(abs(try model.parameter("first.moving_variance").scalars[feature] / variance - 1) < 0.05)
    }
  }

  @Test func nothingElseChanges() throws {
    let data: Samples<Double> = try Fixtures.clusters(count: 100)
    let (touched, left) = (try model(), try model())
    for model in [touched, left] { try model.fit(data, epochs: 2, batchSize: 10, verbose: .silent) }
    try touched.recalibrate(on: data)
    for parameter in left.parameters where parameter.isTrainable {
      #expect(try touched.parameter(parameter.name) == left.parameter(parameter.name))
    }
    // With the statistics put back the two go on alike: optimizer and random state are as before.
    for parameter in left.parameters where !parameter.isTrainable {
      #expect(try touched.parameter(parameter.name) != left.parameter(parameter.name))
      try touched.setParameter(parameter.name, to: left.parameter(parameter.name))
    }
    for model in [touched, left] { try model.fit(data, epochs: 1, batchSize: 10, verbose: .silent) }
    #expect(try touched.weightsSHA256() == left.weightsSHA256())
  }

  @Test func reportSaysHowFarTheAveragesWere() throws {
    let model = try model()
    let data: Samples<Double> = try Fixtures.clusters(count: 100)
    try model.recalibrate(on: data)
    let again = try model.recalibrate(on: data)
    #expect(again.layers.allSatisfy { $0.largestMeanError == 0 && $0.largestVarianceRatio == 1 })
    var mean = try model.parameter("first.moving_mean")
    var variance = try model.parameter("first.moving_variance")
    let deviation = (variance.scalars[3] + 1e-3).squareRoot()
    mean = Tensor(shape: [8]) { mean.scalars[$0] + ($0 == 3 ? 2 * deviation : 0) }
    variance = Tensor(shape: [8]) { ($0 == 5 ? 4 : 1) * (variance.scalars[$0] + 1e-3) - 1e-3 }
    try model.setParameter("first.moving_mean", to: mean)
    try model.setParameter("first.moving_variance", to: variance)
    let layer = try model.recalibrate(on: data).layers[0]
    #expect(abs(layer.largestMeanError - 2) < 1e-9 && abs(layer.meanError - 2 / 8.0.squareRoot()) < 1e-9)
    #expect(abs(layer.largestVarianceRatio - 4) < 1e-9 && abs(layer.varianceRatio - pow(4, 1.0 / 8)) < 1e-9)
  }

  @Test func poisonedStatisticsAreReplaced() throws {
    let model = try model()
    let data: Samples<Double> = try Fixtures.clusters(count: 60)
    try model.fit(data, batchSize: 10, verbose: .silent)
    try model.setParameter("second.moving_variance", to: Tensor(shape: [20]) { $0 == 7 ? .nan : 1 })
    let report = try model.recalibrate(on: data)
    #expect(report.layers[1].largestVarianceRatio == .infinity)
    #expect(try model.parameter("second.moving_variance").scalars.allSatisfy { $0.isFinite && $0 > 0 })
    #expect(try model.evaluate(data).loss.isFinite)
  }

  @Test func innerAxisCountsAllItsNumbers() throws {
    let model = Sequential<Float>(layers: [BatchNormalization(axis: 1), Flatten(), Dense(2)])
    // Two samples of (3, 4): eight numbers for each of three features, so Var = 8/7·σ².
    let inputs = Tensor<Float>(shape: [2, 3, 4]) { Float(($0 * 7) % 11) }
    try model.recalibrate(on: Samples(inputs), batchSize: 2)
    for feature in 0..<3 {
      let values = (0..<24).filter { $0 / 4 % 3 == feature }.map { Double(inputs.scalars[$0]) }
      let mean = values.reduce(0, +) / 8
      let variance = values.reduce(0) { $0 + ($1 - mean) * ($1 - mean) } / 7
      #expect(abs(Double(try model.parameter("batch_normalization.moving_mean").scalars[feature]) - mean) < 1e-5)
      let found = Double(try model.parameter("batch_normalization.moving_variance").scalars[feature])
      #expect(abs(found - variance) < 1e-5 * variance)
    }
  }

  @Test func whatHasNoVarianceIsRefused() throws {
    let model = try model()
    let one: Samples<Double> = try Fixtures.clusters(count: 1)
    #expect(throws: ModelError.self) { try model.recalibrate(on: one) }
    let data: Samples<Double> = try Fixtures.clusters(count: 41)
    #expect(throws: ModelError.self) { try model.recalibrate(on: data, batchSize: 1) }
    // A single row at the end joins the batch before it.
    #expect(try model.recalibrate(on: data, batchSize: 10).samples == 41)
    let plain = Sequential<Double>(layers: [Dense(3)])
    #expect(try plain.recalibrate(on: data).layers.isEmpty)
  }
}
