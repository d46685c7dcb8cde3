// Products of rows with a tile of a layer's kernel as it lies in memory, or with the tile transposed, all sums in
// registers; included by CKernelShims.h.
#pragma once
#include "CProductShims.h"

// MARK: y = x·W

/// Adds up the parts of each sum, neighbours first, and stores the sums in y or adds them to it.
#define LAM_STORE_TILE(CHAINS, ROWS, VECTORS)                                                                          \
  LAM_UNROLL for (int r = 0; r < ROWS; ++r)                                                                            \
  LAM_UNROLL for (int v = 0; v < VECTORS; ++v) {                                                                       \
    LAM_UNROLL for (int step = 1; step < CHAINS; step *= 2)                                                            \
    LAM_UNROLL for (int c = 0; c + step < CHAINS; c += 2 * step) sum[c][r][v] += sum[c + step][r][v];                  \
    lam_scalar *to = y + r * y_stride + v * LAM_LANES;                                                                 \
    const int64_t columns = v == VECTORS - 1 ? last : LAM_LANES;                                                       \
    if (adds) sum[0][r][v] += columns == LAM_LANES ? lam_load(to) : lam_load_first(to, columns);                       \
    if (columns == LAM_LANES) lam_store(to, sum[0][r][v]);                                                             \
    else lam_store_first(to, sum[0][r][v], columns);                                                                   \
  }

#ifdef __AVX512F__

/// Adds the products of term `t` from where the pointers are to the sums of chain `c`.
#define LAM_ADD_TILE_TERM(c, ROWS, VECTORS, t)                                                                         \
  {                                                                                                                    \
    lam_vector row[VECTORS];                                                                                           \
    LAM_UNROLL for (int v = 0; v < VECTORS; ++v) row[v] = lam_load(w + (t) * w_stride + v * LAM_LANES);                \
    LAM_UNROLL for (int r = 0; r < ROWS; ++r) {                                                                        \
      const lam_vector factor = (lam_vector)from[r / 3][r % 3 * x_stride + (t)];                                       \
      LAM_UNROLL for (int v = 0; v < VECTORS; ++v) sum[c][r][v] = lam_multiply_add(factor, row[v], sum[c][r][v]);      \
    }                                                                                                                  \
  }

/// Defines NAME: y = x·W, or y += x·W, for ROWS rows and VECTORS vectors of columns, of which the last may be cut off.
///
/// The depth is summed in order, every CHAINS-th term into a sum of its own: as many sums as the latency of a
/// multiply-add (4 cycles) times the units (2) wants where the rows are too few.
///
/// Several terms are written out, and every third row has a pointer, from which a multiple of the stride and a constant
/// lead to the others: beside the multiply-adds of a core whose second hardware thread is busy there is room for little
/// more than loads.
#define LAM_DEFINE_TILE_PRODUCT(NAME, ROWS, VECTORS, CHAINS)                                                           \
  LAM_APART void NAME(const lam_scalar *x, int64_t x_stride, const lam_scalar *w, int64_t w_stride, int64_t depth,     \
                      lam_scalar *y, int64_t y_stride, int64_t last, int adds) {                                       \
    LAM_ZERO_SUMS(CHAINS, ROWS, VECTORS)                                                                               \
    enum { TERMS = CHAINS == 1 ? 4 : CHAINS, POINTERS = (ROWS + 2) / 3 };                                              \
    const lam_scalar *from[POINTERS];                                                                                  \
    LAM_UNROLL for (int p = 0; p < POINTERS; ++p) from[p] = x + 3 * p * x_stride;                                      \
    int64_t left = depth;                                                                                              \
    for (; left >= TERMS; left -= TERMS) {                                                                             \
      LAM_UNROLL for (int t = 0; t < TERMS; ++t) LAM_ADD_TILE_TERM(t % CHAINS, ROWS, VECTORS, t)                       \
      w += TERMS * w_stride;                                                                                           \
      LAM_KEEP(w);                                                                                                     \
      LAM_UNROLL for (int p = 0; p < POINTERS; ++p) {                                                                  \
        from[p] += TERMS;                                                                                              \
        LAM_KEEP(from[p]);                                                                                             \
      }                                                                                                                \
    }                                                                                                                  \
    for (; left > 0; --left) {                                                                                         \
      LAM_ADD_TILE_TERM(0, ROWS, VECTORS, 0)                                                                           \
      w += w_stride;                                                                                                   \
      LAM_UNROLL for (int p = 0; p < POINTERS; ++p) ++from[p];                                                         \
    }                                                                                                                  \
    LAM_STORE_TILE(CHAINS, ROWS, VECTORS)                                                                              \
  }

