// Products of floats in tiles of bfloat16 (AMX); included by CKernelShims.h.
//
// A float is the sum of three numbers of eight bits: its own to the last bit. Of the nine products of their parts the six
// largest are added up, what is left out is 2⁻²⁶ of the product. One instruction multiplies sixteen rows by sixteen columns
// of 32 terms, thirteen times the pace of multiply-adds, so that six of them are twice as fast as one of floats.
#pragma once
#include "CTransposeShims.h"

#ifdef LAMINA_SPLIT_PRODUCTS

#define LAM_SPLIT_TARGET target("amx-tile,amx-bf16")
#define LAM_SPLIT_APART static __attribute__((noinline, unused, LAM_SPLIT_TARGET))
#define LAM_SPLIT_INLINE static inline __attribute__((always_inline, LAM_SPLIT_TARGET))

// An operand lies as tiles of 16 × 32 numbers: blocks of sixteen rows (of a right one: columns) × chunks of 32 terms × three
// parts, the largest first. In a tile of a left operand a row's terms follow one another; in one of a right operand each
// pair of terms has its sixteen columns.
#define LAM_SPLIT_TERMS 32
#define LAM_SPLIT_PART_BYTES 1024
#define LAM_SPLIT_CHUNK_BYTES 3072

typedef uint32_t lam_split_words __attribute__((ext_vector_type(16)));
typedef uint16_t lam_split_halves __attribute__((ext_vector_type(32)));
typedef lam_split_words lam_unaligned_split_words __attribute__((aligned(1)));
typedef lam_split_halves lam_unaligned_split_halves __attribute__((aligned(1)));

/// Each lane's three parts, as floats whose lower half is 0.
typedef struct { lam_split_words part[3]; } lam_split;

// Rounded, not cut off: the second part is then at most 2⁻⁹ of the number, the third 2⁻¹⁸. Not finite stays not finite.
LAM_INLINE lam_split lam_split_floats(lam_vector x) {
  const lam_split_words half = (lam_split_words)0x8000u, upper = (lam_split_words)0xffff0000u;
  lam_split s;
  s.part[0] = ((lam_split_words)x + half) & upper;
  x -= (lam_vector)s.part[0];
  s.part[1] = ((lam_split_words)x + half) & upper;
  s.part[2] = (lam_split_words)(x - (lam_vector)s.part[1]);
  return s;
}

#define LAM_ODD_HALVES                                                                                                 \
  1, 3, 5, 7, 9, 11, 13, 15, 17, 19, 21, 23, 25, 27, 29, 31, 33, 35, 37, 39, 41, 43, 45, 47, 49, 51, 53, 55, 57, 59,   \
      61, 63

LAM_INLINE lam_vector lam_load_some(const float *p, int64_t count) {
  return count >= 16 ? lam_load(p) : count > 0 ? lam_load_first(p, count) : (lam_vector)0;
}

/// A tile of at most 16 rows and 32 columns of x, 0 where there is none: a row's columns follow one another.
LAM_INLINE void lam_split_rows(const float *x, int64_t stride, int64_t rows, int64_t columns, uint8_t *to) {
  for (int64_t r = 0; r < 16; ++r, x += stride) {
    const int64_t left = r < rows ? columns : 0;
    const lam_split a = lam_split_floats(lam_load_some(x, left)), b = lam_split_floats(lam_load_some(x + 16, left - 16));
    LAM_UNROLL for (int p = 0; p < 3; ++p) {
      *(lam_unaligned_split_halves *)(to + p * LAM_SPLIT_PART_BYTES + r * 64) = __builtin_shufflevector(
          (lam_split_halves)a.part[p], (lam_split_halves)b.part[p], LAM_ODD_HALVES);
    }
  }
}

