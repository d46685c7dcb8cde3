// Bytes, lanes, flags and hashes; included by CKernelShims.h.
#pragma once
#include "CElementaryShims.h"

// Shims that call shims: all are inlined, so no vector is ever passed the way the warning fears.
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

// 32 columns of a row at a time, from 16 words of 32 bits: two draws of each.
typedef uint32_t lam_words __attribute__((ext_vector_type(16)));
typedef _Bool lam_word_flags __attribute__((ext_vector_type(16)));

/// The words of a row from 16·block on, before they are mixed: multiples of an odd number, half of the row's key added.
LAM_INLINE lam_words lam_first_words(uint64_t key, uint32_t block) {
  lam_words x = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
  return (x + block * 16) * 0x9e3779b9u + (uint32_t)key;
}
LAM_INLINE lam_words lam_next_words(lam_words x) { return x + 16 * 0x9e3779b9u; }

/// The start of Wellons' 32-bit permutation ("Prospecting for hash functions", 2018), half of the key added on the way.
LAM_INLINE lam_words lam_mix_words(lam_words x, uint64_t key) {
  x = (x ^ (x >> 16)) * 0x7feb352du + (uint32_t)(key >> 32);
  return x ^ (x >> 15);
}
// Its last product, by two factors: the high bits decide, which every bit of the word has reached.
/// The draws of columns 32·block … 32·block + 15.
LAM_INLINE lam_words lam_lower_draws(lam_words x) { return x * 0x846ca68bu; }
/// The draws of columns 32·block + 16 … 32·block + 31.
LAM_INLINE lam_words lam_upper_draws(lam_words x) { return x * 0x9e3779b1u; }

/// Lane i: v where draw i is below the threshold, else 0; of Double's draws the eight of `half`.
LAM_INLINE lam_vector lam_keep_below(lam_vector v, lam_words draws, int64_t half, uint32_t threshold) {
#ifdef LAMINA_DOUBLE
  typedef uint32_t lam_eight __attribute__((ext_vector_type(8)));
  lam_eight own = half ? draws.hi : draws.lo;
  return __builtin_convertvector(own < (lam_eight)threshold, lam_integers) ? v : (lam_vector)0.0;
#else
  return draws < (lam_words)threshold ? v : (lam_vector)0.0f;
#endif
}

/// Bit i: whether draw i is below the threshold.
LAM_INLINE uint32_t lam_bits_below(lam_words draws, uint32_t threshold) {
  lam_word_flags flags = __builtin_convertvector(draws < (lam_words)threshold, lam_word_flags);
  uint16_t bits;
  __builtin_memcpy(&bits, &flags, sizeof bits);
  return bits;
}

/// Lane i: v where bit i is set, else 0.
LAM_INLINE lam_vector lam_keep_bits(lam_vector v, uint32_t bits) {
  lam_integers bit = (lam_integers)1 << lam_lane_numbers();
  return ((lam_integers)(int32_t)bits & bit) != 0 ? v : (lam_vector)(lam_scalar)0;
}
