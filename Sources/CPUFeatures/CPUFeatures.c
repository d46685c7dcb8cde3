#if defined(__linux__)
#define _GNU_SOURCE  // syscall
#endif
#include "CPUFeatures.h"
#include <string.h>

#if defined(__x86_64__)
#include <cpuid.h>
#if defined(__linux__)
#include <sys/syscall.h>
#include <unistd.h>
#endif

typedef struct { unsigned a, b, c, d; } Registers;

static Registers cpuid(unsigned leaf, unsigned subleaf) {
  Registers r = {0, 0, 0, 0};
  if (!__get_cpuid_count(leaf, subleaf, &r.a, &r.b, &r.c, &r.d)) memset(&r, 0, sizeof r);
  return r;
}

// The operating system must save the wide registers, or their use faults whatever cpuid says.
static unsigned savedStates(void) {
  if (!(cpuid(1, 0).c & (1u << 27))) return 0;  // OSXSAVE
  unsigned low, high;
  __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  return low;
}

static bool hasAll(unsigned value, unsigned mask) { return (value & mask) == mask; }

bool lamina_cpu_has_x86_64_v3(void) {
  if (!hasAll(savedStates(), 0x6)) return false;  // XMM, YMM
  const unsigned leaf1 = (1u << 0) | (1u << 9) | (1u << 12) | (1u << 13) | (1u << 19) | (1u << 20) | (1u << 22) |
                         (1u << 23) | (1u << 28) | (1u << 29);  // SSE3 SSSE3 FMA CX16 SSE4.1 4.2 MOVBE POPCNT AVX F16C
  if (!hasAll(cpuid(1, 0).c, leaf1)) return false;
  if (!hasAll(cpuid(7, 0).b, (1u << 3) | (1u << 5) | (1u << 8))) return false;  // BMI1 AVX2 BMI2
  return hasAll(cpuid(0x80000001, 0).c, (1u << 0) | (1u << 5));                 // LAHF LZCNT
}

bool lamina_cpu_has_x86_64_v4(void) {
  if (!lamina_cpu_has_x86_64_v3() || !hasAll(savedStates(), 0xe6)) return false;  // opmask, upper ZMM halves
  return hasAll(cpuid(7, 0).b, (1u << 16) | (1u << 17) | (1u << 28) | (1u << 30) | (1u << 31));  // F DQ CD BW VL
}

bool lamina_cpu_has_avx512_vnni(void) {
  return lamina_cpu_has_x86_64_v4() && hasAll(cpuid(7, 0).c, 1u << 11);
}

bool lamina_cpu_has_avx512_bf16(void) {
  return lamina_cpu_has_x86_64_v4() && cpuid(7, 0).a >= 1 && hasAll(cpuid(7, 1).a, 1u << 5);
}

// Tiles are 8 KiB of registers, which Linux saves only for processes that ask for them.
static bool mayUseTiles(void) {
#if defined(__linux__) && defined(SYS_arch_prctl)
  const int requestPermission = 0x1023, tileData = 18;  // ARCH_REQ_XCOMP_PERM, XFEATURE_XTILE_DATA
  return syscall(SYS_arch_prctl, requestPermission, tileData) == 0;
#else
  return false;
#endif
}

bool lamina_cpu_has_amx(void) {
  if (!hasAll(cpuid(7, 0).d, 1u << 22 | 1u << 24 | 1u << 25)) return false;  // BF16 TILE INT8, which few CPUs have
  if (!lamina_cpu_has_avx512_vnni() || !hasAll(savedStates(), 3u << 17)) return false;  // tile shapes, tile data
  const Registers palette = cpuid(0x1d, 1);
  const bool hasShapes = palette.b >> 16 >= 8 && (palette.b & 0xffff) >= 64 && (palette.c & 0xffff) >= 16;
  return hasShapes && mayUseTiles();
}

void lamina_cpu_brand(char *buffer, size_t size) {
  if (size == 0) return;
  buffer[0] = 0;
  if (__get_cpuid_max(0x80000000, NULL) < 0x80000004) return;
  unsigned words[12];
  for (unsigned i = 0; i < 3; i++) __get_cpuid(0x80000002 + i, &words[4 * i], &words[4 * i + 1], &words[4 * i + 2], &words[4 * i + 3]);
  char text[49];
  memcpy(text, words, 48);
  text[48] = 0;
  strncpy(buffer, text, size - 1);
  buffer[size - 1] = 0;
}

#else

bool lamina_cpu_has_x86_64_v3(void) { return false; }
bool lamina_cpu_has_x86_64_v4(void) { return false; }
bool lamina_cpu_has_avx512_vnni(void) { return false; }
bool lamina_cpu_has_avx512_bf16(void) { return false; }
bool lamina_cpu_has_amx(void) { return false; }
void lamina_cpu_brand(char *buffer, size_t size) { if (size) buffer[0] = 0; }

#endif
