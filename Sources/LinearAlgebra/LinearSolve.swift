/// Solves A·X = B for a square A by LU factors with partial pivoting.
///
/// A is n × n; B is a vector of n elements or an n × columns matrix, and X has its shape. Costs 2·n³/3 operations and
/// 2·n² more for each column. A positive definite A is solved in half the time by `CholeskyDecomposition`.
///
/// - Throws: `LAPACKError` where the shapes do not fit, a tensor is empty or holds NaN or infinity, and `.singular`
///   where a pivot is exactly zero. A matrix that is singular but for rounding errors is not found out.
public func solve<Scalar: LAPACKScalar>(
  _ a: Tensor<Scalar>, _ b: Tensor<Scalar>
) throws(LAPACKError) -> Tensor<Scalar> {
  try a.checkIsSquareMatrix("solve", argument: "the matrix")
  let n = a.shape[0]
  var factored = a
  var x = try b.rightHandSides("solve", equations: n, matrix: a.shape)
  let columns = x.shape[1]
  BLAS.prepare()
  let info = factored.withUnsafeMutableBufferPointer { a in
    x.withUnsafeMutableBufferPointer {
      Scalar.unsafeSolve(n: n, columns: columns, a.baseAddress!, n, $0.baseAddress!, columns)
    }
  }
  try LAPACKError.check(info, "gesv") { .singular(column: $0 - 1) }
  return Tensor(shape: b.shape, buffer: x.buffer)
}

/// The inverse of a square matrix, by `solve` for the identity; to solve a system, call `solve` itself.
///
/// - Throws: `LAPACKError` as `solve` does.
public func inverse<Scalar: LAPACKScalar>(_ a: Tensor<Scalar>) throws(LAPACKError) -> Tensor<Scalar> {
  try a.checkIsSquareMatrix("inverse", argument: "the matrix")
  return try solve(a, .identity(a.shape[0]))
}
