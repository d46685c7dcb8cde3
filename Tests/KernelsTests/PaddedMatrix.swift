import Kernels
import RandomNumbers
import Testing

/// A matrix in memory whose rows lie further apart than they are wide; the gaps show whether a kernel strays.
///
/// The memory is never freed: kernels take bare pointers, which may outlive the last mention of their matrix.
final class PaddedMatrix<Scalar: KernelScalar> {
  let view: MatrixView<Scalar>
  private let storage: UnsafeMutableBufferPointer<Scalar>
  private let gap: Scalar = 777.25

  init(_ rows: Int, _ columns: Int, padding: Int = 3, _ value: (Int, Int) -> Double = { _, _ in 0 }) {
    let stride = columns + padding
    storage = .allocate(capacity: rows * stride + 32)
    storage.initialize(repeating: gap)
    view = MatrixView(base: storage.baseAddress!, rows: rows, columns: columns, stride: stride)
    for row in 0..<rows {
      for column in 0..<columns { storage[row * stride + column] = Scalar(value(row, column)) }
    }
  }

  var pointer: UnsafeMutablePointer<Scalar> { view.base }

  subscript(row: Int, column: Int) -> Scalar {
    get { view.base[row * view.stride + column] }
    set { view.base[row * view.stride + column] = newValue }
  }

  /// The elements, row by row.
  var elements: [Scalar] {
    (0..<view.rows).flatMap { row in (0..<view.columns).map { self[row, $0] } }
  }

  /// The same values in Double, for the oracle.
  var widened: PaddedMatrix<Double> { PaddedMatrix<Double>(view.rows, view.columns) { Double(self[$0, $1]) } }

  /// Whether everything outside the matrix is as it was.
  var paddingIsIntact: Bool {
    storage.indices.allSatisfy { i in
      (i < view.rows * view.stride && i % view.stride < view.columns) || storage[i] == gap
    }
  }
}

/// Fails where an element differs from the oracle's by more than `units` unit roundoffs of its `scale`.
func expectClose<Scalar: KernelScalar>(
  _ actual: [Scalar], _ expected: [Double], units: Double, scale: [Double], _ what: String,
  sourceLocation: SourceLocation = #_sourceLocation
) {
  #expect(actual.count == expected.count && scale.count == expected.count, sourceLocation: sourceLocation)
  let unit = Double(Scalar.ulpOfOne) / 2
  var worst = (excess: 0.0, index: -1)
  for i in expected.indices {
    let excess = abs(Double(actual[i]) - expected[i]) / (units * unit * scale[i] + Double(Scalar.leastNormalMagnitude))
    // NaN is worse than anything.
    if !(excess <= worst.excess) { worst = (excess.isNaN ? .infinity : excess, i) }
  }
  let i = max(worst.index, 0)
  #expect(
    worst.excess <= 1,
    "\(what): element \(i) is \(actual[i]), expected \(expected[i]); \(worst.excess) times the tolerance",
    sourceLocation: sourceLocation)
}
