import Foundation
import Testing

@testable import Datasets

@Suite struct IDXTests {
  /// A 2×3×4 array and its file, byte by byte as the format says.
  private let array = try! IDX(dimensions: [2, 3, 4], bytes: (0..<24).map { UInt8($0 * 10) })
  private let file: [UInt8] =
    [0, 0, 8, 3, 0, 0, 0, 2, 0, 0, 0, 3, 0, 0, 0, 4] + (0..<24).map { UInt8($0 * 10) }

  @Test func plainFileIsWrittenAndReadAsTheFormatSays() throws {
    #expect(array.contents == file)
    #expect(try IDX(contents: file, path: "x") == array)
    let folder = try TemporaryFolder()
    let path = try folder.file("a-idx3-ubyte")
    try array.write(to: path)
    #expect(try bytes(of: path) == file)
    #expect(try IDX(path: path) == array)
    #expect(folder.names == ["a-idx3-ubyte"], "no temporary file may stay behind")
  }

  @Test func packedFileIsWrittenAndRead() throws {
    let folder = try TemporaryFolder()
    let path = try folder.file("a-idx3-ubyte.gz")
    try array.write(to: path)
    #expect(try bytes(of: path).starts(with: [0x1f, 0x8b]))
    #expect(try IDX(path: path) == array)
  }

  @Test(arguments: [1, 255]) func everyRankOfTheFormatIsRead(rank: Int) throws {
    let array = try IDX(dimensions: [Int](repeating: 1, count: rank - 1) + [5], bytes: [1, 2, 3, 4, 5])
    #expect(try IDX(contents: array.contents, path: "x") == array)
  }

  @Test func emptyArrayIsRead() throws {
    let array = try IDX(dimensions: [0, 28, 28], bytes: [])
    #expect(try IDX(contents: array.contents, path: "x") == array)
  }

  /// Each damage with the byte where it shows.
  @Test(
    arguments: [
      ([], 0), ([0, 0, 8], 3), ([0, 0, 8, 1, 0, 0], 6), ([1, 0, 8, 1, 0, 0, 0, 0], 0), ([0, 0, 9, 1, 0, 0, 0, 0], 2),
      ([0, 0, 7, 1, 0, 0, 0, 0], 2), ([0, 0, 8, 0], 3), ([0, 0, 8, 1, 0, 0, 0, 3, 7, 7], 10),
      ([0, 0, 8, 1, 0, 0, 0, 1, 7, 7], 9),
      ([0, 0, 8, 2, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 7], 4),
      ([0, 0, 8, 2, 0x7f, 0xff, 0xff, 0xff, 0x7f, 0xff, 0xff, 0xff, 7], 13),
    ] as [([UInt8], Int)])
  func damageIsRefusedWithPathAndOffset(contents: [UInt8], offset: Int) throws {
    let folder = try TemporaryFolder()
    let path = try folder.file("damaged", contents)
    let inMemory = #expect(throws: DatasetError.self) { try IDX(contents: contents, path: path) }
    let onDisk = #expect(throws: DatasetError.self) { try IDX(path: path) }
    #expect(inMemory == onDisk)
    guard case .malformed(path, offset, _, _) = onDisk else {
      Issue.record("expected .malformed at \(offset), got \(String(describing: onDisk))")
      return
    }
    #expect(onDisk?.description.contains("\(path), byte \(offset): ") == true)
  }

  /// Packed arrays whose frame is right and whose contents are not; offsets count in the unpacked data.
  @Test(
    arguments: [
      ([], 0), ([0, 0, 8, 2, 0], 5), ([0, 0, 9, 1, 0, 0, 0, 0], 2), ([0, 0, 8, 1, 3, 0, 0, 0, 7, 7], 10),
      ([0, 0, 8, 1, 0, 0, 0, 1, 7, 7], 9), ([0, 0, 8, 1, 0xff, 0xff, 0xff, 0xff, 7], 4),
      ([0, 0, 8, 2, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 7], 4),
    ] as [([UInt8], Int)])
  func packedDamageIsRefusedWithPathAndOffset(contents: [UInt8], offset: Int) throws {
    let packed = try Gzip.compress(contents, path: "a.gz")
    let error = #expect(throws: DatasetError.self) { try IDX(contents: packed, path: "a.gz") }
    guard case .malformed("a.gz", offset, let problem, _) = error else {
      Issue.record("expected .malformed at \(offset), got \(String(describing: error))")
      return
    }
    #expect(problem.contains("unpacked data"))
  }

  @Test func aPackedArrayMayClaimUpTo64MiBAndNoMore() throws {
    func problem(_ size: [UInt8]) throws -> String {
      let packed = try Gzip.compress([0, 0, 8, 1] + size, path: "a.gz")
      return #expect(throws: DatasetError.self) { try IDX(contents: packed, path: "a.gz") }?.description ?? ""
    }
    // 64 MiB less the header's 8 bytes, and one byte more.
    #expect(try problem([0x03, 0xff, 0xff, 0xf8]).contains("ends here"))
    #expect(try problem([0x03, 0xff, 0xff, 0xf9]).contains("gunzip"))
  }

  @Test func otherTypesAreNamed() {
    let floats: [UInt8] = [0, 0, 0x0d, 1, 0, 0, 0, 0]
    let error = #expect(throws: DatasetError.self) { try IDX(contents: floats, path: "x") }
    #expect(error?.description.contains("32-bit floats") == true)
  }

  @Test func missingFilesAndFoldersAreRefused() throws {
    let folder = try TemporaryFolder()
    for path in ["\(folder.path)/none", folder.path, "/dev/zero"] {
      let error = #expect(throws: DatasetError.self) { try IDX(path: path) }
      guard case .unreadable(path, _) = error else {
        Issue.record("expected .unreadable, got \(String(describing: error))")
        continue
      }
    }
  }

  @Test func wrongParametersAreRefused() {
    #expect(throws: DatasetError.self) { try IDX(dimensions: [], bytes: []) }
    #expect(throws: DatasetError.self) { try IDX(dimensions: [2, 2], bytes: [1, 2, 3]) }
    #expect(throws: DatasetError.self) { try IDX(dimensions: [-1], bytes: []) }
    #expect(throws: DatasetError.self) { try IDX(dimensions: [1 << 32], bytes: []) }
    #expect(throws: DatasetError.self) { try IDX(dimensions: [Int](repeating: 0, count: 256), bytes: []) }
  }

  @Test func aFailedWriteLeavesNothing() throws {
    let folder = try TemporaryFolder()
    try FileManager.default.createDirectory(atPath: "\(folder.path)/taken", withIntermediateDirectories: true)
    _ = try folder.file("taken/file", [1])
    for path in ["\(folder.path)/none/a", "\(folder.path)/taken"] {
      let error = #expect(throws: DatasetError.self) { try array.write(to: path) }
      guard case .unwritable(path, _) = error else {
        Issue.record("expected .unwritable, got \(String(describing: error))")
        continue
      }
    }
    #expect(folder.names == ["taken"])
  }

  @Test(.enabled(if: publishedData != nil, "LAMINA_DATA holds no mnist folder"))
  func publishedFilesAreRead() throws {
    let images = try IDX(path: "\(publishedData!)/mnist/t10k-images-idx3-ubyte.gz")
    #expect(images.dimensions == [10_000, 28, 28])
    // Published mean of MNIST's test pixels: 0.13251 of 255.
    let mean = Double(images.bytes.reduce(0) { $0 + Int($1) }) / Double(images.bytes.count) / 255
    #expect(abs(mean - 0.13251) < 5e-6)
  }
}
