/*
 * ping.h - what TCP alone costs: a request of some bytes and an answer of some
 * over loopback, between two processes with plain blocking sockets.
 * Threads: one owner.
 */
#ifndef KERF_BENCH_PING_H
#define KERF_BENCH_PING_H

#include "base/stats.h"

/* Adds one time in ns for each of `runs` round trips, after some that do not
 * count. Errors: KERF_EIO, KERF_ENOMEM. */
KERF_NODISCARD kerf_err kerf_ping_run(kerf_stats *ns, size_t request_bytes,
                                      size_t answer_bytes, int runs,
                                      kerf_detail *why);

#endif
