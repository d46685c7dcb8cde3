import Kernels
import RandomNumbers
import ReferenceKernels
import Testing

@Suite struct DropoutKernelsTests {
  private func mask<S: KernelScalar>(
    _: S.Type, _ set: InstructionSet, rows: Int, columns: Int, rate: Double, key: UInt64, firstColumn: Int = 0
  ) -> [Bool] {
    let x = PaddedMatrix<S>(rows, columns) { _, _ in 1 }
    S.kernels(for: set).dropout.apply(x.view, x.view, rate, key, firstColumn)
    #expect(x.paddingIsIntact)
    return x.elements.map { $0 != 0 }
  }

  private func checkParity<S: KernelScalar>(_: S.Type, _ set: InstructionSet) {
    for columns in awkwardSizes {
      for rate in [0, 0.1, 0.5, 0.93] {
        var random = Philox(seed: 1, stream: UInt64(columns))
        let x = PaddedMatrix<S>(5, columns) { _, _ in random.nextNormal() }
        let (y, wide) = (PaddedMatrix<S>(5, columns), x.widened)
        S.kernels(for: set).dropout.apply(x.view, y.view, rate, 42, 3)
        ReferenceKernels.dropout(wide.view, wide.view, rate, 42, 3)
        // The rounding of 1/(1 − rate) and of the product.
        let magnitudes = wide.elements.map { abs($0) }
        expectClose(y.elements, wide.elements, units: 3, scale: magnitudes, "\(columns) columns, rate \(rate)")
        #expect(y.paddingIsIntact)
      }
    }
  }

  @Test(arguments: supportedSets) func outputMatchesOracle(set: InstructionSet) {
    checkParity(Float.self, set)
    checkParity(Double.self, set)
  }

  @Test(arguments: supportedSets) func maskIsTheSameEverywhere(set: InstructionSet) {
    let expected = (0..<7).flatMap { row in
      (0..<65).map { ReferenceKernels.dropoutKeeps(key: 9, row: row, column: $0, rate: 0.3) }
    }
    #expect(mask(Float.self, set, rows: 7, columns: 65, rate: 0.3, key: 9) == expected)
    #expect(mask(Double.self, set, rows: 7, columns: 65, rate: 0.3, key: 9) == expected)
  }

  @Test(arguments: supportedSets) func slicesDrawTheMaskOfTheWhole(set: InstructionSet) {
    let whole = mask(Float.self, set, rows: 3, columns: 100, rate: 0.5, key: 77)
    for piece in [0..<5, 5..<37, 37..<100, 32..<96, 33..<64, 16..<48] {
      let part = mask(
        Float.self, set, rows: 3, columns: piece.count, rate: 0.5, key: 77, firstColumn: piece.lowerBound)
      #expect(part == (0..<3).flatMap { row in piece.map { whole[row * 100 + $0] } })
    }
  }

  @Test(arguments: supportedSets) func rateZeroChangesNothing(set: InstructionSet) {
    let x = PaddedMatrix<Float>(2, 33) { Double($0) - 0.37 * Double($1) }
    let before = x.elements
    Float.kernels(for: set).dropout.apply(x.view, x.view, 0, 5, 0)
    #expect(x.elements == before)
  }

  @Test(arguments: supportedSets) func droppedElementsAreZeroWhateverTheyHeld(set: InstructionSet) {
    let x = PaddedMatrix<Float>(4, 40) { _, _ in .nan }
    Float.kernels(for: set).dropout.apply(x.view, x.view, 0.5, 5, 0)
    #expect(x.elements.contains(0) && x.elements.allSatisfy { $0 == 0 || $0.isNaN })
  }

  /// Over 10⁶ draws the kept share lies within 5 standard deviations of 1 − rate.
  @Test(arguments: [0.05, 0.2, 0.5, 0.8]) func keptShareIsRight(rate: Double) {
    for key in [0, 1, 2, UInt64.max, 0x1234_5678_9abc_def0] {
      let kept = mask(Float.self, .widestSupported, rows: 1000, columns: 1000, rate: rate, key: key)
      let share = Double(kept.count { $0 }) / 1e6
      #expect(abs(share - (1 - rate)) < 5 * (rate * (1 - rate) / 1e6).squareRoot(), "key \(key)")
    }
  }

  /// Neighbours in row, column and key agree as often as independent draws do: half the time at rate 0.5.
  @Test func neighboursAreUncorrelated() {
    let (rows, columns) = (1000, 1000)
    let kept = mask(Float.self, .widestSupported, rows: rows, columns: columns, rate: 0.5, key: 100)
    let limit = 5 * (0.25 / 1e6).squareRoot() * 1.01
    for (down, right) in [(0, 1), (0, 2), (0, 3), (0, 16), (0, 64), (1, 0), (2, 0), (1, 1), (1, -1), (16, 0)] {
      var (agreed, compared) = (0, 0)
      for row in 0..<rows - down {
        for column in max(0, -right)..<min(columns, columns - right) {
          if kept[row * columns + column] == kept[(row + down) * columns + column + right] { agreed += 1 }
          compared += 1
        }
      }
      let share = Double(agreed) / Double(compared)
      #expect(abs(share - 0.5) < limit * 1.05, "\(down) rows down, \(right) columns right: \(share)")
    }
    let farKeys: [UInt64] = [101, 99, 100 + 1 << 32, 100 + 1 << 63, 228]
    for key in farKeys {
      let other = mask(Float.self, .widestSupported, rows: rows, columns: columns, rate: 0.5, key: key)
      let share = Double(zip(kept, other).count { $0 == $1 }) / 1e6
      #expect(abs(share - 0.5) < limit, "keys 100 and \(key): \(share)")
    }
  }

  /// Pairs of neighbours fall evenly into the 8 × 8 squares of their draws' eighths, found from masks of seven rates.
  ///
  /// χ² with 63 degrees of freedom passes 63 + 6·√126 once in 2·10⁶ times.
  @Test func pairsOfDrawsFillTheSquareEvenly() {
    let (rows, columns) = (1500, 1024)
    let rates = (1...7).map { Double($0) / 8 }
    for key in [0, 1, UInt64(1) << 63] {
      // The eighth that the draw of each element lies in.
      var eighths = [Int](repeating: 0, count: rows * columns)
      for rate in rates {
        let kept = mask(Float.self, .widestSupported, rows: rows, columns: columns, rate: rate, key: key)
        for i in kept.indices where !kept[i] { eighths[i] += 1 }
      }
      let steps = [
        (0, 1), (0, 2), (0, 3), (0, 8), (0, 15), (0, 16), (0, 17), (0, 31), (0, 32), (0, 48), (0, 64), (0, 128),
        (0, 256), (1, 0), (2, 0), (16, 0), (1, 1), (1, 16), (3, 5),
      ]
      for (down, right) in steps {
        var counts = [Int](repeating: 0, count: 64)
        for row in 0..<rows - down {
          for column in 0..<columns - right {
            counts[eighths[row * columns + column] * 8 + eighths[(row + down) * columns + column + right]] += 1
          }
        }
        let expected = Double((rows - down) * (columns - right)) / 64
        let statistic = counts.reduce(0) { $0 + (Double($1) - expected) * (Double($1) - expected) / expected }
        let deviations = (statistic - 63) / (2 * 63.0).squareRoot()
        #expect(deviations < 6, "key \(key), \(down) down, \(right) right: \(deviations) standard deviations")
      }
    }
  }
}
