/*
 * block.h - one block of a file (plan.h) to bytes and back. Blocks do not need
 * each other, except those that say they are the same as an earlier one.
 * Format: docs/FORMAT.md, "Block".
 *
 * Threads: a kerf_block_coder has scratch memory; give each thread its own.
 */
#ifndef KERF_CODEC_BLOCK_H
#define KERF_CODEC_BLOCK_H

#include "codec/plan.h"

#include <stdbool.h>

/* In the file: never renumber. */
typedef enum kerf_block_kind {
    KERF_BLOCK_STORED = 1,
    KERF_BLOCK_ZSTD = 2,
    KERF_BLOCK_WORDS = 3,
    KERF_BLOCK_DEFLATE = 4,
} kerf_block_kind;

typedef struct kerf_block_coder kerf_block_coder;

/* Errors: KERF_ENOMEM. */
KERF_NODISCARD kerf_err kerf_block_coder_new(kerf_block_coder **out);
void kerf_block_coder_free(kerf_block_coder *bc); /* accepts NULL */

/* What kerf_block_encode() may write to for block number i, little more than
 * its bytes. */
size_t kerf_block_room(const kerf_plan *plan, size_t i);
/* Of all blocks before number i together. */
size_t kerf_block_room_before(const kerf_plan *plan, size_t i);
/* The most of all blocks. */
size_t kerf_block_room_most(const kerf_plan *plan);

/* Encodes block number i of the plan, made of data, into
 * out[0..kerf_block_room()). Returns the bytes written, which are fewer
 * than the block's, or as many and *kind is KERF_BLOCK_STORED.
 * level: 1 (fast) to 9 (small). */
size_t kerf_block_encode(kerf_block_coder *bc, uint8_t *out,
                         const kerf_plan *plan, size_t i, const uint8_t *data,
                         int level, kerf_block_kind *kind);

/* Brings len bytes of the same file that were decoded before; false: cannot. */
typedef bool kerf_recall(void *ctx, uint64_t offset, uint8_t *to, size_t len);

/* Whether decoding will need kerf_recall. */
bool kerf_block_is_same(kerf_block_kind kind, const uint8_t *in, size_t in_len);

/* Decodes what fills in[0..in_len) to exactly len <= KERF_BLOCK_MOST bytes at
 * out. offset: of the block in its file. recall may be NULL: blocks that need
 * it are then KERF_ENOTSUP. Errors: KERF_ECORRUPT, KERF_ENOMEM; out then holds
 * anything. */
KERF_NODISCARD kerf_err kerf_block_decode(kerf_block_coder *bc, uint8_t *out,
                                          size_t len, kerf_block_kind kind,
                                          const uint8_t *in, size_t in_len,
                                          uint64_t offset, kerf_recall *recall,
                                          void *ctx);

#endif
