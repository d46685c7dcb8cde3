#define _GNU_SOURCE
#include "AllocationCounter.h"

#include <dlfcn.h>
#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

static atomic_long count;
static atomic_long blas_count;

long allocation_count(void) { return atomic_load(&count); }

long blas_allocation_count(void) { return atomic_load(&blas_count); }

int allocation_counter_works(void) {
  long before = allocation_count();
  // Through a volatile pointer, so that the compiler can't leave the allocation out.
  void *volatile block = malloc(24);
  free(block);
  return allocation_count() == before + 1;
}

#ifdef __GLIBC__

// glibc's own names for what is replaced. Calling them needs no dlsym, which allocates itself.
extern void *__libc_malloc(size_t size);
extern void *__libc_calloc(size_t members, size_t size);
extern void *__libc_realloc(void *block, size_t size);
extern void *__libc_memalign(size_t alignment, size_t size);

// Counts an allocation for the library that the return address lies in.
static void note(void *caller) {
  Dl_info info;
  int is_blas = dladdr(caller, &info) && info.dli_fname && strstr(info.dli_fname, "libopenblas");
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

#endif
