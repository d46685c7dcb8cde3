import Datasets
import LinearAlgebra
import NeuralNetworks
import RandomNumbers
import Testing

@testable import Training

/// Of two members each gathers the batch for itself where it is bytes and small; a step's bits are those of one thread
/// either way.
@Suite("Copies of a batch")
struct InputCopiesTests {
  private static let features = 70
  /// More than 2¹⁹ bytes of 70 numbers, which lie 80 apart.
  private static let large = 1 << 11

  private func model(threads: Int, layers: [any Layer]) throws -> Sequential<Float> {
    let model = Sequential<Float>(seed: 3, layers: layers)
    try model.compile(optimizer: Adam(), loss: .sparseCategoricalCrossEntropy(fromLogits: true), threads: threads)
    try model.build(inputShape: [Self.features])
    return model
  }

  enum Source: CaseIterable {
    case numbers, bytes, bytesByColumn
  }

  private func samples(_ count: Int, _ source: Source) throws -> Samples<Float> {
    var generator = Philox(seed: 8, purpose: "copies", index: 0)
    let bytes = (0..<count * Self.features).map { _ in UInt8(generator.nextInteger(below: 256)) }
    let labels = (0..<count).map { Int32($0 * 7 % 5) }
    let images = try ImageDataset(pixels: bytes, labels: labels, height: 7, width: 10)
    switch source {
    case .numbers:
      return try Samples(
        Tensor(shape: [count, Self.features]) { Float(bytes[$0]) / 100 }, labels: labels.map { Int($0) })
    // With an offset: bytes that the first layer does not multiply themselves.
    case .bytes: return try Samples(images, scaling: .uniform(scale: 0.01, offset: -1))
    case .bytesByColumn:
      let scales = (0..<Self.features).map { 0.01 + 0.001 * Double($0 % 3) }
      return try Samples(images, scaling: .perFeature(scale: scales, offset: scales.map { -$0 }))
    }
  }

  static let networks: [[any Layer]] = [
    [Dense(130, activation: .relu), BatchNormalization(), Dense(5)],
    // The loss follows the first layer at once: the other member's labels must be there by then.
    [Dense(5)],
    [BatchNormalization(), Dense(20, activation: .tanh), Dense(5)],
  ]

  @Test(
    "Threads do not change a bit", arguments: [(0, 33), (1, 33), (2, 33), (0, large), (1, large)], Source.allCases)
  func threads(networkAndBatch: (Int, Int), source: Source) throws {
    let (network, batch) = networkAndBatch
    let samples = try samples(batch + 9, source)
    func weights(_ threads: Int) throws -> String {
      let model = try model(threads: threads, layers: Self.networks[network])
      try model.fit(samples, epochs: 2, batchSize: batch, verbose: .silent)
      // Copies where a dense layer alone reads inputs that are few.
      let copies = threads == 2 && batch < Self.large && network < 2 && source != .numbers
      #expect(try model.plan(samples: batch).membersGatherAll == copies)
      return try model.weightsSHA256()
    }
    let one = try weights(1)
    #expect(try weights(2) == one)
    #expect(try weights(3) == one)
  }
}
