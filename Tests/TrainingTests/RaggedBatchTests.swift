import NeuralNetworks
import Testing
import Training

/// What `fit` does with rows that fill no whole batch.
@Suite("Ragged batches")
struct RaggedBatchTests {
  /// A model, trained for two epochs on `count` samples in batches of 8.
  private func trained(
    _ count: Int, _ policy: RaggedBatchPolicy = .automatic, batchSize: Int = 8,
    layers: [any Layer] = [Dense(5), BatchNormalization(name: "bn"), Dense(3)]
  ) throws -> Sequential<Float> {
    let model = Sequential<Float>(layers: layers)
    try model.compile(optimizer: SGD(), loss: .sparseCategoricalCrossEntropy(fromLogits: true), threads: 2)
    try model.fit(
      Fixtures.clusters(count: count), epochs: 2, batchSize: batchSize, raggedBatches: policy, shuffle: false,
      verbose: .silent)
    return model
  }

  @Test("Whole batches are the same under every policy", arguments: RaggedBatchPolicy.allCases)
  func whole(policy: RaggedBatchPolicy) throws {
    let model = try trained(24, policy)
    #expect(model.stepCount == 6)
    #expect(try model.weightsSHA256() == trained(24).weightsSHA256())
    // One batch that the data do not fill is the batch size, not a rest.
    #expect(try trained(5, policy).weightsSHA256() == trained(5, batchSize: 5).weightsSHA256())
  }

  @Test("A rest of two rows or more is a batch; a single row joins the batch before it")
  func automatic() throws {
    #expect(try trained(26).stepCount == 8)
    #expect(try trained(25).stepCount == 6)
    #expect(try trained(25).weightsSHA256() == trained(25, .mergeIntoPrevious).weightsSHA256())
    // Where no normalization needs its variance, a single row is a batch.
    #expect(try trained(25, layers: [Dense(3)]).stepCount == 8)
    #expect(try trained(25, layers: [Dense(3)]).weightsSHA256() != trained(25).weightsSHA256())
  }

  @Test("Merged: the last step sees the rows left over too", arguments: [1, 3, 7])
  func merge(rest: Int) throws {
    let model = try trained(16 + rest, .mergeIntoPrevious)
    #expect(model.stepCount == 4)
    let expected = Sequential<Float>(layers: model.layers)
    try expected.compile(optimizer: SGD(), loss: .sparseCategoricalCrossEntropy(fromLogits: true), threads: 1)
    let data: Samples<Float> = try Fixtures.clusters(count: 16 + rest)
    for _ in 0..<2 {
      try expected.trainOnBatch(data[0..<8])
      try expected.trainOnBatch(data[8..<16 + rest])
    }
    #expect(try expected.weightsSHA256() == model.weightsSHA256())
  }

  @Test("Dropped: as if the rows were not there")
  func drop() throws {
    let model = try trained(21, .drop)
    #expect(model.stepCount == 4)
    let expected = Sequential<Float>(layers: model.layers)
    try expected.compile(optimizer: SGD(), loss: .sparseCategoricalCrossEntropy(fromLogits: true), threads: 1)
    try expected.fit(
      Fixtures.clusters(count: 21)[0..<16], epochs: 2, batchSize: 8, shuffle: false, verbose: .silent)
    #expect(try model.weightsSHA256() == expected.weightsSHA256())
  }

  @Test("Refused before the first epoch")
  func error() throws {
    #expect(throws: ModelError.self) { try trained(21, .error) }
    do { _ = try trained(21, .error) } catch {
      #expect("\(error)".contains("21 samples in batches of 8 leave a last batch of 5"))
    }
  }

  @Test("By running statistics, or without a trace in them", arguments: [1, 3])
  func statistics(rest: Int) throws {
    let names = ["bn.moving_mean", "bn.moving_variance"]
    func epoch(_ policy: RaggedBatchPolicy, rows: Int) throws -> Sequential<Float> {
      let model = Sequential<Float>(layers: [BatchNormalization(name: "bn"), Dense(3)])
      try model.compile(optimizer: SGD(), loss: .sparseCategoricalCrossEntropy(fromLogits: true), threads: 2)
      try model.fit(
        Fixtures.clusters(count: 8 + rest)[0..<rows], batchSize: 8, raggedBatches: policy, shuffle: false,
        verbose: .silent)
      return model
    }
    let whole = try epoch(.automatic, rows: 8)
    let running = try epoch(.useRunningStatistics, rows: 8 + rest)
    #expect(running.stepCount == 2)
    for name in names { #expect(try running.parameter(name) == whole.parameter(name)) }
    #expect(try running.parameter("dense.kernel") != whole.parameter("dense.kernel"))
    // The override ends with the batch.
    let data: Samples<Float> = try Fixtures.clusters(count: 12)
    try running.trainOnBatch(data)
    for name in names { #expect(try running.parameter(name) != whole.parameter(name)) }
    if rest == 1 {
      #expect(throws: ModelError.singleValue(layer: "bn")) { try epoch(.skipStatisticsUpdate, rows: 8 + rest) }
    } else {
      let skipped = try epoch(.skipStatisticsUpdate, rows: 8 + rest)
      for name in names { #expect(try skipped.parameter(name) == whole.parameter(name)) }
      #expect(try skipped.parameter("dense.kernel") != running.parameter("dense.kernel"))
    }
  }

  @Test("A single row never trains silently")
  func singleRow() throws {
    #expect(throws: ModelError.singleValue(layer: "bn")) { try trained(1) }
    #expect(throws: ModelError.singleValue(layer: "bn")) { try trained(10, batchSize: 1) }
    let model = try trained(8)
    let before = try model.weightsSHA256()
    let data: Samples<Float> = try Fixtures.clusters(count: 1)
    #expect(throws: ModelError.singleValue(layer: "bn")) { try model.trainOnBatch(data) }
    #expect(throws: ModelError.singleValue(layer: "bn")) { try model.computeGradients(data) }
    #expect(try model.weightsSHA256() == before)
    #expect(try model.predict(data).scalars.allSatisfy(\.isFinite))
  }
}
