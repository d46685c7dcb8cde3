/// What a step reads of a normalization's settings: written by the model between steps, so that a change needs no new plan.
struct NormalizationControl {
  /// Whether forward is the moments of the batch, Keras's moving average, and no more.
  var isPlainForward = true
  /// Whether backward is that of one batch normalized by its own statistics, and no more.
  var isPlainBackward = true
  /// Whether training normalizes by the batch's statistics; else by the running ones.
  var usesBatchStatistics = true
  var updatesStatistics = true
  /// Whether running statistics exist.
  var tracks = true
  /// Weight of the old running statistics in this step.
  var weightOfOld = 0.0
  var isUnbiased = false
  /// Samples of a ghost batch; 0: no ghost batches.
  var virtualBatchSize = 0
  var positions = 1
  /// Weight of each sample of the batch in the moments; nil: 1.
  var weights: UnsafePointer<Double>?
  var weightSum = 0.0
  var renormalizes = false
  var rmin = 0.0
  var rmax = 1.0
  var dmax = 0.0
  var renormWeightOfOld = 0.0
  var gammaFactors = (l1: 0.0, l2: 0.0)
  var betaFactors = (l1: 0.0, l2: 0.0)

  /// Ghost batches of a batch that has `values` values of each feature.
  @inline(__always)
  func groups(values: Int) -> Int {
    virtualBatchSize == 0 ? 1 : max(1, values / positions / virtualBatchSize)
  }
}

/// What one step does with running statistics otherwise than the switches say.
package enum StatisticsOverride: Sendable {
  /// Normalize by the running statistics, and leave them.
  case useRunningStatistics
  /// Normalize by the batch's, and leave the running ones.
  case skipUpdate
  /// Normalize by the batch's, all of it at once, and leave its mean and biased variance in the running ones.
  case observe
}

/// The normalizations of a model, with their switches and what the steps read of them.
final class NormalizationTable {
  private(set) var layers: [NetworkBuilder.Normalization]
  private(set) var switches: [NormalizationSwitches]
  /// One per layer.
  let controls: UnsafeMutablePointer<NormalizationControl>
  /// What this step does otherwise than the switches say.
  private(set) var stepOverride: StatisticsOverride?

  /// Whether anything is to be done before or after each step.
  private(set) var needsPreparation = false
  private(set) var hasPenalties = false
  private(set) var hasConstraints = false
  /// Whether some γ or β does not learn.
  private(set) var hasFrozenParameters = false

  /// The weights of the batch at hand, their sum and how many are above 0.
  private var weights: (values: UnsafePointer<Double>, sum: Double, positive: Int)?
  /// Whether the batch at hand has weights.
  var hasWeights: Bool { weights != nil }

  init(_ layers: [NetworkBuilder.Normalization]) {
    self.layers = layers
    switches = layers.map { _ in NormalizationSwitches() }
    controls = .allocate(capacity: max(layers.count, 1))
    controls.initialize(repeating: NormalizationControl(), count: max(layers.count, 1))
    refresh()
  }

  deinit { controls.deallocate() }

  /// The number of the layer `name`.
  ///
  /// - Throws: `ModelError.unknownNormalization`.
  func index(of name: String) throws -> Int {
    guard let index = layers.firstIndex(where: { $0.layerName == name }) else {
      throw ModelError.unknownNormalization(name, known: layers.map(\.layerName))
    }
    return index
  }

  /// Sets the switches of layer `index`.
  ///
  /// - Throws: `ModelError.layer` where running statistics are wanted that do not exist.
  func set(_ new: NormalizationSwitches, for index: Int) throws {
    if new.trainingStatistics == .running && layers[index].movingMean == nil {
      throw ModelError.layer(
        name: layers[index].layerName, problem: "it has no running statistics to train with (trackRunningStatistics)")
    }
    switches[index] = new
    refresh()
  }

  func setOverride(_ override: StatisticsOverride?) {
    guard override != stepOverride else { return }
    stepOverride = override
    refresh()
  }

  /// Sets the weights of the batch at hand in the moments; nil: none.
  ///
  /// Where fewer than two values of a feature have a weight, the layer does as in inference.
  func setWeights(_ new: (values: UnsafePointer<Double>, sum: Double, positive: Int)?) {
    weights = new
    refresh()
  }

  /// The first layer that would take the variance of one value per feature, given `samples` samples.
  func layerWithoutVariance(samples: Int, training: Bool) -> String? {
    layers.indices.first { index in
      guard samples * layers[index].positions < 2 else { return false }
      guard training else { return layers[index].movingMean == nil }
      let control = controls[index]
      return control.usesBatchStatistics || control.updatesStatistics
    }.map { layers[$0].layerName }
  }

