import Foundation
import Testing

/// The program under test, run as a user runs it.
enum Program {
  /// What a run left.
  struct Result {
    let status: Int32
    let output: String
    let errors: String

    /// The lines of standard output.
    var lines: [String] { output.split(separator: "\n", omittingEmptySubsequences: false).dropLast().map(String.init) }

    /// The last line of standard output as a JSON object.
    func lastObject(sourceLocation: SourceLocation = #_sourceLocation) throws -> [String: Any] {
      let line = try #require(lines.last, "no output; standard error: \(errors)", sourceLocation: sourceLocation)
      let object = try JSONSerialization.jsonObject(with: Data(line.utf8))
      return try #require(object as? [String: Any], "no object: \(line)", sourceLocation: sourceLocation)
    }
  }

  /// `LAMINA_BINARY`, or the program beside the test bundle.
  static let path: String = {
    if let path = ProcessInfo.processInfo.environment["LAMINA_BINARY"] { return path }
    var folder = URL(fileURLWithPath: Bundle.main.executablePath ?? CommandLine.arguments[0])
    // On macOS the test bundle is a folder some levels deep.
    while folder.path != "/" {
      folder.deleteLastPathComponent()
      let candidate = folder.appendingPathComponent("lamina").path
      var isFolder: ObjCBool = false
      if FileManager.default.fileExists(atPath: candidate, isDirectory: &isFolder), !isFolder.boolValue {
        return candidate
      }
    }
    return "lamina"
  }()

  /// The top folder of the package.
  static let packageFolder = URL(fileURLWithPath: #filePath)
    .deletingLastPathComponent().deletingLastPathComponent().deletingLastPathComponent().path

  /// Runs the program; `environment` changes variables, nil removes one.
  static func run(_ arguments: [String], environment: [String: String?] = [:]) throws -> Result {
    try run(executable: path, arguments, environment: environment)
  }

  /// Runs any executable.
  static func run(
    executable: String, _ arguments: [String], environment: [String: String?] = [:]
  ) throws -> Result {
    let folder = try TemporaryFolder()
    let process = Process()
    process.executableURL = URL(fileURLWithPath: executable)
    process.arguments = arguments
    var variables = ProcessInfo.processInfo.environment
    // The machine's own settings of kernels must not decide what is tested.
    variables["LAMINA_KERNELS"] = nil
    for (name, value) in environment { variables[name] = value }
    process.environment = variables
    // Files rather than pipes: nothing blocks, however much is written.
    let (output, errors) = (try folder.file("output", []), try folder.file("errors", []))
    process.standardInput = FileHandle.nullDevice
    process.standardOutput = FileHandle(forWritingAtPath: output)
    process.standardError = FileHandle(forWritingAtPath: errors)
    try process.run()
    process.waitUntilExit()
    func text(_ path: String) throws -> String {
      String(decoding: try Data(contentsOf: URL(fileURLWithPath: path)), as: UTF8.self)
    }
    return Result(
      status: process.terminationReason == .exit ? process.terminationStatus : 128 + process.terminationStatus,
      output: try text(output), errors: try text(errors))
  }

  /// A short training on synthetic digits, with `arguments` added.
  static func train(_ arguments: [String] = [], environment: [String: String?] = [:]) throws -> Result {
    let small = ["train", "--train-images", "600", "--test-images", "200", "--layers", "32", "--epochs", "2", "--json"]
    return try run(small + arguments, environment: environment)
  }
}

/// A folder of its own for a test, removed with it.
final class TemporaryFolder {
  let path: String

  init() throws {
    path = NSTemporaryDirectory() + "lamina-\(UUID().uuidString)"
    try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
  }

  deinit { try? FileManager.default.removeItem(atPath: path) }

  /// The path of a file in the folder, written with `bytes` where they are given.
  func file(_ name: String, _ bytes: [UInt8]? = nil) throws -> String {
    let file = "\(path)/\(name)"
    if let bytes { try Data(bytes).write(to: URL(fileURLWithPath: file)) }
    return file
  }
}
