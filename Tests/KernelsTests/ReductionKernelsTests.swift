import Kernels
import RandomNumbers
import ReferenceKernels
import Testing

@Suite struct ReductionKernelsTests {
  private func checkColumnSums<S: KernelScalar>(_ table: ReductionKernels<S>) {
    for rows in awkwardSizes + [0, 63, 64] {
      for columns in [1, 7, 10, 16, 17, 31, 33, 64, 65, 200] {
        var random = Philox(seed: 5, stream: UInt64(rows * 1000 + columns))
        let x = PaddedMatrix<S>(rows, columns) { _, _ in random.nextNormal() + 1 }
        let sums = PaddedMatrix<S>(1, columns)
        table.columnSums(x.view, sums.pointer)
        let (wide, expected) = (x.widened, PaddedMatrix<Double>(1, columns))
        ReferenceKernels.columnSums(wide.view, expected.pointer)
        // 64 rows four at a time: 2 + 16 roundings at most; the total is compensated. 4 more for the oracle's own in Double.
        let magnitudes = (0..<columns).map { c in (0..<rows).reduce(0.0) { $0 + abs(wide[$1, c]) } }
        let oracleError = S.self == Double.self ? Double(rows) : 0
        expectClose(
          sums.elements, expected.elements, units: 22 + oracleError, scale: magnitudes, "\(rows) × \(columns)")
        #expect(sums.paddingIsIntact)
      }
    }
  }

  @Test(arguments: supportedSets) func columnSumsMatchOracle(set: InstructionSet) {
    checkColumnSums(Float.kernels(for: set).reductions)
    checkColumnSums(Double.kernels(for: set).reductions)
  }

  /// A column's bits depend neither on its neighbours nor on where the matrix is cut.
  @Test(arguments: supportedSets) func columnSumsDoNotDependOnSlices(set: InstructionSet) {
    func check<S: KernelScalar>(_ table: ReductionKernels<S>) {
      var random = Philox(seed: 6)
      let x = PaddedMatrix<S>(203, 150) { _, _ in random.nextNormal() }
      let (whole, cut) = (PaddedMatrix<S>(1, 150), PaddedMatrix<S>(1, 150))
      table.columnSums(x.view, whole.pointer)
      for piece in [0..<1, 1..<17, 17..<90, 90..<100, 100..<150] {
        table.columnSums(x.view.columns(piece), cut.pointer + piece.lowerBound)
      }
      #expect(whole.elements == cut.elements)
    }
    check(Float.kernels(for: set).reductions)
    check(Double.kernels(for: set).reductions)
  }

  /// Infinities and NaN come through as a plain sum has them.
  @Test(arguments: supportedSets) func columnSumsKeepInfinities(set: InstructionSet) {
    let x = PaddedMatrix<Float>(200, 5) { _, _ in 1 }
    x[3, 0] = .infinity
    x[150, 1] = -.infinity
    x[70, 2] = .nan
    (x[1, 3], x[190, 3]) = (.infinity, -.infinity)
    let sums = PaddedMatrix<Float>(1, 5)
    Float.kernels(for: set).reductions.columnSums(x.view, sums.pointer)
    #expect(sums[0, 0] == .infinity && sums[0, 1] == -.infinity && sums[0, 4] == 200)
    #expect(sums[0, 2].isNaN && sums[0, 3].isNaN)
  }

  private func checkVectors<S: KernelScalar>(_ table: ReductionKernels<S>) {
    for count in awkwardSizes + [0, 8, 32, 40] {
      var random = Philox(seed: 7, stream: UInt64(count))
      let x = PaddedMatrix<S>(1, count) { _, _ in random.nextNormal() }
      let y = PaddedMatrix<S>(1, count) { _, _ in random.nextNormal() }
      let (wideX, wideY) = (x.widened, y.widened)

      let square = ReferenceKernels.sumOfSquares(wideX.pointer, count)
      // Both add `count` positive terms in Double, in different orders.
      #expect(abs(table.sumOfSquares(x.pointer, count) - square) <= Double(count) * square * Double.ulpOfOne)

      let magnitudes = (0..<count).map { 0.7 * abs(wideX[0, $0]) + abs(wideY[0, $0]) }
      table.addScaled(x.pointer, -0.7, y.pointer, count)
      ReferenceKernels.addScaled(wideX.pointer, -0.7, wideY.pointer, count)
      // The factor's rounding, a product and a sum.
      expectClose(y.elements, wideY.elements, units: 3, scale: magnitudes, "addScaled, \(count)")
      #expect(y.paddingIsIntact)

      #expect(table.allFinite(x.pointer, count))
      for i in 0..<count {
        let kept = x[0, i]
        for value in [S.nan, .infinity, -.infinity] {
          x[0, i] = value
          #expect(!table.allFinite(x.pointer, count))
        }
        x[0, i] = kept
      }
    }
    let huge = PaddedMatrix<S>(1, 77) { _, _ in Double(S.greatestFiniteMagnitude) }
    #expect(table.allFinite(huge.pointer, 77))
  }

  @Test(arguments: supportedSets) func vectorsMatchOracle(set: InstructionSet) {
    checkVectors(Float.kernels(for: set).reductions)
    checkVectors(Double.kernels(for: set).reductions)
  }

  /// Squares of Floats that overflow in Float do not in Double.
  @Test(arguments: supportedSets) func sumOfSquaresDoesNotOverflowInFloat(set: InstructionSet) {
    let x = PaddedMatrix<Float>(1, 40) { _, _ in 1e30 }
    let expected = 40 * Double(Float(1e30)) * Double(Float(1e30))
    let sum = Float.kernels(for: set).reductions.sumOfSquares(x.pointer, 40)
    #expect(abs(sum - expected) <= 40 * Double.ulpOfOne * expected)
  }
}
