import Datasets
import Kernels
import LinearAlgebra
import NeuralNetworks
import RandomNumbers
import Testing
import Training

/// Images whose bytes the first layer multiplies itself, against the same numbers as scalars.
@Suite("Byte inputs")
struct ByteInputsTests {
  private static let hasBytes =
    InstructionSet.avx512.isSupported && Float.kernels(for: .avx512).byteProducts.multiply != nil

  private let images: ImageDataset
  private let pixels = 100

  init() throws {
    // 150 samples in batches of 64: the last is too small for bytes, and ragged.
    var generator = Philox(seed: 3, purpose: "byte inputs")
    let bytes = (0..<150 * 100).map { _ in UInt8(generator.nextInteger(below: 256)) }
    let labels = (0..<150).map { _ in Int32(generator.nextInteger(below: 3)) }
    images = try ImageDataset(pixels: bytes, labels: labels, height: 10, width: 10)
  }

  private func samples(_ range: Range<Int> = 0..<150) throws -> Samples<Float> { try Samples(images.subset(range)) }

  /// The same as `samples`, in numbers.
  private func scalars(_ range: Range<Int> = 0..<150) throws -> Samples<Float> {
    let scale = Float(1.0 / 255)
    let part = images.subset(range)
    let values = part.withUnsafePixels { $0.map { Float($0) * scale } }
    return try Samples(
      Tensor(shape: [range.count, pixels]) { values[$0] }, labels: (0..<range.count).map { Int(part.labels[$0]) })
  }

  private func model(
    _ optimizer: any Optimizer = Adam(), threads: Int = 2, nonFinite: NonFinitePolicy = .throw
  ) throws -> Sequential<Float> {
    let model = Fixtures.network(as: Float.self)
    try model.compile(
      optimizer: optimizer, loss: .sparseCategoricalCrossEntropy(), threads: threads, nonFinite: nonFinite)
    try model.build(inputShape: [pixels])
    return model
  }

  @Test("Bytes are multiplied where the CPU can and the batch is worth it")
  func isUsed() throws {
    let model = try model()
    try model.fit(samples(0..<64), batchSize: 64, verbose: .silent)
    #expect(try model.plan(samples: 64).multipliesBytes == Self.hasBytes)
    try model.fit(scalars(0..<64), batchSize: 64, verbose: .silent)
    #expect(try !model.plan(samples: 64).multipliesBytes)
    try model.fit(samples(0..<8), batchSize: 8, verbose: .silent)
    #expect(try !model.plan(samples: 8).multipliesBytes)
  }

  @Test("A step moves the weights as it does with the same numbers as scalars")
  func stepsAgree() throws {
    let (bytes, numbers) = (try model(SGD(learningRate: 0.1)), try model(SGD(learningRate: 0.1)))
    let first = try bytes.fit(samples(0..<64), batchSize: 64, verbose: .silent)
    let second = try numbers.fit(scalars(0..<64), batchSize: 64, verbose: .silent)
    // Inputs and weights of the first product are of order 1: each path rounds 100 terms, and three normalizations and
    // two products follow, which pass on what is relative to their sums.
    let tolerance = 100 * Double(Float.ulpOfOne) * 8
    #expect(abs(first.loss[0] - second.loss[0]) <= tolerance * max(1, second.loss[0]))
    for parameter in bytes.parameters {
      let (a, b) = (try bytes.parameter(parameter.name).scalars, try numbers.parameter(parameter.name).scalars)
      let scale = b.reduce(0) { max($0, abs(Double($1))) }
      for (x, y) in zip(a, b) {
        #expect(abs(Double(x) - Double(y)) <= tolerance * max(scale, 0.1), "\(parameter.name)")
      }
    }
  }

  @Test("Threads do not change a bit", arguments: ["adam", "sgd"])
  func threads(name: String) throws {
    func weights(_ threads: Int) throws -> String {
      let model = try model(name == "adam" ? Adam() : SGD(learningRate: 0.05), threads: threads)
      try model.fit(samples(), epochs: 3, batchSize: 64, verbose: .silent)
      return try model.weightsSHA256()
    }
    let one = try weights(1)
    #expect(try weights(2) == one)
    #expect(try weights(3) == one)
  }

