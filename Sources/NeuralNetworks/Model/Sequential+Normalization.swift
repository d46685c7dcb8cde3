import LinearAlgebra

extension Sequential {
  /// The names of the batch normalizations, first to last; empty before the model is built.
  public var normalizationNames: [String] { store?.normalizations.layers.map(\.layerName) ?? [] }

  /// The switches of the batch normalization `name`.
  ///
  /// - Throws: `ModelError.notBuilt`, or `ModelError.unknownNormalization` where there is none of that name.
  public func normalizationSwitches(_ name: String) throws -> NormalizationSwitches {
    guard let table = store?.normalizations else { throw ModelError.notBuilt }
    return table.switches[try table.index(of: name)]
  }

  /// Changes what a batch normalization, or all of them, does in training, from the next step on.
  ///
  /// ```swift
  /// try model.configureNormalization("batch_normalization_1") { $0.learnsParameters = false }
  /// try model.configureNormalization { $0 = .frozen }
  /// ```
  ///
  /// The compiled steps go on without being made anew. Switches are the model object's, not saved with it.
  /// - Parameters:
  ///   - name: the layer; nil: all batch normalizations.
  ///   - change: sets the switches.
  /// - Throws: `ModelError.notBuilt`; `ModelError.unknownNormalization`; `ModelError.layer` where training is to use
  ///   running statistics that do not exist. Nothing is changed then.
  public func configureNormalization(
    _ name: String? = nil, _ change: (inout NormalizationSwitches) throws -> Void
  ) throws {
    guard let table = store?.normalizations else { throw ModelError.notBuilt }
    let indices = try name.map { [try table.index(of: $0)] } ?? Array(table.layers.indices)
    let before = table.switches
    do {
      for index in indices {
        var switches = table.switches[index]
        try change(&switches)
        try table.set(switches, for: index)
      }
    } catch {
      for index in indices { try? table.set(before[index], for: index) }
      throw error
    }
  }

  /// The same model with every batch normalization in `convention`'s words, and the stored variances as it would have
  /// them.
  ///
  /// Weights are copied. Where the running variance changes from biased to unbiased, the stored ones are multiplied by
  /// n/(n − 1), with n the values per feature in a batch of `batchSize` samples, and divided by it the other way: what
  /// the other system would have stored had it trained on batches of that size. The factor also meets what is left of
  /// the first values (Keras's momentum keeps 0.99ᵏ of them after k batches), which no system multiplies.
  ///
  /// - Parameters:
  ///   - convention: the words wanted; see `BatchNormalization.converted(to:)`.
  ///   - batchSize: samples per batch in the training that made the statistics; nil keeps the stored values, and
  ///     with them inference to the bit, while later updates follow the new rule.
  /// - Throws: `ModelError.layer` where the convention has no rule like the layer's or a batch holds one value per
  ///   feature; `ModelError.notBuilt`.
  public func converted(
    to convention: BatchNormalization.Convention, batchSize: Int?
  ) throws -> Sequential<Scalar> {
    guard let inputShape, let table = store?.normalizations else { throw ModelError.notBuilt }
    let layers = try layers.mapWithinBlocks { try ($0 as? BatchNormalization)?.converted(to: convention) ?? $0 }
    let result = Sequential<Scalar>(seed: seed, layers: layers)
    try result.build(inputShape: inputShape)
    for parameter in parameters { try result.setParameter(parameter.name, to: self.parameter(parameter.name)) }
    guard let batchSize else { return result }
    for normalization in table.layers where normalization.layer.tracksRunningStatistics {
      guard normalization.layer.runningVariance != convention.runningVariance else { continue }
      let count = Double(batchSize * normalization.positions)
      guard count > 1 else { throw ModelError.singleValue(layer: normalization.layerName) }
      let factor = convention.runningVariance == .unbiased ? count / (count - 1) : (count - 1) / count
      let name = "\(normalization.layerName).moving_variance"
      let values = try parameter(name)
      let scaled = values.scalars.map { Scalar(Double($0) * factor) }
      try result.setParameter(name, to: try Tensor(shape: values.shape, scalars: scaled))
    }
    return result
  }
}

extension Sequential {
  /// Refuses a batch on which a normalization would take the variance of a single value.
  ///
  /// - Throws: `ModelError.singleValue`.
  package func checkVariance(samples: Int, training: Bool) throws {
    guard let table = store?.normalizations else { return }
    if let name = table.layerWithoutVariance(samples: samples, training: training) {
      throw ModelError.singleValue(layer: name)
    }
  }

  /// What the regularizers of γ and β add to the loss.
  package var penalty: Double {
    guard let store, store.normalizations.hasPenalties else { return 0 }
    return store.normalizations.penalty(store)
  }

  /// Refuses weights in the moments where ghost batches are cut.
  ///
  /// - Throws: `ModelError.layer`.
  package func checkStatisticsWeights() throws {
    guard let layer = store?.normalizations.layers.first(where: { $0.layer.virtualBatchSize != nil }) else { return }
    throw ModelError.layer(
      name: layer.layerName, problem: "ghost batches (virtualBatchSize) take no weights in their moments")
  }

  /// What a ragged batch does with running statistics otherwise than the switches say; nil: nothing.
  package func overrideStatistics(_ override: StatisticsOverride?) {
    store?.normalizations.setOverride(override)
  }
}
