// Products of bytes in tiles of sixteen rows (AMX); included by CKernelShims.h.
//
// One instruction multiplies sixteen rows of 64 bytes by as many terms of sixteen columns in sixteen cycles: eight times the
// pace of VNNI. Sums are exact integers, so the bits are those of the other products of bytes.
#pragma once
#include "CByteGradientShims.h"
#include "CTransposeShims.h"

#ifdef LAMINA_BYTE_PRODUCTS

#define LAM_TILE_TARGET target("avx512vnni,amx-tile,amx-int8")
#define LAM_TILES_APART static __attribute__((noinline, unused, LAM_TILE_TARGET))
#define LAM_TILES_INLINE static inline __attribute__((always_inline, LAM_TILE_TARGET))

#define LAM_BYTE_TILE_ROWS 16
/// Groups of four terms that one instruction adds up, at most.
#define LAM_BYTE_TILE_GROUPS 16

// Registers 0 to 2 hold the sums of three digits, 3 bytes, 4 digits. No others: for seconds at a time, on a core that others
// share too, loops over all eight registers take four times as long, as if none could be renamed; over five, twice.

/// What the CPU is told of the registers' shapes.
typedef struct {
  uint8_t palette, start_row, reserved[14];
  uint16_t row_bytes[16];
  uint8_t rows[16];
} lam_tile_shapes;

/// Has each instruction add up `groups` ≤ 16 groups.
LAM_TILES_INLINE void lam_begin_tiles(int64_t groups) {
  lam_tile_shapes shapes __attribute__((aligned(64))) = {.palette = 1};
  for (int i = 0; i < 5; ++i) {
    shapes.row_bytes[i] = 64;
    shapes.rows[i] = LAM_BYTE_TILE_ROWS;
  }
  shapes.row_bytes[3] = (uint16_t)(4 * groups);
  shapes.rows[4] = (uint8_t)groups;
  __builtin_ia32_tile_loadconfig(&shapes);
}
/// Leaves the registers empty, so that nobody has to save them.
LAM_TILES_INLINE void lam_end_tiles(void) { __builtin_ia32_tilerelease(); }

LAM_TILES_INLINE void lam_clear_sums(void) {
  __builtin_ia32_tilezero(0);
  __builtin_ia32_tilezero(1);
  __builtin_ia32_tilezero(2);
}

/// Adds the products of a block of rows with the digits of sixteen columns.
LAM_TILES_INLINE void lam_add_tiles(const uint8_t *x, int64_t x_stride, const int8_t *digits) {
  __builtin_ia32_tileloadd64(3, x, (unsigned long)x_stride);
  __builtin_ia32_tileloadd64(4, digits, LAM_GROUP_BYTES);
  __builtin_ia32_tdpbusd(0, 3, 4);
  __builtin_ia32_tileloadd64(4, digits + 64, LAM_GROUP_BYTES);
  __builtin_ia32_tdpbusd(1, 3, 4);
  __builtin_ia32_tileloadd64(4, digits + 128, LAM_GROUP_BYTES);
  __builtin_ia32_tdpbusd(2, 3, 4);
}

/// Sums of sixteen rows and columns: digits, rows, columns.
typedef struct {
  int32_t at[3][LAM_BYTE_TILE_ROWS][LAM_LANES] __attribute__((aligned(64)));
} lam_tile_sums;

LAM_TILES_INLINE void lam_store_sums(lam_tile_sums *sums) {
  __builtin_ia32_tilestored64(0, sums->at[0], 64);
  __builtin_ia32_tilestored64(1, sums->at[1], 64);
  __builtin_ia32_tilestored64(2, sums->at[2], 64);
}
/// The sums of one row.
LAM_TILES_INLINE void lam_sums_of_row(const lam_tile_sums *sums, int64_t row, lam_integers sum[3]) {
  LAM_UNROLL for (int d = 0; d < 3; ++d) sum[d] = *(const lam_integers *)sums->at[d][row];
}

