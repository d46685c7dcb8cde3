import KernelInterface
import Kernels
import ReferenceKernels
import Testing

/// Inputs of one case, and what the oracle makes of them in Double.
private struct WeightedCase<Scalar: KernelScalar> {
  let rows: Int
  let columns: Int
  let x: TestMatrix<Scalar>
  let dy: TestMatrix<Scalar>
  /// One for each `rowsPerWeight` rows.
  let weights: [Double]
  let rowsPerWeight: Int
  let gamma: [Scalar]

  init(_ rows: Int, _ columns: Int, offset: Double = 0) {
    let rowsPerWeight = rows % 5 == 0 ? 5 : 1
    self.rowsPerWeight = rowsPerWeight
    (self.rows, self.columns) = (rows, columns)
    var numbers = TestNumbers(UInt64(rows * 4096 + columns))
    x = TestMatrix(rows, columns) { _, _ in Scalar(offset + numbers.normal()) }
    dy = TestMatrix(rows, columns, extra: 1) { _, _ in Scalar(numbers.normal()) }
    weights = (0..<rows / rowsPerWeight).map { $0 % 3 == 1 && rows > 1 ? 0 : 0.25 + Double(Float(numbers.uniform())) }
    gamma = (0..<columns).map { _ in Scalar(0.5 + numbers.uniform()) }
  }

  /// The weight of each row.
  var rowWeights: [Double] { (0..<rows).map { weights[$0 / rowsPerWeight] } }
}

/// Largest |a − b| relative to the largest |b| of the column and at least 0.001.
private func worst<Scalar: BinaryFloatingPoint>(
  _ a: TestMatrix<Scalar>, _ b: TestMatrix<Double>
) -> Double {
  var result = 0.0
  for column in 0..<b.view.columns {
    let largest = (0..<b.view.rows).map { abs(b[$0, column]) }.max() ?? 0
    for row in 0..<b.view.rows {
      let error = abs(Double(a[row, column]) - b[row, column]) / max(largest, 1e-3)
      result = error.isNaN ? .infinity : max(result, error)
    }
  }
  return result
}

