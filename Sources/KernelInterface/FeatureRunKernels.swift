/// Batch normalization of an axis that is not the last, where it lies.
///
/// A row of a matrix holds each feature's `inner` values together, one feature after the other: feature f is at columns
/// f·inner ..< (f + 1)·inner of every row. A sample of shape (outer…, features, inner…) is its outer positions' rows. All
/// vectors have one element a feature. Some features of a matrix are a range of its columns, some samples a range of its rows.
///
/// Weights, where there are any, are one for each `rowsPerWeight` rows, as for the columns' kernels.
public final class FeatureRunKernels<Scalar>: @unchecked Sendable {
  /// A vector of scalars, one per feature.
  public typealias Pointer = UnsafeMutablePointer<Scalar>

  /// `(x, inner, weights, rowsPerWeight, mean, meanLow, variance)`: mean and biased variance of each feature.
  ///
  /// Blocks of up to 64 vectors: a shifted pass over each, blocks merged in Double (Chan, Golub and LeVeque 1979). Rows of
  /// weight 0 are not read; where all weights are 0, so are the results.
  public var moments:
    (@Sendable (MatrixView<Scalar>, Int, UnsafePointer<Double>?, Int, Pointer, Pointer, Pointer) -> Void)!

  /// `(x, inner, mean, meanLow, inverseDeviation, gamma, beta, y)`: y = γ·(x − mean − meanLow)·inverseDeviation + β.
  ///
  /// gamma nil means 1, beta nil means 0. y may be x.
  public var normalize:
    (
      @Sendable (
        MatrixView<Scalar>, Int, UnsafePointer<Scalar>, UnsafePointer<Scalar>, UnsafePointer<Scalar>,
        UnsafePointer<Scalar>?, UnsafePointer<Scalar>?, MatrixView<Scalar>
      ) -> Void
    )!

  /// `(dy, x, inner, givenStatistics, weights, rowsPerWeight, mean, meanLow, inverseDeviation, gamma, dGamma, dBeta, dx)`.
  ///
  /// With x̂ = (x − mean)·inverseDeviation and sums over all of a feature's values: dβ = Σ dy, dγ = Σ dy·x̂,
  /// dx = γ·inverseDeviation·(dy − s·(dβ + x̂·dγ)), where s is 1/n of n values, w/Σw with weights, and 0 with
  /// `givenStatistics`. dx may be dy. dGamma and dBeta are always written.
  public var backward:
    (
      @Sendable (
        MatrixView<Scalar>, MatrixView<Scalar>, Int, Bool, UnsafePointer<Double>?, Int, UnsafePointer<Scalar>,
        UnsafePointer<Scalar>, UnsafePointer<Scalar>, UnsafePointer<Scalar>?, Pointer, Pointer, MatrixView<Scalar>
      ) -> Void
    )!

  init() {}
}
