internal import CKernelShims
import KernelInterface

/// y = xᵀ, square by square: a square's rows are loaded, exchanged in registers and stored; those of `next` are asked for.
func transpose(_ x: MatrixView<Scalar>, _ y: MatrixView<Scalar>, _ next: ConstPointer?) {
  var row = 0
  while row < x.rows {
    let rows = x.rows - row < lanes ? x.rows - row : lanes
    var column = 0
    while column < x.columns {
      let columns = x.columns - column < lanes ? x.columns - column : lanes
      let place = row * x.stride + column
      if let next {
        for line in 0..<rows { lam_prefetch(next + (place + line * x.stride)) }
      }
      lam_transpose_square(
        x.base + place, Int64(x.stride), y.base + column * y.stride + row, Int64(y.stride), Int64(rows), Int64(columns))
      column += lanes
    }
    row += lanes
  }
}
