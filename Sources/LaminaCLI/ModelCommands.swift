import ArgumentParser
import Foundation
import Lamina

#if canImport(Glibc)
  import Glibc
#elseif canImport(Darwin)
  import Darwin
#endif

/// The model's file, shared by the commands that read one.
struct ModelOption: ParsableArguments {
  @Option(help: ArgumentHelp("A model that 'lamina train --save' wrote.", valueName: "file"))
  var model: String
}

/// `lamina evaluate`.
struct EvaluateCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "evaluate", abstract: "Judges a saved model on the held-out images of a data set.")

  @OptionGroup var file: ModelOption

  @Option(
    help: ArgumentHelp(
      "synthetic, mnist, fashion-mnist, or a folder of four IDX files under MNIST's names.", valueName: "name|dir"))
  var data = "synthetic"

  @Option(help: ArgumentHelp("Use only the first n held-out images.", valueName: "n"))
  var testImages: Int?

  @Option(help: ArgumentHelp("Threads; if not given LAMINA_THREADS, else chosen by timing.", valueName: "n"))
  var threads: Int?

  @Flag(help: "Print one JSON object.")
  var json = false

  func run() throws {
    let file = try ModelFile(contentsOf: file.model)
    if file.precision == "float64" {
      try run(SavedClassifier<Double>(file, threads: threads))
    } else {
      try run(SavedClassifier<Float>(file, threads: threads))
    }
  }

  private func run<Scalar>(_ classifier: SavedClassifier<Scalar>) throws {
    let images = try DataSource(name: data).load(trainCount: nil, testCount: testImages).test
    let evaluation = try classifier.evaluate(images)
    let report = EvaluationReport(data: data, testImages: images.count, evaluation: evaluation)
    print(json ? try jsonLine(report) : report.text)
    noteFoldingRefusal(classifier)
  }
}

/// Says on standard error where batch normalization was computed rather than folded away: the answers are right, but slower.
private func noteFoldingRefusal<Scalar>(_ classifier: SavedClassifier<Scalar>) {
  guard let refusal = classifier.model.foldingRefusal else { return }
  FileHandle.standardError.write(Data("Note: batch normalization is not folded away: \(refusal)\n".utf8))
}

/// `lamina predict`.
struct PredictCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "predict", abstract: "Draws images in the terminal, each with its class and the probability of it.")

  @OptionGroup var file: ModelOption

  @Option(help: ArgumentHelp("An IDX file of images, plain or packed with gzip.", valueName: "file"))
  var images: String

  @Option(help: ArgumentHelp("How many images, from the first.", valueName: "n"))
  var count = 10

  func validate() throws {
    guard count >= 1 else { throw ValidationError("--count \(count): must be at least 1") }
  }

  func run() throws {
    let file = try ModelFile(contentsOf: file.model)
    if file.precision == "float64" {
      try run(SavedClassifier<Double>(file))
    } else {
      try run(SavedClassifier<Float>(file))
    }
  }

  private func run<Scalar>(_ classifier: SavedClassifier<Scalar>) throws {
    let first = try IDX(path: images).prefix(count)
    let usesColor = isatty(STDOUT_FILENO) == 1 && ProcessInfo.processInfo.environment["NO_COLOR"] == nil
    for (index, prediction) in try classifier.predict(first).enumerated() {
      print(prediction.text(images: first, index: index, usesColor: usesColor))
    }
    noteFoldingRefusal(classifier)
  }
}

/// `lamina summary`.
struct SummaryCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "summary", abstract: "Prints the layers of a saved model and their parameters.")

  @OptionGroup var file: ModelOption

  func run() throws {
    let file = try ModelFile(contentsOf: file.model)
    let model: Sequential<Float> = try file.makeModel()
    print("\(file.path), \(file.precision), input \(file.inputShape)")
    print(try model.summary())
  }
}
