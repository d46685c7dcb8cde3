// The training gradient in two passes over a chunk of columns: the sums, then dx.
//
// Sums run over 64 rows in `Scalar`, eight rows by a tree, and over the blocks in Double: the error of a sum of n terms is
// that of about eleven roundings, whatever n.

internal import CKernelShims
import KernelInterface

func batchNormalizationBackward(
  _ dy: MatrixView<Scalar>, _ x: MatrixView<Scalar>, _ output: MatrixView<Scalar>?, _ mean: ConstPointer,
  _ meanLow: ConstPointer, _ inverseDeviation: ConstPointer, _ gamma: ConstPointer?, _ dGamma: Pointer,
  _ dBeta: Pointer, _ dx: MatrixView<Scalar>, _ maskInput: Bool
) {
  var sums = lam_chunk_sums()
  var first = 0
  while first < dy.columns {
    let columns = min(Int(LAM_CHUNK_COLUMNS), dy.columns - first)
    let problem = BackwardChunk(
      dy: dy.base + first, dyStride: dy.stride, x: x.base + first, xStride: x.stride,
      output: base(output, first), outputStride: stride(output), dx: dx.base + first,
      dxStride: dx.stride, rows: dy.rows, columns: columns, mean: mean + first, meanLow: meanLow + first,
      inverseDeviation: inverseDeviation + first, gamma: offset(gamma, first), maskInput: maskInput)
    problem.reduce(&sums)
    problem.propagate(&sums, dGamma + first, dBeta + first)
    first += columns
  }
}

/// One chunk of columns of a gradient.
private struct BackwardChunk {
  var dy: Pointer
  var dyStride: Int
  var x: Pointer
  var xStride: Int
  var output: Pointer?
  var outputStride: Int
  var dx: Pointer
  var dxStride: Int
  var rows: Int
  var columns: Int
  var mean: ConstPointer
  var meanLow: ConstPointer
  var inverseDeviation: ConstPointer
  var gamma: ConstPointer?
  var maskInput: Bool
}

// MARK: The sums

extension BackwardChunk {
  /// Leaves Σ dy and Σ dy·(x − mean) of each column in `sums`.
  @inline(__always)
  func reduce(_ sums: UnsafeMutablePointer<lam_chunk_sums>) {
    let beta = lam_chunk_beta(sums)!
    let gamma = lam_chunk_gamma(sums)!
    var column = 0
    while column < columns {
      lam_store_doubles(beta + column, lam_splat_doubles(0))
      lam_store_doubles(gamma + column, lam_splat_doubles(0))
      column += lanes
    }
    var row = 0
    while row < rows {
      let end = min(row + momentsBlockRows, rows)
      sumBlock(sums, row, end)
      let blockBeta = lam_chunk_block_beta(sums)!
      let blockGamma = lam_chunk_block_gamma(sums)!
      column = 0
      while column < columns {
        lam_store_doubles(beta + column, lam_load_doubles(beta + column) + lam_widen(lam_load(blockBeta + column)))
        lam_store_doubles(gamma + column, lam_load_doubles(gamma + column) + lam_widen(lam_load(blockGamma + column)))
        column += lanes
      }
      row = end
    }
  }

  @inline(__always)
  func sumBlock(_ sums: UnsafeMutablePointer<lam_chunk_sums>, _ first: Int, _ end: Int) {
    let beta = lam_chunk_block_beta(sums)!
    let gamma = lam_chunk_block_gamma(sums)!
    var column = 0
    while column < columns {
      lam_store(beta + column, Vector.zero)
      lam_store(gamma + column, Vector.zero)
      column += lanes
    }
    var row = first
    while row + 8 <= end {
      column = 0
      while column + lanes <= columns {
        addEightRows(row, column, beta + column, gamma + column, lanes)
        column += lanes
      }
      if column < columns { addEightRows(row, column, beta + column, gamma + column, columns - column) }
      row += 8
    }
    while row < end {
      column = 0
      while column + lanes <= columns {
        addRow(row, column, beta + column, gamma + column, lanes)
        column += lanes
      }
      if column < columns { addRow(row, column, beta + column, gamma + column, columns - column) }
      row += 1
    }
  }

  /// dy where the ReLU after the normalization let its input through, else 0.
  @inline(__always)
  func gradient(_ row: Int, _ column: Int, _ count: Int) -> Vector {
    let g = load(dy + (row * dyStride + column), count)
    guard let output else { return g }
    return lam_zero_where_not_positive(load(output + (row * outputStride + column), count), g)
  }

