/// Batch normalization: y = γ·(x − μ)/√(σ² + ε) + β for each feature (Ioffe and Szegedy 2015, algorithm 1).
///
/// During training μ and σ² are the mean and the biased variance of the batch, and the running statistics follow them
/// by the rule of `momentum`. During inference the running statistics take their place, so the layer is one affine map
/// per feature. Defaults are Keras's; `convention` chooses another system's epsilon, momentum and running variance, each
/// of which can also be set alone.
///
/// x has rank 2 to 5 with the features on any axis but the first; statistics run over all other axes. A batch with one
/// value per feature has no variance: training on it throws `ModelError.singleValue`. Whether γ and β learn, whether
/// the running statistics follow and which statistics training uses can be changed between steps; see
/// `Sequential.configureNormalization`.
///
/// Parameters: `gamma`, `beta` (trainable), `moving_mean`, `moving_variance` (not), `batch_count` (not; with a cumulative
/// average), `moving_stddev`, `renorm_mean`, `renorm_stddev` (not; with `renormalization`). Cost: x is read once from
/// memory and y written once, forward; x and dy are read and dx is written, backward, where the batch's tile fits the
/// cache.
public struct BatchNormalization: Layer, Equatable {
  /// The axis of the features, counted from the batch axis 0, or from the end where negative; −1 by default.
  public var axis: Int
  /// How the running statistics follow the batches', `.weightOfOld(0.99)` by default.
  public var momentum: Momentum
  /// Added to the variance, 1e-3 by default.
  public var epsilon: Double
  /// Which variance of a batch the running one follows, the biased by default; normalization itself uses the biased.
  public var runningVariance: RunningVariance
  /// Whether running statistics exist; without them inference uses the batch's, and `predict` refuses a single row.
  public var tracksRunningStatistics: Bool
  /// Whether β exists.
  public var center: Bool
  /// Whether γ exists.
  public var scale: Bool
  /// First values of β.
  public var betaInitializer: Initializer
  /// First values of γ.
  public var gammaInitializer: Initializer
  /// First values of the moving mean.
  public var movingMeanInitializer: Initializer
  /// First values of the moving variance.
  public var movingVarianceInitializer: Initializer
  /// Added to the loss for β; none by default.
  public var betaRegularizer: Regularizer?
  /// Added to the loss for γ; none by default.
  public var gammaRegularizer: Regularizer?
  /// What β is brought back to after each update; none by default.
  public var betaConstraint: Constraint?
  /// What γ is brought back to after each update; none by default.
  public var gammaConstraint: Constraint?
  /// Batch renormalization; none by default.
  public var renormalization: BatchRenormalization?
  /// Ghost batches: samples that are normalized together in training, each group by its own statistics; nil: all.
  ///
  /// A batch of n samples is cut into n/size groups (rounded down, at least 1) of about equal size, none smaller than
  /// `size` (Hoffer, Hubara and Soudry 2017). The running statistics follow those of the whole batch, which do not
  /// depend on the size: the variance within small groups would be too small for inference.
  public var virtualBatchSize: Int?
  /// The layer's name, or nil for `batch_normalization`, `batch_normalization_1`, ….
  public var name: String?

  /// A layer with Keras's defaults, or those of another convention.
  ///
  /// - Parameters:
  ///   - convention: what `momentum`, `epsilon` and `runningVariance` are where they are not given, `.keras` by default.
  ///   - axis: axis of the features, the last by default.
  ///   - affine: false: neither γ nor β (PyTorch's word for `center` and `scale` together).
  ///   - trackRunningStatistics: whether running statistics exist, true by default.
  public init(
    convention: Convention = .keras, axis: Int = -1, momentum: Momentum? = nil, epsilon: Double? = nil,
    runningVariance: RunningVariance? = nil, affine: Bool = true, center: Bool = true, scale: Bool = true,
    trackRunningStatistics: Bool = true, betaInitializer: Initializer = .zeros, gammaInitializer: Initializer = .ones,
    movingMeanInitializer: Initializer = .zeros, movingVarianceInitializer: Initializer = .ones,
    betaRegularizer: Regularizer? = nil, gammaRegularizer: Regularizer? = nil, betaConstraint: Constraint? = nil,
    gammaConstraint: Constraint? = nil, renormalization: BatchRenormalization? = nil, virtualBatchSize: Int? = nil,
    name: String? = nil
  ) {
    self.axis = axis
    self.momentum = momentum ?? convention.momentum
    self.epsilon = epsilon ?? convention.epsilon
    self.runningVariance = runningVariance ?? convention.runningVariance
    tracksRunningStatistics = trackRunningStatistics
    self.center = affine && center
    self.scale = affine && scale
    self.betaInitializer = betaInitializer
    self.gammaInitializer = gammaInitializer
    self.movingMeanInitializer = movingMeanInitializer
    self.movingVarianceInitializer = movingVarianceInitializer
    self.betaRegularizer = betaRegularizer
    self.gammaRegularizer = gammaRegularizer
    self.betaConstraint = betaConstraint
    self.gammaConstraint = gammaConstraint
    self.renormalization = renormalization
    self.virtualBatchSize = virtualBatchSize
    self.name = name
  }

