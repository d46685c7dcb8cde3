import Kernels
import LinearAlgebra

/// What a model computes in inference mode, operation by operation, with a copy of its parameters.
///
/// Dropout and flatten are gone: the one does nothing here, the other only reads the same memory as longer rows.
struct InferenceGraph<Scalar: NetworkScalar> {
  /// One operation, and rows and columns of a sample on either side of it.
  struct Operation {
    var kind: Kind
    var inputRows: Int
    var inputColumns: Int
    var outputRows: Int
    var outputColumns: Int
  }

  enum Kind {
    case dense(InferenceDense<Scalar>)
    case activation(ElementwiseActivation, alpha: Double)
    case normalization(InferenceNormalization<Scalar>)
    case softmax
    /// Nothing but a name for the values here: number `residual` is added further on.
    case shortcut(residual: Int)
    /// The sum with those values.
    case addition(residual: Int)
    case custom(any CustomLayer<Scalar>, parameters: [ParameterMatrix<Scalar>])
  }

  var operations: [Operation] = []
  let inputShape: [Int]
  let outputShape: [Int]
  let table: KernelTable<Scalar>

  /// Bytes of all kernels.
  var weightBytes: Int {
    operations.reduce(0) { bytes, operation in
      guard case .dense(let dense) = operation.kind else { return bytes }
      return bytes + dense.kernel.rows * dense.kernel.columns * MemoryLayout<Scalar>.stride
    }
  }

  /// The operations of `network` with the values that `store` holds now.
  ///
  /// - Throws: `ModelError.layer` where a user's layer is written for another precision; `InstructionSetError`.
  init(network: NetworkLayout, store: ParameterStore<Scalar>) throws {
    inputShape = network.inputShape
    outputShape = network.outputShape
    table = try Scalar.kernels()
    let parameters = ParameterReader(store: store, kernels: table)
    let shortcuts = network.stages.flatMap(\.shortcuts)
    func appendShortcuts(of source: Int) {
      for shortcut in shortcuts where shortcut.source == source {
        append(.shortcut(residual: shortcut.residual), rows: 1, columns: 1)
      }
    }
    appendShortcuts(of: -1)
    for (index, stage) in network.stages.enumerated() {
      try append(stage, parameters)
      appendShortcuts(of: index)
    }
    if operations.isEmpty {
      // Nothing but dropout: a copy.
      let columns = inputShape.reduce(1, *)
      append(.activation(.linear, alpha: 0), rows: 1, columns: columns)
    }
  }

  private mutating func append(_ stage: StageLayout, _ parameters: ParameterReader<Scalar>) throws {
    let (rows, columns) = (stage.outputRowsPerSample, stage.outputColumns)
    func operation(_ kind: Kind) -> Operation {
      Operation(
        kind: kind, inputRows: stage.inputRowsPerSample, inputColumns: stage.inputColumns, outputRows: rows,
        outputColumns: columns)
    }
    switch stage.core {
    case .columns: break
    case .dense(let kernel, let bias):
      operations.append(
        operation(
          .dense(
            InferenceDense(
              layer: parameters.layer(of: kernel), kernel: parameters.matrix(kernel),
              bias: bias.map { parameters.doubles($0) }))))
    case .softmax: operations.append(operation(.softmax))
    case .innerAxisNormalization(let settings, let outer, let features, let inner):
      append(
        .normalization(try InferenceNormalization(settings, parameters, inner: inner)), rows: 1,
        columns: outer * features * inner)
    case .custom(let layer, let indices):
      guard let layer = layer as? any CustomLayer<Scalar> else {
        throw ModelError.layer(
          name: layer.name ?? layer.kind,
          problem: "it is not written for the model's precision, \(Scalar.precisionName)")
      }
      operations.append(operation(.custom(layer, parameters: indices.map { parameters.matrix($0) })))
    }
    for step in stage.steps {
      switch step {
      case .dropout: break
      case .activation(let kind, let alpha, _, _):
        if kind != .linear { append(.activation(kind, alpha: alpha), rows: rows, columns: columns) }
      case .normalization(let settings, let relu, _, let shortcut):
        append(
          .normalization(try InferenceNormalization(settings, parameters, inner: 1)), rows: rows, columns: columns)
        if let shortcut { append(.addition(residual: shortcut.residual), rows: rows, columns: columns) }
        if relu { append(.activation(.relu, alpha: 0), rows: rows, columns: columns) }
      case .addition(let shortcut, let relu):
        append(.addition(residual: shortcut.residual), rows: rows, columns: columns)
        if relu { append(.activation(.relu, alpha: 0), rows: rows, columns: columns) }
      }
    }
  }

  private mutating func append(_ kind: Kind, rows: Int, columns: Int) {
    operations.append(
      Operation(kind: kind, inputRows: rows, inputColumns: columns, outputRows: rows, outputColumns: columns))
  }

  /// Whether a layer of a user's is among the operations.
  var hasCustomLayers: Bool {
    operations.contains { if case .custom = $0.kind { true } else { false } }
  }
}

/// One affine map per feature, in Double: factor·x + shift.
struct FeatureMap {
  var factor: [Double]
  var shift: [Double]

  /// The map that applies `first`, then this one.
  func after(_ first: FeatureMap?) -> FeatureMap {
    guard let first else { return self }
    return FeatureMap(
      factor: zip(factor, first.factor).map { $0 * $1 },
      shift: factor.indices.map { factor[$0] * first.shift[$0] + shift[$0] })
  }
}

/// A product with a kernel, and the maps that have been folded into it on either side.
struct InferenceDense<Scalar: NetworkScalar> {
  var layer: String
  var kernel: ParameterMatrix<Scalar>
  var bias: [Double]?
  var inputMap: FeatureMap?
  var outputMap: FeatureMap?