private func weightedParity<Scalar: KernelScalar>(_: Scalar.Type, _ set: InstructionSet, _ rows: Int, _ columns: Int) {
  let table = Scalar.kernels(for: set).batchNormalization
  let data = WeightedCase<Scalar>(rows, columns, offset: 3)
  var mean = [Scalar](repeating: .nan, count: columns)
  var (low, variance, inverse, dGamma, dBeta) = (mean, mean, mean, mean, mean)
  table.weightedMoments(data.x.view, data.weights, data.rowsPerWeight, &mean, &low, &variance)
  table.inverseDeviation(variance, 1e-3, &inverse, columns)

  let (x64, dy64) = (data.x.inDouble, data.dy.inDouble)
  let (weights64, gamma64) = (data.rowWeights, data.gamma.map(Double.init))
  var mean64 = [Double](repeating: 0, count: columns)
  var (variance64, dGamma64, dBeta64) = (mean64, mean64, mean64)
  ReferenceKernels.weightedMoments(x64.view, weights: weights64, mean: &mean64, variance: &variance64)
  let inverse64 = variance64.map { 1 / ($0 + 1e-3).squareRoot() }
  let ulp = Double(Scalar.ulpOfOne)
  // The kernel sums in Double, as the oracle does: each rounds its n terms.
  let inDouble = 4 * Double(rows) * 0x1p-52
  for c in 0..<columns {
    let largest = (0..<rows).map { abs(x64[$0, c]) }.max() ?? 0
    #expect(abs(Double(mean[c]) + Double(low[c]) - mean64[c]) <= (ulp * ulp + inDouble) * largest)
    #expect(abs(Double(variance[c]) - variance64[c]) <= ulp * variance64[c] + inDouble * largest * largest)
  }
  // Sums of n terms by groups and blocks: some thirty roundings of terms of x̂ and dy, few of which cancel.
  let bound = 64 * ulp * Double(max(4, rows)).squareRoot() + 16 * inDouble
  let (dx, dx64) = (TestMatrix<Scalar>(rows, columns, extra: 5), TestMatrix<Double>(rows, columns))
  table.weightedBackward(
    data.dy.view, data.x.view, data.weights, data.rowsPerWeight, nil, mean, low, inverse, data.gamma, &dGamma, &dBeta,
    dx.view, false)
  ReferenceKernels.weightedBackward(
    dy64.view, x64.view, weights: weights64, mean: mean64, inverseDeviation: inverse64, gamma: gamma64,
    dGamma: &dGamma64, dBeta: &dBeta64, dx: dx64.view)
  #expect(dx.guardsIntact)
  for c in 0..<columns {
    // The terms of dx, x̂ at the size of what its mean rounds to: where one row alone counts, ε is all of the deviation.
    let reach = (0..<rows).map { abs(x64[$0, c]) * inverse64[c] }.max() ?? 0
    let gradients = (0..<rows).map { abs(dy64[$0, c]) }.max() ?? 0
    let scale = inverse64[c] * gamma64[c] * (gradients + abs(dBeta64[c]) + reach * abs(dGamma64[c]))
    for row in 0..<rows { #expect(abs(Double(dx[row, c]) - dx64[row, c]) <= bound * scale) }
    let terms = (0..<rows).map { abs(dy64[$0, c]) }.reduce(0, +)
    let peak = (0..<rows).map { abs(x64[$0, c] - mean64[c]) * inverse64[c] }.max() ?? 0
    #expect(abs(Double(dBeta[c]) - dBeta64[c]) <= bound * terms)
    #expect(abs(Double(dGamma[c]) - dGamma64[c]) <= bound * terms * max(1, peak))
  }

  // The same statistics taken as given.
  table.backwardGivenStatistics(
    data.dy.view, data.x.view, nil, mean, low, inverse, data.gamma, &dGamma, &dBeta, dx.view, false)
  ReferenceKernels.weightedBackward(
    dy64.view, x64.view, weights: nil, mean: mean64, inverseDeviation: inverse64, gamma: gamma64, dGamma: &dGamma64,
    dBeta: &dBeta64, dx: dx64.view)
  #expect(worst(dx, dx64) <= 8 * ulp + inDouble)
  #expect(dx.guardsIntact)
}

private func residualParity<Scalar: KernelScalar>(_: Scalar.Type, _ set: InstructionSet, _ rows: Int, _ columns: Int) {
  let table = Scalar.kernels(for: set).batchNormalization
  let data = WeightedCase<Scalar>(rows, columns)
  let residual = data.dy
  let stride = BitMatrixView.bytes(columns: columns)
  let bytes = UnsafeMutablePointer<UInt8>.allocate(capacity: rows * stride + 1)
  defer { bytes.deallocate() }
  bytes.initialize(repeating: 0x77, count: rows * stride + 1)
  let mask = BitMatrixView(base: bytes, stride: stride)
  let mean = (0..<columns).map { Scalar($0 % 5) / 8 }
  let low = (0..<columns).map { Scalar($0 % 3) * 0x1p-20 }
  let inverse = (0..<columns).map { 1 + Scalar($0 % 7) / 8 }
  for relu in [false, true] {
    let y = TestMatrix<Scalar>(rows, columns)
    table.normalizeAndAdd(
      data.x.view, mean, low, inverse, data.gamma, mean, residual.view, y.view, relu, relu ? mask : nil)
    #expect(y.guardsIntact && bytes[rows * stride] == 0x77)
    let kept = TestMatrix<Scalar>(rows, columns)
    if relu { table.keepMasked(data.dy.view, mask, kept.view) }
    #expect(kept.guardsIntact)
    for row in 0..<rows {
      for c in 0..<columns {
        let centred = Double(data.x[row, c]) - (Double(mean[c]) + Double(low[c]))
        let normalized = Double(data.gamma[c]) * Double(inverse[c]) * centred + Double(mean[c])
        let exact = normalized + Double(residual[row, c])
        let size = 4 * abs(centred) + 4 + abs(Double(residual[row, c]))
        #expect(abs(Double(y[row, c]) - (relu ? max(exact, 0) : exact)) <= 3 * Double(Scalar.ulpOfOne) * size)
        guard relu else { continue }
        #expect(mask[row, c] == (y[row, c] > 0))
        #expect(kept[row, c] == (mask[row, c] ? data.dy[row, c] : 0))
      }
    }
    let sum = TestMatrix<Scalar>(rows, columns)
    table.add(data.x.view, residual.view, sum.view, relu, relu ? mask : nil)
    #expect(sum.guardsIntact && bytes[rows * stride] == 0x77)
    for row in 0..<rows {
      for c in 0..<columns {
        let exact = data.x[row, c] + residual[row, c]
        #expect(sum[row, c] == (relu ? max(exact, 0) : exact))
        if relu { #expect(mask[row, c] == (exact > 0)) }
      }
    }
  }
}

@Suite struct BatchNormalizationVariantTests {
  @Test(arguments: supportedSets)
  func weightsAndGivenStatisticsMatchTheOracle(set: InstructionSet) {
    for rows in awkwardSizes {
      for columns in awkwardSizes where rows * columns <= 35_000 {
        weightedParity(Float.self, set, rows, columns)
        weightedParity(Double.self, set, rows, columns)
      }
    }
  }

  @Test(arguments: supportedSets)
  func residualsMatchTheOracle(set: InstructionSet) {
    for rows in [1, 7, 65, 130] {
      for columns in [1, 15, 16, 17, 33, 65] {
        residualParity(Float.self, set, rows, columns)
        residualParity(Double.self, set, rows, columns)
      }
    }
  }

  @Test(arguments: supportedSets)
  func rowsWithoutWeightMayHoldAnything(set: InstructionSet) {
    let table = Float.kernels(for: set).batchNormalization
    let data = WeightedCase<Float>(7, 19)
    var mean = [Float](repeating: .nan, count: 19)
    var (low, variance) = (mean, mean)
    table.weightedMoments(data.x.view, data.weights, data.rowsPerWeight, &mean, &low, &variance)
    let clean = (mean, low, variance)
    for column in 0..<19 { data.x[1, column] = .nan }
    table.weightedMoments(data.x.view, data.weights, data.rowsPerWeight, &mean, &low, &variance)
    #expect((mean, low, variance) == clean)
    table.weightedMoments(data.x.view, [Double](repeating: 0, count: 7), 1, &mean, &low, &variance)
    #expect(mean.allSatisfy { $0 == 0 } && variance.allSatisfy { $0 == 0 })
  }

  /// dx against central differences of Σ dy·y, in which the statistics follow x.
  @Test func weightedGradientMatchesFiniteDifferences() {
    let (rows, columns) = (9, 5)
    let table = Double.kernels(for: .portable).batchNormalization
    let data = WeightedCase<Double>(rows, columns, offset: 1)
    func forward(_ mean: inout [Double], _ low: inout [Double], _ inverse: inout [Double]) -> Double {
      var variance = [Double](repeating: 0, count: columns)
      let y = TestMatrix<Double>(rows, columns)
      table.weightedMoments(data.x.view, data.weights, data.rowsPerWeight, &mean, &low, &variance)
      table.inverseDeviation(variance, 1e-3, &inverse, columns)
      table.normalize(data.x.view, mean, low, inverse, data.gamma, nil, y.view, false, nil, false)
      var sum = 0.0
      for row in 0..<rows { for c in 0..<columns { sum += y[row, c] * data.dy[row, c] } }
      return sum
    }
    var mean = [Double](repeating: 0, count: columns)
    var (low, inverse, dGamma, dBeta) = (mean, mean, mean, mean)
    _ = forward(&mean, &low, &inverse)
    let dx = TestMatrix<Double>(rows, columns)
    table.weightedBackward(
      data.dy.view, data.x.view, data.weights, data.rowsPerWeight, nil, mean, low, inverse, data.gamma, &dGamma, &dBeta,
      dx.view, false)
    let step = 1e-5
    for row in 0..<rows {
      for c in 0..<columns {
        let value = data.x[row, c]
        data.x[row, c] = value + step
        let above = forward(&mean, &low, &inverse)
        data.x[row, c] = value - step
        let below = forward(&mean, &low, &inverse)
        data.x[row, c] = value
        #expect(abs((above - below) / (2 * step) - dx[row, c]) <= 1e-7)
      }
    }
  }
}
