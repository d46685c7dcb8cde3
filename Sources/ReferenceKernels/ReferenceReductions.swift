import KernelInterface

// Sums and checks, as in `ReductionKernels`.
extension ReferenceKernels {
  /// The sum of each column.
  @inlinable
  public static func columnSums<T: BinaryFloatingPoint>(_ x: MatrixView<T>, _ sums: UnsafeMutablePointer<T>) {
    for column in 0..<x.columns {
      var sum: T = 0
      for row in 0..<x.rows { sum += x.base[row * x.stride + column] }
      sums[column] = sum
    }
  }

  /// Σ x².
  @inlinable
  public static func sumOfSquares<T: BinaryFloatingPoint>(_ x: UnsafePointer<T>, _ count: Int) -> Double {
    var sum = 0.0
    for i in 0..<count { sum += Double(x[i]) * Double(x[i]) }
    return sum
  }

  /// Whether no element is NaN or infinite.
  @inlinable
  public static func allFinite<T: BinaryFloatingPoint>(_ x: UnsafePointer<T>, _ count: Int) -> Bool {
    for i in 0..<count where !x[i].isFinite { return false }
    return true
  }

  /// y += factor·x.
  @inlinable
  public static func addScaled<T: BinaryFloatingPoint>(
    _ x: UnsafePointer<T>, _ factor: Double, _ y: UnsafeMutablePointer<T>, _ count: Int
  ) {
    for i in 0..<count { y[i] += T(factor) * x[i] }
  }
}
