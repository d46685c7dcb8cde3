import Foundation

/// Pages of 2 MiB, where the system gives them to those who ask (transparent huge pages of Linux).
///
/// What is read in no order, rows of a shuffled data set or columns of wide matrices, else waits for the addresses of its
/// pages: a step of 784-128-64-10 takes about 1 % longer. Memory that has been written keeps the pages that it has.
package enum LargePages {
  /// Bytes from which memory asks for them: less would hardly fill one.
  private static var least: Int { 4 << 20 }
  /// Bytes up to which data are copied for their sake.
  private static var mostCopied: Int { 1 << 28 }

  /// Asks for large pages for memory that has not been written yet.
  package static func prefer(_ memory: UnsafeMutableRawPointer, byteCount: Int) {
    #if os(Linux)
      guard byteCount >= least else { return }
      let page = Int(sysconf(Int32(_SC_PAGESIZE)))
      let start = (Int(bitPattern: memory) + page - 1) / page * page
      let end = (Int(bitPattern: memory) + byteCount) / page * page
      // Where the system refuses, the pages are small.
      _ = madvise(UnsafeMutableRawPointer(bitPattern: start), end - start, Int32(MADV_HUGEPAGE))
    #endif
  }

  /// The same bytes on large pages: a copy, where they are many but not so many that two of them are too much.
  ///
  /// Cost: 6 ms for 47 MB, the training images of MNIST; up to 100 ms where the system must first make the pages.
  package static func moved(_ bytes: [UInt8]) -> [UInt8] {
    guard bytes.count >= least, bytes.count <= mostCopied else { return bytes }
    return [UInt8](unsafeUninitializedCapacity: bytes.count) { buffer, filled in
      guard let base = buffer.baseAddress else { return }
      prefer(base, byteCount: bytes.count)
      _ = buffer.initialize(from: bytes)
      filled = bytes.count
    }
  }
}
