import LinearAlgebra
import NeuralNetworks

extension Sequential {
  /// The outputs of one layer for the inputs of `data`: shape (samples, …).
  ///
  /// In training mode `data` are one batch: batch normalizations use its statistics and dropout masks are those of the
  /// next step. Nothing of the model changes, moving statistics included. Cost: a forward pass up to the layer.
  ///
  /// - Parameters:
  ///   - layer: its name, as in `summary()`. A `Dense` with an activation gives the activation's output; what comes
  ///     before it can be read where the activation is a layer of its own.
  ///   - data: inputs; targets are not looked at.
  ///   - mode: inference by default.
  /// - Throws: `ModelError` where the model is not built, has no such layer, or the data do not fit.
  public func activations(
    of layer: String, on data: Samples<Scalar>, mode: Mode = .inference
  ) throws -> Tensor<Scalar> {
    guard isBuilt else { throw ModelError.notBuilt }
    try check(data, needsTargets: false)
    guard let index = layerNames.firstIndex(of: layer) else {
      throw ModelError.argument(
        name: "layer", problem: "no layer is named '\(layer)'; there are \(layerNames.joined(separator: ", "))")
    }
    let reader = try LayerReader(self, layer: index, capacity: data.count)
    let order = data.rows.map { Int32($0) }
    let state = try runningState()
    defer { restore(state) }
    return try data.withSource { source in
      try order.withUnsafeBufferPointer { order in
        let view = reader.read(source, order.baseAddress!, data.count, mode: mode, step: stepCount + 1)
        return try Tensor(shape: [data.count] + reader.shape, scalars: view.scalars)
      }
    }
  }
}

/// Runs the layers of a model up to one and shows what that one made.
struct LayerReader<Scalar: NetworkScalar> {
  /// Shape of one sample of the layer's output.
  let shape: [Int]
  private let plan: ExecutionPlan<Scalar>
  private let computes: Bool

  /// A reader of the output of layer `index` for batches of up to `capacity`; −1 reads the model's inputs.
  ///
  /// - Throws: what making a plan throws.
  init(_ model: Sequential<Scalar>, layer index: Int, capacity: Int) throws {
    let threads = model.teamSize ?? 1
    shape = index < 0 ? model.inputShape ?? [] : model.outputShape(ofLayer: index)
    let part = try model.plan(ofFirst: index + 1, samples: capacity, threads: threads)
    computes = part != nil
    plan = try part ?? model.plan(samples: capacity)
  }

  /// What the layer makes of a batch, until the next call; in training mode moving statistics follow the batch.
  func read(
    _ source: BatchSource<Scalar>, _ indices: UnsafePointer<Int32>, _ samples: Int, mode: Mode, step: Int
  ) -> MatrixView<Scalar> {
    let source = BatchSource(inputs: source.inputs, targets: .none)
    if mode == .training && computes {
      plan.observe(source, indices: indices, samples: samples, step: step)
    } else {
      plan.infer(source, indices: indices, samples: samples)
    }
    return computes ? plan.output(samples: samples) : plan.batchInputs(samples: samples)
  }
}

extension MatrixView where Scalar: NetworkScalar {
  /// The elements row by row, without gaps.
  var scalars: [Scalar] {
    var result: [Scalar] = []
    result.reserveCapacity(rows * columns)
    for row in 0..<rows { result += UnsafeBufferPointer(start: base + row * stride, count: columns) }
    return result
  }
}
