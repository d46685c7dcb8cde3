// Products of matrices of which much is 0, here in one row and there in another, as a ReLU leaves them; included by
// CKernelShims.h.
//
// A row's numbers other than 0 are listed in blocks of terms, and multiply rows of a tile of W whose block stays in the
// L1 cache. Nothing that is loaded of W serves two rows: a load goes with each multiply-add, at two of either a cycle, and
// every other one takes time. So a list has whole fours, whose numbers and places are one load each (a fifth faster than
// one at a time). With what begins and ends a row's block, half of the terms take 0.6 to 0.7 of the time of all.
#pragma once
#include "COccupiedShims.h"
#include "CTransposeShims.h"

#ifdef LAMINA_SIX_ROWS

enum {
  /// Terms of a block.
  LAM_SPARSE_TERMS = 64,
  /// Rows whose sums stay in the L1 cache, beside a block of W, while all blocks pass by.
  LAM_SPARSE_ROWS = 48,
  /// The most vectors of columns whose sums registers hold.
  LAM_SPARSE_VECTORS = 4,
  /// Bytes of a row's list in a block: its places in the block, then its numbers.
  LAM_SPARSE_LIST = LAM_SPARSE_TERMS + LAM_SPARSE_TERMS * (int)sizeof(lam_scalar),
};

// MARK: Lists

/// Lists of `rows` rows, one block of terms after the other, then how many numbers each has.
typedef struct {
  uint8_t *lists;
  uint8_t *counts;
  int64_t rows;
} lam_sparse_rows;

LAM_INLINE lam_sparse_rows lam_sparse_rows_at(uint8_t *operand, int64_t rows, int64_t blocks) {
  return (lam_sparse_rows){operand, operand + rows * blocks * LAM_SPARSE_LIST, rows};
}
LAM_INLINE uint8_t *lam_places_of_row(const lam_sparse_rows *x, int64_t block, int64_t row) {
  return x->lists + (block * x->rows + row) * LAM_SPARSE_LIST;
}
LAM_INLINE lam_scalar *lam_numbers_of_row(const lam_sparse_rows *x, int64_t block, int64_t row) {
  return (lam_scalar *)(lam_places_of_row(x, block, row) + LAM_SPARSE_TERMS);
}

// Of the lanes that a mask has, the numbers, in ascending order.
#define LAM_BIT_LANE(mask, lane) ((mask) >> lane & 1 ? (uint64_t)lane << 8 * LAM_BITS_BELOW(mask, lane) : 0)
#define LAM_BITS_BELOW(mask, lane) __builtin_popcount((mask) & ((1 << lane) - 1))
#define LAM_LANES_1(m)                                                                                                 \
  LAM_BIT_LANE(m, 0) | LAM_BIT_LANE(m, 1) | LAM_BIT_LANE(m, 2) | LAM_BIT_LANE(m, 3) | LAM_BIT_LANE(m, 4)              \
    | LAM_BIT_LANE(m, 5) | LAM_BIT_LANE(m, 6) | LAM_BIT_LANE(m, 7)
#define LAM_LANES_4(m) LAM_LANES_1(m), LAM_LANES_1(m + 1), LAM_LANES_1(m + 2), LAM_LANES_1(m + 3)
#define LAM_LANES_16(m) LAM_LANES_4(m), LAM_LANES_4(m + 4), LAM_LANES_4(m + 8), LAM_LANES_4(m + 12)
#define LAM_LANES_64(m) LAM_LANES_16(m), LAM_LANES_16(m + 16), LAM_LANES_16(m + 32), LAM_LANES_16(m + 48)

typedef uint8_t lam_eight_bytes __attribute__((ext_vector_type(8)));
typedef int32_t lam_eight_integers __attribute__((ext_vector_type(8)));
typedef float lam_eight_floats __attribute__((vector_size(32)));

