/// A fully connected layer: y = f(x·W + b).
///
/// x is (…, inputs), W (inputs, units), b (units), y (…, units); the last axis is the one that is multiplied. Cost per
/// sample: 2·inputs·units flops forward, twice that backward. Ahead of `BatchNormalization` a bias has no effect (its
/// gradient is 0): pass `useBias: false`.
public struct Dense: Layer, Equatable, Codable {
  /// Number of outputs.
  public var units: Int
  /// Applied to each output.
  public var activation: Activation
  /// Whether b exists.
  public var useBias: Bool
  /// First values of W, of shape (inputs, units).
  public var kernelInitializer: Initializer
  /// First values of b.
  public var biasInitializer: Initializer
  /// The layer's name, or nil for `dense`, `dense_1`, ….
  public var name: String?

  /// A layer of `units` outputs with Keras's defaults: linear, with bias, Glorot-uniform kernel, zero bias.
  public init(
    _ units: Int, activation: Activation = .linear, useBias: Bool = true,
    kernelInitializer: Initializer = .glorotUniform, biasInitializer: Initializer = .zeros, name: String? = nil
  ) {
    self.units = units
    self.activation = activation
    self.useBias = useBias
    self.kernelInitializer = kernelInitializer
    self.biasInitializer = biasInitializer
    self.name = name
  }

  /// The word from which names are made.
  public var kind: String { "dense" }

  /// Adds the product, the bias and the activation.
  ///
  /// - Throws: `ModelError.layer` where `units` is not positive or the activation's setting is bad.
  public func lower(into builder: inout NetworkBuilder) throws {
    try builder.dense(
      units: units, useBias: useBias, kernelInitializer: kernelInitializer, biasInitializer: biasInitializer)
    try builder.activation(activation)
  }
}
