import Datasets
import LinearAlgebra
import NeuralNetworks
import RandomNumbers
import Testing
@testable import Training

/// `predict` and `evaluate` by way of a predictor, against the compiled step.
@Suite("Inference of a model")
struct InferencePathTests {
  private func model<Scalar: NetworkScalar>(_ loss: Loss, softmax: Bool) throws -> Sequential<Scalar> {
    let model = Sequential<Scalar>(
      seed: 3,
      layers: [
        Dense(33, activation: .relu), BatchNormalization(momentum: .weightOfOld(0.5)), Dropout(0.3),
        Dense(17, useBias: false),
        BatchNormalization(momentum: .weightOfOld(0.5)), Activation.tanh,
        Dense(5, activation: softmax ? .softmax : .sigmoid),
      ])
    try model.compile(optimizer: SGD(learningRate: 0.1), loss: loss, threads: 2)
    return model
  }

  private func inputs<Scalar: NetworkScalar>(_ count: Int) -> Tensor<Scalar> {
    var generator = Philox(seed: 5, purpose: "inference path", index: 0)
    return Tensor(shape: [count, 20]) { _ in Scalar(generator.nextNormal()) }
  }

  private func labelled<Scalar: NetworkScalar>(_ count: Int) throws -> Samples<Scalar> {
    try Samples(inputs(count), labels: (0..<count).map { $0 * 7 % 5 })
  }

  private func targeted<Scalar: NetworkScalar>(_ count: Int) throws -> Samples<Scalar> {
    try Samples(inputs(count), targets: Tensor(shape: [count, 5]) { Scalar($0 % 5 == $0 / 5 % 5 ? 1 : 0) })
  }

  /// Sums over batches of the compiled step's evaluation.
  private func planEvaluation<Scalar: NetworkScalar>(
    _ model: Sequential<Scalar>, _ data: Samples<Scalar>
  ) throws -> (loss: Double, correct: Int) {
    let plan = try model.plan(samples: data.count)
    let indices = data.rows.map { Int32($0) }
    return data.withSource { source in
      let sums = plan.evaluate(source, indices: indices, samples: data.count)
      return (sums.loss / Double(data.count), sums.correct)
    }
  }

  private func check<Scalar: NetworkScalar>(
    _ loss: Loss, softmax: Bool, _ data: Samples<Scalar>, _ tolerance: Double
  ) throws {
    let model: Sequential<Scalar> = try model(loss, softmax: softmax)
    try model.fit(data, batchSize: 64, verbose: .silent)
    // More samples than are judged at once, and a part that begins in the middle.
    for part in [data, data[17..<90], data[3..<4]] {
      let expected = try planEvaluation(model, part)
      let got = try model.evaluate(part)
      #expect(model.foldingRefusal == nil)
      #expect(abs(got.loss - expected.loss) <= tolerance * max(1, expected.loss), "\(loss), \(Scalar.self)")
      if let accuracy = got.accuracy {
        #expect(abs(accuracy - Double(expected.correct) / Double(part.count)) <= 2 / Double(part.count))
      }
      let outputs = try model.predict(part)
      #expect(outputs.shape == [part.count, 5])
    }
  }

  @Test("Losses and accuracies agree with the compiled step's")
  func evaluation() throws {
    try check(.sparseCategoricalCrossEntropy(), softmax: true, labelled(2100) as Samples<Float>, 1e-5)
    try check(.sparseCategoricalCrossEntropy(), softmax: true, labelled(300) as Samples<Double>, 1e-13)
    try check(.sparseCategoricalCrossEntropy(fromLogits: true), softmax: false, labelled(300) as Samples<Float>, 1e-5)
    try check(.categoricalCrossEntropy(), softmax: true, targeted(300) as Samples<Float>, 1e-5)
    try check(.categoricalCrossEntropy(fromLogits: true), softmax: false, targeted(300) as Samples<Double>, 1e-13)
    try check(.categoricalCrossEntropy(), softmax: false, targeted(300) as Samples<Float>, 1e-5)
    try check(.binaryCrossEntropy(), softmax: false, targeted(300) as Samples<Float>, 1e-5)
    try check(.binaryCrossEntropy(fromLogits: true), softmax: false, targeted(300) as Samples<Float>, 1e-5)
    try check(.meanSquaredError, softmax: false, targeted(300) as Samples<Float>, 1e-5)
    try check(.meanSquaredError, softmax: true, targeted(300) as Samples<Double>, 1e-13)
  }

