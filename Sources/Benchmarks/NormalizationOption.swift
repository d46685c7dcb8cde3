import Kernels
import Lamina
import LinearAlgebra
import NeuralNetworks
import ReferenceKernels

/// What a normalization can be asked for: each with its layer, and as textbook loops.
enum NormalizationOption: String, CaseIterable {
  case plain
  case pytorch = "PyTorch's convention"
  case notAffine = "no center, no scale"
  case givenStatistics = "given statistics"
  case renormalization = "renorm"
  case ghostBatches = "ghost batches of 1/4"
  case sampleWeights = "sample weights"
  case regularizers = "regularizers"
  case constraints = "constraints"
  case residual = "residual add + ReLU"
  case channelsFirst = "channels first (32, 32, 8, 8)"
  case layerNormalization = "LayerNormalization"

  /// The layer, or nil where only kernels exist.
  var layer: (any Layer)? {
    switch self {
    case .plain, .sampleWeights: BatchNormalization(name: "n")
    case .pytorch: BatchNormalization(convention: .pytorch, name: "n")
    case .notAffine: BatchNormalization(affine: false, name: "n")
    case .givenStatistics:
      BatchNormalization(movingMeanInitializer: .constant(0.125), movingVarianceInitializer: .constant(1), name: "n")
    case .renormalization:
      BatchNormalization(
        movingMeanInitializer: .constant(0.125), movingVarianceInitializer: .constant(1),
        renormalization: BatchRenormalization(rmax: .constant(3), dmax: .constant(5)), name: "n")
    case .ghostBatches: BatchNormalization(virtualBatchSize: 32, name: "n")
    case .regularizers:
      BatchNormalization(betaRegularizer: .l1(0.01), gammaRegularizer: .l1l2(l1: 0.01, l2: 0.02), name: "n")
    case .constraints: BatchNormalization(betaConstraint: .nonNegative, gammaConstraint: .maxNorm(1), name: "n")
    case .channelsFirst: BatchNormalization(axis: 1, name: "n")
    case .layerNormalization: LayerNormalization(name: "n")
    case .residual: nil
    }
  }

  /// Shape of a batch: 65,536 elements each.
  var shape: [Int] { self == .channelsFirst ? [32, 32, 8, 8] : [128, 512] }
  var samples: Int { shape[0] }
  var features: Int { shape[1] }
  /// Values of a feature that lie together.
  var inner: Int { shape.dropFirst(2).reduce(1, *) }
  var epsilon: Double { self == .pytorch ? 1e-5 : 1e-3 }
  var isAffine: Bool { self != .notAffine }
  /// Whether a team shares the work.
  var isShared: Bool { self != .residual && self != .layerNormalization }
  /// Matrices that must move at least once, forward and backward.
  var matricesMoved: Int { self == .residual ? 7 : 5 }
}

/// Inputs and outputs of one option.
struct NormalizationOptionCase<Scalar: NetworkScalar> {
  let option: NormalizationOption
  let x, dy, residual, y, dx, residualGradient, gamma, beta, dGamma, dBeta: ScratchMatrix<Scalar>
  let mean, low, variance, inverse, scaled, shifted: ScratchMatrix<Scalar>
  let weights: ScratchMatrix<Double>

  init(_ option: NormalizationOption) {
    self.option = option
    let columns = option.features * option.inner
    // Rounded to Float, so that both precisions have the same inputs.
    func normal(_ rows: Int, _ columns: Int, _ seed: UInt64) -> ScratchMatrix<Scalar> {
      ScratchMatrix<Float>(normal: rows, columns, seed: seed).converted()
    }
    func empty(_ rows: Int, _ columns: Int) -> ScratchMatrix<Scalar> { ScratchMatrix(rows, columns) }
    (x, dy) = (normal(option.samples, columns, 1), normal(option.samples, columns, 2))
    residual = normal(option.samples, columns, 3)
    (y, dx) = (empty(option.samples, columns), empty(option.samples, columns))
    residualGradient = empty(option.samples, columns)
    // Around 1, as trained ones are.
    let small = normal(1, option.features, 4)
    gamma = ScratchMatrix(1, option.features) { option.isAffine ? 1 + Double(small[$0, $1]) / 64 : 1 }
    beta = option.isAffine ? normal(1, option.features, 5) : empty(1, option.features)
    func vector() -> ScratchMatrix<Scalar> { empty(1, option.features) }
    (dGamma, dBeta, mean, low, variance, inverse) = (vector(), vector(), vector(), vector(), vector(), vector())
    (scaled, shifted) = (vector(), vector())
    weights = ScratchMatrix(1, option.samples) { $1 % 8 == 7 ? 0 : 0.5 + Double($1 % 4) / 4 }
  }

