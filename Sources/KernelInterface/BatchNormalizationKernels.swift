/// Batch normalization of the columns of a matrix: moments, normalization and their gradients.
///
/// A mean travels as two scalars, `mean` and `meanLow`, whose unrounded sum is the mean to about twice the scalar's
/// precision; `(x − mean) − meanLow` is then right where the columns sit at a large offset.
///
/// `moments` and `backward` take whole columns: a team shares the columns. A team that shares the rows makes the partial
/// sums of `NormalizationPanels`, merges them and then works on its rows: the bits are the same.
public final class BatchNormalizationKernels<Scalar>: @unchecked Sendable {
  /// A vector of scalars, one per column.
  public typealias Pointer = UnsafeMutablePointer<Scalar>

  /// `(x, mean, meanLow, variance, workspace)`: mean and biased variance of each column, x read from memory once.
  ///
  /// `workspace` holds 6·columns doubles. Rows are taken in blocks that stay in the L1 cache: a shifted two-pass per
  /// block, blocks merged in Double (Chan, Golub, LeVeque 1979). rows ≥ 1.
  public var moments: (@Sendable (MatrixView<Scalar>, Pointer, Pointer, Pointer, UnsafeMutablePointer<Double>) -> Void)!

  /// `(x, partial, scratch)`: the moments of one panel's rows, as three rows of doubles.
  ///
  /// `scratch` holds 3·columns scalars. A panel of one block leaves what it summed as scalars, each vector of columns at
  /// the beginning of its doubles: half as much to fetch for whoever merges. Only `mergeMoments` may read it.
  public var partialMoments: (@Sendable (MatrixView<Scalar>, MatrixView<Double>, Pointer) -> Void)!

  /// `(partials, rows, mean, meanLow, variance)`: `moments` of `rows` rows from three rows of doubles for each panel.
  ///
  /// Columns of wider partials must begin with a whole vector: at a multiple of 16.
  public var mergeMoments: (@Sendable (MatrixView<Double>, Int, Pointer, Pointer, Pointer) -> Void)!

  /// `(variance, epsilon, inverseDeviation, count)`: 1/√(variance + ε).
  public var inverseDeviation: (@Sendable (UnsafePointer<Scalar>, Double, Pointer, Int) -> Void)!

  /// `(x, mean, meanLow, inverseDeviation, gamma, beta, y, relu, mask, streaming)`:
  /// y = γ·(x − mean − meanLow)·inverseDeviation + β.
  ///
  /// gamma nil means 1, beta nil means 0, `relu` clamps y at 0. Where `mask` is given, its bits become 1 where the
  /// result before the clamp is not ≤ 0. With `streaming`, y is written past the caches where its rows are whole cache
  /// lines: for a y that the caches could not hold. y may be x.
  public var normalize:
    (
      @Sendable (
        MatrixView<Scalar>, UnsafePointer<Scalar>, UnsafePointer<Scalar>, UnsafePointer<Scalar>,
        UnsafePointer<Scalar>?, UnsafePointer<Scalar>?, MatrixView<Scalar>, Bool, BitMatrixView?, Bool
      ) -> Void
    )!

  /// `(dy, x, mask, mean, meanLow, inverseDeviation, gamma, dGamma, dBeta, dx, maskInput)`: the training gradient.
  ///
  /// With x̂ = (x − mean)·inverseDeviation and n rows: dβ = Σ dy, dγ = Σ dy·x̂,
  /// dx = γ·inverseDeviation·(dy − dβ/n − x̂·dγ/n) (Ioffe and Szegedy 2015, section 3).
  /// Where `mask` is given, ReLU followed the normalization: dy counts as 0 where the bit is 0.
  /// With `maskInput`, ReLU came before it: dx is 0 where x ≤ 0. dx may be dy. dGamma and dBeta are always written.
  public var backward:
    (
      @Sendable (
        MatrixView<Scalar>, MatrixView<Scalar>, BitMatrixView?, UnsafePointer<Scalar>, UnsafePointer<Scalar>,
        UnsafePointer<Scalar>, UnsafePointer<Scalar>?, Pointer, Pointer, MatrixView<Scalar>, Bool
      ) -> Void
    )!

  /// `(dy, x, mask, mean, partial)`: Σ dy and Σ dy·(x − mean) of one panel's rows, as two rows of doubles.
  ///
  /// As with `partialMoments`, a panel of one block leaves scalars.
  public var partialGradients:
    (
      @Sendable (
        MatrixView<Scalar>, MatrixView<Scalar>, BitMatrixView?, UnsafePointer<Scalar>, MatrixView<Double>
      ) -> Void
    )!