// MARK: y = scale·x·W

/// Whether products of so many rows and groups can be made of whole tiles.
LAM_TILES_INLINE bool lam_fills_tiles(int64_t rows, int64_t groups) {
  return rows >= LAM_BYTE_TILE_ROWS && groups >= LAM_BYTE_TILE_GROUPS;
}

/// The last sixteen groups of a block of rows, 0 where whole tiles have come to.
typedef struct {
  uint8_t at[LAM_BYTE_TILE_ROWS][64] __attribute__((aligned(64)));
} lam_last_groups;

LAM_TILES_INLINE void lam_take_last_groups(lam_last_groups *last, const uint8_t *x, int64_t x_stride, int64_t groups) {
  lam_integers lane;
  for (int i = 0; i < LAM_LANES; ++i) lane[i] = i;
  const lam_integers counts = lane >= (int32_t)(LAM_BYTE_TILE_GROUPS - groups % LAM_BYTE_TILE_GROUPS);
  for (int r = 0; r < LAM_BYTE_TILE_ROWS; ++r) {
    lam_store_integers(last->at[r],
                       counts & lam_load_integers(x + r * x_stride + 4 * (groups - LAM_BYTE_TILE_GROUPS)));
  }
}

/// Where the blocks of sixteen rows begin: the last two overlap where there are others beside whole blocks.
LAM_TILES_INLINE int64_t lam_row_of_block(int64_t block, int64_t rows) {
  return block * LAM_BYTE_TILE_ROWS + LAM_BYTE_TILE_ROWS <= rows ? block * LAM_BYTE_TILE_ROWS : rows - LAM_BYTE_TILE_ROWS;
}

/// As many rows of bytes as are multiplied by a vector's digits before the next one's.
#define LAM_BYTE_TILE_BLOCKS 4

/// One block of rows, from `x` on.
LAM_TILES_INLINE void lam_multiply_tile(const uint8_t *x, int64_t x_stride, const lam_last_groups *last, int64_t groups,
                                        const int8_t *digits, lam_vector factor, float *y, int64_t y_stride,
                                        int64_t columns) {
  lam_clear_sums();
  for (int64_t chunk = 0; chunk < groups / LAM_BYTE_TILE_GROUPS; ++chunk)
    lam_add_tiles(x + chunk * 64, x_stride, digits + chunk * LAM_BYTE_TILE_GROUPS * LAM_GROUP_BYTES);
  if (groups % LAM_BYTE_TILE_GROUPS)
    lam_add_tiles(last->at[0], 64, digits + (groups - LAM_BYTE_TILE_GROUPS) * LAM_GROUP_BYTES);
  lam_tile_sums sums;
  lam_store_sums(&sums);
  for (int64_t r = 0; r < LAM_BYTE_TILE_ROWS; ++r) {
    lam_integers sum[3];
    lam_sums_of_row(&sums, r, sum);
    const lam_vector value = lam_value_of_sums(sum, factor);
    if (columns >= LAM_LANES) lam_store(y + r * y_stride, value);
    else lam_store_first(y + r * y_stride, value, columns);
  }
}

