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

  /// y = alpha·op(A)·x + beta·y with A m × n, row-major; x and y are contiguous.
  ///
  /// With beta = 0, y is only written. Where m or n is 0 the call does nothing at all, not even scale y.
  static func unsafeMultiplyVector(
    transposeA: Bool, m: Int, n: Int, alpha: Self, _ a: UnsafePointer<Self>, _ aStride: Int,
    _ x: UnsafePointer<Self>, beta: Self, _ y: UnsafeMutablePointer<Self>)

  /// The lower triangle of C = alpha·AᵀA + beta·C with A k × n, C n × n, row-major; the upper triangle is left alone.
  static func unsafeAccumulateGram(
    n: Int, k: Int, alpha: Self, _ a: UnsafePointer<Self>, _ aStride: Int,
    beta: Self, _ c: UnsafeMutablePointer<Self>, _ cStride: Int)

  /// Σ xᵢ·yᵢ.
  static func unsafeDot(_ count: Int, _ x: UnsafePointer<Self>, _ y: UnsafePointer<Self>) -> Self

  /// y += alpha·x.
  static func unsafeAddScaled(
    _ count: Int, _ alpha: Self, _ x: UnsafePointer<Self>, _ y: UnsafeMutablePointer<Self>)

  /// x = alpha·x.
  static func unsafeScale(_ count: Int, _ alpha: Self, _ x: UnsafeMutablePointer<Self>)

  /// √Σ xᵢ², without overflow on the way.
  static func unsafeNorm2(_ count: Int, _ x: UnsafePointer<Self>) -> Self

  /// Σ |xᵢ|.
  static func unsafeAbsoluteSum(_ count: Int, _ x: UnsafePointer<Self>) -> Self

  /// The first i whose |xᵢ| is largest.
  static func unsafeIndexOfLargestMagnitude(_ count: Int, _ x: UnsafePointer<Self>) -> Int

  /// Writes the scalars as Doubles, exactly; a loop over a known type, which generic code does not give.
  static func unsafeWiden(_ count: Int, _ x: UnsafePointer<Self>, _ wide: UnsafeMutablePointer<Double>)

  /// Writes the Doubles rounded to nearest; a loop over a known type, which generic code does not give.
  static func unsafeRound(_ count: Int, _ wide: UnsafePointer<Double>, _ x: UnsafeMutablePointer<Self>)
}

/// The largest length that BLAS's integer can hold.
let largestBLASInteger = Int(blasint.max)

