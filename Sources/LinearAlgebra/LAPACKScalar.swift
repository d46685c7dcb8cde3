internal import CLAPACKE

/// A scalar type that LAPACK computes in: Float and Double.
///
/// The extensions in this file are the one place that calls LAPACKE. All matrices are row-major; the methods check
/// nothing and return LAPACK's `info`: 0 for success, −i where argument i is illegal, and what the routine says where
/// it is positive.
public protocol LAPACKScalar: BLASScalar {
  /// Factors A, m × n, in place: R in and above the diagonal, Householder vectors below (`geqrf`).
  static func unsafeQRFactor(
    m: Int, n: Int, _ a: UnsafeMutablePointer<Self>, _ stride: Int, _ factors: UnsafeMutablePointer<Self>
  ) -> Int

  /// Makes the first n columns of Q, m × n, of the first k Householder vectors, in place (`orgqr`).
  static func unsafeFormQ(
    m: Int, n: Int, k: Int, _ a: UnsafeMutablePointer<Self>, _ stride: Int, _ factors: UnsafePointer<Self>
  ) -> Int

  /// Factors the symmetric A, n × n, of which the lower triangle is read, into L·Lᵀ in place (`potrf`).
  static func unsafeCholeskyFactor(
    n: Int, _ a: UnsafeMutablePointer<Self>, _ stride: Int
  ) -> Int

  /// Solves L·Lᵀ·X = B in place of B, n × columns (`potrs`).
  static func unsafeCholeskySolve(
    n: Int, columns: Int, _ factor: UnsafePointer<Self>, _ stride: Int, _ b: UnsafeMutablePointer<Self>, _ bStride: Int
  ) -> Int

  /// Solves A·X = B by LU factors with partial pivoting, in place of both (`gesv`).
  static func unsafeSolve(
    n: Int, columns: Int, _ a: UnsafeMutablePointer<Self>, _ stride: Int, _ b: UnsafeMutablePointer<Self>,
    _ bStride: Int
  ) -> Int

  /// The thin singular value decomposition of A, m × n, which is destroyed, by divide and conquer (`gesdd`).
  static func unsafeSingularValues(
    m: Int, n: Int, _ a: UnsafeMutablePointer<Self>, _ stride: Int, _ values: UnsafeMutablePointer<Self>,
    _ u: UnsafeMutablePointer<Self>, _ uStride: Int, _ vTransposed: UnsafeMutablePointer<Self>, _ vStride: Int
  ) -> Int

  /// Eigenvalues, ascending, and eigenvectors, in the columns of A, of the symmetric A, n × n (`syevd`).
  static func unsafeSymmetricEigen(
    n: Int, _ a: UnsafeMutablePointer<Self>, _ stride: Int, _ values: UnsafeMutablePointer<Self>
  ) -> Int

  /// Minimizes ‖A·X − B‖, X of least norm, in place of B, max(m, n) × columns, by the singular values (`gelsd`).
  static func unsafeLeastSquares(
    m: Int, n: Int, columns: Int, _ a: UnsafeMutablePointer<Self>, _ stride: Int, _ b: UnsafeMutablePointer<Self>,
    _ bStride: Int, _ values: UnsafeMutablePointer<Self>, relativeTolerance: Self, rank: inout Int
  ) -> Int
}

private let lowerTriangle = CChar(UInt8(ascii: "L"))
private let thinVectors = CChar(UInt8(ascii: "S"))
private let withVectors = CChar(UInt8(ascii: "V"))

extension Float: LAPACKScalar {
  /// `LAPACKE_sgeqrf`.
  public static func unsafeQRFactor(
    m: Int, n: Int, _ a: UnsafeMutablePointer<Float>, _ stride: Int, _ factors: UnsafeMutablePointer<Float>
  ) -> Int {
    Int(LAPACKE_sgeqrf(LAPACK_ROW_MAJOR, blasInteger(m), blasInteger(n), a, blasInteger(stride), factors))
  }

