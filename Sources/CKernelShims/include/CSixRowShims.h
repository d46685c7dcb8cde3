// Register tiles of AVX2, whose sixteen registers hold six rows of one vector (64 bytes: two registers), a row of the
// other matrix and a factor; included by CKernelShims.h. Why the loops are written as they are, CProductShims.h says.
#pragma once
#include "CLayerProductShims.h"

#ifdef LAMINA_SIX_ROWS

/// The most rows of a tile.
LAM_INLINE int64_t lam_six_rows(void) { return 6; }

// MARK: y = x·W

/// Asks for two of the rows after a block of six: another pair beside each four terms, whose line they share.
#define LAM_ASK_FOR_X                                                                                                  \
  {                                                                                                                    \
    const lam_scalar *next = x + (6 + ((left >> 1) & 6)) * x_stride;                                                   \
    lam_prefetch(next);                                                                                                \
    lam_prefetch(next + x_stride);                                                                                     \
  }
/// Asks for W far ahead: its rows lie a tile's width apart, of which prefetchers know the next few.
#define LAM_ASK_FOR_W LAM_UNROLL for (int i = 0; i < 4; ++i) lam_prefetch(w + (24 + i) * w_stride);

/// Adds four terms, every CHAINS-th to sums of its own.
#define LAM_ADD_FOUR_TERMS(ROWS, VECTORS, CHAINS)                                                                      \
  LAM_ADD_TERM(ROWS, VECTORS, 0, x, third, x_stride, w, LAM_LANES)                                                     \
  LAM_ADD_TERM(ROWS, VECTORS, 1 % CHAINS, x + 1, third + 1, x_stride, w + w_stride, LAM_LANES)                         \
  LAM_ADD_TERM(ROWS, VECTORS, 2 % CHAINS, x + 2, third + 2, x_stride, w + 2 * w_stride, LAM_LANES)                     \
  LAM_ADD_TERM(ROWS, VECTORS, 3 % CHAINS, x + 3, third + 3, x_stride, w + thrice, LAM_LANES)

/// Adds the last `left` terms, fewer than four, and stores the sums.
#define LAM_END_ROW_PRODUCT(ROWS, VECTORS, CHAINS)                                                                     \
  for (; left > 0; --left) {                                                                                           \
    LAM_ADD_TERM(ROWS, VECTORS, 0, x, third, x_stride, w, LAM_LANES)                                                   \
    ++x;                                                                                                               \
    ++third;                                                                                                           \
    w += w_stride;                                                                                                     \
  }                                                                                                                    \
  LAM_STORE_TILE(CHAINS, ROWS, VECTORS)

/// Defines NAME: y = x·W, or y += x·W, for ROWS rows and VECTORS vectors of columns, of which the last may be cut off.
///
/// The depth is summed in order, every CHAINS-th term into a sum of its own, as the latency of a multiply-add wants
/// where the rows are few; CHAINS is 1, 2 or 4. ASK stands beside each four terms.
#define LAM_DEFINE_ROW_PRODUCT(NAME, ROWS, VECTORS, CHAINS, ASK)                                                       \
  LAM_APART void NAME(const lam_scalar *x, int64_t x_stride, const lam_scalar *w, int64_t w_stride, int64_t depth,     \
                      lam_scalar *y, int64_t y_stride, int64_t last, int adds) {                                       \
    LAM_ZERO_SUMS(CHAINS, ROWS, VECTORS)                                                                               \
    const lam_scalar *third = x + 3 * x_stride;                                                                        \
    const int64_t thrice = 3 * w_stride;                                                                               \
    int64_t left = depth;                                                                                              \
    for (; left >= 4; left -= 4) {                                                                                     \
      ASK                                                                                                              \
      LAM_ADD_FOUR_TERMS(ROWS, VECTORS, CHAINS)                                                                        \
      x += 4;                                                                                                          \
      third += 4;                                                                                                      \
      w += 4 * w_stride;                                                                                               \
      LAM_KEEP(x);                                                                                                     \
      LAM_KEEP(third);                                                                                                 \
      LAM_KEEP(w);                                                                                                     \
    }                                                                                                                  \
    LAM_END_ROW_PRODUCT(ROWS, VECTORS, CHAINS)                                                                         \
  }

