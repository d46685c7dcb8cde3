// Mean and variance of columns, x read from memory once.
//
// Rows are taken in blocks of 64. A block's shift is the mean of the eight rows in its middle, where a trend passes
// through its mean; the sums of d = x − shift and of d² follow in the same pass. Their cancellation is bounded whatever
// the data: a block of n rows of which k made the shift has at least k/n of its squared distance from the shift in its
// own variance. Blocks are merged into panels and panels into the whole in Double (Chan, Golub and LeVeque 1979), means
// as distances from the first block's shift. Rows are taken four at a time across the whole width, few enough for
// prefetchers to follow.

internal import CKernelShims
import KernelInterface

/// Moments of some rows in Double, one of each per column: a mean is origin + distance.
private struct PartialMoments {
  var origin: UnsafeMutablePointer<Double>
  var distance: UnsafeMutablePointer<Double>
  var squares: UnsafeMutablePointer<Double>

  @inline(__always)
  init(_ rows: MatrixView<Double>) {
    origin = rows.base
    distance = rows.base + rows.stride
    squares = rows.base + 2 * rows.stride
  }
}

func moments(
  _ x: MatrixView<Scalar>, _ mean: Pointer, _ meanLow: Pointer, _ variance: Pointer,
  _ workspace: UnsafeMutablePointer<Double>
) {
  // Until the end `mean` holds the block's shift, `meanLow` Σd and `variance` Σd².
  let whole = PartialMoments(MatrixView(base: workspace, rows: 3, columns: x.columns))
  let panel = PartialMoments(MatrixView(base: workspace + 3 * x.columns, rows: 3, columns: x.columns))
  let panelRows = NormalizationPanels.rows(of: x.rows)
  let ahead = asksAhead(x)
  var row = 0
  while row < x.rows {
    let rows = min(panelRows, x.rows - row)
    let base = x.base + row * x.stride
    if panelRows == NormalizationPanels.blockRows {
      // A panel is one block: the same operations without the detour.
      addBlock(base, rows, x.stride, x.columns, mean, meanLow, variance, before: row, whole, ahead: ahead)
    } else {
      momentsOfPanel(base, rows, x.stride, x.columns, mean, meanLow, variance, row == 0 ? whole : panel, ahead: ahead)
      if row > 0 { addPanel(panel, rows: rows, to: whole, before: row, columns: x.columns) }
    }
    row += rows
  }
  var column = 0
  while column < x.columns {
    let count = min(lanes, x.columns - column)
    finish(
      x.rows, loadDoubles(whole.origin + column, count), loadDoubles(whole.distance + column, count),
      loadDoubles(whole.squares + column, count), mean + column, meanLow + column, variance + column, count)
    column += lanes
  }
}

func partialMoments(_ x: MatrixView<Scalar>, _ partial: MatrixView<Double>, _ scratch: Pointer) {
  let (sum, square) = (scratch + x.columns, scratch + 2 * x.columns)
  if isOneBlock(x.rows) {
    sumsOfPanel(
      x.base, x.rows, x.stride, x.columns, scratch, sum, square, PartialMoments(partial), ahead: asksAhead(x))
  } else {
    momentsOfPanel(
      x.base, x.rows, x.stride, x.columns, scratch, sum, square, PartialMoments(partial), ahead: asksAhead(x))
  }
}

func mergeMoments(
  _ partials: MatrixView<Double>, _ rows: Int, _ mean: Pointer, _ meanLow: Pointer, _ variance: Pointer
) {
  let panelRows = NormalizationPanels.rows(of: rows)
  var column = 0
  while column < partials.columns {
    let count = min(lanes, partials.columns - column)
    var part = partials.base + column
    let first = panelMoments(part, partials.stride, min(panelRows, rows), count)
    var (distance, squares) = (first.distance, first.squares)
    var row = panelRows
    while row < rows {
      part += 3 &* partials.stride
      // Others have written it, and what lies in another's cache takes longest: the next columns are asked for early.
      for line in 0..<3 { lam_prefetch(part + (line &* partials.stride &+ 2 &* lanes)) }
      let next = panelMoments(part, partials.stride, min(panelRows, rows - row), count)
      merge(
        min(panelRows, rows - row), next.origin, next.distance, next.squares, before: row, first.origin, &distance,
        &squares)
      row += panelRows
    }
    finish(rows, first.origin, distance, squares, mean + column, meanLow + column, variance + column, count)
    column += lanes
  }
}

// MARK: Panels of one block

