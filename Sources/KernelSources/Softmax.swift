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

func softmax(_ x: MatrixView<Scalar>, _ y: MatrixView<Scalar>) {
  let none = splat(-Scalar.infinity)
  var xRow = x.base
  var yRow = y.base
  for _ in 0..<x.rows {
    if x.columns <= lanes {
      // Rows of few classes: one vector, padded with elements whose exponential is 0.
      let v = lam_load_first_or(xRow, Int64(x.columns), none)
      let e = exponential(v - splat(lam_largest(v)))
      lam_store_first(yRow, e / splat(lam_sum(e)), Int64(x.columns))
    } else {
      let shift = splat(largest(xRow, x.columns))
      var sum = Vector.zero
      var column = 0
      while column + lanes <= x.columns {
        let e = exponential(lam_load(xRow + column) - shift)
        lam_store(yRow + column, e)
        sum += e
        column += lanes
      }
      let rest = x.columns - column
      if rest > 0 {
        let e = exponential(lam_load_first_or(xRow + column, Int64(rest), none) - shift)
        lam_store_first(yRow + column, e, Int64(rest))
        sum += e
      }
      let total = splat(lam_sum(sum))
      column = 0
      while column + lanes <= x.columns {
        lam_store(yRow + column, lam_load(yRow + column) / total)
        column += lanes
      }
      if rest > 0 { store(yRow + column, load(yRow + column, rest) / total, rest) }
    }
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
