import Foundation
import Kernels
import LinearAlgebra
import NeuralNetworks
import RandomNumbers
import Synchronization
import Testing

/// Predictors against the compiled step's inference, which folds nothing.
@Suite("Predictor")
struct PredictorTests {
  /// A network with the input's shape, and how many of its normalizations are folded and remain.
  struct Case: Sendable, CustomStringConvertible {
    var description: String
    var layers: [any Layer]
    var inputShape: [Int]
    var folded: Int
    var remaining = 0
  }

  static let cases: [Case] = [
    Case(
      description: "after the activation",
      layers: [
        Dense(33, activation: .relu), BatchNormalization(), Dense(17, activation: .tanh), BatchNormalization(),
        Dense(10),
      ], inputShape: [65], folded: 2),
    Case(
      description: "before the activation",
      layers: [
        Dense(31, useBias: false), BatchNormalization(), Activation.relu, Dense(130), BatchNormalization(),
        Activation.gelu, Dense(7, activation: .softmax),
      ], inputShape: [50], folded: 2),
    Case(
      description: "across dropout",
      layers: [
        Dense(16, activation: .sigmoid), BatchNormalization(), Dropout(0.5), Dense(3, useBias: false),
      ], inputShape: [7], folded: 1),
    Case(
      description: "in a row, before and after",
      layers: [
        BatchNormalization(), BatchNormalization(center: false), Dense(9), BatchNormalization(),
        BatchNormalization(scale: false), Activation.elu(alpha: 0.7), Dense(5),
      ], inputShape: [15], folded: 4),
    Case(
      description: "last, with nothing to fold into",
      layers: [
        Dense(64, activation: .relu), BatchNormalization(), Activation.leakyReLU(), BatchNormalization(),
        Activation.softmax, BatchNormalization(),
      ], inputShape: [16], folded: 0, remaining: 3),
    Case(
      description: "rows of a sample, flattened",
      layers: [
        Dense(12, activation: .relu), BatchNormalization(), Flatten(), Dense(6), BatchNormalization(), Activation.selu,
      ], inputShape: [5, 8], folded: 2),
    Case(
      description: "an inner axis, flattened",
      layers: [
        Activation.relu, BatchNormalization(axis: 1), Flatten(), Dense(6),
      ], inputShape: [5, 8], folded: 1),
    Case(
      description: "an inner axis that stays",
      layers: [
        Dense(8), BatchNormalization(axis: 1), Activation.relu, Dense(6, activation: .softmax), Flatten(),
        Activation.linear,
      ], inputShape: [3, 5, 4], folded: 0, remaining: 1),
    Case(
      description: "a sample's rows between products",
      layers: [
        Dense(17, activation: .gelu), BatchNormalization(), Dense(9, activation: .gelu), Flatten(), Dropout(0.1),
        Dense(4),
      ], inputShape: [3, 6], folded: 1),
    Case(description: "one unit", layers: [Dense(1, activation: .sigmoid)], inputShape: [1], folded: 0),
    Case(description: "nothing but dropout", layers: [Dropout(0.5)], inputShape: [9], folded: 0),
    Case(
      description: "no product", layers: [Activation.tanh, BatchNormalization()], inputShape: [20], folded: 0,
      remaining: 1),
    Case(
      description: "a width of whole KiB", layers: [Dense(256, activation: .relu), BatchNormalization(), Dense(256)],
      inputShape: [256], folded: 1),
    Case(
      description: "what a ReLU leaves of wide layers",
      layers: [
        Dense(520, activation: .relu), Dense(540, activation: .relu), BatchNormalization(), Dense(150),
      ], inputShape: [200], folded: 1),
  ]

  @Test("Outputs are the compiled step's", arguments: cases)
  func parity(_ example: Case) throws {
    try checkParity(Float.self, example)
    try checkParity(Double.self, example)
  }

