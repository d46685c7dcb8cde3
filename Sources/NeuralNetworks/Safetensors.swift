import Datasets

/// Named tensors in the safetensors format of Hugging Face, which Python, Rust and JavaScript read too.
///
/// A little-endian 64-bit length, a JSON header of that length with the type, shape and place of each tensor and optional
/// string metadata, then the values, little-endian and row-major, one tensor after another without gaps.
public struct Safetensors: Sendable, Equatable {
  /// The type of a tensor's values.
  public enum ElementType: String, Sendable, CaseIterable {
    /// IEEE 754 single precision.
    case float32 = "F32"
    /// IEEE 754 double precision.
    case float64 = "F64"
    /// Signed 64-bit integers.
    case int64 = "I64"
    /// Signed 32-bit integers.
    case int32 = "I32"
    /// Unsigned bytes.
    case uint8 = "U8"

    /// The bytes that one value takes.
    public var size: Int {
      switch self {
      case .float64, .int64: 8
      case .float32, .int32: 4
      case .uint8: 1
      }
    }
  }

  /// One named tensor.
  public struct Entry: Sendable, Equatable {
    /// The name, unique within a file, such as `dense_1.kernel`.
    public let name: String

    /// The type of the values.
    public let type: ElementType

    /// The extent of each axis; empty for a single number.
    public let shape: [Int]

    /// The values, little-endian and row-major.
    public let bytes: [UInt8]

    /// A tensor from its raw bytes.
    ///
    /// Throws `SafetensorsError.invalid` where the shape is negative or overflows, or needs another number of bytes, or
    /// where the name is the reserved `__metadata__`.
    public init(name: String, type: ElementType, shape: [Int], bytes: [UInt8]) throws(SafetensorsError) {
      guard name != "__metadata__" else {
        throw .invalid(problem: "a tensor named '__metadata__'", advice: "the format reserves that name; take another")
      }
      guard byteCount(shape, type) == bytes.count else {
        throw .invalid(
          problem: "'\(name)': \(bytes.count) bytes don't fill the shape \(shape) of \(type.rawValue)",
          advice: "give as many values as the product of the shape")
      }
      self.name = name
      self.type = type
      self.shape = shape
      self.bytes = bytes
    }

    /// A tensor from its values in row-major order; throws as the initializer from bytes does.
    public init<Scalar: SafetensorsScalar>(
      name: String, shape: [Int], scalars: some Sequence<Scalar>
    ) throws(SafetensorsError) {
      let bytes = Array(scalars).withUnsafeBytes { Array($0) }
      try self.init(name: name, type: Scalar.elementType, shape: shape, bytes: bytes)
    }

    /// The values in row-major order; throws `SafetensorsError.invalid` where the tensor has another type.
    public func scalars<Scalar: SafetensorsScalar>(
      as scalar: Scalar.Type = Scalar.self
    ) throws(SafetensorsError) -> [Scalar] {
      guard type == Scalar.elementType else {
        throw .invalid(
          problem: "'\(name)' holds \(type.rawValue), not \(Scalar.elementType.rawValue)",
          advice: "load the file at the precision it was saved with")
      }
      return bytes.withUnsafeBytes { source in
        [Scalar](unsafeUninitializedCapacity: source.count / type.size) { target, filled in
          UnsafeMutableRawBufferPointer(target).copyMemory(from: source)
          filled = source.count / type.size
        }
      }
    }
  }

  /// The tensors, sorted by name.
  public let entries: [Entry]

  /// Free text beside the tensors, by key.
  public let metadata: [String: String]

  /// The longest header that is read, as in the format's own library.
  private static let longestHeader = 100_000_000

  /// Tensors to write, in any order; throws `SafetensorsError.invalid` where two share a name.
  public init(_ entries: [Entry], metadata: [String: String] = [:]) throws(SafetensorsError) {
    self.entries = entries.sorted { $0.name < $1.name }
    self.metadata = metadata
    for (entry, next) in zip(self.entries, self.entries.dropFirst()) where entry.name == next.name {
      throw .invalid(problem: "two tensors are named '\(entry.name)'", advice: "give every tensor its own name")
    }
  }

  /// The tensor called `name`, or nil.
  public subscript(name: String) -> Entry? { entries.first { $0.name == name } }

  // MARK: Reading

  /// The tensors of the file at `path`.
  ///
  /// Throws `SafetensorsError.unreadable`, or `.malformed` with the byte offset for anything that breaks the format: a
  /// header longer than the file, JSON that isn't the format's, duplicate names, shapes that overflow or don't match
  /// their bytes, and gaps, overlaps or bytes left over. Everything is checked before the values are read.
  public init(path: String) throws(SafetensorsError) {
    try self.init(Safetensors.mapped { () throws(DatasetError) in try ByteReader(path: path) })
  }

  /// The tensors of a file whose bytes are already in memory; `path` names it in errors.
  public init(contents: [UInt8], path: String) throws(SafetensorsError) {
    try self.init(ByteReader(contents, path: path))
  }