  /// The option as a textbook has it, on one thread.
  func runNaive() {
    let (x, dy, y, dx) = (self.x.view, self.dy.view, self.y.view, self.dx.view)
    let (gamma, beta) = (self.gamma.pointer, self.beta.pointer)
    func moments() { ReferenceKernels.moments(x, mean: mean.pointer, variance: variance.pointer) }
    func normalize(_ x: MatrixView<Scalar>, _ y: MatrixView<Scalar>, relu: Bool = false) {
      ReferenceKernels.normalize(
        x, mean: mean.pointer, inverseDeviation: inverse.pointer, gamma: gamma, beta: beta, into: y, relu: relu)
    }
    func differentiate(
      _ rows: Range<Int>, gamma: UnsafePointer<Scalar>, _ dGamma: ScratchMatrix<Scalar>, _ dBeta: ScratchMatrix<Scalar>,
      output: MatrixView<Scalar>? = nil
    ) {
      ReferenceKernels.batchNormalizationBackward(
        dy.rows(rows), x.rows(rows), output: output, mean: mean.pointer, inverseDeviation: inverse.pointer,
        gamma: gamma, dGamma: dGamma.pointer, dBeta: dBeta.pointer, dx: dx.rows(rows), maskInput: false)
    }
    let all = 0..<x.rows
    switch option {
    case .plain, .pytorch, .notAffine, .regularizers, .constraints:
      moments()
      invert()
      normalize(x, y)
      differentiate(all, gamma: gamma, dGamma, dBeta)
      if option == .regularizers { addPenalties() }
      if option == .constraints { constrain() }
    case .givenStatistics:
      for i in 0..<option.features { (mean[0, i], variance[0, i]) = (0.125, 1) }
      invert()
      normalize(x, y)
      ReferenceKernels.weightedBackward(
        dy, x, weights: nil, mean: mean.pointer, inverseDeviation: inverse.pointer, gamma: gamma,
        dGamma: dGamma.pointer, dBeta: dBeta.pointer, dx: dx)
    case .renormalization:
      moments()
      invert()
      for i in 0..<option.features {
        // The running mean and deviation as they are at the first step; nothing reaches a bound.
        let r = (variance[0, i] + Scalar(option.epsilon)).squareRoot()
        let d = mean[0, i] - 0.125
        (scaled[0, i], shifted[0, i]) = (gamma[i] * r, gamma[i] * d + beta[i])
        (low[0, i], residualGradient[0, i]) = (r, d)
      }
      ReferenceKernels.normalize(
        x, mean: mean.pointer, inverseDeviation: inverse.pointer, gamma: scaled.pointer, beta: shifted.pointer,
        into: y, relu: false)
      differentiate(all, gamma: scaled.pointer, dGamma, dBeta)
      for i in 0..<option.features {
        dGamma[0, i] = low[0, i] * dGamma[0, i] + residualGradient[0, i] * dBeta[0, i]
      }
    case .ghostBatches:
      for i in 0..<option.features { (dGamma[0, i], dBeta[0, i]) = (0, 0) }
      for group in 0..<4 {
        let rows = group * 32..<(group + 1) * 32
        ReferenceKernels.moments(x.rows(rows), mean: mean.pointer, variance: variance.pointer)
        invert()
        normalize(x.rows(rows), y.rows(rows))
        differentiate(rows, gamma: gamma, scaled, shifted)
        for i in 0..<option.features {
          dGamma[0, i] += scaled[0, i]
          dBeta[0, i] += shifted[0, i]
        }
      }
    case .sampleWeights:
      let scalars = residualGradient.pointer
      for row in 0..<x.rows { scalars[row] = Scalar(weights[0, row]) }
      ReferenceKernels.weightedMoments(x, weights: scalars, mean: mean.pointer, variance: variance.pointer)
      invert()
      normalize(x, y)
      ReferenceKernels.weightedBackward(
        dy, x, weights: scalars, mean: mean.pointer, inverseDeviation: inverse.pointer, gamma: gamma,
        dGamma: dGamma.pointer, dBeta: dBeta.pointer, dx: dx)
    case .residual:
      moments()
      invert()
      normalize(x, y)
      for i in 0..<y.rows * y.columns { y.base[i] = max(y.base[i] + residual.pointer[i], 0) }
      for i in 0..<y.rows * y.columns { residualGradient.pointer[i] = y.base[i] > 0 ? dy.base[i] : 0 }
      differentiate(all, gamma: gamma, dGamma, dBeta, output: y)
    case .channelsFirst:
      ReferenceKernels.momentsOfRuns(
        x, inner: option.inner, weights: nil, rowsPerWeight: 1, mean: mean.pointer, variance: variance.pointer)
      invert()
      ReferenceKernels.normalizeRuns(
        x, inner: option.inner, mean: mean.pointer, inverseDeviation: inverse.pointer, gamma: gamma, beta: beta, into: y
      )
      ReferenceKernels.backwardOfRuns(
        dy, x, inner: option.inner, givenStatistics: false, weights: nil, rowsPerWeight: 1, mean: mean.pointer,
        inverseDeviation: inverse.pointer, gamma: gamma, dGamma: dGamma.pointer, dBeta: dBeta.pointer, dx: dx)
    case .layerNormalization:
      ReferenceKernels.layerNormalize(x, gamma: gamma, beta: beta, epsilon: option.epsilon, into: y)
      ReferenceKernels.layerNormalizeBackward(
        dy, x, gamma: gamma, epsilon: option.epsilon, dGamma: dGamma.pointer, dBeta: dBeta.pointer, dx: dx)
    }
  }

