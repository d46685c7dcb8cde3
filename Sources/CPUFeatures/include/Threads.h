// What a team of threads needs of the system: threads, sleep on a word of memory, and the processor a thread is on.
#pragma once
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/// Processors in this process's affinity mask, or 0 where that cannot be asked.
int lamina_affinity_processors(void);

/// Starts a thread that runs `body(argument)`; writes what `lamina_thread_join` takes into `thread`.
///
/// It begins on the processor `distance` places after the caller's in the affinity mask, and may go to any of them from
/// there: a system that fills one processor before it uses the next would leave both on one for some 50 ms.
///
/// Returns 0, or the error number with which the system refused. The name is cut to 15 bytes.
int lamina_thread_start(
    uintptr_t *thread, const char *name, int distance, size_t stackSize, void *(*body)(void *), void *argument);
/// Waits for the end of a thread and frees what the system keeps of it.
void lamina_thread_join(uintptr_t thread);

/// The processor that this thread is on, or -1 where that cannot be asked. A few nanoseconds.
int lamina_current_processor(void);
/// Moves this thread to the processor `distance` places after its own in the affinity mask; from there it may go to any.
///
/// Some ten microseconds; does nothing where there is no other or the system refuses.
void lamina_leave_processor(int distance);
/// Lets another thread that waits for this processor run.
void lamina_yield(void);
/// Nanoseconds of a clock that only runs forward.
uint64_t lamina_nanoseconds(void);

/// Sleeps while the four bytes at `word` hold `value`, until they are woken; may return sooner.
void lamina_sleep_on(const void *word, uint32_t value);
/// Wakes every thread that sleeps on `word`.
void lamina_wake_all(const void *word);

#ifdef __cplusplus
}
#endif
