// Products of a block of rows with packed panels, all sums in registers; included by CKernelShims.h.
#pragma once
#include "COccupiedShims.h"

// The vectors across a panel and the rows of a block: as many sums as registers allow beside a row of the panel and one
// factor. The latency of a multiply-add (4 cycles) times the units (2) needs at least 8 registers of sums; a row alone,
// or two, therefore take several panels at once.
#if defined(__AVX512F__)
#define LAM_PANEL_VECTORS 2
#define LAM_BLOCK_ROWS 12
#define LAM_ROW_PANELS 4
#define LAM_PAIR_PANELS 4
#elif defined(__AVX2__)
#define LAM_PANEL_VECTORS 1
#define LAM_BLOCK_ROWS 6
#define LAM_ROW_PANELS 4
#define LAM_PAIR_PANELS 2
#elif defined(__aarch64__)
#define LAM_PANEL_VECTORS 1
#define LAM_BLOCK_ROWS 6
#define LAM_ROW_PANELS 4
#define LAM_PAIR_PANELS 2
#else
#define LAM_PANEL_VECTORS 1
#define LAM_BLOCK_ROWS 3
#define LAM_ROW_PANELS 2
#define LAM_PAIR_PANELS 1
#endif

LAM_INLINE int64_t lam_panel_columns(void) { return LAM_PANEL_VECTORS * LAM_LANES; }
LAM_INLINE int64_t lam_block_rows(void) { return LAM_BLOCK_ROWS; }
LAM_INLINE int64_t lam_row_panels(void) { return LAM_ROW_PANELS; }
LAM_INLINE int64_t lam_pair_panels(void) { return LAM_PAIR_PANELS; }

/// Rows still to come, and in how many blocks.
///
/// A C structure because files of kernels share it: an internal Swift one leaves shared symbols in debug builds.
typedef struct {
  int64_t rows;
  int64_t blocks;
} lam_rows_left;

/// Blocks of `most` rows at most and of about equal size: a last one of few rows would wait for the latency of its sums.
LAM_INLINE lam_rows_left lam_rows_in_blocks(int64_t rows, int64_t most) {
  // Divisions take as long as a small product.
  return (lam_rows_left){rows, rows <= most ? 1 : (rows + most - 1) / most};
}
/// Rows of the next block; 0 after the last.
LAM_INLINE int64_t lam_next_rows(lam_rows_left *left) {
  const int64_t count = left->blocks <= 1 ? left->rows : (left->rows + left->blocks - 1) / left->blocks;
  left->rows -= count;
  --left->blocks;
  return count;
}

/// The sums of ROWS rows and VECTORS vectors, in CHAINS parts each, all zero.
#define LAM_ZERO_SUMS(CHAINS, ROWS, VECTORS)                                                                           \
  lam_vector sum[CHAINS][ROWS][VECTORS];                                                                               \
  LAM_UNROLL for (int c = 0; c < CHAINS; ++c)                                                                          \
  LAM_UNROLL for (int r = 0; r < ROWS; ++r)                                                                            \
  LAM_UNROLL for (int v = 0; v < VECTORS; ++v) sum[c][r][v] = (lam_vector)(lam_scalar)0;

/// Keeps a pointer as it is, whatever else the compiler could count with.
#define LAM_KEEP(pointer) __asm__ volatile("" : "+r"(pointer))

// MARK: The terms of a panel

#ifdef LAMINA_SIX_ROWS

// What bounds these loops is not the multipliers alone but the instructions beside them, most of all where another program
// runs on the core's second hardware thread: eight loads go with twelve multiply-adds, and nothing else may. So several
// terms are written out, every address is a register with a multiple of another and a constant, and the compiler is kept
// from making more pointers of it.

