// What this CPU can do, and the pause instruction of spin loops. C because Swift reaches neither cpuid nor pause.
#pragma once
#include <stdbool.h>
#include <stddef.h>

#include "Threads.h"

#ifdef __cplusplus
extern "C" {
#endif

/// Whether CPU and operating system support all of x86-64-v3 (AVX2, FMA, BMI, F16C, MOVBE, LZCNT).
bool lamina_cpu_has_x86_64_v3(void);
/// Whether CPU and operating system support all of x86-64-v4 (v3 and AVX-512 F, BW, CD, DQ, VL).
bool lamina_cpu_has_x86_64_v4(void);
/// Whether they support x86-64-v4 and products of four bytes a lane (AVX-512 VNNI).
bool lamina_cpu_has_avx512_vnni(void);
/// Whether they support x86-64-v4 and products of bfloat16 (AVX-512 BF16).
bool lamina_cpu_has_avx512_bf16(void);
/// Whether they support x86-64-v4, VNNI and products in tiles of bytes and of bfloat16 (AMX-INT8, AMX-BF16), and let this
/// process use tiles: it is asked for, for all threads. Signal stacks (sigaltstack) then need room for 8 KiB more, which
/// sysconf(_SC_MINSIGSTKSZ) tells.
bool lamina_cpu_has_amx(void);
/// Writes the processor's brand string (empty where it has none) into `buffer`, NUL-terminated.
void lamina_cpu_brand(char *buffer, size_t size);

/// Tells the CPU that the thread waits in a spin loop.
static inline __attribute__((always_inline)) void lamina_cpu_pause(void) {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  __asm__ volatile("yield");
#endif
}

/// Asks for the cache line at `address` in the L2 cache; any address will do.
static inline __attribute__((always_inline)) void lamina_prefetch(const void *address) {
  __builtin_prefetch(address, 0, 2);
}

/// Makes this thread's floating-point unit take and give 0 for subnormal numbers; returns the mode before, for
/// `lamina_restore_float_mode`.
static inline __attribute__((always_inline)) unsigned long long lamina_flush_subnormals(void) {
#if defined(__x86_64__)
  unsigned int before = __builtin_ia32_stmxcsr();
  __builtin_ia32_ldmxcsr(before | 0x8040u);  // flush to zero, denormals are zero
  return before;
#elif defined(__aarch64__)
  unsigned long long before;
  __asm__ volatile("mrs %0, fpcr" : "=r"(before));
  __asm__ volatile("msr fpcr, %0" : : "r"(before | (1ull << 24)));
  return before;
#else
  return 0;
#endif
}

/// Takes back what `lamina_flush_subnormals` changed.
static inline __attribute__((always_inline)) void lamina_restore_float_mode(unsigned long long mode) {
#if defined(__x86_64__)
  __builtin_ia32_ldmxcsr((unsigned int)mode);
#elif defined(__aarch64__)
  __asm__ volatile("msr fpcr, %0" : : "r"(mode));
#else
  (void)mode;
#endif
}

#ifdef __cplusplus
}
#endif
