#define _GNU_SOURCE
#include "AllocationCounter.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

static atomic_long count;
static atomic_long blas_count;

long allocation_count(void) { return atomic_load(&count); }

long blas_allocation_count(void) { return atomic_load(&blas_count); }

static void prepare(void);

int allocation_counter_works(void) {
  prepare();
  long before = allocation_count();
  // Through a volatile pointer, so that the compiler can't leave the allocation out.
  void *volatile block = malloc(24);
  free(block);
  return allocation_count() == before + 1;
}

#ifdef __GLIBC__
#include <link.h>

// glibc's own names for what is replaced. Calling them needs no dlsym, which allocates itself.
extern void *__libc_malloc(size_t size);
extern void *__libc_calloc(size_t members, size_t size);
extern void *__libc_realloc(void *block, size_t size);
extern void *__libc_memalign(size_t alignment, size_t size);

static atomic_int searched;
static uintptr_t blas_start, blas_end;

// Notes where OpenBLAS's code lies: its segments are one range of addresses.
static int find_blas(struct dl_phdr_info *info, size_t size, void *data) {
  (void)size, (void)data;
  if (!strstr(info->dlpi_name, "libopenblas")) return 0;
  for (int i = 0; i < info->dlpi_phnum; i++) {
    if (info->dlpi_phdr[i].p_type != PT_LOAD) continue;
    uintptr_t start = info->dlpi_addr + info->dlpi_phdr[i].p_vaddr;
    uintptr_t end = start + info->dlpi_phdr[i].p_memsz;
    if (!blas_start || start < blas_start) blas_start = start;
    if (end > blas_end) blas_end = end;
  }
  return 1;
}

// Counts an allocation for the library that the return address lies in.
static void note(void *caller) {
  uintptr_t address = (uintptr_t)caller;
  // Until the place of OpenBLAS has been looked up, everything counts as not its own.
  int is_blas = atomic_load(&searched) && address >= blas_start && address < blas_end;
  atomic_fetch_add_explicit(is_blas ? &blas_count : &count, 1, memory_order_relaxed);
}

void *malloc(size_t size) {
  note(__builtin_return_address(0));
  return __libc_malloc(size);
}

void *calloc(size_t members, size_t size) {
  note(__builtin_return_address(0));
  return __libc_calloc(members, size);
}

void *realloc(void *block, size_t size) {
  note(__builtin_return_address(0));
  return __libc_realloc(block, size);
}

void *memalign(size_t alignment, size_t size) {
  note(__builtin_return_address(0));
  return __libc_memalign(alignment, size);
}

void *aligned_alloc(size_t alignment, size_t size) {
  note(__builtin_return_address(0));
  return __libc_memalign(alignment, size);
}

int posix_memalign(void **block, size_t alignment, size_t size) {
  note(__builtin_return_address(0));
  *block = __libc_memalign(alignment, size);
  return *block ? 0 : ENOMEM;
}

static void prepare(void) {
  if (atomic_load(&searched)) return;
  dl_iterate_phdr(find_blas, NULL);
  atomic_store(&searched, 1);
}

#else

static void prepare(void) {}

#endif