/// Adds the products of one term to the sums of chain `c`; `w` is the term's row, whose vectors lie `apart` scalars apart.
///
/// Of a product of rows `outer` is the rows' distance in x (the term's is 1), of a gradient 1 (the term's is x's stride).
#define LAM_ADD_TERM(ROWS, VECTORS, c, x, third, outer, w, apart)                                                      \
  {                                                                                                                    \
    lam_vector row[VECTORS];                                                                                           \
    LAM_UNROLL for (int v = 0; v < VECTORS; ++v) row[v] = lam_load((w) + v * (apart));                                 \
    LAM_UNROLL for (int r = 0; r < ROWS; ++r) {                                                                        \
      const lam_vector factor = (lam_vector)(r < 3 ? (x)[r * (outer)] : (third)[(r - 3) * (outer)]);                   \
      LAM_UNROLL for (int v = 0; v < VECTORS; ++v) sum[c][r][v] = lam_multiply_add(factor, row[v], sum[c][r][v]);      \
    }                                                                                                                  \
  }

/// Asks for part of the rows after a block of six: the half of it that `left` names, or all of it once a line.
#ifdef LAMINA_DOUBLE
#define LAM_ASK_FOR_ROWS                                                                                               \
  LAM_UNROLL for (int r = 0; r < 3; ++r) {                                                                             \
    __builtin_prefetch(x + (6 + r) * x_stride, 0, 2);                                                                  \
    __builtin_prefetch(third + (6 + r) * x_stride, 0, 2);                                                              \
  }
#else
#define LAM_ASK_FOR_ROWS                                                                                               \
  {                                                                                                                    \
    const lam_scalar *half = (left & 8 ? x : third) + 6 * x_stride;                                                    \
    LAM_UNROLL for (int r = 0; r < 3; ++r) __builtin_prefetch(half + r * x_stride, 0, 2);                              \
  }
#endif

/// All terms of panels of one vector, eight written out; a block of six rows asks for those after it.
#define LAM_ADD_PANEL_TERMS(ROWS, PANELS, VECTORS)                                                                     \
  const lam_scalar *third = x + 3 * x_stride;                                                                          \
  int64_t left = depth;                                                                                                \
  for (; left >= 8; left -= 8) {                                                                                       \
    if (ROWS == 6) LAM_ASK_FOR_ROWS                                                                                    \
    LAM_UNROLL for (int i = 0; i < 8; ++i)                                                                             \
      LAM_ADD_TERM(ROWS, PANELS, 0, x + i, third + i, x_stride, w + i * LAM_LANES, panel)                              \
    w += 8 * LAM_LANES;                                                                                                \
    x += 8;                                                                                                            \
    third += 8;                                                                                                        \
    LAM_KEEP(w);                                                                                                       \
    LAM_KEEP(x);                                                                                                       \
    LAM_KEEP(third);                                                                                                   \
  }                                                                                                                    \
  for (; left > 0; --left) {                                                                                           \
    LAM_ADD_TERM(ROWS, PANELS, 0, x, third, x_stride, w, panel)                                                        \
    w += LAM_LANES;                                                                                                    \
    ++x;                                                                                                               \
    ++third;                                                                                                           \
  }

/// The terms of a list's fours of columns, and the last ones.
#define LAM_ADD_LISTED_TERMS(ROWS, PANELS, VECTORS)                                                                    \
  const lam_scalar *const rows = x, *const kernel = w;                                                                 \
  for (int64_t i = 0; i < places->count; ++i) {                                                                        \
    x = rows + 4 * places->place[i];                                                                                   \
    w = kernel + 4 * places->place[i] * LAM_LANES;                                                                     \
    const lam_scalar *third = x + 3 * x_stride;                                                                        \
    LAM_KEEP(w);                                                                                                       \
    LAM_KEEP(x);                                                                                                       \
    LAM_KEEP(third);                                                                                                   \
    LAM_UNROLL for (int t = 0; t < 4; ++t)                                                                             \
      LAM_ADD_TERM(ROWS, PANELS, 0, x + t, third + t, x_stride, w + t * LAM_LANES, panel)                              \
  }                                                                                                                    \
  for (int64_t k = depth & ~(int64_t)3; k < depth; ++k) {                                                              \
    const lam_scalar *third = rows + k + 3 * x_stride;                                                                 \
    LAM_ADD_TERM(ROWS, PANELS, 0, rows + k, third, x_stride, kernel + k * LAM_LANES, panel)                            \
  }

#else