LAM_DEFINE_ROW_PRODUCT(lam_rows_1_1, 1, 1, 4, )
LAM_DEFINE_ROW_PRODUCT(lam_rows_1_2, 2, 1, 2, )
LAM_DEFINE_ROW_PRODUCT(lam_rows_1_3, 3, 1, 2, )
LAM_DEFINE_ROW_PRODUCT(lam_rows_1_4, 4, 1, 1, )
LAM_DEFINE_ROW_PRODUCT(lam_rows_1_5, 5, 1, 1, )
LAM_DEFINE_ROW_PRODUCT(lam_rows_1_6, 6, 1, 1, )
LAM_DEFINE_ROW_PRODUCT(lam_rows_1_6_asking_for_x, 6, 1, 1, LAM_ASK_FOR_X)
LAM_DEFINE_ROW_PRODUCT(lam_rows_1_5_asking_for_w, 5, 1, 1, LAM_ASK_FOR_W)
LAM_DEFINE_ROW_PRODUCT(lam_rows_1_6_asking_for_w, 6, 1, 1, LAM_ASK_FOR_W)
LAM_DEFINE_ROW_PRODUCT(lam_rows_2_1, 1, 2, 2, )
LAM_DEFINE_ROW_PRODUCT(lam_rows_2_2, 2, 2, 1, )
LAM_DEFINE_ROW_PRODUCT(lam_rows_4_1, 1, 4, 1, )

#define LAM_ROWS_CASE(VECTORS, ROWS)                                                                                   \
  case ROWS: lam_rows_##VECTORS##_##ROWS(x, x_stride, w, w_stride, depth, y, y_stride, last, adds); break;
/// y = x·W for one vector of columns, of which `last` count, and 1 … 6 rows.
LAM_INLINE void lam_multiply_six_rows(int64_t rows, const lam_scalar *x, int64_t x_stride, const lam_scalar *w,
                                      int64_t w_stride, int64_t depth, lam_scalar *y, int64_t y_stride, int64_t last,
                                      int adds) {
  switch (rows) {
    LAM_ROWS_CASE(1, 1) LAM_ROWS_CASE(1, 2) LAM_ROWS_CASE(1, 3) LAM_ROWS_CASE(1, 4)
    LAM_ROWS_CASE(1, 5) LAM_ROWS_CASE(1, 6)
  }
}
/// The same for 1 … 6 rows that ask for the rows after them, if they are six, or for W, if they are five or six.
LAM_INLINE void lam_multiply_asking(int64_t rows, int for_w, const lam_scalar *x, int64_t x_stride, const lam_scalar *w,
                                    int64_t w_stride, int64_t depth, lam_scalar *y, int64_t y_stride, int64_t last,
                                    int adds) {
  if (rows == 6 && !for_w) lam_rows_1_6_asking_for_x(x, x_stride, w, w_stride, depth, y, y_stride, last, adds);
  else if (rows == 6) lam_rows_1_6_asking_for_w(x, x_stride, w, w_stride, depth, y, y_stride, last, adds);
  else if (rows == 5 && for_w) lam_rows_1_5_asking_for_w(x, x_stride, w, w_stride, depth, y, y_stride, last, adds);
  else lam_multiply_six_rows(rows, x, x_stride, w, w_stride, depth, y, y_stride, last, adds);
}
/// The same for two rows and two vectors.
LAM_INLINE void lam_multiply_two_rows(const lam_scalar *x, int64_t x_stride, const lam_scalar *w, int64_t w_stride,
                                      int64_t depth, lam_scalar *y, int64_t y_stride, int64_t last, int adds) {
  lam_rows_2_2(x, x_stride, w, w_stride, depth, y, y_stride, last, adds);
}
/// The same for one row and two or four vectors.
LAM_INLINE void lam_multiply_one_row(int64_t vectors, const lam_scalar *x, const lam_scalar *w, int64_t w_stride,
                                     int64_t depth, lam_scalar *y, int64_t last, int adds) {
  if (vectors == 4) lam_rows_4_1(x, 0, w, w_stride, depth, y, 0, last, adds);
  else lam_rows_2_1(x, 0, w, w_stride, depth, y, 0, last, adds);
}

// MARK: y = x·W, but for zeros

