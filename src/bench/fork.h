/*
 * fork.h - one measurement in a process of its own: what it allocates is its
 * own, and it can be ended at any time.
 * Threads: one, in a process without others.
 */
#ifndef KERF_BENCH_FORK_H
#define KERF_BENCH_FORK_H

#include "kerf/err.h"

#include <stdint.h>

#define KERF_MEASURED_SECONDS 16

typedef struct kerf_measured {
    kerf_err err;
    kerf_detail why;
    uint64_t bytes;
    double seconds[KERF_MEASURED_SECONDS];
    double kib; /* most memory, over that at kerf_peak_begin(); 0: unknown */
} kerf_measured;

/* Runs fn(ctx, out) in a child; it fills out, whose err the call returns.
 * Errors: those of fn, KERF_EINTR, KERF_EIO (it died, or cannot start). */
KERF_NODISCARD kerf_err kerf_measure(kerf_measured *out,
                                     void (*fn)(void *ctx, kerf_measured *out),
                                     void *ctx, kerf_detail *why);

/* In the child: from when on memory counts, and what it was at most, in KiB,
 * without pages of files that are mapped at the end: code, which is paged in
 * when it first runs. The kernel counts in steps of a few hundred KiB per
 * thread. */
void kerf_peak_begin(void);
double kerf_peak_kib(void);

#endif