LAM_INLINE lam_eight_bytes lam_lanes_of_mask(unsigned mask) {
  static const uint64_t lanes[256] = {LAM_LANES_64(0), LAM_LANES_64(64), LAM_LANES_64(128), LAM_LANES_64(192)};
  lam_eight_bytes of_mask;
  __builtin_memcpy(&of_mask, lanes + mask, sizeof of_mask);
  return of_mask;
}

/// Appends half a vector's numbers other than 0 to a list of `count`, the first of them at `place` in the block.
LAM_INLINE int64_t lam_append_half(lam_half half, int64_t place, int64_t count, uint8_t *places, lam_scalar *numbers) {
  const lam_half_mask differs = (lam_half_mask)(half != (lam_half)(lam_scalar)0);
#ifdef LAMINA_DOUBLE
  const unsigned mask = (unsigned)__builtin_ia32_movmskpd256((lam_half_native)differs);
  const lam_eight_bytes lanes = lam_lanes_of_mask(mask);
  // A double is a pair of floats.
  const lam_eight_integers low = 2 * __builtin_convertvector(lanes, lam_eight_integers);
  const lam_eight_integers pairs = __builtin_shufflevector(low, low + 1, 0, 8, 1, 9, 2, 10, 3, 11);
  *(lam_unaligned_half *)(numbers + count) = (lam_half)__builtin_ia32_permvarsf256((lam_eight_floats)half, pairs);
  uint8_t __attribute__((ext_vector_type(4))) found = lanes.lo + (uint8_t)place;
  __builtin_memcpy(places + count, &found, sizeof found);
#else
  const unsigned mask = (unsigned)__builtin_ia32_movmskps256((lam_half_native)differs);
  const lam_eight_bytes lanes = lam_lanes_of_mask(mask);
  *(lam_unaligned_half *)(numbers + count) = (lam_half)__builtin_ia32_permvarsf256(
    (lam_eight_floats)half, __builtin_convertvector(lanes, lam_eight_integers));
  const lam_eight_bytes found = lanes + (uint8_t)place;
  __builtin_memcpy(places + count, &found, sizeof found);
#endif
  return count + __builtin_popcount(mask);
}

typedef lam_scalar lam_four_scalars __attribute__((ext_vector_type(4)));
typedef lam_four_scalars lam_unaligned_scalars __attribute__((aligned(4)));

/// Fills a list of `count` up to whole fours with terms of 0. Returns how many there are then.
LAM_INLINE int64_t lam_fill_four(int64_t count, uint8_t *places, lam_scalar *numbers) {
  // The four that `count` ends in or, at the end of the block, its last, of which all may be kept.
  const int64_t from = count <= LAM_SPARSE_TERMS - 4 ? count & ~3 : LAM_SPARSE_TERMS - 4, kept = count - from;
  lam_unaligned_scalars *four = (lam_unaligned_scalars *)(numbers + from);
  *four = (lam_four_scalars){0, 1, 2, 3} < (lam_four_scalars)(lam_scalar)kept ? *four : (lam_four_scalars)(lam_scalar)0;
  uint32_t found;
  __builtin_memcpy(&found, places + from, sizeof found);
  found &= (uint32_t)((UINT64_C(1) << 8 * kept) - 1);
  __builtin_memcpy(places + from, &found, sizeof found);
  return (count + 3) & ~3;
}

/// Lists up to a block of terms, in whole fours. Returns how many there are.
LAM_INLINE int64_t lam_list_block(const lam_scalar *x, int64_t terms, uint8_t *places, lam_scalar *numbers) {
  int64_t count = 0, place = 0;
  for (; place + LAM_LANES / 2 <= terms; place += LAM_LANES / 2)
    count = lam_append_half(lam_load_half(x + place), place, count, places, numbers);
  for (; place < terms; ++place) {
    places[count] = (uint8_t)place;
    numbers[count] = x[place];
    count += x[place] != 0;
  }
  return lam_fill_four(count, places, numbers);
}

