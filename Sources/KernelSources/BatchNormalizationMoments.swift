// Mean and variance of columns, x read from memory once.
//
// Rows are taken in blocks of 64, whose sums of d = x − shift and of d² are made in one pass. Where a panel is one block,
// its shift is the mean of the eight rows in its middle, where a trend passes through its mean; else a panel's first block
// takes the mean of its first eight rows and every other the mean of the block before it. Where that misses a column's mean
// by much of what the column varies, the block is summed again around its mean: the cancellation is bounded whatever the
// data. Blocks are merged into panels and panels into the whole in Double (Chan, Golub and LeVeque 1979), means as
// distances from the first block's shift. Rows are taken four at a time across the whole width, few enough for
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

/// A block's shift, Σd and Σd² of each column.
private struct BlockSums {
  var shift, sum, squares: Pointer

  /// Three rows of `columns` scalars.
  @inline(__always)
  init(_ start: Pointer, columns: Int) {
    (shift, sum, squares) = (start, start + columns, start + 2 * columns)
  }

  @inline(__always)
  init(shift: Pointer, sum: Pointer, squares: Pointer) {
    (self.shift, self.sum, self.squares) = (shift, sum, squares)
  }
}

func moments(
  _ x: MatrixView<Scalar>, _ mean: Pointer, _ meanLow: Pointer, _ variance: Pointer,
  _ workspace: UnsafeMutablePointer<Double>
) {
  // Until the end `mean` holds a block's shift, `meanLow` Σd and `variance` Σd².
  let sums = BlockSums(shift: mean, sum: meanLow, squares: variance)
  let whole = PartialMoments(MatrixView(base: workspace, rows: 3, columns: x.columns))
  let panel = PartialMoments(MatrixView(base: workspace + 3 * x.columns, rows: 3, columns: x.columns))
  let panelRows = NormalizationPanels.rows(of: x.rows)
  let ahead = asksAhead(x)
  var row = 0
  while row < x.rows {
    let rows = smaller(panelRows, x.rows - row)
    let base = x.base + row * x.stride
    if panelRows == NormalizationPanels.blockRows {
      // A panel is one block: the same operations without the detour.
      addBlock(base, rows, x.stride, x.columns, sums, before: row, whole, ahead: ahead)
    } else {
      momentsOfPanel(base, rows, x.stride, x.columns, sums, row == 0 ? whole : panel, ahead: ahead)
      if row > 0 { addPanel(panel, rows: rows, to: whole, before: row, columns: x.columns) }
    }
    row += rows
  }
  var column = 0
  while column < x.columns {
    let count = smaller(lanes, x.columns - column)
    finish(
      x.rows, loadDoubles(whole.origin + column, count), loadDoubles(whole.distance + column, count),
      loadDoubles(whole.squares + column, count), mean + column, meanLow + column, variance + column, count)
    column += lanes
  }
}

func partialMoments(_ x: MatrixView<Scalar>, _ partial: MatrixView<Double>, _ scratch: Pointer) {
  let sums = BlockSums(scratch, columns: x.columns)
  if isOneBlock(x.rows) {
    sumsOfPanel(x.base, x.rows, x.stride, x.columns, sums, PartialMoments(partial), ahead: asksAhead(x))
  } else {
    momentsOfPanel(x.base, x.rows, x.stride, x.columns, sums, PartialMoments(partial), ahead: asksAhead(x))
  }
}

