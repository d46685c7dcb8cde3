import LinearAlgebra
import NeuralNetworks
import Testing
import Training

/// One seed decides all, to the bit, on any number of threads.
@Suite("Reproducibility")
struct ReproducibilityTests {
  static let optimizers: [any Optimizer] = [
    SGD(), SGD(momentum: 0.9), SGD(momentum: 0.9, nesterov: true), Adam(), AdamW(), RMSprop(),
    RMSprop(momentum: 0.9), RMSprop(momentum: 0.5, centered: true),
  ]

  @Test("The same seed gives the same weights on 1, 2 and 3 threads", arguments: optimizers.indices)
  func threads(number: Int) throws {
    try check(Float.self, Self.optimizers[number])
    try check(Double.self, Self.optimizers[number])
  }

  private func check<Scalar: NetworkScalar>(_: Scalar.Type, _ optimizer: any Optimizer) throws {
    // 75 samples: a ragged last batch.
    let data = try Fixtures.clusters(count: 75, as: Scalar.self)
    func run(seed: UInt64, threads: Int) throws -> (weights: String, history: History, output: Tensor<Scalar>) {
      let model = try Fixtures.compiled(seed: seed, optimizer: optimizer, threads: threads, as: Scalar.self)
      let history = try model.fit(data, epochs: 2, batchSize: 16, validationData: data, verbose: .silent)
      return (try model.weightsSHA256(), history, try model.predict(data))
    }
    let reference = try run(seed: 5, threads: 1)
    for threads in [1, 2, 3] {
      let other = try run(seed: 5, threads: threads)
      #expect(other.weights == reference.weights, "\(threads) threads, \(Scalar.self)")
      #expect(other.history.loss == reference.history.loss)
      #expect(other.history.validationLoss == reference.history.validationLoss)
      #expect(other.output == reference.output)
    }
    #expect(try run(seed: 6, threads: 2).weights != reference.weights)
  }

  @Test("Two calls of fit for one epoch are one call for two, to the bit")
  func epochsInParts() throws {
    let data = try Fixtures.clusters(count: 75, as: Float.self)
    let whole = try Fixtures.compiled(as: Float.self)
    let history = try whole.fit(data, epochs: 2, batchSize: 16, verbose: .silent)
    let parts = try Fixtures.compiled(as: Float.self)
    let first = try parts.fit(data, batchSize: 16, verbose: .silent)
    // Evaluating and predicting in between, in batches of another size, leaves no trace.
    _ = try parts.evaluate(data, batchSize: 75)
    _ = try parts.predict(data, batchSize: 7)
    let second = try parts.fit(data, batchSize: 16, verbose: .silent)
    #expect(try parts.weightsSHA256() == whole.weightsSHA256())
    #expect(first.loss + second.loss == history.loss)
    #expect(first.accuracy + second.accuracy == history.accuracy)
  }

  @Test("Each epoch is shuffled anew, by the model's seed; without shuffling the order is the data's")
  func shuffling() throws {
    let data = try Fixtures.clusters(count: 40, as: Double.self)
    func weights(seed: UInt64 = 0, shuffle: Bool, epochs: Int = 1) throws -> String {
      let model = try Fixtures.compiled(seed: seed, as: Double.self)
      try model.fit(data, epochs: epochs, batchSize: 8, shuffle: shuffle, verbose: .silent)
      return try model.weightsSHA256()
    }
    #expect(try weights(shuffle: true) != weights(shuffle: false))
    // Without shuffling an epoch is the batches in order.
    let model = try Fixtures.compiled(as: Double.self)
    for _ in 0..<2 {
      for start in stride(from: 0, to: 40, by: 8) { try model.trainOnBatch(data[start..<start + 8]) }
    }
    #expect(try model.weightsSHA256() == weights(shuffle: false, epochs: 2))
  }

  @Test("Predictions do not depend on the batch size, but for rounding")
  func batchSizes() throws {
    try batchSizes(Float.self)
    try batchSizes(Double.self)
  }

  private func batchSizes<Scalar: NetworkScalar>(_: Scalar.Type) throws {
    let data = try Fixtures.clusters(count: 75, as: Scalar.self)
    let model = try Fixtures.compiled(as: Scalar.self)
    try model.fit(data, epochs: 2, verbose: .silent)
    let reference = try model.predict(data, batchSize: 75)
    let evaluation = try model.evaluate(data, batchSize: 75)
    // Three products of at most 100 terms each, of outputs that normalization keeps around 1.
    let bound = 3 * 100 * Double(Scalar.ulpOfOne)
    for size in [1, 2, 7, 32, 33, 74, 1000] {
      let output = try model.predict(data, batchSize: size)
      #expect(output.shape == [75, 3])
      for (left, right) in zip(output.scalars, reference.scalars) {
        #expect(abs(Double(left) - Double(right)) <= bound)
      }
      let other = try model.evaluate(data, batchSize: size)
      #expect(abs(other.loss - evaluation.loss) <= 10 * bound && other.accuracy == evaluation.accuracy)
    }
  }

  @Test("Steps after a larger or smaller batch are the same")
  func planSizes() throws {
    let data = try Fixtures.clusters(count: 40, as: Float.self)
    let growing = try Fixtures.compiled(as: Float.self)
    let ready = try Fixtures.compiled(as: Float.self)
    _ = try ready.predict(data, batchSize: 40)
    for range in [0..<3, 3..<20, 0..<40, 5..<7] {
      try growing.trainOnBatch(data[range])
      try ready.trainOnBatch(data[range])
    }
    #expect(try growing.weightsSHA256() == ready.weightsSHA256())
  }
}