/// Lists the rows of x, of `columns` columns, as blocks from `first` on of `blocks`.
LAM_APART void lam_list_rows(const lam_scalar *x, int64_t x_stride, int64_t rows, int64_t columns, uint8_t *operand,
                             int64_t first, int64_t blocks) {
  const lam_sparse_rows lists = lam_sparse_rows_at(operand, rows, blocks);
  for (int64_t row = 0; row < rows; ++row, x += x_stride) {
    for (int64_t column = 0, block = first; column < columns; column += LAM_SPARSE_TERMS, ++block) {
      const int64_t left = columns - column, terms = left < LAM_SPARSE_TERMS ? left : LAM_SPARSE_TERMS;
      lists.counts[block * rows + row] = (uint8_t)lam_list_block(
        x + column, terms, lam_places_of_row(&lists, block, row), lam_numbers_of_row(&lists, block, row));
    }
  }
}

/// Lists the columns of x as rows, its samples as their terms.
LAM_APART void lam_list_columns(const lam_scalar *x, int64_t x_stride, int64_t samples, int64_t columns,
                                uint8_t *operand) {
  const lam_sparse_rows lists = lam_sparse_rows_at(operand, columns, (samples + LAM_SPARSE_TERMS - 1) / LAM_SPARSE_TERMS);
  lam_scalar part[LAM_LANES * LAM_SPARSE_TERMS] __attribute__((aligned(64)));
  for (int64_t i = 0, block = 0; i < samples; i += LAM_SPARSE_TERMS, ++block) {
    const int64_t left = samples - i, terms = left < LAM_SPARSE_TERMS ? left : LAM_SPARSE_TERMS;
    for (int64_t column = 0; column < columns; column += LAM_LANES) {
      const lam_scalar *from = x + i * x_stride + column;
      const int64_t rest = columns - column, some = rest < LAM_LANES ? rest : LAM_LANES;
      // Lines that lie a row apart, which no prefetcher foresees.
      if (rest >= 3 * LAM_LANES) {
        for (int64_t t = 0; t < terms; ++t) lam_prefetch(from + t * x_stride + 2 * LAM_LANES);
      }
      for (int64_t t = 0; t < terms; t += LAM_LANES) {
        const int64_t rows = terms - t < LAM_LANES ? terms - t : LAM_LANES;
        lam_transpose_square(from + t * x_stride, x_stride, part + t, LAM_SPARSE_TERMS, rows, some);
      }
      for (int64_t c = 0; c < some; ++c) {
        lists.counts[block * columns + column + c] = (uint8_t)lam_list_block(
          part + c * LAM_SPARSE_TERMS, terms, lam_places_of_row(&lists, block, column + c),
          lam_numbers_of_row(&lists, block, column + c));
      }
    }
  }
}

/// Whether of x, some rows of which are looked at, at most so many sixteenths are other than 0.
LAM_INLINE int lam_is_sparse(const lam_scalar *x, int64_t x_stride, int64_t rows, int64_t columns, int64_t sixteenths) {
  enum { LOOKS = 8, MORE_SO_FAR = 2 };
  if (rows < 1 || columns < LAM_LANES) return 0;
  int64_t seen = 0, found = 0;
  for (int64_t look = 0; look < LOOKS; ++look) {
    const lam_scalar *row = x + (rows - 1) * look / (LOOKS - 1) * x_stride;
    lam_integers zeros = (lam_integers)0;
    int64_t column = 0;
    for (; column + LAM_LANES <= columns; column += LAM_LANES)
      zeros -= lam_load(row + column) == (lam_vector)(lam_scalar)0;
    seen += column;
    found += column - (int64_t)__builtin_reduce_add(zeros);
    // What has few zeros in one row hardly has many in the next.
    if (16 * found > (sixteenths + MORE_SO_FAR) * seen) return 0;
  }
  return 16 * found <= sixteenths * seen;
}

/// Rows of whole vectors without gaps, zeros after their last column.
LAM_APART void lam_lay_out_tile(const lam_scalar *z, int64_t z_stride, int64_t rows, int64_t columns, lam_scalar *to) {
  for (int64_t row = 0; row < rows; ++row, z += z_stride) {
    int64_t column = 0;
    for (; column + LAM_LANES <= columns; column += LAM_LANES, to += LAM_LANES) lam_store(to, lam_load(z + column));
    if (column < columns) {
      lam_store(to, lam_load_first(z + column, columns - column));
      to += LAM_LANES;
    }
  }
}

