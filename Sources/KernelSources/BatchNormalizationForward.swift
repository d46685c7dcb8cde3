internal import CKernelShims
import KernelInterface

func inverseDeviation(_ variance: ConstPointer, _ epsilon: Double, _ result: Pointer, _ count: Int) {
  var i = 0
  while i < count {
    let rest = smaller(lanes, count - i)
    store(result + i, constant(1) / lam_sqrt(load(variance + i, rest) + splat(Scalar(epsilon))), rest)
    i += lanes
  }
}

func updateMovingAverage(_ moving: Pointer, _ batch: ConstPointer, _ momentum: Double, _ count: Int) {
  let old = splat(Scalar(momentum))
  let new = splat(Scalar(1 - momentum))
  var i = 0
  while i < count {
    let rest = smaller(lanes, count - i)
    store(moving + i, lam_multiply_add(old, load(moving + i, rest), new * load(batch + i, rest)), rest)
    i += lanes
  }
}

// MARK: Normalization

func normalize(
  _ x: MatrixView<Scalar>, _ mean: ConstPointer, _ meanLow: ConstPointer, _ inverseDeviation: ConstPointer,
  _ gamma: ConstPointer?, _ beta: ConstPointer?, _ y: MatrixView<Scalar>, _ relu: Bool, _ mask: BitMatrixView?,
  _ streaming: Bool
) {
  var chunk = lam_uninitialized_chunk_triple()
  let parameters = lam_chunk_triple_start(&chunk)!
  let streams = streaming && canStream(y)
  var first = 0
  while first < x.columns {
    let columns = smaller(Int(LAM_CHUNK_COLUMNS), x.columns - first)
    var column = 0
    while column < columns {
      let count = smaller(lanes, columns - column)
      var factor = load(inverseDeviation + (first + column), count)
      if let gamma { factor *= load(gamma + (first + column), count) }
      let low = load(meanLow + (first + column), count)
      let place = parameters + 3 * column
      lam_store(place, load(mean + (first + column), count))
      lam_store(place + lanes, -factor)
      lam_store(place + 2 * lanes, lam_multiply_add(-low, factor, load(beta, first + column, count)))
      column += lanes
    }
    let problem = Normalization(
      x: x.base + first, xStride: x.stride, y: y.base + first, yStride: y.stride, rows: x.rows, columns: columns,
      parameters: parameters, floor: relu ? Vector.zero : splat(-Scalar.infinity),
      mask: (mask?.base ?? UnsafeMutablePointer(bitPattern: 64)!) + first / 8, maskStride: mask?.stride ?? 0)
    if mask != nil {
      if streams { problem.run(masked: true, streaming: true) } else { problem.run(masked: true, streaming: false) }
    } else {
      if streams { problem.run(masked: false, streaming: true) } else { problem.run(masked: false, streaming: false) }
    }
    first += columns
  }
  if streams { lam_end_streaming() }
}

/// Whether every whole vector of the matrix is a cache line.
@inline(__always)
func canStream(_ y: MatrixView<Scalar>) -> Bool {
  UInt(bitPattern: y.base) % 64 == 0 && y.stride % lanes == 0
}

/// Scalars between what a streaming pass reads and what it asks for.
@inline(__always) var aheadOfStream: Int { 64 * lanes }

/// Rows of the blocks that a second pass takes from the last to the first.
///
/// So it begins with what the L2 cache still holds of the first pass. Of much more than that cache nothing is left, and
/// all rows are one block: in the order in which they lie in memory they are read up to a tenth faster.
@inline(__always)
func rowsOfPass(_ rows: Int, columns: Int) -> Int {
  rows * columns * MemoryLayout<Scalar>.stride > 4 << 20 ? rows : NormalizationPanels.blockRows
}

/// Columns from which rows are worked on one by one.
@inline(__always) var longRow: Int { 16 * lanes }

// `@_transparent` here and in the passes beside it: merely asked to inline, the compiler keeps one loop for all flags,
// which asks of every vector whether there is a mask and whether to stream.

/// A chunk of columns: y = (mean − x)·−scale + offset, where offset = β − meanLow·scale.
private struct Normalization {
  var x: Pointer
  var xStride: Int
  var y: Pointer
  var yStride: Int
  var rows: Int
  var columns: Int
  /// Mean, −scale and offset of each vector of columns side by side: apart, they would lie in the same lines of the L1
  /// cache as the rows.
  var parameters: Pointer
  /// 0 with ReLU, else −∞.
  var floor: Vector
  var mask: UnsafeMutablePointer<UInt8>
  var maskStride: Int

  /// Blocks of rows from the last to the first: the moments before it ended with the last, which the cache still holds.
  @_transparent
  func run(masked: Bool, streaming: Bool) {
    // Long rows one by one, which prefetchers follow best; short ones in pairs, which load the parameters half as often.
    let pairs = columns < longRow
    let fours = !streaming && lam_takes_four_rows() != 0
    let blockRows = rowsOfPass(rows, columns: columns)
    var end = rows
    while end > 0 {
      let first = (end - 1) / blockRows * blockRows
      var row = first
      while fours && row + 4 <= end {
        fourRows(row, masked: masked)
        row += 4
      }
      while pairs && row + 2 <= end {
        pairOfRows(row, masked: masked, streaming: streaming)
        row += 2
      }
      while row < end {
        singleRow(row, inFours: !pairs, masked: masked, streaming: streaming)
        row += 1
      }
      end = first
    }
  }

