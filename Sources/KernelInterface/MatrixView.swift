/// A row-major matrix somewhere in memory: what every kernel reads and writes.
///
/// Element (r, c) is at `base[r * stride + c]`; `stride ≥ columns`. The view owns nothing.
@frozen
public struct MatrixView<Scalar> {
  /// Element (0, 0).
  public var base: UnsafeMutablePointer<Scalar>
  /// Number of rows.
  public var rows: Int
  /// Number of columns.
  public var columns: Int
  /// Elements from one row to the next.
  public var stride: Int

  /// A view of `rows × columns` elements from `base`; rows lie `stride` (default: `columns`) elements apart.
  @inlinable @inline(__always)
  public init(base: UnsafeMutablePointer<Scalar>, rows: Int, columns: Int, stride: Int? = nil) {
    self.base = base
    self.rows = rows
    self.columns = columns
    self.stride = stride ?? columns
  }

  /// The columns `range` of the same rows.
  @inlinable @inline(__always)
  public func columns(_ range: Range<Int>) -> MatrixView {
    MatrixView(base: base + range.lowerBound, rows: rows, columns: range.count, stride: stride)
  }

  /// The rows `range` of the same columns.
  @inlinable @inline(__always)
  public func rows(_ range: Range<Int>) -> MatrixView {
    MatrixView(base: base + range.lowerBound * stride, rows: range.count, columns: columns, stride: stride)
  }
}
