internal import CKernelShims
import KernelInterface

// Every update is one function over vectors, applied to whole vectors and, padded, to the tail: the result of an
// element does not depend on where a parameter store is cut.

func installOptimizers(_ table: OptimizerKernels<Scalar>) {
  table.sgd = sgd
  table.momentum = momentum
  table.adam = adam
  table.rmsprop = rmsprop
}

// MARK: SGD

func sgd(_ w: Pointer, _ g: ConstPointer, _ count: Int, _ learningRate: Double, _ decay: Double) {
  let rate = Vector(repeating: Scalar(-learningRate))
  let decay = Vector(repeating: Scalar(decay))
  var i = 0
  while i + lanes <= count {
    lam_store(w + i, lam_multiply_add(rate, lam_load(g + i), decay * lam_load(w + i)))
    i += lanes
  }
  let rest = count - i
  if rest > 0 {
    let updated = lam_multiply_add(
      rate, lam_load_partial(g + i, rest, 0), decay * lam_load_partial(w + i, rest, 0))
    lam_store_partial(w + i, updated, rest)
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
    rate: Vector(repeating: Scalar(-learningRate)), momentum: Vector(repeating: Scalar(momentum)),
    decay: Vector(repeating: Scalar(decay)))
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
    let gradient = lam_load_partial(g + i, rest, 0)
    let moved = step.velocity(lam_load_partial(velocity + i, rest, 0), gradient)
    lam_store_partial(velocity + i, moved, rest)
    lam_store_partial(w + i, step.weights(lam_load_partial(w + i, rest, 0), gradient, moved, nesterov), rest)
  }
}

// MARK: Adam

private struct AdamStep {
  let alpha: Vector
  let newFirst: Vector
  let newSecond: Vector
  let epsilon: Vector
  let decay: Vector

  @inline(__always)
  func first(_ m: Vector, _ g: Vector) -> Vector { lam_multiply_add(newFirst, g - m, m) }

  @inline(__always)
  func second(_ v: Vector, _ g: Vector) -> Vector { lam_multiply_add(newSecond, g * g - v, v) }

  @inline(__always)
  func weights(_ w: Vector, _ m: Vector, _ v: Vector) -> Vector {
    lam_multiply_add(decay, w, alpha * m / (lam_sqrt(v) + epsilon))
  }
}

func adam(
  _ w: Pointer, _ g: ConstPointer, _ m: Pointer, _ v: Pointer, _ count: Int, _ alpha: Double, _ beta1: Double,
  _ beta2: Double, _ epsilon: Double, _ decay: Double
) {
  let step = AdamStep(
    alpha: Vector(repeating: Scalar(-alpha)), newFirst: Vector(repeating: Scalar(1 - beta1)),
    newSecond: Vector(repeating: Scalar(1 - beta2)), epsilon: Vector(repeating: Scalar(epsilon)),
    decay: Vector(repeating: Scalar(decay)))
  var i = 0
  while i + lanes <= count {
    let gradient = lam_load(g + i)
    let first = step.first(lam_load(m + i), gradient)
    let second = step.second(lam_load(v + i), gradient)
    lam_store(m + i, first)
    lam_store(v + i, second)
    lam_store(w + i, step.weights(lam_load(w + i), first, second))
    i += lanes
  }
  let rest = count - i
  if rest > 0 {
    let gradient = lam_load_partial(g + i, rest, 0)
    let first = step.first(lam_load_partial(m + i, rest, 0), gradient)
    let second = step.second(lam_load_partial(v + i, rest, 0), gradient)
    lam_store_partial(m + i, first, rest)
    lam_store_partial(v + i, second, rest)
    lam_store_partial(w + i, step.weights(lam_load_partial(w + i, rest, 0), first, second), rest)
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
  func update(_ g: Vector, _ variance: Vector) -> Vector { rate * g / lam_sqrt(variance + epsilon) }

  // The variance of a constant gradient is 0 but for rounding, whose sign must not reach the root.
  @inline(__always)
  func centered(_ v: Vector, _ a: Vector) -> Vector { lam_max(v - a * a, Vector.zero) }
}

func rmsprop(
  _ w: Pointer, _ g: ConstPointer, _ v: Pointer, _ velocity: Pointer?, _ average: Pointer?, _ count: Int,
  _ learningRate: Double, _ rho: Double, _ momentum: Double, _ epsilon: Double, _ decay: Double
) {
  let step = RMSpropStep(
    rate: Vector(repeating: Scalar(learningRate)), rho: Vector(repeating: Scalar(rho)),
    new: Vector(repeating: Scalar(1 - rho)), momentum: Vector(repeating: Scalar(momentum)),
    epsilon: Vector(repeating: Scalar(epsilon)), decay: Vector(repeating: Scalar(decay)))
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
    let gradient = lam_load_partial(g + i, rest, 0)
    let second = step.second(lam_load_partial(v + i, rest, 0), gradient)
    lam_store_partial(v + i, second, rest)
    var variance = second
    if let average {
      let mean = step.average(lam_load_partial(average + i, rest, 0), gradient)
      lam_store_partial(average + i, mean, rest)
      variance = step.centered(second, mean)
    }
    var update = step.update(gradient, variance)
    if let velocity {
      update = lam_multiply_add(step.momentum, lam_load_partial(velocity + i, rest, 0), update)
      lam_store_partial(velocity + i, update, rest)
    }
    lam_store_partial(w + i, step.decay * lam_load_partial(w + i, rest, 0) - update, rest)
  }
}
