/// What a loss kernel found over the rows it was given.
@frozen
public struct LossSums: Sendable {
  /// Sum of the losses of the rows.
  public var loss: Double
  /// Number of rows whose prediction was right.
  ///
  /// Categorical: the first maximum is at the label (dense targets: at the target row's first maximum). Binary: every
  /// column is on its target's side of 0.5 (of 0 for logits). Mean squared error: 0. A row with a NaN loss is wrong.
  public var correct: Int

  /// The two sums.
  @inlinable @inline(__always)
  public init(loss: Double, correct: Int) {
    self.loss = loss
    self.correct = correct
  }
}

/// Losses by rows, each with its gradient in the same pass.
///
/// Gradients are written to the given matrix (nil: none wanted) multiplied by `scale` (1/rows for a mean); it may be
/// the prediction itself. `weights` (nil: 1) multiplies the loss and gradient of each row. Labels outside
/// 0 ..< columns must have been refused before. The sum of losses is taken in Double in the order of the rows.
///
/// A row that holds NaN, or a categorical row that holds a logit of +∞, has a NaN loss. A label of logit −∞ has an
/// infinite loss; a −∞ where the target is 0 does not matter. Where a probability is clipped its gradient is 0.
public final class LossKernels<Scalar>: @unchecked Sendable {
  /// `(logits, labels, weights, gradient, scale)`: −log softmax(logits)[label]; gradient (softmax − onehot)·scale.
  public var sparseCategoricalFromLogits:
    (
      @Sendable (
        MatrixView<Scalar>, UnsafePointer<Int32>, UnsafePointer<Scalar>?, MatrixView<Scalar>?, Double
      ) -> LossSums
    )!
  /// `(logits, targets, weights, gradient, scale)`: −Σ t·log softmax(logits); gradient (softmax·Σt − t)·scale.
  public var categoricalFromLogits:
    (
      @Sendable (
        MatrixView<Scalar>, MatrixView<Scalar>, UnsafePointer<Scalar>?, MatrixView<Scalar>?, Double
      ) -> LossSums
    )!
  /// `(probabilities, labels, weights, gradient, scale)`: Keras's form: p/Σp clipped to [1e-7, 1 − 1e-7], −log p[label].
  public var sparseCategoricalFromProbabilities:
    (
      @Sendable (
        MatrixView<Scalar>, UnsafePointer<Int32>, UnsafePointer<Scalar>?, MatrixView<Scalar>?, Double
      ) -> LossSums
    )!
  /// `(probabilities, targets, weights, gradient, scale)`: Keras's form: p/Σp clipped to [1e-7, 1 − 1e-7], −Σ t·log p.
  public var categoricalFromProbabilities:
    (
      @Sendable (
        MatrixView<Scalar>, MatrixView<Scalar>, UnsafePointer<Scalar>?, MatrixView<Scalar>?, Double
      ) -> LossSums
    )!
  /// `(logits, targets, weights, gradient, scale)`: mean over columns of max(x, 0) − x·t + log(1 + e^−|x|).
  public var binaryFromLogits:
    (
      @Sendable (
        MatrixView<Scalar>, MatrixView<Scalar>, UnsafePointer<Scalar>?, MatrixView<Scalar>?, Double
      ) -> LossSums
    )!
  /// `(probabilities, targets, weights, gradient, scale)`: mean over columns of −t·log p − (1 − t)·log(1 − p), p clipped.
  public var binaryFromProbabilities:
    (
      @Sendable (
        MatrixView<Scalar>, MatrixView<Scalar>, UnsafePointer<Scalar>?, MatrixView<Scalar>?, Double
      ) -> LossSums
    )!
  /// `(prediction, targets, weights, gradient, scale)`: mean over columns of (p − t)².
  public var meanSquaredError:
    (
      @Sendable (
        MatrixView<Scalar>, MatrixView<Scalar>, UnsafePointer<Scalar>?, MatrixView<Scalar>?, Double
      ) -> LossSums
    )!

  init() {}
}
