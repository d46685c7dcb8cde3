/// Cache lines of rows that lie all over a data set, to be asked for one after another while something else runs.
///
/// A core keeps some dozens of requests under way; one that comes on top of them stalls it.
public struct LineRequests {
  @usableFromInline let base: UnsafeRawPointer
  @usableFromInline let indices: UnsafePointer<Int32>
  @usableFromInline let bytesPerRow: Int
  @usableFromInline let linesPerRow: Int
  @usableFromInline var row = 0
  @usableFromInline var line = 0
  /// Lines not yet asked for.
  public var left: Int

  /// The rows of `bytesPerRow` bytes from `base` on that the first `count` of `indices` name.
  public init(base: UnsafeRawPointer, bytesPerRow: Int, indices: UnsafePointer<Int32>, count: Int) {
    self.base = base
    self.indices = indices
    self.bytesPerRow = bytesPerRow
    // One more, because rows begin anywhere in a line.
    linesPerRow = (bytesPerRow + 63) / 64 + 1
    left = linesPerRow * count
  }

  /// Rows whose pages are asked for together.
  @usableFromInline static var groupRows: Int { 32 }

  /// Whether the next line is the first of a group of rows, whose pages should be asked for before it.
  ///
  /// A request waits for its page's address, and what follows waits with it where the TLB does not hold the page; the
  /// addresses of many pages are found at once.
  @inlinable @inline(__always)
  public var beginsGroup: Bool { line == 0 && row % Self.groupRows == 0 }

  /// Rows of the group that begins.
  @inlinable @inline(__always)
  public var rowsOfGroup: Int { min(Self.groupRows, left / linesPerRow) }

  /// The first and last byte of a row of the group that begins: rows are shorter than pages, or prefetchers follow them.
  @inlinable @inline(__always)
  public func ends(_ rowOfGroup: Int) -> (first: UnsafeRawPointer, last: UnsafeRawPointer) {
    let first = base + (Int(indices[row &+ rowOfGroup]) &* bytesPerRow)
    return (first, first + (bytesPerRow &- 1))
  }

  /// The next line; call it only while lines are left.
  @inlinable @inline(__always)
  public mutating func next() -> UnsafeRawPointer {
    let last = bytesPerRow &- 1
    let offset = line &* 64 < last ? line &* 64 : last
    let address = base + (Int(indices[row]) &* bytesPerRow &+ offset)
    left &-= 1
    line &+= 1
    if line == linesPerRow {
      line = 0
      row &+= 1
    }
    return address
  }
}
