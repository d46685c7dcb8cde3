/// What training minimizes: the mean over the rows of a batch.
public enum Loss: Sendable, Equatable {
  /// −Σ t·log p against one-hot or soft targets, one row of probabilities (or logits) per sample.
  case categoricalCrossEntropy(fromLogits: Bool = false)
  /// −log p[label] against integer labels.
  case sparseCategoricalCrossEntropy(fromLogits: Bool = false)
  /// −t·log p − (1 − t)·log(1 − p), mean over columns.
  case binaryCrossEntropy(fromLogits: Bool = false)
  /// (p − t)², mean over columns.
  case meanSquaredError

  /// Whether the targets are integer labels rather than rows of numbers.
  public var takesLabels: Bool {
    if case .sparseCategoricalCrossEntropy = self { true } else { false }
  }

  /// The same loss computed from logits where it is a cross-entropy of probabilities that softmax makes; else nil.
  ///
  /// Softmax and cross-entropy are fused: the gradient is softmax − target, and no logarithm of a rounded 0 is taken.
  var fusedWithSoftmax: Loss? {
    switch self {
    case .categoricalCrossEntropy(false): .categoricalCrossEntropy(fromLogits: true)
    case .sparseCategoricalCrossEntropy(false): .sparseCategoricalCrossEntropy(fromLogits: true)
    default: nil
    }
  }

  /// Whether the loss counts right answers, so that an accuracy can be reported.
  public var hasAccuracy: Bool { self != .meanSquaredError }
}
