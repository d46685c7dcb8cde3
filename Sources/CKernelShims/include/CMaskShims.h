// Masks of one bit a lane, and stores that go past the caches; included by CKernelShims.h.
#pragma once
#include "CKernelShims.h"

// MARK: Bits

#ifdef LAMINA_DOUBLE
typedef uint8_t lam_lane_bits;
#else
typedef uint16_t lam_lane_bits;
#endif

LAM_INLINE lam_lane_bits lam_load_bits(const uint8_t *p) {
  lam_lane_bits bits;
  __builtin_memcpy(&bits, p, sizeof bits);
  return bits;
}
LAM_INLINE void lam_store_bits(uint8_t *p, lam_lane_bits bits) { __builtin_memcpy(p, &bits, sizeof bits); }

#if defined(__AVX512F__) && !defined(LAMINA_DOUBLE)
/// Bit i: whether lane i is not ≤ 0 (so a NaN's bit is 1).
LAM_INLINE lam_lane_bits lam_bits_not_below_or_zero(lam_vector v) {
  return (lam_lane_bits)__builtin_ia32_cmpps512_mask((lam_f16)v, (lam_f16)(lam_vector)0, 0x16, 0xFFFF, 4);
}
/// Lane by lane: v where the bit is 1, else 0.
LAM_INLINE lam_vector lam_keep_masked(lam_vector v, lam_lane_bits bits) {
  return (lam_vector)__builtin_ia32_selectps_512(bits, (lam_f16)v, (lam_f16)(lam_vector)0);
}
#elif defined(__AVX512F__)
/// Bit i: whether lane i is not ≤ 0 (so a NaN's bit is 1).
LAM_INLINE lam_lane_bits lam_bits_not_below_or_zero(lam_vector v) {
  return (lam_lane_bits)__builtin_ia32_cmppd512_mask((lam_d8)v, (lam_d8)(lam_vector)0, 0x16, 0xFF, 4);
}
/// Lane by lane: v where the bit is 1, else 0.
LAM_INLINE lam_vector lam_keep_masked(lam_vector v, lam_lane_bits bits) {
  return (lam_vector)__builtin_ia32_selectpd_512(bits, (lam_d8)v, (lam_d8)(lam_vector)0);
}
#elif defined(__AVX2__)
// A register's signs are gathered, or spread, by one instruction; what the compiler makes of comparisons packs them first.
#ifdef LAMINA_DOUBLE
typedef uint8_t lam_bits_everywhere __attribute__((ext_vector_type(64)));
enum { LAM_SIGN_BIT = 63 };
#else
typedef uint16_t lam_bits_everywhere __attribute__((ext_vector_type(32)));
enum { LAM_SIGN_BIT = 31 };
#endif
/// Bit i: whether lane i is not ≤ 0 (so a NaN's bit is 1).
LAM_INLINE lam_lane_bits lam_bits_not_below_or_zero(lam_vector v) {
  const lam_half_native zero = {0};
  int low = LAM_HALF(movmsk)(LAM_HALF(cmp)((lam_half_native)v.lo, zero, 0x16));
  const int high = LAM_HALF(movmsk)(LAM_HALF(cmp)((lam_half_native)v.hi, zero, 0x16));
  // Unseen where it comes from: the compiler would pack both comparisons instead.
  __asm__("" : "+r"(low));
  return (lam_lane_bits)(low | high << LAM_LANES / 2);
}
/// Lane by lane: v where the bit is 1, else 0.
LAM_INLINE lam_vector lam_keep_masked(lam_vector v, lam_lane_bits bits) {
  // Each lane shifts its bit to the sign.
  const lam_integers signs = (lam_integers)(lam_bits_everywhere)bits << (LAM_SIGN_BIT - lam_lane_numbers());
  const lam_half_native zero = {0};
  lam_vector kept;
  kept.lo = LAM_HALF(blendv)(zero, (lam_half_native)v.lo, (lam_half_native)signs.lo);
  kept.hi = LAM_HALF(blendv)(zero, (lam_half_native)v.hi, (lam_half_native)signs.hi);
  return kept;
}
#else
/// Bit i: whether lane i is not ≤ 0 (so a NaN's bit is 1).
LAM_INLINE lam_lane_bits lam_bits_not_below_or_zero(lam_vector v) {
  return (lam_lane_bits)~lam_bits(__builtin_convertvector(v <= (lam_vector)0, lam_flags));
}
/// Lane by lane: v where the bit is 1, else 0.
LAM_INLINE lam_vector lam_keep_masked(lam_vector v, lam_lane_bits bits) {
  lam_integers bit = (lam_integers)1 << lam_lane_numbers();
  return (((lam_integers)bits & bit) == bit) ? v : (lam_vector)0;
}
#endif

/// Stores the bits of four vectors in a row: stores to come wait for few before them, of which the CPU keeps no more.
LAM_INLINE void lam_store_bits_of_four(uint8_t *p, lam_vector a, lam_vector b, lam_vector c, lam_vector d) {
  const uint64_t low = lam_bits_not_below_or_zero(a) | (uint32_t)lam_bits_not_below_or_zero(b) << LAM_LANES;
  const uint64_t high = lam_bits_not_below_or_zero(c) | (uint32_t)lam_bits_not_below_or_zero(d) << LAM_LANES;
  const uint64_t bits = low | high << (2 * LAM_LANES);
  __builtin_memcpy(p, &bits, 4 * sizeof(lam_lane_bits));
}

/// Whether a pass over four rows, for which a column's parameters are loaded once, beats one along each row: with AVX2
/// a core's loads and instructions are what normalization waits for, from the caches on.
LAM_INLINE int lam_takes_four_rows(void) {
#if defined(__AVX2__) && !defined(__AVX512F__)
  return 1;
#else
  return 0;
#endif
}

// MARK: Streaming stores

/// v to p, a multiple of 64 bytes, past the caches; `lam_end_streaming` before another thread reads it.
LAM_INLINE void lam_store_streaming(lam_scalar *p, lam_vector v) { __builtin_nontemporal_store(v, (lam_vector *)p); }
LAM_INLINE void lam_end_streaming(void) {
#if defined(__x86_64__)
  __builtin_ia32_sfence();
#else
  __atomic_thread_fence(__ATOMIC_SEQ_CST);
#endif
}
