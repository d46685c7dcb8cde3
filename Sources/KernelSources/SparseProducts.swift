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
    var x = lam_sparse_rows_at(lists, Int64(part.listedRows), Int64(part.listedBlocks))
    lam_multiply_sparse(
      &x, Int64(part.rows.lowerBound), Int64(part.rows.upperBound), Int64(part.blocks.lowerBound),
      Int64(part.blocks.count), w.base, Int64(w.stride), y.base, Int64(y.stride), Int64(y.columns), adds ? 1 : 0)
  }

#endif
