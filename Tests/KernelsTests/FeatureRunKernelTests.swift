import KernelInterface
import Kernels
import ReferenceKernels
import Testing

/// Inputs of one case.
private struct RunCase<Scalar: KernelScalar> {
  let inner: Int
  let x: TestMatrix<Scalar>
  let dy: TestMatrix<Scalar>
  let gamma: [Scalar]
  let beta: [Scalar]
  let rowsPerWeight: Int
  let weights: [Double]

  init(_ rows: Int, _ features: Int, _ inner: Int, offset: Double = 0) {
    self.inner = inner
    var numbers = TestNumbers(UInt64(rows * 65_536 + features * 4096 + inner))
    x = TestMatrix(rows, features * inner) { _, column in
      Scalar(offset + Double(column / inner % 3) + numbers.normal())
    }
    dy = TestMatrix(rows, features * inner, extra: 1) { _, _ in Scalar(numbers.normal()) }
    gamma = (0..<features).map { _ in Scalar(0.5 + numbers.uniform()) }
    beta = (0..<features).map { _ in Scalar(numbers.normal()) }
    let rowsPerWeight = rows % 5 == 0 ? 5 : 1
    self.rowsPerWeight = rowsPerWeight
    weights = (0..<rows / rowsPerWeight).map { $0 % 3 == 1 ? 0 : 0.25 + numbers.uniform() }
  }
}

/// How the statistics come about.
private enum Source: CaseIterable {
  case batch, weighted, given
}

/// What the kernels make of a case.
private struct RunResult<Scalar: KernelScalar> {
  var mean, low, variance, inverse, dGamma, dBeta: [Scalar]
  let y, dx: TestMatrix<Scalar>

  init(_ set: InstructionSet, _ data: RunCase<Scalar>, _ source: Source, affine: Bool = true) {
    let table = Scalar.kernels(for: set)
    let (x, inner) = (data.x.view, data.inner)
    let features = x.columns / inner
    var mean = [Scalar](repeating: .nan, count: features)
    var (low, variance, inverse, dGamma, dBeta) = (mean, mean, mean, mean, mean)
    let (y, dx) = (TestMatrix<Scalar>(x.rows, x.columns), TestMatrix<Scalar>(x.rows, x.columns, extra: 5))
    data.weights.withUnsafeBufferPointer { all in
      let weights = source == .weighted ? all.baseAddress : nil
      table.featureRuns.moments(x, inner, weights, data.rowsPerWeight, &mean, &low, &variance)
      table.batchNormalization.inverseDeviation(variance, 1e-3, &inverse, features)
      data.gamma.withUnsafeBufferPointer { gamma in
        let gamma = affine ? gamma.baseAddress : nil
        if affine {
          table.featureRuns.normalize(x, inner, mean, low, inverse, gamma, data.beta, y.view)
        } else {
          table.featureRuns.normalize(x, inner, mean, low, inverse, nil, nil, y.view)
        }
        table.featureRuns.backward(
          data.dy.view, x, inner, source == .given, weights, data.rowsPerWeight, mean, low, inverse, gamma, &dGamma,
          &dBeta, dx.view)
      }
    }
    (self.mean, self.low, self.variance, self.inverse) = (mean, low, variance, inverse)
    (self.dGamma, self.dBeta, self.y, self.dx) = (dGamma, dBeta, y, dx)
  }
}

