/*
 * tensor.h - what each tensor codec does to real tensors: bytes, time, error;
 * beside zlib -6 on the same numbers, and their order-0 entropy. What is packed
 * has just been read, as by the network that made it; the rest of the caches is
 * as the one before left them.
 * Threads: one owner.
 */
#ifndef KERF_BENCH_TENSOR_H
#define KERF_BENCH_TENSOR_H

#include "kerf/codec.h"

#include <stdbool.h>

/* Sums over tensors: bytes, and medians of the CPU time of one run. */
typedef struct kerf_tensor_score {
    size_t raw, coded;
    double encode_us, decode_us;
    double alone_us;  /* one and the other at once, with nothing in between */
    double max_error; /* in parts of the tensor's greatest |value| */
    /* zlib -6 of the steps, one byte each; of the f32 bytes where there are
     * none. */
    size_t zlib;
    double zlib_encode_us, zlib_decode_us;
    double entropy; /* bytes of the steps by order-0 entropy; 0: no steps */
} kerf_tensor_score;

/* Adds what codec id does to f32 tensor t: everything in turns, `rounds`
 * times. Errors: KERF_ENOMEM, the codec's; KERF_EMISMATCH when what comes back
 * is not within the codec's bound. */
KERF_NODISCARD kerf_err kerf_bench_tensor(kerf_tensor_score *score,
                                          kerf_codec *codec, kerf_codec_id id,
                                          const kerf_tensor *t, int rounds,
                                          kerf_detail *why);

#endif