  private init(_ reader: ByteReader) throws(SafetensorsError) {
    func read(_ offset: Int, _ count: Int) throws(SafetensorsError) -> [UInt8] {
      try Safetensors.mapped { () throws(DatasetError) in try reader.bytes(at: offset, count: count) }
    }
    let length = try read(0, 8).reversed().reduce(0) { $0 << 8 | UInt64($1) }
    guard length <= UInt64(min(reader.count - 8, Safetensors.longestHeader)) else {
      throw .malformed(
        path: reader.path, offset: 0,
        problem: "the header is said to have \(length) bytes, the file has \(reader.count) in all",
        advice: "the file is truncated or no safetensors file; write or fetch it again")
    }
    let start = 8 + Int(length)
    let header = try SafetensorsHeader(read(8, Int(length)), path: reader.path)
    try Safetensors.checkPlaces(header.items, size: reader.count - start, path: reader.path)
    let entries = try header.items.map { item throws(SafetensorsError) in
      try Entry(
        name: item.name, type: item.type, shape: item.shape, bytes: read(start + item.begin, item.end - item.begin))
    }
    try self.init(entries, metadata: header.metadata)
  }

  /// Checks that the tensors fill the values' `size` bytes without gap or overlap, each with the bytes of its shape.
  private static func checkPlaces(
    _ items: [SafetensorsHeader.Item], size: Int, path: String
  ) throws(SafetensorsError) {
    func malformed(_ problem: String, _ item: SafetensorsHeader.Item) -> SafetensorsError {
      .malformed(
        path: path, offset: 8 + item.offset, problem: "'\(item.name)' \(problem)",
        advice: "the file is truncated or damaged; write or fetch it again")
    }
    var filled = 0
    for item in items.sorted(by: { ($0.begin, $0.end) < ($1.begin, $1.end) }) {
      guard item.begin == filled else {
        throw malformed("begins at byte \(item.begin) of the values, where \(filled) was expected", item)
      }
      guard item.end >= item.begin, item.end <= size else {
        throw malformed("ends at byte \(item.end) of the values, which have \(size) bytes", item)
      }
      guard byteCount(item.shape, item.type) == item.end - item.begin else {
        throw malformed(
          "has \(item.end - item.begin) bytes, which don't fill the shape \(item.shape) of \(item.type.rawValue)", item)
      }
      filled = item.end
    }
    guard filled == size else {
      throw .malformed(
        path: path, offset: 8, problem: "the tensors fill \(filled) of the \(size) bytes of values",
        advice: "the file is damaged; write or fetch it again")
    }
  }

  /// The result of a call of the file layer, with its errors as this format's.
  private static func mapped<Result>(_ body: () throws(DatasetError) -> Result) throws(SafetensorsError) -> Result {
    do {
      return try body()
    } catch {
      throw SafetensorsError(error)
    }
  }

  // MARK: Writing

  /// Writes the file atomically: it appears whole at `path` or not at all.
  ///
  /// Equal tensors and metadata give equal bytes. The widest types come first, by name within a type's width, and the
  /// header is padded with spaces to a multiple of 8, so that every tensor's values are aligned. Throws `SafetensorsError.unwritable`; an old file is then unchanged.
  public func write(to path: String) throws(SafetensorsError) {
    let pieces = [header] + placed.map(\.bytes)
    try Safetensors.mapped { () throws(DatasetError) in try AtomicFile.write(pieces, to: path) }
  }

  /// The bytes of the file.
  public var contents: [UInt8] { header + placed.flatMap(\.bytes) }

  /// The tensors in the order of their values in the file.
  private var placed: [Entry] { entries.sorted { ($1.type.size, $0.name) < ($0.type.size, $1.name) } }

  private var header: [UInt8] {
    var members: [String] = []
    if !metadata.isEmpty {
      let pairs = metadata.sorted { $0.key < $1.key }.map {
        "\(SafetensorsHeader.quoted($0.key)):\(SafetensorsHeader.quoted($0.value))"
      }
      members.append("\"__metadata__\":{\(pairs.joined(separator: ","))}")
    }
    var begin = 0
    for entry in placed {
      let end = begin + entry.bytes.count
      let shape = entry.shape.map { "\($0)" }.joined(separator: ",")
      members.append(
        "\(SafetensorsHeader.quoted(entry.name)):"
          + "{\"dtype\":\"\(entry.type.rawValue)\",\"shape\":[\(shape)],\"data_offsets\":[\(begin),\(end)]}")
      begin = end
    }
    var json = Array("{\(members.joined(separator: ","))}".utf8)
    json += Array(repeating: 0x20, count: (8 - json.count % 8) % 8)
    return (0..<8).map { UInt8(truncatingIfNeeded: json.count >> (8 * $0)) } + json
  }
}

/// The bytes of a tensor, or nil where the shape is negative or the number doesn't fit.
private func byteCount(_ shape: [Int], _ type: Safetensors.ElementType) -> Int? {
  var count = type.size
  for extent in shape {
    let (product, overflow) = count.multipliedReportingOverflow(by: extent)
    if overflow || extent < 0 { return nil }
    count = product
  }
  return count
}

/// A Swift number type that a safetensors file can hold.
public protocol SafetensorsScalar: Sendable, BitwiseCopyable {
  /// The format's name of the type.
  static var elementType: Safetensors.ElementType { get }
}

extension Float: SafetensorsScalar {
  /// `F32`.
  public static var elementType: Safetensors.ElementType { .float32 }
}

extension Double: SafetensorsScalar {
  /// `F64`.
  public static var elementType: Safetensors.ElementType { .float64 }
}

extension Int64: SafetensorsScalar {
  /// `I64`.
  public static var elementType: Safetensors.ElementType { .int64 }
}

extension Int32: SafetensorsScalar {
  /// `I32`.
  public static var elementType: Safetensors.ElementType { .int32 }
}

extension UInt8: SafetensorsScalar {
  /// `U8`.
  public static var elementType: Safetensors.ElementType { .uint8 }
}