private func parity<Scalar: KernelScalar>(
  _: Scalar.Type, _ set: InstructionSet, _ rows: Int, _ features: Int, _ inner: Int, _ source: Source, affine: Bool
) {
  let data = RunCase<Scalar>(rows, features, inner)
  let run = RunResult(set, data, source, affine: affine)
  #expect(run.y.guardsIntact && run.dx.guardsIntact && data.x.guardsIntact && data.dy.guardsIntact)

  let (x64, dy64) = (data.x.inDouble, data.dy.inDouble)
  let gamma64 = data.gamma.map { affine ? Double($0) : 1 }
  let beta64 = data.beta.map { affine ? Double($0) : 0 }
  var mean = [Double](repeating: 0, count: features)
  var (variance, dGamma, dBeta) = (mean, mean, mean)
  let (y64, dx64) = (TestMatrix<Double>(rows, features * inner), TestMatrix<Double>(rows, features * inner))
  data.weights.withUnsafeBufferPointer { all in
    let weights = source == .weighted ? all.baseAddress : nil
    ReferenceKernels.momentsOfRuns(
      x64.view, inner: inner, weights: weights, rowsPerWeight: data.rowsPerWeight, mean: &mean, variance: &variance)
    let inverse = variance.map { 1 / ($0 + 1e-3).squareRoot() }
    ReferenceKernels.normalizeRuns(
      x64.view, inner: inner, mean: mean, inverseDeviation: inverse, gamma: gamma64, beta: beta64, into: y64.view)
    ReferenceKernels.backwardOfRuns(
      dy64.view, x64.view, inner: inner, givenStatistics: source == .given, weights: weights,
      rowsPerWeight: data.rowsPerWeight, mean: mean, inverseDeviation: inverse, gamma: gamma64, dGamma: &dGamma,
      dBeta: &dBeta, dx: dx64.view)
  }

  // A lane sums at most 32 terms in each of two parts, or 16 in each of four, which take two roundings more; lanes, blocks
  // and runs are summed in Double, as the oracle sums everything: u a rounding, n·2⁻⁵³ the oracle's.
  let u = Double(Scalar.ulpOfOne) / 2
  let n = Double(rows * inner)
  let r = 36 * u + n * 0x1p-53
  let inverse = variance.map { 1 / ($0 + 1e-3).squareRoot() }
  for feature in 0..<features {
    let columns = feature * inner..<(feature + 1) * inner
    func all(_ body: (Int, Int) -> Double) -> [Double] {
      (0..<rows).flatMap { row in columns.map { body(row, $0) } }
    }
    let values = all { x64[$0, $1] }
    let most = values.map { abs($0 - mean[feature]) }.max() ?? 0
    let size = values.map(abs).max() ?? 0
    let meanBound = r * most + n * 0x1p-53 * size + u * u * size
    let meanError = abs(Double(run.mean[feature]) + Double(run.low[feature]) - mean[feature])
    #expect(meanError <= meanBound)
    // The shift's cancellation costs a factor of at most 1 + 64/4; a block whose shift is off by the mean's error adds that.
    let varianceBound = 17 * r * variance[feature] + meanBound * meanBound + 0x1p-50 * size * size
    #expect(abs(Double(run.variance[feature]) - variance[feature]) <= varianceBound)
    let relative = varianceBound * inverse[feature] * inverse[feature] + 4 * u
    let gamma = gamma64[feature] * inverse[feature]
    let outputBound = gamma * (meanBound + most * relative) + 2 * u * (abs(beta64[feature]) + gamma * most)
    let gradients = all { dy64[$0, $1] }.map(abs)
    let total = gradients.reduce(0, +)
    let peak = most * inverse[feature]
    #expect(abs(Double(run.dBeta[feature]) - dBeta[feature]) <= r * total)
    let gammaBound = total * (peak * (r + relative) + (meanBound + u * size) * inverse[feature])
    #expect(abs(Double(run.dGamma[feature]) - dGamma[feature]) <= gammaBound)
    // The largest share of a value in the statistics: all of it where one row alone counts.
    let weights = source == .weighted ? data.weights : data.weights.map { _ in 1 }
    let whole = weights.reduce(0, +) * Double(data.rowsPerWeight * inner)
    let share = source == .given || whole == 0 ? 0 : (weights.max() ?? 0) / whole
    let reach = max(peak, values.map { abs($0 - mean[feature]) * inverse[feature] }.max() ?? 0)
    let term = (gradients.max() ?? 0) + share * (total + reach * (abs(dGamma[feature]) + gammaBound / (r + relative)))
    let gradientBound = 4 * gamma * term * (r + relative + (meanBound + u * size) * inverse[feature])
    var (outputError, gradientError) = (0.0, 0.0)
    for row in 0..<rows {
      for c in columns {
        let difference = abs(Double(run.y[row, c]) - y64[row, c])
        outputError = difference.isNaN ? .infinity : max(outputError, difference)
        let ofGradient = abs(Double(run.dx[row, c]) - dx64[row, c])
        gradientError = ofGradient.isNaN ? .infinity : max(gradientError, ofGradient)
      }
    }
    #expect(outputError <= outputBound, "y of (\(rows), \(features), \(inner)) \(source), feature \(feature)")
    #expect(gradientError <= gradientBound, "dx of (\(rows), \(features), \(inner)) \(source), feature \(feature)")
  }
}

