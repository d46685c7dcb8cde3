// Gradients of kernels, xᵀ·z, in shapes of their own: few samples, and few columns; included by CKernelShims.h.
#pragma once
#include "CProductShims.h"
#include "CTransposeShims.h"

#ifdef __AVX512F__

// MARK: Tiles

/// Adds the products of a sample, whose x and z are at those addresses, to the sums.
#define LAM_ADD_GRADIENT_TERM(ROWS, VECTORS, x, z)                                                                     \
  {                                                                                                                    \
    lam_vector row[VECTORS];                                                                                           \
    LAM_UNROLL for (int v = 0; v < VECTORS; ++v) row[v] = lam_load((z) + v * LAM_LANES);                               \
    LAM_UNROLL for (int r = 0; r < ROWS; ++r) {                                                                        \
      const lam_vector factor = (lam_vector)(x)[r];                                                                    \
      LAM_UNROLL for (int v = 0; v < VECTORS; ++v) sum[r][v] = lam_multiply_add(factor, row[v], sum[r][v]);            \
    }                                                                                                                  \
  }

/// Defines NAME: ROWS rows and VECTORS vectors of y = xᵀ·z, or y += xᵀ·z, summed in the order of the samples; of the rows
/// those from `first` to `end` are stored (or were there).
///
/// Four samples are written out, for the same reason as in `LAM_DEFINE_TILE_PRODUCT`. With ASKS the line of x behind is
/// asked for: it is the next tiles', and lines below each other are a row apart, which no prefetcher of the CPU foresees.
#define LAM_DEFINE_GRADIENT_TILE(NAME, ROWS, VECTORS, ASKS)                                                            \
  LAM_APART void NAME(const lam_scalar *x, int64_t x_stride, const lam_scalar *z, int64_t z_stride, int64_t samples,   \
                      lam_scalar *y, int64_t y_stride, int64_t first, int64_t end, int adds) {                         \
    lam_vector sum[ROWS][VECTORS];                                                                                     \
    LAM_UNROLL for (int r = 0; r < ROWS; ++r)                                                                          \
    LAM_UNROLL for (int v = 0; v < VECTORS; ++v) {                                                                     \
      const bool goes_on = adds && r >= first && r < end;                                                              \
      sum[r][v] = goes_on ? lam_load(y + r * y_stride + v * LAM_LANES) : (lam_vector)(lam_scalar)0;                    \
    }                                                                                                                  \
    int64_t left = samples;                                                                                            \
    for (; left >= 4; left -= 4) {                                                                                     \
      LAM_UNROLL for (int i = 0; i < 4; ++i) {                                                                         \
        if (ASKS) lam_prefetch(x + i * x_stride + LAM_LANES);                                                          \
        LAM_ADD_GRADIENT_TERM(ROWS, VECTORS, x + i * x_stride, z + i * z_stride)                                       \
      }                                                                                                                \
      x += 4 * x_stride;                                                                                               \
      z += 4 * z_stride;                                                                                               \
      LAM_KEEP(x);                                                                                                     \
      LAM_KEEP(z);                                                                                                     \
    }                                                                                                                  \
    for (; left > 0; --left) {                                                                                         \
      LAM_ADD_GRADIENT_TERM(ROWS, VECTORS, x, z)                                                                       \
      x += x_stride;                                                                                                   \
      z += z_stride;                                                                                                   \
    }                                                                                                                  \
    LAM_UNROLL for (int r = 0; r < ROWS; ++r) {                                                                        \
      if (r < first || r >= end) continue;                                                                             \
      LAM_UNROLL for (int v = 0; v < VECTORS; ++v) lam_store(y + r * y_stride + v * LAM_LANES, sum[r][v]);             \
    }                                                                                                                  \
  }

LAM_DEFINE_GRADIENT_TILE(lam_gradient_tile_1, 16, 1, 1)
LAM_DEFINE_GRADIENT_TILE(lam_gradient_tile_2, 12, 2, 1)
LAM_DEFINE_GRADIENT_TILE(lam_gradient_tile_3, 8, 3, 1)
LAM_DEFINE_GRADIENT_TILE(lam_gradient_tile_4, 6, 4, 1)

