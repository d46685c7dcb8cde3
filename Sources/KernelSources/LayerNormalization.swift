internal import CKernelShims
import KernelInterface

/// A row's mean, as a distance from its first element, and 1/√(σ² + ε).
private struct RowStatistics {
  var first: Vector
  var distance: Vector
  var inverse: Vector

  @inline(__always)
  func normalized(_ x: Vector) -> Vector { ((x - first) - distance) * inverse }
}

@inline(__always)
private func statistics(_ x: Pointer, _ columns: Int, _ epsilon: Double) -> RowStatistics {
  let first = splat(x[0])
  let rest = columns % lanes
  let whole = columns - rest
  let perColumn = 1 / Scalar(columns)
  var sum = Vector.zero
  var column = 0
  while column < whole {
    sum += lam_load(x + column) - first
    column += lanes
  }
  if rest > 0 { sum += lam_load_first_or(x + whole, Int64(rest), first) - first }
  let distance = splat(lam_sum(sum) * perColumn)
  // What rounding left of the mean is taken out of the squares again.
  var squares = Vector.zero
  var remainder = Vector.zero
  column = 0
  while column < whole {
    let d = (lam_load(x + column) - first) - distance
    squares = lam_multiply_add(d, d, squares)
    remainder += d
    column += lanes
  }
  if rest > 0 {
    let d = lam_first_lanes((load(x + whole, rest) - first) - distance, rest)
    squares = lam_multiply_add(d, d, squares)
    remainder += d
  }
  let left = splat(lam_sum(remainder) * perColumn)
  let variance = splat(lam_sum(squares) * perColumn) - left * left
  return RowStatistics(
    first: first, distance: distance + left,
    inverse: constant(1) / lam_sqrt(lam_max(variance, Vector.zero) + constant(epsilon)))
}

func layerNormalize(
  _ x: MatrixView<Scalar>, _ gamma: ConstPointer?, _ beta: ConstPointer?, _ epsilon: Double, _ y: MatrixView<Scalar>
) {
  var xRow = x.base
  var yRow = y.base
  for _ in 0..<x.rows {
    let row = statistics(xRow, x.columns, epsilon)
    var column = 0
    while column < x.columns {
      let count = min(lanes, x.columns - column)
      var v = row.normalized(load(xRow + column, count))
      if let gamma { v *= load(gamma + column, count) }
      store(yRow + column, v + load(beta, column, count), count)
      column += lanes
    }
    xRow += x.stride
    yRow += y.stride
  }
}

func layerNormalizeBackward(
  _ dy: MatrixView<Scalar>, _ x: MatrixView<Scalar>, _ gamma: ConstPointer?, _ epsilon: Double, _ dGamma: Pointer,
  _ dBeta: Pointer, _ dx: MatrixView<Scalar>, _ workspace: UnsafeMutablePointer<Double>
) {
  let columns = x.columns
  let (betaSums, gammaSums) = (workspace, workspace + columns)
  let perColumn = 1 / Scalar(columns)
  var column = 0
  while column < 2 * columns {
    workspace[column] = 0
    column += 1
  }
  var xRow = x.base
  var dyRow = dy.base
  var dxRow = dx.base
  for _ in 0..<x.rows {
    let row = statistics(xRow, columns, epsilon)
    var sum = Vector.zero
    var product = Vector.zero
    column = 0
    while column < columns {
      let count = min(lanes, columns - column)
      let slope = load(dyRow + column, count)
      let normalized = row.normalized(load(xRow + column, count))
      let weighted = slope * normalized
      storeDoubles(betaSums + column, loadDoubles(betaSums + column, count) + lam_widen(slope), count)
      storeDoubles(gammaSums + column, loadDoubles(gammaSums + column, count) + lam_widen(weighted), count)
      // Lanes past the row have slope 0.
      if let gamma {
        let factor = load(gamma + column, count)
        sum = lam_multiply_add(slope, factor, sum)
        product = lam_multiply_add(weighted, factor, product)
      } else {
        sum += slope
        product += weighted
      }
      column += lanes
    }
    let mean = splat(lam_sum(sum) * perColumn)
    let slope = splat(lam_sum(product) * perColumn)
    column = 0
    while column < columns {
      let count = min(lanes, columns - column)
      var g = load(dyRow + column, count)
      if let gamma { g *= load(gamma + column, count) }
      let normalized = row.normalized(load(xRow + column, count))
      store(dxRow + column, ((g - mean) - normalized * slope) * row.inverse, count)
      column += lanes
    }
    xRow += x.stride
    dyRow += dy.stride
    dxRow += dx.stride
  }
  column = 0
  while column < columns {
    let count = min(lanes, columns - column)
    store(dBeta + column, lam_narrow(loadDoubles(betaSums + column, count)), count)
    store(dGamma + column, lam_narrow(loadDoubles(gammaSums + column, count)), count)
    column += lanes
  }
}
