/// What can go wrong with data: missing or damaged files, and values that don't fit together.
///
/// Every case says what is wrong, where, and what to do about it; `description` joins them into one line.
public enum DatasetError: Error, Equatable, CustomStringConvertible {
  /// A data set is in none of the folders where it was looked for.
  case notFound(name: String, searched: [String], advice: String)

  /// The operating system refused to open or read a file.
  case unreadable(path: String, reason: String)

  /// The operating system refused to write a file; a file of that name that was there before is unchanged.
  case unwritable(path: String, reason: String)

  /// The contents of a file break its format at a byte offset.
  case malformed(path: String, offset: Int, problem: String, advice: String)

  /// Values given to a data set or a scaler don't fit together.
  case invalid(problem: String, advice: String)

  /// One line that says what is wrong, where, and what to do.
  public var description: String {
    switch self {
    case .notFound(let name, let searched, let advice):
      "no data set '\(name)' in \(searched.joined(separator: " or ")): \(advice)"
    case .unreadable(let path, let reason):
      "cannot read \(path): \(reason)"
    case .unwritable(let path, let reason):
      "cannot write \(path): \(reason)"
    case .malformed(let path, let offset, let problem, let advice):
      "\(path), byte \(offset): \(problem); \(advice)"
    case .invalid(let problem, let advice):
      "\(problem); \(advice)"
    }
  }
}
