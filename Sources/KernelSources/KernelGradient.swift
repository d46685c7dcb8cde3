// dW = Xᵀ·dZ where the samples are few, or the columns, or all of them are summed in one go.

internal import CKernelShims
import KernelInterface

/// Samples whose outputs stay in registers.
@inline(__always) private var fewSamples: Int { 4 }

/// y = xᵀ·z, or y += xᵀ·z for few columns only; z may have fewer columns than y, which is zero there.
///
/// Columns left over from whole vectors are summed with rows in the lanes, where that takes fewer vectors.
func kernelGradient(_ x: MatrixView<Scalar>, _ z: MatrixView<Scalar>, _ y: MatrixView<Scalar>) {
  let few = z.columns % lanes
  let isSplit = x.rows > fewSamples && hasFewColumns(x, columns: few)
  let vectors = isSplit ? z.columns / lanes : y.columns / lanes
  var vector = 0
  while vector < vectors {
    let column = vector * lanes
    var count = min(vectors - vector, 4)
    if x.rows <= fewSamples {
      if x.rows <= 2 && vectors - vector >= 8 { count = 8 }
      multiplyFewSamples(x, z, y, column, count)
    } else {
      multiplySamples(x, z, y, column, count)
    }
    vector += count
  }
  if isSplit { multiplyFewColumns(x, z, y, vectors * lanes, false) }
}

/// Whether the sums of `columns` columns are better held with rows in the lanes.
@inline(__always)
func hasFewColumns(_ x: MatrixView<Scalar>, columns: Int) -> Bool {
  columns > 0 && columns <= Int(lam_most_few_columns()) && x.columns >= lanes
}

/// The columns of z from `column` on.
@inline(never)
func multiplyFewColumns(
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
  _ x: MatrixView<Scalar>, _ z: MatrixView<Scalar>, _ y: MatrixView<Scalar>, _ column: Int, _ vectors: Int
) {
  let rows = Int(lam_gradient_rows(Int64(vectors)))
  if x.columns < rows { return multiplyFew(x, z, y, false, column, vectors) }
  let (from, samples) = (z.base + column, Int64(x.rows))
  let (xStride, zStride, yStride) = (Int64(x.stride), Int64(z.stride), Int64(y.stride))
  var done = 0
  while done < x.columns {
    let row = min(done, x.columns - rows)
    let to = y.base + row * y.stride + column
    switch vectors {
    case 1: lam_gradient_tile_1(x.base + row, xStride, from, zStride, samples, to, yStride)
    case 2: lam_gradient_tile_2(x.base + row, xStride, from, zStride, samples, to, yStride)
    case 3: lam_gradient_tile_3(x.base + row, xStride, from, zStride, samples, to, yStride)
    default: lam_gradient_tile_4(x.base + row, xStride, from, zStride, samples, to, yStride)
    }
    done = row + rows
  }
}
