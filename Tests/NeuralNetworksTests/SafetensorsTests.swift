import Foundation
import NeuralNetworks
import Testing

@Suite struct SafetensorsTests {
  /// A file from its header and values.
  private func file(_ header: String, values: [UInt8] = []) -> [UInt8] {
    let json = Array(header.utf8)
    return (0..<8).map { UInt8(truncatingIfNeeded: json.count >> (8 * $0)) } + json + values
  }

  private func sample() throws -> Safetensors {
    try Safetensors(
      [
        .init(name: "dense_1.kernel", shape: [2, 3], scalars: [1, -2, 3.5, 0, .infinity, 0x1p-140] as [Float]),
        .init(name: "dense_1.bias", shape: [3], scalars: [0.1, -0.2, .pi] as [Double]),
        .init(name: "step", shape: [], scalars: [1 << 40] as [Int64]),
        .init(name: "classes", shape: [1, 2], scalars: [-7, 9] as [Int32]),
        .init(name: "bytes", shape: [3], scalars: [1, 2, 255] as [UInt8]),
        .init(name: "empty", shape: [0, 5], scalars: [] as [Float]),
      ], metadata: ["format": "lamina", "odd \"name\"\n\u{1}": "naïve \\ 😀"])
  }

  @Test func whatIsWrittenIsRead() throws {
    let saved = try sample()
    let path = NSTemporaryDirectory() + "lamina-\(UUID().uuidString).safetensors"
    defer { try? FileManager.default.removeItem(atPath: path) }
    try saved.write(to: path)
    let loaded = try Safetensors(path: path)
    #expect(loaded == saved)
    #expect(try Safetensors(contents: saved.contents, path: "x") == saved)
    #expect(loaded.entries.map(\.name) == ["bytes", "classes", "dense_1.bias", "dense_1.kernel", "empty", "step"])
    #expect(try loaded["dense_1.kernel"]?.scalars() == [1, -2, 3.5, 0, .infinity, 0x1p-140] as [Float])
    #expect(try loaded["step"]?.scalars() == [1 << 40] as [Int64])
    #expect(loaded["none"] == nil)
    let error = #expect(throws: SafetensorsError.self) { try loaded["dense_1.bias"]?.scalars(as: Float.self) }
    #expect(error?.description.contains("'dense_1.bias' holds F64, not F32") == true)
  }

  @Test func bytesAreThoseOfTheFormatWhateverTheOrder() throws {
    let a = try Safetensors.Entry(name: "a", shape: [2], scalars: [1, 2] as [Float])
    let b = try Safetensors.Entry(name: "b", shape: [1], scalars: [1] as [Double])
    let expected = file(
      #"{"b":{"dtype":"F64","shape":[1],"data_offsets":[0,8]},"#
        + #""a":{"dtype":"F32","shape":[2],"data_offsets":[8,16]}}    "#,
      values: [0, 0, 0, 0, 0, 0, 0xf0, 0x3f, 0, 0, 0x80, 0x3f, 0, 0, 0, 0x40])
    #expect(expected[0] % 8 == 0)
    #expect(try Safetensors([a, b]).contents == expected)
    #expect(try Safetensors([b, a]).contents == expected)
  }

  @Test func aForeignFileIsRead() throws {
    let contents = file(
      "{ \"\\u0077\\ud83d\\ude00\" :\t{\"data_offsets\":[0 , 4],\"dtype\":\"U8\",\n\"shape\":[ 2,2 ]},"
        + "\"__metadata__\":{\"k\":\"v\\/\"}}  ", values: [1, 2, 3, 4])
    let loaded = try Safetensors(contents: contents, path: "x")
    #expect(loaded.entries.map(\.name) == ["w😀"] && loaded.entries[0].bytes == [1, 2, 3, 4])
    #expect(loaded.metadata == ["k": "v/"])
    #expect(try Safetensors(contents: file("{}"), path: "x").entries == [])
  }

  private static let good = #""a":{"dtype":"U8","shape":[2],"data_offsets":[0,2]}"#

