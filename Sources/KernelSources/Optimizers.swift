internal import CKernelShims
import KernelInterface

// Every update is one function over vectors, applied to whole vectors and, padded, to the tail: the result of an
// element does not depend on where a parameter store is cut.

// With AVX-512 divisions are products with a reciprocal: the divider would take longer than the memory.

// MARK: SGD

func sgd(_ w: Pointer, _ g: ConstPointer, _ count: Int, _ learningRate: Double, _ decay: Double) {
  let rate = splat(Scalar(-learningRate))
  let decay = splat(Scalar(decay))
  var i = 0
  while i + lanes <= count {
    lam_store(w + i, lam_multiply_add(rate, lam_load(g + i), decay * lam_load(w + i)))
    i += lanes
  }
  let rest = count - i
  if rest > 0 {
    let updated = lam_multiply_add(
      rate, load(g + i, rest), decay * load(w + i, rest))
    store(w + i, updated, rest)
  }
}

// MARK: Momentum

private struct MomentumStep {
  let rate: Vector
  let momentum: Vector
  let decay: Vector

  @inline(__always)
  func velocity(_ v: Vector, _ g: Vector) -> Vector { lam_multiply_add(momentum, v, rate * g) }

  @inline(__always)
  func weights(_ w: Vector, _ g: Vector, _ v: Vector, _ nesterov: Bool) -> Vector {
    lam_multiply_add(decay, w, nesterov ? lam_multiply_add(momentum, v, rate * g) : v)
  }
}

func momentum(
  _ w: Pointer, _ g: ConstPointer, _ velocity: Pointer, _ count: Int, _ learningRate: Double, _ momentum: Double,
  _ nesterov: Bool, _ decay: Double
) {
  let step = MomentumStep(
    rate: splat(Scalar(-learningRate)), momentum: splat(Scalar(momentum)),
    decay: splat(Scalar(decay)))
  var i = 0
  while i + lanes <= count {
    let gradient = lam_load(g + i)
    let moved = step.velocity(lam_load(velocity + i), gradient)
    lam_store(velocity + i, moved)
    lam_store(w + i, step.weights(lam_load(w + i), gradient, moved, nesterov))
    i += lanes
  }
  let rest = count - i
  if rest > 0 {
    let gradient = load(g + i, rest)
    let moved = step.velocity(load(velocity + i, rest), gradient)
    store(velocity + i, moved, rest)
    store(w + i, step.weights(load(w + i, rest), gradient, moved, nesterov), rest)
  }
}

// MARK: Adam

extension lam_adam_step {
  @inline(__always)
  init(_ alpha: Double, _ beta1: Double, _ beta2: Double, _ epsilon: Double, _ decay: Double) {
    self.init(
      alpha: Scalar(-alpha), new_first: Scalar(1 - beta1), new_second: Scalar(1 - beta2), epsilon: Scalar(epsilon),
      decay: Scalar(decay))
  }

  @inline(__always)
  func first(_ m: Vector, _ g: Vector) -> Vector { lam_multiply_add(splat(new_first), g - m, m) }

  @inline(__always)
  func second(_ v: Vector, _ g: Vector) -> Vector {
    lam_multiply_add(splat(new_second), lam_multiply_subtract(g, g, v), v)
  }

  /// Whether weights decay: where they don't, a multiplication is saved.
  @inline(__always) var decays: Bool { decay != 1 }

  @inline(__always)
  func weights(_ w: Vector, _ m: Vector, _ v: Vector, decays: Bool) -> Vector {
    lam_add_quotient(w, splat(decay), splat(alpha) * m, lam_sqrt(v) + splat(epsilon), decays)
  }
}

func adam(
  _ w: Pointer, _ g: ConstPointer, _ m: Pointer, _ v: Pointer, _ count: Int, _ alpha: Double, _ beta1: Double,
  _ beta2: Double, _ epsilon: Double, _ decay: Double
) {
  let step = lam_adam_step(alpha, beta1, beta2, epsilon, decay)
  if step.decays { adam(w, g, m, v, count, step, decays: true) } else { adam(w, g, m, v, count, step, decays: false) }
}

