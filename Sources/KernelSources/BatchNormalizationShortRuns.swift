// Runs of features shorter than a vector.
//
// A vector holds whole features, and its lanes are columns: they are summed each on their own, over blocks of 64 rows as
// other columns are, and a feature's lanes come together in Double.

internal import CKernelShims
import KernelInterface

func momentsOfShortRuns(
  _ x: MatrixView<Scalar>, _ inner: Int, _ mean: Pointer, _ meanLow: Pointer, _ variance: Pointer
) {
  var sums = lam_uninitialized_chunk_sums()
  let (origins, distances, squares) = (lam_chunk_beta(&sums)!, lam_chunk_gamma(&sums)!, lam_chunk_panel_beta(&sums)!)
  let features = x.columns / inner
  var feature = 0
  while feature < features {
    let count = min(lanes / inner, features - feature)
    let width = count * inner
    let base = x.base + feature * inner
    var (origin, distance, square) = (lam_splat_doubles(0), lam_splat_doubles(0), lam_splat_doubles(0))
    var row = 0
    while row < x.rows {
      let rows = min(RunBlock.vectors, x.rows - row)
      let block = base + row * x.stride
      let shift = shiftOfRows(block, x.stride, rows, width)
      var (sum, squareSum) = (Vector.zero, Vector.zero)
      var i = 0
      // By groups of eight rows and pairs in them, whose few roundings the variance has to itself.
      while i + 8 <= rows {
        let group = block + i &* x.stride
        var (q0, q1, q2, q3) = (Vector.zero, Vector.zero, Vector.zero, Vector.zero)
        let p0 = pairOfRows(group, x.stride, shift, width, &q0)
        let p1 = pairOfRows(group + 2 &* x.stride, x.stride, shift, width, &q1)
        let p2 = pairOfRows(group + 4 &* x.stride, x.stride, shift, width, &q2)
        let p3 = pairOfRows(group + 6 &* x.stride, x.stride, shift, width, &q3)
        sum += (p0 + p1) + (p2 + p3)
        squareSum += (q0 + q1) + (q2 + q3)
        i &+= 8
      }
      while i < rows {
        let d = load(block + i &* x.stride, width) - shift
        sum += d
        squareSum = lam_multiply_add(d, d, squareSum)
        i &+= 1
      }
      let total = lam_widen(sum)
      let partDistance = total * lam_splat_doubles(1 / Double(rows))
      let partSquares = lam_widen(squareSum) - total * partDistance
      let partOrigin = lam_widen(shift)
      if row == 0 {
        (origin, distance, square) = (partOrigin, partDistance, partSquares)
      } else {
        let all = Double(row + rows)
        let delta = ((partOrigin - origin) + partDistance) - distance
        distance += delta * lam_splat_doubles(Double(rows) / all)
        square += partSquares + delta * delta * lam_splat_doubles(Double(row) * Double(rows) / all)
      }
      row += rows
    }
    storeDoubles(origins, origin, width)
    storeDoubles(distances, distance, width)
    storeDoubles(squares, square, width)
    for own in 0..<count {
      var whole = RunMoments()
      for lane in own * inner..<(own + 1) * inner {
        whole.merge(Double(x.rows), origins[lane], distances[lane], squares[lane])
      }
      let place = feature + own
      whole.write(mean + place, meanLow + place, variance + place)
    }
    feature += count
  }
}

/// Σd and Σd² of two rows.
@inline(__always)
private func pairOfRows(_ x: Pointer, _ stride: Int, _ shift: Vector, _ width: Int, _ squares: inout Vector) -> Vector {
  let d0 = load(x, width) - shift
  let d1 = load(x + stride, width) - shift
  squares = lam_multiply_add(d1, d1, d0 * d0)
  return d0 + d1
}

/// The mean of up to eight rows, measured from the first.
@inline(__always)
private func shiftOfRows(_ x: Pointer, _ stride: Int, _ rows: Int, _ width: Int) -> Vector {
  let step = (rows + 7) / 8
  let sampled = (rows + step - 1) / step
  let first = load(x, width)
  var sum = Vector.zero
  var row = step
  while row < rows {
    sum += load(x + row &* stride, width) - first
    row &+= step
  }
  return lam_multiply_add(sum, splat(1 / Scalar(sampled)), first)
}

