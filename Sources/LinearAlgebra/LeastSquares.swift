/// The X that minimizes ‖A·X − B‖, column by column, and of all that do the one of least norm; by singular values.
///
/// A is m × n of any shape and rank; B is a vector of m elements or an m × columns matrix.
public struct LeastSquares<Scalar: LAPACKScalar>: Sendable {
  /// The solution X: a vector of n elements, or an n × columns matrix where B is a matrix.
  public let solution: Tensor<Scalar>
  /// The number of singular values that counted as nonzero.
  public let rank: Int
  /// The min(m, n) singular values of A, descending.
  public let singularValues: Tensor<Scalar>

  /// Solves the least-squares problem.
  ///
  /// - Parameters:
  ///   - a: the m × n matrix A.
  ///   - b: the right-hand sides B.
  ///   - relativeTolerance: singular values up to this times the largest count as zero; default max(m, n)·ulp of 1.
  /// - Throws: `LAPACKError` where the shapes do not fit, a tensor is empty or holds NaN or infinity, the
  ///   tolerance is no tolerance, and `.noConvergence`.
  public init(_ a: Tensor<Scalar>, _ b: Tensor<Scalar>, relativeTolerance: Scalar? = nil) throws(LAPACKError) {
    try a.checkIsMatrix("LeastSquares", argument: "the matrix")
    let (m, n) = (a.shape[0], a.shape[1])
    let rightHandSides = try b.rightHandSides("LeastSquares", equations: m, matrix: a.shape)
    let columns = rightHandSides.shape[1]
    let tolerance = relativeTolerance ?? Scalar(max(m, n)) * .ulpOfOne
    // A negative tolerance would make LAPACK take its own.
    guard tolerance >= 0, tolerance.isFinite else {
      throw .invalidTolerance(operation: "LeastSquares", value: Double(tolerance))
    }
    var (destroyed, values, rank) = (a, Tensor<Scalar>.zeros([min(m, n)]), 0)
    guard max(m, n) * columns <= largestBLASInteger else {
      throw .shape(.tooLarge(operation: "LeastSquares", shape: [max(m, n), columns], limit: largestBLASInteger))
    }
    // LAPACK reads B from here and leaves X here, so there must be room for the longer of the two.
    var x = Tensor<Scalar>.zeros([max(m, n), columns])
    BLAS.prepare()
    let info = destroyed.withUnsafeMutableBufferPointer { a in
      values.withUnsafeMutableBufferPointer { values in
        x.withUnsafeMutableBufferPointer { x in
          rightHandSides.withUnsafeBufferPointer { b in
            x.baseAddress!.update(from: b.baseAddress!, count: b.count)
          }
          return Scalar.unsafeLeastSquares(
            m: m, n: n, columns: columns, a.baseAddress!, n, x.baseAddress!, columns, values.baseAddress!,
            relativeTolerance: tolerance, rank: &rank)
        }
      }
    }
    try LAPACKError.check(info, "gelsd") { .noConvergence(routine: "gelsd", remaining: $0) }
    solution = Tensor(shape: b.rank == 1 ? [n] : [n, columns], buffer: x.rows(0..<n).buffer)
    (self.rank, singularValues) = (rank, values)
  }
}
