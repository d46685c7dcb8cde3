import Kernels

/// Batch normalization with settings other than the fast path's: the same kernels, with more around them.
extension StepKernels {
  /// Forward by the layer's control.
  func normalizeByOptions(
    _ n: BoundNormalization<Scalar>, _ input: MatrixView<Scalar>, _ output: MatrixView<Scalar>, _ mode: Mode
  ) {
    let control = n.control.pointee
    if mode == .inference {
      if control.tracks {
        inverseDeviation(n.movingVariance, n.epsilon, n.inverseDeviation, n.count)
        normalize(input, n.movingMean, n.zeros, n.inverseDeviation, n.gamma, n.beta, output, n.relu, nil, false)
      } else {
        moments(input, n.mean, n.meanLow, n.variance, n.workspace)
        inverseDeviation(n.variance, n.epsilon, n.inverseDeviation, n.count)
        normalize(input, n.mean, n.meanLow, n.inverseDeviation, n.gamma, n.beta, output, n.relu, nil, false)
      }
    } else if !control.usesBatchStatistics {
      normalizeByRunningStatistics(n, control, input, output)
    } else if control.groups(rows: input.rows) > 1 {
      normalizeGroups(n, control, input, output)
    } else {
      takeMoments(n, control, input)
      inverseDeviation(n.variance, n.epsilon, n.inverseDeviation, n.count)
      if control.renormalizes {
        renormalize(n, control)
        normalize(
          input, n.mean, n.meanLow, n.inverseDeviation, n.extras.gamma, n.extras.beta, output, n.relu, n.mask, false)
      } else {
        normalize(input, n.mean, n.meanLow, n.inverseDeviation, n.gamma, n.beta, output, n.relu, n.mask, false)
        if control.updatesStatistics { updateRunningStatistics(n, control, rows: input.rows) }
      }
    }
  }

  /// The batch's moments, by weights where the samples have some.
  private func takeMoments(
    _ n: BoundNormalization<Scalar>, _ control: NormalizationControl, _ input: MatrixView<Scalar>
  ) {
    if let weights = control.weights {
      weightedMoments(input, weights, control.positions, n.mean, n.meanLow, n.variance)
    } else {
      moments(input, n.mean, n.meanLow, n.variance, n.workspace)
    }
  }

  /// Backward by the layer's control, in place of `gradient`.
  func normalizeBackwardByOptions(
    _ n: BoundNormalization<Scalar>, _ input: MatrixView<Scalar>, _ gradient: MatrixView<Scalar>
  ) {
    let control = n.control.pointee
    if !control.usesBatchStatistics {
      backwardGivenStatistics(
        gradient, input, n.mask, n.mean, n.meanLow, n.inverseDeviation, n.gamma, n.gammaGradient, n.betaGradient,
        gradient, n.maskInput)
    } else if control.groups(rows: input.rows) > 1 {
      backwardGroups(n, control, input, gradient)
    } else if control.renormalizes {
      backwardByBatch(n, control, n.extras.gamma, input, gradient)
      // y = γ·r·x̂ + γ·d + β: dγ = r·dγ′ + d·dβ′.
      for i in 0..<n.count {
        n.gammaGradient[i] = n.extras.r[i] * n.gammaGradient[i] + n.extras.d[i] * n.betaGradient[i]
      }
    } else {
      backwardByBatch(n, control, n.gamma, input, gradient)
    }
    addPenaltyGradient(n.gamma, n.gammaGradient, n.count, control.gammaFactors)
    addPenaltyGradient(n.beta, n.betaGradient, n.count, control.betaFactors)
  }

  /// The gradient with respect to a batch normalized by its own statistics, with `gamma` in place of γ.
  private func backwardByBatch(
    _ n: BoundNormalization<Scalar>, _ control: NormalizationControl, _ gamma: UnsafePointer<Scalar>?,
    _ input: MatrixView<Scalar>, _ gradient: MatrixView<Scalar>
  ) {
    if let weights = control.weights {
      weightedBackward(
        gradient, input, weights, control.positions, n.mask, n.mean, n.meanLow, n.inverseDeviation, gamma,
        n.gammaGradient, n.betaGradient, gradient, n.maskInput)
    } else {
      normalizationBackward(
        gradient, input, n.mask, n.mean, n.meanLow, n.inverseDeviation, gamma, n.gammaGradient, n.betaGradient,
        gradient, n.maskInput)
    }
  }

