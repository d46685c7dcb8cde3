#if defined(__linux__)
#define _GNU_SOURCE  // sched_getaffinity, sched_getcpu, pthread_setname_np
#endif
#include "Threads.h"
#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#if defined(__linux__)
#include <errno.h>
#include <linux/futex.h>
#include <sys/syscall.h>
#elif defined(__APPLE__)
#include <os/os_sync_wait_on_address.h>
#endif

int lamina_affinity_processors(void) {
#if defined(__linux__)
  // The kernel refuses a mask shorter than its own.
  for (int processors = 1024; processors <= 1 << 20; processors *= 4) {
    cpu_set_t *set = CPU_ALLOC(processors);
    if (!set) return 0;
    size_t size = CPU_ALLOC_SIZE(processors);
    int status = sched_getaffinity(0, size, set), error = errno;
    int count = status == 0 ? CPU_COUNT_S(size, set) : 0;
    CPU_FREE(set);
    if (status == 0 || error != EINVAL) return count;
  }
#endif
  return 0;
}

typedef struct {
  void *(*body)(void *);
  void *argument;
  char name[16];
} Start;

static void *run(void *argument) {
  Start start = *(Start *)argument;
  free(argument);
#if defined(__APPLE__)
  pthread_setname_np(start.name);
#elif defined(__linux__)
  pthread_setname_np(pthread_self(), start.name);
#endif
  return start.body(start.argument);
}

int lamina_thread_start(
    uintptr_t *thread, const char *name, size_t stackSize, void *(*body)(void *), void *argument) {
  Start *start = calloc(1, sizeof *start);
  if (!start) return 12;  // ENOMEM
  start->body = body;
  start->argument = argument;
  strncpy(start->name, name, sizeof start->name - 1);
  pthread_attr_t attributes;
  pthread_attr_init(&attributes);
  pthread_attr_setstacksize(&attributes, stackSize);
  pthread_t handle;
  int status = pthread_create(&handle, &attributes, run, start);
  pthread_attr_destroy(&attributes);
  if (status == 0) {
    *thread = (uintptr_t)handle;
  } else {
    free(start);
  }
  return status;
}

void lamina_thread_join(uintptr_t thread) { pthread_join((pthread_t)thread, NULL); }

int lamina_current_processor(void) {
#if defined(__linux__)
  return sched_getcpu();
#else
  return -1;
#endif
}

void lamina_yield(void) { sched_yield(); }

uint64_t lamina_nanoseconds(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

void lamina_sleep_on(const void *word, uint32_t value) {
#if defined(__linux__)
  syscall(SYS_futex, word, FUTEX_WAIT_PRIVATE, value, NULL, NULL, 0);
#elif defined(__APPLE__)
  os_sync_wait_on_address((void *)word, value, 4, OS_SYNC_WAIT_ON_ADDRESS_NONE);
#else
  (void)word, (void)value;
  usleep(50);
#endif
}

void lamina_wake_all(const void *word) {
#if defined(__linux__)
  syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, 0x7fffffff, NULL, NULL, 0);
#elif defined(__APPLE__)
  os_sync_wake_by_address_all((void *)word, 4, OS_SYNC_WAKE_BY_ADDRESS_NONE);
#else
  (void)word;
#endif
}
