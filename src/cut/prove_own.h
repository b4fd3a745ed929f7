/*
 * prove_own.h - the inside of a prover, shared by prove.c and prove_inputs.c
 * only.
 */
#ifndef KERF_CUT_PROVE_OWN_H
#define KERF_CUT_PROVE_OWN_H

#include "cut/prove.h"

/* One input, and what the whole answers to it. */
typedef struct kerf_proof_run {
    char name[KERF_NAME_MAX]; /* "seed 1", "cat.jpg"; safe to print */
    uint64_t seed;
    bool is_seeded; /* as probes are, by seed */
    kerf_tensor in[KERF_PORTS_MAX], out[KERF_PORTS_MAX]; /* owned */
    size_t in_count, out_count;
} kerf_proof_run;

struct kerf_prover {
    kerf_engine *engine;
    kerf_cut_model *model;
    double tolerance; /* negative: by what crosses */
    bool is_bf16;
    kerf_proof_run *run; /* owned */
    size_t run_count;
    kerf_port out[KERF_PORTS_MAX]; /* of the whole */
    size_t out_count;
    bool is_static;               /* all outputs of the whole */
    bool is_rows[KERF_PORTS_MAX]; /* an output that is a set of rows */
    double range[KERF_PORTS_MAX]; /* of an output, over all runs */
};

/* prove_inputs.c: fills the runs, but for what is answered. */
KERF_NODISCARD kerf_err kerf_prover_inputs(kerf_prover *p,
                                           const kerf_proof_opts *opts,
                                           kerf_detail *why);

#endif
