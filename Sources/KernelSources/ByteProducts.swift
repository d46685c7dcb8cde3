// Products of a batch of bytes with numbers in three digits: a first layer's, forward and of its kernel's gradient.

#if LAMINA_BYTE_PRODUCTS
  internal import CKernelShims
  import KernelInterface

  private var columnsOfVector: Int { DigitColumns<Scalar>.columnsOfVector }
  private var groupBytes: Int { DigitColumns<Scalar>.groupBytes }

  func gatherByteRows(
    _ source: UnsafePointer<UInt8>, _ indices: UnsafePointer<Int32>, _ columns: Int, _ first: Int, _ samples: Int,
    _ batch: ByteBatch
  ) {
    lam_gather_byte_rows(
      source, indices, Int64(columns), Int64(first), Int64(samples), batch.rows, Int64(batch.stride), batch.quads,
      batch.occupied, Int64(batch.groups))
  }

  func takeApart(_ w: MatrixView<Scalar>, _ columns: DigitColumns<Scalar>) {
    for vector in 0..<columns.vectors {
      lam_take_apart(
        w.base + vector * columnsOfVector, Int64(w.stride), Int64(w.rows), digits(of: columns, vector),
        columns.units + vector * columnsOfVector)
    }
  }

  func multiplyBytes(
    _ x: ByteBatch, _ w: DigitColumns<Scalar>, _ scale: Double, _ y: MatrixView<Scalar>
  ) {
    lam_multiply_bytes(
      x.rows, Int64(x.stride), Int64(y.rows), Int64(w.groups), w.digits, w.units, Scalar(scale), y.base,
      Int64(y.stride), Int64(y.columns))
  }

  func byteGradient(
    _ x: ByteBatch, _ z: DigitColumns<Scalar>, _ scale: Double, _ first: Int, _ y: MatrixView<Scalar>
  ) {
    var (batch, columns) = (byteColumns(x), digitColumns(z))
    lam_byte_gradient(
      &batch, Int64(first), Int64(y.rows), &columns, Scalar(scale), y.base, Int64(y.stride))
  }

  func byteGradientAdam(
    _ x: ByteBatch, _ z: DigitColumns<Scalar>, _ scale: Double, _ first: Int, _ count: Int, _ w: Pointer,
    _ m: Pointer, _ v: Pointer, _ columns: DigitColumns<Scalar>, _ largest: Pointer, _ alpha: Double, _ beta1: Double,
    _ beta2: Double, _ epsilon: Double, _ decay: Double, _ requests: UnsafeMutablePointer<LineRequests>?
  ) -> Bool {
    var (batch, gradients) = (byteColumns(x), digitColumns(z))
    var weights = lam_byte_weights(
      w: w, m: m, v: v, digits: columns.digits + first / 4 * groupBytes,
      group_stride: Int64(columns.groups * groupBytes), units: columns.units, largest: largest)
    var step = lam_adam_step(alpha, beta1, beta2, epsilon, decay)
    // Its fields are those of the C structure, in the same order.
    let lines = UnsafeMutableRawPointer(requests)?.assumingMemoryBound(to: lam_line_requests.self)
    lam_byte_gradient_adam(
      &batch, Int64(first), Int64(count), &gradients, Scalar(scale), &weights, &step, lines)
    for vector in 0..<columns.vectors {
      let column = vector * columnsOfVector
      if !lam_units_fit(columns.units + column, largest + column) { return false }
    }
    return true
  }

  func recognizeBytes(_ x: ConstPointer, _ count: Int, _ bytes: UnsafeMutablePointer<UInt8>) -> Bool {
    lam_recognize_bytes(x, Int64(count), bytes)
  }

  @inline(__always)
  private func digits(of columns: DigitColumns<Scalar>, _ vector: Int) -> UnsafeMutablePointer<Int8> {
    columns.digits + vector * columns.groups * groupBytes
  }

  @inline(__always)
  private func byteColumns(_ x: ByteBatch) -> lam_byte_columns {
    lam_byte_columns(quads: x.quads, occupied: x.occupied, groups: Int64(x.groups))
  }

  @inline(__always)
  private func digitColumns(_ z: DigitColumns<Scalar>) -> lam_digit_columns {
    lam_digit_columns(
      digits: z.digits, units: z.units, vectors: Int64(z.vectors), groups: Int64(z.groups))
  }
#endif
