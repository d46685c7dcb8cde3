import Kernels
import Testing

/// Products whose operands are asked for ahead or packed, which follows from how wide their rows lie apart; those of
/// ordinary widths, to whose bits these are held, meet the oracle in `LayerProductKernelsTests` and
/// `WeightGradientKernelsTests`.
@Suite struct SixRowTilesTests {
  /// Elements that every computation reads in the same order: those of `matrix` with rows `stride` bytes apart.
  private static func wide<S: KernelScalar>(_ matrix: PaddedMatrix<S>, stride: Int) -> PaddedMatrix<S> {
    let padding = stride / MemoryLayout<S>.stride - matrix.view.columns
    return PaddedMatrix(matrix.view.rows, matrix.view.columns, padding: padding) { Double(matrix[$0, $1]) }
  }

  /// Rows far apart give the bits of rows side by side.
  private func checkGradients<S: KernelScalar>(_ table: KernelTable<S>) {
    guard let product = table.weightGradients.transposedProduct else { return }
    let lanes = 64 / MemoryLayout<S>.stride
    var numbers = TestNumbers(21)
    for samples in [63, 64, 65, 127, 128, 129] {
      for (inputs, units) in [(47, lanes), (48, 3 * lanes), (49, 64), (100, 2 * lanes), (64, 64 + lanes), (121, 64)] {
        let x = PaddedMatrix<S>(samples, inputs, padding: 0) { _, _ in numbers.normal() }
        let z = PaddedMatrix<S>(samples, units, padding: 0) { _, _ in numbers.normal() }
        let y = PaddedMatrix<S>(inputs, units, padding: 0) { _, _ in 7 }
        let what = "\(table.instructionSet) \(S.self), \(samples) samples, \(inputs) × \(units)"
        product(x.view, z.view, y.view, false)
        let (farX, farZ) = (Self.wide(x, stride: 8192), Self.wide(z, stride: 2048))
        let far = PaddedMatrix<S>(inputs, units, padding: lanes) { _, _ in 7 }
        product(farX.view, farZ.view, far.view, false)
        #expect(far.elements == y.elements, "\(what)")
        #expect(far.paddingIsIntact, "\(what)")
        // In two parts, of which the second goes on.
        let parts = PaddedMatrix<S>(inputs, units, padding: lanes) { _, _ in 7 }
        let cut = samples / 2
        product(farX.view.rows(0..<cut), farZ.view.rows(0..<cut), parts.view, false)
        product(farX.view.rows(cut..<samples), farZ.view.rows(cut..<samples), parts.view, true)
        #expect(parts.elements == y.elements, "\(what), in two parts")
        #expect(parts.paddingIsIntact, "\(what), in two parts")
      }
    }
  }

  @Test(arguments: supportedSets) func gradientsDoNotDependOnStrides(set: InstructionSet) {
    checkGradients(Float.kernels(for: set))
    checkGradients(Double.kernels(for: set))
  }

  private func checkProducts<S: KernelScalar>(_ table: KernelTable<S>) {
    guard let multiply = table.layerProducts.multiply else { return }
    let lanes = 64 / MemoryLayout<S>.stride
    var numbers = TestNumbers(22)
    for rows in [12, 13, 23, 24, 67] {
      for (depth, columns) in [(64, 64), (67, 3 * lanes - 1), (3, lanes)] {
        let wide = (columns + lanes - 1) / lanes * lanes
        let x = PaddedMatrix<S>(rows, depth, padding: 0) { _, _ in numbers.normal() }
        let w = PaddedMatrix<S>(depth, wide, padding: 0) { _, column in column < columns ? numbers.normal() : 0 }
        let near = PaddedMatrix<S>(rows, columns) { _, _ in 9 }
        multiply(x.view, w.view, near.view, false)
        // Together more than any L2 cache's half.
        let farX = Self.wide(x, stride: 1 << 16)
        let far = PaddedMatrix<S>(rows, columns) { _, _ in 9 }
        multiply(farX.view, w.view, far.view, false)
        let what = "\(table.instructionSet) \(S.self), \(rows) × \(columns) × \(depth)"
        #expect(far.elements == near.elements, "\(what)")
        #expect(far.paddingIsIntact, "\(what)")
      }
    }
  }

  @Test(arguments: supportedSets) func productsDoNotDependOnStrides(set: InstructionSet) {
    checkProducts(Float.kernels(for: set))
    checkProducts(Double.kernels(for: set))
  }

