internal import CKernelShims
import KernelInterface

// MARK: One vector

/// f(x).
@inline(__always)
private func value(_ kind: ElementwiseActivation, _ x: Vector, _ alpha: Scalar) -> Vector {
  switch kind {
  case .linear: return x
  case .relu: return lam_max(x, Vector.zero)
  case .leakyReLU: return lam_select_less(Vector.zero, x, x, splat(alpha) * x)
  case .elu: return lam_select_less(Vector.zero, x, x, splat(alpha) * exponentialMinusOne(x))
  case .selu:
    let negative = constant(ElementwiseActivation.seluScale * ElementwiseActivation.seluAlpha)
    return lam_select_less(
      Vector.zero, x, constant(ElementwiseActivation.seluScale) * x, negative * exponentialMinusOne(x))
  case .gelu:
    // Clamped where the tail is 0, so that infinities do not meet it as ∞·0.
    let product = lam_max(lam_min(x, constant(40)), constant(-40)) * normalTail(lam_abs(x)).tail
    return lam_select_less(Vector.zero, x, x - product, product)
  case .sigmoid: return logistic(x)
  case .tanh: return hyperbolicTangent(x)
  }
}

/// dy·f′, from y = f(x), or from x where the kind needs its input.
@inline(__always)
private func gradient(_ kind: ElementwiseActivation, _ dy: Vector, _ saved: Vector, _ alpha: Scalar) -> Vector {
  let one = constant(1)
  switch kind {
  case .linear: return dy
  case .relu: return lam_zero_where_not_positive(saved, dy)
  case .leakyReLU: return dy * lam_select_less(Vector.zero, saved, one, splat(alpha))
  case .elu: return dy * lam_select_less(Vector.zero, saved, one, saved + splat(alpha))
  case .selu:
    let scale = constant(ElementwiseActivation.seluScale)
    let negative = constant(ElementwiseActivation.seluScale * ElementwiseActivation.seluAlpha)
    return dy * lam_select_less(Vector.zero, saved, scale, saved + negative)
  case .gelu:
    // f′ = Φ(x) + x·φ(x).
    let x = lam_max(lam_min(saved, constant(40)), constant(-40))
    let (tail, power) = normalTail(lam_abs(x))
    let distribution = lam_select_less(Vector.zero, x, one - tail, tail)
    return dy * lam_multiply_add(x * power, constant(0.3989422804014327), distribution)
  case .sigmoid: return dy * (saved * (one - saved))
  case .tanh: return dy * ((one - saved) * (one + saved))
  }
}

// MARK: A matrix

@inline(__always)
private func activateStrip(
  _ kind: ElementwiseActivation, _ x: Pointer, _ bias: ConstPointer?, _ y: Pointer, _ alpha: Scalar, _ count: Int
) {
  var v = load(x, count)
  if let bias {
    v += load(bias, count)
    // Not `kind.gradientNeedsInput`: another module's property would be called for every vector.
    if case .gelu = kind { store(x, v, count) }
  }
  store(y, value(kind, v, alpha), count)
}

@inline(__always)
private func activateRows(
  _ kind: ElementwiseActivation, _ x: MatrixView<Scalar>, _ bias: ConstPointer?, _ y: MatrixView<Scalar>,
  _ alpha: Scalar
) {
  var xRow = x.base
  var yRow = y.base
  for _ in 0..<x.rows {
    var column = 0
    while column + lanes <= x.columns {
      activateStrip(kind, xRow + column, offset(bias, column), yRow + column, alpha, lanes)
      column += lanes
    }
    if column < x.columns {
      activateStrip(kind, xRow + column, offset(bias, column), yRow + column, alpha, x.columns - column)
    }
    xRow += x.stride
    yRow += y.stride
  }
}

/// f(x + bias) where f costs less than the memory: four vectors are loaded before the first is stored.
///
/// `@_transparent`: merely asked to inline, the compiler keeps one loop for all kinds and asks of every four vectors
/// which it is.
@_transparent
private func streamRows(
  _ kind: ElementwiseActivation, _ x: MatrixView<Scalar>, _ bias: ConstPointer?, _ y: MatrixView<Scalar>,
  _ alpha: Scalar
) {
  var xRow = x.base
  var yRow = y.base
  for _ in 0..<x.rows {
    var column = 0
    if let bias {
      while column &+ 4 &* lanes <= x.columns {
        let (p, b, q) = (xRow + column, bias + column, yRow + column)
        let first = lam_load(p) + lam_load(b)
        let second = lam_load(p + lanes) + lam_load(b + lanes)
        let third = lam_load(p + 2 &* lanes) + lam_load(b + 2 &* lanes)
        let fourth = lam_load(p + 3 &* lanes) + lam_load(b + 3 &* lanes)
        lam_store(q, value(kind, first, alpha))
        lam_store(q + lanes, value(kind, second, alpha))
        lam_store(q + 2 &* lanes, value(kind, third, alpha))
        lam_store(q + 3 &* lanes, value(kind, fourth, alpha))
        column &+= 4 &* lanes
      }
    }
    while column < x.columns {
      let count = x.columns &- column < lanes ? x.columns &- column : lanes
      activateStrip(kind, xRow + column, offset(bias, column), yRow + column, alpha, count)
      column &+= lanes
    }
    xRow += x.stride
    yRow += y.stride
  }
}

