import Lamina

extension BenchmarkSuites {
  /// The training step of one network.
  ///
  /// - Throws: `ModelError` where the network cannot be built or trained.
  public func step(_ benchmark: StepBenchmark) throws {
    try report(variants: try benchmark.rows(self))
  }

  /// The training step of one network under each policy for steps that are not finite, Lamina's alone.
  ///
  /// - Throws: `ModelError` where the network cannot be built or trained.
  public func stepPolicies(_ benchmark: StepBenchmark) throws {
    guard wants(.lamina) else { return }
    try report(variants: try benchmark.policyRows(self))
  }

  /// Series of steps in which one size grows: the batch, the width of two layers, the number of layers, the threads.
  ///
  /// - Throws: `ModelError` where a network cannot be built or trained.
  public func stepSweeps() throws {
    // One row has no variance: the networks normalize by batches.
    for batch in isQuick ? [2, 32, 512] : [2, 4, 16, 32, 64, 256, 1024, 4096] {
      try step(.batch, batch, "784-128-64-10") { $0.batchSize = batch }
    }
    for width in isQuick ? [16, 128, 512] : [16, 32, 64, 128, 256, 512, 1024, 2048, 4096] {
      try step(.width, width, "two layers, batch 32") { $0.recipe.hiddenWidths = [width, width] }
    }
    for depth in isQuick ? [1, 4] : [1, 2, 4, 8, 16] {
      try step(.depth, depth, "layers of 128, batch 32") {
        $0.recipe.hiddenWidths = Array(repeating: 128, count: depth)
      }
    }
    for count in 1...team {
      try step(.threads, count, "784-512-512-10, batch 128") {
        $0.recipe.hiddenWidths = [512, 512]
        $0.batchSize = 128
        $0.threads = count
      }
    }
  }

  private func step(
    _ axis: Sweep.Axis, _ value: Int, _ family: String, _ change: (inout StepBenchmark) -> Void
  ) throws {
    var benchmark = StepBenchmark()
    benchmark.seconds = isQuick ? 0.1 : 0.4
    benchmark.images = 8192
    benchmark.threads = threads
    benchmark.data = data
    change(&benchmark)
    let rows = try benchmark.rows(self)
    try report(
      variants: rows.map {
        var row = $0
        row.sweep = Sweep(axis: axis, value: value, family: family)
        return row
      })
  }
}
