// dW = Xᵀ·dZ in register tiles of sixteen sums, with Adam: the update of one tile is computed between the multiply-adds of
// the next. Square root and division occupy the divider, which a product leaves idle, and the weights and moments arrive
// from memory meanwhile.

internal import CKernelShims
import KernelInterface

/// A tile whose gradient waits in `sums` for its update.
private struct PendingTile {
  /// Its first element in the weights.
  var place = 0
  /// The first row that is to be updated; `rows` of the shape where none is.
  var firstRow: Int
}

private struct AdamVectors {
  let step: lam_adam_step
  let w: Pointer
  let m: Pointer
  let v: Pointer

  @inline(__always)
  func update(_ offset: Int, _ gradient: Vector) { update(offset, gradient, decays: step.decays) }

  @inline(__always)
  func update(_ offset: Int, _ gradient: Vector, decays: Bool) {
    let first = step.first(lam_load(m + offset), gradient)
    let second = step.second(lam_load(v + offset), gradient)
    lam_store(m + offset, first)
    lam_store(v + offset, second)
    lam_store(w + offset, step.weights(lam_load(w + offset), first, second, decays: decays))
  }

  /// Updates the sixteen vectors of a tile, one beside each sample's products.
  @inline(__always)
  func updateAll(
    _ shape: TileShape, _ place: Int, _ width: Int, _ sums: Pointer, _ samples: inout SampleCursor,
    _ tile: inout SumTile, decays: Bool
  ) {
    let toNextRow = width &- (shape.vectors &- 1) &* lanes
    var offset = place
    var index = 0
    while index < 16 {
      update(offset, lam_load(sums + index &* lanes), decays: decays)
      samples.add(shape, &tile)
      index &+= 1
      offset &+= index % shape.vectors == 0 ? toNextRow : lanes
    }
  }
}

func transposedProductAdam(
  _ x: MatrixView<Scalar>, _ z: MatrixView<Scalar>, _ partial: ConstPointer?, _ w: Pointer, _ m: Pointer, _ v: Pointer,
  _ sums: Pointer, _ alpha: Double, _ beta1: Double, _ beta2: Double, _ epsilon: Double, _ decay: Double,
  _ requests: UnsafeMutablePointer<LineRequests>?
) {
  let vectors = AdamVectors(step: lam_adam_step(alpha, beta1, beta2, epsilon, decay), w: w, m: m, v: v)
  var column = 0
  while column < z.columns {
    let left = z.columns - column
    if left >= 4 * lanes {
      multiplyAdamRows4(x, z, partial, vectors, sums, column, requests)
      column += 4 * lanes
    } else if left >= 2 * lanes {
      multiplyAdamRows8(x, z, partial, vectors, sums, column, requests)
      column += 2 * lanes
    } else {
      multiplyAdamRows16(x, z, partial, vectors, sums, column, requests)
      column += lanes
    }
  }
}

@inline(never)
private func multiplyAdamRows4(
  _ x: MatrixView<Scalar>, _ z: MatrixView<Scalar>, _ partial: ConstPointer?, _ vectors: AdamVectors, _ sums: Pointer,
  _ column: Int, _ requests: UnsafeMutablePointer<LineRequests>?
) {
  multiplyAdam(.rows4, x, z, partial, vectors, sums, column, requests)
}

@inline(never)
private func multiplyAdamRows8(
  _ x: MatrixView<Scalar>, _ z: MatrixView<Scalar>, _ partial: ConstPointer?, _ vectors: AdamVectors, _ sums: Pointer,
  _ column: Int, _ requests: UnsafeMutablePointer<LineRequests>?
) {
  multiplyAdam(.rows8, x, z, partial, vectors, sums, column, requests)
}

@inline(never)
private func multiplyAdamRows16(
  _ x: MatrixView<Scalar>, _ z: MatrixView<Scalar>, _ partial: ConstPointer?, _ vectors: AdamVectors, _ sums: Pointer,
  _ column: Int, _ requests: UnsafeMutablePointer<LineRequests>?
) {
  multiplyAdam(.rows16, x, z, partial, vectors, sums, column, requests)
}

