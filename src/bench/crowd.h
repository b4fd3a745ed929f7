/*
 * crowd.h - `kerf bench edges`: clouds of our own under many edges (edges.h).
 * Threads: one owner.
 */
#ifndef KERF_BENCH_CROWD_H
#define KERF_BENCH_CROWD_H

#include "bench/edges.h"

#define KERF_CROWD_COUNTS 8
#define KERF_CROWD_ROUNDS 100

typedef struct kerf_crowd_opts {
    size_t
        count[KERF_CROWD_COUNTS]; /* of edges, each with a cloud of its own */
    size_t counts;
    int greedy, in_flight;
    double hz, seconds;
    /* Batching instead: this many rounds; largest block, 0: as it pays. */
    int rounds, batch;
    kerf_progress progress;
    void *ctx;
    void (*result)(void *ctx, size_t edges, const kerf_edges_figures *f);
} kerf_crowd_opts;

/* A small tail of the fake engine: what is measured is all around it. Errors:
 * kerf_edges_run()'s and kerf_child_start()'s, KERF_EINVAL (too many edges for
 * the files that this process may open). */
KERF_NODISCARD kerf_err kerf_crowd_run(const kerf_crowd_opts *opts,
                                       kerf_detail *why);

/* A ResNet18's tail, batched and not, in turns, by 8 edges and by one. */
typedef struct kerf_crowd_batch {
    kerf_spread single_hz, batch_hz;            /* 8 edges */
    kerf_spread single_cpu_us, batch_cpu_us;    /* of the cloud, per request */
    kerf_spread single_p50_us, batch_p50_us;    /* one */
    kerf_spread ratio_hz, ratio_cpu, ratio_p50; /* of each round */
} kerf_crowd_batch;

KERF_NODISCARD kerf_err kerf_crowd_batches(kerf_crowd_batch *out,
                                           const kerf_crowd_opts *opts,
                                           kerf_detail *why);

#endif
