/// Products that BLAS cannot fuse with what follows them; nil where the build's registers are too few for them.
public final class WeightGradientKernels<Scalar>: @unchecked Sendable {
  /// A vector or matrix of scalars.
  public typealias Pointer = UnsafeMutablePointer<Scalar>

  /// `(x, z, y, accumulate)`: y = xᵀ·z, or y += xᵀ·z: the gradient of a kernel from its inputs and output gradients.
  ///
  /// x is samples × inputs, z samples × units, y inputs × units; y's columns are whole vectors (a multiple of 64 bytes),
  /// to which those of z may be rounded up: z is read that far and holds zeros there. Each element is summed in the order
  /// of the samples, of which those whose x is 0 may be left out.
  public var transposedProduct: (@Sendable (MatrixView<Scalar>, MatrixView<Scalar>, MatrixView<Scalar>, Bool) -> Void)?

  /// Samples that it is best given at once: the lines of x and z of a tile stay in the L1 cache.
  public var samplesTogether = 128

  /// `(x, z, y, requests)`: the same for up to 64 samples, y = xᵀ·z, to the bit; meanwhile lines of `requests` are asked
  /// for, one with every eight samples of a tile of 6 rows and 64 bytes at most, until none is left.
  public var transposedProductAsking: ProductAsking?

  /// The form of `transposedProductAsking`.
  public typealias ProductAsking =
    @Sendable (MatrixView<Scalar>, MatrixView<Scalar>, MatrixView<Scalar>, UnsafeMutablePointer<LineRequests>) -> Void

  /// `(x, z, partial, w, m, v, sums, alpha, beta1, beta2, epsilon, decay, requests)`: Adam on w with the gradient xᵀ·z + partial.
  ///
  /// w, m and v are inputs × units without gaps, as are `partial` (nil: zeros) and y above; `sums` holds 16 vectors of 64
  /// bytes. The gradient's bits are those of `transposedProduct`, the update's those of `OptimizerKernels.adam`. The
  /// update of some rows runs while the next rows are summed: the divider is idle in a product. With `requests` one of
  /// its lines is asked for with every eight samples, until none is left.
  public var transposedProductAdam: ProductAdam?

  /// The form of `transposedProductAdam`.
  public typealias ProductAdam =
    @Sendable (
      MatrixView<Scalar>, MatrixView<Scalar>, UnsafePointer<Scalar>?, Pointer, Pointer, Pointer, Pointer, Double,
      Double, Double, Double, Double, UnsafeMutablePointer<LineRequests>?
    ) -> Void

  init() {}
}
