import Foundation
import Kernels
import Lamina
import ReferenceKernels

/// What a program does that calls BLAS for its products and one loop for each other operation: a pass over a contiguous
/// matrix, row by row, that leaves its result in memory for the next.
///
/// Activations and optimizers, which are one operation each, run Lamina's vectorized kernels, so that the difference is
/// in what surrounds them.
enum UnfusedPasses<Scalar: NetworkScalar> {
  typealias Matrix = MatrixView<Scalar>
  typealias Vector = UnsafeMutablePointer<Scalar>

  /// c = op(a)·op(b) in one call of BLAS, on as many threads as `BLAS.threads` says.
  static func multiply(_ a: Matrix, transposeA: Bool, _ b: Matrix, transposeB: Bool, into c: Matrix) {
    Scalar.unsafeMultiply(
      transposeA: transposeA, transposeB: transposeB, m: c.rows, n: c.columns, k: transposeA ? a.rows : a.columns,
      alpha: 1, a.base, a.stride, b.base, b.stride, beta: 0, c.base, c.stride)
  }

  /// Runs `body` with `threads` threads in one call of BLAS, one again after it.
  ///
  /// OpenBLAS's threads spin for some time after their last product: a pause keeps them out of what follows.
  static func withBLASThreads<Result>(_ threads: Int, _ body: () throws -> Result) rethrows -> Result {
    guard threads > 1 else { return try body() }
    BLAS.threads = threads
    defer {
      BLAS.threads = 1
      Thread.sleep(forTimeInterval: 0.1)
    }
    return try body()
  }

  /// Calls `body` with the index of each element and its column; inlined, so that it is a plain loop.
  @inline(__always)
  private static func elements(_ x: Matrix, _ body: (Int, Int) -> Void) {
    for row in 0..<x.rows {
      let first = row &* x.columns
      for column in 0..<x.columns { body(first &+ column, column) }
    }
  }

  // MARK: Dense

  /// y += bias.
  static func addBias(_ bias: Vector, to y: Matrix) {
    let values = y.base
    elements(y) { index, column in values[index] += bias[column] }
  }

  /// sums = Σ rows.
  static func columnSums(_ x: Matrix, into sums: Vector) {
    for column in 0..<x.columns { sums[column] = 0 }
    let values = x.base
    elements(x) { index, column in sums[column] += values[index] }
  }

  /// sums = Σ rows of x·y.
  static func columnSums(_ x: Matrix, times y: Matrix, into sums: Vector) {
    for column in 0..<x.columns { sums[column] = 0 }
    let (left, right) = (x.base, y.base)
    elements(x) { index, column in sums[column] += left[index] * right[index] }
  }

  // MARK: Batch normalization

  /// means = Σ rows / n.
  static func means(_ x: Matrix, into means: Vector) {
    columnSums(x, into: means)
    for column in 0..<x.columns { means[column] /= Scalar(x.rows) }
  }

  /// variances = Σ (x − mean)² / n.
  static func variances(_ x: Matrix, means: Vector, into variances: Vector) {
    for column in 0..<x.columns { variances[column] = 0 }
    let values = x.base
    elements(x) { index, column in
      let difference = values[index] - means[column]
      variances[column] += difference * difference
    }
    for column in 0..<x.columns { variances[column] /= Scalar(x.rows) }
  }

  /// y = (x − mean)·inverse.
  static func normalize(_ x: Matrix, _ means: Vector, _ inverse: Vector, into y: Matrix) {
    let (from, to) = (x.base, y.base)
    elements(x) { index, column in to[index] = (from[index] - means[column]) * inverse[column] }
  }

  /// y = γ·x + β.
  static func scale(_ x: Matrix, _ gamma: Vector, _ beta: Vector, into y: Matrix) {
    let (from, to) = (x.base, y.base)
    elements(x) { index, column in to[index] = from[index] * gamma[column] + beta[column] }
  }

  /// dx = γ·inverse·(dy − dβ/n − x̂·dγ/n).
  static func normalizationGradient(
    _ dy: Matrix, _ normalized: Matrix, _ inverse: Vector, _ gamma: Vector, _ dGamma: Vector, _ dBeta: Vector,
    into dx: Matrix
  ) {
    let (gradient, x, to, share) = (dy.base, normalized.base, dx.base, 1 / Scalar(dy.rows))
    elements(dy) { index, column in
      let centred = gradient[index] - dBeta[column] * share - x[index] * (dGamma[column] * share)
      to[index] = gamma[column] * inverse[column] * centred
    }
  }

  // MARK: Loss

  /// Σ −log softmax(x)[label], and its gradient times `scale`: one pass for softmax, one for loss and gradient.
  static func crossEntropy(
    _ x: Matrix, _ labels: UnsafePointer<Int32>, _ gradient: Matrix, _ scale: Double
  ) -> Double {
    ReferenceKernels.softmax(x, into: gradient)
    let to = gradient.base
    var loss = 0.0
    for row in 0..<x.rows {
      let first = row &* x.columns
      let label = first &+ Int(labels[row])
      loss -= log(max(Double(to[label]), Double(Scalar.leastNonzeroMagnitude)))
      for index in first..<first &+ x.columns { to[index] *= Scalar(scale) }
      to[label] -= Scalar(scale)
    }
    return loss
  }
}