  /// x − mean.
  @inline(__always)
  func centered(_ row: Int, _ column: Int, _ count: Int) -> Vector {
    (load(x + (row * xStride + column), count) - load(mean + column, count)) - load(meanLow + column, count)
  }

  @inline(__always)
  func addEightRows(_ row: Int, _ column: Int, _ beta: Pointer, _ gamma: Pointer, _ count: Int) {
    let g0 = gradient(row, column, count)
    let g1 = gradient(row + 1, column, count)
    let g2 = gradient(row + 2, column, count)
    let g3 = gradient(row + 3, column, count)
    let g4 = gradient(row + 4, column, count)
    let g5 = gradient(row + 5, column, count)
    let g6 = gradient(row + 6, column, count)
    let g7 = gradient(row + 7, column, count)
    lam_store(beta, lam_load(beta) + (((g0 + g1) + (g2 + g3)) + ((g4 + g5) + (g6 + g7))))
    var even = g0 * centered(row, column, count)
    var odd = g1 * centered(row + 1, column, count)
    even = lam_multiply_add(g2, centered(row + 2, column, count), even)
    odd = lam_multiply_add(g3, centered(row + 3, column, count), odd)
    even = lam_multiply_add(g4, centered(row + 4, column, count), even)
    odd = lam_multiply_add(g5, centered(row + 5, column, count), odd)
    even = lam_multiply_add(g6, centered(row + 6, column, count), even)
    odd = lam_multiply_add(g7, centered(row + 7, column, count), odd)
    lam_store(gamma, lam_load(gamma) + (even + odd))
  }

  @inline(__always)
  func addRow(_ row: Int, _ column: Int, _ beta: Pointer, _ gamma: Pointer, _ count: Int) {
    let g = gradient(row, column, count)
    lam_store(beta, lam_load(beta) + g)
    lam_store(gamma, lam_multiply_add(g, centered(row, column, count), lam_load(gamma)))
  }
}

// MARK: dx

extension BackwardChunk {
  /// Writes dγ and dβ, leaves dβ/n and inverseDeviation·dγ/n in place of the block sums, and writes dx.
  @inline(__always)
  func propagate(_ sums: UnsafeMutablePointer<lam_chunk_sums>, _ dGamma: Pointer, _ dBeta: Pointer) {
    let meanGradient = lam_chunk_block_beta(sums)!
    let slope = lam_chunk_block_gamma(sums)!
    let perRow = lam_splat_doubles(1 / Double(rows))
    var column = 0
    while column < columns {
      let count = min(lanes, columns - column)
      let inverse = lam_widen(load(inverseDeviation + column, count))
      let beta = lam_load_doubles(lam_chunk_beta(sums) + column)
      let gamma = lam_load_doubles(lam_chunk_gamma(sums) + column) * inverse
      store(dBeta + column, lam_narrow(beta), count)
      store(dGamma + column, lam_narrow(gamma), count)
      lam_store(meanGradient + column, lam_narrow(beta * perRow))
      lam_store(slope + column, lam_narrow(gamma * inverse * perRow))
      column += lanes
    }
    var row = 0
    while row < rows {
      let end = min(row + 8, rows)
      column = 0
      while column + lanes <= columns {
        propagateRows(row, end, column, meanGradient, slope, lanes)
        column += lanes
      }
      if column < columns { propagateRows(row, end, column, meanGradient, slope, columns - column) }
      row = end
    }
  }

  @inline(__always)
  func propagateRows(
    _ first: Int, _ end: Int, _ column: Int, _ meanGradient: Pointer, _ slope: Pointer, _ count: Int
  ) {
    let c0 = lam_load(meanGradient + column)
    let c1 = -lam_load(slope + column)
    var scale = load(inverseDeviation + column, count)
    if let gamma { scale *= load(gamma + column, count) }
    for row in first..<end {
      let g = gradient(row, column, count) - c0
      var v = scale * lam_multiply_add(c1, centered(row, column, count), g)
      if maskInput { v = lam_zero_where_not_positive(load(x + (row * xStride + column), count), v) }
      store(dx + (row * dxStride + column), v, count)
    }
  }
}

@inline(__always)
private func base(_ view: MatrixView<Scalar>?, _ column: Int) -> Pointer? {
  guard let view else { return nil }
  return view.base + column
}

@inline(__always)
private func stride(_ view: MatrixView<Scalar>?) -> Int {
  guard let view else { return 0 }
  return view.stride
}
