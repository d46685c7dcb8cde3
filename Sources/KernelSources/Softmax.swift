internal import CKernelShims
import KernelInterface

/// The largest of `columns` elements; a NaN among them may or may not count.
@inline(__always)
private func largest(_ x: ConstPointer, _ columns: Int) -> Scalar {
  let none = splat(-Scalar.infinity)
  var best = none
  var column = 0
  while column + lanes <= columns {
    best = lam_max(best, lam_load(x + column))
    column += lanes
  }
  if column < columns { best = lam_max(best, lam_load_first_or(x + column, Int64(columns - column), none)) }
  return lam_largest(best)
}

/// The most columns for which rows are taken as many at a time as a vector has lanes, each in a lane of its own.
let narrowColumns = Int(LAM_BLOCK_COLUMNS)

/// Each row's maximum, where it is first found, the element at `label`, and Σ e^(x − max); the block holds e^(x − max)
/// afterwards.
@inline(__always)
func softmax(
  of block: UnsafeMutablePointer<lam_row_block>, _ columns: Int, label: Vector = Vector.zero
) -> (largest: Vector, place: Vector, chosen: Vector, sum: Vector) {
  var largest = lam_block_column(block, 0)
  var place = Vector.zero
  var chosen = lam_select_equal(label, Vector.zero, largest, Vector.zero)
  var number = splat(1)
  var column = 1
  while column < columns {
    let v = lam_block_column(block, Int64(column))
    place = lam_select_less(largest, v, number, place)
    chosen = lam_select_equal(label, number, v, chosen)
    largest = lam_max(largest, v)
    number += splat(1)
    column &+= 1
  }
  var sum = Vector.zero
  column = 0
  while column < columns {
    let e = exponentialOfDeficit(lam_block_column(block, Int64(column)) - largest)
    lam_set_block_column(block, Int64(column), e)
    sum += e
    column &+= 1
  }
  return (largest, place, chosen, sum)
}

func softmax(_ x: MatrixView<Scalar>, _ y: MatrixView<Scalar>) {
  if x.columns <= narrowColumns { softmaxOfBlocks(x, y) } else { softmaxOfRows(x, y) }
}

@inline(__always)
private func softmaxOfBlocks(_ x: MatrixView<Scalar>, _ y: MatrixView<Scalar>) {
  var block = lam_uninitialized_row_block()
  let columns = Int64(x.columns)
  var row = 0
  while row < x.rows && x.columns > 0 {
    let count = Int64(x.rows - row < lanes ? x.rows - row : lanes)
    lam_load_rows(&block, x.base + row * x.stride, Int64(x.stride), count, columns)
    let inverse = splat(1) / softmax(of: &block, x.columns).sum
    var column: Int64 = 0
    while column < columns {
      lam_set_block_column(&block, column, lam_block_column(&block, column) * inverse)
      column &+= 1
    }
    lam_store_rows(&block, y.base + row * y.stride, Int64(y.stride), count, columns)
    row += lanes
  }
}

@inline(__always)
private func softmaxOfRows(_ x: MatrixView<Scalar>, _ y: MatrixView<Scalar>) {
  let none = splat(-Scalar.infinity)
  var xRow = x.base
  var yRow = y.base
  for _ in 0..<x.rows {
    let shift = splat(largest(xRow, x.columns))
    var sum = Vector.zero
    var column = 0
    while column + lanes <= x.columns {
      let e = exponentialOfDeficit(lam_load(xRow + column) - shift)
      lam_store(yRow + column, e)
      sum += e
      column += lanes
    }
    let rest = x.columns - column
    if rest > 0 {
      let e = exponentialOfDeficit(lam_load_first_or(xRow + column, Int64(rest), none) - shift)
      lam_store_first(yRow + column, e, Int64(rest))
      sum += e
    }
    let inverse = splat(1 / lam_sum(sum))
    column = 0
    while column + lanes <= x.columns {
      lam_store(yRow + column, lam_load(yRow + column) * inverse)
      column += lanes
    }
    if rest > 0 { store(yRow + column, load(yRow + column, rest) * inverse, rest) }
    xRow += x.stride
    yRow += y.stride
  }
}

func softmaxBackward(_ dy: MatrixView<Scalar>, _ y: MatrixView<Scalar>, _ dx: MatrixView<Scalar>) {
  var dyRow = dy.base
  var yRow = y.base
  var dxRow = dx.base
  for _ in 0..<dy.rows {
    var sum = Vector.zero
    var column = 0
    while column + lanes <= dy.columns {
      sum = lam_multiply_add(lam_load(dyRow + column), lam_load(yRow + column), sum)
      column += lanes
    }
    let rest = dy.columns - column
    if rest > 0 { sum = lam_multiply_add(load(dyRow + column, rest), load(yRow + column, rest), sum) }
    let product = splat(lam_sum(sum))
    column = 0
    while column + lanes <= dy.columns {
      lam_store(dxRow + column, lam_load(yRow + column) * (lam_load(dyRow + column) - product))
      column += lanes
    }
    if rest > 0 {
      store(dxRow + column, load(yRow + column, rest) * (load(dyRow + column, rest) - product), rest)
    }
    dyRow += dy.stride
    yRow += y.stride
    dxRow += dx.stride
  }
}