  private func checkParity<Scalar: NetworkScalar>(_: Scalar.Type, _ example: Case) throws {
    let model: Sequential<Scalar> = try InferenceFixtures.model(example.layers, inputShape: example.inputShape)
    let predictor = try model.predictor(threads: 2)
    let report = try #require(predictor.foldingReport)
    #expect(report.foldedLayers.count == example.folded)
    #expect(report.remainingLayers.count == example.remaining)
    #expect(report.error <= report.tolerance)
    #expect(predictor.foldingRefusal == nil)
    let plain = try model.predictor(threads: 1, folding: .never)
    #expect(plain.foldingReport == nil)
    for samples in [1, 2, 3, 7, 13, 48, 49, 70, 200] {
      let inputs: Tensor<Scalar> = InferenceFixtures.inputs(samples, example.inputShape, seed: UInt64(samples))
      let expected = try InferenceFixtures.planOutputs(model, inputs)
      // Two ways of rounding the same: within the tolerance that folding is held to, for both.
      let folded = try predictor.predict(inputs)
      #expect(folded.shape == [samples] + predictor.outputShape)
      #expect(
        InferenceFixtures.difference(folded.scalars, expected) <= report.tolerance, "\(Scalar.self), \(samples) samples"
      )
      #expect(
        InferenceFixtures.difference(try plain.predict(inputs).scalars, expected) <= report.tolerance,
        "\(Scalar.self), \(samples) samples, not folded")
    }
  }

  @Test("A sample's bits depend neither on its batch nor on threads", arguments: cases)
  func bits(_ example: Case) throws {
    try checkBits(Float.self, example)
    try checkBits(Double.self, example)
  }

  private func checkBits<Scalar: NetworkScalar>(_: Scalar.Type, _ example: Case) throws {
    let model: Sequential<Scalar> = try InferenceFixtures.model(example.layers, inputShape: example.inputShape)
    let predictors = try [1, 2, 3].map { try model.predictor(threads: $0) }
    let inputs: Tensor<Scalar> = InferenceFixtures.inputs(70, example.inputShape)
    let whole = try predictors[0].predict(inputs).scalars
    let (width, outputs) = (predictors[0].inputCount, predictors[0].outputCount)
    for samples in 1...70 {
      let part = try Tensor(
        shape: [samples] + example.inputShape, scalars: Array(inputs.scalars.prefix(samples * width)))
      let got = try predictors[samples % 3].predict(part).scalars
      #expect(got == Array(whole.prefix(samples * outputs)), "\(Scalar.self), \(samples) samples")
    }
    // Enough of them for the team.
    let many: Tensor<Scalar> = InferenceFixtures.inputs(3000, example.inputShape)
    let expected = try predictors[0].predict(many)
    for predictor in predictors.dropFirst() { #expect(try predictor.predict(many) == expected) }
  }

  @Test("Images among other samples are multiplied as bytes", arguments: [64, 70, 133, 784])
  func images(width: Int) throws {
    let layers: [any Layer] = [
      Dense(50, activation: .relu), BatchNormalization(), Dense(20, activation: .gelu), BatchNormalization(), Dense(10),
    ]
    let model: Sequential<Float> = try InferenceFixtures.model(layers, inputShape: [width])
    let predictors = try [1, 2].map { try model.predictor(threads: $0) }
    let tolerance = try #require(predictors[0].foldingReport?.tolerance)
    let count = 203
    let bytes = (0..<count * width).map { UInt8(truncatingIfNeeded: $0 &* 193 &+ $0 >> 7) }
    // Both ways of scaling, and samples of which one pixel is none, in runs of all lengths.
    func isImage(_ sample: Int) -> Bool { sample % 7 != 3 && sample % 31 < 20 }
    let mixed = Tensor<Float>(shape: [count, width]) { place in
      let (sample, byte) = (place / width, Float(bytes[place]))
      let pixel = sample % 2 == 0 ? byte / 255 : byte * (1 / 255)
      return place % width == sample % width && !isImage(sample) ? pixel + 0.3 : pixel
    }
    let outputs = try predictors[0].predict(mixed).scalars
    #expect(InferenceFixtures.difference(outputs, try InferenceFixtures.planOutputs(model, mixed)) <= tolerance)
    // The bytes themselves give the same bits, where the CPU multiplies bytes.
    var ofBytes = [Float](repeating: -1, count: outputs.count)
    try bytes.withUnsafeBufferPointer { bytes in
      try ofBytes.withUnsafeMutableBufferPointer { try predictors[1].predict(bytes, into: $0) }
    }
    for sample in 0..<count {
      let range = sample * 10..<(sample + 1) * 10
      let (one, other) = (Array(outputs[range]), Array(ofBytes[range]))
      if !isImage(sample) {
        #expect(one != other)
      } else if try Float.kernels().byteProducts.multiply != nil {
        #expect(one == other, "sample \(sample)")
      } else {
        #expect(InferenceFixtures.difference(one, other) <= tolerance)
      }
      let alone = try Tensor<Float>(
        shape: [1, width], scalars: Array(mixed.scalars[sample * width..<(sample + 1) * width]))
      #expect(try predictors[0].predict(alone).scalars == one)
    }
    for samples in [2, 15, 16, 47, 48, 49, 202] {
      let part = try Tensor<Float>(shape: [samples, width], scalars: Array(mixed.scalars.prefix(samples * width)))
      #expect(try predictors[samples % 2].predict(part).scalars == Array(outputs.prefix(samples * 10)))
    }
  }

  @Test("Bytes of other scales and offsets", arguments: [(1.0, 0.0), (0.01, 0), (-0.02, 0), (0.01, -1.5)])
  func scaledBytes(scale: Double, offset: Double) throws {
    let model: Sequential<Float> = try InferenceFixtures.model(
      [Dense(50, activation: .relu), BatchNormalization(), Dense(10)], inputShape: [99])
    let predictor = try model.predictor(threads: 2)
    let bytes = (0..<77 * 99).map { UInt8(truncatingIfNeeded: $0 &* 193 &+ $0 >> 7) }
    let scaled = Tensor<Float>(shape: [77, 99]) { Float(bytes[$0]) * Float(scale) + Float(offset) }
    var outputs = [Float](repeating: -1, count: 770)
    try bytes.withUnsafeBufferPointer { bytes in
      try outputs.withUnsafeMutableBufferPointer {
        try predictor.predict(bytes, scale: scale, offset: offset, into: $0)
      }
    }
    let tolerance = try #require(predictor.foldingReport?.tolerance)
    #expect(InferenceFixtures.difference(outputs, try InferenceFixtures.planOutputs(model, scaled)) <= tolerance)
  }

  @Test("Many threads at once get what one gets")
  func concurrency() throws {
    let model: Sequential<Float> = try InferenceFixtures.model(
      [
        Dense(128, activation: .relu), BatchNormalization(), Dense(64, activation: .relu), BatchNormalization(),
        Dense(10),
      ],
      inputShape: [100])
    let predictor = try model.predictor(threads: 2)
    let batches: [Tensor<Float>] = [1, 5, 33, 300].map { InferenceFixtures.inputs($0, [100], seed: UInt64($0)) }
    let expected = try batches.map { try predictor.predict($0).scalars }
    let wrong = Atomic<Int>(0)
    DispatchQueue.concurrentPerform(iterations: 8) { caller in
      let outputs = UnsafeMutableBufferPointer<Float>.allocate(capacity: 3000)
      defer { outputs.deallocate() }
      for round in 0..<200 {
        let batch = (caller + round) % batches.count
        let part = UnsafeMutableBufferPointer(rebasing: outputs[..<expected[batch].count])
        batches[batch].withUnsafeBufferPointer { try? predictor.predict($0, into: part) }
        if memcmp(part.baseAddress!, expected[batch], 4 * part.count) != 0 { wrong.add(1, ordering: .relaxed) }
      }
    }
    #expect(wrong.load(ordering: .relaxed) == 0)
  }

  @Test("Two calls that are held in the middle at once do not share memory")
  func heldCalls() throws {
    let meeting = Meeting(of: 2)
    let layers: [any Layer] = [Dense(4, name: "a"), Rendezvous(meeting: meeting), Dense(3, name: "b")]
    let model: Sequential<Float> = try InferenceFixtures.model(layers, inputShape: [6])
    let plain: Sequential<Float> = try InferenceFixtures.model([layers[0], layers[2]], inputShape: [6])
    let predictor = try model.predictor()
    let inputs: [Tensor<Float>] = [1, 2].map { InferenceFixtures.inputs(5, [6], seed: $0) }
    let expected = try inputs.map { try plain.predictor().predict($0) }
    let right = Atomic<Int>(0)
    let done = DispatchGroup()
    for caller in 0..<2 {
      done.enter()
      Thread {
        if (try? predictor.predict(inputs[caller])) == expected[caller] { right.add(1, ordering: .relaxed) }
        done.leave()
      }.start()
    }
    done.wait()
    #expect(meeting.wasComplete)
    #expect(right.load(ordering: .relaxed) == 2)
  }

  @Test("A layer of one's own sees up to maximumBatch samples at once")
  func customLayers() throws {
    let layers: [any Layer] = [
      Dense(8, activation: .relu), BatchNormalization(), ScaledSquare<Float>(), Dense(4), BatchNormalization(),
    ]
    let model: Sequential<Float> = try InferenceFixtures.model(layers, inputShape: [6])
    let predictor = try model.predictor(maximumBatch: 5, threads: 2)
    #expect(predictor.threads == 1)
    #expect(predictor.foldingReport?.foldedLayers == ["batch_normalization_1"])
    #expect(predictor.foldingReport?.remainingLayers == ["batch_normalization"])
    let inputs: Tensor<Float> = InferenceFixtures.inputs(23, [6])
    let expected = try InferenceFixtures.planOutputs(model, inputs)
    #expect(InferenceFixtures.difference(try predictor.predict(inputs).scalars, expected) < 1e-5)
  }

  @Test("A predictor is a copy")
  func isACopy() throws {
    let model: Sequential<Float> = try InferenceFixtures.model([Dense(3)], inputShape: [2])
    let predictor = try model.predictor()
    let inputs = try Tensor<Float>([[1, 2]])
    let before = try predictor.predict(inputs)
    try model.setParameter("dense.bias", to: Tensor(shape: [3], repeating: 100))
    #expect(try predictor.predict(inputs) == before)
    #expect(try predictor.classes(inputs) == [before.scalars.firstIndex(of: before.scalars.max()!)!])
  }

  @Test("Buffers, and what does not fit")
  func buffers() throws {
    let model: Sequential<Float> = try InferenceFixtures.model([Dense(3, activation: .relu)], inputShape: [4])
    let predictor = try model.predictor()
    let bytes: [UInt8] = [0, 1, 2, 3, 255, 128, 7, 9]
    let scaled = Tensor<Float>(shape: [2, 4]) { Float(bytes[$0]) * 0.5 - 1 }
    var outputs = [Float](repeating: -1, count: 6)
    try bytes.withUnsafeBufferPointer { bytes in
      try outputs.withUnsafeMutableBufferPointer {
        try predictor.predict(bytes, scale: 0.5, offset: -1, into: $0)
      }
    }
    #expect(outputs == (try predictor.predict(scaled)).scalars)
    #expect(throws: ModelError.shape(what: "the outputs", expected: [2, 3], got: [5])) {
      try bytes.withUnsafeBufferPointer { bytes in
        try outputs.withUnsafeMutableBufferPointer { outputs in
          try predictor.predict(bytes, into: UnsafeMutableBufferPointer(rebasing: outputs[..<5]))
        }
      }
    }
    #expect(throws: ModelError.shape(what: "the inputs", expected: [1, 4], got: [7])) {
      try bytes.withUnsafeBufferPointer { bytes in
        try outputs.withUnsafeMutableBufferPointer { outputs in
          try predictor.predict(UnsafeBufferPointer(rebasing: bytes[..<7]), into: outputs)
        }
      }
    }
    #expect(throws: ModelError.shape(what: "one sample of the inputs", expected: [4], got: [2, 2])) {
      try predictor.predict(Tensor<Float>.zeros([1, 2, 2]))
    }
    // Nothing asked, nothing done.
    #expect(try predictor.predict(Tensor<Float>.zeros([0, 4])).shape == [0, 3])
    #expect(throws: ModelError.notBuilt) { try Sequential<Float>(layers: [Dense(3)]).predictor() }
    #expect(throws: ModelError.argument(name: "threads", problem: "must be at least 1, not 0")) {
      try model.predictor(threads: 0)
    }
    #expect(throws: ModelError.argument(name: "maximumBatch", problem: "must be at least 1, not 0")) {
      try model.predictor(maximumBatch: 0)
    }
  }
}

/// Where calls wait for each other; not for ever.
private final class Meeting: Sendable {
  private let size: Int
  private let arrived = Atomic<Int>(0)

  init(of size: Int) { self.size = size }

  var wasComplete: Bool { arrived.load(ordering: .acquiring) >= size }

  func wait() {
    arrived.add(1, ordering: .acquiringAndReleasing)
    let end = ContinuousClock.now + .seconds(20)
    while !wasComplete, ContinuousClock.now < end { usleep(100) }
  }
}

/// Passes its input on once all calls are there.
private struct Rendezvous: CustomLayer {
  let meeting: Meeting

  func outputShape(inputShape: [Int]) throws -> [Int] { inputShape }

  func forward(_ input: MatrixView<Float>, parameters: [MatrixView<Float>], output: MatrixView<Float>, mode: Mode) {
    meeting.wait()
    for row in 0..<input.rows {
      for column in 0..<input.columns { output[row, column] = input[row, column] }
    }
  }

  func backward(
    input: MatrixView<Float>, output: MatrixView<Float>, outputGradient: MatrixView<Float>,
    parameters: [MatrixView<Float>], inputGradient: MatrixView<Float>, parameterGradients: [MatrixView<Float>]
  ) {}
}
