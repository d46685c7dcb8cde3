import KernelInterface

/// Batch normalization of an axis that is not the last: feature f of a row is its columns f·inner ..< (f + 1)·inner.
extension ReferenceKernels {
  /// Mean and biased variance of each feature, in two passes; a weight for each `rowsPerWeight` rows, or none.
  ///
  /// mean = Σw·x/Σw, variance = Σw·(x − mean)²/Σw. Rows of weight 0 are not read.
  @inlinable
  public static func momentsOfRuns<Scalar: BinaryFloatingPoint>(
    _ x: MatrixView<Scalar>, inner: Int, weights: UnsafePointer<Double>?, rowsPerWeight: Int,
    mean: UnsafeMutablePointer<Scalar>, variance: UnsafeMutablePointer<Scalar>
  ) {
    for feature in 0..<x.columns / inner {
      func sum(_ term: (Scalar) -> Scalar) -> Scalar {
        var sum: Scalar = 0
        for row in 0..<x.rows {
          let weight = Scalar(weights?[row / rowsPerWeight] ?? 1)
          if weight == 0 { continue }
          for i in 0..<inner { sum += weight * term(x.base[row * x.stride + feature * inner + i]) }
        }
        return sum
      }
      var total: Scalar = 0
      for row in 0..<x.rows { total += Scalar(weights?[row / rowsPerWeight] ?? 1) * Scalar(inner) }
      let center = total > 0 ? sum { $0 } / total : 0
      mean[feature] = center
      variance[feature] = total > 0 ? sum { ($0 - center) * ($0 - center) } / total : 0
    }
  }

  /// y = γ·(x − mean)·inverseDeviation + β.
  @inlinable
  public static func normalizeRuns<Scalar: BinaryFloatingPoint>(
    _ x: MatrixView<Scalar>, inner: Int, mean: UnsafePointer<Scalar>, inverseDeviation: UnsafePointer<Scalar>,
    gamma: UnsafePointer<Scalar>?, beta: UnsafePointer<Scalar>?, into y: MatrixView<Scalar>
  ) {
    for row in 0..<x.rows {
      for column in 0..<x.columns {
        let feature = column / inner
        let normalized = (x.base[row * x.stride + column] - mean[feature]) * inverseDeviation[feature]
        y.base[row * y.stride + column] = (gamma?[feature] ?? 1) * normalized + (beta?[feature] ?? 0)
      }
    }
  }

  /// dβ = Σ dy, dγ = Σ dy·x̂ and dx = γ·inverseDeviation·(dy − s·(dβ + x̂·dγ)).
  ///
  /// s is w/Σw over all of a feature's values, w = 1 without weights; 0 where the statistics were given.
  @inlinable
  public static func backwardOfRuns<Scalar: BinaryFloatingPoint>(
    _ dy: MatrixView<Scalar>, _ x: MatrixView<Scalar>, inner: Int, givenStatistics: Bool,
    weights: UnsafePointer<Double>?, rowsPerWeight: Int, mean: UnsafePointer<Scalar>,
    inverseDeviation: UnsafePointer<Scalar>, gamma: UnsafePointer<Scalar>?, dGamma: UnsafeMutablePointer<Scalar>,
    dBeta: UnsafeMutablePointer<Scalar>, dx: MatrixView<Scalar>
  ) {
    var total: Scalar = 0
    for row in 0..<dy.rows { total += Scalar(weights?[row / rowsPerWeight] ?? 1) * Scalar(inner) }
    for feature in 0..<dy.columns / inner {
      func normalized(_ row: Int, _ column: Int) -> Scalar {
        (x.base[row * x.stride + column] - mean[feature]) * inverseDeviation[feature]
      }
      let columns = feature * inner..<(feature + 1) * inner
      var (beta, gammaSum): (Scalar, Scalar) = (0, 0)
      for row in 0..<dy.rows {
        for column in columns {
          beta += dy.base[row * dy.stride + column]
          gammaSum += dy.base[row * dy.stride + column] * normalized(row, column)
        }
      }
      dBeta[feature] = beta
      dGamma[feature] = gammaSum
      let scale = (gamma?[feature] ?? 1) * inverseDeviation[feature]
      for row in 0..<dy.rows {
        let weight = Scalar(weights?[row / rowsPerWeight] ?? 1)
        let share = givenStatistics || total <= 0 ? 0 : weight / total
        for column in columns {
          var gradient = dy.base[row * dy.stride + column]
          if share > 0 { gradient -= share * (beta + normalized(row, column) * gammaSum) }
          dx.base[row * dx.stride + column] = scale * gradient
        }
      }
    }
  }
}
