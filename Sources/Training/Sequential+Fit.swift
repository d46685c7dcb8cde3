import Datasets
import LinearAlgebra
import NeuralNetworks
import RandomNumbers

extension Sequential {
  /// Trains on `data`, epoch by epoch, and returns what was measured.
  ///
  /// Each epoch visits every sample once, in batches of `batchSize` (the last may be smaller). The order is drawn from the
  /// model's seed and the epoch's number, so that two models of one seed see the same batches.
  ///
  /// - Parameters:
  ///   - data: inputs and targets.
  ///   - epochs: how often the data are visited, 1 by default.
  ///   - batchSize: samples per step, 32 by default.
  ///   - schedule: how the learning rate moves over all steps of this call, constant by default.
  ///   - shuffle: whether each epoch has an order of its own, true by default.
  ///   - validationData: what is evaluated after each epoch.
  ///   - validationSplit: share of `data` (the last samples) that is kept for validation instead, 0 by default.
  ///   - verbose: how much is said, a bar or lines by default.
  ///   - output: where it is said.
  /// - Throws: `ModelError` where the model is not compiled, or data and model do not fit; checked before the first step.
  @discardableResult
  public func fit(
    _ data: Samples<Scalar>, epochs: Int = 1, batchSize: Int = 32, schedule: LearningRateSchedule = .constant,
    shuffle: Bool = true, validationData: Samples<Scalar>? = nil, validationSplit: Double = 0,
    verbose: Verbosity = .auto,
    output: ProgressOutput = .standardOutput
  ) throws -> History {
    guard epochs >= 1 else {
      throw ModelError.argument(name: "epochs", problem: "must be at least 1, not \(epochs)")
    }
    var training = data
    var validation = validationData
    if validationSplit != 0 {
      guard validationData == nil else {
        throw ModelError.argument(name: "validationSplit", problem: "give either this or validationData, not both")
      }
      let parts = try data.split(validationFraction: validationSplit)
      (training, validation) = (parts.training, parts.validation)
    }
    let plan = try prepare(training, batchSize: batchSize)
    if let validation { try check(validation, needsTargets: true) }

    var history = History()
    var reporter = ProgressReporter(verbose, descriptor: output.descriptor, epochs: epochs)
    let stepsPerEpoch = (training.count + batchSize - 1) / batchSize
    for epoch in 0..<epochs {
      var record = training.withSource { source in
        trainEpoch(plan, source, training.rows, epoch, batchSize: batchSize, shuffle: shuffle, &reporter) { step in
          schedule.factor(step: epoch * stepsPerEpoch + step, of: epochs * stepsPerEpoch)
        }
      }
      epochCount += 1
      if let validation { record.validation = try evaluate(validation, batchSize: batchSize) }
      reporter.finish(record)
      history.epochs.append(record)
    }
    return history
  }

  /// One step on `data` as one batch; returns the loss and accuracy before the update.
  ///
  /// - Throws: `ModelError` where the model is not compiled, or data and model do not fit.
  @discardableResult
  public func trainOnBatch(_ data: Samples<Scalar>) throws -> Evaluation {
    let plan = try prepare(data, batchSize: data.count)
    let order = data.rows.map { Int32($0) }
    return try data.withSource { source in
      try order.withUnsafeBufferPointer { indices in
        let sums = try step(plan, source, indices.baseAddress!, data.count)
        return average([sums], samples: data.count)
      }
    }
  }

  /// Loss, accuracy and gradients on `data` as one batch in training mode, without an update; see `gradient(_:)`.
  ///
  /// Moving statistics follow the batch, as in a step.
  /// - Throws: `ModelError` where the model is not compiled, or data and model do not fit.
  @discardableResult
  public func computeGradients(_ data: Samples<Scalar>) throws -> Evaluation {
    let plan = try prepare(data, batchSize: data.count)
    let order = data.rows.map { Int32($0) }
    return data.withSource { source in
      order.withUnsafeBufferPointer { indices in
        let sums = plan.computeGradients(
          source, indices: indices.baseAddress!, samples: data.count, step: stepCount + 1)
        return average([sums], samples: data.count)
      }
    }
  }

  // MARK: Parts

  private func trainEpoch(
    _ plan: ExecutionPlan<Scalar>, _ source: BatchSource<Scalar>, _ rows: Range<Int>, _ epoch: Int, batchSize: Int,
    shuffle: Bool, _ reporter: inout ProgressReporter, learningRateFactor: (Int) -> Double
  ) -> EpochRecord {
    guard let configuration else { preconditionFailure("prepare(_:batchSize:) has checked this") }
    let started = ContinuousClock.now
    var order = rows.map { Int32($0) }
    if shuffle {
      var generator = Philox(seed: seed, purpose: "shuffle", index: UInt64(epochCount))
      generator.shuffle(&order)
    }
    let rule = configuration.optimizer.updateRule
    var loss = 0.0
    var correct = 0
    order.withUnsafeBufferPointer { order in
      var done = 0
      while done < order.count {
        let samples = min(batchSize, order.count - done)
        stepCount += 1
        let sums = plan.train(
          source, indices: order.baseAddress! + done, samples: samples,
          upcoming: min(batchSize, order.count - done - samples),
          rule: rule.scalingLearningRate(by: learningRateFactor(done / batchSize)), step: stepCount)
        loss += sums.loss
        correct += sums.correct
        done += samples
        reporter.update(epoch: epoch, done: done, of: order.count, started: started) {
          average([LossSums(loss: loss, correct: correct)], samples: done)
        }
      }
    }
    let seconds = (ContinuousClock.now - started).inSeconds
    return EpochRecord(
      epoch: epoch, training: average([LossSums(loss: loss, correct: correct)], samples: rows.count), validation: nil,
      seconds: seconds, samplesPerSecond: Double(rows.count) / max(seconds, 1e-9))
  }

  private func step(
    _ plan: ExecutionPlan<Scalar>, _ source: BatchSource<Scalar>, _ indices: UnsafePointer<Int32>, _ samples: Int
  ) throws -> LossSums {
    guard let configuration else { throw ModelError.notCompiled }
    stepCount += 1
    return plan.train(
      source, indices: indices, samples: samples, rule: configuration.optimizer.updateRule, step: stepCount)
  }

  /// Builds the model for `data` where needed, checks that both fit, and returns a plan for its batches.
  private func prepare(_ data: Samples<Scalar>, batchSize: Int) throws -> ExecutionPlan<Scalar> {
    guard isCompiled else { throw ModelError.notCompiled }
    guard batchSize >= 1 else {
      throw ModelError.argument(name: "batchSize", problem: "must be at least 1, not \(batchSize)")
    }
    try build(inputShape: data.inputShape)
    try check(data, needsTargets: true)
    return try plan(samples: min(batchSize, data.count))
  }
}
