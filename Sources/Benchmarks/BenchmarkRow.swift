import Foundation

/// A place in a series of cases in which one size grows.
struct Sweep: Sendable, Equatable {
  /// What grows.
  enum Axis: String, Sendable, CaseIterable {
    case batch, width, depth, threads
  }

  var axis: Axis
  var value: Int
  /// What stays the same along the series.
  var family: String
}

/// One measurement: a line of the table and a line of JSON.
public struct BenchmarkRow: Sendable, Equatable {
  /// `gemm`, `batchnorm`, `dense`, `step`, `inference` or `optimizers`.
  public var suite: String
  /// What was measured, such as `32×128×784 NN float32`.
  public var name: String
  /// The raw value of a `BenchmarkVariant`.
  public var variant: String
  /// Threads that worked.
  public var threads: Int
  /// Median time of one run in µs.
  public var medianMicroseconds: Double
  /// Shortest time.
  public var minimumMicroseconds: Double
  /// Half the distance between the 16th and the 84th percentile.
  public var spreadMicroseconds: Double
  /// Images trained on per second, where it applies.
  public var imagesPerSecond: Double?
  /// Arithmetic rate, where it applies.
  public var gflops: Double?
  /// Rate of the bytes that must move at least once, where it applies.
  public var gbPerSecond: Double?
  /// Rate over the measured bound of as many threads: the multiply-add peak, or the copy rate of as large a matrix.
  public var fractionOfBound: Double?
  /// The naive variant's median time over this one's.
  public var speedupOverNaive: Double?
  /// Largest error against the oracle in Double, relative to the largest term of a result.
  public var maxError: Double?
  /// Whether the error is one that roundings explain.
  public var ok: Bool

  // What plots and the table need beside these; no part of the JSON.

  /// The unfused variant's median time over this one's.
  var speedupOverUnfused: Double?
  /// Flops over the bytes that must move at least once.
  var flopsPerByte: Double?
  /// Where the case belongs to a series in which one size grows.
  var sweep: Sweep?

  init(suite: String, name: String, variant: String, threads: Int, timing: Timing, maxError: Double, bound: Double) {
    self.suite = suite
    self.name = name
    self.variant = variant
    self.threads = threads
    medianMicroseconds = timing.median
    minimumMicroseconds = timing.minimum
    spreadMicroseconds = timing.spread
    self.maxError = maxError.isFinite ? maxError : nil
    ok = maxError <= bound
  }
}

extension BenchmarkRow: Encodable {
  private enum CodingKeys: String, CodingKey {
    case suite, variant, threads, gflops, ok
    case name = "case"
    case medianMicroseconds = "median_us"
    case minimumMicroseconds = "min_us"
    case spreadMicroseconds = "spread_us"
    case imagesPerSecond = "images_per_s"
    case gbPerSecond = "gb_per_s"
    case fractionOfBound = "fraction_of_bound"
    case speedupOverNaive = "speedup_over_naive"
    case maxError = "max_error"
  }

  /// Writes every key, null where it does not apply.
  public func encode(to encoder: any Encoder) throws {
    var container = encoder.container(keyedBy: CodingKeys.self)
    try container.encode(suite, forKey: .suite)
    try container.encode(name, forKey: .name)
    try container.encode(variant, forKey: .variant)
    try container.encode(threads, forKey: .threads)
    try container.encode(medianMicroseconds, forKey: .medianMicroseconds)
    try container.encode(minimumMicroseconds, forKey: .minimumMicroseconds)
    try container.encode(spreadMicroseconds, forKey: .spreadMicroseconds)
    try container.encode(imagesPerSecond, forKey: .imagesPerSecond)
    try container.encode(gflops, forKey: .gflops)
    try container.encode(gbPerSecond, forKey: .gbPerSecond)
    try container.encode(fractionOfBound, forKey: .fractionOfBound)
    try container.encode(speedupOverNaive, forKey: .speedupOverNaive)
    try container.encode(maxError, forKey: .maxError)
    try container.encode(ok, forKey: .ok)
  }
}

extension BenchmarkRow {
  /// The table's first line.
  public static var tableHeader: String {
    table([
      "case", "variant", "threads", "median µs", "± µs", "images/s", "GFLOP/s", "GB/s", "of bound", "× naive",
      "× unfused", "max error", "",
    ])
  }

  /// The row as a line of the table.
  public var tableLine: String {
    func text(_ value: Double?, _ format: String) -> String { value.map { String(format: format, $0) } ?? "" }
    let precise = medianMicroseconds < 100 ? "%.2f" : "%.0f"
    return Self.table([
      name, variant, String(threads), text(medianMicroseconds, precise), text(spreadMicroseconds, precise),
      text(imagesPerSecond, "%.0f"), text(gflops, "%.1f"), text(gbPerSecond, "%.1f"),
      text(fractionOfBound.map { $0 * 100 }, "%.0f %%"), text(speedupOverNaive, "%.1f"),
      text(speedupOverUnfused, "%.2f"), maxError.map { String(format: "%.1e", $0) } ?? "NaN", ok ? "PASS" : "FAIL",
    ])
  }

  private static func table(_ cells: [String]) -> String {
    let widths = [58, 8, 7, 10, 8, 10, 8, 7, 8, 8, 9, 9, 4]
    return zip(cells, widths).enumerated().map { column, cell in
      let space = String(repeating: " ", count: max(0, cell.1 - cell.0.count))
      return column < 2 ? cell.0 + space : space + cell.0
    }.joined(separator: "  ")
  }
}