  /// Works out the controls from layers, switches and override.
  private func refresh() {
    hasPenalties = false
    hasConstraints = false
    hasFrozenParameters = false
    needsPreparation = false
    for (index, normalization) in layers.enumerated() {
      let layer = normalization.layer
      let chosen = switches[index]
      var control = NormalizationControl()
      control.tracks = layer.tracksRunningStatistics
      control.usesBatchStatistics = chosen.trainingStatistics == .batch
      control.updatesStatistics = chosen.updatesStatistics && control.tracks
      switch stepOverride {
      case .useRunningStatistics?:
        control.usesBatchStatistics = control.usesBatchStatistics && !control.tracks
        control.updatesStatistics = false
      case .skipUpdate?: control.updatesStatistics = false
      case .observe?:
        control.usesBatchStatistics = true
        control.updatesStatistics = control.tracks
      case nil: break
      }
      control.weightOfOld = layer.momentum.weightOfOld ?? 0
      control.isUnbiased = layer.runningVariance == .unbiased
      control.virtualBatchSize = layer.virtualBatchSize ?? 0
      control.positions = normalization.positions
      if let weights {
        if weights.positive * normalization.positions >= 2 {
          control.weights = weights.values
          control.weightSum = weights.sum
        } else if control.tracks {
          control.usesBatchStatistics = false
          control.updatesStatistics = false
        }
      }
      control.renormalizes = layer.renormalization != nil && control.usesBatchStatistics
      if stepOverride == .observe {
        control.weightOfOld = 0
        control.isUnbiased = false
        control.virtualBatchSize = 0
        control.renormalizes = false
      }
      if chosen.learnsParameters {
        control.gammaFactors = layer.gammaRegularizer.flatMap { layer.scale ? $0.factors : nil } ?? (0, 0)
        control.betaFactors = layer.betaRegularizer.flatMap { layer.center ? $0.factors : nil } ?? (0, 0)
        hasConstraints = hasConstraints || layer.gammaConstraint != nil || layer.betaConstraint != nil
      } else {
        hasFrozenParameters = hasFrozenParameters || layer.scale || layer.center
      }
      let isPenalized = control.gammaFactors != (0, 0) || control.betaFactors != (0, 0)
      hasPenalties = hasPenalties || isPenalized
      let usesOwnStatistics =
        control.usesBatchStatistics && !control.renormalizes && control.virtualBatchSize == 0
        && control.weights == nil
      control.isPlainBackward = usesOwnStatistics && !isPenalized
      control.isPlainForward =
        usesOwnStatistics && control.updatesStatistics && !control.isUnbiased && layer.momentum != .cumulativeAverage
        && stepOverride != .observe
      needsPreparation =
        needsPreparation || layer.momentum == .cumulativeAverage || layer.renormalization != nil
      controls[index] = control
    }
  }
}

extension NormalizationTable {
  /// Before a step in training mode: the numbers that change from step to step.
  func prepare<Scalar: NetworkScalar>(step: Int, store: ParameterStore<Scalar>) {
    // Observing counts no batch and weighs no old value.
    if stepOverride == .observe { return }
    for (index, normalization) in layers.enumerated() {
      if let parameter = normalization.batchCount, controls[index].updatesStatistics {
        let count = store.pointer(parameter, tile: 0)
        let batches = Double(count.pointee)
        controls[index].weightOfOld = batches / (batches + 1)
        count.pointee += 1
      }
      if let settings = normalization.layer.renormalization {
        controls[index].rmin = settings.rmin
        controls[index].rmax = settings.rmax.value(at: step)
        controls[index].dmax = settings.dmax.value(at: step)
        controls[index].renormWeightOfOld = settings.weightOfOld
      }
    }
  }

  /// The sum of all penalties on γ and β that learn.
  func penalty<Scalar: NetworkScalar>(_ store: ParameterStore<Scalar>) -> Double {
    var sum = 0.0
    for (index, normalization) in layers.enumerated() {
      let control = controls[index]
      for (parameter, factors) in [
        (normalization.gamma, control.gammaFactors), (normalization.beta, control.betaFactors),
      ] {
        guard let parameter, factors != (0, 0) else { continue }
        store.forEach(parameter) { value in
          let w = Double(value.pointee)
          sum += factors.l1 * abs(w) + factors.l2 * w * w
        }
      }
    }
    return sum
  }

  /// Brings the γ and β that learn back to their constraints.
  func constrain<Scalar: NetworkScalar>(_ store: ParameterStore<Scalar>) {
    for (index, normalization) in layers.enumerated() where switches[index].learnsParameters {
      let layer = normalization.layer
      if let parameter = normalization.gamma, let constraint = layer.gammaConstraint {
        store.constrain(parameter, constraint)
      }
      if let parameter = normalization.beta, let constraint = layer.betaConstraint {
        store.constrain(parameter, constraint)
      }
    }
  }

