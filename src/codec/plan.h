/*
 * plan.h - divides a file into the blocks that are packed one by one. Each is
 * of equally wide words, as of one big tensor or several small ones with what
 * is between them, or of any bytes.
 *
 * Threads: values.
 */
#ifndef KERF_CODEC_PLAN_H
#define KERF_CODEC_PLAN_H

#include "codec/words.h"
#include "tensor/segment.h"

#include <stddef.h>
#include <stdint.h>

/* The longest block, before packing. Words stop at KERF_WORDS_BYTES_MOST; long
 * ones of other bytes give zstd something to look back to. */
#define KERF_BLOCK_MOST ((size_t)4 << 20)

typedef struct kerf_block {
    size_t offset, len; /* in the file, bytes; len <= KERF_BLOCK_MOST */
    kerf_words_as as;   /* width 0: any bytes, no stretches */
    size_t stretch_first, stretch_count;
    size_t same_as; /* offset of bytes before it that are equal to its words,
                       which are then the first stretch, without a gap, and
                       the only one with words; its own offset: none */
} kerf_block;

/* Zeroed: empty. */
typedef struct kerf_plan {
    kerf_block *block;
    size_t block_count, block_room;
    kerf_stretch *stretch;
    size_t stretch_count, stretch_room;
    bool is_weights; /* nearly all: what else there is need not be small */
} kerf_plan;

/*
 * Fills plan with blocks that cover data[0..len) in order. segments: in
 * ascending order; one that overlaps the one before, ends behind len or is of
 * unknown dtype is taken as other bytes. Other bytes of some length are looked
 * at for arrays of floats in them (detect.h).
 * Errors: KERF_ENOMEM; plan is then to be finished, too.
 */
KERF_NODISCARD kerf_err kerf_plan_make(kerf_plan *plan, const uint8_t *data,
                                       size_t len, const kerf_segment *segments,
                                       size_t segment_count);
void kerf_plan_fini(kerf_plan *plan); /* zeroes it */

#endif
