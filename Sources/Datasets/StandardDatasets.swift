import Foundation

/// Published data sets of 28×28 grey images in ten classes, 60,000 to train on and 10,000 to test.
public enum StandardDataset: String, Sendable, CaseIterable {
  /// Handwritten digits (LeCun, Cortes and Burges).
  case mnist

  /// Articles of clothing (Xiao, Rasul and Vollgraf 2017, arXiv:1708.07747).
  case fashionMNIST = "fashion-mnist"

  /// The names of the ten classes.
  public var classNames: [String] {
    switch self {
    case .mnist: (0...9).map { "\($0)" }
    case .fashionMNIST:
      [
        "T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot",
      ]
    }
  }

  /// The folders where the data set is looked for, in order.
  ///
  /// `$LAMINA_DATA/<name>` where that variable is set, then `$XDG_CACHE_HOME/lamina/<name>`, or
  /// `~/.cache/lamina/<name>` without that variable.
  public func folders(
    environment: [String: String] = ProcessInfo.processInfo.environment
  ) -> [String] {
    func value(_ name: String) -> String? { environment[name].flatMap { $0.isEmpty ? nil : $0 } }
    let cache = value("XDG_CACHE_HOME") ?? "\(value("HOME") ?? NSHomeDirectory())/.cache"
    return [value("LAMINA_DATA"), "\(cache)/lamina"].compactMap { $0.map { "\($0)/\(rawValue)" } }
  }

  /// The data set from the first of `folders(environment:)` that holds its files.
  ///
  /// Throws `DatasetError.notFound`, which names the folders and the command that fetches the files, where none does,
  /// and what `TrainTestData.init(folder:classNames:)` throws for damaged files.
  public func load(
    environment: [String: String] = ProcessInfo.processInfo.environment
  ) throws(DatasetError) -> TrainTestData {
    let folders = folders(environment: environment)
    // A folder with some of the files is taken, so that the error names the one that is missing.
    let found = folders.first { folder in
      TrainTestData.fileNames.contains { TrainTestData.locate($0, in: folder) != nil }
    }
    guard let found else {
      throw .notFound(name: rawValue, searched: folders, advice: "fetch it with scripts/fetch-data \(rawValue)")
    }
    return try TrainTestData(folder: found, classNames: classNames)
  }
}
