import KernelInterface

extension ReferenceKernels {
  /// Mean and biased variance of each column, in two passes.
  ///
  /// mean = Σx/n, variance = Σ(x − mean)²/n over the n rows, all in `Scalar`.
  @inlinable
  public static func moments<Scalar: BinaryFloatingPoint>(
    _ x: MatrixView<Scalar>, mean: UnsafeMutablePointer<Scalar>, variance: UnsafeMutablePointer<Scalar>
  ) {
    let count = Scalar(x.rows)
    for column in 0..<x.columns {
      var sum: Scalar = 0
      for row in 0..<x.rows { sum += x.base[row * x.stride + column] }
      mean[column] = sum / count
    }
    for column in 0..<x.columns {
      var sum: Scalar = 0
      for row in 0..<x.rows {
        let difference = x.base[row * x.stride + column] - mean[column]
        sum += difference * difference
      }
      variance[column] = sum / count
    }
  }

  /// y = γ·(x − mean)·inverseDeviation + β, clamped at 0 with `relu`.
  ///
  /// `gamma` nil means 1, `beta` nil means 0; y may be x.
  @inlinable
  public static func normalize<Scalar: BinaryFloatingPoint>(
    _ x: MatrixView<Scalar>, mean: UnsafePointer<Scalar>, inverseDeviation: UnsafePointer<Scalar>,
    gamma: UnsafePointer<Scalar>?, beta: UnsafePointer<Scalar>?, into y: MatrixView<Scalar>, relu: Bool
  ) {
    for row in 0..<x.rows {
      for column in 0..<x.columns {
        let normalized = (x.base[row * x.stride + column] - mean[column]) * inverseDeviation[column]
        let value = (gamma?[column] ?? 1) * normalized + (beta?[column] ?? 0)
        y.base[row * y.stride + column] = relu && value <= 0 ? 0 : value
      }
    }
  }

  /// The training gradient of batch normalization: dγ, dβ and dx (Ioffe and Szegedy 2015, section 3).
  ///
  /// With x̂ = (x − mean)·inverseDeviation and n rows: dβ = Σ dy, dγ = Σ dy·x̂,
  /// dx = γ·inverseDeviation·(dy − dβ/n − x̂·dγ/n). Where `output` is given, dy counts as 0 where output ≤ 0; with
  /// `maskInput`, dx is 0 where x ≤ 0.
  @inlinable
  public static func batchNormalizationBackward<Scalar: BinaryFloatingPoint>(
    _ dy: MatrixView<Scalar>, _ x: MatrixView<Scalar>, output: MatrixView<Scalar>?, mean: UnsafePointer<Scalar>,
    inverseDeviation: UnsafePointer<Scalar>, gamma: UnsafePointer<Scalar>?, dGamma: UnsafeMutablePointer<Scalar>,
    dBeta: UnsafeMutablePointer<Scalar>, dx: MatrixView<Scalar>, maskInput: Bool
  ) {
    let count = Scalar(dy.rows)
    func gradient(_ row: Int, _ column: Int) -> Scalar {
      if let output, output.base[row * output.stride + column] <= 0 { return 0 }
      return dy.base[row * dy.stride + column]
    }
    for column in 0..<dy.columns {
      func normalized(_ row: Int) -> Scalar {
        (x.base[row * x.stride + column] - mean[column]) * inverseDeviation[column]
      }
      var beta: Scalar = 0
      var gammaSum: Scalar = 0
      for row in 0..<dy.rows {
        beta += gradient(row, column)
        gammaSum += gradient(row, column) * normalized(row)
      }
      dBeta[column] = beta
      dGamma[column] = gammaSum
      let scale = (gamma?[column] ?? 1) * inverseDeviation[column]
      for row in 0..<dy.rows {
        let value = scale * (gradient(row, column) - beta / count - normalized(row) * gammaSum / count)
        dx.base[row * dx.stride + column] = maskInput && x.base[row * x.stride + column] <= 0 ? 0 : value
      }
    }
  }

  /// Mean and variance of each column where rows count by their weights, in two passes.
  ///
  /// mean = Σw·x/Σw, variance = Σw·(x − mean)²/Σw.
  @inlinable
  public static func weightedMoments<Scalar: BinaryFloatingPoint>(
    _ x: MatrixView<Scalar>, weights: UnsafePointer<Scalar>, mean: UnsafeMutablePointer<Scalar>,
    variance: UnsafeMutablePointer<Scalar>
  ) {
    var total: Scalar = 0
    for row in 0..<x.rows { total += weights[row] }
    for column in 0..<x.columns {
      var sum: Scalar = 0
      for row in 0..<x.rows { sum += weights[row] * x.base[row * x.stride + column] }
      mean[column] = sum / total
      var squares: Scalar = 0
      for row in 0..<x.rows {
        let difference = x.base[row * x.stride + column] - mean[column]
        squares += weights[row] * difference * difference
      }
      variance[column] = squares / total
    }
  }

  /// The gradient through `weightedMoments`: dx = γ·inverseDeviation·(dy − w/Σw·(dβ + x̂·dγ)).
  ///
  /// dβ = Σ dy and dγ = Σ dy·x̂ over all rows. With weights nil the statistics were given: dx = γ·inverseDeviation·dy.
  @inlinable
  public static func weightedBackward<Scalar: BinaryFloatingPoint>(
    _ dy: MatrixView<Scalar>, _ x: MatrixView<Scalar>, weights: UnsafePointer<Scalar>?, mean: UnsafePointer<Scalar>,
    inverseDeviation: UnsafePointer<Scalar>, gamma: UnsafePointer<Scalar>, dGamma: UnsafeMutablePointer<Scalar>,
    dBeta: UnsafeMutablePointer<Scalar>, dx: MatrixView<Scalar>
  ) {
    var total: Scalar = 0
    if let weights { for row in 0..<dy.rows { total += weights[row] } }
    for column in 0..<dy.columns {
      func normalized(_ row: Int) -> Scalar {
        (x.base[row * x.stride + column] - mean[column]) * inverseDeviation[column]
      }
      var beta: Scalar = 0
      var gammaSum: Scalar = 0
      for row in 0..<dy.rows {
        beta += dy.base[row * dy.stride + column]
        gammaSum += dy.base[row * dy.stride + column] * normalized(row)
      }
      dBeta[column] = beta
      dGamma[column] = gammaSum
      for row in 0..<dy.rows {
        var gradient = dy.base[row * dy.stride + column]
        if let weights { gradient -= weights[row] / total * (beta + normalized(row) * gammaSum) }
        dx.base[row * dx.stride + column] = gamma[column] * inverseDeviation[column] * gradient
      }
    }
  }
}
