import Foundation
import Testing

@testable import Benchmarks

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
    for key in [
      "cpu", "processors", "kernels", "openblas_version", "blas_core", "blas_threads", "threads", "variables",
      "swift_version", "date",
    ] {
      #expect(card[key] != nil, "\(key)")
    }
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
      #expect(result.lines.filter { $0.hasSuffix("PASS") }.count == 3)
      let text = String(decoding: try Data(contentsOf: URL(fileURLWithPath: file)), as: UTF8.self)
      let rows = try rows(text.split(separator: "\n").map(String.init))
      #expect(rows.compactMap { $0["variant"] as? String } == ["naive", "unfused", "lamina"])
      for row in rows { #expect(row["images_per_s"] is Double && row["speedup_over_naive"] is Double) }
    }
  }

  @Test func stepOnImagesPasses() throws {
    let flags = ["bench", "step", "--quick", "--seconds", "0.05", "--non-finite", "ignore", "--data"]
    let result = try Program.run(flags + ["synthetic", "--json", "-"])
    #expect(result.status == 0, "\(result.errors)")
    let cases = try rows(result.lines).compactMap { $0["case"] as? String }
    #expect(cases.count == 3 && cases.allSatisfy { $0.hasSuffix("batch 32, synthetic") }, "\(cases)")

    for (more, problem) in [
      (["synthetic", "--layers", "20,17,10"], "784 pixels"), (["synthetic", "--layers", "784,9"], "10 classes"),
      (["no-such-folder"], "no-such-folder"),
    ] {
      let result = try Program.run(flags + more)
      #expect(result.status != 0)
      #expect(result.errors.contains(problem), "\(result.errors)")
      #expect(result.errors.split(separator: "\n").count == 1, "\(result.errors)")
    }
  }

  @Test func policiesForStepsThatAreNotFinitePass() throws {
    let result = try Program.run(["bench", "step", "--quick", "--seconds", "0.02", "--threads", "2", "--json", "-"])
    #expect(result.status == 0, "\(result.errors)")
    let cases = try rows(result.lines).compactMap { $0["case"] as? String }
    #expect(cases.count == 6)
    for (text, name) in zip(cases[3...], ["ignore", "throw", "rollBack"]) {
      #expect(text.contains("non-finite \(name)"), "\(cases)")
    }
    for policy in ["throw", "rollBack"] {
      let result = try Program.run([
        "bench", "step", "--layers", "20,17,5", "--quick", "--seconds", "0.01", "--non-finite", policy, "--json", "-",
      ])
      #expect(result.status == 0, "\(result.errors)")
      let names = try rows(result.lines).compactMap { $0["case"] as? String }
      #expect(names.count == 3 && names.allSatisfy { $0.hasSuffix(policy) }, "\(names)")
    }
  }

  @Test func batchNormalizationPasses() throws {
    let result = try Program.run(["bench", "batchnorm", "--quick", "--json", "-"])
    #expect(result.status == 0, "\(result.errors)")
    let rows = try rows(result.lines)
    // Four shapes, forward and with backward, in three variants; twelve options in two.
    #expect(rows.count == 24 + 24)
    let prices = rows.compactMap { $0["case"] as? String }.filter { $0.contains("× plain") }
    #expect(prices.count == 22, "\(prices)")
  }

  @Test func denseLayersPass() throws {
    let result = try Program.run(["bench", "dense", "--quick", "--threads", "2", "--json", "-"])
    #expect(result.status == 0, "\(result.errors)")
    let rows = try rows(result.lines)
    // Naive loops may be left out where they are slow, and that is said.
    let leftOut = result.errors.split(separator: "\n").count
    #expect(rows.count + leftOut == 12, "\(result.errors)")
    for row in rows { #expect(row["threads"] as? Int == (row["variant"] as? String == "naive" ? 1 : 2)) }
  }

  @Test func oneVariantIsMeasuredAlone() throws {
    let result = try Program.run([
      "bench", "step", "--layers", "6,5,3", "--quick", "--seconds", "0.01", "--variant", "lamina", "--json", "-",
    ])
    #expect(result.status == 0, "\(result.errors)")
    let rows = try rows(result.lines)
    #expect(rows.count == 1 && rows[0]["variant"] as? String == "lamina" && rows[0]["speedup_over_naive"] is NSNull)
  }

  @Test func narrowKernelsPass() throws {
    for suite in [["gemm", "--quick"], ["step", "--layers", "20,17,9,5", "--quick", "--seconds", "0.01"]] {
      let result = try Program.run(["bench"] + suite + ["--json", "-"], environment: ["LAMINA_KERNELS": "portable"])
      #expect(result.status == 0, "\(result.errors)")
      _ = try rows(result.lines)
    }
  }

  // MARK: Plots

  @Test func plotsLeaveDataAndScripts() throws {
    let folder = try TemporaryFolder()
    let plots = folder.path + "/new/plots"
    let result = try Program.run(["bench", "gemm", "--quick", "--plot", plots])
    let drawn = result.status == 0
    // Where gnuplot is missing everything but the pictures is there.
    #expect(drawn || result.errors.contains("gnuplot is not in the PATH"), "\(result.errors)")
    for name in ["gemm-batch", "roofline"] {
      for suffix in drawn ? ["dat", "gp", "svg"] : ["dat", "gp"] {
        let file = "\(plots)/\(name).\(suffix)"
        let bytes = try Data(contentsOf: URL(fileURLWithPath: file)).count
        #expect(bytes > 100, "\(file): \(bytes) bytes")
      }
    }
    let csv = try String(contentsOfFile: "\(plots)/rows.csv", encoding: .utf8).split(separator: "\n")
    #expect(csv.count == 13)
  }

  @Test func missingGnuplotIsNamedAndTheDataStay() throws {
    let folder = try TemporaryFolder()
    let result = try Program.run(
      ["bench", "batchnorm", "--quick", "--plot", folder.path + "/plots"], environment: ["PATH": folder.path])
    #expect(result.status == 1)
    let lines = result.errors.split(separator: "\n")
    #expect(lines.count == 1 && lines[0].contains("gnuplot is not in the PATH"), "\(result.errors)")
    let files = try FileManager.default.contentsOfDirectory(atPath: folder.path + "/plots").sorted()
    #expect(files == ["rows.csv", "speedup-batchnorm.dat", "speedup-batchnorm.gp"])
  }

  @Test func curvesHaveALineForEachSize() throws {
    let folder = try TemporaryFolder()
    let plots = try BenchmarkPlots(folder: folder.path)
    for batch in [1, 8] {
      for variant in BenchmarkVariant.allCases where !(variant == .naive && batch == 8) {
        var row = BenchmarkRow(
          suite: "step", name: "case, \(batch)", variant: variant.rawValue, threads: 1, timing: Timing([10]),
          maxError: 0, bound: 1)
        row.imagesPerSecond = Double(batch) * 100
        row.sweep = Sweep(axis: .batch, value: batch, family: "it's")
        plots.add(row)
      }
    }
    do {
      try plots.draw(title: "")
    } catch PlotError.gnuplotMissing {}
    let data = try String(contentsOfFile: folder.path + "/step-batch.dat", encoding: .utf8)
    #expect(data.contains("\n1 100 100 100\n8 NaN 800 800\n"), "\(data)")
  }

  /// gnuplot draws no column without a value: a variant that a suite does not measure has none.
  @Test func barsAreOfTheVariantsMeasured() throws {
    let folder = try TemporaryFolder()
    let plots = try BenchmarkPlots(folder: folder.path)
    for (variant, speedup) in [("naive", 1.0), ("lamina", 8)] {
      var row = BenchmarkRow(
        suite: "optimizers", name: "adam", variant: variant, threads: 1, timing: Timing([10]), maxError: 0, bound: 1)
      row.speedupOverNaive = speedup
      plots.add(row)
    }
    do {
      try plots.draw(title: "")
    } catch PlotError.gnuplotMissing {}
    let data = try String(contentsOfFile: folder.path + "/speedup-optimizers.dat", encoding: .utf8)
    #expect(data == "# case lamina\n\"adam\" 8\n", "\(data)")
  }

  // MARK: Rows

  @Test func errorsBeyondTheBoundFail() {
    func row(_ error: Double) -> BenchmarkRow {
      BenchmarkRow(
        suite: "gemm", name: "", variant: "lamina", threads: 1, timing: Timing([1, 2, 3]), maxError: error, bound: 1)
    }
    #expect(row(1).ok && !row(1.01).ok && !row(.nan).ok && !row(.infinity).ok)
    #expect(row(.nan).maxError == nil)
    #expect(row(0).medianMicroseconds == 2 && row(0).minimumMicroseconds == 1 && row(0).spreadMicroseconds == 1)
  }

  @Test func revisionIsReadFromAnyKindOfTree() throws {
    let folder = try TemporaryFolder()
    let root = URL(fileURLWithPath: folder.path)
    let commit = String(repeating: "0123456789", count: 4)
    func write(_ path: String, _ text: String) throws {
      let file = root.appendingPathComponent(path)
      try FileManager.default.createDirectory(at: file.deletingLastPathComponent(), withIntermediateDirectories: true)
      try Data(text.utf8).write(to: file)
    }
    #expect(SourceRevision.of(root) == nil)
    try write("main/.git/HEAD", "ref: refs/heads/main\n")
    #expect(SourceRevision.of(root.appendingPathComponent("main")) == nil)
    try write("main/.git/packed-refs", "# pack-refs\n\(commit) refs/heads/main\n")
    #expect(SourceRevision.of(root.appendingPathComponent("main")) == commit)
    let newer = String(commit.reversed())
    try write("main/.git/refs/heads/main", "\(newer)\n")
    #expect(SourceRevision.of(root.appendingPathComponent("main")) == newer)
    try write("main/.git/worktrees/tree/HEAD", "ref: refs/heads/main\n")
    try write("main/.git/worktrees/tree/commondir", "../..\n")
    try write("tree/.git", "gitdir: ../main/.git/worktrees/tree\n")
    #expect(SourceRevision.of(root.appendingPathComponent("tree")) == newer)
    try write("detached/.git/HEAD", "\(commit)\n")
    #expect(SourceRevision.of(root.appendingPathComponent("detached")) == commit)
    try write("broken/.git/HEAD", "rubbish\n")
    #expect(SourceRevision.of(root.appendingPathComponent("broken")) == nil)
  }

  @Test func fileThatCannotBeWrittenIsNamed() throws {
    let result = try Program.run([
      "bench", "step", "--layers", "4,3", "--quick", "--seconds", "0.01", "--json", "/no/such/folder/x",
    ])
    #expect(result.status != 0 && result.errors.contains("/no/such/folder/x"))
  }
}
