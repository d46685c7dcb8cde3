/// Collects what the layers of a model stand for: operations on a batch, and parameters.
///
/// A layer's `lower(into:)` calls the methods here; each changes `shape` to the shape of its output.
public struct NetworkBuilder {
  /// The shape of one sample where the next operation will read it, without the batch axis.
  public private(set) var shape: [Int]
  /// The name of the layer that is being lowered, after those of the blocks around it: `residual.dense`.
  public private(set) var layerName = ""

  private(set) var operations: [Operation] = []
  private(set) var parameters: [ParameterRecord] = []
  /// The layers within the one that is being lowered.
  private var innerLayers: [NetworkLayout.LayerRecord] = []
  private var names: Set<String> = []
  private var residualCount = 0

  /// A parameter under its full name.
  struct ParameterRecord: Sendable {
    var name: String
    var specification: ParameterSpecification
  }

  /// One operation, with the indices of its parameters and the sample shapes around it.
  struct Operation: Sendable {
    var kind: Kind
    var inputShape: [Int]
    var outputShape: [Int]
  }

  enum Kind: Sendable {
    case dense(kernel: Int, bias: Int?)
    case activation(ElementwiseActivation, alpha: Double)
    case batchNormalization(Normalization)
    case dropout(rate: Double)
    case softmax
    case flatten
    case custom(any CustomLayer, parameters: [Int])
    /// Nothing but a name for the value here: number `residual` is added further on.
    case shortcut(residual: Int)
    /// The sum with that value.
    case addition(residual: Int)
  }

  /// A batch normalization's settings; `axis` counts within a sample's shape.
  struct Normalization: Sendable {
    /// Its number among the model's normalizations, by which the steps find its switches.
    var index: Int
    var layerName: String
    var layer: BatchNormalization
    var axis: Int
    /// Values per feature in one sample.
    var positions: Int
    /// Weight of the old running statistics where it is fixed.
    var momentum: Double
    var epsilon: Double
    var gamma: Int?
    var beta: Int?
    /// nil without running statistics.
    var movingMean: Int?
    var movingVariance: Int?
    /// Batches in a cumulative average.
    var batchCount: Int?
    var renorm: RenormParameters?
  }

  /// The running statistics that only batch renormalization has.
  struct RenormParameters: Sendable {
    var movingDeviation: Int
    var mean: Int
    var deviation: Int
  }

  /// The precision that the model computes in.
  let precision: any NetworkScalar.Type

  init(inputShape: [Int], precision: any NetworkScalar.Type) {
    shape = inputShape
    self.precision = precision
  }

  /// The product with a kernel of shape (last axis, units), and a bias.
  ///
  /// - Throws: `ModelError.layer` where `units` is out of range.
  public mutating func dense(
    units: Int, useBias: Bool, kernelInitializer: Initializer, biasInitializer: Initializer
  ) throws {
    guard (1...NetworkLayout.largestAxis).contains(units) else {
      throw error("units must be in 1 ... \(NetworkLayout.largestAxis), not \(units)")
    }
    let kernel = add(
      ParameterSpecification(name: "kernel", shape: [shape[shape.count - 1], units], initializer: kernelInitializer))
    let bias =
      useBias ? add(ParameterSpecification(name: "bias", shape: [units], initializer: biasInitializer)) : nil
    append(.dense(kernel: kernel, bias: bias), outputShape: shape.dropLast() + [units])
  }

  /// An activation; linear adds nothing.
  ///
  /// - Throws: `ModelError.layer` where its setting is negative or not finite.
  public mutating func activation(_ activation: Activation) throws {
    guard activation != .linear else { return }
    guard let (kind, alpha) = activation.elementwise else { return append(.softmax, outputShape: shape) }
    guard alpha >= 0, alpha.isFinite else {
      throw error("the parameter of \(activation.kind) must be at least 0 and finite, not \(alpha)")
    }
    append(.activation(kind, alpha: alpha), outputShape: shape)
  }

