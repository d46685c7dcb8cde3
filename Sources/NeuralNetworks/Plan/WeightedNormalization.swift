import Kernels

/// Batch normalization with a weight for each sample in the moments: plain loops, in Double.
extension StepKernels {
  /// Mean Σwx/Σw and biased variance Σw(x − μ)²/Σw of each column over all rows, by the weights of their samples.
  func weightedMoments(
    _ n: BoundNormalization<Scalar>, _ control: NormalizationControl, _ weights: UnsafePointer<Double>,
    _ input: MatrixView<Scalar>
  ) {
    let means = n.workspace
    let squares = n.workspace + n.count
    let whole = control.weightSum * Double(control.positions)
    // Sums of distances from the first row, so that an offset of the columns costs no digits.
    for i in 0..<2 * n.count { means[i] = 0 }
    for row in 0..<input.rows {
      let weight = weights[row / control.positions]
      let x = input.base + row * input.stride
      for i in 0..<n.count where weight > 0 { means[i] += weight * (Double(x[i]) - Double(input.base[i])) }
    }
    for i in 0..<n.count { means[i] = means[i] / whole + Double(input.base[i]) }
    for row in 0..<input.rows {
      let weight = weights[row / control.positions]
      let x = input.base + row * input.stride
      for i in 0..<n.count where weight > 0 {
        let distance = Double(x[i]) - means[i]
        squares[i] += weight * distance * distance
      }
    }
    for i in 0..<n.count {
      n.mean[i] = Scalar(means[i])
      n.meanLow[i] = Scalar(means[i] - Double(n.mean[i]))
      n.variance[i] = Scalar(squares[i] / whole)
    }
  }

  /// The gradient where row j has weight w of W in the moments, in place of `gradient`.
  ///
  /// dβ = Σdy and dγ = Σdy·x̂ over all rows, dx = γ·(dy − w/W·(dβ + x̂·dγ))/√(σ² + ε).
  func backwardByWeights(
    _ n: BoundNormalization<Scalar>, _ control: NormalizationControl, _ weights: UnsafePointer<Double>,
    _ gamma: UnsafePointer<Scalar>?, _ input: MatrixView<Scalar>, _ gradient: MatrixView<Scalar>
  ) {
    let betaSums = n.workspace
    let gammaSums = n.workspace + n.count
    for i in 0..<2 * n.count { betaSums[i] = 0 }
    func normalized(_ x: UnsafeMutablePointer<Scalar>, _ i: Int) -> Double {
      Double((x[i] - n.mean[i]) - n.meanLow[i]) * Double(n.inverseDeviation[i])
    }
    for row in 0..<gradient.rows {
      let dy = gradient.base + row * gradient.stride
      let x = input.base + row * input.stride
      if let mask = n.mask { clear(dy, where: mask.base + row * mask.stride, n.count) }
      for i in 0..<n.count {
        betaSums[i] += Double(dy[i])
        gammaSums[i] += Double(dy[i]) * normalized(x, i)
      }
    }
    let whole = control.weightSum * Double(control.positions)
    for row in 0..<gradient.rows {
      let share = weights[row / control.positions] / whole
      let dy = gradient.base + row * gradient.stride
      let x = input.base + row * input.stride
      for i in 0..<n.count {
        let scale = Double(n.inverseDeviation[i]) * Double(gamma?[i] ?? 1)
        let slope = Double(dy[i]) - share * (betaSums[i] + normalized(x, i) * gammaSums[i])
        dy[i] = n.maskInput && x[i] <= 0 ? 0 : Scalar(scale * slope)
      }
    }
    for i in 0..<n.count {
      n.betaGradient[i] = Scalar(betaSums[i])
      n.gammaGradient[i] = Scalar(gammaSums[i])
    }
  }

  /// Sets to 0 what the ReLU after the normalization did not let through.
  private func clear(_ dy: UnsafeMutablePointer<Scalar>, where bits: UnsafeMutablePointer<UInt8>, _ count: Int) {
    for i in 0..<count where (bits[i / 8] >> UInt8(i % 8)) & 1 == 0 { dy[i] = 0 }
  }
}