/// As `lam_multiply_bytes`, for shapes that fill tiles.
LAM_TILES_APART void lam_multiply_tiles(const uint8_t *x, int64_t x_stride, int64_t rows, int64_t groups,
                                        const int8_t *digits, const float *units, float scale, float *y,
                                        int64_t y_stride, int64_t columns) {
  lam_last_groups last[LAM_BYTE_TILE_BLOCKS];
  lam_begin_tiles(LAM_BYTE_TILE_GROUPS);
  for (int64_t row = 0; row < rows; row += LAM_BYTE_TILE_BLOCKS * LAM_BYTE_TILE_ROWS) {
    // Fewer rows than fill a tile are taken with some of those before.
    const int64_t from = rows - row < LAM_BYTE_TILE_ROWS ? rows - LAM_BYTE_TILE_ROWS : row;
    const int64_t some =
        rows - from < LAM_BYTE_TILE_BLOCKS * LAM_BYTE_TILE_ROWS ? rows - from : LAM_BYTE_TILE_BLOCKS * LAM_BYTE_TILE_ROWS;
    const int64_t blocks = (some + LAM_BYTE_TILE_ROWS - 1) / LAM_BYTE_TILE_ROWS;
    const uint8_t *const source = x + from * x_stride;
    if (groups % LAM_BYTE_TILE_GROUPS) {
      for (int64_t block = 0; block < blocks; ++block) {
        lam_take_last_groups(&last[block], source + lam_row_of_block(block, some) * x_stride, x_stride, groups);
      }
    }
    for (int64_t column = 0; column < columns; column += LAM_LANES) {
      const lam_vector factor = lam_load(units + column) * (lam_vector)scale;
      const int8_t *const vector = digits + column / LAM_LANES * groups * LAM_GROUP_BYTES;
      for (int64_t block = 0; block < blocks; ++block) {
        const int64_t first = lam_row_of_block(block, some);
        lam_multiply_tile(source + first * x_stride, x_stride, &last[block], groups, vector, factor,
                          y + (from + first) * y_stride + column, y_stride, columns - column);
      }
    }
  }
  lam_end_tiles();
}

// MARK: A batch by column

/// Groups of samples that one instruction adds up, and how many instructions that makes; missing groups are 0.
typedef struct { int64_t groups, count; } lam_tile_chunks;

LAM_INLINE lam_tile_chunks lam_chunks_of(int64_t groups) {
  const int64_t count = (groups + LAM_BYTE_TILE_GROUPS - 1) / LAM_BYTE_TILE_GROUPS;
  return (lam_tile_chunks){(groups + count - 1) / count, count};
}

/// Puts the samples of each column one after another: of the groups from `first` on, `count` of all `groups`, with the
/// missing ones after the last.
LAM_BYTES_APART void lam_lay_out_by_column(const uint8_t *quads, int64_t columns, int64_t groups, int64_t first,
                                           int64_t count, uint8_t *by_column) {
  const lam_tile_chunks chunks = lam_chunks_of(groups);
  const int64_t all = chunks.groups * chunks.count, stride = 4 * all, end = first + count;
  for (int64_t column = 0; column < columns; column += 16) {
    const uint8_t *const line = quads + column / 16 * groups * 64;
    uint8_t *const to = by_column + column * stride;
    int64_t g = first;
    for (; g + 4 <= end; g += 4) {
      const lam_integers a = lam_load_integers(line + g * 64), b = lam_load_integers(line + g * 64 + 64);
      const lam_integers c = lam_load_integers(line + g * 64 + 128), d = lam_load_integers(line + g * 64 + 192);
      const lam_integers low_ab = __builtin_shufflevector(a, b, LAM_ONES_LOW);
      const lam_integers high_ab = __builtin_shufflevector(a, b, LAM_ONES_HIGH);
      const lam_integers low_cd = __builtin_shufflevector(c, d, LAM_ONES_LOW);
      const lam_integers high_cd = __builtin_shufflevector(c, d, LAM_ONES_HIGH);
      // Vector j holds the columns j, 4 + j, 8 + j and 12 + j.
      const lam_integers of_column[4] = {__builtin_shufflevector(low_ab, low_cd, LAM_PAIRS_LOW),
                                         __builtin_shufflevector(low_ab, low_cd, LAM_PAIRS_HIGH),
                                         __builtin_shufflevector(high_ab, high_cd, LAM_PAIRS_LOW),
                                         __builtin_shufflevector(high_ab, high_cd, LAM_PAIRS_HIGH)};
      typedef int lam_some_integers __attribute__((ext_vector_type(4), aligned(4)));
      LAM_UNROLL for (int j = 0; j < 4; ++j) {
        uint8_t *const at = to + j * stride + g * 4;
        *(lam_some_integers *)at = __builtin_shufflevector(of_column[j], of_column[j], 0, 1, 2, 3);
        *(lam_some_integers *)(at + 4 * stride) = __builtin_shufflevector(of_column[j], of_column[j], 4, 5, 6, 7);
        *(lam_some_integers *)(at + 8 * stride) = __builtin_shufflevector(of_column[j], of_column[j], 8, 9, 10, 11);
        *(lam_some_integers *)(at + 12 * stride) = __builtin_shufflevector(of_column[j], of_column[j], 12, 13, 14, 15);
      }
    }
    for (; g < end; ++g) {
      for (int i = 0; i < 16; ++i) __builtin_memcpy(to + i * stride + g * 4, line + g * 64 + i * 4, 4);
    }
    if (end == groups) {
      for (g = groups; g < all; ++g) {
        for (int i = 0; i < 16; ++i) __builtin_memset(to + i * stride + g * 4, 0, 4);
      }
    }
  }
}

