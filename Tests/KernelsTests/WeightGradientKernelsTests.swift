import Kernels
import ReferenceKernels
import Testing

@Suite struct WeightGradientKernelsTests {
  /// Widths of a kernel's tile in vectors, which together take every shape of register tile.
  private static let widths = [1, 2, 3, 4, 5, 7]
  private static let inputs = [1, 3, 4, 5, 8, 9, 15, 16, 17, 33]
  private static let samples = [1, 2, 7, 15, 16, 17, 31, 33, 65, 128]

  private struct Case<S: KernelScalar> {
    let x, z, y, partial: TestMatrix<S>

    init(samples: Int, inputs: Int, units: Int) {
      var numbers = TestNumbers(UInt64(samples * 10_000 + inputs * 100 + units))
      x = TestMatrix(samples, inputs) { _, _ in S(numbers.normal()) }
      z = TestMatrix(samples, units) { _, _ in S(numbers.normal()) }
      y = TestMatrix(inputs, units, extra: 0) { _, _ in .nan }
      partial = TestMatrix(inputs, units, extra: 0) { _, _ in S(numbers.normal()) }
    }
  }

  private func forEachCase<S: KernelScalar>(_ type: S.Type, _ body: (Case<S>) -> Void) {
    let lanes = 64 / MemoryLayout<S>.stride
    for samples in Self.samples {
      for inputs in Self.inputs {
        for width in Self.widths { body(Case<S>(samples: samples, inputs: inputs, units: width * lanes)) }
      }
    }
  }

  private func checkProduct<S: KernelScalar>(_ table: KernelTable<S>) {
    guard let product = table.weightGradients.transposedProduct else { return }
    forEachCase(S.self) { test in
      let units = test.y.view.columns
      let exact = TestMatrix<Double>(test.y.view.rows, units, extra: 0)
      let magnitude = TestMatrix<Double>(test.y.view.rows, units, extra: 0)
      let (xExact, zExact) = (test.x.inDouble, test.z.inDouble)
      withExtendedLifetime((xExact, zExact)) {
        ReferenceKernels.multiply(xExact.view, transposeA: true, zExact.view, into: exact.view)
      }
      let x = TestMatrix<Double>(test.x.view.rows, test.x.view.columns) { abs(Double(test.x[$0, $1])) }
      let z = TestMatrix<Double>(test.z.view.rows, units) { abs(Double(test.z[$0, $1])) }
      withExtendedLifetime((x, z)) {
        ReferenceKernels.multiply(x.view, transposeA: true, z.view, into: magnitude.view)
      }
      // A fused multiply-add rounds once a term, and so does the oracle where it is no wider than the kernel.
      let bound = Double(test.x.view.rows + 1) * Double(S.ulpOfOne) * (S.self == Double.self ? 2 : 1)
      product(test.x.view, test.z.view, test.y.view, false)
      var worst = 0.0
      for row in 0..<test.y.view.rows {
        for column in 0..<units {
          let error = abs(Double(test.y[row, column]) - exact[row, column])
          worst = error.isNaN ? .infinity : max(worst, error / (bound * magnitude[row, column]))
        }
      }
      #expect(worst <= 1, "\(test.x.view.rows) samples, \(test.x.view.columns) × \(units): \(worst) of the bound")
    }
  }

  @Test(arguments: supportedSets) func productMeetsTheOracle(set: InstructionSet) {
    checkProduct(Float.kernels(for: set))
    checkProduct(Double.kernels(for: set))
  }

