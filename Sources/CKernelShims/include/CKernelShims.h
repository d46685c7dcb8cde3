// The vector operations that Swift does not lower to one instruction, as inline C.
//
// Compiled with the flags of the Swift target that imports it: the same header gives SSE2, AVX2 or AVX-512 code, and
// with LAMINA_DOUBLE the Double kernels. Everything is always_inline and static: no symbol leaves an object file, so
// code for a wide instruction set cannot reach the rest of the program through the linker.
#pragma once
#include <stdbool.h>
#include <stdint.h>

#ifdef LAMINA_DOUBLE
typedef double lam_scalar;
typedef double lam_vector __attribute__((ext_vector_type(8)));
typedef int64_t lam_integers __attribute__((ext_vector_type(8)));
typedef uint8_t lam_bytes __attribute__((ext_vector_type(8)));
#else
typedef float lam_scalar;
typedef float lam_vector __attribute__((ext_vector_type(16)));
typedef int32_t lam_integers __attribute__((ext_vector_type(16)));
typedef uint8_t lam_bytes __attribute__((ext_vector_type(16)));
#endif

#define LAM_INLINE static inline __attribute__((always_inline))
// A function for each shape, of this object file alone: in one, what they prepare would all be done before each product,
// and take as long as a small one.
#define LAM_APART static __attribute__((noinline, unused))
#define LAM_UNROLL _Pragma("clang loop unroll(full)")

typedef lam_vector lam_unaligned_vector __attribute__((aligned(4)));
typedef lam_bytes lam_unaligned_bytes __attribute__((aligned(1)));

LAM_INLINE lam_vector lam_load(const lam_scalar *p) { return *(const lam_unaligned_vector *)p; }
LAM_INLINE void lam_store(lam_scalar *p, lam_vector v) { *(lam_unaligned_vector *)p = v; }
LAM_INLINE lam_vector lam_load_bytes(const uint8_t *p) {
  return __builtin_convertvector(*(const lam_unaligned_bytes *)p, lam_vector);
}

/// a·b + c: fused where the instruction set has it, else rounded twice (a call of fmaf per lane would take 100 times as long).
LAM_INLINE lam_vector lam_multiply_add(lam_vector a, lam_vector b, lam_vector c) {
#if defined(__FMA__) || defined(__aarch64__)
  return __builtin_elementwise_fma(a, b, c);
#else
  return a * b + c;
#endif
}

LAM_INLINE lam_vector lam_sqrt(lam_vector x) { return __builtin_elementwise_sqrt(x); }
LAM_INLINE lam_vector lam_abs(lam_vector x) { return __builtin_elementwise_abs(x); }
// Comparisons rather than __builtin_elementwise_max: one instruction, and a NaN in x is handed on.
LAM_INLINE lam_vector lam_max(lam_vector x, lam_vector low) { return low > x ? low : x; }
LAM_INLINE lam_vector lam_min(lam_vector x, lam_vector high) { return high < x ? high : x; }
/// Lane by lane: c > 0 ? a : b.
LAM_INLINE lam_vector lam_select_positive(lam_vector c, lam_vector a, lam_vector b) { return c > (lam_vector)0 ? a : b; }

#include "CElementaryShims.h"
#include "CPeakShims.h"
#include "CProductShims.h"
#include "CIntegerShims.h"
#include "CTransposeShims.h"
#include "CAdamShims.h"
#include "CWeightGradientShims.h"
#include "CRowBlockShims.h"
#include "CMaskShims.h"
#include "CLayerProductShims.h"
#include "CDotProductShims.h"
#include "CSixRowGradientShims.h"
#include "CSixRowShims.h"
#include "CPackedGradientShims.h"
#include "CSparseProductShims.h"
#include "CSixRowDotShims.h"
#include "CByteProductShims.h"
#include "CByteStripShims.h"
#include "CByteGradientShims.h"
#include "CByteStripGradientShims.h"
#include "CByteTileShims.h"
#include "CSplitProductShims.h"
#include "CByteRecognitionShims.h"
#include "CKernelGradientShims.h"
