import Kernels
import ReferenceKernels
import Testing

/// Products with the tiles of a layer's kernel against textbook loops in Double.
@Suite struct LayerProductKernelsTests {
  private static let rows = Array(1...17) + [24, 25, 33]

  private static func vector<S>(_: S.Type) -> Int { 64 / MemoryLayout<S>.stride }
  private static func padded<S>(_ columns: Int, _: S.Type) -> Int {
    let vector = vector(S.self)
    return (columns + vector - 1) / vector * vector
  }

  /// |a|·|b|, to which the errors of a product are relative.
  private static func magnitudes(
    _ a: PaddedMatrix<Double>, _ b: PaddedMatrix<Double>, transposeB: Bool, into result: PaddedMatrix<Double>
  ) {
    let (x, y) = (
      PaddedMatrix<Double>(a.view.rows, a.view.columns) { abs(a[$0, $1]) },
      PaddedMatrix<Double>(b.view.rows, b.view.columns) { abs(b[$0, $1]) }
    )
    ReferenceKernels.multiply(x.view, y.view, transposeB: transposeB, into: result.view)
  }

  private func checkProducts<S: KernelScalar>(_ table: KernelTable<S>) {
    guard let multiply = table.layerProducts.multiply else { return }
    var numbers = TestNumbers(15)
    let vector = Self.vector(S.self)
    for depth in [1, 2, 7, 8, 9, 16, 33, 130] {
      for columns in [
        1, vector - 1, vector, vector + 1, 2 * vector, 3 * vector - 3, 4 * vector, 4 * vector + 1, 7 * vector + 5,
      ] {
        let wide = Self.padded(columns, S.self)
        // What lies in the columns added does not matter.
        let w = PaddedMatrix<S>(depth, wide, padding: vector) { _, column in column < columns ? numbers.normal() : .nan
        }
        let kernel = PaddedMatrix<Double>(depth, columns) { Double(w[$0, $1]) }
        for rows in Self.rows {
          let x = PaddedMatrix<S>(rows, depth) { _, _ in numbers.normal() }
          let y = PaddedMatrix<S>(rows, columns) { _, _ in 9 }
          let (exact, magnitude) = (PaddedMatrix<Double>(rows, columns), PaddedMatrix<Double>(rows, columns))
          ReferenceKernels.multiply(x.widened.view, kernel.view, into: exact.view)
          Self.magnitudes(x.widened, kernel, transposeB: false, into: magnitude)
          let what = "\(table.instructionSet) \(S.self), \(rows) × \(columns) × \(depth)"
          multiply(x.view, w.view, y.view, false)
          // Each of a sum's terms rounds at most twice.
          expectClose(y.elements, exact.elements, units: Double(2 * depth + 2), scale: magnitude.elements, what)
          #expect(y.paddingIsIntact, "\(what)")
          let product = y.elements
          let sum = PaddedMatrix<S>(rows, columns) { Double($0 - $1) }
          multiply(x.view, w.view, sum.view, true)
          let expected = product.indices.map { S($0 / columns - $0 % columns) + product[$0] }
          #expect(sum.elements == expected, "\(what), added")
          #expect(sum.paddingIsIntact, "\(what), added")
        }
      }
    }
  }

  @Test(arguments: supportedSets) func productsMatchOracle(set: InstructionSet) {
    checkProducts(Float.kernels(for: set))
    checkProducts(Double.kernels(for: set))
  }

  /// Tiles of `widths` units, for as many rows as `rows` names.
  private func checkTransposed<S: KernelScalar>(
    _ table: KernelTable<S>, widths: [Int], inputs: Int, rows: [Int], _ numbers: inout TestNumbers
  ) {
    guard let multiply = table.layerProducts.multiplyByTransposed else { return }
    let vector = Self.vector(S.self)
    let units = widths.reduce(0, +)
    let weights = PaddedMatrix<Double>(inputs, units) { _, _ in Double(S(numbers.normal())) }
    var first = 0
    var tiles: [MatrixView<S>] = []
    for width in widths {
      let stride = Self.padded(width, S.self)
      let tile = PaddedMatrix<S>(inputs, stride, padding: 0) { row, column in
        column < width ? weights[row, first + column] : 0
      }
      tiles.append(MatrixView(base: tile.pointer, rows: inputs, columns: width, stride: stride))
      first += width
    }
    for rows in rows {
      // What lies behind the last column of z is somebody else's.
      let z = PaddedMatrix<S>(rows, units) { _, _ in numbers.normal() }
      let (exact, magnitude) = (PaddedMatrix<Double>(rows, inputs), PaddedMatrix<Double>(rows, inputs))
      ReferenceKernels.multiply(z.widened.view, weights.view, transposeB: true, into: exact.view)
      Self.magnitudes(z.widened, weights, transposeB: true, into: magnitude)
      for columns in [0..<inputs, 0..<vector, vector..<inputs, 3..<2 * vector + 4] {
        let y = PaddedMatrix<S>(rows, columns.count) { _, _ in 9 }
        multiply(z.view, tiles, tiles.count, columns, y.view)
        func part(_ matrix: PaddedMatrix<Double>) -> [Double] {
          (0..<rows).flatMap { row in columns.map { matrix[row, $0] } }
        }
        let what = "\(table.instructionSet) \(S.self), \(rows) rows, tiles of \(widths), columns \(columns)"
        expectClose(y.elements, part(exact), units: Double(2 * units + 2), scale: part(magnitude), what)
        #expect(y.paddingIsIntact, "\(what)")
      }
    }
  }

  private func checkTransposed<S: KernelScalar>(_ table: KernelTable<S>) {
    var numbers = TestNumbers(16)
    let vector = Self.vector(S.self)
    let cuts = [
      [1], [10], [vector], [33], [64], [48, 52], [64, 63], [32, 32], [48, 64, 7], Array(repeating: 64, count: 9) + [5],
    ]
    for widths in cuts {
      checkTransposed(table, widths: widths, inputs: 3 * vector + 5, rows: Self.rows, &numbers)
    }
    // A kernel of more than 2 MiB is asked for ahead.
    checkTransposed(table, widths: Array(repeating: 64, count: 9), inputs: 931, rows: [1, 2, 3, 5], &numbers)
  }

  @Test(arguments: supportedSets) func transposedProductsMatchOracle(set: InstructionSet) {
    checkTransposed(Float.kernels(for: set))
    checkTransposed(Double.kernels(for: set))
  }
}
