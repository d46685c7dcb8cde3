/// What a decomposition or a solver can find wrong with its input.
public enum LAPACKError: Error, Equatable, CustomStringConvertible {
  /// The shapes do not fit the operation.
  case shape(TensorError)
  /// The matrix has no rows or no columns.
  case empty(operation: String, shape: [Int])
  /// An element is NaN or infinite.
  case notFinite(operation: String, argument: String, row: Int, column: Int)
  /// The leading minor of this order (from 1) of a symmetric matrix is not positive.
  case notPositiveDefinite(order: Int)
  /// The matrix has no inverse: the pivot of this column (from 0) is exactly zero.
  case singular(column: Int)
  /// A relative tolerance is negative, NaN or infinite.
  case invalidTolerance(operation: String, value: Double)
  /// The iteration of the routine stopped without converging; `remaining` values had not.
  case noConvergence(routine: String, remaining: Int)
  /// LAPACK refused an argument, counted from 1.
  case illegalArgument(routine: String, index: Int)
  /// LAPACK could not get its workspace.
  case outOfMemory(routine: String)

  /// What is wrong, where, and what to do.
  public var description: String {
    switch self {
    case .shape(let error):
      return error.description
    case .empty(let operation, let shape):
      return "\(operation): a matrix of shape \(shape) has no elements; give at least one row and one column"
    case .notFinite(let operation, let argument, let row, let column):
      return "\(operation): element [\(row), \(column)] of \(argument) is NaN or infinite; remove or replace it"
    case .notPositiveDefinite(let order):
      return "the matrix is not positive definite: its leading minor of order \(order) is not positive; "
        + "add a multiple of the identity, or use a decomposition for general matrices"
    case .singular(let column):
      return "the matrix is singular: the pivot of column \(column) is zero; use leastSquares, or remove columns "
        + "that depend on others"
    case .invalidTolerance(let operation, let value):
      return "\(operation): \(value) is no tolerance; give a number that is not negative"
    case .noConvergence(let routine, let remaining):
      return "\(routine) did not converge (\(remaining) values remain); scale the matrix, or try it in Double"
    case .illegalArgument(let routine, let index):
      return "\(routine) refused its argument \(index); give a smaller matrix, or report this as a defect of Lamina"
    case .outOfMemory(let routine):
      return "\(routine) could not get its workspace; free memory, or give a smaller matrix"
    }
  }

  /// Runs `body`, whose shape errors become `.shape`.
  package static func wrappingShapeErrors<Result>(
    _ body: () throws(TensorError) -> Result
  ) throws(LAPACKError) -> Result {
    do { return try body() } catch { throw .shape(error) }
  }

  // The two codes of LAPACKE for memory it could not get: for the workspace and for a transposed copy.
  private static let memoryCodes = [-1010, -1011]

  /// Throws what a nonzero `info` of a LAPACKE routine means; `failure` says it for a positive one.
  package static func check(
    _ info: Int, _ routine: String, failure: (Int) -> LAPACKError
  ) throws(LAPACKError) {
    if info == 0 { return }
    if info > 0 { throw failure(info) }
    if memoryCodes.contains(info) { throw .outOfMemory(routine: routine) }
    throw .illegalArgument(routine: routine, index: -info)
  }
}

extension Tensor {
  /// Throws unless this is a matrix with elements, all finite, of a size that LAPACK can index.
  func checkIsMatrix(_ operation: String, argument: String) throws(LAPACKError) {
    guard rank == 2 else { throw .shape(.rankMismatch(operation: operation, expected: 2, shape: shape)) }
    if count == 0 { throw .empty(operation: operation, shape: shape) }
    // LAPACK computes the places of elements in its integer, so it is their number that counts.
    try LAPACKError.wrappingShapeErrors { () throws(TensorError) in try checkCountFitsBLAS(operation) }
    if let place = indexOfFirstNonFinite() {
      throw .notFinite(
        operation: operation, argument: argument, row: place / shape[1], column: place % shape[1])
    }
  }

  /// Throws unless this is a square matrix with elements, all finite, of a size that LAPACK can index.
  func checkIsSquareMatrix(_ operation: String, argument: String) throws(LAPACKError) {
    try checkIsMatrix(operation, argument: argument)
    guard shape[0] == shape[1] else {
      throw .shape(
        .shapeMismatch(
          operation: operation, left: shape, right: [shape[0], shape[0]], requirement: "give a square matrix"))
    }
  }

  /// The right-hand sides of a system of `equations` as the columns of a matrix: a vector becomes one column.
  func rightHandSides(_ operation: String, equations: Int, matrix: [Int]) throws(LAPACKError) -> Tensor {
    guard rank <= 2 else { throw .shape(.rankMismatch(operation: operation, expected: 2, shape: shape)) }
    guard shape[0] == equations else {
      throw .shape(
        .shapeMismatch(
          operation: operation, left: matrix, right: shape, requirement: "give as many right-hand sides as rows"))
    }
    let columns = Tensor(shape: rank == 1 ? [equations, 1] : shape, buffer: buffer)
    try columns.checkIsMatrix(operation, argument: "the right-hand sides")
    return columns
  }

  /// The place in row-major order of the first element that is NaN or infinite; nil where all are finite.
  ///
  /// Costs one pass over the memory.
  public func indexOfFirstNonFinite() -> Int? {
    let block = 1 << 16
    BLAS.prepare()
    return withUnsafeBufferPointer { scalars in
      for start in stride(from: 0, to: scalars.count, by: block) {
        let end = Swift.min(start + block, scalars.count)
        // NaN and infinity survive a sum of magnitudes, so a finite sum proves the block; one that is not may also
        // have overflowed, and the elements decide.
        if Scalar.unsafeAbsoluteSum(end - start, scalars.baseAddress! + start).isFinite { continue }
        if let place = scalars[start..<end].firstIndex(where: { !$0.isFinite }) { return place }
      }
      return nil
    }
  }

  /// Copies `count` elements of a row, from column `column` on, to the same place of a row-major matrix.
  func copyRow(_ row: Int, from column: Int, count: Int, into matrix: inout Tensor) {
    let (source, target) = (row * shape[1] + column, row * matrix.shape[1] + column)
    withUnsafeBufferPointer { scalars in
      matrix.withUnsafeMutableBufferPointer {
        ($0.baseAddress! + target).update(from: scalars.baseAddress! + source, count: count)
      }
    }
  }
}
