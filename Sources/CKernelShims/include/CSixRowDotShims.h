// Products of a few rows with the transposed tiles of a layer's kernel, for sixteen registers: three rows by four columns of
// sums over the lanes of half a vector; included by CKernelShims.h.
//
// W is read as it lies. To transpose it first takes as long as some five rows, fifteen where W is far.
#pragma once
#include "CDotProductShims.h"

#ifdef LAMINA_SIX_ROWS

enum { LAM_HALF_LANES = LAM_LANES / 2 };

/// Four sums, of four columns of a row.
typedef lam_scalar lam_four_sums __attribute__((ext_vector_type(4)));
typedef lam_four_sums lam_unaligned_four_sums __attribute__((aligned(4)));

/// Lane i: the sum of the lanes of half vector i.
LAM_INLINE lam_four_sums lam_sum_each_of_four(const lam_half *s) {
#ifdef LAMINA_DOUBLE
  const lam_half ab = __builtin_shufflevector(s[0], s[1], 0, 4, 2, 6) + __builtin_shufflevector(s[0], s[1], 1, 5, 3, 7);
  const lam_half cd = __builtin_shufflevector(s[2], s[3], 0, 4, 2, 6) + __builtin_shufflevector(s[2], s[3], 1, 5, 3, 7);
  return __builtin_shufflevector(ab, cd, 0, 1, 4, 5) + __builtin_shufflevector(ab, cd, 2, 3, 6, 7);
#else
#define LAM_ADD_NEIGHBOURS(a, b)                                                                                       \
  (__builtin_shufflevector(a, b, 0, 2, 8, 10, 4, 6, 12, 14) + __builtin_shufflevector(a, b, 1, 3, 9, 11, 5, 7, 13, 15))
  const lam_half ab = LAM_ADD_NEIGHBOURS(s[0], s[1]), cd = LAM_ADD_NEIGHBOURS(s[2], s[3]);
  const lam_half all = LAM_ADD_NEIGHBOURS(ab, cd);
  return all.lo + all.hi;
#endif
}

/// Adds half a vector of products: of ROWS rows, whose z is `part`, with four rows of W from `w` on.
#define LAM_ADD_HALF_DOTS(ROWS)                                                                                        \
  LAM_UNROLL for (int c = 0; c < 4; ++c) {                                                                             \
    const lam_half factor = lam_load_half(w + c * stride + u);                                                         \
    LAM_UNROLL for (int r = 0; r < ROWS; ++r) sum[r][c] = __builtin_elementwise_fma(part[r], factor, sum[r][c]);       \
  }

/// Four sums to `y`, or added to what is there; the first `skipped` stay as they are.
LAM_INLINE void lam_put_four_sums(lam_scalar *y, lam_four_sums sums, int64_t skipped, int adds) {
  if (adds) sums += *(lam_unaligned_four_sums *)y;
  if (!skipped) {
    *(lam_unaligned_four_sums *)y = sums;
    return;
  }
  lam_four_sums last = sums;
  for (int64_t c = skipped; c < 4; ++c) y[c] = ((lam_scalar *)&last)[c];
}

/// Defines NAME: ROWS rows and four columns, from `column` on, of y = z·Wᵀ, or y += z·Wᵀ; the first `skipped` stay.
///
/// The columns of z and W come in `count` tiles of W, whose rows are zeros up to whole vectors. With ASKS the next four
/// rows of W are asked for: a part of a tile is too short for prefetchers to follow.
#define LAM_DEFINE_HALF_DOTS(NAME, ROWS, ASKS)                                                                         \
  LAM_INLINE void NAME(const lam_scalar *z, int64_t z_stride, const lam_matrix *tiles, int64_t count, int64_t column,  \
                       lam_scalar *y, int64_t y_stride, int64_t skipped, int adds) {                                   \
    lam_half sum[ROWS][4], part[ROWS];                                                                                 \
    LAM_UNROLL for (int r = 0; r < ROWS; ++r)                                                                          \
    LAM_UNROLL for (int c = 0; c < 4; ++c) sum[r][c] = (lam_half)(lam_scalar)0;                                        \
    for (int64_t t = 0; t < count; ++t) {                                                                              \
      const int64_t width = tiles[t].columns, stride = tiles[t].stride, rest = width & (LAM_HALF_LANES - 1);           \
      const lam_scalar *w = tiles[t].base + column * stride;                                                           \
      int64_t u = 0;                                                                                                   \
      for (; u < width - rest; u += LAM_HALF_LANES) {                                                                  \
        LAM_UNROLL for (int r = 0; r < ROWS; ++r) part[r] = lam_load_half(z + r * z_stride + u);                       \
        if (ASKS) {                                                                                                    \
          lam_prefetch(w + 4 * stride + 2 * u);                                                                        \
          lam_prefetch(w + 6 * stride + 2 * u);                                                                        \
        }                                                                                                              \
        LAM_ADD_HALF_DOTS(ROWS)                                                                                        \
      }                                                                                                                \
      if (rest) {                                                                                                      \
        const lam_half_mask wanted = (lam_half_mask)(lam_lane_numbers() < (lam_integers)(int)rest).lo;                 \
        LAM_UNROLL for (int r = 0; r < ROWS; ++r) part[r] = lam_load_wanted(z + r * z_stride + u, wanted);             \
        LAM_ADD_HALF_DOTS(ROWS)                                                                                        \
      }                                                                                                                \
      z += width;                                                                                                      \
    }                                                                                                                  \
    LAM_UNROLL for (int r = 0; r < ROWS; ++r)                                                                          \
    lam_put_four_sums(y + r * y_stride + column, lam_sum_each_of_four(sum[r]), skipped, adds);                         \
  }

