/*
 * exact.h - floats to fewer bytes, every bit of them: what is 0, like the one
 * before or like the one above takes a bit or less (the last two only where
 * enough are); of the others the exponent is coded (coded.h), and the rest,
 * which is noise, is kept as it is. Layout: docs/PROTOCOL.md, "Tensor blobs".
 * Threads: pure.
 */
#ifndef KERF_CODEC_EXACT_H
#define KERF_CODEC_EXACT_H

#include "base/bytes.h"

/* Bytes of scratch that either way takes. */
size_t kerf_exact_scratch(size_t count);

/* Appends x[0..count), rows of `width` (0: there are none). Bad: no room. */
void kerf_exact_put(kerf_wr *w, const float *x, size_t count, size_t width,
                    uint8_t *scratch);

/* The reverse: all that is left of r. False: it is not `count` floats; then x
 * holds anything. */
bool kerf_exact_get(kerf_rd *r, float *x, size_t count, uint8_t *scratch);

#endif
