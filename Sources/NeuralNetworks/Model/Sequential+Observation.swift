import LinearAlgebra

/// A batch normalization of a model, as reports name and find it.
package struct NormalizationSite: Sendable {
  /// Index of the layer in `layerNames`.
  package let layer: Int
  package let name: String
  package let epsilon: Double
  /// Whether running statistics exist.
  package let tracks: Bool
  /// Features, and how a sample lies around them: (outer, features, inner).
  package let features: Int
  package let outer: Int
  package let inner: Int

  /// Numbers that a feature has in one sample.
  package var valuesPerSample: Int { outer * inner }
}

/// Copies of everything a forward pass in training mode may change.
package struct RunningState<Scalar: NetworkScalar> {
  fileprivate let values: AlignedBuffer<Scalar>
}

extension Sequential {
  /// The layers in the order in which they end, those within blocks before their block; empty before the model is built.
  private var allLayers: [NetworkLayout.LayerRecord] { network?.allLayers ?? [] }

  /// Names of the layers, those within blocks before their block; empty before the model is built.
  package var layerNames: [String] { allLayers.map(\.name) }

  /// Shape of one sample of the output of layer `index` of `layerNames`.
  package func outputShape(ofLayer index: Int) -> [Int] { allLayers[index].outputShape }

  /// The layers that are batch normalizations; empty before the model is built.
  package var normalizationSites: [NormalizationSite] {
    guard let table = store?.normalizations else { return [] }
    return allLayers.enumerated().compactMap { index, record in
      guard record.isNormalization,
        let normalization = table.layers.first(where: { $0.layerName == record.name })
      else { return nil }
      let (shape, axis) = (record.outputShape, normalization.axis)
      return NormalizationSite(
        layer: index, name: record.name, epsilon: normalization.epsilon,
        tracks: normalization.layer.tracksRunningStatistics, features: shape[axis],
        outer: shape[..<axis].reduce(1, *), inner: shape[(axis + 1)...].reduce(1, *))
    }
  }

  /// A plan of what is computed up to the end of the first `count` of `layerNames`, over the model's own parameters; nil
  /// where that is nothing.
  ///
  /// Tiles follow from shapes alone, so its bits are those of the whole model.
  package func plan(ofFirst count: Int, samples: Int, threads: Int = 1) throws -> ExecutionPlan<Scalar>? {
    guard let network, let store else { throw ModelError.notBuilt }
    guard count > 0, let part = network.prefix(operations: allLayers[count - 1].operationCount) else { return nil }
    return try ExecutionPlan(
      network: part, store: store, loss: .meanSquaredError, capacity: samples, threads: threads, seed: seed)
  }

  /// A plan of all layers in which nothing is dropped.
  package func planWithoutDropout(samples: Int) throws -> ExecutionPlan<Scalar> {
    guard let network, let store else { throw ModelError.notBuilt }
    return try ExecutionPlan(
      network: network.withoutDropout(), store: store, loss: configuration?.loss ?? .meanSquaredError,
      capacity: samples, threads: teamSize ?? 1, seed: seed)
  }

  /// Calls `body` while passes in training mode normalize by the batch and leave its mean and biased variance themselves
  /// in the moving statistics, whatever switches and settings say.
  package func observingStatistics<Result>(_ body: () throws -> Result) rethrows -> Result {
    let before = store?.normalizations.stepOverride
    overrideStatistics(.observe)
    defer { overrideStatistics(before) }
    return try body()
  }

  /// The moving statistics and whatever else is not trained, to the bit.
  package func runningState() throws -> RunningState<Scalar> {
    guard let store else { throw ModelError.notBuilt }
    let copy = AlignedBuffer<Scalar>(uninitializedCapacity: store.state.capacity)
    copy.baseAddress.update(from: store.state.baseAddress, count: store.state.capacity)
    return RunningState(values: copy)
  }

  /// Puts back what `runningState()` copied.
  package func restore(_ state: RunningState<Scalar>) {
    store?.state.baseAddress.update(from: state.values.baseAddress, count: state.values.capacity)
  }

  /// Sets all that is not trained to 0, so that nothing of a statistic that is not finite is left in the next.
  package func clearRunningState() { store?.state.zero() }

  /// The layer of the parameters of stage `index` of a plan; nil where it has none.
  package func layerName(ofStage index: Int) -> String? {
    guard let network, let parameter = network.stages[index].parameters.first else { return nil }
    return network.allLayers.first { $0.parameters.contains(parameter) }?.name
  }
}
