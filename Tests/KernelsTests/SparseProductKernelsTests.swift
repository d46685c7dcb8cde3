import Kernels
import Testing

/// Products from lists against those that look at every number, which meet the oracle in `LayerProductKernelsTests` and
/// `WeightGradientKernelsTests`: both have the same bits.
@Suite(.enabled(if: InstructionSet.avx2.isSupported, "this CPU has no AVX2")) struct SparseProductKernelsTests {
  /// Shares of the numbers that are not 0.
  private static let densities = [0, 0.2, 0.5, 1]
  private static let rows = [4, 5, 47, 48, 49, 100]
  private static let terms = [1, 7, 8, 63, 64, 65, 130, 392]

  private static func vector<S>(_: S.Type) -> Int { 64 / MemoryLayout<S>.stride }
  private static func padded<S>(_ columns: Int, _: S.Type) -> Int {
    let vector = vector(S.self)
    return (columns + vector - 1) / vector * vector
  }
  private static func columns<S>(_: S.Type) -> [Int] {
    let vector = vector(S.self)
    return [1, vector, vector + 1, 3 * vector - 3, 4 * vector, 5 * vector, 7 * vector + 5, 8 * vector]
  }

  /// Numbers of which about `density` are not 0; some that are, are −0.
  private func sparse<S: KernelScalar>(
    _ rows: Int, _ columns: Int, _ density: Double, _ numbers: inout TestNumbers
  ) -> PaddedMatrix<S> {
    PaddedMatrix<S>(rows, columns) { row, column in
      numbers.uniform() < density ? numbers.normal() : (row + column) % 3 == 0 ? -0.0 : 0
    }
  }

  private func checkProducts<S: KernelScalar>(_: S.Type, terms: Int, density: Double) {
    let table = S.kernels(for: .avx2)
    let (sparseProducts, products, multiply) = (table.sparseProducts, table.products, table.layerProducts.multiply!)
    var numbers = TestNumbers(UInt64(terms))
    let blocks = SparseProductKernels<S>.blocks(terms: terms)
    for rows in Self.rows {
      // Two pieces of as many terms, as of a long sum.
      let x: PaddedMatrix<S> = sparse(rows, 2 * terms, density, &numbers)
      let lists = GuardedBytes(SparseProductKernels<S>.bytes(rows: rows, blocks: 2 * blocks))
      let pieces = [0..<terms, terms..<2 * terms]
      for (index, piece) in pieces.enumerated() {
        sparseProducts.listRows!(x.view.columns(piece), lists.base, index * blocks, 2 * blocks)
      }
      #expect(lists.guardIsIntact)
      for columns in Self.columns(S.self) {
        let w = PaddedMatrix<S>(2 * terms, Self.padded(columns, S.self), padding: 0) {
          $1 < columns ? numbers.normal() : 0
        }
        let (y, expected) = (PaddedMatrix<S>(rows, columns) { _, _ in 9 }, PaddedMatrix<S>(rows, columns))
        for (index, piece) in pieces.enumerated() {
          multiply(x.view.columns(piece), w.view.rows(piece), expected.view, index > 0)
          let part = SparsePart(
            listedRows: rows, listedBlocks: 2 * blocks, rows: 0..<rows, blocks: index * blocks..<(index + 1) * blocks,
            asksAhead: index > 0)
          sparseProducts.multiply!(lists.base, part, w.view.rows(piece), y.view, index > 0)
          let what = "\(S.self), \(rows) × \(columns) × \(terms), \(density), piece \(index)"
          #expect(y.elements == expected.elements && y.paddingIsIntact, "\(what)")
          // The same piece of W in panels.
          var packed = [S](repeating: 0, count: products.packedCount(terms, columns))
          packed.withUnsafeMutableBufferPointer {
            products.pack(w.view.rows(piece).columns(0..<columns), $0.baseAddress!)
          }
          let (ofPanels, expectedOfPanels) = (
            PaddedMatrix<S>(rows, columns) { _, _ in 9 }, PaddedMatrix<S>(rows, columns)
          )
          products.multiply(x.view.columns(piece), packed, expectedOfPanels.view)
          sparseProducts.multiplyPanels!(lists.base, part, packed, terms, ofPanels.view)
          #expect(ofPanels.elements == expectedOfPanels.elements && ofPanels.paddingIsIntact, "panels, \(what)")
        }
      }
    }
  }

  @Test("Every size gives the bits of all terms", arguments: terms, densities)
  func products(terms: Int, density: Double) {
    checkProducts(Float.self, terms: terms, density: density)
    checkProducts(Double.self, terms: terms, density: density)
  }

  private func checkGradients<S: KernelScalar>(_: S.Type, samples: Int, density: Double) {
    let table = S.kernels(for: .avx2)
    let (sparseProducts, gradient) = (table.sparseProducts, table.weightGradients.transposedProduct!)
    var numbers = TestNumbers(UInt64(samples))
    let blocks = SparseProductKernels<S>.blocks(terms: samples)
    for inputs in [1, 15, 16, 17, 47, 100] {
      let x: PaddedMatrix<S> = sparse(samples, inputs, density, &numbers)
      let lists = GuardedBytes(SparseProductKernels<S>.bytes(rows: inputs, blocks: blocks))
      sparseProducts.listColumns!(x.view, lists.base)
      #expect(lists.guardIsIntact && x.paddingIsIntact)
      for units in Self.columns(S.self) {
        let width = Self.padded(units, S.self)
        let z = PaddedMatrix<S>(samples, units, padding: width) { _, _ in numbers.normal() }
        let tile = PaddedMatrix<S>(samples, width, padding: 0) { _, _ in 9 }
        sparseProducts.layOutTile!(z.view, tile.view)
        let what = "\(S.self), \(samples) samples, \(inputs) × \(units), \(density)"
        let isLaidOut = (0..<samples).allSatisfy { row in
          (0..<width).allSatisfy { tile[row, $0] == ($0 < units ? z[row, $0] : 0) }
        }
        #expect(isLaidOut && tile.paddingIsIntact, "\(what)")
        let expected = PaddedMatrix<S>(inputs, width)
        gradient(x.view, tile.view, expected.view, false)
        for rows in Set([0..<inputs, inputs / 2..<inputs, 0..<min(48, inputs)]) {
          let y = PaddedMatrix<S>(rows.count, width) { _, _ in 9 }
          let part = SparsePart(listedRows: inputs, listedBlocks: blocks, rows: rows, blocks: 0..<blocks)
          sparseProducts.multiply!(lists.base, part, tile.view, y.view, false)
          let all = expected.elements[rows.lowerBound * width..<rows.upperBound * width]
          #expect(y.elements == Array(all) && y.paddingIsIntact, "\(what), rows \(rows)")
        }
      }
    }
  }

  @Test("Gradients have the bits of all samples", arguments: [1, 7, 16, 63, 64, 65, 128, 200], densities)
  func gradients(samples: Int, density: Double) {
    checkGradients(Float.self, samples: samples, density: density)
    checkGradients(Double.self, samples: samples, density: density)
  }

  /// zᵀ·x from lists of z's columns, whose transposed is xᵀ·z.
  private func checkTransposedGradients<S: KernelScalar>(_: S.Type, samples: Int, density: Double) {
    let table = S.kernels(for: .avx2)
    let (sparseProducts, gradient) = (table.sparseProducts, table.weightGradients.transposedProduct!)
    var numbers = TestNumbers(UInt64(samples))
    let blocks = SparseProductKernels<S>.blocks(terms: samples)
    for (inputs, units) in [(64, 64), (17, 48), (64, 50), (100, 7)] {
      let x = PaddedMatrix<S>(samples, inputs) { _, _ in numbers.normal() }
      let z: PaddedMatrix<S> = sparse(samples, units, density, &numbers)
      let lists = GuardedBytes(SparseProductKernels<S>.bytes(rows: units, blocks: blocks))
      sparseProducts.listColumns!(z.view, lists.base)
      let tile = PaddedMatrix<S>(samples, Self.padded(inputs, S.self), padding: 0)
      sparseProducts.layOutTile!(x.view, tile.view)
      let y = PaddedMatrix<S>(units, inputs) { _, _ in 9 }
      let part = SparsePart(listedRows: units, listedBlocks: blocks, rows: 0..<units, blocks: 0..<blocks)
      sparseProducts.multiply!(lists.base, part, tile.view, y.view, false)
      let width = Self.padded(units, S.self)
      let wide = PaddedMatrix<S>(samples, width) { $1 < units ? Double(z[$0, $1]) : 0 }
      let expected = PaddedMatrix<S>(inputs, width)
      gradient(x.view, wide.view, expected.view, false)
      let isSame = (0..<units).allSatisfy { unit in (0..<inputs).allSatisfy { y[unit, $0] == expected[$0, unit] } }
      #expect(
        isSame && lists.guardIsIntact && y.paddingIsIntact, "\(S.self), \(samples) × \(inputs) × \(units), \(density)")
    }
  }

  @Test("Transposed gradients have the bits of all samples", arguments: [32, 61, 64, 66, 127, 200], densities)
  func transposedGradients(samples: Int, density: Double) {
    checkTransposedGradients(Float.self, samples: samples, density: density)
    checkTransposedGradients(Double.self, samples: samples, density: density)
  }

  /// What is not finite is no zero.
  @Test func listsKeepWhatIsNotFinite() {
    func check<S: KernelScalar>(_: S.Type) {
      let products = S.kernels(for: .avx2).sparseProducts
      for value in [Double.nan, .infinity, -.infinity, S.self == Float.self ? 0x1p-149 : 0x1p-1074] {
        let x = PaddedMatrix<S>(4, 20) { $0 == 2 && $1 == 17 ? value : 0 }
        let lists = GuardedBytes(SparseProductKernels<S>.bytes(rows: 4, blocks: 1))
        products.listRows!(x.view, lists.base, 0, 1)
        let w = PaddedMatrix<S>(20, Self.vector(S.self), padding: 0) { _, _ in 1 }
        let y = PaddedMatrix<S>(4, Self.vector(S.self))
        products.multiply!(
          lists.base, SparsePart(listedRows: 4, listedBlocks: 1, rows: 0..<4, blocks: 0..<1), w.view, y.view, false)
        for row in 0..<4 {
          let expected = row == 2 ? S(value) : 0
          #expect(y[row, 3] == expected || y[row, 3].isNaN && expected.isNaN, "\(S.self) \(value), row \(row)")
        }
      }
    }
    check(Float.self)
    check(Double.self)
  }

  /// What a ReLU leaves is sparse, what it leaves of mostly positive numbers is not.
  @Test func sparseMatricesAreFound() {
    var numbers = TestNumbers(6)
    func isSparse(_ rows: Int, _ columns: Int, sixteenths: Int = 9, _ value: (Int, Int) -> Double) -> Bool {
      let x = PaddedMatrix<Float>(rows, columns, value)
      let (ofFloats, ofDoubles) = (
        Float.kernels(for: .avx2).sparseProducts.isSparse!(x.view, sixteenths),
        Double.kernels(for: .avx2).sparseProducts.isSparse!(x.widened.view, sixteenths)
      )
      #expect(ofFloats == ofDoubles)
      return ofFloats
    }
    for (rows, columns) in [(32, 256), (1000, 784), (100, 300)] {
      #expect(!isSparse(rows, columns) { _, _ in numbers.normal() })
      #expect(isSparse(rows, columns) { _, _ in max(0, numbers.normal()) })
      #expect(!isSparse(rows, columns) { _, _ in max(0, numbers.normal() + 0.7) })
      #expect(isSparse(rows, columns) { _, column in column % 28 < 14 ? -0.0 : numbers.normal() })
      #expect(isSparse(rows, columns) { _, _ in 0 })
    }
    #expect(!isSparse(64, 300, sixteenths: 5) { _, _ in max(0, numbers.normal()) })
    #expect(isSparse(64, 300, sixteenths: 5) { _, _ in max(0, numbers.normal() - 0.8) })
    // Nothing to look at.
    #expect(!isSparse(1, 7) { _, _ in 0 })
    #expect(!isSparse(0, 300) { _, _ in 0 })
  }
}
