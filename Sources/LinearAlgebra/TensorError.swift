/// What can be wrong with the shapes given to a tensor operation.
public enum TensorError: Error, Equatable, CustomStringConvertible {
  /// No tensor has this shape: no axis, a negative length, or more elements than fit the address space.
  case invalidShape([Int])
  /// The shape needs another number of scalars than were given.
  case countMismatch(operation: String, shape: [Int], expected: Int, found: Int)
  /// A row of a nested array has another length than the first row.
  case raggedRows(row: Int, expected: Int, found: Int)
  /// The shapes of two operands do not go together.
  case shapeMismatch(operation: String, left: [Int], right: [Int], requirement: String)
  /// The operation needs a tensor of another rank.
  case rankMismatch(operation: String, expected: Int, shape: [Int])
  /// The tensor has no such axis.
  case axisOutOfRange(operation: String, axis: Int, shape: [Int])
  /// The operation needs at least one element along the axis.
  case emptyAxis(operation: String, axis: Int, shape: [Int])
  /// A length or the number of elements exceeds what the BLAS library's integer can hold.
  case tooLarge(operation: String, shape: [Int], limit: Int)

  /// What is wrong, where, and what to do.
  public var description: String {
    switch self {
    case .invalidShape(let shape):
      return "no tensor has shape \(shape): give at least one axis, no negative length, and fewer than 2^63 bytes"
    case .countMismatch(let operation, let shape, let expected, let found):
      return "\(operation): shape \(shape) holds \(expected) scalars, but there are \(found); change one of the two"
    case .raggedRows(let row, let expected, let found):
      return "row \(row) has \(found) scalars where row 0 has \(expected); give rows of equal length"
    case .shapeMismatch(let operation, let left, let right, let requirement):
      return "\(operation): shapes \(left) and \(right) do not go together; \(requirement)"
    case .rankMismatch(let operation, let expected, let shape):
      return "\(operation) needs rank \(expected), but the shape is \(shape); reshape the tensor first"
    case .axisOutOfRange(let operation, let axis, let shape):
      return "\(operation): shape \(shape) has no axis \(axis); give one in \(-shape.count)..<\(shape.count)"
    case .emptyAxis(let operation, let axis, let shape):
      return "\(operation): axis \(axis) of shape \(shape) has length 0; give at least one element"
    case .tooLarge(let operation, let shape, let limit):
      return "\(operation): shape \(shape) exceeds the limit \(limit) of the BLAS library; split the tensor"
    }
  }
}
