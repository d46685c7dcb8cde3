import Datasets
import Foundation
import Testing

@Suite struct StandardDatasetsTests {
  @Test func foldersFollowTheEnvironment() {
    let mnist = StandardDataset.mnist
    #expect(
      mnist.folders(environment: ["LAMINA_DATA": "/d", "XDG_CACHE_HOME": "/c", "HOME": "/h"]) == [
        "/d/mnist", "/c/lamina/mnist",
      ])
    #expect(mnist.folders(environment: ["LAMINA_DATA": "", "HOME": "/h"]) == ["/h/.cache/lamina/mnist"])
    #expect(StandardDataset(rawValue: "fashion-mnist") == .fashionMNIST)
  }

  @Test func aMissingDataSetSaysWhereAndHow() throws {
    let folder = try TemporaryFolder()
    let error = #expect(throws: DatasetError.self) {
      try StandardDataset.fashionMNIST.load(environment: ["LAMINA_DATA": folder.path, "HOME": "/nowhere"])
    }
    let text = error?.description ?? ""
    #expect(text.contains("\(folder.path)/fashion-mnist") && text.contains("/nowhere/.cache/lamina/fashion-mnist"))
    #expect(text.contains("scripts/fetch-data fashion-mnist"))
  }

  @Test func theCacheIsTheSecondPlace() throws {
    let folder = try TemporaryFolder()
    let path = "\(folder.path)/lamina/mnist"
    try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
    for name in ["train", "t10k"] {
      try IDX(dimensions: [1, 1, 1], bytes: [5]).write(to: "\(path)/\(name)-images-idx3-ubyte.gz")
      try IDX(dimensions: [1], bytes: [9]).write(to: "\(path)/\(name)-labels-idx1-ubyte")
    }
    let data = try StandardDataset.mnist.load(environment: ["LAMINA_DATA": "/none", "XDG_CACHE_HOME": folder.path])
    #expect(data.train.labels == [9] && data.test.pixels == [5] && data.train.classCount == 10)
  }

  @Test(.enabled(if: publishedData != nil, "LAMINA_DATA holds no mnist folder"), arguments: StandardDataset.allCases)
  func publishedDataSetsLoad(dataset: StandardDataset) throws {
    let data = try dataset.load(environment: ["LAMINA_DATA": publishedData!])
    #expect(data.train.count == 60_000 && data.test.count == 10_000)
    #expect(data.train.height == 28 && data.train.width == 28)
    #expect(data.train.classNames == dataset.classNames && dataset.classNames.count == 10)
    // Both are balanced to within a few per cent: every class has thousands of images.
    for label in 0..<10 { #expect(data.train.labels.count { $0 == label } > 5000) }
  }
}