  /// A batch normalization.
  ///
  /// - Throws: `ModelError.layer` where the axis does not exist, a setting is out of its range, or two settings exclude
  ///   each other.
  public mutating func batchNormalization(_ layer: BatchNormalization) throws {
    let axis = layer.axis < 0 ? shape.count + layer.axis : layer.axis - 1
    guard shape.indices.contains(axis), layer.axis != 0 else {
      throw error("axis \(layer.axis) is not a feature axis of a batch of samples of shape \(shape)")
    }
    if let problem = layer.problem { throw error(problem) }
    let features = [shape[axis]]
    func specification(_ name: String, _ initializer: Initializer, _ trainable: Bool) -> ParameterSpecification {
      ParameterSpecification(name: name, shape: features, initializer: initializer, isTrainable: trainable)
    }
    var normalization = Normalization(
      index: operations.count { if case .batchNormalization = $0.kind { true } else { false } }, layerName: layerName,
      layer: layer, axis: axis, positions: shape.reduce(1, *) / shape[axis], momentum: layer.momentum.weightOfOld ?? 0,
      epsilon: layer.epsilon)
    if layer.scale { normalization.gamma = add(specification("gamma", layer.gammaInitializer, true)) }
    if layer.center { normalization.beta = add(specification("beta", layer.betaInitializer, true)) }
    if layer.tracksRunningStatistics {
      normalization.movingMean = add(specification("moving_mean", layer.movingMeanInitializer, false))
      normalization.movingVariance = add(specification("moving_variance", layer.movingVarianceInitializer, false))
      if layer.momentum == .cumulativeAverage {
        normalization.batchCount = add(
          ParameterSpecification(name: "batch_count", shape: [1], initializer: .zeros, isTrainable: false))
      }
    }
    if let renormalization = layer.renormalization {
      let deviation = renormalization.firstDeviation(layer.movingVarianceInitializer) ?? .ones
      normalization.renorm = RenormParameters(
        movingDeviation: add(specification("moving_stddev", deviation, false)),
        mean: add(specification("renorm_mean", layer.movingMeanInitializer, false)),
        deviation: add(specification("renorm_stddev", deviation, false)))
    }
    append(.batchNormalization(normalization), outputShape: shape)
  }

  /// A dropout mask.
  ///
  /// - Throws: `ModelError.layer` where `rate` is outside 0 ..< 1.
  public mutating func dropout(rate: Double) throws {
    guard (0..<1).contains(rate) else { throw error("the dropout rate must be in 0 ..< 1, not \(rate)") }
    if rate > 0 { append(.dropout(rate: rate), outputShape: shape) }
  }

  /// One axis of all.
  public mutating func flatten() {
    append(.flatten, outputShape: [shape.reduce(1, *)])
  }

  /// An operation that `layer` computes.
  ///
  /// - Throws: `ModelError.layer` where a shape is empty or not positive.
  public mutating func custom(
    _ layer: any CustomLayer, outputShape: [Int], parameters specifications: [ParameterSpecification]
  ) throws {
    guard !outputShape.isEmpty, outputShape.allSatisfy({ $0 > 0 }) else {
      throw error("its output shape \(outputShape) must have at least one axis, and no axis below 1")
    }
    for specification in specifications
    where specification.shape.isEmpty || specification.shape.contains(where: { $0 < 1 }) {
      throw error("its parameter \(specification.name) cannot have shape \(specification.shape)")
    }
    append(.custom(layer, parameters: specifications.map { add($0) }), outputShape: outputShape)
  }

  /// A block with a shortcut around it, and an activation of the sum.
  ///
  /// - Throws: `ModelError.layer` where the block changes the shape.
  mutating func residual(_ layers: [any Layer], activation: Activation) throws {
    let residual = residualCount
    residualCount += 1
    let (before, path) = (shape, layerName)
    append(.shortcut(residual: residual), outputShape: shape)
    let inner = try lower(layers, within: path)
    innerLayers += inner
    layerName = path
    guard shape == before else {
      throw error(
        "its layers make samples of shape \(shape) of samples of shape \(before), which cannot be added; let the last of "
          + "them have \(before[before.count - 1]) units, or put a Dense ahead of the block that makes that shape")
    }
    append(.addition(residual: residual), outputShape: shape)
    try self.activation(activation)
  }

  /// Adds layers one after the other; their names begin with `path` where it is not empty.
  ///
  /// - Throws: `ModelError.duplicateName` where a name has been given before; what the layers throw.
  mutating func lower(_ layers: [any Layer], within path: String = "") throws -> [NetworkLayout.LayerRecord] {
    let around = innerLayers
    defer { innerLayers = around }
    var counts: [String: Int] = [:]
    return try layers.map { layer in
      var own = layer.name ?? ""
      if own.isEmpty {
        let count = counts[layer.kind, default: 0]
        counts[layer.kind] = count + 1
        own = count == 0 ? layer.kind : "\(layer.kind)_\(count)"
      }
      let name = path.isEmpty ? own : "\(path).\(own)"
      guard names.insert(name).inserted else { throw ModelError.duplicateName(name) }
      let first = parameters.count
      layerName = name
      innerLayers = []
      try layer.lower(into: &self)
      let inner = Set(innerLayers.flatMap(\.withInner).flatMap(\.parameters))
      return NetworkLayout.LayerRecord(
        name: name, ownName: own, kind: layer.kind, outputShape: shape,
        parameters: (first..<parameters.count).filter { !inner.contains($0) }, operationCount: operations.count,
        isNormalization: layer is BatchNormalization, inner: innerLayers)
    }
  }

  private func error(_ problem: String) -> ModelError { .layer(name: layerName, problem: problem) }

  private mutating func add(_ specification: ParameterSpecification) -> Int {
    parameters.append(ParameterRecord(name: "\(layerName).\(specification.name)", specification: specification))
    return parameters.count - 1
  }

  private mutating func append(_ kind: Kind, outputShape: [Int]) {
    operations.append(Operation(kind: kind, inputShape: shape, outputShape: outputShape))
    shape = outputShape
  }
}
