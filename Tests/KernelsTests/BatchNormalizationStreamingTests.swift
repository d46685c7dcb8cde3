import KernelInterface
import Kernels
import Testing

/// Passes that write past the caches give the bits of those that write through them.
@Suite("Streaming passes of batch normalization")
struct BatchNormalizationStreamingTests {
  /// Rows short and long, alone and in more than one block of a streaming pass; lines that are whole and that are not.
  static let shapes = [(1, 512), (65, 48), (5501, 48), (1101, 512), (300, 1040), (130, 70)]

  @Test(arguments: supportedSets, shapes)
  func sameBits(set: InstructionSet, shape: (rows: Int, columns: Int)) {
    check(Float.self, set, shape.rows, shape.columns)
    check(Double.self, set, shape.rows, shape.columns)
  }

  private func check<Scalar: KernelScalar>(_: Scalar.Type, _ set: InstructionSet, _ rows: Int, _ columns: Int) {
    let table = Scalar.kernels(for: set).batchNormalization
    var numbers = TestNumbers(UInt64(rows * 4096 + columns))
    let x = Lines<Scalar>(rows, columns) { Scalar(numbers.normal()) }
    let dy = Lines<Scalar>(rows, columns) { Scalar(numbers.normal()) }
    let vectors = Lines<Scalar>(5, columns) { Scalar(numbers.normal()) }
    // Four a column, whole vectors of columns.
    let coefficients = Lines<Scalar>(4, columns + 16) { Scalar(numbers.normal()) }
    let bytes = BitMatrixView.bytes(columns: columns)
    for relu in [false, true] {
      var results: [(y: Lines<Scalar>, dx: Lines<Scalar>, bits: [UInt8])] = []
      for streaming in [false, true] {
        let (y, dx) = (Lines<Scalar>(rows, columns) { .nan }, Lines<Scalar>(rows, columns) { .nan })
        var bits = [UInt8](repeating: 0, count: rows * bytes)
        bits.withUnsafeMutableBufferPointer { bits in
          let mask = relu ? BitMatrixView(base: bits.baseAddress!, stride: bytes) : nil
          table.normalize(
            x.view, vectors.row(0), vectors.row(1), vectors.row(2), vectors.row(3), vectors.row(4), y.view, relu, mask,
            streaming)
          table.propagate(dy.view, x.view, mask, coefficients.row(0), dx.view, false, streaming)
        }
        results.append((y, dx, bits))
      }
      let (cached, streamed) = (results[0], results[1])
      #expect(cached.bits == streamed.bits)
      #expect(!cached.y.holdsNaN && cached.y == streamed.y, "y of \(rows)×\(columns), ReLU \(relu)")
      #expect(!cached.dx.holdsNaN && cached.dx == streamed.dx, "dx of \(rows)×\(columns), ReLU \(relu)")
    }
  }
}

/// A matrix that begins with a cache line, as streaming stores need it.
private final class Lines<Scalar: KernelScalar>: Equatable {
  let view: MatrixView<Scalar>

  init(_ rows: Int, _ columns: Int, _ value: () -> Scalar) {
    let count = rows * columns
    let base = UnsafeMutableRawPointer.allocate(byteCount: count * MemoryLayout<Scalar>.stride, alignment: 64)
      .bindMemory(to: Scalar.self, capacity: count)
    for i in 0..<count { (base + i).initialize(to: value()) }
    view = MatrixView(base: base, rows: rows, columns: columns)
  }

  deinit { view.base.deallocate() }

  func row(_ index: Int) -> UnsafeMutablePointer<Scalar> { view.base + index * view.stride }
  private var values: UnsafeBufferPointer<Scalar> {
    UnsafeBufferPointer(start: view.base, count: view.rows * view.stride)
  }
  var holdsNaN: Bool { values.contains { $0.isNaN } }

  static func == (a: Lines, b: Lines) -> Bool { a.values.elementsEqual(b.values) }
}
