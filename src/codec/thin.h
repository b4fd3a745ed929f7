/*
 * thin.h - small numbers of which many are the same, to few bytes: a mask that
 * says which numbers differ from the common one (usually that of zero) or, when
 * it looks better, from the number before; and what those are, or by how much
 * they differ. Both become byte blocks (coded.h): a byte of the mask is eight
 * neighbours, so that runs cost next to nothing. Layout: docs/PROTOCOL.md,
 * "Thinned numbers". Threads: pure.
 */
#ifndef KERF_CODEC_THIN_H
#define KERF_CODEC_THIN_H

#include "base/bytes.h"

/* Bytes of scratch that either way takes. */
size_t kerf_thin_scratch(size_t count);

/* Appends v[0..count). Bad: no room. */
void kerf_thin_put(kerf_wr *w, const uint8_t *v, size_t count, uint8_t common,
                   uint8_t *scratch);

/* The reverse: all that is left of r. False: it is not `count` numbers; then v
 * holds anything. */
bool kerf_thin_get(kerf_rd *r, uint8_t *v, size_t count, uint8_t *scratch);

#endif
