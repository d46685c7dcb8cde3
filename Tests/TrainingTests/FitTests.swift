import Datasets
import Foundation
import LinearAlgebra
import NeuralNetworks
import Testing
import Training

/// What `fit`, `evaluate`, `predict` and `trainOnBatch` do beside moving weights.
@Suite("Training")
struct FitTests {
  @Test("fit learns, and its history says how")
  func history() throws {
    let model = try Fixtures.compiled(optimizer: Adam(learningRate: 0.01), as: Float.self)
    let data = try Fixtures.clusters(count: 600, as: Float.self)
    let held = try Fixtures.clusters(count: 200, seed: 2, as: Float.self)
    let history = try model.fit(data, epochs: 6, validationData: held, verbose: .silent)
    #expect(history.epochs.map(\.epoch) == Array(0..<6))
    #expect(history.loss.count == 6 && history.accuracy.count == 6)
    #expect(history.validationLoss.count == 6 && history.validationAccuracy.count == 6)
    #expect(history.loss[5] < 0.7 * history.loss[0] && history.accuracy[5] > history.accuracy[0])
    #expect(history.validationAccuracy[5] > 0.85)
    #expect(history.epochs.allSatisfy { $0.seconds > 0 && $0.samplesPerSecond > 0 })
    #expect(history.seconds == history.epochs.reduce(0) { $0 + $1.seconds })
    // The last validation is an evaluation of what was left.
    #expect(try model.evaluate(held) == history.epochs[5].validation)
    #expect(model.epochCount == 6 && model.stepCount == 6 * 19)
    let alone = try model.fit(data, verbose: .silent)
    #expect(alone.validationLoss.isEmpty && alone.epochs[0].validation == nil)
  }

  @Test("Losses without a notion of right have no accuracy")
  func noAccuracy() throws {
    let model = Sequential { Dense(2) }
    try model.compile(optimizer: SGD(learningRate: 0.1), loss: .meanSquaredError)
    let inputs = Tensor<Float>(shape: [20, 3]) { Float($0 % 7) / 7 }
    let history = try model.fit(
      Samples(inputs, targets: .zeros([20, 2])), epochs: 30, validationSplit: 0.2, verbose: .silent)
    #expect(history.accuracy.isEmpty && history.validationAccuracy.isEmpty)
    #expect(history.loss[29] < 0.5 * history.loss[0])
  }

  @Test("The reported loss is the mean over the samples, a ragged last batch included", arguments: [1, 7, 16, 30, 100])
  func meanLoss(batchSize: Int) throws {
    // A network that treats samples alone and does not move: training and evaluation measure the same.
    let model = Sequential<Double> { Dense(3) }
    try model.compile(
      optimizer: SGD(learningRate: 0), loss: .sparseCategoricalCrossEntropy(fromLogits: true), threads: 1)
    let data = try Fixtures.clusters(count: 30, as: Double.self)
    let record = try model.fit(data, batchSize: batchSize, verbose: .silent).epochs[0]
    let evaluation = try model.evaluate(data)
    // Sums of 30 terms around 1, in another order.
    #expect(abs(record.training.loss - evaluation.loss) <= 30 * evaluation.loss.ulp * 4)
    #expect(record.training.accuracy == evaluation.accuracy)
    #expect(model.stepCount == (30 + batchSize - 1) / batchSize)
  }

  @Test("A validation split keeps the last samples, before any shuffling", arguments: [0.25, 0.33, 0.01, 0.99])
  func validationSplit(fraction: Double) throws {
    let data = try Fixtures.clusters(count: 200, as: Double.self)
    let count = Int((200 * (1 - fraction)).rounded(.down))
    let split = try Fixtures.compiled(as: Double.self)
    let history = try split.fit(data, epochs: 2, validationSplit: fraction, verbose: .silent)
    let given = try Fixtures.compiled(as: Double.self)
    let other = try given.fit(
      data[0..<count], epochs: 2, validationData: data[count..<200], verbose: .silent)
    #expect(history.validationLoss == other.validationLoss && history.loss == other.loss)
    #expect(try split.weightsSHA256() == given.weightsSHA256())
  }

  @Test("Parts of samples are those rows")
  func parts() throws {
    let (inputs, labels) = Fixtures.points(count: 20, as: Double.self)
    let data = try Samples(inputs, labels: labels)
    let part = data[3..<17][2..<9]
    #expect(part.count == 7)
    let model = try Fixtures.compiled(as: Double.self)
    let expected = try Samples(inputs.rows(5..<12), labels: Array(labels[5..<12]))
    #expect(try model.predict(part) == model.predict(expected))
    #expect(try model.evaluate(part) == model.evaluate(expected))
    let (training, validation) = try data.split(validationFraction: 0.3)
    #expect(training.count == 14 && validation.count == 6)
  }