@inline(__always)
private func adam(
  _ w: Pointer, _ g: ConstPointer, _ m: Pointer, _ v: Pointer, _ count: Int, _ step: lam_adam_step, decays: Bool
) {
  var i = 0
  while i + lanes <= count {
    let gradient = lam_load(g + i)
    let first = step.first(lam_load(m + i), gradient)
    let second = step.second(lam_load(v + i), gradient)
    lam_store(m + i, first)
    lam_store(v + i, second)
    lam_store(w + i, step.weights(lam_load(w + i), first, second, decays: decays))
    i += lanes
  }
  let rest = count - i
  if rest > 0 {
    let gradient = load(g + i, rest)
    let first = step.first(load(m + i, rest), gradient)
    let second = step.second(load(v + i, rest), gradient)
    store(m + i, first, rest)
    store(v + i, second, rest)
    store(w + i, step.weights(load(w + i, rest), first, second, decays: decays), rest)
  }
}

// MARK: RMSprop

private struct RMSpropStep {
  let rate: Vector
  let rho: Vector
  let new: Vector
  let momentum: Vector
  let epsilon: Vector
  let decay: Vector

  @inline(__always)
  func second(_ v: Vector, _ g: Vector) -> Vector { lam_multiply_add(new, g * g, rho * v) }

  @inline(__always)
  func average(_ a: Vector, _ g: Vector) -> Vector { lam_multiply_add(new, g, rho * a) }

  @inline(__always)
  func update(_ g: Vector, _ variance: Vector) -> Vector {
    lam_quotient(rate * g, lam_sqrt(variance + epsilon))
  }

  // The variance of a constant gradient is 0 but for rounding, whose sign must not reach the root.
  @inline(__always)
  func centered(_ v: Vector, _ a: Vector) -> Vector { lam_max(v - a * a, Vector.zero) }
}

func rmsprop(
  _ w: Pointer, _ g: ConstPointer, _ v: Pointer, _ velocity: Pointer?, _ average: Pointer?, _ count: Int,
  _ learningRate: Double, _ rho: Double, _ momentum: Double, _ epsilon: Double, _ decay: Double
) {
  let step = RMSpropStep(
    rate: splat(Scalar(learningRate)), rho: splat(Scalar(rho)),
    new: splat(Scalar(1 - rho)), momentum: splat(Scalar(momentum)),
    epsilon: splat(Scalar(epsilon)), decay: splat(Scalar(decay)))
  var i = 0
  while i + lanes <= count {
    let gradient = lam_load(g + i)
    let second = step.second(lam_load(v + i), gradient)
    lam_store(v + i, second)
    var variance = second
    if let average {
      let mean = step.average(lam_load(average + i), gradient)
      lam_store(average + i, mean)
      variance = step.centered(second, mean)
    }
    var update = step.update(gradient, variance)
    if let velocity {
      update = lam_multiply_add(step.momentum, lam_load(velocity + i), update)
      lam_store(velocity + i, update)
    }
    lam_store(w + i, step.decay * lam_load(w + i) - update)
    i += lanes
  }
  let rest = count - i
  if rest > 0 {
    let gradient = load(g + i, rest)
    let second = step.second(load(v + i, rest), gradient)
    store(v + i, second, rest)
    var variance = second
    if let average {
      let mean = step.average(load(average + i, rest), gradient)
      store(average + i, mean, rest)
      variance = step.centered(second, mean)
    }
    var update = step.update(gradient, variance)
    if let velocity {
      update = lam_multiply_add(step.momentum, load(velocity + i, rest), update)
      store(velocity + i, update, rest)
    }
    store(w + i, step.decay * load(w + i, rest) - update, rest)
  }
}
