/// Batch normalization: y = γ·(x − μ)/√(σ² + ε) + β for each feature (Ioffe and Szegedy 2015, algorithm 1).
///
/// During training μ and σ² are the mean and the biased variance of the batch, and the moving statistics follow them:
/// `moving = momentum·moving + (1 − momentum)·batch`. During inference the moving statistics take their place, so the
/// layer is one affine map per feature. Semantics and defaults are Keras's; PyTorch's momentum 0.1 is 0.9 here.
/// Parameters: `gamma`, `beta` (trainable), `moving_mean`, `moving_variance` (not). Cost: x is read once from memory and
/// y written once, forward; x and dy are read and dx is written, backward, where the batch's tile fits the cache.
public struct BatchNormalization: Layer, Equatable, Codable {
  /// The axis of the features, counted from the batch axis 0, or from the end where negative; −1 by default.
  public var axis: Int
  /// Weight of the old value in the moving statistics, 0.99 by default.
  public var momentum: Double
  /// Added to the variance, 1e-3 by default.
  public var epsilon: Double
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
  /// The layer's name, or nil for `batch_normalization`, `batch_normalization_1`, ….
  public var name: String?

  /// A layer with Keras's defaults.
  public init(
    axis: Int = -1, momentum: Double = 0.99, epsilon: Double = 1e-3, center: Bool = true, scale: Bool = true,
    betaInitializer: Initializer = .zeros, gammaInitializer: Initializer = .ones,
    movingMeanInitializer: Initializer = .zeros, movingVarianceInitializer: Initializer = .ones, name: String? = nil
  ) {
    self.axis = axis
    self.momentum = momentum
    self.epsilon = epsilon
    self.center = center
    self.scale = scale
    self.betaInitializer = betaInitializer
    self.gammaInitializer = gammaInitializer
    self.movingMeanInitializer = movingMeanInitializer
    self.movingVarianceInitializer = movingVarianceInitializer
    self.name = name
  }

  /// The word from which names are made.
  public var kind: String { "batch_normalization" }

  /// Adds the normalization.
  ///
  /// - Throws: `ModelError.layer` where the axis does not exist, the momentum is outside 0 ... 1 or ε is negative.
  public func lower(into builder: inout NetworkBuilder) throws { try builder.batchNormalization(self) }
}
