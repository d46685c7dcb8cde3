import Foundation
import KernelInterface
import Kernels
import ReferenceKernels
import Testing

/// Everything one call of the forward and backward kernels gives.
private struct Run<Scalar: KernelScalar> {
  let mean: [Scalar]
  let meanLow: [Scalar]
  let variance: [Scalar]
  let inverse: [Scalar]
  let y: TestMatrix<Scalar>
  let mask: TestMask
  let dGamma: [Scalar]
  let dBeta: [Scalar]
  let dx: TestMatrix<Scalar>

  init(
    _ set: InstructionSet, _ x: MatrixView<Scalar>, _ dy: MatrixView<Scalar>, gamma: [Scalar]?, beta: [Scalar]?,
    relu: Bool, maskInput: Bool
  ) {
    let table = Scalar.kernels(for: set).batchNormalization
    let columns = x.columns
    var mean = [Scalar](repeating: .nan, count: columns)
    var meanLow = mean
    var variance = mean
    var inverse = mean
    var dGamma = mean
    var dBeta = mean
    var workspace = [Double](repeating: .nan, count: 6 * columns)
    let y = TestMatrix<Scalar>(x.rows, columns)
    let mask = TestMask(x.rows, columns)
    let dx = TestMatrix<Scalar>(x.rows, columns, extra: 5)
    table.moments(x, &mean, &meanLow, &variance, &workspace)
    table.inverseDeviation(variance, 1e-3, &inverse, columns)
    Self.withOptional(gamma) { gamma in
      Self.withOptional(beta) { beta in
        table.normalize(x, mean, meanLow, inverse, gamma, beta, y.view, relu, relu ? mask.view : nil, false)
      }
      table.backward(
        dy, x, relu ? mask.view : nil, mean, meanLow, inverse, gamma, &dGamma, &dBeta, dx.view, maskInput)
    }
    (self.mean, self.meanLow, self.variance, self.inverse) = (mean, meanLow, variance, inverse)
    (self.dGamma, self.dBeta, self.y, self.mask, self.dx) = (dGamma, dBeta, y, mask, dx)
  }

  private static func withOptional(_ values: [Scalar]?, _ body: (UnsafePointer<Scalar>?) -> Void) {
    if let values { values.withUnsafeBufferPointer { body($0.baseAddress) } } else { body(nil) }
  }
}

/// Bits of a matrix, with guard bytes between the rows.
private final class TestMask {
  let view: BitMatrixView
  private let rows: Int
  private let bytes: Int

  init(_ rows: Int, _ columns: Int) {
    self.rows = rows
    bytes = BitMatrixView.bytes(columns: columns)
    let base = UnsafeMutablePointer<UInt8>.allocate(capacity: rows * (bytes + 3))
    base.initialize(repeating: 0x5A, count: rows * (bytes + 3))
    view = BitMatrixView(base: base, stride: bytes + 3)
  }

  deinit { view.base.deallocate() }

  var guardsIntact: Bool {
    (0..<rows).allSatisfy { row in (bytes..<bytes + 3).allSatisfy { view.base[row * view.stride + $0] == 0x5A } }
  }
}

private func column<Scalar>(_ matrix: TestMatrix<Scalar>, _ index: Int) -> [Double] {
  (0..<matrix.view.rows).map { Double(matrix[$0, index]) }
}

