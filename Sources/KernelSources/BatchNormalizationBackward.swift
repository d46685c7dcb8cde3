// The training gradient: the sums over the rows, then dx.
//
// Sums run over blocks of 64 rows in `Scalar`, by pairs in each half, and over blocks and panels in Double: the error of
// a sum of n terms is that of at most 18 roundings, whatever n. Rows are taken eight at a time where they are short and
// in pairs where they are long or come from memory: two matrices are read, few streams are what prefetchers follow, and
// what is kept beside them leaves room in the L1 cache. meanLow enters once per column, not once per element:
// Σ dy·(x − mean − meanLow) = Σ dy·(x − mean) − meanLow·Σ dy.
//
// One file, because types that two files share have functions of their own in debug builds, which a narrow CPU could be
// handed (`scripts/check-kernel-isolation`).

internal import CKernelShims
import KernelInterface

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
    let whole = GradientSums(beta: lam_chunk_beta(&sums), gamma: lam_chunk_gamma(&sums))
    let block = BlockSums(&sums)
    let problem = BackwardProblem(
      dy.columns(first..<first + columns), x.columns(first..<first + columns), mask?.columns(from: first), mean + first)
    if panelRows == NormalizationPanels.blockRows {
      problem.sums(0, dy.rows, whole, block, columns)
    } else {
      let panel = GradientSums(beta: lam_chunk_panel_beta(&sums), gamma: lam_chunk_panel_gamma(&sums))
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
    let panel = GradientSums(beta: lam_chunk_beta(&sums), gamma: lam_chunk_gamma(&sums))
    let block = BlockSums(&sums)
    let problem = BackwardProblem(
      dy.columns(first..<first + columns), x.columns(first..<first + columns), mask?.columns(from: first), mean + first)
    var column = 0
    if isOneBlock(dy.rows) {
      problem.sumBlock(block, 0, dy.rows, columns)
      while column < columns {
        let count = smaller(lanes, columns - column)
        let to = partial.base + (first + column)
        store(scalars(at: to), lam_load(block.whole.beta + column), count)
        store(scalars(at: to + partial.stride), lam_load(block.whole.gamma + column), count)
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
  BackwardProblem(dy, x, mask, nil).propagate(Coefficients(base: coefficients), dx, maskInput, streaming)
}

// MARK: What the two passes share

/// Σ dy and Σ dy·(x − mean) of each column over some rows, in whole vectors.
private struct ColumnSums {
  var beta: Pointer
  var gamma: Pointer

  @_transparent
  func add(_ p: Vector, _ q: Vector, _ column: Int) {
    lam_store(beta + column, lam_load(beta + column) + p)
    lam_store(gamma + column, lam_load(gamma + column) + q)
  }

  /// The same with −q.
  @_transparent
  func add(_ p: Vector, minus q: Vector, _ column: Int) {
    lam_store(beta + column, lam_load(beta + column) + p)
    lam_store(gamma + column, lam_load(gamma + column) - q)
  }
}

/// Those of a block, of its second half and of the first row of a pair.
private struct BlockSums {
  var whole, half, row: ColumnSums

  @inline(__always)
  init(_ sums: UnsafeMutablePointer<lam_chunk_sums>) {
    whole = ColumnSums(beta: lam_chunk_block_beta(sums), gamma: lam_chunk_block_gamma(sums))
    half = ColumnSums(beta: lam_chunk_half_beta(sums), gamma: lam_chunk_half_gamma(sums))
    row = ColumnSums(beta: lam_chunk_row_beta(sums), gamma: lam_chunk_row_gamma(sums))
  }
}

/// Rows whose pairs are added up one after the other.
@inline(__always) private var halfBlock: Int { NormalizationPanels.blockRows / 2 }

/// The same over a panel or all rows.
private struct GradientSums {
  var beta: UnsafeMutablePointer<Double>
  var gamma: UnsafeMutablePointer<Double>
}

/// dx = scale·((dy − offset) + slope·(mean − x)): exactly 0 where a single row has nothing to say.
///
/// The four of a vector of columns lie side by side: apart, they would lie in the same lines of the L1 cache as the rows.
private struct Coefficients {
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

/// Scalars of each matrix between the rows that sums are made of and those asked for: what they take of the L1 cache
/// leaves room for the sums.
@inline(__always) private var aheadOfGradients: Int { 96 * lanes }

@inline(__always)
private func clear(_ sums: ColumnSums, _ columns: Int) {
  var column = 0
  while column < columns {
    lam_store(sums.beta + column, Vector.zero)
    lam_store(sums.gamma + column, Vector.zero)
    column += lanes
  }
}

@inline(__always)
private func add(_ half: ColumnSums, to whole: ColumnSums, _ columns: Int) {
  var column = 0
  while column < columns {
    whole.add(lam_load(half.beta + column), lam_load(half.gamma + column), column)
    column += lanes
  }
}

@inline(__always)
private func add(_ block: ColumnSums, to whole: GradientSums, _ first: Int, _ end: Int) {
  var column = first
  while column < end {
    let beta = lam_load_doubles(whole.beta + column) + lam_widen(lam_load(block.beta + column))
    let gamma = lam_load_doubles(whole.gamma + column) + lam_widen(lam_load(block.gamma + column))
    lam_store_doubles(whole.beta + column, beta)
    lam_store_doubles(whole.gamma + column, gamma)
    column += lanes
  }
}

@inline(__always)
private func add(_ panel: GradientSums, to whole: GradientSums, _ columns: Int) {
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
      offset: lam_narrow(beta * perRow - slope * low), slope: lam_narrow(slope), scale: lam_narrow(scale),
      mean: load(mean, count)), at: column)
}

/// Some columns of a gradient.
private struct BackwardProblem {
  var dy: MatrixView<Scalar>
  var x: MatrixView<Scalar>
  /// Where the ReLU after the normalization let its input through; without one, of no use.
  var mask: UnsafeMutablePointer<UInt8>
  var maskStride: Int
  var isMasked: Bool
  /// For the sums; dx has the mean among its coefficients.
  var mean: ConstPointer

  @inline(__always)
  init(_ dy: MatrixView<Scalar>, _ x: MatrixView<Scalar>, _ mask: BitMatrixView?, _ mean: ConstPointer?) {
    self.dy = dy
    self.x = x
    self.mask = mask?.base ?? UnsafeMutablePointer(bitPattern: 64)!
    maskStride = mask?.stride ?? 0
    isMasked = mask != nil
    self.mean = mean ?? ConstPointer(bitPattern: 64)!
  }

  /// dy where the mask lets it through, else 0.
  @inline(__always)
  func gradient(_ row: Int, _ column: Int, _ count: Int, masked: Bool) -> Vector {
    let g = load(dy.base + (row &* dy.stride &+ column), count)
    return masked ? lam_keep_masked(g, lam_load_bits(mask + (row &* maskStride &+ column / 8))) : g
  }

  /// mean − x, and not x − mean: so x is read by the instruction that subtracts it.
  @inline(__always)
  func belowMean(_ row: Int, _ column: Int, _ mean: Vector, _ count: Int) -> Vector {
    mean - load(x.base + (row &* x.stride &+ column), count)
  }
}

// MARK: The sums

extension BackwardProblem {
  /// The sums of rows `first` to `last`, by blocks, into `whole`, which holds whole vectors.
  @_transparent
  func sums(_ first: Int, _ last: Int, _ whole: GradientSums, _ block: BlockSums, _ columns: Int) {
    if isMasked {
      sums(first, last, whole, block, columns, masked: true)
    } else {
      sums(first, last, whole, block, columns, masked: false)
    }
  }

  @_transparent
  func sums(_ first: Int, _ last: Int, _ whole: GradientSums, _ block: BlockSums, _ columns: Int, masked: Bool) {
    var column = 0
    while column < columns {
      lam_store_doubles(whole.beta + column, lam_splat_doubles(0))
      lam_store_doubles(whole.gamma + column, lam_splat_doubles(0))
      column += lanes
    }
    if asksAhead(first, last, columns) {
      sumsFromMemory(first, last, whole, block, columns, masked: masked)
      return
    }
    var row = first
    while row < last {
      let end = smaller(row + NormalizationPanels.blockRows, last)
      sumBlock(block, row, end, columns, masked: masked)
      add(block.whole, to: whole, 0, columns)
      row = end
    }
  }

  /// Whether rows are asked for early: those of several blocks that the L2 cache cannot have kept, one right behind the
  /// other.
  @inline(__always)
  private func asksAhead(_ first: Int, _ last: Int, _ columns: Int) -> Bool {
    columns >= longRow && columns == dy.stride && columns == x.stride && !isOneBlock(last - first)
      && comeFromMemory(last - first)
  }

  /// Whether so many rows make a matrix that the L2 cache cannot have kept.
  @inline(__always)
  private func comeFromMemory(_ rows: Int) -> Bool { rows * dy.stride * MemoryLayout<Scalar>.stride >= 1 << 19 }

  /// The same of rows that come from memory.
  ///
  /// They are asked for in the order in which they lie there: the prefetchers alone lose half of its rate between the rows
  /// of a pair. A block's sums are added to the whole piece by piece while the next is summed: no row arrives meanwhile.
  @_transparent
  func sumsFromMemory(
    _ first: Int, _ last: Int, _ whole: GradientSums, _ block: BlockSums, _ columns: Int, masked: Bool
  ) {
    var (current, finished) = (block.whole, block.row)
    // Of a block's 32 pairs of rows each comes with a part of the block before it.
    let slice = ((columns + lanes - 1) / lanes + 31) / 32 * lanes
    var row = first
    while row < last {
      let end = smaller(row + NormalizationPanels.blockRows, last)
      let middle = smaller(row + halfBlock, end)
      var added = row == first ? columns : 0
      clear(current, columns)
      if middle < end { clear(block.half, columns) }
      while row + 2 <= end {
        addPair(row, row < middle ? current : block.half, columns, masked: masked, ahead: true)
        let next = smaller(added + slice, columns)
        add(finished, to: whole, added, next)
        added = next
        row += 2
      }
      if row < end {
        addRow(row, row < middle ? current : block.half, columns, masked: masked)
        row += 1
      }
      if middle < end { add(block.half, to: current, columns) }
      add(finished, to: whole, added, columns)
      (current, finished) = (finished, current)
    }
    add(finished, to: whole, 0, columns)
  }

  /// The sums of one block, in scalars.
  @_transparent
  func sumBlock(_ block: BlockSums, _ first: Int, _ end: Int, _ columns: Int) {
    if isMasked {
      sumBlock(block, first, end, columns, masked: true)
    } else {
      sumBlock(block, first, end, columns, masked: false)
    }
  }

  @_transparent
  func sumBlock(_ block: BlockSums, _ first: Int, _ end: Int, _ columns: Int, masked: Bool) {
    // From memory, where other columns lie between them, rows of less than 2 KiB are taken one by one.
    let oneByOne = columns >= longRow && columns < 2 * longRow && columns < dy.stride && comeFromMemory(dy.rows)
    let inPairs = columns >= 2 * longRow
    var row = first
    while row < end {
      let sums = row == first ? block.whole : block.half
      let last = smaller(row + halfBlock, end)
      clear(sums, columns)
      // Told apart out here: asked of every vector, it would be a tenth of what the sums cost.
      if oneByOne {
        while row + 2 <= last {
          addRowByRow(row, sums, block.row, columns, masked: masked)
          row += 2
        }
      } else if !inPairs {
        while row + 8 <= last {
          addEightRows(row, sums, columns, masked: masked)
          row += 8
        }
      }
      while row + 2 <= last {
        addPair(row, sums, columns, masked: masked, ahead: false)
        row += 2
      }
      if row < last {
        addRow(row, sums, columns, masked: masked)
        row += 1
      }
    }
    if end - first > halfBlock { add(block.half, to: block.whole, columns) }
  }

  /// Σ dy and Σ dy·(mean − x) of two rows.
  @_transparent
  func pairOfRows(
    _ row: Int, _ column: Int, _ mean: Vector, _ count: Int, _ products: inout Vector, masked: Bool
  ) -> Vector {
    let g0 = gradient(row, column, count, masked: masked)
    let g1 = gradient(row &+ 1, column, count, masked: masked)
    products = lam_multiply_add(
      g1, belowMean(row &+ 1, column, mean, count), g0 * belowMean(row, column, mean, count))
    return g0 + g1
  }

  /// Asks for two lines of each matrix: the share of `column` in the rows to come, in their order in memory.
  @_transparent
  func askForPair(_ row: Int, _ column: Int) {
    let upcoming = row &* x.stride &+ 2 &* column &+ aheadOfGradients
    for line in 0..<2 {
      lam_prefetch(x.base + (upcoming &+ line &* lanes))
      lam_prefetch(dy.base + (upcoming &+ line &* lanes))
    }
  }

  @_transparent
  func addPair(_ row: Int, _ sums: ColumnSums, _ columns: Int, masked: Bool, ahead: Bool) {
    var column = 0
    while column <= columns - lanes {
      if ahead { askForPair(row, column) }
      addPair(row, column, sums, lanes, masked: masked)
      column &+= lanes
    }
    if column < columns { addPair(row, column, sums, columns - column, masked: masked) }
  }

  @_transparent
  func addPair(_ row: Int, _ column: Int, _ sums: ColumnSums, _ count: Int, masked: Bool) {
    var q = Vector.zero
    let p = pairOfRows(row, column, load(mean + column, count), count, &q, masked: masked)
    sums.add(p, minus: q, column)
  }

  /// Four pairs, to the bits of four `addPair`.
  @_transparent
  func addEightRows(_ row: Int, _ sums: ColumnSums, _ columns: Int, masked: Bool) {
    var column = 0
    while column <= columns - lanes {
      addEightRows(row, column, sums, lanes, masked: masked)
      column &+= lanes
    }
    if column < columns { addEightRows(row, column, sums, columns - column, masked: masked) }
  }

  @_transparent
  func addEightRows(_ row: Int, _ column: Int, _ sums: ColumnSums, _ count: Int, masked: Bool) {
    let mean = load(mean + column, count)
    var (beta, gamma) = (lam_load(sums.beta + column), lam_load(sums.gamma + column))
    for pair in 0..<4 {
      var q = Vector.zero
      beta += pairOfRows(row &+ 2 &* pair, column, mean, count, &q, masked: masked)
      gamma -= q
    }
    lam_store(sums.beta + column, beta)
    lam_store(sums.gamma + column, gamma)
  }

  /// Adds two rows, one after the other, to the bits of `addPair`: the first is set aside in `first`.
  @_transparent
  func addRowByRow(_ row: Int, _ sums: ColumnSums, _ first: ColumnSums, _ columns: Int, masked: Bool) {
    var column = 0
    while column <= columns - lanes {
      setAside(row, column, first, lanes, masked: masked)
      column &+= lanes
    }
    if column < columns { setAside(row, column, first, columns - column, masked: masked) }
    column = 0
    while column <= columns - lanes {
      addSecond(row &+ 1, column, sums, first, lanes, masked: masked)
      column &+= lanes
    }
    if column < columns { addSecond(row &+ 1, column, sums, first, columns - column, masked: masked) }
  }

  @_transparent
  func setAside(_ row: Int, _ column: Int, _ first: ColumnSums, _ count: Int, masked: Bool) {
    let g = gradient(row, column, count, masked: masked)
    lam_store(first.beta + column, g)
    lam_store(first.gamma + column, g * belowMean(row, column, load(mean + column, count), count))
  }

  @_transparent
  func addSecond(
    _ row: Int, _ column: Int, _ sums: ColumnSums, _ first: ColumnSums, _ count: Int, masked: Bool
  ) {
    let g = gradient(row, column, count, masked: masked)
    let p = lam_load(first.beta + column) + g
    let q = lam_multiply_add(
      g, belowMean(row, column, load(mean + column, count), count), lam_load(first.gamma + column))
    sums.add(p, minus: q, column)
  }

  @_transparent
  func addRow(_ row: Int, _ sums: ColumnSums, _ columns: Int, masked: Bool) {
    var column = 0
    while column <= columns - lanes {
      addRow(row, column, sums, lanes, masked: masked)
      column &+= lanes
    }
    if column < columns { addRow(row, column, sums, columns - column, masked: masked) }
  }

  @_transparent
  func addRow(_ row: Int, _ column: Int, _ sums: ColumnSums, _ count: Int, masked: Bool) {
    let g = gradient(row, column, count, masked: masked)
    let beta = sums.beta + column
    let gamma = sums.gamma + column
    lam_store(beta, lam_load(beta) + g)
    let distance = belowMean(row, column, load(mean + column, count), count)
    lam_store(gamma, lam_subtract_product(lam_load(gamma), g, distance))
  }
}

// MARK: dx

extension BackwardProblem {
  /// Writes dx, from the last rows to the first: the sums ended with the last, which the cache still holds.
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
    let fours = !streaming && lam_takes_four_rows() != 0
    let blockRows = rowsOfPass(dy.rows, columns: dy.columns)
    var end = dy.rows
    while end > 0 {
      let first = (end - 1) / blockRows * blockRows
      var row = first
      while fours && row + 4 <= end {
        fourRows(c, dx, row, masked: masked, maskInput: maskInput)
        row += 4
      }
      while pairs && row + 2 <= end {
        pairOfRows(c, dx, row, masked: masked, maskInput: maskInput, streaming: streaming)
        row += 2
      }
      while row < end {
        singleRow(c, dx, row, inFours: !pairs, masked: masked, maskInput: maskInput, streaming: streaming)
        row += 1
      }
      end = first
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
      if streaming {
        for part in 0..<4 { askAhead(row, column &+ part &* lanes) }
      }
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
      if streaming { askAhead(row, column) }
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

  /// Four rows, for which coefficients are loaded once.
  @_transparent
  func fourRows(_ c: Coefficients, _ dx: MatrixView<Scalar>, _ row: Int, masked: Bool, maskInput: Bool) {
    var column = 0
    while column <= dy.columns &- lanes {
      partOfFour(c.vector(at: column), dx, row, column, lanes, masked: masked, maskInput: maskInput)
      column &+= lanes
    }
    if column < dy.columns {
      partOfFour(c.vector(at: column), dx, row, column, dy.columns &- column, masked: masked, maskInput: maskInput)
    }
  }

  @_transparent
  func partOfFour(
    _ c: Coefficients.Vectors, _ dx: MatrixView<Scalar>, _ row: Int, _ column: Int, _ count: Int, masked: Bool,
    maskInput: Bool
  ) {
    for part in 0..<4 {
      let v = value(c, row &+ part, column, count, masked: masked, maskInput: maskInput)
      store(dx.base + ((row &+ part) &* dx.stride &+ column), v, count)
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
      if streaming {
        askAhead(row, column)
        askAhead(row &+ 1, column)
      }
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

  /// Asks for what a streaming pass reads soon.
  @_transparent
  func askAhead(_ row: Int, _ column: Int) {
    lam_prefetch(x.base + (row &* x.stride &+ column &+ aheadOfStream))
    lam_prefetch(dy.base + (row &* dy.stride &+ column &+ aheadOfStream))
  }

  @_transparent
  func value(
    _ c: Coefficients.Vectors, _ row: Int, _ column: Int, _ count: Int, masked: Bool, maskInput: Bool
  ) -> Vector {
    let input = load(x.base + (row &* x.stride &+ column), count)
    let g = gradient(row, column, count, masked: masked) - c.offset
    let v = c.scale * lam_multiply_add(c.slope, c.mean - input, g)
    return maskInput ? lam_zero_where_not_positive(input, v) : v
  }

  @_transparent
  func write(_ v: Vector, _ to: Pointer, _ count: Int, streaming: Bool) {
    if streaming { lam_store_streaming(to, v) } else { store(to, v, count) }
  }
}

// MARK: Weights

extension BackwardProblem {
  /// dx = scale·(dy − w·(offset − slope·(mean − x))) for rows of weight w, one after the other.
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
        g -= weights * lam_subtract_product(vectors.offset, vectors.slope, vectors.mean - input)
      }
      var v = vectors.scale * g
      if maskInput { v = lam_zero_where_not_positive(input, v) }
      store(dx.base + (row &* dx.stride &+ column), v, count)
      column += lanes
    }
  }
}
