import Kernels
import LinearAlgebra

/// A batch's inputs as the members of a team read them: one matrix for all, or a copy for each.
///
/// What one member has gathered the other waits for, and fetches line by line from its cache: between processors that are
/// far from each other this takes longer than to gather all, if that is bytes (784-128-64-10 at batch 128, 192 µs instead
/// of 231; near, the same). Of numbers, four times as much comes from memory, and twice that took 5 % longer near.
struct InputCopies<Scalar: NetworkScalar> {
  /// The matrix of all, or the first member's.
  let first: MatrixView<Scalar>
  private let second: AlignedBuffer<Scalar>?
  /// Whether each member gathers the whole batch at hand into a copy of its own.
  private(set) var areInUse = false

  /// The largest copies, in bytes: of numbers, and of bytes that are multiplied as such, of which 400 KB for each took 4 %
  /// longer.
  private static var most: (numbers: Int, bytes: Int) { (1 << 19, 1 << 18) }

  /// Whether each of `members` members should gather `bytes` bytes that are multiplied as such for itself.
  static func areWorthwhile(members: Int, bytes: Int) -> Bool { members == 2 && bytes <= most.bytes }

  /// Copies of `inputs`, the inputs of `network`, where the first layer is a dense one that alone reads them.
  init(of inputs: MatrixView<Scalar>, network: NetworkLayout, members: Int) {
    first = inputs
    let count = inputs.rows * inputs.stride
    let isSmall = count * MemoryLayout<Scalar>.stride <= Self.most.numbers
    second =
      members == 2 && network.onlyDenseReadsInputs && isSmall ? AlignedBuffer(zeroedCapacity: count) : nil
  }

  /// Says whether the members should gather the batch at hand for themselves, where they can.
  mutating func use(_ use: Bool) { areInUse = use && second != nil }

  /// The inputs that `member` reads.
  @inline(__always)
  func inputs(of member: Int) -> MatrixView<Scalar> {
    guard areInUse, member > 0, let second else { return first }
    return MatrixView(base: second.baseAddress, rows: first.rows, columns: first.columns, stride: first.stride)
  }
}

extension NetworkLayout {
  /// Whether the network begins with a dense layer, one row per sample, that alone reads its inputs.
  var onlyDenseReadsInputs: Bool {
    guard case .dense = stages[0].core, stages[0].inputRowsPerSample == 1 else { return false }
    return !stages.flatMap(\.shortcuts).contains { $0.source < 0 }
  }
}
