import LinearAlgebra
import NeuralNetworks
import RandomNumbers
import Testing

@testable import Training

/// Of two members each gathers the batch for itself where it is small; a step's bits are those of one thread either way.
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

  private func samples(_ count: Int) throws -> Samples<Float> {
    var generator = Philox(seed: 8, purpose: "copies", index: 0)
    let values = (0..<count * Self.features).map { _ in Float(generator.nextNormal()) }
    return try Samples(
      Tensor(shape: [count, Self.features]) { values[$0] }, labels: (0..<count).map { $0 * 7 % 5 })
  }

  static let networks: [[any Layer]] = [
    [Dense(130, activation: .relu), BatchNormalization(), Dense(5)],
    // The loss follows the first layer at once: the other member's labels must be there by then.
    [Dense(5)],
    [BatchNormalization(), Dense(20, activation: .tanh), Dense(5)],
  ]

  @Test("Threads do not change a bit", arguments: networks.indices, [33, large])
  func threads(network: Int, batch: Int) throws {
    let samples = try samples(batch + 9)
    func weights(_ threads: Int) throws -> String {
      let model = try model(threads: threads, layers: Self.networks[network])
      try model.fit(samples, epochs: 2, batchSize: batch, verbose: .silent)
      // Copies where a dense layer alone reads inputs that are few.
      let copies = threads == 2 && batch < Self.large && network < 2
      #expect(try model.plan(samples: batch).membersGatherAll == copies)
      return try model.weightsSHA256()
    }
    let one = try weights(1)
    #expect(try weights(2) == one)
    #expect(try weights(3) == one)
  }
}
