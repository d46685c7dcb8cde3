// As many rows as a vector has lanes, held by columns: what is computed across a row becomes lane by lane, and a row's
// bits depend neither on its neighbours nor on its place. Included by CKernelShims.h.
#pragma once

#define LAM_BLOCK_COLUMNS 32

/// A column in each vector, a row in each lane (Swift would not import an array of vectors).
typedef struct {
  lam_scalar element[LAM_BLOCK_COLUMNS * LAM_SIDE];
} lam_row_block;

/// A block of whatever is there: clearing it would take as long as a few of its columns.
LAM_INLINE lam_row_block lam_uninitialized_row_block(void) {
  lam_row_block block;
  return block;
}
LAM_INLINE lam_vector lam_block_column(const lam_row_block *block, int64_t column) {
  return lam_load(block->element + column * LAM_SIDE);
}
LAM_INLINE void lam_set_block_column(lam_row_block *block, int64_t column, lam_vector v) {
  lam_store(block->element + column * LAM_SIDE, v);
}

#if defined(__AVX2__) && !defined(__AVX512F__)

// A mask takes several instructions a row here: a quarter of a vector of columns is turned round at a time, the last
// quarter such that it ends with the columns, and a block that is not whole goes by way of one that is.

/// Where the quarter begins that has column `next` of `columns`, of which it reaches beyond none.
LAM_INLINE int64_t lam_start_of_quarter(int64_t next, int64_t columns) {
  return next < columns - LAM_WIDTH ? next : columns - LAM_WIDTH;
}

/// A whole block of at least a quarter's columns: rows i, i + WIDTH, … are the quarters of a vector.
LAM_INLINE void lam_load_whole_rows(lam_row_block *block, const lam_scalar *x, int64_t stride, int64_t columns) {
#pragma clang loop unroll(disable)
  for (int64_t next = 0; next < columns; next += LAM_WIDTH) {
    const int64_t first = lam_start_of_quarter(next, columns);
    lam_vector rows[LAM_WIDTH];
    LAM_UNROLL for (int i = 0; i < LAM_WIDTH; ++i) {
      const lam_scalar *p = x + i * stride + first;
      const int64_t step = LAM_WIDTH * stride;
      rows[i].lo.lo = lam_load_quarter(p);
      rows[i].lo.hi = lam_load_quarter(p + step);
      rows[i].hi.lo = lam_load_quarter(p + 2 * step);
      rows[i].hi.hi = lam_load_quarter(p + 3 * step);
    }
    lam_exchange_in_quarters(rows);
    LAM_UNROLL for (int i = 0; i < LAM_WIDTH; ++i) lam_set_block_column(block, first + i, rows[i]);
  }
}
LAM_INLINE void lam_store_whole_rows(const lam_row_block *block, lam_scalar *x, int64_t stride, int64_t columns) {
#pragma clang loop unroll(disable)
  for (int64_t next = 0; next < columns; next += LAM_WIDTH) {
    const int64_t first = lam_start_of_quarter(next, columns);
    lam_vector rows[LAM_WIDTH];
    LAM_UNROLL for (int i = 0; i < LAM_WIDTH; ++i) rows[i] = lam_block_column(block, first + i);
    lam_exchange_in_quarters(rows);
    LAM_UNROLL for (int i = 0; i < LAM_WIDTH; ++i) {
      lam_scalar *p = x + i * stride + first;
      const int64_t step = LAM_WIDTH * stride;
      lam_store_quarter(p, rows[i].lo.lo);
      lam_store_quarter(p + step, rows[i].lo.hi);
      lam_store_quarter(p + 2 * step, rows[i].hi.lo);
      lam_store_quarter(p + 3 * step, rows[i].hi.hi);
    }
  }
}

/// A row of a block that is not whole, or has fewer columns than a quarter.
LAM_INLINE void lam_copy_row(const lam_scalar *from, lam_scalar *to, int64_t columns) {
  if (columns < LAM_WIDTH) {
    if (columns & 2) __builtin_memcpy(to, from, 2 * sizeof *to);
    if (columns & 1) to[columns - 1] = from[columns - 1];
    return;
  }
#pragma clang loop unroll(disable)
  for (int64_t next = 0; next < columns; next += LAM_WIDTH) {
    const int64_t first = lam_start_of_quarter(next, columns);
    lam_store_quarter(to + first, lam_load_quarter(from + first));
  }
}

