// Batch normalization of an axis that is not the last, where it lies: a feature's values are runs, one in each row.
//
// A feature's runs are taken in blocks of up to 64 vectors, short runs several at a time, long ones in pieces. A block's
// shift is the mean of about eight of its vectors, spread evenly; sums of d = x − shift and of d² follow in one pass and
// are merged in Double, as for columns. The end of a run is a vector with fewer lanes.

internal import CKernelShims
import KernelInterface

/// The part of a feature's runs that is summed at once: `length` values of each of `runs` rows, `stride` apart.
private struct RunBlock {
  var base: Pointer
  var stride: Int
  var runs: Int
  var length: Int

  /// Vectors of a block, past which sums are taken in Double.
  static var vectors: Int { 64 }

  /// Rows of a block: 1 where a run fills it.
  @inline(__always)
  static func rows(inner: Int) -> Int { max(1, vectors / ((inner + lanes - 1) / lanes)) }
}

// MARK: Moments

func momentsOfRuns(
  _ x: MatrixView<Scalar>, _ inner: Int, _ weights: UnsafePointer<Double>?, _ rowsPerWeight: Int, _ mean: Pointer,
  _ meanLow: Pointer, _ variance: Pointer
) {
  if weights == nil && inner <= lanes { return momentsOfShortRuns(x, inner, mean, meanLow, variance) }
  // Runs of different weights are never in one block.
  let blockRows = weights == nil ? RunBlock.rows(inner: inner) : 1
  let pieces = RunBlock.vectors * lanes
  for feature in 0..<x.columns / inner {
    let first = x.base + feature * inner
    var whole = RunMoments()
    var row = 0
    while row < x.rows {
      let runs = min(blockRows, x.rows - row)
      var weight = 1.0
      if let weights { weight = weights[row / rowsPerWeight] }
      // A row without weight may hold anything, NaN included.
      var start = weight == 0 ? inner : 0
      while start < inner {
        let block = RunBlock(
          base: first + (row * x.stride + start), stride: x.stride, runs: runs, length: min(pieces, inner - start))
        whole.add(block, weight: weight)
        start += pieces
      }
      row += runs
    }
    whole.write(mean + feature, meanLow + feature, variance + feature)
  }
}

/// The moments of a feature's values so far: its mean is origin + distance.
private struct RunMoments {
  var weight = 0.0
  var origin = 0.0
  var distance = 0.0
  var squares = 0.0

  @inline(__always)
  func write(_ mean: Pointer, _ meanLow: Pointer, _ variance: Pointer) {
    // Knuth's two-sum: `sum + error` is origin + distance exactly.
    let sum = origin + distance
    let added = sum - origin
    let error = (origin - (sum - added)) + (distance - added)
    mean.pointee = Scalar(sum)
    meanLow.pointee = Scalar((sum - Double(mean.pointee)) + error)
    variance.pointee = weight > 0 ? Scalar(max(squares, 0) / weight) : 0
  }

  /// Adds values of weight `part` together, given by their own moments.
  @inline(__always)
  mutating func merge(_ part: Double, _ partOrigin: Double, _ partDistance: Double, _ partSquares: Double) {
    if weight == 0 {
      (weight, origin, distance, squares) = (part, partOrigin, partDistance, partSquares)
      return
    }
    let all = weight + part
    let delta = ((partOrigin - origin) + partDistance) - distance
    distance += delta * (part / all)
    squares += partSquares + delta * delta * (weight * part / all)
    weight = all
  }

  /// Adds a block whose values have `weight` each.
  @inline(__always)
  mutating func add(_ block: RunBlock, weight each: Double) {
    let count = Double(block.runs * block.length)
    let shift = shiftOfRuns(block)
    var sums = RunSums()
    sums.addDistances(block, splat(shift))
    let total = sums.first
    let mean = total / count
    let own = each * (sums.second - total * mean)
    merge(each * count, Double(shift), mean, own)
  }
}

