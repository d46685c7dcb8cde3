// Products of a block of rows with packed panels, all sums in registers; included by CKernelShims.h.
#pragma once
#include "CElementaryShims.h"

#pragma clang diagnostic push
#pragma clang diagnostic ignored "-Wpsabi"

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

#define LAM_UNROLL _Pragma("clang loop unroll(full)")

// A function for each shape, of this object file alone: in one, what they prepare would all be done before each product,
// and take as long as a small one.
#define LAM_APART static __attribute__((noinline, unused))

#ifdef LAMINA_SIX_ROWS

/// Keeps a pointer as it is, whatever else the compiler could count with.
#define LAM_KEEP(pointer) __asm__ volatile("" : "+r"(pointer))

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

/// One term: `ahead` beyond where x and w have come to.
#define LAM_ADD_PANEL_TERM(ROWS, PANELS, VECTORS, ahead)                                                               \
  {                                                                                                                    \
    lam_vector row[PANELS * VECTORS];                                                                                  \
    LAM_UNROLL for (int v = 0; v < PANELS * VECTORS; ++v)                                                              \
      row[v] = lam_load(w + (v / VECTORS) * panel + ((ahead) * VECTORS + v % VECTORS) * LAM_LANES);                    \
    LAM_UNROLL for (int r = 0; r < ROWS; ++r) {                                                                        \
      const lam_vector factor = (lam_vector)(r < 3 ? x[r * x_stride + (ahead)] : third[(r - 3) * x_stride + (ahead)]); \
      LAM_UNROLL for (int v = 0; v < PANELS * VECTORS; ++v) sum[r][v] = lam_multiply_add(factor, row[v], sum[r][v]);   \
    }                                                                                                                  \
  }

/// Defines NAME: y = x·W for ROWS rows and PANELS panels of VECTORS vectors, of which `columns` columns are stored.
///
/// Every sum runs over the depth in order, whatever the block's shape: an element's bits follow from its row of x and its
/// column of W alone. Eight terms are written out, as in CSixRowShims.h. A block of six asks for the rows after it: of a
/// large batch they come from memory.
#define LAM_DEFINE_PANEL_PRODUCT(NAME, ROWS, PANELS, VECTORS)                                                          \
  LAM_INLINE void NAME(const lam_scalar *x, int64_t x_stride, const lam_scalar *w, int64_t depth, lam_scalar *y,       \
                       int64_t y_stride, int64_t columns) {                                                            \
    lam_vector sum[ROWS][PANELS * VECTORS];                                                                            \
    LAM_UNROLL for (int r = 0; r < ROWS; ++r)                                                                          \
    LAM_UNROLL for (int v = 0; v < PANELS * VECTORS; ++v) sum[r][v] = (lam_vector)(lam_scalar)0;                       \
    const int64_t panel = depth * (VECTORS * LAM_LANES);                                                               \
    const lam_scalar *third = x + 3 * x_stride;                                                                        \
    int64_t left = depth;                                                                                              \
    for (; left >= 8; left -= 8) {                                                                                     \
      if (ROWS == 6) LAM_ASK_FOR_ROWS                                                                                  \
      LAM_UNROLL for (int i = 0; i < 8; ++i) LAM_ADD_PANEL_TERM(ROWS, PANELS, VECTORS, i)                              \
      w += 8 * VECTORS * LAM_LANES;                                                                                    \
      x += 8;                                                                                                          \
      third += 8;                                                                                                      \
      LAM_KEEP(w);                                                                                                     \
      LAM_KEEP(x);                                                                                                     \
      LAM_KEEP(third);                                                                                                 \
    }                                                                                                                  \
    for (; left > 0; --left) {                                                                                         \
      LAM_ADD_PANEL_TERM(ROWS, PANELS, VECTORS, 0)                                                                     \
      w += VECTORS * LAM_LANES;                                                                                        \
      ++x;                                                                                                             \
      ++third;                                                                                                         \
    }                                                                                                                  \
    LAM_UNROLL for (int r = 0; r < ROWS; ++r)                                                                          \
    LAM_UNROLL for (int v = 0; v < PANELS * VECTORS; ++v) {                                                            \
      lam_scalar *to = y + r * y_stride + v * LAM_LANES;                                                               \
      const int64_t rest = columns - v * LAM_LANES;                                                                    \
      if (rest >= LAM_LANES) lam_store(to, sum[r][v]);                                                                 \
      else if (rest > 0) lam_store_first(to, sum[r][v], rest);                                                         \
    }                                                                                                                  \
  }

#else

/// Defines NAME: y = x·W for ROWS rows and PANELS panels of VECTORS vectors, of which `columns` columns are stored.
///
/// Every sum runs over the depth in order, whatever the block's shape: an element's bits follow from its row of x and
/// its column of W alone. A block asks for the rows after it, a line beside each term: of a large batch they come from
/// memory, in more streams than prefetchers follow.
#define LAM_DEFINE_PANEL_PRODUCT(NAME, ROWS, PANELS, VECTORS)                                                          \
  LAM_INLINE void NAME(const lam_scalar *x, int64_t x_stride, const lam_scalar *w, int64_t depth, lam_scalar *y,       \
                       int64_t y_stride, int64_t columns) {                                                            \
    lam_vector sum[ROWS][PANELS * VECTORS];                                                                            \
    LAM_UNROLL for (int r = 0; r < ROWS; ++r)                                                                          \
    LAM_UNROLL for (int v = 0; v < PANELS * VECTORS; ++v) sum[r][v] = (lam_vector)(lam_scalar)0;                       \
    const int64_t panel = depth * (VECTORS * LAM_LANES);                                                               \
    const lam_scalar *next = x + ROWS * x_stride;                                                                      \
    for (int64_t k = 0; k < depth; ++k) {                                                                              \
      lam_vector row[PANELS * VECTORS];                                                                                \
      if (ROWS >= 4) __builtin_prefetch(next + (k & (LAM_LANES - 1)) * x_stride + (k & -LAM_LANES), 0, 2);             \
      LAM_UNROLL for (int v = 0; v < PANELS * VECTORS; ++v)                                                            \
        row[v] = lam_load(w + (v / VECTORS) * panel + (v % VECTORS) * LAM_LANES);                                      \
      LAM_UNROLL for (int r = 0; r < ROWS; ++r) {                                                                      \
        const lam_vector factor = (lam_vector)x[r * x_stride + k];                                                     \
        LAM_UNROLL for (int v = 0; v < PANELS * VECTORS; ++v)                                                          \
          sum[r][v] = lam_multiply_add(factor, row[v], sum[r][v]);                                                     \
      }                                                                                                                \
      w += VECTORS * LAM_LANES;                                                                                        \
    }                                                                                                                  \
    LAM_UNROLL for (int r = 0; r < ROWS; ++r)                                                                          \
    LAM_UNROLL for (int v = 0; v < PANELS * VECTORS; ++v) {                                                            \
      lam_scalar *to = y + r * y_stride + v * LAM_LANES;                                                               \
      const int64_t rest = columns - v * LAM_LANES;                                                                    \
      if (rest >= LAM_LANES) lam_store(to, sum[r][v]);                                                                 \
      else if (rest > 0) lam_store_first(to, sum[r][v], rest);                                                         \
    }                                                                                                                  \
  }

#endif

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

#pragma clang diagnostic pop
