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

/// `rows` rows from `x`, at most a block, with every panel.
@inline(__always)
private func multiplyBlock(
  _ rows: Int, _ x: ConstPointer, _ xStride: Int, _ packed: ConstPointer, _ depth: Int, _ y: Pointer, _ yStride: Int,
  _ units: Int
) {
  let (rowCount, k) = (Int64(rows), Int64(depth))
  let (fromStride, toStride) = (Int64(xStride), Int64(yStride))
  var panel = packed
  var column = 0
  if rows == 1 {
    let width = Int(lam_row_panels()) * panelColumns
    while column + width <= units {
      lam_multiply_row(x, fromStride, panel, k, y + column, toStride, Int64(width))
      panel += width * depth
      column += width
    }
  } else if rows == 2 {
    let width = Int(lam_pair_panels()) * panelColumns
    while column + width <= units {
      lam_multiply_pair(x, fromStride, panel, k, y + column, toStride, Int64(width))
      panel += width * depth
      column += width
    }
  }
  while column < units {
    let rest = units - column
    let width = panelWidth(rest)
    if width == panelColumns {
      lam_multiply_block(rowCount, x, fromStride, panel, k, y + column, toStride, Int64(rest))
    } else {
      lam_multiply_narrow_block(rowCount, x, fromStride, panel, k, y + column, toStride, Int64(rest))
    }
    panel += width * depth
    column += width
  }
}

func multiplyPanels(_ x: MatrixView<Scalar>, _ packed: ConstPointer, _ y: MatrixView<Scalar>) {
  let most = Int(lam_block_rows())
  // About equal blocks: a last one of few rows would wait for the latency of its sums.
  var blocks = (x.rows + most - 1) / most
  var row = 0
  while row < x.rows {
    let rows = (x.rows - row + blocks - 1) / blocks
    multiplyBlock(
      rows, x.base + row * x.stride, x.stride, packed, x.columns, y.base + row * y.stride, y.stride, y.columns)
    row += rows
    blocks -= 1
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
