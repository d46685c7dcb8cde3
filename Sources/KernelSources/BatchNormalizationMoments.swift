// Mean and variance of columns, x read from memory once.
//
// Rows are taken in blocks of 64. A block's shift is the mean of up to eight of its rows, spread evenly; the sums of
// d = x − shift and of d² then follow in one pass. Their cancellation is bounded whatever the data: a block of n rows
// of which k made the shift has at least k/n of its squared distance from the shift in its own variance. Blocks are
// merged in Double (Chan, Golub and LeVeque 1979), means as distances from the first block's shift. Rows are taken eight
// at a time across the whole width, which is eight streams for the prefetcher whatever the stride.

internal import CKernelShims
import KernelInterface

/// Rows of a block: its squares are summed in `Scalar`.
let momentsBlockRows = 64

/// Vectors of a chunk of columns: a block of it stays in the L2 cache.
private let momentsChunkVectors = 32

func moments(
  _ x: MatrixView<Scalar>, _ mean: Pointer, _ meanLow: Pointer, _ variance: Pointer,
  _ workspace: UnsafeMutablePointer<Double>
) {
  // Until the end `mean` holds the block's shift, `meanLow` Σd and `variance` Σd².
  let origin = workspace
  let running = workspace + x.columns
  let squares = workspace + 2 * x.columns
  var row = 0
  while row < x.rows {
    let rows = min(momentsBlockRows, x.rows - row)
    var first = 0
    while first < x.columns {
      let end = min(first + momentsChunkVectors * lanes, x.columns)
      let block = x.base + row * x.stride
      shiftOfBlock(block, rows, x.stride, first, end, mean)
      sumsOfBlock(block, rows, x.stride, first, end, mean, meanLow, variance)
      var column = first
      while column + lanes <= end {
        merge(row, rows, column, lanes, mean, meanLow, variance, origin, running, squares)
        column += lanes
      }
      if column < end { merge(row, rows, column, end - column, mean, meanLow, variance, origin, running, squares) }
      first = end
    }
    row += rows
  }
  var column = 0
  while column + lanes <= x.columns {
    finish(x.rows, column, lanes, mean, meanLow, variance, origin, running, squares)
    column += lanes
  }
  if column < x.columns {
    finish(x.rows, column, x.columns - column, mean, meanLow, variance, origin, running, squares)
  }
}

// MARK: One block

/// The mean of up to eight rows of the block, measured from its first row: exact where a column is constant.
@inline(__always)
private func shiftOfBlock(
  _ block: Pointer, _ rows: Int, _ stride: Int, _ first: Int, _ end: Int, _ shift: Pointer
) {
  let step = (rows + 7) / 8
  let sampled = (rows + step - 1) / step
  let weight = splat(1 / Scalar(sampled))
  var column = first
  while column + lanes <= end {
    lam_store(shift + column, shiftOfStrip(block + column, sampled, step * stride, weight, lanes))
    column += lanes
  }
  if column < end {
    store(shift + column, shiftOfStrip(block + column, sampled, step * stride, weight, end - column), end - column)
  }
}

@inline(__always)
private func shiftOfStrip(_ x: Pointer, _ rows: Int, _ stride: Int, _ weight: Vector, _ count: Int) -> Vector {
  let first = load(x, count)
  var sum = Vector.zero
  for row in 1..<max(rows, 1) { sum += load(x + row * stride, count) - first }
  return lam_multiply_add(sum, weight, first)
}

@inline(__always)
private func sumsOfBlock(
  _ block: Pointer, _ rows: Int, _ stride: Int, _ first: Int, _ end: Int, _ shift: Pointer, _ sum: Pointer,
  _ squares: Pointer
) {
  var column = first
  while column < end {
    let count = min(lanes, end - column)
    store(sum + column, Vector.zero, count)
    store(squares + column, Vector.zero, count)
    column += lanes
  }
  var row = 0
  while row + 8 <= rows {
    let group = block + row * stride
    column = first
    while column + lanes <= end {
      addEightRows(group + column, stride, shift + column, sum + column, squares + column, lanes)
      column += lanes
    }
    if column < end {
      addEightRows(group + column, stride, shift + column, sum + column, squares + column, end - column)
    }
    row += 8
  }
  while row < rows {
    let single = block + row * stride
    column = first
    while column + lanes <= end {
      addRow(single + column, shift + column, sum + column, squares + column, lanes)
      column += lanes
    }
    if column < end { addRow(single + column, shift + column, sum + column, squares + column, end - column) }
    row += 1
  }
}

