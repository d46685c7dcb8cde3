/// The JSON header of a safetensors file: names, types, shapes and places of the tensors, and string metadata.
///
/// Only what the format allows is parsed: an object of flat objects. There is no recursion, so no nesting can exhaust the
/// stack; duplicate names, unknown fields and numbers that don't fit are refused with their byte offset in the file.
struct SafetensorsHeader {
  /// One tensor's description.
  struct Item {
    var name: String
    var type: Safetensors.ElementType
    var shape: [Int]
    var begin: Int
    var end: Int

    /// Where its name stands in the file.
    var offset: Int
  }

  private(set) var items: [Item] = []
  private(set) var metadata: [String: String] = [:]

  private let bytes: [UInt8]
  private let path: String
  private var position = 0

  /// The bytes of the header begin at this offset of the file, after its length.
  private static let start = 8

  /// Parses the header's bytes; throws `SafetensorsError.malformed`.
  init(_ bytes: [UInt8], path: String) throws(SafetensorsError) {
    self.bytes = bytes
    self.path = path
    guard bytes.first == UInt8(ascii: "{") else { throw error("the header does not begin with {") }
    var names: Set<String> = []
    try object { (header, name, offset) throws(SafetensorsError) in
      guard names.insert(name).inserted else { throw header.error("the name '\(name)' appears twice", at: offset) }
      if name == "__metadata__" {
        try header.parseMetadata()
      } else {
        try header.parseItem(name, offset)
      }
    }
    skipSpace()
    guard position == bytes.count else { throw error("the header goes on after its closing brace") }
  }

  private func error(_ problem: String, at offset: Int? = nil) -> SafetensorsError {
    .malformed(
      path: path, offset: SafetensorsHeader.start + (offset ?? position), problem: problem,
      advice: "the file is damaged or no safetensors file; write or fetch it again")
  }

  // MARK: The two kinds of members

  private mutating func parseMetadata() throws(SafetensorsError) {
    var entries: [String: String] = [:]
    try object { (header, key, offset) throws(SafetensorsError) in
      guard entries.updateValue(try header.string(), forKey: key) == nil else {
        throw header.error("the key '\(key)' appears twice in the metadata", at: offset)
      }
    }
    metadata = entries
  }

  private mutating func parseItem(_ name: String, _ nameOffset: Int) throws(SafetensorsError) {
    var type: Safetensors.ElementType?
    var shape: [Int]?
    var range: [Int]?
    try object { (header, field, offset) throws(SafetensorsError) in
      switch field {
      case "dtype" where type == nil:
        let valueOffset = header.position
        let word = try header.string()
        type = Safetensors.ElementType(rawValue: word)
        guard type != nil else {
          throw header.error("'\(name)' has the type '\(word)'; supported are F32, F64, I64, I32, U8", at: valueOffset)
        }
      case "shape" where shape == nil: shape = try header.integers()
      case "data_offsets" where range == nil: range = try header.integers()
      default: throw header.error("'\(name)' has an unexpected or repeated field '\(field)'", at: offset)
      }
    }
    guard let type, let shape, let range, range.count == 2 else {
      throw error("'\(name)' lacks its dtype, shape or two data_offsets", at: nameOffset)
    }
    items.append(Item(name: name, type: type, shape: shape, begin: range[0], end: range[1], offset: nameOffset))
  }

  // MARK: JSON

  /// Parses `{ "name": value, … }`; `member` gets each name and its offset and parses the value.
  private mutating func object(
    _ member: (inout SafetensorsHeader, String, Int) throws(SafetensorsError) -> Void
  ) throws(SafetensorsError) {
    try expect("{")
    if accept("}") { return }
    repeat {
      skipSpace()
      let offset = position
      let name = try string()
      try expect(":")
      skipSpace()
      try member(&self, name, offset)
    } while accept(",")
    try expect("}")
  }

  private mutating func integers() throws(SafetensorsError) -> [Int] {
    try expect("[")
    if accept("]") { return [] }
    var values: [Int] = []
    repeat { values.append(try integer()) } while accept(",")
    try expect("]")
    return values
  }

