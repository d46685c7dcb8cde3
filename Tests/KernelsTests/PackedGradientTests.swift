import Kernels
import Testing

/// Gradients of packed factors against those of factors as they lie, which meet the oracle in `WeightGradientKernelsTests`.
@Suite(.enabled(if: InstructionSet.avx2.isSupported, "this CPU has no AVX2")) struct PackedGradientTests {
  private static let sets = [InstructionSet.avx2, .avx512].filter(\.isSupported)

  /// `x` and the first columns of `z`, `units` of them.
  private func check<S: KernelScalar>(_ x: TestMatrix<S>, _ z: TestMatrix<S>, units: Int, _ table: KernelTable<S>) {
    let (packed, layout) = (table.packedProducts, table.packedProducts.layout)
    let (samples, inputs, lanes) = (x.view.rows, x.view.columns, 64 / MemoryLayout<S>.stride)
    let width = (units + lanes - 1) / lanes * lanes
    // Read up to whole vectors: what lies there is 0.
    let wide = TestMatrix<S>(samples, width, extra: 0) { $1 < units ? z[$0, $1] : 0 }
    let what = "\(table.instructionSet), \(S.self), \(samples) samples, \(inputs) × \(units)"

    let expected = TestMatrix<S>(inputs, width, extra: 7)
    table.weightGradients.transposedProduct!(x.view, wide.view, expected.view, false)

    let left = GuardedBytes(layout.leftBytes(rows: inputs, terms: samples))
    let right = GuardedBytes(layout.rightBytes(columns: units, terms: samples))
    packed.packLeftTransposed!(x.view, left.base)
    packed.packRight!(z.view.columns(0..<units), right.base, 0, samples)
    let result = TestMatrix<S>(inputs, width, extra: 7) { _, _ in 99 }
    packed.multiply!(left.base, right.base, samples, result.view)
    #expect(left.guardIsIntact && right.guardIsIntact && result.guardsIntact, "\(what)")
    #expect(isSame(result, expected, from: 0), "\(what)")

    // Rows from one unit on, and fewer than a unit.
    for first in [layout.rowUnit, 8 * layout.rowUnit] where first < inputs {
      for count in Set([1, layout.gradientRows, inputs - first]) where first + count <= inputs {
        let some = TestMatrix<S>(count, width, extra: 7) { _, _ in 99 }
        packed.multiply!(left.base + layout.place(ofRow: first, terms: samples), right.base, samples, some.view)
        #expect(some.guardsIntact && isSame(some, expected, from: first), "\(what), \(count) rows from \(first)")
      }
    }
    withExtendedLifetime((x, z, wide)) {}
  }

  /// Whether `some` has the bits of the rows of `all` from `first` on.
  private func isSame<S>(_ some: TestMatrix<S>, _ all: TestMatrix<S>, from first: Int) -> Bool {
    (0..<some.view.rows).allSatisfy { row in
      (0..<some.view.columns).allSatisfy { some[row, $0] == all[first + row, $0] }
    }
  }

  private func check<S: KernelScalar>(_ table: KernelTable<S>, samples: Int, inputs: Int) {
    var numbers = TestNumbers(UInt64(samples * 1000 + inputs))
    let x = TestMatrix<S>(samples, inputs, extra: 5) { _, _ in S(numbers.uniform() - 0.5) }
    let z = TestMatrix<S>(samples, 64, extra: 9) { _, _ in S(numbers.uniform() - 0.5) }
    for units in [1, 8, 15, 16, 17, 50, 64] { check(x, z, units: units, table) }
  }

  @Test(
    "Every size gives the bits of unpacked factors", arguments: [1, 2, 7, 9, 96, 255, 256, 257, 600, 1_030],
    [1, 5, 6, 7, 47, 48, 49, 96, 97, 200])
  func gradients(samples: Int, inputs: Int) {
    for set in Self.sets {
      check(Float.kernels(for: set), samples: samples, inputs: inputs)
      check(Double.kernels(for: set), samples: samples, inputs: inputs)
    }
  }

  /// Margins, one-hot inputs and units that never fire are better listed than packed; what a ReLU leaves is not.
  @Test func zerosAreFound() {
    var numbers = TestNumbers(5)
    func hasManyZeros(_ samples: Int, _ inputs: Int, _ value: (Int, Int) -> Double) -> Bool {
      let x = TestMatrix<Float>(samples, inputs) { Float(value($0, $1)) }
      let y = TestMatrix<Double>(samples, inputs) { Double(x[$0, $1]) }
      let (ofFloats, ofDoubles) =
        (
          Float.kernels(for: .avx2).packedProducts.hasManyZeros!(x.view),
          Double.kernels(for: .avx2).packedProducts.hasManyZeros!(y.view)
        )
      #expect(ofFloats == ofDoubles)
      withExtendedLifetime((x, y)) {}
      return ofFloats
    }
    for samples in [96, 128, 1000] {
      #expect(!hasManyZeros(samples, 784) { _, _ in numbers.normal() })
      #expect(!hasManyZeros(samples, 784) { _, _ in max(0, numbers.normal()) })
      #expect(hasManyZeros(samples, 784) { $1 % 28 < 8 || $1 / 28 < 6 ? 0 : numbers.normal() })
      #expect(hasManyZeros(samples, 500) { $1 == $0 * 7 % 500 ? 1 : 0 })
      #expect(hasManyZeros(samples, 300) { _, _ in 0 })
    }
    // Too few to look at.
    #expect(!hasManyZeros(7, 300) { _, _ in 0 })
    #expect(!hasManyZeros(100, 5) { _, _ in 0 })
  }
}
