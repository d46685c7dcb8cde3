/// The activations that act on each element alone.
public enum ElementwiseActivation: UInt8, Sendable, CaseIterable {
  /// f(x) = x.
  case linear
  /// f(x) = max(x, 0).
  case relu
  /// f(x) = x for x > 0, else α·x.
  case leakyReLU
  /// f(x) = x for x > 0, else α·(eˣ − 1).
  case elu
  /// f(x) = s·x for x > 0, else s·α·(eˣ − 1), with the constants of Klambauer et al. 2017.
  case selu
  /// f(x) = x·Φ(x) = x/2·(1 + erf(x/√2)), the exact form.
  case gelu
  /// f(x) = 1/(1 + e⁻ˣ).
  case sigmoid
  /// f(x) = tanh x.
  case tanh

  /// Whether f′ cannot be computed from f(x): then the input must be kept for the backward pass.
  public var gradientNeedsInput: Bool { self == .gelu }

  /// SELU's scale s (Klambauer and others 2017, equation 14).
  public static let seluScale = 1.0507009873554804934193349852946
  /// SELU's α (Klambauer and others 2017, equation 14).
  public static let seluAlpha = 1.6732632423543772848170429916717
}
