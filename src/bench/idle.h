/*
 * idle.h - edges that are connected and ask for nothing: what they cost a
 * cloud. Each is the wire's least: HELLO, ATTACH on a second connection, and
 * heartbeats.
 * Threads: one owner; runs a loop on the calling thread.
 */
#ifndef KERF_BENCH_IDLE_H
#define KERF_BENCH_IDLE_H

#include "bench/child.h"

#define KERF_IDLE_EDGES_MAX 4000

typedef struct kerf_idle_opts {
    kerf_child *cloud;
    const char *host;
    int port;
    size_t edges;
    double seconds; /* how long the CPU time is counted */
} kerf_idle_opts;

typedef struct kerf_idle {
    double cpu_percent; /* of one core: the cloud's */
    double rss_kib;     /* that the cloud grew by, per edge */
} kerf_idle;

/* Errors: KERF_EIO (an edge could not connect, or was sent away), KERF_EINTR,
 * KERF_EDEADLINE, KERF_ENOMEM. */
KERF_NODISCARD kerf_err kerf_idle_run(kerf_idle *idle,
                                      const kerf_idle_opts *opts,
                                      kerf_detail *why);

#endif