/// All terms; a block of four rows or more asks for those after it, a line beside each term.
#define LAM_ADD_PANEL_TERMS(ROWS, PANELS, VECTORS)                                                                     \
  const lam_scalar *next = x + ROWS * x_stride;                                                                        \
  for (int64_t k = 0; k < depth; ++k) {                                                                                \
    lam_vector row[PANELS * VECTORS];                                                                                  \
    if (ROWS >= 4) __builtin_prefetch(next + (k & (LAM_LANES - 1)) * x_stride + (k & -LAM_LANES), 0, 2);               \
    LAM_UNROLL for (int v = 0; v < PANELS * VECTORS; ++v)                                                              \
      row[v] = lam_load(w + (v / VECTORS) * panel + (v % VECTORS) * LAM_LANES);                                        \
    LAM_UNROLL for (int r = 0; r < ROWS; ++r) {                                                                        \
      const lam_vector factor = (lam_vector)x[r * x_stride + k];                                                       \
      LAM_UNROLL for (int v = 0; v < PANELS * VECTORS; ++v)                                                            \
        sum[0][r][v] = lam_multiply_add(factor, row[v], sum[0][r][v]);                                                 \
    }                                                                                                                  \
    w += VECTORS * LAM_LANES;                                                                                          \
  }

#endif

// MARK: Panels

/// Defines NAME: y = x·W for ROWS rows and PANELS panels of VECTORS vectors, of which `columns` columns are stored.
///
/// Every sum runs over the depth in order, whatever the block's shape: an element's bits follow from its row of x and its
/// column of W alone. Blocks ask for the rows after them: of a large batch they come from memory, in more streams than
/// prefetchers follow.
#define LAM_DEFINE_PANEL_PRODUCT(NAME, ROWS, PANELS, VECTORS)                                                          \
  LAM_INLINE void NAME(const lam_scalar *x, int64_t x_stride, const lam_scalar *w, int64_t depth, lam_scalar *y,       \
                       int64_t y_stride, int64_t columns) {                                                            \
    LAM_PANEL_PRODUCT(ROWS, PANELS, VECTORS, LAM_ADD_PANEL_TERMS)                                                      \
  }
#define LAM_PANEL_PRODUCT(ROWS, PANELS, VECTORS, ADD_TERMS)                                                            \
  LAM_ZERO_SUMS(1, ROWS, PANELS * VECTORS)                                                                             \
  const int64_t panel = depth * (VECTORS * LAM_LANES);                                                                 \
  ADD_TERMS(ROWS, PANELS, VECTORS)                                                                                     \
  LAM_UNROLL for (int r = 0; r < ROWS; ++r)                                                                            \
  LAM_UNROLL for (int v = 0; v < PANELS * VECTORS; ++v) {                                                              \
    lam_scalar *to = y + r * y_stride + v * LAM_LANES;                                                                 \
    const int64_t rest = columns - v * LAM_LANES;                                                                      \
    if (rest >= LAM_LANES) lam_store(to, sum[0][r][v]);                                                                \
    else if (rest > 0) lam_store_first(to, sum[0][r][v], rest);                                                        \
  }

LAM_DEFINE_PANEL_PRODUCT(lam_multiply_row, 1, LAM_ROW_PANELS, LAM_PANEL_VECTORS)
LAM_DEFINE_PANEL_PRODUCT(lam_multiply_half_row, 1, LAM_ROW_PANELS / 2, LAM_PANEL_VECTORS)
LAM_DEFINE_PANEL_PRODUCT(lam_multiply_pair, 2, LAM_PAIR_PANELS, LAM_PANEL_VECTORS)

