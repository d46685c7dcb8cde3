// A layer's products in register tiles of six rows and one vector, for instruction sets with sixteen registers and a
// fused multiply-add (AVX2). BLAS packs its operands there, which takes as long as half of a small product.

#if LAMINA_SIX_ROWS

  internal import CKernelShims
  import KernelInterface

  /// y = x·w, or y += x·w.
  ///
  /// The rows of a block stay in the L1 cache while all vectors of w's columns pass by.
  func multiplySixRows(_ x: MatrixView<Scalar>, _ w: MatrixView<Scalar>, _ y: MatrixView<Scalar>, _ adds: Bool) {
    // W comes from beyond the L1 cache to the first block, x beyond the L2 cache to each.
    let asksForX = x.rows &* x.stride &* MemoryLayout<Scalar>.stride > 1 << 19
    let asksForW = x.rows > 2 &* Int(lam_six_rows())
    var looksForZeros = lam_looks_for_zeros(Int64(x.columns), Int64(y.columns)) != 0 && x.rows > 2
    var places = lam_uninitialized_places()
    var left = lam_rows_in_blocks(Int64(x.rows), lam_six_rows())
    var row = 0
    while case let rows = Int(lam_next_rows(&left)), rows > 0 {
      let range = row..<row &+ rows
      let (block, result) = (x.rows(range), y.rows(range))
      // What has none in one block hardly has some in the next.
      looksForZeros =
        looksForZeros && lam_list_fours(block.base, Int64(x.stride), Int64(rows), Int64(x.columns), &places) != 0
      if looksForZeros {
        multiplyListedBlock(block, w, result, adds, asksForW: asksForW && row == 0, &places)
      } else {
        multiplyBlock(block, w, result, adds, asksForX: asksForX, asksForW: asksForW && row == 0)
      }
      row &+= rows
    }
  }

  /// Three to six rows, by the terms of which one of them is not zero.
  @inline(__always)
  private func multiplyListedBlock(
    _ x: MatrixView<Scalar>, _ w: MatrixView<Scalar>, _ y: MatrixView<Scalar>, _ adds: Bool, asksForW: Bool,
    _ places: inout lam_places
  ) {
    var column = 0
    while column < y.columns {
      let last = min(y.columns &- column, lanes)
      if last <= lanes / 2 {
        lam_multiply_half_rows(
          Int64(x.rows), x.base, Int64(x.stride), w.base + column, Int64(w.stride), Int64(x.columns), &places,
          y.base + column, Int64(y.stride), Int64(last), adds ? 1 : 0)
      } else {
        lam_multiply_listed_rows(
          Int64(x.rows), asksForW ? 1 : 0, x.base, Int64(x.stride), w.base + column, Int64(w.stride), Int64(x.columns),
          &places, y.base + column, Int64(y.stride), Int64(last), adds ? 1 : 0)
      }
      column &+= lanes
    }
  }

  /// One to six rows.
  @inline(__always)
  private func multiplyBlock(
    _ x: MatrixView<Scalar>, _ w: MatrixView<Scalar>, _ y: MatrixView<Scalar>, _ adds: Bool, asksForX: Bool,
    asksForW: Bool
  ) {
    let (depth, flag) = (Int64(x.columns), Int32(adds ? 1 : 0))
    let (xStride, wStride, yStride) = (Int64(x.stride), Int64(w.stride), Int64(y.stride))
    var column = 0
    while column < y.columns {
      let left = y.columns &- column
      let (kernel, to) = (w.base + column, y.base + column)
      // A row or two take several vectors at once: as many sums as the latency of a multiply-add wants.
      if x.rows == 1, left > lanes {
        let vectors = left > 3 &* lanes ? 4 : 2
        let last = min(left &- (vectors &- 1) &* lanes, lanes)
        lam_multiply_one_row(Int64(vectors), x.base, kernel, wStride, depth, to, Int64(last), flag)
        column &+= vectors &* lanes
      } else if x.rows == 2, left > lanes {
        let last = min(left &- lanes, lanes)
        lam_multiply_two_rows(x.base, xStride, kernel, wStride, depth, to, yStride, Int64(last), flag)
        column &+= 2 &* lanes
      } else if left <= lanes / 2 {
        lam_multiply_half_rows(
          Int64(x.rows), x.base, xStride, kernel, wStride, depth, nil, to, yStride, Int64(left), flag)
        column &+= lanes
      } else if asksForW || asksForX && column == 0 {
        lam_multiply_asking(
          Int64(x.rows), asksForW ? 1 : 0, x.base, xStride, kernel, wStride, depth, to, yStride,
          Int64(min(left, lanes)), flag)
        column &+= lanes
      } else {
        lam_multiply_six_rows(
          Int64(x.rows), x.base, xStride, kernel, wStride, depth, to, yStride, Int64(min(left, lanes)), flag)
        column &+= lanes
      }
    }
  }

  /// y = z·Wᵀ for the rows `columns` of W, four or more.
  func multiplyByTransposedSixRows(
    _ z: MatrixView<Scalar>, _ tiles: UnsafePointer<MatrixView<Scalar>>, _ count: Int, _ columns: Range<Int>,
    _ y: MatrixView<Scalar>
  ) {
    // A view is a pointer and three integers in this order: the C structure.
    let matrices = UnsafeRawPointer(tiles).assumingMemoryBound(to: lam_matrix.self)
    lam_multiply_by_transposed(
      z.base, Int64(z.stride), Int64(z.rows), matrices, Int64(count), Int64(columns.lowerBound),
      Int64(columns.upperBound), y.base, Int64(y.stride))
  }

  /// y = xᵀ·z, or y += xᵀ·z; z may have fewer columns than y, whole vectors wide, and is read that far.
  func gradientSixRows(_ x: MatrixView<Scalar>, _ z: MatrixView<Scalar>, _ y: MatrixView<Scalar>, _ adds: Bool) {
    let (xStride, zStride, yStride) = (Int64(x.stride), Int64(z.stride), Int64(y.stride))
    let (rows, vectors, flag) = (Int64(x.columns), Int64(y.columns / lanes), Int32(adds ? 1 : 0))
    let bytes = MemoryLayout<Scalar>.stride
    let endsInHalf = endsInHalf(z, y)
    // Measured: x within the L2 cache comes in time by itself, and z without wide gaps is best read as it lies. Where
    // sums go on from earlier samples, there are more of them than that cache holds.
    let asks: Int32 = adds || x.rows &* x.stride &* bytes > 1 << 19 ? 1 : 0
    let packs =
      z.stride &* bytes >= 2048 && x.rows >= 64 && x.rows <= LAM_PACKED_SAMPLES && x.columns >= 48
      && y.columns <= LAM_PACKED_COLUMNS
    if packs {
      lam_gradient_packed(
        x.base, xStride, rows, z.base, zStride, vectors, Int64(x.rows), y.base, yStride, flag, asks, endsInHalf)
    } else {
      lam_gradient(
        x.base, xStride, rows, z.base, zStride, vectors, Int64(x.rows), y.base, yStride, flag, asks, endsInHalf)
    }
  }

  /// Whether z's columns end in the first half of y's last vector.
  @inline(__always)
  private func endsInHalf(_ z: MatrixView<Scalar>, _ y: MatrixView<Scalar>) -> Int32 {
    z.columns &+ lanes / 2 <= y.columns ? 1 : 0
  }

  /// The same for few samples, y = xᵀ·z; lines of `requests` are asked for before every six rows, until none is left.
  func gradientSixRowsAsking(
    _ x: MatrixView<Scalar>, _ z: MatrixView<Scalar>, _ y: MatrixView<Scalar>,
    _ requests: UnsafeMutablePointer<LineRequests>
  ) {
    let (xStride, zStride, yStride) = (Int64(x.stride), Int64(z.stride), Int64(y.stride))
    let (most, vectors) = (Int(lam_six_rows()), Int64(y.columns / lanes))
    // One with every eight samples of a tile, but no more than the CPU keeps under way.
    let share = min(16, Int(vectors) &* x.rows / 8)
    let endsInHalf = endsInHalf(z, y)
    var row = 0
    while row < x.columns {
      for _ in 0..<min(share, requests.pointee.left) { lam_prefetch(requests.pointee.next()) }
      let rows = Int64(min(most, x.columns &- row))
      lam_gradient(
        x.base + row, xStride, rows, z.base, zStride, vectors, Int64(x.rows), y.base + row &* y.stride, yStride, 0, 0,
        endsInHalf)
      row &+= most
    }
  }

#endif
