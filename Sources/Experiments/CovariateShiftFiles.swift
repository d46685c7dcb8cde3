import Datasets
import Foundation

/// How the figure was drawn, or why it was not.
public enum FigureOutcome: Sendable, Equatable {
  /// The SVG file.
  case drawn(String)
  /// What is missing or went wrong, and what to do; the data and the script are there.
  case notDrawn(String)
}

extension CovariateShiftReport {
  /// Names of the files that `write(to:)` leaves.
  public static let fileNames = ["accuracy.csv", "percentiles.csv", "grid.csv", "covariate-shift.gnuplot"]

  /// Writes the curves as CSV and a gnuplot script into `folder`, makes the folder where needed, and draws the SVG.
  ///
  /// - Throws: `DatasetError.unwritable` where a file cannot be written. That gnuplot is missing is no error: the outcome
  ///   says so.
  public func write(to folder: String) throws -> FigureOutcome {
    do {
      try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
    } catch {
      throw DatasetError.unwritable(path: folder, reason: "the folder cannot be made")
    }
    for (name, text) in zip(Self.fileNames, [accuracyCSV, percentilesCSV, gridCSV, script]) {
      try AtomicFile.write([Array(text.utf8)], to: "\(folder)/\(name)")
    }
    return drawFigure(in: folder)
  }

  var accuracyCSV: String {
    csv(["step", "without", "with"], points.map { [Double($0.step), $0.accuracyWithout, $0.accuracyWith] })
  }

  var percentilesCSV: String {
    csv(
      ["step", "without_15", "without_50", "without_85", "with_15", "with_50", "with_85"],
      points.map { point in
        [Double(point.step)] + [point.inputsWithout, point.inputsWith].flatMap { [$0.low, $0.middle, $0.high] }
      })
  }

  var gridCSV: String {
    csv(
      ["learning_rate", "deviation", "steps", "without", "with"],
      trials.map {
        [$0.choice.learningRate, $0.choice.deviation, Double($0.steps), $0.accuracyWithout, $0.accuracyWith]
      })
  }

  private func csv(_ header: [String], _ rows: [[Double]]) -> String {
    func cell(_ value: Double) -> String {
      value == value.rounded() && abs(value) < 1e15 ? String(Int(value)) : String(Float(value))
    }
    return ([header.joined(separator: ",")] + rows.map { $0.map(cell).joined(separator: ",") })
      .joined(separator: "\n") + "\n"
  }

  // MARK: Figure

  /// Three panels after figure 1 of the paper; reads the CSV files beside it.
  var script: String {
    """
    # Draws covariate-shift.svg from accuracy.csv and percentiles.csv: gnuplot covariate-shift.gnuplot
    set terminal svg size 1200,400 font 'sans,13' background rgb 'white'
    set output 'covariate-shift.svg'
    set datafile separator ','
    set multiplot layout 1,3
    set xlabel 'step'
    set format x '%.0s%c'
    set xtics \(steps >= 5 ? "\(steps / 5)" : "1")
    set grid linecolor rgb '#dddddd'
    set title '(a) test accuracy'
    set key bottom right
    set yrange [0.7:1]
    plot 'accuracy.csv' skip 1 using 1:2 with lines lw 2 dt 2 lc rgb '#b03030' title 'without BN', \\
         '' skip 1 using 1:3 with lines lw 2 lc rgb '#2050a0' title 'with BN'
    set yrange [*:*]
    stats 'percentiles.csv' skip 1 using (abs(column(2)) > abs(column(4)) ? abs(column(2)) : abs(column(4))) nooutput
    largest = STATS_max
    stats 'percentiles.csv' skip 1 using (abs(column(5)) > abs(column(7)) ? abs(column(5)) : abs(column(7))) nooutput
    largest = STATS_max > largest ? STATS_max : largest
    largest = largest > 2 ? ceil(largest) : 2
    set yrange [-largest:largest]
    set key top left
    set title '(b) inputs to a typical sigmoid, without BN'
    plot 'percentiles.csv' skip 1 using 1:4 with lines lw 1.5 lc rgb '#d08080' title '85 %', \\
         '' skip 1 using 1:3 with lines lw 2 lc rgb '#b03030' title '50 %', \\
         '' skip 1 using 1:2 with lines lw 1.5 lc rgb '#d08080' title '15 %'
    set title '(c) inputs to a typical sigmoid, with BN'
    plot 'percentiles.csv' skip 1 using 1:7 with lines lw 1.5 lc rgb '#80a0d0' title '85 %', \\
         '' skip 1 using 1:6 with lines lw 2 lc rgb '#2050a0' title '50 %', \\
         '' skip 1 using 1:5 with lines lw 1.5 lc rgb '#80a0d0' title '15 %'
    unset multiplot

    """
  }

  private func drawFigure(in folder: String) -> FigureOutcome {
    let figure = "\(folder)/covariate-shift.svg"
    let script = Self.fileNames[3]
    let again = "'cd \(folder) && gnuplot \(script)' draws the figure"
    guard let program = Self.program("gnuplot") else {
      return .notDrawn("gnuplot is not installed (scripts/setup --all installs it); with it, \(again)")
    }
    let process = Process()
    process.executableURL = URL(fileURLWithPath: program)
    process.currentDirectoryURL = URL(fileURLWithPath: folder)
    process.arguments = [script]
    process.standardInput = FileHandle.nullDevice
    process.standardOutput = FileHandle.nullDevice
    process.standardError = FileHandle.nullDevice
    do { try process.run() } catch { return .notDrawn("\(program) cannot be started; \(again)") }
    process.waitUntilExit()
    guard process.terminationReason == .exit, process.terminationStatus == 0 else {
      return .notDrawn("\(program) failed with status \(process.terminationStatus); \(again) and says why")
    }
    return .drawn(figure)
  }

  /// The first executable of that name in the folders of `PATH`.
  private static func program(_ name: String) -> String? {
    (ProcessInfo.processInfo.environment["PATH"] ?? "").split(separator: ":").map { "\($0)/\(name)" }
      .first { FileManager.default.isExecutableFile(atPath: $0) }
  }
}
