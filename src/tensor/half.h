/*
 * half.h - IEEE 754 binary16 and bfloat16 to and from float.
 * Rounding to nearest, ties to even; NaN stays NaN. Threads: pure.
 */
#ifndef KERF_TENSOR_HALF_H
#define KERF_TENSOR_HALF_H

#include <stdint.h>

float kerf_f16_to_f32(uint16_t h);
uint16_t kerf_f32_to_f16(float f);
float kerf_bf16_to_f32(uint16_t h);
uint16_t kerf_f32_to_bf16(float f);

#endif