  /// Calls `body` with the parts of `region` in the trainable buffer that learn.
  @inline(__always)
  func forEachLearningPart<Scalar: NetworkScalar>(
    of region: Range<Int>, _ store: ParameterStore<Scalar>, _ body: (Range<Int>) -> Void
  ) {
    // The pieces of a tile lie in the order of its layers, γ before β: frozen ones are met in ascending order.
    var start = region.lowerBound
    for (index, normalization) in layers.enumerated() where !switches[index].learnsParameters {
      for parameter in [normalization.gamma, normalization.beta] {
        guard let parameter else { continue }
        for piece in store.slots[parameter].pieces where region.contains(piece.offset) {
          if start < piece.offset { body(start..<piece.offset) }
          start = max(start, piece.offset + piece.columns.count)
        }
      }
    }
    if start < region.upperBound { body(start..<region.upperBound) }
  }
}

extension ParameterStore {
  /// Calls `body` with the address of each element of trainable parameter `index`.
  @inline(__always)
  fileprivate func forEach(_ index: Int, _ body: (UnsafeMutablePointer<Scalar>) -> Void) {
    for piece in slots[index].pieces {
      for column in 0..<piece.columns.count { body(weights.baseAddress + piece.offset + column) }
    }
  }

  fileprivate func constrain(_ index: Int, _ constraint: Constraint) {
    func length() -> Double {
      var squares = 0.0
      forEach(index) { squares += Double($0.pointee) * Double($0.pointee) }
      return squares.squareRoot()
    }
    switch constraint {
    case .nonNegative: forEach(index) { $0.pointee = max($0.pointee, 0) }
    case .maxNorm(let bound):
      let norm = length()
      if norm > bound { forEach(index) { $0.pointee = Scalar(Double($0.pointee) * (bound / norm)) } }
    case .unitNorm:
      let norm = length()
      if norm > 0 { forEach(index) { $0.pointee = Scalar(Double($0.pointee) / norm) } }
    }
  }
}

extension StageLayout {
  /// The batch normalizations of the stage.
  var normalizations: [NetworkBuilder.Normalization] {
    var result: [NetworkBuilder.Normalization] = []
    if case .innerAxisNormalization(let normalization, _, _, _) = core { result.append(normalization) }
    for case .normalization(let normalization, _, _, _) in steps { result.append(normalization) }
    return result
  }
}

extension NetworkBuilder.Normalization {
  /// Its parameters that are not trained.
  var state: [Int] {
    [movingMean, movingVariance, batchCount, renorm?.movingDeviation, renorm?.mean, renorm?.deviation].compactMap { $0 }
  }
}

extension BatchNormalization {
  /// What is wrong with the settings, or nil.
  var problem: String? {
    if let weight = momentum.weightOfOld, !(0...1).contains(weight) {
      return "momentum must be in 0 ... 1, not \(momentum)"
    }
    guard epsilon >= 0, epsilon.isFinite else { return "epsilon must be at least 0 and finite, not \(epsilon)" }
    for factors in [betaRegularizer, gammaRegularizer].compactMap({ $0?.factors }) {
      for factor in [factors.l1, factors.l2] where !(factor >= 0 && factor.isFinite) {
        return "a regularizer's factor must be at least 0 and finite, not \(factor)"
      }
    }
    for case .maxNorm(let bound)? in [betaConstraint, gammaConstraint] where !(bound > 0 && bound.isFinite) {
      return "the bound of a norm must be above 0 and finite, not \(bound)"
    }
    if let virtualBatchSize, virtualBatchSize < 2 {
      return "virtualBatchSize must be at least 2, not \(virtualBatchSize): one row has no variance"
    }
    return renormalization?.problem(of: self)
  }
}

extension BatchRenormalization {
  /// First values of a running deviation, given those of the variance; nil where they are not constant.
  func firstDeviation(_ variance: Initializer) -> Initializer? {
    switch variance {
    case .zeros, .ones: variance
    case .constant(let value): value >= 0 ? .constant(value.squareRoot()) : nil
    default: nil
    }
  }

  /// What is wrong with the settings, alone or with the layer's, or nil.
  fileprivate func problem(of layer: BatchNormalization) -> String? {
    let values = [rmax.from, rmax.to, rmin, dmax.from, dmax.to, weightOfOld]
    guard values.allSatisfy({ $0 >= 0 }), min(rmax.from, rmax.to) >= rmin, weightOfOld <= 1 else {
      return "renormalization needs 0 ≤ rmin ≤ rmax, dmax ≥ 0 and a weight in 0 ... 1, not \(self)"
    }
    if !layer.tracksRunningStatistics { return "renormalization needs running statistics (trackRunningStatistics)" }
    if layer.virtualBatchSize != nil { return "renormalization and virtualBatchSize exclude each other" }
    if firstDeviation(layer.movingVarianceInitializer) == nil {
      return "renormalization needs a constant movingVarianceInitializer, whose root is the first deviation"
    }
    if layer.runningVariance == .unbiased {
      return "renormalization averages the biased deviation (Keras's rule); set runningVariance to .biased"
    }
    return nil
  }
}
