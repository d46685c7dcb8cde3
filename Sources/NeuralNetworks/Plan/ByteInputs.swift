import Kernels
import LinearAlgebra

/// The first layer of a plan where its inputs are bytes of one scale: it multiplies the bytes themselves.
///
/// The kernel is kept in digits beside its weights (`ByteProductKernels`). They are a function of the weights alone: a step
/// of training writes them with the weights, all else leaves a tile's digits to be made by the next pass forward.
final class ByteInputs<Scalar: NetworkScalar> {
  /// The scale of the batch at hand: an input is a byte times it.
  private(set) var scale = 1.0
  /// The state of `ParameterStore.weightsVersion` that the digits belong to.
  private var version: Int?

  /// Lays a gathered batch out by column, where the gradient is made in tiles.
  private let layOutByColumn: (@Sendable (Int, Int, Int, ByteBatch) -> Void)?
  private let gatherRows: @Sendable (UnsafePointer<UInt8>, UnsafePointer<Int32>, Int, Int, Int, ByteBatch) -> Void
  private let takeApart: @Sendable (MatrixView<Scalar>, DigitColumns<Scalar>) -> Void
  private let renewDigits:
    @Sendable (MatrixView<Scalar>, Int, DigitColumns<Scalar>, UnsafeMutablePointer<Scalar>) -> Bool
  private let multiplyBytes: @Sendable (ByteBatch, DigitColumns<Scalar>, Double, MatrixView<Scalar>) -> Void
  private let gradient: ByteProductKernels<Scalar>.Gradient
  private let gradientAdam: ByteProductKernels<Scalar>.GradientAdam

  /// Whether each member of the team gathers the whole batch into a copy of its own.
  let isPrivate: Bool

  private let columns: Int
  private let rows: AlignedBuffer<UInt8>
  private let quads: AlignedBuffer<UInt8>
  private let occupied: AlignedBuffer<UInt8>
  private let byColumn: AlignedBuffer<UInt8>
  /// Bytes of one member's copy of each; 0 where all use the same.
  private let copyBytes: (rows: Int, quads: Int, occupied: Int, byColumn: Int)
  private let digits: AlignedBuffer<Int8>
  private let numbers: AlignedBuffer<Scalar>
  private let tiles: UnsafeMutableBufferPointer<TileDigits>

  /// One tile's kernel in digits, and room for the gradient of its outputs.
  private struct TileDigits {
    var kernel: DigitColumns<Scalar>
    /// As many groups as the batch has are in use.
    var gradientDigits: UnsafeMutablePointer<Int8>
    var gradientUnits: UnsafeMutablePointer<Scalar>
    /// The largest magnitude of each column of the kernel.
    var largest: UnsafeMutablePointer<Scalar>
    /// Whether the digits are the weights'.
    var isCurrent = false
  }

  /// The least inputs for which it is worth the while.
  private static var fewestInputs: Int { 64 }
  /// The least samples for which it is worth the while: usually, and where a pass of its own writes the digits.
  private static var fewestSamples: (usually: Int, renewingDigits: Int) { (24, 32) }

