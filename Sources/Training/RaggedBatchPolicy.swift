import NeuralNetworks

/// What `fit` does with the last batch of an epoch where the batch size does not divide the number of samples.
///
/// Checked before the first epoch. Data that fill one batch at most are no ragged batch: they are the batch size then.
public enum RaggedBatchPolicy: String, Sendable, Equatable, CaseIterable, Codable {
  /// A smaller last batch is a batch like the others, as in Keras, unless it is a single row and a normalization needs
  /// its variance: that row joins the batch before it.
  case automatic
  /// Throws before the first epoch.
  case error
  /// The rows left over join the batch before them, which is larger than the others then.
  case mergeIntoPrevious
  /// Normalizations use their running statistics for it, as in inference, and leave them as they are.
  case useRunningStatistics
  /// Normalizations use its statistics, which don't enter the running ones.
  case skipStatisticsUpdate
  /// The rows left over are not visited in that epoch (others are in the next, where the data are shuffled).
  case drop
}

/// How an epoch's samples are cut into batches.
struct EpochBatches {
  /// Steps of an epoch.
  let steps: Int
  /// Samples visited in an epoch.
  let samples: Int
  /// Samples of the largest batch.
  let largest: Int
  /// What the last batch does with running statistics.
  let lastOverride: StatisticsOverride?
  private let batchSize: Int
  private let last: Int

  /// Cuts `count` samples.
  ///
  /// - Throws: `ModelError.argument` where the policy is to throw; `ModelError.singleValue` where a normalization would
  ///   take the variance of a single value.
  init<Scalar: NetworkScalar>(
    of count: Int, batchSize: Int, policy: RaggedBatchPolicy, model: Sequential<Scalar>
  ) throws {
    let full = count / batchSize
    let rest = count % batchSize
    try model.checkVariance(samples: min(count, batchSize), training: true)
    var (steps, last, override) = (full, batchSize, StatisticsOverride?.none)
    if full == 0 || rest == 0 {
      if full == 0 { (steps, last) = (1, count) }
    } else {
      switch policy {
      case .automatic:
        do {
          try model.checkVariance(samples: rest, training: true)
          (steps, last) = (full + 1, rest)
        } catch {
          last = batchSize + rest
        }
      case .error:
        throw ModelError.argument(
          name: "raggedBatches",
          problem: "\(count) samples in batches of \(batchSize) leave a last batch of \(rest); "
            + "choose another batch size or policy")
      case .mergeIntoPrevious: last = batchSize + rest
      case .useRunningStatistics: (steps, last, override) = (full + 1, rest, .useRunningStatistics)
      case .skipStatisticsUpdate: (steps, last, override) = (full + 1, rest, .skipUpdate)
      case .drop: break
      }
    }
    if let override {
      model.overrideStatistics(override)
      defer { model.overrideStatistics(nil) }
      try model.checkVariance(samples: last, training: true)
    }
    self.steps = steps
    self.last = last
    self.batchSize = batchSize
    lastOverride = override
    samples = (steps - 1) * batchSize + last
    largest = max(last, steps > 1 ? batchSize : last)
  }

  /// Samples of batch `step`.
  func size(of step: Int) -> Int { step == steps - 1 ? last : batchSize }
}
