/// The eigendecomposition A = V·diag(λ)·Vᵀ of a symmetric matrix, by divide and conquer.
public struct SymmetricEigendecomposition<Scalar: LAPACKScalar>: Sendable {
  /// The n eigenvalues, ascending.
  public let eigenvalues: Tensor<Scalar>
  /// The eigenvectors: the orthonormal columns of an n × n matrix, in the order of the eigenvalues, of arbitrary sign.
  public let eigenvectors: Tensor<Scalar>

  /// Decomposes the symmetric `a`, of which only the diagonal and what is below it are used.
  ///
  /// - Throws: `LAPACKError` where `a` is no square matrix, is empty or holds NaN or infinity, and `.noConvergence`.
  public init(_ a: Tensor<Scalar>) throws(LAPACKError) {
    try a.checkIsSquareMatrix("SymmetricEigendecomposition", argument: "the matrix")
    let n = a.shape[0]
    var (vectors, values) = (a, Tensor<Scalar>.zeros([n]))
    BLAS.prepare()
    let info = vectors.withUnsafeMutableBufferPointer { vectors in
      values.withUnsafeMutableBufferPointer {
        Scalar.unsafeSymmetricEigen(n: n, vectors.baseAddress!, n, $0.baseAddress!)
      }
    }
    try LAPACKError.check(info, "syevd") { .noConvergence(routine: "syevd", remaining: $0) }
    (eigenvalues, eigenvectors) = (values, vectors)
  }
}
