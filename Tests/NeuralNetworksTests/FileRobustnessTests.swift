import Datasets
import Foundation
import NeuralNetworks
import RandomNumbers
import Testing

/// Damaged files of every format that is read give a typed error or a correct load: no crash, no hang.
@Suite struct FileRobustnessTests {
  /// One random edit: a cut, a flipped bit, a byte set to a telling value, a field made huge, or bytes put in or taken out.
  private func mutate(_ bytes: [UInt8], _ random: inout Philox) -> [UInt8] {
    var bytes = bytes
    let position = random.nextInteger(below: bytes.count)
    switch random.nextInteger(below: 7) {
    case 0: bytes.removeSubrange(position...)
    case 1: bytes[position] ^= 1 << UInt8(random.nextInteger(below: 8))
    case 2: bytes[position] = [0, 1, 0x7f, 0x80, 0xff, 0x22, 0x39, 0x7d][random.nextInteger(below: 8)]
    case 3:
      // Lengths stand in the first bytes of each format.
      let field = random.nextInteger(below: min(16, bytes.count - 4))
      for byte in field..<field + 4 { bytes[byte] = random.nextInteger(below: 2) == 0 ? 0xff : 0x7f }
    case 4: bytes.insert(UInt8(random.nextInteger(below: 256)), at: position)
    case 5: bytes.remove(at: position)
    default: bytes.append(contentsOf: bytes[position...])
    }
    return bytes
  }

  /// Loads `count` mutations of `file`; `load` returns whether what it got is right, or throws.
  private func attack<Failure: Error>(
    _ file: [UInt8], count: Int, seed: UInt64, expecting: Failure.Type, load: ([UInt8]) throws -> Bool
  ) {
    var random = Philox(seed: seed, purpose: "mutations")
    var refused = 0
    for trial in 0..<count {
      var bytes = mutate(file, &random)
      if random.nextInteger(below: 4) == 0, bytes.count > 4 { bytes = mutate(bytes, &random) }
      do {
        #expect(try load(bytes), "mutation \(trial) was loaded as something else")
      } catch {
        #expect(error is Failure, "mutation \(trial): \(error)")
        refused += 1
      }
    }
    #expect(refused > count / 3, "the mutations must be damage: only \(refused) of \(count) were refused")
  }

  private let image = try! IDX(
    dimensions: [3, 5, 4], bytes: (0..<60).map { UInt8(truncatingIfNeeded: $0 * $0 * 3) })

  /// A plain IDX file has no checksum: what loads must agree with its own bytes and no more.
  @Test func plainIDX() throws {
    attack(image.contents, count: 4000, seed: 1, expecting: DatasetError.self) { bytes in
      let loaded = try IDX(contents: bytes, path: "mutation")
      return loaded.contents == bytes
    }
  }

  /// A gzip file has one: what loads must be the original, unless the edit made a second member or a new header field.
  @Test func packedIDX() throws {
    let folder = NSTemporaryDirectory() + "lamina-\(UUID().uuidString)"
    try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
    defer { try? FileManager.default.removeItem(atPath: folder) }
    try image.write(to: "\(folder)/a.gz")
    let packed = Array(try Data(contentsOf: URL(fileURLWithPath: "\(folder)/a.gz")))
    attack(packed, count: 4000, seed: 2, expecting: DatasetError.self) { bytes in
      try IDX(contents: bytes, path: "mutation") == image
    }
  }

  /// Safetensors files have no checksum either: what loads must be what its bytes say when written and read again.
  @Test func safetensors() throws {
    let file = try Safetensors(
      [
        .init(name: "dense_1.kernel", shape: [3, 2], scalars: [1, 2, 3, 4, 5, 6] as [Float]),
        .init(name: "dense_1.bias", shape: [2], scalars: [7, 8] as [Double]),
      ], metadata: ["format": "lamina"])
    attack(file.contents, count: 5000, seed: 3, expecting: SafetensorsError.self) { bytes in
      let loaded = try Safetensors(contents: bytes, path: "mutation")
      let size = loaded.entries.reduce(0) { $0 + $1.bytes.count }
      return try size < bytes.count && Safetensors(contents: loaded.contents, path: "again") == loaded
    }
  }

  #if os(Linux)
    /// Headers that claim far more than the file holds are refused without the memory they claim.
    @Test func claimedSizesAllocateNothing() throws {
      let before = try addressSpacePeak()
      let claims: [[UInt8]] = [
        [0, 0, 8, 1, 0xff, 0xff, 0xff, 0xff], [0, 0, 8, 3, 0, 1, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0, 1],
        [0, 0, 8, 255] + [UInt8](repeating: 1, count: 200),
      ]
      for claim in claims {
        #expect(throws: DatasetError.self) { try IDX(contents: claim, path: "claim") }
      }
      let header = #"{"a":{"dtype":"F64","shape":[1000000000],"data_offsets":[0,8000000000]}}"#
      for length in [UInt64(header.utf8.count), 1 << 32, .max] {
        let contents = withUnsafeBytes(of: length.littleEndian) { Array($0) } + Array(header.utf8)
        #expect(throws: SafetensorsError.self) { try Safetensors(contents: contents, path: "claim") }
      }
      // The least of the claims is 4 GiB; tests that run beside this one and their threads take some too.
      #expect(try addressSpacePeak() - before < 3 << 30)
    }

    /// The most address space that this process ever had, in bytes: it counts memory allocated and never touched.
    private func addressSpacePeak() throws -> Int {
      let status = try String(contentsOfFile: "/proc/self/status", encoding: .utf8)
      let line = try #require(status.split(separator: "\n").first { $0.hasPrefix("VmPeak:") })
      return try #require(Int(line.split(whereSeparator: \.isWhitespace)[1])) * 1024
    }
  #endif
}
