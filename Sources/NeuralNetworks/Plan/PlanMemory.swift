import Kernels
import LinearAlgebra

/// The memory of a plan, and the stages bound to it.
final class PlanMemory<Scalar: NetworkScalar> {
  private(set) var inputs: MatrixView<Scalar>
  private(set) var targets: MatrixView<Scalar>
  let labels: UnsafeMutablePointer<Int32>
  let stages: UnsafeMutableBufferPointer<BoundStage<Scalar>>
  private(set) var wholeOperations: [any WholeOperation<Scalar>] = []

  private let arenaBuffer: AlignedBuffer<Scalar>
  private let doubles: AlignedBuffer<Double>
  private let maskBuffer: AlignedBuffer<UInt8>
  private let labelBuffer: AlignedBuffer<Int32>
  private var tileArrays: [UnsafeMutableBufferPointer<BoundTile<Scalar>>] = []
  private var stepArrays: [UnsafeMutableBufferPointer<BoundStep<Scalar>>] = []
  private var viewArrays: [UnsafeMutableBufferPointer<MatrixView<Scalar>>] = []
  private var rangeArrays: [UnsafeMutableBufferPointer<Range<Int>>] = []
  private var extraBuffers: [AlignedBuffer<Scalar>] = []

  init(network: NetworkLayout, store: ParameterStore<Scalar>, capacity: Int) throws {
    var measure = PlanArena<Scalar>(base: nil)
    _ = StageMatrices.all(network: network, capacity: capacity, arena: &measure)
    let vectors = network.stages.reduce(0) { $0 + $1.statistics(of: Scalar.self) }
    arenaBuffer = AlignedBuffer(zeroedCapacity: measure.used + vectors)
    doubles = AlignedBuffer(zeroedCapacity: network.stages.reduce(0) { $0 + $1.workspaceDoubles })
    maskBuffer = AlignedBuffer(zeroedCapacity: network.stages.reduce(0) { $0 + $1.maskBytes(capacity: capacity) })
    let last = network.stages[network.stages.count - 1]
    labelBuffer = AlignedBuffer(zeroedCapacity: capacity * last.outputRowsPerSample)
    labels = labelBuffer.baseAddress

    var arena = PlanArena<Scalar>(base: arenaBuffer.baseAddress)
    let placed = StageMatrices.all(network: network, capacity: capacity, arena: &arena)
    inputs = placed.inputs
    targets = placed.targets
    stages = .allocate(capacity: network.stages.count)
    var binder = StageBinder(
      store: store, arena: arena, workspace: doubles.baseAddress, masks: maskBuffer.baseAddress, capacity: capacity)
    for (index, layout) in network.stages.enumerated() {
      let bound = try bind(layout, index: index, placed: placed.stages, binder: &binder, network: network)
      (stages.baseAddress! + index).initialize(to: bound)
    }
    extraBuffers = binder.extraBuffers
    precondition(
      binder.arena.used <= arenaBuffer.capacity && binder.workspace <= doubles.baseAddress + doubles.capacity
        && binder.masks <= maskBuffer.baseAddress + maskBuffer.capacity,
      "the plan's memory was measured too small")
  }

  deinit {
    for array in tileArrays { array.deallocate() }
    for array in stepArrays { array.deallocate() }
    for array in viewArrays { array.deallocate() }
    for array in rangeArrays { array.deallocate() }
    stages.deallocate()
  }

