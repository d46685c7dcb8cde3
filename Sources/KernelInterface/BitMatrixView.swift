/// One bit for each element of a matrix, somewhere in memory: which elements a ReLU let through.
///
/// Element (r, c) is bit c mod 8 of byte `base[r * stride + c / 8]`. The view owns nothing.
@frozen
public struct BitMatrixView {
  /// The byte of element (0, 0).
  public var base: UnsafeMutablePointer<UInt8>
  /// Bytes from one row to the next.
  public var stride: Int

  /// A view of rows that lie `stride` bytes apart, `stride` at least `bytes(columns:)`.
  @inlinable @inline(__always)
  public init(base: UnsafeMutablePointer<UInt8>, stride: Int) {
    self.base = base
    self.stride = stride
  }

  /// Bytes that a row of `columns` bits takes: kernels write the bits of 16 columns at a time.
  @inlinable @inline(__always)
  public static func bytes(columns: Int) -> Int { (columns + 15) / 16 * 2 }

  /// The columns from `first`, a multiple of 16, of the same rows.
  @inlinable @inline(__always)
  public func columns(from first: Int) -> BitMatrixView { BitMatrixView(base: base + first / 8, stride: stride) }

  /// The rows from `first`.
  @inlinable @inline(__always)
  public func rows(from first: Int) -> BitMatrixView { BitMatrixView(base: base + first * stride, stride: stride) }

  /// The bit of element (row, column).
  @inlinable
  public subscript(_ row: Int, _ column: Int) -> Bool {
    get { base[row * stride + column / 8] & (1 << UInt8(column % 8)) != 0 }
    nonmutating set {
      let bit: UInt8 = 1 << UInt8(column % 8)
      if newValue { base[row * stride + column / 8] |= bit } else { base[row * stride + column / 8] &= ~bit }
    }
  }
}
