/// A model's stages and shapes: all that follows from the layers and the input shape alone.
struct NetworkLayout {
  /// One line of `summary()`.
  struct LayerRecord: Sendable {
    var name: String
    var kind: String
    var outputShape: [Int]
    var parameters: [Int]
  }

  let inputShape: [Int]
  let outputShape: [Int]
  let layers: [LayerRecord]
  let records: [NetworkBuilder.ParameterRecord]
  let stages: [StageLayout]

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
    var records: [LayerRecord] = []
    var counts: [String: Int] = [:]
    var names: Set<String> = []
    for layer in layers {
      var name = layer.name ?? ""
      if name.isEmpty {
        let count = counts[layer.kind, default: 0]
        counts[layer.kind] = count + 1
        name = count == 0 ? layer.kind : "\(layer.kind)_\(count)"
      }
      guard names.insert(name).inserted else { throw ModelError.duplicateName(name) }
      let first = builder.parameters.count
      builder.layerName = name
      try layer.lower(into: &builder)
      records.append(
        LayerRecord(
          name: name, kind: layer.kind, outputShape: builder.shape,
          parameters: Array(first..<builder.parameters.count)))
    }
    self.inputShape = inputShape
    outputShape = builder.shape
    self.layers = records
    self.records = builder.parameters
    stages = StageLayout.stages(of: builder.operations)
    guard !stages.isEmpty else {
      throw ModelError.layer(name: records[0].name, problem: "the model computes nothing; add a Dense layer")
    }
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
