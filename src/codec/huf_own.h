/*
 * huf_own.h - what coding (huf_encode.c) and decoding (huf_decode.c) of a byte
 * block share. Threads: values.
 */
#ifndef KERF_CODEC_HUF_OWN_H
#define KERF_CODEC_HUF_OWN_H

#include "codec/huf.h"

#include <stdbool.h>

#define HUF_BITS 11 /* longest code */
#define HUF_STREAMS 4
#define HUF_HEAD_LEN                                        \
    (1 + 2 * (HUF_STREAMS - 1)) /* without the code lengths \
                                 */

/* The first byte of a block. */
enum huf_form { HUF_STORED = 0, HUF_RUN = 1, HUF_CODED = 2 };

/*
 * The code lengths of the symbols 0, 1, 2 ..., as 4-bit values, the upper half
 * of a byte first: a length itself, or
 */
enum huf_nibble {
    HUF_ABSENT = 0,     /* one symbol without a code */
    HUF_ABSENT_4 = 12,  /* then r (4 bits): 2 + r symbols without a code */
    HUF_ABSENT_8 = 13,  /* then r (8 bits): 18 + r of them */
    HUF_LIKE_LAST = 14, /* then r (4 bits): 3 + r more of the last length */
    HUF_END = 15,       /* no more codes */
};

/* Long blocks are judged by HUF_SAMPLE_RUNS runs of bytes from all over them,
 * HUF_SAMPLES together; true: codes would gain little: 0.2 bits at most. */
#define HUF_SAMPLES 1024
#define HUF_SAMPLE_RUNS 16
bool kerf_huf_is_noise(const uint16_t count[256]);

/* Symbols in the first three streams of n; the last has what is left. */
static inline size_t
huf_share(size_t n)
{
    return (n + HUF_STREAMS - 1) / HUF_STREAMS;
}

#endif
