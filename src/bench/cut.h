/*
 * cut.h - what cutting costs: `kerf cut` as a process of its own, beside `cp`
 * of the bytes that it writes. Threads: one at a time; children die with the
 * calling thread.
 */
#ifndef KERF_BENCH_CUT_H
#define KERF_BENCH_CUT_H

#include "bench/work.h"

#define KERF_CUT_ROUNDS_MAX 1000

/* Of one model. Times in s, of processes from start to end. */
typedef struct kerf_cut_figures {
    const char *model; /* what was measured, in words or as a path */
    uint64_t bytes;    /* that the cut writes and cp copies */
    size_t nodes;
    unsigned cut;               /* its number in the list */
    kerf_spread cut_s, cp_s;    /* without a proof */
    kerf_spread list_s;         /* of all cuts, with sizes */
    double proved_s;            /* a cut with its proof; < 0: there is none */
    kerf_detail unproved;       /* ... and why, when it was tried */
    uint64_t cut_own, list_own; /* greatest memory, page cache aside; bytes */
} kerf_cut_figures;

typedef struct kerf_cut_opts {
    const char *const *model; /* none: models of its own */
    size_t model_count;
    int rounds;
    int megabytes, nodes; /* of its own models */
    bool huge;            /* two of 2 GB, too */
    kerf_progress progress;
    void (*result)(void *ctx, const kerf_cut_figures *figures);
    void *ctx; /* of result */
} kerf_cut_opts;

/* Cuts each model in the middle of its weights. Errors: KERF_EINTR,
 * KERF_ENOTSUP (a model without a cut), those of files, of graphs, and of
 * children that fail. */
KERF_NODISCARD kerf_err kerf_bench_cut(const kerf_cut_opts *opts,
                                       kerf_detail *why);

#endif