  /// gradient += l1·sign(w) + 2·l2·w.
  private func addPenaltyGradient(
    _ w: UnsafePointer<Scalar>?, _ gradient: UnsafeMutablePointer<Scalar>, _ count: Int,
    _ factors: (l1: Double, l2: Double)
  ) {
    guard let w, factors != (0, 0) else { return }
    let (l1, l2) = (Scalar(factors.l1), Scalar(2 * factors.l2))
    for i in 0..<count { gradient[i] += l2 * w[i] + (w[i] > 0 ? l1 : w[i] < 0 ? -l1 : 0) }
  }

  // MARK: Running statistics

  /// Takes the moments in `n.mean` and `n.variance` of `rows` rows into the running statistics.
  private func updateRunningStatistics(_ n: BoundNormalization<Scalar>, _ control: NormalizationControl, rows: Int) {
    updateMovingAverage(n.movingMean, n.mean, control.weightOfOld, n.count)
    guard control.isUnbiased else {
      updateMovingAverage(n.movingVariance, n.variance, control.weightOfOld, n.count)
      return
    }
    // Weights count as numbers of rows.
    let count = control.weights == nil ? Double(rows) : control.weightSum * Double(control.positions)
    let factor = Scalar(count > 1 ? count / (count - 1) : 1)
    for i in 0..<n.count { n.extras.gamma[i] = factor * n.variance[i] }
    updateMovingAverage(n.movingVariance, n.extras.gamma, control.weightOfOld, n.count)
  }

  /// Normalizes by the running statistics as they are, kept for the backward pass, and updates them then.
  private func normalizeByRunningStatistics(
    _ n: BoundNormalization<Scalar>, _ control: NormalizationControl, _ input: MatrixView<Scalar>,
    _ output: MatrixView<Scalar>
  ) {
    inverseDeviation(n.movingVariance, n.epsilon, n.inverseDeviation, n.count)
    guard control.updatesStatistics else {
      n.mean.update(from: n.movingMean, count: n.count)
      n.meanLow.update(from: n.zeros, count: n.count)
      normalize(input, n.mean, n.meanLow, n.inverseDeviation, n.gamma, n.beta, output, n.relu, n.mask, false)
      return
    }
    n.extras.r.update(from: n.movingMean, count: n.count)
    takeMoments(n, control, input)
    updateRunningStatistics(n, control, rows: input.rows)
    n.mean.update(from: n.extras.r, count: n.count)
    n.meanLow.update(from: n.zeros, count: n.count)
    normalize(input, n.mean, n.meanLow, n.inverseDeviation, n.gamma, n.beta, output, n.relu, n.mask, false)
  }

  // MARK: Renormalization

  /// The corrections r and d from the averages as they are, γ·r and γ·d + β, and the averages' update.
  private func renormalize(_ n: BoundNormalization<Scalar>, _ control: NormalizationControl) {
    guard let mean = n.extras.renormMean, let deviation = n.extras.renormDeviation,
      let movingDeviation = n.extras.movingDeviation
    else { return }
    let epsilon = Scalar(n.epsilon)
    let (renormOld, old) = (Scalar(control.renormWeightOfOld), Scalar(control.weightOfOld))
    let (renormNew, new) = (Scalar(1 - control.renormWeightOfOld), Scalar(1 - control.weightOfOld))
    let (rmin, rmax, dmax) = (Scalar(control.rmin), Scalar(control.rmax), Scalar(control.dmax))
    for i in 0..<n.count {
      let batchDeviation = (n.variance[i] + epsilon).squareRoot()
      let given = max(deviation[i], epsilon.squareRoot())
      let r = min(max(batchDeviation / given, rmin), rmax)
      let d = min(max(((n.mean[i] - mean[i]) + n.meanLow[i]) / given, -dmax), dmax)
      let gamma = n.gamma?[i] ?? 1
      n.extras.r[i] = r
      n.extras.d[i] = d
      n.extras.gamma[i] = gamma * r
      n.extras.beta[i] = gamma * d + (n.beta?[i] ?? 0)
      guard control.updatesStatistics else { continue }
      mean[i] = renormOld * mean[i] + renormNew * n.mean[i]
      deviation[i] = renormOld * deviation[i] + renormNew * batchDeviation
      n.movingMean[i] = old * n.movingMean[i] + new * n.mean[i]
      movingDeviation[i] = old * movingDeviation[i] + new * batchDeviation
      n.movingVariance[i] = max(movingDeviation[i] * movingDeviation[i] - epsilon, 0)
    }
  }

