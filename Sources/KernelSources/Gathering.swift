internal import CKernelShims
import KernelInterface

// Rows come in random order, which no hardware prefetcher foresees: while a row is converted, the next is asked for.
private let prefetchStep = 64

func gatherBytes(
  _ source: UnsafePointer<UInt8>, _ indices: UnsafePointer<Int32>, _ y: MatrixView<Scalar>, _ scale: Double,
  _ offset: Double
) {
  let scale = splat(Scalar(scale))
  let offset = splat(Scalar(offset))
  let columns = y.columns
  for row in 0..<y.rows {
    let from = source + Int(indices[row]) * columns
    let to = y.base + row * y.stride
    if row + 1 < y.rows { prefetch(source + Int(indices[row + 1]) * columns, columns) }
    var column = 0
    while column + lanes <= columns {
      lam_store(to + column, lam_multiply_add(lam_load_bytes(from + column), scale, offset))
      column += lanes
    }
    let rest = columns - column
    if rest > 0 {
      let value = lam_multiply_add(lam_load_bytes_partial(from + column, rest), scale, offset)
      store(to + column, value, rest)
    }
  }
}

func gatherBytesByColumn(
  _ source: UnsafePointer<UInt8>, _ indices: UnsafePointer<Int32>, _ y: MatrixView<Scalar>, _ scale: ConstPointer,
  _ offset: ConstPointer
) {
  let columns = y.columns
  for row in 0..<y.rows {
    let from = source + Int(indices[row]) * columns
    let to = y.base + row * y.stride
    if row + 1 < y.rows { prefetch(source + Int(indices[row + 1]) * columns, columns) }
    var column = 0
    while column + lanes <= columns {
      let value = lam_multiply_add(
        lam_load_bytes(from + column), lam_load(scale + column), lam_load(offset + column))
      lam_store(to + column, value)
      column += lanes
    }
    let rest = columns - column
    if rest > 0 {
      let value = lam_multiply_add(
        lam_load_bytes_partial(from + column, rest), load(scale + column, rest),
        load(offset + column, rest))
      store(to + column, value, rest)
    }
  }
}

func gatherScalars(
  _ source: ConstPointer, _ indices: UnsafePointer<Int32>, _ y: MatrixView<Scalar>, _ scale: ConstPointer?,
  _ offset: ConstPointer?
) {
  let columns = y.columns
  for row in 0..<y.rows {
    let from = source + Int(indices[row]) * columns
    let to = y.base + row * y.stride
    if row + 1 < y.rows {
      prefetch(source + Int(indices[row + 1]) * columns, columns * MemoryLayout<Scalar>.size)
    }
    var column = 0
    while column < columns {
      let rest = columns - column
      let whole = rest >= lanes
      var value = whole ? lam_load(from + column) : load(from + column, rest)
      if let scale, let offset {
        value =
          whole
          ? lam_multiply_add(value, lam_load(scale + column), lam_load(offset + column))
          : lam_multiply_add(
            value, load(scale + column, rest), load(offset + column, rest))
      }
      if whole { lam_store(to + column, value) } else { store(to + column, value, rest) }
      column += lanes
    }
  }
}

@inline(__always)
private func prefetch(_ start: UnsafeRawPointer, _ bytes: Int) {
  var offset = 0
  while offset < bytes {
    lam_prefetch(start + offset)
    offset += prefetchStep
  }
}
