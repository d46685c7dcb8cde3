// Products of bytes with the last columns of a matrix, too few for a vector; included by CKernelShims.h.
//
// A vector of sixteen columns takes as long for one of them as for all. Up to eight are taken as one or two strips of
// four columns: a lane is a column's product with four of the inputs, so that an instruction multiplies as many bytes that
// count. Sums are exact, and the bits those of a whole vector.
#pragma once
#include "CByteProductShims.h"
#include "CTransposeShims.h"

#ifdef LAMINA_BYTE_PRODUCTS

#define LAM_STRIP_COLUMNS 4
/// Terms of a block, and its bytes: three digits of sixteen terms of each column.
#define LAM_STRIP_ROWS 16
#define LAM_STRIP_BYTES 192

typedef float lam_four_floats __attribute__((ext_vector_type(4), aligned(4)));
typedef int32_t lam_four_integers __attribute__((ext_vector_type(4), aligned(1)));

// MARK: Four columns of sixteen rows

// Vector i of four holds the rows i, 4 + i, 8 + i and 12 + i, so that those of a group of terms are in the same lanes.

/// Where the rows 0, 4, 8 and 12 of a strip lie, behind one another, and how many of those groups there are; what is
/// missing lies where the last one does.
typedef struct {
  int64_t offset[4];
  int64_t groups;
} lam_strip_rows;

LAM_BYTES_INLINE lam_strip_rows lam_rows_of_strip(int64_t rows, int64_t stride) {
  lam_strip_rows result;
  result.groups = rows < LAM_STRIP_ROWS ? (rows + 3) / 4 : 4;
  LAM_UNROLL for (int g = 0; g < 4; ++g) {
    result.offset[g] = (g < result.groups ? g : result.groups - 1) * 4 * stride;
  }
  return result;
}