  @Test("Changed weights and statistics are seen")
  func changes() throws {
    let data: Samples<Float> = try labelled(100)
    let model: Sequential<Float> = try model(.sparseCategoricalCrossEntropy(), softmax: true)
    var last = try model.evaluate(data).loss
    func expectChange(_ what: String) throws {
      let loss = try model.evaluate(data).loss
      #expect(loss != last, "\(what)")
      #expect(abs(loss - (try planEvaluation(model, data)).loss) < 1e-5, "\(what)")
      last = loss
    }
    try model.trainOnBatch(data)
    try expectChange("a step")
    try model.setLearningRate(0)
    try model.trainOnBatch(data)
    try expectChange("statistics alone")
    try model.setParameter("dense_2.bias", to: Tensor(shape: [5], scalars: [1, 2, 3, 4, 5]))
    try expectChange("a bias")
    let same = try model.evaluate(data).loss
    #expect(same == last)
  }

  @Test("A model that cannot be folded is evaluated as it is, and says so")
  func refused() throws {
    let data: Samples<Float> = try labelled(100)
    let model: Sequential<Float> = try model(.sparseCategoricalCrossEntropy(), softmax: true)
    try model.fit(data, verbose: .silent)
    // Activations of 10⁶, all but their roundings taken away by the mean.
    try model.setParameter("dense.bias", to: Tensor(shape: [33], repeating: 1e6))
    try model.setParameter("batch_normalization.moving_mean", to: Tensor(shape: [33], repeating: 1e6))
    let expected = try planEvaluation(model, data).loss
    let got = try model.evaluate(data).loss
    #expect(try #require(model.foldingRefusal).contains("'batch_normalization'"))
    // Roundings of 0.06 in every activation, in both.
    #expect(abs(got - expected) <= 0.5 * max(1, expected))
    // Diverged training has a loss to report, not an error.
    try model.setParameter("dense.bias", to: Tensor(shape: [33], repeating: .nan))
    #expect(try model.evaluate(data).loss.isNaN)
    #expect(try #require(model.foldingRefusal).contains("dense.bias"))
    #expect(try model.predict(inputs(2)).scalars.allSatisfy(\.isNaN))
  }

  @Test("Images are scaled as they are gathered")
  func images() throws {
    let digits = SyntheticDigits(seed: 1).data(trainCount: 60, testCount: 10)
    let model = Sequential<Float>(layers: [
      Dense(16, activation: .relu), BatchNormalization(), Dense(10, activation: .softmax),
    ])
    try model.build(inputShape: [784])
    let perPixel = PixelScaling.perFeature(
      scale: (0..<784).map { 0.001 * Double($0 % 7 + 1) }, offset: (0..<784).map { Double($0 % 3) - 1 })
    for scaling in [PixelScaling.unit, perPixel] {
      let samples = try Samples<Float>(digits.train, scaling: scaling)
      let predictor = try model.predictor()
      let plan = try model.plan(samples: 60)
      let indices = (0..<60).map { Int32($0) }
      let expected = samples.withSource { source in
        plan.infer(source, indices: indices, samples: 60)
        let view = plan.output(samples: 60)
        return (0..<600).map { view.base[$0 / 10 * view.stride + $0 % 10] }
      }
      for range in [0..<60, 7..<8, 50..<60] {
        let got = try predictor.predict(samples[range])
        #expect(got == (try model.predict(samples[range])))
        for (index, value) in got.scalars.enumerated() {
          #expect(abs(value - expected[range.lowerBound * 10 + index]) < 1e-5)
        }
        let classes = try predictor.classes(samples[range])
        #expect(classes.count == range.count)
        for (row, label) in classes.enumerated() {
          #expect(got.scalars[row * 10 + label] == got.scalars[row * 10..<row * 10 + 10].max())
        }
      }
      #expect(throws: ModelError.self) { try predictor.predict(Samples(Tensor<Float>.zeros([1, 3]))) }
    }
  }
}
