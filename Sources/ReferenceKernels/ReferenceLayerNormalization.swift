import KernelInterface

extension ReferenceKernels {
  /// y = γ·(x − μ)/√(σ² + ε) + β with the mean and the biased variance of each row, in two passes.
  @inlinable
  public static func layerNormalize<Scalar: BinaryFloatingPoint>(
    _ x: MatrixView<Scalar>, gamma: UnsafePointer<Scalar>?, beta: UnsafePointer<Scalar>?, epsilon: Double,
    into y: MatrixView<Scalar>
  ) {
    for row in 0..<x.rows {
      let (mean, inverse) = rowMoments(x, row, epsilon)
      for column in 0..<x.columns {
        let normalized = (x.base[row * x.stride + column] - mean) * inverse
        y.base[row * y.stride + column] = (gamma?[column] ?? 1) * normalized + (beta?[column] ?? 0)
      }
    }
  }

  /// dγ = Σdy·x̂ and dβ = Σdy over the rows, dx = (g − Σg/n − x̂·Σ(g·x̂)/n)/√(σ² + ε) with g = γ·dy.
  @inlinable
  public static func layerNormalizeBackward<Scalar: BinaryFloatingPoint>(
    _ dy: MatrixView<Scalar>, _ x: MatrixView<Scalar>, gamma: UnsafePointer<Scalar>?, epsilon: Double,
    dGamma: UnsafeMutablePointer<Scalar>, dBeta: UnsafeMutablePointer<Scalar>, dx: MatrixView<Scalar>
  ) {
    for column in 0..<x.columns { (dGamma[column], dBeta[column]) = (0, 0) }
    let n = Scalar(x.columns)
    for row in 0..<x.rows {
      let (mean, inverse) = rowMoments(x, row, epsilon)
      func normalized(_ column: Int) -> Scalar { (x.base[row * x.stride + column] - mean) * inverse }
      func slope(_ column: Int) -> Scalar { dy.base[row * dy.stride + column] * (gamma?[column] ?? 1) }
      var sum: Scalar = 0
      var product: Scalar = 0
      for column in 0..<x.columns {
        dBeta[column] += dy.base[row * dy.stride + column]
        dGamma[column] += dy.base[row * dy.stride + column] * normalized(column)
        sum += slope(column)
        product += slope(column) * normalized(column)
      }
      for column in 0..<x.columns {
        dx.base[row * dx.stride + column] =
          (slope(column) - sum / n - normalized(column) * product / n) * inverse
      }
    }
  }

  /// Mean and 1/√(σ² + ε) of a row.
  @inlinable
  static func rowMoments<Scalar: BinaryFloatingPoint>(
    _ x: MatrixView<Scalar>, _ row: Int, _ epsilon: Double
  ) -> (mean: Scalar, inverse: Scalar) {
    let n = Scalar(x.columns)
    var sum: Scalar = 0
    for column in 0..<x.columns { sum += x.base[row * x.stride + column] }
    let mean = sum / n
    var squares: Scalar = 0
    for column in 0..<x.columns {
      let difference = x.base[row * x.stride + column] - mean
      squares += difference * difference
    }
    return (mean, 1 / (squares / n + Scalar(epsilon)).squareRoot())
  }
}
