// Gradients of a kernel whose inputs are bytes, with and without Adam; included by CKernelShims.h.
#pragma once
#include "CAdamShims.h"
#include "CByteProductShims.h"

#ifdef LAMINA_BYTE_PRODUCTS

// MARK: dW = scale·xᵀ·z

/// Bit q: whether one of four bytes from 4·q on is not 0.
LAM_BYTES_INLINE uint8_t lam_four_bits_not_zero(lam_sixteen_bytes v) {
  typedef int lam_four_integers __attribute__((ext_vector_type(4)));
  typedef float lam_four_floats __attribute__((vector_size(16)));
  return (uint8_t)__builtin_ia32_movmskps((lam_four_floats)((lam_four_integers)v != 0));
}

/// Copies rows of bytes, and puts four samples of a column side by side.
///
/// In `quads` sixteen columns of a group of samples are a line, and the lines of a block of columns follow one another:
/// a block of columns is read from one end to the other. Samples that are missing in the last group are 0 there. Of each
/// line `occupied` has a byte: bit q says whether one of the columns 4·q … 4·q + 3 has a byte that is not 0.
LAM_BYTES_APART void lam_gather_byte_rows(const uint8_t *source, const int32_t *indices, int64_t columns, int64_t first,
                                          int64_t samples, uint8_t *rows, int64_t stride, uint8_t *quads,
                                          uint8_t *occupied, int64_t groups) {
  for (int64_t sample = first; sample < first + samples; sample += 4) {
    uint8_t *to = rows + sample * stride;
    const int64_t count = first + samples - sample < 4 ? first + samples - sample : 4;
    for (int64_t i = 0; i < count; ++i) {
      const uint8_t *from = source + (int64_t)indices[sample + i] * columns;
      int64_t c = 0;
      for (; c + 64 <= columns; c += 64) lam_store_integers(to + i * stride + c, lam_load_integers(from + c));
      for (; c + 16 <= columns; c += 16)
        *(lam_sixteen_bytes *)(to + i * stride + c) = *(const lam_sixteen_bytes *)(from + c);
      for (; c < columns; ++c) to[i * stride + c] = from[c];
    }
    const lam_sixteen_bytes none = {};
    uint8_t *line = quads + sample / 4 * 64;
    uint8_t *bits = occupied + sample / 4;
    for (int64_t c = 0; c < columns; c += 16) {
      const lam_sixteen_bytes r0 = *(const lam_sixteen_bytes *)(to + c);
      const lam_sixteen_bytes r1 = count > 1 ? *(const lam_sixteen_bytes *)(to + stride + c) : none;
      const lam_sixteen_bytes r2 = count > 2 ? *(const lam_sixteen_bytes *)(to + 2 * stride + c) : none;
      const lam_sixteen_bytes r3 = count > 3 ? *(const lam_sixteen_bytes *)(to + 3 * stride + c) : none;
#define LAM_LOW_BYTES 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23
#define LAM_HIGH_BYTES 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31
#define LAM_LOW_PAIRS 0, 1, 16, 17, 2, 3, 18, 19, 4, 5, 20, 21, 6, 7, 22, 23
#define LAM_HIGH_PAIRS 8, 9, 24, 25, 10, 11, 26, 27, 12, 13, 28, 29, 14, 15, 30, 31
      const lam_sixteen_bytes low01 = __builtin_shufflevector(r0, r1, LAM_LOW_BYTES);
      const lam_sixteen_bytes low23 = __builtin_shufflevector(r2, r3, LAM_LOW_BYTES);
      const lam_sixteen_bytes high01 = __builtin_shufflevector(r0, r1, LAM_HIGH_BYTES);
      const lam_sixteen_bytes high23 = __builtin_shufflevector(r2, r3, LAM_HIGH_BYTES);
      *(lam_sixteen_bytes *)line = __builtin_shufflevector(low01, low23, LAM_LOW_PAIRS);
      *(lam_sixteen_bytes *)(line + 16) = __builtin_shufflevector(low01, low23, LAM_HIGH_PAIRS);
      *(lam_sixteen_bytes *)(line + 32) = __builtin_shufflevector(high01, high23, LAM_LOW_PAIRS);
      *(lam_sixteen_bytes *)(line + 48) = __builtin_shufflevector(high01, high23, LAM_HIGH_PAIRS);
      line += groups * 64;
      *bits = lam_four_bits_not_zero(r0 | r1 | r2 | r3);
      bits += groups;
    }
  }
}

/// Sums of four rows of dW and sixteen columns; a C array of vectors in registers, because every index is constant.
typedef struct { lam_integers at[4][3]; } lam_quad_sums;

