import KernelInterface
import LinearAlgebra
import RandomNumbers
import Synchronization

/// Memory for measurements and self-tests, freed all together.
///
/// Kernels take bare pointers, so a matrix must outlive the last mention of its name: it lives as long as the scope.
final class ScratchMemory: Sendable {
  @TaskLocal private static var current: ScratchMemory?
  private let blocks = Mutex<[UInt]>([])

  private init() {}

  /// Runs `body`, in which matrices can be made; they are gone when it returns.
  static func scope<Result>(_ body: () throws -> Result) rethrows -> Result {
    try $current.withValue(ScratchMemory(), operation: body)
  }

  /// Memory for `count` scalars, aligned to a cache line, in the scope that runs.
  static func allocate<Scalar>(_ count: Int) -> UnsafeMutablePointer<Scalar> {
    guard let current else { preconditionFailure("scratch matrices are made within ScratchMemory.scope") }
    let byteCount = max(count, 1) * MemoryLayout<Scalar>.stride
    let memory = UnsafeMutableRawPointer.allocate(byteCount: byteCount, alignment: 64)
    // As the library's own buffers are.
    LargePages.prefer(memory, byteCount: byteCount)
    let address = UInt(bitPattern: memory)
    current.blocks.withLock { $0.append(address) }
    return memory.bindMemory(to: Scalar.self, capacity: count)
  }

  deinit { blocks.withLock { $0.forEach { UnsafeMutableRawPointer(bitPattern: $0)?.deallocate() } } }
}

/// A matrix in scratch memory.
struct ScratchMatrix<Scalar: BinaryFloatingPoint> {
  let view: MatrixView<Scalar>

  /// rows × columns elements, `value(row, column)` each; within `ScratchMemory.scope`.
  init(_ rows: Int, _ columns: Int, _ value: (Int, Int) -> Double = { _, _ in 0 }) {
    let base: UnsafeMutablePointer<Scalar> = ScratchMemory.allocate(rows * columns)
    for row in 0..<rows {
      for column in 0..<columns { (base + row * columns + column).initialize(to: Scalar(value(row, column))) }
    }
    view = MatrixView(base: base, rows: rows, columns: columns)
  }

  /// Normal numbers of mean 0 that depend on the seed alone.
  init(normal rows: Int, _ columns: Int, seed: UInt64, deviation: Double = 1) {
    var random = Philox(seed: seed, stream: 0)
    self.init(rows, columns) { _, _ in random.nextNormal() * deviation }
  }

  /// One row with the given values.
  init(copying values: some Collection<Scalar>) {
    let base: UnsafeMutablePointer<Scalar> = ScratchMemory.allocate(values.count)
    _ = UnsafeMutableBufferPointer(start: base, count: values.count).initialize(from: values)
    view = MatrixView(base: base, rows: 1, columns: values.count)
  }

  /// The same values in another precision.
  func converted<Other: BinaryFloatingPoint>(to type: Other.Type = Other.self) -> ScratchMatrix<Other> {
    ScratchMatrix<Other>(view.rows, view.columns) { Double(self[$0, $1]) }
  }

  var pointer: UnsafeMutablePointer<Scalar> { view.base }
  var count: Int { view.rows * view.columns }
  var elements: UnsafeMutableBufferPointer<Scalar> { UnsafeMutableBufferPointer(start: view.base, count: count) }

  subscript(_ row: Int, _ column: Int) -> Scalar {
    get { view.base[row * view.stride + column] }
    nonmutating set { view.base[row * view.stride + column] = newValue }
  }

  /// Makes every element its absolute value.
  func dropSigns() { for i in 0..<count { pointer[i] = abs(pointer[i]) } }

  /// The largest absolute value.
  var largest: Double { elements.reduce(0) { max($0, Double(abs($1))) } }

  /// The largest |element − other's|; infinity where either is not a number.
  func largestDifference(from other: ScratchMatrix<Double>) -> Double {
    var worst = 0.0
    for i in 0..<count {
      let difference = abs(Double(pointer[i]) - other.pointer[i])
      worst = difference.isNaN ? .infinity : max(worst, difference)
    }
    return worst
  }
}
