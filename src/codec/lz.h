/*
 * lz.h - any bytes by what repeats in them: zstd and deflate without what a
 * block of a .kwz says already. Format: docs/FORMAT.md, "Block".
 * Threads: a kerf_lz has scratch memory; give each thread its own.
 */
#ifndef KERF_CODEC_LZ_H
#define KERF_CODEC_LZ_H

#include "kerf/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct kerf_lz kerf_lz;

/* Errors: KERF_ENOMEM. */
KERF_NODISCARD kerf_err kerf_lz_new(kerf_lz **out);
void kerf_lz_free(kerf_lz *lz); /* accepts NULL */

/* More than the result that out needs room for, in the worst case. */
#define KERF_ZSTD_HEAD 18

/* The blocks of a zstd frame, without its head. Returns the bytes of it, 0 when
 * with KERF_ZSTD_HEAD they would be more than room. */
size_t kerf_zstd_encode(kerf_lz *lz, uint8_t *out, size_t room,
                        const uint8_t *in, size_t len, int level);
/* in[0..in_len) stands for exactly len bytes, then at out. Errors:
 * KERF_ECORRUPT, KERF_ENOMEM. */
KERF_NODISCARD kerf_err kerf_zstd_decode(kerf_lz *lz, uint8_t *out, size_t len,
                                         const uint8_t *in, size_t in_len);

/* A raw deflate stream (RFC 1951) as gzip -9 makes it; 0: more than room. */
size_t kerf_deflate_encode(uint8_t *out, size_t room, const uint8_t *in,
                           size_t len);
KERF_NODISCARD kerf_err kerf_deflate_decode(uint8_t *out, size_t len,
                                            const uint8_t *in, size_t in_len);

#endif