  private mutating func integer() throws(SafetensorsError) -> Int {
    skipSpace()
    let first = position
    var value = 0
    while position < bytes.count, case let digit = bytes[position] &- UInt8(ascii: "0"), digit <= 9 {
      let (tenfold, overflow) = value.multipliedReportingOverflow(by: 10)
      let (sum, carry) = tenfold.addingReportingOverflow(Int(digit))
      guard !overflow, !carry else { throw error("a number is too large", at: first) }
      value = sum
      position += 1
    }
    guard position > first else { throw error("a whole number was expected") }
    guard bytes[first] != UInt8(ascii: "0") || position == first + 1 else {
      throw error("a number begins with 0", at: first)
    }
    return value
  }

  private mutating func string() throws(SafetensorsError) -> String {
    try expect("\"")
    let first = position
    var text: [UInt8] = []
    while position < bytes.count {
      let byte = bytes[position]
      position += 1
      switch byte {
      case UInt8(ascii: "\""):
        guard let string = String(validating: text, as: UTF8.self) else {
          throw error("a string is not valid UTF-8", at: first)
        }
        return string
      case UInt8(ascii: "\\"): text.append(contentsOf: try escape())
      case 0..<0x20: throw error("a control character stands in a string", at: position - 1)
      default: text.append(byte)
      }
    }
    throw error("a string does not end", at: first)
  }

  /// The UTF-8 bytes of the escape whose backslash was just read.
  private mutating func escape() throws(SafetensorsError) -> [UInt8] {
    guard position < bytes.count else { throw error("a string does not end") }
    let letter = bytes[position]
    position += 1
    switch letter {
    case UInt8(ascii: "\""), UInt8(ascii: "\\"), UInt8(ascii: "/"): return [letter]
    case UInt8(ascii: "b"): return [8]
    case UInt8(ascii: "f"): return [12]
    case UInt8(ascii: "n"): return [10]
    case UInt8(ascii: "r"): return [13]
    case UInt8(ascii: "t"): return [9]
    case UInt8(ascii: "u"):
      let start = position - 2
      var code = try hexadecimal()
      if (0xd800..<0xdc00).contains(code), bytes[position...].starts(with: "\\u".utf8) {
        position += 2
        let low = try hexadecimal()
        guard (0xdc00..<0xe000).contains(low) else { throw error("half of a surrogate pair", at: start) }
        code = 0x10000 + (code - 0xd800) << 10 + (low - 0xdc00)
      }
      guard let scalar = Unicode.Scalar(code) else { throw error("half of a surrogate pair", at: start) }
      return Array(String(Character(scalar)).utf8)
    default: throw error("an unknown escape in a string", at: position - 2)
    }
  }

  private mutating func hexadecimal() throws(SafetensorsError) -> UInt32 {
    var value: UInt32 = 0
    for _ in 0..<4 {
      guard position < bytes.count, let digit = Character(Unicode.Scalar(bytes[position])).hexDigitValue else {
        throw error("four hexadecimal digits were expected")
      }
      value = value << 4 | UInt32(digit)
      position += 1
    }
    return value
  }

  private mutating func skipSpace() {
    while position < bytes.count {
      switch bytes[position] {
      case 0x20, 0x09, 0x0a, 0x0d: position += 1
      default: return
      }
    }
  }

  private mutating func accept(_ character: Unicode.Scalar) -> Bool {
    skipSpace()
    guard position < bytes.count, bytes[position] == UInt8(ascii: character) else { return false }
    position += 1
    return true
  }

  private mutating func expect(_ character: Unicode.Scalar) throws(SafetensorsError) {
    guard accept(character) else { throw error("'\(character)' was expected in the header") }
  }

  // MARK: Writing

  /// A string in JSON's quotes.
  static func quoted(_ text: String) -> String {
    var result = "\""
    for scalar in text.unicodeScalars {
      switch scalar {
      case "\"": result += "\\\""
      case "\\": result += "\\\\"
      case _ where scalar.value < 0x20:
        let digits = String(scalar.value, radix: 16)
        result += "\\u" + String(repeating: "0", count: 4 - digits.count) + digits
      default: result.unicodeScalars.append(scalar)
      }
    }
    return result + "\""
  }
}