/// Whether a panel of so many rows leaves its block's sums as they are, in scalars: half as much for others to fetch.
@inline(__always)
func isOneBlock(_ rows: Int) -> Bool { rows <= NormalizationPanels.blockRows }

/// The first scalars of the memory of as many doubles.
@inline(__always)
func scalars(at doubles: UnsafeMutablePointer<Double>) -> Pointer { lam_scalars_at(doubles)! }

/// A block's shift, Σd and Σd², each vector at the place of its columns.
@_transparent
private func sumsOfPanel(
  _ x: Pointer, _ rows: Int, _ stride: Int, _ columns: Int, _ shift: Pointer, _ sum: Pointer, _ square: Pointer,
  _ panel: PartialMoments, ahead: Bool
) {
  var first = 0
  while first < columns {
    let end = min(first + Int(LAM_CHUNK_COLUMNS), columns)
    sumsOfBlock(x, rows, stride, first, end, shift, sum, square, ahead: ahead)
    var column = first
    while column < end {
      let count = min(lanes, end - column)
      store(scalars(at: panel.origin + column), load(shift + column, count), count)
      store(scalars(at: panel.distance + column), load(sum + column, count), count)
      store(scalars(at: panel.squares + column), load(square + column, count), count)
      column += lanes
    }
    first = end
  }
}

/// A panel's moments as a mean of origin + distance and a sum of squares around it.
@inline(__always)
private func panelMoments(
  _ part: UnsafeMutablePointer<Double>, _ stride: Int, _ rows: Int, _ count: Int
) -> (origin: lam_doubles, distance: lam_doubles, squares: lam_doubles) {
  if isOneBlock(rows) {
    let shift = load(scalars(at: part), count)
    let sum = load(scalars(at: part + stride), count)
    return blockMoments(rows, shift, sum, load(scalars(at: part + 2 &* stride), count))
  }
  return (
    loadDoubles(part, count), loadDoubles(part + stride, count), loadDoubles(part + 2 &* stride, count)
  )
}

/// A block's moments from its shift, Σd and Σd².
@inline(__always)
private func blockMoments(
  _ rows: Int, _ shift: Vector, _ sum: Vector, _ square: Vector
) -> (origin: lam_doubles, distance: lam_doubles, squares: lam_doubles) {
  let total = lam_widen(sum)
  let distance = total * lam_splat_doubles(1 / Double(rows))
  return (lam_widen(shift), distance, lam_widen(square) - total * distance)
}

// MARK: Panels

@_transparent
private func momentsOfPanel(
  _ x: Pointer, _ rows: Int, _ stride: Int, _ columns: Int, _ shift: Pointer, _ sum: Pointer, _ square: Pointer,
  _ panel: PartialMoments, ahead: Bool
) {
  var row = 0
  while row < rows {
    let count = min(NormalizationPanels.blockRows, rows - row)
    addBlock(x + row * stride, count, stride, columns, shift, sum, square, before: row, panel, ahead: ahead)
    row += count
  }
}

/// Adds the moments of `panel`, of `rows` rows, to those of the `before` rows above it.
@_transparent
private func addPanel(
  _ panel: PartialMoments, rows: Int, to whole: PartialMoments, before: Int, columns: Int
) {
  var column = 0
  while column < columns {
    let count = min(lanes, columns - column)
    var distance = loadDoubles(whole.distance + column, count)
    var squares = loadDoubles(whole.squares + column, count)
    merge(
      rows, loadDoubles(panel.origin + column, count), loadDoubles(panel.distance + column, count),
      loadDoubles(panel.squares + column, count), before: before, loadDoubles(whole.origin + column, count), &distance,
      &squares)
    storeDoubles(whole.distance + column, distance, count)
    storeDoubles(whole.squares + column, squares, count)
    column += lanes
  }
}

// MARK: Blocks

/// Whether rows, one right behind the other, are asked for early: prefetchers lose their way at the end of each.
@_transparent
private func asksAhead(_ x: MatrixView<Scalar>) -> Bool {
  x.columns >= longRow && x.columns <= Int(LAM_CHUNK_COLUMNS) && x.columns == x.stride
    && x.rows * x.stride * MemoryLayout<Scalar>.stride >= 1 << 17
}

/// Scalars between the rows that sums are made of and those asked for: what they take of the L1 cache leaves room for
/// the sums.
@inline(__always) private var aheadOfSums: Int { 128 * lanes }

