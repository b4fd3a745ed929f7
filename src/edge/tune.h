/*
 * tune.h - codec auto: which of raw, exact, f16 and q8 brings a tensor over
 * soonest. The cost of each is measured once at start and learned from then on;
 * the link's rate is what TCP has measured.
 *
 *     time = encode + bytes on the wire / rate + decode
 *
 * In blocks the three go on at the same time: the longest counts, and of the
 * others what the first and the last block take.
 *
 * q8 agrees with f32 on 99.5 % of the answers and more (docs/BENCHMARKS.md);
 * fewer bits are for people to ask for. Threads: the worker's.
 */
#ifndef KERF_EDGE_TUNE_H
#define KERF_EDGE_TUNE_H

#include "kerf/codec.h"

typedef struct kerf_cost {
    double encode_ns, decode_ns; /* per byte of f32 */
    double ratio;                /* blob / f32 */
} kerf_cost;

typedef struct kerf_tune {
    kerf_cost cost[KERF_CODEC_Q8 + 1];
} kerf_tune;

/* Takes some 3 ms. Errors: KERF_ENOMEM, the codec's. */
KERF_NODISCARD kerf_err kerf_tune_measure(kerf_tune *tune, kerf_codec *codec);

/* The codec for a tensor of so many bytes among those in `codecs` (a bit each).
 * rate: bytes per second; 0: not known yet, which is raw. share: of a block in
 * the tensor; 1: it is one. */
kerf_codec_id kerf_tune_pick(const kerf_tune *tune, uint32_t codecs,
                             size_t bytes, uint64_t rate, double share);

/* What encoding took. */
void kerf_tune_learn(kerf_tune *tune, kerf_codec_id id, size_t bytes,
                     size_t coded, uint64_t ns);

#endif
