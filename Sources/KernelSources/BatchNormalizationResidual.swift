// A residual added between a normalization, or whatever else ends a block, and its ReLU.

internal import CKernelShims
import KernelInterface

func normalizeAndAdd(
  _ x: MatrixView<Scalar>, _ mean: ConstPointer, _ meanLow: ConstPointer, _ inverseDeviation: ConstPointer,
  _ gamma: ConstPointer?, _ beta: ConstPointer?, _ residual: MatrixView<Scalar>, _ y: MatrixView<Scalar>, _ relu: Bool,
  _ mask: BitMatrixView?
) {
  let floor = relu ? Vector.zero : splat(-Scalar.infinity)
  // Parameters are loaded once for up to 64 rows of a vector of columns: tiles of a plan are a few vectors wide.
  var first = 0
  while first < x.rows {
    let end = min(first + NormalizationPanels.blockRows, x.rows)
    var column = 0
    while column < x.columns {
      let count = min(lanes, x.columns - column)
      let center = load(mean + column, count)
      var scale = load(inverseDeviation + column, count)
      if let gamma { scale *= load(gamma + column, count) }
      let offset = lam_multiply_add(-load(meanLow + column, count), scale, load(beta, column, count))
      for row in first..<end {
        let normalized = lam_multiply_add(load(x.base + (row &* x.stride &+ column), count) - center, scale, offset)
        let v = normalized + load(residual.base + (row &* residual.stride &+ column), count)
        if let mask {
          lam_store_bits(mask.base + (row &* mask.stride &+ column / 8), lam_bits_not_below_or_zero(v))
        }
        store(y.base + (row &* y.stride &+ column), lam_max(v, floor), count)
      }
      column += lanes
    }
    first = end
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
