/// Sums and checks over matrices and vectors.
public final class ReductionKernels<Scalar>: @unchecked Sendable {
  /// `(x, sums)`: the sum of each column.
  public var columnSums: (@Sendable (MatrixView<Scalar>, UnsafeMutablePointer<Scalar>) -> Void)!
  /// `(x, count)`: Σ x², accumulated in Double.
  public var sumOfSquares: (@Sendable (UnsafePointer<Scalar>, Int) -> Double)!
  /// `(x, count)`: whether no element is NaN or infinite.
  public var allFinite: (@Sendable (UnsafePointer<Scalar>, Int) -> Bool)!
  /// `(x, factor, y, count)`: y += factor·x.
  public var addScaled: (@Sendable (UnsafePointer<Scalar>, Double, UnsafeMutablePointer<Scalar>, Int) -> Void)!

  init() {}
}
