// dW = Xᵀ·dZ in register tiles, and in shapes of their own where the samples are few, or the columns.

internal import CKernelShims
import KernelInterface

/// Samples whose outputs stay in registers.
@inline(__always) private var fewSamples: Int { 4 }

/// y = xᵀ·z, or y += xᵀ·z; z may have fewer columns than y, which is zero there.
///
/// Columns left over from whole vectors are summed with rows in the lanes, where that takes fewer vectors.
func transposedProduct(_ x: MatrixView<Scalar>, _ z: MatrixView<Scalar>, _ y: MatrixView<Scalar>, _ adds: Bool) {
  let hasFewSamples = x.rows <= fewSamples && !adds
  let isSplit = !hasFewSamples && hasFewColumns(x, columns: z.columns % lanes)
  let vectors = isSplit ? z.columns / lanes : y.columns / lanes
  var vector = 0
  while vector < vectors {
    let column = vector * lanes
    var count = min(vectors - vector, 4)
    if hasFewSamples {
      if x.rows <= 2 && vectors - vector >= 8 { count = 8 }
      multiplyFewSamples(x, z, y, column, count)
    } else {
      multiplySamples(x, z, y, adds, column, count)
    }
    vector += count
  }
  if isSplit { multiplyFewColumns(x, z, y, vectors * lanes, adds) }
}

/// Whether the sums of `columns` columns are better held with rows in the lanes.
@inline(__always)
private func hasFewColumns(_ x: MatrixView<Scalar>, columns: Int) -> Bool {
  columns > 0 && columns <= Int(lam_most_few_columns()) && x.columns >= lanes
}

/// The columns of z from `column` on.
@inline(never)
private func multiplyFewColumns(
  _ x: MatrixView<Scalar>, _ z: MatrixView<Scalar>, _ y: MatrixView<Scalar>, _ column: Int, _ adds: Bool
) {
  // Of fewer rows than two vectors have, both compute the same sums of those in which they overlap.
  let apart = min(lanes, x.columns - lanes)
  var done = 0
  while done < x.columns {
    // The last rows overlap those before where fewer are left, and leave them alone.
    let row = max(0, min(done, x.columns - 2 * lanes))
    lam_few_columns(
      x.base + row, Int64(x.stride), Int64(apart), z.base + column, Int64(z.stride), Int64(x.rows),
      y.base + row * y.stride + column, Int64(y.stride), Int64(z.columns - column), Int64(done - row), adds ? 1 : 0)
    done = row + 2 * lanes
  }
}

@inline(never)
private func multiplyFewSamples(
  _ x: MatrixView<Scalar>, _ z: MatrixView<Scalar>, _ y: MatrixView<Scalar>, _ column: Int, _ vectors: Int
) {
  let (from, to) = (z.base + column, y.base + column)
  let (samples, rows) = (Int64(x.rows), Int64(x.columns))
  let (xStride, zStride, yStride) = (Int64(x.stride), Int64(z.stride), Int64(y.stride))
  switch vectors {
  case 1: lam_few_samples_1(samples, x.base, xStride, from, zStride, rows, to, yStride)
  case 2: lam_few_samples_2(samples, x.base, xStride, from, zStride, rows, to, yStride)
  case 3: lam_few_samples_3(samples, x.base, xStride, from, zStride, rows, to, yStride)
  case 8: lam_few_samples_8(samples, x.base, xStride, from, zStride, rows, to, yStride)
  default: lam_few_samples_4(samples, x.base, xStride, from, zStride, rows, to, yStride)
  }
}

@inline(never)
private func multiplySamples(
  _ x: MatrixView<Scalar>, _ z: MatrixView<Scalar>, _ y: MatrixView<Scalar>, _ adds: Bool, _ column: Int,
  _ vectors: Int
) {
  let isLow = x.columns < Int(lam_gradient_rows(Int64(vectors)))
  let rows = Int(isLow ? lam_low_gradient_rows(Int64(vectors)) : lam_gradient_rows(Int64(vectors)))
  if x.columns < rows { return multiplyFew(x, z, y, adds, column, vectors) }
  var done = 0
  while done < x.columns {
    // The last tile overlaps the one before where fewer rows are left, and leaves those alone.
    let row = min(done, x.columns - rows)
    lam_gradient_tile(
      Int64(vectors), isLow, x.base + row, Int64(x.stride), z.base + column, Int64(z.stride), Int64(x.rows),
      y.base + row * y.stride + column, Int64(y.stride), Int64(done - row), Int64(rows), adds ? 1 : 0)
    done = row + rows
  }
}

/// The same for fewer rows than a tile has, one row and vector at a time.
private func multiplyFew(
  _ x: MatrixView<Scalar>, _ z: MatrixView<Scalar>, _ y: MatrixView<Scalar>, _ adds: Bool, _ column: Int,
  _ vectors: Int
) {
  for row in 0..<x.columns {
    for part in 0..<vectors {
      let target = y.base + (row * y.stride + column + part * lanes)
      var sum = adds ? lam_load(target) : Vector.zero
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
