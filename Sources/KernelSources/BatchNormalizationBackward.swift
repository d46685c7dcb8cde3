// The training gradient: the sums over the rows, then dx.
//
// Sums run over blocks of 64 rows in `Scalar`, by groups of eight, and over blocks and panels in Double: the error of a
// sum of n terms is that of about twelve roundings, whatever n. A group's rows are taken all at a time where they are
// short and in pairs where they are long, as for the moments: two matrices are read, and few streams are what prefetchers
// follow. meanLow enters once per column, not once per element:
// Σ dy·(x − mean − meanLow) = Σ dy·(x − mean) − meanLow·Σ dy.

internal import CKernelShims
import KernelInterface

/// `min` of integers: the library's is generic, and functions as large as these leave a copy of it that all builds share.
@_transparent
func smaller(_ a: Int, _ b: Int) -> Int { a < b ? a : b }

func batchNormalizationBackward(
  _ dy: MatrixView<Scalar>, _ x: MatrixView<Scalar>, _ mask: BitMatrixView?, _ mean: ConstPointer,
  _ meanLow: ConstPointer, _ inverseDeviation: ConstPointer, _ gamma: ConstPointer?, _ dGamma: Pointer,
  _ dBeta: Pointer, _ dx: MatrixView<Scalar>, _ maskInput: Bool
) {
  backward(
    dy, x, mask, mean, meanLow, inverseDeviation, gamma, dGamma, dBeta, dx, maskInput,
    perRow: 1 / Double(dy.rows), weights: nil)
}

func givenStatisticsBackward(
  _ dy: MatrixView<Scalar>, _ x: MatrixView<Scalar>, _ mask: BitMatrixView?, _ mean: ConstPointer,
  _ meanLow: ConstPointer, _ inverseDeviation: ConstPointer, _ gamma: ConstPointer?, _ dGamma: Pointer,
  _ dBeta: Pointer, _ dx: MatrixView<Scalar>, _ maskInput: Bool
) {
  backward(
    dy, x, mask, mean, meanLow, inverseDeviation, gamma, dGamma, dBeta, dx, maskInput, perRow: 0, weights: nil)
}

func weightedBackward(
  _ dy: MatrixView<Scalar>, _ x: MatrixView<Scalar>, _ weights: UnsafePointer<Double>, _ rowsPerWeight: Int,
  _ mask: BitMatrixView?, _ mean: ConstPointer, _ meanLow: ConstPointer, _ inverseDeviation: ConstPointer,
  _ gamma: ConstPointer?, _ dGamma: Pointer, _ dBeta: Pointer, _ dx: MatrixView<Scalar>, _ maskInput: Bool
) {
  let total = sumOfWeights(weights, rowsPerWeight, dy.rows)
  backward(
    dy, x, mask, mean, meanLow, inverseDeviation, gamma, dGamma, dBeta, dx, maskInput,
    perRow: total > 0 ? 1 / total : 0, weights: weights, rowsPerWeight: rowsPerWeight)
}

/// The gradient where a row's share in the statistics is perRow, times its weight where there are weights.
@inline(__always)
private func backward(
  _ dy: MatrixView<Scalar>, _ x: MatrixView<Scalar>, _ mask: BitMatrixView?, _ mean: ConstPointer,
  _ meanLow: ConstPointer, _ inverseDeviation: ConstPointer, _ gamma: ConstPointer?, _ dGamma: Pointer,
  _ dBeta: Pointer, _ dx: MatrixView<Scalar>, _ maskInput: Bool, perRow: Double,
  weights: UnsafePointer<Double>?, rowsPerWeight: Int = 1
) {
  var sums = lam_uninitialized_chunk_sums()
  let panelRows = NormalizationPanels.rows(of: dy.rows)
  var first = 0
  while first < dy.columns {
    let columns = smaller(Int(LAM_CHUNK_COLUMNS), dy.columns - first)
    let whole = ColumnGradientSums(beta: lam_chunk_beta(&sums), gamma: lam_chunk_gamma(&sums))
    let block = BlockSums(
      beta: lam_chunk_block_beta(&sums), gamma: lam_chunk_block_gamma(&sums), groupBeta: lam_chunk_group_beta(&sums),
      groupGamma: lam_chunk_group_gamma(&sums), rowBeta: lam_chunk_row_beta(&sums),
      rowGamma: lam_chunk_row_gamma(&sums))
    let problem = BackwardProblem(
      dy.columns(first..<first + columns), x.columns(first..<first + columns), mask?.columns(from: first), mean + first)
    if panelRows == NormalizationPanels.blockRows {
      problem.sums(0, dy.rows, whole, block, columns)
    } else {
      let panel = ColumnGradientSums(beta: lam_chunk_panel_beta(&sums), gamma: lam_chunk_panel_gamma(&sums))
      var row = 0
      while row < dy.rows {
        problem.sums(row, smaller(row + panelRows, dy.rows), row == 0 ? whole : panel, block, columns)
        if row > 0 { add(panel, to: whole, columns) }
        row += panelRows
      }
    }
    // The block's sums have been used up: their memory takes what dx is made with.
    let coefficients = Coefficients(base: lam_chunk_coefficients(&sums))
    var column = 0
    while column < columns {
      let count = smaller(lanes, columns - column)
      finish(
        perRow, lam_load_doubles(whole.beta + column), lam_load_doubles(whole.gamma + column), mean + first + column,
        meanLow + first + column, inverseDeviation + first + column, offset(gamma, first + column),
        dGamma + first + column, dBeta + first + column, coefficients, at: column, count)
      column += lanes
    }
    if let weights {
      problem.propagate(coefficients, dx.columns(first..<first + columns), weights, rowsPerWeight, maskInput)
    } else {
      problem.propagate(coefficients, dx.columns(first..<first + columns), maskInput, false)
    }
    first += columns
  }
}

