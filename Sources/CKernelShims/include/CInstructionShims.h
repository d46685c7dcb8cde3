// What AVX-512 does in one or two instructions and other sets in several: scaling by 2ⁿ, taking a number apart,
// reciprocals, masks; included by CElementaryShims.h.
#pragma once

#if defined(__AVX512F__) && defined(LAMINA_DOUBLE)
#define LAM_512(name) __builtin_ia32_##name##pd512_mask
typedef lam_d8 lam_native;
typedef unsigned char lam_native_mask;
#elif defined(__AVX512F__)
#define LAM_512(name) __builtin_ia32_##name##ps512_mask
typedef lam_f16 lam_native;
typedef unsigned short lam_native_mask;
#endif

// MARK: Powers of two

/// v·2^n for whole n; results below the normal range are rounded once, those above it are infinite.
LAM_INLINE lam_vector lam_scale(lam_vector v, lam_vector n) {
#if defined(__AVX512F__)
  return (lam_vector)LAM_512(scalef)((lam_native)v, (lam_native)n, (lam_native)v, (lam_native_mask)-1, 4);
#else
  // In two steps: 2^n itself may be out of range.
  const lam_vector half = (lam_vector)(lam_scalar)0.5;
  const lam_vector one_bias = (lam_vector)(lam_scalar)(LAM_ROUNDING + LAM_BIAS);
  const lam_vector two_biases = (lam_vector)(lam_scalar)(LAM_ROUNDING + 2 * LAM_BIAS);
  const lam_integers first = (lam_integers)lam_multiply_add(n, half, one_bias) << LAM_MANTISSA_BITS;
  const lam_integers both = (lam_integers)(n + two_biases) << LAM_MANTISSA_BITS;
  return v * (lam_vector)first * (lam_vector)(both - first);
#endif
}

/// The same for n < 64 (Double: 512).
LAM_INLINE lam_vector lam_scale_below(lam_vector v, lam_vector n) {
#if defined(__AVX512F__)
  return lam_scale(v, n);
#elif defined(LAMINA_DOUBLE)
  return v * lam_power_of_two(n + (lam_vector)512.0) * (lam_vector)0x1p-512;
#else
  return v * lam_power_of_two(n + (lam_vector)64.0f) * (lam_vector)0x1p-64f;
#endif
}

// x = mantissa·2^exponent with mantissa in [¾, 1½), for positive finite x, subnormal too.
#if defined(__AVX512F__)
#define LAM_FROM_THREE_QUARTERS 3
#define LAM_NAN_IF_NEGATIVE 8
LAM_INLINE lam_vector lam_mantissa(lam_vector x) {
  return (lam_vector)LAM_512(getmant)((lam_native)x, LAM_FROM_THREE_QUARTERS | LAM_NAN_IF_NEGATIVE, (lam_native)x,
                                      (lam_native_mask)-1, 4);
}
LAM_INLINE lam_vector lam_exponent(lam_vector x) {
  lam_native whole = LAM_512(getexp)((lam_native)x, (lam_native)x, (lam_native_mask)-1, 4);
  lam_native mantissa = (lam_native)lam_mantissa(x);
  return (lam_vector)whole - (lam_vector)LAM_512(getexp)(mantissa, mantissa, (lam_native_mask)-1, 4);
}
/// The logarithm y of x where x is positive and finite, what it must be elsewhere.
///
/// getexp and getmant have carried 0, ∞, NaN and negative numbers through already.
LAM_INLINE lam_vector lam_logarithm_ends(lam_vector x, lam_vector y) { return y; }
#else
#ifdef LAMINA_DOUBLE
#define LAM_LEAST_NORMAL 0x1p-1022
#else
#define LAM_LEAST_NORMAL 0x1p-126f
#endif
LAM_INLINE lam_vector lam_mantissa(lam_vector x) {
  const lam_integers low = (lam_integers)((lam_vector)(lam_scalar)0.75);
  lam_vector normal = x < (lam_vector)LAM_LEAST_NORMAL ? x * (lam_vector)(lam_scalar)(1ll << LAM_MANTISSA_BITS) : x;
  lam_integers e = ((lam_integers)normal - low) >> LAM_MANTISSA_BITS;
  return (lam_vector)((lam_integers)normal - (e << LAM_MANTISSA_BITS));
}
LAM_INLINE lam_vector lam_exponent(lam_vector x) {
  const lam_integers low = (lam_integers)((lam_vector)(lam_scalar)0.75);
  const lam_vector magic = (lam_vector)(lam_scalar)LAM_ROUNDING, least = (lam_vector)LAM_LEAST_NORMAL;
  lam_vector normal = x < least ? x * (lam_vector)(lam_scalar)(1ll << LAM_MANTISSA_BITS) : x;
  lam_vector shift = x < least ? (lam_vector)(lam_scalar)LAM_MANTISSA_BITS : (lam_vector)(lam_scalar)0;
  lam_integers e = ((lam_integers)normal - low) >> LAM_MANTISSA_BITS;
  return ((lam_vector)(e + (lam_integers)magic) - magic) - shift;
}
/// The logarithm y of x where x is positive and finite, what it must be elsewhere.
LAM_INLINE lam_vector lam_logarithm_ends(lam_vector x, lam_vector y) {
  const lam_vector zero = (lam_vector)(lam_scalar)0, infinity = (lam_vector)(lam_scalar)__builtin_inf();
  y += x - x;
  y = x == infinity ? infinity : y;
  y = x < zero ? (lam_vector)(lam_scalar)__builtin_nan("") : y;
  return x == zero ? -infinity : y;
}
#endif

