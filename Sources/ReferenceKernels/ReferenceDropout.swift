import KernelInterface

// Inverted dropout, as in `DropoutKernels`.
extension ReferenceKernels {
  /// y = x/(1 − rate) where the mask of (key, row, firstColumn + column) keeps, else 0.
  @inlinable
  public static func dropout<T: BinaryFloatingPoint>(
    _ x: MatrixView<T>, _ y: MatrixView<T>, _ rate: Double, _ key: UInt64, _ firstColumn: Int
  ) {
    for row in 0..<x.rows {
      for column in 0..<x.columns {
        let keeps = dropoutKeeps(key: key, row: row, column: firstColumn + column, rate: rate)
        y.base[row * y.stride + column] = keeps ? x.base[row * x.stride + column] * T(1 / (1 - rate)) : 0
      }
    }
  }

  /// Whether the mask keeps an element: a hash of (key, row, column) below (1 − rate)·2³².
  ///
  /// Columns c and c + 16 of a block of 32 share a word, and differ in the factor that its last product takes.
  @inlinable
  public static func dropoutKeeps(key: UInt64, row: Int, column: Int, rate: Double) -> Bool {
    let golden: UInt64 = 0x9e37_79b9_7f4a_7c15
    let rowKey = mix(mix(key &+ golden) &+ UInt64(row) &* golden)
    let word = UInt32(truncatingIfNeeded: column / 32 * 16 + column % 16)
    var hash = word &* 0x9e37_79b9 &+ UInt32(truncatingIfNeeded: rowKey)
    hash = (hash ^ hash >> 16) &* 0x7feb_352d &+ UInt32(truncatingIfNeeded: rowKey >> 32)
    hash = (hash ^ hash >> 15) &* (column % 32 < 16 ? 0x846c_a68b : 0x9e37_79b1)
    return Double(hash) < ((1 - rate) * 0x1p32).rounded()
  }

  @usableFromInline
  static func mix(_ value: UInt64) -> UInt64 {
    var x = value
    x = (x ^ x >> 30) &* 0xbf58_476d_1ce4_e5b9
    x = (x ^ x >> 27) &* 0x94d0_49bb_1331_11eb
    return x ^ x >> 31
  }
}
