/*
 * onnx_whole.h - the tensors of an ONNX model, wherever they stand in it, and
 * what must be known of a model that came from somebody else. Buffers only.
 * Threads: pure.
 */
#ifndef KERF_GRAPH_ONNX_WHOLE_H
#define KERF_GRAPH_ONNX_WHOLE_H

#include "graph/wire.h"
#include "kerf/err.h"

/* onnx.proto: the messages on the way from a model to its tensors. */
typedef enum kerf_onnx_message {
    KERF_ONNX_SKIP = 0, /* no such message */
    KERF_ONNX_MODEL,
    KERF_ONNX_TRAINING,
    KERF_ONNX_FUNCTION,
    KERF_ONNX_GRAPH,
    KERF_ONNX_NODE,
    KERF_ONNX_ATTRIBUTE,
    KERF_ONNX_SPARSE,
    KERF_ONNX_TENSOR,
} kerf_onnx_message;

/* What f, a field of such a message, holds. */
kerf_onnx_message kerf_onnx_inside(kerf_onnx_message in,
                                   const kerf_wire_field *f);

/* This field of a tensor says that its data is in another file. */
bool kerf_onnx_is_outside(const kerf_wire_field *f);

/* Is given a TensorProto. */
typedef kerf_err kerf_onnx_see(void *context, const uint8_t *tensor, size_t len,
                               kerf_detail *why);

/*
 * Walks the message through all its graphs, functions and attributes, for the
 * tensors with a field that says so.
 * Errors: KERF_ECORRUPT, KERF_ETOOBIG (nested deeper than any real model),
 * those of see.
 */
KERF_NODISCARD kerf_err kerf_onnx_each_outside(kerf_onnx_message is,
                                               const void *data, size_t len,
                                               kerf_onnx_see *see,
                                               void *context, kerf_detail *why);

/* Walks a whole model, for all its tensors. Errors: as above. */
KERF_NODISCARD kerf_err kerf_onnx_each_tensor(const void *data, size_t len,
                                              kerf_onnx_see *see, void *context,
                                              kerf_detail *why);

/*
 * A tensor may name a file that holds its data (TensorProto.external_data); who
 * reads such a model reads that file. Refuses every model with one, wherever it
 * stands, and what cannot be walked to the end.
 * Errors: KERF_ENOTSUP (a tensor outside), KERF_ECORRUPT, KERF_ETOOBIG.
 */
KERF_NODISCARD kerf_err kerf_onnx_check_whole(const void *data, size_t len,
                                              kerf_detail *why);

#endif