  /// One row, four vectors at a time where it is long.
  @_transparent
  func singleRow(_ row: Int, inFours: Bool, masked: Bool, streaming: Bool) {
    let from = x + row &* xStride
    let to = y + row &* yStride
    let bits = mask + row &* maskStride
    var column = 0
    while inFours && column <= columns &- 4 &* lanes {
      if streaming {
        for part in 0..<4 { lam_prefetch(from + (column &+ part &* lanes &+ aheadOfStream)) }
      }
      let v0 = value(from + column, parameters(of: column), lanes)
      let v1 = value(from + (column &+ lanes), parameters(of: column &+ lanes), lanes)
      let v2 = value(from + (column &+ 2 &* lanes), parameters(of: column &+ 2 &* lanes), lanes)
      let v3 = value(from + (column &+ 3 &* lanes), parameters(of: column &+ 3 &* lanes), lanes)
      if masked { lam_store_bits_of_four(bits + column / 8, v0, v1, v2, v3) }
      write(v0, to + column, lanes, streaming: streaming)
      write(v1, to + (column &+ lanes), lanes, streaming: streaming)
      write(v2, to + (column &+ 2 &* lanes), lanes, streaming: streaming)
      write(v3, to + (column &+ 3 &* lanes), lanes, streaming: streaming)
      column &+= 4 &* lanes
    }
    while column <= columns &- lanes {
      if streaming { lam_prefetch(from + (column &+ aheadOfStream)) }
      let v = value(from + column, parameters(of: column), lanes)
      if masked { lam_store_bits(bits + column / 8, lam_bits_not_below_or_zero(v)) }
      write(v, to + column, lanes, streaming: streaming)
      column &+= lanes
    }
    if column < columns {
      let v = value(from + column, parameters(of: column), columns &- column)
      if masked { lam_store_bits(bits + column / 8, lam_bits_not_below_or_zero(v)) }
      write(v, to + column, columns &- column, streaming: false)
    }
  }

  /// Two rows, for which parameters are loaded once.
  @_transparent
  func pairOfRows(_ row: Int, masked: Bool, streaming: Bool) {
    var column = 0
    while column <= columns &- lanes {
      partOfPair(row, column, lanes, masked: masked, streaming: streaming)
      column &+= lanes
    }
    if column < columns { partOfPair(row, column, columns &- column, masked: masked, streaming: false) }
  }

  @_transparent
  func partOfPair(_ row: Int, _ column: Int, _ count: Int, masked: Bool, streaming: Bool) {
    let from = x + (row &* xStride &+ column)
    let to = y + (row &* yStride &+ column)
    let bits = mask + (row &* maskStride &+ column / 8)
    if streaming {
      lam_prefetch(from + aheadOfStream)
      lam_prefetch(from + (xStride &+ aheadOfStream))
    }
    let vectors = parameters(of: column)
    let v0 = value(from, vectors, count)
    let v1 = value(from + xStride, vectors, count)
    if masked {
      lam_store_bits(bits, lam_bits_not_below_or_zero(v0))
      lam_store_bits(bits + maskStride, lam_bits_not_below_or_zero(v1))
    }
    write(v0, to, count, streaming: streaming)
    write(v1, to + yStride, count, streaming: streaming)
  }

  /// Four rows, for which parameters are loaded once.
  @_transparent
  func fourRows(_ row: Int, masked: Bool) {
    let from = x + row &* xStride
    let to = y + row &* yStride
    let bits = mask + row &* maskStride
    var column = 0
    while column <= columns &- lanes {
      partOfFour(from + column, to + column, bits + column / 8, parameters(of: column), lanes, masked: masked)
      column &+= lanes
    }
    if column < columns {
      partOfFour(
        from + column, to + column, bits + column / 8, parameters(of: column), columns &- column, masked: masked)
    }
  }

  @_transparent
  func partOfFour(
    _ from: Pointer, _ to: Pointer, _ bits: UnsafeMutablePointer<UInt8>, _ p: Vectors, _ count: Int, masked: Bool
  ) {
    for row in 0..<4 {
      let v = value(from + row &* xStride, p, count)
      if masked { lam_store_bits(bits + row &* maskStride, lam_bits_not_below_or_zero(v)) }
      write(v, to + row &* yStride, count, streaming: false)
    }
  }

  struct Vectors {
    var mean, negativeScale, offset: Vector
  }

  @_transparent
  func parameters(of column: Int) -> Vectors {
    let place = parameters + 3 &* column
    return Vectors(
      mean: lam_load(place), negativeScale: lam_load(place + lanes), offset: lam_load(place + 2 &* lanes))
  }

  /// x is taken from the mean, and not the mean from x: so it is read by the instruction that subtracts it.
  @_transparent
  func value(_ from: Pointer, _ p: Vectors, _ count: Int) -> Vector {
    lam_multiply_add(p.mean - load(from, count), p.negativeScale, p.offset)
  }

  @_transparent
  func write(_ v: Vector, _ to: Pointer, _ count: Int, streaming: Bool) {
    if streaming { lam_store_streaming(to, lam_max(v, floor)) } else { store(to, lam_max(v, floor), count) }
  }
}
