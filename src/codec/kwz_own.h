/*
 * kwz_own.h - numbers of the container that writing and reading share.
 * Threads: values.
 */
#ifndef KERF_CODEC_KWZ_OWN_H
#define KERF_CODEC_KWZ_OWN_H

#include "base/hash.h"
#include "codec/kwz.h"

#include <string.h>

/* The first byte of a record: a kerf_block_kind, with KWZ_LAST on a file's
 * last block, or one of these. */
enum {
    KWZ_FILE = 0x10,
    KWZ_SUM = 0x20,
    KWZ_INDEX = 0x30,
    KWZ_LAST = 0x80,
};

#define KWZ_CHECK_LEN 4
#define KWZ_SUM_LEN 16     /* u64 length of the file, u64 hash of hashes */
#define KWZ_TRAILER_LEN 12 /* u64 where the INDEX begins, "KWZX" */
#define KWZ_TRAILER "KWZX"

/* Takes what is before a block's data; false: there is not enough, or it is no
 * block. Offset and data are left empty. */
bool kerf_kwz_block_head(kerf_rd *r, kerf_kwz_block *b);

/* The hash of a file's hashes, block by block. */
static inline uint64_t
kwz_chain(uint64_t chain, uint64_t hash)
{
    uint8_t bytes[16];
    kerf_wr w = {.at = bytes, .left = sizeof bytes};

    kerf_wr_u64(&w, chain);
    kerf_wr_u64(&w, hash);
    return kerf_xxh3(bytes, sizeof bytes);
}

#endif
