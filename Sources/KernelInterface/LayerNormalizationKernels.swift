/// Normalization of the rows of a matrix (Ba, Kiros and Hinton 2016).
public final class LayerNormalizationKernels<Scalar>: @unchecked Sendable {
  /// A vector of scalars, one per column.
  public typealias Pointer = UnsafeMutablePointer<Scalar>

  /// `(x, gamma, beta, epsilon, y)`: y = γ·(x − μ)/√(σ² + ε) + β with mean and biased variance of each row.
  ///
  /// gamma nil means 1, beta nil means 0. A row's mean is taken from its first element: right where rows sit at a large
  /// offset. y may be x.
  public var forward:
    (
      @Sendable (MatrixView<Scalar>, UnsafePointer<Scalar>?, UnsafePointer<Scalar>?, Double, MatrixView<Scalar>) -> Void
    )!

  /// `(dy, x, gamma, epsilon, dGamma, dBeta, dx, workspace)`: the gradient.
  ///
  /// With x̂ = (x − μ)/√(σ² + ε), g = γ·dy and n columns: dβ = Σ dy and dγ = Σ dy·x̂ over the rows,
  /// dx = (g − Σg/n − x̂·Σ(g·x̂)/n)/√(σ² + ε). The statistics are made again from x. `workspace` holds 2·columns doubles.
  /// dx may be dy.
  public var backward:
    (
      @Sendable (
        MatrixView<Scalar>, MatrixView<Scalar>, UnsafePointer<Scalar>?, Double, Pointer, Pointer, MatrixView<Scalar>,
        UnsafeMutablePointer<Double>
      ) -> Void
    )!

  init() {}
}