  /// `(partials, rows, mean, meanLow, inverseDeviation, gamma, dGamma, dBeta, coefficients)`: dγ and dβ of `rows` rows
  /// from two rows of doubles for each panel, and what `propagate` makes dx from.
  ///
  /// The coefficients are four scalars a column, in whole vectors of columns: those of column 16·v begin at 64·v (Double:
  /// of 8·v at 32·v).
  public var mergeGradients:
    (
      @Sendable (
        MatrixView<Double>, Int, UnsafePointer<Scalar>, UnsafePointer<Scalar>, UnsafePointer<Scalar>,
        UnsafePointer<Scalar>?, Pointer, Pointer, Pointer
      ) -> Void
    )!

  /// `(dy, x, mask, coefficients, dx, maskInput, streaming)`: some rows of dx, as `backward` writes them.
  ///
  /// With coefficients o, s, c and m of a column: dx = c·((dy − o) + s·(x − m)). `streaming` as in `normalize`.
  public var propagate:
    (
      @Sendable (
        MatrixView<Scalar>, MatrixView<Scalar>, BitMatrixView?, Pointer, MatrixView<Scalar>, Bool, Bool
      ) -> Void
    )!

  /// `(moving, batch, momentum, count)`: moving = momentum·moving + (1 − momentum)·batch (Keras's rule).
  public var updateMovingAverage: (@Sendable (Pointer, UnsafePointer<Scalar>, Double, Int) -> Void)!

  // MARK: Given statistics, weights and residuals

  /// `backward` where mean and variance were given, not taken from x: dx = γ·inverseDeviation·dy, dγ and dβ as there.
  public var backwardGivenStatistics:
    (
      @Sendable (
        MatrixView<Scalar>, MatrixView<Scalar>, BitMatrixView?, UnsafePointer<Scalar>, UnsafePointer<Scalar>,
        UnsafePointer<Scalar>, UnsafePointer<Scalar>?, Pointer, Pointer, MatrixView<Scalar>, Bool
      ) -> Void
    )!

  /// `(x, weights, rowsPerWeight, mean, meanLow, variance)`: mean = Σw·x/Σw and variance = Σw·(x − mean)²/Σw over the rows.
  ///
  /// Each weight ≥ 0 is that of `rowsPerWeight` rows, of which the matrix has a whole multiple: the rows of a sample.
  /// Rows of weight 0 are not read, so that padding may hold anything; where all weights are 0, so are the results.
  public var weightedMoments:
    (@Sendable (MatrixView<Scalar>, UnsafePointer<Double>, Int, Pointer, Pointer, Pointer) -> Void)!

  /// `(dy, x, weights, rowsPerWeight, mask, mean, meanLow, inverseDeviation, gamma, dGamma, dBeta, dx, maskInput)`: the
  /// gradient through `weightedMoments`.
  ///
  /// With w̃ = w/Σw, dβ = Σ dy and dγ = Σ dy·x̂ over all rows: dx = γ·inverseDeviation·(dy − w̃·(dβ + x̂·dγ)). A row of weight
  /// 0 is normalized like the others, so x must be finite where dy is to count.
  public var weightedBackward:
    (
      @Sendable (
        MatrixView<Scalar>, MatrixView<Scalar>, UnsafePointer<Double>, Int, BitMatrixView?, UnsafePointer<Scalar>,
        UnsafePointer<Scalar>, UnsafePointer<Scalar>, UnsafePointer<Scalar>?, Pointer, Pointer, MatrixView<Scalar>, Bool
      ) -> Void
    )!

  /// `(x, mean, meanLow, inverseDeviation, gamma, beta, residual, y, relu, mask)`: y is normalized x plus residual.
  ///
  /// Clamped at 0 with `relu`; `mask` as in `normalize`. y may be x or the residual.
  ///
  /// The gradient of the residual is `keepMasked` of dy, that of x `backward` with the same mask.
  public var normalizeAndAdd:
    (
      @Sendable (
        MatrixView<Scalar>, UnsafePointer<Scalar>, UnsafePointer<Scalar>, UnsafePointer<Scalar>,
        UnsafePointer<Scalar>?, UnsafePointer<Scalar>?, MatrixView<Scalar>, MatrixView<Scalar>, Bool, BitMatrixView?
      ) -> Void
    )!

  /// `(x, residual, y, relu, mask)`: y = x + residual, with `relu` and `mask` as in `normalize`; y may be x or the residual.
  public var add:
    (@Sendable (MatrixView<Scalar>, MatrixView<Scalar>, MatrixView<Scalar>, Bool, BitMatrixView?) -> Void)!

  /// `(dy, mask, result)`: dy where the bit is 1, else 0.
  ///
  /// result may be dy.
  public var keepMasked: (@Sendable (MatrixView<Scalar>, BitMatrixView, MatrixView<Scalar>) -> Void)!

  init() {}
}
