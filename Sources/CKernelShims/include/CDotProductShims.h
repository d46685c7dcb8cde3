// Products of rows with the transposed tiles of a layer's kernel: as many scalar products at once as a vector has lanes,
// all in registers; included by CKernelShims.h.
#pragma once
#include "CProductShims.h"
#include "CTransposeShims.h"

/// A matrix in memory, as `MatrixView` lays it out.
typedef struct {
  const lam_scalar *base;
  int64_t rows;
  int64_t columns;
  int64_t stride;
} lam_matrix;

#ifdef __AVX512F__

// MARK: Sums across the lanes of many vectors

// Each step adds the halves of two vectors, in ever larger parts of a vector. Where one of them can stay in place it is
// merged, which any unit does, and only the other is shuffled, which is what the sums wait for.
#ifdef LAMINA_DOUBLE
#define LAM_HALF_LOW 0, 1, 2, 3, 8, 9, 10, 11
#define LAM_HALF_HIGH 4, 5, 6, 7, 12, 13, 14, 15
#define LAM_PAIRS_STAY 0, 9, 2, 11, 4, 13, 6, 15
#define LAM_PAIRS_MOVE 1, 8, 3, 10, 5, 12, 7, 14
#define LAM_PARTS_STAY 0, 1, 10, 11, 4, 5, 14, 15
#define LAM_PARTS_MOVE 2, 3, 8, 9, 6, 7, 12, 13
#else
#define LAM_HALF_LOW 0, 1, 2, 3, 4, 5, 6, 7, 16, 17, 18, 19, 20, 21, 22, 23
#define LAM_HALF_HIGH 8, 9, 10, 11, 12, 13, 14, 15, 24, 25, 26, 27, 28, 29, 30, 31
#define LAM_ONES_STAY 0, 1, 18, 19, 4, 5, 22, 23, 8, 9, 26, 27, 12, 13, 30, 31
#define LAM_ONES_MOVE 2, 3, 16, 17, 6, 7, 20, 21, 10, 11, 24, 25, 14, 15, 28, 29
#define LAM_ONES_EVEN 0, 2, 16, 18, 4, 6, 20, 22, 8, 10, 24, 26, 12, 14, 28, 30
#define LAM_ONES_ODD 1, 3, 17, 19, 5, 7, 21, 23, 9, 11, 25, 27, 13, 15, 29, 31
#define LAM_PARTS_STAY 0, 1, 2, 3, 20, 21, 22, 23, 8, 9, 10, 11, 28, 29, 30, 31
#define LAM_PARTS_MOVE 4, 5, 6, 7, 16, 17, 18, 19, 12, 13, 14, 15, 24, 25, 26, 27
#endif
#define LAM_ADD_SHUFFLED(a, b, low, high) (__builtin_shufflevector(a, b, low) + __builtin_shufflevector(a, b, high))

/// Lane i: the sum of the lanes of vector i.
LAM_INLINE lam_vector lam_sum_each(const lam_vector *s) {
  lam_vector pairs[4];
#ifdef LAMINA_DOUBLE
  LAM_UNROLL for (int i = 0; i < 4; ++i)
    pairs[i] = LAM_ADD_SHUFFLED(s[2 * i], s[2 * i + 1], LAM_PAIRS_STAY, LAM_PAIRS_MOVE);
#else
  lam_vector ones[8];
  LAM_UNROLL for (int i = 0; i < 8; ++i)
    ones[i] = LAM_ADD_SHUFFLED(s[2 * i], s[2 * i + 1], LAM_ONES_STAY, LAM_ONES_MOVE);
  LAM_UNROLL for (int i = 0; i < 4; ++i)
    pairs[i] = LAM_ADD_SHUFFLED(ones[2 * i], ones[2 * i + 1], LAM_ONES_EVEN, LAM_ONES_ODD);
#endif
  const lam_vector left = LAM_ADD_SHUFFLED(pairs[0], pairs[1], LAM_PARTS_STAY, LAM_PARTS_MOVE);
  const lam_vector right = LAM_ADD_SHUFFLED(pairs[2], pairs[3], LAM_PARTS_STAY, LAM_PARTS_MOVE);
  return LAM_ADD_SHUFFLED(left, right, LAM_HALF_LOW, LAM_HALF_HIGH);
}

// MARK: y = z·Wᵀ

