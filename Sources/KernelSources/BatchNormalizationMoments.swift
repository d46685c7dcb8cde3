// Mean and variance of columns, x read from memory once.
//
// Rows are taken in blocks of 64. A block's shift is the mean of up to eight of its rows, spread evenly; the sums of
// d = x − shift and of d² then follow in one pass. Their cancellation is bounded whatever the data: a block of n rows
// of which k made the shift has at least k/n of its squared distance from the shift in its own variance. Blocks are
// merged into panels and panels into the whole in Double (Chan, Golub and LeVeque 1979), means as distances from the
// first block's shift. Rows are taken eight at a time across the whole width, and from memory in pairs.

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
    shiftOfBlock(x, rows, stride, first, end, shift)
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

/// Whether rows, one right behind the other, are taken in pairs and asked for early: from memory that pays, from the
/// caches it costs more than it brings.
@_transparent
private func asksAhead(_ x: MatrixView<Scalar>) -> Bool {
  x.columns >= longRow && x.columns <= Int(LAM_CHUNK_COLUMNS) && x.columns == x.stride
    && x.rows * x.stride * MemoryLayout<Scalar>.stride >= 1 << 21
}

/// Scalars between the rows that sums are made of and those asked for: what they take of the L1 cache leaves room for
/// the sums.
@inline(__always) var aheadOfSums: Int { 192 * lanes }

