/*
 * onnx_out.h - write an ONNX graph of the few operators that a residual
 * network has, with seeded weights. For benchmarks: the weights mean nothing.
 *
 *     begin -> input, nodes in order, output -> finish
 *
 * What is out of memory is so in the rope that finish gives.
 * Threads: one owner.
 */
#ifndef KERF_BENCH_ONNX_OUT_H
#define KERF_BENCH_ONNX_OUT_H

#include "base/rope.h"

typedef struct kerf_onnx {
    kerf_rope nodes, weights, ports; /* fields of the graph so far */
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
/* Relu, GlobalAveragePool, Flatten, Softmax; with b also Add, MatMul. */
void kerf_onnx_op(kerf_onnx *g, const char *op, const char *a, const char *b,
                  const char *out);
/* A parameter of f32: data is shown until the model is written ... */
void kerf_onnx_param(kerf_onnx *g, const char *name, const int64_t *dims,
                     size_t rank, const uint8_t *data);
/* ... or stands in another file. */
void kerf_onnx_param_outside(kerf_onnx *g, const char *name,
                             const int64_t *dims, size_t rank, const char *file,
                             size_t offset);
/* The model's bytes, to an empty rope; g is empty then. */
void kerf_onnx_finish(kerf_onnx *g, const char *name, kerf_rope *model);

/* Little-endian f32, uniform in [-limit, limit). -> free(); NULL: no memory. */
uint8_t *kerf_onnx_weights(uint64_t *seed, size_t count, float limit);

#endif
