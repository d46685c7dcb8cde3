/// A block with a shortcut around it: y = f(F(x) + x) (He, Zhang, Ren and Sun 2016, "Deep residual learning", equation 1).
///
/// ```swift
/// Residual(activation: .relu) {
///   Dense(64, useBias: false)
///   BatchNormalization()
///   Activation.relu
///   Dense(64, useBias: false)
///   BatchNormalization()
/// }
/// ```
///
/// F is the block's layers, f the activation; x, F(x) and y have one shape. Blocks may follow each other and contain
/// each other. With g = dy·f′, the gradient of x is g plus that which F passes down.
///
/// Where F ends in a `BatchNormalization` of the last axis, the addition and a ReLU are part of its normalizing pass,
/// of which one bit an element is kept; else they are one more pass over the output. Cost beside F: x is read once more
/// forward, and g written and read once more backward. The parameters are those of the block's layers, with names such
/// as `residual_1.dense.kernel`.
public struct Residual: Layer {
  /// The layers of F, first to last.
  public var layers: [any Layer]
  /// f, applied to the sum.
  public var activation: Activation
  /// The block's name, or nil for `residual`, `residual_1`, ….
  public var name: String?

  /// A block of the layers that the closure lists; f is linear unless said otherwise.
  public init(
    activation: Activation = .linear, name: String? = nil, @LayerBuilder _ layers: () -> [any Layer]
  ) {
    self.init(activation: activation, layers: layers(), name: name)
  }

  /// A block of the layers of an array.
  public init(activation: Activation = .linear, layers: [any Layer], name: String? = nil) {
    self.layers = layers
    self.activation = activation
    self.name = name
  }

  /// The word from which names are made.
  public var kind: String { "residual" }

  /// Adds the block's layers, the addition and the activation.
  ///
  /// - Throws: `ModelError.layer` where the block's output has another shape than its input;
  ///   `ModelError.duplicateName` where two of its layers have one name; what its layers throw.
  public func lower(into builder: inout NetworkBuilder) throws {
    try builder.residual(layers, activation: activation)
  }
}

extension Residual {
  /// A `Residual` in a form that files can hold.
  public struct Configuration: Sendable, Equatable, Codable {
    /// The layers, first to last.
    public var layers: [LayerConfiguration]
    /// Applied to the sum.
    public var activation: Activation
    /// The block's name, or nil.
    public var name: String?

    /// The configuration of a block, or nil where one of its layers is a user's.
    public init?(_ block: Residual) {
      let layers = block.layers.compactMap { LayerConfiguration($0) }
      guard layers.count == block.layers.count else { return nil }
      self.layers = layers
      activation = block.activation
      name = block.name
    }

    /// The block.
    public var layer: Residual { Residual(activation: activation, layers: layers.map(\.layer), name: name) }
  }
}

extension [any Layer] {
  /// The layers with each one changed by `transform`, those within blocks too.
  func mapWithinBlocks(_ transform: (any Layer) throws -> any Layer) rethrows -> [any Layer] {
    try map { layer in
      guard var block = layer as? Residual else { return try transform(layer) }
      block.layers = try block.layers.mapWithinBlocks(transform)
      return block
    }
  }
}
