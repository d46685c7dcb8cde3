import LinearAlgebra
import NeuralNetworks
import RandomNumbers
import Testing
import Training

/// Which member computes a tile never changes its bits: one result for every size of the team.
@Suite("Team size")
struct TeamSizeTests {
  /// Layers of odd widths, so that tiles are ragged and some members own none.
  static let networks: [[any Layer]] = [
    [Dense(1, activation: .sigmoid), Dense(3)],
    [Dense(7, activation: .relu), BatchNormalization(), Dense(3, activation: .softmax)],
    [Dense(47), Dense(49, activation: .tanh), BatchNormalization(), Dropout(0.5), Dense(3, activation: .softmax)],
    [
      Dense(65, useBias: false), BatchNormalization(), Activation.relu, Dense(129, activation: .gelu),
      BatchNormalization(), Dense(33, activation: .elu()), Dense(3),
    ],
    [Dense(200, activation: .selu), Dropout(0.1), Dense(17), Activation.softmax, Dense(3, activation: .softmax)],
  ]

  @Test("The same weights to the bit from 1, 2, 3 and 5 threads", arguments: networks.indices)
  func bits(network: Int) throws {
    try check(network, Float.self)
    try check(network, Double.self)
  }

  /// Which products are made of lists of what a ReLU leaves depends on the numbers and on what a member owns, no bit does.
  @Test("The same weights to the bit where members list what a ReLU leaves")
  func bitsOfLists() throws {
    func check<Scalar: NetworkScalar>(_: Scalar.Type) throws {
      var generator = Philox(seed: 5, purpose: "lists")
      let inputs = Tensor<Scalar>(shape: [140, 150]) { _ in Scalar(Float(generator.nextNormal())) }
      let data = try Samples(inputs, labels: (0..<140).map { $0 % 3 })
      func run(threads: Int) throws -> String {
        let model = Sequential<Scalar>(
          seed: 3,
          layers: [
            Dense(270, activation: .relu), Dense(300, activation: .relu), BatchNormalization(),
            Dense(140, activation: .relu), Dense(3),
          ])
        try model.compile(
          optimizer: Adam(), loss: .sparseCategoricalCrossEntropy(fromLogits: true), threads: threads)
        _ = try model.fit(data, epochs: 3, batchSize: 70, verbose: .silent)
        return try model.weightsSHA256()
      }
      let reference = try run(threads: 1)
      for threads in [2, 3, 5] { #expect(try run(threads: threads) == reference, "\(threads) threads, \(Scalar.self)") }
    }
    try check(Float.self)
    try check(Double.self)
  }

  private func check<Scalar: NetworkScalar>(_ network: Int, _: Scalar.Type) throws {
    let data = try Fixtures.clusters(count: 50, as: Scalar.self)
    let endsInSoftmax = (Self.networks[network].last as? Dense)?.activation == .softmax
    // One row has no variance.
    let normalizes = Self.networks[network].contains { $0 is BatchNormalization }
    // 50 in batches of 33: a ragged last one; 7: many, and a single row in the end; 1 and 2: members without rows.
    for batchSize in normalizes ? [2, 7, 33] : [1, 7, 33] {
      func run(threads: Int?) throws -> (String, [Double], Tensor<Scalar>) {
        let model = Sequential<Scalar>(seed: 3, layers: Self.networks[network])
        try model.compile(
          optimizer: Adam(), loss: .sparseCategoricalCrossEntropy(fromLogits: !endsInSoftmax), threads: threads)
        let history = try model.fit(
          data, epochs: 1, batchSize: batchSize, raggedBatches: .useRunningStatistics, validationData: data,
          verbose: .silent)
        return (try model.weightsSHA256(), history.loss + history.validationLoss, try model.predict(data))
      }
      let reference = try run(threads: 1)
      for threads in [2, 3, 5, nil] {
        let other = try run(threads: threads)
        let what = "\(threads.map(String.init) ?? "timed") threads, batch \(batchSize), \(Scalar.self)"
        #expect(other.0 == reference.0, "\(what)")
        #expect(other.1 == reference.1, "\(what)")
        #expect(other.2 == reference.2, "\(what)")
      }
    }
  }
}
