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
#define HUF_LEAST_CODED 32 /* less does not pay for its code lengths */
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

struct huf_code {
    uint16_t bits, len; /* len 0: the symbol has none */
};

/* Where a stream is being written: of acc the lowest `bits` are not yet. */
struct huf_end {
    uint8_t *at;
    uint64_t acc;
    unsigned bits; /* 0 to 7 between calls */
};

/* Symbols by the lengths of their codes, as codes are given out. */
struct huf_order {
    uint16_t with[HUF_BITS + 1]; /* symbols with this length */
    uint8_t symbol[256];         /* by length, then by value */
    size_t n;
};

/* No length is over HUF_BITS; 0: the symbol has no code. */
void kerf_huf_order(struct huf_order *o, const uint8_t len[256]);

/* huf_vector.c: codes of fewer than 64 symbols near each other (and of symbol
 * 0), by what a symbol is over the base. */
struct huf_rows {
    uint8_t base;
    bool few; /* symbols: fewer than 32 */
    uint8_t len[64], low[64], high[64];
};

/* False: these codes or this machine are not such. */
bool kerf_huf_rows(struct huf_rows *t, const struct huf_code code[256]);
/* Appends the codes of in[0..result), the most of n that can be; 8 bytes behind
 * the end may be written to. */
size_t kerf_huf_put_rows(struct huf_end *end, const uint8_t *in, size_t n,
                         const struct huf_rows *t);

/* Adds what symbols are in in[0..result), the most of n that can be, to count;
 * 0: the sample, of HUF_SAMPLES, is not of few symbols near each other, or this
 * machine cannot. */
size_t kerf_huf_count_near(uint32_t count[256], const uint8_t *in, size_t n,
                           const uint16_t sample[256]);

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