LAM_DEFINE_TILE_PRODUCT(lam_tile_1_1, 1, 1, 8)
LAM_DEFINE_TILE_PRODUCT(lam_tile_1_2, 2, 1, 8)
LAM_DEFINE_TILE_PRODUCT(lam_tile_1_3, 3, 1, 4)
LAM_DEFINE_TILE_PRODUCT(lam_tile_1_4, 4, 1, 2)
LAM_DEFINE_TILE_PRODUCT(lam_tile_1_5, 5, 1, 2)
LAM_DEFINE_TILE_PRODUCT(lam_tile_1_6, 6, 1, 2)
LAM_DEFINE_TILE_PRODUCT(lam_tile_1_7, 7, 1, 2)
LAM_DEFINE_TILE_PRODUCT(lam_tile_1_8, 8, 1, 1)
LAM_DEFINE_TILE_PRODUCT(lam_tile_1_9, 9, 1, 1)
LAM_DEFINE_TILE_PRODUCT(lam_tile_1_10, 10, 1, 1)
LAM_DEFINE_TILE_PRODUCT(lam_tile_1_11, 11, 1, 1)
LAM_DEFINE_TILE_PRODUCT(lam_tile_1_12, 12, 1, 1)

LAM_DEFINE_TILE_PRODUCT(lam_tile_2_1, 1, 2, 8)
LAM_DEFINE_TILE_PRODUCT(lam_tile_2_2, 2, 2, 4)
LAM_DEFINE_TILE_PRODUCT(lam_tile_2_3, 3, 2, 2)
LAM_DEFINE_TILE_PRODUCT(lam_tile_2_4, 4, 2, 1)
LAM_DEFINE_TILE_PRODUCT(lam_tile_2_5, 5, 2, 1)
LAM_DEFINE_TILE_PRODUCT(lam_tile_2_6, 6, 2, 1)
LAM_DEFINE_TILE_PRODUCT(lam_tile_2_7, 7, 2, 1)
LAM_DEFINE_TILE_PRODUCT(lam_tile_2_8, 8, 2, 1)
LAM_DEFINE_TILE_PRODUCT(lam_tile_2_9, 9, 2, 1)
LAM_DEFINE_TILE_PRODUCT(lam_tile_2_10, 10, 2, 1)
LAM_DEFINE_TILE_PRODUCT(lam_tile_2_11, 11, 2, 1)
LAM_DEFINE_TILE_PRODUCT(lam_tile_2_12, 12, 2, 1)

LAM_DEFINE_TILE_PRODUCT(lam_tile_3_1, 1, 3, 4)
LAM_DEFINE_TILE_PRODUCT(lam_tile_3_2, 2, 3, 2)
LAM_DEFINE_TILE_PRODUCT(lam_tile_3_3, 3, 3, 1)
LAM_DEFINE_TILE_PRODUCT(lam_tile_3_4, 4, 3, 1)
LAM_DEFINE_TILE_PRODUCT(lam_tile_3_5, 5, 3, 1)
LAM_DEFINE_TILE_PRODUCT(lam_tile_3_6, 6, 3, 1)
LAM_DEFINE_TILE_PRODUCT(lam_tile_3_7, 7, 3, 1)
LAM_DEFINE_TILE_PRODUCT(lam_tile_3_8, 8, 3, 1)

