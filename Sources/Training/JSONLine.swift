import Foundation

/// `value` as JSON on one line, keys sorted.
///
/// - Throws: `EncodingError` where a number is not finite.
public func jsonLine(_ value: some Encodable) throws -> String {
  let encoder = JSONEncoder()
  encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
  return String(decoding: try encoder.encode(value), as: UTF8.self)
}
