/*
 * onnx_whole.h - what must be known of an ONNX model that came from somebody
 * else. Buffers only. Threads: pure.
 */
#ifndef KERF_GRAPH_ONNX_WHOLE_H
#define KERF_GRAPH_ONNX_WHOLE_H

#include "kerf/err.h"

#include <stddef.h>

/*
 * A tensor may name a file that holds its data (TensorProto.external_data); who
 * reads such a model reads that file. Refuses every model with one, wherever it
 * stands, and what cannot be walked to the end.
 * Errors: KERF_ENOTSUP (a tensor outside), KERF_ECORRUPT, KERF_ETOOBIG (nested
 * deeper than any real model).
 */
KERF_NODISCARD kerf_err kerf_onnx_check_whole(const void *data, size_t len,
                                              kerf_detail *why);

#endif
