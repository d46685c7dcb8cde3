internal import CKernelShims
import KernelInterface

// MARK: Column sums

// Every column is summed in the same order whatever strip it falls into, so its bits do not depend on how the columns
// are cut: rows four at a time into a block's sum, blocks into a compensated total (TwoSum, Knuth; Neumaier 1974).
// The error is that of a block, whatever the number of rows.
private let rowsPerBlock = 64

func columnSums(_ x: MatrixView<Scalar>, _ sums: Pointer) {
  var column = 0
  while column + 4 * lanes <= x.columns {
    sumStrip(x, column, sums)
    column += 4 * lanes
  }
  while column < x.columns {
    let width = column + lanes <= x.columns ? lanes : x.columns - column
    var total = CompensatedSum()
    var row = 0
    while row < x.rows {
      let end = row + rowsPerBlock < x.rows ? row + rowsPerBlock : x.rows
      let first = x.base + row * x.stride + column
      total.add(
        width == lanes
          ? blockSum(first, end - row, x.stride) : partialBlockSum(first, end - row, x.stride, width))
      row = end
    }
    if width == lanes {
      lam_store(sums + column, total.value)
    } else {
      store(sums + column, total.value, width)
    }
    column += lanes
  }
}

private struct CompensatedSum {
  private var high = Vector.zero
  private var low = Vector.zero

  @inline(__always)
  mutating func add(_ x: Vector) {
    let sum = high + x
    let shared = sum - high
    low += (high - (sum - shared)) + (x - shared)
    high = sum
  }

  // Where the sum overflowed or met an infinity the correction is NaN, the sum itself right.
  @inline(__always)
  var value: Vector { high + lam_keep_finite(low) }
}

/// Four vectors' width at once: four streams of whole cache lines.
@inline(__always)
private func sumStrip(_ x: MatrixView<Scalar>, _ column: Int, _ sums: Pointer) {
  var totals = (CompensatedSum(), CompensatedSum(), CompensatedSum(), CompensatedSum())
  var row = 0
  while row < x.rows {
    let end = row + rowsPerBlock < x.rows ? row + rowsPerBlock : x.rows
    var p = x.base + row * x.stride + column
    var (a, b, c, d) = (Vector.zero, Vector.zero, Vector.zero, Vector.zero)
    while row + 4 <= end {
      let (p1, p2, p3) = (p + x.stride, p + 2 * x.stride, p + 3 * x.stride)
      a += (lam_load(p) + lam_load(p1)) + (lam_load(p2) + lam_load(p3))
      b += (lam_load(p + lanes) + lam_load(p1 + lanes)) + (lam_load(p2 + lanes) + lam_load(p3 + lanes))
      c +=
        (lam_load(p + 2 * lanes) + lam_load(p1 + 2 * lanes))
        + (lam_load(p2 + 2 * lanes) + lam_load(p3 + 2 * lanes))
      d +=
        (lam_load(p + 3 * lanes) + lam_load(p1 + 3 * lanes))
        + (lam_load(p2 + 3 * lanes) + lam_load(p3 + 3 * lanes))
      p += 4 * x.stride
      row += 4
    }
    while row < end {
      a += lam_load(p)
      b += lam_load(p + lanes)
      c += lam_load(p + 2 * lanes)
      d += lam_load(p + 3 * lanes)
      p += x.stride
      row += 1
    }
    totals.0.add(a)
    totals.1.add(b)
    totals.2.add(c)
    totals.3.add(d)
  }
  lam_store(sums + column, totals.0.value)
  lam_store(sums + column + lanes, totals.1.value)
  lam_store(sums + column + 2 * lanes, totals.2.value)
  lam_store(sums + column + 3 * lanes, totals.3.value)
}

@inline(__always)
private func blockSum(_ first: Pointer, _ rows: Int, _ stride: Int) -> Vector {
  var p = first
  var sum = Vector.zero
  var row = 0
  while row + 4 <= rows {
    sum += (lam_load(p) + lam_load(p + stride)) + (lam_load(p + 2 * stride) + lam_load(p + 3 * stride))
    p += 4 * stride
    row += 4
  }
  while row < rows {
    sum += lam_load(p)
    p += stride
    row += 1
  }
  return sum
}

@inline(__always)
private func partialBlockSum(_ first: Pointer, _ rows: Int, _ stride: Int, _ width: Int) -> Vector {
  var p = first
  var sum = Vector.zero
  var row = 0
  while row + 4 <= rows {
    sum +=
      (load(p, width) + load(p + stride, width))
      + (load(p + 2 * stride, width) + load(p + 3 * stride, width))
    p += 4 * stride
    row += 4
  }
  while row < rows {
    sum += load(p, width)
    p += stride
    row += 1
  }
  return sum
}

// MARK: Vectors

func sumOfSquares(_ x: ConstPointer, _ count: Int) -> Double {
  var (a, b, c, d) = (lam_doubles.zero, lam_doubles.zero, lam_doubles.zero, lam_doubles.zero)
  var i = 0
  while i + 4 * lanes <= count {
    a = lam_add_square(a, lam_widen(lam_load(x + i)))
    b = lam_add_square(b, lam_widen(lam_load(x + i + lanes)))
    c = lam_add_square(c, lam_widen(lam_load(x + i + 2 * lanes)))
    d = lam_add_square(d, lam_widen(lam_load(x + i + 3 * lanes)))
    i += 4 * lanes
  }
  while i < count {
    let rest = count - i
    a = lam_add_square(a, lam_widen(load(x + i, rest < lanes ? rest : lanes)))
    i += lanes
  }
  return lam_sum_doubles((a + b) + (c + d))
}

func allFinite(_ x: ConstPointer, _ count: Int) -> Bool {
  // 0·x is 0 for every finite x and NaN for the others, and a NaN stays in a sum.
  var (a, b) = (Vector.zero, Vector.zero)
  var i = 0
  while i + 2 * lanes <= count {
    a = lam_multiply_add(lam_load(x + i), Vector.zero, a)
    b = lam_multiply_add(lam_load(x + i + lanes), Vector.zero, b)
    i += 2 * lanes
  }
  while i < count {
    let rest = count - i
    a = lam_multiply_add(rest >= lanes ? lam_load(x + i) : load(x + i, rest), Vector.zero, a)
    i += lanes
  }
  return lam_sum(a + b) == 0
}

func addScaled(_ x: ConstPointer, _ factor: Double, _ y: Pointer, _ count: Int) {
  let factor = splat(Scalar(factor))
  var i = 0
  while i + lanes <= count {
    lam_store(y + i, lam_multiply_add(factor, lam_load(x + i), lam_load(y + i)))
    i += lanes
  }
  let rest = count - i
  if rest > 0 {
    let value = lam_multiply_add(factor, load(x + i, rest), load(y + i, rest))
    store(y + i, value, rest)
  }
}