// One tile's share: W's rows lie without gaps, VECTORS whole vectors each; z's last vector may be cut off. A row or two
// stay in registers while W's rows pass by in their order; four would take too many. With ASKS those of the next part are
// asked for ahead: W comes from beyond the L1 cache, and a part of a tile is too short for prefetchers to follow.
#define LAM_ADD_DOTS_1(ASKS, VECTORS) LAM_ADD_DOTS_FEW(1, ASKS, VECTORS)
#define LAM_ADD_DOTS_2(ASKS, VECTORS) LAM_ADD_DOTS_FEW(2, ASKS, VECTORS)
#define LAM_ADD_DOTS_FEW(ROWS, ASKS, VECTORS)                                                                          \
  case VECTORS: {                                                                                                      \
    lam_vector part[ROWS][VECTORS];                                                                                    \
    LAM_UNROLL for (int r = 0; r < ROWS; ++r)                                                                          \
    LAM_UNROLL for (int v = 0; v < VECTORS; ++v)                                                                       \
      part[r][v] = v < VECTORS - 1 ? lam_load(from + r * z_stride + v * LAM_LANES)                                     \
                                   : lam_load_first(from + r * z_stride + v * LAM_LANES, width - v * LAM_LANES);       \
    LAM_UNROLL for (int q = 0; q < LAM_LANES / ROWS; ++q)                                                              \
    LAM_UNROLL for (int v = 0; v < VECTORS; ++v) {                                                                     \
      if (ASKS) lam_prefetch(w + ((LAM_LANES / ROWS + q) * VECTORS + v) * LAM_LANES);                                  \
      const lam_vector factor = lam_load(w + (q * VECTORS + v) * LAM_LANES);                                           \
      LAM_UNROLL for (int r = 0; r < ROWS; ++r)                                                                        \
        sum[r * (LAM_LANES / ROWS) + q] = lam_multiply_add(part[r][v], factor, sum[r * (LAM_LANES / ROWS) + q]);       \
    }                                                                                                                  \
    break;                                                                                                             \
  }
#define LAM_ADD_DOTS_4(ASKS, VECTORS)                                                                                  \
  case VECTORS: {                                                                                                      \
    LAM_UNROLL for (int v = 0; v < VECTORS; ++v) {                                                                     \
      lam_vector part[4];                                                                                              \
      LAM_UNROLL for (int r = 0; r < 4; ++r)                                                                           \
        part[r] = v < VECTORS - 1 ? lam_load(from + r * z_stride + v * LAM_LANES)                                      \
                                  : lam_load_first(from + r * z_stride + v * LAM_LANES, width - v * LAM_LANES);        \
      LAM_UNROLL for (int q = 0; q < LAM_LANES / 4; ++q) {                                                             \
        if (ASKS) lam_prefetch(w + ((LAM_LANES / 4 + q) * VECTORS + v) * LAM_LANES);                                   \
        const lam_vector factor = lam_load(w + (q * VECTORS + v) * LAM_LANES);                                         \
        LAM_UNROLL for (int r = 0; r < 4; ++r)                                                                         \
          sum[r * (LAM_LANES / 4) + q] = lam_multiply_add(part[r], factor, sum[r * (LAM_LANES / 4) + q]);              \
      }                                                                                                                \
    }                                                                                                                  \
    break;                                                                                                             \
  }
#define LAM_ADD_DOTS(ROWS, ASKS)                                                                                       \
  LAM_ADD_DOTS_##ROWS(ASKS, 1) LAM_ADD_DOTS_##ROWS(ASKS, 2) LAM_ADD_DOTS_##ROWS(ASKS, 3)                               \
  LAM_ADD_DOTS_##ROWS(ASKS, 4) LAM_MORE_DOTS(ROWS, ASKS)
// A tile is 64 columns wide at most.
#ifdef LAMINA_DOUBLE
#define LAM_MORE_DOTS(ROWS, ASKS)                                                                                      \
  LAM_ADD_DOTS_##ROWS(ASKS, 5) LAM_ADD_DOTS_##ROWS(ASKS, 6) LAM_ADD_DOTS_##ROWS(ASKS, 7) LAM_ADD_DOTS_##ROWS(ASKS, 8)
#else
#define LAM_MORE_DOTS(ROWS, ASKS)
#endif