  private func bind(
    _ layout: StageLayout, index: Int, placed: [StageMatrices<Scalar>], binder: inout StageBinder<Scalar>,
    network: NetworkLayout
  ) throws -> BoundStage<Scalar> {
    let matrices = placed[index]
    let tiles = UnsafeMutableBufferPointer<BoundTile<Scalar>>.allocate(capacity: layout.tileCount)
    tileArrays.append(tiles)
    for tile in 0..<layout.tileCount {
      let steps = layout.isTiled ? binder.steps(of: layout, matrices: matrices, tile: tile) : []
      let storage = UnsafeMutableBufferPointer<BoundStep<Scalar>>.allocate(capacity: max(steps.count, 1))
      stepArrays.append(storage)
      _ = storage.initialize(from: steps)
      (tiles.baseAddress! + tile).initialize(
        to: binder.tile(
          layout, matrices, stage: index, tile: tile, steps: storage.baseAddress!, stepCount: steps.count))
    }
    let previous = index > 0 ? network.stages[index - 1] : nil
    // The stage before owns its gradient by its own tiles, where the columns are the same.
    let sharesTiles = previous.map { $0.isTiled && $0.outputColumns == layout.inputColumns } ?? false
    let inputBoundaries =
      sharesTiles ? previous!.boundaries : TileGrid.boundaries(columns: layout.inputColumns)
    let ranges = UnsafeMutableBufferPointer<Range<Int>>.allocate(capacity: inputBoundaries.count - 1)
    rangeArrays.append(ranges)
    _ = ranges.initialize(from: zip(inputBoundaries, inputBoundaries.dropFirst()).map { $0..<$1 })
    let shortcutGradients = placed.flatMap(\.shortcuts).filter { $0.source == index - 1 }.compactMap(\.gradient)
    let gradients = UnsafeMutableBufferPointer<MatrixView<Scalar>>.allocate(capacity: max(shortcutGradients.count, 1))
    viewArrays.append(gradients)
    _ = gradients.initialize(from: shortcutGradients)
    let kernels = UnsafeMutableBufferPointer<MatrixView<Scalar>>.allocate(capacity: max(layout.tileCount, 1))
    viewArrays.append(kernels)
    _ = kernels.initialize(
      from: tiles.compactMap { tile in
        tile.kernel.map {
          MatrixView(base: $0, rows: layout.inputColumns, columns: tile.columns.count, stride: tile.kernelStride)
        }
      })
    let operation = try binder.wholeOperation(layout, rows: matrices.output.rows)
    if let operation { wholeOperations.append(operation) }
    return BoundStage(
      core: layout.boundCore(), inputRowsPerSample: layout.inputRowsPerSample,
      outputRowsPerSample: layout.outputRowsPerSample, input: matrices.input, output: matrices.output,
      outputGradient: matrices.gradient, inputGradient: matrices.inputGradient,
      shortcutGradients: gradients.baseAddress!, shortcutCount: shortcutGradients.count,
      inputTiles: ranges.baseAddress!, inputTileCount: ranges.count, tiles: tiles.baseAddress!,
      tileCount: layout.tileCount, kernels: kernels.baseAddress!, wholeIndex: wholeOperations.count - 1)
  }
}

/// The matrices of one stage.
struct StageMatrices<Scalar: NetworkScalar> {
  var input: MatrixView<Scalar>
  /// What the core makes, tile by tile, before the column steps.
  var product: [MatrixView<Scalar>]
  /// The tiles of each column step's output.
  var stepOutputs: [[MatrixView<Scalar>]]
  var output: MatrixView<Scalar>
  var gradient: MatrixView<Scalar>
  /// Where a tile's steps hand on the gradient, each tile by itself; where only one step has a gradient of its own, the
  /// tiles of `gradient`.
  var tileGradients: [MatrixView<Scalar>]
  var inputGradient: MatrixView<Scalar>?
  /// What the steps add, in their order.
  var shortcuts: [Shortcut] = []

  /// A matrix that a step adds, and where the step leaves its gradient; nil where that is the gradient of the network's
  /// inputs, which nobody wants.
  struct Shortcut {
    var source: Int
    var values: MatrixView<Scalar>
    var gradient: MatrixView<Scalar>?
  }

  /// Places the matrices of every stage, and those of the batch.
  static func all(
    network: NetworkLayout, capacity: Int, arena: inout PlanArena<Scalar>
  ) -> (inputs: MatrixView<Scalar>, targets: MatrixView<Scalar>, stages: [StageMatrices<Scalar>]) {
    let features = network.inputShape.reduce(1, *)
    let inputs = arena.matrix(rows: capacity, columns: features, contiguous: network.inputShape.count > 1)
    let targets = arena.matrix(rows: capacity, columns: network.outputShape.reduce(1, *), contiguous: true)
    var stages: [StageMatrices] = []
    for layout in network.stages {
      let input = (stages.last?.output ?? inputs).reshaped(columns: layout.inputColumns)
      let previousGradient = stages.last?.gradient
      let rows = capacity * layout.outputRowsPerSample
      let contiguous = layout.outputRowsPerSample > 1
      func matrix(_ arena: inout PlanArena<Scalar>) -> MatrixView<Scalar> {
        arena.matrix(rows: rows, columns: layout.outputColumns, contiguous: contiguous)
      }
      let isColumns = if case .columns = layout.core { true } else { false }
      let ranges = zip(layout.boundaries, layout.boundaries.dropFirst()).map { $0..<$1 }
      let inPlace = layout.steps.enumerated().map { index, step in
        step.canOverwriteInput && !(isColumns && index == 0) && !layout.outputIsKept(before: index)
      }
      // Only the output is read beyond a tile. What comes before it lies tile by tile: in rows that two members share,
      // one's prefetchers fetch what the other is about to write, and a pass takes up to four times as long.
      func tiles(_ arena: inout PlanArena<Scalar>) -> [MatrixView<Scalar>] {
        ranges.map { arena.tile(rows: rows, columns: $0.count) }
      }
      let own = inPlace.lastIndex(of: false)
      let output = isColumns && own == nil ? input : matrix(&arena)
      let outputTiles = ranges.map { output.columns($0) }
      let product = isColumns ? ranges.map { input.columns($0) } : own == nil ? outputTiles : tiles(&arena)
      var outputs: [[MatrixView<Scalar>]] = []
      for index in layout.steps.indices {
        let before = outputs.last ?? product
        outputs.append(inPlace[index] ? before : index == own ? outputTiles : tiles(&arena))
      }
      let gradient: MatrixView<Scalar>
      if isColumns, let previousGradient {
        gradient = previousGradient.reshaped(columns: layout.outputColumns)
      } else {
        gradient = matrix(&arena)
      }
      let handsOn = layout.stepsOfBackward.count > 1
      let tileGradients = handsOn ? tiles(&arena) : ranges.map { gradient.columns($0) }
      let shortcuts = layout.shortcuts.map { shortcut in
        let values = shortcut.source < 0 ? inputs : stages[shortcut.source].output
        return Shortcut(
          source: shortcut.source, values: values.reshaped(columns: layout.outputColumns),
          gradient: shortcut.source < 0 ? nil : matrix(&arena))
      }
      stages.append(
        StageMatrices(
          input: input, product: product, stepOutputs: outputs, output: output, gradient: gradient,
          tileGradients: tileGradients, inputGradient: previousGradient?.reshaped(columns: layout.inputColumns),
          shortcuts: shortcuts))
    }
    return (inputs, targets, stages)
  }
}

