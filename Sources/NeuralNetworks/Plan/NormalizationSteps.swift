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
        apply(
          n, input, mean: n.movingMean, meanLow: n.zeros, inverseDeviation: n.inverseDeviation, gamma: n.gamma,
          beta: n.beta, mask: nil, into: output)
      } else {
        takeMoments(n, input, weights: nil, into: n.statistics)
        apply(n, input, gamma: n.gamma, beta: n.beta, mask: nil, into: output)
      }
    } else if !control.usesBatchStatistics {
      normalizeByRunningStatistics(n, control, input, output)
    } else if control.groups(values: input.rows * n.inner) > 1 {
      normalizeGroups(n, control, input, output)
    } else {
      takeMoments(n, input, weights: control.weights, into: n.statistics)
      if control.renormalizes {
        renormalize(n, control)
        apply(n, input, gamma: n.extras.gamma, beta: n.extras.beta, mask: n.mask, into: output)
      } else {
        apply(n, input, gamma: n.gamma, beta: n.beta, mask: n.mask, into: output)
        if control.updatesStatistics { updateRunningStatistics(n, control, rows: input.rows) }
      }
    }
  }

  /// `apply` by the statistics of the batch.
  private func apply(
    _ n: BoundNormalization<Scalar>, _ input: MatrixView<Scalar>, gamma: UnsafePointer<Scalar>?,
    beta: UnsafePointer<Scalar>?, mask: BitMatrixView?, into output: MatrixView<Scalar>
  ) {
    apply(
      n, input, mean: n.mean, meanLow: n.meanLow, inverseDeviation: n.inverseDeviation, gamma: gamma, beta: beta,
      mask: mask, into: output)
  }

  /// Backward by the layer's control, into `result`, which may be `gradient`.
  func normalizeBackwardByOptions(
    _ n: BoundNormalization<Scalar>, _ input: MatrixView<Scalar>, _ gradient: MatrixView<Scalar>,
    _ result: MatrixView<Scalar>
  ) {
    let control = n.control.pointee
    let ofBatch = StatisticsGradient.batch(weights: control.weights, rowsPerWeight: n.rowsPerSample)
    if !control.usesBatchStatistics {
      differentiate(n, gradient, input, .given, gamma: n.gamma, into: result)
    } else if control.groups(values: input.rows * n.inner) > 1 {
      backwardGroups(n, control, input, gradient, result)
    } else if control.renormalizes {
      differentiate(n, gradient, input, ofBatch, gamma: n.extras.gamma, into: result)
      // y = γ·r·x̂ + γ·d + β: dγ = r·dγ′ + d·dβ′.
      for i in 0..<n.count {
        n.gammaGradient[i] = n.extras.r[i] * n.gammaGradient[i] + n.extras.d[i] * n.betaGradient[i]
      }
    } else {
      differentiate(n, gradient, input, ofBatch, gamma: n.gamma, into: result)
    }
    addPenaltyGradient(n.gamma, n.gammaGradient, n.count, control.gammaFactors)
    addPenaltyGradient(n.beta, n.betaGradient, n.count, control.betaFactors)
  }

  /// `differentiate` by the statistics that the forward pass left.
  private func differentiate(
    _ n: BoundNormalization<Scalar>, _ gradient: MatrixView<Scalar>, _ input: MatrixView<Scalar>,
    _ path: StatisticsGradient, gamma: UnsafePointer<Scalar>?, into result: MatrixView<Scalar>
  ) {
    differentiate(
      n, gradient, input, mask: n.mask, by: n.statistics, path, gamma: gamma, dGamma: n.gammaGradient,
      dBeta: n.betaGradient, dx: result)
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

  /// Takes the moments in `n.mean` and `n.variance` of `rows` rows of the layer's matrices into the running statistics.
  private func updateRunningStatistics(_ n: BoundNormalization<Scalar>, _ control: NormalizationControl, rows: Int) {
    updateMovingAverage(n.movingMean, n.mean, control.weightOfOld, n.count)
    guard control.isUnbiased else {
      updateMovingAverage(n.movingVariance, n.variance, control.weightOfOld, n.count)
      return
    }
    // Weights count as numbers of rows.
    let count = control.weights == nil ? Double(rows * n.inner) : control.weightSum * Double(control.positions)
    let factor = Scalar(count > 1 ? count / (count - 1) : 1)
    for i in 0..<n.count { n.extras.gamma[i] = factor * n.variance[i] }
    updateMovingAverage(n.movingVariance, n.extras.gamma, control.weightOfOld, n.count)
  }

  /// Normalizes by the running statistics as they are, kept for the backward pass, and updates them then.
  private func normalizeByRunningStatistics(
    _ n: BoundNormalization<Scalar>, _ control: NormalizationControl, _ input: MatrixView<Scalar>,
    _ output: MatrixView<Scalar>
  ) {
    if control.updatesStatistics {
      // The batch's moments take the place of the statistics that the batch is normalized by: those are set aside.
      let (mean, variance) = (n.extras.r, n.extras.d)
      mean.update(from: n.movingMean, count: n.count)
      variance.update(from: n.movingVariance, count: n.count)
      takeMoments(n, input, weights: control.weights, into: n.statistics)
      updateRunningStatistics(n, control, rows: input.rows)
      n.mean.update(from: mean, count: n.count)
      inverseDeviation(variance, n.epsilon, n.inverseDeviation, n.count)
    } else {
      n.mean.update(from: n.movingMean, count: n.count)
      inverseDeviation(n.movingVariance, n.epsilon, n.inverseDeviation, n.count)
    }
    n.meanLow.update(from: n.zeros, count: n.count)
    apply(n, input, gamma: n.gamma, beta: n.beta, mask: n.mask, into: output)
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
  private func rows(
    _ group: Int, of count: Int, _ view: MatrixView<Scalar>, _ n: BoundNormalization<Scalar>
  ) -> Range<Int> {
    let perSample = n.rowsPerSample
    let samples = view.rows / perSample
    return group * samples / count * perSample..<(group + 1) * samples / count * perSample
  }

  /// The statistics of ghost batch `group`.
  @inline(__always)
  private func statistics(_ group: Int, _ n: BoundNormalization<Scalar>) -> FeatureStatistics<Scalar> {
    let mean = n.extras.groups + 4 * group * n.count
    return FeatureStatistics(
      mean: mean, meanLow: mean + n.count, variance: mean + 2 * n.count, inverseDeviation: mean + 3 * n.count)
  }

  private func normalizeGroups(
    _ n: BoundNormalization<Scalar>, _ control: NormalizationControl, _ input: MatrixView<Scalar>,
    _ output: MatrixView<Scalar>
  ) {
    let groups = control.groups(values: input.rows * n.inner)
    for group in 0..<groups {
      let own = statistics(group, n)
      let rows = rows(group, of: groups, input, n)
      takeMoments(n, input.rows(rows), weights: nil, into: own)
      apply(
        n, input.rows(rows), mean: own.mean, meanLow: own.meanLow, inverseDeviation: own.inverseDeviation,
        gamma: n.gamma, beta: n.beta, mask: n.mask?.rows(from: rows.lowerBound), into: output.rows(rows))
    }
    guard control.updatesStatistics else { return }
    // The moments of the whole batch: variance within the groups and between them. Means are distances from the first.
    let (distances, squares) = (n.workspace, n.workspace + n.count)
    let first = statistics(0, n)
    for i in 0..<n.count { (distances[i], squares[i]) = (0, 0) }
    for group in 0..<groups {
      let own = statistics(group, n)
      let weight = Double(rows(group, of: groups, input, n).count) / Double(input.rows)
      for i in 0..<n.count {
        let distance =
          (Double(own.mean[i]) - Double(first.mean[i])) + (Double(own.meanLow[i]) - Double(first.meanLow[i]))
        distances[i] += weight * distance
        squares[i] += weight * (Double(own.variance[i]) + distance * distance)
      }
    }
    for i in 0..<n.count {
      n.mean[i] = Scalar(Double(first.mean[i]) + (Double(first.meanLow[i]) + distances[i]))
      n.variance[i] = Scalar(max(squares[i] - distances[i] * distances[i], 0))
    }
    updateRunningStatistics(n, control, rows: input.rows)
  }

  private func backwardGroups(
    _ n: BoundNormalization<Scalar>, _ control: NormalizationControl, _ input: MatrixView<Scalar>,
    _ gradient: MatrixView<Scalar>, _ result: MatrixView<Scalar>
  ) {
    let groups = control.groups(values: input.rows * n.inner)
    for group in 0..<groups {
      let rows = rows(group, of: groups, input, n)
      let (dGamma, dBeta) = group == 0 ? (n.gammaGradient, n.betaGradient) : (n.extras.gamma, n.extras.beta)
      differentiate(
        n, gradient.rows(rows), input.rows(rows), mask: n.mask?.rows(from: rows.lowerBound), by: statistics(group, n),
        .batch(weights: nil, rowsPerWeight: 1), gamma: n.gamma, dGamma: dGamma, dBeta: dBeta, dx: result.rows(rows))
      guard group > 0 else { continue }
      for i in 0..<n.count {
        n.gammaGradient[i] += dGamma[i]
        n.betaGradient[i] += dBeta[i]
      }
    }
  }
}
