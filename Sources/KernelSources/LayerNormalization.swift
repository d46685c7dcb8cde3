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

/// Σg and Σg·x̂ of a row, g = γ·dy.
private struct RowSlope {
  var sum = Vector.zero
  var product = Vector.zero

  /// Adds some columns; returns their dy, 0 past the row, and dy·x̂.
  @inline(__always)
  mutating func add(
    _ dy: ConstPointer, _ normalized: Vector, _ factor: Vector, _ count: Int, _ weighted: inout Vector
  ) -> Vector {
    let slope = load(dy, count)
    weighted = slope * normalized
    sum = lam_multiply_add(slope, factor, sum)
    product = lam_multiply_add(weighted, factor, product)
    return slope
  }

  /// dx = (g − Σg/n − x̂·Σ(g·x̂)/n)/√(σ² + ε).
  @inline(__always)
  func write(
    _ dy: ConstPointer, _ x: ConstPointer, _ row: RowStatistics, _ gamma: ConstPointer?, _ columns: Int, _ dx: Pointer
  ) {
    let perColumn = 1 / Scalar(columns)
    let mean = splat(lam_sum(sum) * perColumn)
    let slope = splat(lam_sum(product) * perColumn)
    var column = 0
    while column < columns {
      let count = min(lanes, columns &- column)
      var g = load(dy + column, count)
      if let gamma { g *= load(gamma + column, count) }
      let normalized = row.normalized(load(x + column, count))
      store(dx + column, ((g - mean) - normalized * slope) * row.inverse, count)
      column &+= lanes
    }
  }
}

@inline(__always)
private func addToSums(_ sums: UnsafeMutablePointer<Double>, _ part: Vector, _ count: Int) {
  storeDoubles(sums, loadDoubles(sums, count) + lam_widen(part), count)
}

// Four rows at a time: their sums go to Double together, whose loads and stores would take most of the time.
func layerNormalizeBackward(
  _ dy: MatrixView<Scalar>, _ x: MatrixView<Scalar>, _ gamma: ConstPointer?, _ epsilon: Double, _ dGamma: Pointer,
  _ dBeta: Pointer, _ dx: MatrixView<Scalar>, _ workspace: UnsafeMutablePointer<Double>
) {
  let columns = x.columns
  let (betaSums, gammaSums) = (workspace, workspace + columns)
  var column = 0
  while column < 2 * columns {
    workspace[column] = 0
    column += 1
  }
  var first = 0
  while first + 4 <= x.rows {
    let xRow = x.base + first * x.stride
    let dyRow = dy.base + first * dy.stride
    let dxRow = dx.base + first * dx.stride
    let r0 = statistics(xRow, columns, epsilon)
    let r1 = statistics(xRow + x.stride, columns, epsilon)
    let r2 = statistics(xRow + 2 * x.stride, columns, epsilon)
    let r3 = statistics(xRow + 3 * x.stride, columns, epsilon)
    var (s0, s1, s2, s3) = (RowSlope(), RowSlope(), RowSlope(), RowSlope())
    column = 0
    while column < columns {
      let count = min(lanes, columns &- column)
      var factor = constant(1)
      if let gamma { factor = load(gamma + column, count) }
      let (xs, dys) = (xRow + column, dyRow + column)
      var (p0, p1, p2, p3) = (Vector.zero, Vector.zero, Vector.zero, Vector.zero)
      let g0 = s0.add(dys, r0.normalized(load(xs, count)), factor, count, &p0)
      let g1 = s1.add(dys + dy.stride, r1.normalized(load(xs + x.stride, count)), factor, count, &p1)
      let g2 = s2.add(dys + 2 &* dy.stride, r2.normalized(load(xs + 2 &* x.stride, count)), factor, count, &p2)
      let g3 = s3.add(dys + 3 &* dy.stride, r3.normalized(load(xs + 3 &* x.stride, count)), factor, count, &p3)
      addToSums(betaSums + column, (g0 + g1) + (g2 + g3), count)
      addToSums(gammaSums + column, (p0 + p1) + (p2 + p3), count)
      column &+= lanes
    }
    s0.write(dyRow, xRow, r0, gamma, columns, dxRow)
    s1.write(dyRow + dy.stride, xRow + x.stride, r1, gamma, columns, dxRow + dx.stride)
    s2.write(dyRow + 2 * dy.stride, xRow + 2 * x.stride, r2, gamma, columns, dxRow + 2 * dx.stride)
    s3.write(dyRow + 3 * dy.stride, xRow + 3 * x.stride, r3, gamma, columns, dxRow + 3 * dx.stride)
    first += 4
  }
  while first < x.rows {
    let xRow = x.base + first * x.stride
    let dyRow = dy.base + first * dy.stride
    let row = statistics(xRow, columns, epsilon)
    var slope = RowSlope()
    column = 0
    while column < columns {
      let count = min(lanes, columns - column)
      var factor = constant(1)
      if let gamma { factor = load(gamma + column, count) }
      var product = Vector.zero
      let g = slope.add(dyRow + column, row.normalized(load(xRow + column, count)), factor, count, &product)
      addToSums(betaSums + column, g, count)
      addToSums(gammaSums + column, product, count)
      column += lanes
    }
    slope.write(dyRow, xRow, row, gamma, columns, dx.base + first * dx.stride)
    first += 1
  }
  column = 0
  while column < columns {
    let count = min(lanes, columns - column)
    store(dBeta + column, lam_narrow(loadDoubles(betaSums + column, count)), count)
    store(dGamma + column, lam_narrow(loadDoubles(gammaSums + column, count)), count)
    column += lanes
  }
}