  /// Nil where the CPU has no such products, or the network does not begin with a dense layer that alone reads its inputs.
  init?(
    network: NetworkLayout, store: ParameterStore<Scalar>, table: KernelTable<Scalar>, capacity: Int, members: Int
  ) {
    let kernels = table.byteProducts
    guard let gather = kernels.gather, let takeApart = kernels.takeApart, let renewDigits = kernels.renewDigits,
      let multiply = kernels.multiply, let gradient = kernels.gradient, let gradientAdam = kernels.gradientAdam
    else { return nil }
    let first = network.stages[0]
    guard case .dense(let kernel, _) = first.core, network.onlyDenseReadsInputs, first.outputRowsPerSample == 1,
      first.padsKernel(kernel), first.inputColumns >= Self.fewestInputs,
      max(first.inputColumns, capacity) <= ByteBatch.longestSum
    else { return nil }
    (gatherRows, self.takeApart, self.renewDigits, multiplyBytes, self.gradient, self.gradientAdam) =
      (
        gather, takeApart, renewDigits, kernels.multiplyTiles ?? multiply, kernels.gradientTiles ?? gradient,
        kernels.gradientAdamTiles ?? gradientAdam
      )
    layOutByColumn = kernels.layOutByColumn
    columns = first.inputColumns
    let bytes = [
      capacity * ByteBatch.stride(columns: columns), ByteBatch.quadBytes(columns: columns, samples: capacity),
      ByteBatch.occupiedBytes(columns: columns, samples: capacity),
      layOutByColumn == nil ? 1 : ByteBatch.byColumnBytes(columns: columns, samples: capacity),
    ].map { MemberSpacing.spaced($0, of: UInt8.self) }
    isPrivate = InputCopies<Scalar>.areWorthwhile(members: members, bytes: bytes[0])
    copyBytes = isPrivate ? (bytes[0], bytes[1], bytes[2], bytes[3]) : (0, 0, 0, 0)
    let copies = isPrivate ? members : 1
    rows = AlignedBuffer(zeroedCapacity: copies * bytes[0])
    quads = AlignedBuffer(zeroedCapacity: copies * bytes[1])
    occupied = AlignedBuffer(zeroedCapacity: copies * bytes[2])
    byColumn = AlignedBuffer(zeroedCapacity: copies * bytes[3])
    let pieces = store.slots[kernel].pieces
    let vectors = pieces.map { $0.stride / 16 }
    let ofKernel = DigitColumns<Scalar>.digitBytes(rows: columns, vectors: 1)
    let ofGradient = DigitColumns<Scalar>.digitBytes(rows: capacity, vectors: 1)
    let ofTiles = vectors.map { MemberSpacing.spaced($0 * (ofKernel + ofGradient), of: Int8.self) }
    digits = AlignedBuffer(zeroedCapacity: ofTiles.reduce(0, +))
    // Three numbers a column.
    let room = vectors.map { MemberSpacing.spaced(3 * 16 * $0, of: Scalar.self) }
    numbers = AlignedBuffer(zeroedCapacity: room.reduce(0, +))
    tiles = .allocate(capacity: vectors.count)
    var digit = digits.baseAddress
    var number = numbers.baseAddress
    for (tile, count) in vectors.enumerated() {
      let columnsOfTile = 16 * count
      (tiles.baseAddress! + tile).initialize(
        to: TileDigits(
          kernel: DigitColumns(
            digits: digit, units: number, vectors: count, groups: (columns + 3) / 4,
            columns: pieces[tile].columns.count),
          gradientDigits: digit + count * ofKernel, gradientUnits: number + columnsOfTile,
          largest: number + 2 * columnsOfTile))
      digit += ofTiles[tile]
      number += room[tile]
    }
  }

  deinit { tiles.deallocate() }

  /// Whether Adam can run beside the product that makes its gradient: it updates whole groups of four rows.
  @inline(__always) var fusesAdam: Bool { columns % 4 == 0 }

  // MARK: Calling thread

  /// Whether a batch of `samples` samples is computed in bytes; the step ends with `renewDigits` where `renewsDigits`.
  ///
  /// Drops the digits where `weightsVersion` is another than theirs.
  func begins(
    _ inputs: BatchSource<Scalar>.Inputs, samples: Int, renewsDigits: Bool, weightsVersion: Int
  ) -> Bool {
    guard case .bytes(_, let scale, let offset) = inputs, offset == 0, scale.isFinite,
      samples >= (renewsDigits ? Self.fewestSamples.renewingDigits : Self.fewestSamples.usually)
    else { return false }
    self.scale = scale
    if version != weightsVersion {
      for tile in tiles.indices { tiles[tile].isCurrent = false }
    }
    version = weightsVersion
    return true
  }

  /// Says that the weights have come to `weightsVersion`, by a step that wrote digits with them; nil: nothing is known.
  func ends(weightsVersion: Int?) { version = weightsVersion }

  /// Input `column` of sample `row` of the batch at hand.
  func input(row: Int, column: Int) -> Scalar {
    Scalar(rows.baseAddress[row * ByteBatch.stride(columns: columns) + column]) * Scalar(scale)
  }

