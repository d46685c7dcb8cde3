import LinearAlgebra

/// Hands out the matrices of a plan from one aligned block.
///
/// Sizes are asked for twice, in the same order: first to measure (base nil), then to place.
struct PlanArena<Scalar: NetworkScalar> {
  private let base: UnsafeMutablePointer<Scalar>?
  private(set) var used = 0

  init(base: UnsafeMutablePointer<Scalar>?) { self.base = base }

  /// Memory for `count` scalars at a multiple of 128 bytes (a pair of cache lines: neighbours do not share one).
  mutating func vector(_ count: Int) -> UnsafeMutablePointer<Scalar> {
    let unit = 128 / MemoryLayout<Scalar>.stride
    return take((count + unit - 1) / unit * unit)
  }

  /// The same where another member may write what follows.
  mutating func lastVector(_ count: Int) -> UnsafeMutablePointer<Scalar> {
    take(MemberSpacing.spaced(count, of: Scalar.self))
  }

  /// A matrix of `rows × columns`; `contiguous` ones have no gaps between rows.
  mutating func matrix(rows: Int, columns: Int, contiguous: Bool) -> MatrixView<Scalar> {
    let stride = contiguous ? columns : Self.stride(of: columns)
    return MatrixView(base: lastVector(rows * stride), rows: rows, columns: columns, stride: stride)
  }

  /// A tile of `rows × columns` that lies by itself, in rows as wide as those of its kernel.
  mutating func tile(rows: Int, columns: Int) -> MatrixView<Scalar> {
    let stride = ParameterStore<Scalar>.paddedWidth(columns)
    return MatrixView(base: lastVector(rows * stride), rows: rows, columns: columns, stride: stride)
  }

  private mutating func take(_ count: Int) -> UnsafeMutablePointer<Scalar> {
    defer { used += count }
    // While measuring, any address does: it is not used.
    return base.map { $0 + used } ?? UnsafeMutablePointer(bitPattern: 128)!
  }

  /// An odd number of whole cache lines: the rows of a tile then spread over all sets of the L1 cache.
  ///
  /// 64 columns of 128 rows that lie 512 bytes apart use half of the sets, which hold two thirds of them.
  static func stride(of columns: Int) -> Int {
    let line = 64 / MemoryLayout<Scalar>.stride
    return ((columns + line - 1) / line | 1) * line
  }
}
