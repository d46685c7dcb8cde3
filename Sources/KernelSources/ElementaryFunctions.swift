// eˣ, eˣ − 1, ln, tanh, the logistic function and the normal distribution, a vector at a time.
//
// Each reduces its argument by a power of two and evaluates a polynomial near the best one for the interval
// (fitted in 60 digits, then rounded). Errors are at most 2 ulp with fused multiply-add and 3
// without. A NaN gives NaN; results below the normal range are rounded once; those above the range are infinite.

internal import CKernelShims

#if LAMINA_DOUBLE
  // The high part has 41 bits: its product with an exponent of 11 bits is exact without a fused multiply-add too.
  private let ln2High = 0.693147180559663
  private let ln2Low = 2.8235290563031577e-13
  private let exponentialRange = (low: -746.0, high: 710.0)
  private let minusOneLow = -38.0
  private let hyperbolicLimit = 22.0
  private let logisticLimit = 50.0
#else
  // The high part has 15 bits: its product with an exponent of 8 bits is exact without a fused multiply-add too.
  private let ln2High = 0.693145751953125
  private let ln2Low = 1.4286068203094173e-06
  private let exponentialRange = (low: -104.0, high: 89.0)
  private let minusOneLow = -18.0
  private let hyperbolicLimit = 10.0
  private let logisticLimit = 30.0
#endif
private let log2e = 1.4426950408889634

/// One step of Horner's rule: p·x + c.
@inline(__always)
private func horner(_ p: Vector, _ x: Vector, _ c: Double) -> Vector {
  lam_multiply_add(p, x, constant(c))
}

/// A polynomial's even and odd powers apart: two chains of half the length, of which neither waits for the other.
private struct PolynomialParts {
  let square: Vector
  var odd: Vector
  var even: Vector

  /// The two coefficients of the highest powers.
  @inline(__always)
  init(_ square: Vector, _ odd: Double, _ even: Double) {
    (self.square, self.odd, self.even) = (square, constant(odd), constant(even))
  }

  /// The coefficients of the highest power, an even one, and of the two below.
  @inline(__always)
  init(_ square: Vector, highest: Double, _ odd: Double, _ even: Double) {
    (self.square, self.odd) = (square, constant(odd))
    self.even = horner(constant(highest), square, even)
  }

  /// The next two coefficients below.
  @inline(__always)
  mutating func add(_ odd: Double, _ even: Double) {
    self.odd = horner(self.odd, square, odd)
    self.even = horner(self.even, square, even)
  }

  @inline(__always)
  func value(_ x: Vector) -> Vector { lam_multiply_add(odd, x, even) }
}

/// (eʳ − 1 − r)/r² for |r| ≤ ln 2/2.
@inline(__always)
private func exponentialRemainder(_ r: Vector) -> Vector {
  #if LAMINA_DOUBLE
    var p = PolynomialParts(r * r, 2.4978260122988963e-08, 2.7625313594110214e-07)
    p.add(2.7557642003787877e-06, 2.480150838814031e-05)
    p.add(0.00019841269464190874, 0.0013888888927009967)
    p.add(0.008333333333501253, 0.041666666666603486)
    p.add(0.1666666666666643, 0.5)
    return p.value(r)
  #else
    var p = constant(0.0013863799395039678)
    p = horner(p, r, 0.008367544040083885)
    p = horner(p, r, 0.041667237877845764)
    p = horner(p, r, 0.16666533052921295)
    return horner(p, r, 0.5)
  #endif
}

/// eʳ − 1 for r = x − n·ln 2, with what rounding r loses put back.
@inline(__always)
private func reducedMinusOne(_ x: Vector, _ n: Vector) -> Vector {
  let high = lam_multiply_add(n, constant(-ln2High), x)
  let rest = constant(-ln2Low) * n
  let r = high + rest
  return r + lam_multiply_add(r * r, exponentialRemainder(r), (high - r) + rest)
}

/// eʳ for |r| ≤ ln 2/2.
@inline(__always)
private func exponential(ofReduced r: Vector) -> Vector {
  lam_multiply_add(r * r, exponentialRemainder(r), r) + constant(1)
}