LAM_DEFINE_TILE_PRODUCT(lam_tile_4_1, 1, 4, 4)
LAM_DEFINE_TILE_PRODUCT(lam_tile_4_2, 2, 4, 2)
LAM_DEFINE_TILE_PRODUCT(lam_tile_4_3, 3, 4, 1)
LAM_DEFINE_TILE_PRODUCT(lam_tile_4_4, 4, 4, 1)
LAM_DEFINE_TILE_PRODUCT(lam_tile_4_5, 5, 4, 1)
LAM_DEFINE_TILE_PRODUCT(lam_tile_4_6, 6, 4, 1)

// A whole tile of doubles: a row or two read it once, from one end to the other.
LAM_DEFINE_TILE_PRODUCT(lam_tile_8_1, 1, 8, 2)
LAM_DEFINE_TILE_PRODUCT(lam_tile_8_2, 2, 8, 1)

#define LAM_TILE_ROWS(VECTORS, ROWS)                                                                                   \
  case ROWS: lam_tile_##VECTORS##_##ROWS(x, x_stride, w, w_stride, depth, y, y_stride, last, adds); break;
#define LAM_TILE_ROWS_2(V) LAM_TILE_ROWS(V, 1) LAM_TILE_ROWS(V, 2)
#define LAM_TILE_ROWS_6(V)                                                                                             \
  LAM_TILE_ROWS(V, 1) LAM_TILE_ROWS(V, 2) LAM_TILE_ROWS(V, 3) LAM_TILE_ROWS(V, 4) LAM_TILE_ROWS(V, 5) LAM_TILE_ROWS(V, 6)
#define LAM_TILE_ROWS_8(V) LAM_TILE_ROWS_6(V) LAM_TILE_ROWS(V, 7) LAM_TILE_ROWS(V, 8)
#define LAM_TILE_ROWS_12(V)                                                                                            \
  LAM_TILE_ROWS_8(V) LAM_TILE_ROWS(V, 9) LAM_TILE_ROWS(V, 10) LAM_TILE_ROWS(V, 11) LAM_TILE_ROWS(V, 12)
#define LAM_TILE_DISPATCH(VECTORS, ALL)                                                                                \
  LAM_INLINE void lam_multiply_tile_##VECTORS(int64_t rows, const lam_scalar *x, int64_t x_stride,                     \
                                              const lam_scalar *w, int64_t w_stride, int64_t depth, lam_scalar *y,     \
                                              int64_t y_stride, int64_t last, int adds) {                              \
    switch (rows) { ALL(VECTORS) }                                                                                     \
  }

// MARK: The last columns, two rows to a vector

#ifdef LAMINA_DOUBLE
#define LAM_HALF_TWICE 0, 1, 2, 3, 0, 1, 2, 3
#define LAM_LOW_THEN_HIGH 0, 1, 2, 3, 12, 13, 14, 15
#define LAM_HIGH_TWICE 4, 5, 6, 7, 4, 5, 6, 7
#else
#define LAM_HALF_TWICE 0, 1, 2, 3, 4, 5, 6, 7, 0, 1, 2, 3, 4, 5, 6, 7
#define LAM_LOW_THEN_HIGH 0, 1, 2, 3, 4, 5, 6, 7, 24, 25, 26, 27, 28, 29, 30, 31
#define LAM_HIGH_TWICE 8, 9, 10, 11, 12, 13, 14, 15, 8, 9, 10, 11, 12, 13, 14, 15
#endif

LAM_INLINE void lam_put_first(lam_scalar *to, lam_vector sum, int64_t columns, int adds) {
  if (adds) sum += lam_load_first(to, columns);
  lam_store_first(to, sum, columns);
}

