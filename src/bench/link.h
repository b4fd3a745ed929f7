/*
 * link.h - how long a raw tensor takes over an emulated link, beside what its
 * rate and RTT say: bytes / rate + RTT.
 * Threads: one owner.
 */
#ifndef KERF_BENCH_LINK_H
#define KERF_BENCH_LINK_H

#include "base/link_spec.h"
#include "bench/work.h"

#include <stddef.h>

#define KERF_LINK_ROUNDS_MAX 1000
#define KERF_LINK_BYTES_MAX ((size_t)64 << 20)

typedef struct kerf_link_timed {
    kerf_link_spec spec;
    size_t bytes;       /* of the tensor, f32, raw */
    double expected_ms; /* bytes / rate up + RTT */
    kerf_spread ms;     /* there, and the answer of ten numbers back */
} kerf_link_timed;

typedef struct kerf_link_timing {
    const char *spec;
    size_t bytes; /* a multiple of 4 */
    int rounds;
    kerf_progress progress;
} kerf_link_timing;

/* A real cloud, link and edge, with the fake engine; one request at a time.
 * Errors: KERF_EINVAL (spec), KERF_EINTR, those of files and of children that
 * fail. */
KERF_NODISCARD kerf_err kerf_bench_link(kerf_link_timed *out,
                                        const kerf_link_timing *opts,
                                        kerf_detail *why);

#endif