LAM_DEFINE_PANEL_PRODUCT(lam_multiply_1, 1, 1, LAM_PANEL_VECTORS)
LAM_DEFINE_PANEL_PRODUCT(lam_multiply_2, 2, 1, LAM_PANEL_VECTORS)
LAM_DEFINE_PANEL_PRODUCT(lam_multiply_3, 3, 1, LAM_PANEL_VECTORS)
#if LAM_BLOCK_ROWS > 3
LAM_DEFINE_PANEL_PRODUCT(lam_multiply_4, 4, 1, LAM_PANEL_VECTORS)
LAM_DEFINE_PANEL_PRODUCT(lam_multiply_5, 5, 1, LAM_PANEL_VECTORS)
LAM_DEFINE_PANEL_PRODUCT(lam_multiply_6, 6, 1, LAM_PANEL_VECTORS)
#if LAM_BLOCK_ROWS > 6
LAM_DEFINE_PANEL_PRODUCT(lam_multiply_7, 7, 1, LAM_PANEL_VECTORS)
LAM_DEFINE_PANEL_PRODUCT(lam_multiply_8, 8, 1, LAM_PANEL_VECTORS)
LAM_DEFINE_PANEL_PRODUCT(lam_multiply_9, 9, 1, LAM_PANEL_VECTORS)
LAM_DEFINE_PANEL_PRODUCT(lam_multiply_10, 10, 1, LAM_PANEL_VECTORS)
LAM_DEFINE_PANEL_PRODUCT(lam_multiply_11, 11, 1, LAM_PANEL_VECTORS)
LAM_DEFINE_PANEL_PRODUCT(lam_multiply_12, 12, 1, LAM_PANEL_VECTORS)
#endif
#endif
#if LAM_PANEL_VECTORS > 1
LAM_DEFINE_PANEL_PRODUCT(lam_multiply_narrow_1, 1, 1, 1)
LAM_DEFINE_PANEL_PRODUCT(lam_multiply_narrow_2, 2, 1, 1)
LAM_DEFINE_PANEL_PRODUCT(lam_multiply_narrow_3, 3, 1, 1)
LAM_DEFINE_PANEL_PRODUCT(lam_multiply_narrow_4, 4, 1, 1)
LAM_DEFINE_PANEL_PRODUCT(lam_multiply_narrow_5, 5, 1, 1)
LAM_DEFINE_PANEL_PRODUCT(lam_multiply_narrow_6, 6, 1, 1)
LAM_DEFINE_PANEL_PRODUCT(lam_multiply_narrow_7, 7, 1, 1)
LAM_DEFINE_PANEL_PRODUCT(lam_multiply_narrow_8, 8, 1, 1)
LAM_DEFINE_PANEL_PRODUCT(lam_multiply_narrow_9, 9, 1, 1)
LAM_DEFINE_PANEL_PRODUCT(lam_multiply_narrow_10, 10, 1, 1)
LAM_DEFINE_PANEL_PRODUCT(lam_multiply_narrow_11, 11, 1, 1)
LAM_DEFINE_PANEL_PRODUCT(lam_multiply_narrow_12, 12, 1, 1)
#endif

/// One panel, 1 … `lam_block_rows()` rows.
LAM_INLINE void lam_multiply_block(int64_t rows, const lam_scalar *x, int64_t x_stride, const lam_scalar *w,
                                   int64_t depth, lam_scalar *y, int64_t y_stride, int64_t columns) {
  switch (rows) {
  case 1: lam_multiply_1(x, x_stride, w, depth, y, y_stride, columns); break;
  case 2: lam_multiply_2(x, x_stride, w, depth, y, y_stride, columns); break;
  case 3: lam_multiply_3(x, x_stride, w, depth, y, y_stride, columns); break;
#if LAM_BLOCK_ROWS > 3
  case 4: lam_multiply_4(x, x_stride, w, depth, y, y_stride, columns); break;
  case 5: lam_multiply_5(x, x_stride, w, depth, y, y_stride, columns); break;
  case 6: lam_multiply_6(x, x_stride, w, depth, y, y_stride, columns); break;
#if LAM_BLOCK_ROWS > 6
  case 7: lam_multiply_7(x, x_stride, w, depth, y, y_stride, columns); break;
  case 8: lam_multiply_8(x, x_stride, w, depth, y, y_stride, columns); break;
  case 9: lam_multiply_9(x, x_stride, w, depth, y, y_stride, columns); break;
  case 10: lam_multiply_10(x, x_stride, w, depth, y, y_stride, columns); break;
  case 11: lam_multiply_11(x, x_stride, w, depth, y, y_stride, columns); break;
  case 12: lam_multiply_12(x, x_stride, w, depth, y, y_stride, columns); break;
#endif
#endif
  }
}

