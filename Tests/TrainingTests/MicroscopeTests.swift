import Datasets
import Foundation
import LinearAlgebra
import NeuralNetworks
import Testing
import Training

@Suite struct MicroscopeTests {
  private func model(momentum: Double = 0.99) throws -> Sequential<Double> {
    let model = Sequential<Double>(layers: [
      BatchNormalization(name: "first"), Dense(70, activation: .relu), Dropout(0.2),
      BatchNormalization(scale: false, name: "second"), Dense(20, useBias: false),
      BatchNormalization(center: false, name: "third"), Activation.relu, Dense(3, activation: .softmax),
    ])
    try model.compile(loss: .sparseCategoricalCrossEntropy(), threads: 2)
    return model
  }

  private func column(_ tensor: Tensor<Double>, _ index: Int) -> [Double] {
    (0..<tensor.shape[0]).map { tensor.scalars[$0 * tensor.shape[1] + index] }
  }

  @Test func trainingIsTheSameToTheBit() throws {
    let data: Samples<Double> = try Fixtures.clusters(count: 100)
    let (watched, alone) = (try model(), try model())
    var steps: [Int] = []
    try watched.fit(
      data, epochs: 3, batchSize: 16, verbose: .silent, microscope: Microscope(every: 4) { steps.append($0.step) })
    try alone.fit(data, epochs: 3, batchSize: 16, verbose: .silent)
    #expect(steps == [0, 4, 8, 12, 16, 20])
    #expect(try watched.weightsSHA256() == alone.weightsSHA256())
  }

  @Test func numbersAreThoseOfTheBatch() throws {
    let (inputs, labels) = Fixtures.points(count: 37, as: Double.self)
    let data = try Samples(inputs, labels: labels)
    let model = try model()
    try model.fit(data, epochs: 20, batchSize: 37, shuffle: false, verbose: .silent)
    var seen: MicroscopeReport?
    var expected: [(name: String, input: Tensor<Double>, output: Tensor<Double>)] = []
    let moving = try ["first", "second", "third"].map {
      (try model.parameter("\($0).moving_mean").scalars, try model.parameter("\($0).moving_variance").scalars)
    }
    for (name, before) in [("second", "dropout"), ("third", "dense_1")] {
      expected.append(
        (
          name, try model.activations(of: before, on: data, mode: .training),
          try model.activations(of: name, on: data, mode: .training)
        ))
    }
    expected.insert(("first", inputs, try model.activations(of: "first", on: data, mode: .training)), at: 0)
    let twin = try self.model()
    try twin.build(inputShape: [8])
    for parameter in model.parameters { try twin.setParameter(parameter.name, to: model.parameter(parameter.name)) }
    try model.fit(
      data, batchSize: 37, shuffle: false, verbose: .silent, microscope: Microscope(every: 1) { seen = $0 })
    let report = try #require(seen)
    #expect(report.step == 20 && report.epoch == 0 && report.layers.map(\.name) == ["first", "second", "third"])
    for (index, layer) in report.layers.enumerated() {
      for (feature, found) in layer.features.enumerated() {
        let x = column(expected[index].input, feature)
        let mean = x.reduce(0, +) / 37
        let variance = x.reduce(0) { $0 + ($1 - mean) * ($1 - mean) } / 37
        #expect(abs(found.batchMean - mean) < 1e-12 && abs(found.batchVariance - variance) < 1e-12)
        #expect(found.inputs == Percentiles(of: x))
        #expect(found.outputs == Percentiles(of: column(expected[index].output, feature)))
        #expect(found.runningMean == moving[index].0[feature] && found.runningVariance == moving[index].1[feature])
        let deviation = (moving[index].1[feature] + 1e-3).squareRoot()
        #expect(abs(found.meanDrift! - (mean - moving[index].0[feature]) / deviation) < 1e-12)
        #expect(abs(found.varianceRatio! - (variance + 1e-3) / (deviation * deviation)) < 1e-12)
      }
    }
    #expect(report.layers[1].features[0].gamma == nil && report.layers[1].gammaGradientNorm == nil)
    #expect(report.layers[2].features[0].beta == nil && report.layers[2].betaGradientNorm == nil)
    // Gradients are those of the step: SGD with rate 1 subtracts them.
    #expect(report.gradientNorms.map(\.name) == model.parameters.filter(\.isTrainable).map(\.name))
    #expect(report.layers[0].gammaGradientNorm == report.gradientNorms.first { $0.name == "first.gamma" }?.norm)
  }

