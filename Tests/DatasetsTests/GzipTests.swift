import CZlib
import Foundation
import RandomNumbers
import Testing

@testable import Datasets

@Suite struct GzipTests {
  private let text = {
    var random = Philox(seed: 0)
    return (0..<100_000).map { _ in UInt8(random.nextInteger(below: 200)) }
  }()

  private func unpack(_ packed: [UInt8], limit: Int = 1 << 20, count: Int = 1 << 20) throws -> [UInt8] {
    var gzip = try Gzip(ByteReader(packed, path: "packed"), limit: limit)
    var output: [UInt8] = []
    try gzip.read(count, appendingTo: &output)
    #expect(try gzip.isAtEnd())
    return output
  }

  /// The offset that a damaged stream is refused at.
  private func refusal(_ packed: [UInt8], limit: Int = 1 << 20) -> Int? {
    let error = #expect(throws: DatasetError.self) { try unpack(packed, limit: limit) }
    guard case .malformed("packed", let offset, _, _) = error else { return nil }
    return offset
  }

  @Test func unpacksWhatWasPacked() throws {
    let packed = try Gzip.compress(text, path: "packed")
    #expect(packed.count > 1 << 16, "longer than one piece of input")
    #expect(try unpack(packed) == text)
    #expect(try unpack(Gzip.compress([], path: "packed")) == [])
  }

  @Test func membersJoinAndZerosMayPad() throws {
    let one = try Gzip.compress([1, 2, 3], path: "packed")
    let two = try Gzip.compress([4, 5], path: "packed")
    #expect(try unpack(one + two) == [1, 2, 3, 4, 5])
    #expect(try unpack(one + two + [UInt8](repeating: 0, count: 100_000)) == [1, 2, 3, 4, 5])
  }

  @Test func otherTrailingBytesAreRefused() throws {
    let packed = try Gzip.compress([1, 2, 3], path: "packed")
    #expect(refusal(packed + [0, 0, 9]) == packed.count + 2)
    #expect(refusal(packed + [0x1f]) == packed.count)
  }

  @Test func everyTruncationIsRefused() throws {
    let packed = try Gzip.compress(Array(text[..<500]), path: "packed")
    for count in 0..<packed.count { #expect(refusal(Array(packed[..<count])) == count) }
  }

  @Test func everyFlippedBitOfContentsIsRefusedOrHarmless() throws {
    let contents = Array(text[..<200])
    let packed = try Gzip.compress(contents, path: "packed")
    var refused = 0
    for bit in 0..<packed.count * 8 {
      var damaged = packed
      damaged[bit / 8] ^= 1 << (bit % 8)
      do {
        #expect(try unpack(damaged) == contents, "bit \(bit)")
      } catch {
        #expect(error is DatasetError)
        refused += 1
      }
    }
    // Time, flags for the compressor and system (48 bits), the hint that the contents are text, and up to 7 bits that
    // fill the last byte of the stream say nothing about the contents.
    #expect(packed.count * 8 - refused <= 48 + 1 + 7)
  }

  @Test func aBombStopsAtTheLimit() throws {
    let bomb = try Gzip.compress([UInt8](repeating: 0, count: 50_000_000), path: "packed")
    #expect(bomb.count < 60_000)
    var gzip = try Gzip(ByteReader(bomb, path: "packed"), limit: 1_000_000)
    var output: [UInt8] = []
    #expect(throws: DatasetError.self) { try gzip.read(.max, appendingTo: &output) }
    #expect(output.count <= 1_000_000)
  }

  @Test func memoryFollowsWhatIsUnpackedNotWhatIsAskedFor() throws {
    var gzip = try Gzip(ByteReader(Gzip.compress([1, 2, 3], path: "packed"), path: "packed"), limit: .max)
    var output: [UInt8] = []
    try gzip.read(.max, appendingTo: &output)
    #expect(output == [1, 2, 3])
    #expect(output.capacity < 1000)
  }
}
