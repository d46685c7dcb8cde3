// Moments of rows that count unequally.
//
// Sums of d = x − shift and of d² in Double, shift being the first row that counts: their cancellation takes a few bits of
// the many that Double has over Float, and no more than the first row's distance from the mean costs, squared, in Double.

internal import CKernelShims
import KernelInterface

/// Σw, in Double, in order.
@inline(__always)
func sumOfWeights(_ weights: ConstPointer, _ rows: Int) -> Double {
  var sum = 0.0
  for row in 0..<rows { sum += Double(weights[row]) }
  return sum
}

func weightedMoments(
  _ x: MatrixView<Scalar>, _ weights: ConstPointer, _ mean: Pointer, _ meanLow: Pointer, _ variance: Pointer
) {
  let total = sumOfWeights(weights, x.rows)
  var first = 0
  while first < x.rows - 1 && weights[first] == 0 { first += 1 }
  var column = 0
  while column < x.columns {
    let count = min(lanes, x.columns - column)
    var sum = lam_splat_doubles(0)
    var squares = lam_splat_doubles(0)
    var origin = lam_splat_doubles(0)
    if total > 0 {
      let shift = load(x.base + (first * x.stride + column), count)
      origin = lam_widen(shift)
      for row in first..<x.rows {
        // A row without weight may hold anything, NaN included.
        if weights[row] == 0 { continue }
        let d = lam_widen(load(x.base + (row &* x.stride &+ column), count)) - origin
        let weighted = d * lam_splat_doubles(Double(weights[row]))
        sum += weighted
        squares += weighted * d
      }
    }
    let share = lam_splat_doubles(total > 0 ? 1 / total : 0)
    let distance = sum * share
    let exact = origin + distance
    // Knuth's two-sum, as in `moments`.
    let added = exact - origin
    let error = (origin - (exact - added)) + (distance - added)
    let high = lam_narrow(exact)
    store(mean + column, high, count)
    store(meanLow + column, lam_narrow((exact - lam_widen(high)) + error), count)
    store(
      variance + column, lam_narrow(lam_max_doubles(squares - sum * distance, lam_splat_doubles(0)) * share), count)
    column += lanes
  }
}
