import ArgumentParser
import Experiments
import Foundation
import Lamina

/// `lamina experiment`.
struct ExperimentCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "experiment", abstract: "Repeats published experiments and judges their claims.",
    subcommands: [CovariateShiftCommand.self])
}

/// `lamina experiment covariate-shift`.
struct CovariateShiftCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "covariate-shift",
    abstract: "Section 4.1 of Ioffe and Szegedy 2015: a sigmoid network with batch normalization beside one without.",
    discussion: """
      Trains 784-100-100-100-10 with sigmoids on binary images, batches of 60, plain SGD, with and without batch \
      normalization. Rate and deviation of the first weights, which the paper does not state, are taken from a grid of \
      4 by 2: those at which the network without batch normalization does best in a short run. Writes test accuracy and \
      the percentiles of the inputs to a typical sigmoid over the steps as CSV, and with gnuplot as SVG. The verdict is \
      a result: the status is 0 either way.
      """)

  @Option(
    help: ArgumentHelp(
      "synthetic, mnist, fashion-mnist, or a folder of four IDX files; mnist where it is found, else synthetic, if "
        + "not given.", valueName: "name|dir"))
  var data: String?

  @Option(help: ArgumentHelp("Updates of each network.", valueName: "n"))
  var steps = 50_000

  @Option(help: ArgumentHelp("Where the files go; made if it is not there.", valueName: "dir"))
  var out = "covariate-shift"

  @Option(help: ArgumentHelp("Step size, instead of the grid; goes with --deviation.", valueName: "x"))
  var learningRate: Double?

  @Option(help: ArgumentHelp("Standard deviation of the first weights; goes with --learning-rate.", valueName: "x"))
  var deviation: Double?

  @Option(help: ArgumentHelp("Pixels of at least this brightness are 1, the others 0.", valueName: "0-255"))
  var threshold: UInt8 = 128

  @Option(help: ArgumentHelp("Use only the first n training images.", valueName: "n"))
  var trainImages: Int?

  @Option(help: ArgumentHelp("Use only the first n held-out images.", valueName: "n"))
  var testImages: Int?

  @Option(help: ArgumentHelp("Threads for both networks; as many as processors if not given.", valueName: "n"))
  var threads: Int?

  @Option(help: ArgumentHelp("What weights and order are drawn from.", valueName: "n"))
  var seed: UInt64 = 0

  @Flag(help: "Print the result as one JSON object, the last line of standard output.")
  var json = false

  func validate() throws {
    guard steps >= 1 else { throw ValidationError("--steps \(steps): must be at least 1") }
    if let threads, !(1...1024).contains(threads) {
      throw ValidationError("--threads \(threads): must be from 1 to 1024")
    }
    guard (learningRate == nil) == (deviation == nil) else {
      throw ValidationError("--learning-rate and --deviation go together; without both the grid is tried")
    }
    for (flag, value) in [("--learning-rate", learningRate), ("--deviation", deviation)] {
      if let value, !(value >= 0 && value.isFinite) {
        throw ValidationError("\(flag) \(value): must be at least 0 and finite")
      }
    }
    for (flag, count) in [("--train-images", trainImages), ("--test-images", testImages)] {
      if let count, count < 1 { throw ValidationError("\(flag) \(count): must be at least 1") }
    }
  }

  func run() throws {
    var experiment = CovariateShift()
    experiment.source = try chosenSource()
    experiment.steps = steps
    experiment.threshold = threshold
    experiment.trainImages = trainImages
    experiment.testImages = testImages
    experiment.threads = threads
    experiment.seed = seed
    if let learningRate, let deviation {
      experiment.choices = [CovariateShiftChoice(learningRate: learningRate, deviation: deviation)]
    }
    let report = try experiment.run { say($0) }
    switch try report.write(to: out) {
    case .drawn(let figure): say("wrote \(figure) and its data beside it")
    case .notDrawn(let reason): say("wrote the data to \(out); no figure: \(reason)")
    }
    print(json ? try jsonLine(report) : report.text)
  }

  private func chosenSource() throws -> DataSource {
    if let data { return DataSource(name: data) }
    let folders = StandardDataset.mnist.folders()
    if folders.contains(where: { FileManager.default.fileExists(atPath: $0) }) { return .standard(.mnist) }
    say("mnist is not here (scripts/fetch-data mnist fetches it): taking synthetic digits")
    return .synthetic
  }

  private func say(_ text: String) { FileHandle.standardError.write(Data("lamina: \(text)\n".utf8)) }
}