  /// The word from which names are made.
  public var kind: String { "batch_normalization" }

  /// Adds the normalization.
  ///
  /// - Throws: `ModelError.layer` where the axis does not exist, a setting is out of its range, or two settings exclude
  ///   each other.
  public func lower(into builder: inout NetworkBuilder) throws { try builder.batchNormalization(self) }
}

extension BatchNormalization: Codable {
  private enum Key: String, CodingKey {
    case axis, momentum, epsilon, runningVariance, tracksRunningStatistics, center, scale
    case betaInitializer, gammaInitializer, movingMeanInitializer, movingVarianceInitializer
    case betaRegularizer, gammaRegularizer, betaConstraint, gammaConstraint, renormalization, virtualBatchSize, name
  }

  /// A layer from a file; what the file does not know has Keras's default.
  ///
  /// Files of version 0.1 hold the momentum as a plain number, the weight of the old value.
  public init(from decoder: any Decoder) throws {
    let values = try decoder.container(keyedBy: Key.self)
    func value<Value: Decodable>(_ key: Key, _ standard: Value) throws -> Value {
      try values.decodeIfPresent(Value.self, forKey: key) ?? standard
    }
    self.init(
      axis: try value(.axis, -1), momentum: try value(.momentum, Convention.keras.momentum),
      epsilon: try value(.epsilon, Convention.keras.epsilon), runningVariance: try value(.runningVariance, .biased),
      center: try value(.center, true), scale: try value(.scale, true),
      trackRunningStatistics: try value(.tracksRunningStatistics, true),
      betaInitializer: try value(.betaInitializer, .zeros), gammaInitializer: try value(.gammaInitializer, .ones),
      movingMeanInitializer: try value(.movingMeanInitializer, .zeros),
      movingVarianceInitializer: try value(.movingVarianceInitializer, .ones),
      betaRegularizer: try value(.betaRegularizer, nil), gammaRegularizer: try value(.gammaRegularizer, nil),
      betaConstraint: try value(.betaConstraint, nil), gammaConstraint: try value(.gammaConstraint, nil),
      renormalization: try value(.renormalization, nil), virtualBatchSize: try value(.virtualBatchSize, nil),
      name: try value(.name, nil))
  }

  /// Writes what `init(from:)` reads; optional settings only where they are set.
  public func encode(to encoder: any Encoder) throws {
    var values = encoder.container(keyedBy: Key.self)
    try values.encode(axis, forKey: .axis)
    try values.encode(momentum, forKey: .momentum)
    try values.encode(epsilon, forKey: .epsilon)
    try values.encode(runningVariance, forKey: .runningVariance)
    try values.encode(tracksRunningStatistics, forKey: .tracksRunningStatistics)
    try values.encode(center, forKey: .center)
    try values.encode(scale, forKey: .scale)
    try values.encode(betaInitializer, forKey: .betaInitializer)
    try values.encode(gammaInitializer, forKey: .gammaInitializer)
    try values.encode(movingMeanInitializer, forKey: .movingMeanInitializer)
    try values.encode(movingVarianceInitializer, forKey: .movingVarianceInitializer)
    try values.encodeIfPresent(betaRegularizer, forKey: .betaRegularizer)
    try values.encodeIfPresent(gammaRegularizer, forKey: .gammaRegularizer)
    try values.encodeIfPresent(betaConstraint, forKey: .betaConstraint)
    try values.encodeIfPresent(gammaConstraint, forKey: .gammaConstraint)
    try values.encodeIfPresent(renormalization, forKey: .renormalization)
    try values.encodeIfPresent(virtualBatchSize, forKey: .virtualBatchSize)
    try values.encodeIfPresent(name, forKey: .name)
  }
}
