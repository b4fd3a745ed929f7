/*
 * onnx_out.h - write an ONNX graph of the few operators that a residual
 * network has, with seeded weights. For benchmarks: the weights mean nothing.
 *
 *     begin -> input, nodes in order, output -> finish
 *
 * Calls after a failure do nothing; kerf_onnx_finish() reports it.
 * Threads: one owner.
 */
#ifndef KERF_BENCH_ONNX_OUT_H
#define KERF_BENCH_ONNX_OUT_H

#include "kerf/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct kerf_onnx_bytes { /* grows; sticky when memory is short */
    uint8_t *data;               /* owned */
    size_t len, cap;
    bool bad;
} kerf_onnx_bytes;

typedef struct kerf_onnx {
    kerf_onnx_bytes nodes, weights, ports; /* fields of the graph so far */
    uint64_t seed;
    int count; /* nodes so far: makes names */
} kerf_onnx;

typedef struct kerf_onnx_conv_opts {
    int from, to; /* channels */
    int kernel, stride;
    float gain; /* of the weights; 1 keeps the variance through a ReLU */
} kerf_onnx_conv_opts;

void kerf_onnx_begin(kerf_onnx *g, uint64_t seed);
/* f32 ports of a fixed shape. */
void kerf_onnx_input(kerf_onnx *g, const char *name, const int64_t *dims,
                     size_t rank);
void kerf_onnx_output(kerf_onnx *g, const char *name, const int64_t *dims,
                      size_t rank);
/* Padding keeps the size / stride. With bias, as a folded batch norm leaves. */
void kerf_onnx_conv(kerf_onnx *g, const char *in, const char *out,
                    const kerf_onnx_conv_opts *o);
void kerf_onnx_dense(kerf_onnx *g, const char *in, const char *out, int from,
                     int to);
void kerf_onnx_max_pool(kerf_onnx *g, const char *in, const char *out,
                        int kernel, int stride);
/* Relu, GlobalAveragePool, Flatten, Softmax; with b also Add. */
void kerf_onnx_op(kerf_onnx *g, const char *op, const char *a, const char *b,
                  const char *out);
/* The model's bytes in *data -> free(). Frees the graph, also on error.
 * Errors: KERF_ENOMEM. */
KERF_NODISCARD kerf_err kerf_onnx_finish(kerf_onnx *g, const char *name,
                                         uint8_t **data, size_t *len);

#endif
