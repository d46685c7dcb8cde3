// Gradients of the last columns of a kernel whose inputs are bytes, with and without Adam; included by CKernelShims.h.
#pragma once
#include "CByteGradientShims.h"
#include "CByteStripShims.h"

#ifdef LAMINA_BYTE_PRODUCTS

// MARK: dW = scale·xᵀ·z

/// Adds the products of sixteen rows of dW and a strip's columns in a group of samples: a lane is a row.
LAM_BYTES_INLINE void lam_add_strip_group(lam_quad_sums *sums, const uint8_t *x, const int8_t *z) {
  const lam_integers bytes = lam_load_integers(x);
  LAM_UNROLL for (int c = 0; c < 4; ++c) {
    LAM_UNROLL for (int d = 0; d < 3; ++d) {
      const lam_integers digit = (lam_integers)*(const lam_unaligned_int32 *)(z + d * 64 + c * 4);
      sums->at[c][d] = lam_add_byte_products(sums->at[c][d], bytes, digit);
    }
  }
}

/// Bit g: whether group g of a block of sixteen rows of dW has a byte that is not 0.
LAM_BYTES_INLINE uint64_t lam_groups_of_block(const uint8_t *occupied, int64_t groups) {
  uint64_t left = 0;
  for (int64_t g = 0; g < groups; g += 8) {
    uint64_t bits;
    __builtin_memcpy(&bits, occupied + g, 8);
    bits |= bits >> 2;
    left |= __builtin_ia32_pext_di(bits | bits >> 1, (uint64_t)0x0101010101010101) << g;
  }
  return groups < 64 ? left & (((uint64_t)1 << groups) - 1) : left;
}

/// The gradient of sixteen rows from `k` on, a multiple of 16, and the columns of strip `strip` of z, four rows a vector.
LAM_BYTES_INLINE void lam_gradient_of_strip(const lam_byte_columns *x, int64_t k, const int8_t *z, int64_t groups,
                                            lam_vector unit, int64_t strip, bool leaves_out, lam_vector gradient[4]) {
  lam_quad_sums sums = {};
  const uint8_t *from = x->quads + k / 16 * x->groups * 64;
  z += strip * 16;
  if (leaves_out) {
    for (uint64_t left = lam_groups_of_block(x->occupied + k / 16 * x->groups, groups); left; left &= left - 1) {
      const int64_t g = __builtin_ctzll(left);
      lam_add_strip_group(&sums, from + g * 64, z + g * LAM_GROUP_BYTES);
    }
  } else {
    for (int64_t g = 0; g < groups; ++g) lam_add_strip_group(&sums, from + g * 64, z + g * LAM_GROUP_BYTES);
  }
  LAM_UNROLL for (int c = 0; c < 4; ++c) {
    const lam_vector of_column = (lam_vector)unit[strip * 4 + c];
    gradient[c] = groups <= LAM_FEW_GROUPS
                    ? lam_value_of_few(sums.at[c], of_column, of_column * (lam_vector)65536.0f)
                    : lam_value_of_sums(sums.at[c], of_column);
  }
  // From a vector of rows for each column to four rows in each vector, as `lam_load_strip` has them.
  lam_exchange_in_quarters(gradient);
}

LAM_BYTES_INLINE void lam_ask_for_four(lam_line_requests *requests) {
  if (!requests) return;
  for (int i = 0; i < 4 && requests->left > 0; ++i) lam_ask_for_next(requests);
}

/// Rows `first` … `first + rows` of y = scale·xᵀ·z, `first` a multiple of 16, for `strips` strips; z is their vector, and
/// the rest of the vector becomes 0. Asks for as many lines as for a whole vector.
LAM_BYTES_APART void lam_byte_strip_gradient(const lam_byte_columns *x, int64_t first, int64_t rows,
                                             const lam_digit_columns *z, float scale, float *y, int64_t y_stride,
                                             int64_t strips, lam_line_requests *requests) {
  const bool leaves_out = lam_leaves_out(x, first, rows);
  const lam_vector unit = lam_load(z->units) * (lam_vector)scale;
  for (int64_t row = 0; row < rows; row += LAM_STRIP_ROWS) {
    const int64_t some = rows - row < LAM_STRIP_ROWS ? rows - row : LAM_STRIP_ROWS;
    float *const to = y + row * y_stride;
    for (int64_t r = 0; r < some; ++r) lam_store(to + r * y_stride, (lam_vector)0);
    for (int64_t strip = 0; strip < strips; ++strip) {
      lam_vector gradient[4];
      lam_gradient_of_strip(x, first + row, z->digits, z->groups, unit, strip, leaves_out, gradient);
      if (strip == 0) lam_ask_for_four(requests);
      LAM_UNROLL for (int i = 0; i < 4; ++i) {
        if (i >= some) continue;
        const lam_strip_rows rows_of_vector = lam_rows_of_strip(some - i, y_stride);
        lam_store_strip(to + i * y_stride + strip * LAM_STRIP_COLUMNS, &rows_of_vector, gradient[i]);
      }
    }
  }
}

