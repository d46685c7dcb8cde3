import ArgumentParser
import Foundation
import Lamina

#if canImport(Glibc)
  import Glibc
#elseif canImport(Darwin)
  import Darwin
#endif

/// The program: its commands, and one line on standard error for whatever goes wrong.
@main
struct LaminaCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "lamina",
    abstract: "Trains and serves dense networks with batch normalization on CPUs.",
    discussion: """
      Environment: LAMINA_DATA names the folder that holds mnist and fashion-mnist (scripts/fetch-data fills the \
      user's cache folder otherwise); LAMINA_KERNELS=portable|avx2|avx512|amx overrides the choice of kernels.
      """,
    version: laminaVersion,
    subcommands: [
      TrainCommand.self, EvaluateCommand.self, PredictCommand.self, SummaryCommand.self, DoctorCommand.self,
      BenchCommand.self, ExperimentCommand.self,
    ])

  static func main() {
    // A reader that has seen enough, such as head, ends the program quietly.
    signal(SIGPIPE, SIG_DFL)
    do {
      var command = try parseAsRoot()
      try command.run()
    } catch {
      if error is CleanExit || error is ExitCode || LaminaCommand.exitCode(for: error) == .success {
        LaminaCommand.exit(withError: error)
      }
      let message = Self.oneLine(error)
      FileHandle.standardError.write(Data("lamina: \(message)\n".utf8))
      Foundation.exit(LaminaCommand.exitCode(for: error).rawValue)
    }
  }

  /// What went wrong, without the usage that the argument parser would add.
  private static func oneLine(_ error: any Error) -> String {
    let lines = LaminaCommand.message(for: error).split(whereSeparator: \.isNewline)
    return lines.joined(separator: " ")
  }
}
