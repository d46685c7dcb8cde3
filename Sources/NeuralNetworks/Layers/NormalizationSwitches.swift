/// What a batch normalization does in training: three independent switches, which fine-tuning sets one by one.
///
/// Keras's `trainable = false` turns all three over at once (`.frozen`); PyTorch's `eval()` the last two.
public struct NormalizationSwitches: Sendable, Equatable {
  /// Which statistics training normalizes by.
  public enum Statistics: Sendable, Equatable {
    /// The batch's own: gradients flow through mean and variance.
    case batch
    /// The running ones as they were before the step: constants, so the gradient is dx = γ·dy/√(σ² + ε) without the two
    /// mean terms (oneDNN's `use_global_stats`).
    case running
  }

  /// Whether the optimizer moves γ and β, true by default; where not, its own state for them rests too.
  public var learnsParameters = true
  /// Whether the running statistics follow the batches, true by default.
  public var updatesStatistics = true
  /// Which statistics training normalizes by, the batch's by default.
  public var trainingStatistics = Statistics.batch

  /// The switches of a layer that learns.
  public init() {}

  /// Nothing learns, nothing moves, training normalizes as inference does: Keras's `trainable = false`.
  public static var frozen: NormalizationSwitches {
    var switches = NormalizationSwitches()
    switches.learnsParameters = false
    switches.updatesStatistics = false
    switches.trainingStatistics = .running
    return switches
  }
}