LAM_DEFINE_HALF_DOTS(lam_half_dots_1, 1, 0)
LAM_DEFINE_HALF_DOTS(lam_half_dots_1_ahead, 1, 1)
LAM_DEFINE_HALF_DOTS(lam_half_dots_2, 2, 0)
LAM_DEFINE_HALF_DOTS(lam_half_dots_2_ahead, 2, 1)
LAM_DEFINE_HALF_DOTS(lam_half_dots_3, 3, 0)
LAM_DEFINE_HALF_DOTS(lam_half_dots_3_ahead, 3, 1)

#define LAM_HALF_DOTS_OF(ROWS)                                                                                         \
  if (asks) lam_half_dots_##ROWS##_ahead(z, z_stride, tiles, count, column, y, y_stride, skipped, adds);               \
  else lam_half_dots_##ROWS(z, z_stride, tiles, count, column, y, y_stride, skipped, adds);
/// All rows of four columns from `column` on, `y` being that of column 0; with `asks`, W is asked for ahead.
LAM_INLINE void lam_half_dots(const lam_scalar *z, int64_t z_stride, int64_t rows, const lam_matrix *tiles,
                              int64_t count, int64_t column, lam_scalar *y, int64_t y_stride, int64_t skipped,
                              int adds, int asks) {
  for (; rows >= 3; rows -= 3) {
    LAM_HALF_DOTS_OF(3)
    z += 3 * z_stride;
    y += 3 * y_stride;
    // Later rows find W's in the L1 cache.
    asks = 0;
  }
  if (rows == 2) {
    LAM_HALF_DOTS_OF(2)
  } else if (rows) {
    LAM_HALF_DOTS_OF(1)
  }
}

/// y = z·Wᵀ, or y += z·Wᵀ, for the columns `first` to `end`, four or more; `adds` is a constant.
LAM_INLINE void lam_add_half_dots(const lam_scalar *z, int64_t z_stride, int64_t rows, const lam_matrix *tiles,
                                  int64_t count, int64_t first, int64_t end, lam_scalar *y, int64_t y_stride,
                                  int adds, int asks) {
  int64_t column = first;
  y -= first;
  for (; column + 4 <= end; column += 4)
    lam_half_dots(z, z_stride, rows, tiles, count, column, y, y_stride, 0, adds, asks);
  // The last four overlap those before where fewer are left, and leave those alone.
  if (column < end) lam_half_dots(z, z_stride, rows, tiles, count, end - 4, y, y_stride, column - (end - 4), adds, 0);
}

enum {
  /// The most tiles of W at a time: caches follow few streams.
  LAM_DOT_TILES = 8,
  /// Bytes of W from which it is asked for: below, what that costs is more than what is waited for.
  LAM_DOT_BYTES = 1 << 21,
};

/// y = z·Wᵀ for the columns `first` to `end`, four or more, and the columns of `count` tiles of W.
LAM_APART void lam_multiply_by_transposed(const lam_scalar *z, int64_t z_stride, int64_t rows, const lam_matrix *tiles,
                                          int64_t count, int64_t first, int64_t end, lam_scalar *y, int64_t y_stride) {
  const int64_t some = count < LAM_DOT_TILES ? count : LAM_DOT_TILES;
  const int asks = (end - first) * count * tiles->stride * (int64_t)sizeof(lam_scalar) >= LAM_DOT_BYTES;
  lam_add_half_dots(z, z_stride, rows, tiles, some, first, end, y, y_stride, 0, asks);
  for (int64_t tile = some; tile < count; tile += LAM_DOT_TILES) {
    for (int64_t t = tile - LAM_DOT_TILES; t < tile; ++t) z += tiles[t].columns;
    const int64_t left = count - tile, more = left < LAM_DOT_TILES ? left : LAM_DOT_TILES;
    lam_add_half_dots(z, z_stride, rows, tiles + tile, more, first, end, y, y_stride, 1, asks);
  }
}

#endif
