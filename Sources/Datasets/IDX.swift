/// An array of bytes in the IDX format of the MNIST data sets (LeCun, Cortes and Burges), plain or packed with gzip.
///
/// Two zero bytes, a type code, the number of dimensions, each dimension as a big-endian 32-bit number, then the values
/// in row-major order. Only unsigned bytes (type code 8), the type of images and labels, are supported.
public struct IDX: Sendable, Equatable {
  /// The extent of each dimension, slowest first: `[60000, 28, 28]`.
  public let dimensions: [Int]

  /// The values in row-major order; as many as the product of the dimensions.
  public let bytes: [UInt8]

  /// The names of the format's other types, for errors.
  private static let otherTypes: [UInt8: String] = [
    0x09: "signed bytes", 0x0b: "16-bit integers", 0x0c: "32-bit integers", 0x0d: "32-bit floats",
    0x0e: "64-bit floats",
  ]

  /// An array of `dimensions` with `bytes` in row-major order.
  ///
  /// Throws `DatasetError.invalid` if there are no dimensions or more than 255, one is negative or above 2³² − 1, or
  /// their product isn't `bytes.count`.
  public init(dimensions: [Int], bytes: [UInt8]) throws(DatasetError) {
    guard (1...255).contains(dimensions.count), dimensions.allSatisfy({ UInt32(exactly: $0) != nil }) else {
      throw .invalid(
        problem: "the dimensions \(dimensions) can't be written as IDX", advice: "give 1 to 255 dimensions below 2^32")
    }
    guard IDX.product(dimensions) == bytes.count else {
      throw .invalid(
        problem: "\(bytes.count) bytes don't fill the dimensions \(dimensions)",
        advice: "give as many bytes as the product of the dimensions")
    }
    self.dimensions = dimensions
    self.bytes = bytes
  }

  /// The array in the file at `path`, plain or packed with gzip (told by its contents, not its name).
  ///
  /// A plain file must be exactly as long as its dimensions say, which is checked before the values are allocated. A
  /// packed one may unpack to 64 MiB or 256 times its own size, whichever is more, and memory grows only with what was
  /// really unpacked. Throws `DatasetError.unreadable`, or `.malformed` with the byte offset.
  public init(path: String) throws(DatasetError) {
    try self.init(ByteReader(path: path))
  }

  /// The array in the bytes of a file that is already in memory; `path` names it in errors.
  public init(contents: [UInt8], path: String) throws(DatasetError) {
    try self.init(ByteReader(contents, path: path))
  }

  private init(_ reader: ByteReader) throws(DatasetError) {
    if try Gzip.isGzip(reader) {
      try self.init(packed: reader)
    } else {
      try self.init(plain: reader)
    }
  }

  private init(plain reader: ByteReader) throws(DatasetError) {
    let header = try reader.bytes(at: 0, count: 4)
    let rank = try IDX.checkedRank(header, path: reader.path, isPacked: false)
    let count = try IDX.parse(reader.bytes(at: 4, count: 4 * rank), path: reader.path, isPacked: false)
    let start = 4 + 4 * rank
    guard reader.count - start == count.product else {
      let isShort = reader.count - start < count.product
      throw .malformed(
        path: reader.path, offset: isShort ? reader.count : start + count.product,
        problem:
          "\(reader.count - start) bytes of values where the dimensions \(count.dimensions) need \(count.product)",
        advice: isShort ? "the file is truncated; fetch it again" : "bytes follow the end; fetch it again")
    }
    dimensions = count.dimensions
    bytes = try reader.bytes(at: start, count: count.product)
  }

