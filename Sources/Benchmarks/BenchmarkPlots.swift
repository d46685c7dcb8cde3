import Foundation
import Lamina

/// Draws what a benchmark measured: a curve for each series, bars of the speed-ups, and a roofline.
///
/// Writes `rows.csv` with all rows, and for each picture its data (`.dat`), a gnuplot script (`.gp`) that needs nothing
/// else, and what gnuplot makes of them (`.svg`).
public final class BenchmarkPlots {
  private let folder: URL
  private var rows: [BenchmarkRow] = []
  private var scripts: [String] = []

  /// Plots into `folder`, which is made where it is missing.
  ///
  /// - Throws: `PlotError.folder` where that is impossible.
  public init(folder: String) throws(PlotError) {
    self.folder = URL(fileURLWithPath: folder)
    do {
      try FileManager.default.createDirectory(at: self.folder, withIntermediateDirectories: true)
    } catch {
      throw .folder(folder, problem: "cannot make the folder: \(error.localizedDescription)")
    }
    guard FileManager.default.isWritableFile(atPath: folder) else {
      throw .folder(folder, problem: "cannot write to the folder")
    }
  }

  /// Notes a row.
  public func add(_ row: BenchmarkRow) { rows.append(row) }

  /// Writes data and scripts, measures the roofline's bounds, and runs gnuplot.
  ///
  /// - Throws: `PlotError` where a file cannot be written, or gnuplot is missing or fails; data and scripts are written
  ///   before gnuplot is looked for.
  public func draw(title: String) throws {
    do {
      try write("rows.csv", Self.csv(rows))
      try writeCurves()
      try writeSpeedups()
      try writeRoofline(title: title)
    } catch let error as CocoaError {
      throw PlotError.folder(folder.path, problem: error.localizedDescription)
    }
    try runGnuplot()
  }

  private func write(_ name: String, _ text: String) throws {
    try Data(text.utf8).write(to: folder.appendingPathComponent(name), options: .atomic)
  }

  /// Writes a script that draws `name.svg`.
  private func writeScript(_ name: String, width: Int, height: Int, _ commands: [String]) throws {
    let head = [
      "# Draws \(name).svg; run in this folder: gnuplot \(name).gp",
      "set terminal svg size \(width),\(height) background rgb 'white' font 'sans-serif,12'",
      "set output '\(name).svg'",
      "set grid lc rgb '#dddddd'",
    ]
    try write("\(name).gp", (head + commands).joined(separator: "\n") + "\n")
    scripts.append("\(name).gp")
  }

  /// gnuplot's words for the line of a variant.
  private static func style(_ variant: BenchmarkVariant) -> String {
    switch variant {
    case .naive: "lc rgb '#888888' pt 4"
    case .unfused: "lc rgb '#e08214' pt 8"
    case .lamina: "lc rgb '#2166ac' pt 7"
    }
  }

  private static func quoted(_ text: String) -> String { "'" + text.replacingOccurrences(of: "'", with: "''") + "'" }

  private static func number(_ value: Double?) -> String { value.map { String(format: "%.6g", $0) } ?? "NaN" }

  // MARK: Rows

  static func csv(_ rows: [BenchmarkRow]) -> String {
    var lines = [
      "suite,case,variant,threads,median_us,min_us,spread_us,images_per_s,gflops,gb_per_s,fraction_of_bound,"
        + "speedup_over_naive,speedup_over_unfused,max_error,ok,flops_per_byte,sweep,value"
    ]
    for row in rows {
      func cell(_ value: Double?) -> String { value.map { String(format: "%.6g", $0) } ?? "" }
      let cells = [
        row.suite, "\"\(row.name)\"", row.variant, String(row.threads), cell(row.medianMicroseconds),
        cell(row.minimumMicroseconds), cell(row.spreadMicroseconds), cell(row.imagesPerSecond), cell(row.gflops),
        cell(row.gbPerSecond), cell(row.fractionOfBound), cell(row.speedupOverNaive), cell(row.speedupOverUnfused),
        cell(row.maxError), String(row.ok), cell(row.flopsPerByte), row.sweep?.axis.rawValue ?? "",
        row.sweep.map { String($0.value) } ?? "",
      ]
      lines.append(cells.joined(separator: ","))
    }
    return lines.joined(separator: "\n") + "\n"
  }

  // MARK: Curves