/// Adds a block of `rows` rows to the moments of the `before` rows above it.
@_transparent
private func addBlock(
  _ block: Pointer, _ rows: Int, _ stride: Int, _ columns: Int, _ shift: Pointer, _ sum: Pointer, _ square: Pointer,
  before: Int, _ whole: PartialMoments, ahead: Bool
) {
  var first = 0
  while first < columns {
    let end = min(first + Int(LAM_CHUNK_COLUMNS), columns)
    sumsOfBlock(block, rows, stride, first, end, shift, sum, square, ahead: ahead)
    var column = first
    while column + lanes <= end {
      mergeBlock(before, rows, column, lanes, shift, sum, square, whole)
      column += lanes
    }
    if column < end { mergeBlock(before, rows, column, end - column, shift, sum, square, whole) }
    first = end
  }
}

/// A block's shift, Σd and Σd² of the columns from `first` to `end`.
@_transparent
private func sumsOfBlock(
  _ block: Pointer, _ rows: Int, _ stride: Int, _ first: Int, _ end: Int, _ shift: Pointer, _ sum: Pointer,
  _ squares: Pointer, ahead: Bool
) {
  let wholeVectors = end - lanes
  let middle = rows >= 8 ? (rows / 4 - 2) / 2 * 4 : rows
  if rows >= 8 {
    let eight = block + middle * stride
    var upcoming = eight + aheadOfSums
    var column = first
    while column <= wholeVectors {
      if ahead { askFor(8, &upcoming) }
      beginWithEightRows(eight + column, stride, shift + column, sum + column, squares + column, lanes)
      column &+= lanes
    }
    if column < end {
      beginWithEightRows(eight + column, stride, shift + column, sum + column, squares + column, end - column)
    }
  } else {
    beginWithFewRows(block, rows, stride, first, end, shift, sum, squares)
  }
  var row = 0
  while row + 4 <= rows {
    if row == middle {
      row += 8
      continue
    }
    let group = block + row * stride
    var upcoming = group + aheadOfSums
    var column = first
    while column <= wholeVectors {
      if ahead { askFor(4, &upcoming) }
      addFourRows(group + column, stride, shift + column, sum + column, squares + column, lanes)
      column &+= lanes
    }
    if column < end {
      addFourRows(group + column, stride, shift + column, sum + column, squares + column, end - column)
    }
    row += 4
  }
  while row < rows {
    let single = block + row * stride
    var column = first
    while column <= wholeVectors {
      addRow(single + column, shift + column, sum + column, squares + column, lanes)
      column &+= lanes
    }
    if column < end { addRow(single + column, shift + column, sum + column, squares + column, end - column) }
    row += 1
  }
}

/// Asks for the next `lines` lines: as many as a vector of columns takes of a group of rows, in their order in memory.
@_transparent
private func askFor(_ lines: Int, _ upcoming: inout Pointer) {
  for line in 0..<lines { lam_prefetch(upcoming + line &* lanes) }
  upcoming += lines &* lanes
}

/// The mean of the rows of a block that has fewer than eight, and sums of 0.
@_transparent
private func beginWithFewRows(
  _ block: Pointer, _ rows: Int, _ stride: Int, _ first: Int, _ end: Int, _ shift: Pointer, _ sum: Pointer,
  _ squares: Pointer
) {
  let weight = splat(1 / Scalar(rows))
  var column = first
  while column < end {
    let count = min(lanes, end - column)
    // Measured from the first row: exact where a column is constant.
    let origin = load(block + column, count)
    var distance = Vector.zero
    for row in 1..<max(rows, 1) { distance += load(block + (row * stride + column), count) - origin }
    store(shift + column, lam_multiply_add(distance, weight, origin), count)
    store(sum + column, Vector.zero, count)
    store(squares + column, Vector.zero, count)
    column += lanes
  }
}

/// The mean of eight rows, and the sums over them.
@_transparent
private func beginWithEightRows(
  _ x: Pointer, _ stride: Int, _ shift: Pointer, _ sum: Pointer, _ squares: Pointer, _ count: Int
) {
  let x0 = load(x, count)
  let x1 = load(x + stride, count)
  let x2 = load(x + 2 &* stride, count)
  let x3 = load(x + 3 &* stride, count)
  let x4 = load(x + 4 &* stride, count)
  let x5 = load(x + 5 &* stride, count)
  let x6 = load(x + 6 &* stride, count)
  let x7 = load(x + 7 &* stride, count)
  // Measured from the first row: exact where a column is constant.
  let distance = (((x1 - x0) + (x2 - x0)) + ((x3 - x0) + (x4 - x0))) + (((x5 - x0) + (x6 - x0)) + (x7 - x0))
  let s = lam_multiply_add(distance, splat(0.125), x0)
  store(shift, s, count)
  var (first, second) = (Vector.zero, Vector.zero)
  let firstSum = sumsOfFour(x0 - s, x1 - s, x2 - s, x3 - s, &first)
  let secondSum = sumsOfFour(x4 - s, x5 - s, x6 - s, x7 - s, &second)
  store(sum, firstSum + secondSum, count)
  store(squares, first + second, count)
}

