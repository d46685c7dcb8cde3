/// Inverted dropout whose mask is a function of (key, row, column): nothing is stored, backward draws it again.
public final class DropoutKernels<Scalar>: @unchecked Sendable {
  /// `(x, y, rate, key, firstColumn)`: y = x/(1 − rate) where the mask keeps, else 0; y may be x.
  ///
  /// 0 ≤ rate < 1. Element (r, c) of the view is element (r, firstColumn + c) of the whole matrix: slices give the same mask as the
  /// whole. The same call on dy is the gradient.
  public var apply: (@Sendable (MatrixView<Scalar>, MatrixView<Scalar>, Double, UInt64, Int) -> Void)!

  init() {}
}