  /// `LAPACKE_sorgqr`.
  public static func unsafeFormQ(
    m: Int, n: Int, k: Int, _ a: UnsafeMutablePointer<Float>, _ stride: Int, _ factors: UnsafePointer<Float>
  ) -> Int {
    Int(
      LAPACKE_sorgqr(LAPACK_ROW_MAJOR, blasInteger(m), blasInteger(n), blasInteger(k), a, blasInteger(stride), factors))
  }

  /// `LAPACKE_spotrf`.
  public static func unsafeCholeskyFactor(
    n: Int, _ a: UnsafeMutablePointer<Float>, _ stride: Int
  ) -> Int {
    Int(LAPACKE_spotrf(LAPACK_ROW_MAJOR, lowerTriangle, blasInteger(n), a, blasInteger(stride)))
  }

  /// `LAPACKE_spotrs`.
  public static func unsafeCholeskySolve(
    n: Int, columns: Int, _ factor: UnsafePointer<Float>, _ stride: Int, _ b: UnsafeMutablePointer<Float>,
    _ bStride: Int
  ) -> Int {
    Int(
      LAPACKE_spotrs(
        LAPACK_ROW_MAJOR, lowerTriangle, blasInteger(n), blasInteger(columns), factor, blasInteger(stride), b,
        blasInteger(bStride)))
  }

  /// `LAPACKE_sgesv`.
  public static func unsafeSolve(
    n: Int, columns: Int, _ a: UnsafeMutablePointer<Float>, _ stride: Int, _ b: UnsafeMutablePointer<Float>,
    _ bStride: Int
  ) -> Int {
    withUnsafeTemporaryAllocation(of: Int32.self, capacity: n) { pivots in
      Int(
        LAPACKE_sgesv(
          LAPACK_ROW_MAJOR, blasInteger(n), blasInteger(columns), a, blasInteger(stride), pivots.baseAddress, b,
          blasInteger(bStride)))
    }
  }

  /// `LAPACKE_sgesdd`.
  public static func unsafeSingularValues(
    m: Int, n: Int, _ a: UnsafeMutablePointer<Float>, _ stride: Int, _ values: UnsafeMutablePointer<Float>,
    _ u: UnsafeMutablePointer<Float>, _ uStride: Int, _ vTransposed: UnsafeMutablePointer<Float>, _ vStride: Int
  ) -> Int {
    Int(
      LAPACKE_sgesdd(
        LAPACK_ROW_MAJOR, thinVectors, blasInteger(m), blasInteger(n), a, blasInteger(stride), values, u,
        blasInteger(uStride), vTransposed, blasInteger(vStride)))
  }

  /// `LAPACKE_ssyevd`.
  public static func unsafeSymmetricEigen(
    n: Int, _ a: UnsafeMutablePointer<Float>, _ stride: Int, _ values: UnsafeMutablePointer<Float>
  ) -> Int {
    Int(LAPACKE_ssyevd(LAPACK_ROW_MAJOR, withVectors, lowerTriangle, blasInteger(n), a, blasInteger(stride), values))
  }

  /// `LAPACKE_sgelsd`.
  public static func unsafeLeastSquares(
    m: Int, n: Int, columns: Int, _ a: UnsafeMutablePointer<Float>, _ stride: Int, _ b: UnsafeMutablePointer<Float>,
    _ bStride: Int, _ values: UnsafeMutablePointer<Float>, relativeTolerance: Float, rank: inout Int
  ) -> Int {
    var found: Int32 = 0
    let info = LAPACKE_sgelsd(
      LAPACK_ROW_MAJOR, blasInteger(m), blasInteger(n), blasInteger(columns), a, blasInteger(stride), b,
      blasInteger(bStride), values, relativeTolerance, &found)
    rank = Int(found)
    return Int(info)
  }
}

extension Double: LAPACKScalar {
  /// `LAPACKE_dgeqrf`.
  public static func unsafeQRFactor(
    m: Int, n: Int, _ a: UnsafeMutablePointer<Double>, _ stride: Int, _ factors: UnsafeMutablePointer<Double>
  ) -> Int {
    Int(LAPACKE_dgeqrf(LAPACK_ROW_MAJOR, blasInteger(m), blasInteger(n), a, blasInteger(stride), factors))
  }

