import Kernels
import LinearAlgebra

/// The products of wide dense stages where they are made of split numbers (`SplitProductKernels`): twice as fast as BLAS's,
/// and nearer to the exact ones.
///
/// A member splits what its tiles have in common once: a stage's inputs, the gradients of its outputs. A tile's own factor
/// is split for each product. Whether a stage's products are made so follows from their shape alone.
final class WideProducts<Scalar: NetworkScalar> {
  typealias Matrix = MatrixView<Scalar>

  private let splitLeft: @Sendable (Matrix, UnsafeMutablePointer<UInt8>, Int, Int) -> Void
  private let splitLeftTransposed: @Sendable (Matrix, UnsafeMutablePointer<UInt8>) -> Void
  private let splitRight: @Sendable (Matrix, UnsafeMutablePointer<UInt8>, Int, Int) -> Void
  private let splitRightTransposed: @Sendable (Matrix, UnsafeMutablePointer<UInt8>, Int, Int) -> Void
  private let product: @Sendable (UnsafePointer<UInt8>, UnsafePointer<UInt8>, Int, Matrix) -> Void

  private let operands: AlignedBuffer<UInt8>
  private let leftBytes: Int
  private let memberBytes: Int

  /// The least samples, inputs and units for which splitting pays, and the largest left operand that a member keeps.
  private static var fewestRows: Int { 96 }
  private static var narrowest: Int { 256 }
  private static var largestOperand: Int { 48 << 20 }

  /// Nil where the CPU has no such products, or `stages` none that takes them.
  init?(
    stages: UnsafeMutableBufferPointer<BoundStage<Scalar>>, table: KernelTable<Scalar>, capacity: Int, members: Int
  ) {
    let kernels = table.splitProducts
    guard let left = kernels.splitLeft, let leftTransposed = kernels.splitLeftTransposed,
      let right = kernels.splitRight, let rightTransposed = kernels.splitRightTransposed,
      let multiply = kernels.multiply
    else { return nil }
    (splitLeft, splitLeftTransposed, splitRight, splitRightTransposed, product) =
      (left, leftTransposed, right, rightTransposed, multiply)
    var (largestLeft, largestRight) = (0, 0)
    for stage in stages where Self.isWide(stage, rows: capacity * stage.outputRowsPerSample) {
      let rows = capacity * stage.outputRowsPerSample
      // A smaller batch may take them where the largest does not.
      largestLeft = max(largestLeft, min(Self.bytes(stage, rows: rows), Self.largestOperand))
      largestRight = max(
        largestRight,
        SplitOperand.bytes(2 * TileGrid.width, terms: max(rows, stage.input.columns, Self.terms(stage))))
    }
    guard largestLeft > 0 else { return nil }
    leftBytes = largestLeft
    memberBytes = MemberSpacing.spaced(largestLeft + largestRight, of: UInt8.self)
    operands = AlignedBuffer(zeroedCapacity: members * memberBytes)
  }

  private static func isWide(_ stage: BoundStage<Scalar>, rows: Int) -> Bool {
    guard case .dense = stage.core else { return false }
    return rows >= fewestRows && min(stage.input.columns, stage.output.columns) >= narrowest
  }

  /// The terms of a sum over a stage's units, where each tile's begin with a chunk.
  private static func terms(_ stage: BoundStage<Scalar>) -> Int {
    stage.output.columns + stage.tileCount * SplitOperand.chunkTerms
  }

  /// The bytes of the largest left operand: inputs, inputs by column, or gradients of the outputs.
  private static func bytes(_ stage: BoundStage<Scalar>, rows: Int) -> Int {
    max(
      SplitOperand.bytes(rows, terms: max(stage.input.columns, terms(stage))),
      SplitOperand.bytes(stage.input.columns, terms: rows))
  }

  /// Whether the products of `stage` with `rows` rows are made of split numbers.
  @inline(__always)
  func take(_ stage: BoundStage<Scalar>, rows: Int) -> Bool {
    Self.isWide(stage, rows: rows) && Self.bytes(stage, rows: rows) <= leftBytes
  }

  @inline(__always)
  private func left(_ member: Int) -> UnsafeMutablePointer<UInt8> { operands.baseAddress + member * memberBytes }
  @inline(__always)
  private func right(_ member: Int) -> UnsafeMutablePointer<UInt8> { left(member) + leftBytes }

  // MARK: Forward

  /// Splits what `multiply` multiplies: a stage's inputs.
  @inline(__always)
  func prepare(_ member: Int, _ x: Matrix) { splitLeft(x, left(member), 0, x.columns) }

  /// y = x·w for one tile.
  @inline(__always)
  func multiply(_ member: Int, _ w: Matrix, into y: Matrix) {
    splitRight(w, right(member), 0, w.rows)
    product(left(member), right(member), w.rows, y)
  }

  // MARK: Gradient of the input

  /// y[:, columns] = z·W[columns, :]ᵀ for the columns of the tiles `owned`; W's columns lie in `count` tiles.
  @inline(__always)
  func multiplyByTransposed(
    _ member: Int, _ z: Matrix, _ tiles: UnsafePointer<Matrix>, _ count: Int,
    inputTiles: UnsafePointer<Range<Int>>, _ owned: Range<Int>, into y: Matrix
  ) {
    guard !owned.isEmpty else { return }
    // A tile's columns begin with a chunk of terms.
    var terms = 0
    for index in 0..<count { terms += SplitOperand.padded(terms: tiles[index].columns) }
    var (first, column) = (0, 0)
    for index in 0..<count {
      let width = tiles[index].columns
      splitLeft(z.columns(column..<column + width), left(member), first, terms)
      first += SplitOperand.padded(terms: width)
      column += width
    }
    for tile in owned {
      let columns = inputTiles[tile]
      first = 0
      for index in 0..<count {
        splitRightTransposed(tiles[index].rows(columns), right(member), first, terms)
        first += SplitOperand.padded(terms: tiles[index].columns)
      }
      product(left(member), right(member), terms, y.columns(columns))
    }
  }

  // MARK: Gradient of the kernel

  /// Splits what `makeGradient` multiplies: a stage's inputs.
  @inline(__always)
  func prepareGradient(_ member: Int, inputs x: Matrix) { splitLeftTransposed(x, left(member)) }
  /// The same of the gradient of a tile's outputs.
  @inline(__always)
  func prepareGradient(_ member: Int, outputs z: Matrix) { splitRight(z, right(member), 0, z.rows) }

  /// Rows `block` of xᵀ·z, from a multiple of 32 on; y may have more columns than z, as many as their whole vectors: zeros.
  @inline(__always)
  func makeGradient(_ member: Int, samples: Int, _ block: Range<Int>, into y: Matrix) {
    product(
      left(member) + SplitOperand.place(ofRow: block.lowerBound, terms: samples), right(member), samples, y)
  }
}
