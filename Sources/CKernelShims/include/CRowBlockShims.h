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

/// `rows` ≤ lanes rows of `columns` ≤ 32 elements into the block; lanes without a row are 0.
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
