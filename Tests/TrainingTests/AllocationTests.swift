import Foundation
import Testing

/// Training steps allocate nothing after the first.
///
/// A program of its own, `AllocationProbe`, counts the allocations of its process while it trains. In debug builds the
/// loops around the steps (in `fit`, `predict` and `evaluate`) allocate for code that is not specialized; `scripts/test`
/// runs the probe in an optimized build, where nothing may. OpenBLAS's allocations count too.
@Suite("Allocations")
struct AllocationTests {
  @Test("No allocation in a step, with any optimizer, precision and number of threads")
  func steps() throws {
    let counts = try probe()
    // Under a sanitizer nothing is counted; `scripts/test` runs the probe where it must count.
    guard counts["counter works"] == 1 else { return }
    let steps = counts.filter { $0.key.hasPrefix("step ") }
    #expect(steps.count == 18)
    for (name, count) in steps { #expect(count == 0, "\(name)") }
  }

  private func probe() throws -> [String: Int] {
    // Beside the test program, where the build put both.
    let folders = [Bundle.main.executableURL, Bundle(for: Anchor.self).bundleURL].compactMap(\.self)
    let candidates = folders.map { $0.deletingLastPathComponent().appendingPathComponent("AllocationProbe") }
    let program = candidates.first { FileManager.default.isExecutableFile(atPath: $0.path) }
    let process = Process()
    process.executableURL = try #require(program as URL?, "AllocationProbe is not built: \(candidates)")
    let output = Pipe()
    process.standardOutput = output
    try process.run()
    let data = output.fileHandleForReading.readDataToEndOfFile()
    process.waitUntilExit()
    #expect(process.terminationStatus == 0)
    return try JSONDecoder().decode([String: Int].self, from: data)
  }

  private final class Anchor {}
}