  /// The product with all maps worked into kernel and bias: W′ = s_in·W·s_out, b′ = (b + t_in·W)·s_out + t_out.
  ///
  /// Computed in Double and rounded once. Cost: a pass over the kernel for each side.
  func resolved(_ kernels: ProductKernels<Scalar>) -> InferenceDense {
    guard inputMap != nil || outputMap != nil else { return self }
    let result = ParameterMatrix<Scalar>(rows: kernel.rows, columns: kernel.columns)
    var sums = bias ?? [Double](repeating: 0, count: kernel.columns)
    if let inputMap { kernels.addRowCombination(inputMap.shift, kernel.view, &sums) }
    if let outputMap {
      for column in sums.indices { sums[column] = sums[column] * outputMap.factor[column] + outputMap.shift[column] }
    }
    withOptionalPointer(inputMap?.factor) { rows in
      withOptionalPointer(outputMap?.factor) { columns in kernels.scale(kernel.view, rows, columns, result.view) }
    }
    return InferenceDense(layer: layer, kernel: result, bias: sums)
  }

  private func withOptionalPointer(_ values: [Double]?, _ body: (UnsafePointer<Double>?) -> Void) {
    guard let values else { return body(nil) }
    values.withUnsafeBufferPointer { body($0.baseAddress) }
  }
}

/// A normalization by running statistics.
///
/// Element j of a sample belongs to feature (j / inner) mod features.
struct InferenceNormalization<Scalar: NetworkScalar> {
  var layer: String
  var features: Int
  var inner: Int
  var epsilon: Double
  var mean: [Double]
  var variance: [Double]
  var gamma: [Double]?
  var beta: [Double]?

  /// - Throws: `ModelError.layer` where there are no running statistics: then a sample's output depends on its batch.
  init(_ settings: NetworkBuilder.Normalization, _ parameters: ParameterReader<Scalar>, inner: Int) throws {
    guard let movingMean = settings.movingMean as Int?, let movingVariance = settings.movingVariance as Int? else {
      throw ModelError.layer(
        name: "batch_normalization",
        problem: "without running statistics an output depends on the whole batch; use the model's own predict")
    }
    layer = parameters.layer(of: movingMean)
    self.inner = inner
    epsilon = settings.epsilon
    mean = parameters.doubles(movingMean)
    variance = parameters.doubles(movingVariance)
    gamma = settings.gamma.map { parameters.doubles($0) }
    beta = settings.beta.map { parameters.doubles($0) }
    features = mean.count
  }

  /// The same as one factor and one shift per feature: s = γ/√(σ² + ε), t = β − μ·s.
  var map: FeatureMap {
    let factor = (0..<features).map { (gamma?[$0] ?? 1) / (variance[$0] + epsilon).squareRoot() }
    return FeatureMap(factor: factor, shift: (0..<features).map { (beta?[$0] ?? 0) - mean[$0] * factor[$0] })
  }

  /// The value of each of `columns` elements, from one per feature.
  func spread(_ values: [Double], columns: Int) -> [Double] {
    inner == 1 && columns == features ? values : (0..<columns).map { values[$0 / inner % features] }
  }
}

/// A matrix of parameters with memory of its own.
struct ParameterMatrix<Scalar: NetworkScalar>: Sendable {
  let buffer: AlignedBuffer<Scalar>
  let rows: Int
  let columns: Int

  init(rows: Int, columns: Int) {
    self.rows = rows
    self.columns = columns
    buffer = AlignedBuffer(uninitializedCapacity: rows * columns)
  }

  var view: MatrixView<Scalar> { MatrixView(base: buffer.baseAddress, rows: rows, columns: columns) }
  var count: Int { rows * columns }
}

/// Copies parameters out of a store; in kernels, which are fast in code that is not specialized too.
struct ParameterReader<Scalar: NetworkScalar> {
  let store: ParameterStore<Scalar>
  let kernels: KernelTable<Scalar>

  /// A copy of parameter `index`, row-major.
  func matrix(_ index: Int) -> ParameterMatrix<Scalar> {
    let slot = store.slots[index]
    let result = ParameterMatrix<Scalar>(rows: slot.rows, columns: slot.columns)
    for (tile, piece) in slot.pieces.enumerated() {
      let view = MatrixView(
        base: store.pointer(index, tile: tile), rows: slot.rows, columns: piece.columns.count, stride: piece.stride)
      kernels.activations.forward(view, nil, result.view.columns(piece.columns), .linear, 0)
    }
    return result
  }

  /// The values of parameter `index` in Double.
  func doubles(_ index: Int) -> [Double] {
    let values = matrix(index)
    return [Double](unsafeUninitializedCapacity: values.count) { wide, initialized in
      Scalar.unsafeWiden(values.count, values.buffer.baseAddress, wide.baseAddress!)
      initialized = values.count
    }
  }

  /// The name of the layer that parameter `index` belongs to.
  func layer(of index: Int) -> String {
    let name = store.slots[index].name
    return name.lastIndex(of: ".").map { String(name[..<$0]) } ?? name
  }

  /// - Throws: `ModelError.notFinite` with the name of the first parameter that holds NaN or an infinity.
  func requireFinite() throws {
    let isFinite = [store.weights, store.state].allSatisfy { kernels.reductions.allFinite($0.baseAddress, $0.capacity) }
    if isFinite { return }
    for (index, slot) in store.slots.enumerated() {
      let values = matrix(index)
      guard kernels.reductions.allFinite(values.buffer.baseAddress, values.count) else {
        throw ModelError.notFinite(what: "parameter \(slot.name)")
      }
    }
  }
}
