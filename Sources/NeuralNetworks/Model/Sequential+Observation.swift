import LinearAlgebra

/// A batch normalization of a model, as reports name and find it.
package struct NormalizationSite: Sendable {
  /// Index of the layer.
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
  /// Names of the layers; empty before the model is built.
  package var layerNames: [String] { network?.layers.map(\.name) ?? [] }

  /// Shape of one sample of the output of layer `index`.
  package func outputShape(ofLayer index: Int) -> [Int] { network?.layers[index].outputShape ?? [] }

  /// The layers that are batch normalizations; empty before the model is built.
  package var normalizationSites: [NormalizationSite] {
    guard let network else { return [] }
    return layers.indices.compactMap { index in
      guard let layer = layers[index] as? BatchNormalization else { return nil }
      let shape = network.layers[index].outputShape
      let axis = layer.axis < 0 ? shape.count + layer.axis : layer.axis - 1
      return NormalizationSite(
        layer: index, name: network.layers[index].name, epsilon: layer.epsilon,
        tracks: layer.tracksRunningStatistics, features: shape[axis],
        outer: shape[..<axis].reduce(1, *), inner: shape[(axis + 1)...].reduce(1, *))
    }
  }

  /// A plan of the first `count` layers over the model's own parameters; nil where they compute nothing.
  ///
  /// Tiles follow from shapes alone, so its bits are those of the whole model.
  package func plan(ofFirst count: Int, samples: Int, threads: Int = 1) throws -> ExecutionPlan<Scalar>? {
    guard let network, let store else { throw ModelError.notBuilt }
    // The shapes were checked when the model was built: what remains is a prefix without operations.
    guard
      let part = try? NetworkLayout(
        layers: Array(layers.prefix(count)), inputShape: network.inputShape, precision: Scalar.self)
    else {
      return nil
    }
    return try ExecutionPlan(
      network: part, store: store, loss: .meanSquaredError, capacity: samples, threads: threads, seed: seed)
  }

  /// A plan of all layers in which nothing is dropped.
  package func planWithoutDropout(samples: Int) throws -> ExecutionPlan<Scalar> {
    guard let network, let store else { throw ModelError.notBuilt }
    let layers = layers.map { layer in (layer as? Dropout).map { Dropout(0, name: $0.name) } ?? layer }
    return try ExecutionPlan(
      network: NetworkLayout(layers: layers, inputShape: network.inputShape, precision: Scalar.self), store: store,
      loss: configuration?.loss ?? .meanSquaredError, capacity: samples, threads: teamSize ?? 1,
      seed: seed)
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
    return network.layers.first { $0.parameters.contains(parameter) }?.name
  }
}
