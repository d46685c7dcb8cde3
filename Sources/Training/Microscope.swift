/// Looks into the normalizations of a model while `fit` trains it.
///
/// ```swift
/// try model.fit(data, microscope: Microscope(every: 100) { report in
///   for layer in report.layers { print(report.step, layer.name, layer.deadFeatures.count) }
/// })
/// ```
///
/// At every `every`-th step, before its update, the step's batch is passed through the model once more for what a step
/// does not keep. The training itself is the same to the bit as without a microscope, and a step without one pays
/// nothing. Cost of a look: a step without update and two forward passes up to each normalization, and sorting.
public struct Microscope {
  /// Steps from one look to the next; the first step is looked at.
  public var every: Int
  /// Is handed each report; what it throws ends the training.
  public var body: (MicroscopeReport) throws -> Void

  /// A microscope that hands a report to `body` at every `every`-th step.
  public init(every: Int = 100, _ body: @escaping (MicroscopeReport) throws -> Void) {
    self.every = every
    self.body = body
  }
}

/// What the microscope saw at one step, before its update.
public struct MicroscopeReport: Sendable, Equatable {
  /// Updates made before.
  public var step: Int
  /// Epoch of this `fit`, from 0.
  public var epoch: Int
  /// Loss and accuracy of the step's batch, in training mode.
  public var batch: Evaluation
  /// The norm of the gradient of each trainable parameter, by name, in the order of the layers.
  public var gradientNorms: [GradientNorm]
  /// One entry per batch normalization, in the order of the layers.
  public var layers: [NormalizationReport]
}

/// The size of one parameter's gradient.
public struct GradientNorm: Sendable, Equatable {
  /// Name of the parameter, such as `dense_1.kernel`.
  public var name: String
  /// Root of the sum of squares of its gradient.
  public var norm: Double
}

/// One batch normalization under the microscope.
public struct NormalizationReport: Sendable, Equatable {
  /// Name of the layer.
  public var name: String
  /// One entry per feature.
  public var features: [FeatureReport]

  /// Features whose inputs hardly vary: variance of the batch at most 1e-8·(mean² + ε).
  public var deadFeatures: [Int] { features.indices.filter { features[$0].isDead } }

  /// Root mean square of the features' drifts of the mean; nil without running statistics.
  public var meanDrift: Double? {
    let drifts = features.compactMap(\.meanDrift)
    guard !drifts.isEmpty else { return nil }
    return (drifts.reduce(0) { $0 + $1 * $1 } / Double(drifts.count)).squareRoot()
  }

  /// The norm of the gradient of γ; nil without γ.
  public var gammaGradientNorm: Double? { norm(features.map(\.gammaGradient)) }
  /// The norm of the gradient of β; nil without β.
  public var betaGradientNorm: Double? { norm(features.map(\.betaGradient)) }

  private func norm(_ values: [Double?]) -> Double? {
    let values = values.compactMap { $0 }
    return values.isEmpty ? nil : values.reduce(0) { $0 + $1 * $1 }.squareRoot()
  }
}

/// One feature of a batch normalization under the microscope.
public struct FeatureReport: Sendable, Equatable {
  /// Mean of the batch.
  public var batchMean: Double
  /// Variance of the batch, biased.
  public var batchVariance: Double
  /// Running mean before the step.
  public var runningMean: Double?
  /// Running variance before the step.
  public var runningVariance: Double?
  /// (batch mean − running mean)/√(running variance + ε).
  public var meanDrift: Double?
  /// (batch variance + ε)/(running variance + ε).
  public var varianceRatio: Double?
  /// What the layer is given.
  public var inputs: Percentiles
  /// What it makes of that in training mode.
  public var outputs: Percentiles
  /// γ.
  public var gamma: Double?
  /// β.
  public var beta: Double?
  /// Gradient of the loss with respect to γ.
  public var gammaGradient: Double?
  /// Gradient of the loss with respect to β.
  public var betaGradient: Double?
  /// Whether the inputs hardly vary.
  public var isDead: Bool
}