LAM_BYTES_INLINE void lam_add_group(lam_quad_sums *sums, const uint8_t *x, const int8_t *z) {
  lam_integers digit[3];
  LAM_UNROLL for (int d = 0; d < 3; ++d) digit[d] = lam_load_integers(z + d * 64);
  LAM_UNROLL for (int r = 0; r < 4; ++r) {
    const lam_integers bytes = (lam_integers)*(const lam_unaligned_int32 *)(x + r * 4);
    LAM_UNROLL for (int d = 0; d < 3; ++d) sums->at[r][d] = lam_add_byte_products(sums->at[r][d], bytes, digit[d]);
  }
}

/// Groups up to which two digits' sums together fit 32 bits: 4·60·255·128·257 < 2³¹.
#define LAM_FEW_GROUPS 60

LAM_BYTES_INLINE lam_vector lam_value_of_few(const lam_integers sum[3], lam_vector unit, lam_vector high_unit) {
  return lam_multiply_add(lam_floats_of(sum[2]), high_unit, lam_floats_of((sum[1] << 8) + sum[0]) * unit);
}

LAM_BYTES_INLINE void lam_values_of_quad(const lam_quad_sums *sums, int64_t groups, lam_vector unit,
                                         lam_vector value[4]) {
  if (groups <= LAM_FEW_GROUPS) {
    const lam_vector high = unit * (lam_vector)65536.0f;
    LAM_UNROLL for (int r = 0; r < 4; ++r) value[r] = lam_value_of_few(sums->at[r], unit, high);
  } else {
    LAM_UNROLL for (int r = 0; r < 4; ++r) value[r] = lam_value_of_sums(sums->at[r], unit);
  }
}

/// A batch by column: `quads` and `occupied` of its gathering, with `groups` groups of samples.
typedef struct {
  const uint8_t *quads;
  const uint8_t *occupied;
  int64_t groups;
} lam_byte_columns;

/// Whether so many of the groups of `rows` rows of dW from `first` on are 0 that it pays to leave those out: of images many
/// are. A mask has 64 bits.
LAM_BYTES_INLINE bool lam_leaves_out(const lam_byte_columns *x, int64_t first, int64_t rows) {
  if (x->groups > 64) return false;
  int64_t count = 0, all = 0;
  for (int64_t block = first / 16; block <= (first + rows - 1) / 16; ++block) {
    const uint8_t *bits = x->occupied + block * x->groups;
    for (int64_t g = 0; g < x->groups; ++g) count += __builtin_popcount(bits[g]);
    all += 4 * x->groups;
  }
  return count * 16 <= all * 15;
}

/// Bit g: whether one of the columns k … k + 3, k a multiple of 4, is not 0 in group g.
LAM_BYTES_INLINE uint64_t lam_groups_left(const lam_byte_columns *x, int64_t k) {
  const uint8_t *occupied = x->occupied + k / 16 * x->groups;
  uint64_t left = 0;
  for (int64_t g = 0; g < x->groups; g += 8) {
    uint64_t bits;
    __builtin_memcpy(&bits, occupied + g, 8);
    left |= __builtin_ia32_pext_di(bits, (uint64_t)0x0101010101010101 << k % 16 / 4) << g;
  }
  return x->groups < 64 ? left & (((uint64_t)1 << x->groups) - 1) : left;
}

/// Where a tile has come to among the groups of samples: the next one, or the lowest of those that are `left`.
typedef struct {
  const uint8_t *x;
  const int8_t *z;
  uint64_t left;
} lam_group_cursor;

LAM_BYTES_INLINE void lam_add_groups(lam_quad_sums *sums, lam_group_cursor *at, int64_t count, bool leaves_out) {
  for (; count > 0; --count) {
    if (leaves_out) {
      const int64_t g = __builtin_ctzll(at->left);
      lam_add_group(sums, at->x + g * 64, at->z + g * LAM_GROUP_BYTES);
      at->left &= at->left - 1;
    } else {
      lam_add_group(sums, at->x, at->z);
      at->x += 64;
      at->z += LAM_GROUP_BYTES;
    }
  }
}

/// The place of the columns k … k + 3 in the batch, and how many groups are to be added.
LAM_BYTES_INLINE lam_group_cursor lam_begin_groups(const lam_byte_columns *x, int64_t k, const int8_t *z,
                                                   bool leaves_out, int64_t *count) {
  const uint64_t left = leaves_out ? lam_groups_left(x, k) : 0;
  *count = leaves_out ? __builtin_popcountll(left) : x->groups;
  return (lam_group_cursor){x->quads + k / 16 * x->groups * 64 + k % 16 * 4, z, left};
}

/// Where the digits of z's columns and their units lie: `vectors` times sixteen columns, group after group.
typedef struct {
  const int8_t *digits;
  const float *units;
  int64_t vectors;
  int64_t groups;
} lam_digit_columns;

