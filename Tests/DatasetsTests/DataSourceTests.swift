import Testing

@testable import Datasets

@Suite struct DataSourceTests {
  @Test func namesAreUnderstood() {
    #expect(DataSource(name: "synthetic") == .synthetic)
    #expect(DataSource(name: "fashion-mnist") == .standard(.fashionMNIST))
    #expect(DataSource(name: "some/folder") == .folder("some/folder"))
    for name in ["synthetic", "mnist", "a/b"] { #expect(DataSource(name: name).name == name) }
  }

  @Test func countsLimitTheImages() throws {
    let data = try DataSource.synthetic.load(trainCount: 5, testCount: 3)
    #expect(data.train.count == 5 && data.test.count == 3)
    #expect(data.train == SyntheticDigits().train(count: 5))

    let folder = try TemporaryFolder()
    for (part, images) in [("train", data.train), ("t10k", data.test)] {
      try IDX(dimensions: [images.count, 28, 28], bytes: images.pixels)
        .write(to: "\(folder.path)/\(part)-images-idx3-ubyte")
      try IDX(dimensions: [images.count], bytes: images.labels.map { UInt8($0) })
        .write(to: "\(folder.path)/\(part)-labels-idx1-ubyte")
    }
    let source = DataSource.folder(folder.path)
    #expect(try source.load().train.pixels == data.train.pixels)
    #expect(try source.load(trainCount: 2, testCount: 3).train.pixels == Array(data.train.pixels.prefix(2 * 784)))
    #expect(throws: DatasetError.self) { try source.load(trainCount: 6) }
    #expect(throws: DatasetError.self) { try source.load(testCount: 0) }
    #expect(throws: DatasetError.self) { try DataSource.folder("/no/such/folder").load() }
  }

  @Test func scalingsMapTheTrainingImages() throws {
    let pixels: [UInt8] = [10, 20, 30, 60]
    let images = try ImageDataset(pixels: pixels, labels: [0, 1], height: 1, width: 2)
    func mapped(_ method: ScalingMethod) throws -> [Double] {
      let scaling = try method.fitted(to: images)
      return pixels.map { scaling($0, feature: 0) }
    }
    #expect(try mapped(.unit) == pixels.map { Double($0) * (1 / 255) })
    let (least, greatest) = (try mapped(.minMax).min()!, try mapped(.minMax).max()!)
    #expect(abs(least) < 1e-15 && abs(greatest - 1) < 1e-15)
    let standard = try mapped(.standardize)
    #expect(abs(standard.reduce(0, +)) < 1e-14)
    #expect(abs(standard.reduce(0) { $0 + $1 * $1 } / 4 - 1) < 1e-14)
  }

  @Test func imagesAreDrawnTwoRowsALine() {
    let pixels: [UInt8] = [0, 255, 255, 255, 0, 0]
    let plain = TerminalImage(pixels: pixels[...], height: 3, width: 2, usesColor: false)
    // The upper line has (0, 255) and (255, 255), the lower the last row above nothing.
    #expect(plain.lines == ["=@", "  "])
    let colored = TerminalImage(pixels: pixels[...], height: 3, width: 2, usesColor: true)
    #expect(colored.lines.count == 2)
    #expect(colored.lines[0].hasPrefix("\u{1B}[38;5;16;48;5;231m▀\u{1B}[38;5;231;48;5;231m▀"))
    #expect(colored.lines.allSatisfy { $0.hasSuffix("\u{1B}[0m") })
  }
}