private func offsets<Scalar: KernelScalar>(
  _: Scalar.Type, _ set: InstructionSet, _ rows: Int, _ inner: Int, _ offset: Double
) {
  let features = 4
  let data = RunCase<Scalar>(rows, features, inner, offset: offset)
  let run = RunResult(set, data, .batch, affine: false)
  let x64 = data.x.inDouble
  var mean = [Double](repeating: 0, count: features)
  var variance = mean
  ReferenceKernels.momentsOfRuns(
    x64.view, inner: inner, weights: nil, rowsPerWeight: 1, mean: &mean, variance: &variance)
  var worst = 0.0
  for row in 0..<rows {
    for column in 0..<features * inner {
      let feature = column / inner
      let exact = (x64[row, column] - mean[feature]) / (variance[feature] + 1e-3).squareRoot()
      worst = max(worst, abs(Double(run.y[row, column]) - exact))
    }
  }
  #expect(worst <= 2e-6, "(\(rows), \(features), \(inner)) at \(offset)")
  for feature in 0..<features {
    #expect(ulpError(run.variance[feature], variance[feature]) <= 4, "(\(rows), \(features), \(inner)) at \(offset)")
  }
}

/// Whatever part of the features or rows is given to a call, a feature's bits are the same.
private func slicesGiveTheSameBits(_ set: InstructionSet) {
  let data = RunCase<Float>(33, 7, 19)
  let whole = RunResult(set, data, .weighted)
  let table = Float.kernels(for: set).featureRuns
  for feature in 0..<7 {
    let x = data.x.view.columns(feature * 19..<feature * 19 + 19)
    let dy = data.dy.view.columns(feature * 19..<feature * 19 + 19)
    var mean = [Float](repeating: .nan, count: 1)
    var (low, variance, dGamma, dBeta) = (mean, mean, mean, mean)
    let dx = TestMatrix<Float>(33, 19)
    table.moments(x, 19, data.weights, 1, &mean, &low, &variance)
    table.backward(
      dy, x, 19, false, data.weights, 1, mean, low, [whole.inverse[feature]], [data.gamma[feature]], &dGamma, &dBeta,
      dx.view)
    #expect(mean[0] == whole.mean[feature] && low[0] == whole.low[feature] && variance[0] == whole.variance[feature])
    #expect(dGamma[0] == whole.dGamma[feature] && dBeta[0] == whole.dBeta[feature])
    for row in 0..<33 { for i in 0..<19 { #expect(dx[row, i] == whole.dx[row, feature * 19 + i]) } }
  }
}

@Suite struct FeatureRunKernelTests {
  static let shapes: [(Int, Int, Int)] = {
    var shapes: [(Int, Int, Int)] = []
    for inner in [2, 3, 4, 7, 8, 15, 16, 17, 31, 33, 64, 65, 196, 784, 1000, 1024, 1025, 2500] {
      for rows in [1, 2, 7, 15, 33, 65] {
        for features in [1, 3] where rows * features * inner <= 40_000 { shapes.append((rows, features, inner)) }
      }
    }
    return shapes + [(1000, 2, 2), (1000, 1, 7), (5, 33, 16), (2, 1100, 3)]
  }()

  @Test(arguments: supportedSets)
  func matchTheOracle(set: InstructionSet) {
    for (rows, features, inner) in Self.shapes {
      for source in Source.allCases {
        parity(Float.self, set, rows, features, inner, source, affine: inner % 3 != 0)
        parity(Double.self, set, rows, features, inner, source, affine: inner % 3 == 0)
      }
    }
  }

  @Test("Normalized outputs within 2e-6 and variances within 4 ulp at every offset", arguments: supportedSets)
  func offsetsCostNoDigits(set: InstructionSet) {
    for offset in [0, 1e2, 1e3, 1e4, 1e5, 1e6] {
      for (rows, inner) in [(2, 2), (64, 3), (1000, 7), (256, 16), (64, 196), (32, 784), (5, 5000)] {
        offsets(Float.self, set, rows, inner, offset)
      }
    }
  }

  @Test(arguments: supportedSets)
  func bitsDoNotDependOnWhoComputes(set: InstructionSet) { slicesGiveTheSameBits(set) }

  @Test(arguments: supportedSets)
  func constantsAndRowsWithoutWeight(set: InstructionSet) {
    let table = Float.kernels(for: set).featureRuns
    let constant = TestMatrix<Float>(9, 2 * 37) { _, column in column < 37 ? 1e6 + 0.1 : -3 }
    var (mean, low, variance) = (
      [Float](repeating: .nan, count: 2), [Float](repeating: .nan, count: 2), [Float.nan, .nan]
    )
    table.moments(constant.view, 37, nil, 1, &mean, &low, &variance)
    #expect(mean == [1e6 + 0.1, -3] && low == [0, 0] && variance == [0, 0])

    let data = RunCase<Float>(7, 2, 19)
    table.moments(data.x.view, 19, data.weights, 1, &mean, &low, &variance)
    let clean = (mean, low, variance)
    for column in 0..<38 { data.x[1, column] = .nan }
    table.moments(data.x.view, 19, data.weights, 1, &mean, &low, &variance)
    #expect((mean, low, variance) == clean)
    table.moments(data.x.view, 19, [Double](repeating: 0, count: 7), 1, &mean, &low, &variance)
    #expect(mean == [0, 0] && low == [0, 0] && variance == [0, 0])
  }

  /// dx, dγ and dβ against central differences of Σ dy·y, in which the statistics follow x where they are the batch's.
  @Test(arguments: [1, 2, 5, 19])
  func gradientMatchesFiniteDifferences(inner: Int) {
    for source in Source.allCases {
      let data = RunCase<Double>(5, 2, inner)
      let exact = RunResult(.portable, data, source)
      let table = Double.kernels(for: .portable)
      func value() -> Double {
        var (mean, low, variance, inverse) = (exact.mean, exact.low, exact.variance, exact.inverse)
        let y = TestMatrix<Double>(5, 2 * inner)
        if source == .batch { table.featureRuns.moments(data.x.view, inner, nil, 1, &mean, &low, &variance) }
        if source == .weighted {
          table.featureRuns.moments(data.x.view, inner, data.weights, data.rowsPerWeight, &mean, &low, &variance)
        }
        table.batchNormalization.inverseDeviation(variance, 1e-3, &inverse, 2)
        table.featureRuns.normalize(data.x.view, inner, mean, low, inverse, data.gamma, data.beta, y.view)
        var sum = 0.0
        for row in 0..<5 { for c in 0..<2 * inner { sum += y[row, c] * data.dy[row, c] } }
        return sum
      }
      for row in 0..<5 {
        for c in 0..<2 * inner {
          let x = data.x[row, c]
          data.x[row, c] = x + 1e-5
          let above = value()
          data.x[row, c] = x - 1e-5
          let below = value()
          data.x[row, c] = x
          #expect(abs((above - below) / 2e-5 - exact.dx[row, c]) <= 1e-7)
        }
      }
    }
  }
}
