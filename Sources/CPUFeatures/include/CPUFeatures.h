// What this CPU can do, and the pause instruction of spin loops. C because Swift reaches neither cpuid nor pause.
#pragma once
#include <stdbool.h>
#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

/// Whether CPU and operating system support all of x86-64-v3 (AVX2, FMA, BMI, F16C, MOVBE, LZCNT).
bool lamina_cpu_has_x86_64_v3(void);
/// Whether CPU and operating system support all of x86-64-v4 (v3 and AVX-512 F, BW, CD, DQ, VL).
bool lamina_cpu_has_x86_64_v4(void);
/// Writes the processor's brand string (empty where it has none) into `buffer`, NUL-terminated.
void lamina_cpu_brand(char *buffer, size_t size);
/// Processors in this process's affinity mask, or 0 where that cannot be asked.
int lamina_affinity_processors(void);

/// Tells the CPU that the thread waits in a spin loop.
static inline __attribute__((always_inline)) void lamina_cpu_pause(void) {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  __asm__ volatile("yield");
#endif
}

#ifdef __cplusplus
}
#endif
