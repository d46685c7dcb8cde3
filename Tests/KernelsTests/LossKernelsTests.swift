import Kernels
import RandomNumbers
import ReferenceKernels
import Testing

@Suite struct LossKernelsTests {
  // MARK: Parity

  /// How the gradient is asked for.
  private enum Output: CaseIterable { case separate, inPlace, none }

  /// Roundings of one row: a lane's share of the sums over columns (a vector has at least 8), the fold across lanes,
  /// exponential and logarithm at 3 units each and a dozen operations.
  private func units(_ columns: Int) -> Double { Double(columns) / 8 + 24 }

  /// What an element's terms amount to, relative to its row's factor.
  ///
  /// The rounding of x − max changes e^(x − max) by a share of up to the row's range. Probabilities divided by their sum
  /// and each other stay below |slope| + (1 + Σt)/Σp, binary ones below 1/(p(1 − p)) < 22.
  private func gradientScale(_ loss: LossCase, _ x: [Double], _ t: [Double], _ slopes: [Double]) -> [Double] {
    let (range, largest, columns) = (x.max()! - x.min()!, t.max()!, Double(x.count))
    let (sum, mass) = (x.reduce(0, +), t.reduce(0, +))
    return slopes.map { slope in
      switch loss {
      case .sparseLogits, .logits: (abs(slope) + largest) * (1 + range)
      case .sparseProbabilities, .probabilities: abs(slope) + (1 + mass) / sum
      case .binaryLogits: 2 / columns
      case .binaryProbabilities: 22 / columns
      case .squaredError: abs(slope)
      }
    }
  }

  private func lossScale(_ loss: LossCase, _ x: [Double], _ t: [Double]) -> Double {
    let largest = x.map { abs($0) }.max()!
    return switch loss {
    // |log Σ| + |x − max| for every unit of target.
    case .sparseLogits, .logits: max(1, t.reduce(0, +)) * (1 + 7 + 2 * largest)
    // |log q|, q ≥ 0.05/1000.
    case .sparseProbabilities, .probabilities: max(1, t.reduce(0, +)) * (1 + 10)
    case .binaryLogits: 1 + largest
    case .binaryProbabilities: 4
    case .squaredError: (largest + 1) * (largest + 1)
    }
  }

  private func check<S: KernelScalar>(_ table: LossKernels<S>, _ loss: LossCase) {
    for columns in awkwardSizes + [10] {
      for rows in columns > 33 ? [3] : [1, 16, 19] {
        for weighted in [false, true] { check(table, loss, LossInputs<S>(loss, rows, columns), weighted) }
      }
    }
  }