/// The mean of about eight of the block's vectors, measured from its first value: exact where all are equal.
@inline(__always)
private func shiftOfRuns(_ block: RunBlock) -> Scalar {
  let full = block.length / lanes
  let width = full > 0 ? lanes : block.length
  let vectors = max(full, 1)
  let rowStep = vectors >= 8 ? 1 : (block.runs + 7) / 8
  let step = vectors >= 8 ? (vectors * block.runs + 7) / 8 : vectors
  let origin = splat(block.base[0])
  var sum = Vector.zero
  var sampled = 0
  var row = 0
  while row < block.runs {
    let run = block.base + row &* block.stride
    var vector = 0
    while vector < vectors {
      sum += lam_load_first_or(run + vector &* lanes, Int64(width), origin) - origin
      sampled &+= width
      vector &+= step
    }
    row &+= rowStep
  }
  return block.base[0] + lam_sum(sum) / Scalar(sampled)
}

/// Two sums over a block, in four parts each so that none waits for another.
private struct RunSums {
  var (s0, s1, s2, s3) = (Vector.zero, Vector.zero, Vector.zero, Vector.zero)
  var (q0, q1, q2, q3) = (Vector.zero, Vector.zero, Vector.zero, Vector.zero)

  var first: Double { lam_sum_doubles(lam_widen((s0 + s1) + (s2 + s3))) }
  var second: Double { lam_sum_doubles(lam_widen((q0 + q1) + (q2 + q3))) }

  /// Σd and Σd² of d = x − shift.
  @inline(__always)
  mutating func addDistances(_ block: RunBlock, _ shift: Vector) {
    let full = block.length / lanes * lanes
    let rest = block.length - full
    var row = 0
    while row < block.runs {
      let run = block.base + row &* block.stride
      var i = 0
      while i <= full - 4 &* lanes {
        add(lam_load(run + i) - shift, &s0, &q0)
        add(lam_load(run + (i &+ lanes)) - shift, &s1, &q1)
        add(lam_load(run + (i &+ 2 &* lanes)) - shift, &s2, &q2)
        add(lam_load(run + (i &+ 3 &* lanes)) - shift, &s3, &q3)
        i &+= 4 &* lanes
      }
      while i < full {
        add(lam_load(run + i) - shift, &s1, &q1)
        i &+= lanes
      }
      // Lanes past the end hold the shift.
      if rest > 0 { add(lam_load_first_or(run + full, Int64(rest), shift) - shift, &s0, &q0) }
      row &+= 1
      if full < 4 &* lanes {
        swap(&s0, &s2)
        swap(&q0, &q2)
        swap(&s1, &s3)
        swap(&q1, &q3)
      }
    }
  }

  @inline(__always)
  private func add(_ d: Vector, _ sum: inout Vector, _ squares: inout Vector) {
    sum += d
    squares = lam_multiply_add(d, d, squares)
  }

  /// Σdy and Σdy·(x − mean).
  @inline(__always)
  mutating func addGradients(_ dy: RunBlock, _ x: Pointer, _ xStride: Int, _ mean: Vector) {
    let full = dy.length / lanes * lanes
    let rest = dy.length - full
    var row = 0
    while row < dy.runs {
      let g = dy.base + row &* dy.stride
      let run = x + row &* xStride
      var i = 0
      while i <= full - 4 &* lanes {
        add(lam_load(g + i), lam_load(run + i) - mean, &s0, &q0)
        add(lam_load(g + (i &+ lanes)), lam_load(run + (i &+ lanes)) - mean, &s1, &q1)
        add(lam_load(g + (i &+ 2 &* lanes)), lam_load(run + (i &+ 2 &* lanes)) - mean, &s2, &q2)
        add(lam_load(g + (i &+ 3 &* lanes)), lam_load(run + (i &+ 3 &* lanes)) - mean, &s3, &q3)
        i &+= 4 &* lanes
      }
      while i < full {
        add(lam_load(g + i), lam_load(run + i) - mean, &s1, &q1)
        i &+= lanes
      }
      if rest > 0 {
        add(load(g + full, rest), lam_load_first_or(run + full, Int64(rest), mean) - mean, &s0, &q0)
      }
      row &+= 1
      if full < 4 &* lanes {
        swap(&s0, &s2)
        swap(&q0, &q2)
        swap(&s1, &s3)
        swap(&q1, &q3)
      }
    }
  }

  @inline(__always)
  private func add(_ gradient: Vector, _ centered: Vector, _ sum: inout Vector, _ products: inout Vector) {
    sum += gradient
    products = lam_multiply_add(gradient, centered, products)
  }
}

// MARK: Normalization