// Functions of their own, so that nothing is read back from the stack between rows: that costs a loop that is bound by
// the memory an eighth.

@inline(never)
private func streamLinear(_ x: MatrixView<Scalar>, _ bias: ConstPointer?, _ y: MatrixView<Scalar>) {
  streamRows(.linear, x, bias, y, 0)
}

@inline(never)
private func streamReLU(_ x: MatrixView<Scalar>, _ bias: ConstPointer?, _ y: MatrixView<Scalar>) {
  streamRows(.relu, x, bias, y, 0)
}

@inline(never)
private func streamLeakyReLU(
  _ x: MatrixView<Scalar>, _ bias: ConstPointer?, _ y: MatrixView<Scalar>, _ alpha: Scalar
) {
  streamRows(.leakyReLU, x, bias, y, alpha)
}

func activate(
  _ x: MatrixView<Scalar>, _ bias: ConstPointer?, _ y: MatrixView<Scalar>, _ kind: ElementwiseActivation,
  _ alpha: Double
) {
  let alpha = Scalar(alpha)
  switch kind {
  case .linear: streamLinear(x, bias, y)
  case .relu: streamReLU(x, bias, y)
  case .leakyReLU: streamLeakyReLU(x, bias, y, alpha)
  case .elu: activateRows(.elu, x, bias, y, alpha)
  case .selu: activateRows(.selu, x, bias, y, alpha)
  case .gelu: activateRows(.gelu, x, bias, y, alpha)
  case .sigmoid: activateRows(.sigmoid, x, bias, y, alpha)
  case .tanh: activateRows(.tanh, x, bias, y, alpha)
  }
}

@inline(__always)
private func gradientRows(
  _ kind: ElementwiseActivation, _ dy: MatrixView<Scalar>, _ saved: MatrixView<Scalar>, _ dx: MatrixView<Scalar>,
  _ alpha: Scalar
) {
  var dyRow = dy.base
  var savedRow = saved.base
  var dxRow = dx.base
  for _ in 0..<dy.rows {
    var column = 0
    while column + lanes <= dy.columns {
      let v = gradient(kind, lam_load(dyRow + column), lam_load(savedRow + column), alpha)
      lam_store(dxRow + column, v)
      column += lanes
    }
    if column < dy.columns {
      let count = dy.columns - column
      let v = gradient(kind, load(dyRow + column, count), load(savedRow + column, count), alpha)
      store(dxRow + column, v, count)
    }
    dyRow += dy.stride
    savedRow += saved.stride
    dxRow += dx.stride
  }
}

func activateBackward(
  _ dy: MatrixView<Scalar>, _ saved: MatrixView<Scalar>, _ dx: MatrixView<Scalar>, _ kind: ElementwiseActivation,
  _ alpha: Double
) {
  let alpha = Scalar(alpha)
  switch kind {
  case .linear: gradientRows(.linear, dy, saved, dx, alpha)
  case .relu: gradientRows(.relu, dy, saved, dx, alpha)
  case .leakyReLU: gradientRows(.leakyReLU, dy, saved, dx, alpha)
  case .elu: gradientRows(.elu, dy, saved, dx, alpha)
  case .selu: gradientRows(.selu, dy, saved, dx, alpha)
  case .gelu: gradientRows(.gelu, dy, saved, dx, alpha)
  case .sigmoid: gradientRows(.sigmoid, dy, saved, dx, alpha)
  case .tanh: gradientRows(.tanh, dy, saved, dx, alpha)
  }
}

// MARK: Arrays

func exponentials(_ x: ConstPointer, _ y: Pointer, _ count: Int) {
  var i = 0
  while i + lanes <= count {
    lam_store(y + i, exponential(lam_load(x + i)))
    i += lanes
  }
  if i < count { store(y + i, exponential(load(x + i, count - i)), count - i) }
}

func logarithms(_ x: ConstPointer, _ y: Pointer, _ count: Int) {
  var i = 0
  while i + lanes <= count {
    lam_store(y + i, logarithm(lam_load(x + i)))
    i += lanes
  }
  if i < count { store(y + i, logarithm(load(x + i, count - i)), count - i) }
}

func hyperbolicTangents(_ x: ConstPointer, _ y: Pointer, _ count: Int) {
  var i = 0
  while i + lanes <= count {
    lam_store(y + i, hyperbolicTangent(lam_load(x + i)))
    i += lanes
  }
  if i < count { store(y + i, hyperbolicTangent(load(x + i, count - i)), count - i) }
}

func logistics(_ x: ConstPointer, _ y: Pointer, _ count: Int) {
  var i = 0
  while i + lanes <= count {
    lam_store(y + i, logistic(lam_load(x + i)))
    i += lanes
  }
  if i < count { store(y + i, logistic(load(x + i, count - i)), count - i) }
}
