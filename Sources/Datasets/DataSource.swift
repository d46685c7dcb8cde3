import Foundation

/// Where labelled images come from, by name: the digits the program draws, a published data set, or a folder.
public enum DataSource: Sendable, Equatable {
  /// `SyntheticDigits(seed: 0)`: 60,000 images to train on and 10,000 to test, unless fewer are asked for.
  case synthetic
  /// A published data set, found as `StandardDataset.folders(environment:)` says.
  case standard(StandardDataset)
  /// A folder with four IDX files under MNIST's names.
  case folder(String)

  /// The source that `name` means: `synthetic`, `mnist`, `fashion-mnist`, else the path of a folder.
  public init(name: String) {
    if name == "synthetic" {
      self = .synthetic
    } else if let standard = StandardDataset(rawValue: name) {
      self = .standard(standard)
    } else {
      self = .folder(name)
    }
  }

  /// The word or path that names the source.
  public var name: String {
    switch self {
    case .synthetic: "synthetic"
    case .standard(let dataset): dataset.rawValue
    case .folder(let path): path
    }
  }

  /// The images, no more of them than the counts given.
  ///
  /// - Throws: `DatasetError` where there is no such data set or folder, a file is damaged, or a count is not positive or
  ///   larger than a data set on disk.
  public func load(trainCount: Int? = nil, testCount: Int? = nil) throws(DatasetError) -> TrainTestData {
    for count in [trainCount, testCount].compactMap({ $0 }) where count < 1 {
      throw .invalid(problem: "\(count) images", advice: "ask for at least 1")
    }
    switch self {
    case .synthetic:
      return SyntheticDigits().data(trainCount: trainCount ?? 60_000, testCount: testCount ?? 10_000)
    case .standard(let dataset):
      return try DataSource.first(trainCount, testCount, of: dataset.load())
    case .folder(let path):
      var isFolder: ObjCBool = false
      guard FileManager.default.fileExists(atPath: path, isDirectory: &isFolder), isFolder.boolValue else {
        throw .notFound(
          name: path, searched: [path],
          advice: "give synthetic, \(StandardDataset.allCases.map(\.rawValue).joined(separator: ", ")) "
            + "or a folder of IDX files")
      }
      return try DataSource.first(trainCount, testCount, of: TrainTestData(folder: path))
    }
  }

  private static func first(
    _ trainCount: Int?, _ testCount: Int?, of data: TrainTestData
  ) throws(DatasetError) -> TrainTestData {
    func first(_ count: Int?, of images: ImageDataset, _ what: String) throws(DatasetError) -> ImageDataset {
      guard let count else { return images }
      guard count <= images.count else {
        throw .invalid(
          problem: "\(count) \(what) images of a data set that has \(images.count)", advice: "ask for fewer")
      }
      return images.subset(0..<count)
    }
    return try TrainTestData(
      train: first(trainCount, of: data.train, "training"), test: first(testCount, of: data.test, "test"))
  }
}
