import Foundation

/// Bytes of a file or of memory, read by position with every bound checked.
///
/// A file is read piece by piece as asked for, so that a header can be judged before anything large is allocated.
package struct ByteReader: Sendable {
  private enum Source: Sendable {
    case memory([UInt8])
    case file(FileHandleBox)
  }

  /// The descriptor of an open file, closed with its last user.
  private final class FileHandleBox: Sendable {
    let descriptor: Int32
    init(descriptor: Int32) { self.descriptor = descriptor }
    deinit { close(descriptor) }
  }

  /// The name used in errors.
  package let path: String

  /// The number of bytes there are.
  package let count: Int

  private let source: Source

  /// Bytes in memory, under a name used in errors.
  package init(_ bytes: [UInt8], path: String) {
    self.path = path
    count = bytes.count
    source = .memory(bytes)
  }

  /// The regular file at `path`; throws `DatasetError.unreadable` where it can't be opened or is no file.
  package init(path: String) throws(DatasetError) {
    // Without O_NONBLOCK the opening of a named pipe would wait for its writer.
    let descriptor = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC)
    guard descriptor >= 0 else { throw .unreadable(path: path, reason: lastSystemError()) }
    let box = FileHandleBox(descriptor: descriptor)
    var status = stat()
    guard fstat(descriptor, &status) == 0 else { throw .unreadable(path: path, reason: lastSystemError()) }
    guard status.st_mode & S_IFMT == S_IFREG else {
      throw .unreadable(path: path, reason: "it is not a regular file")
    }
    self.path = path
    count = Int(status.st_size)
    source = .file(box)
  }

  /// Copies `buffer.count` bytes from `offset` on into `buffer`.
  ///
  /// Throws `DatasetError.malformed` where fewer bytes are there.
  package func read(into buffer: UnsafeMutableRawBufferPointer, at offset: Int) throws(DatasetError) {
    guard offset >= 0, offset <= count, buffer.count <= count - offset else {
      throw .malformed(
        path: path, offset: count,
        problem: "the file ends here, but \(buffer.count) bytes from byte \(offset) on were expected",
        advice: "the file is truncated; fetch or write it again")
    }
    guard let base = buffer.baseAddress else { return }
    switch source {
    case .memory(let bytes):
      bytes.withUnsafeBytes { base.copyMemory(from: $0.baseAddress! + offset, byteCount: buffer.count) }
    case .file(let box):
      var done = 0
      while done < buffer.count {
        let got = pread(box.descriptor, base + done, buffer.count - done, off_t(offset + done))
        if got < 0 && errno == EINTR { continue }
        guard got >= 0 else { throw .unreadable(path: path, reason: lastSystemError()) }
        guard got > 0 else { throw .unreadable(path: path, reason: "it shrank while it was read") }
        done += got
      }
    }
  }

  /// `count` bytes from `offset` on; nothing is allocated where they aren't there.
  package func bytes(at offset: Int, count wanted: Int) throws(DatasetError) -> [UInt8] {
    guard wanted >= 0, offset >= 0, offset <= count, wanted <= count - offset else {
      throw .malformed(
        path: path, offset: count,
        problem: "the file ends here, but \(wanted) bytes from byte \(offset) on were expected",
        advice: "the file is truncated; fetch or write it again")
    }
    // The standard library writes the length of an empty array too, into storage that all empty arrays share.
    if wanted == 0 { return [] }
    var failure: DatasetError?
    let result = [UInt8](unsafeUninitializedCapacity: wanted) { buffer, filled in
      do throws(DatasetError) {
        try read(into: UnsafeMutableRawBufferPointer(buffer), at: offset)
        filled = wanted
      } catch {
        failure = error
      }
    }
    if let failure { throw failure }
    return result
  }
}

/// The system's words for the error of the last call.
package func lastSystemError() -> String { String(cString: strerror(errno)) }
