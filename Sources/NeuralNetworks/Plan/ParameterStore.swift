import LinearAlgebra
import RandomNumbers

/// All parameters of a model in two buffers: those that the optimizer moves, and running state.
///
/// A parameter is cut into pieces by the column tiles of the stage it belongs to, and the pieces of one tile (kernel,
/// bias, gamma, beta) lie together: a thread updates its tiles as contiguous vectors, and they lie apart from others'.
final class ParameterStore<Scalar: NetworkScalar> {
  /// Some columns of a parameter: `rows` rows, `stride` scalars apart, from `offset` in its buffer.
  struct Piece {
    var columns: Range<Int>
    var offset: Int
    var stride: Int
  }

  /// A parameter and where its pieces lie.
  struct Slot {
    var name: String
    var specification: ParameterSpecification
    var pieces: [Piece]
    var columns: Int { specification.shape[specification.shape.count - 1] }
    var rows: Int { specification.shape.dropLast().reduce(1, *) }
    var count: Int { rows * columns }
  }

  private(set) var slots: [Slot]
  /// Region of the trainable buffer of each tile of each stage.
  private(set) var regions: [[Range<Int>]] = []
  /// Trainable parameters.
  let weights: AlignedBuffer<Scalar>
  /// Running state: moving means and variances.
  let state: AlignedBuffer<Scalar>
  /// Gradients, laid out as `weights`.
  let gradients: AlignedBuffer<Scalar>
  /// The optimizer's vectors, each laid out as `weights`, one after the other.
  private(set) var optimizerState = AlignedBuffer<Scalar>(zeroedCapacity: 0)
  /// Bounds that guarded steps keep; nil after every other change.
  var bounds: StateBounds?
  /// Counts the changes of the weights: what is made of them is known to be old.
  var weightsVersion = 0
  /// What the steps read of the normalizations' switches.
  let normalizations: NormalizationTable

  init(records: [NetworkBuilder.ParameterRecord], stages: [StageLayout]) {
    normalizations = NormalizationTable(stages.flatMap(\.normalizations))
    slots = records.map { Slot(name: $0.name, specification: $0.specification, pieces: []) }
    var trainableCount = 0
    var stateCount = 0
    func padded(_ count: Int) -> Int { (count + 15) / 16 * 16 }
    for stage in stages {
      var tileRegions: [Range<Int>] = []
      for tile in 0..<stage.tileCount {
        let (start, stateStart) = (trainableCount, stateCount)
        // A stage that is computed whole keeps its parameters whole, as the first tile's.
        let owned = stage.isTiled || tile == 0 ? stage.parameters : []
        for index in owned {
          let slot = slots[index]
          // A single number of state is kept with the first tile.
          let isSingle = slot.columns < stage.outputColumns && stage.isTiled
          if isSingle && tile > 0 { continue }
          let columns =
            stage.isTiled && !isSingle ? stage.boundaries[tile]..<stage.boundaries[tile + 1] : 0..<slot.columns
          let stride = stage.padsKernel(index) ? Self.paddedWidth(columns.count) : columns.count
          let size = padded(slot.rows * stride)
          let isTrainable = slot.specification.isTrainable
          slots[index].pieces.append(
            Piece(columns: columns, offset: isTrainable ? trainableCount : stateCount, stride: stride))
          if isTrainable { trainableCount += size } else { stateCount += size }
        }
        tileRegions.append(start..<trainableCount)
        trainableCount = start + MemberSpacing.spaced(trainableCount - start, of: Scalar.self)
        stateCount = stateStart + MemberSpacing.spaced(stateCount - stateStart, of: Scalar.self)
      }
      regions.append(tileRegions)
    }
    weights = AlignedBuffer(zeroedCapacity: trainableCount)
    gradients = AlignedBuffer(zeroedCapacity: trainableCount)
    state = AlignedBuffer(zeroedCapacity: stateCount)
  }

  /// A store of the same parameters with copies of the values and of the optimizer's state.
  convenience init(
    copying other: ParameterStore, records: [NetworkBuilder.ParameterRecord], stages: [StageLayout]
  ) {
    self.init(records: records, stages: stages)
    weights.baseAddress.update(from: other.weights.baseAddress, count: weights.capacity)
    state.baseAddress.update(from: other.state.baseAddress, count: state.capacity)
    optimizerState = AlignedBuffer(zeroedCapacity: other.optimizerState.capacity)
    optimizerState.baseAddress.update(from: other.optimizerState.baseAddress, count: optimizerState.capacity)
  }

