/// Batch normalization of the columns of a matrix: moments, normalization and their gradients.
///
/// A mean travels as two scalars, `mean` and `meanLow`, whose unrounded sum is the mean to about twice the scalar's
/// precision; `(x − mean) − meanLow` is then right where the columns sit at a large offset.
public final class BatchNormalizationKernels<Scalar>: @unchecked Sendable {
  /// A vector of scalars, one per column.
  public typealias Pointer = UnsafeMutablePointer<Scalar>

  /// `(x, mean, meanLow, variance, workspace)`: mean and biased variance of each column, x read from memory once.
  ///
  /// `workspace` holds 3·columns doubles. Rows are taken in blocks that stay in the L1 cache: a shifted two-pass per
  /// block, blocks merged in Double (Chan, Golub, LeVeque 1979). rows ≥ 1.
  public var moments: (@Sendable (MatrixView<Scalar>, Pointer, Pointer, Pointer, UnsafeMutablePointer<Double>) -> Void)!

  /// `(variance, epsilon, inverseDeviation, count)`: 1/√(variance + ε).
  public var inverseDeviation: (@Sendable (UnsafePointer<Scalar>, Double, Pointer, Int) -> Void)!

  /// `(x, mean, meanLow, inverseDeviation, gamma, beta, y, relu)`: y = γ·((x − mean) − meanLow)·inverseDeviation + β.
  ///
  /// gamma nil means 1, beta nil means 0, `relu` clamps y at 0. y may be x.
  public var normalize:
    (
      @Sendable (
        MatrixView<Scalar>, UnsafePointer<Scalar>, UnsafePointer<Scalar>, UnsafePointer<Scalar>,
        UnsafePointer<Scalar>?, UnsafePointer<Scalar>?, MatrixView<Scalar>, Bool
      ) -> Void
    )!

  /// `(dy, x, output, mean, meanLow, inverseDeviation, gamma, dGamma, dBeta, dx, maskInput)`: the training gradient.
  ///
  /// With x̂ = (x − mean)·inverseDeviation and n rows: dβ = Σ dy, dγ = Σ dy·x̂,
  /// dx = γ·inverseDeviation·(dy − dβ/n − x̂·dγ/n) (Ioffe and Szegedy 2015, section 3).
  /// Where `output` is given, ReLU followed the normalization: dy counts as 0 where output ≤ 0.
  /// With `maskInput`, ReLU came before it: dx is 0 where x ≤ 0. dx may be dy. dGamma and dBeta are always written.
  public var backward:
    (
      @Sendable (
        MatrixView<Scalar>, MatrixView<Scalar>, MatrixView<Scalar>?, UnsafePointer<Scalar>, UnsafePointer<Scalar>,
        UnsafePointer<Scalar>, UnsafePointer<Scalar>?, Pointer, Pointer, MatrixView<Scalar>, Bool
      ) -> Void
    )!

  /// `(moving, batch, momentum, count)`: moving = momentum·moving + (1 − momentum)·batch (Keras's rule).
  public var updateMovingAverage: (@Sendable (Pointer, UnsafePointer<Scalar>, Double, Int) -> Void)!

  init() {}
}
