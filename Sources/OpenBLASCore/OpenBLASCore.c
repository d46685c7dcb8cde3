#include "OpenBLASCore.h"
#include <CPUFeatures.h>
#include <cblas.h>
#include <dirent.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

static lamina_core_choice choiceAtLoad = lamina_core_kept;
static char detectedCore[32];
// As many as OpenBLAS has started, of which the main thread counts as one; whoever lowers the number later stops none.
static int threadsAtLoad = 1;

#if defined(__linux__) && defined(__x86_64__)

// Exported by builds of OpenBLAS for many cores (DYNAMIC_ARCH), as distributions make them; NULL in others.
extern void gotoblas_dynamic_init(void) __attribute__((weak));
extern void gotoblas_dynamic_quit(void) __attribute__((weak));

static const char variable[] = "OPENBLAS_CORETYPE";

static bool isOneOf(const char *name, const char *const *names) {
  for (; *names; names += 1) {
    if (strcasecmp(name, *names) == 0) return true;
  }
  return false;
}

// 0: SSE, 1: AVX2, 2: AVX-512.
static int widthOfCore(const char *core) {
  static const char *const wide[] = {"SkylakeX", "Cooperlake", "SapphireRapids", NULL};
  static const char *const middle[] = {"Haswell", "Zen", "Excavator", NULL};
  return isOneOf(core, wide) ? 2 : isOneOf(core, middle) ? 1 : 0;
}

static int widthOfCPU(void) { return lamina_cpu_has_x86_64_v4() ? 2 : lamina_cpu_has_x86_64_v3() ? 1 : 0; }

// Whether no thread runs but the main one and OpenBLAS's own, which wait for work.
static bool isAlone(void) {
  DIR *tasks = opendir("/proc/self/task");
  if (!tasks) return false;
  int count = 0;
  for (struct dirent *entry; (entry = readdir(tasks));) count += entry->d_name[0] != '.';
  closedir(tasks);
  return count <= threadsAtLoad;
}

static void chooseAgain(void) {
  gotoblas_dynamic_quit();
  gotoblas_dynamic_init();
}

bool lamina_force_openblas_core(const char *name) {
  if (!gotoblas_dynamic_init || !gotoblas_dynamic_quit) return false;
  const char *before = getenv(variable);
  char *copy = before ? strdup(before) : NULL;
  if (setenv(variable, name, 1) != 0) return false;
  chooseAgain();
  if (copy) setenv(variable, copy, 1);
  else unsetenv(variable);
  free(copy);
  return true;
}

lamina_core_choice lamina_widen_openblas_core(void) {
  const int found = widthOfCore(openblas_get_corename());
  // In a virtual machine each cpuid takes some 20 µs: a program whose core is the widest asks for none.
  if (getenv(variable) || found == 2) return lamina_core_kept;
  const int width = widthOfCPU();
  if (found >= width) return lamina_core_kept;
  if (!isAlone()) return lamina_core_stays_narrow;
  // What OpenBLAS gives a CPU it does not know but for its vectors; a build without that core takes the next.
  static const char *const candidates[] = {"Cooperlake", "SkylakeX", "Haswell"};
  for (int i = lamina_cpu_has_avx512_bf16() ? 0 : width == 2 ? 1 : 2; i < 3; i += 1) {
    if (!lamina_force_openblas_core(candidates[i])) return lamina_core_stays_narrow;
    if (strcasecmp(openblas_get_corename(), candidates[i]) == 0) {
      return widthOfCore(candidates[i]) >= width ? lamina_core_widened : lamina_core_stays_narrow;
    }
  }
  chooseAgain();
  return lamina_core_stays_narrow;
}

#else

bool lamina_force_openblas_core(const char *name) {
  (void)name;
  return false;
}

lamina_core_choice lamina_widen_openblas_core(void) { return lamina_core_kept; }

#endif

// Before main: setting a variable is safe only while no other thread reads them.
__attribute__((constructor)) static void widenAtLoad(void) {
  threadsAtLoad = openblas_get_num_threads();
  strncpy(detectedCore, openblas_get_corename(), sizeof detectedCore - 1);
  choiceAtLoad = lamina_widen_openblas_core();
}

lamina_core_choice lamina_openblas_core_choice(void) { return choiceAtLoad; }
const char *lamina_openblas_detected_core(void) { return detectedCore; }