/// Lines to be asked for: the fields of `LineRequests`.
typedef struct {
  const uint8_t *base;
  const int32_t *indices;
  int64_t bytes_per_row;
  int64_t lines_per_row;
  int64_t row;
  int64_t line;
  int64_t left;
} lam_line_requests;

LAM_BYTES_INLINE void lam_ask_for_next(lam_line_requests *requests) {
  const int64_t last = requests->bytes_per_row - 1, offset = requests->line * 64;
  __builtin_prefetch(
      requests->base + requests->indices[requests->row] * requests->bytes_per_row + (offset < last ? offset : last), 0, 2);
  requests->left -= 1;
  requests->line += 1;
  if (requests->line == requests->lines_per_row) {
    requests->line = 0;
    requests->row += 1;
  }
}

LAM_BYTES_INLINE void lam_byte_gradient_body(const lam_byte_columns *x, int64_t first, int64_t rows,
                                             const lam_digit_columns *z, float scale, float *y, int64_t y_stride,
                                             lam_line_requests *requests, bool leaves_out) {
  for (int64_t row = 0; row < rows; row += 4) {
    for (int64_t v = 0; v < z->vectors; ++v) {
      if (requests && requests->left > 0) lam_ask_for_next(requests);
      lam_quad_sums sums = {};
      int64_t count;
      lam_group_cursor at =
          lam_begin_groups(x, first + row, z->digits + v * z->groups * LAM_GROUP_BYTES, leaves_out, &count);
      lam_add_groups(&sums, &at, count, leaves_out);
      lam_vector value[4];
      lam_values_of_quad(&sums, z->groups, lam_load(z->units + v * LAM_LANES) * (lam_vector)scale, value);
      LAM_UNROLL for (int r = 0; r < 4; ++r) {
        if (row + r < rows) lam_store(y + (row + r) * y_stride + v * LAM_LANES, value[r]);
      }
    }
  }
}

/// Rows `first` … `first + rows` of y = scale·xᵀ·z, `first` a multiple of 4; y is the address of row `first`.
LAM_BYTES_APART void lam_byte_gradient(const lam_byte_columns *x, int64_t first, int64_t rows,
                                       const lam_digit_columns *z, float scale, float *y, int64_t y_stride,
                                       lam_line_requests *requests) {
  if (lam_leaves_out(x, first, rows)) {
    lam_byte_gradient_body(x, first, rows, z, scale, y, y_stride, requests, true);
  } else {
    lam_byte_gradient_body(x, first, rows, z, scale, y, y_stride, requests, false);
  }
}

// MARK: dW and Adam

/// Weights with their moments, sixteen columns a vector, rows `width` apart, and where their digits go.
typedef struct {
  float *w, *m, *v;
  int64_t width;
  int8_t *digits;
  int64_t group_stride;
  const float *units;
  float *largest;
} lam_byte_weights;

/// Four rows of sixteen columns that wait for their update.
typedef struct {
  lam_vector gradient[4];
  int64_t place;
  int64_t vector;
  int8_t *digits;
} lam_pending_quad;

/// A row's update under way: the square root takes as long as the products of a group of samples.
typedef struct { lam_vector scaled_first, root; } lam_row_update;

/// Moves the moments `m` and `v` to those with the gradient g.
LAM_BYTES_INLINE lam_row_update lam_move_moments(const lam_adam_step *step, lam_vector g, lam_vector *m,
                                                 lam_vector *v) {
  *m = lam_multiply_add((lam_vector)step->new_first, g - *m, *m);
  *v = lam_multiply_add((lam_vector)step->new_second, lam_multiply_add(g, g, -*v), *v);
  return (lam_row_update){(lam_vector)step->alpha * *m, lam_sqrt(*v)};
}
/// The new weights.
LAM_BYTES_INLINE lam_vector lam_new_weights(const lam_adam_step *step, lam_row_update row, lam_vector w, bool decays) {
  return lam_add_quotient(w, (lam_vector)step->decay, row.scaled_first, row.root + (lam_vector)step->epsilon, decays);
}

