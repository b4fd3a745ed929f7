/*
 * detect.h - finds arrays of floats in bytes of unknown structure.
 * Threads: pure.
 */
#ifndef KERF_CODEC_DETECT_H
#define KERF_CODEC_DETECT_H

#include "codec/plan.h"

#define KERF_DETECT_LEN 8192u /* bytes that are looked at, at once */

/* What data[0..KERF_DETECT_LEN) looks like: the dtype of an array (f32, f64,
 * f16 or bf16: told by where noise and exponents are), and in *phase how many
 * bytes come before the first whole element. False: none of these. */
bool kerf_detect(const uint8_t *data, kerf_dtype *dtype, unsigned *phase);

#endif
