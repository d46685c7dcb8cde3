// Transposing a square of as many rows as a vector has lanes, in registers; included by CKernelShims.h.
#pragma once

typedef struct {
#ifdef LAMINA_DOUBLE
  lam_vector row[8];
#else
  lam_vector row[16];
#endif
} lam_square;

// One stage: rows i and i + d exchange the lanes whose number has bit d the wrong way round.
#ifdef LAMINA_DOUBLE
#define LAM_SIDE 8
#define LAM_LOW1 0, 8, 2, 10, 4, 12, 6, 14
#define LAM_HIGH1 1, 9, 3, 11, 5, 13, 7, 15
#define LAM_LOW2 0, 1, 8, 9, 4, 5, 12, 13
#define LAM_HIGH2 2, 3, 10, 11, 6, 7, 14, 15
#define LAM_LOW4 0, 1, 2, 3, 8, 9, 10, 11
#define LAM_HIGH4 4, 5, 6, 7, 12, 13, 14, 15
#else
#define LAM_SIDE 16
#define LAM_LOW1 0, 16, 2, 18, 4, 20, 6, 22, 8, 24, 10, 26, 12, 28, 14, 30
#define LAM_HIGH1 1, 17, 3, 19, 5, 21, 7, 23, 9, 25, 11, 27, 13, 29, 15, 31
#define LAM_LOW2 0, 1, 16, 17, 4, 5, 20, 21, 8, 9, 24, 25, 12, 13, 28, 29
#define LAM_HIGH2 2, 3, 18, 19, 6, 7, 22, 23, 10, 11, 26, 27, 14, 15, 30, 31
#define LAM_LOW4 0, 1, 2, 3, 16, 17, 18, 19, 8, 9, 10, 11, 24, 25, 26, 27
#define LAM_HIGH4 4, 5, 6, 7, 20, 21, 22, 23, 12, 13, 14, 15, 28, 29, 30, 31
#define LAM_LOW8 0, 1, 2, 3, 4, 5, 6, 7, 16, 17, 18, 19, 20, 21, 22, 23
#define LAM_HIGH8 8, 9, 10, 11, 12, 13, 14, 15, 24, 25, 26, 27, 28, 29, 30, 31
#endif

#define LAM_STAGE(distance, low, high)                                              \
  _Pragma("clang loop unroll(full)") for (int i = 0; i < LAM_SIDE; ++i) {           \
    if (!(i & distance)) {                                                          \
      lam_vector upper = s->row[i], lower = s->row[i + distance];                   \
      s->row[i] = __builtin_shufflevector(upper, lower, low);                       \
      s->row[i + distance] = __builtin_shufflevector(upper, lower, high);           \
    }                                                                               \
  }

#if defined(__AVX512F__) || defined(__AVX2__)

// Shuffles that need no table: pairs of rows, pairs of pairs, and twice the quarters of a vector.
#ifdef LAMINA_DOUBLE
#define LAM_PAIRS_LOW 0, 8, 2, 10, 4, 12, 6, 14
#define LAM_PAIRS_HIGH 1, 9, 3, 11, 5, 13, 7, 15
#define LAM_PARTS_EVEN 0, 1, 4, 5, 8, 9, 12, 13
#define LAM_PARTS_ODD 2, 3, 6, 7, 10, 11, 14, 15
#else
#define LAM_ONES_LOW 0, 16, 1, 17, 4, 20, 5, 21, 8, 24, 9, 25, 12, 28, 13, 29
#define LAM_ONES_HIGH 2, 18, 3, 19, 6, 22, 7, 23, 10, 26, 11, 27, 14, 30, 15, 31
#define LAM_PAIRS_LOW 0, 1, 16, 17, 4, 5, 20, 21, 8, 9, 24, 25, 12, 13, 28, 29
#define LAM_PAIRS_HIGH 2, 3, 18, 19, 6, 7, 22, 23, 10, 11, 26, 27, 14, 15, 30, 31
#define LAM_PARTS_EVEN 0, 1, 2, 3, 8, 9, 10, 11, 16, 17, 18, 19, 24, 25, 26, 27
#define LAM_PARTS_ODD 4, 5, 6, 7, 12, 13, 14, 15, 20, 21, 22, 23, 28, 29, 30, 31
#endif

