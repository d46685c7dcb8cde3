/// Copies of matrices in another order.
public final class LayoutKernels<Scalar>: @unchecked Sendable {
  /// `(x, y)`: y[c, r] = x[r, c]; y has as many rows as x columns and the other way round, and does not overlap x.
  public var transpose: (@Sendable (MatrixView<Scalar>, MatrixView<Scalar>) -> Void)!

  init() {}
}