private func parity<Scalar: KernelScalar>(_ type: Scalar.Type, _ set: InstructionSet, rows: Int, columns: Int) {
  var numbers = TestNumbers(UInt64(rows * 4096 + columns))
  let x = TestMatrix<Scalar>(rows, columns) { _, column in Scalar(numbers.normal() * 2 + Double(column % 5)) }
  let dy = TestMatrix<Scalar>(rows, columns, extra: 1) { _, _ in Scalar(numbers.normal()) }
  let gamma = (0..<columns).map { _ in Scalar(0.5 + numbers.uniform()) }
  let beta = (0..<columns).map { _ in Scalar(numbers.normal()) }
  for variant in 0..<6 {
    let relu = variant % 2 == 1
    let maskInput = variant == 2
    let affine = variant < 4
    let run = Run(
      set, x.view, dy.view, gamma: affine ? gamma : nil, beta: affine ? beta : nil, relu: relu, maskInput: maskInput)
    #expect(run.y.guardsIntact && run.dx.guardsIntact && x.guardsIntact && dy.guardsIntact && run.mask.guardsIntact)
    if relu {
      for row in 0..<rows {
        for c in 0..<columns { #expect(run.mask.view[row, c] == (run.y[row, c] > 0)) }
      }
    }

    // The oracle, in Double, from the same inputs and the same mask.
    let x64 = x.inDouble
    let dy64 = dy.inDouble
    let y64 = TestMatrix<Double>(rows, columns)
    let dx64 = TestMatrix<Double>(rows, columns)
    let mask = run.y.inDouble
    var mean = [Double](repeating: 0, count: columns)
    var variance = mean
    var dGamma = mean
    var dBeta = mean
    ReferenceKernels.moments(x64.view, mean: &mean, variance: &variance)
    let inverse = variance.map { 1 / ($0 + 1e-3).squareRoot() }
    let gamma64 = gamma.map { affine ? Double($0) : 1 }
    let beta64 = beta.map { affine ? Double($0) : 0 }
    ReferenceKernels.normalize(
      x64.view, mean: mean, inverseDeviation: inverse, gamma: gamma64, beta: beta64, into: y64.view, relu: relu)
    ReferenceKernels.batchNormalizationBackward(
      dy64.view, x64.view, output: relu ? mask.view : nil, mean: mean, inverseDeviation: inverse, gamma: gamma64,
      dGamma: &dGamma, dBeta: &dBeta, dx: dx64.view, maskInput: maskInput)

    // Every sum is one of fours of rows (backward: of pairs), 16 of those in sequence (two times), up to three rows more,
    // and Double beyond: at most r = 19 roundings of u = ulp/2 relative to Σ|terms|, with up to four more in each term; the
    // oracle's own sums add n·u in Double, which counts where Scalar is Double too.
    let u = Double(Scalar.ulpOfOne) / 2
    let r = 23 * u + Double(rows) * 0x1p-53
    for c in 0..<columns {
      let values = column(x, c)
      let spread = values.map { abs($0 - mean[c]) }.reduce(0, +)
      let most = values.map { abs($0 - mean[c]) }.max() ?? 0
      let size = values.map(abs).max() ?? 0
      let meanBound = r * spread / Double(rows) + Double(rows) * 0x1p-53 * size + u * u * size
      #expect(abs(Double(run.mean[c]) + Double(run.meanLow[c]) - mean[c]) <= meanBound)
      // The block's cancellation costs at most a factor of 1 + 64/8.
      #expect(abs(Double(run.variance[c]) - variance[c]) <= 9 * r * variance[c] + u * meanBound)
      let varianceError = 9 * r
      let outputBound =
        gamma64[c] * inverse[c] * (meanBound + most * (varianceError + 4 * u)) + 2 * u * abs(beta64[c]) + 2 * u * most
      for row in 0..<rows { #expect(abs(Double(run.y[row, c]) - y64[row, c]) <= outputBound) }
      // Terms are dy·x̂ with |x̂| ≤ most·inverse; sums of their absolute values bound the roundings.
      let gradients = column(dy, c).map(abs)
      let total = gradients.reduce(0, +)
      let peak = most * inverse[c]
      let scaled = r + varianceError
      #expect(abs(Double(run.dBeta[c]) - dBeta[c]) <= r * total)
      #expect(abs(Double(run.dGamma[c]) - dGamma[c]) <= total * (peak * scaled + meanBound * inverse[c]))
      let n = Double(rows)
      let term = (gradients.max() ?? 0) + total / n * (1 + peak * peak)
      let dxBound = 4 * gamma64[c] * inverse[c] * term * (scaled + meanBound * inverse[c] * (1 + peak))
      for row in 0..<rows { #expect(abs(Double(run.dx[row, c]) - dx64[row, c]) <= dxBound) }
    }
  }
}

private func slicesGiveTheSameBits<Scalar: KernelScalar>(
  _ type: Scalar.Type, _ set: InstructionSet, rows: Int, columns: Int = 83, extra: Int = 3,
  slices: [Range<Int>] = [0..<1, 1..<16, 16..<49, 3..<80, 49..<83, 82..<83]
) {
  var numbers = TestNumbers(UInt64(rows))
  let x = TestMatrix<Scalar>(rows, columns, extra: extra) { _, _ in Scalar(numbers.normal()) }
  let dy = TestMatrix<Scalar>(rows, columns, extra: extra) { _, _ in Scalar(numbers.normal()) }
  let gamma = (0..<columns).map { _ in Scalar(numbers.uniform() + 0.5) }
  let beta = (0..<columns).map { _ in Scalar(numbers.normal()) }
  let whole = Run(set, x.view, dy.view, gamma: gamma, beta: beta, relu: true, maskInput: true)
  for range in slices {
    let slice = Run(
      set, x.view.columns(range), dy.view.columns(range), gamma: Array(gamma[range]), beta: Array(beta[range]),
      relu: true, maskInput: true)
    #expect(slice.mean == Array(whole.mean[range]))
    #expect(slice.meanLow == Array(whole.meanLow[range]))
    #expect(slice.variance == Array(whole.variance[range]))
    #expect(slice.inverse == Array(whole.inverse[range]))
    #expect(slice.dGamma == Array(whole.dGamma[range]))
    #expect(slice.dBeta == Array(whole.dBeta[range]))
    for row in 0..<rows {
      for column in range {
        #expect(slice.y[row, column - range.lowerBound] == whole.y[row, column])
        #expect(slice.dx[row, column - range.lowerBound] == whole.dx[row, column])
      }
    }
  }
}

/// Rows shared out by panels give what whole columns do; stores past the caches give what other stores do.
private func panelsGiveTheSameBits<Scalar: KernelScalar>(_ type: Scalar.Type, _ set: InstructionSet, rows: Int) {
  let (columns, alignedStride) = (37, 48)
  var numbers = TestNumbers(UInt64(rows))
  let x = TestMatrix<Scalar>(rows, columns) { _, _ in Scalar(100 + numbers.normal()) }
  let dy = TestMatrix<Scalar>(rows, columns) { _, _ in Scalar(numbers.normal()) }
  let gamma = (0..<columns).map { _ in Scalar(numbers.uniform() + 0.5) }
  let beta = (0..<columns).map { _ in Scalar(numbers.normal()) }
  let whole = Run(set, x.view, dy.view, gamma: gamma, beta: beta, relu: true, maskInput: false)

  let table = Scalar.kernels(for: set).batchNormalization
  let panelRows = NormalizationPanels.rows(of: rows)
  let panels = (0..<NormalizationPanels.count(of: rows)).map { $0 * panelRows..<min(rows, ($0 + 1) * panelRows) }
  #expect(panels.count <= 16 && panels.last?.upperBound == rows)
  let sums = TestMatrix<Double>(3 * panels.count, columns)
  let scratch = TestMatrix<Scalar>(3, columns, extra: 0)
  for index in panels.indices.reversed() {
    table.partialMoments(x.view.rows(panels[index]), sums.view.rows(3 * index..<3 * index + 3), scratch.pointer)
  }
  var mean = [Scalar](repeating: .nan, count: columns)
  var (low, variance, inverse, dGamma, dBeta) = (mean, mean, mean, mean, mean)
  // A team's members merge columns apart, and so does this.
  let split = columns / 2 / 16 * 16
  for range in [0..<split, split..<columns] {
    mean.withUnsafeMutableBufferPointer { mean in
      low.withUnsafeMutableBufferPointer { low in
        variance.withUnsafeMutableBufferPointer { variance in
          table.mergeMoments(
            sums.view.columns(range), rows, mean.baseAddress! + range.lowerBound, low.baseAddress! + range.lowerBound,
            variance.baseAddress! + range.lowerBound)
        }
      }
    }
  }
  #expect(mean == whole.mean && low == whole.meanLow && variance == whole.variance)
  table.inverseDeviation(variance, 1e-3, &inverse, columns)

  let memory = UnsafeMutableRawPointer.allocate(
    byteCount: 2 * rows * alignedStride * MemoryLayout<Scalar>.stride, alignment: 64)
  defer { memory.deallocate() }
  let base = memory.bindMemory(to: Scalar.self, capacity: 2 * rows * alignedStride)
  base.initialize(repeating: .nan, count: 2 * rows * alignedStride)
  let y = MatrixView(base: base, rows: rows, columns: columns, stride: alignedStride)
  let dx = MatrixView(base: base + rows * alignedStride, rows: rows, columns: columns, stride: alignedStride)
  let mask = TestMask(rows, columns)
  let lanes = 64 / MemoryLayout<Scalar>.stride
  let coefficients = TestMatrix<Scalar>(1, (columns + lanes - 1) / lanes * lanes * 4)
  for panel in panels {
    table.normalize(
      x.view.rows(panel), mean, low, inverse, gamma, beta, y.rows(panel), true, mask.view.rows(from: panel.lowerBound),
      true)
  }
  for index in panels.indices {
    table.partialGradients(
      dy.view.rows(panels[index]), x.view.rows(panels[index]), mask.view.rows(from: panels[index].lowerBound), mean,
      sums.view.rows(2 * index..<2 * index + 2))
  }
  table.mergeGradients(
    sums.view.rows(0..<2 * panels.count), rows, mean, low, inverse, gamma, &dGamma, &dBeta, coefficients.pointer)
  for panel in panels {
    table.propagate(
      dy.view.rows(panel), x.view.rows(panel), mask.view.rows(from: panel.lowerBound), coefficients.pointer,
      dx.rows(panel), false, true)
  }
  #expect(dGamma == whole.dGamma && dBeta == whole.dBeta)
  #expect(sums.guardsIntact && coefficients.guardsIntact && mask.guardsIntact)
  for row in 0..<rows {
    for column in 0..<columns {
      #expect(y.base[row * alignedStride + column] == whole.y[row, column])
      #expect(dx.base[row * alignedStride + column] == whole.dx[row, column])
      #expect(mask.view[row, column] == whole.mask.view[row, column])
    }
    #expect((columns..<alignedStride).allSatisfy { base[row * alignedStride + $0].isNaN })
  }
}

@Suite struct BatchNormalizationKernelTests {
  @Test(arguments: supportedSets)
  func sharedRowsGiveTheSameBits(set: InstructionSet) {
    for rows in [1, 33, 64, 65, 200, 1024, 1025, 3001] {
      panelsGiveTheSameBits(Float.self, set, rows: rows)
      panelsGiveTheSameBits(Double.self, set, rows: rows)
    }
  }

  @Test(arguments: supportedSets)
  func matchesTheOracle(set: InstructionSet) {
    for rows in awkwardSizes {
      for columns in awkwardSizes where rows * columns <= 70_000 {
        parity(Float.self, set, rows: rows, columns: columns)
        parity(Double.self, set, rows: rows, columns: columns)
      }
    }
  }

  @Test(arguments: supportedSets)
  func bitsDependOnTheColumnAlone(set: InstructionSet) {
    for rows in [1, 7, 33, 130] {
      slicesGiveTheSameBits(Float.self, set, rows: rows)
      slicesGiveTheSameBits(Double.self, set, rows: rows)
    }
    // Long rows are taken in another order, very long ones in chunks.
    slicesGiveTheSameBits(Float.self, set, rows: 77, columns: 1100, slices: [0..<40, 1000..<1100])
    slicesGiveTheSameBits(Double.self, set, rows: 77, columns: 1100, slices: [0..<40, 500..<530, 1000..<1100])
    slicesGiveTheSameBits(Float.self, set, rows: 1100, columns: 260, slices: [0..<33, 230..<260])
    // One right behind the other, rows from memory are asked for early.
    slicesGiveTheSameBits(Float.self, set, rows: 1100, columns: 260, extra: 0, slices: [0..<33, 230..<260])
    slicesGiveTheSameBits(Float.self, set, rows: 1100, columns: 140, extra: 0, slices: [0..<33, 120..<140])
    slicesGiveTheSameBits(Double.self, set, rows: 1100, columns: 140, extra: 0, slices: [0..<33, 120..<140])
  }

  @Test(arguments: supportedSets)
  func normalizationStaysExactAtLargeOffsets(set: InstructionSet) {
    for offset in [0.0, 1e2, 1e3, 1e4, 1e5, 1e6] {
      var numbers = TestNumbers(UInt64(offset) + 1)
      let x = TestMatrix<Float>(4096, 64, extra: 0) { _, _ in Float(offset + numbers.normal()) }
      let run = Run(set, x.view, x.view, gamma: nil, beta: nil, relu: false, maskInput: false)
      let x64 = x.inDouble
      let y64 = TestMatrix<Double>(4096, 64)
      var mean = [Double](repeating: 0, count: 64)
      var variance = mean
      ReferenceKernels.moments(x64.view, mean: &mean, variance: &variance)
      let inverse = variance.map { 1 / ($0 + 1e-3).squareRoot() }
      ReferenceKernels.normalize(
        x64.view, mean: mean, inverseDeviation: inverse, gamma: nil, beta: nil, into: y64.view, relu: false)
      var worst = 0.0
      for row in 0..<4096 {
        for column in 0..<64 { worst = max(worst, abs(Double(run.y[row, column]) - y64[row, column])) }
      }
      let ulps = zip(run.variance, variance).map { ulpError($0, $1) }.max() ?? .infinity
      print("offset \(offset) \(set): output error \(worst), variance \(ulps) ulp")
      #expect(worst <= 2e-6)
      #expect(ulps <= 4)
    }
  }

  @Test(arguments: supportedSets)
  func constantColumnsHaveNoVariance(set: InstructionSet) {
    for value in [Float(0.1), -3.3e7, 0x1p-133, 1e30] {
      let x = TestMatrix<Float>(1000, 19) { _, _ in value }
      let run = Run(set, x.view, x.view, gamma: nil, beta: nil, relu: false, maskInput: false)
      #expect(run.mean.allSatisfy { $0 == value } && run.meanLow.allSatisfy { $0 == 0 })
      #expect(run.variance.allSatisfy { $0 == 0 })
      #expect(run.y[7, 18] == 0)
    }
  }

  @Test(arguments: supportedSets)
  func nanStaysInItsColumn(set: InstructionSet) {
    for row in [0, 5, 64, 99] {
      for relu in [false, true] {
        var numbers = TestNumbers(9)
        let x = TestMatrix<Float>(100, 21) { _, _ in Float(numbers.normal()) }
        x[row, 20] = .nan
        let dy = TestMatrix<Float>(100, 21) { _, _ in 1 }
        let run = Run(set, x.view, dy.view, gamma: nil, beta: nil, relu: relu, maskInput: false)
        #expect(run.mean[20].isNaN && run.variance[20].isNaN && run.y[50, 20].isNaN && run.dx[50, 20].isNaN)
        #expect(run.mean[..<20].allSatisfy(\.isFinite) && run.dx[50, 19].isFinite && run.y[50, 19].isFinite)
      }
    }
  }

  @Test(arguments: supportedSets)
  func worksInPlace(set: InstructionSet) {
    let table = Float.kernels(for: set).batchNormalization
    var numbers = TestNumbers(3)
    let x = TestMatrix<Float>(33, 37) { _, _ in Float(numbers.normal()) }
    let dy = TestMatrix<Float>(33, 37) { _, _ in Float(numbers.normal()) }
    let run = Run(set, x.view, dy.view, gamma: nil, beta: nil, relu: false, maskInput: false)
    var dGamma = run.dGamma
    var dBeta = run.dBeta
    table.backward(dy.view, x.view, nil, run.mean, run.meanLow, run.inverse, nil, &dGamma, &dBeta, dy.view, false)
    table.normalize(x.view, run.mean, run.meanLow, run.inverse, nil, nil, x.view, false, nil, false)
    for row in 0..<33 {
      for column in 0..<37 {
        #expect(dy[row, column] == run.dx[row, column] && x[row, column] == run.y[row, column])
      }
    }
    #expect(dy.guardsIntact && x.guardsIntact)
  }

  @Test(arguments: supportedSets)
  func movingAverageFollowsKerasRule(set: InstructionSet) {
    for count in awkwardSizes {
      var numbers = TestNumbers(UInt64(count))
      let old = (0..<count).map { _ in Float(numbers.normal()) }
      let batch = (0..<count).map { _ in Float(numbers.normal()) }
      var moving = old
      Float.kernels(for: set).batchNormalization.updateMovingAverage(&moving, batch, 0.99, count)
      for i in 0..<count {
        let exact = 0.99 * Double(old[i]) + 0.01 * Double(batch[i])
        // Two rounded factors, two products and a sum.
        #expect(abs(Double(moving[i]) - exact) <= 0x1p-23 * (abs(Double(old[i])) + 0.01 * abs(Double(batch[i]))))
      }
    }
  }

  @Test(arguments: supportedSets)
  func everyKernelIsThere(set: InstructionSet) {
    for child in Mirror(reflecting: Float.kernels(for: set).batchNormalization).children {
      #expect("\(child.value)" != "nil", "\(child.label ?? "") has no Float kernel")
    }
    for child in Mirror(reflecting: Double.kernels(for: set).batchNormalization).children {
      #expect("\(child.value)" != "nil", "\(child.label ?? "") has no Double kernel")
    }
  }
}
