// Weight gradients, y = xᵀ·z, by the register tiles of AVX2 that CSixRowShims.h describes; included by CKernelShims.h.
#pragma once
#include "CSixRowShims.h"

#ifdef LAMINA_SIX_ROWS

/// Defines NAME: ROWS rows and one vector of y = xᵀ·z, or y += xᵀ·z, summed in the order of the samples.
#define LAM_DEFINE_GRADIENT_ROWS(NAME, ROWS)                                                                           \
  LAM_APART void NAME(const lam_scalar *x, int64_t x_stride, const lam_scalar *z, int64_t z_stride, int64_t samples,   \
                      lam_scalar *y, int64_t y_stride, int adds) {                                                     \
    LAM_ZERO_SUMS(1, ROWS, 1)                                                                                          \
    if (adds) {                                                                                                        \
      LAM_UNROLL for (int r = 0; r < ROWS; ++r) sum[0][r][0] = lam_load(y + r * y_stride);                             \
    }                                                                                                                  \
    const int64_t x_thrice = 3 * x_stride, z_thrice = 3 * z_stride;                                                    \
    int64_t left = samples;                                                                                            \
    for (; left >= 4; left -= 4) {                                                                                     \
      LAM_ADD_TERM(ROWS, 1, 0, x, x + 3, 1, z, LAM_LANES)                                                              \
      LAM_ADD_TERM(ROWS, 1, 0, x + x_stride, x + x_stride + 3, 1, z + z_stride, LAM_LANES)                             \
      LAM_ADD_TERM(ROWS, 1, 0, x + 2 * x_stride, x + 2 * x_stride + 3, 1, z + 2 * z_stride, LAM_LANES)                 \
      LAM_ADD_TERM(ROWS, 1, 0, x + x_thrice, x + x_thrice + 3, 1, z + z_thrice, LAM_LANES)                             \
      x += 4 * x_stride;                                                                                               \
      z += 4 * z_stride;                                                                                               \
      LAM_KEEP(x);                                                                                                     \
      LAM_KEEP(z);                                                                                                     \
    }                                                                                                                  \
    for (; left > 0; --left) {                                                                                         \
      LAM_ADD_TERM(ROWS, 1, 0, x, x + 3, 1, z, LAM_LANES)                                                              \
      x += x_stride;                                                                                                   \
      z += z_stride;                                                                                                   \
    }                                                                                                                  \
    LAM_UNROLL for (int r = 0; r < ROWS; ++r) lam_store(y + r * y_stride, sum[0][r][0]);                               \
  }

LAM_DEFINE_GRADIENT_ROWS(lam_gradient_rows_1, 1)
LAM_DEFINE_GRADIENT_ROWS(lam_gradient_rows_2, 2)
LAM_DEFINE_GRADIENT_ROWS(lam_gradient_rows_3, 3)
LAM_DEFINE_GRADIENT_ROWS(lam_gradient_rows_4, 4)
LAM_DEFINE_GRADIENT_ROWS(lam_gradient_rows_5, 5)
LAM_DEFINE_GRADIENT_ROWS(lam_gradient_rows_6, 6)

#define LAM_GRADIENT_CASE(ROWS)                                                                                        \
  case ROWS: lam_gradient_rows_##ROWS(x, x_stride, z, z_stride, samples, y, y_stride, adds); break;
/// 1 … 6 rows and one vector of y = xᵀ·z, or y += xᵀ·z.
LAM_INLINE void lam_gradient_six_rows(int64_t rows, const lam_scalar *x, int64_t x_stride, const lam_scalar *z,
                                      int64_t z_stride, int64_t samples, lam_scalar *y, int64_t y_stride, int adds) {
  switch (rows) {
    LAM_GRADIENT_CASE(1) LAM_GRADIENT_CASE(2) LAM_GRADIENT_CASE(3) LAM_GRADIENT_CASE(4) LAM_GRADIENT_CASE(5)
    LAM_GRADIENT_CASE(6)
  }
}