// MARK: dW and Adam

LAM_BYTES_INLINE void lam_byte_strip_gradient_adam_body(const lam_byte_columns *x, int64_t first, int64_t rows,
                                                        const lam_digit_columns *z, float scale,
                                                        const lam_byte_weights *weights, lam_adam_step step,
                                                        lam_line_requests *requests, int64_t strips, bool decays,
                                                        bool leaves_out) {
  const lam_vector unit = lam_load(z->units) * (lam_vector)scale;
  const lam_vector all_units_in_one = lam_units_in_one(lam_load(weights->units));
  const int64_t width = weights->width, groups = z->groups;
  for (int64_t strip = 0; strip < strips; ++strip) {
    const lam_vector units_in_one = lam_columns_of_strip(all_units_in_one, strip);
    int8_t *digits = weights->digits + strip * weights->group_stride;
    int64_t place = strip * LAM_STRIP_COLUMNS;
    lam_integers largest = {};
    for (int64_t row = 0; row < rows; row += LAM_STRIP_ROWS) {
      const lam_strip_rows places = lam_rows_of_strip(rows - row, width);
      lam_vector gradient[4];
      lam_integers term[4];
      lam_gradient_of_strip(x, first + row, z->digits, groups, unit, strip, leaves_out, gradient);
      if (strip == 0) lam_ask_for_four(requests);
      LAM_UNROLL for (int i = 0; i < 4; ++i) {
        float *const w = weights->w + place + i * width;
        float *const m = weights->m + place + i * width;
        float *const v = weights->v + place + i * width;
        lam_vector moment = lam_load_strip(m, &places), square = lam_load_strip(v, &places);
        const lam_row_update update = lam_move_moments(&step, gradient[i], &moment, &square);
        lam_store_strip(m, &places, moment);
        lam_store_strip(v, &places, square);
        const lam_vector updated = lam_new_weights(&step, update, lam_load_strip(w, &places), decays);
        lam_store_strip(w, &places, updated);
        const lam_vector counted = lam_groups_of_strip(updated, &places);
        largest = lam_larger(largest, lam_magnitude_bits(counted));
        term[i] = lam_digits(counted, units_in_one);
      }
      lam_store_strip_digits(digits, term);
      digits += LAM_STRIP_BYTES;
      place += LAM_STRIP_ROWS * width;
    }
    lam_add_largest(weights->largest + strip * LAM_STRIP_COLUMNS, largest);
  }
}

/// The same with Adam on `rows` rows of weights, `rows` a multiple of 4, as `lam_byte_gradient_adam` does: `weights`, the
/// units of z and its digits are those of the strips' vector.
LAM_BYTES_APART void lam_byte_strip_gradient_adam(const lam_byte_columns *x, int64_t first, int64_t rows,
                                                  const lam_digit_columns *z, float scale,
                                                  const lam_byte_weights *weights, const lam_adam_step *step,
                                                  lam_line_requests *requests, int64_t strips) {
  const bool decays = step->decay != 1;
#define LAM_STRIP_ADAM(DECAYS, LEAVES_OUT)                                                                             \
  lam_byte_strip_gradient_adam_body(x, first, rows, z, scale, weights, *step, requests, strips, DECAYS, LEAVES_OUT)
  if (lam_leaves_out(x, first, rows)) {
    if (decays) LAM_STRIP_ADAM(true, true);
    else LAM_STRIP_ADAM(false, true);
  } else {
    if (decays) LAM_STRIP_ADAM(true, false);
    else LAM_STRIP_ADAM(false, false);
  }
}

#endif
