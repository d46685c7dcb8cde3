import Kernels
import LinearAlgebra

/// The products of wide dense stages whose factors are laid out first (`PackedProductKernels`): all of them where numbers
/// are split (AMX), twice as fast as BLAS's and nearer to the exact ones; else the gradients of kernels.
///
/// A member lays out what its tiles have in common once: a stage's inputs, the gradients of its outputs. A tile's own factor
/// is laid out for each product. Whether a stage's products are made so follows from their shape alone, or their bits are
/// the same.
final class WideProducts<Scalar: NetworkScalar>: GradientProducts {
  typealias Matrix = MatrixView<Scalar>

  /// What follows from the shape of a dense stage.
  struct Shape {
    var rows: Int
    var inputs: Int
    var units: Int
    /// Tiles of the units.
    var tiles: Int
  }

  /// What makes the products with kernels, forward and of the inputs' gradients.
  private struct LayerProducts {
    let packLeft: @Sendable (Matrix, UnsafeMutablePointer<UInt8>, Int, Int) -> Void
    let packRightTransposed: @Sendable (Matrix, UnsafeMutablePointer<UInt8>, Int, Int) -> Void
  }

  private let layerProducts: LayerProducts?
  // Asked once: to compare with nil allocates in a debug build.
  private let makesLayerProducts: Bool
  private let packLeftTransposed: @Sendable (Matrix, UnsafeMutablePointer<UInt8>) -> Void
  private let packRight: @Sendable (Matrix, UnsafeMutablePointer<UInt8>, Int, Int) -> Void
  private let product: @Sendable (UnsafePointer<UInt8>, UnsafePointer<UInt8>, Int, Matrix) -> Void
  private let hasManyZeros: (@Sendable (Matrix) -> Bool)?
  private let layout: OperandLayout

  private let operands: AlignedBuffer<UInt8>
  private let leftBytes: Int
  private let memberBytes: Int

  /// The least inputs and units for which it pays, and the largest left operand that a member keeps.
  private static var narrowest: Int { 256 }
  private static var largestOperand: Int { 48 << 20 }
  /// Bytes of a left operand that the caches keep from one tile to the next.
  private static var nearOperand: Int { 4 << 20 }

  /// Nil where this CPU has no such products, or `stages` none that takes them.
  convenience init?(
    stages: UnsafeMutableBufferPointer<BoundStage<Scalar>>, table: KernelTable<Scalar>, capacity: Int, members: Int
  ) {
    let shapes = stages.compactMap { Self.shape(of: $0, rows: capacity * $0.outputRowsPerSample) }
    self.init(shapes: shapes, table: table, members: members)
  }

  /// Nil where this CPU has no such products, or `shapes` none that takes them.
  init?(shapes: [Shape], table: KernelTable<Scalar>, members: Int) {
    let kernels = table.splitProducts.multiply == nil ? table.packedProducts : table.splitProducts
    guard let leftTransposed = kernels.packLeftTransposed, let right = kernels.packRight,
      let multiply = kernels.multiply
    else { return nil }
    (packLeftTransposed, packRight, product) = (leftTransposed, right, multiply)
    if let left = kernels.packLeft, let rightTransposed = kernels.packRightTransposed {
      layerProducts = LayerProducts(packLeft: left, packRightTransposed: rightTransposed)
      makesLayerProducts = true
    } else {
      layerProducts = nil
      makesLayerProducts = false
    }
    (hasManyZeros, layout) = (kernels.hasManyZeros, kernels.layout)
    var (largestLeft, largestRight) = (0, 0)
    for shape in shapes where Self.isWide(shape, layout) {
      // A smaller batch may take them where the largest does not.
      largestLeft = max(largestLeft, min(Self.leftBytes(shape, layout), Self.largestOperand))
      largestRight = max(
        largestRight, Self.rightBytes(max(shape.inputs, Self.terms(shape, layout)), layout),
        layout.tilesTogether * Self.rightBytes(shape.rows, layout))
    }
    guard largestLeft > 0 else { return nil }
    leftBytes = largestLeft
    memberBytes = MemberSpacing.spaced(largestLeft + largestRight, of: UInt8.self)
    // Laid out before it is read, padding included: a plan that never trains touches none of it.
    operands = AlignedBuffer(uninitializedCapacity: members * memberBytes)
  }

  private static func shape(of stage: BoundStage<Scalar>, rows: Int) -> Shape? {
    guard case .dense = stage.core else { return nil }
    return Shape(rows: rows, inputs: stage.input.columns, units: stage.output.columns, tiles: stage.tileCount)
  }

  private static func isWide(_ shape: Shape, _ layout: OperandLayout) -> Bool {
    shape.rows >= layout.fewestSamples && min(shape.inputs, shape.units) >= narrowest
  }

  /// The terms of a sum over a stage's units, where each tile's begin with a unit of terms.
  private static func terms(_ shape: Shape, _ layout: OperandLayout) -> Int {
    shape.units + shape.tiles * layout.termUnit
  }