/// Defines NAME: the same of the fours of terms in a list of `lam_list_fours`, and of the last terms that stand in none;
/// to the bits of all terms where W is finite. ASK stands beside each four terms.
#define LAM_DEFINE_LISTED_ROW_PRODUCT(NAME, ROWS, CHAINS, ASK)                                                         \
  LAM_APART void NAME(const lam_scalar *x, int64_t x_stride, const lam_scalar *w, int64_t w_stride, int64_t depth,     \
                      const lam_places *places, lam_scalar *y, int64_t y_stride, int64_t last, int adds) {             \
    LAM_ZERO_SUMS(CHAINS, ROWS, 1)                                                                                     \
    const lam_scalar *const rows = x, *const kernel = w;                                                               \
    const lam_scalar *third;                                                                                           \
    const int64_t thrice = 3 * w_stride;                                                                               \
    for (int64_t i = 0; i < places->count; ++i) {                                                                      \
      const int64_t k = 4 * places->place[i];                                                                          \
      ASK                                                                                                              \
      x = rows + k;                                                                                                    \
      third = x + 3 * x_stride;                                                                                        \
      w = kernel + k * w_stride;                                                                                       \
      LAM_KEEP(x);                                                                                                     \
      LAM_KEEP(third);                                                                                                 \
      LAM_KEEP(w);                                                                                                     \
      LAM_ADD_FOUR_TERMS(ROWS, 1, CHAINS)                                                                              \
    }                                                                                                                  \
    int64_t left = depth & 3;                                                                                          \
    x = rows + (depth - left);                                                                                         \
    third = x + 3 * x_stride;                                                                                          \
    w = kernel + (depth - left) * w_stride;                                                                            \
    LAM_END_ROW_PRODUCT(ROWS, 1, CHAINS)                                                                               \
  }

/// Asks for W as far ahead.
#define LAM_ASK_FOR_LISTED_W                                                                                           \
  const lam_scalar *next = kernel + 4 * places->place[i + LAM_PLACES_AHEAD] * w_stride;                                \
  LAM_UNROLL for (int t = 0; t < 4; ++t) lam_prefetch(next + t * w_stride);

LAM_DEFINE_LISTED_ROW_PRODUCT(lam_listed_rows_3, 3, 2, )
LAM_DEFINE_LISTED_ROW_PRODUCT(lam_listed_rows_4, 4, 1, )
LAM_DEFINE_LISTED_ROW_PRODUCT(lam_listed_rows_5, 5, 1, )
LAM_DEFINE_LISTED_ROW_PRODUCT(lam_listed_rows_6, 6, 1, )
LAM_DEFINE_LISTED_ROW_PRODUCT(lam_listed_rows_5_asking, 5, 1, LAM_ASK_FOR_LISTED_W)
LAM_DEFINE_LISTED_ROW_PRODUCT(lam_listed_rows_6_asking, 6, 1, LAM_ASK_FOR_LISTED_W)

/// y = x·W for one vector of columns, of which `last` count, and 3 … 6 rows; five or six ask for W with `asks`.
LAM_INLINE void lam_multiply_listed_rows(int64_t rows, int asks, const lam_scalar *x, int64_t x_stride,
                                         const lam_scalar *w, int64_t w_stride, int64_t depth, const lam_places *places,
                                         lam_scalar *y, int64_t y_stride, int64_t last, int adds) {
  if (rows == 6 && asks) lam_listed_rows_6_asking(x, x_stride, w, w_stride, depth, places, y, y_stride, last, adds);
  else if (rows == 6) lam_listed_rows_6(x, x_stride, w, w_stride, depth, places, y, y_stride, last, adds);
  else if (rows == 5 && asks)
    lam_listed_rows_5_asking(x, x_stride, w, w_stride, depth, places, y, y_stride, last, adds);
  else if (rows == 5) lam_listed_rows_5(x, x_stride, w, w_stride, depth, places, y, y_stride, last, adds);
  else if (rows == 4) lam_listed_rows_4(x, x_stride, w, w_stride, depth, places, y, y_stride, last, adds);
  else lam_listed_rows_3(x, x_stride, w, w_stride, depth, places, y, y_stride, last, adds);
}

// MARK: y = x·W, the last columns

// Of up to half a vector one register is left: six rows wait for the latency of a multiply-add, two thirds of a whole
// vector's time.

LAM_INLINE lam_vector lam_half_then_zeros(lam_half half) {
  lam_vector v = (lam_vector)(lam_scalar)0;
  v.lo = half;
  return v;
}

/// As LAM_ADD_TERM, for the first half of a vector.
#define LAM_ADD_HALF_TERM(ROWS, c, x, third, outer, w)                                                                 \
  {                                                                                                                    \
    const lam_half weights = lam_load_half(w);                                                                         \
    LAM_UNROLL for (int r = 0; r < ROWS; ++r) {                                                                        \
      const lam_half factor = (lam_half)(r < 3 ? (x)[r * (outer)] : (third)[(r - 3) * (outer)]);                       \
      sum[c][r] = __builtin_elementwise_fma(factor, weights, sum[c][r]);                                               \
    }                                                                                                                  \
  }

