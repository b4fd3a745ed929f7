/*
 * floor.h - how small a file of weights can get by what is known of single
 * values: entropies, not proofs.
 *
 * order 0: of each tensor the exponents by an ideal coder, their signs and
 * mantissas as they are; of integers each byte of an element by itself; nothing
 * of a tensor whose elements are all the same. What is in no tensor: its bytes
 * by an ideal coder.
 * conditional: the exponents given the one before, where that is less, and the
 * mantissa's top 8 bits given the exponent; both of f32 only, counted over the
 * whole file.
 * Threads: pure.
 */
#ifndef KERF_BENCH_FLOOR_H
#define KERF_BENCH_FLOOR_H

#include "kerf/err.h"

#include <stddef.h>
#include <stdint.h>

typedef struct kerf_floor {
    uint64_t tensor_bytes, float_bytes; /* in tensors; of them f32 */
    double order0, conditional;         /* bytes */
} kerf_floor;

/* Of a .pdiparams, an .onnx or any bytes. Errors: KERF_ENOMEM. */
KERF_NODISCARD kerf_err kerf_floor_of(kerf_floor *out, const uint8_t *data,
                                      size_t len);

#endif