  // MARK: Ghost batches

  /// The rows of ghost batch `group` of `count`, whole samples each.
  @inline(__always)
  private func rows(_ group: Int, of count: Int, _ view: MatrixView<Scalar>, _ positions: Int) -> Range<Int> {
    let samples = view.rows / positions
    return group * samples / count * positions..<(group + 1) * samples / count * positions
  }

  private func normalizeGroups(
    _ n: BoundNormalization<Scalar>, _ control: NormalizationControl, _ input: MatrixView<Scalar>,
    _ output: MatrixView<Scalar>
  ) {
    let groups = control.groups(rows: input.rows)
    for group in 0..<groups {
      let mean = n.extras.groups + 4 * group * n.count
      let (low, variance, inverse) = (mean + n.count, mean + 2 * n.count, mean + 3 * n.count)
      let rows = rows(group, of: groups, input, control.positions)
      let x = input.rows(rows)
      moments(x, mean, low, variance, n.workspace)
      inverseDeviation(variance, n.epsilon, inverse, n.count)
      normalize(
        x, mean, low, inverse, n.gamma, n.beta, output.rows(rows), n.relu, n.mask?.rows(from: rows.lowerBound), false)
    }
    guard control.updatesStatistics else { return }
    // The moments of the whole batch: variance within the groups and between them.
    for i in 0..<n.count {
      func weight(_ group: Int) -> Double {
        Double(rows(group, of: groups, input, control.positions).count) / Double(input.rows)
      }
      func mean(_ group: Int) -> Double {
        let place = n.extras.groups + 4 * group * n.count + i
        return Double(place[0]) + Double(place[n.count])
      }
      var whole = 0.0
      for group in 0..<groups { whole += weight(group) * (mean(group) - mean(0)) }
      whole += mean(0)
      var variance = 0.0
      for group in 0..<groups {
        let distance = mean(group) - whole
        let within = Double(n.extras.groups[(4 * group + 2) * n.count + i])
        variance += weight(group) * (within + distance * distance)
      }
      n.mean[i] = Scalar(whole)
      n.variance[i] = Scalar(variance)
    }
    updateRunningStatistics(n, control, rows: input.rows)
  }

  private func backwardGroups(
    _ n: BoundNormalization<Scalar>, _ control: NormalizationControl, _ input: MatrixView<Scalar>,
    _ gradient: MatrixView<Scalar>
  ) {
    let groups = control.groups(rows: input.rows)
    for group in 0..<groups {
      let mean = n.extras.groups + 4 * group * n.count
      let rows = rows(group, of: groups, input, control.positions)
      let dy = gradient.rows(rows)
      let (dGamma, dBeta) = group == 0 ? (n.gammaGradient, n.betaGradient) : (n.extras.gamma, n.extras.beta)
      normalizationBackward(
        dy, input.rows(rows), n.mask?.rows(from: rows.lowerBound), mean, mean + n.count, mean + 3 * n.count, n.gamma,
        dGamma,
        dBeta, dy, n.maskInput)
      guard group > 0 else { continue }
      for i in 0..<n.count {
        n.gammaGradient[i] += dGamma[i]
        n.betaGradient[i] += dBeta[i]
      }
    }
  }
}