/// Adds a block of `rows` rows to the moments of the `before` rows above it.
@_transparent
private func addBlock(
  _ block: Pointer, _ rows: Int, _ stride: Int, _ columns: Int, _ shift: Pointer, _ sum: Pointer, _ square: Pointer,
  before: Int, _ whole: PartialMoments, ahead: Bool
) {
  var first = 0
  while first < columns {
    let end = min(first + Int(LAM_CHUNK_COLUMNS), columns)
    shiftOfBlock(block, rows, stride, first, end, shift)
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

/// The mean of up to eight rows of the block, measured from its first row: exact where a column is constant.
@_transparent
private func shiftOfBlock(
  _ block: Pointer, _ rows: Int, _ stride: Int, _ first: Int, _ end: Int, _ shift: Pointer
) {
  let step = (rows + 7) / 8
  let sampled = (rows + step - 1) / step
  let weight = splat(1 / Scalar(sampled))
  var column = first
  while column + lanes <= end {
    lam_store(shift + column, shiftOfStrip(block + column, sampled, step * stride, weight, lanes))
    column += lanes
  }
  if column < end {
    store(shift + column, shiftOfStrip(block + column, sampled, step * stride, weight, end - column), end - column)
  }
}

@_transparent
private func shiftOfStrip(_ x: Pointer, _ rows: Int, _ stride: Int, _ weight: Vector, _ count: Int) -> Vector {
  let first = load(x, count)
  var sum = Vector.zero
  for row in 1..<max(rows, 1) { sum += load(x + row * stride, count) - first }
  return lam_multiply_add(sum, weight, first)
}

@_transparent
private func clear(_ first: Int, _ end: Int, _ sum: Pointer, _ squares: Pointer) {
  var column = first
  while column < end {
    let count = min(lanes, end - column)
    store(sum + column, Vector.zero, count)
    store(squares + column, Vector.zero, count)
    column += lanes
  }
}

@_transparent
private func sumsOfBlock(
  _ block: Pointer, _ rows: Int, _ stride: Int, _ first: Int, _ end: Int, _ shift: Pointer, _ sum: Pointer,
  _ squares: Pointer, ahead: Bool
) {
  clear(first, end, sum, squares)
  let wholeVectors = end - lanes
  var row = 0
  while row + 8 <= rows {
    let group = block + row * stride
    if ahead {
      addGroupByPairs(group, stride, first, end, shift, sum, squares)
      row += 8
      continue
    }
    var column = first
    while column <= wholeVectors {
      addEightRows(group + column, stride, shift + column, sum + column, squares + column, lanes)
      column &+= lanes
    }
    if column < end {
      addEightRows(group + column, stride, shift + column, sum + column, squares + column, end - column)
    }
    row += 8
  }
  addRows(block, row, rows, stride, first, end, shift, sum, squares)
}

/// The rows that make no group of eight.
@_transparent
private func addRows(
  _ block: Pointer, _ firstRow: Int, _ rows: Int, _ stride: Int, _ first: Int, _ end: Int, _ shift: Pointer,
  _ sum: Pointer, _ squares: Pointer
) {
  var row = firstRow
  while row < rows {
    let single = block + row * stride
    var column = first
    while column <= end - lanes {
      addRow(single + column, shift + column, sum + column, squares + column, lanes)
      column &+= lanes
    }
    if column < end { addRow(single + column, shift + column, sum + column, squares + column, end - column) }
    row += 1
  }
}

/// Σd and Σd² of two rows, of which the group's sums are made.
@_transparent
private func pairOfRows(_ x: Pointer, _ stride: Int, _ shift: Vector, _ count: Int, _ squares: inout Vector) -> Vector {
  let d0 = load(x, count) - shift
  let d1 = load(x + stride, count) - shift
  squares = lam_multiply_add(d1, d1, d0 * d0)
  return d0 + d1
}

@_transparent
private func addEightRows(
  _ x: Pointer, _ stride: Int, _ shift: Pointer, _ sum: Pointer, _ squares: Pointer, _ count: Int
) {
  let s = load(shift, count)
  var (q0, q1, q2, q3) = (Vector.zero, Vector.zero, Vector.zero, Vector.zero)
  let p0 = pairOfRows(x, stride, s, count, &q0)
  let p1 = pairOfRows(x + 2 &* stride, stride, s, count, &q1)
  let p2 = pairOfRows(x + 4 &* stride, stride, s, count, &q2)
  let p3 = pairOfRows(x + 6 &* stride, stride, s, count, &q3)
  store(sum, load(sum, count) + (((p0 + p1) + p2) + p3), count)
  store(squares, load(squares, count) + (((q0 + q1) + q2) + q3), count)
}

/// Adds a group of eight rows by pairs, whose memory is asked for in the order in which it lies there.
///
/// Eight rows at a time are too many places for prefetchers to follow, and asked for row by row in turn they come at half
/// the rate. The sums are those of `addEightRows`.
@_transparent
private func addGroupByPairs(
  _ group: Pointer, _ stride: Int, _ first: Int, _ end: Int, _ shift: Pointer, _ sum: Pointer, _ squares: Pointer
) {
  var chunk = lam_uninitialized_chunk_pair()
  let groupSum = lam_chunk_pair_first(&chunk)!
  let groupSquares = lam_chunk_pair_second(&chunk)!
  for pair in 0..<4 {
    let rows = group + 2 &* pair &* stride
    var upcoming = rows + aheadOfSums
    var column = first
    while column <= end - lanes {
      lam_prefetch(upcoming)
      lam_prefetch(upcoming + lanes)
      upcoming += 2 &* lanes
      addPair(pair, rows, stride, column, shift, sum, squares, groupSum, groupSquares, lanes)
      column &+= lanes
    }
    if column < end {
      addPair(pair, rows, stride, column, shift, sum, squares, groupSum, groupSquares, end - column)
    }
  }
}

/// Adds pair 0 … 3 of a group of eight rows to the group's sums, and with the last these to the block's.
@_transparent
private func addPair(
  _ pair: Int, _ rows: Pointer, _ stride: Int, _ column: Int, _ shift: Pointer, _ sum: Pointer, _ squares: Pointer,
  _ groupSum: Pointer, _ groupSquares: Pointer, _ count: Int
) {
  var q = Vector.zero
  var p = pairOfRows(rows + column, stride, load(shift + column, count), count, &q)
  if pair > 0 {
    p = lam_load(groupSum + column) + p
    q = lam_load(groupSquares + column) + q
  }
  if pair < 3 {
    lam_store(groupSum + column, p)
    lam_store(groupSquares + column, q)
  } else {
    store(sum + column, load(sum + column, count) + p, count)
    store(squares + column, load(squares + column, count) + q, count)
  }
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
