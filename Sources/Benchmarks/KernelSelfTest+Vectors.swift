import Kernels
import RandomNumbers
import ReferenceKernels

extension KernelSelfTest {
  // MARK: Optimizers

  /// Each update rounds at most a dozen times, hyperparameters included, and no term exceeds 8 with these inputs.
  mutating func testOptimizers() {
    let kernels = table.optimizers
    compareUpdate("sgd") {
      kernels.sgd($0[0].pointer, $0[1].pointer, $0[0].count, 0.1, 0.98)
    } _: {
      ReferenceKernels.sgd($0[0].pointer, $0[1].pointer, $0[0].count, 0.1, 0.98)
    }
    for nesterov in [false, true] {
      compareUpdate(nesterov ? "momentum nesterov" : "momentum") {
        kernels.momentum($0[0].pointer, $0[1].pointer, $0[2].pointer, $0[0].count, 0.1, 0.9, nesterov, 0.98)
      } _: {
        ReferenceKernels.momentum($0[0].pointer, $0[1].pointer, $0[2].pointer, $0[0].count, 0.1, 0.9, nesterov, 0.98)
      }
    }
    compareUpdate("adam") {
      kernels.adam(
        $0[0].pointer, $0[1].pointer, $0[2].pointer, $0[3].pointer, $0[0].count, 0.1, 0.9, 0.999, 1e-7, 0.98)
    } _: {
      ReferenceKernels.adam(
        $0[0].pointer, $0[1].pointer, $0[2].pointer, $0[3].pointer, $0[0].count, 0.1, 0.9, 0.999, 1e-7, 0.98)
    }
    for centered in [false, true] {
      compareUpdate(centered ? "rmsprop centered" : "rmsprop") {
        kernels.rmsprop(
          $0[0].pointer, $0[1].pointer, $0[3].pointer, $0[2].pointer, centered ? $0[4].pointer : nil, $0[0].count,
          0.01, 0.9, 0.9, 1e-7, 0.98)
      } _: {
        ReferenceKernels.rmsprop(
          $0[0].pointer, $0[1].pointer, $0[3].pointer, $0[2].pointer, centered ? $0[4].pointer : nil, $0[0].count,
          0.01, 0.9, 0.9, 1e-7, 0.98)
      }
    }
  }

  /// Weights, gradients, velocity, second moment (positive) and average, updated once.
  private mutating func compareUpdate(
    _ name: String, _ kernel: ([ScratchMatrix<Scalar>]) -> Void, _ oracle: ([ScratchMatrix<Double>]) -> Void
  ) {
    var random = Philox(seed: 15, stream: 0)
    let count = 1000
    let vectors = (0..<5).map { index in
      ScratchMatrix<Scalar>(1, count) { _, _ in
        index == 3 ? random.nextUniform() + 0.25 : (index == 4 ? 0.1 : 0.5) * random.nextNormal()
      }
    }
    let exact = vectors.map { $0.converted(to: Double.self) }
    kernel(vectors)
    oracle(exact)
    let worst = zip(vectors, exact).map { $0.largestDifference(from: $1) }.max() ?? 0
    note("optimizers.\(name)", difference: worst, term: 8, bound: 6 + oracleUnits(12))
  }

  // MARK: Dropout and gathering

  mutating func testDropout() {
    let x = ScratchMatrix<Scalar>(normal: rows, columns, seed: 16)
    let y = ScratchMatrix<Scalar>(rows, columns)
    let exact = ScratchMatrix<Double>(rows, columns)
    table.dropout.apply(x.view, y.view, 0.3, 12345, 7)
    ReferenceKernels.dropout(x.converted(to: Double.self).view, exact.view, 0.3, 12345, 7)
    // A factor and a product; another mask would show as an error of a whole element.
    note("dropout.apply", y, exact, term: exact.largest, bound: 2)
  }

  mutating func testGathering() {
    let bytes = (0..<rows * columns).map { UInt8(truncatingIfNeeded: $0 &* 37) }
    let indices = (0..<rows).map { Int32(($0 * 7) % rows) }
    let scale = ScratchMatrix<Scalar>(normal: 1, columns, seed: 17)
    let offset = ScratchMatrix<Scalar>(normal: 1, columns, seed: 18)
    let (scale64, offset64) = (scale.converted(to: Double.self), offset.converted(to: Double.self))
    let y = ScratchMatrix<Scalar>(rows, columns)
    let exact = ScratchMatrix<Double>(rows, columns)
    // Factor and offset round to the precision, then a product and a sum.
    table.gathering.bytes(bytes, indices, y.view, 0.3, -1)
    ReferenceKernels.gatherBytes(bytes, indices, exact.view, 0.3, -1)
    note("gathering.bytes", y, exact, term: 255 * 0.3 + 1, bound: 2)
    table.gathering.bytesByColumn(bytes, indices, y.view, scale.pointer, offset.pointer)
    ReferenceKernels.gatherBytesByColumn(bytes, indices, exact.view, scale64.pointer, offset64.pointer)
    note("gathering.bytesByColumn", y, exact, term: 255 * scale.largest + offset.largest, bound: 2)
    let source = ScratchMatrix<Scalar>(normal: rows, columns, seed: 19)
    table.gathering.scalars(source.pointer, indices, y.view, scale.pointer, offset.pointer)
    ReferenceKernels.gatherScalars(
      source.converted(to: Double.self).pointer, indices, exact.view, scale64.pointer, offset64.pointer)
    note("gathering.scalars", y, exact, term: source.largest * scale.largest + offset.largest, bound: 2)
  }

  // MARK: Reductions

  mutating func testReductions() {
    let kernels = table.reductions
    let x = ScratchMatrix<Scalar>(normal: rows, columns, seed: 20)
    let x64 = x.converted(to: Double.self)
    let sums = ScratchMatrix<Scalar>(1, columns)
    let exact = ScratchMatrix<Double>(1, columns)
    kernels.columnSums(x.view, sums.pointer)
    ReferenceKernels.columnSums(x64.view, exact.pointer)
    note(
      "reductions.columnSums", sums, exact, term: Double(rows) * x.largest, bound: 11 + oracleUnits(rows))

    let square = ReferenceKernels.sumOfSquares(x64.pointer, x.count)
    let difference = abs(kernels.sumOfSquares(x.pointer, x.count) - square)
    note("reductions.sumOfSquares", difference: difference, term: square, bound: 1 + oracleUnits(2 * x.count))

    let y = ScratchMatrix<Scalar>(normal: rows, columns, seed: 21)
    let y64 = y.converted(to: Double.self)
    let term = 0.7 * x.largest + y.largest
    kernels.addScaled(x.pointer, 0.7, y.pointer, x.count)
    ReferenceKernels.addScaled(x64.pointer, 0.7, y64.pointer, x.count)
    note("reductions.addScaled", y, y64, term: term, bound: 2)

    var right = kernels.allFinite(x.pointer, x.count)
    for (index, value) in [(0, Scalar.nan), (x.count / 2, .infinity), (x.count - 1, -.infinity)] {
      let kept = x.pointer[index]
      x.pointer[index] = value
      right = right && !kernels.allFinite(x.pointer, x.count)
      x.pointer[index] = kept
    }
    note("reductions.allFinite", difference: right ? 0 : .infinity, term: 1, bound: 0)
  }
}