  /// One picture for each suite and axis, in it one curve for each family and variant.
  private func writeCurves() throws {
    for suite in unique(rows.map(\.suite)) {
      for axis in Sweep.Axis.allCases {
        let members = rows.filter { $0.suite == suite && $0.sweep?.axis == axis }
        if !members.isEmpty { try writeCurves("\(suite)-\(axis.rawValue)", axis, members) }
      }
    }
  }

  private func writeCurves(_ name: String, _ axis: Sweep.Axis, _ members: [BenchmarkRow]) throws {
    let families = unique(members.compactMap { $0.sweep?.family })
    let countsImages = members.contains { $0.imagesPerSecond != nil }
    var data: [String] = []
    for family in families {
      // gnuplot finds a block by its number: two empty lines part blocks.
      data.append("# \(family)\n# \(axis.rawValue) \(BenchmarkVariant.allCases.map(\.rawValue).joined(separator: " "))")
      let inFamily = members.filter { $0.sweep?.family == family }
      for value in Set(inFamily.compactMap { $0.sweep?.value }).sorted() {
        let cells = BenchmarkVariant.allCases.map { variant in
          let row = inFamily.first { $0.sweep?.value == value && $0.variant == variant.rawValue }
          return Self.number(countsImages ? row?.imagesPerSecond : row?.gflops)
        }
        data.append(([String(value)] + cells).joined(separator: " "))
      }
      data.append("\n")
    }
    try write("\(name).dat", data.joined(separator: "\n"))

    let columns = min(3, families.count)
    let lines = (families.count + columns - 1) / columns
    var commands = [
      axis == .threads ? "set xrange [0.5:*]; set xtics 1" : "set logscale x 2", "set logscale y",
      "set xlabel '\(axis.rawValue)'", "set ylabel '\(countsImages ? "images/s" : "GFLOP/s")'", "set key below",
      "set multiplot layout \(lines),\(columns)",
    ]
    for (index, family) in families.enumerated() {
      let drawn = BenchmarkVariant.allCases.enumerated().filter { variant in
        members.contains { $0.sweep?.family == family && $0.variant == variant.element.rawValue }
      }
      let curves = drawn.map { column, variant in
        "'\(name).dat' index \(index) using 1:\(column + 2) with linespoints lw 2 \(Self.style(variant)) "
          + "title '\(variant.rawValue)'"
      }
      commands += ["set title \(Self.quoted(family))", "plot " + curves.joined(separator: ", ")]
    }
    try writeScript(name, width: 40 + 420 * columns, height: 40 + 340 * lines, commands + ["unset multiplot"])
  }

  // MARK: Speed-ups

  /// Bars of the speed-ups over naive loops, for the cases that belong to no series.
  private func writeSpeedups() throws {
    for suite in unique(rows.map(\.suite)) {
      let members = rows.filter { $0.suite == suite && $0.sweep == nil && $0.speedupOverNaive != nil }
      let cases = unique(members.map(\.name))
      if cases.isEmpty { continue }
      func speedup(_ name: String, _ variant: BenchmarkVariant) -> Double? {
        members.first { $0.name == name && $0.variant == variant.rawValue }?.speedupOverNaive
      }
      let name = "speedup-\(suite)"
      // gnuplot refuses a column without a single value.
      let bars = [(variant: BenchmarkVariant.unfused, color: "#e08214"), (variant: .lamina, color: "#2166ac")]
        .filter { bar in cases.contains { speedup($0, bar.variant) != nil } }
      if bars.isEmpty { continue }
      let lines = cases.map { name in
        "\"\(name)\" " + bars.map { Self.number(speedup(name, $0.variant)) }.joined(separator: " ")
      }
      let titles = bars.map(\.variant.rawValue)
      try write("\(name).dat", "# case \(titles.joined(separator: " "))\n" + lines.joined(separator: "\n") + "\n")
      try writeScript(
        name, width: 300 + 70 * cases.count, height: 620,
        [
          "set title 'Times as fast as naive loops: \(suite)'", "set style data histogram",
          "set style histogram clustered gap 1", "set style fill solid", "set logscale y",
          "set yrange [0.5:*]", "set xtics rotate by -40 font ',10' noenhanced", "set key top left", "set bmargin 11",
          "set rmargin 22",
          "plot "
            + bars.enumerated().map { index, bar in
              "'\(name).dat' using \(index + 2):xtic(1) lc rgb '\(bar.color)' title '\(bar.variant.rawValue)'"
            }.joined(separator: ", "),
        ])
    }
  }

  // MARK: Roofline

