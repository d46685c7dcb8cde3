/// A model's stages and shapes: all that follows from the layers and the input shape alone.
struct NetworkLayout {
  /// A layer as it was lowered: one line of `summary()`.
  struct LayerRecord: Sendable {
    /// The name, after those of the blocks around it.
    var name: String
    /// The name without them.
    var ownName: String
    var kind: String
    var outputShape: [Int]
    /// Those of its own, without the layers within it.
    var parameters: [Int]
    /// Operations of the network up to its last.
    var operationCount: Int
    var isNormalization: Bool
    /// The layers within it, where it is a block.
    var inner: [LayerRecord]

    /// The layers within it, to any depth, and itself: in the order in which they end.
    var withInner: [LayerRecord] { inner.flatMap(\.withInner) + [self] }
  }

  let inputShape: [Int]
  let outputShape: [Int]
  /// The model's layers; those of blocks are within the blocks.
  let layers: [LayerRecord]
  let records: [NetworkBuilder.ParameterRecord]
  let stages: [StageLayout]
  private let operations: [NetworkBuilder.Operation]

  /// Lowers `layers` for samples of `inputShape` in a model of `precision`.
  ///
  /// - Throws: `ModelError` where a layer cannot take its input, two layers share a name, or nothing is computed.
  init(layers: [any Layer], inputShape: [Int], precision: any NetworkScalar.Type) throws {
    guard !layers.isEmpty else { throw ModelError.empty }
    guard !inputShape.isEmpty, inputShape.allSatisfy({ $0 > 0 }), Self.fits(inputShape) else {
      throw ModelError.argument(
        name: "inputShape",
        problem: "\(inputShape) must have at least one axis, no axis below 1, and at most "
          + "\(Self.largestAxis) elements")
    }
    var builder = NetworkBuilder(inputShape: inputShape, precision: precision)
    let records = try builder.lower(layers)
    self.init(
      inputShape: inputShape, layers: records, records: builder.parameters, operations: builder.operations)
    guard !stages.isEmpty else {
      throw ModelError.layer(name: records[0].name, problem: "the model computes nothing; add a Dense layer")
    }
  }

  private init(
    inputShape: [Int], layers: [LayerRecord], records: [NetworkBuilder.ParameterRecord],
    operations: [NetworkBuilder.Operation]
  ) {
    self.inputShape = inputShape
    outputShape = operations.last?.outputShape ?? inputShape
    self.layers = layers
    self.records = records
    self.operations = operations
    stages = StageLayout.stages(of: operations)
  }

  /// All layers, those of blocks before their block.
  var allLayers: [LayerRecord] { layers.flatMap(\.withInner) }

  /// The network up to an operation: its stages are the first of this one's, and its parameters have the same numbers.
  ///
  /// Nil where nothing is computed so far.
  func prefix(operations count: Int) -> NetworkLayout? {
    let part = NetworkLayout(
      inputShape: inputShape, layers: layers, records: records, operations: Array(operations.prefix(count)))
    return part.stages.isEmpty ? nil : part
  }

  /// The same network with dropout that drops nothing.
  func withoutDropout() -> NetworkLayout {
    let operations = operations.map { operation in
      var operation = operation
      if case .dropout = operation.kind { operation.kind = .dropout(rate: 0) }
      return operation
    }
    return NetworkLayout(inputShape: inputShape, layers: layers, records: records, operations: operations)
  }

  /// Most elements of a sample and most units of a layer: beyond it a shape is a mistake or a damaged file.
  static let largestAxis = 1 << 24

  private static func fits(_ shape: [Int]) -> Bool {
    var count = 1
    for axis in shape {
      guard axis <= largestAxis else { return false }
      count *= axis
      guard count <= largestAxis else { return false }
    }
    return true
  }

  /// How many stages run in training, and the loss on what the last of them makes.
  ///
  /// A softmax at the end and a cross-entropy of probabilities become a cross-entropy of logits.
  func trainingStages(loss: Loss) -> (Int, Loss) {
    if stages.count > 1, case .softmax = stages[stages.count - 1].core, let fused = loss.fusedWithSoftmax {
      return (stages.count - 1, fused)
    }
    return (stages.count, loss)
  }
}
