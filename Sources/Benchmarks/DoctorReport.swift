import Foundation
import Kernels
import Lamina

/// All that `lamina doctor` finds out.
public struct DoctorReport: Sendable, Encodable {
  /// The machine and its settings.
  public var machine: MachineCard
  /// Whether LAPACKE is there and solves a system of equations right.
  public var lapackeWorks: Bool
  /// Every kernel and matrix product against the oracle, for each instruction set that the CPU can run.
  public var selfTest: [SelfTestResult]
  /// What one core reaches in each precision.
  public var rates: [MachineRates]
  /// What costs speed.
  public var advice: [Advice]
  /// Whether everything computes right.
  public var ok: Bool

  private enum CodingKeys: String, CodingKey {
    case machine, rates, advice, ok
    case lapackeWorks = "lapacke_works"
    case selfTest = "self_test"
  }

  /// Examines the machine; takes about `seconds` and the time of the self-test.
  ///
  /// - Throws: `InstructionSetError` where `LAMINA_KERNELS` is wrong.
  public init(seconds: Double = 2) throws {
    machine = try MachineCard()
    lapackeWorks = Self.solves()
    selfTest = []
    for instructionSet in InstructionSet.allCases where instructionSet.isSupported {
      selfTest += KernelSelfTest<Float>.run(instructionSet)
      selfTest += KernelSelfTest<Double>.run(instructionSet)
    }
    rates = [
      try MachineRates.measure(as: Float.self, seconds: seconds / 2),
      try MachineRates.measure(as: Double.self, seconds: seconds / 2),
    ]
    advice = Advice.all(for: machine)
    ok = lapackeWorks && selfTest.allSatisfy(\.ok)
  }

  /// Whether a positive definite system of equations is solved to a few roundings.
  private static func solves() -> Bool {
    let order = 16
    let matrix = Tensor<Double>(shape: [order, order]) { index in
      let (row, column) = (index / order, index % order)
      return row == column ? 4 : 1 / Double(1 + abs(row - column))
    }
    let right = Tensor<Double>(shape: [order]) { Double($0 + 1) }
    guard let solution = try? CholeskyDecomposition(matrix).solve(right) else { return false }
    // The condition is below 10 and each of the 16 equations rounds some 50 times: far below 1e-12 of the right side.
    return (0..<order).allSatisfy { row in
      let sum = (0..<order).reduce(0.0) { $0 + matrix.scalars[row * order + $1] * solution.scalars[$1] }
      return abs(sum - right.scalars[row]) <= 1e-12 * Double(order)
    }
  }

  /// The report in words.
  public var text: String {
    var lines = [machine.text, "LAPACKE     \(lapackeWorks ? "works" : "FAILED: it does not solve a small system")"]
    lines += ["", "Self-test against the oracle (errors in units of the last place of the largest term):"]
    let groups = Dictionary(grouping: selfTest) { "\($0.kernels) \($0.precision)" }
    for name in groups.keys.sorted() {
      let results = groups[name] ?? []
      let failed = results.filter { !$0.ok }
      lines.append("  \(name): \(results.count - failed.count) of \(results.count) PASS")
      lines += failed.map {
        "    FAIL \($0.kernel): error \($0.maxError.map { String(format: "%.1f", $0) } ?? "not a number"), bound "
          + String(format: "%.1f", $0.bound)
      }
    }
    lines += ["", "One core, best of several runs:"]
    for rate in rates {
      func share(_ value: Double) -> String {
        String(format: "%.1f GFLOP/s (%.0f %%)", value, value / rate.peakGFLOPS * 100)
      }
      lines.append(
        String(format: "  %@: multiply-add peak %.1f GFLOP/s", rate.precision, rate.peakGFLOPS)
          + ", GEMM 1024³ \(share(rate.squareGFLOPS)), 32×128×784 in tiles \(share(rate.layerGFLOPS)), "
          + String(format: "copy %.0f GB/s in cache, %.0f from memory", rate.cacheCopyGBs, rate.memoryCopyGBs))
    }
    lines.append("")
    lines +=
      advice.isEmpty ? ["Nothing here costs speed."] : advice.map { "Warning: \($0.warning).\n  Fix: \($0.fix)." }
    return lines.joined(separator: "\n")
  }
}
