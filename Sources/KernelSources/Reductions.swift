internal import CKernelShims
import KernelInterface

func installReductions(_ table: ReductionKernels<Scalar>) {
  table.columnSums = columnSums
}

func columnSums(_ x: MatrixView<Scalar>, _ sums: Pointer) {
  var column = 0
  while column + lanes <= x.columns {
    var sum = Vector.zero
    var row = x.base + column
    for _ in 0..<x.rows {
      sum += lam_load(row)
      row += x.stride
    }
    lam_store(sums + column, sum)
    column += lanes
  }
  while column < x.columns {
    var sum: Scalar = 0
    for row in 0..<x.rows { sum += x.base[row * x.stride + column] }
    sums[column] = sum
    column += 1
  }
}
