// dW = Xᵀ·dZ in register tiles of sixteen sums, alone or with Adam.
//
// With Adam, the update of one tile is computed between the multiply-adds of the next: square root and division occupy
// the divider, which a product leaves idle, and the weights and moments arrive from memory meanwhile.

internal import CKernelShims
import KernelInterface

// MARK: Product

func transposedProduct(
  _ x: MatrixView<Scalar>, _ z: MatrixView<Scalar>, _ y: MatrixView<Scalar>, _ accumulates: Bool
) {
  var column = 0
  while column < y.columns {
    let left = y.columns - column
    if left >= 4 * lanes {
      multiply(.rows4, x, z, y, accumulates, column)
      column += 4 * lanes
    } else if left >= 2 * lanes {
      multiply(.rows8, x, z, y, accumulates, column)
      column += 2 * lanes
    } else {
      multiply(.rows16, x, z, y, accumulates, column)
      column += lanes
    }
  }
}

/// `shape.vectors` vectors of columns from `column` on.
@inline(__always)
private func multiply(
  _ shape: TileShape, _ x: MatrixView<Scalar>, _ z: MatrixView<Scalar>, _ y: MatrixView<Scalar>, _ accumulates: Bool,
  _ column: Int
) {
  let rows = shape.rows
  var done = 0
  while done < x.columns {
    if x.columns < rows {
      multiplyFew(x, z, y, accumulates, column, shape.vectors)
      return
    }
    // The last tile overlaps the one before where fewer rows are left, and stores only those.
    let row = min(done, x.columns - rows)
    let target = y.base + (row * y.stride + column)
    var tile = accumulates ? SumTile(shape, target, y.stride) : SumTile()
    var xRow = x.base + row
    var zRow = z.base + column
    for _ in 0..<x.rows {
      tile.add(shape, xRow, zRow)
      xRow += x.stride
      zRow += z.stride
    }
    if row == done {
      tile.store(shape, target, y.stride)
    } else {
      tile.store(shape, target, y.stride, from: done - row)
    }
    done = row + rows
  }
}

/// The same for fewer rows than a tile has, one row and vector at a time.
private func multiplyFew(
  _ x: MatrixView<Scalar>, _ z: MatrixView<Scalar>, _ y: MatrixView<Scalar>, _ accumulates: Bool, _ column: Int,
  _ vectors: Int
) {
  for row in 0..<x.columns {
    for part in 0..<vectors {
      let target = y.base + (row * y.stride + column + part * lanes)
      var sum = accumulates ? lam_load(target) : Vector.zero
      var xRow = x.base + row
      var zRow = z.base + (column + part * lanes)
      for _ in 0..<x.rows {
        sum = lam_multiply_add(splat(xRow[0]), lam_load(zRow), sum)
        xRow += x.stride
        zRow += z.stride
      }
      lam_store(target, sum)
    }
  }
}

// MARK: Product and Adam

/// A tile whose gradient waits in `sums` for its update.
private struct PendingTile {
  /// Its first element in the weights.
  var place = 0
  /// The first row that is to be updated; `rows` of the shape where none is.
  var firstRow: Int
}

private struct AdamVectors {
  let step: AdamStep
  let w: Pointer
  let m: Pointer
  let v: Pointer

  @inline(__always)
  func update(_ offset: Int, _ gradient: Vector) {
    let first = step.first(lam_load(m + offset), gradient)
    let second = step.second(lam_load(v + offset), gradient)
    lam_store(m + offset, first)
    lam_store(v + offset, second)
    lam_store(w + offset, step.weights(lam_load(w + offset), first, second))
  }
}

func transposedProductAdam(
  _ x: MatrixView<Scalar>, _ z: MatrixView<Scalar>, _ partial: ConstPointer?, _ w: Pointer, _ m: Pointer, _ v: Pointer,
  _ sums: Pointer, _ alpha: Double, _ beta1: Double, _ beta2: Double, _ epsilon: Double, _ decay: Double
) {
  let vectors = AdamVectors(step: AdamStep(alpha, beta1, beta2, epsilon, decay), w: w, m: m, v: v)
  var column = 0
  while column < z.columns {
    let left = z.columns - column
    if left >= 4 * lanes {
      multiplyAdam(.rows4, x, z, partial, vectors, sums, column)
      column += 4 * lanes
    } else if left >= 2 * lanes {
      multiplyAdam(.rows8, x, z, partial, vectors, sums, column)
      column += 2 * lanes
    } else {
      multiplyAdam(.rows16, x, z, partial, vectors, sums, column)
      column += lanes
    }
  }
}

@inline(__always)
private func multiplyAdam(
  _ shape: TileShape, _ x: MatrixView<Scalar>, _ z: MatrixView<Scalar>, _ partial: ConstPointer?,
  _ vectors: AdamVectors, _ sums: Pointer, _ column: Int
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
    var xRow = x.base + row
    var zRow = z.base + column
    var sample = 0
    var waiting = pending.firstRow * perRow
    // One vector's update beside each sample's products.
    let beside = min(x.rows, 16 - waiting)
    while sample < beside {
      vectors.update(
        pending.place + waiting / perRow * width + waiting % perRow * lanes, lam_load(sums + waiting * lanes))
      tile.add(shape, xRow, zRow)
      xRow += x.stride
      zRow += z.stride
      waiting += 1
      sample += 1
    }
    while waiting < 16 {
      vectors.update(
        pending.place + waiting / perRow * width + waiting % perRow * lanes, lam_load(sums + waiting * lanes))
      waiting += 1
    }
    while sample < x.rows {
      tile.add(shape, xRow, zRow)
      xRow += x.stride
      zRow += z.stride
      sample += 1
    }
    tile.store(shape, sums, perRow * lanes)
    pending = PendingTile(place: place, firstRow: done - row)
    done = row + rows
  }
  for waiting in pending.firstRow * perRow..<16 {
    vectors.update(
      pending.place + waiting / perRow * width + waiting % perRow * lanes, lam_load(sums + waiting * lanes))
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
