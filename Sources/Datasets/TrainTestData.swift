import Foundation

/// A data set to train on and one, never trained on, to judge the result by.
public struct TrainTestData: Sendable, Equatable {
  /// The images to train on.
  public let train: ImageDataset

  /// The held-out images.
  public let test: ImageDataset

  /// Two data sets that belong together.
  ///
  /// Throws `DatasetError.invalid` where the sizes of the images or the classes differ.
  public init(train: ImageDataset, test: ImageDataset) throws(DatasetError) {
    guard train.height == test.height, train.width == test.width, train.classNames == test.classNames else {
      throw .invalid(
        problem: "training images of \(train.height) × \(train.width) in \(train.classCount) classes, "
          + "test images of \(test.height) × \(test.width) in \(test.classCount)",
        advice: "give two parts of one data set")
    }
    self.train = train
    self.test = test
  }

  /// Parts that are known to belong together.
  init(sameKind train: ImageDataset, _ test: ImageDataset) {
    self.train = train
    self.test = test
  }

  /// The four IDX files of a folder, under MNIST's names with or without `.gz`.
  ///
  /// `train-images-idx3-ubyte`, `train-labels-idx1-ubyte`, `t10k-images-idx3-ubyte`, `t10k-labels-idx1-ubyte`. Without
  /// `classNames` there are as many classes as the largest label of both parts needs. Throws `DatasetError.notFound`
  /// for a missing file, and what `ImageDataset.init(imagesPath:labelsPath:classNames:)` throws.
  public init(folder: String, classNames: [String]? = nil) throws(DatasetError) {
    let paths = try TrainTestData.fileNames.map { name throws(DatasetError) in
      guard let path = TrainTestData.locate(name, in: folder) else {
        throw .notFound(
          name: "\(name)[.gz]", searched: [folder],
          advice: "the folder must hold \(TrainTestData.fileNames.joined(separator: ", ")), plain or with .gz")
      }
      return path
    }
    let train = try ImageDataset(imagesPath: paths[0], labelsPath: paths[1], classNames: classNames)
    let test = try ImageDataset(imagesPath: paths[2], labelsPath: paths[3], classNames: classNames)
    let names = train.classCount >= test.classCount ? train.classNames : test.classNames
    try self.init(train: train.named(names), test: test.named(names))
  }

  /// The names of the four files, without `.gz`.
  static let fileNames = [
    "train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte",
  ]

  /// The plain file where it is there (it loads faster), otherwise the packed one, otherwise nil.
  static func locate(_ name: String, in folder: String) -> String? {
    ["\(folder)/\(name)", "\(folder)/\(name).gz"].first { FileManager.default.fileExists(atPath: $0) }
  }
}
