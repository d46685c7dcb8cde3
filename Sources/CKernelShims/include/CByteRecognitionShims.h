// Floats that are bytes over 255, the pixels of images; included by CKernelShims.h.
#pragma once
#include "CByteProductShims.h"

#ifdef LAMINA_BYTE_PRODUCTS

/// What sixteen floats, taken as bytes over 255, are not: bits beyond a byte, and lanes that are no such number.
typedef struct {
  lam_integers beyond;
  unsigned short lanes;
} lam_strange_floats;

/// The bytes of sixteen floats, in the lowest bits of each lane.
///
/// k/255 is met as rounded once and as k·(1/255) of the rounded quotient: what a division and what a product leave.
LAM_BYTES_INLINE lam_integers lam_bytes_of(lam_vector x, lam_strange_floats *strange) {
  typedef float lam_native_floats __attribute__((vector_size(64)));
  // Adding 2²³ rounds to a whole number, which is then in the lowest bits.
  const lam_vector whole = (lam_vector)0x1p23f;
  const lam_vector shifted = lam_multiply_add(x, (lam_vector)255.0f, whole);
  const lam_vector k = shifted - whole;
  const lam_vector inverse = (lam_vector)(1.0f / 255.0f);
  const lam_vector product = k * inverse;
  // The quotient by one step of Newton's, rounded as a division would.
  const lam_vector quotient = lam_multiply_add(lam_multiply_add((lam_vector)-255.0f, product, k), inverse, product);
  // 4: unequal or not a number.
  unsigned short differs = (unsigned short)-1;
  differs = __builtin_ia32_cmpps512_mask((lam_native_floats)x, (lam_native_floats)product, 4, differs, 4);
  differs = __builtin_ia32_cmpps512_mask((lam_native_floats)x, (lam_native_floats)quotient, 4, differs, 4);
  strange->lanes |= differs;
  strange->beyond |= (lam_integers)shifted ^ (lam_integers)whole;
  return (lam_integers)shifted;
}

LAM_BYTES_INLINE bool lam_is_strange(const lam_strange_floats *strange) {
  return strange->lanes || lam_bits_not_zero(strange->beyond & ~255);
}

/// Writes k for `count` floats k/255; false where one is no such number. `to` has room for whole vectors, with zeros after
/// the last.
LAM_BYTES_APART bool lam_recognize_bytes(const float *x, int64_t count, uint8_t *to) {
  lam_strange_floats strange = {};
  int64_t i = 0;
  while (i + 64 <= count) {
    LAM_UNROLL for (int part = 0; part < 4; ++part) {
      const lam_integers bytes = lam_bytes_of(lam_load(x + i + part * 16), &strange);
      *(lam_sixteen_bytes *)(to + i + part * 16) = __builtin_convertvector(bytes, lam_sixteen_bytes);
    }
    if (lam_is_strange(&strange)) return false;
    i += 64;
  }
  for (; i < count; i += 16) {
    const lam_vector v = count - i < 16 ? lam_load_first(x + i, count - i) : lam_load(x + i);
    *(lam_sixteen_bytes *)(to + i) = __builtin_convertvector(lam_bytes_of(v, &strange), lam_sixteen_bytes);
  }
  return !lam_is_strange(&strange);
}

#endif