extension MatrixView {
  /// The same memory as rows of `columns`: the view itself, or a contiguous matrix cut anew.
  func reshaped(columns: Int) -> MatrixView {
    if columns == self.columns { return self }
    return MatrixView(base: base, rows: rows * self.columns / columns, columns: columns)
  }
}

extension StageLayout.Step {
  /// Whether the step may write over its input: nothing in its own backward pass reads it.
  var canOverwriteInput: Bool {
    switch self {
    case .activation(let kind, _, _, _): !kind.gradientNeedsInput
    case .normalization: false
    case .dropout, .addition: true
    }
  }
}

extension StageLayout {
  /// Whether the backward pass reads what the step before `index` wrote.
  func outputIsKept(before index: Int) -> Bool {
    guard index > 0 else { return false }
    switch steps[index - 1] {
    case .activation(let kind, _, _, let fused): return kind != .linear && !kind.gradientNeedsInput && !fused
    // A ReLU after a normalization or an addition leaves one bit an element.
    case .normalization, .addition, .dropout: return false
    }
  }

  /// The steps whose backward pass makes another gradient of the one it is given.
  var stepsOfBackward: [Int] {
    steps.indices.filter { index in
      switch steps[index] {
      case .activation(let kind, _, _, let fused): kind != .linear && !fused
      case .addition(_, let relu): relu
      case .normalization, .dropout: true
      }
    }
  }

  /// Scalars of the statistics of the stage's normalizations, gradients that nobody wants included.
  func statistics<Scalar>(of _: Scalar.Type) -> Int {
    normalizationCount * (7 * paddedColumns + spacedTiles * MemberSpacing.most(of: Scalar.self))
  }

  /// Doubles of their workspaces.
  var workspaceDoubles: Int {
    normalizationCount * (6 * paddedColumns + spacedTiles * MemberSpacing.most(of: Double.self))
  }

  /// Bytes of the masks of its normalizations and additions.
  func maskBytes(capacity: Int) -> Int {
    let masks = steps.count { $0.keepsMask }
    let ofTiles = zip(boundaries, boundaries.dropFirst()).map {
      Self.maskBytes(rows: capacity * outputRowsPerSample, columns: $1 - $0)
    }
    return masks * ofTiles.reduce(0, +)
  }

  /// Bytes from a tile's mask to the next.
  static func maskBytes(rows: Int, columns: Int) -> Int {
    MemberSpacing.spaced(rows * BitMatrixView.bytes(columns: columns), of: UInt8.self)
  }

  private var paddedColumns: Int {
    // The vectors of each tile, or part, begin on a pair of cache lines of their own.
    if case .innerAxisNormalization(let settings, _, let features, _) = core {
      return features + (Self.innerAxisParts(features: features, positions: settings.positions).count + 1) * 32
    }
    return outputColumns + (tileCount + 1) * 32
  }

  /// Tiles, or parts, whose statistics lie apart.
  private var spacedTiles: Int {
    guard case .innerAxisNormalization(let settings, _, let features, _) = core else { return tileCount }
    return max(tileCount, Self.innerAxisParts(features: features, positions: settings.positions).count)
  }

  private var normalizationCount: Int {
    let inSteps = steps.count { if case .normalization = $0 { true } else { false } }
    return if case .innerAxisNormalization = core { inSteps + 1 } else { inSteps }
  }
}

extension StageLayout {
  /// The core without its parameters.
  func boundCore<Scalar>(_: Scalar.Type = Scalar.self) -> BoundStage<Scalar>.Core {
    switch core {
    case .dense: .dense
    case .columns: .columns
    case .softmax: .softmax
    case .innerAxisNormalization, .custom: .whole
    }
  }
}
