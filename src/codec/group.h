/*
 * group.h - small tensors whose values are alike, put together: exponents of
 * weights and of what a normalisation scales by want codes of their own.
 * Threads: pure, but for the memory that the caller gives.
 */
#ifndef KERF_CODEC_GROUP_H
#define KERF_CODEC_GROUP_H

#include "codec/words.h"

#define KERF_GROUPS_MOST 4       /* that are made */
#define KERF_GROUP_STRETCHES 512 /* more are not looked at */

/* Scratch memory for grouping, of any contents. */
typedef struct kerf_group_scratch kerf_group_scratch;
extern const size_t kerf_group_scratch_size;

/*
 * Puts each stretch of words into a group: group[0..where->count) are below the
 * result, and each number below it is there. 1: it would not pay.
 */
unsigned kerf_group(kerf_group_scratch *scratch, uint8_t *group,
                    const uint8_t *base, const kerf_where *where,
                    kerf_words_as as);

#endif