func normalizeShortRuns(
  _ x: MatrixView<Scalar>, _ inner: Int, _ mean: ConstPointer, _ meanLow: ConstPointer,
  _ inverseDeviation: ConstPointer, _ gamma: ConstPointer?, _ beta: ConstPointer?, _ y: MatrixView<Scalar>
) {
  var sums = lam_uninitialized_chunk_sums()
  let (centers, lows) = (lam_chunk_group_beta(&sums)!, lam_chunk_group_gamma(&sums)!)
  let (scales, offsets) = (lam_chunk_block_beta(&sums)!, lam_chunk_block_gamma(&sums)!)
  let features = x.columns / inner
  var first = 0
  while first < features {
    let count = min(Int(LAM_CHUNK_COLUMNS) / inner, features - first)
    for i in 0..<count {
      (centers[i], lows[i]) = (mean[first + i], meanLow[first + i])
      (scales[i], offsets[i]) = (inverseDeviation[first + i] * (gamma?[first + i] ?? 1), beta?[first + i] ?? 0)
    }
    spread(centers, inner, count)
    spread(lows, inner, count)
    spread(scales, inner, count)
    spread(offsets, inner, count)
    let columns = first * inner..<(first + count) * inner
    normalize(x.columns(columns), centers, lows, scales, nil, offsets, y.columns(columns), false, nil, false)
    first += count
  }
}

/// Makes of `count` elements as many times `inner` equal ones, in place.
@inline(__always)
func spread(_ values: Pointer, _ inner: Int, _ count: Int) {
  var feature = count - 1
  while feature >= 0 {
    let value = values[feature]
    for i in feature * inner..<(feature + 1) * inner { values[i] = value }
    feature -= 1
  }
}

/// Σdy and Σdy·(x − mean) of features.
struct RunGradientSums {
  var beta: UnsafeMutablePointer<Double>
  var products: UnsafeMutablePointer<Double>
}

/// The sums of `count` features from `first` on; leaves their means, one for each column, in `centers`.
func gradientSumsOfShortRuns(
  _ dy: MatrixView<Scalar>, _ x: MatrixView<Scalar>, _ inner: Int, _ first: Int, _ count: Int, _ mean: ConstPointer,
  _ centers: Pointer, _ result: RunGradientSums
) {
  for i in 0..<count { centers[i] = mean[first + i] }
  spread(centers, inner, count)
  var lane = lam_uninitialized_chunk_sums()
  let (betas, gammas) = (lam_chunk_beta(&lane)!, lam_chunk_gamma(&lane)!)
  var feature = 0
  while feature < count {
    let features = min(lanes / inner, count - feature)
    let width = features * inner
    let (g, input) = (dy.base + (first + feature) * inner, x.base + (first + feature) * inner)
    let center = load(centers + feature * inner, width)
    var (beta, products) = (lam_splat_doubles(0), lam_splat_doubles(0))
    var row = 0
    while row < dy.rows {
      let end = min(row + RunBlock.vectors, dy.rows)
      var (s0, s1, q0, q1) = (Vector.zero, Vector.zero, Vector.zero, Vector.zero)
      while row + 2 <= end {
        let g0 = load(g + row &* dy.stride, width)
        let g1 = load(g + (row &+ 1) &* dy.stride, width)
        s0 += g0
        s1 += g1
        q0 = lam_multiply_add(g0, load(input + row &* x.stride, width) - center, q0)
        q1 = lam_multiply_add(g1, load(input + (row &+ 1) &* x.stride, width) - center, q1)
        row &+= 2
      }
      if row < end {
        let g0 = load(g + row &* dy.stride, width)
        s0 += g0
        q0 = lam_multiply_add(g0, load(input + row &* x.stride, width) - center, q0)
        row &+= 1
      }
      beta += lam_widen(s0 + s1)
      products += lam_widen(q0 + q1)
    }
    storeDoubles(betas, beta, width)
    storeDoubles(gammas, products, width)
    for own in 0..<features {
      var (sum, product) = (0.0, 0.0)
      for lane in own * inner..<(own + 1) * inner {
        sum += betas[lane]
        product += gammas[lane]
      }
      (result.beta[feature + own], result.products[feature + own]) = (sum, product)
    }
    feature += features
  }
}

/// dx = scale·((dy − offset) + slope·(x − mean)) with a coefficient for each column.
@inline(__always)
func propagateColumns(
  _ dy: MatrixView<Scalar>, _ x: MatrixView<Scalar>, _ mean: Pointer, _ offsets: Pointer, _ slopes: Pointer,
  _ scales: Pointer, _ dx: MatrixView<Scalar>
) {
  for row in 0..<dy.rows {
    let g = dy.base + row &* dy.stride
    let input = x.base + row &* x.stride
    let to = dx.base + row &* dx.stride
    var column = 0
    while column < dy.columns {
      let count = min(lanes, dy.columns &- column)
      let centered = load(input + column, count) - lam_load(mean + column)
      let slope = lam_multiply_add(
        lam_load(slopes + column), centered, load(g + column, count) - lam_load(offsets + column))
      store(to + column, lam_load(scales + column) * slope, count)
      column &+= lanes
    }
  }
}
