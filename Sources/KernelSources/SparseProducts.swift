// Products with what a ReLU leaves, where the instruction set has sixteen registers (AVX2).

#if LAMINA_SIX_ROWS

  internal import CKernelShims
  import KernelInterface

  func isSparse(_ x: MatrixView<Scalar>, _ sixteenths: Int) -> Bool {
    lam_is_sparse(x.base, Int64(x.stride), Int64(x.rows), Int64(x.columns), Int64(sixteenths)) != 0
  }

  func listRows(_ x: MatrixView<Scalar>, _ lists: UnsafeMutablePointer<UInt8>, _ first: Int, _ blocks: Int) {
    lam_list_rows(x.base, Int64(x.stride), Int64(x.rows), Int64(x.columns), lists, Int64(first), Int64(blocks))
  }

  func listColumns(_ x: MatrixView<Scalar>, _ lists: UnsafeMutablePointer<UInt8>) {
    lam_list_columns(x.base, Int64(x.stride), Int64(x.rows), Int64(x.columns), lists)
  }

  func layOutTile(_ z: MatrixView<Scalar>, _ y: MatrixView<Scalar>) {
    lam_lay_out_tile(z.base, Int64(z.stride), Int64(z.rows), Int64(z.columns), y.base)
  }

  func multiplySparse(
    _ lists: UnsafeMutablePointer<UInt8>, _ part: SparsePart, _ w: MatrixView<Scalar>, _ y: MatrixView<Scalar>,
    _ adds: Bool
  ) {
    multiply(lists, part, w.base, stride: w.stride, apart: lanes, y, adds)
  }

  func multiplySparsePanels(
    _ lists: UnsafeMutablePointer<UInt8>, _ part: SparsePart, _ packed: ConstPointer, _ depth: Int,
    _ y: MatrixView<Scalar>
  ) {
    multiply(
      lists, part, UnsafeMutablePointer(mutating: packed), stride: lanes, apart: depth * lanes, y, false)
  }

  @inline(__always)
  private func multiply(
    _ lists: UnsafeMutablePointer<UInt8>, _ part: SparsePart, _ w: Pointer, stride: Int, apart: Int,
    _ y: MatrixView<Scalar>, _ adds: Bool
  ) {
    var x = lam_sparse_rows_at(lists, Int64(part.listedRows), Int64(part.listedBlocks))
    var of = lam_sparse_part(
      first: Int64(part.rows.lowerBound), end: Int64(part.rows.upperBound), block: Int64(part.blocks.lowerBound),
      blocks: Int64(part.blocks.count), w: w, stride: Int64(stride), apart: Int64(apart), asks: part.asksAhead ? 1 : 0)
    lam_multiply_sparse(&x, &of, y.base, Int64(y.stride), Int64(y.columns), adds ? 1 : 0)
  }

#endif