/// Six rows and one vector by the samples in a list of `lam_list_samples`: to the bits of all where z is finite.
LAM_APART void lam_listed_gradient(const lam_scalar *x, int64_t x_stride, const lam_scalar *z, int64_t z_stride,
                                   const lam_places *places, lam_scalar *y, int64_t y_stride, int adds) {
  LAM_ZERO_SUMS(1, 6, 1)
  if (adds) {
    LAM_UNROLL for (int r = 0; r < 6; ++r) sum[0][r][0] = lam_load(y + r * y_stride);
  }
  for (int64_t i = 0; i < places->count; ++i) {
    const lam_scalar *from = x + places->place[i] * x_stride, *term = z + places->place[i] * z_stride;
    LAM_KEEP(from);
    LAM_KEEP(term);
    LAM_ADD_TERM(6, 1, 0, from, from + 3, 1, term, LAM_LANES)
  }
  LAM_UNROLL for (int r = 0; r < 6; ++r) lam_store(y + r * y_stride, sum[0][r][0]);
}

/// Defines NAME: ROWS rows and a vector of y = xᵀ·z, or y += xᵀ·z, of which the second half is 0, to the bits of a whole
/// vector; with `places` by the samples in that list.
#define LAM_DEFINE_HALF_GRADIENT(NAME, ROWS)                                                                           \
  LAM_APART void NAME(const lam_scalar *x, int64_t x_stride, const lam_scalar *z, int64_t z_stride, int64_t samples,   \
                      const lam_places *places, lam_scalar *y, int64_t y_stride, int adds) {                           \
    LAM_ZERO_HALF_SUMS(1, ROWS)                                                                                        \
    if (adds) {                                                                                                        \
      LAM_UNROLL for (int r = 0; r < ROWS; ++r) sum[0][r] = lam_load_half(y + r * y_stride);                           \
    }                                                                                                                  \
    const int64_t count = places ? places->count : samples;                                                            \
    for (int64_t i = 0; i < count; ++i) {                                                                              \
      const int64_t sample = places ? places->place[i] : i;                                                            \
      const lam_scalar *from = x + sample * x_stride;                                                                  \
      LAM_KEEP(from);                                                                                                  \
      LAM_ADD_HALF_TERM(ROWS, 0, from, from + 3, 1, z + sample * z_stride)                                             \
    }                                                                                                                  \
    LAM_UNROLL for (int r = 0; r < ROWS; ++r) lam_store(y + r * y_stride, lam_half_then_zeros(sum[0][r]));             \
  }

LAM_DEFINE_HALF_GRADIENT(lam_half_gradient_1, 1)
LAM_DEFINE_HALF_GRADIENT(lam_half_gradient_2, 2)
LAM_DEFINE_HALF_GRADIENT(lam_half_gradient_3, 3)
LAM_DEFINE_HALF_GRADIENT(lam_half_gradient_4, 4)
LAM_DEFINE_HALF_GRADIENT(lam_half_gradient_5, 5)
LAM_DEFINE_HALF_GRADIENT(lam_half_gradient_6, 6)

#define LAM_HALF_GRADIENT_CASE(ROWS)                                                                                   \
  case ROWS: lam_half_gradient_##ROWS(x, x_stride, z, z_stride, samples, places, y, y_stride, adds); break;
/// 1 … 6 rows of that vector.
LAM_INLINE void lam_half_gradient(int64_t rows, const lam_scalar *x, int64_t x_stride, const lam_scalar *z,
                                  int64_t z_stride, int64_t samples, const lam_places *places, lam_scalar *y,
                                  int64_t y_stride, int adds) {
  switch (rows) {
    LAM_HALF_GRADIENT_CASE(1) LAM_HALF_GRADIENT_CASE(2) LAM_HALF_GRADIENT_CASE(3) LAM_HALF_GRADIENT_CASE(4)
    LAM_HALF_GRADIENT_CASE(5) LAM_HALF_GRADIENT_CASE(6)
  }
}

/// The most samples and columns whose z is packed.
enum { LAM_PACKED_SAMPLES = 128, LAM_PACKED_COLUMNS = 64 };

/// What a product will read next of x and z, asked for a few lines at a time.
typedef struct {
  const lam_scalar *x, *z;
  int64_t x_stride, z_stride, samples;
  // Of x's lines the first was asked for with the samples before.
  int64_t rows, columns, line, sample;
} lam_lines_ahead;

/// Asks for `count` lines: the rest of x's, then of the next samples the first of x and all of z (`columns`, or none).
///
/// x's lines lie below each other a row apart, which no prefetcher foresees.
LAM_INLINE void lam_ask_ahead(lam_lines_ahead *ahead, int64_t count) {
  for (; count > 0 && ahead->line < ahead->rows; --count) {
    lam_prefetch(ahead->x + ahead->sample * ahead->x_stride + ahead->line);
    if (++ahead->sample < ahead->samples) continue;
    ahead->sample = 0;
    ahead->line += LAM_LANES;
  }
  for (; count > 0 && ahead->sample < ahead->samples && ahead->columns > 0; ++ahead->sample) {
    const int64_t sample = ahead->samples + ahead->sample;
    lam_prefetch(ahead->x + sample * ahead->x_stride);
    for (int64_t column = 0; column < ahead->columns; column += LAM_LANES)
      lam_prefetch(ahead->z + sample * ahead->z_stride + column);
    count -= 1 + ahead->columns / LAM_LANES;
  }
}

