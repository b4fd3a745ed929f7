/*
 * words.h - a run of equally wide words, as of one tensor, to bytes and back
 * without loss, by the smallest of: planes (plane.h) by Huffman, a dictionary
 * of repeated values, a grid (of all, or of each column), zstd, deflate,
 * stored. Format: docs/FORMAT.md, "Words".
 *
 * Threads: a coder owns scratch memory: 0.1 MB for planes of f32, about 3 MB
 * once other ways are tried; give each thread its own.
 */
#ifndef KERF_CODEC_WORDS_H
#define KERF_CODEC_WORDS_H

#include "codec/lz.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define KERF_WORDS_MOST 65536u /* words in a run */
#define KERF_WORDS_BYTES_MOST ((size_t)KERF_WORDS_MOST * 8)

/* What kerf_words_encode() may write to for len bytes of words; it returns at
 * most len + 1. */
#define KERF_WORDS_ROOM(len) ((len) + 256)

typedef struct kerf_coder kerf_coder;

/* lz must outlive it. Errors: KERF_ENOMEM. */
KERF_NODISCARD kerf_err kerf_coder_new(kerf_coder **out, kerf_lz *lz);
void kerf_coder_free(kerf_coder *coder); /* accepts NULL */

/* How words are looked at. */
typedef struct kerf_words_as {
    unsigned width;   /* bytes of a word: 1, 2, 4 or 8 */
    bool rotated;     /* floats: the exponent is turned to the top byte */
    uint32_t columns; /* encoding: of a kerf_segment, or 0 */
} kerf_words_as;

/* Bytes of something else, then bytes of words. */
typedef struct kerf_stretch {
    uint32_t gap, words;
} kerf_stretch;

/* Where words are: in stretches that follow each other, each a multiple of the
 * width. They need no alignment. */
typedef struct kerf_where {
    const kerf_stretch *stretch;
    size_t count;
    size_t len; /* bytes of words in all */
} kerf_where;

/* Encodes the words of the stretches that begin at base, 1 to KERF_WORDS_MOST,
 * into out[0..KERF_WORDS_ROOM(where->len)). level: of zstd, where that is
 * tried. Returns the bytes written. */
size_t kerf_words_encode(kerf_coder *coder, uint8_t *out, const uint8_t *base,
                         const kerf_where *where, kerf_words_as as, int level);

/* Decodes what fills in[0..in_len) to exactly the words of the stretches that
 * begin at base; the gaps stay as they are.
 * Errors: KERF_ECORRUPT, KERF_ENOMEM; the words are then anything. */
KERF_NODISCARD kerf_err kerf_words_decode(kerf_coder *coder, uint8_t *base,
                                          const kerf_where *where,
                                          kerf_words_as as, const uint8_t *in,
                                          size_t in_len);

/* The words one after the other, and back. */
void kerf_words_gather(uint8_t *to, const uint8_t *base,
                       const kerf_where *where);
void kerf_words_scatter(uint8_t *base, const kerf_where *where,
                        const uint8_t *words);

#endif