@inline(__always)
private func multiplyAdam(
  _ shape: TileShape, _ x: MatrixView<Scalar>, _ z: MatrixView<Scalar>, _ partial: ConstPointer?,
  _ vectors: AdamVectors, _ sums: Pointer, _ column: Int, _ requests: UnsafeMutablePointer<LineRequests>?
) {
  let rows = shape.rows
  let perRow = shape.vectors
  let width = z.columns
  if x.columns < rows { return multiplyAdamFew(x, z, partial, vectors, column, perRow) }
  var pending = PendingTile(firstRow: rows)
  var done = 0
  while done < x.columns {
    let row = min(done, x.columns - rows)
    let place = row * width + column
    var tile = SumTile()
    if let partial { tile = SumTile(shape, partial + place, width) }
    var samples = SampleCursor(shape, x, z, row, column)
    if pending.firstRow == 0 && samples.left >= 16 {
      if vectors.step.decays {
        vectors.updateAll(shape, pending.place, width, sums, &samples, &tile, decays: true)
      } else {
        vectors.updateAll(shape, pending.place, width, sums, &samples, &tile, decays: false)
      }
    } else {
      var waiting = pending.firstRow &* perRow
      while waiting < 16 {
        vectors.update(pending.place &+ shape.place(waiting, width), lam_load(sums + waiting &* lanes))
        if samples.left > 0 { samples.add(shape, &tile) }
        waiting &+= 1
      }
    }
    samples.addRest(shape, &tile, ahead: partial != nil, requests)
    tile.store(shape, sums, perRow * lanes)
    pending = PendingTile(place: place, firstRow: done - row)
    done = row + rows
  }
  for waiting in pending.firstRow * perRow..<16 {
    vectors.update(
      pending.place &+ waiting / perRow &* width &+ waiting % perRow &* lanes, lam_load(sums + waiting &* lanes))
  }
}

/// The same for fewer rows than a tile has, one row and vector at a time.
private func multiplyAdamFew(
  _ x: MatrixView<Scalar>, _ z: MatrixView<Scalar>, _ partial: ConstPointer?, _ vectors: AdamVectors, _ column: Int,
  _ perRow: Int
) {
  for row in 0..<x.columns {
    for part in 0..<perRow {
      let first = column + part * lanes
      let place = row * z.columns + first
      var sum = Vector.zero
      if let partial { sum = lam_load(partial + place) }
      var xRow = x.base + row
      var zRow = z.base + first
      for _ in 0..<x.rows {
        sum = lam_multiply_add(splat(xRow[0]), lam_load(zRow), sum)
        xRow += x.stride
        zRow += z.stride
      }
      vectors.update(place, sum)
    }
  }
}

@inline(never)
private func askForPages(_ requests: UnsafeMutablePointer<LineRequests>) {
  for row in 0..<requests.pointee.rowsOfGroup {
    let (first, last) = requests.pointee.ends(row)
    lam_prefetch(first)
    lam_prefetch(last)
  }
}

// MARK: Tiles

/// How the sixteen sums of a tile lie in a product: rows by vectors of columns.
private enum TileShape {
  case rows4
  case rows8
  case rows16

  @inline(__always)
  var rows: Int {
    switch self {
    case .rows4: 4
    case .rows8: 8
    case .rows16: 16
    }
  }

  /// Vectors in a row.
  @inline(__always) var vectors: Int { 16 / rows }

  /// Tiles whose columns of x share a cache line.
  @inline(__always) var tilesPerLine: Int { max(1, lanes / rows) }

  /// The place of sum `index` where rows lie `stride` apart.
  @inline(__always)
  func place(_ index: Int, _ stride: Int) -> Int { index / vectors * stride + index % vectors * lanes }
}

/// Where a tile has come to among the samples.
///
/// A line of x holds the columns of several tiles, and lines below each other are a row apart, which no prefetcher of the
/// CPU foresees: while some tiles use their lines, each asks for its part of the lines that come next.
private struct SampleCursor {
  var x: ConstPointer
  var z: ConstPointer
  var upcoming: ConstPointer
  var left: Int
  let xStride: Int
  let zStride: Int

  @inline(__always)
  init(_ shape: TileShape, _ x: MatrixView<Scalar>, _ z: MatrixView<Scalar>, _ row: Int, _ column: Int) {
    self.x = ConstPointer(x.base + row)
    self.z = ConstPointer(z.base + column)
    left = x.rows
    xStride = x.stride
    zStride = z.stride
    let nextLine = (row / lanes + 1) * lanes
    // After the last line come the first of the samples below.
    let next = nextLine < x.columns ? x.base + nextLine : x.base + x.rows * x.stride
    upcoming = ConstPointer(next + row / shape.rows % shape.tilesPerLine * (x.rows / shape.tilesPerLine) * x.stride)
  }

