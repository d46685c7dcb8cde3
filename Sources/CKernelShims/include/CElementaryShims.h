// Partial vectors, Double accumulation and the bit tricks of the elementary functions; included by CKernelShims.h.
#pragma once
#include "CKernelShims.h"

// Everything here is inlined: no vector ever crosses a call, whose convention this would warn about.
// MARK: Products that are subtracted, or subtracted from

// In C, because Swift negates a vector by subtracting it from 0, an instruction of its own.
/// a·b − c, rounded as `lam_multiply_add`.
LAM_INLINE lam_vector lam_multiply_subtract(lam_vector a, lam_vector b, lam_vector c) { return lam_multiply_add(a, b, -c); }
/// c − a·b, rounded so too.
LAM_INLINE lam_vector lam_subtract_product(lam_vector c, lam_vector a, lam_vector b) { return lam_multiply_add(-a, b, c); }

// MARK: Vectors of doubles, as many lanes as a vector of scalars

#ifdef LAMINA_DOUBLE
typedef double lam_doubles __attribute__((ext_vector_type(8)));
#else
typedef double lam_doubles __attribute__((ext_vector_type(16)));
#endif
typedef lam_doubles lam_unaligned_doubles __attribute__((aligned(8)));

LAM_INLINE lam_doubles lam_widen(lam_vector v) { return __builtin_convertvector(v, lam_doubles); }
LAM_INLINE lam_vector lam_narrow(lam_doubles v) { return __builtin_convertvector(v, lam_vector); }
LAM_INLINE lam_doubles lam_load_doubles(const double *p) { return *(const lam_unaligned_doubles *)p; }
LAM_INLINE void lam_store_doubles(double *p, lam_doubles v) { *(lam_unaligned_doubles *)p = v; }
LAM_INLINE lam_doubles lam_max_doubles(lam_doubles x, lam_doubles low) { return low > x ? low : x; }

// MARK: The first lanes of a vector

#define LAM_LANES ((int64_t)(sizeof(lam_vector) / sizeof(lam_scalar)))

typedef lam_scalar lam_half __attribute__((ext_vector_type(LAM_LANES / 2)));
typedef lam_half lam_unaligned_half __attribute__((aligned(4)));

LAM_INLINE lam_half lam_load_half(const lam_scalar *p) { return *(const lam_unaligned_half *)p; }

