import ArgumentParser
import Benchmarks
import Foundation
import Lamina

/// `lamina bench`.
struct BenchCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "bench",
    abstract: "Measures Lamina against textbook loops, each row with its error against the oracle.",
    discussion: """
      gemm and batchnorm run on one core; step trains the network that the flags describe on --threads threads. \
      Variants: naive is textbook loops; unfused is plain BLAS, or one pass for each operation; lamina. Ends with \
      status 1 where a row fails.
      """)

  /// What is measured.
  enum Suite: String, CaseIterable, ExpressibleByArgument {
    case gemm, batchnorm, step, all
  }

  @Argument(help: "What is measured: gemm, batchnorm, step or all.")
  var suite: Suite = .all

  @Option(help: ArgumentHelp("The step's network, from inputs to classes.", valueName: "n,n,…"))
  var layers = "784,128,64,10"

  @OptionGroup var network: NetworkOptions

  @Option(help: ArgumentHelp("Seconds of measuring the step.", valueName: "x"))
  var seconds: Double?

  @Flag(help: "Fewer and smaller cases, less time each.")
  var quick = false

  @Option(
    help: ArgumentHelp(
      "Write JSON, one object a line, the machine's card first; to standard output instead of the table with -.",
      valueName: "file|-"))
  var json: String?

  func validate() throws {
    guard try parseWidths(layers, flag: "--layers").count >= 2 else {
      throw ValidationError("--layers \(layers): give at least the inputs and the classes, such as 784,10")
    }
    guard network.dropout == 0 else { throw ValidationError("--dropout: bench measures the step without dropout") }
    if let seconds, !(seconds > 0 && seconds <= 3600) {
      throw ValidationError("--seconds \(seconds): must be above 0 and at most 3600")
    }
  }

  func run() throws {
    let card = try MachineCard()
    var lines = [try jsonLine(card)]
    var failures = 0
    let printsJSON = json == "-"
    print(printsJSON ? lines[0] : "\(card.text)\n\n\(BenchmarkRow.tableHeader)")
    let report = { (row: BenchmarkRow) in
      if !row.ok { failures += 1 }
      let line = try jsonLine(row)
      lines.append(line)
      print(printsJSON ? line : row.tableLine)
      fflush(nil)
    }

    let suites = BenchmarkSuites(isQuick: quick, threads: network.threads, report: report)
    if suite == .gemm || suite == .all { try suites.gemm() }
    if suite == .batchnorm || suite == .all { try suites.batchNormalization() }
    if suite == .step || suite == .all { try step(report) }

    if let json, !printsJSON {
      do {
        try Data((lines.joined(separator: "\n") + "\n").utf8).write(to: URL(fileURLWithPath: json), options: .atomic)
      } catch {
        throw ValidationError("--json \(json): cannot write the file: \(error.localizedDescription)")
      }
    }
    if failures > 0 { throw ExitCode.failure }
  }

  private func step(_ report: (BenchmarkRow) throws -> Void) throws {
    let widths = try parseWidths(layers, flag: "--layers")
    var benchmark = StepBenchmark()
    benchmark.inputs = widths[0]
    benchmark.classes = widths[widths.count - 1]
    benchmark.recipe = try network.recipe(hiddenWidths: Array(widths.dropFirst().dropLast()))
    benchmark.optimizer = try network.optimizer.make(learningRate: network.learningRate, momentum: network.momentum)
    benchmark.batchSize = network.batchSize
    benchmark.threads = network.threads
    benchmark.seconds = seconds ?? (quick ? 0.5 : 3)
    if quick { benchmark.images = 2048 }
    try benchmark.run(inDouble: network.precision == .float64, report)
  }
}
