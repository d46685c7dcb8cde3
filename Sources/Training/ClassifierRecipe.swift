import Datasets
import NeuralNetworks

/// A dense classifier by its few choices: hidden widths, activation, where batch normalization stands, dropout.
///
/// The last layer is `Dense(classes, activation: .softmax)`: predictions are probabilities, and softmax is fused with
/// `.sparseCategoricalCrossEntropy()`.
public struct ClassifierRecipe: Sendable, Equatable {
  /// Where batch normalization stands in a hidden block.
  public enum Normalization: String, Sendable, CaseIterable {
    /// Dense, activation, batch normalization.
    case after
    /// Dense without bias, batch normalization, activation.
    case before
    /// No batch normalization.
    case none
  }

  /// Units of each hidden layer; empty for a linear model.
  public var hiddenWidths: [Int]
  /// The hidden layers' activation.
  public var activation: Activation
  /// Where batch normalization stands.
  public var normalization: Normalization
  /// Rate of the dropout after each hidden block; 0 for none.
  public var dropout: Double
  /// First values of all kernels.
  public var initializer: Initializer

  /// A recipe; by default 128 and 64 hidden units, ReLU and batch normalization after it, as Keras initializes.
  public init(
    hiddenWidths: [Int] = [128, 64], activation: Activation = .relu, normalization: Normalization = .after,
    dropout: Double = 0, initializer: Initializer = .glorotUniform
  ) {
    self.hiddenWidths = hiddenWidths
    self.activation = activation
    self.normalization = normalization
    self.dropout = dropout
    self.initializer = initializer
  }

  /// The layers for `classes` classes.
  public func layers(classes: Int) -> [any Layer] {
    var layers: [any Layer] = []
    for width in hiddenWidths {
      switch normalization {
      case .before:
        layers += [Dense(width, useBias: false, kernelInitializer: initializer), BatchNormalization(), activation]
      case .after:
        layers += [Dense(width, activation: activation, kernelInitializer: initializer), BatchNormalization()]
      case .none:
        layers.append(Dense(width, activation: activation, kernelInitializer: initializer))
      }
      if dropout != 0 { layers.append(Dropout(dropout)) }
    }
    return layers + [Dense(classes, activation: .softmax, kernelInitializer: initializer)]
  }
}
