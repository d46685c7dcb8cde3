/// Products of bytes with fixed-point numbers of three bytes; all nil where the CPU lacks them (AVX-512 VNNI).
///
/// Inputs of images are bytes. The other factor, a kernel or the gradient of a layer's outputs, is taken apart by column:
/// each number becomes three digits of eight bits times the column's unit, a power of two. Products and sums are then
/// exact integers, whose bits depend on no order. An element of the result differs from the exact one by at most
/// 2⁻²³·max|w[:, j]|·Σₖ|x[k]| from the digits, and by 2⁻²² of itself from the conversion at the end.
///
/// Cost: three quarters of the multiplier time of the same product in Float. Groups of four columns in which eight samples
/// (forward) or four (of the gradient) are 0 take no time: of the digits of MNIST about half. Up to eight columns beyond
/// whole vectors of 16 take a quarter of a vector's time for each four.
public final class ByteProductKernels<Scalar>: @unchecked Sendable {
  /// `(source, indices, columns, first, samples, batch)`: copies rows of `columns` bytes of `source` into the batch,
  /// those that `indices` names from `first` on, a multiple of 4.
  public var gather: (@Sendable (UnsafePointer<UInt8>, UnsafePointer<Int32>, Int, Int, Int, ByteBatch) -> Void)?

  /// `(w, columns)`: w's columns in digits; w has the columns' vectors, all of which are read.
  ///
  /// The unit of a column is NaN where a number is not finite, and so are its products.
  public var takeApart: (@Sendable (MatrixView<Scalar>, DigitColumns<Scalar>) -> Void)?

  /// `(w, first, columns, largest)`: the digits of w, rows of the columns from `first` (a multiple of 16) on, in the units
  /// that are there.
  ///
  /// `largest`, a number a column, becomes the larger of itself and the magnitudes in w. Returns whether the units are
  /// still those of `largest`.
  public var renewDigits:
    (@Sendable (MatrixView<Scalar>, Int, DigitColumns<Scalar>, UnsafeMutablePointer<Scalar>) -> Bool)?

  /// `(x, w, scale, y)`: y = scale·x·w for the first rows of x; y has w's columns or fewer.
  public var multiply: (@Sendable (ByteBatch, DigitColumns<Scalar>, Double, MatrixView<Scalar>) -> Void)?

  /// `(x, z, scale, first, y, requests)`: rows from `first` on of y = scale·xᵀ·z, y with all vectors of z's columns.
  ///
  /// One of the requested lines is asked for with each four rows of a vector.
  /// Where y has eight columns or fewer beyond whole vectors, `first` is a multiple of 16, else of 4, and the rest of their
  /// vector, which y's stride covers, becomes 0.
  public var gradient: Gradient?

  /// The type of `gradient`.
  public typealias Gradient =
    @Sendable (
      ByteBatch, DigitColumns<Scalar>, Double, Int, MatrixView<Scalar>, UnsafeMutablePointer<LineRequests>?
    ) -> Void

  /// The same with Adam on the weights instead of y.
  public var gradientAdam: GradientAdam?

  /// `(x, z, scale, first, count, w, m, v, columns, largest, alpha, beta1, beta2, epsilon, decay, requests)`: Adam with
  /// the gradient scale·xᵀ·z on `count` rows from `first` on, the addresses those of row `first`: multiples of 4, and
  /// `first` of 16 where the columns have strips.
  ///
  /// w, m and v are rows of whole vectors without gaps. The new weights' digits go to `columns`, of the whole kernel, in
  /// the units that are there; `largest`, a number a column, becomes the larger of itself and the weights' magnitudes.
  /// Returns whether the units are still those of `largest`. The update's bits are those of `OptimizerKernels.adam`.
  /// Lines are asked for as `gradient` does.
  public typealias GradientAdam =
    @Sendable (
      ByteBatch, DigitColumns<Scalar>, Double, Int, Int, UnsafeMutablePointer<Scalar>, UnsafeMutablePointer<Scalar>,
      UnsafeMutablePointer<Scalar>, DigitColumns<Scalar>, UnsafeMutablePointer<Scalar>, Double, Double, Double, Double,
      Double, UnsafeMutablePointer<LineRequests>?
    ) -> Bool

  // MARK: In tiles, where the CPU has them (AMX-INT8)

  /// `(columns, first, samples, batch)`: writes `batch.byColumn` for so many samples from `first` on, a multiple of 4, which
  /// were gathered before.
  public var layOutByColumn: (@Sendable (Int, Int, Int, ByteBatch) -> Void)?

  /// As `multiply`, to the bit: sixteen rows at once, a quarter of its time.
  public var multiplyTiles: (@Sendable (ByteBatch, DigitColumns<Scalar>, Double, MatrixView<Scalar>) -> Void)?

  /// As `gradient`, to the bit, from `byColumn`; `first` is a multiple of 16.
  public var gradientTiles: Gradient?

  /// As `gradientAdam`, to the bit, from `byColumn`; `first` is a multiple of 16.
  public var gradientAdamTiles: GradientAdam?

  // MARK: Recognition

  /// `(x, count, bytes)`: whether each of `count` scalars is k/255 for a whole k from 0 to 255, rounded once or as the
  /// product of k and the rounded 1/255; writes each k, and zeros up to the next multiple of 16.
  public var recognize: (@Sendable (UnsafePointer<Scalar>, Int, UnsafeMutablePointer<UInt8>) -> Bool)?

  init() {}

  /// Leaves none.
  public func remove() {
    removeTiles()
    recognize = nil
    gather = nil
    takeApart = nil
    renewDigits = nil
    multiply = nil
    gradient = nil
    gradientAdam = nil
  }