LAM_BYTES_INLINE lam_vector lam_load_strip(const float *p, const lam_strip_rows *rows) {
  typedef float lam_eight_floats __attribute__((ext_vector_type(8)));
  const lam_four_floats a = *(const lam_four_floats *)(p + rows->offset[0]);
  const lam_four_floats b = *(const lam_four_floats *)(p + rows->offset[1]);
  const lam_four_floats c = *(const lam_four_floats *)(p + rows->offset[2]);
  const lam_four_floats d = *(const lam_four_floats *)(p + rows->offset[3]);
  const lam_eight_floats low = __builtin_shufflevector(a, b, 0, 1, 2, 3, 4, 5, 6, 7);
  const lam_eight_floats high = __builtin_shufflevector(c, d, 0, 1, 2, 3, 4, 5, 6, 7);
  return __builtin_shufflevector(low, high, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
}
LAM_BYTES_INLINE void lam_store_strip(float *p, const lam_strip_rows *rows, lam_vector v) {
  // The last group first, so that what is missing is overwritten by what lies in its place.
  *(lam_four_floats *)(p + rows->offset[3]) = __builtin_shufflevector(v, v, 12, 13, 14, 15);
  *(lam_four_floats *)(p + rows->offset[2]) = __builtin_shufflevector(v, v, 8, 9, 10, 11);
  *(lam_four_floats *)(p + rows->offset[1]) = __builtin_shufflevector(v, v, 4, 5, 6, 7);
  *(lam_four_floats *)(p + rows->offset[0]) = __builtin_shufflevector(v, v, 0, 1, 2, 3);
}
/// v, 0 in the lanes of missing groups.
LAM_BYTES_INLINE lam_vector lam_groups_of_strip(lam_vector v, const lam_strip_rows *rows) {
  return rows->groups == 4 ? v : lam_first_lanes(v, 4 * rows->groups);
}

/// Four rows of four lanes as four columns of them.
LAM_BYTES_INLINE lam_integers lam_transpose_lanes(lam_integers v) {
  return __builtin_shufflevector(v, v, 0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
}
/// The columns of strip `strip` of a vector of columns, in each four lanes.
LAM_BYTES_INLINE lam_vector lam_columns_of_strip(lam_vector v, int64_t strip) {
  return strip == 0 ? __builtin_shufflevector(v, v, 0, 1, 2, 3, 0, 1, 2, 3, 0, 1, 2, 3, 0, 1, 2, 3)
                    : __builtin_shufflevector(v, v, 4, 5, 6, 7, 4, 5, 6, 7, 4, 5, 6, 7, 4, 5, 6, 7);
}

/// Stores the digits of a block of a strip: of each weight the sixteen terms of one column after another.
LAM_BYTES_INLINE void lam_store_strip_digits(int8_t *to, const lam_integers term[4]) {
  lam_integers digit[3];
  lam_digits_of_group(term, digit);
  LAM_UNROLL for (int d = 0; d < 3; ++d) lam_store_integers(to + d * 64, lam_transpose_lanes(digit[d]));
}

/// Makes the largest magnitudes of a strip's columns the larger of themselves and those of its groups.
LAM_BYTES_INLINE void lam_add_largest(float *of_columns, lam_integers largest) {
  int32_t *const bits = (int32_t *)of_columns;
  for (int i = 0; i < LAM_LANES; ++i) {
    if (largest[i] > bits[i % LAM_STRIP_COLUMNS]) bits[i % LAM_STRIP_COLUMNS] = largest[i];
  }
}

/// Writes the digits of a strip, blocks of sixteen rows, 0 where rows are missing; returns the groups' largest magnitudes.
LAM_BYTES_INLINE lam_integers lam_write_strip_digits(const float *w, int64_t stride, int64_t rows,
                                                     lam_vector units_in_one, int8_t *digits) {
  lam_integers largest = {};
  for (int64_t row = 0; row < rows; row += LAM_STRIP_ROWS) {
    const lam_strip_rows places = lam_rows_of_strip(rows - row, stride);
    lam_integers term[4];
    LAM_UNROLL for (int i = 0; i < 4; ++i) {
      // A last group of fewer rows ends before row i of it.
      const int64_t left = rows - row - i;
      const lam_strip_rows of_row = left < 13 ? lam_rows_of_strip(left, stride) : places;
      const lam_vector value =
          left > 0 ? lam_groups_of_strip(lam_load_strip(w + i * stride, &of_row), &of_row) : (lam_vector)0;
      largest = lam_larger(largest, lam_magnitude_bits(value));
      term[i] = lam_digits(value, units_in_one);
    }
    lam_store_strip_digits(digits, term);
    w += LAM_STRIP_ROWS * stride;
    digits += LAM_STRIP_BYTES;
  }
  return largest;
}

/// Takes `strips` strips at the beginning of sixteen columns apart, one after the other, `strip_bytes` bytes each; units
/// are those of sixteen columns.
LAM_BYTES_APART void lam_take_strips_apart(const float *w, int64_t stride, int64_t rows, int64_t strips, int8_t *digits,
                                           int64_t strip_bytes, float *units) {
  const lam_vector unit = lam_units_of_columns(w, stride, rows);
  lam_store(units, unit);
  for (int64_t strip = 0; strip < strips; ++strip) {
    lam_write_strip_digits(w + strip * LAM_STRIP_COLUMNS, stride, rows,
                           lam_columns_of_strip(lam_units_in_one(unit), strip), digits + strip * strip_bytes);
  }
}

/// Writes the digits of strips in the units that are there; `largest` as in `lam_renew_digits`.
LAM_BYTES_APART void lam_renew_strip_digits(const float *w, int64_t stride, int64_t rows, int64_t strips,
                                            int8_t *digits, int64_t strip_bytes, const float *units, float *largest) {
  const lam_vector units_in_one = lam_units_in_one(lam_load(units));
  for (int64_t strip = 0; strip < strips; ++strip) {
    const int64_t column = strip * LAM_STRIP_COLUMNS;
    lam_add_largest(largest + column,
                    lam_write_strip_digits(w + column, stride, rows, lam_columns_of_strip(units_in_one, strip),
                                           digits + strip * strip_bytes));
  }
}

// MARK: y = scale·x·W

/// The sums of the four lanes of each column: lane i of a column is the sum of `sum[i]`.
LAM_BYTES_INLINE lam_integers lam_sums_of_columns(const lam_integers sum[4]) {
  const lam_integers a = __builtin_shufflevector(sum[0], sum[1], LAM_ONES_LOW) +
                         __builtin_shufflevector(sum[0], sum[1], LAM_ONES_HIGH);
  const lam_integers b = __builtin_shufflevector(sum[2], sum[3], LAM_ONES_LOW) +
                         __builtin_shufflevector(sum[2], sum[3], LAM_ONES_HIGH);
  return __builtin_shufflevector(a, b, LAM_PAIRS_LOW) + __builtin_shufflevector(a, b, LAM_PAIRS_HIGH);
}

/// Stores the first `columns` of a row of a strip.
LAM_BYTES_INLINE void lam_store_row_of_strip(float *to, const float *row, int64_t columns) {
  if (columns >= LAM_STRIP_COLUMNS) {
    *(lam_four_floats *)to = *(const lam_four_floats *)row;
    return;
  }
  if (columns & 2) __builtin_memcpy(to, row, 8);
  if (columns & 1) to[columns & 2] = row[columns & 2];
}

/// Defines NAME: at most ROWS rows of bytes (ROWS a multiple of four) times a strip, of which `columns` are written.
#define LAM_DEFINE_STRIP_PRODUCT(NAME, ROWS)                                                                           \
  LAM_BYTES_APART void NAME(const uint8_t *x, int64_t x_stride, int64_t rows, int64_t blocks, const int8_t *digits,    \
                            lam_vector unit, float *y, int64_t y_stride, int64_t columns) {                            \
    lam_integers sum[3][ROWS];                                                                                         \
    const uint8_t *from[ROWS];                                                                                         \
    LAM_UNROLL for (int r = 0; r < ROWS; ++r) {                                                                        \
      LAM_UNROLL for (int d = 0; d < 3; ++d) sum[d][r] = (lam_integers)0;                                              \
      from[r] = x + (r < rows ? r : rows - 1) * x_stride;                                                              \
    }                                                                                                                  \
    for (int64_t block = 0; block < blocks; ++block) {                                                                 \
      lam_integers digit[3];                                                                                           \
      LAM_UNROLL for (int d = 0; d < 3; ++d)                                                                           \
        digit[d] = lam_load_integers(digits + block * LAM_STRIP_BYTES + d * 64);                                       \
      LAM_UNROLL for (int r = 0; r < ROWS; ++r) {                                                                      \
        const lam_four_integers four = *(const lam_four_integers *)(from[r] + block * LAM_STRIP_ROWS);                 \
        const lam_integers bytes = __builtin_shufflevector(four, four, 0, 1, 2, 3, 0, 1, 2, 3, 0, 1, 2, 3, 0, 1, 2, 3);\
        LAM_UNROLL for (int d = 0; d < 3; ++d) sum[d][r] = lam_add_byte_products(sum[d][r], bytes, digit[d]);          \
      }                                                                                                                \
    }                                                                                                                  \
    LAM_UNROLL for (int first = 0; first < ROWS; first += 4) {                                                         \
      lam_integers total[3];                                                                                           \
      LAM_UNROLL for (int d = 0; d < 3; ++d) total[d] = lam_transpose_lanes(lam_sums_of_columns(sum[d] + first));      \
      const lam_vector value = lam_value_of_sums(total, unit);                                                         \
      float four[LAM_LANES];                                                                                           \
      lam_store(four, value);                                                                                          \
      LAM_UNROLL for (int r = 0; r < 4; ++r) {                                                                         \
        if (first + r < rows) lam_store_row_of_strip(y + (first + r) * y_stride, four + 4 * r, columns);               \
      }                                                                                                                \
    }                                                                                                                  \
  }
LAM_DEFINE_STRIP_PRODUCT(lam_strip_product_4, 4)
LAM_DEFINE_STRIP_PRODUCT(lam_strip_product_8, 8)

/// Rows of bytes times the first `columns` ≤ 8 columns of sixteen, whose strips were taken apart into `groups` groups of
/// four rows.
LAM_BYTES_APART void lam_multiply_strips(const uint8_t *x, int64_t x_stride, int64_t rows, int64_t groups,
                                         const int8_t *digits, const float *units, float scale, float *y,
                                         int64_t y_stride, int64_t columns) {
  const int64_t blocks = (groups + 3) / 4;
  for (int64_t first = 0; first < columns; first += LAM_STRIP_COLUMNS) {
    const lam_vector unit = lam_columns_of_strip(lam_load(units) * (lam_vector)scale, first / LAM_STRIP_COLUMNS);
    for (int64_t row = 0; row < rows; row += LAM_BYTE_ROWS) {
      const int64_t some = rows - row < LAM_BYTE_ROWS ? rows - row : LAM_BYTE_ROWS;
      (some > 4 ? lam_strip_product_8 : lam_strip_product_4)(x + row * x_stride, x_stride, some, blocks, digits, unit,
                                                             y + row * y_stride + first, y_stride, columns - first);
    }
    digits += blocks * LAM_STRIP_BYTES;
  }
}

#endif
