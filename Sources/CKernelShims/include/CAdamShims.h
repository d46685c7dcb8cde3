// The constants of a step of Adam; included by CKernelShims.h.
#pragma once
#include "CKernelShims.h"

/// A C structure because two files of kernels use it: an internal Swift one leaves shared symbols in debug builds.
typedef struct {
  lam_scalar alpha;
  lam_scalar new_first;
  lam_scalar new_second;
  lam_scalar epsilon;
  lam_scalar decay;
} lam_adam_step;