  /// GFLOP/s against flops per byte of all Float rows that have both, under the measured peak and bandwidths.
  private func writeRoofline(title: String) throws {
    let points = rows.filter { $0.flopsPerByte != nil && $0.gflops != nil && !$0.name.contains("float64") }
    if points.isEmpty { return }
    var data: [String] = []
    for variant in BenchmarkVariant.allCases {
      data.append("# \(variant.rawValue): flops per byte, GFLOP/s, suite, case")
      let members = points.filter { $0.variant == variant.rawValue }
      data += members.map {
        "\(Self.number($0.flopsPerByte)) \(Self.number($0.gflops)) \($0.suite) \"\($0.name)\""
      }
      // A block without points would shift the numbers of those after it.
      if members.isEmpty { data.append("NaN NaN none none") }
      data.append("\n")
    }
    try write("roofline.dat", data.joined(separator: "\n"))

    let threads = points.map(\.threads).max() ?? 1
    var bounds: [String] = []
    var curves: [String] = []
    let teams = threads == 1 ? [1] : [1, threads]
    for (index, count) in teams.enumerated() {
      let (peak, cache, memory): (Double, Double, Double) = try ScratchMemory.scope {
        (
          try TeamRates.peak(as: Float.self, threads: count, seconds: 0.1),
          try TeamRates.copy(as: Float.self, bytes: count * 128 << 10, threads: count, seconds: 0.1),
          try TeamRates.copy(as: Float.self, bytes: 64 << 20, threads: count, seconds: 0.2)
        )
      }
      bounds += [
        "peak\(index) = \(Self.number(peak))  # GFLOP/s of multiply-adds, \(count) thread(s)",
        "cache\(index) = \(Self.number(cache))  # GB/s of a copy in the L2 cache",
        "memory\(index) = \(Self.number(memory))  # GB/s of a copy from memory",
        "roof\(index)(x, b) = x * b < peak\(index) ? x * b : peak\(index)",
      ]
      let dash = index == 0 && threads > 1 ? "dt 2 " : ""
      let who = "\(count) thread\(count == 1 ? "" : "s")"
      curves += [
        "roof\(index)(x, cache\(index)) \(dash)lw 2 lc rgb '#444444' title 'peak and L2 bandwidth, \(who)'",
        "roof\(index)(x, memory\(index)) \(dash)lw 2 lc rgb '#b2182b' title 'peak and memory bandwidth, \(who)'",
      ]
    }
    for (index, variant) in BenchmarkVariant.allCases.enumerated() {
      curves.append(
        "'roofline.dat' index \(index) using 1:2 with points ps 0.8 \(Self.style(variant)) title '\(variant.rawValue)'")
    }
    try writeScript(
      "roofline", width: 1000, height: 760,
      bounds + [
        "set title \(Self.quoted("Roofline, float32, \(title)"))", "set logscale x 2", "set logscale y",
        "set xlabel 'flops per byte that must move'", "set ylabel 'GFLOP/s'", "set xrange [0.125:1024]",
        "set yrange [0.1:*]", "set samples 500", "set key outside below maxrows 3",
        "plot " + curves.joined(separator: ", \\\n  "),
      ])
  }

  // MARK: gnuplot

  private func runGnuplot() throws {
    let path = ProcessInfo.processInfo.environment["PATH"] ?? ""
    let programs = path.split(separator: ":").map { "\($0)/gnuplot" }
    guard let program = programs.first(where: FileManager.default.isExecutableFile) else {
      throw PlotError.gnuplotMissing(folder: folder.path)
    }
    for script in scripts {
      let process = Process()
      process.executableURL = URL(fileURLWithPath: program)
      process.arguments = [script]
      process.currentDirectoryURL = folder
      let errors = Pipe()
      process.standardError = errors
      process.standardOutput = FileHandle.nullDevice
      do {
        try process.run()
      } catch {
        throw PlotError.gnuplotFailed(script: script, message: error.localizedDescription)
      }
      let message = String(decoding: errors.fileHandleForReading.readDataToEndOfFile(), as: UTF8.self)
      process.waitUntilExit()
      guard process.terminationReason == .exit, process.terminationStatus == 0 else {
        let words = message.split(whereSeparator: \.isNewline).joined(separator: " ")
        throw PlotError.gnuplotFailed(script: script, message: words.isEmpty ? "no message" : words)
      }
    }
  }

  /// The elements in order of their first appearance.
  private func unique(_ words: [String]) -> [String] {
    var seen = Set<String>()
    return words.filter { seen.insert($0).inserted }
  }
}