  /// Whole cache lines for the rows of a tile of a kernel; the columns added are 0 and stay 0.
  ///
  /// OpenBLAS's small products take ragged columns through memory that they allocate in each call.
  @inline(__always)
  static func paddedWidth(_ columns: Int) -> Int {
    let line = 64 / MemoryLayout<Scalar>.stride
    return (columns + line - 1) / line * line
  }

  /// Draws the first values of every parameter; each has a stream of its own, so adding a layer leaves others' alone.
  func initialize(seed: UInt64) throws {
    for (index, slot) in slots.enumerated() {
      var generator = Philox(seed: seed, purpose: "weights", index: UInt64(index))
      let values = try slot.specification.initializer.values(
        shape: slot.specification.shape, generator: &generator)
      write(values.lazy.map { Scalar($0) }, to: index)
    }
  }

  /// Makes `count` zeroed vectors of optimizer state.
  func resetOptimizerState(vectors count: Int) {
    optimizerState = AlignedBuffer(zeroedCapacity: count * weights.capacity)
    bounds = nil
  }

  /// Address of vector `index` of the optimizer's state.
  @inline(__always)
  func stateVector(_ index: Int) -> UnsafeMutablePointer<Scalar> {
    optimizerState.baseAddress + index * weights.capacity
  }

  /// The buffer that `slot` lies in.
  private func buffer(of slot: Slot) -> UnsafeMutablePointer<Scalar> {
    slot.specification.isTrainable ? weights.baseAddress : state.baseAddress
  }

  /// Address of the piece of parameter `index` for `tile`.
  func pointer(_ index: Int, tile: Int) -> UnsafeMutablePointer<Scalar> {
    buffer(of: slots[index]) + slots[index].pieces[tile].offset
  }

  /// Address of the gradient of that piece.
  func gradientPointer(_ index: Int, tile: Int) -> UnsafeMutablePointer<Scalar> {
    gradients.baseAddress + slots[index].pieces[tile].offset
  }

  /// The values of parameter `index`, row-major.
  func read(_ index: Int) -> [Scalar] { gather(index, from: buffer(of: slots[index])) }

  /// The gradient of parameter `index` after a step, row-major; zeros where it is not trainable.
  func readGradient(_ index: Int) -> [Scalar] {
    guard slots[index].specification.isTrainable else { return [Scalar](repeating: 0, count: slots[index].count) }
    return gather(index, from: gradients.baseAddress)
  }

  private func gather(_ index: Int, from base: UnsafeMutablePointer<Scalar>) -> [Scalar] {
    let slot = slots[index]
    return [Scalar](unsafeUninitializedCapacity: slot.count) { values, initialized in
      for piece in slot.pieces {
        for row in 0..<slot.rows {
          for column in piece.columns {
            let source = piece.offset + row * piece.stride + column - piece.columns.lowerBound
            values.initializeElement(at: row * slot.columns + column, to: base[source])
          }
        }
      }
      initialized = slot.count
    }
  }

  /// Sets the values of parameter `index`, row-major.
  func write(_ values: some Collection<Scalar>, to index: Int) {
    bounds = nil
    weightsVersion += 1
    let slot = slots[index]
    let values = Array(values)
    precondition(values.count == slot.count, "parameter \(slot.name) has \(slot.count) values, not \(values.count)")
    let base = buffer(of: slot)
    for piece in slot.pieces {
      for row in 0..<slot.rows {
        for column in piece.columns {
          base[piece.offset + row * piece.stride + column - piece.columns.lowerBound] =
            values[row * slot.columns + column]
        }
      }
    }
  }
}

extension StageLayout {
  /// Whether parameter `index` is a kernel whose tiles are padded: the matrices it is multiplied into have room for
  /// the columns added where a sample is one row.
  func padsKernel(_ index: Int) -> Bool {
    if case .dense(let kernel, _) = core { kernel == index && outputRowsPerSample == 1 } else { false }
  }

  /// The parameters of the stage in the order in which a tile's region holds them.
  var parameters: [Int] {
    var result: [Int] = []
    func add(_ normalization: NetworkBuilder.Normalization) {
      result += [normalization.gamma, normalization.beta].compactMap { $0 }
      result += normalization.state
    }
    switch core {
    case .dense(let kernel, let bias): result += [kernel] + [bias].compactMap { $0 }
    case .innerAxisNormalization(let normalization, _, _, _): add(normalization)
    case .custom(_, let parameters): result += parameters
    case .columns, .softmax: break
    }
    for case .normalization(let normalization, _, _, _) in steps { add(normalization) }
    return result
  }
}
