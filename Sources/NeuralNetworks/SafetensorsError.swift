import Datasets

/// What can go wrong with a safetensors file; each case says what, where and what to do.
public enum SafetensorsError: Error, Equatable, CustomStringConvertible {
  /// The operating system refused to open or read the file.
  case unreadable(path: String, reason: String)

  /// The operating system refused to write the file; one of that name that was there before is unchanged.
  case unwritable(path: String, reason: String)

  /// The contents break the format at a byte offset of the file.
  case malformed(path: String, offset: Int, problem: String, advice: String)

  /// Entries that can't be written, or an entry read as another type or shape than it has.
  case invalid(problem: String, advice: String)

  /// One line that says what is wrong, where, and what to do.
  public var description: String {
    switch self {
    case .unreadable(let path, let reason): "cannot read \(path): \(reason)"
    case .unwritable(let path, let reason): "cannot write \(path): \(reason)"
    case .malformed(let path, let offset, let problem, let advice): "\(path), byte \(offset): \(problem); \(advice)"
    case .invalid(let problem, let advice): "\(problem); \(advice)"
    }
  }

  /// The same problem as met by the file layer below.
  init(_ error: DatasetError) {
    self =
      switch error {
      case .unreadable(let path, let reason): .unreadable(path: path, reason: reason)
      case .unwritable(let path, let reason): .unwritable(path: path, reason: reason)
      case .malformed(let path, let offset, let problem, let advice):
        .malformed(path: path, offset: offset, problem: problem, advice: advice)
      case .invalid(let problem, let advice): .invalid(problem: problem, advice: advice)
      case .notFound(let name, _, let advice): .unreadable(path: name, reason: advice)
      }
  }
}