func partialGradients(
  _ dy: MatrixView<Scalar>, _ x: MatrixView<Scalar>, _ mask: BitMatrixView?, _ mean: ConstPointer,
  _ partial: MatrixView<Double>
) {
  // The same chunks as above, so that the sums lie on the stack at full vectors.
  var sums = lam_uninitialized_chunk_sums()
  var first = 0
  while first < dy.columns {
    let columns = smaller(Int(LAM_CHUNK_COLUMNS), dy.columns - first)
    let panel = ColumnGradientSums(beta: lam_chunk_beta(&sums), gamma: lam_chunk_gamma(&sums))
    let block = BlockSums(
      beta: lam_chunk_block_beta(&sums), gamma: lam_chunk_block_gamma(&sums), groupBeta: lam_chunk_group_beta(&sums),
      groupGamma: lam_chunk_group_gamma(&sums), rowBeta: lam_chunk_row_beta(&sums),
      rowGamma: lam_chunk_row_gamma(&sums))
    let problem = BackwardProblem(
      dy.columns(first..<first + columns), x.columns(first..<first + columns), mask?.columns(from: first), mean + first)
    var column = 0
    if isOneBlock(dy.rows) {
      problem.sumBlock(block, 0, dy.rows, columns)
      while column < columns {
        let count = smaller(lanes, columns - column)
        let to = partial.base + (first + column)
        store(scalars(at: to), lam_load(block.beta + column), count)
        store(scalars(at: to + partial.stride), lam_load(block.gamma + column), count)
        column += lanes
      }
    } else {
      problem.sums(0, dy.rows, panel, block, columns)
      while column < columns {
        let count = smaller(lanes, columns - column)
        let to = partial.base + (first + column)
        storeDoubles(to, lam_load_doubles(panel.beta + column), count)
        storeDoubles(to + partial.stride, lam_load_doubles(panel.gamma + column), count)
        column += lanes
      }
    }
    first += columns
  }
}

func mergeGradients(
  _ partials: MatrixView<Double>, _ rows: Int, _ mean: ConstPointer, _ meanLow: ConstPointer,
  _ inverseDeviation: ConstPointer, _ gamma: ConstPointer?, _ dGamma: Pointer, _ dBeta: Pointer,
  _ coefficients: Pointer
) {
  let panelRows = NormalizationPanels.rows(of: rows)
  var column = 0
  while column < partials.columns {
    let count = smaller(lanes, partials.columns - column)
    var part = partials.base + column
    var beta = sumsOfPanel(part, smaller(panelRows, rows), count)
    var slope = sumsOfPanel(part + partials.stride, smaller(panelRows, rows), count)
    var row = panelRows
    while row < rows {
      part += 2 &* partials.stride
      for line in 0..<2 { lam_prefetch(part + (line &* partials.stride &+ 2 &* lanes)) }
      let panel = smaller(panelRows, rows - row)
      beta += sumsOfPanel(part, panel, count)
      slope += sumsOfPanel(part + partials.stride, panel, count)
      row += panelRows
    }
    finish(
      1 / Double(rows), beta, slope, mean + column, meanLow + column, inverseDeviation + column, offset(gamma, column),
      dGamma + column, dBeta + column, Coefficients(base: coefficients), at: column, count)
    column += lanes
  }
}

/// One of a panel's sums: scalars of one block, else doubles.
@inline(__always)
private func sumsOfPanel(_ part: UnsafeMutablePointer<Double>, _ rows: Int, _ count: Int) -> lam_doubles {
  isOneBlock(rows) ? lam_widen(load(scalars(at: part), count)) : loadDoubles(part, count)
}

func propagateGradient(
  _ dy: MatrixView<Scalar>, _ x: MatrixView<Scalar>, _ mask: BitMatrixView?, _ coefficients: Pointer,
  _ dx: MatrixView<Scalar>, _ maskInput: Bool, _ streaming: Bool
) {
  // The mean is among the coefficients.
  BackwardProblem(dy, x, mask, coefficients).propagate(Coefficients(base: coefficients), dx, maskInput, streaming)
}

