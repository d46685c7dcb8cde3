import Datasets
import LinearAlgebra
import NeuralNetworks
import RandomNumbers

extension Sequential {
  /// Trains on `data`, epoch by epoch, and returns what was measured.
  ///
  /// Each epoch visits every sample once, in batches of `batchSize`; `raggedBatches` says what becomes of rows left over.
  /// The order is drawn from the
  /// model's seed and the epoch's number, so that two models of one seed see the same batches.
  ///
  /// - Parameters:
  ///   - data: inputs and targets.
  ///   - epochs: how often the data are visited, 1 by default.
  ///   - batchSize: samples per step, 32 by default.
  ///   - raggedBatches: what becomes of a smaller last batch; by default it is a batch like the others, but for a single
  ///     row that a normalization has no variance of: it joins the batch before it.
  ///   - schedule: how the learning rate moves over all steps of this call, constant by default.
  ///   - shuffle: whether each epoch has an order of its own, true by default.
  ///   - validationData: what is evaluated after each epoch.
  ///   - validationSplit: share of `data` (the last samples) that is kept for validation instead, 0 by default.
  ///   - verbose: how much is said, a bar or lines by default.
  ///   - output: where it is said.
  ///   - microscope: what looks into the normalizations on the way; none by default.
  /// - Throws: `ModelError` where the model is not compiled, or data and model do not fit; checked before the first step.
  ///   What the microscope throws, and `NonFiniteStep` where the model is compiled with `nonFinite: .throw`; the steps
  ///   made until then stay.
  @discardableResult
  public func fit(
    _ data: Samples<Scalar>, epochs: Int = 1, batchSize: Int = 32, raggedBatches: RaggedBatchPolicy = .automatic,
    schedule: LearningRateSchedule = .constant, shuffle: Bool = true, validationData: Samples<Scalar>? = nil,
    validationSplit: Double = 0, verbose: Verbosity = .auto, output: ProgressOutput = .standardOutput,
    microscope: Microscope? = nil
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
    try prepareData(training, batchSize: batchSize)
    let batches = try EpochBatches(of: training.count, batchSize: batchSize, policy: raggedBatches, model: self)
    if let validation { try check(validation, needsTargets: true) }
    func planOfEpoch() throws -> ExecutionPlan<Scalar> {
      reconsiderTeamSize()
      return try self.plan(samples: batches.largest)
    }
    var plan = try planOfEpoch()
    let sight = try microscope.map { try MicroscopeSight($0, model: self, capacity: plan.capacity) }
    var history = History()
    nonFiniteSteps = []
    var reporter = ProgressReporter(verbose, descriptor: output.descriptor, epochs: epochs)
    for epoch in 0..<epochs {
      if epoch > 0 { plan = try planOfEpoch() }
      var record = try training.withSource { source in
        try trainEpoch(plan, source, training.rows, epoch, batches, shuffle: shuffle, sight, &reporter) { step in
          schedule.factor(step: epoch * batches.steps + step, of: epochs * batches.steps)
        }
      }
      epochCount += 1
      if let validation { record.validation = try evaluate(validation, batchSize: batchSize) }
      reporter.finish(record)
      history.epochs.append(record)
    }
    history.skippedSteps = nonFiniteSteps
    return history
  }

  /// One step on `data` as one batch; returns the loss and accuracy before the update.
  ///
  /// - Throws: `ModelError` where the model is not compiled, data and model do not fit, or a single row meets a
  ///   normalization that needs its variance (`.singleValue`); `NonFiniteStep` where the step was undone, whatever the
  ///   model is compiled to do in `fit`.
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
    _ plan: ExecutionPlan<Scalar>, _ source: BatchSource<Scalar>, _ rows: Range<Int>, _ epoch: Int,
    _ batches: EpochBatches, shuffle: Bool, _ sight: MicroscopeSight<Scalar>?, _ reporter: inout ProgressReporter,
    learningRateFactor: (Int) -> Double
  ) throws -> EpochRecord {
    guard let configuration else { preconditionFailure("prepare(_:batchSize:) has checked this") }
    defer { overrideStatistics(nil) }
    let started = ContinuousClock.now
    var order = rows.map { Int32($0) }
    if shuffle {
      var generator = Philox(seed: seed, purpose: "shuffle", index: UInt64(epochCount))
      generator.shuffle(&order)
    }
    let rule = configuration.optimizer.updateRule
    var loss = 0.0
    var correct = 0
    var skipped = 0
    try order.withUnsafeBufferPointer { order in
      var done = 0
      for step in 0..<batches.steps {
        let samples = batches.size(of: step)
        if step == batches.steps - 1 { overrideStatistics(batches.lastOverride) }
        let indices = order.baseAddress! + done
        try sight?.look(plan, source, indices, samples, epoch: epoch)
        stepCount += 1
        let sums = plan.train(
          source, indices: indices, samples: samples,
          upcoming: step + 1 < batches.steps ? batches.size(of: step + 1) : 0,
          rule: rule.scalingLearningRate(by: learningRateFactor(step)), step: stepCount)
        done += samples
        if plan.stepWasUndone {
          skipped += samples
          try undone(plan, sums, source, indices, samples, in: rows, epoch, step)
          continue
        }
        loss += sums.loss
        correct += sums.correct
        reporter.update(epoch: epoch, done: done, of: batches.samples, started: started) {
          average([LossSums(loss: loss, correct: correct)], samples: done - skipped)
        }
      }
    }
    let seconds = (ContinuousClock.now - started).inSeconds
    return EpochRecord(
      epoch: epoch, training: average([LossSums(loss: loss, correct: correct)], samples: batches.samples - skipped),
      validation: nil, seconds: seconds, samplesPerSecond: Double(batches.samples) / max(seconds, 1e-9))
  }

  private func step(
    _ plan: ExecutionPlan<Scalar>, _ source: BatchSource<Scalar>, _ indices: UnsafePointer<Int32>, _ samples: Int
  ) throws -> LossSums {
    guard let configuration else { throw ModelError.notCompiled }
    stepCount += 1
    let sums = plan.train(
      source, indices: indices, samples: samples, rule: configuration.optimizer.updateRule, step: stepCount)
    guard plan.stepWasUndone else { return sums }
    throw try nonFiniteStep(plan, sums, source, indices, samples, firstRow: Int(indices[0]), epoch: 0, batch: 0)
  }

  /// Builds the model for `data` where needed, checks that both fit, and returns a plan for its batches.
  func prepare(_ data: Samples<Scalar>, batchSize: Int) throws -> ExecutionPlan<Scalar> {
    try prepareData(data, batchSize: batchSize)
    try checkVariance(samples: min(batchSize, data.count), training: true)
    return try plan(samples: min(batchSize, data.count))
  }

  private func prepareData(_ data: Samples<Scalar>, batchSize: Int) throws {
    guard isCompiled else { throw ModelError.notCompiled }
    guard batchSize >= 1 else {
      throw ModelError.argument(name: "batchSize", problem: "must be at least 1, not \(batchSize)")
    }
    try build(inputShape: data.inputShape)
    try check(data, needsTargets: true)
  }
}
