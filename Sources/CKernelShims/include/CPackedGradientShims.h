// Gradients of wide kernels, y = xᵀ·z, from packed copies of x and z; included by CKernelShims.h.
//
// Tiles read x and z as they lie from one cache line in each row, a few pages apart, which prefetchers do not foresee and
// other threads of the core push out; where rows are multiples of 4 KiB, those of x share one set of the L1 cache. Packed,
// each tile reads two streams. Copying x takes as long as a vector's products, so that it pays where several tiles of
// columns follow.
#pragma once
#include "CKernelGradientShims.h"
#include "CSixRowGradientShims.h"

#ifdef LAMINA_PACKED_GRADIENTS

enum {
  /// Columns of x that are packed together: whole lines, and few enough streams to write.
  LAM_PACKED_TOGETHER = 48,
  /// Samples between the one that is packed and the one whose lines are asked for.
  LAM_PACKED_AHEAD = 8,
#ifdef LAMINA_SIX_ROWS
  /// Samples whose vector of z stays in the L1 cache while the rows of a block pass by.
  LAM_PACKED_DEPTH = 256,
  /// Vectors of z that a tile has, and that are packed together.
  LAM_PACKED_VECTORS = 1,
#else
  /// Samples whose four vectors of z stay in the L2 cache likewise.
  LAM_PACKED_DEPTH = 1024,
  LAM_PACKED_VECTORS = 4,
#endif
  /// Rows of a block, whose x for as many samples stays in the L2 cache while all vectors pass by.
  LAM_PACKED_ROWS = 96,
};

/// Stores six scalars and, behind them, anything.
LAM_INLINE void lam_store_six(lam_scalar *p, const lam_scalar *from) {
#ifdef LAMINA_DOUBLE
  lam_store(p, lam_load(from));
#else
  *(lam_unaligned_half *)p = lam_load_half(from);
#endif
}

/// The columns of x in groups of six, each with all of its samples; the last group filled up with zeros.
LAM_APART void lam_pack_sixes(const lam_scalar *x, int64_t x_stride, int64_t samples, int64_t columns, lam_scalar *to) {
  // All but the last group may read past their six, up to two scalars.
  const int64_t whole = (columns - 1) / 6 * 6;
  for (int64_t first = 0; first < whole; first += LAM_PACKED_TOGETHER) {
    const int64_t left = whole - first, end = first + (left < LAM_PACKED_TOGETHER ? left : LAM_PACKED_TOGETHER);
    // What is stored behind a group's six is its next sample's, but for the last.
    for (int64_t i = 0; i < samples - 1; ++i) {
      const lam_scalar *from = x + i * x_stride;
      if (i + LAM_PACKED_AHEAD < samples) {
        for (int64_t c = first; c < end; c += LAM_LANES) lam_prefetch(from + LAM_PACKED_AHEAD * x_stride + c);
      }
      for (int64_t c = first; c < end; c += 6) lam_store_six(to + c * samples + 6 * i, from + c);
    }
  }
  const lam_scalar *from = x + (samples - 1) * x_stride;
  for (int64_t c = 0; c < whole; ++c) to[c / 6 * 6 * samples + 6 * (samples - 1) + c % 6] = from[c];
  lam_scalar *last = to + whole * samples;
  for (int64_t i = 0; i < samples; ++i, last += 6) {
    for (int64_t c = 0; c < 6; ++c) last[c] = whole + c < columns ? x[i * x_stride + whole + c] : 0;
  }
}

/// The columns of z in groups of vectors, each with all of its samples; the last vector filled up with zeros.
LAM_APART void lam_pack_vectors(const lam_scalar *z, int64_t z_stride, int64_t samples, int64_t columns, lam_scalar *to) {
  const int64_t together = LAM_PACKED_VECTORS * LAM_LANES;
  for (int64_t first = 0; first < columns; first += together) {
    const int64_t end = columns - first < together ? columns : first + together;
    const lam_scalar *from = z;
    for (int64_t i = 0; i < samples; ++i, from += z_stride) {
      int64_t column = first;
      for (; column + LAM_LANES <= end; column += LAM_LANES, to += LAM_LANES) lam_store(to, lam_load(from + column));
      if (column < end) {
        lam_store(to, lam_load_first(from + column, end - column));
        to += LAM_LANES;
      }
    }
  }
}