LAM_INLINE lam_integers lam_lane_numbers(void) {
#ifdef LAMINA_DOUBLE
  return (lam_integers){0, 1, 2, 3, 4, 5, 6, 7};
#else
  return (lam_integers){0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
#endif
}


#if defined(__AVX512F__) && !defined(LAMINA_DOUBLE)
typedef float lam_f16 __attribute__((vector_size(64)));
/// The first `count` lanes from p, `fill` in the others; nothing past them is touched.
LAM_INLINE lam_vector lam_load_first_or(const lam_scalar *p, int64_t count, lam_vector fill) {
  return (lam_vector)__builtin_ia32_loadups512_mask(p, (lam_f16)fill,
                                                    (unsigned short)((1u << count) - 1));
}
LAM_INLINE void lam_store_first(lam_scalar *p, lam_vector v, int64_t count) {
  __builtin_ia32_storeups512_mask(p, (lam_f16)v, (unsigned short)((1u << count) - 1));
}
#elif defined(__AVX512F__)
typedef double lam_d8 __attribute__((vector_size(64)));
/// The first `count` lanes from p, `fill` in the others; nothing past them is touched.
LAM_INLINE lam_vector lam_load_first_or(const lam_scalar *p, int64_t count, lam_vector fill) {
  return (lam_vector)__builtin_ia32_loadupd512_mask(p, (lam_d8)fill,
                                                    (unsigned char)((1u << count) - 1));
}
LAM_INLINE void lam_store_first(lam_scalar *p, lam_vector v, int64_t count) {
  __builtin_ia32_storeupd512_mask(p, (lam_d8)v, (unsigned char)((1u << count) - 1));
}
#elif defined(__AVX2__)
// A load by a mask, because a vector put together in memory is waited for; a store in pieces, because one by a mask takes
// some AMD CPUs dozens of instructions.
#ifdef LAMINA_DOUBLE
#define LAM_HALF(name) __builtin_ia32_##name##pd256
typedef double lam_half_native __attribute__((vector_size(32)));
typedef long long lam_half_mask __attribute__((vector_size(32)));
#else
#define LAM_HALF(name) __builtin_ia32_##name##ps256
typedef float lam_half_native __attribute__((vector_size(32)));
typedef int lam_half_mask __attribute__((vector_size(32)));
#endif
/// Of half a vector from p the lanes in `wanted`, the others 0; nothing else is touched.
LAM_INLINE lam_half lam_load_wanted(const lam_scalar *p, lam_half_mask wanted) {
  return (lam_half)LAM_HALF(maskload)((const lam_half_native *)p, wanted);
}
/// The first `count` lanes from p, `fill` in the others; nothing past them is touched.
LAM_INLINE lam_vector lam_load_first_or(const lam_scalar *p, int64_t count, lam_vector fill) {
  const lam_integers wanted = lam_lane_numbers() < (lam_integers)count;
  lam_vector v;
  v.lo = lam_load_wanted(p, (lam_half_mask)wanted.lo);
  v.hi = lam_load_wanted(p + LAM_LANES / 2, (lam_half_mask)wanted.hi);
  return wanted ? v : fill;
}
LAM_INLINE void lam_store_first(lam_scalar *p, lam_vector v, int64_t count) {
  if (count & LAM_LANES) { *(lam_unaligned_vector *)p = v; return; }
  lam_half half = v.lo;
  if (count & LAM_LANES / 2) { __builtin_memcpy(p, &half, sizeof half); half = v.hi; p += LAM_LANES / 2; }
#ifndef LAMINA_DOUBLE
  lam_scalar __attribute__((ext_vector_type(4))) four = half.lo;
  if (count & 4) { __builtin_memcpy(p, &four, sizeof four); four = half.hi; p += 4; }
#else
  const lam_half four = half;
#endif
  lam_scalar __attribute__((ext_vector_type(2))) two = four.lo;
  if (count & 2) { __builtin_memcpy(p, &two, sizeof two); two = four.hi; p += 2; }
  if (count & 1) *p = two.x;
}
#else
// In pieces of a power of two: no call of memcpy and no loop over lanes.
/// The first `count` lanes from p, `fill` in the others; nothing past them is touched.
LAM_INLINE lam_vector lam_load_first_or(const lam_scalar *p, int64_t count, lam_vector fill) {
  lam_vector v = fill;
  lam_scalar *lane = (lam_scalar *)&v;
  if (count & LAM_LANES) return *(const lam_unaligned_vector *)p;
#ifndef LAMINA_DOUBLE
  if (count & 8) { __builtin_memcpy(lane, p, 8 * sizeof(lam_scalar)); lane += 8; p += 8; }
#endif
  if (count & 4) { __builtin_memcpy(lane, p, 4 * sizeof(lam_scalar)); lane += 4; p += 4; }
  if (count & 2) { __builtin_memcpy(lane, p, 2 * sizeof(lam_scalar)); lane += 2; p += 2; }
  if (count & 1) *lane = *p;
  return v;
}
LAM_INLINE void lam_store_first(lam_scalar *p, lam_vector v, int64_t count) {
  const lam_scalar *lane = (const lam_scalar *)&v;
  if (count & LAM_LANES) *(lam_unaligned_vector *)p = v;
#ifndef LAMINA_DOUBLE
  if (count & 8) { __builtin_memcpy(p, lane, 8 * sizeof(lam_scalar)); lane += 8; p += 8; }
#endif
  if (count & 4) { __builtin_memcpy(p, lane, 4 * sizeof(lam_scalar)); lane += 4; p += 4; }
  if (count & 2) { __builtin_memcpy(p, lane, 2 * sizeof(lam_scalar)); lane += 2; p += 2; }
  if (count & 1) *p = *lane;
}
#endif

LAM_INLINE lam_vector lam_load_first(const lam_scalar *p, int64_t count) {
  return lam_load_first_or(p, count, (lam_vector)(lam_scalar)0);
}
LAM_INLINE lam_doubles lam_load_first_doubles(const double *p, int64_t count) {
#if defined(__AVX2__) && !defined(__AVX512F__)
  typedef double four_doubles __attribute__((vector_size(32)));
  typedef long long four_integers __attribute__((vector_size(32)));
  four_doubles part[LAM_LANES / 4];
  LAM_UNROLL for (int i = 0; i < LAM_LANES / 4; ++i) {
    const four_integers number = {4 * i, 4 * i + 1, 4 * i + 2, 4 * i + 3}, wanted = number < count;
    part[i] = __builtin_ia32_maskloadpd256((const four_doubles *)(p + 4 * i), wanted);
  }
  lam_doubles v;
  __builtin_memcpy(&v, part, sizeof v);
#else
  lam_doubles v = (lam_doubles)0.0;
#pragma clang loop unroll(disable) vectorize(disable)
  for (int64_t i = 0; i < count; i++) ((double *)&v)[i] = p[i];
#endif
  return v;
}
LAM_INLINE void lam_store_first_doubles(double *p, lam_doubles v, int64_t count) {
#pragma clang loop unroll(disable) vectorize(disable)
  for (int64_t i = 0; i < count; i++) p[i] = ((const double *)&v)[i];
}

// MARK: Selection and reduction

LAM_INLINE lam_vector lam_splat(lam_scalar x) { return (lam_vector)x; }
/// Lane by lane: c ≤ 0 ? 0 : v (so a NaN in c keeps v).
LAM_INLINE lam_vector lam_zero_where_not_positive(lam_vector c, lam_vector v) { return c <= (lam_vector)(lam_scalar)0 ? (lam_vector)(lam_scalar)0 : v; }
/// Lane by lane: a < b ? x : y.
LAM_INLINE lam_vector lam_select_less(lam_vector a, lam_vector b, lam_vector x, lam_vector y) { return a < b ? x : y; }
/// Lane by lane: a == b ? x : y.
LAM_INLINE lam_vector lam_select_equal(lam_vector a, lam_vector b, lam_vector x, lam_vector y) { return a == b ? x : y; }
LAM_INLINE lam_vector lam_copy_sign(lam_vector x, lam_vector sign) { return __builtin_elementwise_copysign(x, sign); }

#ifdef LAMINA_DOUBLE
LAM_INLINE lam_scalar lam_sum(lam_vector v) {
  double __attribute__((ext_vector_type(4))) a = v.lo + v.hi;
  double __attribute__((ext_vector_type(2))) b = a.lo + a.hi;
  return b.x + b.y;
}
LAM_INLINE lam_scalar lam_largest(lam_vector v) {
  double __attribute__((ext_vector_type(4))) a = v.lo > v.hi ? v.lo : v.hi;
  double __attribute__((ext_vector_type(2))) b = a.lo > a.hi ? a.lo : a.hi;
  return b.x > b.y ? b.x : b.y;
}
#else
LAM_INLINE lam_scalar lam_sum(lam_vector v) {
  float __attribute__((ext_vector_type(8))) a = v.lo + v.hi;
  float __attribute__((ext_vector_type(4))) b = a.lo + a.hi;
  float __attribute__((ext_vector_type(2))) c = b.lo + b.hi;
  return c.x + c.y;
}
LAM_INLINE lam_scalar lam_largest(lam_vector v) {
  float __attribute__((ext_vector_type(8))) a = v.lo > v.hi ? v.lo : v.hi;
  float __attribute__((ext_vector_type(4))) b = a.lo > a.hi ? a.lo : a.hi;
  float __attribute__((ext_vector_type(2))) c = b.lo > b.hi ? b.lo : b.hi;
  return c.x > c.y ? c.x : c.y;
}
#endif

// MARK: Powers of two

#ifdef LAMINA_DOUBLE
#define LAM_ROUNDING 6755399441055744.0 /* 1.5·2^52: adding it rounds to an integer held in the low bits */
#define LAM_MANTISSA_BITS 52
#define LAM_BIAS 1023
#define LAM_SPLIT_MASK ((int64_t)0xFFFFFFFFF8000000)
#else
#define LAM_ROUNDING 12582912.0f /* 1.5·2^23 */
#define LAM_MANTISSA_BITS 23
#define LAM_BIAS 127
#define LAM_SPLIT_MASK ((int32_t)0xFFFFF000)
#endif

/// The nearest integer to x·y, as a scalar; |x·y| must be far below 2^(mantissa bits).
LAM_INLINE lam_vector lam_round_product(lam_vector x, lam_vector y) {
  const lam_vector magic = (lam_vector)(lam_scalar)LAM_ROUNDING;
  return lam_multiply_add(x, y, magic) - magic;
}
/// 2^n for whole n of a normal result.
LAM_INLINE lam_vector lam_power_of_two(lam_vector n) {
  // Of the sum's bits those of the integer move up to the exponent, all others out.
  const lam_vector magic = (lam_vector)(lam_scalar)(LAM_ROUNDING + LAM_BIAS);
  return (lam_vector)((lam_integers)(n + magic) << LAM_MANTISSA_BITS);
}
/// x with the lower half of its mantissa cleared: its square is exact.
LAM_INLINE lam_vector lam_upper_half(lam_vector x) { return (lam_vector)((lam_integers)x & LAM_SPLIT_MASK); }

#include "CInstructionShims.h"

// MARK: Sums of a chunk of columns

#ifdef LAMINA_DOUBLE
#define LAM_CHUNK_COLUMNS 512
#else
#define LAM_CHUNK_COLUMNS 1024
#endif

// Swift puts no structure at more than 16 bytes: the spare bytes let what is in it begin where a cache line does, and
// no vector crosses two. The sums, written again and again, begin in the middle of a page: matrices begin near the start
// of one, and a load whose last 12 address bits are those of a store in flight waits for it.
#define LAM_FROM_LINE(p) ((void *)(((uintptr_t)(p) + 63) & ~(uintptr_t)63))
#define LAM_FROM_HALF_PAGE(p) ((void *)((((uintptr_t)(p) + 4095) & ~(uintptr_t)4095) + 2048))

/// Column sums of 64 vectors: of half a block and of a block of rows in scalars, of a panel and of all rows in doubles.
typedef struct {
  uint8_t bytes[LAM_CHUNK_COLUMNS * (6 * sizeof(lam_scalar) + 4 * sizeof(double)) + 4096 + 2048];
} lam_chunk_sums;

// Without the zeros that Swift's own initializer writes: whoever reads a column has written it.
LAM_INLINE lam_chunk_sums lam_uninitialized_chunk_sums(void) {
  lam_chunk_sums sums;
  return sums;
}
LAM_INLINE lam_scalar *lam_chunk_scalars(lam_chunk_sums *sums, long index) {
  return (lam_scalar *)LAM_FROM_HALF_PAGE(sums->bytes) + index * LAM_CHUNK_COLUMNS;
}
LAM_INLINE double *lam_chunk_doubles(lam_chunk_sums *sums, long index) {
  return (double *)lam_chunk_scalars(sums, 6) + index * LAM_CHUNK_COLUMNS;
}
LAM_INLINE lam_scalar *lam_chunk_half_beta(lam_chunk_sums *sums) { return lam_chunk_scalars(sums, 0); }
LAM_INLINE lam_scalar *lam_chunk_half_gamma(lam_chunk_sums *sums) { return lam_chunk_scalars(sums, 1); }
LAM_INLINE lam_scalar *lam_chunk_block_beta(lam_chunk_sums *sums) { return lam_chunk_scalars(sums, 2); }
LAM_INLINE lam_scalar *lam_chunk_block_gamma(lam_chunk_sums *sums) { return lam_chunk_scalars(sums, 3); }
LAM_INLINE lam_scalar *lam_chunk_scale(lam_chunk_sums *sums) { return lam_chunk_scalars(sums, 4); }
LAM_INLINE lam_scalar *lam_chunk_row_beta(lam_chunk_sums *sums) { return lam_chunk_scalars(sums, 4); }
LAM_INLINE lam_scalar *lam_chunk_row_gamma(lam_chunk_sums *sums) { return lam_chunk_scalars(sums, 5); }
// Four scalars a column, in the place of the first four sums: what is made of all sums when these are used up.
LAM_INLINE lam_scalar *lam_chunk_coefficients(lam_chunk_sums *sums) { return lam_chunk_scalars(sums, 0); }
LAM_INLINE double *lam_chunk_beta(lam_chunk_sums *sums) { return lam_chunk_doubles(sums, 0); }
LAM_INLINE double *lam_chunk_gamma(lam_chunk_sums *sums) { return lam_chunk_doubles(sums, 1); }
LAM_INLINE double *lam_chunk_panel_beta(lam_chunk_sums *sums) { return lam_chunk_doubles(sums, 2); }
LAM_INLINE double *lam_chunk_panel_gamma(lam_chunk_sums *sums) { return lam_chunk_doubles(sums, 3); }

/// Two scalars for each column of 64 vectors.
typedef struct {
  uint8_t bytes[LAM_CHUNK_COLUMNS * 2 * sizeof(lam_scalar) + 64];
} lam_chunk_pair;
/// Three scalars for each column of 64 vectors.
typedef struct {
  uint8_t bytes[LAM_CHUNK_COLUMNS * 3 * sizeof(lam_scalar) + 64];
} lam_chunk_triple;

LAM_INLINE lam_chunk_pair lam_uninitialized_chunk_pair(void) {
  lam_chunk_pair chunk;
  return chunk;
}
LAM_INLINE lam_scalar *lam_chunk_pair_first(lam_chunk_pair *chunk) { return (lam_scalar *)LAM_FROM_LINE(chunk->bytes); }
LAM_INLINE lam_scalar *lam_chunk_pair_second(lam_chunk_pair *chunk) {
  return lam_chunk_pair_first(chunk) + LAM_CHUNK_COLUMNS;
}

LAM_INLINE lam_chunk_triple lam_uninitialized_chunk_triple(void) {
  lam_chunk_triple chunk;
  return chunk;
}
LAM_INLINE lam_scalar *lam_chunk_triple_start(lam_chunk_triple *chunk) {
  return (lam_scalar *)LAM_FROM_LINE(chunk->bytes);
}

/// The same memory as scalars.
LAM_INLINE lam_scalar *lam_scalars_at(double *p) { return (lam_scalar *)(void *)p; }
LAM_INLINE lam_doubles lam_splat_doubles(double x) { return (lam_doubles)x; }
