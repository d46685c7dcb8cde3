/// Products of wide matrices whose factors are first laid out in the order in which the product reads them; nil where this
/// build has none, or not this one.
///
/// - With AMX, numbers are split in three parts of eight bits. A Float is the sum of three bfloat16, to the last bit. Of the
///   nine products of two numbers' parts the six largest are added up, those of small parts first; what is left out is
///   2⁻²⁶ of |x·w|. A sum over chunks of 128 terms is added to the result at once, so that an element differs from the exact
///   one by at most about (128 + terms/128)·2⁻²⁴·Σₖ|x[k]·w[k]|, and usually by a quarter of what a sum of rounded products
///   does. Products below 2⁻¹²⁶ may count as 0; a factor that is not finite leaves NaN. Cost: half of the time of
///   multiply-adds of floats with AVX-512, and some 3 to 7 ns for sixteen numbers that are split. Source: Henry, Tang,
///   Heinecke, "Leveraging the bfloat16 Artificial Intelligence Datatype For Higher-Precision Computations", 2019.
/// - Without AMX, gradients of kernels alone (`packLeftTransposed`, `packRight`), to the bits of
///   `WeightGradientKernels.transposedProduct`: an element is the sum of its terms one after another. Cost: 0.85 to 0.95 of
///   its time with AVX2, 0.5 to 0.9 with AVX-512, and 0.2 to 0.3 ns for a number that is packed.
public final class PackedProductKernels<Scalar>: @unchecked Sendable {
  /// How operands lie in memory.
  public var layout = OperandLayout.split

  /// `(x, operand, first, terms)`: the rows of x as those of a left operand of `terms` terms, its columns the terms from
  /// `first` on, a multiple of `layout.termUnit`.
  public var packLeft: (@Sendable (MatrixView<Scalar>, UnsafeMutablePointer<UInt8>, Int, Int) -> Void)?

  /// `(x, operand)`: the columns of x as rows of a left operand: that of a product with xᵀ.
  public var packLeftTransposed: (@Sendable (MatrixView<Scalar>, UnsafeMutablePointer<UInt8>) -> Void)?

  /// `(w, operand, first, terms)`: rows of w as the terms of a right operand of `terms` terms, from term `first` on,
  /// a multiple of `layout.termUnit`.
  public var packRight: (@Sendable (MatrixView<Scalar>, UnsafeMutablePointer<UInt8>, Int, Int) -> Void)?

  /// `(w, operand, first, terms)`: the same with the columns of w as terms: the right operand of a product with wᵀ.
  public var packRightTransposed: (@Sendable (MatrixView<Scalar>, UnsafeMutablePointer<UInt8>, Int, Int) -> Void)?

  /// `(left, right, terms, y)`: y = left·right; y has all rows of the left operand, or some from a multiple of
  /// `layout.rowUnit` on, whose address `layout.place(ofRow:terms:)` tells, and all columns of the right one (without AMX
  /// up to a whole vector).
  public var multiply: (@Sendable (UnsafePointer<UInt8>, UnsafePointer<UInt8>, Int, MatrixView<Scalar>) -> Void)?

  /// `(x)`: whether so much of x is 0 that xᵀ·z is faster where it is left out, as `WeightGradientKernels` do.
  public var hasManyZeros: (@Sendable (MatrixView<Scalar>) -> Bool)?

  init() {}

  /// Leaves none.
  public func remove() {
    packLeft = nil
    packLeftTransposed = nil
    packRight = nil
    packRightTransposed = nil
    multiply = nil
    hasManyZeros = nil
  }
}

/// Where an operand of `PackedProductKernels` lies: groups of rows (of a right one: columns) one after another, each with
/// all of its terms, zeros where there are no numbers.
public struct OperandLayout: Sendable {
  /// Rows of a left operand that lie together.
  public let rowUnit: Int
  /// Columns of a right operand that lie together.
  public let columnUnit: Int
  /// Terms that lie together.
  public let termUnit: Int
  /// Bytes that a number takes.
  let bytesPerNumber: Int
  /// Rows of a gradient that are best made at once: they stay in the nearest cache until they are used up.
  public let gradientRows: Int
  /// Tiles whose gradients share what they read of a left operand that the caches do not keep.
  public let tilesTogether: Int
  /// Samples from which it pays to lay factors out.
  public let fewestSamples: Int

  /// Blocks of sixteen, two by two, × chunks of 32 terms × three parts of 1 KiB.
  public static let split = OperandLayout(
    rowUnit: 32, columnUnit: 32, termUnit: 32, bytesPerNumber: 6, gradientRows: 64, tilesTogether: 1,
    fewestSamples: 96)
  /// Six rows, or vectors of 64 bytes of columns, × terms.
  public static func sixRows<Scalar>(of _: Scalar.Type, fewestSamples: Int) -> OperandLayout {
    let bytes = MemoryLayout<Scalar>.stride
    return OperandLayout(
      rowUnit: 6, columnUnit: 64 / bytes, termUnit: 1, bytesPerNumber: bytes, gradientRows: 96, tilesTogether: 4,
      fewestSamples: fewestSamples)
  }

  /// The terms of whole units that `terms` terms take.
  @inline(__always)
  public func padded(terms: Int) -> Int { (terms + termUnit - 1) / termUnit * termUnit }

  /// Bytes of a left operand of `rows` rows, in whole lines.
  public func leftBytes(rows: Int, terms: Int) -> Int { bytes((rows + rowUnit - 1) / rowUnit * rowUnit, terms) }

  /// Bytes of a right operand of `columns` columns, likewise.
  public func rightBytes(columns: Int, terms: Int) -> Int {
    bytes((columns + columnUnit - 1) / columnUnit * columnUnit, terms)
  }

  private func bytes(_ count: Int, _ terms: Int) -> Int {
    (count * padded(terms: terms) * bytesPerNumber + 63) / 64 * 64
  }

  /// The bytes before row `row`, a multiple of `rowUnit`.
  @inline(__always)
  public func place(ofRow row: Int, terms: Int) -> Int { row * padded(terms: terms) * bytesPerNumber }
}