  private func invert() {
    for i in 0..<option.features { inverse[0, i] = 1 / (variance[0, i] + Scalar(option.epsilon)).squareRoot() }
  }

  private func addPenalties() {
    for i in 0..<option.features {
      let (w, b) = (gamma[0, i], beta[0, i])
      dGamma[0, i] += Scalar(0.01) * (w > 0 ? 1 : w < 0 ? -1 : 0) + 2 * Scalar(0.02) * w
      dBeta[0, i] += Scalar(0.01) * (b > 0 ? 1 : b < 0 ? -1 : 0)
    }
  }

  private func constrain() {
    var squares: Scalar = 0
    for i in 0..<option.features { squares += gamma[0, i] * gamma[0, i] }
    let factor = min(1, 1 / squares.squareRoot())
    for i in 0..<option.features { (gamma[0, i], beta[0, i]) = (gamma[0, i] * factor, max(beta[0, i], 0)) }
  }

  /// The residual block's normalization by the kernels alone.
  func runResidual(_ kernels: BatchNormalizationKernels<Scalar>, _ mask: BitMatrixView, _ work: ScratchMatrix<Double>) {
    kernels.moments(x.view, mean.pointer, low.pointer, variance.pointer, work.pointer)
    kernels.inverseDeviation(variance.pointer, option.epsilon, inverse.pointer, option.features)
    kernels.normalizeAndAdd(
      x.view, mean.pointer, low.pointer, inverse.pointer, gamma.pointer, beta.pointer, residual.view, y.view, true, mask
    )
    kernels.keepMasked(dy.view, mask, residualGradient.view)
    kernels.backward(
      dy.view, x.view, mask, mean.pointer, low.pointer, inverse.pointer, gamma.pointer, dGamma.pointer, dBeta.pointer,
      dx.view, false)
  }

  /// The largest error of the outputs and gradients, relative to the largest term of each.
  ///
  /// Next to the residual's ReLU, an output within rounding of 0 may fall on the other side than the oracle's: columns with
  /// such an output are left out of the gradients' comparison.
  func error(from exact: NormalizationOptionCase<Double>) -> Double {
    let peak = 2 * exact.x.largest + 1
    let factor = max(exact.gamma.largest, 1.5)
    var worst = y.largestDifference(from: exact.y) / (factor * peak + exact.beta.largest)
    let term = factor * exact.dy.largest * (2 + peak * peak)
    let sum = Double(x.count / option.features) * exact.dy.largest * peak
    func note(_ value: Scalar, _ exact: Double, _ term: Double) {
      let difference = abs(Double(value) - exact) / term
      worst = difference.isNaN ? .infinity : max(worst, difference)
    }
    for feature in 0..<option.features {
      let columns = feature * option.inner..<(feature + 1) * option.inner
      let sameSide =
        option != .residual
        || (0..<option.samples).allSatisfy { (y[$0, feature] > 0) == (exact.y[$0, feature] > 0) }
      guard sameSide else { continue }
      for row in 0..<option.samples {
        for column in columns {
          note(dx[row, column], exact.dx[row, column], term)
          if option == .residual {
            note(residualGradient[row, column], exact.residualGradient[row, column], term)
          }
        }
      }
      guard option.isAffine else { continue }
      note(dGamma[0, feature], exact.dGamma[0, feature], sum)
      note(dBeta[0, feature], exact.dBeta[0, feature], sum)
      note(gamma[0, feature], exact.gamma[0, feature], 1)
      note(beta[0, feature], exact.beta[0, feature], exact.beta.largest)
    }
    return worst
  }
}
