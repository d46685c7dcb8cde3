import Foundation
import Lamina
import Testing

@Suite struct ModelCommandTests {
  /// Ten synthetic images as an IDX file.
  private func images(in folder: TemporaryFolder, name: String = "images.gz") throws -> String {
    let digits = SyntheticDigits().test(count: 10)
    let path = try folder.file(name)
    try IDX(dimensions: [10, 28, 28], bytes: digits.pixels).write(to: path)
    return path
  }

  @Test(arguments: ["float32", "float64"], ["unit", "standardize"])
  func savedModelAnswersAsItDidWhenTrained(precision: String, scaling: String) throws {
    let folder = try TemporaryFolder()
    let model = try folder.file("model.safetensors")
    let trained = try Program.train(["--save", model, "--precision", precision, "--scaling", scaling]).lastObject()
    let evaluated = try Program.run(["evaluate", "--model", model, "--test-images", "200", "--json"]).lastObject()
    #expect(Set(evaluated.keys) == ["data", "test_images", "test_loss", "test_accuracy"])
    #expect(evaluated["test_accuracy"] as? Double == trained["test_accuracy"] as? Double)
    let losses = [evaluated, trained].compactMap { $0["test_loss"] as? Double }
    try #require(losses.count == 2)
    // The batches are the same, so every number is.
    #expect(losses[0] == losses[1])
  }

  @Test func predictionsAreDrawnWithTheirClasses() throws {
    let folder = try TemporaryFolder()
    let model = try folder.file("model.safetensors")
    #expect(try Program.train(["--save", model]).status == 0)
    let result = try Program.run(["predict", "--model", model, "--images", images(in: folder), "--count", "3"])
    #expect(result.status == 0 && result.errors.isEmpty)
    #expect(!result.output.contains("\u{1B}"), "escape codes are for terminals")
    // 14 lines an image, and an empty one.
    #expect(result.lines.count == 3 * 15)
    for index in 0..<3 { #expect(result.output.contains("image \(index)")) }
    #expect(!result.output.contains("image 3"))
    #expect(result.lines.filter { $0.contains("class ") }.count == 3)
    #expect(result.lines.filter { $0.contains("probability ") && $0.hasSuffix("%") }.count == 3)
    #expect(result.output.contains("#"), "the digits' ink")
  }

  @Test func summaryListsTheLayers() throws {
    let folder = try TemporaryFolder()
    let model = try folder.file("model.safetensors")
    #expect(try Program.train(["--save", model, "--batch-norm", "before", "--epochs", "1"]).status == 0)
    let result = try Program.run(["summary", "--model", model])
    #expect(result.status == 0)
    for word in ["dense", "batch_normalization", "relu", "(batch, 32)", "(batch, 10)", "25,546"] {
      #expect(result.output.contains(word), "\(word) is missing in\n\(result.output)")
    }
  }

  @Test func readerThatGoesAwayIsNoError() throws {
    let folder = try TemporaryFolder()
    let model = try folder.file("model.safetensors")
    #expect(try Program.train(["--save", model, "--epochs", "1"]).status == 0)
    let script = "'\(Program.path)' predict --model '\(model)' --images '\(try images(in: folder))' | head -n 1"
    let result = try Program.run(executable: "/bin/sh", ["-c", script])
    #expect(result.status == 0 && result.errors.isEmpty && result.lines.count == 1)
  }

  @Test func imagesOfAnotherSizeAreRefused() throws {
    let folder = try TemporaryFolder()
    let model = try folder.file("model.safetensors")
    #expect(try Program.train(["--save", model, "--epochs", "1"]).status == 0)
    let path = try folder.file("small")
    try IDX(dimensions: [2, 3, 4], bytes: [UInt8](repeating: 0, count: 24)).write(to: path)
    let result = try Program.run(["predict", "--model", model, "--images", path])
    #expect(result.status == 1)
    #expect(result.errors.contains("[784]") && result.errors.contains("[12]"))
  }

  @Test func damagedModelsAreRefused() throws {
    let folder = try TemporaryFolder()
    let model = try folder.file("model.safetensors")
    #expect(try Program.train(["--save", model, "--epochs", "1"]).status == 0)
    let whole = try Data(contentsOf: URL(fileURLWithPath: model))
    for (name, bytes) in [("empty", []), ("short", Array(whole.prefix(200))), ("cut", Array(whole.dropLast(5)))] {
      let path = try folder.file(name, bytes)
      for command in [["summary", "--model", path], ["evaluate", "--model", path, "--test-images", "10"]] {
        let result = try Program.run(command)
        #expect(result.status == 1 && result.errors.contains(path) && result.output.isEmpty)
      }
    }
  }
}
