import ArgumentParser
import Benchmarks
import Foundation
import Lamina

/// `lamina bench`.
struct BenchCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "bench",
    abstract: "Measures Lamina against textbook loops and plain BLAS, each row with its error against the oracle.",
    discussion: """
      gemm: products of a layer's shapes. batchnorm: batch normalization with ReLU, and what each of its options \
      costs beside plain. dense: one layer, forward and \
      backward. step: training the network that the flags describe. inference: answers of 784-128-64-10 by batch, \
      and of a wide network. optimizers: updates, dropout, activations, elementary functions and \
      losses. all: all of them; unless --quick is given, also the series of --sweep.

      Variants: naive is textbook loops on one thread; unfused is one call of BLAS for each product, on --threads \
      threads, and one pass over memory for each other operation; lamina. The bound is measured on the spot: the \
      multiply-add peak of as many threads, or for batchnorm the time of moving the bytes that must move. Kernels \
      run on one thread unless --threads says otherwise, layers and inference on as many as processors, and the step's \
      team is chosen by timing.

      Ends with status 1 where a row's error is more than roundings explain.
      """)

  /// What is measured.
  enum Suite: String, CaseIterable, ExpressibleByArgument {
    case gemm, batchnorm, dense, step, inference, optimizers, all
  }

  @Argument(help: "What is measured: \(Suite.allCases.map(\.rawValue).joined(separator: ", ")).")
  var suite: Suite = .all

  @Option(help: ArgumentHelp("The step's network, from inputs to classes.", valueName: "n,n,…"))
  var layers = "784,128,64,10"

  @OptionGroup var network: NetworkOptions

  @Option(
    help: ArgumentHelp(
      "What becomes of a step that is not finite; by default ignore and, of the default network, also rows of the others.",
      valueName: "ignore|throw|rollBack"))
  var nonFinite: NonFinitePolicy?

  @Option(
    help: ArgumentHelp(
      "Images of step and inference: noise, the hardest case, or those of train's --data, whose empty parts take no time.",
      valueName: "noise|name|dir"))
  var data = "noise"

  @Option(help: ArgumentHelp("Seconds of measuring each variant of the step.", valueName: "x"))
  var seconds: Double?

  @Option(
    help: ArgumentHelp(
      "Measure this variant only: naive, unfused, lamina; may be given twice.", valueName: "name"))
  var variant: [BenchmarkVariant] = []

  @Flag(help: "Also series of layers and steps in which batch, width, depth and threads grow.")
  var sweep = false

  @Flag(help: "Fewer and smaller cases, less time each.")
  var quick = false

  @Option(
    help: ArgumentHelp(
      "Write JSON, one object a line, the machine's card first; to standard output instead of the table with -.",
      valueName: "file|-"))
  var json: String?

  @Option(
    help: ArgumentHelp(
      "Draw curves and a roofline as SVG in this folder, data and gnuplot scripts beside them; implies --sweep.",
      valueName: "dir"))
  var plot: String?

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
    let plots = try plot.map { try BenchmarkPlots(folder: $0) }
    let output = try BenchOutput(card: card, json: json)
    var suites = BenchmarkSuites(isQuick: quick, threads: network.threads, note: output.note) { row in
      try output.add(row)
      plots?.add(row)
    }
    suites.data = images
    if !variant.isEmpty { suites.variants = Set(variant) }
    let sweeps = sweep || plot != nil || (suite == .all && !quick)
    for suite in suite == .all ? Suite.allCases : [suite] {
      switch suite {
      case .gemm: try suites.gemm()
      case .batchnorm: try suites.batchNormalization()
      case .dense: try suites.dense(sweeps: sweeps)
      case .step:
        try suites.step(try stepBenchmark())
        if nonFinite == nil, layers == "784,128,64,10" {
          var benchmark = try stepBenchmark()
          benchmark.seconds = seconds ?? (quick ? 0.3 : 1)
          try suites.stepPolicies(benchmark)
        }
        if sweeps { try suites.stepSweeps() }
      case .inference: try suites.inference()
      case .optimizers: try suites.optimizers()
      case .all: break
      }
    }
    try output.finish()
    try plots?.draw(title: card.cpu)
    if output.failures > 0 { throw ExitCode.failure }
  }

  private var images: DataSource? { data == "noise" ? nil : DataSource(name: data) }

  private func stepBenchmark() throws -> StepBenchmark {
    let widths = try parseWidths(layers, flag: "--layers")
    var benchmark = StepBenchmark()
    benchmark.inputs = widths[0]
    benchmark.classes = widths[widths.count - 1]
    benchmark.recipe = try network.recipe(hiddenWidths: Array(widths.dropFirst().dropLast()))
    benchmark.optimizer = try network.optimizer.make(learningRate: network.learningRate, momentum: network.momentum)
    benchmark.batchSize = network.batchSize
    benchmark.threads = network.threads
    benchmark.nonFinite = nonFinite ?? .ignore
    benchmark.inDouble = network.precision == .float64
    benchmark.data = images
    benchmark.seconds = seconds ?? (quick ? 1 : 3)
    if quick { benchmark.images = 16_384 }
    return benchmark
  }
}

extension BenchmarkVariant: ExpressibleByArgument {}

extension NonFinitePolicy: ExpressibleByArgument {}

/// Where the rows go: a table or JSON on standard output as they come, and at the end a file of JSON.
private final class BenchOutput {
  private(set) var failures = 0
  private var lines: [String]
  private let path: String?
  private var printsJSON: Bool { path == "-" }

  /// Prints the card.
  ///
  /// - Throws: `ValidationError` where `json` names a file that could not be written, before anything is measured.
  init(card: MachineCard, json: String?) throws {
    path = json
    lines = [try jsonLine(card)]
    if let path, path != "-" {
      let folder = URL(fileURLWithPath: path).deletingLastPathComponent().path
      guard FileManager.default.isWritableFile(atPath: folder) else {
        throw ValidationError("--json \(path): there is no folder \(folder) that could be written to")
      }
    }
    print(printsJSON ? lines[0] : "\(card.text)\n\n\(BenchmarkRow.tableHeader)")
    fflush(nil)
  }

  func add(_ row: BenchmarkRow) throws {
    if !row.ok { failures += 1 }
    let line = try jsonLine(row)
    lines.append(line)
    print(printsJSON ? line : row.tableLine)
    fflush(nil)
  }

  /// Says what is left out: among the rows, or on standard error where those are JSON.
  func note(_ text: String) {
    if printsJSON {
      FileHandle.standardError.write(Data("lamina: \(text)\n".utf8))
    } else {
      print(text)
    }
  }

  func finish() throws {
    guard let path, !printsJSON else { return }
    do {
      try Data((lines.joined(separator: "\n") + "\n").utf8).write(to: URL(fileURLWithPath: path), options: .atomic)
    } catch {
      throw ValidationError("--json \(path): cannot write the file: \(error.localizedDescription)")
    }
  }
}