#define LAM_ZERO_HALF_SUMS(CHAINS, ROWS)                                                                               \
  lam_half sum[CHAINS][ROWS];                                                                                          \
  LAM_UNROLL for (int c = 0; c < CHAINS; ++c)                                                                          \
  LAM_UNROLL for (int r = 0; r < ROWS; ++r) sum[c][r] = (lam_half)(lam_scalar)0;

/// Defines NAME: y = x·W, or y += x·W, for ROWS rows and up to half a vector of columns, to the bits of a whole vector;
/// with `places` of the fours of terms in that list and of those that stand in none.
#define LAM_DEFINE_HALF_ROW_PRODUCT(NAME, ROWS, CHAINS)                                                                \
  LAM_APART void NAME(const lam_scalar *x, int64_t x_stride, const lam_scalar *w, int64_t w_stride, int64_t depth,     \
                      const lam_places *places, lam_scalar *y, int64_t y_stride, int64_t last, int adds) {             \
    LAM_ZERO_HALF_SUMS(CHAINS, ROWS)                                                                                   \
    const int64_t thrice = 3 * w_stride, count = places ? places->count : depth / 4;                                   \
    for (int64_t i = 0; i < count; ++i) {                                                                              \
      const int64_t k = 4 * (places ? places->place[i] : i);                                                           \
      const lam_scalar *from = x + k, *third = from + 3 * x_stride, *row = w + k * w_stride;                           \
      LAM_KEEP(from);                                                                                                  \
      LAM_KEEP(third);                                                                                                 \
      LAM_KEEP(row);                                                                                                   \
      LAM_ADD_HALF_TERM(ROWS, 0, from, third, x_stride, row)                                                           \
      LAM_ADD_HALF_TERM(ROWS, 1 % CHAINS, from + 1, third + 1, x_stride, row + w_stride)                               \
      LAM_ADD_HALF_TERM(ROWS, 2 % CHAINS, from + 2, third + 2, x_stride, row + 2 * w_stride)                           \
      LAM_ADD_HALF_TERM(ROWS, 3 % CHAINS, from + 3, third + 3, x_stride, row + thrice)                                 \
    }                                                                                                                  \
    for (int64_t k = depth & ~(int64_t)3; k < depth; ++k)                                                              \
      LAM_ADD_HALF_TERM(ROWS, 0, x + k, x + 3 * x_stride + k, x_stride, w + k * w_stride)                              \
    LAM_UNROLL for (int r = 0; r < ROWS; ++r) {                                                                        \
      LAM_UNROLL for (int step = 1; step < CHAINS; step *= 2)                                                          \
      LAM_UNROLL for (int c = 0; c + step < CHAINS; c += 2 * step) sum[c][r] += sum[c + step][r];                      \
      lam_scalar *to = y + r * y_stride;                                                                               \
      lam_vector v = lam_half_then_zeros(sum[0][r]);                                                                   \
      if (adds) v += lam_load_first(to, last);                                                                         \
      lam_store_first(to, v, last);                                                                                    \
    }                                                                                                                  \
  }

LAM_DEFINE_HALF_ROW_PRODUCT(lam_half_rows_1, 1, 4)
LAM_DEFINE_HALF_ROW_PRODUCT(lam_half_rows_2, 2, 2)
LAM_DEFINE_HALF_ROW_PRODUCT(lam_half_rows_3, 3, 2)
LAM_DEFINE_HALF_ROW_PRODUCT(lam_half_rows_4, 4, 1)
LAM_DEFINE_HALF_ROW_PRODUCT(lam_half_rows_5, 5, 1)
LAM_DEFINE_HALF_ROW_PRODUCT(lam_half_rows_6, 6, 1)

#define LAM_HALF_ROWS_CASE(ROWS)                                                                                       \
  case ROWS: lam_half_rows_##ROWS(x, x_stride, w, w_stride, depth, places, y, y_stride, last, adds); break;
/// y = x·W for up to half a vector of columns, `last`, and 1 … 6 rows; with `places` by those terms alone.
LAM_INLINE void lam_multiply_half_rows(int64_t rows, const lam_scalar *x, int64_t x_stride, const lam_scalar *w,
                                       int64_t w_stride, int64_t depth, const lam_places *places, lam_scalar *y,
                                       int64_t y_stride, int64_t last, int adds) {
  switch (rows) {
    LAM_HALF_ROWS_CASE(1) LAM_HALF_ROWS_CASE(2) LAM_HALF_ROWS_CASE(3) LAM_HALF_ROWS_CASE(4)
    LAM_HALF_ROWS_CASE(5) LAM_HALF_ROWS_CASE(6)
  }
}

#endif
