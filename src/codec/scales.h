/*
 * scales.h - steps for the channels of a tensor, around one zero.
 *
 * Equal bits for each channel waste them on wide channels; equal steps crush
 * narrow ones, which the tail may weigh most. The step here goes with the
 * square root of a channel's range, which lies between: on real networks it
 * loses least for its bytes (docs/BENCHMARKS.md). All channels have zero at the
 * same number, so that zeros stay zeros and look alike to the entropy coder.
 * Threads: pure.
 */
#ifndef KERF_CODEC_SCALES_H
#define KERF_CODEC_SCALES_H

#include "codec/steps.h"

typedef struct kerf_scales {
    uint8_t zero; /* the number of 0 */
    uint8_t most; /* no number is greater */
} kerf_scales;

/*
 * Steps of `groups` groups of finite values, of which the spans are known:
 * step[g] = sqrt(r * mean r) / per_range, r = range of the group with 0, but at
 * least r / 254; rounded up to the upper 16 bits of a float. 0: a group of
 * zeros alone. value = (number - zero) * step. False: offsets are needed,
 * because groups are narrow and far from 0, or 256 numbers do not reach, or
 * ranges are beyond what floats divide by.
 */
bool kerf_scales_choose(kerf_scales *s, float *step, const kerf_span *span,
                        size_t groups, double per_range);

/* x rounded up to a float whose lower 16 bits are 0. */
float kerf_step_short(float x);

/* Steps are of floats whose differences and their inverses are floats. */
#define KERF_RANGE_LEAST 1e-30
#define KERF_RANGE_MOST 1e+37

#endif
