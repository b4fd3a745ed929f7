/*
 * segment.h - where the elements of a tensor are in a file. Threads: values.
 */
#ifndef KERF_TENSOR_SEGMENT_H
#define KERF_TENSOR_SEGMENT_H

#include "kerf/tensor.h"

typedef struct kerf_segment {
    size_t offset, len; /* bytes */
    kerf_dtype dtype;
    uint32_t columns; /* the channel may be the same again after so many
                         elements; 0: not known */
} kerf_segment;

#endif
