import LinearAlgebra
import NeuralNetworks
import RandomNumbers

/// Mean and variance of the inputs of one batch normalization over a data set.
struct PopulationStatistics {
  var mean: [Double]
  /// Σ m/(m − 1)·σ²/batches: without bias.
  var variance: [Double]
}

extension Sequential {
  /// The population statistics of every batch normalization over `data`, in one pass, as algorithm 2 of Ioffe and
  /// Szegedy 2015 has them: E[x] = E_B[μ_B], Var[x] = m/(m − 1)·E_B[σ²_B], with all normalizations by their batches.
  ///
  /// Batches are drawn at random; a last one that is smaller counts for less, and one of a single number for a feature
  /// joins the batch before it. Running statistics are as before afterwards.
  ///
  /// - Throws: `ModelError` where data and model do not fit, or the data have a single number for a feature.
  func populationStatistics(
    of sites: [NormalizationSite], on data: Samples<Scalar>, batchSize: Int
  ) throws -> [PopulationStatistics] {
    let boundaries = try statisticsBatches(of: sites, count: data.count, batchSize: batchSize)
    let largest = zip(boundaries, boundaries.dropFirst()).map { $1 - $0 }.max() ?? 1
    let plan = try planWithoutDropout(samples: largest)
    let names = sites.map { ("\($0.name).moving_mean", "\($0.name).moving_variance") }
    var sums = sites.map {
      PopulationStatistics(
        mean: [Double](repeating: 0, count: $0.features), variance: [Double](repeating: 0, count: $0.features))
    }
    var order = data.rows.map { Int32($0) }
    var generator = Philox(seed: seed, purpose: "recalibration")
    generator.shuffle(&order)
    let saved = try runningState()
    defer { restore(saved) }
    let total = Double(data.count)
    try data.withSource { source in
      let source = BatchSource(inputs: source.inputs, targets: .none)
      try order.withUnsafeBufferPointer { order in
        for (start, end) in zip(boundaries, boundaries.dropFirst()) {
          clearRunningState()
          observingStatistics {
            plan.observe(source, indices: order.baseAddress! + start, samples: end - start, step: stepCount + 1)
          }
          for (index, site) in sites.enumerated() {
            let m = Double((end - start) * site.valuesPerSample)
            let weight = Double(end - start) / total
            let mean = try parameter(names[index].0).scalars
            let variance = try parameter(names[index].1).scalars
            for feature in 0..<site.features {
              sums[index].mean[feature] += weight * Double(mean[feature])
              sums[index].variance[feature] += weight * m / (m - 1) * Double(variance[feature])
            }
          }
        }
      }
    }
    return sums
  }

  /// Where each batch begins, and the end.
  func statisticsBatches(of sites: [NormalizationSite], count: Int, batchSize: Int) throws -> [Int] {
    guard batchSize >= 1 else {
      throw ModelError.argument(name: "batchSize", problem: "must be at least 1, not \(batchSize)")
    }
    let least = sites.map(\.valuesPerSample).min() ?? 1
    guard count * least > 1 else {
      throw ModelError.argument(name: "data", problem: "a variance needs at least two samples; there is one")
    }
    guard batchSize * least > 1 else {
      throw ModelError.argument(
        name: "batchSize", problem: "must be at least 2: a single number for a feature has no variance")
    }
    var starts = Array(stride(from: 0, to: count, by: batchSize))
    if let last = starts.last, last > 0, (count - last) * least == 1 { starts.removeLast() }
    return starts + [count]
  }
}
