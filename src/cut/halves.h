/*
 * halves.h - head and tail of a cut as files to be.
 * Threads: one owner.
 */
#ifndef KERF_CUT_HALVES_H
#define KERF_CUT_HALVES_H

#include "graph/cuts.h"

enum { KERF_HEAD = 0, KERF_TAIL = 1, KERF_HALF_COUNT = 2 };

typedef struct kerf_half {
    kerf_rope graph, weights; /* they show into the graph of the whole */
    uint8_t *own[2];          /* once gathered: graph, weights */
    kerf_model_bytes bytes;   /* ... and those as an engine takes them */
} kerf_half;

typedef struct kerf_halves {
    kerf_half half[KERF_HALF_COUNT];
} kerf_halves;

/* *h must be zeroed. Errors: those of kerf_cut_part() and kerf_graph_write().
 */
KERF_NODISCARD kerf_err kerf_halves_make(kerf_halves *h, const kerf_graph *g,
                                         const kerf_cut *cut, kerf_detail *why);
/* All bytes of each file in one place, for an engine. Errors: KERF_ENOMEM. */
KERF_NODISCARD kerf_err kerf_half_gather(kerf_half *half, kerf_format format,
                                         kerf_detail *why);
void kerf_half_fini(kerf_half *half);  /* accepts a zeroed one */
void kerf_halves_fini(kerf_halves *h); /* accepts a zeroed one */

#endif
