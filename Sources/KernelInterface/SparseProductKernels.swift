/// Products of a matrix of which every second number or more is 0, here in one row and there in another, as a ReLU leaves
/// it; nil where this build has none.
///
/// The numbers other than 0 are listed first, a row's in blocks of 64 terms, and multiply rows of the other matrix. An
/// element is the sum of its terms one after another, to the bits of `LayerProductKernels.multiply` and
/// `WeightGradientKernels.transposedProduct` where that matrix is finite. Cost: 0.6 to 0.7 of the time of all terms where
/// half of them are 0, in proportion to what is not, and 0.3 to 0.6 ns for each number that is looked at (columns of
/// matrices that no cache holds: 1 to 2).
public final class SparseProductKernels<Scalar>: @unchecked Sendable {
  /// `(x, sixteenths)`: whether of some rows of x, looked at here and there, at most so many sixteenths are other than 0.
  public var isSparse: (@Sendable (MatrixView<Scalar>, Int) -> Bool)?

  /// `(x, lists, first, blocks)`: the rows of x, their columns the terms of the blocks from `first` on of `blocks`.
  public var listRows: (@Sendable (MatrixView<Scalar>, UnsafeMutablePointer<UInt8>, Int, Int) -> Void)?

  /// `(x, lists)`: the columns of x as rows: those of a product with xᵀ.
  public var listColumns: (@Sendable (MatrixView<Scalar>, UnsafeMutablePointer<UInt8>) -> Void)?

  /// `(z, y)`: z as a tile: y has z's rows without gaps, of whole vectors, zeros after z's columns.
  ///
  /// Rows of a wide matrix share few lines of the L1 cache.
  public var layOutTile: (@Sendable (MatrixView<Scalar>, MatrixView<Scalar>) -> Void)?

  /// `(lists, part, w, y, adds)`: y = x·w, or y += x·w, for the listed rows and blocks in `part`.
  ///
  /// w's rows are the terms of those blocks, of whole vectors (64 bytes) that cover y's columns.
  public var multiply:
    (@Sendable (UnsafeMutablePointer<UInt8>, SparsePart, MatrixView<Scalar>, MatrixView<Scalar>, Bool) -> Void)?

  /// `(lists, part, packed, depth, y)`: y = x·w for the listed rows and blocks in `part`; `packed` is w as by
  /// `ProductKernels.pack`, `depth` rows that are the terms of those blocks.
  public var multiplyPanels:
    (@Sendable (UnsafeMutablePointer<UInt8>, SparsePart, UnsafePointer<Scalar>, Int, MatrixView<Scalar>) -> Void)?

  init() {}

  /// The fewest terms and columns of a product for which lists may pay.
  @inline(__always)
  public static func mayPay(terms: Int, columns: Int) -> Bool { terms >= 128 && columns >= 128 }

  /// The most sixteenths of a matrix that may be other than 0 for lists to pay.
  @inline(__always)
  public static var mostSixteenths: Int { 9 }

  /// Whether it pays to ask ahead for a matrix of so many terms and columns: where no cache near by holds it.
  @inline(__always)
  public static func asksAhead(terms: Int, columns: Int) -> Bool {
    terms * columns * MemoryLayout<Scalar>.stride >= 1 << 20
  }

  /// Terms of a block, as `LAM_SPARSE_TERMS`.
  public static var blockTerms: Int { 64 }

  /// Rows that are best multiplied at once, as `LAM_SPARSE_ROWS`: their sums stay in the nearest cache.
  @inline(__always)
  public static var rowsTogether: Int { 48 }

  /// Blocks of so many terms.
  @inline(__always)
  public static func blocks(terms: Int) -> Int { (terms + blockTerms - 1) / blockTerms }

  /// Bytes of lists, in whole lines: places in a block, numbers, and for each row and block how many there are.
  public static func bytes(rows: Int, blocks: Int) -> Int {
    (rows * blocks * (blockTerms * (1 + MemoryLayout<Scalar>.stride) + 1) + 63) / 64 * 64
  }
}

/// Some of the rows and blocks of terms of a listed matrix.
public struct SparsePart: Sendable {
  /// All rows and blocks that were listed.
  public var (listedRows, listedBlocks): (Int, Int)
  /// The rows of the result.
  public var rows: Range<Int>
  /// The blocks whose terms are summed.
  public var blocks: Range<Int>
  /// Whether the other matrix's rows of a block are asked for while the block before is multiplied.
  public var asksAhead: Bool

  /// Of `listedRows` rows and `listedBlocks` blocks those.
  @inline(__always)
  public init(listedRows: Int, listedBlocks: Int, rows: Range<Int>, blocks: Range<Int>, asksAhead: Bool = false) {
    (self.listedRows, self.listedBlocks) = (listedRows, listedBlocks)
    (self.rows, self.blocks, self.asksAhead) = (rows, blocks, asksAhead)
  }
}
