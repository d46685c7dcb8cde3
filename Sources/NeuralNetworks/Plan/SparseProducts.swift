import Kernels
import LinearAlgebra

/// The products of dense stages with what a ReLU has left, of which lists are made first (`SparseProductKernels`): with
/// inputs, forward and for the gradients of kernels, and with gradients of outputs for those of inputs, or of kernels where
/// the inputs have few zeros.
///
/// A member lists a matrix once for all of its tiles. The results have the bits of the products that look at all numbers,
/// so that which are made so may depend on the numbers.
final class SparseProducts<Scalar: NetworkScalar>: GradientProducts {
  typealias Matrix = MatrixView<Scalar>
  private typealias Kernels = SparseProductKernels<Scalar>

  private let isSparse: @Sendable (Matrix, Int) -> Bool
  private let listRows: @Sendable (Matrix, UnsafeMutablePointer<UInt8>, Int, Int) -> Void
  private let listColumns: @Sendable (Matrix, UnsafeMutablePointer<UInt8>) -> Void
  private let product: @Sendable (UnsafeMutablePointer<UInt8>, SparsePart, Matrix, Matrix, Bool) -> Void
  private let layOutTile: @Sendable (Matrix, Matrix) -> Void
  private let transpose: @Sendable (Matrix, Matrix, UnsafePointer<Scalar>?) -> Void
  /// Rows up to which a product with a transposed kernel is best made of the kernel as it lies.
  private let mostRowsOfDots: Int
  /// The most terms of a piece of a long sum.
  private let mostTerms: Int

  private let memory: AlignedBuffer<UInt8>
  private let listBytes: Int
  private let panelBytes: Int
  private let memberBytes: Int

  /// The fewest rows for which lists may pay.
  private static var fewestRows: Int { 16 }
  /// The fewest samples for which lists of the outputs' gradients may pay, and those below which fewer sixteenths may be
  /// other than 0: what such lists make has to be transposed.
  private static var fewestSamples: Int { 32 }
  private static var fewSamples: (below: Int, most: Int) { (64, 5) }
  /// The most bytes of lists that a member keeps, in a step or a prediction.
  static var mostBytes: Int { 48 << 20 }

  /// Nil where this CPU has no such products, or `stages` none that takes them.
  init?(
    stages: UnsafeMutableBufferPointer<BoundStage<Scalar>>, table: KernelTable<Scalar>, capacity: Int, members: Int
  ) {
    let kernels = table.sparseProducts
    guard let isSparse = kernels.isSparse, let listRows = kernels.listRows, let listColumns = kernels.listColumns,
      let layOutTile = kernels.layOutTile, let multiply = kernels.multiply
    else { return nil }
    (self.isSparse, self.listRows, self.listColumns, product) = (isSparse, listRows, listColumns, multiply)
    self.layOutTile = layOutTile
    transpose = table.layout.transpose
    mostRowsOfDots = table.layerProducts.mostRowsOfTransposed
    mostTerms = table.layerProducts.mostTerms
    var (lists, panel) = (0, 0)
    for stage in stages {
      let rows = capacity * stage.outputRowsPerSample
      lists = max(lists, min(Self.bytes(stage, rows: rows, mostTerms: mostTerms), Self.mostBytes))
      panel = max(panel, rows * TileGrid.width * MemoryLayout<Scalar>.stride)
    }
    guard lists > 0 else { return nil }
    (listBytes, panelBytes) = (lists, panel)
    let square = TileGrid.width * TileGrid.width * MemoryLayout<Scalar>.stride
    memberBytes = MemberSpacing.spaced(lists + panel + square, of: UInt8.self)
    memory = AlignedBuffer(uninitializedCapacity: members * memberBytes)
  }

  /// Whether lists of a matrix of this shape pay in a product of so many columns.
  @inline(__always)
  private static func suits(rows: Int, terms: Int, columns: Int) -> Bool {
    rows >= fewestRows && Kernels.mayPay(terms: terms, columns: columns)
  }

