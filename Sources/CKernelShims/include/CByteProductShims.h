// Products of bytes with numbers of three bytes, summed exactly in integers; included by CKernelShims.h.
//
// One instruction (VNNI) multiplies four bytes a lane and adds the products: a number of three bytes takes three
// quarters of the time of a multiply-add of floats.
#pragma once
#include "CKernelShims.h"

#ifdef LAMINA_BYTE_PRODUCTS

// Apart: callers are compiled without the instruction.
#define LAM_BYTES_APART static __attribute__((noinline, unused, target("avx512vnni")))
#define LAM_BYTES_INLINE static inline __attribute__((always_inline, target("avx512vnni")))

/// Bytes of a group: four terms of sixteen columns, three digits each.
#define LAM_GROUP_BYTES 192

typedef lam_integers lam_unaligned_integers __attribute__((aligned(1)));
typedef int32_t lam_unaligned_int32 __attribute__((aligned(1)));
typedef uint8_t lam_sixteen_bytes __attribute__((ext_vector_type(16), aligned(1)));

LAM_BYTES_INLINE lam_integers lam_load_integers(const void *p) { return *(const lam_unaligned_integers *)p; }
LAM_BYTES_INLINE void lam_store_integers(void *p, lam_integers v) { *(lam_unaligned_integers *)p = v; }
/// sum + Σ a·b over the four bytes of each lane, a without and b with a sign.
LAM_BYTES_INLINE lam_integers lam_add_byte_products(lam_integers sum, lam_integers a, lam_integers b) {
  typedef int lam_native_integers __attribute__((vector_size(64)));
  return (lam_integers)__builtin_ia32_vpdpbusd512((lam_native_integers)sum, (lam_native_integers)a,
                                                  (lam_native_integers)b);
}
/// Rounded to the nearest whole number, ties to even; -2³¹ out of range.
LAM_BYTES_INLINE lam_integers lam_round_to_integers(lam_vector v) {
  typedef int lam_native_integers __attribute__((vector_size(64)));
  typedef float lam_native_floats __attribute__((vector_size(64)));
  return (lam_integers)__builtin_ia32_cvtps2dq512_mask((lam_native_floats)v, (lam_native_integers){}, (unsigned short)-1,
                                                       4);
}
/// Bit i: whether lane i is not 0.
LAM_BYTES_INLINE unsigned short lam_bits_not_zero(lam_integers v) {
  typedef int lam_native_integers __attribute__((vector_size(64)));
  return __builtin_ia32_cmpd512_mask((lam_native_integers)v, (lam_native_integers){}, 4, (unsigned short)-1);
}
LAM_BYTES_INLINE lam_vector lam_floats_of(lam_integers v) { return __builtin_convertvector(v, lam_vector); }

// MARK: Numbers of three bytes

/// What keeps three digits from overflowing: a largest number of which so many last places are missing to the next binade
/// takes the unit of that one.
#define LAM_DIGIT_MARGIN 0x10400

/// The unit of a column whose largest magnitude has these bits: a power of two, at most 2⁻²² of the largest but for the
/// margin; NaN where the largest is not finite.
LAM_BYTES_INLINE lam_vector lam_unit_of_largest(lam_integers largest) {
  const lam_integers exponent = (largest + LAM_DIGIT_MARGIN) >> 23;
  // Units of subnormal numbers would be 0.
  const lam_integers least = (lam_integers)30;
  const lam_integers unit = ((exponent < least ? least : exponent) - 22) << 23;
  return (lam_vector)(largest > 0x7f7fffff ? (lam_integers)0x7fc00000 : unit);
}
/// 1/unit for a power of two from `lam_unit_of_largest`; NaN for NaN.
LAM_BYTES_INLINE lam_vector lam_units_in_one(lam_vector unit) {
  const lam_integers bits = (lam_integers)unit;
  return (lam_vector)(bits == 0x7fc00000 ? bits : (254 << 23) - bits);
}
LAM_BYTES_INLINE lam_integers lam_magnitude_bits(lam_vector v) { return (lam_integers)v & 0x7fffffff; }
// Bits of magnitudes are ordered as the magnitudes, infinity and NaN above all.
LAM_BYTES_INLINE lam_integers lam_larger(lam_integers a, lam_integers b) { return a > b ? a : b; }

