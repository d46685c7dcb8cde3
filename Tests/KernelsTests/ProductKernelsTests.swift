import Kernels
import ReferenceKernels
import Testing

/// Products with packed matrices against textbook loops in Double.
@Suite struct ProductKernelsTests {
  private static let rows = [1, 2, 3, 4, 5, 6, 7, 11, 12, 13, 15, 16, 17, 25, 33]
  private static let depths = [1, 7, 16, 33, 130]
  private static let units = [1, 7, 15, 16, 17, 31, 32, 33, 64, 65, 100, 128, 130, 257]

  private func checkProducts<S: KernelScalar>(_ table: KernelTable<S>) {
    let kernels = table.products
    var numbers = TestNumbers(5)
    for depth in Self.depths {
      for units in Self.units {
        let w = PaddedMatrix<S>(depth, units) { _, _ in numbers.normal() }
        // Guards at the end show whether `pack` keeps to the room that it asked for.
        let packed = PaddedMatrix<S>(1, kernels.packedCount(depth, units)) { _, _ in 1e30 }
        kernels.pack(w.view, packed.pointer)
        #expect(packed.paddingIsIntact)
        let wide = w.widened
        let all = PaddedMatrix<S>(33, depth) { _, _ in numbers.normal() }
        let whole = PaddedMatrix<S>(33, units)
        kernels.multiply(all.view, packed.pointer, whole.view)
        let exact = PaddedMatrix<Double>(33, units)
        let magnitudes = PaddedMatrix<Double>(33, units)
        ReferenceKernels.multiply(all.widened.view, wide.view, into: exact.view)
        let (x, y) = (all.widened, w.widened)
        for matrix in [x, y] {
          for row in 0..<matrix.view.rows {
            for column in 0..<matrix.view.columns { matrix[row, column] = abs(matrix[row, column]) }
          }
        }
        ReferenceKernels.multiply(x.view, y.view, into: magnitudes.view)
        // Each of the sum's terms rounds at most twice.
        let what = "\(table.instructionSet) \(S.self), \(depth) deep, \(units) units"
        expectClose(
          whole.elements, exact.elements, units: Double(2 * depth + 2), scale: magnitudes.elements, what)
        for rows in Self.rows {
          let part = PaddedMatrix<S>(rows, units) { _, _ in 9 }
          kernels.multiply(all.view.rows(0..<rows), packed.pointer, part.view)
          // To the bit, however many rows come together.
          #expect(part.elements == Array(whole.elements.prefix(rows * units)), "\(what), \(rows) rows")
          #expect(part.paddingIsIntact, "\(what), \(rows) rows")
        }
      }
    }
  }

  private func checkFolding<S: KernelScalar>(_ table: KernelTable<S>) {
    var numbers = TestNumbers(6)
    for (rows, columns) in [(1, 1), (7, 33), (33, 7), (65, 17)] {
      let w = PaddedMatrix<S>(rows, columns) { _, _ in numbers.normal() }
      let left = (0..<rows).map { _ in numbers.normal() }
      let right = (0..<columns).map { _ in numbers.normal() }
      let what = "\(table.instructionSet) \(S.self), \(rows) × \(columns)"
      for (l, r) in [(true, true), (true, false), (false, true), (false, false)] {
        let y = PaddedMatrix<S>(rows, columns)
        left.withUnsafeBufferPointer { left in
          right.withUnsafeBufferPointer { right in
            table.products.scale(w.view, l ? left.baseAddress : nil, r ? right.baseAddress : nil, y.view)
          }
        }
        let expected = (0..<rows * columns).map {
          Double(w[$0 / columns, $0 % columns]) * (l ? left[$0 / columns] : 1) * (r ? right[$0 % columns] : 1)
        }
        // One rounding to the scalar; in Double the two products round as well.
        expectClose(y.elements, expected, units: 3, scale: expected.map(abs), what)
        #expect(y.paddingIsIntact, "\(what)")
      }
      var sums = right
      table.products.addRowCombination(left, w.view, &sums)
      for column in 0..<columns {
        var (expected, magnitude) = (right[column], abs(right[column]))
        for row in 0..<rows {
          expected += left[row] * Double(w[row, column])
          magnitude += abs(left[row] * Double(w[row, column]))
        }
        #expect(abs(sums[column] - expected) <= Double(rows) * Double.ulpOfOne * magnitude, "\(what)")
      }
    }
  }

  @Test(arguments: supportedSets) func productsMatchOracle(set: InstructionSet) {
    checkProducts(Float.kernels(for: set))
    checkProducts(Double.kernels(for: set))
  }

  @Test(arguments: supportedSets) func foldingMatchesOracle(set: InstructionSet) {
    checkFolding(Float.kernels(for: set))
    checkFolding(Double.kernels(for: set))
  }
}
