import KernelInterface

// Matrix products by the textbook's three loops.
extension ReferenceKernels {
  /// c = op(a)·op(b), or c + op(a)·op(b) where it accumulates.
  @inlinable
  public static func multiply<T: BinaryFloatingPoint>(
    _ a: MatrixView<T>, transposeA: Bool = false, _ b: MatrixView<T>, transposeB: Bool = false,
    into c: MatrixView<T>, accumulate: Bool = false
  ) {
    let depth = transposeA ? a.rows : a.columns
    for row in 0..<c.rows {
      for column in 0..<c.columns {
        var sum: T = 0
        for inner in 0..<depth {
          let left = transposeA ? a.base[inner * a.stride + row] : a.base[row * a.stride + inner]
          let right = transposeB ? b.base[column * b.stride + inner] : b.base[inner * b.stride + column]
          sum += left * right
        }
        let target = c.base + row * c.stride + column
        target.pointee = accumulate ? target.pointee + sum : sum
      }
    }
  }
}