/// Defines NAME: the same for twice PAIRS rows, WHOLE vectors and up to half a vector more, which two rows share.
#define LAM_DEFINE_HALF_TILE_PRODUCT(NAME, PAIRS, WHOLE)                                                               \
  LAM_APART void NAME(const lam_scalar *x, int64_t x_stride, const lam_scalar *w, int64_t w_stride, int64_t depth,     \
                      lam_scalar *y, int64_t y_stride, int64_t last, int adds) {                                       \
    lam_vector sum[2 * PAIRS][WHOLE], rest[PAIRS];                                                                     \
    LAM_UNROLL for (int r = 0; r < 2 * PAIRS; ++r)                                                                     \
    LAM_UNROLL for (int v = 0; v < WHOLE; ++v) sum[r][v] = (lam_vector)(lam_scalar)0;                                  \
    LAM_UNROLL for (int p = 0; p < PAIRS; ++p) rest[p] = (lam_vector)(lam_scalar)0;                                    \
    for (int64_t k = 0; k < depth; ++k) {                                                                              \
      lam_vector row[WHOLE];                                                                                           \
      LAM_UNROLL for (int v = 0; v < WHOLE; ++v) row[v] = lam_load(w + v * LAM_LANES);                                 \
      const lam_half half = lam_load_half(w + WHOLE * LAM_LANES);                                                      \
      const lam_vector both = __builtin_shufflevector(half, half, LAM_HALF_TWICE);                                     \
      LAM_UNROLL for (int p = 0; p < PAIRS; ++p) {                                                                     \
        const lam_vector even = (lam_vector)x[2 * p * x_stride], odd = (lam_vector)x[(2 * p + 1) * x_stride];          \
        LAM_UNROLL for (int v = 0; v < WHOLE; ++v) {                                                                   \
          sum[2 * p][v] = lam_multiply_add(even, row[v], sum[2 * p][v]);                                               \
          sum[2 * p + 1][v] = lam_multiply_add(odd, row[v], sum[2 * p + 1][v]);                                        \
        }                                                                                                              \
        rest[p] = lam_multiply_add(__builtin_shufflevector(even, odd, LAM_LOW_THEN_HIGH), both, rest[p]);              \
      }                                                                                                                \
      w += w_stride;                                                                                                   \
      ++x;                                                                                                             \
    }                                                                                                                  \
    LAM_UNROLL for (int p = 0; p < PAIRS; ++p) {                                                                       \
      lam_scalar *to = y + 2 * p * y_stride;                                                                           \
      LAM_UNROLL for (int v = 0; v < WHOLE; ++v) {                                                                     \
        lam_put_first(to + v * LAM_LANES, sum[2 * p][v], LAM_LANES, adds);                                             \
        lam_put_first(to + y_stride + v * LAM_LANES, sum[2 * p + 1][v], LAM_LANES, adds);                              \
      }                                                                                                                \
      to += WHOLE * LAM_LANES;                                                                                         \
      lam_put_first(to, rest[p], last, adds);                                                                          \
      lam_put_first(to + y_stride, __builtin_shufflevector(rest[p], rest[p], LAM_HIGH_TWICE), last, adds);             \
    }                                                                                                                  \
  }

LAM_DEFINE_HALF_TILE_PRODUCT(lam_half_tile_1_1, 1, 1)
LAM_DEFINE_HALF_TILE_PRODUCT(lam_half_tile_1_2, 2, 1)
LAM_DEFINE_HALF_TILE_PRODUCT(lam_half_tile_1_3, 3, 1)
LAM_DEFINE_HALF_TILE_PRODUCT(lam_half_tile_1_4, 4, 1)
LAM_DEFINE_HALF_TILE_PRODUCT(lam_half_tile_1_5, 5, 1)
LAM_DEFINE_HALF_TILE_PRODUCT(lam_half_tile_2_1, 1, 2)
LAM_DEFINE_HALF_TILE_PRODUCT(lam_half_tile_2_2, 2, 2)
LAM_DEFINE_HALF_TILE_PRODUCT(lam_half_tile_2_3, 3, 2)
LAM_DEFINE_HALF_TILE_PRODUCT(lam_half_tile_2_4, 4, 2)
LAM_DEFINE_HALF_TILE_PRODUCT(lam_half_tile_3_1, 1, 3)
LAM_DEFINE_HALF_TILE_PRODUCT(lam_half_tile_3_2, 2, 3)
LAM_DEFINE_HALF_TILE_PRODUCT(lam_half_tile_3_3, 3, 3)