// MARK: Products

/// Keeps a vector in its register: the compiler would rather load each of its lanes again.
#define LAM_KEEP_VECTOR(vector) __asm__ volatile("" : "+x"(vector))

/// Four numbers of a list, spread over the lanes of one vector each.
#ifdef LAMINA_DOUBLE
#define LAM_SPREAD_FOUR(name, from)                                                                                    \
  const lam_four_scalars all = *(const lam_unaligned_scalars *)(from);                                                 \
  lam_half low = __builtin_shufflevector(all, all, 0, 1, 0, 1), high = __builtin_shufflevector(all, all, 2, 3, 2, 3);  \
  LAM_KEEP_VECTOR(low);                                                                                                \
  LAM_KEEP_VECTOR(high);                                                                                               \
  const lam_half name##0 = low.xxzz, name##1 = low.yyww, name##2 = high.xxzz, name##3 = high.yyww;
#else
#define LAM_SPREAD(low, k) __builtin_shufflevector(low, low, k, k, k, k, 4 + k, 4 + k, 4 + k, 4 + k)
#define LAM_SPREAD_FOUR(name, from)                                                                                    \
  const lam_four_scalars all = *(const lam_unaligned_scalars *)(from);                                                 \
  lam_half low = __builtin_shufflevector(all, all, 0, 1, 2, 3, 0, 1, 2, 3);                                            \
  LAM_KEEP_VECTOR(low);                                                                                                \
  const lam_half name##0 = LAM_SPREAD(low, 0), name##1 = LAM_SPREAD(low, 1);                                           \
  const lam_half name##2 = LAM_SPREAD(low, 2), name##3 = LAM_SPREAD(low, 3);
#endif

/// Adds a number times W's row at `place` to VECTORS vectors of sums; the row's vectors lie `apart` scalars apart.
#define LAM_ADD_LISTED(VECTORS, place, number)                                                                         \
  {                                                                                                                    \
    const lam_scalar *row = (const lam_scalar *)((const uint8_t *)w + (place) * w_bytes);                              \
    LAM_KEEP(row);                                                                                                     \
    LAM_UNROLL for (int v = 0; v < VECTORS; ++v) {                                                                     \
      sum[2 * v] = __builtin_elementwise_fma(number, lam_load_half(row + v * apart), sum[2 * v]);                      \
      sum[2 * v + 1] =                                                                                                 \
        __builtin_elementwise_fma(number, lam_load_half(row + v * apart + LAM_LANES / 2), sum[2 * v + 1]);             \
    }                                                                                                                  \
  }

/// Defines NAME: `to` = x·W for VECTORS vectors of columns, a block's listed terms of one row; with `adds`, the sums at
/// `from` go on.
#define LAM_DEFINE_SPARSE_ROW(NAME, VECTORS)                                                                           \
  LAM_INLINE void NAME(const uint8_t *places, const lam_scalar *numbers, int64_t count, const lam_scalar *w,           \
                       int64_t w_bytes, int64_t apart, const lam_scalar *from, lam_scalar *to, int adds) {             \
    lam_half sum[2 * VECTORS];                                                                                         \
    if (adds) {                                                                                                        \
      LAM_UNROLL for (int v = 0; v < 2 * VECTORS; ++v) sum[v] = lam_load_half(from + v * LAM_LANES / 2);               \
    } else {                                                                                                           \
      LAM_UNROLL for (int v = 0; v < 2 * VECTORS; ++v) sum[v] = (lam_half)(lam_scalar)0;                               \
    }                                                                                                                  \
    for (int64_t i = 0; i < count; i += 4) {                                                                           \
      uint32_t four;                                                                                                   \
      __builtin_memcpy(&four, places + i, sizeof four);                                                                \
      LAM_SPREAD_FOUR(number, numbers + i)                                                                             \
      LAM_ADD_LISTED(VECTORS, four & 255, number0)                                                                     \
      LAM_ADD_LISTED(VECTORS, four >> 8 & 255, number1)                                                                \
      LAM_ADD_LISTED(VECTORS, four >> 16 & 255, number2)                                                               \
      LAM_ADD_LISTED(VECTORS, four >> 24, number3)                                                                     \
    }                                                                                                                  \
    LAM_UNROLL for (int v = 0; v < 2 * VECTORS; ++v) *(lam_unaligned_half *)(to + v * LAM_LANES / 2) = sum[v];         \
  }