/// Three digits from -128 to 127 in the lowest bytes: value = d₀ + 256·d₁ + 65536·d₂.
LAM_BYTES_INLINE lam_integers lam_digits(lam_vector v, lam_vector units_in_one) {
  const lam_integers half = (lam_integers)0x808080;
  return (lam_round_to_integers(v * units_in_one) + half) ^ half;
}
/// The digits of four terms side by side, those of one weight together, least weight first.
LAM_BYTES_INLINE void lam_digits_of_group(const lam_integers term[4], lam_integers digit[3]) {
  const lam_integers even = (lam_integers)0x00ff00ff, low = (lam_integers)0x0000ffff;
  const lam_integers a = (term[0] & even) | ((term[1] << 8) & ~even);
  const lam_integers b = ((term[0] >> 8) & even) | (term[1] & ~even);
  const lam_integers c = (term[2] & even) | ((term[3] << 8) & ~even);
  const lam_integers d = ((term[2] >> 8) & even) | (term[3] & ~even);
  digit[0] = (a & low) | ((c << 16) & ~low);
  digit[1] = (b & low) | ((d << 16) & ~low);
  digit[2] = ((a >> 16) & low) | (c & ~low);
}
LAM_BYTES_INLINE void lam_store_group(int8_t *to, const lam_integers term[4]) {
  lam_integers digit[3];
  lam_digits_of_group(term, digit);
  LAM_UNROLL for (int d = 0; d < 3; ++d) lam_store_integers(to + d * 64, digit[d]);
}

/// The units of sixteen columns of w.
LAM_BYTES_INLINE lam_vector lam_units_of_columns(const float *w, int64_t stride, int64_t rows) {
  lam_integers largest[4] = {};
  const float *from = w;
  int64_t row = 0;
  for (; row + 4 <= rows; row += 4) {
    LAM_UNROLL for (int r = 0; r < 4; ++r) {
      largest[r] = lam_larger(largest[r], lam_magnitude_bits(lam_load(from)));
      from += stride;
    }
  }
  for (; row < rows; ++row) {
    largest[0] = lam_larger(largest[0], lam_magnitude_bits(lam_load(from)));
    from += stride;
  }
  return lam_unit_of_largest(lam_larger(lam_larger(largest[0], largest[1]), lam_larger(largest[2], largest[3])));
}

/// Writes the digits of sixteen columns, groups of four rows, 0 where rows are missing; `largest` becomes the larger of
/// itself and their magnitudes.
LAM_BYTES_INLINE void lam_write_digits(const float *w, int64_t stride, int64_t rows, lam_vector units_in_one,
                                       int8_t *digits, lam_integers *largest) {
  for (int64_t row = 0; row < rows; row += 4) {
    lam_integers term[4];
    LAM_UNROLL for (int r = 0; r < 4; ++r) {
      const lam_vector value = row + r < rows ? lam_load(w + r * stride) : (lam_vector)0;
      *largest = lam_larger(*largest, lam_magnitude_bits(value));
      term[r] = lam_digits(value, units_in_one);
    }
    lam_store_group(digits, term);
    w += 4 * stride;
    digits += LAM_GROUP_BYTES;
  }
}

/// Takes sixteen columns of w apart: digits into `digits`, units into `units`.
LAM_BYTES_APART void lam_take_apart(const float *w, int64_t stride, int64_t rows, int8_t *digits, float *units) {
  const lam_vector unit = lam_units_of_columns(w, stride, rows);
  lam_store(units, unit);
  lam_integers largest = {};
  lam_write_digits(w, stride, rows, lam_units_in_one(unit), digits, &largest);
}

/// Writes the digits of sixteen columns in the units that are there.
LAM_BYTES_APART void lam_renew_digits(const float *w, int64_t stride, int64_t rows, int8_t *digits, const float *units,
                                      float *largest) {
  lam_integers of_columns = lam_load_integers(largest);
  lam_write_digits(w, stride, rows, lam_units_in_one(lam_load(units)), digits, &of_columns);
  lam_store_integers(largest, of_columns);
}

/// unit·(d₀ + 256·d₁ + 65536·d₂).
LAM_BYTES_INLINE lam_vector lam_value_of_sums(const lam_integers sum[3], lam_vector unit) {
  const lam_vector base = (lam_vector)256.0f;
  const lam_vector high = lam_multiply_add(lam_floats_of(sum[2]), base, lam_floats_of(sum[1]));
  return lam_multiply_add(high, base, lam_floats_of(sum[0])) * unit;
}

// MARK: Groups that matter

/// Rows of bytes that are multiplied together, blocks of them whose groups are listed at once, and groups a list holds.
#define LAM_BYTE_ROWS 8
#define LAM_LISTED_BLOCKS 8
#define LAM_LISTED_GROUPS 1024

