internal import CKernelShims
import KernelInterface

func inverseDeviation(_ variance: ConstPointer, _ epsilon: Double, _ result: Pointer, _ count: Int) {
  var i = 0
  while i < count {
    let rest = min(lanes, count - i)
    store(result + i, constant(1) / lam_sqrt(load(variance + i, rest) + splat(Scalar(epsilon))), rest)
    i += lanes
  }
}

func updateMovingAverage(_ moving: Pointer, _ batch: ConstPointer, _ momentum: Double, _ count: Int) {
  let old = splat(Scalar(momentum))
  let new = splat(Scalar(1 - momentum))
  var i = 0
  while i < count {
    let rest = min(lanes, count - i)
    store(moving + i, lam_multiply_add(old, load(moving + i, rest), new * load(batch + i, rest)), rest)
    i += lanes
  }
}

// MARK: Normalization

/// What a strip of columns is normalized with.
private struct StripParameters {
  var mean: Vector
  var meanLow: Vector
  var scale: Vector
  var beta: Vector
  /// 0 with ReLU, else −∞.
  var floor: Vector

  @inline(__always)
  func apply(_ x: Vector) -> Vector {
    lam_max(lam_multiply_add((x - mean) - meanLow, scale, beta), floor)
  }
}

func normalize(
  _ x: MatrixView<Scalar>, _ mean: ConstPointer, _ meanLow: ConstPointer, _ inverseDeviation: ConstPointer,
  _ gamma: ConstPointer?, _ beta: ConstPointer?, _ y: MatrixView<Scalar>, _ relu: Bool
) {
  let floor = relu ? Vector.zero : splat(-Scalar.infinity)
  var row = 0
  while row < x.rows {
    // Eight rows at a time across the whole width: streams that the prefetcher follows, parameters loaded once.
    let rows = min(8, x.rows - row)
    let xRow = x.base + row * x.stride
    let yRow = y.base + row * y.stride
    var column = 0
    while column < x.columns {
      let count = min(lanes, x.columns - column)
      var scale = load(inverseDeviation + column, count)
      if let gamma { scale *= load(gamma + column, count) }
      let parameters = StripParameters(
        mean: load(mean + column, count), meanLow: load(meanLow + column, count), scale: scale,
        beta: load(beta, column, count), floor: floor)
      if count == lanes {
        if rows == 8 {
          normalizeRows(parameters, xRow + column, x.stride, yRow + column, y.stride, 8, lanes)
        } else {
          normalizeRows(parameters, xRow + column, x.stride, yRow + column, y.stride, rows, lanes)
        }
      } else {
        normalizeRows(parameters, xRow + column, x.stride, yRow + column, y.stride, rows, count)
      }
      column += lanes
    }
    row += rows
  }
}

@inline(__always)
private func normalizeRows(
  _ parameters: StripParameters, _ x: Pointer, _ xStride: Int, _ y: Pointer, _ yStride: Int, _ rows: Int, _ count: Int
) {
  for row in 0..<rows { store(y + row * yStride, parameters.apply(load(x + row * xStride, count)), count) }
}
