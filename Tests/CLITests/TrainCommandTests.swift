import Foundation
import Testing

@Suite struct TrainCommandTests {
  private static let keys: Set<String> = [
    "data", "train_images", "test_images", "epochs", "batch_size", "parameters", "seconds", "images_per_second",
    "train_loss", "test_loss", "test_accuracy", "weights_sha256", "blas_core", "kernels", "threads", "seed",
  ]

  @Test func jsonReportsTheRun() throws {
    let result = try Program.train(["--epochs", "4", "--seed", "3", "--batch-size", "16", "--threads", "2"])
    #expect(result.status == 0)
    #expect(result.lines.count == 1, "progress belongs to standard error")
    #expect(result.errors.contains("Epoch 4/4"))
    let report = try result.lastObject()
    #expect(Set(report.keys) == Self.keys)
    #expect(report["data"] as? String == "synthetic")
    #expect(report["train_images"] as? Int == 600 && report["test_images"] as? Int == 200)
    #expect(report["epochs"] as? Int == 4 && report["batch_size"] as? Int == 16)
    #expect(report["seed"] as? Int == 3 && report["threads"] as? Int == 2)
    // 784·32 + 32, four vectors of 32, 32·10 + 10.
    #expect(report["parameters"] as? Int == 784 * 32 + 32 + 4 * 32 + 32 * 10 + 10)
    let seconds = try #require(report["seconds"] as? Double)
    let rate = try #require(report["images_per_second"] as? Double)
    #expect(seconds > 0 && abs(rate * seconds - 2400) < 1e-6 * 2400)
    // Guessing gives 0.1, of which 200 images may show 0.2; a network that learns is far above.
    #expect(try #require(report["test_accuracy"] as? Double) > 0.4)
    #expect(try #require(report["train_loss"] as? Double) < 2.3)
    #expect((report["weights_sha256"] as? String)?.count == 64)
  }

  @Test func weightsDependOnTheSeedAlone() throws {
    func digest(_ arguments: [String]) throws -> String {
      try #require(try Program.train(arguments).lastObject()["weights_sha256"] as? String)
    }
    let first = try digest(["--threads", "1"])
    #expect(try digest(["--threads", "2"]) == first)
    #expect(try digest(["--threads", "1"]) == first)
    #expect(try digest(["--threads", "1", "--seed", "1"]) != first)
  }

  @Test(arguments: [
    ["--activation", "gelu", "--batch-norm", "before", "--optimizer", "adamw"],
    ["--activation", "leaky_relu", "--batch-norm", "none", "--optimizer", "sgd", "--momentum", "0.9"],
    ["--activation", "tanh", "--initializer", "orthogonal", "--dropout", "0.2", "--optimizer", "rmsprop"],
    ["--layers", "none", "--precision", "float64", "--scaling", "standardize", "--learning-rate", "0.01"],
    ["--layers", "24,17", "--validation-split", "0.25", "--scaling", "min-max", "--batch-size", "50"],
  ])
  func everyKindOfNetworkTrains(flags: [String]) throws {
    let result = try Program.train(flags + ["--epochs", "10"])
    #expect(result.status == 0, "\(result.errors)")
    let report = try result.lastObject()
    #expect(try #require(report["test_accuracy"] as? Double) > 0.4)
    #expect(report["train_images"] as? Int == (flags.contains("--validation-split") ? 450 : 600))
  }

  @Test func lossThatDivergesIsNull() throws {
    let result = try Program.train(
      ["--optimizer", "sgd", "--learning-rate", "1e30", "--batch-norm", "none", "--schedule", "constant"])
    #expect(result.status == 0)
    #expect(try result.lastObject()["train_loss"] is NSNull)
  }

  @Test func quietSaysNothingOnTheWay() throws {
    let result = try Program.train(["--quiet"])
    #expect(result.errors.isEmpty && result.lines.count == 1)
  }

  @Test func microscopeWritesARowPerFeatureAndStep() throws {
    let folder = try TemporaryFolder()
    let path = "\(folder.path)/look.csv"
    // 19 steps an epoch: looks at steps 0, 10, 20 and 30 of 38, at 32 features.
    let result = try Program.train(["--microscope", path, "--microscope-every", "10"])
    #expect(result.status == 0, "\(result.errors)")
    let lines = try String(contentsOfFile: path, encoding: .utf8).split(separator: "\n")
    #expect(lines.count == 1 + 4 * 32)
    #expect(lines[0].hasPrefix("step,epoch,layer,feature,batch_mean"))
    #expect(lines[1].hasPrefix("0,0,batch_normalization,0,") && lines[128].hasPrefix("30,1,batch_normalization,31,"))
    #expect(lines.allSatisfy { $0.split(separator: ",", omittingEmptySubsequences: false).count == 21 })
    let plain = try Program.train().lastObject()["weights_sha256"] as? String
    #expect(try result.lastObject()["weights_sha256"] as? String == plain)
  }

  @Test func kernelsFollowTheVariable() throws {
    let available = try #require(
      try Program.run(["doctor", "--json"]).lastObject()["machine"] as? [String: Any])["available_kernels"]
    for name in ["portable", "avx2", "avx512", "amx"] {
      let result = try Program.train(environment: ["LAMINA_KERNELS": name])
      if (available as? [String])?.contains(name) == true {
        #expect(try result.lastObject()["kernels"] as? String == name)
      } else {
        #expect(result.status == 1 && result.errors.contains("this CPU cannot run it"))
      }
    }
  }

  @Test(.enabled(if: publishedData != nil)) func realDigitsAreLearnt() throws {
    let result = try Program.run(
      ["train", "--data", "mnist", "--train-images", "2000", "--test-images", "1000", "--epochs", "3", "--json"])
    let report = try result.lastObject()
    #expect(report["data"] as? String == "mnist")
    #expect(try #require(report["test_accuracy"] as? Double) > 0.8)
  }
}

/// The folder of published data sets that the tests may read, or nil.
private let publishedData: String? = ProcessInfo.processInfo.environment["LAMINA_DATA"].flatMap { folder in
  FileManager.default.fileExists(atPath: "\(folder)/mnist") ? folder : nil
}
