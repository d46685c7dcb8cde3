/// A nonlinearity, as an argument of `Dense` or a layer of its own.
public enum Activation: Layer, Equatable, Codable {
  /// f(x) = x.
  case linear
  /// f(x) = max(x, 0).
  case relu
  /// f(x) = x for x > 0, else negativeSlope·x (Maas et al. 2013); Keras's slope is 0.3.
  case leakyReLU(negativeSlope: Double = 0.3)
  /// f(x) = x for x > 0, else alpha·(eˣ − 1) (Clevert et al. 2016).
  case elu(alpha: Double = 1)
  /// f(x) = s·x for x > 0, else s·α·(eˣ − 1), with the constants of Klambauer et al. 2017.
  case selu
  /// f(x) = x·Φ(x), the exact form (Hendrycks and Gimpel 2016).
  case gelu
  /// f(x) = 1/(1 + e⁻ˣ).
  case sigmoid
  /// f(x) = tanh x.
  case tanh
  /// f(x)ᵢ = e^xᵢ/Σⱼ e^xⱼ over the last axis.
  case softmax

  /// Names are made from `kind`.
  public var name: String? { nil }

  /// The word for it, as in Keras.
  public var kind: String {
    switch self {
    case .linear: "linear"
    case .relu: "relu"
    case .leakyReLU: "leaky_relu"
    case .elu: "elu"
    case .selu: "selu"
    case .gelu: "gelu"
    case .sigmoid: "sigmoid"
    case .tanh: "tanh"
    case .softmax: "softmax"
    }
  }

  /// Adds the function.
  ///
  /// - Throws: `ModelError.layer` where a slope is negative or not finite.
  public func lower(into builder: inout NetworkBuilder) throws { try builder.activation(self) }

  /// The kernel's word for it and its parameter; nil for softmax, which is not elementwise.
  var elementwise: (kind: ElementwiseActivation, alpha: Double)? {
    switch self {
    case .linear: (.linear, 0)
    case .relu: (.relu, 0)
    case .leakyReLU(let slope): (.leakyReLU, slope)
    case .elu(let alpha): (.elu, alpha)
    case .selu: (.selu, 0)
    case .gelu: (.gelu, 0)
    case .sigmoid: (.sigmoid, 0)
    case .tanh: (.tanh, 0)
    case .softmax: nil
    }
  }
}