  /// The bytes of the largest lists of a stage, 0 where none pay.
  private static func bytes(_ stage: BoundStage<Scalar>, rows: Int, mostTerms: Int) -> Int {
    guard case .dense = stage.core else { return 0 }
    let (inputs, units) = (stage.input.columns, stage.output.columns)
    var bytes = 0
    if suits(rows: rows, terms: inputs, columns: units) {
      bytes = max(
        Kernels.bytes(rows: rows, blocks: Pieces(terms: inputs, atMost: mostTerms).blocks),
        Kernels.bytes(rows: inputs, blocks: Kernels.blocks(terms: rows)))
    }
    if stage.inputGradient != nil, suits(rows: rows, terms: units, columns: inputs) {
      bytes = max(bytes, Kernels.bytes(rows: rows, blocks: Pieces(terms: units, atMost: mostTerms).blocks))
    }
    if rows >= fewestSamples, Kernels.mayPay(terms: inputs, columns: inputs) {
      bytes = max(bytes, Kernels.bytes(rows: units, blocks: Kernels.blocks(terms: rows)))
    }
    return bytes
  }

  /// Whether the products of `stage` with its inputs are made so by a member that owns those of its tiles.
  @inline(__always)
  func takes(_ stage: BoundStage<Scalar>, inputs: Matrix, tiles owned: Range<Int>) -> Bool {
    guard !owned.isEmpty else { return false }
    let columns = Self.units(stage, owned).count
    return Self.suits(rows: inputs.rows, terms: inputs.columns, columns: columns)
      && hasRoom(stage, rows: inputs.rows) && isSparse(inputs, Kernels.mostSixteenths)
  }

  /// Whether the product of `stage` with the gradient of its outputs is made so by a member that owns those tiles of the
  /// inputs.
  @inline(__always)
  func takes(_ stage: BoundStage<Scalar>, outputGradient: Matrix, inputTiles owned: Range<Int>) -> Bool {
    guard !owned.isEmpty, outputGradient.rows > mostRowsOfDots else { return false }
    let columns =
      stage.inputTiles[owned.upperBound - 1].upperBound - stage.inputTiles[owned.lowerBound].lowerBound
    return Self.suits(rows: outputGradient.rows, terms: outputGradient.columns, columns: columns)
      && hasRoom(stage, rows: outputGradient.rows) && isSparse(outputGradient, Kernels.mostSixteenths)
  }

  /// Whether the gradient of the kernel of `stage` is made of lists of that of its outputs by a member that owns those
  /// tiles.
  ///
  /// Where the inputs have zeros too, products that leave those out for six rows at once are as fast.
  @inline(__always)
  func takes(_ stage: BoundStage<Scalar>, outputGradient: Matrix, inputs: Matrix, tiles owned: Range<Int>) -> Bool {
    guard !owned.isEmpty, stage.tiles[owned.lowerBound].kernel != nil, inputs.rows >= Self.fewestSamples,
      Kernels.mayPay(terms: inputs.columns, columns: inputs.columns)
    else { return false }
    let most = inputs.rows < Self.fewSamples.below ? Self.fewSamples.most : Kernels.mostSixteenths
    return hasRoom(stage, rows: inputs.rows)
      && isSparse(outputGradient.columns(Self.units(stage, owned)), most) && !isSparse(inputs, Kernels.mostSixteenths)
  }

  /// The units of the tiles `owned`.
  @inline(__always)
  private static func units(_ stage: BoundStage<Scalar>, _ owned: Range<Int>) -> Range<Int> {
    stage.tiles[owned.lowerBound].columns.lowerBound..<stage.tiles[owned.upperBound - 1].columns.upperBound
  }

  /// Whether there is room for the lists of `stage`, which has some.
  @inline(__always)
  private func hasRoom(_ stage: BoundStage<Scalar>, rows: Int) -> Bool {
    let bytes = Self.bytes(stage, rows: rows, mostTerms: mostTerms)
    return bytes > 0 && bytes <= listBytes
  }

  @inline(__always)
  private func lists(_ member: Int) -> UnsafeMutablePointer<UInt8> { memory.baseAddress + member * memberBytes }

  // MARK: Products with kernels

  /// A long sum in the pieces of `StepProducts`, each of whole blocks.
  private struct Pieces {
    let terms: Int
    let depth: Int

    @inline(__always)
    init(terms: Int, atMost limit: Int) {
      self.terms = terms
      depth = TiledProduct.piece(of: terms, atMost: limit, multiple: 8)
    }

    @inline(__always)
    var blocksOfPiece: Int { Kernels.blocks(terms: depth) }
    @inline(__always)
    var blocks: Int { (terms + depth - 1) / depth * blocksOfPiece }
  }

  /// Lists what `multiply` multiplies: a stage's inputs, or the gradient of its outputs.
  @inline(__always)
  func prepare(_ member: Int, _ x: Matrix) {
    let pieces = Pieces(terms: x.columns, atMost: mostTerms)
    var (first, block) = (0, 0)
    while first < x.columns {
      let end = min(first + pieces.depth, x.columns)
      listRows(x.columns(first..<end), lists(member), block, pieces.blocks)
      first = end
      block += pieces.blocksOfPiece
    }
  }

