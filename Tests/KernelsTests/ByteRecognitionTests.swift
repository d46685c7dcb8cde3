import Kernels
import Testing

private let table = Float.kernels(for: .widestSupported)
private let kernels = table.byteProducts

/// Floats that are bytes over 255, on CPUs that multiply bytes.
@Suite(.enabled(if: kernels.recognize != nil, "this CPU has no AVX-512 VNNI")) struct ByteRecognitionTests {
  /// What `recognize` makes of `values`; the memory around holds 99.
  private func recognized(_ values: [Float]) -> (isBytes: Bool, bytes: [UInt8]) {
    var bytes = [UInt8](repeating: 99, count: (values.count + 15) / 16 * 16 + 16)
    let isBytes = kernels.recognize!(values, values.count, &bytes)
    #expect(bytes.suffix(16).allSatisfy { $0 == 99 }, "written past the last vector")
    return (isBytes, bytes.dropLast(16))
  }

  @Test func everyByteOver255IsRecognized() {
    for count in [1, 15, 16, 17, 63, 64, 65, 130, 256, 784] {
      let bytes = (0..<count).map { UInt8(truncatingIfNeeded: $0 * 37 + count) }
      for scaled in [bytes.map { Float($0) / 255 }, bytes.map { Float($0) * (1 / 255) }] {
        let result = recognized(scaled)
        #expect(result.isBytes)
        #expect(Array(result.bytes.prefix(count)) == bytes)
        #expect(result.bytes.dropFirst(count).allSatisfy { $0 == 0 })
      }
    }
  }

  @Test func nothingElseIsRecognized() {
    let images = (0...255).map { Float($0) }.flatMap { [$0 / 255, $0 * (1 / 255)] }
    let neighbours = images.flatMap { [$0.nextUp, $0.nextDown] }.filter { !images.contains($0) }
    #expect(neighbours.count > 256)
    let others: [Float] = [
      -1 / 255, 256 / 255, 257 * (1 / 255), 512 / 255, -256 / 255, 65_536 / 255, 1e20, -1e20, .infinity, -.infinity,
      .nan, 0.5, 0.1,
    ]
    for (index, value) in (neighbours + others).enumerated() {
      for count in [1, 17, 64, 200] {
        var values = (0..<count).map { Float($0 % 256) / 255 }
        values[index % count] = value
        #expect(!recognized(values).isBytes, "\(value) among \(count)")
      }
    }
  }
}
