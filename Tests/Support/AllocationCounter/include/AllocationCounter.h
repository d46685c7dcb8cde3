#pragma once

// Counts the heap allocations of all threads of a process, by standing in for the C library's allocator.
//
// For test programs only: linking this target replaces malloc and its kin. Where the C library is not glibc, or under a
// sanitizer, nothing is replaced and `allocation_counter_works` says 0.

/// Whether allocations are counted on this platform: made sure by counting one.
int allocation_counter_works(void);

/// Allocations (malloc, calloc, realloc, aligned ones) of the process since it started, those of libraries included.
long allocation_count(void);
