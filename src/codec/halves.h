/*
 * halves.h - many floats to 16 bits and back: tensor/half.h for arrays, by the
 * CPU's own instructions where it has them.
 * Threads: pure.
 */
#ifndef KERF_CODEC_HALVES_H
#define KERF_CODEC_HALVES_H

#include <stddef.h>
#include <stdint.h>

void kerf_halves_from(uint16_t *h, const float *x, size_t count);
void kerf_halves_to(float *x, const uint16_t *h, size_t count);

#endif
