import Kernels

/// The kernels that a step calls, copied out of the table so that calling one touches no shared reference count.
struct StepKernels<Scalar: NetworkScalar>: Sendable {
  let activationForward:
    @Sendable (MatrixView<Scalar>, UnsafePointer<Scalar>?, MatrixView<Scalar>, ElementwiseActivation, Double) -> Void
  let activationBackward:
    @Sendable (MatrixView<Scalar>, MatrixView<Scalar>, MatrixView<Scalar>, ElementwiseActivation, Double) -> Void
  let normalizeAndAdd:
    @Sendable (
      MatrixView<Scalar>, UnsafePointer<Scalar>, UnsafePointer<Scalar>, UnsafePointer<Scalar>, UnsafePointer<Scalar>?,
      UnsafePointer<Scalar>?, MatrixView<Scalar>, MatrixView<Scalar>, Bool, BitMatrixView?
    ) -> Void
  let add: @Sendable (MatrixView<Scalar>, MatrixView<Scalar>, MatrixView<Scalar>, Bool, BitMatrixView?) -> Void
  let keepMasked: @Sendable (MatrixView<Scalar>, BitMatrixView, MatrixView<Scalar>) -> Void
  let softmax: @Sendable (MatrixView<Scalar>, MatrixView<Scalar>) -> Void
  let softmaxBackward: @Sendable (MatrixView<Scalar>, MatrixView<Scalar>, MatrixView<Scalar>) -> Void
  let moments:
    @Sendable (
      MatrixView<Scalar>, UnsafeMutablePointer<Scalar>, UnsafeMutablePointer<Scalar>, UnsafeMutablePointer<Scalar>,
      UnsafeMutablePointer<Double>
    ) -> Void
  let inverseDeviation: @Sendable (UnsafePointer<Scalar>, Double, UnsafeMutablePointer<Scalar>, Int) -> Void
  let normalize:
    @Sendable (
      MatrixView<Scalar>, UnsafePointer<Scalar>, UnsafePointer<Scalar>, UnsafePointer<Scalar>, UnsafePointer<Scalar>?,
      UnsafePointer<Scalar>?, MatrixView<Scalar>, Bool, BitMatrixView?, Bool
    ) -> Void
  let normalizationBackward:
    @Sendable (
      MatrixView<Scalar>, MatrixView<Scalar>, BitMatrixView?, UnsafePointer<Scalar>, UnsafePointer<Scalar>,
      UnsafePointer<Scalar>, UnsafePointer<Scalar>?, UnsafeMutablePointer<Scalar>, UnsafeMutablePointer<Scalar>,
      MatrixView<Scalar>, Bool
    ) -> Void
  let backwardGivenStatistics:
    @Sendable (
      MatrixView<Scalar>, MatrixView<Scalar>, BitMatrixView?, UnsafePointer<Scalar>, UnsafePointer<Scalar>,
      UnsafePointer<Scalar>, UnsafePointer<Scalar>?, UnsafeMutablePointer<Scalar>, UnsafeMutablePointer<Scalar>,
      MatrixView<Scalar>, Bool
    ) -> Void
  let weightedMoments:
    @Sendable (
      MatrixView<Scalar>, UnsafePointer<Double>, Int, UnsafeMutablePointer<Scalar>, UnsafeMutablePointer<Scalar>,
      UnsafeMutablePointer<Scalar>
    ) -> Void
  let weightedBackward:
    @Sendable (
      MatrixView<Scalar>, MatrixView<Scalar>, UnsafePointer<Double>, Int, BitMatrixView?, UnsafePointer<Scalar>,
      UnsafePointer<Scalar>, UnsafePointer<Scalar>, UnsafePointer<Scalar>?, UnsafeMutablePointer<Scalar>,
      UnsafeMutablePointer<Scalar>, MatrixView<Scalar>, Bool
    ) -> Void
  let updateMovingAverage: @Sendable (UnsafeMutablePointer<Scalar>, UnsafePointer<Scalar>, Double, Int) -> Void
  let runMoments:
    @Sendable (
      MatrixView<Scalar>, Int, UnsafePointer<Double>?, Int, UnsafeMutablePointer<Scalar>, UnsafeMutablePointer<Scalar>,
      UnsafeMutablePointer<Scalar>
    ) -> Void
  let normalizeRuns:
    @Sendable (
      MatrixView<Scalar>, Int, UnsafePointer<Scalar>, UnsafePointer<Scalar>, UnsafePointer<Scalar>,
      UnsafePointer<Scalar>?, UnsafePointer<Scalar>?, MatrixView<Scalar>
    ) -> Void
  let runBackward:
    @Sendable (
      MatrixView<Scalar>, MatrixView<Scalar>, Int, Bool, UnsafePointer<Double>?, Int, UnsafePointer<Scalar>,
      UnsafePointer<Scalar>, UnsafePointer<Scalar>, UnsafePointer<Scalar>?, UnsafeMutablePointer<Scalar>,
      UnsafeMutablePointer<Scalar>, MatrixView<Scalar>
    ) -> Void
  let dropout: @Sendable (MatrixView<Scalar>, MatrixView<Scalar>, Double, UInt64, Int) -> Void
  let columnSums: @Sendable (MatrixView<Scalar>, UnsafeMutablePointer<Scalar>) -> Void

