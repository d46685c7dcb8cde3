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
// A set of processors, four times as many as kernels are built for; in place, because members of a team allocate nothing.
enum { mostProcessors = 1 << 15, setSize = mostProcessors / 8 };
typedef union { cpu_set_t set; char bytes[setSize]; } Processors;

// Writes those that this thread may use; returns 0 where that cannot be asked.
static int findAllowedProcessors(Processors *allowed) {
  return sched_getaffinity(0, setSize, &allowed->set) == 0;
}

// The processor that comes `distance` places after this thread's among those of `allowed`, from the first again after the
// last; -1 where there is no other or this thread's is not known.
static int processorAfterOwn(const Processors *allowed, int distance) {
  int own = sched_getcpu();
  if (own < 0 || own >= mostProcessors || CPU_COUNT_S(setSize, &allowed->set) < 2) return -1;
  int processor = own;
  for (int left = distance; left > 0; left -= 1) {
    do { processor = (processor + 1) % mostProcessors; } while (!CPU_ISSET_S(processor, setSize, &allowed->set));
  }
  return processor == own ? -1 : processor;
}
#endif

// Sends `thread` to the processor `distance` places after this one's; from there it may go to any, as before.
static void sendElsewhere(pthread_t thread, int distance) {
#if defined(__linux__)
  Processors allowed, only;
  if (!findAllowedProcessors(&allowed)) return;
  int processor = processorAfterOwn(&allowed, distance);
  if (processor < 0) return;
  CPU_ZERO_S(setSize, &only.set);
  CPU_SET_S(processor, setSize, &only.set);
  // What the system refuses leaves the thread where it is.
  if (pthread_setaffinity_np(thread, setSize, &only.set) == 0) {
    pthread_setaffinity_np(thread, setSize, &allowed.set);
  }
#else
  (void)thread, (void)distance;
#endif
}

void lamina_leave_processor(int distance) { sendElsewhere(pthread_self(), distance); }

int lamina_affinity_processors(void) {
  int count = 0;
#if defined(__linux__)
  Processors allowed;
  if (findAllowedProcessors(&allowed)) count = CPU_COUNT_S(setSize, &allowed.set);
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
