import KernelInterface

// Batches drawn by row number, as in `GatheringKernels`.
extension ReferenceKernels {
  /// y[r, c] = source[indices[r]·columns + c]·scale + offset.
  @inlinable
  public static func gatherBytes<T: BinaryFloatingPoint>(
    _ source: UnsafePointer<UInt8>, _ indices: UnsafePointer<Int32>, _ y: MatrixView<T>, _ scale: Double,
    _ offset: Double
  ) {
    for row in 0..<y.rows {
      for column in 0..<y.columns {
        let byte = source[Int(indices[row]) * y.columns + column]
        y.base[row * y.stride + column] = T(byte) * T(scale) + T(offset)
      }
    }
  }

  /// y[r, c] = source[indices[r]·columns + c]·scale[c] + offset[c].
  @inlinable
  public static func gatherBytesByColumn<T: BinaryFloatingPoint>(
    _ source: UnsafePointer<UInt8>, _ indices: UnsafePointer<Int32>, _ y: MatrixView<T>, _ scale: UnsafePointer<T>,
    _ offset: UnsafePointer<T>
  ) {
    for row in 0..<y.rows {
      for column in 0..<y.columns {
        let byte = source[Int(indices[row]) * y.columns + column]
        y.base[row * y.stride + column] = T(byte) * scale[column] + offset[column]
      }
    }
  }

  /// Rows of scalars; scale and offset by column, or both nil for a plain copy.
  @inlinable
  public static func gatherScalars<T: BinaryFloatingPoint>(
    _ source: UnsafePointer<T>, _ indices: UnsafePointer<Int32>, _ y: MatrixView<T>, _ scale: UnsafePointer<T>?,
    _ offset: UnsafePointer<T>?
  ) {
    for row in 0..<y.rows {
      for column in 0..<y.columns {
        var value = source[Int(indices[row]) * y.columns + column]
        if let scale, let offset { value = value * scale[column] + offset[column] }
        y.base[row * y.stride + column] = value
      }
    }
  }
}
