/// A layer of a model: a description that says, for an input shape, which operations and parameters it stands for.
///
/// Layers are values and hold no weights; the model holds those. To add a layer of your own with its own arithmetic,
/// conform to `CustomLayer`; to add one that is made of existing operations, implement `lower(into:)`.
public protocol Layer: Sendable {
  /// The layer's name, or nil for one made from `kind`, such as `dense_1`.
  var name: String? { get }
  /// The word from which names are made, in snake case, such as `batch_normalization`.
  var kind: String { get }
  /// Adds the layer's operations and parameters to `builder`, whose `shape` is the input shape of one sample.
  ///
  /// - Throws: `ModelError.layer` where the layer cannot take that shape or has a bad setting.
  func lower(into builder: inout NetworkBuilder) throws
}

/// Whether a layer learns from a batch or answers for it.
public enum Mode: Sendable {
  /// Batch statistics and dropout masks are used, and running statistics are updated.
  case training
  /// Running statistics are used, nothing is dropped, nothing changes.
  case inference
}

/// A parameter that a layer asks for.
public struct ParameterSpecification: Sendable, Equatable {
  /// The last part of its name, such as `kernel`.
  public var name: String
  /// Its shape.
  public var shape: [Int]
  /// Its first values.
  public var initializer: Initializer
  /// Whether the optimizer moves it.
  public var isTrainable: Bool

  /// A parameter of `shape`, trainable unless said otherwise.
  public init(name: String, shape: [Int], initializer: Initializer, isTrainable: Bool = true) {
    self.name = name
    self.shape = shape
    self.initializer = initializer
    self.isTrainable = isTrainable
  }
}
