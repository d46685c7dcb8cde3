// Products with a layer's kernel as its tiles lie in memory.

internal import CKernelShims
import KernelInterface

// MARK: y = x·w

func multiplyLayer(_ x: MatrixView<Scalar>, _ w: MatrixView<Scalar>, _ y: MatrixView<Scalar>, _ adds: Bool) {
  if x.rows <= Int(lam_tile_rows(4)), y.columns <= 4 &* lanes, y.columns > 0 {
    // One block, for narrower tiles take no fewer rows: what the loops below look at takes as long as a tenth of it.
    let vectors = Int(UInt(bitPattern: y.columns &+ lanes &- 1) / UInt(lanes))
    return multiplyBlock(vectors, x.rows, x, w, y, adds, 0, 0, y.columns &- (vectors &- 1) &* lanes)
  }
  var column = 0
  while column < y.columns {
    let rest = (y.columns &- column &+ lanes &- 1) / lanes
    // At most four vectors at once, and no single one left over; for a row or two a whole tile.
    let vectors = rest <= 4 ? rest : rest >= 8 && x.rows <= 2 ? 8 : rest < 7 ? 3 : 4
    let last = min(y.columns &- column &- (vectors &- 1) &* lanes, lanes)
    var row = 0
    if vectors > 1, vectors <= 4, last <= lanes / 2, x.rows >= 8 {
      // Two rows share their last vectors. An odd row takes four others with it.
      row = x.rows % 2 * 5
      var left = lam_rows_in_blocks(Int64((x.rows - row) / 2), lam_half_tile_pairs(Int64(vectors - 1)))
      var first = row
      while case let pairs = Int(lam_next_rows(&left)), pairs > 0 {
        lam_multiply_half_tile(
          Int64(vectors - 1), Int64(pairs), x.base + first * x.stride, Int64(x.stride), w.base + column,
          Int64(w.stride), Int64(x.columns), y.base + first * y.stride + column, Int64(y.stride), Int64(last),
          adds ? 1 : 0)
        first += 2 * pairs
      }
      if row > 0 { multiplyBlock(vectors, row, x, w, y, adds, 0, column, last) }
    } else {
      var left = lam_rows_in_blocks(Int64(x.rows), lam_tile_rows(Int64(vectors)))
      while case let rows = Int(lam_next_rows(&left)), rows > 0 {
        multiplyBlock(vectors, rows, x, w, y, adds, row, column, last)
        row &+= rows
      }
    }
    column &+= vectors &* lanes
  }
}

/// `rows` rows from `row` on and `vectors` vectors from `column` on, of whose last `last` columns count.
@inline(__always)
private func multiplyBlock(
  _ vectors: Int, _ rows: Int, _ x: MatrixView<Scalar>, _ w: MatrixView<Scalar>, _ y: MatrixView<Scalar>, _ adds: Bool,
  _ row: Int, _ column: Int, _ last: Int
) {
  let (from, kernel, to) = (x.base + row &* x.stride, w.base + column, y.base + (row &* y.stride &+ column))
  let (count, depth, cut, flag) = (Int64(rows), Int64(x.columns), Int64(last), Int32(adds ? 1 : 0))
  let (xStride, wStride, yStride) = (Int64(x.stride), Int64(w.stride), Int64(y.stride))
  switch vectors {
  case 1: lam_multiply_tile_1(count, from, xStride, kernel, wStride, depth, to, yStride, cut, flag)
  case 2: lam_multiply_tile_2(count, from, xStride, kernel, wStride, depth, to, yStride, cut, flag)
  case 3: lam_multiply_tile_3(count, from, xStride, kernel, wStride, depth, to, yStride, cut, flag)
  case 8: lam_multiply_tile_8(count, from, xStride, kernel, wStride, depth, to, yStride, cut, flag)
  default: lam_multiply_tile_4(count, from, xStride, kernel, wStride, depth, to, yStride, cut, flag)
  }
}

// MARK: y = z·Wᵀ

func multiplyByTransposedLayer(
  _ z: MatrixView<Scalar>, _ tiles: UnsafePointer<MatrixView<Scalar>>, _ count: Int, _ columns: Range<Int>,
  _ y: MatrixView<Scalar>
) {
  // As many tiles together as leave a block of their rows in the L1 cache; fewer of one to three rows, which wait for W:
  // the prefetchers follow few streams.
  let together = z.rows == 1 ? 4 : z.rows <= 3 ? 2 : 8
  // W beyond the L1 cache is asked for ahead where few rows wait for it.
  let asks = z.rows < 8 && columns.count * z.columns * MemoryLayout<Scalar>.stride >= 1 << 16
  var first = 0
  var part = z
  while first < count {
    let some = min(together, count - first)
    addDots(part, tiles + first, some, columns, y, adds: first > 0, asks: asks)
    for tile in 0..<some { part.base += tiles[first + tile].columns }
    first += some
  }
}

/// The same for tiles of which a block of rows stays in the cache.
@inline(__always)
private func addDots(
  _ z: MatrixView<Scalar>, _ tiles: UnsafePointer<MatrixView<Scalar>>, _ count: Int, _ columns: Range<Int>,
  _ y: MatrixView<Scalar>, adds: Bool, asks: Bool
) {
  // A view is a pointer and three integers in this order: the C structure.
  let matrices = UnsafeRawPointer(tiles).assumingMemoryBound(to: lam_matrix.self)
  let base = y.base - columns.lowerBound
  let (fromStride, toStride) = (Int64(z.stride), Int64(y.stride))
  var done = columns.lowerBound
  while done < columns.upperBound {
    // The last block overlaps the one before where fewer columns are left, and leaves those alone.
    let column = min(done, columns.upperBound - lanes)
    let skipped = Int64(done - column)
    var row = 0
    while row < z.rows {
      let left = z.rows - row
      let rows = left >= 4 ? 4 : left >= 2 ? 2 : 1
      // Later rows find W's columns in the L1 cache.
      lam_dots(
        Int64(rows), asks && row == 0 ? 1 : 0, z.base + row * z.stride, fromStride, matrices, Int64(count),
        Int64(column), base + row * y.stride, toStride, skipped, adds ? 1 : 0)
      row += rows
    }
    done = column + lanes
  }
}
