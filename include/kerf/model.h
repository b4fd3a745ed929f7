/*
 * model.h - a network as bytes, as they stand in its files, and its ports.
 * Threads: values.
 */
#ifndef KERF_MODEL_H
#define KERF_MODEL_H

#include "kerf/limits.h"
#include "kerf/tensor.h"

#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef enum kerf_format {
    KERF_FORMAT_PADDLE = 0, /* graph: .pdmodel, weights: .pdiparams or none */
    KERF_FORMAT_ONNX = 1,   /* graph: .onnx */
    KERF_FORMAT_IR = 2,     /* graph: .xml, weights: .bin */
} kerf_format;

typedef struct kerf_model_bytes {
    kerf_format format;
    const void *graph;
    size_t graph_len;
    const void *weights; /* NULL: none */
    size_t weights_len;
    const char *path; /* NULL, or the graph's file: needed for external data */
} kerf_model_bytes;

/* An input or output of a network. */
typedef struct kerf_port {
    char name[KERF_NAME_MAX]; /* may be empty */
    kerf_dtype dtype;
    kerf_shape shape; /* outputs: -1 where it depends on the data */
} kerf_port;

#ifdef __cplusplus
}
#endif
#endif
