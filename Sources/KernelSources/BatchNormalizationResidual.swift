// A residual added between a normalization, or whatever else ends a block, and its ReLU.

internal import CKernelShims
import KernelInterface

func normalizeAndAdd(
  _ x: MatrixView<Scalar>, _ mean: ConstPointer, _ meanLow: ConstPointer, _ inverseDeviation: ConstPointer,
  _ gamma: ConstPointer?, _ beta: ConstPointer?, _ residual: MatrixView<Scalar>, _ y: MatrixView<Scalar>, _ relu: Bool,
  _ mask: BitMatrixView?
) {
  var chunk = lam_uninitialized_chunk_pair()
  let scales = lam_chunk_pair_first(&chunk)!
  let offsets = lam_chunk_pair_second(&chunk)!
  let floor = relu ? Vector.zero : splat(-Scalar.infinity)
  var first = 0
  while first < x.columns {
    let columns = min(Int(LAM_CHUNK_COLUMNS), x.columns - first)
    var column = 0
    while column < columns {
      let count = min(lanes, columns - column)
      var scale = load(inverseDeviation + (first + column), count)
      if let gamma { scale *= load(gamma + (first + column), count) }
      lam_store(scales + column, scale)
      lam_store(
        offsets + column,
        lam_multiply_add(-load(meanLow + (first + column), count), scale, load(beta, first + column, count)))
      column += lanes
    }
    // Rows from the last to the first: the moments before it ended with the last, which the cache still holds.
    var row = x.rows - 1
    while row >= 0 {
      let from = x.base + (row &* x.stride &+ first)
      let added = residual.base + (row &* residual.stride &+ first)
      let to = y.base + (row &* y.stride &+ first)
      column = 0
      while column < columns {
        let count = min(lanes, columns &- column)
        let centered = load(from + column, count) - load(mean + (first &+ column), count)
        let normalized = lam_multiply_add(centered, lam_load(scales + column), lam_load(offsets + column))
        let v = normalized + load(added + column, count)
        if let mask {
          lam_store_bits(
            mask.base + (row &* mask.stride &+ (first &+ column) / 8), lam_bits_not_below_or_zero(v))
        }
        store(to + column, lam_max(v, floor), count)
        column &+= lanes
      }
      row &-= 1
    }
    first += columns
  }
}

func addMatrices(
  _ x: MatrixView<Scalar>, _ residual: MatrixView<Scalar>, _ y: MatrixView<Scalar>, _ relu: Bool, _ mask: BitMatrixView?
) {
  let floor = relu ? Vector.zero : splat(-Scalar.infinity)
  for row in 0..<x.rows {
    var column = 0
    while column < x.columns {
      let count = min(lanes, x.columns - column)
      let v =
        load(x.base + (row &* x.stride &+ column), count)
        + load(residual.base + (row &* residual.stride &+ column), count)
      if let mask {
        lam_store_bits(mask.base + (row &* mask.stride &+ column / 8), lam_bits_not_below_or_zero(v))
      }
      store(y.base + (row &* y.stride &+ column), lam_max(v, floor), count)
      column += lanes
    }
  }
}

func keepMasked(_ dy: MatrixView<Scalar>, _ mask: BitMatrixView, _ result: MatrixView<Scalar>) {
  for row in 0..<dy.rows {
    var column = 0
    while column < dy.columns {
      let count = min(lanes, dy.columns - column)
      let bits = lam_load_bits(mask.base + (row &* mask.stride &+ column / 8))
      let g = lam_keep_masked(load(dy.base + (row &* dy.stride &+ column), count), bits)
      store(result.base + (row &* result.stride &+ column), g, count)
      column += lanes
    }
  }
}
