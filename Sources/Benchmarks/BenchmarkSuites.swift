import Foundation
import Kernels
import Lamina

/// Who computes: the columns of a comparison.
public enum BenchmarkVariant: String, Sendable, CaseIterable {
  /// The textbook's loops, on one thread.
  case naive
  /// One call of BLAS for each product, and one pass over memory for each other operation.
  case unfused
  /// Lamina's kernels, products cut into tiles, and fused passes.
  case lamina
}

/// The suites of `lamina bench`: each case in the naive form and in Lamina's, with the error of each against the oracle.
public struct BenchmarkSuites {
  /// Fewer and smaller cases, less time each.
  public var isQuick: Bool
  /// Threads of each case; nil: one for products and kernels, as many as processors for layers and steps.
  public var threads: Int?
  /// Where images of steps and of inference come from; nil: noise, of which no pixel is left out.
  public var data: DataSource?
  /// The variants that are measured.
  public var variants = Set(BenchmarkVariant.allCases)
  /// Seconds for each measurement.
  var seconds: Double { isQuick ? 0.05 : 0.3 }
  /// Called with each row as soon as it is measured.
  let report: (BenchmarkRow) throws -> Void
  /// Called with what is left out, and why.
  let note: (String) -> Void

  /// Seconds of a single run beyond which naive loops are not waited for.
  static let longestNaiveRun = 2.0

  /// Suites that hand their rows to `report` and say to `note` what they leave out.
  public init(
    isQuick: Bool, threads: Int? = nil, note: @escaping (String) -> Void = { _ in },
    report: @escaping (BenchmarkRow) throws -> Void
  ) {
    self.isQuick = isQuick
    self.threads = threads
    self.note = note
    self.report = report
  }

  /// Threads of layers and steps.
  var team: Int { threads ?? (try? ThreadRequest(nil))?.mostMembers ?? 1 }

  /// Whether `variant` is measured.
  func wants(_ variant: BenchmarkVariant) -> Bool { variants.contains(variant) }

  /// Says that the naive loops of a case are left out, one run of which would take `seconds`.
  func leftOut(_ suite: String, _ name: String, seconds: Double) {
    note("\(suite) \(name): no naive row, one run of its loops would take about \(String(format: "%.0f", seconds)) s")
  }

  /// Reports the variants of a case that are asked for, naive, unfused, Lamina, with the speed-ups of each.
  ///
  /// Returns Lamina's row.
  @discardableResult
  func report(variants rows: [BenchmarkRow]) throws -> BenchmarkRow? {
    func median(_ variant: BenchmarkVariant) -> Double? {
      rows.first { $0.variant == variant.rawValue }?.medianMicroseconds
    }
    var lamina: BenchmarkRow?
    for variant in BenchmarkVariant.allCases where wants(variant) {
      for var row in rows where row.variant == variant.rawValue {
        row.speedupOverNaive = median(.naive).map { $0 / row.medianMicroseconds }
        row.speedupOverUnfused = median(.unfused).map { $0 / row.medianMicroseconds }
        try report(row)
        if variant == .lamina { lamina = row }
      }
    }
    return lamina
  }
}