/// The groups of four columns in which a block of rows has a byte that is not 0; of images many have none.
typedef struct {
  /// -1 where nearly all groups count, or more than a list holds: then they are taken one after another.
  int64_t count;
  uint16_t group[LAM_LISTED_GROUPS];
} lam_group_list;

/// Lists those of the `groups` groups of `rows` rows of bytes; whole lines are read.
LAM_BYTES_APART void lam_list_groups(const uint8_t *x, int64_t x_stride, int64_t rows, int64_t groups,
                                     lam_group_list *list) {
  list->count = -1;
  if (groups > LAM_LISTED_GROUPS) return;
  unsigned short bits[LAM_LISTED_GROUPS / 16];
  const int64_t chunks = (groups + 15) / 16;
  int64_t count = 0;
  for (int64_t chunk = 0; chunk < chunks; ++chunk) {
    lam_integers any = lam_load_integers(x + chunk * 64);
    for (int64_t r = 1; r < rows; ++r) any |= lam_load_integers(x + r * x_stride + chunk * 64);
    const int64_t left = groups - chunk * 16;
    bits[chunk] = lam_bits_not_zero(any) & (left < 16 ? (1 << left) - 1 : 0xffff);
    count += __builtin_popcount(bits[chunk]);
  }
  if (count * 16 > groups * 15) return;
  list->count = count;
  uint16_t *to = list->group;
  for (int64_t chunk = 0; chunk < chunks; ++chunk) {
    for (unsigned left = bits[chunk]; left; left &= left - 1)
      *to++ = (uint16_t)(chunk * 16 + __builtin_ctz(left));
  }
}

// MARK: y = scale·x·W

/// Defines NAME: ROWS rows of bytes times sixteen columns, every CHAINS-th group into sums of its own; `groups` groups one
/// after another, or those of a list.
#define LAM_DEFINE_BYTE_PRODUCT(NAME, ROWS, CHAINS, IS_LISTED)                                                         \
  LAM_BYTES_APART void NAME(const uint8_t *x, int64_t x_stride, int64_t groups, const uint16_t *list,                  \
                            const int8_t *digits, lam_vector unit, float *y, int64_t y_stride, int64_t columns) {      \
    lam_integers sum[CHAINS][ROWS][3];                                                                                 \
    LAM_UNROLL for (int c = 0; c < CHAINS; ++c)                                                                        \
    LAM_UNROLL for (int r = 0; r < ROWS; ++r)                                                                          \
    LAM_UNROLL for (int d = 0; d < 3; ++d) sum[c][r][d] = (lam_integers)0;                                             \
    int64_t g = 0;                                                                                                     \
    for (; g + CHAINS <= groups; g += CHAINS) {                                                                        \
      LAM_UNROLL for (int c = 0; c < CHAINS; ++c) {                                                                    \
        const int64_t group = IS_LISTED ? list[g + c] : g + c;                                                         \
        lam_integers digit[3];                                                                                         \
        LAM_UNROLL for (int d = 0; d < 3; ++d)                                                                         \
          digit[d] = lam_load_integers(digits + group * LAM_GROUP_BYTES + d * 64);                                     \
        LAM_UNROLL for (int r = 0; r < ROWS; ++r) {                                                                    \
          const lam_integers bytes = (lam_integers)*(const lam_unaligned_int32 *)(x + r * x_stride + group * 4);       \
          LAM_UNROLL for (int d = 0; d < 3; ++d)                                                                       \
            sum[c][r][d] = lam_add_byte_products(sum[c][r][d], bytes, digit[d]);                                       \
        }                                                                                                              \
      }                                                                                                                \
    }                                                                                                                  \
    for (; g < groups; ++g) {                                                                                          \
      const int64_t group = IS_LISTED ? list[g] : g;                                                                   \
      LAM_UNROLL for (int r = 0; r < ROWS; ++r) {                                                                      \
        const lam_integers bytes = (lam_integers)*(const lam_unaligned_int32 *)(x + r * x_stride + group * 4);         \
        LAM_UNROLL for (int d = 0; d < 3; ++d) {                                                                       \
          const lam_integers digit = lam_load_integers(digits + group * LAM_GROUP_BYTES + d * 64);                     \
          sum[0][r][d] = lam_add_byte_products(sum[0][r][d], bytes, digit);                                            \
        }                                                                                                              \
      }                                                                                                                \
    }                                                                                                                  \
    LAM_UNROLL for (int r = 0; r < ROWS; ++r) {                                                                        \
      LAM_UNROLL for (int c = 1; c < CHAINS; ++c)                                                                      \
      LAM_UNROLL for (int d = 0; d < 3; ++d) sum[0][r][d] += sum[c][r][d];                                             \
      const lam_vector value = lam_value_of_sums(sum[0][r], unit);                                                     \
      if (columns >= LAM_LANES) lam_store(y + r * y_stride, value);                                                    \
      else lam_store_first(y + r * y_stride, value, columns);                                                          \
    }                                                                                                                  \
  }