  // The loss follows the first layer at once: what the other member gathers of the labels must be there by then.
  @Test("Threads do not change a bit of a single layer")
  func threadsOfOneLayer() throws {
    func weights(_ threads: Int) throws -> String {
      let model = Sequential<Float>(seed: 5) { Dense(3) }
      try model.compile(optimizer: Adam(), loss: .sparseCategoricalCrossEntropy(fromLogits: true), threads: threads)
      try model.build(inputShape: [pixels])
      try model.fit(samples(0..<128), epochs: 5, batchSize: 64, verbose: .silent)
      #expect(try model.plan(samples: 64).multipliesBytes == Self.hasBytes)
      return try model.weightsSHA256()
    }
    #expect(try weights(2) == weights(1))
  }

  // Large steps, so that units change.
  private static let optimizers: [any Optimizer] = [
    Adam(learningRate: 0.05), SGD(learningRate: 0.5), SGD(learningRate: 0.2, momentum: 0.9, nesterov: true),
    RMSprop(learningRate: 0.05),
  ]

  @Test("Digits follow from the weights alone: made anew between steps, they are the same", arguments: optimizers)
  func digitsAreAFunctionOfTheWeights(optimizer: any Optimizer) throws {
    func weights(renewing: Bool) throws -> String {
      let model = try model(optimizer)
      for _ in 0..<4 {
        try model.fit(samples(), batchSize: 50, verbose: .silent)
        if renewing {
          for name in model.parameters.map(\.name) { try model.setParameter(name, to: model.parameter(name)) }
          _ = try model.evaluate(samples(), batchSize: 75)
        }
      }
      return try model.weightsSHA256()
    }
    #expect(try weights(renewing: true) == weights(renewing: false))
  }

  @Test("New weights are seen by the next step")
  func newWeightsCount() throws {
    // Steps that write digits and move nothing; without dropout two models can be compared.
    func model() throws -> Sequential<Float> {
      let model = Sequential<Float>(layers: [
        Dense(70, activation: .relu), BatchNormalization(), Dense(3, activation: .softmax),
      ])
      try model.compile(optimizer: Adam(learningRate: 1e-30), loss: .sparseCategoricalCrossEntropy(), threads: 2)
      try model.build(inputShape: [pixels])
      return model
    }
    let (bytes, numbers) = (try model(), try model())
    let before = try bytes.fit(samples(), batchSize: 50, shuffle: false, verbose: .silent)
    let kernel = try bytes.parameter("dense.kernel")
    let changed = Tensor<Float>(shape: kernel.shape) { kernel.scalars[$0] * ($0 % 3 == 0 ? -4 : 1) }
    for model in [bytes, numbers] { try model.setParameter("dense.kernel", to: changed) }
    let after = try bytes.fit(samples(), batchSize: 50, shuffle: false, verbose: .silent)
    let expected = try numbers.fit(scalars(), batchSize: 50, shuffle: false, verbose: .silent)
    #expect(abs(after.loss[0] - expected.loss[0]) <= 1e-5 * expected.loss[0])
    #expect(abs(after.loss[0] - before.loss[0]) > 1e-3 * before.loss[0])
  }

  @Test("A step that overflows is undone with its digits")
  func undoneSteps() throws {
    let model = try model(Adam(), nonFinite: .rollBack)
    try model.fit(samples(0..<100), batchSize: 50, verbose: .silent)
    let (weights, before) = (try model.weightsSHA256(), try model.evaluate(samples(0..<100), batchSize: 50))
    try model.compile(
      optimizer: Adam(learningRate: 1e300), loss: .sparseCategoricalCrossEntropy(), threads: 2, nonFinite: .rollBack)
    let history = try model.fit(samples(0..<100), batchSize: 100, verbose: .silent)
    #expect(history.skippedSteps.count == 1)
    #expect(try model.weightsSHA256() == weights)
    #expect(try model.evaluate(samples(0..<100), batchSize: 50).loss == before.loss)
  }

  @Test("What was gathered as bytes can be read as numbers")
  func batchInputs() throws {
    let model = try model()
    try model.fit(samples(0..<64), batchSize: 64, shuffle: false, verbose: .silent)
    let inputs = try model.plan(samples: 64).batchInputs(samples: 64)
    let scale = Float(1.0 / 255)
    images.withUnsafePixels { pixels in
      for row in 0..<64 {
        for column in 0..<100 {
          #expect(inputs.base[row * inputs.stride + column] == Float(pixels[row * 100 + column]) * scale)
        }
      }
    }
  }
}
