import Kernels
import LinearAlgebra

/// Binds the tiles of a stage to parameters and memory.
struct StageBinder<Scalar: NetworkScalar> {
  let store: ParameterStore<Scalar>
  var arena: PlanArena<Scalar>
  var workspace: UnsafeMutablePointer<Double>
  var masks: UnsafeMutablePointer<UInt8>
  /// The largest batch, in samples.
  let capacity: Int
  /// Memory of the normalizations' extra vectors: who binds keeps it.
  private(set) var extraBuffers: [AlignedBuffer<Scalar>] = []

  init(
    store: ParameterStore<Scalar>, arena: PlanArena<Scalar>, workspace: UnsafeMutablePointer<Double>,
    masks: UnsafeMutablePointer<UInt8>, capacity: Int
  ) {
    self.store = store
    self.arena = arena
    self.workspace = workspace
    self.masks = masks
    self.capacity = capacity
  }

  /// One tile with its pointers.
  func tile(
    _ layout: StageLayout, _ matrices: StageMatrices<Scalar>, stage: Int, tile: Int,
    steps: UnsafeMutablePointer<BoundStep<Scalar>>, stepCount: Int
  ) -> BoundTile<Scalar> {
    var bound = BoundTile<Scalar>(
      columns: layout.boundaries[tile]..<layout.boundaries[tile + 1], product: matrices.product[tile], kernel: nil,
      kernelStride: 0, biasGradient: nil, steps: steps, stepCount: stepCount, gradient: matrices.tileGradients[tile],
      lastOfBackward: layout.stepsOfBackward.first ?? 0, region: store.regions[stage][tile])
    if case .dense(let kernel, let bias) = layout.core {
      bound.kernel = store.pointer(kernel, tile: tile)
      bound.kernelStride = store.slots[kernel].pieces[tile].stride
      bound.biasGradient = bias.map { store.gradientPointer($0, tile: tile) }
    }
    return bound
  }

  /// The column steps of one tile.
  mutating func steps(
    of layout: StageLayout, matrices: StageMatrices<Scalar>, tile: Int
  ) -> [BoundStep<Scalar>] {
    let columns = layout.boundaries[tile]..<layout.boundaries[tile + 1]
    var result: [BoundStep<Scalar>] = []
    var shortcuts = matrices.shortcuts[...]
    func addShortcut(to step: inout BoundStep<Scalar>) {
      guard let shortcut = shortcuts.popFirst() else { return }
      step.shortcut = shortcut.values.columns(columns)
      step.shortcutGradient = shortcut.gradient?.columns(columns)
    }
    for (index, step) in layout.steps.enumerated() {
      let input = (index == 0 ? matrices.product : matrices.stepOutputs[index - 1])[tile]
      let output = matrices.stepOutputs[index][tile]
      switch step {
      case .activation(let kind, let alpha, let bias, let gradientIsFused):
        var bound = BoundStep(kind: .activation, input: input, output: output)
        bound.activation = kind
        bound.alpha = alpha
        bound.bias = bias.map { UnsafePointer(store.pointer($0, tile: tile)) }
        bound.gradientIsFused = gradientIsFused
        result.append(bound)
      case .normalization(let normalization, let relu, let maskInput, let shortcut):
        var bound = BoundStep(
          kind: shortcut == nil ? .normalization : .normalizedAddition, input: input, output: output)
        bound.normalization = self.normalization(
          normalization, rows: output.rows, count: columns.count, tile: tile, relu: relu, maskInput: maskInput)
        if shortcut != nil { addShortcut(to: &bound) }
        result.append(bound)
      case .addition(_, let relu):
        var bound = BoundStep(kind: .addition, input: input, output: output)
        addShortcut(to: &bound)
        if relu { bound.mask = mask(rows: output.rows, columns: columns.count) }
        result.append(bound)
      case .dropout(let rate, let number):
        var bound = BoundStep(kind: .dropout, input: input, output: output)
        bound.rate = rate
        bound.dropoutIndex = number
        bound.firstColumn = columns.lowerBound
        result.append(bound)
      }
    }
    return result
  }

  /// One bit for each element of a tile.
  private mutating func mask(rows: Int, columns: Int) -> BitMatrixView {
    defer { masks += StageLayout.maskBytes(rows: rows, columns: columns) }
    return BitMatrixView(base: masks, stride: BitMatrixView.bytes(columns: columns))
  }

  private mutating func normalization(
    _ settings: NetworkBuilder.Normalization, rows: Int, first: Int = 0, count: Int, inner: Int = 1, tile: Int,
    relu: Bool, maskInput: Bool
  ) -> BoundNormalization<Scalar> {
    let buffer = AlignedBuffer<Scalar>(
      zeroedCapacity: NormalizationExtras<Scalar>.scalars(settings, count: count, capacity: capacity))
    extraBuffers.append(buffer)
    let extras = NormalizationExtras(
      settings, first: first, count: count, tile: tile, base: buffer.baseAddress, store: store)
    defer { workspace += MemberSpacing.spaced(6 * count, of: Double.self) }
    return BoundNormalization(
      count: count, inner: inner, momentum: settings.momentum, epsilon: settings.epsilon, relu: relu,
      maskInput: maskInput,
      gamma: settings.gamma.map { UnsafePointer(store.pointer($0, tile: tile) + first) },
      beta: settings.beta.map { UnsafePointer(store.pointer($0, tile: tile) + first) },
      gammaGradient: settings.gamma.map { store.gradientPointer($0, tile: tile) + first } ?? arena.vector(count),
      betaGradient: settings.beta.map { store.gradientPointer($0, tile: tile) + first } ?? arena.vector(count),
      movingMean: settings.movingMean.map { store.pointer($0, tile: tile) + first } ?? extras.noStatistics,
      movingVariance: settings.movingVariance.map { store.pointer($0, tile: tile) + first } ?? extras.noStatistics,
      mean: arena.vector(count), meanLow: arena.vector(count), variance: arena.vector(count),
      inverseDeviation: arena.vector(count), zeros: UnsafePointer(arena.lastVector(count)),
      mask: relu ? mask(rows: rows, columns: count) : nil, workspace: workspace,
      control: UnsafePointer(store.normalizations.controls + settings.index), extras: extras)
  }

  /// The stage's operation, where it is no stage of tiles.
  ///
  /// - Throws: `ModelError.layer` where a user's layer is written for another precision.
  mutating func wholeOperation(_ layout: StageLayout, rows: Int) throws -> (any WholeOperation<Scalar>)? {
    switch layout.core {
    case .dense, .columns, .softmax: return nil
    case .innerAxisNormalization(let settings, _, let features, let inner):
      let parts = StageLayout.innerAxisParts(features: features, positions: settings.positions)
      return InnerAxisNormalization(
        parts.map {
          normalization(
            settings, rows: rows, first: $0.lowerBound, count: $0.count, inner: inner, tile: 0, relu: false,
            maskInput: false)
        })
    case .custom(let layer, let parameters):
      guard let layer = layer as? any CustomLayer<Scalar> else {
        throw ModelError.layer(
          name: layer.name ?? layer.kind,
          problem: "it is not written for the model's precision, \(Scalar.precisionName)")
      }
      return UserOperation(layer: layer, parameters: parameters, store: store)
    }
  }
}