func mergeMoments(
  _ partials: MatrixView<Double>, _ rows: Int, _ mean: Pointer, _ meanLow: Pointer, _ variance: Pointer
) {
  let panelRows = NormalizationPanels.rows(of: rows)
  var column = 0
  while column < partials.columns {
    let count = smaller(lanes, partials.columns - column)
    var part = partials.base + column
    let first = panelMoments(part, partials.stride, smaller(panelRows, rows), count)
    var (distance, squares) = (first.distance, first.squares)
    var row = panelRows
    while row < rows {
      part += 3 &* partials.stride
      // Others have written it, and what lies in another's cache takes longest: the next columns are asked for early.
      for line in 0..<3 { lam_prefetch(part + (line &* partials.stride &+ 2 &* lanes)) }
      let next = panelMoments(part, partials.stride, smaller(panelRows, rows - row), count)
      merge(
        smaller(panelRows, rows - row), next.origin, next.distance, next.squares, before: row, first.origin, &distance,
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
  _ x: Pointer, _ rows: Int, _ stride: Int, _ columns: Int, _ sums: BlockSums, _ panel: PartialMoments, ahead: Bool
) {
  var first = 0
  while first < columns {
    let end = smaller(first + Int(LAM_CHUNK_COLUMNS), columns)
    sumsOfBlock(x, rows, stride, first, end, sums, ahead: ahead)
    var column = first
    while column < end {
      let count = smaller(lanes, end - column)
      store(scalars(at: panel.origin + column), load(sums.shift + column, count), count)
      store(scalars(at: panel.distance + column), load(sums.sum + column, count), count)
      store(scalars(at: panel.squares + column), load(sums.squares + column, count), count)
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

// MARK: Panels of several blocks

@_transparent
private func momentsOfPanel(
  _ x: Pointer, _ rows: Int, _ stride: Int, _ columns: Int, _ sums: BlockSums, _ panel: PartialMoments, ahead: Bool
) {
  if isOneBlock(rows) {
    addBlock(x, rows, stride, columns, sums, before: 0, panel, ahead: ahead)
    return
  }
  if ahead && rows * columns * MemoryLayout<Scalar>.stride >= 1 << 20 {
    momentsFromMemory(x, rows, columns, sums, panel)
    return
  }
  var row = 0
  while row < rows {
    let count = smaller(NormalizationPanels.blockRows, rows - row)
    let block = x + row * stride
    var first = 0
    while first < columns {
      let end = smaller(first + Int(LAM_CHUNK_COLUMNS), columns)
      if row == 0 {
        beginBlock(block, count, stride, first, end, sums, ahead: ahead)
      } else {
        beginBlock(after: sums, first, end, sums)
      }
      addRows(block, row == 0 ? 8 : 0, count, stride, first, end, sums, ahead: ahead)
      recenter(block, count, stride, first, end, sums)
      mergeBlock(row, count, first, end, sums, panel)
      first = end
    }
    row += count
  }
}

/// The same of a panel of which 16 do not fit the caches, its rows one right behind the other.
///
/// Rows are asked for two times, because a core forgets what it is asked for while it waits for much else; and a block is
/// merged piece by piece while the next is summed, because no row arrives while a whole one is.
@inline(__always)
private func momentsFromMemory(
  _ x: Pointer, _ rows: Int, _ columns: Int, _ scratch: BlockSums, _ panel: PartialMoments
) {
  var chunk = lam_uninitialized_chunk_triple()
  var current = BlockSums(lam_chunk_triple_start(&chunk)!, columns: Int(LAM_CHUNK_COLUMNS))
  var finished = scratch
  // Of a block's 16 fours of rows each comes with a sixteenth of the block before it.
  let slice = ((columns + lanes - 1) / lanes + 15) / 16 * lanes
  var (row, before) = (0, 0)
  while row < rows {
    let count = smaller(NormalizationPanels.blockRows, rows - row)
    let block = x + row * columns
    if row == 0 {
      beginBlock(block, count, columns, 0, columns, current, ahead: true)
      addRows(block, 8, count, columns, 0, columns, current, ahead: true, again: true)
    } else {
      beginBlock(after: finished, 0, columns, current)
      var (done, merged) = (0, 0)
      while done + 4 <= count {
        addRows(block, done, done + 4, columns, 0, columns, current, ahead: true, again: true)
        let end = smaller(merged + slice, columns)
        mergeBlock(before, row - before, merged, end, finished, panel)
        (done, merged) = (done + 4, end)
      }
      addRows(block, done, count, columns, 0, columns, current, ahead: false)
      mergeBlock(before, row - before, merged, columns, finished, panel)
    }
    recenter(block, count, columns, 0, columns, current)
    (current, finished) = (finished, current)
    before = row
    row += count
  }
  mergeBlock(before, rows - before, 0, columns, finished, panel)
}

/// Adds the moments of `panel`, of `rows` rows, to those of the `before` rows above it.
@_transparent
private func addPanel(
  _ panel: PartialMoments, rows: Int, to whole: PartialMoments, before: Int, columns: Int
) {
  var column = 0
  while column < columns {
    let count = smaller(lanes, columns - column)
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

/// Adds a block that is a panel, of `rows` rows, to the moments of the `before` rows above it.
@_transparent
private func addBlock(
  _ block: Pointer, _ rows: Int, _ stride: Int, _ columns: Int, _ sums: BlockSums, before: Int,
  _ whole: PartialMoments, ahead: Bool
) {
  var first = 0
  while first < columns {
    let end = smaller(first + Int(LAM_CHUNK_COLUMNS), columns)
    sumsOfBlock(block, rows, stride, first, end, sums, ahead: ahead)
    mergeBlock(before, rows, first, end, sums, whole)
    first = end
  }
}

/// Shift, Σd and Σd² of a block that is a panel, in the columns from `first` to `end`.
@_transparent
private func sumsOfBlock(
  _ block: Pointer, _ rows: Int, _ stride: Int, _ first: Int, _ end: Int, _ sums: BlockSums, ahead: Bool
) {
  let middle = rows >= 8 ? (rows / 4 - 2) / 2 * 4 : 0
  beginBlock(block + middle * stride, rows, stride, first, end, sums, ahead: ahead)
  addRows(block, 0, middle, stride, first, end, sums, ahead: ahead)
  addRows(block, middle + 8, rows, stride, first, end, sums, ahead: ahead)
  // Of 32 rows the eight that made the shift are a quarter, and no more than the rest can cancel.
  if rows > 32 { recenter(block, rows, stride, first, end, sums) }
}

/// The shift by eight rows, and the sums over them; of a block that has fewer, the shift by all and sums of 0.
@_transparent
private func beginBlock(
  _ eight: Pointer, _ rows: Int, _ stride: Int, _ first: Int, _ end: Int, _ sums: BlockSums, ahead: Bool
) {
  guard rows >= 8 else {
    beginWithFewRows(eight, rows, stride, first, end, sums)
    return
  }
  var upcoming = eight + aheadOfSums
  var column = first
  while column <= end - lanes {
    if ahead { askFor(8, &upcoming) }
    beginWithEightRows(eight + column, stride, column, sums, lanes)
    column &+= lanes
  }
  if column < end { beginWithEightRows(eight + column, stride, column, sums, end - column) }
}

/// The shift by the mean of the block before it, which was a whole one, and sums of 0.
@_transparent
private func beginBlock(after previous: BlockSums, _ first: Int, _ end: Int, _ sums: BlockSums) {
  let weight = splat(1 / Scalar(NormalizationPanels.blockRows))
  var column = first
  while column < end {
    let count = smaller(lanes, end - column)
    let mean = lam_multiply_add(load(previous.sum + column, count), weight, load(previous.shift + column, count))
    begin(shift: mean, column, sums, count)
    column += lanes
  }
}

/// A shift, and sums of 0.
@_transparent
private func begin(shift: Vector, _ column: Int, _ sums: BlockSums, _ count: Int) {
  store(sums.shift + column, shift, count)
  store(sums.sum + column, Vector.zero, count)
  store(sums.squares + column, Vector.zero, count)
}

/// Adds the rows from `row` to `last` of a block to its sums.
@_transparent
private func addRows(
  _ block: Pointer, _ row: Int, _ last: Int, _ stride: Int, _ first: Int, _ end: Int, _ sums: BlockSums, ahead: Bool,
  again: Bool = false
) {
  var row = row
  while row + 4 <= last {
    let group = block + row * stride
    var near = group + aheadOfSums
    var far = near + aheadOfSums
    var column = first
    while column <= end - lanes {
      if again { askFor(4, &far) }
      if ahead { askFor(4, &near) }
      addFourRows(group + column, stride, column, sums, lanes)
      column &+= lanes
    }
    if column < end { addFourRows(group + column, stride, column, sums, end - column) }
    row += 4
  }
  while row < last {
    addRow(block + row * stride, first, end, sums)
    row += 1
  }
}

@_transparent
private func addRow(_ row: Pointer, _ first: Int, _ end: Int, _ sums: BlockSums) {
  var column = first
  while column <= end - lanes {
    addRow(row + column, column, sums, lanes)
    column &+= lanes
  }
  if column < end { addRow(row + column, column, sums, end - column) }
}

/// Asks for the next `lines` lines: as many as a vector of columns takes of a group of rows, in their order in memory.
@_transparent
private func askFor(_ lines: Int, _ upcoming: inout Pointer) {
  for line in 0..<lines { lam_prefetch(upcoming + line &* lanes) }
  upcoming += lines &* lanes
}

/// The mean of the rows of a block that has fewer than eight, and sums over them.
@_transparent
private func beginWithFewRows(
  _ block: Pointer, _ rows: Int, _ stride: Int, _ first: Int, _ end: Int, _ sums: BlockSums
) {
  let weight = splat(1 / Scalar(rows))
  var column = first
  while column < end {
    let count = smaller(lanes, end - column)
    // Measured from the first row: exact where a column is constant.
    let origin = load(block + column, count)
    var distance = Vector.zero
    var row = 1
    while row < rows {
      distance += load(block + (row * stride + column), count) - origin
      row += 1
    }
    begin(shift: lam_multiply_add(distance, weight, origin), column, sums, count)
    column += lanes
  }
  addRows(block, 0, rows, stride, first, end, sums, ahead: false)
}

/// The mean of eight rows, and the sums over them.
@_transparent
private func beginWithEightRows(_ x: Pointer, _ stride: Int, _ column: Int, _ sums: BlockSums, _ count: Int) {
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
  store(sums.shift + column, s, count)
  var (first, second) = (Vector.zero, Vector.zero)
  let firstSum = sumsOfFour(x0 - s, x1 - s, x2 - s, x3 - s, &first)
  let secondSum = sumsOfFour(x4 - s, x5 - s, x6 - s, x7 - s, &second)
  store(sums.sum + column, firstSum + secondSum, count)
  store(sums.squares + column, first + second, count)
}

/// Σd of four rows, and Σd² into `squares`.
@_transparent
private func sumsOfFour(_ d0: Vector, _ d1: Vector, _ d2: Vector, _ d3: Vector, _ squares: inout Vector) -> Vector {
  squares = lam_multiply_add(d1, d1, d0 * d0) + lam_multiply_add(d3, d3, d2 * d2)
  return (d0 + d1) + (d2 + d3)
}

/// Sums those columns from `first` to `end` again whose shift lies so far from their mean that more than three quarters of
/// Σd² would cancel: what is left then has at most four times the error of the sum.
@_transparent
private func recenter(
  _ block: Pointer, _ rows: Int, _ stride: Int, _ first: Int, _ end: Int, _ sums: BlockSums
) {
  var bits: UInt32 = 0
  var column = first
  while column <= end - lanes {
    bits |= lam_bits_above(cancelled(rows, column, lanes, sums), 0)
    column &+= lanes
  }
  if column < end { bits |= lam_bits_above(cancelled(rows, column, end - column, sums), 0) }
  if bits != 0 { sumAgain(block, rows, stride, first, end, sums) }
}

/// What more than three quarters of n·Σd² would cancel.
@inline(__always)
private func cancelled(_ rows: Int, _ column: Int, _ count: Int, _ sums: BlockSums) -> Vector {
  let sum = load(sums.sum + column, count)
  return lam_multiply_add(sum, sum, splat(-0.75 * Scalar(rows)) * load(sums.squares + column, count))
}

@inline(never)
private func sumAgain(_ block: Pointer, _ rows: Int, _ stride: Int, _ first: Int, _ end: Int, _ sums: BlockSums) {
  var column = first
  while column < end {
    let count = smaller(lanes, end - column)
    let excess = cancelled(rows, column, count, sums)
    if lam_bits_above(excess, 0) != 0 {
      let shift = load(sums.shift + column, count)
      let sum = load(sums.sum + column, count)
      let squares = load(sums.squares + column, count)
      begin(shift: lam_multiply_add(sum, splat(1 / Scalar(rows)), shift), column, sums, count)
      addRows(block, 0, rows, stride, column, column + count, sums, ahead: false)
      // The others keep what they had: a column's bits must not depend on its neighbors.
      keep(shift, in: sums.shift + column, excess, count)
      keep(sum, in: sums.sum + column, excess, count)
      keep(squares, in: sums.squares + column, excess, count)
    }
    column += lanes
  }
}

@inline(__always)
private func keep(_ old: Vector, in new: Pointer, _ excess: Vector, _ count: Int) {
  store(new, lam_select_less(Vector.zero, excess, load(new, count), old), count)
}

@_transparent
private func addFourRows(_ x: Pointer, _ stride: Int, _ column: Int, _ sums: BlockSums, _ count: Int) {
  let s = load(sums.shift + column, count)
  var q = Vector.zero
  // −d: x is read by the instruction that subtracts it.
  let p = sumsOfFour(
    s - load(x, count), s - load(x + stride, count), s - load(x + 2 &* stride, count),
    s - load(x + 3 &* stride, count), &q)
  store(sums.sum + column, load(sums.sum + column, count) - p, count)
  store(sums.squares + column, load(sums.squares + column, count) + q, count)
}

@_transparent
private func addRow(_ x: Pointer, _ column: Int, _ sums: BlockSums, _ count: Int) {
  let d = load(sums.shift + column, count) - load(x, count)
  store(sums.sum + column, load(sums.sum + column, count) - d, count)
  store(sums.squares + column, lam_multiply_add(d, d, load(sums.squares + column, count)), count)
}

// MARK: Merging

/// Adds the columns from `first` to `end` of a block of `rows` rows to the moments of the `before` rows above it.
@_transparent
private func mergeBlock(
  _ before: Int, _ rows: Int, _ first: Int, _ end: Int, _ sums: BlockSums, _ whole: PartialMoments
) {
  var column = first
  while column <= end - lanes {
    mergeVector(before, rows, column, lanes, sums, whole)
    column += lanes
  }
  if column < end { mergeVector(before, rows, column, end - column, sums, whole) }
}

@inline(__always)
private func mergeVector(
  _ before: Int, _ rows: Int, _ column: Int, _ count: Int, _ sums: BlockSums, _ whole: PartialMoments
) {
  let (blockOrigin, blockDistance, blockSquares) = blockMoments(
    rows, load(sums.shift + column, count), load(sums.sum + column, count), load(sums.squares + column, count))
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