#ifdef LAMINA_SIX_ROWS

/// A tile of `rows` ≤ 6 packed rows and a vector.
LAM_INLINE void lam_packed_tile(int64_t vectors, int64_t rows, const lam_scalar *x, const lam_scalar *z, int64_t samples,
                                lam_scalar *y, int64_t y_stride, int adds) {
  lam_gradient_six_rows(rows, x, 6, z, LAM_LANES, samples, y, y_stride, adds);
}

#else

LAM_DEFINE_GRADIENT_TILE(lam_packed_tile_1, 6, 1, 0)
LAM_DEFINE_GRADIENT_TILE(lam_packed_tile_2, 6, 2, 0)
LAM_DEFINE_GRADIENT_TILE(lam_packed_tile_3, 6, 3, 0)
LAM_DEFINE_GRADIENT_TILE(lam_packed_tile_4, 6, 4, 0)

/// A tile of `rows` ≤ 6 packed rows and up to four vectors.
LAM_INLINE void lam_packed_tile(int64_t vectors, int64_t rows, const lam_scalar *x, const lam_scalar *z, int64_t samples,
                                lam_scalar *y, int64_t y_stride, int adds) {
  const int64_t stride = vectors * LAM_LANES;
  switch (vectors) {
  case 1: lam_packed_tile_1(x, 6, z, stride, samples, y, y_stride, 0, rows, adds); break;
  case 2: lam_packed_tile_2(x, 6, z, stride, samples, y, y_stride, 0, rows, adds); break;
  case 3: lam_packed_tile_3(x, 6, z, stride, samples, y, y_stride, 0, rows, adds); break;
  default: lam_packed_tile_4(x, 6, z, stride, samples, y, y_stride, 0, rows, adds); break;
  }
}

#endif

/// y = xᵀ·z for `rows` packed columns of x and `vectors` vectors of z, summed in the order of the samples.
LAM_APART void lam_multiply_packed(const lam_scalar *x, const lam_scalar *z, int64_t samples, lam_scalar *y,
                                   int64_t y_stride, int64_t rows, int64_t vectors) {
  for (int64_t first = 0; first < rows; first += LAM_PACKED_ROWS) {
    const int64_t left = rows - first, end = first + (left < LAM_PACKED_ROWS ? left : LAM_PACKED_ROWS);
    for (int64_t i = 0; i < samples; i += LAM_PACKED_DEPTH) {
      const int64_t count = samples - i < LAM_PACKED_DEPTH ? samples - i : LAM_PACKED_DEPTH;
      for (int64_t v = 0; v < vectors; v += LAM_PACKED_VECTORS) {
        const int64_t together = vectors - v < LAM_PACKED_VECTORS ? vectors - v : LAM_PACKED_VECTORS;
        const lam_scalar *from = z + (v * samples + i * together) * LAM_LANES;
        for (int64_t row = first; row < end; row += 6) {
          lam_packed_tile(together, end - row < 6 ? end - row : 6, x + row * samples + 6 * i, from, count,
                          y + row * y_stride + v * LAM_LANES, y_stride, i > 0);
        }
      }
    }
  }
}

#ifdef LAMINA_SIX_ROWS

/// Whether of x's columns, looked at here and there, so many are 0 that a gradient had better list them.
LAM_INLINE int lam_has_many_zeros(const lam_scalar *x, int64_t x_stride, int64_t samples, int64_t columns) {
  enum { LOOKS = 8 };
  if (samples < 8 || columns < 6) return 0;
  int many = 0;
  lam_places places;
  const int64_t most = samples < 128 ? samples : 128;
  for (int64_t look = 0; look < LOOKS; ++look) {
    const int64_t row = (columns - 6) * look / (LOOKS - 1) / 6 * 6;
    many += lam_list_samples(x + row, x_stride, most, &places);
  }
  // A list saves a quarter or more of a group's products, packing a tenth of all.
  return many >= 2;
}

#endif

#endif
