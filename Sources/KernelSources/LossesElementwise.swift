internal import CKernelShims
import KernelInterface

// Losses that are a mean over the columns of one term per element: each gives its terms, one loop serves them all.

func binaryFromLogits(
  _ x: MatrixView<Scalar>, _ targets: MatrixView<Scalar>, _ weights: ConstPointer?, _ gradient: MatrixView<Scalar>?,
  _ scale: Double
) -> LossSums {
  meanOfTerms(.binaryLogits, x, targets, weights, gradient, scale)
}

func binaryFromProbabilities(
  _ p: MatrixView<Scalar>, _ targets: MatrixView<Scalar>, _ weights: ConstPointer?, _ gradient: MatrixView<Scalar>?,
  _ scale: Double
) -> LossSums {
  meanOfTerms(.binaryProbabilities, p, targets, weights, gradient, scale)
}

func meanSquaredError(
  _ p: MatrixView<Scalar>, _ targets: MatrixView<Scalar>, _ weights: ConstPointer?, _ gradient: MatrixView<Scalar>?,
  _ scale: Double
) -> LossSums {
  meanOfTerms(.squaredError, p, targets, weights, gradient, scale)
}

// MARK: Terms

private enum TermKind {
  case binaryLogits
  case binaryProbabilities
  case squaredError
}

/// The loss and the slope of each lane.
@inline(__always)
private func terms(_ kind: TermKind, _ x: Vector, _ t: Vector) -> (loss: Vector, slope: Vector) {
  let one = splat(1)
  switch kind {
  case .binaryLogits:
    // max(x, 0) − x·t = x·(x > 0 ? 1 − t : −t), where a factor 0 outweighs an infinite x.
    let factor = lam_select_positive(x, one - t, -t)
    let e = exponential(-lam_abs(x))
    // log(1 + e) loses a small e in the sum; the last term gives it back.
    let sum = one + e
    let rest = logarithm(ofNormal: sum) - ((sum - one) - e) / sum
    let sigmoid = lam_select_positive(x, one, e) / sum
    return (lam_select_equal(factor, Vector.zero, Vector.zero, factor * x) + rest, sigmoid - t)
  case .binaryProbabilities:
    let low = smallestProbability
    let high = largestProbability
    let p = lam_min(lam_max(x, splat(low)), splat(high))
    let other = one - p
    let loss = -(t * logarithm(ofNormal: p) + (one - t) * logarithm(ofNormal: other))
    return (loss, lam_select_within(x, low, high, (p - t) / (p * other)))
  case .squaredError:
    let difference = x - t
    return (difference * difference, difference + difference)
  }
}

/// Bit i: whether lane i of the prediction is on the wrong side of its threshold.
@inline(__always)
private func wrongLanes(_ kind: TermKind, _ x: Vector, _ t: Vector) -> UInt32 {
  switch kind {
  case .binaryLogits: lam_bits_above(x, 0) ^ lam_bits_above(t, 0.5)
  case .binaryProbabilities: lam_bits_above(x, 0.5) ^ lam_bits_above(t, 0.5)
  case .squaredError: UInt32.max
  }
}

// MARK: Loops

@inline(__always)
private func meanOfTerms(
  _ kind: TermKind, _ x: MatrixView<Scalar>, _ targets: MatrixView<Scalar>, _ weights: ConstPointer?,
  _ gradient: MatrixView<Scalar>?, _ scale: Double
) -> LossSums {
  x.columns == 1
    ? columnOfTerms(kind, x, targets, weights, gradient, scale)
    : rowsOfTerms(kind, x, targets, weights, gradient, scale)
}

/// One column: a vector holds as many rows as it has lanes.
@inline(__always)
private func columnOfTerms(
  _ kind: TermKind, _ x: MatrixView<Scalar>, _ targets: MatrixView<Scalar>, _ weights: ConstPointer?,
  _ gradient: MatrixView<Scalar>?, _ scale: Double
) -> LossSums {
  var result = LossSums(loss: 0, correct: 0)
  var row = 0
  while row < x.rows {
    let count = row + lanes <= x.rows ? lanes : x.rows - row
    let prediction = lam_load_strided(x.base + row * x.stride, x.stride, count, 0)
    let target = lam_load_strided(targets.base + row * targets.stride, targets.stride, count, 0)
    let (loss, slope) = terms(kind, prediction, target)
    if let gradient {
      var factor = splat(Scalar(scale))
      if let weights { factor *= loadChunk(weights, row, x.rows, 0) }
      lam_store_strided(gradient.base + row * gradient.stride, gradient.stride, slope * factor, count)
    }
    let right = ~wrongLanes(kind, prediction, target) & lam_bits_equal(loss - loss, 0) & ((1 << UInt32(count)) - 1)
    result.correct += right.nonzeroBitCount
    accumulate(loss, row, count, weights, &result.loss)
    row += lanes
  }
  return result
}

@inline(__always)
private func rowsOfTerms(
  _ kind: TermKind, _ x: MatrixView<Scalar>, _ targets: MatrixView<Scalar>, _ weights: ConstPointer?,
  _ gradient: MatrixView<Scalar>?, _ scale: Double
) -> LossSums {
  var result = LossSums(loss: 0, correct: 0)
  for row in 0..<x.rows {
    let line = x.base + row * x.stride
    let target = targets.base + row * targets.stride
    let weight = weights.map { $0[row] } ?? 1
    let factor = splat(Scalar(scale / Double(x.columns)) * weight)
    var sum = Vector.zero
    var wrong: UInt32 = 0
    var column = 0
    while column < x.columns {
      let prediction = loadChunk(line, column, x.columns, 0)
      let t = loadChunk(target, column, x.columns, 0)
      let (loss, slope) = terms(kind, prediction, t)
      if let gradient { storeChunk(gradient.base + row * gradient.stride, column, x.columns, slope * factor) }
      // The lanes past the row's end hold 0 twice: never wrong, but not always without loss.
      sum += column + lanes <= x.columns ? loss : lam_first_lanes(loss, x.columns - column)
      wrong |= wrongLanes(kind, prediction, t)
      column += lanes
    }
    let mean = Double(lam_sum(sum)) / Double(x.columns)
    if wrong == 0 && mean == mean { result.correct += 1 }
    result.loss += Double(weight) * mean
  }
  return result
}
