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

/// (eʳ − 1 − r)/r² for |r| ≤ ln 2/2.
@inline(__always)
private func exponentialRemainder(_ r: Vector) -> Vector {
  #if LAMINA_DOUBLE
    var p = constant(2.4978260122988963e-08)
    p = horner(p, r, 2.7625313594110214e-07)
    p = horner(p, r, 2.7557642003787877e-06)
    p = horner(p, r, 2.480150838814031e-05)
    p = horner(p, r, 0.00019841269464190874)
    p = horner(p, r, 0.0013888888927009967)
    p = horner(p, r, 0.008333333333501253)
    p = horner(p, r, 0.041666666666603486)
    p = horner(p, r, 0.1666666666666643)
  #else
    var p = constant(0.0013863799395039678)
    p = horner(p, r, 0.008367544040083885)
    p = horner(p, r, 0.041667237877845764)
    p = horner(p, r, 0.16666533052921295)
  #endif
  return horner(p, r, 0.5)
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
private func exponential(ofReduced r: Vector) -> Vector { horner(horner(exponentialRemainder(r), r, 1), r, 1) }

/// e^(x + low), where low is small beside 1.
@inline(__always)
private func exponential(_ x: Vector, low: Vector) -> Vector {
  let x = lam_max(lam_min(x, constant(exponentialRange.high)), constant(exponentialRange.low))
  let n = lam_round_product(x, constant(log2e))
  let rest = lam_multiply_add(n, constant(-ln2Low), low)
  return lam_scale(exponential(ofReduced: lam_multiply_add(n, constant(-ln2High), x) + rest), n)
}

/// eˣ = power·2ⁿ.
@inline(__always)
private func exponentialParts(_ x: Vector) -> (power: Vector, n: Vector) {
  let n = lam_round_product(x, constant(log2e))
  let high = lam_multiply_add(n, constant(-ln2High), x)
  return (exponential(ofReduced: lam_multiply_add(n, constant(-ln2Low), high)), n)
}

/// eˣ.
@inline(__always)
func exponential(_ x: Vector) -> Vector {
  let x = lam_max(lam_min(x, constant(exponentialRange.high)), constant(exponentialRange.low))
  let (power, n) = exponentialParts(x)
  return lam_scale(power, n)
}

/// eˣ for x ≤ 0.
@inline(__always)
func exponentialOfDeficit(_ x: Vector) -> Vector {
  let (power, n) = exponentialParts(lam_max(x, constant(exponentialRange.low)))
  return lam_scale_below(power, n)
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
  let e = lam_exponent(x)
  let f = lam_mantissa(x) - constant(1)
  #if LAMINA_DOUBLE
    // ln(1 + f) = 2·artanh(s) with s = f/(2 + f), arranged so that f enters unrounded.
    let s = f * lam_reciprocal(constant(2) + f)
    let z = s * s
    var p = constant(0.15368205669050583)
    p = horner(p, z, 0.15250186526756845)
    p = horner(p, z, 0.1818635618349423)
    p = horner(p, z, 0.22222138498372102)
    p = horner(p, z, 0.28571429395336223)
    p = horner(p, z, 0.3999999999616135)
    p = horner(p, z, 0.6666666666667271)
    let half = constant(0.5) * f * f
    let correction = lam_multiply_add(e, constant(ln2Low), s * lam_multiply_add(z, p, half))
    let y = lam_multiply_add(e, constant(ln2High), f - (half - correction))
  #else
    // ln(1 + f) = f − f²/2 + f³·p, the largest term last.
    var p = constant(-0.04508044943213463)
    p = horner(p, f, 0.10463913530111313)
    p = horner(p, f, -0.13161617517471313)
    p = horner(p, f, 0.14478397369384766)
    p = horner(p, f, -0.1664726585149765)
    p = horner(p, f, 0.1999085396528244)
    p = horner(p, f, -0.2500009834766388)
    p = horner(p, f, 0.3333345055580139)
    p = horner(p, f, -0.5)
    let small = lam_multiply_add(f * f, p, constant(ln2Low) * e)
    let y = lam_multiply_add(e, constant(ln2High), f + small)
  #endif
  return lam_logarithm_ends(x, y)
}

/// tanh x: an odd polynomial near 0, 1 − 2/(e^2|x| + 1) beyond.
@inline(__always)
func hyperbolicTangent(_ x: Vector) -> Vector {
  let a = lam_min(lam_abs(x), constant(hyperbolicLimit))
  let z = a * a
  #if LAMINA_DOUBLE
    var p = constant(6.046761207299929e-06)
    p = horner(p, z, -3.0263653456252133e-05)
    p = horner(p, z, 9.170689797352028e-05)
    p = horner(p, z, -0.00023714117690420115)
    p = horner(p, z, 0.0005895158051788537)
    p = horner(p, z, -0.001455745493651353)
    p = horner(p, z, 0.0035921177931376573)
    p = horner(p, z, -0.008863234777792764)
    p = horner(p, z, 0.021869488503451405)
    p = horner(p, z, -0.05396825396751714)
    p = horner(p, z, 0.1333333333333268)
    p = horner(p, z, -0.3333333333333333)
  #else
    var p = constant(-0.005921476054936647)
    p = horner(p, z, 0.020871786400675774)
    p = horner(p, z, -0.053823377937078476)
    p = horner(p, z, 0.13332581520080566)
    p = horner(p, z, -0.333333283662796)
  #endif
  let near = lam_multiply_add(a * z, p, a)
  let (power, n) = exponentialParts(a + a)
  let far = constant(1) - constant(2) * lam_reciprocal(lam_multiply_add(power, lam_power_of_two(n), constant(1)))
  return lam_copy_sign(lam_select_less(a, constant(0.65), near, far), x)
}

/// 1/(1 + e⁻ˣ).
@inline(__always)
func logistic(_ x: Vector) -> Vector {
  // With −x = r − n·ln 2 it is 2ⁿ/(2ⁿ + eʳ): nothing overflows, and one factor makes the smallest results.
  let x = lam_max(lam_min(x, constant(logisticLimit)), constant(exponentialRange.low))
  let n = lam_round_product(x, constant(log2e))
  let r = lam_multiply_add(n, constant(ln2Low), lam_multiply_subtract(n, constant(ln2High), x))
  let power = lam_scale_below(constant(1), n)
  let sum = power + constant(1)
  let lost = power - (sum - constant(1))
  let total = sum + lam_multiply_add(r, horner(exponentialRemainder(r), r, 1), lost)
  return lam_scale_below(lam_reciprocal(total), n)
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
    var p = constant(-7.916719925880278e-10)
    p = horner(p, t, -1.5506980833004738e-09)
    p = horner(p, t, 6.249113664698089e-09)
    p = horner(p, t, 1.7674889651836897e-08)
    p = horner(p, t, -1.9913251999238056e-08)
    p = horner(p, t, -1.110328886877407e-07)
    p = horner(p, t, 1.4676600593283318e-09)
    p = horner(p, t, 5.520151010249323e-07)
    p = horner(p, t, 4.0448526036329704e-07)
    p = horner(p, t, -2.6129103224764573e-06)
    p = horner(p, t, -3.4321997119225085e-06)
    p = horner(p, t, 1.3626869656340193e-05)
    p = horner(p, t, 2.125004946489111e-05)
    p = horner(p, t, -8.785318378131222e-05)
    p = horner(p, t, -9.443025388719951e-05)
    p = horner(p, t, 0.0006948971046100352)
    p = horner(p, t, -0.0002856230979733444)
    p = horner(p, t, -0.005002378591050549)
    p = horner(p, t, 0.017936097479672987)
    p = horner(p, t, -0.03219783742808545)
    p = horner(p, t, 0.02860036405355088)
    p = horner(p, t, 0.013999634724425405)
    p = horner(p, t, -0.0967034773265258)
    p = horner(p, t, 0.47205320650984467)
  #else
    var p = constant(-1.1373995221219957e-05)
    p = horner(p, t, -9.943576151272282e-05)
    p = horner(p, t, -7.232613279484212e-05)
    p = horner(p, t, 0.0007106884149834514)
    p = horner(p, t, -0.00029036722844466567)
    p = horner(p, t, -0.005007768049836159)
    p = horner(p, t, 0.01793634705245495)
    p = horner(p, t, -0.03219711035490036)
    p = horner(p, t, 0.028600379824638367)
    p = horner(p, t, 0.01399959996342659)
    p = horner(p, t, -0.09670347720384598)
    p = horner(p, t, 0.472053200006485)
  #endif
  return (p / (constant(1) + a) * power, power)
}