#define LAM_HALF_PAIRS(WHOLE, PAIRS)                                                                                   \
  case PAIRS: lam_half_tile_##WHOLE##_##PAIRS(x, x_stride, w, w_stride, depth, y, y_stride, last, adds); break;
/// y = x·W, or y += x·W, for twice `pairs` rows, `whole` 1 … 3 vectors and `last` columns more, at most half a vector.
LAM_INLINE void lam_multiply_half_tile(int64_t whole, int64_t pairs, const lam_scalar *x, int64_t x_stride,
                                       const lam_scalar *w, int64_t w_stride, int64_t depth, lam_scalar *y,
                                       int64_t y_stride, int64_t last, int adds) {
  switch (whole) {
  case 1:
    switch (pairs) {
      LAM_HALF_PAIRS(1, 1) LAM_HALF_PAIRS(1, 2) LAM_HALF_PAIRS(1, 3) LAM_HALF_PAIRS(1, 4) LAM_HALF_PAIRS(1, 5)
    }
    break;
  case 2:
    switch (pairs) { LAM_HALF_PAIRS(2, 1) LAM_HALF_PAIRS(2, 2) LAM_HALF_PAIRS(2, 3) LAM_HALF_PAIRS(2, 4) }
    break;
  default:
    switch (pairs) { LAM_HALF_PAIRS(3, 1) LAM_HALF_PAIRS(3, 2) LAM_HALF_PAIRS(3, 3) }
  }
}

#else

// Never called: a build with fewer registers has those of CSixRowShims.h, or leaves such products to BLAS.
#define LAM_TILE_DISPATCH(VECTORS, ALL)                                                                                \
  LAM_INLINE void lam_multiply_tile_##VECTORS(int64_t rows, const lam_scalar *x, int64_t x_stride,                     \
                                              const lam_scalar *w, int64_t w_stride, int64_t depth, lam_scalar *y,     \
                                              int64_t y_stride, int64_t last, int adds) {}
LAM_INLINE void lam_multiply_half_tile(int64_t whole, int64_t pairs, const lam_scalar *x, int64_t x_stride,
                                       const lam_scalar *w, int64_t w_stride, int64_t depth, lam_scalar *y,
                                       int64_t y_stride, int64_t last, int adds) {}

#endif

/// y = x·W for one vector of columns, of which `last` count, and 1 … 12 rows.
LAM_TILE_DISPATCH(1, LAM_TILE_ROWS_12)
/// The same for two vectors.
LAM_TILE_DISPATCH(2, LAM_TILE_ROWS_12)
/// The same for three vectors and 1 … 8 rows.
LAM_TILE_DISPATCH(3, LAM_TILE_ROWS_8)
/// The same for four vectors and 1 … 6 rows.
LAM_TILE_DISPATCH(4, LAM_TILE_ROWS_6)
/// The same for eight vectors and 1 … 2 rows.
LAM_TILE_DISPATCH(8, LAM_TILE_ROWS_2)

/// Rows that `lam_multiply_tile_…` takes at most.
LAM_INLINE int64_t lam_tile_rows(int64_t vectors) { return vectors <= 2 ? 12 : vectors == 3 ? 8 : 6; }
/// Pairs of rows that `lam_multiply_half_tile` takes at most.
LAM_INLINE int64_t lam_half_tile_pairs(int64_t whole) { return 6 - (whole > 3 ? 3 : whole); }
