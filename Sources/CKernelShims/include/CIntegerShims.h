// Bytes, lanes, flags and hashes; included by CKernelShims.h.
#pragma once
#include "CElementaryShims.h"

// Shims that call shims: all are inlined, so no vector is ever passed the way the warning fears.
#pragma clang diagnostic push
#pragma clang diagnostic ignored "-Wpsabi"

typedef uint32_t lam_hashes __attribute__((ext_vector_type(LAM_LANES)));
typedef _Bool lam_flags __attribute__((ext_vector_type(LAM_LANES)));

// MARK: Bytes, strided elements and single lanes

/// The `count` < lanes bytes from p as scalars, the other lanes 0; nothing past them is read.
LAM_INLINE lam_vector lam_load_bytes_partial(const uint8_t *p, long count) {
  lam_bytes v = 0;
  uint8_t *lane = (uint8_t *)&v;
#ifndef LAMINA_DOUBLE
  if (count & 8) { __builtin_memcpy(lane, p, 8); lane += 8; p += 8; }
#endif
  if (count & 4) { __builtin_memcpy(lane, p, 4); lane += 4; p += 4; }
  if (count & 2) { __builtin_memcpy(lane, p, 2); lane += 2; p += 2; }
  if (count & 1) *lane = *p;
  return __builtin_convertvector(v, lam_vector);
}

/// `count` ≤ lanes elements `stride` apart, the other lanes `fill`.
LAM_INLINE lam_vector lam_load_strided(const lam_scalar *p, long stride, long count, lam_scalar fill) {
  lam_vector v = fill;
  for (long lane = 0; lane < count; ++lane) v[lane] = p[lane * stride];
  return v;
}

/// Writes the first `count` ≤ lanes lanes of v to elements `stride` apart.
LAM_INLINE void lam_store_strided(lam_scalar *p, long stride, lam_vector v, long count) {
  for (long lane = 0; lane < count; ++lane) p[lane * stride] = v[lane];
}

LAM_INLINE lam_scalar lam_lane(lam_vector v, long lane) { return v[lane]; }
LAM_INLINE lam_integers lam_lane_numbers(void) {
  lam_integers number;
  for (int lane = 0; lane < LAM_LANES; ++lane) number[lane] = lane;
  return number;
}
// Comparing lane numbers rather than writing the lane: that would go through memory and wait for it.
/// v with x in one lane.
LAM_INLINE lam_vector lam_with_lane(lam_vector v, long lane, lam_scalar x) {
  return lam_lane_numbers() == (lam_integers)lane ? (lam_vector)x : v;
}
/// The first `count` lanes of v, the others 0.
LAM_INLINE lam_vector lam_first_lanes(lam_vector v, long count) {
  return lam_lane_numbers() < (lam_integers)count ? v : (lam_vector)0;
}

/// Asks for the cache line at p.
LAM_INLINE void lam_prefetch(const void *p) { __builtin_prefetch(p, 0, 3); }

// MARK: Selection and flags

/// Lane by lane: low ≤ x ≤ high ? a : 0.
LAM_INLINE lam_vector lam_select_within(lam_vector x, lam_scalar low, lam_scalar high, lam_vector a) {
  return ((x >= (lam_vector)low) & (x <= (lam_vector)high)) ? a : (lam_vector)0;
}

/// Lane by lane: x where it is finite, else 0.
LAM_INLINE lam_vector lam_keep_finite(lam_vector x) { return x - x == (lam_vector)0 ? x : (lam_vector)0; }

LAM_INLINE uint32_t lam_bits(lam_flags flags) {
#ifdef LAMINA_DOUBLE
  uint8_t bits;
#else
  uint16_t bits;
#endif
  __builtin_memcpy(&bits, &flags, sizeof bits);
  return bits;
}
/// Bit i: whether lane i equals x.
LAM_INLINE uint32_t lam_bits_equal(lam_vector v, lam_scalar x) {
  return lam_bits(__builtin_convertvector(v == (lam_vector)x, lam_flags));
}
/// Bit i: whether lane i is above x.
LAM_INLINE uint32_t lam_bits_above(lam_vector v, lam_scalar x) {
  return lam_bits(__builtin_convertvector(v > (lam_vector)x, lam_flags));
}
LAM_INLINE long lam_first_bit(uint32_t bits) { return __builtin_ctz(bits); }

// MARK: Doubles

LAM_INLINE lam_doubles lam_add_square(lam_doubles sum, lam_doubles x) {
#if defined(__FMA__) || defined(__aarch64__)
  return __builtin_elementwise_fma(x, x, sum);
#else
  return sum + x * x;
#endif
}
LAM_INLINE double lam_sum_doubles(lam_doubles v) {
#ifdef LAMINA_DOUBLE
  double __attribute__((ext_vector_type(8))) eight = v;
#else
  double __attribute__((ext_vector_type(8))) eight = v.lo + v.hi;
#endif
  double __attribute__((ext_vector_type(4))) four = eight.lo + eight.hi;
  double __attribute__((ext_vector_type(2))) two = four.lo + four.hi;
  return two.x + two.y;
}

// MARK: Hashes

/// The finalizer of SplitMix64 (Steele, Lea and Flood 2014): every bit of x reaches every bit of the result.
LAM_INLINE uint64_t lam_mix64(uint64_t x) {
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
  return x ^ (x >> 31);
}

/// A number for each of `lanes` columns from `column`: two rounds of MurmurHash3's 32-bit finalizer, one per half of
/// the row's key. The last shift of the second round is left out: it cannot reach the high bits, which decide.
LAM_INLINE lam_hashes lam_hash_columns(uint64_t key, uint32_t column) {
  lam_hashes x = __builtin_convertvector(lam_lane_numbers(), lam_hashes);
  x = (x + column) ^ (uint32_t)key;
  x = (x ^ (x >> 16)) * 0x85ebca6bu;
  x = (x ^ (x >> 13)) * 0xc2b2ae35u;
  x = (x ^ (x >> 16)) + (uint32_t)(key >> 32);
  x = (x ^ (x >> 16)) * 0x85ebca6bu;
  return (x ^ (x >> 13)) * 0xc2b2ae35u;
}

/// Lane by lane: hash < threshold ? v : 0.
LAM_INLINE lam_vector lam_keep_below(lam_vector v, lam_hashes hash, uint32_t threshold) {
#ifdef LAMINA_DOUBLE
  lam_integers keep = __builtin_convertvector(hash < threshold, lam_integers);
#else
  lam_integers keep = hash < threshold;
#endif
  return keep ? v : (lam_vector)0;
}

#pragma clang diagnostic pop
