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

func normalize(
  _ x: MatrixView<Scalar>, _ mean: ConstPointer, _ meanLow: ConstPointer, _ inverseDeviation: ConstPointer,
  _ gamma: ConstPointer?, _ beta: ConstPointer?, _ y: MatrixView<Scalar>, _ relu: Bool, _ mask: BitMatrixView?,
  _ streaming: Bool
) {
  var chunk = lam_uninitialized_chunk_pair()
  let scale = lam_chunk_pair_first(&chunk)!
  let offset = lam_chunk_pair_second(&chunk)!
  let streams = streaming && canStream(y)
  var first = 0
  while first < x.columns {
    let columns = min(Int(LAM_CHUNK_COLUMNS), x.columns - first)
    var column = 0
    while column < columns {
      let count = min(lanes, columns - column)
      var factor = load(inverseDeviation + (first + column), count)
      if let gamma { factor *= load(gamma + (first + column), count) }
      let low = load(meanLow + (first + column), count)
      lam_store(scale + column, factor)
      lam_store(offset + column, lam_multiply_add(-low, factor, load(beta, first + column, count)))
      column += lanes
    }
    let problem = Normalization(
      x: x.base + first, xStride: x.stride, y: y.base + first, yStride: y.stride, rows: x.rows, columns: columns,
      mean: mean + first, scale: scale, offset: offset, floor: relu ? Vector.zero : splat(-Scalar.infinity),
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

/// Columns from which rows are worked on one by one.
@inline(__always) var longRow: Int { 16 * lanes }

// `@_transparent` here and in the passes beside it: merely asked to inline, the compiler keeps one loop for all flags,
// which asks of every vector whether there is a mask and whether to stream.

/// A chunk of columns: y = (x − mean)·scale + offset, where offset = β − meanLow·scale.
private struct Normalization {
  var x: Pointer
  var xStride: Int
  var y: Pointer
  var yStride: Int
  var rows: Int
  var columns: Int
  var mean: ConstPointer
  var scale: Pointer
  var offset: Pointer
  /// 0 with ReLU, else −∞.
  var floor: Vector
  var mask: UnsafeMutablePointer<UInt8>
  var maskStride: Int

  /// Blocks of rows from the last to the first: the moments before it ended with the last, which the cache still holds.
  @_transparent
  func run(masked: Bool, streaming: Bool) {
    // Long rows one by one, which prefetchers follow best; short ones in pairs, which load the parameters half as often.
    let pairs = columns < longRow
    var end = rows
    while end > 0 {
      let first = (end - 1) / NormalizationPanels.blockRows * NormalizationPanels.blockRows
      var row = first
      while pairs && row + 2 <= end {
        group(row, 2, masked: masked, streaming: streaming)
        row += 2
      }
      while row < end {
        group(row, 1, masked: masked, streaming: streaming)
        row += 1
      }
      end = first
    }
  }

  @_transparent
  func group(_ row: Int, _ rows: Int, masked: Bool, streaming: Bool) {
    let from = x + row * xStride
    let to = y + row * yStride
    let bits = mask + row * maskStride
    let wholeVectors = columns - lanes
    var column = 0
    while column <= wholeVectors {
      strip(from, to, bits, rows, column, lanes, masked: masked, streaming: streaming)
      column &+= lanes
    }
    if column < columns {
      strip(from, to, bits, rows, column, columns - column, masked: masked, streaming: false)
    }
  }

  @_transparent
  func strip(
    _ from: Pointer, _ to: Pointer, _ bits: UnsafeMutablePointer<UInt8>, _ rows: Int, _ column: Int, _ count: Int,
    masked: Bool, streaming: Bool
  ) {
    let mean = load(mean + column, count)
    let scale = lam_load(scale + column)
    let offset = lam_load(offset + column)
    for row in 0..<rows {
      if streaming { lam_prefetch(from + (row &* xStride &+ column &+ aheadOfStream)) }
      let v = lam_multiply_add(load(from + (row &* xStride &+ column), count) - mean, scale, offset)
      if masked { lam_store_bits(bits + (row &* maskStride &+ column / 8), lam_bits_not_below_or_zero(v)) }
      let y = to + (row &* yStride &+ column)
      if streaming { lam_store_streaming(y, lam_max(v, floor)) } else { store(y, lam_max(v, floor), count) }
    }
  }
}
