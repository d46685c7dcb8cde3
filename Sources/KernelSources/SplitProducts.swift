// Products of matrices whose numbers are split in three parts.

#if LAMINA_SPLIT_PRODUCTS
  internal import CKernelShims
  import KernelInterface

  func splitLeft(_ x: MatrixView<Scalar>, _ operand: UnsafeMutablePointer<UInt8>, _ first: Int, _ terms: Int) {
    lam_split_left(
      x.base, Int64(x.stride), Int64(x.rows), Int64(x.columns), operand, Int64(first / 32), chunks(terms))
  }

  func splitLeftTransposed(_ x: MatrixView<Scalar>, _ operand: UnsafeMutablePointer<UInt8>) {
    lam_split_left_transposed(x.base, Int64(x.stride), Int64(x.columns), Int64(x.rows), operand, chunks(x.rows))
  }

  func splitRight(_ w: MatrixView<Scalar>, _ operand: UnsafeMutablePointer<UInt8>, _ first: Int, _ terms: Int) {
    lam_split_right(
      w.base, Int64(w.stride), Int64(w.columns), Int64(w.rows), operand, Int64(first / 32), chunks(terms))
  }

  func splitRightTransposed(
    _ w: MatrixView<Scalar>, _ operand: UnsafeMutablePointer<UInt8>, _ first: Int, _ terms: Int
  ) {
    lam_split_right_transposed(
      w.base, Int64(w.stride), Int64(w.rows), Int64(w.columns), operand, Int64(first / 32), chunks(terms))
  }

  func multiplySplit(
    _ left: UnsafePointer<UInt8>, _ right: UnsafePointer<UInt8>, _ terms: Int, _ y: MatrixView<Scalar>
  ) {
    lam_multiply_split(left, right, chunks(terms), y.base, Int64(y.stride), Int64(y.rows), Int64(y.columns))
  }

  @inline(__always)
  private func chunks(_ terms: Int) -> Int64 { Int64((terms + 31) / 32) }
#endif
