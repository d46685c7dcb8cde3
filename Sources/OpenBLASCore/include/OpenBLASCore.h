// The core whose kernels OpenBLAS uses, corrected where OpenBLAS did not know the CPU.
#pragma once
#include <stdbool.h>

#ifdef __cplusplus
extern "C" {
#endif

/// What became of OpenBLAS's choice of a core.
typedef enum {
  /// Its kernels are as wide as the CPU's vectors, or the variable OPENBLAS_CORETYPE asks for others.
  lamina_core_kept,
  /// It was too narrow, and is a wider one now.
  lamina_core_widened,
  /// It is too narrow and stays: this OpenBLAS has no wider kernels or cannot choose again, or other threads run.
  lamina_core_stays_narrow,
} lamina_core_choice;

/// What was done when the program was loaded.
///
/// OpenBLAS goes by the CPU's model number, and one newer than itself it may take for its oldest core: 0.3.21, Debian 12's,
/// runs the SSE3 kernels of 2004 (Prescott) on an Intel Emerald Rapids, a tenth of the speed. It is therefore asked again,
/// for the core that it names itself for unknown CPUs with such vectors, before `main` and only while no thread but its
/// own exists.
lamina_core_choice lamina_openblas_core_choice(void);
/// The core that OpenBLAS had chosen by itself.
const char *lamina_openblas_detected_core(void);

/// Makes the choice again; for tests. Nothing may be calling OpenBLAS meanwhile.
lamina_core_choice lamina_widen_openblas_core(void);
/// Has OpenBLAS choose the core `name`, for tests; false where it cannot choose again. Nothing may be calling OpenBLAS.
bool lamina_force_openblas_core(const char *name);

#ifdef __cplusplus
}
#endif