/// Updates the four rows that wait, beside the products of most groups: each row in two parts and its digits in a third,
/// so that none waits for the one before.
LAM_BYTES_INLINE void lam_update_quad(const lam_pending_quad *pending, const lam_byte_weights *weights,
                                      const lam_adam_step *step, bool decays, lam_quad_sums *sums,
                                      lam_group_cursor *at, int64_t groups, bool leaves_out) {
  const int64_t column = pending->vector * LAM_LANES;
  const lam_vector units_in_one = lam_units_in_one(lam_load(weights->units + column));
  lam_integers largest = lam_load_integers(weights->largest + column), term[4];
  lam_row_update row[4];
  lam_vector updated[4];
  const int64_t share = groups / 4;
  // Row r begins at stage r, ends at r + 1 and is taken apart at r + 2.
  LAM_UNROLL for (int stage = 0; stage < 6; ++stage) {
    if (stage < 4) {
      const int64_t place = pending->place + stage * weights->width;
      lam_vector first = lam_load(weights->m + place), second = lam_load(weights->v + place);
      row[stage] = lam_move_moments(step, pending->gradient[stage], &first, &second);
      lam_store(weights->m + place, first);
      lam_store(weights->v + place, second);
    }
    if (stage >= 1 && stage < 5) {
      const int r = stage - 1;
      float *const w = weights->w + pending->place + r * weights->width;
      updated[r] = lam_new_weights(step, row[r], lam_load(w), decays);
      lam_store(w, updated[r]);
    }
    if (stage >= 2) {
      const int r = stage - 2;
      largest = lam_larger(largest, lam_magnitude_bits(updated[r]));
      term[r] = lam_digits(updated[r], units_in_one);
    }
    if (stage < 4) lam_add_groups(sums, at, share, leaves_out);
  }
  lam_store_group(pending->digits, term);
  lam_store_integers(weights->largest + column, largest);
}

/// The vector of four rows that is updated at `place`: by turns one of each half.
///
/// The digits of a vector lie as far from those of the next as from those of the one before. Taken in order, a prefetcher
/// would follow them into the next tile, which is another core's to write.
LAM_BYTES_INLINE int64_t lam_vector_at(int64_t place, int64_t vectors) {
  return place / 2 + (place % 2 ? (vectors + 1) / 2 : 0);
}

LAM_BYTES_INLINE void lam_byte_gradient_adam_body(const lam_byte_columns *x, int64_t first, int64_t rows,
                                                  const lam_digit_columns *z, float scale,
                                                  const lam_byte_weights *weights, const lam_adam_step *step,
                                                  lam_line_requests *requests, bool decays, bool leaves_out) {
  const int64_t groups = z->groups, vectors = z->vectors;
  lam_pending_quad pending = {};
  pending.digits = 0;
  const int64_t tiles = (rows + 3) / 4 * vectors;
  int64_t row = 0, place = 0;
  for (int64_t tile = 0; tile <= tiles; ++tile) {
    const int64_t vector = lam_vector_at(place, vectors);
    lam_quad_sums sums = {};
    const bool computes = tile < tiles;
    int64_t left = 0;
    lam_group_cursor at = {};
    if (computes)
      at = lam_begin_groups(x, first + row, z->digits + vector * groups * LAM_GROUP_BYTES, leaves_out, &left);
    if (pending.digits) {
      lam_update_quad(&pending, weights, step, decays, &sums, &at, left, leaves_out);
      left %= 4;
    }
    if (requests && requests->left > 0) lam_ask_for_next(requests);
    lam_add_groups(&sums, &at, left, leaves_out);
    if (!computes) break;
    lam_values_of_quad(&sums, groups, lam_load(z->units + vector * LAM_LANES) * (lam_vector)scale, pending.gradient);
    pending.place = row * weights->width + vector * LAM_LANES;
    pending.vector = vector;
    pending.digits = weights->digits + vector * weights->group_stride + row / 4 * LAM_GROUP_BYTES;
    if (++place == vectors) {
      place = 0;
      row += 4;
    }
  }
}

/// The same with Adam on `rows` rows of weights from `weights` on, `rows` a multiple of 4; afterwards `largest` holds the
/// bits of the largest magnitudes of before and of the new weights, whose digits are written in units of `units`.
LAM_BYTES_APART void lam_byte_gradient_adam(const lam_byte_columns *x, int64_t first, int64_t rows,
                                            const lam_digit_columns *z, float scale, const lam_byte_weights *weights,
                                            const lam_adam_step *step, lam_line_requests *requests) {
  const bool decays = step->decay != 1;
  if (lam_leaves_out(x, first, rows)) {
    if (decays) lam_byte_gradient_adam_body(x, first, rows, z, scale, weights, step, requests, true, true);
    else lam_byte_gradient_adam_body(x, first, rows, z, scale, weights, step, requests, false, true);
  } else {
    if (decays) lam_byte_gradient_adam_body(x, first, rows, z, scale, weights, step, requests, true, false);
    else lam_byte_gradient_adam_body(x, first, rows, z, scale, weights, step, requests, false, false);
  }
}

/// Whether the units of sixteen columns are those of their largest magnitudes.
LAM_BYTES_APART bool lam_units_fit(const float *units, const float *largest) {
  const lam_integers unit = (lam_integers)lam_unit_of_largest(lam_load_integers(largest));
  const lam_integers same = unit == lam_load_integers(units);
  for (int i = 0; i < LAM_LANES; ++i) {
    if (!same[i]) return false;
  }
  return true;
}

#endif
