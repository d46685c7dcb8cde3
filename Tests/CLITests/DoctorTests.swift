import Benchmarks
import Foundation
import Testing

@Suite struct DoctorTests {
  @Test func examinesTheMachine() throws {
    let result = try Program.run(["doctor", "--json"])
    #expect(result.status == 0, "\(result.errors)")
    let report = try result.lastObject()
    #expect(Set(report.keys) == ["machine", "lapacke_works", "self_test", "rates", "advice", "ok"])
    #expect(report["ok"] as? Bool == true && report["lapacke_works"] as? Bool == true)
    let tests = try #require(report["self_test"] as? [[String: Any]])
    for test in tests { #expect(test["ok"] as? Bool == true, "\(test)") }
    let machine = try #require(report["machine"] as? [String: Any])
    let sets = try #require(machine["available_kernels"] as? [String])
    #expect(sets.contains("portable"))
    // Every group of kernels, in every instruction set and both precisions.
    for set in sets {
      for precision in ["float32", "float64"] {
        let names = tests.filter { $0["kernels"] as? String == set && $0["precision"] as? String == precision }
          .compactMap { $0["kernel"] as? String }
        for group in [
          "gemm", "activations", "batchNormalization", "optimizers", "losses", "dropout", "gathering", "reductions",
        ] {
          #expect(names.contains { $0.hasPrefix(group) }, "\(group) in \(set), \(precision)")
        }
      }
    }
    for rate in try #require(report["rates"] as? [[String: Any]]) {
      for (name, value) in rate where name != "precision" { #expect(try #require(value as? Double) > 0) }
    }
  }

  @Test func wordsSayTheSame() throws {
    let result = try Program.run(["doctor"])
    #expect(result.status == 0)
    for word in ["CPU", "OpenBLAS", "LAPACKE     works", "PASS", "GFLOP/s"] { #expect(result.output.contains(word)) }
    #expect(!result.output.contains("FAIL"))
  }

  @Test func adviceFollowsTheCard() throws {
    var card = try MachineCard(environment: [:])
    card.build = "release"
    card.architecture = "x86-64-v4"
    card.availableKernels = ["portable", "avx2", "avx512"]
    card.kernels = "avx512"
    card.blasCore = "SkylakeX"
    card.cgroupQuota = nil
    card.variables = [:]
    #expect(Advice.all(for: card).isEmpty)

    func onlyFix(_ change: (inout MachineCard) -> Void) throws -> String {
      var changed = card
      change(&changed)
      let advice = Advice.all(for: changed)
      try #require(advice.count == 1, "\(advice)")
      return advice[0].fix
    }
    #expect(
      try onlyFix {
        $0.blasCore = "Haswell"
        $0.variables["OPENBLAS_CORETYPE"] = "Haswell"
      } == "unset OPENBLAS_CORETYPE")
    #expect(try onlyFix { $0.variables["LAMINA_THREADS"] = "some" } == "unset LAMINA_THREADS")
    #expect(
      try onlyFix {
        $0.processors = 2
        $0.variables["LAMINA_THREADS"] = "3"
      } == "unset LAMINA_THREADS, or set it to 2 or less")
    #expect(try onlyFix { $0.blasCore = "Zen" }.contains("OPENBLAS_CORETYPE=SkylakeX"))
    #expect(try onlyFix { $0.variables["OPENBLAS_L2_SIZE"] = "512" } == "unset OPENBLAS_L2_SIZE")
    #expect(try onlyFix { $0.kernels = "portable" } == "unset LAMINA_KERNELS")
    // Tiles ask for no wider core.
    card.availableKernels.append("amx")
    #expect(try onlyFix { $0.kernels = "avx512" } == "unset LAMINA_KERNELS")
    card.kernels = "amx"
    #expect(Advice.all(for: card).isEmpty)
    #expect(
      try onlyFix {
        $0.processors = 8
        $0.cgroupQuota = 2.5
      }.contains("--threads 2"))
    #expect(try onlyFix { $0.variables["LAMINA_DATA"] = "/no/such/folder" }.contains("LAMINA_DATA"))
    #expect(try onlyFix { $0.build = "debug" }.contains("release"))
  }

  @Test func moreThreadsThanProcessorsAreNamed() throws {
    #expect(Advice.oversubscription(threads: nil, processors: 2) == nil)
    #expect(Advice.oversubscription(threads: 2, processors: 2) == nil)
    #expect(Advice.oversubscription(threads: 3, processors: 2)?.fix.contains("--threads 2") == true)
    let result = try Program.train(["--threads", "64", "--epochs", "1", "--train-images", "64"])
    #expect(result.status == 0 && result.errors.contains("lamina: warning: 64 threads"))
  }
}
