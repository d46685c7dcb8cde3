import KernelInterface
import Kernels
import ReferenceKernels

extension KernelSelfTest {
  mutating func testBatchNormalization() {
    let kernels = table.batchNormalization
    let x = ScratchMatrix<Scalar>(normal: rows, columns, seed: 10)
    let x64 = x.converted(to: Double.self)
    let (mean64, variance64) = (ScratchMatrix<Double>(1, columns), ScratchMatrix<Double>(1, columns))
    ReferenceKernels.moments(x64.view, mean: mean64.pointer, variance: variance64.pointer)

    // Moments. A sum of squares rounds at most 20 times, the merging of blocks multiplies that by 9 at most.
    let (mean, low, variance) = (vector(), vector(), vector())
    let workspace = ScratchMatrix<Double>(6, columns)
    kernels.moments(x.view, mean.pointer, low.pointer, variance.pointer, workspace.pointer)
    let whole = ScratchMatrix<Double>(1, columns) { Double(mean[0, $1]) + Double(low[0, $1]) }
    note(
      "batchNormalization.moments (mean)", difference: whole.largestDifference(from: mean64), term: x.largest,
      bound: 10 + oracleUnits(rows))
    note(
      "batchNormalization.moments (variance)", variance, variance64, term: variance64.largest,
      bound: 90 + oracleUnits(9 * rows))

    let inverse = vector()
    let exactInverse = ScratchMatrix<Double>(1, columns) { 1 / (Double(variance[0, $1]) + 1e-3).squareRoot() }
    kernels.inverseDeviation(variance.pointer, 1e-3, inverse.pointer, columns)
    noteRelative("batchNormalization.inverseDeviation", inverse, exactInverse, bound: 3)

    // Normalization and gradient from what the kernels above left, so that each is judged alone.
    let gamma = ScratchMatrix<Scalar>(normal: 1, columns, seed: 11)
    let beta = ScratchMatrix<Scalar>(normal: 1, columns, seed: 12)
    let gamma64 = gamma.converted(to: Double.self)
    let inverse64 = inverse.converted(to: Double.self)
    let centred = x.largest + whole.largest
    let maskStride = BitMatrixView.bytes(columns: columns)
    let mask = BitMatrixView(base: ScratchMemory.allocate(rows * maskStride), stride: maskStride)
    for relu in [false, true] {
      let y = ScratchMatrix<Scalar>(rows, columns)
      let exact = ScratchMatrix<Double>(rows, columns)
      kernels.normalize(
        x.view, mean.pointer, low.pointer, inverse.pointer, gamma.pointer, beta.pointer, y.view, relu,
        relu ? mask : nil, false)
      ReferenceKernels.normalize(
        x64.view, mean: whole.pointer, inverseDeviation: inverse64.pointer, gamma: gamma64.pointer,
        beta: beta.converted(to: Double.self).pointer, into: exact.view, relu: relu)
      let term = gamma.largest * inverse.largest * centred + beta.largest
      note("batchNormalization.normalize\(relu ? " relu" : "")", y, exact, term: term, bound: 4)
      testBackward(x, y: relu ? y : nil, relu ? mask : nil, gamma, mean, low, whole, inverse)
    }

    let moving = ScratchMatrix<Scalar>(normal: 1, columns, seed: 13)
    let exact = ScratchMatrix<Double>(1, columns) { 0.99 * Double(moving[0, $1]) + 0.01 * Double(mean[0, $1]) }
    let term = moving.largest + mean.largest
    kernels.updateMovingAverage(moving.pointer, mean.pointer, 0.99, columns)
    note("batchNormalization.updateMovingAverage", moving, exact, term: term, bound: 3)
  }

  private mutating func testBackward(
    _ x: ScratchMatrix<Scalar>, y: ScratchMatrix<Scalar>?, _ mask: BitMatrixView?,
    _ gamma: ScratchMatrix<Scalar>, _ mean: ScratchMatrix<Scalar>, _ low: ScratchMatrix<Scalar>,
    _ whole: ScratchMatrix<Double>,
    _ inverse: ScratchMatrix<Scalar>
  ) {
    let dy = ScratchMatrix<Scalar>(normal: rows, columns, seed: 14)
    let (dGamma, dBeta, dx) = (vector(), vector(), ScratchMatrix<Scalar>(rows, columns))
    table.batchNormalization.backward(
      dy.view, x.view, mask, mean.pointer, low.pointer, inverse.pointer, gamma.pointer, dGamma.pointer,
      dBeta.pointer, dx.view, false)
    let (exactGamma, exactBeta) = (ScratchMatrix<Double>(1, columns), ScratchMatrix<Double>(1, columns))
    let exact = ScratchMatrix<Double>(rows, columns)
    ReferenceKernels.batchNormalizationBackward(
      dy.converted(to: Double.self).view, x.converted(to: Double.self).view,
      output: y?.converted(to: Double.self).view, mean: whole.pointer,
      inverseDeviation: inverse.converted(to: Double.self).pointer, gamma: gamma.converted(to: Double.self).pointer,
      dGamma: exactGamma.pointer, dBeta: exactBeta.pointer, dx: exact.view, maskInput: false)

    // x̂ rounds three times and each sum at most 21; terms are |dy| and |dy·x̂| summed over the rows.
    let peak = (x.largest + whole.largest) * inverse.largest
    let name = "batchNormalization.backward\(y == nil ? "" : " relu")"
    let sum = Double(rows) * dy.largest
    let units = 14 + oracleUnits(rows)
    note("\(name) (dGamma)", dGamma, exactGamma, term: sum * peak, bound: units)
    note("\(name) (dBeta)", dBeta, exactBeta, term: sum, bound: units)
    let term = gamma.largest * inverse.largest * dy.largest * (2 + peak * peak)
    note("\(name) (dx)", dx, exact, term: term, bound: units + 6)
  }

  private func vector() -> ScratchMatrix<Scalar> { ScratchMatrix(1, columns) }
}
