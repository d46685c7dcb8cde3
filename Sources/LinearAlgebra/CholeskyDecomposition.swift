/// The Cholesky decomposition A = L·Lᵀ of a symmetric positive definite matrix.
///
/// Costs n³/3 operations, and each right-hand side 2·n² more.
public struct CholeskyDecomposition<Scalar: LAPACKScalar>: Sendable {
  /// The n × n factor, zero above its diagonal, which is positive.
  public let lower: Tensor<Scalar>

  /// Decomposes the symmetric `a`, of which only the diagonal and what is below it are used.
  ///
  /// - Throws: `LAPACKError` where `a` is no square matrix, is empty or holds NaN or infinity, and
  ///   `.notPositiveDefinite` where it has no such decomposition.
  public init(_ a: Tensor<Scalar>) throws(LAPACKError) {
    try a.checkIsSquareMatrix("CholeskyDecomposition", argument: "the matrix")
    let n = a.shape[0]
    var factor = Tensor<Scalar>.zeros([n, n])
    for row in 0..<n { a.copyRow(row, from: 0, count: row + 1, into: &factor) }
    BLAS.prepare()
    let info = factor.withUnsafeMutableBufferPointer { Scalar.unsafeCholeskyFactor(n: n, $0.baseAddress!, n) }
    try LAPACKError.check(info, "potrf") { .notPositiveDefinite(order: $0) }
    lower = factor
  }

  /// Solves A·X = B; B is a vector of n elements or an n × columns matrix, and X has its shape.
  ///
  /// - Throws: `LAPACKError` where B has another number of rows, is empty, or holds NaN or infinity.
  public func solve(_ b: Tensor<Scalar>) throws(LAPACKError) -> Tensor<Scalar> {
    let n = lower.shape[0]
    var x = try b.rightHandSides("CholeskyDecomposition.solve", equations: n, matrix: lower.shape)
    let columns = x.shape[1]
    BLAS.prepare()
    let info = lower.withUnsafeBufferPointer { factor in
      x.withUnsafeMutableBufferPointer {
        Scalar.unsafeCholeskySolve(n: n, columns: columns, factor.baseAddress!, n, $0.baseAddress!, columns)
      }
    }
    try LAPACKError.check(info, "potrs") { .illegalArgument(routine: "potrs", index: $0) }
    return Tensor(shape: b.shape, buffer: x.buffer)
  }
}
