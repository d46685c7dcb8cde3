import Foundation
import Testing

@Suite struct ExperimentCommandTests {
  private static let small = [
    "experiment", "covariate-shift", "--data", "synthetic", "--train-images", "600", "--test-images", "100", "--steps",
    "50",
  ]

  @Test func jsonHoldsChoiceAndVerdict() throws {
    let folder = try TemporaryFolder()
    let result = try Program.run(Self.small + ["--out", "\(folder.path)/new", "--json"])
    #expect(result.status == 0, "\(result.errors)")
    let report = try result.lastObject()
    #expect(report["experiment"] as? String == "covariate-shift" && report["steps"] as? Int == 50)
    #expect((report["grid"] as? [Any])?.count == 8)
    let verdict = try #require(report["verdict"] as? [String: Any])
    for key in ["above_throughout", "steadier", "reproduces"] { #expect(verdict[key] is Bool, "\(key)") }
    for name in ["accuracy.csv", "percentiles.csv", "grid.csv", "covariate-shift.gnuplot"] {
      #expect(FileManager.default.fileExists(atPath: "\(folder.path)/new/\(name)"), "\(name)")
    }
  }

  @Test func withoutGnuplotTheDataAreLeft() throws {
    let folder = try TemporaryFolder()
    let result = try Program.run(
      Self.small + ["--out", folder.path, "--learning-rate", "0.3", "--deviation", "0.1"],
      environment: ["PATH": folder.path])
    #expect(result.status == 0)
    #expect(result.errors.contains("gnuplot is not installed") && result.output.contains("Above throughout"))
    #expect(FileManager.default.fileExists(atPath: "\(folder.path)/accuracy.csv"))
    #expect(!FileManager.default.fileExists(atPath: "\(folder.path)/covariate-shift.svg"))
  }
}
