/*
 * exact_own.h - what writing (exact_put.c) and reading (exact_get.c) of floats
 * share. Threads: values.
 */
#ifndef KERF_CODEC_EXACT_OWN_H
#define KERF_CODEC_EXACT_OWN_H

#include "codec/cpu.h"
#include "codec/exact.h"

#define EXACT_PAD ((size_t)64) /* behind each part of the scratch */
#define EXACT_ROW_LEAST 8      /* what is above is of another vector */
#define EXACT_MANTISSA 7       /* bits of it in the upper half of a float */

enum exact_flags {
    EXACT_SAME = 1,       /* a mask of those that differ from the one before */
    EXACT_ABOVE = 2,      /* ... and of these, from the one above */
    EXACT_SIGNS = 4,      /* literals have signs */
    EXACT_MORE_SHIFT = 4, /* 2 bits: bits of the mantissa in the symbol */
    EXACT_MOST = 3 << EXACT_MORE_SHIFT | 7,
};

/* What the upper half of a literal is made of. */
struct exact_form {
    bool same, above;
    unsigned top;  /* exponent */
    unsigned more; /* bits of the mantissa that are in the symbol */
    unsigned rest; /* bits beside it: the sign, if any, and the others */
};

/* Where the parts are in the scratch. */
struct exact_parts {
    uint16_t *upper; /* halves of literals */
    uint8_t *symbol, *beside;
    uint8_t *same, *above, *zero; /* masks, lowest bit first */
};

KERF_INLINE struct exact_form
exact_form_of(unsigned flags, unsigned top)
{
    struct exact_form f = {.same = (flags & EXACT_SAME) != 0,
                           .above = (flags & EXACT_ABOVE) != 0,
                           .top = top,
                           .more = flags >> EXACT_MORE_SHIFT};

    f.rest = EXACT_MANTISSA - f.more + ((flags & EXACT_SIGNS) != 0);
    return f;
}

struct exact_parts kerf_exact_lay_out(uint8_t *scratch, size_t count);

/* Bytes of the bits beside the symbols of so many literals. */
KERF_INLINE size_t
exact_rest_len(const struct exact_form *f, size_t literals)
{
    return (literals + 7) / 8 * f->rest;
}

#define EACH_BYTE UINT64_C(0x0101010101010101)
#define LANES UINT64_C(0x0706050403020100) /* a byte each */

/* The word before x[i], and the one above; 0 where there is none. */
KERF_INLINE uint32_t
exact_word(const float *x, size_t i, size_t back)
{
    return i < back ? 0 : kerf_float_bits(x[i - back]);
}

#endif
