import Kernels
import Testing

private let table = ByteFixtures.table
private let kernels = table.byteProducts

/// Products of bytes in tiles against those of vectors, whose bits they share, on CPUs that have them.
@Suite(
  .enabled(
    if: kernels.multiplyTiles != nil, "this CPU has no AMX-INT8, or the system does not let this process use it")
) struct ByteTileKernelsTests {
  /// Samples and inputs, around whole tiles and chunks of 64 terms.
  private static let shapes = [
    (1, 64), (15, 64), (16, 61), (16, 64), (17, 65), (24, 784), (31, 100), (32, 128), (33, 66), (48, 129), (60, 100),
    (64, 80), (65, 96), (100, 68), (129, 64), (260, 72), (1030, 64),
  ]

  @Test func aBatchLiesByColumn() {
    for (samples, columns) in Self.shapes {
      let x = ByteFixtures.Bytes(samples: samples, columns: columns)
      let stride = 4 * ByteBatch.paddedGroups(x.batch.groups)
      #expect(stride >= samples && stride % min(stride, 4) == 0)
      var wrong = 0
      for column in 0..<columns {
        for sample in 0..<stride {
          let expected = sample < samples ? x.values[sample][column] : 0
          if x.batch.byColumn![column * stride + sample] != expected { wrong += 1 }
        }
      }
      #expect(wrong == 0, "\(samples) × \(columns)")
    }
  }

  /// Sums are exact: the products' bits are those of vectors, which meet the oracle.
  @Test func tilesMultiplyToTheBitsOfVectors() {
    for (rows, inputs) in Self.shapes {
      let x = ByteFixtures.Bytes(samples: rows, columns: inputs)
      for units in [16, 17, 31, 48, 52] {
        let w = ByteFixtures.apart(ByteFixtures.matrix(inputs, (units + 15) / 16 * 16, used: units), columns: units)
        let (expected, y) = (TestMatrix<Float>(rows, units), TestMatrix<Float>(rows, units))
        kernels.multiply!(x.batch, w, 0.01, expected.view)
        kernels.multiplyTiles!(x.batch, w, 0.01, y.view)
        #expect(y.guardsIntact && ByteFixtures.haveSameBits(y, expected), "\(rows) × \(inputs) × \(units)")
      }
    }
  }

  @Test func tilesMakeTheGradientOfVectors() {
    for (samples, inputs) in Self.shapes {
      let x = ByteFixtures.Bytes(samples: samples, columns: inputs)
      for units in [16, 20, 48] {
        let z = ByteFixtures.apart(ByteFixtures.matrix(samples, (units + 15) / 16 * 16, used: units))
        for first in Set([0, inputs / 32 * 16, (inputs - 1) / 16 * 16]) {
          let columns = z.vectors * 16
          let (expected, y) = (TestMatrix<Float>(inputs - first, columns), TestMatrix<Float>(inputs - first, columns))
          let (asked, inTiles) = (ByteFixtures.lineRequests(rows: 7), ByteFixtures.lineRequests(rows: 7))
          kernels.gradient!(x.batch, z, 0.5, first, expected.view.columns(0..<units), asked)
          kernels.gradientTiles!(x.batch, z, 0.5, first, y.view.columns(0..<units), inTiles)
          #expect(
            y.guardsIntact && ByteFixtures.haveSameBits(y, expected), "\(samples) × \(inputs) × \(units) from \(first)")
          #expect(asked.pointee.left == inTiles.pointee.left)
        }
      }
    }
  }

  @Test(arguments: [(1.0, 1e-6), (0.999, 1e-6), (1.0, 0.5)])
  func tilesUpdateToTheBitsOfVectors(decay: Double, alpha: Double) {
    for (samples, inputs) in Self.shapes where inputs % 4 == 0 {
      let x = ByteFixtures.Bytes(samples: samples, columns: inputs)
      for columns in [16, 40, 48, 80] {
        let vectors = (columns + 15) / 16
        let z = ByteFixtures.apart(ByteFixtures.matrix(samples, vectors * 16, used: columns))
        let size = inputs * vectors * 16
        var results: [(weights: TestMatrix<Float>, digits: [Int8], largest: [Float], fits: Bool, left: Int)] = []
        for update in [kernels.gradientAdam!, kernels.gradientAdamTiles!] {
          var numbers = TestNumbers(9)
          let weights = TestMatrix<Float>(3 * inputs, vectors * 16, extra: 0) { row, column in
            let number = Float(row < 2 * inputs ? numbers.normal() : numbers.uniform())
            return column < columns ? number : 0
          }
          let kernel = ByteFixtures.digits(rows: inputs, vectors: vectors, columns: columns)
          kernels.takeApart!(MatrixView(base: weights.pointer, rows: inputs, columns: vectors * 16), kernel)
          let largest = UnsafeMutablePointer<Float>.allocate(capacity: vectors * 16)
          largest.initialize(repeating: 0, count: vectors * 16)
          let requests = ByteFixtures.lineRequests(rows: 7)
          var fits = false
          for row in stride(from: 0, to: inputs, by: 64) {
            let place = weights.pointer + row * vectors * 16
            fits = update(
              x.batch, z, 0.01, row, min(64, inputs - row), place, place + size, place + 2 * size, kernel, largest,
              alpha, 0.9, 0.999, 1e-7, decay, requests)
          }
          results.append(
            (
              weights, ByteFixtures.allDigits(kernel), Array(UnsafeBufferPointer(start: largest, count: vectors * 16)),
              fits,
              requests.pointee.left
            ))
        }
        let (expected, result) = (results[0], results[1])
        #expect(ByteFixtures.haveSameBits(result.weights, expected.weights), "\(samples) × \(inputs) × \(columns)")
        #expect(result.digits == expected.digits && result.largest == expected.largest)
        #expect(result.fits == expected.fits)
        // The last of a call's vectors is updated after all products: there one line more is asked for.
        #expect(expected.left == max(0, result.left - (inputs + 63) / 64))
      }
    }
  }
}
