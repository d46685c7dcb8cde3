import CPUFeatures
import Kernels

/// Asks for the rows of the next batch while this one is computed.
///
/// A shuffled batch lies all over a data set that is larger than the caches; gathering it would wait for memory a row
/// at a time. The requests are spread over the products of the step, because a core keeps only some dozens under way.
struct BatchPrefetch {
  /// The lines not yet asked for.
  var requests: LineRequests
  /// Weights of products still to come.
  private var weightsLeft: Int

  /// A batch larger than this would push the step's own data out of the L2 cache.
  private static let largest = 1 << 19

  /// The rows that `indices` names for one member, whose products in this step have `weights` weights together; nil where
  /// there is nothing to ask for.
  init?<Scalar: NetworkScalar>(
    _ source: BatchSource<Scalar>?, columns: Int, indices: UnsafePointer<Int32>?, rows: Range<Int>, weights: Int
  ) {
    guard let source, let indices, !rows.isEmpty, weights > 0 else { return nil }
    let base: UnsafeRawPointer
    var bytesPerRow = columns
    switch source.inputs {
    case .bytes(let bytes, _, _), .bytesByColumn(let bytes, _, _): base = UnsafeRawPointer(bytes)
    case .scalars(let scalars):
      base = UnsafeRawPointer(scalars)
      bytesPerRow *= MemoryLayout<Scalar>.stride
    }
    guard bytesPerRow * rows.count <= Self.largest else { return nil }
    requests = LineRequests(
      base: base, bytesPerRow: bytesPerRow, indices: indices + rows.lowerBound, count: rows.count)
    weightsLeft = weights
  }

  /// Asks for the share that belongs to `weights` of the member's weights.
  @inline(__always)
  mutating func advance(weights: Int) {
    let share = (requests.left * weights + weightsLeft - 1) / weightsLeft
    weightsLeft -= weights
    for _ in 0..<min(share, requests.left) { lamina_prefetch(requests.next()) }
  }

  /// Whether a product of `weights` weights and `samples` samples, which asks for a line with every eight samples of a tile
  /// of `tile` weights, should begin to ask: as late as leaves time for all, lest the lines be pushed out again.
  @inline(__always)
  mutating func isTime(weights: Int, samples: Int, tile: Int) -> Bool {
    let possible = weightsLeft / tile * (samples / 8)
    weightsLeft -= weights
    return possible < 2 * requests.left
  }
}