// For fewer rows than those have: eight sums at least hide the latency of a multiply-add.
LAM_DEFINE_GRADIENT_TILE(lam_low_gradient_tile_1, 8, 1, 1)
LAM_DEFINE_GRADIENT_TILE(lam_low_gradient_tile_2, 4, 2, 1)
LAM_DEFINE_GRADIENT_TILE(lam_low_gradient_tile_3, 3, 3, 1)
LAM_DEFINE_GRADIENT_TILE(lam_low_gradient_tile_4, 2, 4, 1)

#define LAM_GRADIENT_TILE_CASE(VECTORS)                                                                                \
  case VECTORS:                                                                                                        \
    if (low) lam_low_gradient_tile_##VECTORS(x, x_stride, z, z_stride, samples, y, y_stride, first, end, adds);        \
    else lam_gradient_tile_##VECTORS(x, x_stride, z, z_stride, samples, y, y_stride, first, end, adds);                \
    break;
/// `lam_gradient_rows` rows, or `lam_low_gradient_rows`, and 1 … 4 vectors of y = xᵀ·z, or y += xᵀ·z.
LAM_INLINE void lam_gradient_tile(int64_t vectors, bool low, const lam_scalar *x, int64_t x_stride, const lam_scalar *z,
                                  int64_t z_stride, int64_t samples, lam_scalar *y, int64_t y_stride, int64_t first,
                                  int64_t end, int adds) {
  switch (vectors) {
    LAM_GRADIENT_TILE_CASE(1)
    LAM_GRADIENT_TILE_CASE(2)
    LAM_GRADIENT_TILE_CASE(3)
    LAM_GRADIENT_TILE_CASE(4)
  }
}

// MARK: Few samples

/// Defines NAME: all rows and VECTORS vectors of y = xᵀ·z for SAMPLES samples, whose z stay in registers.
#define LAM_DEFINE_FEW_SAMPLES(NAME, SAMPLES, VECTORS)                                                                 \
  LAM_INLINE void NAME(const lam_scalar *x, int64_t x_stride, const lam_scalar *z, int64_t z_stride, int64_t rows,     \
                       lam_scalar *y, int64_t y_stride) {                                                              \
    lam_vector row[SAMPLES][VECTORS];                                                                                  \
    LAM_UNROLL for (int i = 0; i < SAMPLES; ++i)                                                                       \
    LAM_UNROLL for (int v = 0; v < VECTORS; ++v) row[i][v] = lam_load(z + i * z_stride + v * LAM_LANES);               \
    for (int64_t r = 0; r < rows; ++r) {                                                                               \
      lam_vector sum[VECTORS];                                                                                         \
      LAM_UNROLL for (int v = 0; v < VECTORS; ++v) sum[v] = (lam_vector)(lam_scalar)0;                                 \
      LAM_UNROLL for (int i = 0; i < SAMPLES; ++i) {                                                                   \
        const lam_vector factor = (lam_vector)x[i * x_stride + r];                                                     \
        LAM_UNROLL for (int v = 0; v < VECTORS; ++v) sum[v] = lam_multiply_add(factor, row[i][v], sum[v]);             \
      }                                                                                                                \
      LAM_UNROLL for (int v = 0; v < VECTORS; ++v) lam_store(y + v * LAM_LANES, sum[v]);                               \
      y += y_stride;                                                                                                   \
    }                                                                                                                  \
  }
