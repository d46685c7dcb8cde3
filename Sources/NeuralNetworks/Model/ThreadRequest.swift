import Foundation

/// How many threads a model was asked to use.
package enum ThreadRequest: Sendable, Equatable {
  /// So many.
  case exactly(Int)
  /// As many as a timing of the step finds fastest.
  case timed

  /// Most threads that can be asked for.
  static let most = 1024
  /// Most threads that are timed.
  static let mostTimed = 8
  /// The variable of the environment that sets the number where no argument does.
  static let variable = "LAMINA_THREADS"

  /// What the argument says, else the variable `LAMINA_THREADS`, else a timing decides.
  ///
  /// - Throws: `ModelError.argument` where argument or variable is no number from 1 to 1024.
  package init(
    _ argument: Int?, environment: [String: String] = ProcessInfo.processInfo.environment
  ) throws {
    if let argument {
      guard argument >= 1 else {
        throw ModelError.argument(name: "threads", problem: "must be at least 1, not \(argument)")
      }
      guard argument <= Self.most else {
        throw ModelError.argument(name: "threads", problem: "must be at most \(Self.most), not \(argument)")
      }
      self = .exactly(argument)
    } else if let text = environment[Self.variable], !text.isEmpty {
      guard let number = Int(text), (1...Self.most).contains(number) else {
        throw ModelError.argument(
          name: Self.variable,
          problem: "must be a whole number from 1 to \(Self.most), not '\(text)'; "
            + "unset it to have the number chosen by timing")
      }
      self = .exactly(number)
    } else {
      self = .timed
    }
  }

  /// The largest team that a model would use.
  package var mostMembers: Int {
    switch self {
    case .exactly(let number): number
    case .timed: min(Self.mostTimed, availableProcessors())
    }
  }
}