// MARK: What the two passes share

/// Σ dy and Σ dy·(x − mean) of each column, over a block, over a group of eight rows and of the first row of a pair.
struct BlockSums {
  var beta: Pointer
  var gamma: Pointer
  var groupBeta: Pointer
  var groupGamma: Pointer
  var rowBeta: Pointer
  var rowGamma: Pointer
}

/// The same over a panel or all rows.
struct ColumnGradientSums {
  var beta: UnsafeMutablePointer<Double>
  var gamma: UnsafeMutablePointer<Double>
}

/// dx = scale·((dy − offset) + slope·(x − mean)): exactly 0 where a single row has nothing to say.
///
/// The four of a vector of columns lie side by side: apart, they would lie in the same lines of the L1 cache as the rows.
struct Coefficients {
  var base: Pointer

  struct Vectors {
    var offset, slope, scale, mean: Vector
  }

  /// Those of the columns from `column` on, a whole number of vectors.
  @inline(__always)
  func vector(at column: Int) -> Vectors {
    let place = base + 4 &* column
    return Vectors(
      offset: lam_load(place), slope: lam_load(place + lanes), scale: lam_load(place + 2 &* lanes),
      mean: lam_load(place + 3 &* lanes))
  }

  @inline(__always)
  func store(_ vectors: Vectors, at column: Int) {
    let place = base + 4 &* column
    lam_store(place, vectors.offset)
    lam_store(place + lanes, vectors.slope)
    lam_store(place + 2 &* lanes, vectors.scale)
    lam_store(place + 3 &* lanes, vectors.mean)
  }
}

/// Whether the rows of a panel make a matrix that the L2 cache cannot have kept.
@inline(__always)
func comesFromMemory(_ panel: MatrixView<Scalar>) -> Bool {
  panel.rows * panel.stride * MemoryLayout<Scalar>.stride >= 1 << 19
}

@inline(__always)
private func add(_ panel: ColumnGradientSums, to whole: ColumnGradientSums, _ columns: Int) {
  var column = 0
  while column < columns {
    lam_store_doubles(
      whole.beta + column, lam_load_doubles(whole.beta + column) + lam_load_doubles(panel.beta + column))
    lam_store_doubles(
      whole.gamma + column, lam_load_doubles(whole.gamma + column) + lam_load_doubles(panel.gamma + column))
    column += lanes
  }
}

/// Writes dγ, dβ and what dx is made with: dx = γ·inverse·(dy − dβ/n − (x − mean − meanLow)·inverse·dγ/n).
@inline(__always)
private func finish(
  _ share: Double, _ beta: lam_doubles, _ products: lam_doubles, _ mean: ConstPointer, _ meanLow: ConstPointer,
  _ inverseDeviation: ConstPointer, _ gamma: ConstPointer?, _ dGamma: Pointer, _ dBeta: Pointer,
  _ coefficients: Coefficients, at column: Int, _ count: Int
) {
  let inverse = lam_widen(load(inverseDeviation, count))
  let low = lam_widen(load(meanLow, count))
  let gammaSum = (products - low * beta) * inverse
  store(dBeta, lam_narrow(beta), count)
  store(dGamma, lam_narrow(gammaSum), count)
  let perRow = lam_splat_doubles(share)
  let slope = gammaSum * inverse * perRow
  var scale = inverse
  if let gamma { scale *= lam_widen(load(gamma, count)) }
  coefficients.store(
    Coefficients.Vectors(
      offset: lam_narrow(beta * perRow - slope * low), slope: lam_narrow(-slope), scale: lam_narrow(scale),
      mean: load(mean, count)), at: column)
}

/// Some columns of a gradient.
struct BackwardProblem {
  var dy: MatrixView<Scalar>
  var x: MatrixView<Scalar>
  /// Where the ReLU after the normalization let its input through; without one, of no use.
  var mask: UnsafeMutablePointer<UInt8>
  var maskStride: Int
  var isMasked: Bool
  var mean: ConstPointer

  @inline(__always)
  init(_ dy: MatrixView<Scalar>, _ x: MatrixView<Scalar>, _ mask: BitMatrixView?, _ mean: ConstPointer) {
    self.dy = dy
    self.x = x
    self.mask = mask?.base ?? UnsafeMutablePointer(bitPattern: 64)!
    maskStride = mask?.stride ?? 0
    isMasked = mask != nil
    self.mean = mean
  }

  /// dy where the mask lets it through, else 0.
  @inline(__always)
  func gradient(_ row: Int, _ column: Int, _ count: Int, masked: Bool) -> Vector {
    let g = load(dy.base + (row &* dy.stride &+ column), count)
    return masked ? lam_keep_masked(g, lam_load_bits(mask + (row &* maskStride &+ column / 8))) : g
  }

  /// x − mean.
  @inline(__always)
  func centered(_ row: Int, _ column: Int, _ mean: Vector, _ count: Int) -> Vector {
    load(x.base + (row &* x.stride &+ column), count) - mean
  }
}
