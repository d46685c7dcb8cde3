import Foundation
import Testing

@Suite struct FetchDataTests {
  private static let script = URL(fileURLWithPath: #filePath)
    .deletingLastPathComponent().deletingLastPathComponent().deletingLastPathComponent()
    .appendingPathComponent("scripts/fetch-data").path

  private static let hasCurl = (ProcessInfo.processInfo.environment["PATH"] ?? "").split(separator: ":").contains {
    FileManager.default.isExecutableFile(atPath: "\($0)/curl")
  }

  private func run(_ arguments: [String], environment: [String: String] = [:]) throws -> (status: Int32, text: String) {
    let process = Process()
    process.executableURL = URL(fileURLWithPath: FetchDataTests.script)
    process.arguments = arguments
    process.environment = ProcessInfo.processInfo.environment.merging(environment) { $1 }
    let pipe = Pipe()
    process.standardOutput = pipe
    process.standardError = pipe
    try process.run()
    let output = pipe.fileHandleForReading.readDataToEndOfFile()
    process.waitUntilExit()
    return (process.terminationStatus, String(decoding: output, as: UTF8.self))
  }

  @Test func wrongUsageEndsWithStatus2() throws {
    for arguments in [[], ["cifar"], ["mnist", "--mirror"], ["mnist", "--what"], ["mnist", "fashion-mnist"]] {
      let result = try run(arguments)
      #expect(result.status == 2 && result.text.hasPrefix("fetch-data: "))
    }
    #expect(try run(["--help"]).status == 0)
  }

  @Test(.enabled(if: hasCurl, "curl is not installed"))
  func aWrongFileIsRefusedAndNothingIsChanged() throws {
    let mirror = try TemporaryFolder()
    _ = try mirror.file("train-images-idx3-ubyte.gz", [1, 2, 3])
    let target = try TemporaryFolder()
    let old = try target.file("train-images-idx3-ubyte.gz", [9])
    let result = try run(["mnist", "--mirror", "file://\(mirror.path)", "--into", target.path])
    #expect(result.status == 1 && result.text.contains("refused"))
    #expect(target.names == ["train-images-idx3-ubyte.gz"])
    #expect(try bytes(of: old) == [9])
  }

  @Test(.enabled(if: hasCurl, "curl is not installed"))
  func aMissingFileIsReported() throws {
    let mirror = try TemporaryFolder()
    let target = try TemporaryFolder()
    let result = try run(["mnist", "--mirror", "file://\(mirror.path)", "--into", target.path])
    #expect(result.status == 1 && result.text.contains("cannot download file://\(mirror.path)/train-images"))
    #expect(target.names == [])
  }

  @Test(.enabled(if: hasCurl && publishedData != nil, "needs curl and LAMINA_DATA with an mnist folder"))
  func rightFilesArriveAndStay() throws {
    let target = try TemporaryFolder()
    let mirror = "file://\(publishedData!)/mnist/"
    let places = [
      (["--into", "\(target.path)/a"], [:], "a"),
      ([], ["LAMINA_DATA": target.path], "mnist"),
      ([], ["LAMINA_DATA": "", "XDG_CACHE_HOME": target.path], "lamina/mnist"),
    ]
    for (arguments, environment, folder) in places {
      let first = try run(["mnist", "--mirror", mirror] + arguments, environment: environment)
      #expect(first.status == 0, "\(first.text)")
      let names = try FileManager.default.contentsOfDirectory(atPath: "\(target.path)/\(folder)").sorted()
      #expect(
        names == [
          "t10k-images-idx3-ubyte.gz", "t10k-labels-idx1-ubyte.gz", "train-images-idx3-ubyte.gz",
          "train-labels-idx1-ubyte.gz",
        ])
      // A mirror that has nothing shows that files already right are not fetched again.
      let second = try run(["mnist", "--mirror", "file:///none"] + arguments, environment: environment)
      #expect(second.status == 0 && second.text.contains("already there"))
    }
  }
}