/// e^(x + low), where low is small beside 1.
@inline(__always)
private func exponential(_ x: Vector, low: Vector) -> Vector {
  let x = lam_max(lam_min(x, constant(exponentialRange.high)), constant(exponentialRange.low))
  let exponent = lam_round_exponent(x, constant(log2e))
  let n = lam_exponent_value(exponent)
  let rest = lam_multiply_add(n, constant(-ln2Low), low)
  return lam_scale(exponential(ofReduced: lam_multiply_add(n, constant(-ln2High), x) + rest), exponent)
}

/// eˣ/2ⁿ, where x is near n·ln 2.
@inline(__always)
private func exponential(_ x: Vector, without n: Vector) -> Vector {
  let high = lam_multiply_add(n, constant(-ln2High), x)
  return exponential(ofReduced: lam_multiply_add(n, constant(-ln2Low), high))
}

/// eˣ.
@inline(__always)
func exponential(_ x: Vector) -> Vector {
  let x = lam_max(lam_min(x, constant(exponentialRange.high)), constant(exponentialRange.low))
  let exponent = lam_round_exponent(x, constant(log2e))
  return lam_scale(exponential(x, without: lam_exponent_value(exponent)), exponent)
}

/// eˣ for x ≤ 0.
@inline(__always)
func exponentialOfDeficit(_ x: Vector) -> Vector {
  let x = lam_max(x, constant(exponentialRange.low))
  let exponent = lam_round_low_exponent(x, constant(log2e))
  return lam_scale_low(exponential(x, without: lam_low_exponent_value(exponent)), exponent)
}

/// eˣ − 1, right to the last bits near 0 too.
@inline(__always)
func exponentialMinusOne(_ x: Vector) -> Vector {
  let x = lam_max(lam_min(x, constant(exponentialRange.high)), constant(minusOneLow))
  let n = lam_round_product(x, constant(log2e))
  let p = reducedMinusOne(x, n)
  // 2·(2ⁿ⁻¹·p + (2ⁿ⁻¹ − ½)): the halves keep 2ⁿ finite where only the result is.
  let half = lam_power_of_two(n - constant(1))
  let sum = lam_multiply_add(half, p, half - constant(0.5))
  return sum + sum
}

/// ln x; −∞ at 0, NaN below.
@inline(__always)
func logarithm(_ x: Vector) -> Vector {
  let normal = lam_normalized(x)
  return lam_logarithm_ends(
    x, logarithm(mantissa: lam_mantissa(normal), lam_normalized_exponent(x, lam_exponent(normal))))
}

/// ln x for x in the normal range, or NaN.
@inline(__always)
func logarithm(ofNormal x: Vector) -> Vector {
  lam_keep_nan(x, logarithm(mantissa: lam_mantissa(x), lam_exponent(x)))
}

/// ln(m·2ᵉ) for m in [¾, 1½).
@inline(__always)
private func logarithm(mantissa m: Vector, _ e: Vector) -> Vector {
  let f = m - constant(1)
  #if LAMINA_DOUBLE
    // ln(1 + f) = 2·artanh(s) with s = f/(2 + f), arranged so that f enters unrounded.
    let s = f * lam_reciprocal(constant(2) + f)
    let z = s * s
    var p = PolynomialParts(z * z, highest: 0.15368205669050583, 0.15250186526756845, 0.1818635618349423)
    p.add(0.22222138498372102, 0.28571429395336223)
    p.add(0.3999999999616135, 0.6666666666667271)
    let half = constant(0.5) * f * f
    let correction = lam_multiply_add(e, constant(ln2Low), s * lam_multiply_add(z, p.value(z), half))
    return lam_multiply_add(e, constant(ln2High), f - (half - correction))
  #else
    // ln(1 + f) = f − f²/2 + f³·p, the largest term last.
    let square = f * f
    var q = PolynomialParts(square, -0.04508044943213463, 0.10463913530111313)
    q.add(-0.13161617517471313, 0.14478397369384766)
    q.add(-0.1664726585149765, 0.1999085396528244)
    q.add(-0.2500009834766388, 0.3333345055580139)
    let p = horner(q.value(f), f, -0.5)
    let small = lam_multiply_add(square, p, constant(ln2Low) * e)
    return lam_multiply_add(e, constant(ln2High), f + small)
  #endif
}

