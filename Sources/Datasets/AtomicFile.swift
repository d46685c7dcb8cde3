import Foundation

/// Files that appear whole or not at all.
package enum AtomicFile {
  /// Writes `pieces` one after another to `path`, replacing what was there in one step.
  ///
  /// The bytes go to a temporary file in the same folder, reach the disk (`fsync`), and take the name by `rename`.
  /// Throws `DatasetError.unwritable`; the old file is then unchanged and no temporary file is left.
  package static func write(_ pieces: [[UInt8]], to path: String) throws(DatasetError) {
    // Not mkstemp, which makes files for their owner alone: the result has the permissions that any new file gets.
    var temporary: String
    var descriptor: Int32
    repeat {
      temporary = "\(path).\(String(UInt64.random(in: 0 ... .max), radix: 36)).tmp"
      descriptor = open(temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0o666)
    } while descriptor < 0 && errno == EEXIST
    guard descriptor >= 0 else { throw .unwritable(path: path, reason: lastSystemError()) }
    let problem = fill(descriptor, with: pieces)
    let closed = close(descriptor)
    if let problem {
      unlink(temporary)
      throw .unwritable(path: path, reason: problem)
    }
    guard closed == 0, rename(temporary, path) == 0 else {
      let reason = lastSystemError()
      unlink(temporary)
      throw .unwritable(path: path, reason: reason)
    }
    syncFolder(of: path)
  }

  /// Writes and syncs; the system's words for what failed, or nil.
  private static func fill(_ descriptor: Int32, with pieces: [[UInt8]]) -> String? {
    for piece in pieces {
      let failure = piece.withUnsafeBytes { bytes -> String? in
        guard let base = bytes.baseAddress else { return nil }
        var done = 0
        while done < bytes.count {
          let written = Foundation.write(descriptor, base + done, bytes.count - done)
          if written < 0 && errno == EINTR { continue }
          guard written > 0 else { return lastSystemError() }
          done += written
        }
        return nil
      }
      if let failure { return failure }
    }
    guard fsync(descriptor) == 0 else { return lastSystemError() }
    return nil
  }

  /// Makes the new name itself reach the disk; file systems that can't sync a folder are left to their own order.
  private static func syncFolder(of path: String) {
    let folder = open((path as NSString).deletingLastPathComponent.nonEmpty ?? ".", O_RDONLY | O_CLOEXEC)
    guard folder >= 0 else { return }
    fsync(folder)
    close(folder)
  }
}

extension String {
  fileprivate var nonEmpty: String? { isEmpty ? nil : self }
}
