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
    uint64_t seed;            /* of a seeded one */
    bool is_seeded;
    kerf_tensor in[KERF_PORTS_MAX], out[KERF_PORTS_MAX]; /* owned */
    size_t in_count, out_count;
} kerf_proof_run;

/* Networks are loaded in one of two ways: tensors as they are, or pictures. */
typedef struct kerf_proof_view {
    bool is_image;
    kerf_proof_run *run; /* owned */
    size_t count;
} kerf_proof_view;

struct kerf_prover {
    kerf_engine *engine;
    kerf_cut_model *model;
    double tolerance; /* negative: by what crosses */
    bool is_bf16;
    kerf_proof_view view[2];
    kerf_port out[KERF_PORTS_MAX]; /* of the whole */
    size_t out_count;
    bool is_static;               /* all outputs of the whole */
    bool is_rows[KERF_PORTS_MAX]; /* an output that is a set of rows */
};

/* The whole or a head, as the view needs it. */
KERF_NODISCARD kerf_err kerf_prover_load(const kerf_prover *p,
                                         const kerf_proof_view *view,
                                         const kerf_model_bytes *bytes,
                                         kerf_net **out, kerf_detail *why);

/* prove_inputs.c: fills the runs of both views, but for what is answered. */
KERF_NODISCARD kerf_err kerf_prover_inputs(kerf_prover *p,
                                           const kerf_proof_opts *opts,
                                           kerf_detail *why);

#endif
