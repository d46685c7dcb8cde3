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
    for vector in 0..<columns.wholeVectors {
      lam_take_apart(
        w.base + vector * columnsOfVector, Int64(w.stride), Int64(w.rows), digits(of: columns, vector),
        columns.units + vector * columnsOfVector)
    }
    if columns.strips > 0 {
      let last = columns.wholeVectors
      lam_take_strips_apart(
        w.base + last * columnsOfVector, Int64(w.stride), Int64(w.rows), Int64(columns.strips),
        digits(of: columns, last), stripBytes(columns), columns.units + last * columnsOfVector)
    }
  }

  func renewDigits(_ w: MatrixView<Scalar>, _ first: Int, _ columns: DigitColumns<Scalar>, _ largest: Pointer) -> Bool {
    for vector in 0..<columns.wholeVectors {
      let column = vector * columnsOfVector
      lam_renew_digits(
        w.base + column, Int64(w.stride), Int64(w.rows), digits(of: columns, vector) + first / 4 * groupBytes,
        columns.units + column, largest + column)
    }
    if columns.strips > 0 {
      let column = columns.wholeVectors * columnsOfVector
      lam_renew_strip_digits(
        w.base + column, Int64(w.stride), Int64(w.rows), Int64(columns.strips),
        digits(of: columns, columns.wholeVectors) + first / 16 * groupBytes, stripBytes(columns),
        columns.units + column, largest + column)
    }
    return unitsFit(columns, largest)
  }

  func multiplyBytes(
    _ x: ByteBatch, _ w: DigitColumns<Scalar>, _ scale: Double, _ y: MatrixView<Scalar>
  ) {
    multiplyVectors(x, w, scale, y, inTiles: false)
    multiplyStrips(x, w, scale, y)
  }

  @inline(__always)
  private func multiplyVectors(
    _ x: ByteBatch, _ w: DigitColumns<Scalar>, _ scale: Double, _ y: MatrixView<Scalar>, inTiles: Bool
  ) {
    let columns = smaller(y.columns, w.wholeVectors * columnsOfVector)
    if columns == 0 { return }
    if inTiles {
      lam_multiply_tiles(
        x.rows, Int64(x.stride), Int64(y.rows), Int64(w.groups), w.digits, w.units, Scalar(scale), y.base,
        Int64(y.stride), Int64(columns))
    } else {
      lam_multiply_bytes(
        x.rows, Int64(x.stride), Int64(y.rows), Int64(w.groups), w.digits, w.units, Scalar(scale), y.base,
        Int64(y.stride), Int64(columns))
    }
  }

  @inline(__always)
  private func multiplyStrips(
    _ x: ByteBatch, _ w: DigitColumns<Scalar>, _ scale: Double, _ y: MatrixView<Scalar>
  ) {
    let first = w.wholeVectors * columnsOfVector
    if y.columns <= first { return }
    lam_multiply_strips(
      x.rows, Int64(x.stride), Int64(y.rows), Int64(w.groups), digits(of: w, w.wholeVectors), w.units + first,
      Scalar(scale), y.base + first, Int64(y.stride), Int64(y.columns - first))
  }

  func byteGradient(
    _ x: ByteBatch, _ z: DigitColumns<Scalar>, _ scale: Double, _ first: Int, _ y: MatrixView<Scalar>,
    _ requests: UnsafeMutablePointer<LineRequests>?
  ) {
    gradient(x, z, scale, first, y, requests, byColumn: nil)
  }

  /// In tiles where the batch lies by column.
  @inline(__always)
  private func gradient(
    _ x: ByteBatch, _ z: DigitColumns<Scalar>, _ scale: Double, _ first: Int, _ y: MatrixView<Scalar>,
    _ requests: UnsafeMutablePointer<LineRequests>?, byColumn: UnsafeMutablePointer<UInt8>?
  ) {
    let lines = lineRequests(requests)
    let strips = DigitColumns<Scalar>.strips(columns: y.columns)
    let whole = strips == 0 ? z.vectors : z.vectors - 1
    var (batch, columns) = (byteColumns(x), digitColumns(z, 0..<whole))
    if whole > 0 {
      if let byColumn {
        var batch = lam_tile_columns(by_column: byColumn, groups: Int64(x.groups))
        lam_tile_gradient(
          &batch, Int64(first), Int64(y.rows), &columns, Scalar(scale), y.base, Int64(y.stride), lines)
      } else {
        lam_byte_gradient(
          &batch, Int64(first), Int64(y.rows), &columns, Scalar(scale), y.base, Int64(y.stride), lines)
      }
    }
    if strips > 0 {
      columns = digitColumns(z, whole..<z.vectors)
      lam_byte_strip_gradient(
        &batch, Int64(first), Int64(y.rows), &columns, Scalar(scale), y.base + whole * columnsOfVector,
        Int64(y.stride), Int64(strips), lines)
    }
  }

  func byteGradientAdam(
    _ x: ByteBatch, _ z: DigitColumns<Scalar>, _ scale: Double, _ first: Int, _ count: Int, _ w: Pointer,
    _ m: Pointer, _ v: Pointer, _ columns: DigitColumns<Scalar>, _ largest: Pointer, _ alpha: Double, _ beta1: Double,
    _ beta2: Double, _ epsilon: Double, _ decay: Double, _ requests: UnsafeMutablePointer<LineRequests>?
  ) -> Bool {
    gradientAdam(
      x, z, scale, first, count, w, m, v, columns, largest, lam_adam_step(alpha, beta1, beta2, epsilon, decay),
      requests, byColumn: nil)
  }

  /// In tiles where the batch lies by column.
  @inline(__always)
  private func gradientAdam(
    _ x: ByteBatch, _ z: DigitColumns<Scalar>, _ scale: Double, _ first: Int, _ count: Int, _ w: Pointer,
    _ m: Pointer, _ v: Pointer, _ columns: DigitColumns<Scalar>, _ largest: Pointer, _ step: lam_adam_step,
    _ requests: UnsafeMutablePointer<LineRequests>?, byColumn: UnsafeMutablePointer<UInt8>?
  ) -> Bool {
    let whole = columns.wholeVectors
    var (batch, gradients) = (byteColumns(x), digitColumns(z, 0..<whole))
    let width = Int64(columns.vectors * columnsOfVector)
    var step = step
    let lines = lineRequests(requests)
    if whole > 0 {
      var weights = lam_byte_weights(
        w: w, m: m, v: v, width: width, digits: columns.digits + first / 4 * groupBytes,
        group_stride: Int64(columns.groups * groupBytes), units: columns.units, largest: largest)
      if let byColumn {
        var batch = lam_tile_columns(by_column: byColumn, groups: Int64(x.groups))
        lam_tile_gradient_adam(
          &batch, Int64(first), Int64(count), &gradients, Scalar(scale), &weights, &step, lines)
      } else {
        lam_byte_gradient_adam(
          &batch, Int64(first), Int64(count), &gradients, Scalar(scale), &weights, &step, lines)
      }
    }
    if columns.strips > 0 {
      let column = whole * columnsOfVector
      gradients = digitColumns(z, whole..<z.vectors)
      var weights = lam_byte_weights(
        w: w + column, m: m + column, v: v + column, width: width,
        digits: digits(of: columns, whole) + first / 16 * groupBytes,
        group_stride: stripBytes(columns), units: columns.units + column,
        largest: largest + column)
      lam_byte_strip_gradient_adam(
        &batch, Int64(first), Int64(count), &gradients, Scalar(scale), &weights, &step, lines, Int64(columns.strips))
    }
    return unitsFit(columns, largest)
  }

  // MARK: In tiles

  func layOutByColumn(_ columns: Int, _ first: Int, _ samples: Int, _ batch: ByteBatch) {
    guard let byColumn = batch.byColumn else { return }
    lam_lay_out_by_column(
      batch.quads, Int64(columns), Int64(batch.groups), Int64(first / 4), Int64((samples + 3) / 4), byColumn)
  }

  func multiplyByteTiles(
    _ x: ByteBatch, _ w: DigitColumns<Scalar>, _ scale: Double, _ y: MatrixView<Scalar>
  ) {
    multiplyVectors(x, w, scale, y, inTiles: lam_fills_tiles(Int64(y.rows), Int64(w.groups)))
    multiplyStrips(x, w, scale, y)
  }

  func byteGradientTiles(
    _ x: ByteBatch, _ z: DigitColumns<Scalar>, _ scale: Double, _ first: Int, _ y: MatrixView<Scalar>,
    _ requests: UnsafeMutablePointer<LineRequests>?
  ) {
    gradient(x, z, scale, first, y, requests, byColumn: x.byColumn)
  }

  func byteGradientAdamTiles(
    _ x: ByteBatch, _ z: DigitColumns<Scalar>, _ scale: Double, _ first: Int, _ count: Int, _ w: Pointer,
    _ m: Pointer, _ v: Pointer, _ columns: DigitColumns<Scalar>, _ largest: Pointer, _ alpha: Double, _ beta1: Double,
    _ beta2: Double, _ epsilon: Double, _ decay: Double, _ requests: UnsafeMutablePointer<LineRequests>?
  ) -> Bool {
    gradientAdam(
      x, z, scale, first, count, w, m, v, columns, largest, lam_adam_step(alpha, beta1, beta2, epsilon, decay),
      requests, byColumn: x.byColumn)
  }

  func recognizeBytes(_ x: ConstPointer, _ count: Int, _ bytes: UnsafeMutablePointer<UInt8>) -> Bool {
    lam_recognize_bytes(x, Int64(count), bytes)
  }

  @inline(__always)
  private func digits(of columns: DigitColumns<Scalar>, _ vector: Int) -> UnsafeMutablePointer<Int8> {
    columns.digits + vector * columns.groups * groupBytes
  }

  /// Bytes of one strip's digits: blocks of sixteen rows.
  @inline(__always)
  private func stripBytes(_ columns: DigitColumns<Scalar>) -> Int64 { Int64((columns.groups + 3) / 4 * groupBytes) }

  /// Whether the units are those of `largest`.
  @inline(__always)
  private func unitsFit(_ columns: DigitColumns<Scalar>, _ largest: Pointer) -> Bool {
    for vector in 0..<columns.vectors {
      let column = vector * columnsOfVector
      if !lam_units_fit(columns.units + column, largest + column) { return false }
    }
    return true
  }

  @inline(__always)
  private func lineRequests(
    _ requests: UnsafeMutablePointer<LineRequests>?
  ) -> UnsafeMutablePointer<lam_line_requests>? {
    // Its fields are those of the C structure, in the same order.
    UnsafeMutableRawPointer(requests)?.assumingMemoryBound(to: lam_line_requests.self)
  }

  @inline(__always)
  private func byteColumns(_ x: ByteBatch) -> lam_byte_columns {
    lam_byte_columns(quads: x.quads, occupied: x.occupied, groups: Int64(x.groups))
  }

  @inline(__always)
  private func digitColumns(_ z: DigitColumns<Scalar>, _ vectors: Range<Int>) -> lam_digit_columns {
    lam_digit_columns(
      digits: digits(of: z, vectors.lowerBound), units: z.units + vectors.lowerBound * columnsOfVector,
      vectors: Int64(vectors.count), groups: Int64(z.groups))
  }
#endif
