/*
 * edges.h - many edges at one cloud: what each costs, and whether each gets its
 * share, also beside one that floods. The edges are light ones (light.h).
 * Threads: one owner; runs a loop on the calling thread.
 */
#ifndef KERF_BENCH_EDGES_H
#define KERF_BENCH_EDGES_H

#include "bench/child.h"
#include "bench/work.h"
#include "kerf/tensor.h"

typedef struct kerf_edges_opts {
    kerf_child *cloud;
    const char *host;
    int port;
    size_t edges;
    size_t greedy;    /* sessions of the one that floods; 0: none */
    size_t in_flight; /* for the cost: requests of all edges together */
    double hz;        /* of all edges together; 0: only the cost */
    double seconds;   /* of each phase */
    /* What each request carries: one f32 tensor of this shape. */
    kerf_shape shape;
    kerf_progress progress;
} kerf_edges_opts;

/* Requests at a rate. */
typedef struct kerf_edges_share {
    double jain;  /* of answers by edge; 1: all got the same part of theirs */
    double least; /* part of its requests that the worst-off edge got */
    double p50_us, p99_us; /* from the first send to the answer */
    uint64_t asked, answered, busy;
    double greedy_hz; /* answers of the one that floods */
} kerf_edges_share;

typedef struct kerf_edges_figures {
    double rss_kib;               /* that the cloud grew by, per edge */
    kerf_edges_share fair, crowd; /* without and with one that floods */
    double cpu_us;                /* of the cloud, per request, when busy */
    double hz;                    /* ... and how many it answers */
    double busy_p50_us;
} kerf_edges_figures;

/* Errors: KERF_EIO (an edge was sent away), KERF_EINTR, KERF_EDEADLINE,
 * KERF_ENOMEM. */
KERF_NODISCARD kerf_err kerf_edges_run(kerf_edges_figures *out,
                                       const kerf_edges_opts *opts,
                                       kerf_detail *why);

#endif
