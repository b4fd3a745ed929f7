/*
 * spread.h - the numbers of planes whose rounding errors cancel out nearby.
 *
 * What rounding takes from one value is handed on, a quarter to the value after
 * it and half to the one below it, as in the halftones of print. The errors of
 * a neighbourhood then add up to little. That is what a network asks for: its
 * convolutions and poolings sum neighbours, so that it hardly sees errors that
 * alternate, but one that a whole region shares moves its answer
 * (docs/BENCHMARKS.md). Zeros stay zeros.
 * Buffers only. Threads: pure.
 */
#ifndef KERF_CODEC_SPREAD_H
#define KERF_CODEC_SPREAD_H

#include "codec/scales.h"

/* Floats of scratch for planes so wide. */
size_t kerf_spread_scratch(size_t width);

/*
 * q = (x + what neighbours left over) / step + zero, rounded, for `planes`
 * planes of rows x width finite values with the spans and the steps of
 * kerf_scales_choose(). A value is at most 7/8 of a step off; plain rounding
 * is at most half of one. A step of 0: the plane is all zero.
 */
void kerf_spread(uint8_t *q, const float *x, size_t planes, size_t rows,
                 size_t width, const kerf_scales *s, const float *step,
                 const kerf_span *span, float *scratch);

#endif
