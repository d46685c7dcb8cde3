import ArgumentParser
import Benchmarks
import Foundation
import Lamina

#if canImport(Glibc)
  import Glibc
#elseif canImport(Darwin)
  import Darwin
#endif

/// `lamina train`.
struct TrainCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "train", abstract: "Trains a classifier of images and judges it on held-out ones.")

  @Option(
    help: ArgumentHelp(
      "synthetic (drawn by the program), mnist, fashion-mnist, or a folder of four IDX files under MNIST's names.",
      valueName: "name|dir"))
  var data = "synthetic"

  @Option(help: ArgumentHelp("Widths of the hidden layers; none for a linear model.", valueName: "n,n,…"))
  var layers = "128,64"

  @OptionGroup var network: NetworkOptions

  @Option(help: ArgumentHelp("Visits to the training images.", valueName: "n"))
  var epochs = 10

  @Option(
    help: ArgumentHelp(
      "How the learning rate moves over the run: cosine (down to 0), linear (down to 0), or constant.",
      valueName: "cosine|linear|constant"))
  var schedule: LearningRateSchedule = .cosine

  @Option(
    help: ArgumentHelp("Share of the training images, the last ones, kept for validation.", valueName: "x"))
  var validationSplit = 0.0

  @Option(help: ArgumentHelp("What weights, order and dropout are drawn from.", valueName: "n"))
  var seed: UInt64 = 0

  @Option(help: ArgumentHelp("Use only the first n training images.", valueName: "n"))
  var trainImages: Int?

  @Option(help: ArgumentHelp("Use only the first n held-out images.", valueName: "n"))
  var testImages: Int?

  @Option(
    help: ArgumentHelp(
      "How pixels are scaled: unit (x/255), or min-max or standardize, fitted to the training images.",
      valueName: "unit|min-max|standardize"))
  var scaling: ScalingMethod = .unit

  @Option(help: ArgumentHelp("Save the trained model as a safetensors file.", valueName: "file"))
  var save: String?

  @Option(
    help: ArgumentHelp(
      "Write what the batch normalizations do on the way (statistics, drift, percentiles, gradients) as CSV.",
      valueName: "file"))
  var microscope: String?

  @Option(help: ArgumentHelp("Steps from one look of the microscope to the next.", valueName: "n"))
  var microscopeEvery = 100

  @Flag(help: "Print the result as one JSON object, the last line of standard output; progress goes to standard error.")
  var json = false

  @Flag(
    exclusivity: .exclusive,
    help: ArgumentHelp("One line per epoch even on a terminal, or no progress at all."))
  var progress: ProgressFlag?

  func validate() throws {
    _ = try parseWidths(layers, flag: "--layers")
    guard epochs >= 1 else { throw ValidationError("--epochs \(epochs): must be at least 1") }
    guard microscopeEvery >= 1 else {
      throw ValidationError("--microscope-every \(microscopeEvery): must be at least 1")
    }
    guard validationSplit == 0 || (0..<1).contains(validationSplit) else {
      throw ValidationError("--validation-split \(validationSplit): must be in 0 ..< 1")
    }
    for (flag, count) in [("--train-images", trainImages), ("--test-images", testImages)] {
      if let count, count < 1 { throw ValidationError("\(flag) \(count): must be at least 1") }
    }
  }

  func run() throws {
    // A reader of the progress that goes away must not end the training.
    signal(SIGPIPE, SIG_IGN)
    var job = TrainingJob()
    job.source = DataSource(name: data)
    job.trainImages = trainImages
    job.testImages = testImages
    job.scaling = scaling
    job.recipe = try network.recipe(hiddenWidths: parseWidths(layers, flag: "--layers"))
    job.optimizer = try network.optimizer.make(learningRate: network.learningRate, momentum: network.momentum)
    job.epochs = epochs
    job.schedule = schedule
    job.batchSize = network.batchSize
    job.validationSplit = validationSplit
    job.seed = seed
    job.threads = network.threads
    job.savePath = save
    job.microscopePath = microscope
    job.microscopeEvery = microscopeEvery
    job.verbosity = progress.map { $0 == .quiet ? .silent : .epochs } ?? .auto
    job.output = json ? .standardError : .standardOutput
    if progress != .quiet, let advice = Advice.oversubscription(threads: network.threads) {
      FileHandle.standardError.write(Data("lamina: warning: \(advice.warning); \(advice.fix)\n".utf8))
    }
    let report =
      switch network.precision {
      case .float32: try job.run(as: Float.self)
      case .float64: try job.run(as: Double.self)
      }
    print(json ? try jsonLine(report) : report.text(savedTo: save))
  }
}

/// The two flags that change how much `train` says.
enum ProgressFlag: EnumerableFlag {
  case verbose, quiet
}
