import Kernels

/// Residual connections: what a step adds to a tile, and the gradient of that.
extension StepKernels {
  /// Normalizes, adds `shortcut` and clamps where there is a ReLU, in one pass where no option of the layer is in the way.
  @inline(__always)
  func normalizeForward(
    _ n: BoundNormalization<Scalar>, adding shortcut: MatrixView<Scalar>, _ input: MatrixView<Scalar>,
    _ output: MatrixView<Scalar>, _ mode: Mode
  ) {
    guard n.control.pointee.isPlainForward else {
      var alone = n
      alone.relu = false
      alone.mask = nil
      normalizeByOptions(alone, input, output, mode)
      return add(output, shortcut, output, n.relu, mode == .training ? n.mask : nil)
    }
    switch mode {
    case .training:
      moments(input, n.mean, n.meanLow, n.variance, n.workspace)
      updateMovingAverage(n.movingMean, n.mean, n.momentum, n.count)
      updateMovingAverage(n.movingVariance, n.variance, n.momentum, n.count)
      inverseDeviation(n.variance, n.epsilon, n.inverseDeviation, n.count)
      normalizeAndAdd(
        input, n.mean, n.meanLow, n.inverseDeviation, n.gamma, n.beta, shortcut, output, n.relu, n.mask)
    case .inference:
      inverseDeviation(n.movingVariance, n.epsilon, n.inverseDeviation, n.count)
      normalizeAndAdd(
        input, n.movingMean, n.zeros, n.inverseDeviation, n.gamma, n.beta, shortcut, output, n.relu, nil)
    }
  }

  /// Leaves the gradient of what `step` adds where the stage that it feeds will find it: the gradient of the output
  /// where the ReLU let it through.
  @inline(__always)
  func passToShortcut(
    _ step: BoundStep<Scalar>, _ mask: BitMatrixView?, _ gradient: MatrixView<Scalar>, rows: Int
  ) {
    guard let kept = step.shortcutGradient?.rows(0..<rows) else { return }
    if let mask { keepMasked(gradient, mask, kept) } else { activationForward(gradient, nil, kept, .linear, 0) }
  }
}

extension BoundStage {
  /// Adds what shortcuts pass back to some columns of the gradient of the stage's input.
  @inline(__always)
  func addShortcutGradients(
    to gradient: MatrixView<Scalar>, columns: Range<Int>, rows: Int, _ kernels: StepKernels<Scalar>
  ) {
    let own = gradient.columns(columns).rows(0..<rows)
    for index in 0..<shortcutCount {
      kernels.add(own, shortcutGradients[index].columns(columns).rows(0..<rows), own, false, nil)
    }
  }
}