// MARK: dW = scale·xᵀ·z

/// A batch by column, and its groups of samples.
typedef struct {
  const uint8_t *by_column;
  int64_t groups;
} lam_tile_columns;

LAM_TILES_INLINE void lam_sum_tile(const lam_tile_columns *x, lam_tile_chunks chunks, int64_t row,
                                   const int8_t *digits) {
  const int64_t stride = 4 * chunks.groups * chunks.count;
  const uint8_t *from = x->by_column + row * stride;
  lam_clear_sums();
  for (int64_t chunk = 0; chunk < chunks.count; ++chunk) {
    lam_add_tiles(from, stride, digits);
    from += 4 * chunks.groups;
    digits += chunks.groups * LAM_GROUP_BYTES;
  }
}

/// The rows of dW from `row` of the tile on, four of them.
LAM_TILES_INLINE void lam_values_of_tile(const lam_tile_sums *sums, int64_t row, int64_t groups, lam_vector unit,
                                         lam_vector value[4]) {
  lam_quad_sums quad;
  LAM_UNROLL for (int r = 0; r < 4; ++r) lam_sums_of_row(sums, row + r, quad.at[r]);
  lam_values_of_quad(&quad, groups, unit, value);
}

/// As `lam_byte_gradient`, with `first` a multiple of sixteen.
LAM_TILES_APART void lam_tile_gradient(const lam_tile_columns *x, int64_t first, int64_t rows,
                                       const lam_digit_columns *z, float scale, float *y, int64_t y_stride,
                                       lam_line_requests *requests) {
  const lam_tile_chunks chunks = lam_chunks_of(x->groups);
  lam_begin_tiles(chunks.groups);
  for (int64_t row = 0; row < rows; row += LAM_BYTE_TILE_ROWS) {
    const int64_t some = rows - row < LAM_BYTE_TILE_ROWS ? rows - row : LAM_BYTE_TILE_ROWS;
    for (int64_t v = 0; v < z->vectors; ++v) {
      lam_tile_sums sums;
      lam_sum_tile(x, chunks, first + row, z->digits + v * z->groups * LAM_GROUP_BYTES);
      lam_store_sums(&sums);
      const lam_vector unit = lam_load(z->units + v * LAM_LANES) * (lam_vector)scale;
      for (int64_t r = 0; r < some; r += 4) {
        if (requests && requests->left > 0) lam_ask_for_next(requests);
        lam_vector value[4];
        lam_values_of_tile(&sums, r, z->groups, unit, value);
        LAM_UNROLL for (int i = 0; i < 4; ++i) {
          if (r + i < some) lam_store(y + (row + r + i) * y_stride + v * LAM_LANES, value[i]);
        }
      }
    }
  }
  lam_end_tiles();
}

// MARK: dW and Adam

