import KernelInterface
import Kernels

/// The instruction sets that this CPU can run.
let supportedSets = InstructionSet.allCases.filter(\.isSupported)

/// Sizes around the vector lengths, and one of many blocks.
let awkwardSizes = [1, 2, 7, 15, 16, 17, 31, 33, 65, 1000]

/// A matrix whose rows lie further apart than its columns need, with guard elements to catch stray stores.
final class TestMatrix<Scalar: BinaryFloatingPoint> {
  static var guardValue: Scalar { -12345.5 }
  let view: MatrixView<Scalar>
  private let count: Int

  init(_ rows: Int, _ columns: Int, extra: Int = 3, _ fill: (Int, Int) -> Scalar = { _, _ in 0 }) {
    let stride = columns + extra
    count = rows * stride
    let base = UnsafeMutablePointer<Scalar>.allocate(capacity: count)
    base.initialize(repeating: Self.guardValue, count: count)
    view = MatrixView(base: base, rows: rows, columns: columns, stride: stride)
    for row in 0..<rows {
      for column in 0..<columns { base[row * stride + column] = fill(row, column) }
    }
  }

  deinit { view.base.deallocate() }

  subscript(_ row: Int, _ column: Int) -> Scalar {
    get { view.base[row * view.stride + column] }
    set { view.base[row * view.stride + column] = newValue }
  }

  /// Whether nothing wrote beyond the columns.
  var guardsIntact: Bool {
    (0..<view.rows).allSatisfy { row in
      (view.columns..<view.stride).allSatisfy { view.base[row * view.stride + $0] == Self.guardValue }
    }
  }

  var pointer: UnsafeMutablePointer<Scalar> { view.base }

  /// The same values in Double, rows close together.
  var inDouble: TestMatrix<Double> { TestMatrix<Double>(view.rows, view.columns, extra: 0) { Double(self[$0, $1]) } }
}

/// Memory of so many bytes, whose guard behind it must stay.
final class GuardedBytes {
  private static var guardByte: UInt8 { 0x7f }
  let base: UnsafeMutablePointer<UInt8>
  private let bytes: Int

  init(_ bytes: Int) {
    self.bytes = bytes
    base = .allocate(capacity: bytes + 64)
    base.initialize(repeating: Self.guardByte, count: bytes + 64)
  }

  deinit { base.deallocate() }

  var guardIsIntact: Bool { (bytes..<bytes + 64).allSatisfy { base[$0] == Self.guardByte } }
}

/// Uniform and normal numbers that depend on the seed alone.
struct TestNumbers {
  private var state: UInt64
  init(_ seed: UInt64) { state = seed &* 0x9E37_79B9_7F4A_7C15 &+ 0x1234_5678_9ABC_DEF1 }

  /// Uniform in [0, 1).
  mutating func uniform() -> Double {
    state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
    return Double((state ^ (state >> 29)) >> 11) * 0x1p-53
  }

  /// Close to N(0, 1): twelve uniforms summed.
  mutating func normal() -> Double {
    var sum = -6.0
    for _ in 0..<12 { sum += uniform() }
    return sum
  }
}

/// |value − exact| in units of the last place of `exact` rounded to `Scalar`.
func ulpError<Scalar: BinaryFloatingPoint>(_ value: Scalar, _ exact: Double, _ low: Double = 0) -> Double {
  let rounded = Scalar(exact)
  if value.isNaN || exact.isNaN { return value.isNaN && exact.isNaN ? 0 : .infinity }
  if !rounded.isFinite || !value.isFinite { return value == rounded ? 0 : .infinity }
  let ulp = max(Double(rounded.ulp), Double(Scalar.leastNonzeroMagnitude))
  return abs((Double(value) - exact) - low) / ulp
}
