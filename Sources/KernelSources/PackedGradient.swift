// dW = Xᵀ·dZ of wide layers from packed factors.

#if LAMINA_PACKED_GRADIENTS

  internal import CKernelShims
  import KernelInterface

  var packedLayout: OperandLayout {
    #if LAMINA_SIX_ROWS
      .sixRows(of: Scalar.self, fewestSamples: 192)
    #else
      .sixRows(of: Scalar.self, fewestSamples: 96)
    #endif
  }

  /// The columns of x as rows of a left operand.
  func packInputs(_ x: MatrixView<Scalar>, _ operand: UnsafeMutablePointer<UInt8>) {
    lam_pack_sixes(x.base, Int64(x.stride), Int64(x.rows), Int64(x.columns), scalars(operand))
  }

  /// z as a right operand, whole.
  func packOutputGradient(
    _ z: MatrixView<Scalar>, _ operand: UnsafeMutablePointer<UInt8>, _ first: Int, _ terms: Int
  ) {
    lam_pack_vectors(z.base, Int64(z.stride), Int64(z.rows), Int64(z.columns), scalars(operand))
  }

  func multiplyPacked(
    _ left: UnsafePointer<UInt8>, _ right: UnsafePointer<UInt8>, _ terms: Int, _ y: MatrixView<Scalar>
  ) {
    lam_multiply_packed(
      scalars(left), scalars(right), Int64(terms), y.base, Int64(y.stride), Int64(y.rows), Int64(y.columns / lanes))
  }

  #if LAMINA_SIX_ROWS
    func hasManyZeros(_ x: MatrixView<Scalar>) -> Bool {
      lam_has_many_zeros(x.base, Int64(x.stride), Int64(x.rows), Int64(x.columns)) != 0
    }
  #endif

  @inline(__always)
  private func scalars(_ operand: UnsafeMutablePointer<UInt8>) -> Pointer {
    UnsafeMutableRawPointer(operand).assumingMemoryBound(to: Scalar.self)
  }

  @inline(__always)
  private func scalars(_ operand: UnsafePointer<UInt8>) -> ConstPointer {
    UnsafeRawPointer(operand).assumingMemoryBound(to: Scalar.self)
  }

#endif
