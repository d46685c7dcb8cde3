import CZlib

/// Gzip files (RFC 1952): one or more members one after another, unpacked piece by piece.
///
/// What is unpacked never exceeds a limit that the caller sets, whatever the file claims.
package struct Gzip: ~Copyable {
  private static let chunkSize = 1 << 16

  private let reader: ByteReader
  private let limit: Int
  private let stream: UnsafeMutablePointer<z_stream>
  private var input: [UInt8] = []
  private var inputOffset = 0
  private var inputUsed = 0
  private var unpacked = 0
  private var isFinished = false

  /// Whether the bytes begin with the magic of gzip.
  package static func isGzip(_ reader: ByteReader) throws(DatasetError) -> Bool {
    guard reader.count >= 2 else { return false }
    return try reader.bytes(at: 0, count: 2) == [0x1f, 0x8b]
  }

  /// A file to unpack up to `limit` bytes in all.
  package init(_ reader: ByteReader, limit: Int) throws(DatasetError) {
    self.reader = reader
    self.limit = limit
    stream = .allocate(capacity: 1)
    stream.initialize(to: z_stream())
    // 16 asks zlib for gzip's frame and its checksum, 15 for the largest window.
    guard inflateInit2_(stream, 16 + 15, zlibVersion(), Int32(MemoryLayout<z_stream>.size)) == Z_OK else {
      stream.deallocate()
      throw .unreadable(path: reader.path, reason: "zlib \(String(cString: zlibVersion())) could not start")
    }
  }

  deinit {
    inflateEnd(stream)
    stream.deallocate()
  }

  /// Appends the next `count` unpacked bytes to `output`, or as many as there are before the end.
  ///
  /// Memory grows with what was really unpacked, not with what was asked for. Throws `DatasetError.malformed` with the
  /// offset in the packed file for damage, truncation, trailing bytes that are no member, and more than the limit.
  package mutating func read(_ count: Int, appendingTo output: inout [UInt8]) throws(DatasetError) {
    var wanted = count
    var chunk = [UInt8](repeating: 0, count: min(Gzip.chunkSize, max(count, 1)))
    while wanted > 0 && !isFinished {
      let produced = try step(into: &chunk, atMost: min(wanted, chunk.count))
      output.append(contentsOf: chunk[..<produced])
      wanted -= produced
    }
  }

  /// Whether everything is unpacked; reads on to the last checksum, and throws as `read` does.
  package mutating func isAtEnd() throws(DatasetError) -> Bool {
    var byte: [UInt8] = [0]
    while !isFinished {
      if try step(into: &byte, atMost: 1) > 0 { return false }
    }
    return true
  }

  private mutating func step(into chunk: inout [UInt8], atMost room: Int) throws(DatasetError) -> Int {
    if inputUsed == input.count {
      inputOffset += inputUsed
      inputUsed = 0
      input = try reader.bytes(at: inputOffset, count: min(Gzip.chunkSize, reader.count - inputOffset))
    }
    guard !input.isEmpty else {
      throw malformed("the gzip stream ends in the middle", "the file is truncated; fetch it again")
    }
    let status = input.withUnsafeMutableBufferPointer { source in
      chunk.withUnsafeMutableBufferPointer { target in
        stream.pointee.next_in = source.baseAddress! + inputUsed
        stream.pointee.avail_in = UInt32(source.count - inputUsed)
        stream.pointee.next_out = target.baseAddress!
        stream.pointee.avail_out = UInt32(room)
        return inflate(stream, Z_NO_FLUSH)
      }
    }
    inputUsed = input.count - Int(stream.pointee.avail_in)
    let produced = room - Int(stream.pointee.avail_out)
    unpacked += produced
    guard unpacked <= limit else {
      throw malformed(
        "the gzip stream unpacks to more than the limit of \(limit) bytes",
        "if it is meant to be that large, unpack it with gunzip and load the plain file")
    }
    switch status {
    case Z_OK, Z_BUF_ERROR: break
    case Z_STREAM_END: try startNextMember()
    default:
      let reason = stream.pointee.msg.map { String(cString: $0) } ?? "zlib error \(status)"
      throw malformed("the gzip stream is damaged (\(reason))", "fetch the file again")
    }
    return produced
  }

  /// After the end of a member: another one, zeros that only pad the file, or nothing may follow.
  private mutating func startNextMember() throws(DatasetError) {
    let start = inputOffset + inputUsed
    let magic = try reader.bytes(at: start, count: min(2, reader.count - start))
    if magic == [0x1f, 0x8b] {
      inflateReset(stream)
      return
    }
    var offset = start
    while offset < reader.count {
      let piece = try reader.bytes(at: offset, count: min(Gzip.chunkSize, reader.count - offset))
      if let other = piece.firstIndex(where: { $0 != 0 }) {
        inputUsed += offset + other - start
        throw malformed("bytes that are no gzip follow the end of the stream", "fetch the file again")
      }
      offset += piece.count
    }
    isFinished = true
  }

  private func malformed(_ problem: String, _ advice: String) -> DatasetError {
    .malformed(path: reader.path, offset: inputOffset + inputUsed, problem: problem, advice: advice)
  }

  /// The bytes packed as one gzip member without name and time, so that equal input gives equal output.
  package static func compress(_ bytes: [UInt8], path: String) throws(DatasetError) -> [UInt8] {
    var stream = z_stream()
    let started = deflateInit2_(
      &stream, Z_DEFAULT_COMPRESSION, Z_DEFLATED, 16 + 15, 8, Z_DEFAULT_STRATEGY, zlibVersion(),
      Int32(MemoryLayout<z_stream>.size))
    guard started == Z_OK, bytes.count <= Int(UInt32.max) >> 1 else {
      if started == Z_OK { deflateEnd(&stream) }
      throw .unwritable(path: path, reason: "zlib cannot pack \(bytes.count) bytes in one piece")
    }
    var source = bytes
    let capacity = Int(deflateBound(&stream, UInt(bytes.count)))
    let packed = [UInt8](unsafeUninitializedCapacity: capacity) { target, filled in
      source.withUnsafeMutableBufferPointer { source in
        stream.next_in = source.baseAddress
        stream.avail_in = UInt32(source.count)
        stream.next_out = target.baseAddress
        stream.avail_out = UInt32(target.count)
        _ = deflate(&stream, Z_FINISH)
        filled = Int(stream.total_out)
      }
    }
    deflateEnd(&stream)
    return packed
  }
}