  @Test("evaluate is the loss of what predict returns")
  func evaluation() throws {
    let (inputs, labels) = Fixtures.points(count: 75, as: Double.self)
    let data = try Samples(inputs, labels: labels)
    let model = try Fixtures.compiled(as: Double.self)
    try model.fit(data, epochs: 2, verbose: .silent)
    let output = try model.predict(inputs)
    var loss = 0.0
    var right = 0
    for (row, label) in labels.enumerated() {
      let probabilities = (0..<3).map { output[row, $0] }
      #expect(abs(probabilities.reduce(0, +) - 1) <= 4 * 1.0.ulp)
      loss -= log(probabilities[label])
      right += probabilities.max() == probabilities[label] ? 1 : 0
    }
    let evaluation = try model.evaluate(data)
    // log of probabilities, and logits through the fused loss, differ by roundings: 75 losses, a few ulp each.
    #expect(abs(evaluation.loss - loss / 75) <= 75 * 16 * 1.0.ulp)
    #expect(evaluation.accuracy == Double(right) / 75)
  }

  @Test("trainOnBatch measures before it moves")
  func trainOnBatch() throws {
    let data = try Fixtures.clusters(count: 32, as: Float.self)
    let model = try Fixtures.compiled(optimizer: SGD(learningRate: 0.05), as: Float.self)
    try model.build(inputShape: [8])
    let first = try model.computeGradients(data)
    #expect(try model.trainOnBatch(data) == first)
    for _ in 0..<30 { try model.trainOnBatch(data) }
    #expect(try model.trainOnBatch(data).loss < 0.7 * first.loss)
  }

  @Test("A schedule multiplies the learning rate step by step", arguments: LearningRateSchedule.allCases)
  func schedules(schedule: LearningRateSchedule) throws {
    let data = try Fixtures.clusters(count: 40, as: Double.self)
    let model = try Fixtures.compiled(optimizer: SGD(learningRate: 0.5, momentum: 0.9), as: Double.self)
    try model.fit(data, epochs: 2, batchSize: 16, schedule: schedule, shuffle: false, verbose: .silent)
    #expect(model.optimizer?.learningRate == 0.5)
    let manual = try Fixtures.compiled(optimizer: SGD(learningRate: 0.5, momentum: 0.9), as: Double.self)
    for step in 0..<6 {
      let t = Double(step) / 6
      let factor = [.constant: 1, .cosine: (1 + cos(.pi * t)) / 2, .linear: 1 - t][schedule] ?? .nan
      try manual.setLearningRate(0.5 * factor)
      try manual.trainOnBatch(data[step % 3 * 16..<min(step % 3 * 16 + 16, 40)])
    }
    #expect(try model.weightsSHA256() == manual.weightsSHA256())
  }

  @Test("Bytes scaled as they are gathered are numbers scaled before")
  func images() throws {
    let pixels = (0..<40 * 6).map { UInt8(truncatingIfNeeded: $0 &* 37 &+ $0 / 11) }
    let labels = (0..<40).map { Int32($0 % 3) }
    let images = try ImageDataset(pixels: pixels, labels: labels, height: 2, width: 3)
    let scale = (0..<6).map { 0.5 + Double($0) / 8 }
    let offset = (0..<6).map { 1 - Double($0) / 4 }
    for (scaling, expected) in [
      (PixelScaling.unit, { (index: Int) in Double(pixels[index]) / 255 }),
      (.uniform(scale: 0.25, offset: -3), { Double(pixels[$0]) * 0.25 - 3 }),
      (.perFeature(scale: scale, offset: offset), { Double(pixels[$0]) * scale[$0 % 6] + offset[$0 % 6] }),
    ] {
      let model = try Fixtures.compiled(as: Double.self)
      let tensor = Tensor<Double>(shape: [40, 6], generator: expected)
      let samples = try Samples<Double>(images, scaling: scaling)
      #expect(samples.inputShape == [6] && samples.count == 40)
      let fromBytes = try model.predict(samples)
      let fromNumbers = try model.predict(tensor)
      for (left, right) in zip(fromBytes.scalars, fromNumbers.scalars) {
        // One rounding of an input of up to 255·1.2, through weights of about 1: far from saturated outputs.
        #expect(abs(left - right) <= 1000 * 256.0.ulp)
      }
      let flat = try Samples(tensor, labels: labels.map(Int.init))
      #expect(abs(try model.evaluate(samples).loss - model.evaluate(flat).loss) <= 1e4 * 256.0.ulp)
    }
    let shaped = Sequential<Float> {
      Flatten()
      Dense(3)
    }
    #expect(try shaped.predict(Samples<Float>(images, shape: [2, 3])).shape == [40, 3])
    #expect(shaped.inputShape == [2, 3])
  }
}
