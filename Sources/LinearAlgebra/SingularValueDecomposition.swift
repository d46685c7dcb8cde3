/// The thin singular value decomposition A = U·diag(σ)·Vᵀ of a matrix, by divide and conquer.
///
/// A is m × n and k = min(m, n): U is m × k and Vᵀ k × n, with orthonormal columns and rows; σ has k elements, none
/// negative, in descending order. The signs of a pair of vectors are arbitrary.
public struct SingularValueDecomposition<Scalar: LAPACKScalar>: Sendable {
  /// The left singular vectors: the orthonormal columns of an m × k matrix.
  public let u: Tensor<Scalar>
  /// The k singular values, descending.
  public let singularValues: Tensor<Scalar>
  /// The right singular vectors: the orthonormal rows of a k × n matrix.
  public let vTransposed: Tensor<Scalar>

  /// Decomposes `a`.
  ///
  /// - Throws: `LAPACKError` where `a` is no matrix, is empty or holds NaN or infinity, and `.noConvergence`.
  public init(_ a: Tensor<Scalar>) throws(LAPACKError) {
    try a.checkIsMatrix("SingularValueDecomposition", argument: "the matrix")
    let (m, n) = (a.shape[0], a.shape[1])
    let k = min(m, n)
    var (destroyed, values) = (a, Tensor<Scalar>.zeros([k]))
    var (left, right) = (Tensor<Scalar>.zeros([m, k]), Tensor<Scalar>.zeros([k, n]))
    BLAS.prepare()
    let info = destroyed.withUnsafeMutableBufferPointer { a in
      values.withUnsafeMutableBufferPointer { values in
        left.withUnsafeMutableBufferPointer { u in
          right.withUnsafeMutableBufferPointer { v in
            Scalar.unsafeSingularValues(
              m: m, n: n, a.baseAddress!, n, values.baseAddress!, u.baseAddress!, k, v.baseAddress!, n)
          }
        }
      }
    }
    try LAPACKError.check(info, "gesdd") { .noConvergence(routine: "gesdd", remaining: $0) }
    (u, singularValues, vTransposed) = (left, values, right)
  }

  /// The number of singular values above `relativeTolerance` times the largest.
  ///
  /// - Parameter relativeTolerance: default max(m, n)·ulp of 1, the size of the rounding errors.
  public func rank(relativeTolerance: Scalar? = nil) -> Int {
    let tolerance = relativeTolerance ?? Scalar(max(u.shape[0], vTransposed.shape[1])) * .ulpOfOne
    return singularValues.scalars.count { $0 > tolerance * singularValues[0] }
  }

  /// The largest singular value over the smallest: how much a solution can magnify relative errors; may be infinite.
  public var conditionNumber: Scalar {
    let smallest = singularValues[singularValues.count - 1]
    return smallest == 0 ? .infinity : singularValues[0] / smallest
  }
}
