import Foundation
import LinearAlgebra
import NeuralNetworks
import Testing
import Training

@Suite struct ModeCheckTests {
  private func trained(dropout: Double = 0) throws -> (Sequential<Double>, Samples<Double>) {
    let model = Sequential<Double>(layers: [
      Dense(24, activation: .relu), BatchNormalization(name: "first"), Dropout(dropout), Dense(20),
      BatchNormalization(name: "second"), Activation.relu, Dense(17), BatchNormalization(name: "third"),
      Activation.relu, Dense(3, activation: .softmax),
    ])
    try model.compile(loss: .sparseCategoricalCrossEntropy(), threads: 2)
    let data: Samples<Double> = try Fixtures.clusters(count: 301)
    try model.fit(data, epochs: 40, batchSize: 30, verbose: .silent)
    return (model, data)
  }

  @Test(arguments: ["first", "second", "third"])
  func wrongStatisticsAreFound(name: String) throws {
    let (model, data) = try trained()
    let good = try model.checkModes(on: data, batchSize: 30)
    #expect(abs(good.gap) < 0.1 && good.inference.accuracy! > 0.9)
    let variance = try model.parameter("\(name).moving_variance")
    try model.setParameter("\(name).moving_variance", to: Tensor(shape: variance.shape) { variance.scalars[$0] * 400 })
    let check = try model.checkModes(on: data, batchSize: 30)
    #expect(check.training == good.training, "training mode does not look at moving statistics")
    #expect(check.gap > 0.2 && check.gapOfStatistics > 0.2)
    #expect(check.culprit?.name == name)
    let culprit = try #require(check.culprit)
    #expect(check.excess(of: culprit) > 0.2 && culprit.statistics.varianceRatio > 10)
    // All of the gap goes with its statistics, whatever the others'.
    #expect(culprit.replacedAlone.loss < good.inference.loss + 0.1)
    for layer in check.layers where layer.name != name { #expect(check.excess(of: layer) < 0.1) }
  }

  @Test func notANumberIsTheWorst() throws {
    let (model, data) = try trained()
    try model.setParameter("second.moving_mean", to: Tensor(shape: [20]) { $0 == 3 ? .nan : 0 })
    #expect(try model.checkModes(on: data).culprit?.name == "second")
  }

  @Test func nothingChanges() throws {
    let (model, data) = try trained(dropout: 0.3)
    let (twin, _) = try trained(dropout: 0.3)
    #expect(try model.weightsSHA256() == twin.weightsSHA256())
    let check = try model.checkModes(on: data)
    #expect(try model.weightsSHA256() == twin.weightsSHA256())
    #expect(try model.evaluate(data) == check.inference)
    for each in [model, twin] { try each.fit(data, epochs: 1, batchSize: 30, verbose: .silent) }
    #expect(try model.weightsSHA256() == twin.weightsSHA256())
  }

  @Test func trainingModeIsThatOfAStep() throws {
    let (model, data) = try trained()
    // One batch of all: what a step would report before its update.
    let check = try model.checkModes(on: data, batchSize: 301)
    let step = try model.computeGradients(data)
    #expect(abs(check.training.loss - step.loss) < 1e-12 && check.training.accuracy == step.accuracy)
    let plain = Sequential<Double>(layers: [Dense(3, activation: .softmax)])
    try plain.compile(loss: .sparseCategoricalCrossEntropy())
    let without = try plain.checkModes(on: data)
    #expect(without.layers.isEmpty && without.culprit == nil && abs(without.gap) < 1e-12)
  }
}
