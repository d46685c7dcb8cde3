/// Copies of matrices in another order.
public final class LayoutKernels<Scalar>: @unchecked Sendable {
  /// `(x, y, next)`: y[c, r] = x[r, c]; y has as many rows as x columns and the other way round, and does not overlap x.
  ///
  /// Where `next` is given, the matrix of x's shape and stride that begins there is asked for meanwhile: the one after x,
  /// if it lies elsewhere.
  public var transpose: (@Sendable (MatrixView<Scalar>, MatrixView<Scalar>, UnsafePointer<Scalar>?) -> Void)!

  init() {}
}
