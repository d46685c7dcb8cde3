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

#if defined(__AVX512F__)
LAM_INLINE lam_vector lam_scale_by_whole(lam_vector v, lam_vector n) {
  return (lam_vector)LAM_512(scalef)((lam_native)v, (lam_native)n, (lam_native)v, (lam_native_mask)-1, 4);
}
#endif

// A whole number n is held as the sum that rounded it, in whose low bits it stands ready to become an exponent: n and an
// even number, so that halves are rounded as without it.

/// The whole number n nearest to x·y, held for `lam_scale`.
LAM_INLINE lam_vector lam_round_exponent(lam_vector x, lam_vector y) {
  return lam_multiply_add(x, y, (lam_vector)(lam_scalar)(LAM_ROUNDING + 2 * LAM_BIAS));
}
/// n.
LAM_INLINE lam_vector lam_exponent_value(lam_vector held) {
  return held - (lam_vector)(lam_scalar)(LAM_ROUNDING + 2 * LAM_BIAS);
}
/// v·2ⁿ; results below the normal range are rounded once, those above it are infinite.
LAM_INLINE lam_vector lam_scale(lam_vector v, lam_vector held) {
#if defined(__AVX512F__)
  return lam_scale_by_whole(v, lam_exponent_value(held));
#else
  // In two steps, for 2ⁿ itself may be out of range: half of n with one bias, and the rest with the other.
  const lam_integers first = ((lam_integers)held >> 1) << LAM_MANTISSA_BITS;
  const lam_integers both = (lam_integers)held << LAM_MANTISSA_BITS;
  return v * (lam_vector)first * (lam_vector)(both - first);
#endif
}

// Powers that are kept in the normal range by 2^LAM_LIFT.
#ifdef LAMINA_DOUBLE
#define LAM_LIFT 513
#define LAM_LIFTED(x) (lam_vector)(x##p513)
#define LAM_LOWERED (lam_vector)0x1p-513
#else
#define LAM_LIFT 65
#define LAM_LIFTED(x) (lam_vector)(x##p65f)
#define LAM_LOWERED (lam_vector)0x1p-65f
#endif

/// The whole number n nearest to x·y, below 62 (Double: 510), held for `lam_scale_low`.
LAM_INLINE lam_vector lam_round_low_exponent(lam_vector x, lam_vector y) {
  return lam_multiply_add(x, y, (lam_vector)(lam_scalar)(LAM_ROUNDING + LAM_BIAS + LAM_LIFT));
}
/// n.
LAM_INLINE lam_vector lam_low_exponent_value(lam_vector held) {
  return held - (lam_vector)(lam_scalar)(LAM_ROUNDING + LAM_BIAS + LAM_LIFT);
}
LAM_INLINE lam_vector lam_lifted_power(lam_vector held) {
  return (lam_vector)((lam_integers)held << LAM_MANTISSA_BITS);
}
/// v·2ⁿ; results below the normal range are rounded once.
LAM_INLINE lam_vector lam_scale_low(lam_vector v, lam_vector held) {
#if defined(__AVX512F__)
  return lam_scale_by_whole(v, lam_low_exponent_value(held));
#else
  return v * lam_lifted_power(held) * LAM_LOWERED;
#endif
}

// MARK: Mantissa and exponent

// x = mantissa·2^exponent with mantissa in [¾, 1½), for positive x of the normal range.
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
// The instructions take what is below the normal range too, and carry 0, ∞, NaN and negative numbers through.
LAM_INLINE lam_vector lam_normalized(lam_vector x) { return x; }
LAM_INLINE lam_vector lam_normalized_exponent(lam_vector x, lam_vector exponent) { return exponent; }
LAM_INLINE lam_vector lam_logarithm_ends(lam_vector x, lam_vector y) { return y; }
LAM_INLINE lam_vector lam_keep_nan(lam_vector x, lam_vector y) { return y; }
#else
#ifdef LAMINA_DOUBLE
typedef uint64_t lam_magnitudes __attribute__((ext_vector_type(8)));
#define LAM_LEAST_NORMAL 0x1p-1022
#else
typedef uint32_t lam_magnitudes __attribute__((ext_vector_type(16)));
#define LAM_LEAST_NORMAL 0x1p-126f
#endif
/// x's bits counted from those of ¾: above the mantissa's the exponent and its bias, which is not below 0 (AVX2 has no
/// shift that keeps the sign of 64 bits).
LAM_INLINE lam_magnitudes lam_bits_from_three_quarters(lam_vector x) {
  const lam_vector low = (lam_vector)(lam_scalar)0.75, one = (lam_vector)(lam_scalar)1;
  return (lam_magnitudes)x + ((lam_magnitudes)one - (lam_magnitudes)low);
}
LAM_INLINE lam_vector lam_mantissa(lam_vector x) {
  const lam_vector low = (lam_vector)(lam_scalar)0.75;
  const lam_magnitudes mask = ((lam_magnitudes)1 << LAM_MANTISSA_BITS) - 1;
  return (lam_vector)((lam_bits_from_three_quarters(x) & mask) + (lam_magnitudes)low);
}
LAM_INLINE lam_vector lam_exponent(lam_vector x) {
  const lam_vector magic = (lam_vector)(lam_scalar)LAM_ROUNDING, biased = (lam_vector)(lam_scalar)(LAM_ROUNDING + LAM_BIAS);
  return (lam_vector)((lam_bits_from_three_quarters(x) >> LAM_MANTISSA_BITS) + (lam_magnitudes)magic) - biased;
}
/// x, or where that is below the normal range a multiple of it that is not.
LAM_INLINE lam_vector lam_normalized(lam_vector x) {
  return x < (lam_vector)LAM_LEAST_NORMAL ? x * (lam_vector)(lam_scalar)(1ll << LAM_MANTISSA_BITS) : x;
}
/// The exponent of x from that of x normalized.
LAM_INLINE lam_vector lam_normalized_exponent(lam_vector x, lam_vector exponent) {
  const lam_vector none = (lam_vector)(lam_scalar)0, shift = (lam_vector)(lam_scalar)LAM_MANTISSA_BITS;
  return exponent - (x < (lam_vector)LAM_LEAST_NORMAL ? shift : none);
}
/// The logarithm y of x where x is positive and finite, what it must be elsewhere.
LAM_INLINE lam_vector lam_logarithm_ends(lam_vector x, lam_vector y) {
  const lam_vector zero = (lam_vector)(lam_scalar)0, infinity = (lam_vector)(lam_scalar)__builtin_inf();
  y += x - x;
  y = x == infinity ? infinity : y;
  y = x < zero ? (lam_vector)(lam_scalar)__builtin_nan("") : y;
  return x == zero ? -infinity : y;
}
/// y, or NaN where x is.
LAM_INLINE lam_vector lam_keep_nan(lam_vector x, lam_vector y) { return y + (x - x); }
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

/// 2/(v·2ⁿ + 1) for 0 < v < 2.
LAM_INLINE lam_vector lam_two_by_one_and_scaled(lam_vector v, lam_vector held) {
#if defined(__AVX512F__)
  return (lam_vector)(lam_scalar)2 * lam_reciprocal(lam_scale_low(v, held) + (lam_vector)(lam_scalar)1);
#else
  return LAM_LIFTED(0x2) / lam_multiply_add(v, lam_lifted_power(held), LAM_LIFTED(0x1));
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
