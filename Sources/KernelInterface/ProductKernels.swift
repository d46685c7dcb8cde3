/// Products of rows with a matrix that was packed once: inference, where weights stay and batches are small.
///
/// W of shape (inputs, units) is packed into panels of a few vectors' width, each panel row after row. A sum runs over
/// the inputs in order, so an element's bits depend on its row and column alone: not on how many rows come together (of a
/// finite W: terms whose x is 0 may be left out).
public final class ProductKernels<Scalar>: @unchecked Sendable {
  /// `(inputs, units)`: scalars that `pack` writes.
  public var packedCount: (@Sendable (Int, Int) -> Int)!
  /// `(w, packed)`: W in panels, the last one filled up with zeros.
  public var pack: (@Sendable (MatrixView<Scalar>, UnsafeMutablePointer<Scalar>) -> Void)!
  /// `(x, packed, y)`: y = x·W, x with as many columns as W has inputs, y as many as units, apart from x.
  ///
  /// Cost: 2·rows·inputs·units flops; a panel is read once per `blockRows` rows, from the L1 or L2
  /// cache where the rows are few enough to stay there beside it (some 48).
  public var multiply: (@Sendable (MatrixView<Scalar>, UnsafePointer<Scalar>, MatrixView<Scalar>) -> Void)!
  /// Rows that are best multiplied together.
  public var blockRows: (@Sendable () -> Int)!
  /// `(w, rowFactors, columnFactors, y)`: y[r, c] = w[r, c]·rowFactors[r]·columnFactors[c] in Double, rounded once; nil: 1.
  public var scale:
    (@Sendable (MatrixView<Scalar>, UnsafePointer<Double>?, UnsafePointer<Double>?, MatrixView<Scalar>) -> Void)!
  /// `(factors, w, sums)`: sums[c] += Σ factors[r]·w[r, c], in Double.
  public var addRowCombination:
    (@Sendable (UnsafePointer<Double>, MatrixView<Scalar>, UnsafeMutablePointer<Double>) -> Void)!

  init() {}
}
