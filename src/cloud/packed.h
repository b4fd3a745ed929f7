/*
 * packed.h - a file as blocks ready to be shipped packed: made once, when the
 * model is loaded, for all edges. What does not get smaller goes as it is.
 * Threads: made by one, then read by any.
 */
#ifndef KERF_CLOUD_PACKED_H
#define KERF_CLOUD_PACKED_H

#include "codec/block.h"

#include <stddef.h>
#include <stdint.h>

typedef struct kerf_packed_block {
    uint64_t offset; /* in the file */
    uint32_t len, data_len;
    uint8_t kind;  /* kerf_block_kind */
    uint8_t *data; /* owned; NULL: these bytes go as they are */
} kerf_packed_block;

/* Zeroed: nothing is packed. */
typedef struct kerf_packed {
    kerf_packed_block *block; /* owned; they cover the file in order */
    size_t count;
} kerf_packed;

/* Packs data[0..len); nothing when that saves less than 2 %. Errors:
 * KERF_ENOMEM; *out is then empty. */
KERF_NODISCARD kerf_err kerf_packed_make(kerf_packed *out, const uint8_t *data,
                                         size_t len);
void kerf_packed_fini(kerf_packed *packed); /* zeroes it */

/* The block that byte `at` is in; NULL: nothing is packed, or behind it. */
const kerf_packed_block *kerf_packed_at(const kerf_packed *packed, uint64_t at);

#endif