  // MARK: Members

  @inline(__always)
  private func batch(_ member: Int, _ samples: Int) -> ByteBatch {
    ByteBatch(
      rows: rows.baseAddress + member * copyBytes.rows, stride: ByteBatch.stride(columns: columns),
      quads: quads.baseAddress + member * copyBytes.quads,
      occupied: occupied.baseAddress + member * copyBytes.occupied,
      byColumn: byColumn.baseAddress + member * copyBytes.byColumn, samples: samples)
  }

  /// Copies `range` of the batch of `samples` samples, from a multiple of 4 on, to where `member` reads it.
  @inline(__always)
  func gather(
    _ member: Int, _ source: UnsafePointer<UInt8>, _ indices: UnsafePointer<Int32>, _ range: Range<Int>, samples: Int
  ) {
    let batch = batch(member, samples)
    gatherRows(source, indices, columns, range.lowerBound, range.count, batch)
    layOutByColumn?(columns, range.lowerBound, range.count, batch)
  }

  /// z = x·W for one tile.
  @inline(__always)
  func multiply(_ member: Int, tile: Int, _ bound: BoundTile<Scalar>, into z: MatrixView<Scalar>) {
    if !tiles[tile].isCurrent, let kernel = bound.kernel {
      takeApart(
        MatrixView(base: kernel, rows: columns, columns: bound.kernelStride), tiles[tile].kernel)
      tiles[tile].isCurrent = true
    }
    multiplyBytes(batch(member, z.rows), tiles[tile].kernel, scale, z)
  }

  /// Takes the gradient of a tile's outputs apart, of all samples.
  @inline(__always)
  func prepareGradient(tile: Int, _ z: MatrixView<Scalar>) -> DigitColumns<Scalar> {
    let digits = DigitColumns(
      digits: tiles[tile].gradientDigits, units: tiles[tile].gradientUnits, vectors: tiles[tile].kernel.vectors,
      groups: (z.rows + 3) / 4)
    takeApart(z, digits)
    return digits
  }

  /// Rows `block` of the gradient of one tile's kernel, into `result`; `block` begins at a multiple of 4.
  @inline(__always)
  func makeGradient(
    _ member: Int, _ z: DigitColumns<Scalar>, samples: Int, _ block: Range<Int>, into result: MatrixView<Scalar>,
    requests: UnsafeMutablePointer<LineRequests>?
  ) {
    gradient(batch(member, samples), z, scale, block.lowerBound, result, requests)
  }

  /// The tile's weights are about to change.
  @inline(__always)
  func weightsChange(tile: Int) {
    tiles[tile].isCurrent = false
    for column in 0..<16 * tiles[tile].kernel.vectors { tiles[tile].largest[column] = 0 }
  }

  /// Adam on rows `block` of one tile's kernel, in ascending order; both ends are multiples of 4.
  @inline(__always)
  func update(
    _ member: Int, tile: Int, _ z: DigitColumns<Scalar>, samples: Int, _ block: Range<Int>,
    _ w: UnsafeMutablePointer<Scalar>, _ m: UnsafeMutablePointer<Scalar>, _ v: UnsafeMutablePointer<Scalar>,
    _ adam: AdamNumbers, requests: UnsafeMutablePointer<LineRequests>?
  ) {
    let fits = gradientAdam(
      batch(member, samples), z, scale, block.lowerBound, block.count, w, m, v, tiles[tile].kernel, tiles[tile].largest,
      adam.alpha, adam.beta1, adam.beta2, adam.epsilon, adam.decay, requests)
    // The largest is known after the last rows.
    if block.upperBound == columns { tiles[tile].isCurrent = fits }
  }

  /// Writes the digits of rows `block` of one tile's kernel, which are `w`, in ascending order from multiples of 16 on.
  @inline(__always)
  func renewDigits(tile: Int, _ block: Range<Int>, _ w: MatrixView<Scalar>) {
    let fits = renewDigits(w, block.lowerBound, tiles[tile].kernel, tiles[tile].largest)
    if block.upperBound == columns { tiles[tile].isCurrent = fits }
  }
}
