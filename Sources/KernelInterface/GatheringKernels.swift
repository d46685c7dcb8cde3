/// Batches drawn from a data set by row number.
public final class GatheringKernels<Scalar>: @unchecked Sendable {
  /// `(source, indices, y, scale, offset)`: y[r, c] = source[indices[r]·columns + c]·scale + offset.
  public var bytes:
    (@Sendable (UnsafePointer<UInt8>, UnsafePointer<Int32>, MatrixView<Scalar>, Double, Double) -> Void)!

  /// `(source, indices, y, scale, offset)`: the same with a scale and an offset for each column.
  public var bytesByColumn:
    (
      @Sendable (
        UnsafePointer<UInt8>, UnsafePointer<Int32>, MatrixView<Scalar>, UnsafePointer<Scalar>, UnsafePointer<Scalar>
      ) -> Void
    )!

  /// `(source, indices, y, scale, offset)`: rows of scalars; scale and offset by column, or both nil for a plain copy.
  public var scalars:
    (
      @Sendable (
        UnsafePointer<Scalar>, UnsafePointer<Int32>, MatrixView<Scalar>, UnsafePointer<Scalar>?, UnsafePointer<Scalar>?
      ) -> Void
    )!

  init() {}
}
