/// A layer in a form that files can hold.
public enum LayerConfiguration: Sendable, Equatable, Codable {
  /// A `Dense`.
  case dense(Dense)
  /// An `Activation`.
  case activation(Activation)
  /// A `BatchNormalization`.
  case batchNormalization(BatchNormalization)
  /// A `LayerNormalization`.
  case layerNormalization(LayerNormalization)
  /// A `Dropout`.
  case dropout(Dropout)
  /// A `Flatten`.
  case flatten(Flatten)
  /// A `Residual`.
  case residual(Residual.Configuration)

  /// The configuration of one of Lamina's own layers, or nil for a layer of a user's and a block that holds one.
  public init?(_ layer: any Layer) {
    switch layer {
    case let layer as Dense: self = .dense(layer)
    case let layer as Activation: self = .activation(layer)
    case let layer as BatchNormalization: self = .batchNormalization(layer)
    case let layer as LayerNormalization: self = .layerNormalization(layer)
    case let layer as Dropout: self = .dropout(layer)
    case let layer as Flatten: self = .flatten(layer)
    case let layer as Residual:
      guard let block = Residual.Configuration(layer) else { return nil }
      self = .residual(block)
    default: return nil
    }
  }

  /// The layer.
  public var layer: any Layer {
    switch self {
    case .dense(let layer): layer
    case .activation(let layer): layer
    case .batchNormalization(let layer): layer
    case .layerNormalization(let layer): layer
    case .dropout(let layer): layer
    case .flatten(let layer): layer
    case .residual(let block): block.layer
    }
  }
}
