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

#if defined(__linux__)
// A set of processors, and its size in bytes.
typedef struct { cpu_set_t *set; size_t size; } Processors;

// Those that this thread may use; the set is NULL where that cannot be asked.
static Processors allowedProcessors(void) {
  // The kernel refuses a mask shorter than its own.
  for (int processors = 1024; processors <= 1 << 20; processors *= 4) {
    Processors allowed = {CPU_ALLOC(processors), CPU_ALLOC_SIZE(processors)};
    if (!allowed.set) break;
    if (sched_getaffinity(0, allowed.size, allowed.set) == 0) return allowed;
    int error = errno;
    CPU_FREE(allowed.set);
    if (error != EINVAL) break;
  }
  return (Processors){NULL, 0};
}

// The processor that comes `distance` places after this thread's among those of `allowed`, from the first again after the
// last; -1 where there is no other or this thread's is not known.
static int processorAfterOwn(Processors allowed, int distance) {
  int own = sched_getcpu(), end = (int)(8 * allowed.size);
  if (own < 0 || own >= end || CPU_COUNT_S(allowed.size, allowed.set) < 2) return -1;
  int processor = own;
  for (int left = distance; left > 0; left -= 1) {
    do { processor = (processor + 1) % end; } while (!CPU_ISSET_S(processor, allowed.size, allowed.set));
  }
  return processor == own ? -1 : processor;
}
#endif

// Sends `thread` to the processor `distance` places after this one's; from there it may go to any, as before.
static void sendElsewhere(pthread_t thread, int distance) {
#if defined(__linux__)
  Processors allowed = allowedProcessors();
  if (!allowed.set) return;
  int processor = processorAfterOwn(allowed, distance);
  cpu_set_t *only = processor < 0 ? NULL : CPU_ALLOC(8 * (int)allowed.size);
  if (only) {
    CPU_ZERO_S(allowed.size, only);
    CPU_SET_S(processor, allowed.size, only);
    // What the system refuses leaves the thread where it is.
    if (pthread_setaffinity_np(thread, allowed.size, only) == 0) {
      pthread_setaffinity_np(thread, allowed.size, allowed.set);
    }
    CPU_FREE(only);
  }
  CPU_FREE(allowed.set);
#else
  (void)thread, (void)distance;
#endif
}

int lamina_leave_processor(const int32_t *taken, int count) {
  int moved = 0;
#if defined(__linux__)
  // On the stack: a team's members allocate nothing.
  enum { processors = 1 << 15, size = processors / 8 };
  union { cpu_set_t set; char bytes[size]; } allowed, only;
  int own = sched_getcpu();
  if (own < 0 || own >= processors || sched_getaffinity(0, size, &allowed.set) != 0) return 0;
  for (int step = 1; step < processors && !moved; step += 1) {
    int processor = (own + step) % processors, isTaken = !CPU_ISSET_S(processor, size, &allowed.set);
    for (int i = 0; i < count && !isTaken; i += 1) isTaken = taken[i] == processor;
    if (isTaken) continue;
    CPU_ZERO_S(size, &only.set);
    CPU_SET_S(processor, size, &only.set);
    if (sched_setaffinity(0, size, &only.set) != 0) break;
    sched_setaffinity(0, size, &allowed.set);
    moved = 1;
  }
#else
  (void)taken, (void)count;
#endif
  return moved;
}

int lamina_affinity_processors(void) {
  int count = 0;
#if defined(__linux__)
  Processors allowed = allowedProcessors();
  if (allowed.set) {
    count = CPU_COUNT_S(allowed.size, allowed.set);
    CPU_FREE(allowed.set);
  }
#endif
  return count;
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
    uintptr_t *thread, const char *name, int distance, size_t stackSize, void *(*body)(void *), void *argument) {
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
    sendElsewhere(handle, distance);
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