/// Defines NAME: ROWS rows of y = z·Wᵀ, or y += z·Wᵀ, and as many columns from `column` as a vector has lanes.
///
/// The columns of z and W come in `count` tiles, at most 64 columns wide; the first `skipped` columns of y stay. Parts of
/// which every column is skipped are left out where there are more than two: with fewer, the loop over them is unrolled,
/// which is worth more. With ASKS, W is asked for ahead.
#define LAM_DEFINE_DOTS(NAME, ROWS, ASKS)                                                                              \
  LAM_INLINE void NAME(const lam_scalar *z, int64_t z_stride, const lam_matrix *tiles, int64_t count, int64_t column,  \
                       lam_scalar *y, int64_t y_stride, int64_t skipped, int adds) {                                   \
    lam_vector part[ROWS], row[ROWS];                                                                                  \
    const int first = ROWS > 2 ? (int)(skipped / (LAM_LANES / ROWS)) : 0;                                              \
    for (int p = 0; p < first; ++p) part[p] = (lam_vector)(lam_scalar)0;                                               \
    for (int p = first; p < ROWS; ++p) {                                                                               \
      lam_vector sum[LAM_LANES];                                                                                       \
      LAM_UNROLL for (int i = 0; i < LAM_LANES; ++i) sum[i] = (lam_vector)(lam_scalar)0;                               \
      const lam_scalar *from = z;                                                                                      \
      for (int64_t t = 0; t < count; ++t) {                                                                            \
        const int64_t width = tiles[t].columns;                                                                        \
        const lam_scalar *w = tiles[t].base + (column + p * (LAM_LANES / ROWS)) * tiles[t].stride;                     \
        switch ((width + LAM_LANES - 1) / LAM_LANES) { LAM_ADD_DOTS(ROWS, ASKS) }                                      \
        from += width;                                                                                                 \
      }                                                                                                                \
      part[p] = lam_sum_each(sum);                                                                                     \
    }                                                                                                                  \
    LAM_TURN_##ROWS                                                                                                    \
    LAM_UNROLL for (int r = 0; r < ROWS; ++r) {                                                                        \
      lam_scalar *to = y + r * y_stride + column;                                                                      \
      const lam_vector before = lam_load(to);                                                                          \
      if (adds) row[r] += before;                                                                                      \
      if (skipped) row[r] = lam_lane_numbers() < (lam_integers)(int)skipped ? before : row[r];                         \
      lam_store(to, row[r]);                                                                                           \
    }                                                                                                                  \
  }

// From parts with a few columns of each row to rows.
#define LAM_TURN_1 row[0] = part[0];
#define LAM_TURN_2                                                                                                     \
  row[0] = __builtin_shufflevector(part[0], part[1], LAM_HALF_LOW);                                                    \
  row[1] = __builtin_shufflevector(part[0], part[1], LAM_HALF_HIGH);
#define LAM_TURN_4                                                                                                     \
  {                                                                                                                    \
    const lam_vector even0 = __builtin_shufflevector(part[0], part[1], LAM_PARTS_EVEN);                                \
    const lam_vector odd0 = __builtin_shufflevector(part[0], part[1], LAM_PARTS_ODD);                                  \
    const lam_vector even1 = __builtin_shufflevector(part[2], part[3], LAM_PARTS_EVEN);                                \
    const lam_vector odd1 = __builtin_shufflevector(part[2], part[3], LAM_PARTS_ODD);                                  \
    row[0] = __builtin_shufflevector(even0, even1, LAM_PARTS_EVEN);                                                    \
    row[2] = __builtin_shufflevector(even0, even1, LAM_PARTS_ODD);                                                     \
    row[1] = __builtin_shufflevector(odd0, odd1, LAM_PARTS_EVEN);                                                      \
    row[3] = __builtin_shufflevector(odd0, odd1, LAM_PARTS_ODD);                                                       \
  }

LAM_DEFINE_DOTS(lam_dots_1, 1, 0)
LAM_DEFINE_DOTS(lam_dots_1_ahead, 1, 1)
LAM_DEFINE_DOTS(lam_dots_2, 2, 0)
LAM_DEFINE_DOTS(lam_dots_2_ahead, 2, 1)
LAM_DEFINE_DOTS(lam_dots_4, 4, 0)
LAM_DEFINE_DOTS(lam_dots_4_ahead, 4, 1)

#define LAM_DOTS_OF(ROWS)                                                                                              \
  case ROWS:                                                                                                           \
    if (asks) lam_dots_##ROWS##_ahead(z, z_stride, tiles, count, column, y, y_stride, skipped, adds);                  \
    else lam_dots_##ROWS(z, z_stride, tiles, count, column, y, y_stride, skipped, adds);                               \
    break;
/// 1, 2 or 4 rows; with `asks`, W is asked for ahead.
LAM_INLINE void lam_dots(int64_t rows, int asks, const lam_scalar *z, int64_t z_stride, const lam_matrix *tiles,
                         int64_t count, int64_t column, lam_scalar *y, int64_t y_stride, int64_t skipped, int adds) {
  switch (rows) { LAM_DOTS_OF(1) LAM_DOTS_OF(2) LAM_DOTS_OF(4) }
}

#else

// Never called: builds with fewer registers have a kernel of their own (CSixRowDotShims.h) or transpose the tiles.
LAM_INLINE void lam_dots(int64_t rows, int asks, const lam_scalar *z, int64_t z_stride, const lam_matrix *tiles,
                         int64_t count, int64_t column, lam_scalar *y, int64_t y_stride, int64_t skipped, int adds) {}

#endif
