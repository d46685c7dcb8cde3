internal import CKernelShims
import KernelInterface

/// Columns of a whole panel.
@inline(__always) private var panelColumns: Int { Int(lam_panel_columns()) }

/// Width of the panel that begins where `rest` columns remain: a single vector for the last few.
@inline(__always)
private func panelWidth(_ rest: Int) -> Int { rest <= lanes ? lanes : panelColumns }

func productBlockRows() -> Int { Int(lam_block_rows()) }

func packedPanelCount(_ inputs: Int, _ units: Int) -> Int {
  let rest = units % panelColumns
  return inputs * (units - rest + (rest == 0 ? 0 : panelWidth(rest)))
}

func packPanels(_ w: MatrixView<Scalar>, _ packed: Pointer) {
  var to = packed
  var column = 0
  while column < w.columns {
    let width = panelWidth(w.columns - column)
    var from = w.base + column
    for _ in 0..<w.rows {
      var part = 0
      while part < width {
        let rest = min(lanes, w.columns - column - part)
        lam_store(to + part, rest > 0 ? load(from + part, rest) : Vector.zero)
        part += lanes
      }
      from += w.stride
      to += width
    }
    column += width
  }
}

func multiplyPanels(_ x: MatrixView<Scalar>, _ packed: ConstPointer, _ y: MatrixView<Scalar>) {
  #if LAMINA_SIX_ROWS
    if lam_looks_for_zeros(Int64(x.columns), Int64(y.columns)) != 0, x.rows <= 4 * Int(lam_block_rows()),
      y.columns >= columnsTogether(x.rows)
    {
      var places = lam_uninitialized_block_places()
      if listZeros(x, &places) { return multiplyListedPanels(x, packed, y, &places) }
    }
  #endif
  multiplyAllTerms(x, packed, y)
}

#if LAMINA_SIX_ROWS

  /// Columns that a listed product of so many rows takes at once.
  @inline(__always)
  private func columnsTogether(_ rows: Int) -> Int {
    (rows == 1 ? Int(lam_row_panels()) : rows == 2 ? Int(lam_pair_panels()) : 1) * panelColumns
  }

  /// Lists the terms of each block of rows of which one row is not zero; whether that pays for all.
  @inline(__always)
  private func listZeros(_ x: MatrixView<Scalar>, _ places: inout lam_block_places) -> Bool {
    var left = lam_rows_in_blocks(Int64(x.rows), lam_block_rows())
    var (row, block) = (0, Int64(0))
    while case let rows = lam_next_rows(&left), rows > 0 {
      let from = x.base + row * x.stride
      let pays = lam_list_fours(from, Int64(x.stride), rows, Int64(x.columns), lam_places_of_block(&places, block))
      if pays == 0 { return false }
      row += Int(rows)
      block += 1
    }
    return true
  }

  /// y = x·W by those terms.
  private func multiplyListedPanels(
    _ x: MatrixView<Scalar>, _ packed: ConstPointer, _ y: MatrixView<Scalar>, _ places: inout lam_block_places
  ) {
    let width = columnsTogether(x.rows)
    var panel = packed
    var column = 0
    while column < y.columns {
      if x.rows <= 2, column + width > y.columns {
        return multiplyAllTerms(x, panel, y.columns(column..<y.columns))
      }
      var left = lam_rows_in_blocks(Int64(x.rows), lam_block_rows())
      var (row, block) = (0, Int64(0))
      while case let rows = lam_next_rows(&left), rows > 0 {
        lam_multiply_listed_block(
          rows, x.base + row * x.stride, Int64(x.stride), panel, Int64(x.columns), lam_places_of_block(&places, block),
          y.base + row * y.stride + column, Int64(y.stride), Int64(y.columns - column))
        row += Int(rows)
        block += 1
      }
      panel += width * x.columns
      column += width
    }
  }

#endif

private func multiplyAllTerms(_ x: MatrixView<Scalar>, _ packed: ConstPointer, _ y: MatrixView<Scalar>) {
  let (depth, units) = (x.columns, y.columns)
  let k = Int64(depth)
  let (fromStride, toStride) = (Int64(x.stride), Int64(y.stride))
  var panel = packed
  var column = 0
  // Several panels at once where the rows are too few to fill the registers with sums.
  if x.rows == 1 {
    let width = Int(lam_row_panels()) * panelColumns
    while column + width <= units {
      lam_multiply_row(x.base, fromStride, panel, k, y.base + column, toStride, Int64(width))
      panel += width * depth
      column += width
    }
    let half = width / 2
    if column + half <= units {
      lam_multiply_half_row(x.base, fromStride, panel, k, y.base + column, toStride, Int64(half))
      panel += half * depth
      column += half
    }
  } else if x.rows == 2 {
    let width = Int(lam_pair_panels()) * panelColumns
    while column + width <= units {
      lam_multiply_pair(x.base, fromStride, panel, k, y.base + column, toStride, Int64(width))
      panel += width * depth
      column += width
    }
  }
  while column < units {
    let rest = units - column
    let width = panelWidth(rest)
    var left = lam_rows_in_blocks(Int64(x.rows), lam_block_rows())
    var row = 0
    while case let rows = Int(lam_next_rows(&left)), rows > 0 {
      let (from, to) = (x.base + row * x.stride, y.base + row * y.stride + column)
      if width == panelColumns {
        lam_multiply_block(Int64(rows), from, fromStride, panel, k, to, toStride, Int64(rest))
      } else {
        lam_multiply_narrow_block(Int64(rows), from, fromStride, panel, k, to, toStride, Int64(rest))
      }
      row += rows
    }
    panel += width * depth
    column += width
  }
}

func scaleMatrix(
  _ w: MatrixView<Scalar>, _ rowFactors: UnsafePointer<Double>?, _ columnFactors: UnsafePointer<Double>?,
  _ y: MatrixView<Scalar>
) {
  for row in 0..<w.rows {
    let from = w.base + row * w.stride
    let to = y.base + row * y.stride
    let factor = rowFactors.map { $0[row] } ?? 1
    if let columnFactors {
      for column in 0..<w.columns { to[column] = Scalar(Double(from[column]) * factor * columnFactors[column]) }
    } else {
      for column in 0..<w.columns { to[column] = Scalar(Double(from[column]) * factor) }
    }
  }
}

func addRowCombination(
  _ factors: UnsafePointer<Double>, _ w: MatrixView<Scalar>, _ sums: UnsafeMutablePointer<Double>
) {
  for row in 0..<w.rows {
    let from = w.base + row * w.stride
    let factor = factors[row]
    for column in 0..<w.columns { sums[column] += factor * Double(from[column]) }
  }
}