  @Test func gradientsAreThoseOfTheUpdate() throws {
    let data: Samples<Double> = try Fixtures.clusters(count: 30)
    let model = try model()
    try model.compile(optimizer: SGD(learningRate: 1), loss: .sparseCategoricalCrossEntropy(), threads: 1)
    try model.build(inputShape: [8])
    let before = try model.parameter("first.beta").scalars
    let kernel = try model.parameter("dense.kernel").scalars
    var seen: MicroscopeReport?
    try model.fit(data, batchSize: 30, verbose: .silent, microscope: Microscope { seen = $0 })
    let after = try model.parameter("first.beta").scalars
    let report = try #require(seen)
    for feature in 0..<8 {
      let gradient = try #require(report.layers[0].features[feature].betaGradient)
      #expect(abs(before[feature] - after[feature] - gradient) < 1e-14)
    }
    let change = zip(kernel, try model.parameter("dense.kernel").scalars).reduce(0) {
      $0 + ($1.0 - $1.1) * ($1.0 - $1.1)
    }
    let norm = try #require(report.gradientNorms.first { $0.name == "dense.kernel" }).norm
    #expect(abs(change.squareRoot() - norm) < 1e-12 * norm)
  }

  @Test func deadFeaturesAreFound() throws {
    let model = try model()
    try model.build(inputShape: [8])
    // A bias of −1000 silences unit 5 of the first layer; one of 1000 with no weights makes unit 6 constant.
    let kernel = try model.parameter("dense.kernel")
    try model.setParameter("dense.kernel", to: Tensor(shape: [8, 70]) { $0 % 70 == 6 ? 0 : kernel.scalars[$0] })
    try model.setParameter("dense.bias", to: Tensor(shape: [70]) { $0 == 5 ? -1000 : $0 == 6 ? 1000 : 0 })
    let data: Samples<Double> = try Fixtures.clusters(count: 50)
    var dead: [Int] = []
    let plain = Sequential<Double>(layers: [
      Dense(70, activation: .relu), BatchNormalization(), Dense(3, activation: .softmax),
    ])
    try plain.compile(loss: .sparseCategoricalCrossEntropy())
    try plain.build(inputShape: [8])
    for name in ["dense.kernel", "dense.bias"] { try plain.setParameter(name, to: model.parameter(name)) }
    try plain.fit(
      data, batchSize: 50, verbose: .silent, microscope: Microscope { dead = $0.layers[0].deadFeatures })
    #expect(dead.contains(5) && dead.contains(6) && dead.count < 20)
  }

  @Test func whatItThrowsEndsTheTraining() throws {
    struct Enough: Error {}
    let data: Samples<Double> = try Fixtures.clusters(count: 100)
    let model = try model()
    #expect(throws: Enough.self) {
      try model.fit(
        data, epochs: 9, batchSize: 10, verbose: .silent,
        microscope: Microscope(every: 3) { if $0.step == 6 { throw Enough() } })
    }
    #expect(throws: ModelError.self) { try model.fit(data, microscope: Microscope(every: 0) { _ in }) }
  }

  @Test func innerAxisIsSplitByFeature() throws {
    let model = Sequential<Float>(layers: [BatchNormalization(axis: 1), Flatten(), Dense(1)])
    try model.compile(loss: .meanSquaredError)
    let inputs = Tensor<Float>(shape: [5, 3, 4]) { Float($0 / 4 % 3 * 10 + $0 % 2) }
    var seen: MicroscopeReport?
    try model.fit(
      Samples(inputs, targets: Tensor(shape: [5, 1]) { Float($0) }), verbose: .silent,
      microscope: Microscope { seen = $0 })
    let features = try #require(seen?.layers.first?.features)
    #expect(features.map(\.batchMean) == [0.5, 10.5, 20.5] && features.map(\.batchVariance) == [0.25, 0.25, 0.25])
  }

  @Test func fileThatCannotBeWrittenIsNamed() throws {
    #expect {
      try MicroscopeFile(path: "/no/such/folder/a.csv")
    } throws: {
      "\($0)".contains("/no/such/folder/a.csv")
    }
    guard FileManager.default.fileExists(atPath: "/dev/full") else { return }
    #expect(throws: DatasetError.self) { try MicroscopeFile(path: "/dev/full") }
  }
}