/// A tile of at most 32 rows and 16 columns of x, 0 where there is none: each pair of rows has its columns.
LAM_INLINE void lam_split_pairs(const float *x, int64_t stride, int64_t rows, int64_t columns, uint8_t *to) {
  for (int64_t r = 0; r < 16; ++r, x += 2 * stride) {
    const lam_split a = lam_split_floats(lam_load_some(x, 2 * r < rows ? columns : 0));
    const lam_split b = lam_split_floats(lam_load_some(x + stride, 2 * r + 1 < rows ? columns : 0));
    LAM_UNROLL for (int p = 0; p < 3; ++p) {
      *(lam_unaligned_split_words *)(to + p * LAM_SPLIT_PART_BYTES + r * 64) = a.part[p] >> 16 | (b.part[p] & 0xffff0000u);
    }
  }
}

/// A tile of the one kind as the other: pairs are the lanes of a square.
LAM_INLINE void lam_exchange_parts(const uint8_t *from, uint8_t *to) {
  for (int p = 0; p < 3; ++p) {
    lam_transpose_square((const float *)(from + p * LAM_SPLIT_PART_BYTES), 16,
                         (float *)(to + p * LAM_SPLIT_PART_BYTES), 16, 16, 16);
  }
}

/// Blocks of sixteen that an operand of `count` rows or columns takes: they are multiplied two by two.
LAM_INLINE int64_t lam_split_blocks(int64_t count) { return (count + 31) / 32 * 2; }

/// Rows of x as rows (`in_pairs`: rows of xᵀ, x's columns) of an operand, from chunk `chunk` of its `chunks` on.
///
/// `as_left`: for a left operand, whose rows they are; else for a right one, whose columns they are.
LAM_INLINE void lam_split_operand(const float *x, int64_t stride, int64_t count, int64_t terms, bool in_pairs,
                                  bool as_left, uint8_t *to, int64_t chunk, int64_t chunks) {
  const int64_t blocks = lam_split_blocks(count);
  uint8_t other[LAM_SPLIT_CHUNK_BYTES] __attribute__((aligned(64)));
  for (int64_t block = 0; block < blocks; ++block) {
    uint8_t *tile = to + (block * chunks + chunk) * LAM_SPLIT_CHUNK_BYTES;
    for (int64_t term = 0; term < terms; term += LAM_SPLIT_TERMS, tile += LAM_SPLIT_CHUNK_BYTES) {
      const int64_t some = count - block * 16, left = terms - term;
      uint8_t *const first = in_pairs == as_left ? other : tile;
      if (in_pairs) lam_split_pairs(x + term * stride + block * 16, stride, left, some < 0 ? 0 : some, first);
      else lam_split_rows(x + block * 16 * stride + term, stride, some < 0 ? 0 : some, left, first);
      if (in_pairs == as_left) lam_exchange_parts(other, tile);
    }
  }
}

LAM_APART void lam_split_left(const float *x, int64_t stride, int64_t rows, int64_t terms, uint8_t *to, int64_t chunk,
                              int64_t chunks) {
  lam_split_operand(x, stride, rows, terms, false, true, to, chunk, chunks);
}
/// x has the terms as rows.
LAM_APART void lam_split_left_transposed(const float *x, int64_t stride, int64_t rows, int64_t terms, uint8_t *to,
                                         int64_t chunks) {
  lam_split_operand(x, stride, rows, terms, true, true, to, 0, chunks);
}
LAM_APART void lam_split_right(const float *x, int64_t stride, int64_t columns, int64_t terms, uint8_t *to,
                               int64_t chunk, int64_t chunks) {
  lam_split_operand(x, stride, columns, terms, true, false, to, chunk, chunks);
}
/// x has the terms as columns.
LAM_APART void lam_split_right_transposed(const float *x, int64_t stride, int64_t columns, int64_t terms, uint8_t *to,
                                          int64_t chunk, int64_t chunks) {
  lam_split_operand(x, stride, columns, terms, false, false, to, chunk, chunks);
}