/// Updates `rows` rows of a vector's weights, a multiple of four, from row `row` of what `weights` begins with on.
LAM_TILES_INLINE void lam_update_tile(const lam_tile_sums *sums, int64_t row, int64_t rows, int64_t vector,
                                      const lam_digit_columns *z, float scale, const lam_byte_weights *weights,
                                      const lam_adam_step *step, lam_line_requests *requests, bool decays) {
  const int64_t column = vector * LAM_LANES;
  const lam_vector unit = lam_load(z->units + column) * (lam_vector)scale;
  const lam_vector units_in_one = lam_units_in_one(lam_load(weights->units + column));
  lam_integers largest = lam_load_integers(weights->largest + column);
  int8_t *digits = weights->digits + vector * weights->group_stride + row / 4 * LAM_GROUP_BYTES;
  const int64_t width = weights->width, place = row * width + column;
  // Copies, which no store can change.
  const lam_adam_step numbers = *step;
  float *w = weights->w + place, *m = weights->m + place, *v = weights->v + place;
  for (int64_t r = 0; r < rows; r += 4) {
    if (requests && requests->left > 0) lam_ask_for_next(requests);
    lam_vector gradient[4];
    lam_integers term[4];
    lam_values_of_tile(sums, r, z->groups, unit, gradient);
    LAM_UNROLL for (int i = 0; i < 4; ++i) {
      lam_vector first = lam_load(m), second = lam_load(v);
      const lam_row_update update = lam_move_moments(&numbers, gradient[i], &first, &second);
      lam_store(m, first);
      lam_store(v, second);
      const lam_vector updated = lam_new_weights(&numbers, update, lam_load(w), decays);
      lam_store(w, updated);
      largest = lam_larger(largest, lam_magnitude_bits(updated));
      term[i] = lam_digits(updated, units_in_one);
      w += width;
      m += width;
      v += width;
    }
    lam_store_group(digits, term);
    digits += LAM_GROUP_BYTES;
  }
  lam_store_integers(weights->largest + column, largest);
}

LAM_TILES_INLINE void lam_tile_gradient_adam_body(const lam_tile_columns *x, int64_t first, int64_t rows,
                                                  const lam_digit_columns *z, float scale,
                                                  const lam_byte_weights *weights, const lam_adam_step *step,
                                                  lam_line_requests *requests, bool decays) {
  const lam_tile_chunks chunks = lam_chunks_of(x->groups);
  const int64_t vectors = z->vectors, tiles = (rows + LAM_BYTE_TILE_ROWS - 1) / LAM_BYTE_TILE_ROWS * vectors;
  lam_tile_sums sums;
  int64_t row = 0, place = 0, pending_row = 0, pending_vector = 0;
  lam_begin_tiles(chunks.groups);
  // A tile is updated beside the products of the next one.
  for (int64_t tile = 0; tile <= tiles; ++tile) {
    const int64_t vector = lam_vector_at(place, vectors);
    if (tile < tiles) lam_sum_tile(x, chunks, first + row, z->digits + vector * z->groups * LAM_GROUP_BYTES);
    if (tile > 0) {
      const int64_t left = rows - pending_row;
      lam_update_tile(&sums, pending_row, left < LAM_BYTE_TILE_ROWS ? left : LAM_BYTE_TILE_ROWS, pending_vector, z,
                      scale, weights, step, requests, decays);
    }
    if (tile < tiles) lam_store_sums(&sums);
    pending_row = row;
    pending_vector = vector;
    if (++place == vectors) {
      place = 0;
      row += LAM_BYTE_TILE_ROWS;
    }
  }
  lam_end_tiles();
}

/// As `lam_byte_gradient_adam`, with `first` a multiple of sixteen.
LAM_TILES_APART void lam_tile_gradient_adam(const lam_tile_columns *x, int64_t first, int64_t rows,
                                            const lam_digit_columns *z, float scale, const lam_byte_weights *weights,
                                            const lam_adam_step *step, lam_line_requests *requests) {
  if (step->decay != 1) lam_tile_gradient_adam_body(x, first, rows, z, scale, weights, step, requests, true);
  else lam_tile_gradient_adam_body(x, first, rows, z, scale, weights, step, requests, false);
}

#endif
