/// A run of operations that a team computes between two barriers: a core, then operations on single columns.
///
/// Neighbours are fused here, from the list of operations alone: bias and activation; normalization and the ReLU after
/// it; the gradient of a ReLU and the normalization after it. All column operations of a tile run while the tile is in
/// the cache of the thread that owns it.
struct StageLayout {
  /// What makes the stage's columns.
  enum Core {
    /// A product with a kernel.
    case dense(kernel: Int, bias: Int?)
    /// The input's own columns.
    case columns
    /// Softmax over each row.
    case softmax
    /// Batch normalization over an axis other than the last: samples are (outer, features, inner).
    case innerAxisNormalization(NetworkBuilder.Normalization, outer: Int, features: Int, inner: Int)
    /// A user's layer.
    case custom(any CustomLayer, parameters: [Int])
  }

  /// An operation that acts on each column alone.
  enum Step {
    /// f(x + bias); with `gradientIsFused` the next step's gradient includes its own.
    case activation(ElementwiseActivation, alpha: Double, bias: Int?, gradientIsFused: Bool)
    /// Normalization, and the addition of a shortcut; `relu` clamps the output, `maskInput` says that a ReLU made the
    /// input.
    case normalization(NetworkBuilder.Normalization, relu: Bool, maskInput: Bool, shortcut: Shortcut?)
    /// The addition of a shortcut alone.
    case addition(Shortcut, relu: Bool)
    /// A mask; `index` numbers the masks of the model.
    case dropout(rate: Double, index: Int)
  }

  /// A matrix that a later stage adds to its own.
  struct Shortcut {
    /// Its number in the network.
    var residual: Int
    /// The stage whose output it is; −1: the network's inputs.
    var source: Int
  }

  var core: Core
  var steps: [Step] = []
  /// Rows of the input and output matrices per sample.
  var inputRowsPerSample: Int
  var outputRowsPerSample: Int
  var inputColumns: Int
  var outputColumns: Int
  /// Tiles of the output's columns.
  var boundaries: [Int]

  var tileCount: Int { boundaries.count - 1 }

  /// Whether the team shares the stage tile by tile (else one member computes it whole).
  var isTiled: Bool {
    switch core {
    case .dense, .columns: true
    case .softmax, .innerAxisNormalization, .custom: false
    }
  }

  /// What the stage's steps add, in their order.
  var shortcuts: [Shortcut] { steps.compactMap(\.shortcut) }

  /// The stages of a list of operations.
  static func stages(of operations: [NetworkBuilder.Operation]) -> [StageLayout] {
    var stages: [StageLayout] = []
    var dropouts = 0
    var shortcuts: [Int: Shortcut] = [:]
    /// Stages whose output is a shortcut: no operation joins them.
    var closed = 0
    func appendStep(_ step: Step, _ operation: NetworkBuilder.Operation) {
      let columns = operation.inputShape[operation.inputShape.count - 1]
      let rows = operation.inputShape.dropLast().reduce(1, *)
      if stages.count > closed, let last = stages.last, last.isTiled, last.outputColumns == columns,
        last.outputRowsPerSample == rows
      {
        stages[stages.count - 1].steps.append(step)
      } else {
        var stage = StageLayout(core: .columns, operation)
        stage.steps = [step]
        stages.append(stage)
      }
    }
    for operation in operations {
      switch operation.kind {
      case .dense(let kernel, let bias):
        stages.append(StageLayout(core: .dense(kernel: kernel, bias: bias), operation))
      case .activation(let kind, let alpha):
        appendStep(.activation(kind, alpha: alpha, bias: nil, gradientIsFused: false), operation)
      case .batchNormalization(let normalization):
        let shape = operation.inputShape
        if normalization.axis == shape.count - 1 {
          appendStep(.normalization(normalization, relu: false, maskInput: false, shortcut: nil), operation)
        } else {
          let outer = shape[..<normalization.axis].reduce(1, *)
          let inner = shape[(normalization.axis + 1)...].reduce(1, *)
          let core = Core.innerAxisNormalization(
            normalization, outer: outer, features: shape[normalization.axis], inner: inner)
          stages.append(StageLayout(core: core, operation))
        }
      case .dropout(let rate):
        appendStep(.dropout(rate: rate, index: dropouts), operation)
        dropouts += 1
      case .softmax:
        stages.append(StageLayout(core: .softmax, operation))
      case .flatten:
        break  // nothing to compute: the next stage reads the same memory as longer rows
      case .custom(let layer, let parameters):
        stages.append(StageLayout(core: .custom(layer, parameters: parameters), operation))
      case .shortcut(let residual):
        shortcuts[residual] = Shortcut(residual: residual, source: stages.count - 1)
        closed = stages.count
      case .addition(let residual):
        if let shortcut = shortcuts[residual] { appendStep(.addition(shortcut, relu: false), operation) }
      }
    }
    return stages.map { $0.fused() }
  }

  private init(core: Core, _ operation: NetworkBuilder.Operation) {
    self.core = core
    inputColumns = operation.inputShape[operation.inputShape.count - 1]
    outputColumns = operation.outputShape[operation.outputShape.count - 1]
    inputRowsPerSample = operation.inputShape.dropLast().reduce(1, *)
    outputRowsPerSample = operation.outputShape.dropLast().reduce(1, *)
    let inputs = if case .dense = core { inputColumns } else { 0 }
    boundaries = TileGrid.boundaries(columns: outputColumns, inputs: inputs)
  }

  private func fused() -> StageLayout {
    var result = self
    result.steps = []
    var pendingBias: Int? = if case .dense(_, let bias) = core { bias } else { nil }
    func addPendingBias() {
      guard let bias = pendingBias else { return }
      result.steps.append(.activation(.linear, alpha: 0, bias: bias, gradientIsFused: false))
      pendingBias = nil
    }
    for step in steps {
      switch (step, result.steps.last) {
      case (.activation(.relu, _, _, _), .normalization(let normalization, false, let maskInput, let shortcut)?):
        result.steps[result.steps.count - 1] = .normalization(
          normalization, relu: true, maskInput: maskInput, shortcut: shortcut)
      case (.activation(.relu, _, _, _), .addition(let shortcut, false)?):
        result.steps[result.steps.count - 1] = .addition(shortcut, relu: true)
      case (.addition(let shortcut, _), .normalization(let normalization, false, let maskInput, nil)?):
        result.steps[result.steps.count - 1] = .normalization(
          normalization, relu: false, maskInput: maskInput, shortcut: shortcut)
      case (.activation(let kind, let alpha, _, _), _):
        result.steps.append(.activation(kind, alpha: alpha, bias: pendingBias, gradientIsFused: false))
        pendingBias = nil
      case (.normalization(let normalization, _, _, _), .activation(.relu, let alpha, let bias, _)?):
        result.steps[result.steps.count - 1] = .activation(.relu, alpha: alpha, bias: bias, gradientIsFused: true)
        result.steps.append(.normalization(normalization, relu: false, maskInput: true, shortcut: nil))
      default:
        addPendingBias()
        result.steps.append(step)
      }
    }
    addPendingBias()
    return result
  }
}

extension StageLayout.Step {
  /// What the step adds.
  var shortcut: StageLayout.Shortcut? {
    switch self {
    case .normalization(_, _, _, let shortcut): shortcut
    case .addition(let shortcut, _): shortcut
    case .activation, .dropout: nil
    }
  }

  /// Whether the step keeps one bit an element: where a ReLU let its output through.
  var keepsMask: Bool {
    switch self {
    case .normalization(_, let relu, _, _), .addition(_, let relu): relu
    case .activation, .dropout: false
    }
  }
}