// MARK: Reciprocals

#if defined(__AVX512F__)
// Of an infinite divisor, as the root of a square that overflows, the reciprocal would not be normal.
#ifdef LAMINA_DOUBLE
#define LAM_LARGEST_DIVISOR 1e200
#else
#define LAM_LARGEST_DIVISOR 1e30f
#endif

/// 1/x within 2⁻¹⁴ (Double: 2⁻²⁸), for x and 1/x in the normal range.
LAM_INLINE lam_vector lam_rough_reciprocal(lam_vector x) {
  lam_vector y = (lam_vector)LAM_512(rcp14)((lam_native)x, (lam_native)x, (lam_native_mask)-1);
#ifdef LAMINA_DOUBLE
  y = lam_multiply_add(y, lam_multiply_add(-x, y, (lam_vector)(lam_scalar)1), y);
#endif
  return y;
}
#endif

/// 1/x within 1 ulp, for x and 1/x in the normal range.
LAM_INLINE lam_vector lam_reciprocal(lam_vector x) {
#if defined(__AVX512F__)
  // Each step of Newton doubles the bits; the last one's rounding is the result's.
  const lam_vector y = lam_rough_reciprocal(x);
  return lam_multiply_add(y, lam_multiply_add(-x, y, (lam_vector)(lam_scalar)1), y);
#else
  return (lam_vector)(lam_scalar)1 / x;
#endif
}

/// a/x, for x in the normal range or above it.
LAM_INLINE lam_vector lam_quotient(lam_vector a, lam_vector x) {
#if defined(__AVX512F__)
  return a * lam_reciprocal(lam_min(x, (lam_vector)(lam_scalar)LAM_LARGEST_DIVISOR));
#else
  return a / x;
#endif
}

/// sum + a/x, or with `scales` factor·sum + a/x, for x in the normal range or above it.
///
/// Newton's last step is made on the quotient, beside which the sum without a factor takes no multiplier: on CPUs that
/// make a 512-bit vector of two halves, a product that Adam runs beside leaves multipliers least to spare.
LAM_INLINE lam_vector lam_add_quotient(lam_vector sum, lam_vector factor, lam_vector a, lam_vector x, bool scales) {
#if defined(__AVX512F__)
  x = lam_min(x, (lam_vector)(lam_scalar)LAM_LARGEST_DIVISOR);
  const lam_vector y = lam_rough_reciprocal(x);
  const lam_vector q = a * y;
  const lam_vector rest = lam_multiply_add(-x, y, (lam_vector)(lam_scalar)1);
  return lam_multiply_add(q, rest, scales ? lam_multiply_add(factor, sum, q) : sum + q);
#else
  const lam_vector q = lam_quotient(a, x);
  return scales ? lam_multiply_add(factor, sum, q) : sum + q;
#endif
}