  /// Columns that fill no vector, and rows that do: which lane holds what depends on both.
  private func checkNarrow<S: KernelScalar>(_ table: KernelTable<S>) {
    guard let product = table.weightGradients.transposedProduct else { return }
    let lanes = 64 / MemoryLayout<S>.stride
    for columns in Array(1...lanes) + [lanes + 3, 2 * lanes + lanes / 2] {
      let padded = (columns + lanes - 1) / lanes * lanes
      for inputs in [lanes - 1, lanes, lanes + 1, lanes + lanes / 2, 2 * lanes - 1, 2 * lanes, 3 * lanes - 1] {
        for samples in [5, 33] {
          var numbers = TestNumbers(UInt64(samples * 10_000 + inputs * 100 + columns))
          let x = TestMatrix<S>(samples, inputs) { _, _ in S(numbers.normal()) }
          let z = TestMatrix<S>(samples, padded) { _, column in column < columns ? S(numbers.normal()) : 0 }
          // The row behind the last is somebody else's.
          let y = TestMatrix<S>(inputs + 1, padded, extra: 0) { _, _ in 7 }
          let (target, narrow) = (y.view.rows(0..<inputs), z.view.columns(0..<columns))
          for half in [0..<samples / 2, samples / 2..<samples] {
            product(x.view.rows(half), narrow.rows(half), target, half.lowerBound > 0)
          }
          // Two halves are summed as one; a sum of products rounds once a term, and the oracle in Double as often.
          let bound = Double(samples + 1) * Double(S.ulpOfOne) * (S.self == Double.self ? 2 : 1)
          var worst = 0.0
          for row in 0..<inputs {
            for column in 0..<padded {
              let terms = (0..<samples).map { Double(x[$0, row]) * Double(z[$0, column]) }
              let error = abs(Double(y[row, column]) - terms.reduce(0, +))
              worst = max(worst, error - bound * terms.reduce(0) { $0 + abs($1) })
              if error.isNaN { worst = .infinity }
            }
          }
          let what: Comment = "\(samples) samples, \(inputs) × \(columns)"
          #expect(worst <= 0, what)
          #expect((0..<padded).allSatisfy { y[inputs, $0] == 7 }, what)
        }
      }
    }
  }

  @Test(arguments: supportedSets) func narrowProductMeetsTheOracle(set: InstructionSet) {
    checkNarrow(Float.kernels(for: set))
    checkNarrow(Double.kernels(for: set))
  }

  /// Summing in two halves is summing in one go, to the bit.
  private func checkHalves<S: KernelScalar>(_ table: KernelTable<S>) {
    guard let product = table.weightGradients.transposedProduct else { return }
    forEachCase(S.self) { test in
      let rows = test.x.view.rows
      let halves = TestMatrix<S>(test.y.view.rows, test.y.view.columns, extra: 0)
      product(test.x.view, test.z.view, test.y.view, false)
      product(test.x.view.rows(0..<rows / 2), test.z.view.rows(0..<rows / 2), halves.view, false)
      product(test.x.view.rows(rows / 2..<rows), test.z.view.rows(rows / 2..<rows), halves.view, true)
      #expect(Self.bits(halves) == Self.bits(test.y), "\(rows) samples, \(test.x.view.columns) inputs")
    }
  }

  @Test(arguments: supportedSets) func accumulates(set: InstructionSet) {
    checkHalves(Float.kernels(for: set))
    checkHalves(Double.kernels(for: set))
  }

