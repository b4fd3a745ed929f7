/*
 * ping.h - what TCP alone costs: a request of some bytes and an answer of some
 * over loopback, between two processes with plain blocking sockets.
 * Threads: one owner.
 */
#ifndef KERF_BENCH_PING_H
#define KERF_BENCH_PING_H

#include "base/fs.h"
#include "base/stats.h"

typedef struct kerf_ping_opts {
    size_t request_bytes, answer_bytes;
    int runs;
    const char *link; /* SPEC of one in between (kerf link); NULL: none */
    const char *log;  /* file for its stderr */
} kerf_ping_opts;

/* Adds one time in ns for each of `runs` round trips, after some that do not
 * count. Errors: KERF_EIO, KERF_ENOMEM, those of the link. */
KERF_NODISCARD kerf_err kerf_ping_run(kerf_stats *ns,
                                      const kerf_ping_opts *opts,
                                      kerf_detail *why);

#endif
