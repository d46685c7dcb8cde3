/// Bias and activation, softmax, elementary functions.
public final class ActivationKernels<Scalar>: @unchecked Sendable {
  /// A vector of scalars.
  public typealias Pointer = UnsafeMutablePointer<Scalar>

  /// `(x, bias, y, kind, alpha)`: y = f(x + bias), bias per column (nil: none).
  ///
  /// y may be x. Where `kind.gradientNeedsInput` (then y must not be x) and a bias is given, x is left holding x + bias.
  public var forward:
    (
      @Sendable (MatrixView<Scalar>, UnsafePointer<Scalar>?, MatrixView<Scalar>, ElementwiseActivation, Double) -> Void
    )!

  /// `(dy, saved, dx, kind, alpha)`: dx = dy·f′, dx may be dy.
  ///
  /// `saved` is the output y, or the input x + bias where `kind.gradientNeedsInput`.
  public var backward:
    (
      @Sendable (
        MatrixView<Scalar>, MatrixView<Scalar>, MatrixView<Scalar>, ElementwiseActivation, Double
      ) -> Void
    )!

  /// `(x, y)`: softmax of each row, shifted by the row's maximum; y may be x.
  public var softmax: (@Sendable (MatrixView<Scalar>, MatrixView<Scalar>) -> Void)!

  /// `(dy, y, dx)`: dx = y·(dy − Σ dy·y) by rows; dx may be dy.
  public var softmaxBackward: (@Sendable (MatrixView<Scalar>, MatrixView<Scalar>, MatrixView<Scalar>) -> Void)!

  /// `(x, y, count)`: y = eˣ; y may be x.
  public var exponential: (@Sendable (UnsafePointer<Scalar>, Pointer, Int) -> Void)!
  /// `(x, y, count)`: y = ln x; y may be x.
  public var logarithm: (@Sendable (UnsafePointer<Scalar>, Pointer, Int) -> Void)!
  /// `(x, y, count)`: y = tanh x; y may be x.
  public var hyperbolicTangent: (@Sendable (UnsafePointer<Scalar>, Pointer, Int) -> Void)!
  /// `(x, y, count)`: y = 1/(1 + e⁻ˣ); y may be x.
  public var logistic: (@Sendable (UnsafePointer<Scalar>, Pointer, Int) -> Void)!

  init() {}
}
