import ArgumentParser
import Benchmarks
import Lamina

/// `lamina doctor`.
struct DoctorCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "doctor",
    abstract: "Examines the machine: what computes, whether it computes right, how fast, and what costs speed.",
    discussion: "Ends with status 1 where a self-test fails.")

  @Flag(help: "Print one JSON object.")
  var json = false

  func run() throws {
    let report = try DoctorReport()
    print(json ? try jsonLine(report) : report.text)
    if !report.ok { throw ExitCode.failure }
  }
}