@inline(__always)
private func addEightRows(
  _ x: Pointer, _ stride: Int, _ shift: Pointer, _ sum: Pointer, _ squares: Pointer, _ count: Int
) {
  let s = load(shift, count)
  let d0 = load(x, count) - s
  let d1 = load(x + stride, count) - s
  let d2 = load(x + 2 * stride, count) - s
  let d3 = load(x + 3 * stride, count) - s
  let d4 = load(x + 4 * stride, count) - s
  let d5 = load(x + 5 * stride, count) - s
  let d6 = load(x + 6 * stride, count) - s
  let d7 = load(x + 7 * stride, count) - s
  let total = ((d0 + d1) + (d2 + d3)) + ((d4 + d5) + (d6 + d7))
  let even = lam_multiply_add(d6, d6, lam_multiply_add(d4, d4, lam_multiply_add(d2, d2, d0 * d0)))
  let odd = lam_multiply_add(d7, d7, lam_multiply_add(d5, d5, lam_multiply_add(d3, d3, d1 * d1)))
  store(sum, load(sum, count) + total, count)
  store(squares, load(squares, count) + (even + odd), count)
}

@inline(__always)
private func addRow(_ x: Pointer, _ shift: Pointer, _ sum: Pointer, _ squares: Pointer, _ count: Int) {
  let d = load(x, count) - load(shift, count)
  store(sum, load(sum, count) + d, count)
  store(squares, lam_multiply_add(d, d, load(squares, count)), count)
}

// MARK: Merging

/// Adds a block of `rows` rows to the moments of the `before` rows above it.
@inline(__always)
private func merge(
  _ before: Int, _ rows: Int, _ column: Int, _ count: Int, _ shift: Pointer, _ sum: Pointer, _ square: Pointer,
  _ origin: UnsafeMutablePointer<Double>, _ running: UnsafeMutablePointer<Double>,
  _ squares: UnsafeMutablePointer<Double>
) {
  let n = Double(rows)
  let total = lam_widen(load(sum + column, count))
  let blockShift = lam_widen(load(shift + column, count))
  let blockSquares = lam_widen(load(square + column, count)) - total * total * lam_splat_doubles(1 / n)
  let distance = total * lam_splat_doubles(1 / n)
  if before == 0 {
    storeDoubles(origin + column, blockShift, count)
    storeDoubles(running + column, distance, count)
    storeDoubles(squares + column, blockSquares, count)
  } else {
    let all = Double(before + rows)
    let mean = loadDoubles(running + column, count)
    let delta = ((blockShift - loadDoubles(origin + column, count)) + distance) - mean
    storeDoubles(running + column, mean + delta * lam_splat_doubles(n / all), count)
    let between = delta * delta * lam_splat_doubles(Double(before) * n / all)
    storeDoubles(squares + column, loadDoubles(squares + column, count) + (blockSquares + between), count)
  }
}

/// The mean as two scalars and the variance.
@inline(__always)
private func finish(
  _ rows: Int, _ column: Int, _ count: Int, _ mean: Pointer, _ meanLow: Pointer, _ variance: Pointer,
  _ origin: UnsafeMutablePointer<Double>, _ running: UnsafeMutablePointer<Double>,
  _ squares: UnsafeMutablePointer<Double>
) {
  // Knuth's two-sum: `sum + error` is origin + running exactly.
  let a = loadDoubles(origin + column, count)
  let b = loadDoubles(running + column, count)
  let sum = a + b
  let added = sum - a
  let error = (a - (sum - added)) + (b - added)
  let high = lam_narrow(sum)
  store(mean + column, high, count)
  store(meanLow + column, lam_narrow((sum - lam_widen(high)) + error), count)
  let v =
    lam_max_doubles(loadDoubles(squares + column, count), lam_splat_doubles(0)) * lam_splat_doubles(1 / Double(rows))
  store(variance + column, lam_narrow(v), count)
}
