/*
 * weights.h - where the elements of tensors are in a model's file: the records
 * of a .pdiparams, the tensors of an .onnx. Buffers only. Threads: pure.
 */
#ifndef KERF_GRAPH_WEIGHTS_H
#define KERF_GRAPH_WEIGHTS_H

#include "tensor/segment.h"

/*
 * The tensors of data[0..len) in order, to *out -> free(). The file's own bytes
 * tell what it is; of one that is neither, or that is damaged, those before the
 * damage, or none, which is no error. Errors: KERF_ENOMEM.
 */
KERF_NODISCARD kerf_err kerf_weights_find(const uint8_t *data, size_t len,
                                          kerf_segment **out, size_t *count);

#endif