  /// Leaves those that need no tiles.
  public func removeTiles() {
    layOutByColumn = nil
    multiplyTiles = nil
    gradientTiles = nil
    gradientAdamTiles = nil
  }
}

/// A batch of bytes as products read it: by sample, and by column.
public struct ByteBatch: Sendable {
  /// Samples × `stride` bytes, zeros after the last column.
  public nonisolated(unsafe) let rows: UnsafeMutablePointer<UInt8>
  /// A multiple of 64 that all columns fit into.
  public let stride: Int
  /// Blocks of 16 columns × groups of 4 samples × 16 columns × 4 samples: room for `capacity` samples.
  public nonisolated(unsafe) let quads: UnsafeMutablePointer<UInt8>
  /// A byte for each line of `quads`: bit q says whether one of its columns 4·q … 4·q + 3 is not 0.
  public nonisolated(unsafe) let occupied: UnsafeMutablePointer<UInt8>
  /// Blocks of 16 columns × `paddedGroups(groups)` groups of 4 samples, the samples of a column one after another: for
  /// products in tiles.
  public nonisolated(unsafe) let byColumn: UnsafeMutablePointer<UInt8>?
  /// Samples in it.
  public let samples: Int

  /// A batch in memory that outlives it; what no sample fills is 0.
  public init(
    rows: UnsafeMutablePointer<UInt8>, stride: Int, quads: UnsafeMutablePointer<UInt8>,
    occupied: UnsafeMutablePointer<UInt8>, byColumn: UnsafeMutablePointer<UInt8>? = nil, samples: Int
  ) {
    self.byColumn = byColumn
    self.rows = rows
    self.stride = stride
    self.quads = quads
    self.occupied = occupied
    self.samples = samples
  }

  /// Groups of four samples.
  @inlinable @inline(__always) public var groups: Int { (samples + 3) / 4 }

  /// The bytes between rows of `columns`: an odd number of cache lines, so that a block's rows spread over the L1 cache.
  public static func stride(columns: Int) -> Int { ((columns + 63) / 64 | 1) * 64 }
  /// Bytes of `quads` for up to `samples` samples.
  public static func quadBytes(columns: Int, samples: Int) -> Int { (columns + 15) / 16 * ((samples + 3) / 4) * 64 }
  /// Bytes of `occupied` for up to `samples` samples: eight are read at once.
  public static func occupiedBytes(columns: Int, samples: Int) -> Int {
    quadBytes(columns: columns, samples: samples) / 64 + 7
  }
  /// Groups with those that are 0 after the last: as many as a whole number of equal chunks of at most 16.
  public static func paddedGroups(_ groups: Int) -> Int {
    let chunks = max(1, (groups + 15) / 16)
    return (groups + chunks - 1) / chunks * chunks
  }
  /// Bytes of `byColumn` for up to `samples` samples.
  public static func byColumnBytes(columns: Int, samples: Int) -> Int {
    (columns + 15) / 16 * 16 * 4 * paddedGroups((samples + 3) / 4)
  }
  /// The longest sum that cannot overflow: terms of 255·128 in 32 bits.
  public static let longestSum = 65_536
}

/// A matrix by column in fixed point: three digits a number and a unit a column.
///
/// Of a kernel, up to eight columns beyond whole vectors lie as strips of four columns in the place of their vector: blocks
/// of 16 rows × 3 digits × 4 columns × 16 rows, one strip after the other.
public struct DigitColumns<Scalar>: @unchecked Sendable {
  /// Vectors of 16 columns × groups of 4 rows × 3 digits × 16 columns × 4 rows, least digit first.
  public let digits: UnsafeMutablePointer<Int8>
  /// What a step of the lowest digit is worth.
  public let units: UnsafeMutablePointer<Scalar>
  /// Vectors of 16 columns, the last one's strips among them.
  public let vectors: Int
  /// Groups of 4 rows; rows missing in the last count as 0.
  public let groups: Int
  /// Strips of 4 columns in the place of the last vector: 0 where it is whole.
  public let strips: Int

  /// A matrix in memory that outlives it; `columns` of a kernel whose last ones may lie as strips.
  public init(
    digits: UnsafeMutablePointer<Int8>, units: UnsafeMutablePointer<Scalar>, vectors: Int, groups: Int,
    columns: Int? = nil
  ) {
    self.digits = digits
    self.units = units
    self.vectors = vectors
    self.groups = groups
    // Two strips' blocks of 16 rows outgrow a vector's groups where there is but one.
    strips = groups < 2 ? 0 : Self.strips(columns: columns ?? 0)
  }

  /// Vectors that are no strips.
  @inlinable @inline(__always) public var wholeVectors: Int { strips == 0 ? vectors : vectors - 1 }

  /// Columns of a vector.
  @inlinable @inline(__always) public static var columnsOfVector: Int { 16 }
  /// Bytes of a group: three digits of four rows of a vector.
  @inlinable @inline(__always) public static var groupBytes: Int { 3 * 4 * columnsOfVector }
  /// Bytes of the digits of `rows` rows and `vectors` vectors, and of groups that products in tiles read after the last,
  /// whatever is there.
  public static func digitBytes(rows: Int, vectors: Int) -> Int {
    let groups = (rows + 3) / 4
    return (vectors * groups + ByteBatch.paddedGroups(groups) - groups) * groupBytes
  }
  /// Strips that pay for what `columns` columns have beyond whole vectors.
  @inlinable @inline(__always)
  public static func strips(columns: Int) -> Int {
    let rest = columns % columnsOfVector
    return rest > 8 ? 0 : (rest + 3) / 4
  }
}