/// Of `rows` ≤ lanes rows of `columns` ≤ 32 elements the columns into the block; lanes without a row hold anything.
LAM_INLINE void lam_load_rows(lam_row_block *block, const lam_scalar *x, int64_t stride, int64_t rows, int64_t columns) {
  if (rows == LAM_SIDE && columns >= LAM_WIDTH) { lam_load_whole_rows(block, x, stride, columns); return; }
  lam_row_block whole;
#pragma clang loop unroll(disable)
  for (int64_t i = 0; i < LAM_SIDE; ++i) {
    lam_copy_row(x + (i < rows ? i : 0) * stride, whole.element + i * LAM_BLOCK_COLUMNS, columns);
  }
  lam_load_whole_rows(block, whole.element, LAM_BLOCK_COLUMNS, columns < LAM_WIDTH ? LAM_WIDTH : columns);
}

/// The block's first `rows` rows and `columns` columns to x.
LAM_INLINE void lam_store_rows(const lam_row_block *block, lam_scalar *x, int64_t stride, int64_t rows,
                               int64_t columns) {
  if (rows == LAM_SIDE && columns >= LAM_WIDTH) { lam_store_whole_rows(block, x, stride, columns); return; }
  lam_row_block whole;
  lam_store_whole_rows(block, whole.element, LAM_BLOCK_COLUMNS, columns < LAM_WIDTH ? LAM_WIDTH : columns);
#pragma clang loop unroll(disable)
  for (int64_t i = 0; i < rows; ++i) lam_copy_row(whole.element + i * LAM_BLOCK_COLUMNS, x + i * stride, columns);
}

#else

/// Of `rows` ≤ lanes rows of `columns` ≤ 32 elements the columns into the block; lanes without a row hold anything.
LAM_INLINE void lam_load_rows(lam_row_block *block, const lam_scalar *x, int64_t stride, int64_t rows, int64_t columns) {
#pragma clang loop unroll(disable)
  for (int64_t first = 0; first < columns; first += LAM_SIDE) {
    lam_square square;
    int64_t width = columns - first < LAM_SIDE ? columns - first : LAM_SIDE;
    // No row of a whole block is asked whether it is there (of doubles, more code costs more than that saves).
    if (LAM_SIDE == 16 && rows == LAM_SIDE) {
      _Pragma("clang loop unroll(full)") for (int i = 0; i < LAM_SIDE; ++i) {
        square.row[i] = lam_load_first(x + i * stride + first, width);
      }
    } else {
      _Pragma("clang loop unroll(full)") for (int i = 0; i < LAM_SIDE; ++i) {
        square.row[i] = i < rows ? lam_load_first(x + i * stride + first, width) : (lam_vector)(lam_scalar)0;
      }
    }
    lam_exchange(&square);
    _Pragma("clang loop unroll(full)") for (int i = 0; i < LAM_SIDE; ++i) lam_set_block_column(block, first + i, square.row[i]);
  }
}

/// The block's first `rows` rows and `columns` columns to x.
LAM_INLINE void lam_store_rows(const lam_row_block *block, lam_scalar *x, int64_t stride, int64_t rows,
                               int64_t columns) {
#pragma clang loop unroll(disable)
  for (int64_t first = 0; first < columns; first += LAM_SIDE) {
    lam_square square;
    int64_t width = columns - first < LAM_SIDE ? columns - first : LAM_SIDE;
    _Pragma("clang loop unroll(full)") for (int i = 0; i < LAM_SIDE; ++i) square.row[i] = lam_block_column(block, first + i);
    lam_exchange(&square);
    if (LAM_SIDE == 16 && rows == LAM_SIDE) {
      _Pragma("clang loop unroll(full)") for (int i = 0; i < LAM_SIDE; ++i) {
        lam_store_first(x + i * stride + first, square.row[i], width);
      }
    } else {
      _Pragma("clang loop unroll(full)") for (int i = 0; i < LAM_SIDE; ++i) {
        if (i < rows) lam_store_first(x + i * stride + first, square.row[i], width);
      }
    }
  }
}

#endif

/// `count` ≤ lanes whole numbers as scalars, −1 in the other lanes.
LAM_INLINE lam_vector lam_load_labels(const int32_t *p, int64_t count) {
  typedef int32_t lam_labels __attribute__((ext_vector_type(LAM_LANES)));
  lam_labels v = (lam_labels)(-1);
  int32_t *lane = (int32_t *)&v;
  if (count & LAM_LANES) {
    __builtin_memcpy(lane, p, sizeof v);
  } else {
#ifndef LAMINA_DOUBLE
    if (count & 8) { __builtin_memcpy(lane, p, 8 * sizeof *p); lane += 8; p += 8; }
#endif
    if (count & 4) { __builtin_memcpy(lane, p, 4 * sizeof *p); lane += 4; p += 4; }
    if (count & 2) { __builtin_memcpy(lane, p, 2 * sizeof *p); lane += 2; p += 2; }
    if (count & 1) *lane = *p;
  }
  return __builtin_convertvector(v, lam_vector);
}