  /// Up to half a vector of last columns gives the bits of a whole vector whose other columns are zeros, whether all terms
  /// are added or only those of inputs that are not 0.
  private func checkHalves<S: KernelScalar>(_ table: KernelTable<S>) {
    guard let multiply = table.layerProducts.multiply, let product = table.weightGradients.transposedProduct,
      table.instructionSet == "avx2"
    else { return }
    let lanes = 64 / MemoryLayout<S>.stride
    var numbers = TestNumbers(24)
    for (rows, depth) in [(1, 1), (2, 66), (3, 65), (4, 67), (5, 64), (6, 131), (7, 3), (33, 100), (128, 49)] {
      for (whole, rest) in [(0, 1), (0, lanes / 2), (1, lanes / 2 - 1), (2, 3), (3, lanes / 2)] {
        let columns = whole * lanes + rest
        let wide = (whole + 1) * lanes
        for empty in [0, depth / 2] {
          let what = "\(table.instructionSet) \(S.self), \(rows) × \(columns) × \(depth), \(empty) empty columns"
          let x = PaddedMatrix<S>(rows, depth, padding: 8) { _, term in term < empty ? 0 : numbers.normal() }
          let w = PaddedMatrix<S>(depth, wide) { _, column in column < columns ? numbers.normal() : 0 }
          let z = PaddedMatrix<S>(rows, wide) { _, column in column < columns ? numbers.normal() : 0 }
          for adds in [false, true] {
            let (part, all) = (
              PaddedMatrix<S>(rows, columns) { Double($0 - $1) }, PaddedMatrix<S>(rows, wide) { Double($0 - $1) }
            )
            multiply(x.view, w.view, part.view, adds)
            multiply(x.view, w.view, all.view, adds)
            let first = (0..<rows).flatMap { row in (0..<columns).map { all[row, $0] } }
            #expect(part.elements == first && part.paddingIsIntact, "\(what), adds \(adds)")

            let start = { (row: Int, column: Int) in column < columns ? Double(row - column) : 0 }
            let (some, every) = (
              PaddedMatrix<S>(depth, wide, padding: 3, start), PaddedMatrix<S>(depth, wide, padding: 3, start)
            )
            product(x.view, z.view.columns(0..<columns), some.view, adds)
            product(x.view, z.view, every.view, adds)
            #expect(some.elements == every.elements && some.paddingIsIntact, "gradient, \(what), adds \(adds)")
          }
        }
      }
    }
  }

  @Test(arguments: supportedSets) func halvesOfVectorsKeepTheirBits(set: InstructionSet) {
    checkHalves(Float.kernels(for: set))
    checkHalves(Double.kernels(for: set))
  }

  private func checkAsking<S: KernelScalar>(_ table: KernelTable<S>) {
    let gradients = table.weightGradients
    guard let product = gradients.transposedProduct, let asking = gradients.transposedProductAsking else { return }
    let lanes = 64 / MemoryLayout<S>.stride
    let bytes = [UInt8](repeating: 0, count: 70 * 100)
    let order = (0..<70).map { Int32($0 * 7 % 70) }
    var numbers = TestNumbers(23)
    for samples in [1, 7, 8, 33, 64] {
      for (inputs, units) in [(1, lanes), (5, 2 * lanes), (6, lanes), (47, 64), (784, 64)] {
        let x = PaddedMatrix<S>(samples, inputs) { _, _ in numbers.normal() }
        let z = PaddedMatrix<S>(samples, units) { _, _ in numbers.normal() }
        let (plain, asked) = (PaddedMatrix<S>(inputs, units), PaddedMatrix<S>(inputs, units) { _, _ in 7 })
        product(x.view, z.view, plain.view, false)
        bytes.withUnsafeBytes { bytes in
          order.withUnsafeBufferPointer { order in
            var requests = LineRequests(
              base: bytes.baseAddress!, bytesPerRow: 100, indices: order.baseAddress!, count: order.count)
            let all = requests.left
            asking(x.view, z.view, asked.view, &requests)
            let possible = (inputs + 5) / 6 * min(16, units / lanes * samples / 8)
            #expect(requests.left == max(0, all - possible), "\(samples) samples, \(inputs) × \(units)")
          }
        }
        #expect(asked.elements == plain.elements, "\(samples) samples, \(inputs) × \(units)")
        #expect(asked.paddingIsIntact)
      }
    }
  }

  @Test(arguments: supportedSets) func askingChangesNoBit(set: InstructionSet) {
    checkAsking(Float.kernels(for: set))
    checkAsking(Double.kernels(for: set))
  }
}
