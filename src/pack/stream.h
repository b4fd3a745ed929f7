/*
 * stream.h - gzip, bzip2, xz and zstd, each by its own library, as one kind of
 * thing: bytes in, bytes out. Checks of the formats are verified when reading;
 * several streams one after the other are read as one, as the tools do.
 * Threads: a stream is of one thread (its library may use more).
 */
#ifndef KERF_PACK_STREAM_H
#define KERF_PACK_STREAM_H

#include "kerf/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef enum kerf_stream_kind {
    KERF_STREAM_GZIP,
    KERF_STREAM_BZ2,
    KERF_STREAM_XZ,
    KERF_STREAM_ZST,
} kerf_stream_kind;

typedef struct kerf_stream kerf_stream;

/* level: 0 is the default of Python's module (gzip 9, bz2 9, xz 6; zst 3).
 * threads: xz and zst use them. Errors: KERF_ENOMEM, KERF_EINVAL. */
KERF_NODISCARD kerf_err kerf_stream_packer(kerf_stream **out,
                                           kerf_stream_kind kind, int level,
                                           int threads);
KERF_NODISCARD kerf_err kerf_stream_unpacker(kerf_stream **out,
                                             kerf_stream_kind kind);
void kerf_stream_free(kerf_stream *s); /* accepts NULL */

/* What is moved; the stream moves both ahead. */
typedef struct kerf_flow {
    const uint8_t *in;
    size_t in_left;
    bool is_end; /* no bytes follow those of in */
    uint8_t *out;
    size_t out_left;
} kerf_flow;

/* Takes and gives what it can. *done: all is out; more of in is then an error
 * that was told before. Errors: KERF_ECORRUPT (damaged, cut short, or with
 * something else behind), KERF_ENOMEM, KERF_ETOOBIG (wants over 512 MiB). */
KERF_NODISCARD kerf_err kerf_stream_run(kerf_stream *s, kerf_flow *flow,
                                        bool *done, kerf_detail *why);

#endif
