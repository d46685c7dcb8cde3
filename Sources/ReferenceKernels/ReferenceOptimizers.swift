import KernelInterface

// Parameter updates, as in `OptimizerKernels`.
extension ReferenceKernels {
  /// SGD: w = decay·w − learningRate·g.
  @inlinable
  public static func sgd<T: BinaryFloatingPoint>(
    _ w: UnsafeMutablePointer<T>, _ g: UnsafePointer<T>, _ count: Int, _ learningRate: Double, _ decay: Double
  ) {
    for i in 0..<count { w[i] = T(decay) * w[i] - T(learningRate) * g[i] }
  }

  /// SGD with momentum: v = momentum·v − learningRate·g; w = decay·w + v, or with Nesterov + momentum·v − learningRate·g.
  @inlinable
  public static func momentum<T: BinaryFloatingPoint>(
    _ w: UnsafeMutablePointer<T>, _ g: UnsafePointer<T>, _ velocity: UnsafeMutablePointer<T>, _ count: Int,
    _ learningRate: Double, _ momentum: Double, _ nesterov: Bool, _ decay: Double
  ) {
    for i in 0..<count {
      let step = T(learningRate) * g[i]
      velocity[i] = T(momentum) * velocity[i] - step
      w[i] = T(decay) * w[i] + (nesterov ? T(momentum) * velocity[i] - step : velocity[i])
    }
  }

  /// Adam: m += (1 − β₁)(g − m); v += (1 − β₂)(g² − v); w = decay·w − alpha·m/(√v + ε).
  @inlinable
  public static func adam<T: BinaryFloatingPoint>(
    _ w: UnsafeMutablePointer<T>, _ g: UnsafePointer<T>, _ m: UnsafeMutablePointer<T>, _ v: UnsafeMutablePointer<T>,
    _ count: Int, _ alpha: Double, _ beta1: Double, _ beta2: Double, _ epsilon: Double, _ decay: Double
  ) {
    for i in 0..<count {
      m[i] += T(1 - beta1) * (g[i] - m[i])
      v[i] += T(1 - beta2) * (g[i] * g[i] - v[i])
      w[i] = T(decay) * w[i] - T(alpha) * m[i] / (v[i].squareRoot() + T(epsilon))
    }
  }

  /// RMSprop, optionally centered (`average`) and with momentum (`velocity`).
  @inlinable
  public static func rmsprop<T: BinaryFloatingPoint>(
    _ w: UnsafeMutablePointer<T>, _ g: UnsafePointer<T>, _ v: UnsafeMutablePointer<T>,
    _ velocity: UnsafeMutablePointer<T>?, _ average: UnsafeMutablePointer<T>?, _ count: Int, _ learningRate: Double,
    _ rho: Double, _ momentum: Double, _ epsilon: Double, _ decay: Double
  ) {
    for i in 0..<count {
      v[i] = T(rho) * v[i] + T(1 - rho) * g[i] * g[i]
      var variance = v[i]
      if let average {
        average[i] = T(rho) * average[i] + T(1 - rho) * g[i]
        variance = max(variance - average[i] * average[i], 0)
      }
      var update = T(learningRate) * g[i] / (variance + T(epsilon)).squareRoot()
      if let velocity {
        velocity[i] = T(momentum) * velocity[i] + update
        update = velocity[i]
      }
      w[i] = T(decay) * w[i] - update
    }
  }
}