  /// The bytes of the largest left operand: inputs, inputs by column, or gradients of the outputs.
  private static func leftBytes(_ shape: Shape, _ layout: OperandLayout) -> Int {
    max(
      layout.leftBytes(rows: shape.rows, terms: max(shape.inputs, terms(shape, layout))),
      layout.leftBytes(rows: shape.inputs, terms: shape.rows))
  }

  /// The bytes of the largest right operand of so many terms: a tile.
  @inline(__always)
  private static func rightBytes(_ terms: Int, _ layout: OperandLayout) -> Int {
    layout.rightBytes(columns: 2 * TileGrid.width, terms: terms)
  }

  /// Whether products of this shape are made so.
  @inline(__always)
  private func takes(_ shape: Shape) -> Bool {
    Self.isWide(shape, layout) && Self.leftBytes(shape, layout) <= leftBytes
  }

  /// Whether the products of `stage` with its kernel and `rows` rows are made so.
  @inline(__always)
  func makesProducts(of stage: BoundStage<Scalar>, rows: Int) -> Bool {
    guard let shape = Self.shape(of: stage, rows: rows) else { return false }
    return makesProducts(of: shape)
  }

  /// The same of a layer of this shape.
  @inline(__always)
  func makesProducts(of shape: Shape) -> Bool { makesLayerProducts && takes(shape) }

  /// Whether the gradient of the kernel of `stage` is made so from `inputs`.
  @inline(__always)
  func makesGradient(of stage: BoundStage<Scalar>, inputs: Matrix) -> Bool {
    guard let shape = Self.shape(of: stage, rows: inputs.rows) else { return false }
    return makesGradient(of: shape, inputs: inputs)
  }

  /// The same of a layer of this shape.
  @inline(__always)
  func makesGradient(of shape: Shape, inputs: Matrix) -> Bool {
    guard takes(shape) else { return false }
    if let hasManyZeros { return !hasManyZeros(inputs) }
    return true
  }

  @inline(__always)
  private func left(_ member: Int) -> UnsafeMutablePointer<UInt8> { operands.baseAddress + member * memberBytes }
  @inline(__always)
  private func right(_ member: Int) -> UnsafeMutablePointer<UInt8> { left(member) + leftBytes }
  /// The right operand of this `place` among those of as many terms.
  @inline(__always)
  private func right(_ member: Int, at place: Int, terms: Int) -> UnsafeMutablePointer<UInt8> {
    right(member) + place * Self.rightBytes(terms, layout)
  }

  // MARK: Forward

  /// Lays out what `multiply` multiplies: a stage's inputs.
  @inline(__always)
  func prepare(_ member: Int, _ x: Matrix) { layerProducts?.packLeft(x, left(member), 0, x.columns) }

  /// y = x·w for one tile.
  @inline(__always)
  func multiply(_ member: Int, _ w: Matrix, into y: Matrix) {
    packRight(w, right(member), 0, w.rows)
    product(left(member), right(member), w.rows, y)
  }

  // MARK: Gradient of the input

  /// y[:, columns] = z·W[columns, :]ᵀ for the columns of the tiles `owned`; W's columns lie in `count` tiles.
  @inline(__always)
  func multiplyByTransposed(
    _ member: Int, _ z: Matrix, _ tiles: UnsafePointer<Matrix>, _ count: Int,
    inputTiles: UnsafePointer<Range<Int>>, _ owned: Range<Int>, into y: Matrix
  ) {
    guard let layerProducts, !owned.isEmpty else { return }
    // A tile's columns begin with a unit of terms.
    var terms = 0
    for index in 0..<count { terms += layout.padded(terms: tiles[index].columns) }
    var (first, column) = (0, 0)
    for index in 0..<count {
      let width = tiles[index].columns
      layerProducts.packLeft(z.columns(column..<column + width), left(member), first, terms)
      first += layout.padded(terms: width)
      column += width
    }
    for tile in owned {
      let columns = inputTiles[tile]
      first = 0
      for index in 0..<count {
        layerProducts.packRightTransposed(tiles[index].rows(columns), right(member), first, terms)
        first += layout.padded(terms: tiles[index].columns)
      }
      product(left(member), right(member), terms, y.columns(columns))
    }
  }

  // MARK: Gradient of the kernel

  @inline(__always)
  func prepareGradient(_ member: Int, inputs x: Matrix) { packLeftTransposed(x, left(member)) }
  @inline(__always)
  func prepareGradient(_ member: Int, outputs z: Matrix, at place: Int) {
    packRight(z, right(member, at: place, terms: z.rows), 0, z.rows)
  }

  @inline(__always)
  var gradientRows: Int { layout.gradientRows }

  /// Several where the left operand would come from memory for each.
  @inline(__always)
  func tilesTogether(inputs: Int, samples: Int) -> Int {
    layout.leftBytes(rows: inputs, terms: samples) > Self.nearOperand ? layout.tilesTogether : 1
  }

  @inline(__always)
  func makeGradient(_ member: Int, inputs: Int, samples: Int, _ block: Range<Int>, at place: Int, into y: Matrix) {
    product(
      left(member) + layout.place(ofRow: block.lowerBound, terms: samples),
      right(member, at: place, terms: samples), samples, y)
  }
}
