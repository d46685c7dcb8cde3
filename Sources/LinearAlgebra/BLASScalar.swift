internal import COpenBLAS

/// A scalar type that BLAS computes in: Float and Double.
///
/// The extensions in this file are the one place that calls CBLAS.
/// The methods here check nothing: shapes are the callers' to check (`Tensor`'s products, or a compiled plan).
public protocol BLASScalar: BinaryFloatingPoint, SIMDScalar, Codable, Sendable {
  /// C = alpha·op(A)·op(B) + beta·C with op(A) m × k, op(B) k × n, all row-major with the given leading dimensions.
  static func unsafeMultiply(
    transposeA: Bool, transposeB: Bool, m: Int, n: Int, k: Int, alpha: Self,
    _ a: UnsafePointer<Self>, _ aStride: Int, _ b: UnsafePointer<Self>, _ bStride: Int,
    beta: Self, _ c: UnsafeMutablePointer<Self>, _ cStride: Int)
}

/// The one narrowing from Int to BLAS's integer.
@inline(__always)
func blasInteger(_ value: Int) -> blasint {
  precondition(value >= 0 && value <= Int(blasint.max), "\(value) does not fit BLAS's 32-bit integer")
  return blasint(truncatingIfNeeded: value)
}

extension Float: BLASScalar {
  /// `cblas_sgemm`.
  public static func unsafeMultiply(
    transposeA: Bool, transposeB: Bool, m: Int, n: Int, k: Int, alpha: Float,
    _ a: UnsafePointer<Float>, _ aStride: Int, _ b: UnsafePointer<Float>, _ bStride: Int,
    beta: Float, _ c: UnsafeMutablePointer<Float>, _ cStride: Int
  ) {
    cblas_sgemm(
      CblasRowMajor, transposeA ? CblasTrans : CblasNoTrans, transposeB ? CblasTrans : CblasNoTrans,
      blasInteger(m), blasInteger(n), blasInteger(k), alpha, a, blasInteger(aStride), b, blasInteger(bStride),
      beta, c, blasInteger(cStride))
  }
}

extension Double: BLASScalar {
  /// `cblas_dgemm`.
  public static func unsafeMultiply(
    transposeA: Bool, transposeB: Bool, m: Int, n: Int, k: Int, alpha: Double,
    _ a: UnsafePointer<Double>, _ aStride: Int, _ b: UnsafePointer<Double>, _ bStride: Int,
    beta: Double, _ c: UnsafeMutablePointer<Double>, _ cStride: Int
  ) {
    cblas_dgemm(
      CblasRowMajor, transposeA ? CblasTrans : CblasNoTrans, transposeB ? CblasTrans : CblasNoTrans,
      blasInteger(m), blasInteger(n), blasInteger(k), alpha, a, blasInteger(aStride), b, blasInteger(bStride),
      beta, c, blasInteger(cStride))
  }
}