func normalizeRuns(
  _ x: MatrixView<Scalar>, _ inner: Int, _ mean: ConstPointer, _ meanLow: ConstPointer,
  _ inverseDeviation: ConstPointer, _ gamma: ConstPointer?, _ beta: ConstPointer?, _ y: MatrixView<Scalar>
) {
  if inner <= lanes { return normalizeShortRuns(x, inner, mean, meanLow, inverseDeviation, gamma, beta, y) }
  var chunk = lam_uninitialized_chunk_pair()
  let scales = lam_chunk_pair_first(&chunk)!
  let offsets = lam_chunk_pair_second(&chunk)!
  let features = x.columns / inner
  let full = inner / lanes * lanes
  var first = 0
  while first < features {
    let count = min(Int(LAM_CHUNK_COLUMNS), features - first)
    for i in 0..<count {
      scales[i] = inverseDeviation[first + i] * (gamma?[first + i] ?? 1)
      offsets[i] = (beta?[first + i] ?? 0) - meanLow[first + i] * scales[i]
    }
    for row in 0..<x.rows {
      var from = x.base + (row &* x.stride &+ first &* inner)
      var to = y.base + (row &* y.stride &+ first &* inner)
      for i in 0..<count {
        let center = splat(mean[first &+ i])
        let (scale, offset) = (splat(scales[i]), splat(offsets[i]))
        var j = 0
        while j < full {
          lam_store(to + j, lam_multiply_add(lam_load(from + j) - center, scale, offset))
          j &+= lanes
        }
        if j < inner {
          let rest = inner &- j
          store(to + j, lam_multiply_add(load(from + j, rest) - center, scale, offset), rest)
        }
        from += inner
        to += inner
      }
    }
    first += count
  }
}

// MARK: Gradient

func backwardOfRuns(
  _ dy: MatrixView<Scalar>, _ x: MatrixView<Scalar>, _ inner: Int, _ givenStatistics: Bool,
  _ weights: UnsafePointer<Double>?, _ rowsPerWeight: Int, _ mean: ConstPointer, _ meanLow: ConstPointer,
  _ inverseDeviation: ConstPointer, _ gamma: ConstPointer?, _ dGamma: Pointer, _ dBeta: Pointer,
  _ dx: MatrixView<Scalar>
) {
  var sums = lam_uninitialized_chunk_sums()
  let offsets = lam_chunk_block_beta(&sums)!
  let slopes = lam_chunk_block_gamma(&sums)!
  let scales = lam_chunk_scale(&sums)!
  var total = Double(dy.rows)
  if let weights { total = sumOfWeights(weights, rowsPerWeight, dy.rows) }
  let share = givenStatistics || total <= 0 ? 0 : 1 / (total * Double(inner))
  let features = dy.columns / inner
  let isShort = inner <= lanes
  let sumsOfFeatures = GradientSums(beta: lam_chunk_beta(&sums), products: lam_chunk_gamma(&sums))
  let centers = lam_chunk_half_beta(&sums)!
  var first = 0
  while first < features {
    let count = min(Int(LAM_CHUNK_COLUMNS) / (isShort ? inner : 1), features - first)
    if isShort { gradientSumsOfShortRuns(dy, x, inner, first, count, mean, centers, sumsOfFeatures) }
    for i in 0..<count {
      let feature = first + i
      var (beta, products) = (sumsOfFeatures.beta[i], sumsOfFeatures.products[i])
      if !isShort {
        (beta, products) = gradientSums(
          dy.columns(feature * inner..<(feature + 1) * inner), x.base + feature * inner, x.stride, mean[feature])
      }
      // dx = scale·((dy − offset) + slope·(x − mean)), as for columns.
      let inverse = Double(inverseDeviation[feature])
      let low = Double(meanLow[feature])
      let gammaSum = (products - low * beta) * inverse
      let slope = gammaSum * inverse * share
      dBeta[feature] = Scalar(beta)
      dGamma[feature] = Scalar(gammaSum)
      offsets[i] = Scalar(beta * share - slope * low)
      slopes[i] = Scalar(-slope)
      scales[i] = Scalar(inverse * Double(gamma?[feature] ?? 1))
    }
    if isShort && weights == nil && !givenStatistics {
      // From the last feature to the first: what is spread lies behind what is still to be.
      spread(offsets, inner, count)
      spread(slopes, inner, count)
      spread(scales, inner, count)
      let columns = first * inner..<(first + count) * inner
      propagateColumns(
        dy.columns(columns), x.columns(columns), centers, offsets, slopes, scales, dx.columns(columns))
      first += count
      continue
    }
    for row in 0..<dy.rows {
      var weight: Scalar = 1
      if let weights { weight = Scalar(weights[row / rowsPerWeight]) }
      let reads = !givenStatistics && weight != 0
      var g = dy.base + (row &* dy.stride &+ first &* inner)
      var input = x.base + (row &* x.stride &+ first &* inner)
      var to = dx.base + (row &* dx.stride &+ first &* inner)
      for i in 0..<count {
        let scale = splat(scales[i])
        if reads {
          let (offset, slope) = (splat(weight * offsets[i]), splat(weight * slopes[i]))
          propagate(g, input, to, inner, splat(mean[first &+ i]), offset, slope, scale)
        } else {
          // Constants as statistics, or a row without part in them, which may hold no numbers.
          var j = 0
          while j < inner {
            let rest = min(lanes, inner &- j)
            store(to + j, scale * load(g + j, rest), rest)
            j &+= lanes
          }
        }
        g += inner
        input += inner
        to += inner
      }
    }
    first += count
  }
}

