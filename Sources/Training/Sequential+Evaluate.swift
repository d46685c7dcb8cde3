import LinearAlgebra
import NeuralNetworks

extension Sequential {
  /// Mean loss and accuracy on `data`, in inference mode.
  ///
  /// Batch normalization is folded away where that is accurate (see `foldingRefusal`), anew when the weights have changed.
  /// - Parameters:
  ///   - data: inputs and targets.
  ///   - batchSize: samples that layers of your own see at once, 32 by default; other layers take any number.
  /// - Throws: `ModelError` where the model is not compiled, or data and model do not fit.
  public func evaluate(_ data: Samples<Scalar>, batchSize: Int = 32) throws -> Evaluation {
    guard isCompiled else { throw ModelError.notCompiled }
    try build(inputShape: data.inputShape)
    try check(data, needsTargets: true)
    var sums = LossSums(loss: 0, correct: 0)
    if let predictor = try fastPredictor(batchSize: batchSize), let loss = configuration?.loss {
      let piece = min(data.count, Self.evaluationPiece)
      let output = AlignedBuffer<Scalar>(uninitializedCapacity: piece * predictor.outputCount)
      data.withSource { source in
        for start in stride(from: data.rows.lowerBound, to: data.rows.upperBound, by: piece) {
          let part = predictor.evaluate(
            source, first: start, samples: min(piece, data.rows.upperBound - start), loss: loss,
            output: output.baseAddress)
          sums.loss += part.loss
          sums.correct += part.correct
        }
      }
      var result = average([sums], samples: data.count)
      result.loss += penalty
      return result
    }
    try forEachBatch(of: data, batchSize: batchSize) { plan, source, indices, samples in
      let part = plan.evaluate(source, indices: indices, samples: samples)
      sums.loss += part.loss
      sums.correct += part.correct
    }
    return average([sums], samples: data.count)
  }

  /// The outputs for the inputs of `data`, in inference mode: shape (samples, …).
  ///
  /// Batch normalization is folded away where that is accurate (see `foldingRefusal`), anew when the weights have changed;
  /// whether they have costs a pass over them in each call, which `predictor()` saves.
  /// - Parameters:
  ///   - data: inputs; targets are not looked at.
  ///   - batchSize: samples that layers of your own see at once, 32 by default; other layers take any number.
  /// - Throws: `ModelError` where data and model do not fit.
  public func predict(_ data: Samples<Scalar>, batchSize: Int = 32) throws -> Tensor<Scalar> {
    try build(inputShape: data.inputShape)
    try check(data, needsTargets: false)
    guard let outputShape else { throw ModelError.notBuilt }
    if let predictor = try fastPredictor(batchSize: batchSize) { return try predictor.predict(data) }
    let width = outputShape.reduce(1, *)
    var result = Tensor<Scalar>.zeros([data.count] + outputShape)
    try result.withUnsafeMutableBufferPointer { buffer in
      var done = 0
      try forEachBatch(of: data, batchSize: batchSize) { plan, source, indices, samples in
        plan.infer(source, indices: indices, samples: samples)
        let output = plan.output(samples: samples)
        for row in 0..<output.rows {
          let target = buffer.baseAddress! + done * width + row * output.columns
          target.update(from: output.base + row * output.stride, count: output.columns)
        }
        done += samples
      }
    }
    return result
  }

  /// The outputs for a tensor of inputs, in inference mode.
  ///
  /// - Throws: `ModelError` where the inputs do not fit the model or are not finite.
  public func predict(_ inputs: Tensor<Scalar>, batchSize: Int = 32) throws -> Tensor<Scalar> {
    try predict(Samples(inputs), batchSize: batchSize)
  }

  /// Refuses data that do not fit the model: shapes, missing targets, labels outside the classes.
  func check(_ data: Samples<Scalar>, needsTargets: Bool) throws {
    guard let inputShape, let outputShape else { throw ModelError.notBuilt }
    guard data.count > 0 else { throw ModelError.argument(name: "data", problem: "there are no samples") }
    guard data.inputShape == inputShape else {
      throw ModelError.shape(what: "one sample of the inputs", expected: inputShape, got: data.inputShape)
    }
    if data.statisticsWeights != nil { try checkStatisticsWeights() }
    guard needsTargets else { return }
    guard let loss = configuration?.loss else { throw ModelError.notCompiled }
    switch data.targets {
    case .none:
      throw ModelError.loss(problem: "the data have no targets")
    case .labels(let labels):
      guard loss.takesLabels else {
        throw ModelError.loss(problem: "\(loss) needs rows of targets, not labels; use sparseCategoricalCrossEntropy")
      }
      let classes = outputShape[outputShape.count - 1]
      let perSample = outputShape.dropLast().reduce(1, *)
      guard labels.count == data.wholeCount * perSample else {
        throw ModelError.shape(what: "labels", expected: [data.wholeCount * perSample], got: [labels.count])
      }
      let used = labels[data.rows.lowerBound * perSample..<data.rows.upperBound * perSample]
      if let row = used.firstIndex(where: { $0 < 0 || $0 >= classes }) {
        throw ModelError.label(row: row, label: Int(labels[row]), classes: classes)
      }
    case .values(let values):
      guard !loss.takesLabels else {
        throw ModelError.loss(problem: "\(loss) needs integer labels, not rows of targets; use categoricalCrossEntropy")
      }
      guard Array(values.shape.dropFirst()) == outputShape else {
        throw ModelError.shape(
          what: "one sample of the targets", expected: outputShape, got: Array(values.shape.dropFirst()))
      }
    }
  }

  /// Means from the sums over batches.
  func average(_ parts: [LossSums], samples: Int) -> Evaluation {
    let rows = Double(samples * (outputShape?.dropLast().reduce(1, *) ?? 1))
    let loss = parts.reduce(0) { $0 + $1.loss } / rows
    let correct = parts.reduce(0) { $0 + $1.correct }
    return Evaluation(
      loss: loss, accuracy: configuration?.loss.hasAccuracy == true ? Double(correct) / rows : nil)
  }

  /// Samples whose outputs are judged together.
  private static var evaluationPiece: Int { 1024 }

  /// The predictor of the weights of this moment; nil where layers of a user's are to see whole batches.
  private func fastPredictor(batchSize: Int) throws -> Predictor<Scalar>? {
    guard batchSize >= 1 else {
      throw ModelError.argument(name: "batchSize", problem: "must be at least 1, not \(batchSize)")
    }
    return try currentPredictor()
  }

  private func forEachBatch(
    of data: Samples<Scalar>, batchSize: Int,
    _ body: (ExecutionPlan<Scalar>, BatchSource<Scalar>, UnsafePointer<Int32>, Int) -> Void
  ) throws {
    try checkVariance(samples: min(batchSize, data.count), training: false)
    if data.count % batchSize > 0 { try checkVariance(samples: data.count % batchSize, training: false) }
    let plan = try plan(samples: min(batchSize, data.count))
    let order = data.rows.map { Int32($0) }
    data.withSource { source in
      order.withUnsafeBufferPointer { order in
        for start in stride(from: 0, to: order.count, by: batchSize) {
          body(plan, source, order.baseAddress! + start, min(batchSize, order.count - start))
        }
      }
    }
  }
}