  init(_ table: KernelTable<Scalar>) {
    activationForward = table.activations.forward
    activationBackward = table.activations.backward
    normalizeAndAdd = table.batchNormalization.normalizeAndAdd
    add = table.batchNormalization.add
    keepMasked = table.batchNormalization.keepMasked
    softmax = table.activations.softmax
    softmaxBackward = table.activations.softmaxBackward
    moments = table.batchNormalization.moments
    inverseDeviation = table.batchNormalization.inverseDeviation
    normalize = table.batchNormalization.normalize
    normalizationBackward = table.batchNormalization.backward
    backwardGivenStatistics = table.batchNormalization.backwardGivenStatistics
    weightedMoments = table.batchNormalization.weightedMoments
    weightedBackward = table.batchNormalization.weightedBackward
    updateMovingAverage = table.batchNormalization.updateMovingAverage
    runMoments = table.featureRuns.moments
    normalizeRuns = table.featureRuns.normalize
    runBackward = table.featureRuns.backward
    dropout = table.dropout.apply
    columnSums = table.reductions.columnSums
  }

  /// Runs a tile's column operations over `rows` rows.
  @inline(__always)
  func forward(_ tile: BoundTile<Scalar>, rows: Int, mode: Mode, dropoutKey: DropoutKey) {
    for index in 0..<tile.stepCount {
      let step = tile.steps[index]
      let input = step.input.rows(0..<rows)
      let output = step.output.rows(0..<rows)
      switch step.kind {
      case .activation:
        activationForward(input, step.bias, output, step.activation, step.alpha)
      case .normalization:
        if let normalization = step.normalization { normalizeForward(normalization, input, output, mode) }
      case .normalizedAddition:
        if let normalization = step.normalization, let shortcut = step.shortcut {
          normalizeForward(normalization, adding: shortcut.rows(0..<rows), input, output, mode)
        }
      case .addition:
        if let shortcut = step.shortcut { add(input, shortcut.rows(0..<rows), output, step.mask != nil, step.mask) }
      case .dropout:
        if mode == .training {
          dropout(input, output, step.rate, dropoutKey.key(of: step.dropoutIndex), step.firstColumn)
        } else if output.base != input.base {
          activationForward(input, nil, output, .linear, 0)
        }
      }
    }
  }