/// Σdy and Σdy·(x − mean) of one feature.
@inline(__always)
private func gradientSums(
  _ dy: MatrixView<Scalar>, _ x: Pointer, _ xStride: Int, _ mean: Scalar
) -> (beta: Double, products: Double) {
  let blockRows = RunBlock.rows(inner: dy.columns)
  let pieces = RunBlock.vectors * lanes
  let center = splat(mean)
  var (beta, products) = (0.0, 0.0)
  var row = 0
  while row < dy.rows {
    let runs = min(blockRows, dy.rows - row)
    var start = 0
    while start < dy.columns {
      var sums = RunSums()
      sums.addGradients(
        RunBlock(
          base: dy.base + (row * dy.stride + start), stride: dy.stride, runs: runs,
          length: min(pieces, dy.columns - start)), x + (row * xStride + start), xStride, center)
      beta += sums.first
      products += sums.second
      start += pieces
    }
    row += runs
  }
  return (beta, products)
}

@inline(__always)
private func propagate(
  _ dy: Pointer, _ x: Pointer, _ dx: Pointer, _ count: Int, _ mean: Vector, _ offset: Vector, _ slope: Vector,
  _ scale: Vector
) {
  let full = count / lanes * lanes
  var i = 0
  while i < full {
    let g = lam_load(dy + i) - offset
    lam_store(dx + i, scale * lam_multiply_add(slope, lam_load(x + i) - mean, g))
    i &+= lanes
  }
  if i < count {
    let rest = count &- i
    let g = load(dy + i, rest) - offset
    store(dx + i, scale * lam_multiply_add(slope, load(x + i, rest) - mean, g), rest)
  }
}

// MARK: Runs shorter than a vector

// A vector holds whole features, and its lanes are columns: they are summed each on their own, over blocks of 64 rows as
// other columns are, and a feature's lanes come together in Double.

private func momentsOfShortRuns(
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

private func normalizeShortRuns(
  _ x: MatrixView<Scalar>, _ inner: Int, _ mean: ConstPointer, _ meanLow: ConstPointer,
  _ inverseDeviation: ConstPointer, _ gamma: ConstPointer?, _ beta: ConstPointer?, _ y: MatrixView<Scalar>
) {
  var sums = lam_uninitialized_chunk_sums()
  let (centers, lows) = (lam_chunk_half_beta(&sums)!, lam_chunk_half_gamma(&sums)!)
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
private func spread(_ values: Pointer, _ inner: Int, _ count: Int) {
  var feature = count - 1
  while feature >= 0 {
    let value = values[feature]
    for i in feature * inner..<(feature + 1) * inner { values[i] = value }
    feature -= 1
  }
}

/// Σdy and Σdy·(x − mean) of features.
private struct GradientSums {
  var beta: UnsafeMutablePointer<Double>
  var products: UnsafeMutablePointer<Double>
}

/// The sums of `count` features from `first` on; leaves their means, one for each column, in `centers`.
private func gradientSumsOfShortRuns(
  _ dy: MatrixView<Scalar>, _ x: MatrixView<Scalar>, _ inner: Int, _ first: Int, _ count: Int, _ mean: ConstPointer,
  _ centers: Pointer, _ result: GradientSums
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
private func propagateColumns(
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