  private init(packed reader: ByteReader) throws(DatasetError) {
    let limit = max(64 << 20, reader.count.multipliedReportingOverflow(by: 256).partialValue)
    var gzip = try Gzip(reader, limit: limit)
    let header = try IDX.take(4, from: &gzip, at: 0, path: reader.path)
    let rank = try IDX.checkedRank(header, path: reader.path, isPacked: true)
    let sizes = try IDX.take(4 * rank, from: &gzip, at: 4, path: reader.path)
    let count = try IDX.parse(sizes, path: reader.path, isPacked: true)
    let start = 4 + 4 * rank
    guard count.product <= limit - start else {
      throw .malformed(
        path: reader.path, offset: 4,
        problem: "the dimensions \(count.dimensions) (in the unpacked data) need more than the limit of \(limit) bytes",
        advice: "if they are right, unpack the file with gunzip and load the plain file")
    }
    dimensions = count.dimensions
    bytes = try IDX.take(count.product, from: &gzip, at: start, path: reader.path)
    guard try gzip.isAtEnd() else {
      throw .malformed(
        path: reader.path, offset: start + count.product,
        problem: "the unpacked data goes on after the last value of the dimensions \(count.dimensions)",
        advice: "fetch the file again")
    }
  }

  /// The next `count` unpacked bytes, which begin at `offset` of the unpacked data.
  private static func take(
    _ count: Int, from gzip: inout Gzip, at offset: Int, path: String
  ) throws(DatasetError) -> [UInt8] {
    var bytes: [UInt8] = []
    try gzip.read(count, appendingTo: &bytes)
    guard bytes.count == count else {
      throw .malformed(
        path: path, offset: offset + bytes.count,
        problem: "the unpacked data ends here, \(count - bytes.count) bytes early",
        advice: "the file is truncated or damaged; fetch it again")
    }
    return bytes
  }

  /// The number of dimensions from the four bytes of the magic number.
  private static func checkedRank(_ magic: [UInt8], path: String, isPacked: Bool) throws(DatasetError) -> Int {
    let place = isPacked ? " (in the unpacked data)" : ""
    guard magic[0] == 0, magic[1] == 0 else {
      throw .malformed(
        path: path, offset: 0, problem: "no IDX file: it begins with \(magic)\(place), not with two zero bytes",
        advice: "give an IDX file, plain or packed with gzip")
    }
    guard magic[2] == 0x08 else {
      let name = otherTypes[magic[2]].map { "values are \($0)" } ?? "type code \(magic[2]) is unknown"
      throw .malformed(
        path: path, offset: 2, problem: "\(name)\(place)", advice: "only unsigned bytes (type code 8) are supported")
    }
    guard magic[3] > 0 else {
      throw .malformed(path: path, offset: 3, problem: "no dimensions\(place)", advice: "fetch the file again")
    }
    return Int(magic[3])
  }

  private static func parse(
    _ sizes: [UInt8], path: String, isPacked: Bool
  ) throws(DatasetError) -> (dimensions: [Int], product: Int) {
    let dimensions = stride(from: 0, to: sizes.count, by: 4).map { start in
      sizes[start..<start + 4].reduce(0) { $0 << 8 | Int($1) }
    }
    guard let product = product(dimensions) else {
      throw .malformed(
        path: path, offset: 4,
        problem: "absurd dimensions \(dimensions)\(isPacked ? " (in the unpacked data)" : "")",
        advice: "the file is damaged; fetch it again")
    }
    return (dimensions, product)
  }

  /// The product of the dimensions, or nil where it doesn't fit an `Int`.
  private static func product(_ dimensions: [Int]) -> Int? {
    var product = 1
    for dimension in dimensions {
      let (next, overflow) = product.multipliedReportingOverflow(by: dimension)
      if overflow { return nil }
      product = next
    }
    return product
  }

  /// The bytes of the plain file.
  public var contents: [UInt8] { header + bytes }

  private var header: [UInt8] {
    [0, 0, 0x08, UInt8(dimensions.count)]
      + dimensions.flatMap { size in [24, 16, 8, 0].map { UInt8(truncatingIfNeeded: size >> $0) } }
  }

  /// Writes the array to `path` atomically, packed with gzip where the name ends in `.gz`.
  ///
  /// Equal arrays give equal files. Throws `DatasetError.unwritable`; a file that was there before is then unchanged.
  public func write(to path: String) throws(DatasetError) {
    if path.hasSuffix(".gz") {
      try AtomicFile.write([Gzip.compress(contents, path: path)], to: path)
    } else {
      try AtomicFile.write([header, bytes], to: path)
    }
  }
}