#define LAM_DEFINE_FEW(VECTORS)                                                                                        \
  LAM_DEFINE_FEW_SAMPLES(lam_few_samples_1_##VECTORS, 1, VECTORS)                                                      \
  LAM_DEFINE_FEW_SAMPLES(lam_few_samples_2_##VECTORS, 2, VECTORS)                                                      \
  LAM_DEFINE_FEW_SAMPLES(lam_few_samples_3_##VECTORS, 3, VECTORS)                                                      \
  LAM_DEFINE_FEW_SAMPLES(lam_few_samples_4_##VECTORS, 4, VECTORS)                                                      \
  LAM_INLINE void lam_few_samples_##VECTORS(int64_t samples, const lam_scalar *x, int64_t x_stride,                    \
                                            const lam_scalar *z, int64_t z_stride, int64_t rows, lam_scalar *y,        \
                                            int64_t y_stride) {                                                        \
    switch (samples) {                                                                                                 \
    case 1: lam_few_samples_1_##VECTORS(x, x_stride, z, z_stride, rows, y, y_stride); break;                           \
    case 2: lam_few_samples_2_##VECTORS(x, x_stride, z, z_stride, rows, y, y_stride); break;                           \
    case 3: lam_few_samples_3_##VECTORS(x, x_stride, z, z_stride, rows, y, y_stride); break;                           \
    case 4: lam_few_samples_4_##VECTORS(x, x_stride, z, z_stride, rows, y, y_stride); break;                           \
    }                                                                                                                  \
  }

// MARK: Few columns

/// Defines NAME: two vectors of rows, `apart` rows from each other, and `columns` ≤ COLUMNS columns of y = xᵀ·z, or
/// y += xᵀ·z, and zeros up to a vector.
///
/// The sums hold rows in their lanes and are turned at the end: a vector of columns would be mostly empty. z is read
/// COLUMNS wide; the first `skipped` rows of y stay.
#define LAM_DEFINE_FEW_COLUMNS(NAME, COLUMNS)                                                                          \
  LAM_INLINE void NAME(const lam_scalar *x, int64_t x_stride, int64_t apart, const lam_scalar *z, int64_t z_stride,    \
                       int64_t samples, lam_scalar *y, int64_t y_stride, int64_t columns, int64_t skipped, int adds) { \
    lam_vector sum[2][COLUMNS];                                                                                        \
    LAM_UNROLL for (int h = 0; h < 2; ++h)                                                                             \
    LAM_UNROLL for (int c = 0; c < COLUMNS; ++c) sum[h][c] = (lam_vector)(lam_scalar)0;                                \
    if (adds) {                                                                                                        \
      LAM_UNROLL for (int h = 0; h < 2; ++h) {                                                                         \
        lam_square square;                                                                                             \
        LAM_UNROLL for (int i = 0; i < LAM_SIDE; ++i) square.row[i] = lam_load(y + (h * apart + i) * y_stride);        \
        lam_exchange(&square);                                                                                         \
        LAM_UNROLL for (int c = 0; c < COLUMNS; ++c) sum[h][c] = square.row[c];                                        \
      }                                                                                                                \
    }                                                                                                                  \
    for (int64_t i = 0; i < samples; ++i) {                                                                            \
      const lam_vector low = lam_load(x), high = lam_load(x + apart);                                                  \
      LAM_UNROLL for (int c = 0; c < COLUMNS; ++c) {                                                                   \
        const lam_vector factor = (lam_vector)z[c];                                                                    \
        sum[0][c] = lam_multiply_add(factor, low, sum[0][c]);                                                          \
        sum[1][c] = lam_multiply_add(factor, high, sum[1][c]);                                                         \
      }                                                                                                                \
      x += x_stride;                                                                                                   \
      z += z_stride;                                                                                                   \
    }                                                                                                                  \
    LAM_UNROLL for (int h = 0; h < 2; ++h) {                                                                           \
      lam_square square;                                                                                               \
      LAM_UNROLL for (int i = 0; i < LAM_SIDE; ++i) {                                                                  \
        square.row[i] = i < COLUMNS && i < columns ? sum[h][i < COLUMNS ? i : 0] : (lam_vector)(lam_scalar)0;          \
      }                                                                                                                \
      lam_exchange(&square);                                                                                           \
      LAM_UNROLL for (int i = 0; i < LAM_SIDE; ++i) {                                                                  \
        if (h * LAM_SIDE + i >= skipped) lam_store(y + (h * apart + i) * y_stride, square.row[i]);                     \
      }                                                                                                                \
    }                                                                                                                  \
  }

LAM_DEFINE_FEW_COLUMNS(lam_few_columns_to_2, 2)
LAM_DEFINE_FEW_COLUMNS(lam_few_columns_to_4, 4)
LAM_DEFINE_FEW_COLUMNS(lam_few_columns_to_6, 6)
#ifndef LAMINA_DOUBLE
LAM_DEFINE_FEW_COLUMNS(lam_few_columns_to_8, 8)
LAM_DEFINE_FEW_COLUMNS(lam_few_columns_to_10, 10)
LAM_DEFINE_FEW_COLUMNS(lam_few_columns_to_12, 12)
#endif

#define LAM_FEW_COLUMNS_CASE(COLUMNS)                                                                                  \
  case COLUMNS / 2 - 1:                                                                                                \
    lam_few_columns_to_##COLUMNS(x, x_stride, apart, z, z_stride, samples, y, y_stride, columns, skipped, adds);       \
    break;
/// 1 … `lam_most_few_columns()` columns.
LAM_INLINE void lam_few_columns(const lam_scalar *x, int64_t x_stride, int64_t apart, const lam_scalar *z,
                                int64_t z_stride, int64_t samples, lam_scalar *y, int64_t y_stride, int64_t columns,
                                int64_t skipped, int adds) {
  switch ((columns - 1) / 2) {
    LAM_FEW_COLUMNS_CASE(2)
    LAM_FEW_COLUMNS_CASE(4)
    LAM_FEW_COLUMNS_CASE(6)
#ifndef LAMINA_DOUBLE
    LAM_FEW_COLUMNS_CASE(8)
    LAM_FEW_COLUMNS_CASE(10)
    LAM_FEW_COLUMNS_CASE(12)
#endif
  }
}

#else

// Never called: a build with fewer registers has those of CSixRowGradientShims.h, or leaves such products to BLAS.
LAM_INLINE void lam_gradient_tile(int64_t vectors, bool low, const lam_scalar *x, int64_t x_stride, const lam_scalar *z,
                                  int64_t z_stride, int64_t samples, lam_scalar *y, int64_t y_stride, int64_t first,
                                  int64_t end, int adds) {}
#define LAM_DEFINE_FEW(VECTORS)                                                                                        \
  LAM_INLINE void lam_few_samples_##VECTORS(int64_t samples, const lam_scalar *x, int64_t x_stride,                    \
                                            const lam_scalar *z, int64_t z_stride, int64_t rows, lam_scalar *y,        \
                                            int64_t y_stride) {}
LAM_INLINE void lam_few_columns(const lam_scalar *x, int64_t x_stride, int64_t apart, const lam_scalar *z,
                                int64_t z_stride, int64_t samples, lam_scalar *y, int64_t y_stride, int64_t columns,
                                int64_t skipped, int adds) {}

#endif

/// All rows for 1 … 4 samples.
LAM_DEFINE_FEW(1)
LAM_DEFINE_FEW(2)
LAM_DEFINE_FEW(3)
LAM_DEFINE_FEW(4)
/// The same for eight vectors and 1 … 2 samples: all of a tile of doubles, so that its rows are written in one go.
#ifdef __AVX512F__
LAM_DEFINE_FEW_SAMPLES(lam_few_samples_1_8, 1, 8)
LAM_DEFINE_FEW_SAMPLES(lam_few_samples_2_8, 2, 8)
LAM_INLINE void lam_few_samples_8(int64_t samples, const lam_scalar *x, int64_t x_stride, const lam_scalar *z,
                                  int64_t z_stride, int64_t rows, lam_scalar *y, int64_t y_stride) {
  if (samples == 1) lam_few_samples_1_8(x, x_stride, z, z_stride, rows, y, y_stride);
  else lam_few_samples_2_8(x, x_stride, z, z_stride, rows, y, y_stride);
}
#else
LAM_DEFINE_FEW(8)
#endif

/// Columns that `lam_few_columns` takes at most.
LAM_INLINE int64_t lam_most_few_columns(void) { return LAM_LANES * 3 / 4; }
/// Rows of a tile.
LAM_INLINE int64_t lam_gradient_rows(int64_t vectors) {
  return vectors == 1 ? 16 : vectors == 2 ? 12 : vectors == 3 ? 8 : 6;
}
/// Rows of a low one.
LAM_INLINE int64_t lam_low_gradient_rows(int64_t vectors) {
  return vectors == 1 ? 8 : vectors == 2 ? 4 : vectors == 3 ? 3 : 2;
}