/// The one narrowing from Int to BLAS's integer.
@inline(__always)
func blasInteger(_ value: Int) -> blasint {
  precondition(value >= 0 && value <= largestBLASInteger, "\(value) does not fit BLAS's 32-bit integer")
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

  /// `cblas_sgemv`.
  public static func unsafeMultiplyVector(
    transposeA: Bool, m: Int, n: Int, alpha: Float, _ a: UnsafePointer<Float>, _ aStride: Int,
    _ x: UnsafePointer<Float>, beta: Float, _ y: UnsafeMutablePointer<Float>
  ) {
    cblas_sgemv(
      CblasRowMajor, transposeA ? CblasTrans : CblasNoTrans, blasInteger(m), blasInteger(n), alpha,
      a, blasInteger(aStride), x, 1, beta, y, 1)
  }

  /// `cblas_ssyrk`.
  public static func unsafeAccumulateGram(
    n: Int, k: Int, alpha: Float, _ a: UnsafePointer<Float>, _ aStride: Int,
    beta: Float, _ c: UnsafeMutablePointer<Float>, _ cStride: Int
  ) {
    cblas_ssyrk(
      CblasRowMajor, CblasLower, CblasTrans, blasInteger(n), blasInteger(k), alpha, a, blasInteger(aStride),
      beta, c, blasInteger(cStride))
  }

  /// `cblas_sdot`.
  public static func unsafeDot(_ count: Int, _ x: UnsafePointer<Float>, _ y: UnsafePointer<Float>) -> Float {
    cblas_sdot(blasInteger(count), x, 1, y, 1)
  }

  /// `cblas_saxpy`.
  public static func unsafeAddScaled(
    _ count: Int, _ alpha: Float, _ x: UnsafePointer<Float>, _ y: UnsafeMutablePointer<Float>
  ) {
    cblas_saxpy(blasInteger(count), alpha, x, 1, y, 1)
  }

  /// `cblas_sscal`.
  public static func unsafeScale(_ count: Int, _ alpha: Float, _ x: UnsafeMutablePointer<Float>) {
    cblas_sscal(blasInteger(count), alpha, x, 1)
  }

  /// `cblas_snrm2`.
  public static func unsafeNorm2(_ count: Int, _ x: UnsafePointer<Float>) -> Float {
    cblas_snrm2(blasInteger(count), x, 1)
  }

  /// `cblas_sasum`.
  public static func unsafeAbsoluteSum(_ count: Int, _ x: UnsafePointer<Float>) -> Float {
    cblas_sasum(blasInteger(count), x, 1)
  }

  /// `cblas_isamax`.
  public static func unsafeIndexOfLargestMagnitude(_ count: Int, _ x: UnsafePointer<Float>) -> Int {
    Int(cblas_isamax(blasInteger(count), x, 1))
  }

  /// Each scalar as a Double.
  public static func unsafeWiden(_ count: Int, _ x: UnsafePointer<Float>, _ wide: UnsafeMutablePointer<Double>) {
    for index in 0..<count { wide[index] = Double(x[index]) }
  }

  /// Each Double rounded to Float.
  public static func unsafeRound(_ count: Int, _ wide: UnsafePointer<Double>, _ x: UnsafeMutablePointer<Float>) {
    for index in 0..<count { x[index] = Float(wide[index]) }
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

  /// `cblas_dgemv`.
  public static func unsafeMultiplyVector(
    transposeA: Bool, m: Int, n: Int, alpha: Double, _ a: UnsafePointer<Double>, _ aStride: Int,
    _ x: UnsafePointer<Double>, beta: Double, _ y: UnsafeMutablePointer<Double>
  ) {
    cblas_dgemv(
      CblasRowMajor, transposeA ? CblasTrans : CblasNoTrans, blasInteger(m), blasInteger(n), alpha,
      a, blasInteger(aStride), x, 1, beta, y, 1)
  }

  /// `cblas_dsyrk`.
  public static func unsafeAccumulateGram(
    n: Int, k: Int, alpha: Double, _ a: UnsafePointer<Double>, _ aStride: Int,
    beta: Double, _ c: UnsafeMutablePointer<Double>, _ cStride: Int
  ) {
    cblas_dsyrk(
      CblasRowMajor, CblasLower, CblasTrans, blasInteger(n), blasInteger(k), alpha, a, blasInteger(aStride),
      beta, c, blasInteger(cStride))
  }

  /// `cblas_ddot`.
  public static func unsafeDot(_ count: Int, _ x: UnsafePointer<Double>, _ y: UnsafePointer<Double>) -> Double {
    cblas_ddot(blasInteger(count), x, 1, y, 1)
  }

  /// `cblas_daxpy`.
  public static func unsafeAddScaled(
    _ count: Int, _ alpha: Double, _ x: UnsafePointer<Double>, _ y: UnsafeMutablePointer<Double>
  ) {
    cblas_daxpy(blasInteger(count), alpha, x, 1, y, 1)
  }

  /// `cblas_dscal`.
  public static func unsafeScale(_ count: Int, _ alpha: Double, _ x: UnsafeMutablePointer<Double>) {
    cblas_dscal(blasInteger(count), alpha, x, 1)
  }

  /// `cblas_dnrm2`.
  public static func unsafeNorm2(_ count: Int, _ x: UnsafePointer<Double>) -> Double {
    cblas_dnrm2(blasInteger(count), x, 1)
  }

  /// `cblas_dasum`.
  public static func unsafeAbsoluteSum(_ count: Int, _ x: UnsafePointer<Double>) -> Double {
    cblas_dasum(blasInteger(count), x, 1)
  }

  /// `cblas_idamax`.
  public static func unsafeIndexOfLargestMagnitude(_ count: Int, _ x: UnsafePointer<Double>) -> Int {
    Int(cblas_idamax(blasInteger(count), x, 1))
  }

  /// Each scalar as a Double.
  public static func unsafeWiden(_ count: Int, _ x: UnsafePointer<Double>, _ wide: UnsafeMutablePointer<Double>) {
    wide.update(from: x, count: count)
  }

  /// Each Double rounded to Double.
  public static func unsafeRound(_ count: Int, _ wide: UnsafePointer<Double>, _ x: UnsafeMutablePointer<Double>) {
    x.update(from: wide, count: count)
  }
}
