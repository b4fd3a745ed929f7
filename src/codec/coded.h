/*
 * coded.h - any number of bytes as byte blocks (huf.h), one behind the other.
 * Each stands for 65536 bytes, the last for what is left, and has its length
 * less 2 as u16 before it. Threads: pure.
 */
#ifndef KERF_CODEC_CODED_H
#define KERF_CODEC_CODED_H

#include "base/bytes.h"

/* Appends v[0..n). Bad: no room. spare, KERF_HUF_ROOM() bytes of n or of a
 * block, is used when there may be too little; NULL: there is enough, or it
 * does not matter. */
void kerf_coded_put(kerf_wr *w, const uint8_t *v, size_t n, uint8_t *spare);

/* Takes n bytes. Returns where they are: in out[0..n), or in the input when
 * they stand there as they are. NULL: they do not. */
const uint8_t *kerf_coded_get(kerf_rd *r, uint8_t *out, size_t n);

#endif