/// tanh x: an odd polynomial near 0, 1 − 2/(e^2|x| + 1) beyond.
@inline(__always)
func hyperbolicTangent(_ x: Vector) -> Vector {
  let a = lam_min(lam_abs(x), constant(hyperbolicLimit))
  let z = a * a
  #if LAMINA_DOUBLE
    var p = PolynomialParts(z * z, 6.046761207299929e-06, -3.0263653456252133e-05)
    p.add(9.170689797352028e-05, -0.00023714117690420115)
    p.add(0.0005895158051788537, -0.001455745493651353)
    p.add(0.0035921177931376573, -0.008863234777792764)
    p.add(0.021869488503451405, -0.05396825396751714)
    p.add(0.1333333333333268, -0.3333333333333333)
    let series = p.value(z)
  #else
    var series = constant(-0.005921476054936647)
    series = horner(series, z, 0.020871786400675774)
    series = horner(series, z, -0.053823377937078476)
    series = horner(series, z, 0.13332581520080566)
    series = horner(series, z, -0.333333283662796)
  #endif
  let near = lam_multiply_add(a * z, series, a)
  let exponent = lam_round_low_exponent(a + a, constant(log2e))
  let power = exponential(a + a, without: lam_low_exponent_value(exponent))
  let far = constant(1) - lam_two_by_one_and_scaled(power, exponent)
  return lam_copy_sign(lam_select_less(a, constant(0.65), near, far), x)
}

/// 1/(1 + e⁻ˣ).
@inline(__always)
func logistic(_ x: Vector) -> Vector {
  // With −x = r − n·ln 2 it is 2ⁿ/(2ⁿ + eʳ): nothing overflows, and one factor makes the smallest results.
  let x = lam_max(lam_min(x, constant(logisticLimit)), constant(exponentialRange.low))
  let exponent = lam_round_low_exponent(x, constant(log2e))
  let n = lam_low_exponent_value(exponent)
  let r = lam_multiply_add(n, constant(ln2Low), lam_multiply_subtract(n, constant(ln2High), x))
  let power = lam_scale_low(constant(1), exponent)
  let sum = power + constant(1)
  let lost = power - (sum - constant(1))
  let total = sum + lam_multiply_add(r, horner(exponentialRemainder(r), r, 1), lost)
  return lam_scale_low(lam_reciprocal(total), exponent)
}

/// The normal distribution's upper tail ½·erfc(a/√2) and e^(−a²/2), for a ≥ 0.
@inline(__always)
func normalTail(_ a: Vector) -> (tail: Vector, exponential: Vector) {
  #if LAMINA_DOUBLE
    let a = lam_min(a, constant(39))
  #else
    let a = lam_min(a, constant(14.6))
  #endif
  // The square in two parts: half an ulp of the exponent would be many ulp of the power.
  let high = lam_upper_half(a)
  let power = exponential(
    constant(-0.5) * high * high, low: constant(-0.5) * (a - high) * (a + high))
  // (1 + a)·tail·e^(a²/2) as a polynomial of t = (a − 4)/(a + 4) (the variable of Shepherd and Laframboise 1981).
  let t = (a - constant(4)) / (a + constant(4))
  #if LAMINA_DOUBLE
    var p = PolynomialParts(t * t, -7.916719925880278e-10, -1.5506980833004738e-09)
    p.add(6.249113664698089e-09, 1.7674889651836897e-08)
    p.add(-1.9913251999238056e-08, -1.110328886877407e-07)
    p.add(1.4676600593283318e-09, 5.520151010249323e-07)
    p.add(4.0448526036329704e-07, -2.6129103224764573e-06)
    p.add(-3.4321997119225085e-06, 1.3626869656340193e-05)
    p.add(2.125004946489111e-05, -8.785318378131222e-05)
    p.add(-9.443025388719951e-05, 0.0006948971046100352)
    p.add(-0.0002856230979733444, -0.005002378591050549)
    p.add(0.017936097479672987, -0.03219783742808545)
    p.add(0.02860036405355088, 0.013999634724425405)
    p.add(-0.0967034773265258, 0.47205320650984467)
  #else
    var p = PolynomialParts(t * t, -1.1373995221219957e-05, -9.943576151272282e-05)
    p.add(-7.232613279484212e-05, 0.0007106884149834514)
    p.add(-0.00029036722844466567, -0.005007768049836159)
    p.add(0.01793634705245495, -0.03219711035490036)
    p.add(0.028600379824638367, 0.01399959996342659)
    p.add(-0.09670347720384598, 0.472053200006485)
  #endif
  return (p.value(t) / (constant(1) + a) * power, power)
}
