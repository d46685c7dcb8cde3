import LinearAlgebra
import NeuralNetworks
import RandomNumbers

/// What one batch normalization has to do with a disagreement between training and inference mode.
public struct ModeCheckLayer: Sendable, Equatable, Codable {
  /// How far its moving statistics are from those of the data.
  public var statistics: RecalibratedLayer
  /// Inference with the data's statistics in this layer alone.
  public var replacedAlone: Evaluation
  /// Inference with the data's statistics in all layers but this one.
  public var keptAlone: Evaluation

  /// Name of the layer.
  public var name: String { statistics.name }
}

/// What `checkModes(on:)` measured: one data set in both modes.
public struct ModeCheck: Sendable, Equatable, Codable {
  /// By the batches' own statistics, dropout included.
  public var training: Evaluation
  /// By the moving statistics: what `evaluate` gives.
  public var inference: Evaluation
  /// Inference by the data's statistics in all layers.
  public var recalibrated: Evaluation
  /// One entry per batch normalization, in the order of the layers.
  public var layers: [ModeCheckLayer]

  /// Loss in inference mode less that in training mode.
  public var gap: Double { inference.loss - training.loss }

  /// The part of the gap that goes when all statistics are those of the data; the rest is dropout's and the batches'.
  public var gapOfStatistics: Double { inference.loss - recalibrated.loss }

  /// What the layer's own moving statistics, all others being the data's, add to the loss.
  public func excess(of layer: ModeCheckLayer) -> Double { layer.keptAlone.loss - recalibrated.loss }

  /// The layer whose moving statistics explain the disagreement: alone among good ones they do the most harm.
  ///
  /// Nil where no layer's add to the loss. A loss that is not a number is more than any other.
  public var culprit: ModeCheckLayer? {
    func harm(_ layer: ModeCheckLayer) -> Double {
      let excess = excess(of: layer)
      return excess.isNaN ? .infinity : excess
    }
    guard let worst = layers.max(by: { harm($0) < harm($1) }), harm(worst) > 0 else { return nil }
    return worst
  }
}

extension Sequential {
  /// Loss and accuracy of the same data in training and in inference mode, and which layer explains a disagreement.
  ///
  /// A model that trains well and answers badly mostly has moving statistics that do not fit: they lag, the batches were
  /// unlike the data, or the momentum was taken for its complement. For each batch normalization the statistics are
  /// replaced by those of the data (as `recalibrate(on:)` takes them), in it alone and in all layers but it. Nothing of
  /// the model changes: parameters, moving statistics and random state are the same to the bit. Cost: 4 + 2·L forward
  /// passes for L batch normalizations.
  ///
  /// - Parameters:
  ///   - data: inputs and targets.
  ///   - batchSize: samples per batch in training mode, 32 by default; drawn at random.
  /// - Throws: `ModelError` where the model is not compiled, data and model do not fit, or the data or a batch have a
  ///   single number for a feature.
  public func checkModes(on data: Samples<Scalar>, batchSize: Int = 32) throws -> ModeCheck {
    guard isCompiled else { throw ModelError.notCompiled }
    try build(inputShape: data.inputShape)
    try check(data, needsTargets: true)
    let sites = normalizationSites.filter(\.tracks)
    let saved = try runningState()
    defer { restore(saved) }

    let populations = try populationStatistics(of: sites, on: data, batchSize: batchSize)
    let training = try evaluateInTrainingMode(data, batchSize: batchSize)
    restore(saved)
    let inference = try evaluate(data, batchSize: batchSize)
    let moving = try sites.map { try movingStatistics(of: $0) }

    /// Inference with the data's statistics in the layers of which `replaces` says so.
    func evaluation(replacing replaces: (Int) -> Bool) throws -> Evaluation {
      restore(saved)
      for (index, site) in sites.enumerated() where replaces(index) {
        try setMovingStatistics(of: site, to: populations[index])
      }
      return try evaluate(data, batchSize: batchSize)
    }
    let recalibrated = try evaluation { _ in true }
    let layers = try sites.indices.map { index in
      ModeCheckLayer(
        statistics: RecalibratedLayer(
          sites[index], mean: moving[index].mean, variance: moving[index].variance, population: populations[index]),
        replacedAlone: try evaluation { $0 == index }, keptAlone: try evaluation { $0 != index })
    }
    return ModeCheck(training: training, inference: inference, recalibrated: recalibrated, layers: layers)
  }

  /// Mean loss and accuracy by the batches' own statistics, with dropout; batches are drawn at random.
  private func evaluateInTrainingMode(_ data: Samples<Scalar>, batchSize: Int) throws -> Evaluation {
    let boundaries = try statisticsBatches(of: normalizationSites, count: data.count, batchSize: batchSize)
    let largest = zip(boundaries, boundaries.dropFirst()).map { $1 - $0 }.max() ?? 1
    let plan = try plan(samples: largest)
    var order = data.rows.map { Int32($0) }
    var generator = Philox(seed: seed, purpose: "recalibration")
    generator.shuffle(&order)
    var sums = LossSums(loss: 0, correct: 0)
    data.withSource { source in
      order.withUnsafeBufferPointer { order in
        for (number, (start, end)) in zip(boundaries, boundaries.dropFirst()).enumerated() {
          let part = plan.assess(
            source, indices: order.baseAddress! + start, samples: end - start, step: stepCount + 1 + number)
          sums.loss += part.loss
          sums.correct += part.correct
        }
      }
    }
    return average([sums], samples: data.count)
  }
}
