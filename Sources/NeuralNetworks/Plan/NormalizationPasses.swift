import Kernels

/// The mean of a batch's features as two vectors, their variance, and 1/√(variance + ε).
struct FeatureStatistics<Scalar> {
  var mean: UnsafeMutablePointer<Scalar>
  var meanLow: UnsafeMutablePointer<Scalar>
  var variance: UnsafeMutablePointer<Scalar>
  var inverseDeviation: UnsafeMutablePointer<Scalar>
}

/// What a gradient goes through besides γ and the deviation.
enum StatisticsGradient {
  /// Moments of the rows, by weights, one for `rowsPerWeight` rows, where there are any.
  case batch(weights: UnsafePointer<Double>?, rowsPerWeight: Int)
  /// Statistics that were given: constants.
  case given
}

extension BoundNormalization {
  /// Where the batch's statistics are kept for the backward pass.
  var statistics: FeatureStatistics<Scalar> {
    FeatureStatistics(mean: mean, meanLow: meanLow, variance: variance, inverseDeviation: inverseDeviation)
  }

  /// Rows of the layer's matrices for each sample.
  var rowsPerSample: Int { control.pointee.positions / inner }
}

/// The passes over the batch that all settings are made of, whether the features are columns or runs of values.
extension StepKernels {
  /// Mean, variance and inverse deviation of the features of `x`.
  func takeMoments(
    _ n: BoundNormalization<Scalar>, _ x: MatrixView<Scalar>, weights: UnsafePointer<Double>?,
    into s: FeatureStatistics<Scalar>
  ) {
    if n.inner > 1 {
      runMoments(x, n.inner, weights, n.rowsPerSample, s.mean, s.meanLow, s.variance)
    } else if let weights {
      weightedMoments(x, weights, n.rowsPerSample, s.mean, s.meanLow, s.variance)
    } else {
      moments(x, s.mean, s.meanLow, s.variance, n.workspace)
    }
    inverseDeviation(s.variance, n.epsilon, s.inverseDeviation, n.count)
  }

  /// y = γ·(x − mean)·inverseDeviation + β, and ReLU where the layer has one; its mask where the gradient will need it.
  func apply(
    _ n: BoundNormalization<Scalar>, _ x: MatrixView<Scalar>, mean: UnsafePointer<Scalar>,
    meanLow: UnsafePointer<Scalar>, inverseDeviation: UnsafePointer<Scalar>, gamma: UnsafePointer<Scalar>?,
    beta: UnsafePointer<Scalar>?, mask: BitMatrixView?, into y: MatrixView<Scalar>
  ) {
    if n.inner > 1 {
      normalizeRuns(x, n.inner, mean, meanLow, inverseDeviation, gamma, beta, y)
    } else {
      normalize(x, mean, meanLow, inverseDeviation, gamma, beta, y, n.relu, mask, false)
    }
  }

  /// dγ, dβ and dx of a batch normalized by `s`.
  func differentiate(
    _ n: BoundNormalization<Scalar>, _ dy: MatrixView<Scalar>, _ x: MatrixView<Scalar>, mask: BitMatrixView?,
    by s: FeatureStatistics<Scalar>, _ path: StatisticsGradient, gamma: UnsafePointer<Scalar>?,
    dGamma: UnsafeMutablePointer<Scalar>, dBeta: UnsafeMutablePointer<Scalar>, dx: MatrixView<Scalar>
  ) {
    switch path {
    case .given where n.inner == 1:
      backwardGivenStatistics(
        dy, x, mask, s.mean, s.meanLow, s.inverseDeviation, gamma, dGamma, dBeta, dx, n.maskInput)
    case .given:
      runBackward(
        dy, x, n.inner, true, nil, 1, s.mean, s.meanLow, s.inverseDeviation, gamma, dGamma, dBeta, dx)
    case .batch(let weights, let rowsPerWeight) where n.inner > 1:
      runBackward(
        dy, x, n.inner, false, weights, rowsPerWeight, s.mean, s.meanLow, s.inverseDeviation, gamma, dGamma, dBeta, dx)
    case .batch(let weights?, let rowsPerWeight):
      weightedBackward(
        dy, x, weights, rowsPerWeight, mask, s.mean, s.meanLow, s.inverseDeviation, gamma, dGamma, dBeta, dx,
        n.maskInput)
    case .batch(nil, _):
      normalizationBackward(
        dy, x, mask, s.mean, s.meanLow, s.inverseDeviation, gamma, dGamma, dBeta, dx, n.maskInput)
    }
  }
}