  /// y = x·w for one tile of w, of a kernel of so many columns, or of its transpose, which is in a cache near by (nil).
  @inline(__always)
  func multiply(_ member: Int, _ w: Matrix, ofColumns all: Int?, into y: Matrix) {
    let asksAhead = all.map { Kernels.asksAhead(terms: w.rows, columns: $0) } ?? false
    let pieces = Pieces(terms: w.rows, atMost: mostTerms)
    var (first, block) = (0, 0)
    while first < w.rows {
      let end = min(first + pieces.depth, w.rows)
      let part = SparsePart(
        listedRows: y.rows, listedBlocks: pieces.blocks, rows: 0..<y.rows,
        blocks: block..<block + Kernels.blocks(terms: end - first),
        asksAhead: asksAhead)
      product(lists(member), part, w.rows(first..<end), y, first > 0)
      first = end
      block += pieces.blocksOfPiece
    }
  }

  // MARK: Gradient of the kernel

  @inline(__always)
  private func panel(_ member: Int, samples: Int, columns: Int) -> Matrix {
    let base = UnsafeMutableRawPointer(lists(member) + listBytes).assumingMemoryBound(to: Scalar.self)
    return Matrix(base: base, rows: samples, columns: columns)
  }

  @inline(__always)
  func prepareGradient(_ member: Int, inputs x: Matrix) { listColumns(x, lists(member)) }

  @inline(__always)
  func prepareGradient(_ member: Int, outputs z: Matrix, at place: Int) {
    layOutTile(z, panel(member, samples: z.rows, columns: ParameterStore<Scalar>.paddedWidth(z.columns)))
  }

  @inline(__always)
  var gradientRows: Int { Kernels.rowsTogether }

  /// One: a panel of z is what stays near, lists are read once for it in any case.
  @inline(__always)
  func tilesTogether(inputs: Int, samples: Int) -> Int { 1 }

  @inline(__always)
  func makeGradient(_ member: Int, inputs: Int, samples: Int, _ block: Range<Int>, at place: Int, into y: Matrix) {
    let blocks = Kernels.blocks(terms: samples)
    let part = SparsePart(listedRows: inputs, listedBlocks: blocks, rows: block, blocks: 0..<blocks)
    product(lists(member), part, panel(member, samples: samples, columns: y.columns), y, false)
  }

  // MARK: Gradient of the kernel from that of the outputs

  /// Inputs whose part of a gradient is made at once.
  @inline(__always)
  static var inputsTogether: Int { TileGrid.width }

  /// Lists the gradient of the outputs of all tiles that a member owns.
  @inline(__always)
  func prepareTransposed(_ member: Int, _ stage: BoundStage<Scalar>, outputGradient: Matrix, tiles owned: Range<Int>) {
    listColumns(outputGradient.columns(Self.units(stage, owned)), lists(member))
  }

  /// Lays out some of the inputs.
  @inline(__always)
  func prepareTransposed(_ member: Int, inputs x: Matrix) {
    layOutTile(x, panel(member, samples: x.rows, columns: ParameterStore<Scalar>.paddedWidth(x.columns)))
  }

  /// The rows of the gradient of the kernel of `tile` that belong to the inputs laid out, as many as y has.
  @inline(__always)
  func makeTransposed(
    _ member: Int, _ stage: BoundStage<Scalar>, samples: Int, tiles owned: Range<Int>, tile: Int, into y: Matrix
  ) {
    let (all, columns) = (Self.units(stage, owned), stage.tiles[tile].columns)
    let blocks = Kernels.blocks(terms: samples)
    let first = columns.lowerBound - all.lowerBound
    let part = SparsePart(
      listedRows: all.count, listedBlocks: blocks, rows: first..<first + columns.count, blocks: 0..<blocks)
    let base = UnsafeMutableRawPointer(lists(member) + listBytes + panelBytes).assumingMemoryBound(to: Scalar.self)
    let sums = Matrix(base: base, rows: y.columns, columns: y.rows, stride: TileGrid.width)
    let panel = panel(member, samples: samples, columns: ParameterStore<Scalar>.paddedWidth(y.rows))
    product(lists(member), part, panel, sums.rows(0..<columns.count), false)
    // The columns up to whole vectors.
    for unit in columns.count..<y.columns { (sums.base + unit * sums.stride).update(repeating: 0, count: y.rows) }
    transpose(sums, y, nil)
  }
}