/// What a product multiplies its listed rows `first` … `end` by: `blocks` blocks of terms from `block` on of W, whose rows
/// lie `stride` scalars apart and their vectors `apart`; with `asks`, a block is asked for while the one before is
/// multiplied.
typedef struct {
  int64_t first, end, block, blocks;
  const lam_scalar *w;
  int64_t stride, apart;
  int asks;
} lam_sparse_part;

/// Defines NAME: y = x·W, or y += x·W, for VECTORS vectors of W's columns, of whose last `last` count; an element's terms
/// are summed in order. APART is the distance of W's vectors, where it is known.
///
/// Sums are kept apart from block to block, and leave for y with the last one where they are all that is to be there.
#define LAM_DEFINE_SPARSE_PRODUCT(NAME, ROW, VECTORS, APART)                                                           \
  LAM_APART void NAME(const lam_sparse_rows *x, const lam_sparse_part *part, int64_t column, lam_scalar *y,            \
                      int64_t y_stride, int64_t last, int adds) {                                                      \
    lam_scalar sums[LAM_SPARSE_ROWS * VECTORS * LAM_LANES] __attribute__((aligned(64)));                               \
    const int64_t w_stride = part->stride, w_bytes = w_stride * (int64_t)sizeof(lam_scalar), blocks = part->blocks;    \
    const int leaves = !adds && last == LAM_LANES;                                                                     \
    for (int64_t row = part->first; row < part->end; row += LAM_SPARSE_ROWS, y += LAM_SPARSE_ROWS * y_stride) {        \
      const int64_t rows = part->end - row < LAM_SPARSE_ROWS ? part->end - row : LAM_SPARSE_ROWS;                      \
      const int64_t share = part->asks && row == part->first ? (LAM_SPARSE_TERMS + rows - 1) / rows : 0;               \
      const lam_scalar *w = part->w + column;                                                                          \
      for (int64_t b = 0; b < blocks; ++b, w += LAM_SPARSE_TERMS * w_stride) {                                         \
        const uint8_t *list = lam_places_of_row(x, part->block + b, row);                                              \
        const uint8_t *counts = x->counts + (part->block + b) * x->rows + row;                                         \
        const int ends = leaves && b == blocks - 1;                                                                    \
        const int64_t stride = ends ? y_stride : VECTORS * LAM_LANES;                                                  \
        lam_scalar *from = sums, *to = ends ? y : sums;                                                                \
        const lam_scalar *next = w + LAM_SPARSE_TERMS * w_stride;                                                      \
        for (int64_t r = 0; r < rows; ++r) {                                                                           \
          for (int64_t i = 0; i < share; ++i, next += w_stride) {                                                      \
            LAM_UNROLL for (int v = 0; v < VECTORS; ++v) lam_prefetch(next + v * (APART));                             \
          }                                                                                                            \
          ROW(list, (const lam_scalar *)(list + LAM_SPARSE_TERMS), counts[r], w, w_bytes, APART, from, to, b > 0);     \
          list += LAM_SPARSE_LIST;                                                                                     \
          from += VECTORS * LAM_LANES;                                                                                 \
          to += stride;                                                                                                \
        }                                                                                                              \
      }                                                                                                                \
      if (leaves && blocks > 0) continue;                                                                              \
      for (int64_t r = 0; r < rows; ++r) {                                                                             \
        lam_scalar *to = y + r * y_stride;                                                                             \
        LAM_UNROLL for (int v = 0; v < VECTORS; ++v) {                                                                 \
          lam_vector sum = lam_load(sums + (r * VECTORS + v) * LAM_LANES);                                             \
          const int64_t columns = v < VECTORS - 1 ? LAM_LANES : last;                                                  \
          if (columns == LAM_LANES)                                                                                    \
            lam_store(to + v * LAM_LANES, adds ? lam_load(to + v * LAM_LANES) + sum : sum);                            \
          else                                                                                                         \
            lam_store_first(to + v * LAM_LANES, adds ? lam_load_first(to + v * LAM_LANES, columns) + sum : sum,        \
                            columns);                                                                                  \
        }                                                                                                              \
      }                                                                                                                \
    }                                                                                                                  \
  }