  /// `LAPACKE_dorgqr`.
  public static func unsafeFormQ(
    m: Int, n: Int, k: Int, _ a: UnsafeMutablePointer<Double>, _ stride: Int, _ factors: UnsafePointer<Double>
  ) -> Int {
    Int(
      LAPACKE_dorgqr(LAPACK_ROW_MAJOR, blasInteger(m), blasInteger(n), blasInteger(k), a, blasInteger(stride), factors))
  }

  /// `LAPACKE_dpotrf`.
  public static func unsafeCholeskyFactor(
    n: Int, _ a: UnsafeMutablePointer<Double>, _ stride: Int
  ) -> Int {
    Int(LAPACKE_dpotrf(LAPACK_ROW_MAJOR, lowerTriangle, blasInteger(n), a, blasInteger(stride)))
  }

  /// `LAPACKE_dpotrs`.
  public static func unsafeCholeskySolve(
    n: Int, columns: Int, _ factor: UnsafePointer<Double>, _ stride: Int, _ b: UnsafeMutablePointer<Double>,
    _ bStride: Int
  ) -> Int {
    Int(
      LAPACKE_dpotrs(
        LAPACK_ROW_MAJOR, lowerTriangle, blasInteger(n), blasInteger(columns), factor, blasInteger(stride), b,
        blasInteger(bStride)))
  }

  /// `LAPACKE_dgesv`.
  public static func unsafeSolve(
    n: Int, columns: Int, _ a: UnsafeMutablePointer<Double>, _ stride: Int, _ b: UnsafeMutablePointer<Double>,
    _ bStride: Int
  ) -> Int {
    withUnsafeTemporaryAllocation(of: Int32.self, capacity: n) { pivots in
      Int(
        LAPACKE_dgesv(
          LAPACK_ROW_MAJOR, blasInteger(n), blasInteger(columns), a, blasInteger(stride), pivots.baseAddress, b,
          blasInteger(bStride)))
    }
  }

  /// `LAPACKE_dgesdd`.
  public static func unsafeSingularValues(
    m: Int, n: Int, _ a: UnsafeMutablePointer<Double>, _ stride: Int, _ values: UnsafeMutablePointer<Double>,
    _ u: UnsafeMutablePointer<Double>, _ uStride: Int, _ vTransposed: UnsafeMutablePointer<Double>, _ vStride: Int
  ) -> Int {
    Int(
      LAPACKE_dgesdd(
        LAPACK_ROW_MAJOR, thinVectors, blasInteger(m), blasInteger(n), a, blasInteger(stride), values, u,
        blasInteger(uStride), vTransposed, blasInteger(vStride)))
  }

  /// `LAPACKE_dsyevd`.
  public static func unsafeSymmetricEigen(
    n: Int, _ a: UnsafeMutablePointer<Double>, _ stride: Int, _ values: UnsafeMutablePointer<Double>
  ) -> Int {
    Int(LAPACKE_dsyevd(LAPACK_ROW_MAJOR, withVectors, lowerTriangle, blasInteger(n), a, blasInteger(stride), values))
  }

  /// `LAPACKE_dgelsd`.
  public static func unsafeLeastSquares(
    m: Int, n: Int, columns: Int, _ a: UnsafeMutablePointer<Double>, _ stride: Int, _ b: UnsafeMutablePointer<Double>,
    _ bStride: Int, _ values: UnsafeMutablePointer<Double>, relativeTolerance: Double, rank: inout Int
  ) -> Int {
    var found: Int32 = 0
    let info = LAPACKE_dgelsd(
      LAPACK_ROW_MAJOR, blasInteger(m), blasInteger(n), blasInteger(columns), a, blasInteger(stride), b,
      blasInteger(bStride), values, relativeTolerance, &found)
    rank = Int(found)
    return Int(info)
  }
}
