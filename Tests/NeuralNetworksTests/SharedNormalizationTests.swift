import KernelInterface
import Kernels
import LinearAlgebra
import NeuralNetworks
import RandomNumbers
import Testing

/// Batch normalization by a team gives the bits of the kernels that take whole columns, whatever the team.
@Suite("Shared normalization")
struct SharedNormalizationTests {
  /// Panels of one block and of several, a last panel of one block after larger ones, ragged and long rows.
  static let shapes = [(1, 9000), (65, 1000), (200, 600), (1000, 33), (1030, 70), (1064, 48), (2100, 520)]

  @Test("Teams of one, two and three members give the same bits as whole columns", arguments: shapes)
  func sameBits(rows: Int, columns: Int) throws {
    try check(Float.self, rows, columns)
    try check(Double.self, rows, columns)
  }

  private func check<Scalar: NetworkScalar>(_ type: Scalar.Type, _ rows: Int, _ columns: Int) throws {
    var random = Philox(seed: UInt64(rows * columns), purpose: "shared normalization")
    func numbers(_ count: Int, _ offset: Double) -> AlignedBuffer<Scalar> {
      let buffer = AlignedBuffer<Scalar>(zeroedCapacity: count)
      for i in 0..<count { buffer.baseAddress[i] = Scalar(offset + random.nextNormal()) }
      return buffer
    }
    let (x, dy, gamma, beta) = (
      numbers(rows * columns, 10), numbers(rows * columns, 0), numbers(columns, 1), numbers(columns, 0)
    )
    let whole = try Results<Scalar>(rows, columns)
    try whole.runWhole(x, dy, gamma, beta)
    for threads in 1...3 {
      let shared = try SharedNormalization<Scalar>(rows: rows, columns: columns, threads: threads, relu: true)
      let results = try Results<Scalar>(rows, columns)
      // Twice: what the first run leaves in the team's memory must not matter.
      for _ in 0..<2 {
        shared.forward(
          results.view(x), gamma: gamma.baseAddress, beta: beta.baseAddress, epsilon: 1e-3,
          into: results.view(results.y))
        shared.backward(results.view(dy), results.view(x), gamma: gamma.baseAddress, into: results.view(results.dx))
      }
      for column in 0..<columns {
        try #require(shared.mean[column] == whole.mean[column], "mean of column \(column), \(threads) threads")
        try #require(shared.variance[column] == whole.variance[column])
        try #require(shared.dGamma[column] == whole.dGamma[column], "dγ of column \(column), \(threads) threads")
        try #require(shared.dBeta[column] == whole.dBeta[column])
      }
      for i in 0..<rows * columns {
        try #require(results.y.baseAddress[i] == whole.y.baseAddress[i], "y at \(i), \(threads) threads")
        try #require(results.dx.baseAddress[i] == whole.dx.baseAddress[i], "dx at \(i), \(threads) threads")
      }
      withExtendedLifetime((results, shared)) {}
    }
    withExtendedLifetime((x, dy, gamma, beta, whole)) {}
  }
}

/// Outputs and gradients of one matrix.
private final class Results<Scalar: NetworkScalar> {
  let rows: Int
  let columns: Int
  let y: AlignedBuffer<Scalar>
  let dx: AlignedBuffer<Scalar>
  private let vectors: AlignedBuffer<Scalar>

  init(_ rows: Int, _ columns: Int) throws {
    (self.rows, self.columns) = (rows, columns)
    y = AlignedBuffer(zeroedCapacity: rows * columns)
    dx = AlignedBuffer(zeroedCapacity: rows * columns)
    vectors = AlignedBuffer(zeroedCapacity: 6 * columns)
  }

  private func vector(_ index: Int) -> UnsafeMutablePointer<Scalar> { vectors.baseAddress + index * columns }
  var mean: UnsafeMutablePointer<Scalar> { vector(0) }
  var variance: UnsafeMutablePointer<Scalar> { vector(2) }
  var dGamma: UnsafeMutablePointer<Scalar> { vector(4) }
  var dBeta: UnsafeMutablePointer<Scalar> { vector(5) }

  func view(_ buffer: AlignedBuffer<Scalar>) -> MatrixView<Scalar> {
    MatrixView(base: buffer.baseAddress, rows: rows, columns: columns)
  }

  /// The kernels that one thread calls for all rows.
  func runWhole(
    _ x: AlignedBuffer<Scalar>, _ dy: AlignedBuffer<Scalar>, _ gamma: AlignedBuffer<Scalar>,
    _ beta: AlignedBuffer<Scalar>
  ) throws {
    let kernels = try Scalar.kernels().batchNormalization
    let workspace = AlignedBuffer<Double>(zeroedCapacity: 6 * columns)
    let stride = BitMatrixView.bytes(columns: columns)
    let bits = AlignedBuffer<UInt8>(zeroedCapacity: rows * stride)
    let mask = BitMatrixView(base: bits.baseAddress, stride: stride)
    kernels.moments(view(x), mean, vector(1), variance, workspace.baseAddress)
    kernels.inverseDeviation(variance, 1e-3, vector(3), columns)
    kernels.normalize(
      view(x), mean, vector(1), vector(3), gamma.baseAddress, beta.baseAddress, view(y), true, mask, false)
    kernels.backward(
      view(dy), view(x), mask, mean, vector(1), vector(3), gamma.baseAddress, dGamma, dBeta, view(dx), false)
    withExtendedLifetime((workspace, bits)) {}
  }
}