// MARK: Products

typedef struct {
  float at[2][2][16][16] __attribute__((aligned(64)));
} lam_split_sums;

/// Two blocks of rows and two of columns, and the two of rows that come next.
typedef struct { const uint8_t *row[2], *column[2], *next[2]; } lam_split_tiles;

// Registers 0 to 3 hold the sums, 4 and 5 a tile of the left and of the right operand: few registers, for the
// reason that CByteTileShims.h gives.
#define LAM_SPLIT_LEFT(BLOCK, PART)                                                                                    \
  __builtin_ia32_tileloadd64(4, tiles->row[BLOCK] + at + (PART) * LAM_SPLIT_PART_BYTES, 64)
#define LAM_SPLIT_RIGHT(BLOCK, PART)                                                                                   \
  __builtin_ia32_tileloadd64(5, tiles->column[BLOCK] + at + (PART) * LAM_SPLIT_PART_BYTES, 64)
/// All four products of a left and a right part, of which the tiles (0, 0) are there; leaves (1, 0).
#define LAM_SPLIT_MULTIPLY(LEFT_PART, RIGHT_PART)                                                                      \
  __builtin_ia32_tdpbf16ps(0, 4, 5);                                                                                   \
  LAM_SPLIT_RIGHT(1, RIGHT_PART);                                                                                      \
  __builtin_ia32_tdpbf16ps(1, 4, 5);                                                                                   \
  LAM_SPLIT_LEFT(1, LEFT_PART);                                                                                        \
  __builtin_ia32_tdpbf16ps(3, 4, 5);                                                                                   \
  LAM_SPLIT_RIGHT(0, RIGHT_PART);                                                                                      \
  __builtin_ia32_tdpbf16ps(2, 4, 5)

/// Asks for sixteen lines of the next rows' chunk, which may lie beyond the L2 cache; six parts are all of it.
LAM_SPLIT_INLINE void lam_ask_for_split(const lam_split_tiles *tiles, int64_t at, int part) {
  const uint8_t *const from = tiles->next[part / 3] + at + part % 3 * LAM_SPLIT_PART_BYTES;
  LAM_UNROLL for (int line = 0; line < 16; ++line) __builtin_prefetch(from + line * 64, 0, 2);
}

/// The sums of `chunks` chunks. Small products come first: what rounds them off is small too, and the error is then that of
/// a sum of as many products of floats as there are terms, each exact.
LAM_SPLIT_INLINE void lam_sum_split(const lam_split_tiles *tiles, int64_t chunks, lam_split_sums *sums) {
  const int64_t end = chunks * LAM_SPLIT_CHUNK_BYTES;
  __builtin_ia32_tilezero(0);
  __builtin_ia32_tilezero(1);
  __builtin_ia32_tilezero(2);
  __builtin_ia32_tilezero(3);
  for (int64_t at = 0; at < end; at += LAM_SPLIT_CHUNK_BYTES) {
    LAM_SPLIT_RIGHT(0, 0);
    LAM_SPLIT_LEFT(0, 2);
    LAM_SPLIT_MULTIPLY(2, 0);
    lam_ask_for_split(tiles, at, 0);
    LAM_SPLIT_LEFT(0, 1);
    LAM_SPLIT_MULTIPLY(1, 0);
    lam_ask_for_split(tiles, at, 1);
    LAM_SPLIT_LEFT(0, 1);
    LAM_SPLIT_RIGHT(0, 1);
    LAM_SPLIT_MULTIPLY(1, 1);
    lam_ask_for_split(tiles, at, 2);
    LAM_SPLIT_LEFT(0, 0);
    LAM_SPLIT_MULTIPLY(0, 1);
    lam_ask_for_split(tiles, at, 3);
    LAM_SPLIT_LEFT(0, 0);
    LAM_SPLIT_RIGHT(0, 2);
    LAM_SPLIT_MULTIPLY(0, 2);
    lam_ask_for_split(tiles, at, 4);
    lam_ask_for_split(tiles, at, 5);
  }
  for (int64_t at = 0; at < end; at += LAM_SPLIT_CHUNK_BYTES) {
    LAM_SPLIT_RIGHT(0, 0);
    LAM_SPLIT_LEFT(0, 0);
    LAM_SPLIT_MULTIPLY(0, 0);
  }
  __builtin_ia32_tilestored64(0, sums->at[0][0], 64);
  __builtin_ia32_tilestored64(1, sums->at[0][1], 64);
  __builtin_ia32_tilestored64(2, sums->at[1][0], 64);
  __builtin_ia32_tilestored64(3, sums->at[1][1], 64);
}