#if LAM_PANEL_VECTORS > 1
/// The narrow panel, 1 … `lam_block_rows()` rows.
LAM_INLINE void lam_multiply_narrow_block(int64_t rows, const lam_scalar *x, int64_t x_stride, const lam_scalar *w,
                                          int64_t depth, lam_scalar *y, int64_t y_stride, int64_t columns) {
  switch (rows) {
  case 1: lam_multiply_narrow_1(x, x_stride, w, depth, y, y_stride, columns); break;
  case 2: lam_multiply_narrow_2(x, x_stride, w, depth, y, y_stride, columns); break;
  case 3: lam_multiply_narrow_3(x, x_stride, w, depth, y, y_stride, columns); break;
  case 4: lam_multiply_narrow_4(x, x_stride, w, depth, y, y_stride, columns); break;
  case 5: lam_multiply_narrow_5(x, x_stride, w, depth, y, y_stride, columns); break;
  case 6: lam_multiply_narrow_6(x, x_stride, w, depth, y, y_stride, columns); break;
  case 7: lam_multiply_narrow_7(x, x_stride, w, depth, y, y_stride, columns); break;
  case 8: lam_multiply_narrow_8(x, x_stride, w, depth, y, y_stride, columns); break;
  case 9: lam_multiply_narrow_9(x, x_stride, w, depth, y, y_stride, columns); break;
  case 10: lam_multiply_narrow_10(x, x_stride, w, depth, y, y_stride, columns); break;
  case 11: lam_multiply_narrow_11(x, x_stride, w, depth, y, y_stride, columns); break;
  case 12: lam_multiply_narrow_12(x, x_stride, w, depth, y, y_stride, columns); break;
  }
}
#else
LAM_INLINE void lam_multiply_narrow_block(int64_t rows, const lam_scalar *x, int64_t x_stride, const lam_scalar *w,
                                          int64_t depth, lam_scalar *y, int64_t y_stride, int64_t columns) {
  lam_multiply_block(rows, x, x_stride, w, depth, y, y_stride, columns);
}
#endif

// MARK: Panels, but for zeros

#ifdef LAMINA_SIX_ROWS

/// Defines NAME: the same of the terms in a list of `lam_list_fours`, to the bits of all where the panel is finite.
#define LAM_DEFINE_LISTED_PANEL_PRODUCT(NAME, ROWS, PANELS)                                                            \
  LAM_APART void NAME(const lam_scalar *x, int64_t x_stride, const lam_scalar *w, int64_t depth,                       \
                      const lam_places *places, lam_scalar *y, int64_t y_stride, int64_t columns) {                    \
    LAM_PANEL_PRODUCT(ROWS, PANELS, 1, LAM_ADD_LISTED_TERMS)                                                           \
  }

LAM_DEFINE_LISTED_PANEL_PRODUCT(lam_listed_row, 1, LAM_ROW_PANELS)
LAM_DEFINE_LISTED_PANEL_PRODUCT(lam_listed_pair, 2, LAM_PAIR_PANELS)
LAM_DEFINE_LISTED_PANEL_PRODUCT(lam_listed_3, 3, 1)
LAM_DEFINE_LISTED_PANEL_PRODUCT(lam_listed_4, 4, 1)
LAM_DEFINE_LISTED_PANEL_PRODUCT(lam_listed_5, 5, 1)
LAM_DEFINE_LISTED_PANEL_PRODUCT(lam_listed_6, 6, 1)

/// One panel for 3 … 6 rows, `lam_pair_panels()` for two, `lam_row_panels()` for one.
LAM_INLINE void lam_multiply_listed_block(int64_t rows, const lam_scalar *x, int64_t x_stride, const lam_scalar *w,
                                          int64_t depth, const lam_places *places, lam_scalar *y, int64_t y_stride,
                                          int64_t columns) {
  switch (rows) {
  case 1: lam_listed_row(x, x_stride, w, depth, places, y, y_stride, columns); break;
  case 2: lam_listed_pair(x, x_stride, w, depth, places, y, y_stride, columns); break;
  case 3: lam_listed_3(x, x_stride, w, depth, places, y, y_stride, columns); break;
  case 4: lam_listed_4(x, x_stride, w, depth, places, y, y_stride, columns); break;
  case 5: lam_listed_5(x, x_stride, w, depth, places, y, y_stride, columns); break;
  case 6: lam_listed_6(x, x_stride, w, depth, places, y, y_stride, columns); break;
  }
}

#endif
