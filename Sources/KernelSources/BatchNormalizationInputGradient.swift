// dx of the training gradient, made of the sums over the rows.

internal import CKernelShims
import KernelInterface

extension BackwardProblem {
  /// Writes dx.
  @_transparent
  func propagate(_ c: Coefficients, _ dx: MatrixView<Scalar>, _ maskInput: Bool, _ streaming: Bool) {
    let streams = streaming && canStream(dx)
    if isMasked {
      if maskInput {
        propagate(c, dx, masked: true, maskInput: true, streaming: false)
      } else if streams {
        propagate(c, dx, masked: true, maskInput: false, streaming: true)
      } else {
        propagate(c, dx, masked: true, maskInput: false, streaming: false)
      }
    } else if maskInput {
      if streams {
        propagate(c, dx, masked: false, maskInput: true, streaming: true)
      } else {
        propagate(c, dx, masked: false, maskInput: true, streaming: false)
      }
    } else if streams {
      propagate(c, dx, masked: false, maskInput: false, streaming: true)
    } else {
      propagate(c, dx, masked: false, maskInput: false, streaming: false)
    }
    if streams { lam_end_streaming() }
  }

  @_transparent
  func propagate(_ c: Coefficients, _ dx: MatrixView<Scalar>, masked: Bool, maskInput: Bool, streaming: Bool) {
    let pairs = dy.columns < longRow
    var number = 0
    while case let block = blockOfPass(number, rows: dy.rows, streaming: streaming), block.first >= 0,
      block.first < dy.rows
    {
      var row = block.first
      while pairs && row + 2 <= block.end {
        pairOfRows(c, dx, row, masked: masked, maskInput: maskInput, streaming: streaming)
        row += 2
      }
      while row < block.end {
        singleRow(c, dx, row, inFours: !pairs, masked: masked, maskInput: maskInput, streaming: streaming)
        row += 1
      }
      number += 1
    }
  }

  /// One row, four vectors at a time where it is long.
  @_transparent
  func singleRow(
    _ c: Coefficients, _ dx: MatrixView<Scalar>, _ row: Int, inFours: Bool, masked: Bool, maskInput: Bool,
    streaming: Bool
  ) {
    let to = dx.base + row &* dx.stride
    var column = 0
    while inFours && column <= dy.columns &- 4 &* lanes {
      let v0 = value(c.vector(at: column), row, column, lanes, masked: masked, maskInput: maskInput)
      let v1 = value(c.vector(at: column &+ lanes), row, column &+ lanes, lanes, masked: masked, maskInput: maskInput)
      let v2 = value(
        c.vector(at: column &+ 2 &* lanes), row, column &+ 2 &* lanes, lanes, masked: masked, maskInput: maskInput)
      let v3 = value(
        c.vector(at: column &+ 3 &* lanes), row, column &+ 3 &* lanes, lanes, masked: masked, maskInput: maskInput)
      write(v0, to + column, lanes, streaming: streaming)
      write(v1, to + (column &+ lanes), lanes, streaming: streaming)
      write(v2, to + (column &+ 2 &* lanes), lanes, streaming: streaming)
      write(v3, to + (column &+ 3 &* lanes), lanes, streaming: streaming)
      column &+= 4 &* lanes
    }
    while column <= dy.columns &- lanes {
      let v = value(c.vector(at: column), row, column, lanes, masked: masked, maskInput: maskInput)
      write(v, to + column, lanes, streaming: streaming)
      column &+= lanes
    }
    if column < dy.columns {
      let rest = dy.columns &- column
      let v = value(c.vector(at: column), row, column, rest, masked: masked, maskInput: maskInput)
      write(v, to + column, rest, streaming: false)
    }
  }

  /// Two rows, for which coefficients are loaded once.
  @_transparent
  func pairOfRows(
    _ c: Coefficients, _ dx: MatrixView<Scalar>, _ row: Int, masked: Bool, maskInput: Bool, streaming: Bool
  ) {
    let to = dx.base + row &* dx.stride
    var column = 0
    while column <= dy.columns &- lanes {
      let vectors = c.vector(at: column)
      let v0 = value(vectors, row, column, lanes, masked: masked, maskInput: maskInput)
      let v1 = value(vectors, row &+ 1, column, lanes, masked: masked, maskInput: maskInput)
      write(v0, to + column, lanes, streaming: streaming)
      write(v1, to + (dx.stride &+ column), lanes, streaming: streaming)
      column &+= lanes
    }
    if column < dy.columns {
      let (vectors, rest) = (c.vector(at: column), dy.columns &- column)
      let v0 = value(vectors, row, column, rest, masked: masked, maskInput: maskInput)
      let v1 = value(vectors, row &+ 1, column, rest, masked: masked, maskInput: maskInput)
      write(v0, to + column, rest, streaming: false)
      write(v1, to + (dx.stride &+ column), rest, streaming: false)
    }
  }

  @_transparent
  func value(
    _ c: Coefficients.Vectors, _ row: Int, _ column: Int, _ count: Int, masked: Bool, maskInput: Bool
  ) -> Vector {
    let input = load(x.base + (row &* x.stride &+ column), count)
    let g = gradient(row, column, count, masked: masked) - c.offset
    let v = c.scale * lam_multiply_add(c.slope, input - c.mean, g)
    return maskInput ? lam_zero_where_not_positive(input, v) : v
  }

  @_transparent
  func write(_ v: Vector, _ to: Pointer, _ count: Int, streaming: Bool) {
    if streaming { lam_store_streaming(to, v) } else { store(to, v, count) }
  }
}

// MARK: Weights

extension BackwardProblem {
  /// dx = scale·(dy − w·(offset − slope·(x − mean))) for rows of weight w, one after the other.
  @inline(__always)
  func propagate(
    _ c: Coefficients, _ dx: MatrixView<Scalar>, _ weights: UnsafePointer<Double>, _ rowsPerWeight: Int,
    _ maskInput: Bool
  ) {
    for sample in 0..<dy.rows / rowsPerWeight {
      let weight = Scalar(weights[sample])
      for row in sample * rowsPerWeight..<(sample + 1) * rowsPerWeight {
        if isMasked {
          propagate(c, dx, row, weight, maskInput, masked: true)
        } else {
          propagate(c, dx, row, weight, maskInput, masked: false)
        }
      }
    }
  }

  @inline(__always)
  private func propagate(
    _ c: Coefficients, _ dx: MatrixView<Scalar>, _ row: Int, _ weight: Scalar, _ maskInput: Bool, masked: Bool
  ) {
    let weights = splat(weight)
    var column = 0
    while column < dy.columns {
      let count = smaller(lanes, dy.columns - column)
      let input = load(x.base + (row &* x.stride &+ column), count)
      var g = gradient(row, column, count, masked: masked)
      let vectors = c.vector(at: column)
      // A row without weight has no part in the statistics, even where it holds no numbers.
      if weight != 0 {
        g -= weights * lam_multiply_add(-vectors.slope, input - vectors.mean, vectors.offset)
      }
      var v = vectors.scale * g
      if maskInput { v = lam_zero_where_not_positive(input, v) }
      store(dx.base + (row &* dx.stride &+ column), v, count)
      column += lanes
    }
  }
}
