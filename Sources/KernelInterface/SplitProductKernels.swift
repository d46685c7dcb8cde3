/// Products of matrices whose numbers are split in three parts of eight bits; all nil where the CPU lacks tiles of bfloat16
/// (AMX-BF16).
///
/// A Float is the sum of three bfloat16, to the last bit. Of the nine products of two numbers' parts the six largest are
/// added up, those of small parts first; what is left out is 2⁻²⁶ of |x·w|. A sum over chunks of 128 terms is added to the
/// result at once, so that an element differs from the exact one by at most about (128 + terms/128)·2⁻²⁴·Σₖ|x[k]·w[k]|,
/// and usually by a quarter of what a sum of rounded products does. Products below 2⁻¹²⁶ may count as 0; a factor that is
/// not finite leaves NaN.
///
/// Cost: half of the time of multiply-adds of floats with AVX-512, and some 3 to 7 ns for sixteen numbers that are split.
/// Source: Henry, Tang, Heinecke, "Leveraging the bfloat16 Artificial Intelligence Datatype For Higher-Precision
/// Computations", 2019.
public final class SplitProductKernels<Scalar>: @unchecked Sendable {
  /// `(x, operand, first, terms)`: the rows of x as those of a left operand of `terms` terms, its columns the terms from
  /// `first` on, a multiple of `chunkTerms`.
  public var splitLeft: (@Sendable (MatrixView<Scalar>, UnsafeMutablePointer<UInt8>, Int, Int) -> Void)?

  /// `(x, operand)`: the columns of x as rows of a left operand: that of a product with xᵀ.
  public var splitLeftTransposed: (@Sendable (MatrixView<Scalar>, UnsafeMutablePointer<UInt8>) -> Void)?

  /// `(w, operand, first, terms)`: rows of w as the terms of a right operand of `terms` terms, from term `first` on,
  /// a multiple of `chunkTerms`.
  public var splitRight: (@Sendable (MatrixView<Scalar>, UnsafeMutablePointer<UInt8>, Int, Int) -> Void)?

  /// `(w, operand, first, terms)`: the same with the columns of w as terms: the right operand of a product with wᵀ.
  public var splitRightTransposed: (@Sendable (MatrixView<Scalar>, UnsafeMutablePointer<UInt8>, Int, Int) -> Void)?

  /// `(left, right, terms, y)`: y = left·right; y has all rows of the left operand, or some from a multiple of 32 on, whose
  /// address `SplitOperand.place(ofRow:terms:)` tells, and all columns of the right one.
  public var multiply: (@Sendable (UnsafePointer<UInt8>, UnsafePointer<UInt8>, Int, MatrixView<Scalar>) -> Void)?

  init() {}

  /// Leaves none.
  public func remove() {
    splitLeft = nil
    splitLeftTransposed = nil
    splitRight = nil
    splitRightTransposed = nil
    multiply = nil
  }
}

/// Where an operand of `SplitProductKernels` lies: blocks of 16 rows (of a right one: columns), of which there is an even
/// number × chunks of 32 terms × three parts of 1 KiB, zeros where there are no numbers.
public enum SplitOperand {
  /// Terms of a chunk.
  public static var chunkTerms: Int { 32 }
  /// Bytes of a chunk of a block.
  @inlinable @inline(__always) static var chunkBytes: Int { 3 * 16 * 32 * 2 }
  /// The terms of whole chunks that `terms` terms take.
  @inlinable @inline(__always) public static func padded(terms: Int) -> Int { (terms + 31) / 32 * 32 }
  /// Chunks of `terms` terms.
  @inlinable @inline(__always) public static func chunks(terms: Int) -> Int { (terms + 31) / 32 }
  /// Bytes of an operand of `count` rows, or columns.
  @inlinable @inline(__always)
  public static func bytes(_ count: Int, terms: Int) -> Int {
    (count + 31) / 32 * 2 * chunks(terms: terms) * chunkBytes
  }
  /// The bytes before row `row`, a multiple of 32.
  @inlinable @inline(__always)
  public static func place(ofRow row: Int, terms: Int) -> Int { row / 16 * chunks(terms: terms) * chunkBytes }
}
