import Kernels

/// The layers' passes alone, for measurements: no batch is gathered, no loss computed, nothing updated.
extension ExecutionPlan {
  /// Forward in training mode from `batchInputs`, backward from `outputGradient`, gradients of parameters into the store.
  ///
  /// What goes with a step is in it: numbers that change from step to step, penalties, constraints.
  package func passLayers(samples: Int, step: Int) {
    precondition(samples > 0 && samples <= capacity, "\(samples) samples for a plan of \(capacity)")
    (sampleCount, update, self.step, bytes) = (samples, nil, step, nil)
    inputs.use(false)
    let normalizations = store.normalizations
    if normalizations.needsPreparation { normalizations.prepare(step: step, store: store) }
    if normalizations.hasPenalties { perform(.penalize) }
    task = .passes
    team.run(self)
    if normalizations.hasConstraints { perform(.constrain) }
  }

  /// The gradient of the last stage's output; after `passLayers` of a plan with one stage, that of its input.
  package func outputGradient(samples: Int) -> MatrixView<Scalar> {
    let last = stages[trainingStages - 1]
    return last.outputGradient.rows(0..<samples * last.outputRowsPerSample)
  }

  /// Weighs the samples of the passes that follow in the moments of batch normalizations; `weights` must outlive them.
  package func weighStatistics(by weights: UnsafeBufferPointer<Double>) {
    guard let values = weights.baseAddress else { return }
    store.normalizations.setWeights(
      (values: values, sum: weights.reduce(0, +), positive: weights.count { $0 > 0 }))
  }
}