#ifndef __AVX512F__
// Registers of half a vector take the quarters of two rows in one instruction.
#ifdef LAMINA_DOUBLE
#define LAM_QUARTERS(q) 2 * q, 2 * q + 1, 8 + 2 * q, 9 + 2 * q
#else
#define LAM_QUARTERS(q) 4 * q, 4 * q + 1, 4 * q + 2, 4 * q + 3, 16 + 4 * q, 17 + 4 * q, 18 + 4 * q, 19 + 4 * q
#endif
#define LAM_GATHER_QUARTERS(q)                                                                               \
  s->row[q * LAM_WIDTH + c].lo = __builtin_shufflevector(group[c], group[LAM_WIDTH + c], LAM_QUARTERS(q));   \
  s->row[q * LAM_WIDTH + c].hi =                                                                             \
    __builtin_shufflevector(group[2 * LAM_WIDTH + c], group[3 * LAM_WIDTH + c], LAM_QUARTERS(q));
#endif

/// Columns in a quarter of a vector, and so rows in a group.
enum { LAM_WIDTH = LAM_SIDE / 4 };

typedef lam_scalar lam_quarter __attribute__((ext_vector_type(LAM_WIDTH)));
LAM_INLINE lam_quarter lam_load_quarter(const lam_scalar *p) {
  lam_quarter quarter;
  __builtin_memcpy(&quarter, p, sizeof quarter);
  return quarter;
}
LAM_INLINE void lam_store_quarter(lam_scalar *p, lam_quarter quarter) { __builtin_memcpy(p, &quarter, sizeof quarter); }

/// Each quarter of a group of rows transposed, a square of its own.
LAM_INLINE void lam_exchange_in_quarters(lam_vector *group) {
#ifdef LAMINA_DOUBLE
  const lam_vector low = __builtin_shufflevector(group[0], group[1], LAM_PAIRS_LOW);
  group[1] = __builtin_shufflevector(group[0], group[1], LAM_PAIRS_HIGH);
  group[0] = low;
#else
  const lam_vector low0 = __builtin_shufflevector(group[0], group[1], LAM_ONES_LOW);
  const lam_vector high0 = __builtin_shufflevector(group[0], group[1], LAM_ONES_HIGH);
  const lam_vector low1 = __builtin_shufflevector(group[2], group[3], LAM_ONES_LOW);
  const lam_vector high1 = __builtin_shufflevector(group[2], group[3], LAM_ONES_HIGH);
  group[0] = __builtin_shufflevector(low0, low1, LAM_PAIRS_LOW);
  group[1] = __builtin_shufflevector(low0, low1, LAM_PAIRS_HIGH);
  group[2] = __builtin_shufflevector(high0, high1, LAM_PAIRS_LOW);
  group[3] = __builtin_shufflevector(high0, high1, LAM_PAIRS_HIGH);
#endif
}

/// The square transposed.
LAM_INLINE void lam_exchange(lam_square *s) {
  // Vector LAM_WIDTH·g + c: of each quarter's column c the rows of group g.
  lam_vector group[LAM_SIDE];
  _Pragma("clang loop unroll(full)") for (int i = 0; i < LAM_SIDE; ++i) group[i] = s->row[i];
  _Pragma("clang loop unroll(full)") for (int i = 0; i < LAM_SIDE; i += LAM_WIDTH) lam_exchange_in_quarters(group + i);
  _Pragma("clang loop unroll(full)") for (int c = 0; c < LAM_WIDTH; ++c) {
#ifdef __AVX512F__
    lam_vector even0 = __builtin_shufflevector(group[c], group[LAM_WIDTH + c], LAM_PARTS_EVEN);
    lam_vector odd0 = __builtin_shufflevector(group[c], group[LAM_WIDTH + c], LAM_PARTS_ODD);
    lam_vector even1 = __builtin_shufflevector(group[2 * LAM_WIDTH + c], group[3 * LAM_WIDTH + c], LAM_PARTS_EVEN);
    lam_vector odd1 = __builtin_shufflevector(group[2 * LAM_WIDTH + c], group[3 * LAM_WIDTH + c], LAM_PARTS_ODD);
    s->row[c] = __builtin_shufflevector(even0, even1, LAM_PARTS_EVEN);
    s->row[LAM_WIDTH + c] = __builtin_shufflevector(odd0, odd1, LAM_PARTS_EVEN);
    s->row[2 * LAM_WIDTH + c] = __builtin_shufflevector(even0, even1, LAM_PARTS_ODD);
    s->row[3 * LAM_WIDTH + c] = __builtin_shufflevector(odd0, odd1, LAM_PARTS_ODD);
#else
    LAM_GATHER_QUARTERS(0)
    LAM_GATHER_QUARTERS(1)
    LAM_GATHER_QUARTERS(2)
    LAM_GATHER_QUARTERS(3)
#endif
  }
}

#else

