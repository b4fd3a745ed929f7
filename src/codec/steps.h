/*
 * steps.h - floats as numbers of equal steps, and back.
 * Threads: pure.
 */
#ifndef KERF_CODEC_STEPS_H
#define KERF_CODEC_STEPS_H

#include "kerf/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The least and the greatest of some floats in an order that all bits have:
 * NaN with a sign, -Inf, ..., -0, +0, ..., Inf, NaN. */
typedef struct kerf_span {
    int32_t least, greatest; /* kerf_span_float() */
} kerf_span;

kerf_span kerf_span_of(const float *x, size_t count); /* count >= 1 */
float kerf_span_float(int32_t key);
bool kerf_span_is_finite(const kerf_span *s);

/* q = round((x - low) / step) for finite x in low .. low + most * step. */
void kerf_steps_from(uint8_t *q, const float *x, size_t count, float low,
                     float step, uint8_t most);
/* x = low + q * step */
void kerf_steps_to(float *x, const uint8_t *q, size_t count, float low,
                   float step);

#endif