  /// Turns the gradient with respect to a tile's outputs, in place, into that with respect to its product, and writes
  /// the gradients of the parameters on the way.
  @inline(__always)
  func backward(_ tile: BoundTile<Scalar>, gradient: MatrixView<Scalar>, rows: Int, dropoutKey: DropoutKey) {
    var current = gradient
    for index in stride(from: tile.stepCount - 1, through: 0, by: -1) {
      let step = tile.steps[index]
      let result = index == tile.lastOfBackward ? gradient : tile.gradient.rows(0..<rows)
      switch step.kind {
      case .activation:
        if step.gradientIsFused || step.activation == .linear { continue }
        let saved = step.activation.gradientNeedsInput ? step.input : step.output
        activationBackward(current, saved.rows(0..<rows), result, step.activation, step.alpha)
      case .normalization:
        guard let normalization = step.normalization else { continue }
        normalizeBackward(normalization, step.input.rows(0..<rows), current, result)
      case .dropout:
        dropout(current, result, step.rate, dropoutKey.key(of: step.dropoutIndex), step.firstColumn)
      case .normalizedAddition:
        guard let normalization = step.normalization else { continue }
        passToShortcut(step, normalization.mask, current, rows: rows)
        normalizeBackward(normalization, step.input.rows(0..<rows), current, result)
      case .addition:
        passToShortcut(step, step.mask, current, rows: rows)
        guard let mask = step.mask else { continue }
        keepMasked(current, mask, result)
      }
      current = result
    }
    if let biasGradient = tile.biasGradient { columnSums(gradient, biasGradient) }
  }

  /// Normalizes by the batch's statistics and updates the moving ones, or by the moving ones.
  @inline(__always)
  func normalizeForward(
    _ normalization: BoundNormalization<Scalar>, _ input: MatrixView<Scalar>, _ output: MatrixView<Scalar>, _ mode: Mode
  ) {
    let n = normalization
    if !n.control.pointee.isPlainForward || n.inner > 1 { return normalizeByOptions(n, input, output, mode) }
    switch mode {
    case .training:
      moments(input, n.mean, n.meanLow, n.variance, n.workspace)
      updateMovingAverage(n.movingMean, n.mean, n.momentum, n.count)
      updateMovingAverage(n.movingVariance, n.variance, n.momentum, n.count)
      inverseDeviation(n.variance, n.epsilon, n.inverseDeviation, n.count)
      normalize(input, n.mean, n.meanLow, n.inverseDeviation, n.gamma, n.beta, output, n.relu, n.mask, false)
    case .inference:
      inverseDeviation(n.movingVariance, n.epsilon, n.inverseDeviation, n.count)
      normalize(input, n.movingMean, n.zeros, n.inverseDeviation, n.gamma, n.beta, output, n.relu, nil, false)
    }
  }

  /// The gradient of the training normalization, into `result`, which may be `gradient`.
  @inline(__always)
  func normalizeBackward(
    _ normalization: BoundNormalization<Scalar>, _ input: MatrixView<Scalar>, _ gradient: MatrixView<Scalar>,
    _ result: MatrixView<Scalar>
  ) {
    let n = normalization
    if !n.control.pointee.isPlainBackward || n.inner > 1 {
      return normalizeBackwardByOptions(n, input, gradient, result)
    }
    normalizationBackward(
      gradient, input, n.mask, n.mean, n.meanLow, n.inverseDeviation, n.gamma, n.gammaGradient,
      n.betaGradient, result, n.maskInput)
  }
}

/// What the dropout masks of one step are drawn from.
struct DropoutKey {
  var seed: UInt64
  var step: Int

  /// The key of mask `index`, by the finalizer of splitmix64 (Steele, Lea and Flood 2014) over seed, step and index.
  @inline(__always)
  func key(of index: Int) -> UInt64 {
    func mixed(_ value: UInt64) -> UInt64 {
      var z = value &+ 0x9e37_79b9_7f4a_7c15
      z = (z ^ (z >> 30)) &* 0xbf58_476d_1ce4_e5b9
      z = (z ^ (z >> 27)) &* 0x94d0_49bb_1331_11eb
      return z ^ (z >> 31)
    }
    return mixed(mixed(mixed(seed) &+ UInt64(bitPattern: Int64(step))) &+ UInt64(index))
  }
}
