/*
 * model.h - a network as bytes, as they stand in its files.
 * Threads: values.
 */
#ifndef KERF_MODEL_H
#define KERF_MODEL_H

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

#ifdef __cplusplus
}
#endif
#endif
