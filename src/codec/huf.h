/*
 * huf.h - blocks of bytes by Huffman codes of at most 11 bits, in four streams
 * that a core decodes side by side. Format: docs/FORMAT.md, "Byte block".
 *
 * Made for bytes that are skewed but do not repeat as strings: exponents of
 * floats, quantised activations. A block says itself whether it is coded,
 * stored (when coding would not pay) or one repeated byte.
 * Threads: pure; some 40 KB of stack, nothing is allocated.
 */
#ifndef KERF_CODEC_HUF_H
#define KERF_CODEC_HUF_H

#include <stddef.h>
#include <stdint.h>

#define KERF_HUF_MOST 65536u /* bytes in a block, before coding */

/* What kerf_huf_encode() may write to for n bytes: it returns at most n + 1,
 * but it stores eight at a time. */
#define KERF_HUF_ROOM(n) ((n) + 16)

/* Encodes in[0..n), 1 <= n <= KERF_HUF_MOST, into out[0..KERF_HUF_ROOM(n)),
 * which does not overlap it. Returns the bytes of the block, <= n + 1. */
size_t kerf_huf_encode(uint8_t *out, const uint8_t *in, size_t n);

/*
 * Decodes the block that fills in[0..len) and stands for n bytes. Returns where
 * these are: in the block itself when it is stored (nothing is copied then),
 * else out, which has room for n. NULL: the block is damaged, or is not one of
 * n bytes (n of 0 or over KERF_HUF_MOST: always). Any in and len are safe.
 */
const uint8_t *kerf_huf_decode(uint8_t *out, size_t n, const uint8_t *in,
                               size_t len);

#endif
