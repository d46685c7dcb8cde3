import NeuralNetworks

/// Loss and accuracy over a data set.
public struct Evaluation: Sendable, Equatable, Codable {
  /// Mean loss.
  public var loss: Double
  /// Share of samples answered right, or nil where the loss has no notion of right.
  public var accuracy: Double?
}

/// What one epoch of `fit` measured.
public struct EpochRecord: Sendable, Equatable, Codable {
  /// Number of the epoch, from 0.
  public var epoch: Int
  /// Mean over the epoch's batches, measured as the weights moved (so the first batches weigh it down).
  public var training: Evaluation
  /// On the validation data after the epoch, where there are any.
  public var validation: Evaluation?
  /// Seconds of training, validation not included.
  public var seconds: Double
  /// Samples trained on per second.
  public var samplesPerSecond: Double
}

/// What `fit` returns: a record of each epoch.
public struct History: Sendable, Equatable, Codable {
  /// One record per epoch.
  public var epochs: [EpochRecord] = []
  /// The steps that were undone because a number was not finite, where the model is compiled with
  /// `nonFinite: .rollBack`; they count in no loss and no accuracy.
  public var skippedSteps: [NonFiniteStep] = []

  /// Training loss by epoch.
  public var loss: [Double] { epochs.map(\.training.loss) }
  /// Training accuracy by epoch, where the loss has one.
  public var accuracy: [Double] { epochs.compactMap(\.training.accuracy) }
  /// Validation loss by epoch, where there are validation data.
  public var validationLoss: [Double] { epochs.compactMap(\.validation?.loss) }
  /// Validation accuracy by epoch, where there is one.
  public var validationAccuracy: [Double] { epochs.compactMap { $0.validation?.accuracy } }
  /// Seconds of training in all, validation not included.
  public var seconds: Double { epochs.reduce(0) { $0 + $1.seconds } }
}
