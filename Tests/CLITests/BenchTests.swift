import Foundation
import Testing

@Suite struct BenchTests {
  private static let keys: Set<String> = [
    "suite", "case", "variant", "threads", "median_us", "min_us", "spread_us", "images_per_s", "gflops", "gb_per_s",
    "fraction_of_bound", "speedup_over_naive", "max_error", "ok",
  ]

  /// The objects of the lines, the machine's card left out after a look at it.
  private func rows(_ lines: [String]) throws -> [[String: Any]] {
    let objects = try lines.map { line in
      try #require(JSONSerialization.jsonObject(with: Data(line.utf8)) as? [String: Any])
    }
    let card = try #require(objects.first)
    #expect(card["cpu"] != nil && card["blas_core"] != nil && card["date"] != nil)
    for row in objects.dropFirst() {
      #expect(Set(row.keys) == Self.keys)
      #expect(row["ok"] as? Bool == true, "\(row)")
      #expect(try #require(row["median_us"] as? Double) >= #require(row["min_us"] as? Double))
    }
    return Array(objects.dropFirst())
  }

  @Test func productsPass() throws {
    let result = try Program.run(["bench", "gemm", "--quick", "--json", "-"])
    #expect(result.status == 0, "\(result.errors)")
    let rows = try rows(result.lines)
    #expect(rows.count == 12)
    #expect(Set(rows.compactMap { $0["variant"] as? String }) == ["naive", "unfused", "lamina"])
    for row in rows { #expect(row["gflops"] is Double && row["images_per_s"] is NSNull) }
  }

  @Test func stepOfAnyNetworkPasses() throws {
    let folder = try TemporaryFolder()
    for (index, flags) in [
      ["--batch-norm", "before", "--activation", "sigmoid", "--optimizer", "sgd", "--batch-size", "8"],
      ["--batch-norm", "after", "--precision", "float64", "--threads", "2"],
      ["--batch-norm", "none", "--activation", "elu", "--optimizer", "rmsprop", "--momentum", "0.5"],
    ].enumerated() {
      let file = try folder.file("rows-\(index)")
      let result = try Program.run(
        ["bench", "step", "--layers", "20,17,9,5", "--quick", "--seconds", "0.01", "--json", file] + flags)
      #expect(result.status == 0, "\(result.errors)")
      #expect(result.lines.filter { $0.hasSuffix("PASS") }.count == 2)
      let text = String(decoding: try Data(contentsOf: URL(fileURLWithPath: file)), as: UTF8.self)
      let rows = try rows(text.split(separator: "\n").map(String.init))
      #expect(rows.compactMap { $0["variant"] as? String } == ["naive", "lamina"])
      for row in rows { #expect(row["images_per_s"] is Double) }
    }
  }

  @Test func batchNormalizationPasses() throws {
    let result = try Program.run(["bench", "batchnorm", "--quick", "--json", "-"])
    #expect(result.status == 0, "\(result.errors)")
    #expect(try rows(result.lines).count == 15)
  }

  @Test func fileThatCannotBeWrittenIsNamed() throws {
    let result = try Program.run([
      "bench", "step", "--layers", "4,3", "--quick", "--seconds", "0.01", "--json", "/no/such/folder/x",
    ])
    #expect(result.status != 0 && result.errors.contains("/no/such/folder/x"))
  }
}