LAM_DEFINE_SPARSE_ROW(lam_sparse_row_1, 1)
LAM_DEFINE_SPARSE_ROW(lam_sparse_row_2, 2)
LAM_DEFINE_SPARSE_ROW(lam_sparse_row_3, 3)
LAM_DEFINE_SPARSE_ROW(lam_sparse_row_4, 4)
LAM_DEFINE_SPARSE_PRODUCT(lam_sparse_product_1, lam_sparse_row_1, 1, LAM_LANES)
LAM_DEFINE_SPARSE_PRODUCT(lam_sparse_product_2, lam_sparse_row_2, 2, LAM_LANES)
LAM_DEFINE_SPARSE_PRODUCT(lam_sparse_product_3, lam_sparse_row_3, 3, LAM_LANES)
LAM_DEFINE_SPARSE_PRODUCT(lam_sparse_product_4, lam_sparse_row_4, 4, LAM_LANES)
// Panels are a vector wide.
LAM_DEFINE_SPARSE_PRODUCT(lam_sparse_panels_2, lam_sparse_row_2, 2, part->apart)
LAM_DEFINE_SPARSE_PRODUCT(lam_sparse_panels_3, lam_sparse_row_3, 3, part->apart)
LAM_DEFINE_SPARSE_PRODUCT(lam_sparse_panels_4, lam_sparse_row_4, 4, part->apart)

#define LAM_SPARSE_CASE(NAME, VECTORS)                                                                                 \
  case VECTORS: NAME(x, part, column / LAM_LANES * part->apart, y + column, y_stride, last, adds); break;
/// y = x·W, or y += x·W, for the same rows and blocks and all of y's columns, of which W has whole vectors.
LAM_INLINE void lam_multiply_sparse(const lam_sparse_rows *x, const lam_sparse_part *part, lam_scalar *y,
                                    int64_t y_stride, int64_t columns, int adds) {
  const int is_tile = part->apart == LAM_LANES;
  for (int64_t column = 0; column < columns;) {
    // As many as registers hold, and no single one left over.
    const int64_t left = (columns - column + LAM_LANES - 1) / LAM_LANES;
    const int64_t vectors = left <= LAM_SPARSE_VECTORS ? left : left == LAM_SPARSE_VECTORS + 1 ? 3 : LAM_SPARSE_VECTORS;
    const int64_t rest = columns - column - (vectors - 1) * LAM_LANES, last = rest < LAM_LANES ? rest : LAM_LANES;
    switch (is_tile || vectors == 1 ? vectors : -vectors) {
      LAM_SPARSE_CASE(lam_sparse_product_1, 1) LAM_SPARSE_CASE(lam_sparse_product_2, 2)
      LAM_SPARSE_CASE(lam_sparse_product_3, 3) LAM_SPARSE_CASE(lam_sparse_product_4, 4)
      LAM_SPARSE_CASE(lam_sparse_panels_2, -2) LAM_SPARSE_CASE(lam_sparse_panels_3, -3)
      LAM_SPARSE_CASE(lam_sparse_panels_4, -4)
    }
    column += vectors * LAM_LANES;
  }
}

#endif
