// eˣ, eˣ − 1, ln, tanh, the logistic function and the normal distribution, a vector at a time.
//
// Each reduces its argument by a power of two and evaluates a polynomial near the best one for the interval
// (interpolated at Chebyshev nodes in 60 digits, then rounded). Errors are at most 2 ulp with fused multiply-add and 3
// without. A NaN gives NaN; results below the normal range are rounded once; those above the range are infinite.

internal import CKernelShims

#if LAMINA_DOUBLE
  // The high part has 41 bits: its product with an exponent of 11 bits is exact without a fused multiply-add too.
  private let ln2High = 0.693147180559663
  private let ln2Low = 2.8235290563031577e-13
  private let exponentialRange = (low: -746.0, high: 710.0)
  private let minusOneLow = -38.0
  private let hyperbolicLimit = 22.0
  private let leastNormal = 2.2250738585072014e-308
  private let subnormalFactor = 18014398509481984.0
  private let subnormalExponent = 54.0
#else
  // The high part has 15 bits: its product with an exponent of 8 bits is exact without a fused multiply-add too.
  private let ln2High = 0.693145751953125
  private let ln2Low = 1.4286068203094173e-06
  private let exponentialRange = (low: -104.0, high: 89.0)
  private let minusOneLow = -18.0
  private let hyperbolicLimit = 10.0
  private let leastNormal = 1.1754943508222875e-38
  private let subnormalFactor = 33554432.0
  private let subnormalExponent = 25.0
#endif

/// One step of Horner's rule: p·x + c.
@inline(__always)
private func horner(_ p: Vector, _ x: Vector, _ c: Double) -> Vector {
  lam_multiply_add(p, x, constant(c))
}

/// (eʳ − 1 − r)/r² for |r| ≤ ln 2/2.
@inline(__always)
private func exponentialRemainder(_ r: Vector) -> Vector {
  #if LAMINA_DOUBLE
    var p = constant(2.091483135138041e-09)
    p = horner(p, r, 2.5105419192016337e-08)
    p = horner(p, r, 2.7557273295539724e-07)
    p = horner(p, r, 2.75572549134867e-06)
    p = horner(p, r, 2.4801587325822283e-05)
    p = horner(p, r, 0.00019841269875205077)
    p = horner(p, r, 0.001388888888888367)
    p = horner(p, r, 0.008333333333326025)
    p = horner(p, r, 0.04166666666666667)
    p = horner(p, r, 0.1666666666666667)
  #else
    var p = constant(0.00019891180272679776)
    p = horner(p, r, 0.0013933820882812142)
    p = horner(p, r, 0.00833331048488617)
    p = horner(p, r, 0.041666463017463684)
    p = horner(p, r, 0.1666666716337204)
  #endif
  return horner(p, r, 0.5)
}

/// eʳ − 1 for r = x − n·ln 2 + low, with what rounding r loses put back.
@inline(__always)
private func reducedMinusOne(_ x: Vector, _ n: Vector, low: Vector) -> Vector {
  let high = lam_multiply_add(n, constant(-ln2High), x)
  let rest = lam_multiply_add(n, constant(-ln2Low), low)
  let r = high + rest
  return r + lam_multiply_add(r * r, exponentialRemainder(r), (high - r) + rest)
}

/// e^(x + low), where low is small beside 1.
@inline(__always)
private func exponential(_ x: Vector, low: Vector) -> Vector {
  let x = lam_max(lam_min(x, constant(exponentialRange.high)), constant(exponentialRange.low))
  let n = lam_round(x * constant(1.4426950408889634))
  return lam_scale(reducedMinusOne(x, n, low: low) + constant(1), n)
}

/// eˣ.
@inline(__always)
func exponential(_ x: Vector) -> Vector { exponential(x, low: Vector.zero) }

/// eˣ − 1, right to the last bits near 0 too.
@inline(__always)
func exponentialMinusOne(_ x: Vector) -> Vector {
  let x = lam_max(lam_min(x, constant(exponentialRange.high)), constant(minusOneLow))
  let n = lam_round(x * constant(1.4426950408889634))
  let p = reducedMinusOne(x, n, low: Vector.zero)
  // 2·(2ⁿ⁻¹·p + (2ⁿ⁻¹ − ½)): the halves keep 2ⁿ finite where only the result is.
  let half = lam_power_of_two(n - constant(1))
  let sum = lam_multiply_add(half, p, half - constant(0.5))
  return sum + sum
}

/// ln x; −∞ at 0, NaN below.
@inline(__always)
func logarithm(_ x: Vector) -> Vector {
  let least = constant(leastNormal)
  let normal = lam_select_less(x, least, x * constant(subnormalFactor), x)
  let shift = lam_select_less(x, least, constant(subnormalExponent), Vector.zero)
  let e = lam_exponent(normal) - shift
  let f = lam_mantissa(normal) - constant(1)
  // ln(1 + f) = 2·artanh(s) with s = f/(2 + f), arranged so that f enters unrounded.
  let s = f / (constant(2) + f)
  let z = s * s
  #if LAMINA_DOUBLE
    var p = constant(0.1463003136412286)
    p = horner(p, z, 0.15330617306743305)
    p = horner(p, z, 0.18182922513515942)
    p = horner(p, z, 0.22222210674238516)
    p = horner(p, z, 0.28571428628810996)
    p = horner(p, z, 0.3999999999989322)
    p = horner(p, z, 0.666666666666667)
  #else
    var p = constant(0.23341943323612213)
    p = horner(p, z, 0.28550398349761963)
    p = horner(p, z, 0.40000125765800476)
    p = horner(p, z, 0.6666666865348816)
  #endif
  let half = constant(0.5) * f * f
  let correction = lam_multiply_add(e, constant(ln2Low), s * lam_multiply_add(z, p, half))
  var y = lam_multiply_add(e, constant(ln2High), f - (half - correction))
  y += x - x
  let infinity = splat(Scalar.infinity)
  y = lam_select_equal(x, infinity, infinity, y)
  y = lam_select_less(x, Vector.zero, splat(Scalar.nan), y)
  return lam_select_equal(x, Vector.zero, splat(-Scalar.infinity), y)
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
  let far = constant(1) - constant(2) / (exponential(a + a) + constant(1))
  return lam_copy_sign(lam_select_less(a, constant(0.65), near, far), x)
}

/// 1/(1 + e⁻ˣ), from e = e^−|x| so that small results keep their digits.
@inline(__always)
func logistic(_ x: Vector) -> Vector {
  let one = constant(1)
  let magnitude = lam_min(lam_abs(x), constant(-exponentialRange.low))
  let n = lam_round(magnitude * constant(-1.4426950408889634))
  let p = reducedMinusOne(-magnitude, n, low: Vector.zero)
  let sum = p + one
  let e = lam_scale(sum, n)
  let total = e + one
  // Rounding e and 1 + e costs up to 2 ulp together: what they lose goes into a first-order correction.
  let lost = lam_scale((one - sum) + p, n)
  let quotient = lam_select_less(x, Vector.zero, e, one) / total
  let reciprocal = lam_select_less(x, Vector.zero, one - quotient, quotient)
  let numeratorLost = lam_select_less(x, Vector.zero, lost, Vector.zero)
  return quotient + (numeratorLost - quotient * (((one - total) + e) + lost)) * reciprocal
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
