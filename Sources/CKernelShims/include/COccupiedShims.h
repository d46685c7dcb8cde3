// Where a matrix is not zero: the margins of images, one-hot inputs, units that never fire. Products of six rows leave
// out what is zero for all of them; included by CProductShims.h.
#pragma once
#include "CElementaryShims.h"

#ifdef LAMINA_SIX_ROWS

enum {
  /// Terms, or samples, of which a list may name any.
  LAM_MOST_TERMS = 2048,
  LAM_MOST_SAMPLES = 512,
  /// Places between the one whose terms are added and the one whose are asked for.
  LAM_PLACES_AHEAD = 6,
};

/// Places at which there is a number other than 0, in ascending order.
typedef struct {
  int64_t count;
  uint16_t place[512 + LAM_PLACES_AHEAD];
} lam_places;

/// Lists for as many blocks of rows as are multiplied together.
typedef struct {
  lam_places block[4];
} lam_block_places;

// Without the zeros that Swift's own initializer writes: `count` tells how many places there are.
LAM_INLINE lam_places lam_uninitialized_places(void) {
  lam_places places;
  return places;
}
LAM_INLINE lam_block_places lam_uninitialized_block_places(void) {
  lam_block_places places;
  return places;
}
LAM_INLINE lam_places *lam_places_of_block(lam_block_places *places, int64_t block) { return &places->block[block]; }

#ifdef LAMINA_DOUBLE
typedef int64_t lam_four __attribute__((ext_vector_type(4)));
#else
typedef int32_t lam_four __attribute__((ext_vector_type(4)));
#endif
typedef lam_four lam_unaligned_four __attribute__((aligned(4)));

LAM_INLINE lam_four lam_load_four(const lam_scalar *p) { return *(const lam_unaligned_four *)p; }
LAM_INLINE int lam_has_any(lam_four bits) { return __builtin_reduce_or(bits) != 0; }

/// Whether a product of so many terms and columns is worth a look for zeros.
LAM_INLINE int lam_looks_for_zeros(int64_t terms, int64_t columns) {
  return terms >= 64 && terms <= LAM_MOST_TERMS && columns > 2 * LAM_LANES;
}

/// Lists the fours of columns of which one of `rows` rows has a number other than 0 (or −0), by their index.
///
/// Returns whether they are few enough for a product of theirs alone to be faster than of all, which is when an eighth
/// may be left out: to go through a list takes some 6 % longer a term. Up to three last columns stand in no four; the
/// columns are at most `LAM_MOST_TERMS`.
LAM_APART int lam_list_fours(const lam_scalar *x, int64_t x_stride, int64_t rows, int64_t columns, lam_places *places) {
  int64_t count = 0, column = 0;
  for (; column + LAM_LANES <= columns; column += LAM_LANES) {
    lam_integers any = (lam_integers)lam_load(x + column);
    for (int64_t r = 1; r < rows; ++r) any |= (lam_integers)lam_load(x + r * x_stride + column);
    lam_four fours[LAM_LANES / 4];
    __builtin_memcpy(fours, &any, sizeof any);
    LAM_UNROLL for (int i = 0; i < LAM_LANES / 4; ++i) {
      places->place[count] = (uint16_t)(column / 4 + i);
      count += lam_has_any(fours[i]);
    }
  }
  for (; column + 4 <= columns; column += 4) places->place[count++] = (uint16_t)(column / 4);
  places->count = count;
  for (int64_t i = 0; i < LAM_PLACES_AHEAD; ++i) places->place[count + i] = 0;
  return 8 * count <= 7 * (columns / 4);
}

/// Whether one of six inputs of a sample is not 0 (or −0).
LAM_INLINE int lam_has_any_of_six(const lam_scalar *x) { return lam_has_any(lam_load_four(x) | lam_load_four(x + 2)); }

/// Lists the samples, four or more, of which one of six inputs is not 0 (or −0).
///
/// Returns whether they are few enough for a gradient by theirs alone to be faster, three quarters. It ends where the
/// first four have some: inputs without zeros must hardly pay for the look, nor those of which a ReLU left every second.
LAM_APART int lam_list_samples(const lam_scalar *x, int64_t x_stride, int64_t samples, lam_places *places) {
  if (samples > LAM_MOST_SAMPLES) return 0;
  if (lam_has_any_of_six(x) & lam_has_any_of_six(x + x_stride) & lam_has_any_of_six(x + 2 * x_stride) &
      lam_has_any_of_six(x + 3 * x_stride))
    return 0;
  int64_t count = 0;
  for (int64_t i = 0; i < samples; ++i) {
    places->place[count] = (uint16_t)i;
    count += lam_has_any_of_six(x);
    x += x_stride;
  }
  places->count = count;
  return 4 * count <= 3 * samples;
}

#endif