/// Σd of four rows, and Σd² into `squares`.
@_transparent
private func sumsOfFour(_ d0: Vector, _ d1: Vector, _ d2: Vector, _ d3: Vector, _ squares: inout Vector) -> Vector {
  squares = lam_multiply_add(d1, d1, d0 * d0) + lam_multiply_add(d3, d3, d2 * d2)
  return (d0 + d1) + (d2 + d3)
}

@_transparent
private func addFourRows(
  _ x: Pointer, _ stride: Int, _ shift: Pointer, _ sum: Pointer, _ squares: Pointer, _ count: Int
) {
  let s = load(shift, count)
  var q = Vector.zero
  let p = sumsOfFour(
    load(x, count) - s, load(x + stride, count) - s, load(x + 2 &* stride, count) - s,
    load(x + 3 &* stride, count) - s, &q)
  store(sum, load(sum, count) + p, count)
  store(squares, load(squares, count) + q, count)
}

@_transparent
private func addRow(_ x: Pointer, _ shift: Pointer, _ sum: Pointer, _ squares: Pointer, _ count: Int) {
  let d = load(x, count) - load(shift, count)
  store(sum, load(sum, count) + d, count)
  store(squares, lam_multiply_add(d, d, load(squares, count)), count)
}

// MARK: Merging

/// Adds a block, given by its shift, Σd and Σd², to the moments of the `before` rows above it.
@inline(__always)
private func mergeBlock(
  _ before: Int, _ rows: Int, _ column: Int, _ count: Int, _ shift: Pointer, _ sum: Pointer, _ square: Pointer,
  _ whole: PartialMoments
) {
  let (blockOrigin, blockDistance, blockSquares) = blockMoments(
    rows, load(shift + column, count), load(sum + column, count), load(square + column, count))
  if before == 0 {
    storeDoubles(whole.origin + column, blockOrigin, count)
    storeDoubles(whole.distance + column, blockDistance, count)
    storeDoubles(whole.squares + column, blockSquares, count)
  } else {
    var distance = loadDoubles(whole.distance + column, count)
    var squares = loadDoubles(whole.squares + column, count)
    merge(
      rows, blockOrigin, blockDistance, blockSquares, before: before, loadDoubles(whole.origin + column, count),
      &distance, &squares)
    storeDoubles(whole.distance + column, distance, count)
    storeDoubles(whole.squares + column, squares, count)
  }
}

/// Adds the moments of `rows` rows to those of the `before` rows above them (Chan, Golub and LeVeque 1979).
@inline(__always)
private func merge(
  _ rows: Int, _ partOrigin: lam_doubles, _ partDistance: lam_doubles, _ partSquares: lam_doubles, before: Int,
  _ origin: lam_doubles, _ distance: inout lam_doubles, _ squares: inout lam_doubles
) {
  let n = Double(rows)
  let all = Double(before + rows)
  let delta = ((partOrigin - origin) + partDistance) - distance
  distance += delta * lam_splat_doubles(n / all)
  squares += partSquares + delta * delta * lam_splat_doubles(Double(before) * n / all)
}

/// The mean as two scalars and the variance.
@inline(__always)
private func finish(
  _ rows: Int, _ origin: lam_doubles, _ distance: lam_doubles, _ squares: lam_doubles, _ mean: Pointer,
  _ meanLow: Pointer, _ variance: Pointer, _ count: Int
) {
  // Knuth's two-sum: `sum + error` is origin + distance exactly.
  let sum = origin + distance
  let added = sum - origin
  let error = (origin - (sum - added)) + (distance - added)
  let high = lam_narrow(sum)
  store(mean, high, count)
  store(meanLow, lam_narrow((sum - lam_widen(high)) + error), count)
  let v = lam_max_doubles(squares, lam_splat_doubles(0)) * lam_splat_doubles(1 / Double(rows))
  store(variance, lam_narrow(v), count)
}
