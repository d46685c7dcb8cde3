import Foundation
import Testing

@testable import LinearAlgebra

@Suite("Large pages")
struct LargePagesTests {
  @Test("Bytes that are moved stay as they are", arguments: [0, 1, 4 << 20 - 1, 4 << 20, 4 << 20 + 4097])
  func movedBytes(count: Int) {
    let bytes = (0..<count).map { UInt8(truncatingIfNeeded: $0 &* 2_654_435_761 >> 7) }
    #expect(LargePages.moved(bytes) == bytes)
  }

  @Test("Large buffers ask for large pages")
  func buffersAsk() throws {
    let switchFile = "/sys/kernel/mm/transparent_hugepage/enabled"
    guard FileManager.default.fileExists(atPath: switchFile) else {
      print("skipped: this system has no transparent huge pages")
      return
    }
    let count = 48 << 20
    let buffer = AlignedBuffer<UInt8>(zeroedCapacity: count)
    #expect(try flags(at: UInt(bitPattern: buffer.baseAddress) + UInt(count / 2)).contains("hg"))
    withExtendedLifetime(buffer) {}
  }

  /// The kernel's flags of the mapping that `address` lies in.
  private func flags(at address: UInt) throws -> [Substring] {
    var isInside = false
    // Read to its end: the size that the system tells is 0.
    let file = try #require(FileHandle(forReadingAtPath: "/proc/self/smaps"))
    let text = String(decoding: try file.readToEnd() ?? Data(), as: UTF8.self)
    for line in text.split(separator: "\n") {
      let words = line.split(separator: " ")
      let ends = words[0].split(separator: "-").compactMap { UInt($0, radix: 16) }
      if ends.count == 2 { isInside = ends[0] <= address && address < ends[1] }
      if isInside, words[0] == "VmFlags:" { return Array(words.dropFirst()) }
    }
    return []
  }
}
