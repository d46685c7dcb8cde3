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
  @inlinable
  public static func dropoutKeeps(key: UInt64, row: Int, column: Int, rate: Double) -> Bool {
    let golden: UInt64 = 0x9e37_79b9_7f4a_7c15
    let rowKey = mix(mix(key &+ golden) &+ UInt64(row) &* golden)
    var hash = UInt32(truncatingIfNeeded: column) ^ UInt32(truncatingIfNeeded: rowKey)
    hash = mix(hash) &+ UInt32(truncatingIfNeeded: rowKey >> 32)
    hash = (hash ^ hash >> 16) &* 0x85eb_ca6b
    hash = (hash ^ hash >> 13) &* 0xc2b2_ae35
    return Double(hash) < ((1 - rate) * 0x1p32).rounded()
  }

  @usableFromInline
  static func mix(_ value: UInt64) -> UInt64 {
    var x = value
    x = (x ^ x >> 30) &* 0xbf58_476d_1ce4_e5b9
    x = (x ^ x >> 27) &* 0x94d0_49bb_1331_11eb
    return x ^ x >> 31
  }

  @usableFromInline
  static func mix(_ value: UInt32) -> UInt32 {
    var x = value
    x = (x ^ x >> 16) &* 0x85eb_ca6b
    x = (x ^ x >> 13) &* 0xc2b2_ae35
    return x ^ x >> 16
  }
}