/// All rows and `vectors` vectors of y = xᵀ·z, or y += xᵀ·z; z's vectors lie `apart` scalars from each other.
///
/// The lines of x that six rows read stay in the L1 cache while all vectors pass by. With `ahead`, a share of what it
/// names is asked for before each tile. With `ends_in_half` the second half of the last vector is 0 in z.
LAM_INLINE void lam_gradient_tiles(const lam_scalar *x, int64_t x_stride, int64_t rows, const lam_scalar *z,
                                   int64_t z_stride, int64_t apart, int64_t vectors, int64_t samples, lam_scalar *y,
                                   int64_t y_stride, int adds, lam_lines_ahead *ahead, int ends_in_half) {
  const int64_t tiles = (rows + 5) / 6 * vectors;
  // A line holds the columns of 16 rows (8 of doubles); tiles are as many as make each share a few lines.
  const int64_t share = ahead ? samples * (rows / LAM_LANES + 1 + ahead->columns / LAM_LANES) / tiles + 1 : 0;
  for (int64_t row = 0; row < rows; row += 6) {
    const int64_t count = rows - row < 6 ? rows - row : 6;
    // A list takes up to a tenth as long as a vector's products.
    lam_places places;
    const int lists = count == 6 && vectors > 1 && samples >= 8
                      && lam_list_samples(x + row, x_stride, samples, &places);
    for (int64_t v = 0; v < vectors; ++v) {
      lam_scalar *to = y + row * y_stride + v * LAM_LANES;
      if (ahead) lam_ask_ahead(ahead, share);
      if (ends_in_half && v == vectors - 1)
        lam_half_gradient(count, x + row, x_stride, z + v * apart, z_stride, samples, lists ? &places : 0, to, y_stride,
                          adds);
      else if (lists) lam_listed_gradient(x + row, x_stride, z + v * apart, z_stride, &places, to, y_stride, adds);
      else lam_gradient_six_rows(count, x + row, x_stride, z + v * apart, z_stride, samples, to, y_stride, adds);
    }
  }
}

/// The same for z as it lies; with `asks`, x is asked for ahead.
LAM_APART void lam_gradient(const lam_scalar *x, int64_t x_stride, int64_t rows, const lam_scalar *z, int64_t z_stride,
                            int64_t vectors, int64_t samples, lam_scalar *y, int64_t y_stride, int adds, int asks,
                            int ends_in_half) {
  lam_lines_ahead ahead = {x, z, x_stride, z_stride, samples, rows, 0, LAM_LANES, 0};
  lam_gradient_tiles(x, x_stride, rows, z, z_stride, LAM_LANES, vectors, samples, y, y_stride, adds, asks ? &ahead : 0,
                     ends_in_half);
}

/// The same for z copied into panels first, whose rows otherwise share few lines of the L1 cache; with `asks`, x and
/// the next samples are asked for ahead.
LAM_APART void lam_gradient_packed(const lam_scalar *x, int64_t x_stride, int64_t rows, const lam_scalar *z,
                                   int64_t z_stride, int64_t vectors, int64_t samples, lam_scalar *y, int64_t y_stride,
                                   int adds, int asks, int ends_in_half) {
  lam_scalar panels[LAM_PACKED_SAMPLES * LAM_PACKED_COLUMNS] __attribute__((aligned(64)));
  for (int64_t i = 0; i < samples; ++i) {
    for (int64_t v = 0; v < vectors; ++v)
      lam_store(panels + (v * samples + i) * LAM_LANES, lam_load(z + i * z_stride + v * LAM_LANES));
  }
  // Where sums go on from earlier samples, more are likely to come.
  lam_lines_ahead ahead = {x, z, x_stride, z_stride, samples, rows, adds ? vectors * LAM_LANES : 0, LAM_LANES, 0};
  lam_gradient_tiles(x, x_stride, rows, panels, LAM_LANES, samples * LAM_LANES, vectors, samples, y, y_stride, adds,
                     asks ? &ahead : 0, ends_in_half);
}

#endif
