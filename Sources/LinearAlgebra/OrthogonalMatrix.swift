/// A random matrix with orthonormal rows or columns, whichever fits, uniformly distributed over all such matrices.
///
/// A Gaussian matrix of the taller shape is decomposed into Q·R, and each column of Q gets the sign of R's diagonal
/// element: without it the distribution would follow the signs that the algorithm happens to choose (Mezzadri 2007,
/// "How to generate random matrices from the classical compact groups"). Where there are fewer rows than columns, the
/// transpose is returned. This is the orthogonal initializer of Saxe, McClelland and Ganguli (2014). Computed in Double
/// and rounded.
///
/// - Parameters:
///   - rows: the number of rows.
///   - columns: the number of columns.
///   - gaussian: gives rows·columns independent numbers of the standard normal distribution.
/// - Throws: `LAPACKError.empty` where `rows` or `columns` is 0, `.notFinite` where `gaussian` gives such a number.
/// - Precondition: `rows` and `columns` are not negative.
public func orthogonalMatrix<Scalar: BLASScalar>(
  rows: Int, columns: Int, as type: Scalar.Type = Scalar.self, gaussian: () -> Double
) throws(LAPACKError) -> Tensor<Scalar> {
  let normal = Tensor(shape: [max(rows, columns), min(rows, columns)]) { _ in gaussian() }
  let decomposition = try QRDecomposition(normal)
  let (q, r) = (decomposition.q, decomposition.r)
  return Tensor(shape: [rows, columns]) { index in
    let (row, column) = (index / columns, index % columns)
    let (i, j) = rows < columns ? (column, row) : (row, column)
    return Scalar(r[j, j] < 0 ? -q[i, j] : q[i, j])
  }
}
