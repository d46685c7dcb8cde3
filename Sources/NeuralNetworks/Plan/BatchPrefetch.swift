import CPUFeatures
import Kernels

/// Asks for the rows of the next batch while this one is computed.
///
/// A shuffled batch lies all over a data set that is larger than the caches; gathering it would wait for memory a row
/// at a time. The requests are spread over the products of the step, because a core keeps only some dozens under way.
struct BatchPrefetch {
  private let base: UnsafeRawPointer
  private let indices: UnsafePointer<Int32>
  private let bytesPerRow: Int
  private let linesPerRow: Int
  private let lineCount: Int
  private var nextLine = 0
  private let work: Int

  /// A batch larger than this would push the step's own data out of the L2 cache.
  private static let largest = 1 << 18

  /// The rows that `indices` names for one member, whose products in this step have `work` weights together; nil where
  /// there is nothing to ask for.
  init?<Scalar: NetworkScalar>(
    _ source: BatchSource<Scalar>?, columns: Int, indices: UnsafePointer<Int32>?, rows: Range<Int>, work: Int
  ) {
    guard let source, let indices, !rows.isEmpty, work > 0 else { return nil }
    switch source.inputs {
    case .bytes(let bytes, _, _), .bytesByColumn(let bytes, _, _):
      base = UnsafeRawPointer(bytes)
      bytesPerRow = columns
    case .scalars(let scalars):
      base = UnsafeRawPointer(scalars)
      bytesPerRow = columns * MemoryLayout<Scalar>.stride
    }
    guard bytesPerRow * rows.count <= Self.largest else { return nil }
    self.indices = indices + rows.lowerBound
    // One more, because rows begin anywhere in a line.
    linesPerRow = (bytesPerRow + 63) / 64 + 1
    lineCount = linesPerRow * rows.count
    self.work = work
  }

  /// Asks for the share that belongs to `weights` of the member's weights.
  @inline(__always)
  mutating func advance(weights: Int) {
    let end = min(lineCount, nextLine + (lineCount * weights + work - 1) / work)
    var row = nextLine / linesPerRow
    var line = nextLine % linesPerRow
    for _ in nextLine..<end {
      let offset = min(line * 64, bytesPerRow - 1)
      lamina_prefetch(base + (Int(indices[row]) * bytesPerRow + offset))
      line += 1
      if line == linesPerRow { (row, line) = (row + 1, 0) }
    }
    nextLine = end
  }
}
