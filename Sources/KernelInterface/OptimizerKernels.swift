/// Parameter updates over contiguous vectors: w weights, g gradients, `count` scalars each.
///
/// `decay` is the factor that decoupled weight decay puts on w before the update (1 − learningRate·weightDecay; 1: none).
public final class OptimizerKernels<Scalar>: @unchecked Sendable {
  /// A vector of scalars.
  public typealias Pointer = UnsafeMutablePointer<Scalar>

  /// `(w, g, count, learningRate, decay)`: w = decay·w − learningRate·g.
  public var sgd: (@Sendable (Pointer, UnsafePointer<Scalar>, Int, Double, Double) -> Void)!

  /// `(w, g, velocity, count, learningRate, momentum, nesterov, decay)`: v = momentum·v − learningRate·g.
  ///
  /// Then w = decay·w + v, or with Nesterov w = decay·w + momentum·v − learningRate·g (Keras's SGD).
  public var momentum: (@Sendable (Pointer, UnsafePointer<Scalar>, Pointer, Int, Double, Double, Bool, Double) -> Void)!

  /// `(w, g, m, v, count, alpha, beta1, beta2, epsilon, decay)`: Adam with the bias corrections inside alpha.
  ///
  /// m += (1 − β₁)(g − m); v += (1 − β₂)(g² − v); w = decay·w − alpha·m/(√v + ε) (Kingma and Ba 2015, end of
  /// section 2; Keras's Adam).
  public var adam:
    (
      @Sendable (
        Pointer, UnsafePointer<Scalar>, Pointer, Pointer, Int, Double, Double, Double, Double, Double
      ) -> Void
    )!

  /// `(w, g, v, velocity, average, count, learningRate, rho, momentum, epsilon, decay)`: Keras's RMSprop.
  ///
  /// v = ρ·v + (1 − ρ)·g²; with `average` (centered): a = ρ·a + (1 − ρ)·g and d = v − a² + ε, else d = v + ε;
  /// u = learningRate·g/√d; with `velocity`: velocity = momentum·velocity + u and w = decay·w − velocity,
  /// else w = decay·w − u. nil: that vector is not used. v − a², which rounding may make negative, counts as 0 then.
  public var rmsprop:
    (
      @Sendable (
        Pointer, UnsafePointer<Scalar>, Pointer, Pointer?, Pointer?, Int, Double, Double, Double, Double, Double
      ) -> Void
    )!

  init() {}
}