  /// One sample's products.
  @inline(__always)
  mutating func add(_ shape: TileShape, _ tile: inout SumTile) {
    tile.add(shape, x, z)
    x += xStride
    z += zStride
    left &-= 1
  }

  /// Those of all samples that are left, and a request beside each eight.
  ///
  /// `ahead` asks for the next lines of x, which pays where x outgrows the L2 cache.
  @inline(__always)
  mutating func addRest(
    _ shape: TileShape, _ tile: inout SumTile, ahead: Bool, _ requests: UnsafeMutablePointer<LineRequests>?
  ) {
    while left >= 8 {
      if ahead {
        for _ in 0..<8 / shape.tilesPerLine {
          lam_prefetch(upcoming)
          upcoming += xStride
        }
      }
      if let requests, requests.pointee.left > 0 {
        if requests.pointee.beginsGroup { askForPages(requests) }
        lam_prefetch(requests.pointee.next())
      }
      for _ in 0..<8 { add(shape, &tile) }
    }
    while left > 0 { add(shape, &tile) }
  }
}

/// Sixteen sums of a product in registers; every method is for a shape that is constant where it is called.
///
/// Named one by one, because neither a Swift array nor a C array of vectors stays in registers here.
private struct SumTile {
  var s0 = Vector.zero, s1 = Vector.zero, s2 = Vector.zero, s3 = Vector.zero
  var s4 = Vector.zero, s5 = Vector.zero, s6 = Vector.zero, s7 = Vector.zero
  var s8 = Vector.zero, s9 = Vector.zero, s10 = Vector.zero, s11 = Vector.zero
  var s12 = Vector.zero, s13 = Vector.zero, s14 = Vector.zero, s15 = Vector.zero

  @inline(__always)
  init() {}

  /// The sums at `p`.
  @inline(__always)
  init(_ shape: TileShape, _ p: ConstPointer, _ stride: Int) {
    s0 = lam_load(p + shape.place(0, stride))
    s1 = lam_load(p + shape.place(1, stride))
    s2 = lam_load(p + shape.place(2, stride))
    s3 = lam_load(p + shape.place(3, stride))
    s4 = lam_load(p + shape.place(4, stride))
    s5 = lam_load(p + shape.place(5, stride))
    s6 = lam_load(p + shape.place(6, stride))
    s7 = lam_load(p + shape.place(7, stride))
    s8 = lam_load(p + shape.place(8, stride))
    s9 = lam_load(p + shape.place(9, stride))
    s10 = lam_load(p + shape.place(10, stride))
    s11 = lam_load(p + shape.place(11, stride))
    s12 = lam_load(p + shape.place(12, stride))
    s13 = lam_load(p + shape.place(13, stride))
    s14 = lam_load(p + shape.place(14, stride))
    s15 = lam_load(p + shape.place(15, stride))
  }

  @inline(__always)
  func store(_ shape: TileShape, _ p: Pointer, _ stride: Int) {
    @inline(__always) func put(_ index: Int, _ sum: Vector) { lam_store(p + shape.place(index, stride), sum) }
    put(0, s0)
    put(1, s1)
    put(2, s2)
    put(3, s3)
    put(4, s4)
    put(5, s5)
    put(6, s6)
    put(7, s7)
    put(8, s8)
    put(9, s9)
    put(10, s10)
    put(11, s11)
    put(12, s12)
    put(13, s13)
    put(14, s14)
    put(15, s15)
  }

  /// sums[r, c] += x[r]·z[c]: one term of the inner dimension.
  @inline(__always)
  mutating func add(_ shape: TileShape, _ x: ConstPointer, _ z: ConstPointer) {
    @inline(__always) func add(_ sum: inout Vector, _ index: Int) {
      sum = lam_multiply_add(
        splat(x[index / shape.vectors]), lam_load(z + index % shape.vectors * lanes), sum)
    }
    add(&s0, 0)
    add(&s1, 1)
    add(&s2, 2)
    add(&s3, 3)
    add(&s4, 4)
    add(&s5, 5)
    add(&s6, 6)
    add(&s7, 7)
    add(&s8, 8)
    add(&s9, 9)
    add(&s10, 10)
    add(&s11, 11)
    add(&s12, 12)
    add(&s13, 13)
    add(&s14, 14)
    add(&s15, 15)
  }
}