/// Chunks that are summed before the sum is added to y: their tiles of a pair of columns stay in the L1 cache.
#define LAM_SPLIT_DEPTH 4

LAM_SPLIT_INLINE void lam_keep_split(const lam_split_sums *sums, float *y, int64_t stride, int64_t rows,
                                     int64_t columns, bool adds) {
  if (rows >= 32 && columns >= 32) {
    for (int r = 0; r < 32; ++r, y += stride) {
      LAM_UNROLL for (int c = 0; c < 2; ++c) {
        const lam_vector sum = lam_load(sums->at[r / 16][c][r % 16]);
        lam_store(y + 16 * c, adds ? lam_load(y + 16 * c) + sum : sum);
      }
    }
    return;
  }
  for (int64_t r = 0; r < (rows < 32 ? rows : 32); ++r, y += stride) {
    for (int64_t c = 0; c < 2; ++c) {
      const int64_t some = columns - 16 * c;
      if (some <= 0) break;
      const lam_vector sum = lam_load(sums->at[r / 16][c][r % 16]);
      const lam_vector value = adds ? lam_load_some(y + 16 * c, some) + sum : sum;
      if (some >= 16) lam_store(y + 16 * c, value);
      else lam_store_first(y + 16 * c, value, some);
    }
  }
}

/// y = left·right, of `chunks` chunks.
LAM_SPLIT_APART void lam_multiply_split(const uint8_t *left, const uint8_t *right, int64_t chunks, float *y,
                                        int64_t stride, int64_t rows, int64_t columns) {
  struct {
    uint8_t palette, start_row, reserved[14];
    uint16_t row_bytes[16];
    uint8_t rows[16];
  } shapes __attribute__((aligned(64))) = {.palette = 1};
  for (int i = 0; i < 6; ++i) {
    shapes.row_bytes[i] = 64;
    shapes.rows[i] = 16;
  }
  __builtin_ia32_tile_loadconfig(&shapes);
  lam_split_sums sums;
  const int64_t block = chunks * LAM_SPLIT_CHUNK_BYTES;
  for (int64_t chunk = 0; chunk < chunks; chunk += LAM_SPLIT_DEPTH) {
    const int64_t some = chunks - chunk < LAM_SPLIT_DEPTH ? chunks - chunk : LAM_SPLIT_DEPTH;
    for (int64_t column = 0; column < columns; column += 32) {
      const uint8_t *const b = right + column / 16 * block + chunk * LAM_SPLIT_CHUNK_BYTES;
      for (int64_t row = 0; row < rows; row += 32) {
        const uint8_t *const a = left + row / 16 * block + chunk * LAM_SPLIT_CHUNK_BYTES;
        // After the last rows the lines of these are here already.
        const uint8_t *const next = row + 32 < rows ? a + 2 * block : a;
        const lam_split_tiles tiles = {{a, a + block}, {b, b + block}, {next, next + block}};
        lam_sum_split(&tiles, some, &sums);
        lam_keep_split(&sums, y + row * stride + column, stride, rows - row, columns - column, chunk > 0);
      }
    }
  }
  __builtin_ia32_tilerelease();
}

#endif
