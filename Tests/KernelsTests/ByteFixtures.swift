import Kernels
import Testing

/// Batches of bytes, and matrices in digits, for tests of products of bytes.
enum ByteFixtures {
  /// The widest kernels: those that may have products of bytes.
  static let table =
    Float.kernels(for: .widestSupported)
  private static let kernels = table.byteProducts

  /// Bytes of a data set whose rows are drawn in an order of their own, gathered into a batch.
  ///
  /// The memory is never freed: kernels take bare pointers.
  struct Bytes {
    let values: [[UInt8]]
    let batch: ByteBatch
    let columns: Int

    /// Bytes below `largest`, or with `empty` runs of seven columns of which so large a share is 0, as of images.
    init(samples: Int, columns: Int, largest: Double = 256, empty: Double = 0) {
      var numbers = TestNumbers(UInt64(samples * 1000 + columns))
      let all = (0..<samples + 2).map { _ in
        var isEmpty = false
        return (0..<columns).map { column in
          if column % 7 == 0 { isEmpty = numbers.uniform() < empty }
          let byte = UInt8(numbers.uniform() * largest)
          return isEmpty ? 0 : byte
        }
      }
      let order = (0..<samples).map { Int32(($0 * 7 + 1) % (samples + 2)) }
      values = order.map { all[Int($0)] }
      self.columns = columns
      let stride = ByteBatch.stride(columns: columns)
      let rows = UnsafeMutablePointer<UInt8>.allocate(capacity: samples * stride)
      rows.initialize(repeating: 0, count: samples * stride)
      let quads = UnsafeMutablePointer<UInt8>.allocate(
        capacity: ByteBatch.quadBytes(columns: columns, samples: samples))
      quads.initialize(repeating: 99, count: ByteBatch.quadBytes(columns: columns, samples: samples))
      let occupied = UnsafeMutablePointer<UInt8>.allocate(
        capacity: ByteBatch.occupiedBytes(columns: columns, samples: samples))
      occupied.initialize(repeating: 255, count: ByteBatch.occupiedBytes(columns: columns, samples: samples))
      let bytesByColumn = ByteBatch.byColumnBytes(columns: columns, samples: samples)
      let byColumn = UnsafeMutablePointer<UInt8>.allocate(capacity: bytesByColumn)
      byColumn.initialize(repeating: 99, count: bytesByColumn)
      batch = ByteBatch(
        rows: rows, stride: stride, quads: quads, occupied: occupied, byColumn: byColumn, samples: samples)
      let source = all.flatMap { $0 }
      // In two parts, as two members of a team do.
      let half = samples / 8 * 4
      if half > 0 { kernels.gather!(source, order, columns, 0, half, batch) }
      kernels.gather!(source, order, columns, half, samples - half, batch)
      if half > 0 { kernels.layOutByColumn?(columns, 0, half, batch) }
      kernels.layOutByColumn?(columns, half, samples - half, batch)
    }
  }

  static func digits(rows: Int, vectors: Int, columns: Int? = nil) -> DigitColumns<Float> {
    let bytes = DigitColumns<Float>.digitBytes(rows: rows, vectors: vectors)
    let digits = UnsafeMutablePointer<Int8>.allocate(capacity: bytes)
    digits.initialize(repeating: 77, count: bytes)
    let units = UnsafeMutablePointer<Float>.allocate(capacity: vectors * 16)
    units.initialize(repeating: 0, count: vectors * 16)
    return DigitColumns(digits: digits, units: units, vectors: vectors, groups: (rows + 3) / 4, columns: columns)
  }

  /// Requests for up to seven rows of a hundred bytes, in an order of their own; never freed.
  static func lineRequests(rows: Int) -> UnsafeMutablePointer<LineRequests> {
    let bytes = UnsafeMutableRawPointer.allocate(byteCount: 700, alignment: 64)
    let order = UnsafeMutableBufferPointer<Int32>.allocate(capacity: 7)
    _ = order.initialize(from: [6, 0, 3, 1, 2, 5, 4])
    let requests = UnsafeMutablePointer<LineRequests>.allocate(capacity: 1)
    requests.initialize(
      to: LineRequests(base: bytes, bytesPerRow: 100, indices: UnsafePointer(order.baseAddress!), count: rows))
    return requests
  }

  /// Where `columns` of a kernel count, the last ones may lie as strips.
  static func apart(_ matrix: TestMatrix<Float>, columns: Int? = nil) -> DigitColumns<Float> {
    let result = digits(rows: matrix.view.rows, vectors: matrix.view.columns / 16, columns: columns)
    kernels.takeApart!(matrix.view, result)
    return result
  }

  /// The number that the digits of an element stand for, without its unit.
  static func steps(_ columns: DigitColumns<Float>, _ row: Int, _ column: Int) -> Int {
    let group = columns.digits + (column / 16 * columns.groups + row / 4) * 192 + column % 16 * 4 + row % 4
    return Int(group[0]) + 256 * Int(group[64]) + 65_536 * Int(group[128])
  }

  static func allDigits(_ columns: DigitColumns<Float>) -> [Int8] {
    Array(UnsafeBufferPointer(start: columns.digits, count: columns.vectors * columns.groups * 192))
  }

  /// Columns of magnitudes far apart, 0 after the first `used`.
  static func matrix(_ rows: Int, _ columns: Int, used: Int = .max) -> TestMatrix<Float> {
    var numbers = TestNumbers(UInt64(rows * 77 + columns))
    return TestMatrix(rows, columns) { _, column in
      let number = Float(numbers.normal() * [1, 1e-3, 30, 1e-20][column % 4])
      return column < used ? number : 0
    }
  }

  static func largest(_ matrix: TestMatrix<Float>, _ column: Int) -> Double {
    (0..<matrix.view.rows).reduce(0) { max($0, abs(Double(matrix[$1, column]))) }
  }

  static func haveSameBits(_ a: TestMatrix<Float>, _ b: TestMatrix<Float>) -> Bool {
    (0..<a.view.rows).allSatisfy { row in
      (0..<a.view.columns).allSatisfy { a[row, $0].bitPattern == b[row, $0].bitPattern }
    }
  }
}
