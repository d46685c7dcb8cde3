import Datasets
import Foundation
import Testing

@Suite struct ImageDatasetTests {
  private func dataset(_ count: Int) throws -> ImageDataset {
    try ImageDataset(
      pixels: (0..<count * 6).map { UInt8(truncatingIfNeeded: $0) }, labels: (0..<count).map { Int32($0 % 3) },
      height: 2, width: 3)
  }

  @Test func holdsWhatItWasGiven() throws {
    let data = try dataset(7)
    #expect(data.count == 7 && data.height == 2 && data.width == 3 && data.featureCount == 6)
    #expect(data.classNames == ["0", "1", "2"] && data.classCount == 3)
    #expect(data.withUnsafePixels { Array($0) } == data.pixels)
  }

  @Test func partsThatDoNotFitAreRefused() {
    #expect(throws: DatasetError.self) { try ImageDataset(pixels: [1, 2], labels: [0], height: 1, width: 1) }
    #expect(throws: DatasetError.self) { try ImageDataset(pixels: [1, 2, 3], labels: [0], height: 1, width: 2) }
    #expect(throws: DatasetError.self) { try ImageDataset(pixels: [], labels: [], height: 0, width: 2) }
    #expect(throws: DatasetError.self) { try ImageDataset(pixels: [], labels: [], height: .max, width: 2) }
    #expect(throws: DatasetError.self) { try ImageDataset(pixels: [1], labels: [-1], height: 1, width: 1) }
    #expect(throws: DatasetError.self) {
      try ImageDataset(pixels: [1], labels: [2], height: 1, width: 1, classNames: ["a", "b"])
    }
  }

  @Test func subsetTakesRows() throws {
    let data = try dataset(7)
    let part = data.subset(2..<5)
    #expect(part.count == 3 && part.classNames == data.classNames)
    #expect(part.pixels == Array(data.pixels[12..<30]))
    #expect(part.labels == Array(data.labels[2..<5]))
    #expect(data.subset(0..<7) == data)
    #expect(data.subset(3..<3).count == 0)
  }

  @Test func splitCutsTheLastFractionOff() throws {
    let data = try dataset(10)
    let (training, validation) = try data.split(validationFraction: 0.25)
    // Keras: split_at = floor(10 · 0.75) = 7.
    #expect(training == data.subset(0..<7))
    #expect(validation == data.subset(7..<10))
    for fraction in [0, 1, -0.1, 1.5, .nan, 0.95] {
      #expect(throws: DatasetError.self) { try data.split(validationFraction: fraction) }
    }
  }

  // MARK: Files

  private func write(
    _ folder: TemporaryFolder, images: [Int] = [3, 2, 2], labels: [UInt8] = [0, 2, 1], prefix: String = "train",
    suffix: String = ""
  ) throws -> (images: String, labels: String) {
    let paths = (
      try folder.file("\(prefix)-images-idx3-ubyte\(suffix)"), try folder.file("\(prefix)-labels-idx1-ubyte\(suffix)")
    )
    let count = images.reduce(1, *)
    try IDX(dimensions: images, bytes: (0..<count).map { UInt8($0) }).write(to: paths.0)
    try IDX(dimensions: [labels.count], bytes: labels).write(to: paths.1)
    return paths
  }

  @Test func filesBecomeADataset() throws {
    let folder = try TemporaryFolder()
    let paths = try write(folder)
    let data = try ImageDataset(imagesPath: paths.images, labelsPath: paths.labels)
    #expect(data.count == 3 && data.height == 2 && data.width == 2 && data.classCount == 3)
    #expect(data.pixels == (0..<12).map { UInt8($0) } && data.labels == [0, 2, 1])
  }

  @Test func filesThatDoNotBelongTogetherAreRefusedWithPathAndOffset() throws {
    let folder = try TemporaryFolder()
    let paths = try write(folder, labels: [0, 1])
    #expect {
      try ImageDataset(imagesPath: paths.images, labelsPath: paths.labels)
    } throws: { error in
      if case DatasetError.malformed(paths.images, 4, _, _) = error { true } else { false }
    }
    #expect {
      try ImageDataset(imagesPath: paths.labels, labelsPath: paths.labels)
    } throws: { error in
      if case DatasetError.malformed(paths.labels, 3, _, _) = error { true } else { false }
    }
    #expect {
      try ImageDataset(imagesPath: paths.images, labelsPath: paths.images)
    } throws: { error in
      if case DatasetError.malformed(paths.images, 3, _, _) = error { true } else { false }
    }
    #expect {
      try ImageDataset(imagesPath: paths.images, labelsPath: paths.labels, classNames: ["only"])
    } throws: { error in
      if case DatasetError.malformed(paths.labels, 9, _, _) = error { true } else { false }
    }
    let flat = try write(folder, images: [3, 0, 2])
    #expect {
      try ImageDataset(imagesPath: flat.images, labelsPath: flat.labels)
    } throws: { error in
      if case DatasetError.malformed(flat.images, 8, _, _) = error { true } else { false }
    }
  }

  @Test(arguments: ["", ".gz"]) func aFolderBecomesTrainingAndTestData(suffix: String) throws {
    let folder = try TemporaryFolder()
    _ = try write(folder, suffix: suffix)
    #expect {
      try TrainTestData(folder: folder.path)
    } throws: { error in
      if case DatasetError.notFound("t10k-images-idx3-ubyte[.gz]", [folder.path], _) = error { true } else { false }
    }
    _ = try write(folder, images: [2, 2, 2], labels: [4, 0], prefix: "t10k", suffix: suffix)
    let data = try TrainTestData(folder: folder.path)
    #expect(data.train.count == 3 && data.test.count == 2)
    #expect(data.train.classCount == 5 && data.test.classCount == 5, "classes of both parts together")
    _ = try write(folder, images: [2, 2, 3], labels: [4, 0], prefix: "t10k", suffix: suffix)
    #expect(throws: DatasetError.self) { try TrainTestData(folder: folder.path) }
  }
}