#define LAM_DEFINE_BYTE_PRODUCTS(ROWS, CHAINS)                                                                         \
  LAM_DEFINE_BYTE_PRODUCT(lam_byte_product_##ROWS, ROWS, CHAINS, 0)                                                    \
  LAM_DEFINE_BYTE_PRODUCT(lam_listed_byte_product_##ROWS, ROWS, CHAINS, 1)

LAM_DEFINE_BYTE_PRODUCTS(1, 4)
LAM_DEFINE_BYTE_PRODUCTS(2, 2)
LAM_DEFINE_BYTE_PRODUCTS(3, 1)
LAM_DEFINE_BYTE_PRODUCTS(4, 1)
LAM_DEFINE_BYTE_PRODUCTS(5, 1)
LAM_DEFINE_BYTE_PRODUCTS(6, 1)
LAM_DEFINE_BYTE_PRODUCTS(7, 1)
LAM_DEFINE_BYTE_PRODUCTS(8, 1)

#define LAM_BYTE_PRODUCT_CASE(ROWS)                                                                                    \
  case ROWS:                                                                                                           \
    if (list->count >= 0)                                                                                              \
      lam_listed_byte_product_##ROWS(x, x_stride, list->count, list->group, digits, factor, y, y_stride, columns);     \
    else                                                                                                               \
      lam_byte_product_##ROWS(x, x_stride, groups, 0, digits, factor, y, y_stride, columns);                           \
    break;
/// Up to eight rows of bytes times the first `columns` of sixteen columns that were taken apart.
LAM_BYTES_INLINE void lam_multiply_byte_rows(const uint8_t *x, int64_t x_stride, int64_t rows, int64_t groups,
                                             const lam_group_list *list, const int8_t *digits, lam_vector factor,
                                             float *y, int64_t y_stride, int64_t columns) {
  switch (rows) {
    LAM_BYTE_PRODUCT_CASE(1)
    LAM_BYTE_PRODUCT_CASE(2)
    LAM_BYTE_PRODUCT_CASE(3)
    LAM_BYTE_PRODUCT_CASE(4)
    LAM_BYTE_PRODUCT_CASE(5)
    LAM_BYTE_PRODUCT_CASE(6)
    LAM_BYTE_PRODUCT_CASE(7)
    LAM_BYTE_PRODUCT_CASE(8)
  }
}

/// Rows of bytes times `columns` columns that were taken apart; vectors of them lie `groups` groups apart.
///
/// Groups of columns in which a block of rows is 0 are left out: sums are exact, so that no bit depends on it.
LAM_BYTES_APART void lam_multiply_bytes(const uint8_t *x, int64_t x_stride, int64_t rows, int64_t groups,
                                        const int8_t *digits, const float *units, float scale, float *y,
                                        int64_t y_stride, int64_t columns) {
  lam_group_list lists[LAM_LISTED_BLOCKS];
  while (rows > 0) {
    const int64_t some = rows < LAM_LISTED_BLOCKS * LAM_BYTE_ROWS ? rows : LAM_LISTED_BLOCKS * LAM_BYTE_ROWS;
    for (int64_t row = 0; row < some; row += LAM_BYTE_ROWS) {
      const int64_t count = some - row < LAM_BYTE_ROWS ? some - row : LAM_BYTE_ROWS;
      lam_list_groups(x + row * x_stride, x_stride, count, groups, &lists[row / LAM_BYTE_ROWS]);
    }
    const int8_t *vector = digits;
    for (int64_t column = 0; column < columns; column += LAM_LANES) {
      const lam_vector factor = lam_load(units + column) * (lam_vector)scale;
      for (int64_t row = 0; row < some; row += LAM_BYTE_ROWS) {
        const int64_t count = some - row < LAM_BYTE_ROWS ? some - row : LAM_BYTE_ROWS;
        lam_multiply_byte_rows(x + row * x_stride, x_stride, count, groups, &lists[row / LAM_BYTE_ROWS], vector, factor,
                               y + row * y_stride + column, y_stride, columns - column);
      }
      vector += groups * LAM_GROUP_BYTES;
    }
    rows -= some;
    x += some * x_stride;
    y += some * y_stride;
  }
}

#endif