  /// The fused update is the product and then the update, to the bit.
  private func checkAdam<S: KernelScalar>(_ table: KernelTable<S>) {
    guard let product = table.weightGradients.transposedProduct, let fused = table.weightGradients.transposedProductAdam
    else {
      return
    }
    let sums = TestMatrix<S>(16, 64 / MemoryLayout<S>.stride, extra: 0)
    forEachCase(S.self) { test in
      // Weights that decay and weights that do not are updated by loops of their own.
      for (usesPartial, decay) in [(false, 0.99), (true, 1.0)] {
        let (inputs, units) = (test.y.view.rows, test.y.view.columns)
        var numbers = TestNumbers(7)
        let start = TestMatrix<S>(3 * inputs, units, extra: 0) { row, _ in
          S(row < 2 * inputs ? numbers.normal() : numbers.uniform())
        }
        func vectors(of matrix: TestMatrix<S>) -> [UnsafeMutablePointer<S>] {
          (0..<3).map { matrix.pointer + $0 * inputs * units }
        }
        let apart = TestMatrix<S>(3 * inputs, units, extra: 0) { start[$0, $1] }
        let together = TestMatrix<S>(3 * inputs, units, extra: 0) { start[$0, $1] }
        let gradient = TestMatrix<S>(inputs, units, extra: 0) { usesPartial ? test.partial[$0, $1] : 0 }
        product(test.x.view, test.z.view, gradient.view, usesPartial)
        let (a, b) = (vectors(of: apart), vectors(of: together))
        table.optimizers.adam(a[0], gradient.pointer, a[1], a[2], inputs * units, 0.01, 0.9, 0.999, 1e-7, decay)
        // Rows of somebody else's, to be asked for beside the products.
        let bytes = [UInt8](repeating: 0, count: 7 * 100)
        let order: [Int32] = [6, 0, 3]
        bytes.withUnsafeBytes { bytes in
          order.withUnsafeBufferPointer { order in
            var requests = LineRequests(
              base: bytes.baseAddress!, bytesPerRow: 100, indices: order.baseAddress!, count: order.count)
            fused(
              test.x.view, test.z.view, usesPartial ? UnsafePointer(test.partial.pointer) : nil, b[0], b[1], b[2],
              sums.pointer, 0.01, 0.9, 0.999, 1e-7, decay, &requests)
            #expect((0...9).contains(requests.left))
          }
        }
        #expect(
          Self.bits(apart) == Self.bits(together),
          "\(test.x.view.rows) samples, \(inputs) × \(units), partial: \(usesPartial)")
      }
    }
  }

  @Test(arguments: supportedSets) func adamBesideTheProductIsAdamAfterIt(set: InstructionSet) {
    checkAdam(Float.kernels(for: set))
    checkAdam(Double.kernels(for: set))
  }

  @Test func requestsNameEveryLineOfEachRowOnce() {
    let bytes = [UInt8](repeating: 0, count: 5 * 130)
    let order: [Int32] = [4, 1]
    bytes.withUnsafeBytes { bytes in
      order.withUnsafeBufferPointer { order in
        var requests = LineRequests(
          base: bytes.baseAddress!, bytesPerRow: 130, indices: order.baseAddress!, count: order.count)
        var offsets: [Int] = []
        while requests.left > 0 { offsets.append(requests.next() - bytes.baseAddress!) }
        // 130 bytes that begin anywhere lie in up to four lines; the last request is for the last byte.
        #expect(offsets == [520, 584, 648, 649, 130, 194, 258, 259])
      }
    }
  }

  @Test func groupsOfRequestsCoverAllRows() {
    let bytes = [UInt8](repeating: 0, count: 70 * 100)
    let order = (0..<70).map { Int32($0 * 7 % 70) }
    bytes.withUnsafeBytes { bytes in
      order.withUnsafeBufferPointer { order in
        var requests = LineRequests(
          base: bytes.baseAddress!, bytesPerRow: 100, indices: order.baseAddress!, count: order.count)
        var groups: [Int] = []
        var ends: [[Int]] = []
        while requests.left > 0 {
          if requests.beginsGroup {
            groups.append(requests.rowsOfGroup)
            for row in 0..<requests.rowsOfGroup {
              let (first, last) = requests.ends(row)
              ends.append([first - bytes.baseAddress!, last - bytes.baseAddress!])
            }
          }
          _ = requests.next()
        }
        #expect(groups == [32, 32, 6])
        #expect(ends == order.map { [Int($0) * 100, Int($0) * 100 + 99] })
      }
    }
  }

  private static func bits<S: KernelScalar>(_ matrix: TestMatrix<S>) -> [Double] {
    (0..<matrix.view.rows * matrix.view.columns).map { Double(matrix.pointer[$0]) }
  }
}
