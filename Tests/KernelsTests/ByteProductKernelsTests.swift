import Kernels
import Testing

private let table = ByteFixtures.table
private let kernels = table.byteProducts

/// Products of bytes against Double, on CPUs that have them.
@Suite(.enabled(if: kernels.multiply != nil, "this CPU has no AVX-512 VNNI")) struct ByteProductKernelsTests {
  @Test func gatheringKeepsEveryByte() {
    for (samples, columns) in [(1, 1), (3, 16), (4, 17), (5, 63), (8, 64), (13, 65), (32, 130)] {
      let bytes = ByteFixtures.Bytes(samples: samples, columns: columns, empty: 0.8)
      let groups = (samples + 3) / 4
      for sample in 0..<groups * 4 {
        for column in 0..<columns {
          let expected = sample < samples ? bytes.values[sample][column] : 0
          let place = column / 16 * groups + sample / 4
          #expect(bytes.batch.quads[place * 64 + column % 16 * 4 + sample % 4] == expected)
          let isOccupied = (sample / 4 * 4..<min(sample / 4 * 4 + 4, samples)).contains { sample in
            (column / 4 * 4..<min(column / 4 * 4 + 4, columns)).contains { bytes.values[sample][$0] != 0 }
          }
          #expect(bytes.batch.occupied[place] >> UInt8(column % 16 / 4) & 1 == (isOccupied ? 1 : 0))
          if sample < samples { #expect(bytes.batch.rows[sample * bytes.batch.stride + column] == expected) }
        }
      }
      for sample in 0..<samples {
        for column in columns..<bytes.batch.stride {
          #expect(bytes.batch.rows[sample * bytes.batch.stride + column] == 0)
        }
      }
    }
  }

  @Test func digitsAreTheNearestWholeNumberOfUnits() {
    for rows in [1, 3, 4, 5, 16, 31] {
      let w = ByteFixtures.matrix(rows, 32)
      let columns = ByteFixtures.apart(w)
      for column in 0..<32 {
        let unit = Double(columns.units[column])
        #expect(unit == unit.binade, "a unit is a power of two")
        let most = ByteFixtures.largest(w, column)
        // No more than 2²³ of them, and one binade less would be too few: 2⁻²³ of the largest at most.
        #expect(most / unit <= 0x1p23 / (1 + 0x1p-8) && unit <= most * 0x1p-22 * (1 + 0x1p-6))
        for row in 0..<rows {
          #expect(abs(Double(w[row, column]) / unit - Double(ByteFixtures.steps(columns, row, column))) <= 0.5)
        }
        for row in rows..<columns.groups * 4 { #expect(ByteFixtures.steps(columns, row, column) == 0) }
      }
    }
  }

  @Test func extremesAreTakenApart() {
    // At the edges of a binade, with the margin before it, and subnormal.
    let edges: [Float] = [
      1, Float(1).nextDown, 1.9921, 1.9922, 1.99, -1.9999999, 0, .leastNonzeroMagnitude, .leastNormalMagnitude,
      .greatestFiniteMagnitude, -0x1p-100, 3e-30, 8_355_711, -8_355_712, 1e10, -1e-10,
    ]
    let w = TestMatrix<Float>(2, 16) { row, column in row == 0 ? edges[column] : edges[column] / 3 }
    let columns = ByteFixtures.apart(w)
    for column in 0..<16 {
      for row in 0..<2 {
        let value = Double(ByteFixtures.steps(columns, row, column)) * Double(columns.units[column])
        #expect(abs(value - Double(w[row, column])) <= max(Double(columns.units[column]) / 2, 0x1p-119))
      }
    }
  }

  /// With images, of which groups of columns are left out, and with noise, of which none are.
  @Test(arguments: [0, 0.5, 0.9, 1]) func productMeetsTheOracle(empty: Double) {
    let scale = 1.0 / 255
    for (rows, inputs) in [
      (1, 1), (2, 3), (3, 4), (4, 15), (5, 16), (6, 17), (7, 64), (8, 65), (9, 100), (15, 784), (16, 33), (33, 130),
      (75, 66), (2, 4100),
    ] {
      let x = ByteFixtures.Bytes(samples: rows, columns: inputs, empty: empty)
      let w = ByteFixtures.matrix(inputs, 48)
      let columns = ByteFixtures.apart(w)
      for units in [1, 15, 16, 17, 31, 48] {
        let y = TestMatrix<Float>(rows, units)
        kernels.multiply!(x.batch, columns, scale, y.view)
        #expect(y.guardsIntact)
        for row in 0..<rows {
          for column in 0..<units {
            let exact = (0..<inputs).reduce(0.0) { $0 + Double(x.values[row][$1]) * Double(w[$1, column]) }
            let sum = x.values[row].reduce(0.0) { $0 + Double($1) }
            let bound = productBound(Double(columns.units[column]), sum, exact, terms: inputs)
            #expect(abs(Double(y[row, column]) - exact * Double(Float(scale))) <= bound * scale)
          }
        }
      }
    }
  }

  /// Half a unit for each weight; the whole number of them is exact until it becomes a float: three digits' sums and two
  /// additions are rounded, and two multiplications, each by 2⁻²⁴ of at most the result and 256·255·128 units a term.
  private func productBound(_ unit: Double, _ sumOfBytes: Double, _ exact: Double, terms: Int) -> Double {
    unit / 2 * sumOfBytes + 7 * 0x1p-24 * (abs(exact) + unit * Double(terms) * 256 * 255 * 128)
  }

  @Test(arguments: [0, 0.5, 0.9, 1]) func gradientMeetsTheOracle(empty: Double) {
    for (samples, inputs) in [(1, 4), (3, 5), (4, 16), (7, 17), (32, 33), (60, 65), (241, 20), (250, 18), (300, 64)] {
      let x = ByteFixtures.Bytes(samples: samples, columns: inputs, empty: empty)
      let z = ByteFixtures.matrix(samples, 48)
      let columns = ByteFixtures.apart(z)
      for first in Set([0, 4, inputs / 16 * 16, (inputs - 1) / 4 * 4]) where first < inputs {
        let y = TestMatrix<Float>(inputs - first, 48)
        kernels.gradient!(x.batch, columns, 0.5, first, y.view, nil)
        #expect(y.guardsIntact)
        for row in 0..<y.view.rows {
          for column in 0..<48 {
            var (exact, sum) = (0.0, 0.0)
            for sample in 0..<samples {
              let byte = Double(x.values[sample][first + row])
              exact += byte * Double(z[sample, column])
              sum += byte
            }
            let bound = productBound(Double(columns.units[column]), sum, exact, terms: samples)
            #expect(abs(Double(y[row, column]) - exact / 2) <= bound / 2)
          }
        }
      }
    }
  }

  /// The largest bytes in the longest sums that 32 bits of two digits hold, and one group more.
  @Test func longSumsDoNotOverflow() {
    for samples in [240, 244, 2000] {
      let x = ByteFixtures.Bytes(samples: samples, columns: 4, largest: 0)
      for i in 0..<samples * x.batch.stride { x.batch.rows[i] = 255 }
      for i in 0..<ByteBatch.quadBytes(columns: 4, samples: samples) { x.batch.quads[i] = 255 }
      for i in 0..<x.batch.groups { x.batch.occupied[i] = 1 }
      let z = TestMatrix<Float>(samples, 16) { _, column in column % 2 == 0 ? -1.984375 : 1.984375 }
      let y = TestMatrix<Float>(4, 16)
      kernels.gradient!(x.batch, ByteFixtures.apart(z), 1, 0, y.view, nil)
      for column in 0..<16 {
        let exact = Double(samples) * 255 * (column % 2 == 0 ? -1.984375 : 1.984375)
        #expect(abs(Double(y[3, column]) - exact) <= 4 * 0x1p-24 * abs(exact))
      }
    }
  }

  /// The fused update is the gradient and then the update, and the digits are those of the new weights, to the bit.
  @Test(arguments: [0, 0.7]) func updateIsGradientAndAdam(empty: Double) {
    var refused = 0
    for (samples, inputs, columns) in [
      (1, 4, 16), (5, 20, 32), (13, 64, 64), (16, 36, 48), (32, 100, 64), (260, 32, 32), (2, 8, 3), (5, 20, 20),
      (13, 64, 52), (16, 36, 40), (32, 100, 56), (60, 48, 17), (260, 32, 24),
    ] {
      let vectors = (columns + 15) / 16
      // Weights that decay and weights that do not; steps that leave the binade of the largest and steps that do not.
      for (decay, alpha) in [(1.0, 1e-6), (0.999, 1e-6), (1.0, 0.5)] {
        let x = ByteFixtures.Bytes(samples: samples, columns: inputs, empty: empty)
        let z = ByteFixtures.apart(ByteFixtures.matrix(samples, vectors * 16, used: columns))
        var numbers = TestNumbers(9)
        let start = TestMatrix<Float>(3 * inputs, vectors * 16, extra: 0) { row, column in
          let number = Float(row < 2 * inputs ? numbers.normal() : numbers.uniform())
          return column < columns ? number : 0
        }
        let gradient = TestMatrix<Float>(inputs, vectors * 16, extra: 0)
        kernels.gradient!(x.batch, z, 0.01, 0, gradient.view, nil)
        let size = inputs * vectors * 16
        let expected = TestMatrix<Float>(3 * inputs, vectors * 16, extra: 0) { start[$0, $1] }
        let before = ByteFixtures.digits(rows: inputs, vectors: vectors, columns: columns)
        kernels.takeApart!(MatrixView(base: start.pointer, rows: inputs, columns: vectors * 16), before)
        table.optimizers.adam(
          expected.pointer, gradient.pointer, expected.pointer + size, expected.pointer + 2 * size, size, alpha, 0.9,
          0.999, 1e-7, decay)
        let kernel = ByteFixtures.digits(rows: inputs, vectors: vectors, columns: columns)
        for column in 0..<vectors * 16 { kernel.units[column] = before.units[column] }
        let largest = UnsafeMutablePointer<Float>.allocate(capacity: vectors * 16)
        largest.initialize(repeating: 0, count: vectors * 16)
        var fits = false
        // In two calls, the first of which asks for lines.
        let requests = ByteFixtures.lineRequests(rows: 3)
        let all = requests.pointee.left
        let cut = min(16, inputs)
        for block in [0..<cut, cut..<inputs] where !block.isEmpty {
          let place = start.pointer + block.lowerBound * vectors * 16
          fits = kernels.gradientAdam!(
            x.batch, z, 0.01, block.lowerBound, block.count, place, place + size, place + 2 * size, kernel, largest,
            alpha, 0.9, 0.999, 1e-7, decay, block.lowerBound == 0 ? requests : nil)
        }
        let ofVectors = kernel.wholeVectors > 0 ? cut / 4 * kernel.wholeVectors + 1 : 0
        #expect(requests.pointee.left == max(0, all - ofVectors - (kernel.strips > 0 ? (cut + 15) / 16 * 4 : 0)))
        for row in 0..<3 * inputs {
          for column in 0..<vectors * 16 {
            #expect(start[row, column].bitPattern == expected[row, column].bitPattern)
          }
        }
        let after = ByteFixtures.digits(rows: inputs, vectors: vectors, columns: columns)
        kernels.takeApart!(MatrixView(base: start.pointer, rows: inputs, columns: vectors * 16), after)
        let same = (0..<vectors * 16).allSatisfy { after.units[$0] == kernel.units[$0] }
        #expect(fits == same)
        if fits { #expect(ByteFixtures.allDigits(kernel) == ByteFixtures.allDigits(after)) } else { refused += 1 }
      }
    }
    #expect(refused > 0, "no case left its units")
  }

  /// Block by block in units that are there: what `takeApart` makes of all rows at once, until a column leaves its binade.
  @Test func renewedDigitsAreThoseOfTheWeights() {
    for (inputs, columns) in [(5, 16), (20, 20), (35, 3), (66, 52), (100, 24), (64, 32)] {
      let vectors = (columns + 15) / 16
      for factor: Float in [1, 4] {
        let before = ByteFixtures.matrix(inputs, vectors * 16, used: columns)
        let w = TestMatrix<Float>(inputs, vectors * 16) { before[$0, $1] * ($1 == columns - 1 ? factor : 1) }
        let renewed = ByteFixtures.digits(rows: inputs, vectors: vectors, columns: columns)
        let units = ByteFixtures.apart(before, columns: columns).units
        for column in 0..<vectors * 16 { renewed.units[column] = units[column] }
        let most = UnsafeMutablePointer<Float>.allocate(capacity: vectors * 16)
        most.initialize(repeating: 0, count: vectors * 16)
        var fits = false
        for row in stride(from: 0, to: inputs, by: 32) {
          fits = kernels.renewDigits!(w.view.rows(row..<min(row + 32, inputs)), row, renewed, most)
        }
        for column in 0..<vectors * 16 { #expect(Double(most[column]) == ByteFixtures.largest(w, column)) }
        #expect(fits == (factor == 1))
        if fits {
          #expect(ByteFixtures.allDigits(renewed) == ByteFixtures.allDigits(ByteFixtures.apart(w, columns: columns)))
        }
      }
    }
  }

  @Test func gradientAsksForLines() {
    let x = ByteFixtures.Bytes(samples: 8, columns: 20)
    for (units, asked) in [(32, 10), (20, 13), (3, 8)] {
      let z = ByteFixtures.apart(ByteFixtures.matrix(8, (units + 15) / 16 * 16, used: units))
      let y = TestMatrix<Float>(20, 32)
      let requests = ByteFixtures.lineRequests(rows: 7)
      let all = requests.pointee.left
      kernels.gradient!(x.batch, z, 1, 0, y.view.columns(0..<units), requests)
      #expect(requests.pointee.left == all - asked)
    }
  }

  /// Sums are exact: it must not show how a kernel's last columns lie.
  @Test(arguments: [0, 0.7]) func stripsGiveTheBitsOfVectors(empty: Double) {
    for (rows, inputs) in [(1, 5), (3, 16), (4, 17), (5, 35), (8, 64), (9, 66), (12, 79), (60, 100)] {
      let x = ByteFixtures.Bytes(samples: rows, columns: inputs, empty: empty)
      for units in [1, 3, 4, 5, 8, 17, 20, 24, 52] {
        let vectors = (units + 15) / 16
        let w = ByteFixtures.matrix(inputs, vectors * 16, used: units)
        let strips = ByteFixtures.apart(w, columns: units)
        #expect(strips.strips == (units % 16 + 3) / 4)
        let whole = ByteFixtures.apart(w)
        #expect((0..<vectors * 16).allSatisfy { strips.units[$0] == whole.units[$0] })
        let expected = TestMatrix<Float>(rows, units)
        kernels.multiply!(x.batch, whole, 0.01, expected.view)
        let y = TestMatrix<Float>(rows, units)
        kernels.multiply!(x.batch, strips, 0.01, y.view)
        #expect(y.guardsIntact)
        for row in 0..<rows {
          for column in 0..<units { #expect(y[row, column].bitPattern == expected[row, column].bitPattern) }
        }
        let z = ByteFixtures.apart(ByteFixtures.matrix(rows, vectors * 16, used: units))
        for first in Set([0, inputs / 16 * 16]) where first < inputs {
          let ofVectors = TestMatrix<Float>(inputs - first, vectors * 16)
          kernels.gradient!(x.batch, z, 0.01, first, ofVectors.view, nil)
          let ofStrips = TestMatrix<Float>(inputs - first, vectors * 16) { _, _ in 99 }
          kernels.gradient!(x.batch, z, 0.01, first, ofStrips.view.columns(0..<units), nil)
          #expect(ofStrips.guardsIntact)
          for row in 0..<inputs - first {
            for column in 0..<vectors * 16 {
              #expect(ofStrips[row, column].bitPattern == ofVectors[row, column].bitPattern)
            }
          }
        }
      }
    }
  }

  @Test func numbersThatAreNotFiniteStayVisible() {
    let x = ByteFixtures.Bytes(samples: 8, columns: 20)
    for bad in [Float.nan, .infinity, -.infinity] {
      let w = TestMatrix<Float>(20, 16) { row, column in row == 7 && column == 3 ? bad : 1 }
      let y = TestMatrix<Float>(8, 16)
      kernels.multiply!(x.batch, ByteFixtures.apart(w), 1, y.view)
      let z = TestMatrix<Float>(8, 16) { row, column in row == 7 && column == 3 ? bad : 1 }
      let gradient = TestMatrix<Float>(20, 16)
      kernels.gradient!(x.batch, ByteFixtures.apart(z), 1, 0, gradient.view, nil)
      for row in 0..<8 {
        for column in 0..<16 { #expect(y[row, column].isNaN == (column == 3)) }
      }
      for row in 0..<20 {
        for column in 0..<16 { #expect(gradient[row, column].isNaN == (column == 3)) }
      }
    }
  }
}
