import Foundation
import Kernels
import Testing

private let table = Float.kernels(for: .widestSupported)
private let kernels = table.splitProducts

/// Products of split numbers against Double, on CPUs that have them.
@Suite(
  .enabled(
    if: kernels.packLeft != nil, "this CPU has no AMX-BF16, or the system does not let this process use it")
) struct SplitProductKernelsTests {
  /// A factor split each way; the memory is never freed.
  private func operand(
    _ count: Int, terms: Int, _ split: (UnsafeMutablePointer<UInt8>) -> Void
  ) -> UnsafeMutablePointer<UInt8> {
    let bytes = max(
      kernels.layout.leftBytes(rows: count, terms: terms), kernels.layout.rightBytes(columns: count, terms: terms))
    let result = UnsafeMutablePointer<UInt8>.allocate(capacity: bytes)
    // Rests of former operands must not show.
    result.initialize(repeating: 0x7f, count: bytes)
    split(result)
    return result
  }

  private func transposed(_ x: TestMatrix<Float>) -> TestMatrix<Float> {
    TestMatrix(x.view.columns, x.view.rows) { x[$1, $0] }
  }

  /// x·w in all four ways of splitting, which have the same bits.
  private func product(_ x: TestMatrix<Float>, _ w: TestMatrix<Float>) -> TestMatrix<Float> {
    let (rows, columns, terms) = (x.view.rows, w.view.columns, x.view.columns)
    let (xColumns, wColumns) = (transposed(x), transposed(w))
    defer { withExtendedLifetime((xColumns, wColumns)) {} }
    let lefts = [
      operand(rows, terms: terms) { kernels.packLeft!(x.view, $0, 0, terms) },
      operand(rows, terms: terms) { kernels.packLeftTransposed!(xColumns.view, $0) },
    ]
    let rights = [
      operand(columns, terms: terms) { kernels.packRight!(w.view, $0, 0, terms) },
      operand(columns, terms: terms) { kernels.packRightTransposed!(wColumns.view, $0, 0, terms) },
    ]
    let result = TestMatrix<Float>(rows, columns)
    kernels.multiply!(lefts[0], rights[0], terms, result.view)
    #expect(result.guardsIntact)
    for (left, right) in [(1, 0), (0, 1), (1, 1)] {
      let other = TestMatrix<Float>(rows, columns) { _, _ in 99 }
      kernels.multiply!(lefts[left], rights[right], terms, other.view)
      #expect(other.guardsIntact && ByteFixtures.haveSameBits(other, result), "\(rows) × \(columns) × \(terms)")
    }
    return result
  }

  private func normal(_ rows: Int, _ columns: Int, _ scales: [Double] = [1]) -> TestMatrix<Float> {
    var numbers = TestNumbers(UInt64(rows * 77 + columns))
    return TestMatrix(rows, columns) { row, column in
      Float(numbers.normal() * scales[(row + column) % scales.count])
    }
  }

  /// Each term's product is exact but for 2⁻²⁶ of it.
  ///
  /// In a sum of up to 128 terms the small parts, at most 2⁻⁷ of all, are
  /// rounded 640 times and the large ones 128 times, each by 2⁻²⁴ of the sum of magnitudes; each sum is rounded once more.
  @Test(arguments: [
    (1, 1, 1), (3, 2, 5), (16, 16, 32), (17, 15, 31), (31, 33, 33), (32, 32, 64), (33, 48, 65), (70, 52, 127),
    (48, 17, 128), (65, 64, 129), (100, 36, 300), (40, 64, 1000),
  ])
  func productMeetsTheOracle(rows: Int, columns: Int, terms: Int) {
    for scales in [[1.0], [1, 1e-3, 30, 1e-12]] {
      let (x, w) = (normal(rows, terms, scales), normal(terms, columns, scales))
      let y = product(x, w)
      let roundings = Double(min(terms, 128)) + 5 + Double((terms + 127) / 128) + 1
      for row in 0..<rows {
        for column in 0..<columns {
          var (exact, magnitude) = (0.0, 0.0)
          for term in 0..<terms {
            let value = Double(x[row, term]) * Double(w[term, column])
            exact += value
            magnitude += abs(value)
          }
          let bound = roundings * 0x1p-24 * magnitude + Double(6 * terms) * 0x1p-126
          #expect(abs(Double(y[row, column]) - exact) <= bound, "\(rows) × \(columns) × \(terms)")
        }
      }
    }
  }

  /// The mean error of long sums, over that of the same sums of rounded products one after another.
  @Test func sumsAreNearerThanThoseOfFloats() {
    let (rows, columns, terms) = (48, 32, 1024)
    let (x, w) = (normal(rows, terms), normal(terms, columns))
    let y = product(x, w)
    var (split, plain) = (0.0, 0.0)
    for row in 0..<rows {
      for column in 0..<columns {
        var (exact, sum) = (0.0, Float(0))
        for term in 0..<terms {
          exact += Double(x[row, term]) * Double(w[term, column])
          sum += x[row, term] * w[term, column]
        }
        split += abs(Double(y[row, column]) - exact)
        plain += abs(Double(sum) - exact)
      }
    }
    #expect(split <= plain / 4, "\(split / plain) times")
  }

  /// A number's three parts make it again: times 1 it keeps its bits.
  @Test func splittingLosesNothing() {
    var numbers = TestNumbers(3)
    let edges: [Float] = [
      1, Float(1).nextDown, Float(1).nextUp, -1.9999999, 0x1.010102p0, 0x1.00ffp0, 0x1.ff7ffep-3, 8_388_607, -3e30,
      3e-30,
      0x1.fefffep100, 0,
    ]
    let x = TestMatrix<Float>(40, 40) { row, column in
      row == 0 && column < edges.count
        ? edges[column] : Float(numbers.normal() * Foundation.pow(2, numbers.uniform() * 160 - 80))
    }
    let one = TestMatrix<Float>(40, 40) { $0 == $1 ? 1 : 0 }
    #expect(ByteFixtures.haveSameBits(product(x, one), x))
    #expect(ByteFixtures.haveSameBits(product(one, x), x))
  }

  /// Terms that come in pieces, each with chunks of its own, and rows that are some of an operand's.
  @Test func piecesMakeTheSame() {
    let widths = [48, 16, 64, 5]
    let terms = widths.reduce(0) { $0 + kernels.layout.padded(terms: $1) }
    let (rows, columns) = (100, 40)
    let (x, w) = (normal(rows, widths.reduce(0, +)), normal(widths.reduce(0, +), columns))
    let left = operand(rows, terms: terms) { left in
      var (first, column) = (0, 0)
      for width in widths {
        kernels.packLeft!(x.view.columns(column..<column + width), left, first, terms)
        first += kernels.layout.padded(terms: width)
        column += width
      }
    }
    let right = operand(columns, terms: terms) { right in
      var (first, row) = (0, 0)
      for width in widths {
        kernels.packRight!(w.view.rows(row..<row + width), right, first, terms)
        first += kernels.layout.padded(terms: width)
        row += width
      }
    }
    let all = TestMatrix<Float>(rows, columns)
    kernels.multiply!(left, right, terms, all.view)
    for row in 0..<rows {
      for column in 0..<columns {
        var (exact, magnitude) = (0.0, 0.0)
        for term in 0..<w.view.rows {
          exact += Double(x[row, term]) * Double(w[term, column])
          magnitude += abs(Double(x[row, term]) * Double(w[term, column]))
        }
        #expect(abs(Double(all[row, column]) - exact) <= 136 * 0x1p-24 * magnitude)
      }
    }
    for block in [0..<32, 32..<96, 96..<100] {
      let some = TestMatrix<Float>(block.count, columns)
      kernels.multiply!(left + kernels.layout.place(ofRow: block.lowerBound, terms: terms), right, terms, some.view)
      #expect(some.guardsIntact)
      for row in 0..<block.count {
        for column in 0..<columns {
          #expect(some[row, column].bitPattern == all[block.lowerBound + row, column].bitPattern)
        }
      }
    }
  }

  @Test func numbersThatAreNotFiniteStayVisible() {
    for bad in [Float.nan, -.nan, Float(bitPattern: 0x7fff_ffff), .infinity, -.infinity] {
      let (x, w) = (normal(40, 50), normal(50, 40))
      x[7, 33] = bad
      w[21, 3] = bad
      let y = product(x, w)
      for row in 0..<40 {
        for column in 0..<40 { #expect(y[row, column].isFinite == (row != 7 && column != 3)) }
      }
    }
  }
}
