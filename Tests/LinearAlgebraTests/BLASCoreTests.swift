import CPUFeatures
import Foundation
import LinearAlgebra
import Testing

/// A CPU that OpenBLAS does not know still gets kernels as wide as its vectors.
///
/// A program of its own, `BLASCoreProbe`, has OpenBLAS choose its oldest core and then choose again: nothing else may call
/// OpenBLAS in that process.
@Suite struct BLASCoreTests {
  @Test func aCoreThatIsTooNarrowIsReplaced() throws {
    let report = try probe(variables: [:])
    #expect(report["wrong"] == "0")
    guard report["forced"] != nil else { return }  // An OpenBLAS for one core cannot choose.
    #expect(report["forced"] == "Prescott" && report["wrong, forced"] == "0")
    #expect(report["wrong, widened"] == "0")
    let cores: Set<String?> =
      lamina_cpu_has_x86_64_v4()
      ? ["SkylakeX", "Cooperlake", "SapphireRapids"]
      : lamina_cpu_has_x86_64_v3() ? ["Haswell", "Zen", "Excavator"] : ["Prescott"]
    // A sanitizer runs a thread of its own, beside which the core stays.
    guard report["choice"] != "stays narrow" else { return }
    #expect(cores.contains(report["widened"]))
    #expect(report["choice"] == (lamina_cpu_has_x86_64_v3() ? "widened" : "kept"))
    #expect(cores.contains(report["start"]) || !lamina_cpu_has_x86_64_v3())
  }

  @Test func whatTheVariableAsksForStays() throws {
    let report = try probe(variables: ["OPENBLAS_CORETYPE": "Nehalem"])
    #expect(report["wrong"] == "0")
    guard report["forced"] != nil else { return }
    #expect(report["start"] == "Nehalem" && report["by itself"] == "Nehalem")
    #expect(report["choice with the variable"] == "kept" && report["variable"] == "Prescott")
  }

  private func probe(variables: [String: String]) throws -> [String: String] {
    // Beside the test program, where the build put both.
    let folders = [Bundle.main.executableURL, Bundle(for: Anchor.self).bundleURL].compactMap(\.self)
    let candidates = folders.map { $0.deletingLastPathComponent().appendingPathComponent("BLASCoreProbe") }
    let program = candidates.first { FileManager.default.isExecutableFile(atPath: $0.path) }
    let process = Process()
    process.executableURL = try #require(program as URL?, "BLASCoreProbe is not built: \(candidates)")
    var environment = ProcessInfo.processInfo.environment
    environment["OPENBLAS_CORETYPE"] = nil
    process.environment = environment.merging(variables) { $1 }
    let output = Pipe()
    process.standardOutput = output
    try process.run()
    let data = output.fileHandleForReading.readDataToEndOfFile()
    process.waitUntilExit()
    #expect(process.terminationStatus == 0)
    return try JSONDecoder().decode([String: String].self, from: data)
  }

  private final class Anchor {}
}