  /// Headers over two bytes of values, and the byte of the file at which each is refused.
  @Test(
    arguments: [
      ("", 8), ("[]", 8), (" {}", 8), ("{", 9), ("{}", 8), ("{\(good)}x", 61), ("{\(good),}", 61),
      ("{\(good),\(good)}", 61),
      (#"{"a":{"dtype":"F16","shape":[1],"data_offsets":[0,2]}}"#, 22),
      (#"{"a":{"dtype":"U8","shape":[2]}}"#, 9),
      (#"{"a":{"dtype":"U8","shape":[2],"data_offsets":[0,2],"more":1}}"#, 60),
      (#"{"a":{"dtype":"U8","dtype":"U8","shape":[2],"data_offsets":[0,2]}}"#, 27),
      (#"{"a":{"dtype":"U8","shape":[2],"data_offsets":[0]}}"#, 9),
      (#"{"a":{"dtype":"U8","shape":[-2],"data_offsets":[0,2]}}"#, 36),
      (#"{"a":{"dtype":"U8","shape":[2.0],"data_offsets":[0,2]}}"#, 37),
      (#"{"a":{"dtype":"U8","shape":[02],"data_offsets":[0,2]}}"#, 36),
      (#"{"a":{"dtype":"U8","shape":[99999999999999999999],"data_offsets":[0,2]}}"#, 36),
      (#"{"a":{"dtype":"U8","shape":[4294967296,4294967296],"data_offsets":[0,2]}}"#, 9),
      (#"{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,2]}}"#, 9),
      (#"{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,2]}}"#, 9),
      (#"{"a":{"dtype":"U8","shape":[1],"data_offsets":[1,2]}}"#, 9),
      (#"{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}}"#, 8),
      (#"{"a":{"dtype":"U8","shape":[3],"data_offsets":[0,3]}}"#, 9),
      (#"{"a":{"dtype":"U8","shape":[2],"data_offsets":[2,0]}}"#, 9),
      (#"{"a":{"dtype":"U8","shape":[9223372036854775807],"data_offsets":[0,9223372036854775807]}}"#, 9),
      (
        #"{"a":{"dtype":"U8","shape":[2],"data_offsets":[0,2]},"b":{"dtype":"U8","shape":[1],"data_offsets":[1,2]}}"#,
        61
      ),
      (#"{"__metadata__":{"k":1}}"#, 29), (#"{"__metadata__":{"k":"v","k":"w"}}"#, 33),
      (#"{"__metadata__":{},"__metadata__":{}}"#, 27),
      (#"{"\ud800":{}}"#, 10), (#"{"\x":{}}"#, 10), (#"{"\u12"#, 14), (#"{"abc"#, 10), ("{\"a\nb\":{}}", 11),
      (String(repeating: "{\"a\":", count: 10_000), 14),
    ] as [(String, Int)])
  func damagedHeadersAreRefusedWithPathAndOffset(header: String, offset: Int) throws {
    let contents = file(header, values: [1, 2])
    let error = #expect(throws: SafetensorsError.self) { try Safetensors(contents: contents, path: "x.safetensors") }
    guard case .malformed("x.safetensors", let found, _, _) = error else {
      Issue.record("expected .malformed, got \(String(describing: error))")
      return
    }
    #expect(found == offset, "\(String(describing: error))")
  }

  @Test func invalidUTF8IsRefused() {
    var contents = file(#"{"a":{"dtype":"U8","shape":[2],"data_offsets":[0,2]}}"#, values: [1, 2])
    contents[10] = 0xff
    #expect(throws: SafetensorsError.self) { try Safetensors(contents: contents, path: "x") }
  }

  @Test(arguments: [0, 7, 8, 20]) func truncatedFilesAreRefused(count: Int) throws {
    let contents = Array(try sample().contents[..<count])
    #expect(throws: SafetensorsError.self) { try Safetensors(contents: contents, path: "x") }
  }

  @Test(arguments: [UInt8(0x7f), 0xff]) func absurdHeaderLengthsAreRefused(top: UInt8) {
    let contents: [UInt8] = [0, 0, 0, 0, 0, 0, 0, top] + Array("{}".utf8)
    #expect(throws: SafetensorsError.self) { try Safetensors(contents: contents, path: "x") }
  }

  @Test func badEntriesAreRefused() throws {
    let entry = try Safetensors.Entry(name: "a", shape: [1], scalars: [1] as [Float])
    #expect(throws: SafetensorsError.self) { try Safetensors([entry, entry]) }
    #expect(throws: SafetensorsError.self) {
      try Safetensors.Entry(name: "a", shape: [2], scalars: [1] as [Float])
    }
    #expect(throws: SafetensorsError.self) {
      try Safetensors.Entry(name: "a", type: .uint8, shape: [-1, -1], bytes: [1])
    }
    #expect(throws: SafetensorsError.self) {
      try Safetensors.Entry(name: "__metadata__", type: .uint8, shape: [], bytes: [1])
    }
  }

  @Test func aFailedWriteIsReported() throws {
    let saved = try sample()
    #expect {
      try saved.write(to: "/none/a.safetensors")
    } throws: { error in
      if case SafetensorsError.unwritable("/none/a.safetensors", _) = error { true } else { false }
    }
    #expect {
      try Safetensors(path: "/none/a.safetensors")
    } throws: { error in
      if case SafetensorsError.unreadable("/none/a.safetensors", _) = error { true } else { false }
    }
  }
}
