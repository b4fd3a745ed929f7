/*
 * codec_id.h - how a tensor is packed: what stands for each way on the wire and
 * on the command line. What they do: codec.h. Threads: pure.
 */
#ifndef KERF_CODEC_ID_H
#define KERF_CODEC_ID_H

#include "kerf/err.h"

#include <stdbool.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Sent on the wire: append, never renumber. */
typedef enum kerf_codec_id {
    KERF_CODEC_RAW = 0,   /* the bytes as they are */
    KERF_CODEC_EXACT = 1, /* lossless: exponents coded, zeros left out */
    KERF_CODEC_F16 = 2,   /* rounded to binary16, then as EXACT */
    KERF_CODEC_BF16 = 3,  /* rounded to bfloat16, then as EXACT */
    KERF_CODEC_Q8 = 4,    /* 2^8 steps from the least to the greatest value */
    KERF_CODEC_Q7 = 5,
    KERF_CODEC_Q6 = 6,
    KERF_CODEC_Q5 = 7,
    KERF_CODEC_Q4 = 8,
    KERF_CODEC_Q3 = 9,
    KERF_CODEC_Q2 = 10,
    KERF_CODEC_Q8C = 11, /* the same with steps of its own per channel */
    KERF_CODEC_Q7C = 12,
    KERF_CODEC_Q6C = 13,
    KERF_CODEC_Q5C = 14,
    KERF_CODEC_Q4C = 15,
    KERF_CODEC_Q3C = 16,
    KERF_CODEC_Q2C = 17,
    KERF_CODEC_Q8S = 18, /* ... and rounding errors spread over neighbours */
    KERF_CODEC_Q7S = 19,
    KERF_CODEC_Q6S = 20,
    KERF_CODEC_Q5S = 21,
    KERF_CODEC_Q4S = 22,
    KERF_CODEC_Q3S = 23,
    KERF_CODEC_Q2S = 24,
    KERF_CODEC_COUNT
} kerf_codec_id;

/* All codecs of this build, as the bits of HELLO and WELCOME. */
#define KERF_CODECS_ALL ((UINT32_C(1) << KERF_CODEC_COUNT) - 1)

KERF_API const char *kerf_codec_name(uint8_t id); /* "q8c"; "?": unknown */
KERF_API bool kerf_codec_from_name(const char *name, kerf_codec_id *out);

#ifdef __cplusplus
}
#endif
#endif
