// What the weight-gradient kernels ask of the instruction set; included by CKernelShims.h.
#pragma once

/// Whether thirty-two registers of 64 bytes are there, which a tile of sixteen sums takes.
LAM_INLINE int lam_has_wide_registers(void) {
#ifdef __AVX512F__
  return 1;
#else
  return 0;
#endif
}
