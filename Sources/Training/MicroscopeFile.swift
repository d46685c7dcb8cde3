import Datasets
import Foundation

/// A CSV file that grows with each report of a microscope: one row per feature of each normalization and step looked at.
public final class MicroscopeFile {
  /// The names of the columns.
  public static let columns = [
    "step", "epoch", "layer", "feature", "batch_mean", "batch_variance", "running_mean", "running_variance",
    "mean_drift", "variance_ratio", "input_15", "input_50", "input_85", "output_15", "output_50", "output_85", "gamma",
    "beta", "gamma_gradient", "beta_gradient", "dead",
  ]

  private let path: String
  private let handle: FileHandle

  /// Makes the file, or empties it, and writes the header.
  ///
  /// - Throws: `DatasetError.unwritable`.
  public init(path: String) throws(DatasetError) {
    let descriptor = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0o666)
    guard descriptor >= 0 else {
      throw .unwritable(path: path, reason: String(cString: strerror(errno)))
    }
    self.path = path
    handle = FileHandle(fileDescriptor: descriptor, closeOnDealloc: true)
    try write(Self.columns.joined(separator: ",") + "\n")
  }

  /// Adds the rows of a report; they are in the file when the call returns.
  ///
  /// Cells without a value (no γ, no running statistics) are empty.
  /// - Throws: `DatasetError.unwritable`.
  public func append(_ report: MicroscopeReport) throws(DatasetError) {
    var text = ""
    for layer in report.layers {
      for (index, feature) in layer.features.enumerated() {
        let numbers: [Double?] = [
          feature.batchMean, feature.batchVariance, feature.runningMean, feature.runningVariance, feature.meanDrift,
          feature.varianceRatio, feature.inputs.low, feature.inputs.middle, feature.inputs.high, feature.outputs.low,
          feature.outputs.middle, feature.outputs.high, feature.gamma, feature.beta, feature.gammaGradient,
          feature.betaGradient,
        ]
        text += "\(report.step),\(report.epoch),\(Self.quoted(layer.name)),\(index),"
        text += numbers.map { $0.map { "\(Float($0))" } ?? "" }.joined(separator: ",")
        text += feature.isDead ? ",1\n" : ",0\n"
      }
    }
    try write(text)
  }

  private func write(_ text: String) throws(DatasetError) {
    do {
      try handle.write(contentsOf: Data(text.utf8))
    } catch {
      throw .unwritable(path: path, reason: "the disk may be full")
    }
  }

  private static func quoted(_ name: String) -> String {
    guard name.contains(where: { $0 == "," || $0 == "\"" || $0.isNewline }) else { return name }
    return "\"" + name.replacingOccurrences(of: "\"", with: "\"\"") + "\""
  }
}
