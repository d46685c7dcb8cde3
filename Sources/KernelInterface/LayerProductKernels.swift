/// Products with a layer's kernel as its tiles lie in memory; nil where the build's registers are too few for them.
public final class LayerProductKernels<Scalar>: @unchecked Sendable {
  /// `(x, w, y, adds)`: y = x·w, or y += x·w.
  ///
  /// w has as many columns as y, rounded up to whole vectors (a multiple of 64 bytes), which its stride covers. A sum runs
  /// over the depth in order, in up to eight parts where y has few rows: the bits depend on the shape alone. Terms whose
  /// x is 0 may be left out, as if 0·∞ were 0.
  public var multiply: (@Sendable (MatrixView<Scalar>, MatrixView<Scalar>, MatrixView<Scalar>, Bool) -> Void)?

  /// The most terms that `multiply` is best given at once: as much of a tile as leaves most of the L2 cache to x.
  public var mostTerms = 512

  /// `(z, tiles, count, columns, y)`: y = z·Wᵀ[:, columns], W's columns cut into `count` tiles.
  ///
  /// A tile's rows are at most 64 columns and lie without gaps as whole vectors, zeros after the last column; z's columns
  /// are those of the tiles, one after the other. y has a column for each of `columns`, at least a vector of them.
  /// Cost: 2·rows·columns·units flops and W read once: faster than a product with W transposed where the rows are few.
  public var multiplyByTransposed:
    (@Sendable (MatrixView<Scalar>, UnsafePointer<MatrixView<Scalar>>, Int, Range<Int>, MatrixView<Scalar>) -> Void)?

  /// Up to one row for every so many units `multiplyByTransposed` is faster than a product with W transposed.
  public var unitsPerRowOfTransposed = 8
  /// The most rows for which it is, however many the units.
  public var mostRowsOfTransposed = 16

  init() {}
}
