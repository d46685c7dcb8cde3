import Kernels
import Testing

/// Products that leave out what is zero: to the bits of those that do not, which so narrow ones are.
@Suite struct ZerosInProductsTests {
  /// Inputs with zeros in places of every kind; the others are drawn.
  private enum Pattern: CaseIterable {
    case margins, oneHot, columns, rows, oneBlock, negative, none, all, notFinite

    func keeps(_ row: Int, _ column: Int, of columns: Int) -> Bool {
      switch self {
      case .margins: column > columns / 4 && column < columns * 2 / 3
      case .oneHot: column == row * 37 % columns
      // The first and last of a four, and one after the last four.
      case .columns: [4, 11, columns - 1].contains(column)
      case .rows: row % 5 == 2
      case .oneBlock: row >= 6 || column % 8 > 5
      case .negative: column < 9
      case .none: true
      case .all: false
      case .notFinite: column == columns / 2
      }
    }
  }

  private static func inputs<S: KernelScalar>(
    _ pattern: Pattern, _ rows: Int, _ columns: Int, _ numbers: inout TestNumbers
  ) -> PaddedMatrix<S> {
    PaddedMatrix(rows, columns) { row, column in
      guard pattern.keeps(row, column, of: columns) else { return pattern == .negative ? -0.0 : 0 }
      return pattern == .notFinite ? (row % 2 == 0 ? .nan : .infinity) : numbers.normal()
    }
  }

  /// Holds `product` of all columns against products of `width` columns each; it is given what to write and which columns.
  private static func check<S: KernelScalar>(
    _: S.Type, _ rows: Int, _ columns: Int, width: Int, _ what: String,
    _ product: (MatrixView<S>, Range<Int>) -> Void
  ) {
    let (whole, narrow) = (
      PaddedMatrix<S>(rows, columns, padding: 16) { row, column in Double(row - column) },
      PaddedMatrix<S>(rows, columns, padding: 16) { row, column in Double(row - column) }
    )
    product(whole.view, 0..<columns)
    for first in stride(from: 0, to: columns, by: width) {
      let part = first..<min(first + width, columns)
      product(narrow.view.columns(part), part)
    }
    let areEqual = zip(whole.elements, narrow.elements).allSatisfy { $0 == $1 || ($0.isNaN && $1.isNaN) }
    #expect(areEqual, "\(what)")
    #expect(whole.paddingIsIntact && narrow.paddingIsIntact, "\(what)")
  }

  private func checkLayerProducts<S: KernelScalar>(_ table: KernelTable<S>) {
    // With more registers a narrow product has its sums in other parts, but leaves nothing out either.
    guard let multiply = table.layerProducts.multiply, table.instructionSet == "avx2" else { return }
    let lanes = 64 / MemoryLayout<S>.stride
    var numbers = TestNumbers(31)
    for pattern in Pattern.allCases {
      for (depth, columns) in [(64, 64), (67, 3 * lanes - 1), (129, 100), (784, 4 * lanes)] {
        let wide = (columns + lanes - 1) / lanes * lanes
        let w = PaddedMatrix<S>(depth, wide, padding: 0) { _, column in column < columns ? numbers.normal() : 0 }
        for rows in [1, 2, 3, 4, 5, 6, 7, 11, 12, 32] {
          let x: PaddedMatrix<S> = Self.inputs(pattern, rows, depth, &numbers)
          for adds in [false, true] {
            // A row or two take up to four vectors at once, whose sums have as many parts as there are registers left.
            Self.check(
              S.self, rows, columns, width: rows <= 2 ? columns : lanes,
              "\(table.instructionSet) \(S.self), \(pattern), \(rows) × \(columns) × \(depth), adds \(adds)"
            ) { y, part in
              let end = (part.upperBound + lanes - 1) / lanes * lanes
              multiply(x.view, w.view.columns(part.lowerBound..<end), y, adds)
            }
          }
        }
      }
    }
  }

  @Test(arguments: supportedSets) func layerProductsKeepTheirBits(set: InstructionSet) {
    checkLayerProducts(Float.kernels(for: set))
    checkLayerProducts(Double.kernels(for: set))
  }

  private func checkGradients<S: KernelScalar>(_ table: KernelTable<S>) {
    guard let product = table.weightGradients.transposedProduct else { return }
    let lanes = 64 / MemoryLayout<S>.stride
    var numbers = TestNumbers(32)
    for pattern in Pattern.allCases {
      for (inputs, units) in [(6, 2 * lanes), (47, 64), (100, 3 * lanes), (121, 64 + lanes)] {
        for samples in [7, 8, 9, 32, 129, 600] {
          let x: PaddedMatrix<S> = Self.inputs(pattern, samples, inputs, &numbers)
          let z = PaddedMatrix<S>(samples, units) { _, _ in numbers.normal() }
          for adds in [false, true] {
            Self.check(
              S.self, inputs, units, width: lanes,
              "\(table.instructionSet) \(S.self), \(pattern), \(samples) × \(inputs) × \(units), adds \(adds)"
            ) { y, part in product(x.view, z.view.columns(part), y, adds) }
          }
        }
      }
    }
  }

  @Test(arguments: supportedSets) func gradientsKeepTheirBits(set: InstructionSet) {
    checkGradients(Float.kernels(for: set))
    checkGradients(Double.kernels(for: set))
  }

  private func checkPanels<S: KernelScalar>(_ table: KernelTable<S>) {
    let kernels = table.products
    let lanes = 64 / MemoryLayout<S>.stride
    var numbers = TestNumbers(33)
    for pattern in Pattern.allCases {
      for (depth, units) in [(64, 64), (67, 3 * lanes - 1), (130, 7 * lanes + 1), (784, 128)] {
        let w = PaddedMatrix<S>(depth, units) { _, _ in numbers.normal() }
        var panels: [Range<Int>: PaddedMatrix<S>] = [:]
        for rows in [1, 2, 3, 4, 5, 6, 7, 13, 24, 25, 31] {
          let x: PaddedMatrix<S> = Self.inputs(pattern, rows, depth, &numbers)
          // Whole panels, whatever their width.
          Self.check(
            S.self, rows, units, width: 2 * lanes,
            "\(table.instructionSet) \(S.self), \(pattern), \(rows) × \(units) × \(depth)"
          ) { y, part in
            if panels[part] == nil {
              let packed = PaddedMatrix<S>(1, kernels.packedCount(depth, part.count))
              kernels.pack(w.view.columns(part), packed.pointer)
              panels[part] = packed
            }
            kernels.multiply(x.view, panels[part]!.pointer, y)
          }
        }
      }
    }
  }

  @Test(arguments: supportedSets) func panelsKeepTheirBits(set: InstructionSet) {
    checkPanels(Float.kernels(for: set))
    checkPanels(Double.kernels(for: set))
  }
}