  private func check<S: KernelScalar>(
    _ table: LossKernels<S>, _ loss: LossCase, _ input: LossInputs<S>, _ weighted: Bool
  ) {
    let (x, t, w) = (input.x.widened, input.targets.widened, input.weights.widened)
    let (rows, columns) = (x.view.rows, x.view.columns)
    let scale = 1 / Double(rows)
    let expected = PaddedMatrix<Double>(rows, columns)
    let oracle = loss.runOracle(x.view, t.view, input.labels, weighted ? w.pointer : nil, expected.view, scale)

    var (lossTerms, gradientTerms) = (0.0, [Double]())
    for row in 0..<rows {
      let weight = weighted ? w[0, row] : 1
      let line = (0..<columns).map { x[row, $0] }
      let target =
        loss.isSparse
        ? (0..<columns).map { $0 == Int(input.labels[row]) ? 1.0 : 0 } : (0..<columns).map { t[row, $0] }
      lossTerms += weight * lossScale(loss, line, target)
      let slopes = (0..<columns).map { expected[row, $0] / (weight * scale) }
      gradientTerms += gradientScale(loss, line, target, slopes).map { $0 * weight * scale }
    }

    for output in Output.allCases {
      let prediction = PaddedMatrix<S>(rows, columns) { Double(input.x[$0, $1]) }
      let gradient = output == .inPlace ? prediction : PaddedMatrix<S>(rows, columns, padding: 1)
      let sums = loss.run(
        table, prediction.view, input.targets.view, input.labels, weighted ? input.weights.pointer : nil,
        output == .none ? nil : gradient.view, scale)
      let what = "\(loss), \(rows) × \(columns), \(output), weights \(weighted)"
      #expect(sums.correct == oracle.correct, "\(what)")
      #expect(
        abs(sums.loss - oracle.loss) <= units(columns) * Double(S.ulpOfOne) / 2 * lossTerms,
        "\(what): loss \(sums.loss), expected \(oracle.loss)")
      if output != .none {
        expectClose(gradient.elements, expected.elements, units: units(columns), scale: gradientTerms, what)
      }
      #expect(gradient.paddingIsIntact && prediction.paddingIsIntact)
    }
  }

  @Test(arguments: supportedSets, LossCase.allCases) func lossesMatchOracle(set: InstructionSet, loss: LossCase) {
    check(Float.kernels(for: set).losses, loss)
    check(Double.kernels(for: set).losses, loss)
  }

  // MARK: Finite differences

  /// Central differences with h = 10⁻⁵ err by h²/6·f‴ and by about 4·ε·|f|/h.
  ///
  /// |f‴| is at most 2·t/p³ with p the (normalized) probability; the inputs keep p above 0.01 where it is a target.
  @Test(arguments: supportedSets, LossCase.allCases) func gradientsMatchDifferences(set: InstructionSet, loss: LossCase)
  {
    let table = Double.kernels(for: set).losses
    for (rows, columns) in [(5, 1), (4, 3), (3, 10), (2, 17)] {
      let input = LossInputs<Double>(loss, rows, columns)
      let gradient = PaddedMatrix<Double>(rows, columns)
      let scale = 0.5
      func value() -> Double {
        scale
          * loss.run(
            table, input.x.view, input.targets.view, input.labels, input.weights.pointer, nil, 1
          ).loss
      }
      _ = loss.run(
        table, input.x.view, input.targets.view, input.labels, input.weights.pointer, gradient.view, scale)
      // A single column's normalized probability is 1, which is clipped: the loss does not move at all.
      let h = 1e-5
      for row in 0..<rows {
        for column in 0..<columns {
          let x = input.x[row, column]
          input.x[row, column] = x + h
          let above = value()
          input.x[row, column] = x - h
          let below = value()
          input.x[row, column] = x
          let p = loss.takesProbabilities && loss.isCategorical ? x / 17 : min(x, 1 - x)
          let third = loss.takesProbabilities ? 2 / (p * p * p) : 1
          let tolerance = 2 * (h * h / 6 * third + 4 * Double.ulpOfOne * abs(value()) / h)
          let difference = (above - below) / (2 * h)
          #expect(
            abs(gradient[row, column] - difference) <= tolerance,
            "\(loss), \(rows) × \(columns), (\(row), \(column)): \(gradient[row, column]), differences \(difference)")
        }
      }
    }
  }

  /// Where a normalized probability is clipped the loss is flat, though other columns of a dense target still count.
  @Test(arguments: supportedSets) func clippedProbabilitiesHaveNoGradient(set: InstructionSet) {
    let table = Double.kernels(for: set).losses
    let p = PaddedMatrix<Double>(2, 3) { [[1e-9, 0.4, 0.6], [1e-12, 1e-12, 1]][$0][$1] }
    let gradient = PaddedMatrix<Double>(2, 3) { _, _ in 5 }
    let sums = table.sparseCategoricalFromProbabilities(p.view, [0, 2], nil, gradient.view, 1)
    // -log 1e-7 and -log(1 − 1e-7).
    #expect(abs(sums.loss - 16.118095650958319 - 1.0000000494736474e-07) < 1e-14)
    #expect(gradient.elements.allSatisfy { $0 == 0 })
    #expect(sums.correct == 1)

    let targets = PaddedMatrix<Double>(2, 3) { [[0.5, 0.5, 0], [0, 0, 1]][$0][$1] }
    _ = table.categoricalFromProbabilities(p.view, targets.view, nil, gradient.view, 1)
    let expected = PaddedMatrix<Double>(2, 3)
    _ = ReferenceKernels.categoricalFromProbabilities(p.view, targets.view, nil, expected.view, 1)
    #expect(abs(gradient[0, 0] - 0.5) < 1e-8 && abs(gradient[0, 1] + 0.75) < 1e-8)
    expectClose(gradient.elements, expected.elements, units: 8, scale: [1, 2, 1, 1, 1, 1], "clipped")

    let binary = PaddedMatrix<Double>(2, 2) { [[0, 1], [1, 0.5]][$0][$1] }
    let ones = PaddedMatrix<Double>(2, 2) { [[1, 1], [0, 1]][$0][$1] }
    let clipped = table.binaryFromProbabilities(binary.view, ones.view, nil, gradient.view.columns(0..<2), 1)
    #expect(gradient[0, 0] == 0 && gradient[0, 1] == 0 && gradient[1, 0] == 0 && gradient[1, 1] == -1)
    let each = 16.118095650958319 / 2
    #expect(abs(clipped.loss - 2 * each - 0.34657359027997264) < 1e-6)
  }

  // MARK: Extremes

  private func checkExtremeLogits<S: KernelScalar>(_ table: LossKernels<S>) {
    for columns in [3, 16, 17, 40] {
      let x = PaddedMatrix<S>(4, columns) { row, column in
        switch row {
        case 0: column == 1 ? 1e4 : -1e4  // one dominates, and is the label
        case 1: column == 1 ? 1e4 : -1e4  // one dominates, and is not
        case 2: -1e4  // all equal, far from 0
        default: column == 2 ? -Double.infinity : 0  // impossible label
        }
      }
      let gradient = PaddedMatrix<S>(4, columns)
      let labels: [Int32] = [1, 0, 0, 2]
      func row(_ r: Int) -> LossSums {
        table.sparseCategoricalFromLogits(
          x.view.rows(r..<r + 1), [labels[r]], nil, gradient.view.rows(r..<r + 1), 1)
      }
      let n = Double(columns)
      let (right, wrong, equal, impossible) = (row(0), row(1), row(2), row(3))
      #expect(right.loss == 0 && right.correct == 1)
      #expect(wrong.loss == 2e4 && wrong.correct == 0)
      #expect(gradient[1, 0] == -1 && gradient[1, 1] == 1 && gradient[0, 1] == 0)
      #expect(abs(equal.loss - Double(S(n).log)) <= 8 * Double(S.ulpOfOne) * equal.loss)
      // All columns are the maximum: the first wins.
      #expect(equal.correct == 1)
      #expect(impossible.loss == .infinity && impossible.correct == 0)
      #expect(gradient[3, 2] == -1 && abs(Double(gradient[3, 0]) - 1 / (n - 1)) < 1e-6)
      #expect(gradient.elements.allSatisfy { $0.isFinite })

      // NaN and +∞ anywhere in a row spoil the row's loss; it counts as wrong.
      for value in [Double.nan, .infinity] {
        for column in 0..<columns {
          let spoiled = PaddedMatrix<S>(1, columns) { $1 == column ? value : Double($1) }
          let sums = table.sparseCategoricalFromLogits(spoiled.view, [Int32(column)], nil, nil, 1)
          #expect(sums.loss.isNaN && sums.correct == 0)
          let targets = PaddedMatrix<S>(1, columns) { $1 == column ? 1 : 0 }
          let dense = table.categoricalFromLogits(spoiled.view, targets.view, nil, nil, 1)
          #expect(dense.loss.isNaN && dense.correct == 0)
        }
      }
      // A column ruled out by −∞ does not matter to a target of 0.
      let targets = PaddedMatrix<S>(1, columns) { $1 == 0 ? 1 : 0 }
      let ruledOut = table.categoricalFromLogits(x.view.rows(3..<4), targets.view, nil, gradient.view.rows(3..<4), 1)
      #expect(ruledOut.loss.isFinite && ruledOut.correct == 1 && gradient[3, 2] == 0)
    }
  }

  private func checkExtremeBinaryLogits<S: KernelScalar>(_ table: LossKernels<S>) {
    let x = PaddedMatrix<S>(8, 1) { [1e4, 1e4, -1e4, -1e4, .infinity, -.infinity, .infinity, .nan][$0 + $1] }
    let t = PaddedMatrix<S>(8, 1) { [1, 0, 1, 0, 1, 0, 0, 1][$0 + $1] }
    let gradient = PaddedMatrix<S>(8, 1)
    let losses = (0..<8).map { row in
      table.binaryFromLogits(
        x.view.rows(row..<row + 1), t.view.rows(row..<row + 1), nil, gradient.view.rows(row..<row + 1), 1)
    }
    #expect(losses.prefix(7).map { $0.loss } == [0, 1e4, 1e4, 0, 0, 0, .infinity])
    #expect(losses[7].loss.isNaN)
    #expect(losses.map { $0.correct } == [1, 0, 0, 1, 1, 1, 0, 0])
    #expect(gradient.elements.prefix(7).map { Double($0) } == [0, 1, -1, 0, 0, 0, 1])
    #expect(gradient[7, 0].isNaN)
    // A confident, right prediction keeps the digits of its small loss.
    let confident = PaddedMatrix<S>(1, 1) { _, _ in 30 }
    let one = PaddedMatrix<S>(1, 1) { _, _ in 1 }
    let small = table.binaryFromLogits(confident.view, one.view, nil, nil, 1).loss
    #expect(abs(small / 9.357622968839737e-14 - 1) < 8 * Double(S.ulpOfOne))
  }

  @Test(arguments: supportedSets) func extremeLogitsAreHandled(set: InstructionSet) {
    checkExtremeLogits(Float.kernels(for: set).losses)
    checkExtremeLogits(Double.kernels(for: set).losses)
    checkExtremeBinaryLogits(Float.kernels(for: set).losses)
    checkExtremeBinaryLogits(Double.kernels(for: set).losses)
  }

  /// A NaN prediction gives a NaN loss in every kind of loss, and no right row.
  @Test(arguments: supportedSets, LossCase.allCases) func nanShows(set: InstructionSet, loss: LossCase) {
    func check<S: KernelScalar>(_ table: LossKernels<S>) {
      for columns in [1, 10, 33] {
        for column in 0..<columns {
          let input = LossInputs<S>(loss, 3, columns)
          input.x[1, column] = .nan
          // A target of 0 would take a NaN's term out of a categorical sum of logits, not out of the softmax.
          let sums = loss.run(
            table, input.x.view.rows(1..<2), input.targets.view.rows(1..<2), [input.labels[1]], nil, nil, 1)
          #expect(sums.loss.isNaN && sums.correct == 0, "\(loss), \(columns) columns, NaN in \(column)")
        }
      }
    }
    check(Float.kernels(for: set).losses)
    check(Double.kernels(for: set).losses)
  }

  /// No rows: no loss, nothing written.
  @Test(arguments: supportedSets, LossCase.allCases) func noRowsIsNoWork(set: InstructionSet, loss: LossCase) {
    let x = PaddedMatrix<Float>(0, 5)
    let sums = loss.run(Float.kernels(for: set).losses, x.view, x.view, [], nil, x.view, 1)
    #expect(sums.loss == 0 && sums.correct == 0 && x.paddingIsIntact)
  }

  /// With one column the prediction is right on its side of the threshold, with several where all columns are.
  @Test(arguments: supportedSets) func binaryRowsAreRightWhereEveryColumnIs(set: InstructionSet) {
    let table = Float.kernels(for: set).losses
    let p = PaddedMatrix<Float>(4, 2) { [[0.9, 0.2], [0.9, 0.6], [0.5, 0.1], [0.51, 0.4]][$0][$1] }
    let t = PaddedMatrix<Float>(4, 2) { [[1, 0], [1, 0], [0, 0], [1, 0]][$0][$1] }
    #expect(table.binaryFromProbabilities(p.view, t.view, nil, nil, 1).correct == 3)
    #expect(table.binaryFromProbabilities(p.view.columns(0..<1), t.view.columns(0..<1), nil, nil, 1).correct == 4)
    #expect(table.meanSquaredError(p.view, t.view, nil, nil, 1).correct == 0)
  }
}

extension BinaryFloatingPoint {
  fileprivate var log: Double { ReferenceLogarithm.value(Double(self)) }
}

private enum ReferenceLogarithm {
  /// ln x from the oracle: the loss of n equal logits.
  static func value(_ n: Double) -> Double {
    let x = PaddedMatrix<Double>(1, Int(n))
    return ReferenceKernels.sparseCategoricalFromLogits(x.view, [0], nil, nil, 1).loss
  }
}