/// The square transposed.
LAM_INLINE void lam_exchange(lam_square *s) {
  LAM_STAGE(1, LAM_LOW1, LAM_HIGH1)
  LAM_STAGE(2, LAM_LOW2, LAM_HIGH2)
  LAM_STAGE(4, LAM_LOW4, LAM_HIGH4)
#ifndef LAMINA_DOUBLE
  LAM_STAGE(8, LAM_LOW8, LAM_HIGH8)
#endif
}

#endif

#if defined(__AVX2__) && !defined(__AVX512F__) && !defined(LAMINA_DOUBLE)
#define LAM_EIGHT_BY_EIGHT

/// The quarters of a vector at `p` and four rows below, side by side: each is loaded to where it belongs.
LAM_INLINE lam_half lam_load_two_quarters(const lam_scalar *p, int64_t stride) {
  return __builtin_shufflevector(lam_load_quarter(p), lam_load_quarter(p + 4 * stride), 0, 1, 2, 3, 4, 5, 6, 7);
}
LAM_INLINE void lam_store_half(lam_scalar *p, lam_half half) { *(lam_unaligned_half *)p = half; }

/// Eight rows of eight columns at `x` to `y`, transposed.
LAM_INLINE void lam_transpose_eight(const lam_scalar *x, int64_t x_stride, lam_scalar *y, int64_t y_stride) {
  LAM_UNROLL for (int columns = 0; columns < 8; columns += 4) {
    lam_half row[4];
    LAM_UNROLL for (int i = 0; i < 4; ++i) row[i] = lam_load_two_quarters(x + i * x_stride + columns, x_stride);
    const lam_half low0 = __builtin_shufflevector(row[0], row[1], 0, 8, 1, 9, 4, 12, 5, 13);
    const lam_half high0 = __builtin_shufflevector(row[0], row[1], 2, 10, 3, 11, 6, 14, 7, 15);
    const lam_half low1 = __builtin_shufflevector(row[2], row[3], 0, 8, 1, 9, 4, 12, 5, 13);
    const lam_half high1 = __builtin_shufflevector(row[2], row[3], 2, 10, 3, 11, 6, 14, 7, 15);
    lam_scalar *to = y + columns * y_stride;
    lam_store_half(to, __builtin_shufflevector(low0, low1, 0, 1, 8, 9, 4, 5, 12, 13));
    lam_store_half(to + y_stride, __builtin_shufflevector(low0, low1, 2, 3, 10, 11, 6, 7, 14, 15));
    lam_store_half(to + 2 * y_stride, __builtin_shufflevector(high0, high1, 0, 1, 8, 9, 4, 5, 12, 13));
    lam_store_half(to + 3 * y_stride, __builtin_shufflevector(high0, high1, 2, 3, 10, 11, 6, 7, 14, 15));
  }
}
#endif

/// The square at `x` to `y`, transposed; the first `rows` rows and `columns` columns of it count.
LAM_INLINE void lam_transpose_square(const lam_scalar *x, int64_t x_stride, lam_scalar *y, int64_t y_stride,
                                     int64_t rows, int64_t columns) {
  lam_square square, *s = &square;
  // A whole square goes all its way apart from others: where the ways meet, rows are kept in memory.
  if (rows == LAM_SIDE && columns == LAM_SIDE) {
#ifdef LAM_EIGHT_BY_EIGHT
    // A quarter at a time: of a square of this size most registers would be kept in memory between the stages.
    LAM_UNROLL for (int row = 0; row < LAM_SIDE; row += 8)
    LAM_UNROLL for (int column = 0; column < LAM_SIDE; column += 8)
      lam_transpose_eight(x + row * x_stride + column, x_stride, y + column * y_stride + row, y_stride);
#else
    LAM_UNROLL for (int i = 0; i < LAM_SIDE; ++i) s->row[i] = lam_load(x + i * x_stride);
    lam_exchange(s);
    LAM_UNROLL for (int i = 0; i < LAM_SIDE; ++i) lam_store(y + i * y_stride, s->row[i]);
#endif
    return;
  }
  _Pragma("clang loop unroll(full)") for (int i = 0; i < LAM_SIDE; ++i) {
    s->row[i] = (lam_vector)0;
    if (i < rows) s->row[i] = columns == LAM_SIDE ? lam_load(x + i * x_stride) : lam_load_first(x + i * x_stride, columns);
  }
  lam_exchange(s);
  _Pragma("clang loop unroll(full)") for (int i = 0; i < LAM_SIDE; ++i) {
    if (i >= columns) break;
    if (rows == LAM_SIDE) lam_store(y + i * y_stride, s->row[i]);
    else lam_store_first(y + i * y_stride, s->row[i], rows);
  }
}

#undef LAM_STAGE
