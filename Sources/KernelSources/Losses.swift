internal import CKernelShims
import KernelInterface

/// Where probabilities are clipped, as in Keras.
let smallestProbability: Scalar = 1e-7
let largestProbability: Scalar = 1 - 1e-7

/// The vector at `column` of a row of `columns`: whole, or the last few elements and `fill`.
@inline(__always)
func loadChunk(_ row: ConstPointer, _ column: Int, _ columns: Int, _ fill: Scalar) -> Vector {
  column + lanes <= columns
    ? lam_load(row + column) : lam_load_first_or(row + column, Int64(columns - column), splat(fill))
}

/// Writes what of `v` lies within a row of `columns`.
@inline(__always)
func storeChunk(_ row: Pointer, _ column: Int, _ columns: Int, _ v: Vector) {
  if column + lanes <= columns {
    lam_store(row + column, v)
  } else {
    store(row + column, v, columns - column)
  }
}

/// The largest element of a row and where it is first found.
@inline(__always)
func rowMaximum(_ row: ConstPointer, _ columns: Int) -> (value: Scalar, column: Int) {
  var largest = splat(-Scalar.infinity)
  var column = 0
  while column < columns {
    largest = lam_max(loadChunk(row, column, columns, -Scalar.infinity), largest)
    column += lanes
  }
  let value = lam_largest(largest)
  column = 0
  while column < columns {
    let bits = lam_bits_equal(loadChunk(row, column, columns, -Scalar.infinity), value)
    if bits != 0 { return (value, column + lam_first_bit(bits)) }
    column += lanes
  }
  return (value, -1)
}

/// Adds the losses of up to `lanes` rows from `row` to `total`; a sum across the lanes, in Double.
@inline(__always)
func accumulate(
  _ losses: Vector, _ row: Int, _ count: Int, _ weights: ConstPointer?, _ total: inout Double
) {
  var terms = lam_widen(lam_first_lanes(losses, count))
  if let weights { terms *= lam_widen(load(weights + row, count)) }
  total += lam_sum_doubles(terms)
}
