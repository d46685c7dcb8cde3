import Kernels
import LinearAlgebra

/// The products of a step: by BLAS in small pieces, but for the gradient of a kernel where this CPU has a kernel for it.
///
/// Copied out of the table so that a call touches no shared reference count.
package struct StepProducts<Scalar: NetworkScalar>: Sendable {
  private let transposed: (@Sendable (MatrixView<Scalar>, MatrixView<Scalar>, MatrixView<Scalar>, Bool) -> Void)?
  /// A product of a transposed matrix with Adam on its result, where there is one.
  let transposedWithAdam: WeightGradientKernels<Scalar>.ProductAdam?

  package init(_ table: KernelTable<Scalar>) {
    transposed = table.weightGradients.transposedProduct
    transposedWithAdam = table.weightGradients.transposedProductAdam
  }

  /// y = x·w.
  @inline(__always)
  package func multiply(_ x: MatrixView<Scalar>, _ w: MatrixView<Scalar>, into y: MatrixView<Scalar>) {
    TiledProduct.unsafeMultiply(
      transposeA: false, transposeB: false, m: x.rows, n: w.columns, k: w.rows, x.base, x.stride, w.base, w.stride,
      accumulate: false, y.base, y.stride)
  }

  /// y = xᵀ·z.
  @inline(__always)
  package func multiplyTransposed(_ x: MatrixView<Scalar>, _ z: MatrixView<Scalar>, into y: MatrixView<Scalar>) {
    guard let transposed, isWholeVectors(z.columns) else {
      return TiledProduct.unsafeMultiply(
        transposeA: true, transposeB: false, m: x.columns, n: z.columns, k: x.rows, x.base, x.stride, z.base, z.stride,
        accumulate: false, y.base, y.stride)
    }
    var sample = 0
    while sample < x.rows {
      let end = min(sample + TiledProduct.gradientDepth, x.rows)
      transposed(x.rows(sample..<end), z.rows(sample..<end), y, sample > 0)
      sample = end
    }
  }

  @inline(__always)
  func isWholeVectors(_ columns: Int) -> Bool { columns * MemoryLayout<Scalar>.stride % 64 == 0 }
}
