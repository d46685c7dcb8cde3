// The multiply-add chains that measure the peak rate; included by CKernelShims.h.
#pragma once
#include "CKernelShims.h"

// One register of this instruction set each, and as many chains as registers allow beside the two factors: the latency
// of a multiply-add (4 cycles) times the units (2) needs at least 8.
#if defined(__AVX512F__)
#define LAM_PEAK_BYTES 64
#define LAM_PEAK_CHAINS 24
#elif defined(__AVX__)
#define LAM_PEAK_BYTES 32
#define LAM_PEAK_CHAINS 12
#elif defined(__aarch64__)
#define LAM_PEAK_BYTES 16
#define LAM_PEAK_CHAINS 24
#else
#define LAM_PEAK_BYTES 16
#define LAM_PEAK_CHAINS 12
#endif
typedef lam_scalar lam_peak_vector __attribute__((ext_vector_type(LAM_PEAK_BYTES / sizeof(lam_scalar))));

/// Runs `rounds` rounds of one multiply-add per chain, writes the sum of all lanes and returns the flops done.
LAM_INLINE int64_t lam_multiply_add_peak(int64_t rounds, lam_scalar *result) {
  lam_peak_vector chain[LAM_PEAK_CHAINS];
  // Chains that start alike would be computed once; factor and addend keep them bounded.
  const lam_peak_vector factor = (lam_peak_vector)(lam_scalar)0.5, addend = (lam_peak_vector)(lam_scalar)0.25;
#pragma clang loop unroll(full)
  for (int i = 0; i < LAM_PEAK_CHAINS; ++i) chain[i] = (lam_peak_vector)(lam_scalar)(i + 1);
  for (int64_t round = 0; round < rounds; ++round) {
#pragma clang loop unroll(full)
    for (int i = 0; i < LAM_PEAK_CHAINS; ++i) {
#if defined(__FMA__) || defined(__aarch64__)
      chain[i] = __builtin_elementwise_fma(chain[i], factor, addend);
#else
      chain[i] = chain[i] * factor + addend;
#endif
    }
  }
  lam_peak_vector sum = chain[0];
#pragma clang loop unroll(full)
  for (int i = 1; i < LAM_PEAK_CHAINS; ++i) sum += chain[i];
  lam_scalar total = 0;
  for (unsigned long lane = 0; lane < LAM_PEAK_BYTES / sizeof(lam_scalar); ++lane) total += sum[lane];
  *result = total;
  return 2 * rounds * LAM_PEAK_CHAINS * (int64_t)(LAM_PEAK_BYTES / sizeof(lam_scalar));
}
