/*
 * chain.h - a network of any size as files: layers of a matrix product, an
 * addition and a ReLU, one after the other. For benchmarks: all layers have the
 * same weights, which mean nothing.
 * Threads: any, on different folders.
 */
#ifndef KERF_BENCH_CHAIN_H
#define KERF_BENCH_CHAIN_H

#include "kerf/model.h"

#include <stdbool.h>

#define KERF_CHAIN_NODES 3 /* of a layer */

typedef struct kerf_chain {
    kerf_format format; /* Paddle or ONNX */
    bool is_outside;    /* ONNX: weights in NAME.data */
    int layers;
    uint64_t bytes; /* of all weights, about; with at least 16 rows a layer */
} kerf_chain;

/* Writes DIR/NAME.pdmodel and NAME.pdiparams, or NAME.onnx. Errors: KERF_EINVAL
 * (they are there), KERF_ENOSPC, KERF_EIO, KERF_ENOMEM. */
KERF_NODISCARD kerf_err kerf_chain_write(const kerf_chain *chain,
                                         const char *dir, const char *name,
                                         kerf_detail *why);

#endif
