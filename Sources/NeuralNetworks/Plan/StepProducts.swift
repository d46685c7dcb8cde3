import Kernels
import LinearAlgebra

/// The products of a step: register tiles of our own where this build has them, else BLAS in small pieces.
///
/// How a product is cut follows from the shape alone. Copied out of the table so that a call touches no shared reference
/// count.
package struct StepProducts<Scalar: NetworkScalar>: Sendable {
  package typealias Matrix = MatrixView<Scalar>

  private let layer: (@Sendable (Matrix, Matrix, Matrix, Bool) -> Void)?
  // Asked once: to compare a function with nil allocates in a debug build.
  private let hasTiles: Bool
  private let mostTerms: Int
  private let dots: (@Sendable (Matrix, UnsafePointer<Matrix>, Int, Range<Int>, Matrix) -> Void)?
  private let unitsPerRowOfDots: Int
  private let mostRowsOfDots: Int
  private let transpose: @Sendable (Matrix, Matrix, UnsafePointer<Scalar>?) -> Void
  private let gradient: (@Sendable (Matrix, Matrix, Matrix, Bool) -> Void)?
  /// Samples that `gradient` is best given at once.
  let samplesTogether: Int
  /// A gradient of few samples beside which lines are asked for, where there is one.
  private let transposedAsking: WeightGradientKernels<Scalar>.ProductAsking?
  /// A product of a transposed matrix with Adam on its result, where there is one.
  let transposedWithAdam: WeightGradientKernels<Scalar>.ProductAdam?

  package init(_ table: KernelTable<Scalar>) {
    layer = table.layerProducts.multiply
    hasTiles = table.layerProducts.multiply != nil
    mostTerms = table.layerProducts.mostTerms
    dots = table.layerProducts.multiplyByTransposed
    unitsPerRowOfDots = table.layerProducts.unitsPerRowOfTransposed
    mostRowsOfDots = table.layerProducts.mostRowsOfTransposed
    transpose = table.layout.transpose
    gradient = table.weightGradients.transposedProduct
    samplesTogether = table.weightGradients.samplesTogether
    transposedAsking = table.weightGradients.transposedProductAsking
    transposedWithAdam = table.weightGradients.transposedProductAdam
  }

  // MARK: Forward

  /// y = x·w; w may have more columns than y, zeros up to whole vectors, for which y's rows have room.
  @inline(__always)
  package func multiply(_ x: Matrix, _ w: Matrix, into y: Matrix) {
    if let layer, w.rows <= mostTerms, isWholeVectors(w.stride) { return layer(x, w, y, false) }
    multiplyInPieces(x, w, y)
  }

  /// Apart from `multiply`, in which it would take as long to set up as a small product takes.
  @inline(never)
  private func multiplyInPieces(_ x: Matrix, _ w: Matrix, _ y: Matrix) {
    guard let layer, isWholeVectors(w.stride) else {
      return TiledProduct.unsafeMultiply(
        transposeA: false, transposeB: false, m: x.rows, n: w.columns, k: w.rows, x.base, x.stride, w.base, w.stride,
        accumulate: false, y.base, y.stride)
    }
    // In pieces the parts of a long sum are rounded less often.
    let depth = TiledProduct.piece(of: w.rows, atMost: mostTerms, multiple: 8)
    var inner = 0
    while inner < w.rows {
      let part = inner..<min(inner + depth, w.rows)
      layer(x.columns(part), w.rows(part), y, inner > 0)
      inner = part.upperBound
    }
  }

  /// Rows of x that the caches keep while one tile after another is multiplied; all of them, unless x outgrows those.
  ///
  /// Pieces are about equal: a few rows left over would be summed in another order.
  @inline(__always)
  func rowsTogether(_ x: Matrix) -> Int {
    guard hasTiles else { return x.rows }
    let row = x.stride * MemoryLayout<Scalar>.stride
    if x.rows * row <= Self.nearInputs { return x.rows }
    return TiledProduct.piece(of: x.rows, atMost: max(96, Self.nearInputs / 2 / row), multiple: 6)
  }

  /// Calls `body` with the rows of x that the caches keep together, one block after the other.
  @inline(__always)
  func forEachBlock(of x: Matrix, _ body: (Range<Int>) -> Void) {
    let together = rowsTogether(x)
    var row = 0
    while row < x.rows {
      let block = row..<min(row + together, x.rows)
      body(block)
      row = block.upperBound
    }
  }

  /// Bytes of inputs that the caches keep from one tile to the next.
  @inline(__always)
  private static var nearInputs: Int { 4 << 20 }

  // MARK: Gradient of the input

  /// y[:, columns] = z·W[columns, :]ᵀ for the columns of the tiles `owned`; W's columns lie in `count` tiles, z has those
  /// columns one tile after the other.
  ///
  /// Where the rows are many the rows of W are first transposed into `scratch`, room for 64 columns of z's length: that
  /// costs as much as some five rows, fifteen where W is far, and the tiles come together into one long inner dimension.
  /// Where they are few, W is read as it lies, for all tiles in one go: an element of y is the same sum whatever is
  /// computed with it.
  @inline(__always)
  package func multiplyByTransposed(
    _ z: Matrix, _ tiles: UnsafePointer<Matrix>, _ count: Int, inputTiles: UnsafePointer<Range<Int>>,
    _ owned: Range<Int>, into y: Matrix, scratch: UnsafeMutablePointer<Scalar>
  ) {
    guard !owned.isEmpty else { return }
    let first = inputTiles[owned.lowerBound]
    // Of several tiles none is narrower than a vector.
    if let dots, isWholeVectors(tiles[count - 1].stride), first.count >= 64 / MemoryLayout<Scalar>.stride,
      z.rows <= max(1, min(mostRowsOfDots, z.columns / unitsPerRowOfDots))
    {
      let columns = first.lowerBound..<inputTiles[owned.upperBound - 1].upperBound
      return dots(z, tiles, count, columns, y.columns(columns))
    }
    for tile in owned {
      let w = transposed(tiles, count, columns: inputTiles[tile], rowsOf: y, scratch: scratch)
      multiply(z, w, into: y.columns(inputTiles[tile]).rows(0..<z.rows))
    }
  }

  /// W[columns, :]ᵀ in `scratch`, of whole vectors where the rows of y have room.
  @inline(__always)
  func transposed(
    _ tiles: UnsafePointer<Matrix>, _ count: Int, columns: Range<Int>, rowsOf y: Matrix,
    scratch: UnsafeMutablePointer<Scalar>
  ) -> Matrix {
    let width = columns.count
    let wide = ParameterStore<Scalar>.paddedWidth(width)
    // BLAS writes all columns that it is given: more only where the rows of y have room.
    let padded = hasTiles || columns.lowerBound + wide <= y.stride ? wide : width
    var target = scratch
    // Tiles lie far apart, where no prefetcher looks; of a kernel near by, asking takes as long as it saves.
    let isFar = count * tiles[0].rows * tiles[0].stride * MemoryLayout<Scalar>.stride > Self.nearKernel
    for index in 0..<count {
      let tile = tiles[index]
      let next = isFar && index + 1 < count ? UnsafePointer(tiles[index + 1].rows(columns).base) : nil
      transpose(tile.rows(columns), Matrix(base: target, rows: tile.columns, columns: width, stride: padded), next)
      if !hasTiles, padded > width {
        for row in 0..<tile.columns {
          for column in width..<padded { target[row * padded + column] = 0 }
        }
      }
      target += tile.columns * padded
    }
    return Matrix(base: scratch, rows: (target - scratch) / padded, columns: padded)
  }

  /// Bytes of a kernel that comes in time by itself.
  @inline(__always)
  private static var nearKernel: Int { 1 << 20 }

  // MARK: Gradient of the kernel

  /// y = xᵀ·z; y may have more columns than z, zeros as are z's values there.
  @inline(__always)
  package func multiplyTransposed(_ x: Matrix, _ z: Matrix, into y: Matrix) {
    guard let gradient, isWholeVectors(y.columns) else {
      return TiledProduct.unsafeMultiply(
        transposeA: true, transposeB: false, m: x.columns, n: y.columns, k: x.rows, x.base, x.stride, z.base, z.stride,
        accumulate: false, y.base, y.stride)
    }
    var sample = 0
    while sample < x.rows {
      let end = min(sample + samplesTogether, x.rows)
      gradient(x.rows(sample..<end), z.rows(sample..<end), y, sample > 0)
      sample = end
    }
  }

  /// The same where the samples are few; the rows of the next batch are asked for meanwhile.
  @inline(__always)
  func multiplyTransposed(_ x: Matrix, _ z: Matrix, into y: Matrix, _ prefetch: inout BatchPrefetch?) {
    let weights = y.rows * y.columns
    guard let transposedAsking, isWholeVectors(y.columns), x.rows <= 64 else {
      prefetch?.advance(weights: weights)
      return multiplyTransposed(x, z, into: y)
    }
    let tile = 6 * 64 / MemoryLayout<Scalar>.stride
    if prefetch?.isTime(weights: weights, samples: x.rows, tile: tile) == true {
      withUnsafeMutablePointer(to: &prefetch!.requests) { transposedAsking(x, z, y, $0) }
    } else {
      multiplyTransposed(x, z, into: y)
    }
  }

  @inline(__always)
  func isWholeVectors(_ columns: Int) -> Bool { columns * MemoryLayout<Scalar>.stride % 64 == 0 }
}
