// Products of a few rows with the transposed tiles of a layer's kernel, for sixteen registers: three rows by four columns of
// sums over the lanes of half a vector; included by CKernelShims.h.
//
// W is read as it lies. To transpose it first takes as long as some ten to thirty rows.
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

/// Adds half a vector of products: of ROWS rows, z's `z_part`, with four rows of W from `w` on.
#define LAM_ADD_HALF_DOTS(ROWS)                                                                                        \
  LAM_UNROLL for (int c = 0; c < 4; ++c) {                                                                             \
    const lam_half factor = lam_load_half(w + c * stride + u);                                                         \
    LAM_UNROLL for (int r = 0; r < ROWS; ++r) sum[r][c] = __builtin_elementwise_fma(part[r], factor, sum[r][c]);       \
  }

/// Defines NAME: ROWS rows and four columns, from `column` on, of y = z·Wᵀ.
///
/// The columns of z and W come in `count` tiles of W, whose rows are zeros up to whole vectors.
#define LAM_DEFINE_HALF_DOTS(NAME, ROWS)                                                                               \
  LAM_INLINE void NAME(const lam_scalar *z, int64_t z_stride, const lam_matrix *tiles, int64_t count, int64_t column,  \
                       lam_scalar *y, int64_t y_stride) {                                                              \
    lam_half sum[ROWS][4], part[ROWS];                                                                                 \
    LAM_UNROLL for (int r = 0; r < ROWS; ++r)                                                                          \
    LAM_UNROLL for (int c = 0; c < 4; ++c) sum[r][c] = (lam_half)(lam_scalar)0;                                        \
    for (int64_t t = 0; t < count; ++t) {                                                                              \
      const int64_t width = tiles[t].columns, stride = tiles[t].stride, rest = width & (LAM_HALF_LANES - 1);           \
      const lam_scalar *w = tiles[t].base + column * stride;                                                           \
      int64_t u = 0;                                                                                                   \
      for (; u < width - rest; u += LAM_HALF_LANES) {                                                                  \
        LAM_UNROLL for (int r = 0; r < ROWS; ++r) part[r] = lam_load_half(z + r * z_stride + u);                       \
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
    *(lam_unaligned_four_sums *)(y + r * y_stride + column) = lam_sum_each_of_four(sum[r]);                            \
  }

LAM_DEFINE_HALF_DOTS(lam_half_dots_1, 1)
LAM_DEFINE_HALF_DOTS(lam_half_dots_2, 2)
LAM_DEFINE_HALF_DOTS(lam_half_dots_3, 3)

/// y = z·Wᵀ for the columns `first` to `end`, four or more: the last four overlap those before where fewer are left.
LAM_APART void lam_multiply_by_transposed(const lam_scalar *z, int64_t z_stride, int64_t rows, const lam_matrix *tiles,
                                          int64_t count, int64_t first, int64_t end, lam_scalar *y, int64_t y_stride) {
  for (int64_t done = first; done < end; done += 4) {
    const int64_t column = done < end - 4 ? done : end - 4;
    // Later rows find W's in the L1 cache.
    for (int64_t row = 0; row < rows; row += 3) {
      const lam_scalar *from = z + row * z_stride;
      lam_scalar *to = y + row * y_stride - first;
      switch (rows - row) {
      case 1: lam_half_dots_1(from, z_stride, tiles, count, column, to, y_stride); break;
      case 2: lam_half_dots_2(from, z_stride, tiles, count, column, to, y_stride); break;
      default: lam_half_dots_3(from, z_stride, tiles, count, column, to, y_stride); break;
      }
    }
  }
}

#endif
