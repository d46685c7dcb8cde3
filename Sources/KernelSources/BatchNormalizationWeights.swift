// Moments of rows that count unequally.
//
// Sums of d = x − shift and of d² in Double, shift being the first row that counts: their cancellation takes a few bits of
// the many that Double has over Float, and no more than the first row's distance from the mean costs, squared, in Double.

internal import CKernelShims
import KernelInterface

/// Σw over all rows, in Double, in order.
@inline(__always)
func sumOfWeights(_ weights: UnsafePointer<Double>, _ rowsPerWeight: Int, _ rows: Int) -> Double {
  var sum = 0.0
  for sample in 0..<rows / rowsPerWeight { sum += weights[sample] }
  return sum * Double(rowsPerWeight)
}

func weightedMoments(
  _ x: MatrixView<Scalar>, _ weights: UnsafePointer<Double>, _ rowsPerWeight: Int, _ mean: Pointer, _ meanLow: Pointer,
  _ variance: Pointer
) {
  let samples = x.rows / rowsPerWeight
  let total = sumOfWeights(weights, rowsPerWeight, x.rows)
  var first = 0
  while first < samples - 1 && weights[first] == 0 { first += 1 }
  var column = 0
  while column < x.columns {
    let count = min(lanes, x.columns - column)
    var sum = lam_splat_doubles(0)
    var squares = lam_splat_doubles(0)
    var origin = lam_splat_doubles(0)
    if total > 0 {
      origin = lam_widen(load(x.base + (first * rowsPerWeight * x.stride + column), count))
      for sample in first..<samples {
        // A row without weight may hold anything, NaN included.
        if weights[sample] == 0 { continue }
        let weight = lam_splat_doubles(weights[sample])
        for row in sample * rowsPerWeight..<(sample + 1) * rowsPerWeight {
          let d = lam_widen(load(x.base + (row &* x.stride &+ column), count)) - origin
          let weighted = d * weight
          sum += weighted
          squares += weighted * d
        }
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
