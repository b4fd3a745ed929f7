#include "codec/split.h"

#include "codec/cpu.h"
#include "codec/halves.h"
#include "tensor/half.h"

#include <string.h>

#define GROUP 256 /* halves at a time */

size_t
kerf_split_width(kerf_split_form form)
{
    return form == KERF_SPLIT_F32 ? 3 : 1;
}

KERF_INLINE void
to_halves(kerf_split_form form, uint16_t *h, const float *x, size_t count)
{
    if (form == KERF_SPLIT_F16) {
        kerf_halves_from(h, x, count);
        return;
    }
    for (size_t i = 0; i < count; i++)
        h[i] = kerf_f32_to_bf16(x[i]);
}

/* What a word of the form is made of. */
KERF_INLINE unsigned
exponent_of(kerf_split_form form, uint32_t w)
{
    return form == KERF_SPLIT_F32   ? w >> 23 & 255
           : form == KERF_SPLIT_F16 ? w >> 10 & 31
                                    : w >> 7 & 255;
}

KERF_INLINE uint32_t
rest_of(kerf_split_form form, uint32_t w)
{
    return form == KERF_SPLIT_F32   ? (w >> 8 & 0x800000) | (w & 0x7fffff)
           : form == KERF_SPLIT_F16 ? w & 0xff
                                    : (w >> 8 & 0x80) | (w & 0x7f);
}

/* Splits words of one group, of which the greatest exponent is known. */
KERF_INLINE unsigned
split_words(kerf_split_form form, const uint32_t *w, size_t count, unsigned top,
            uint8_t *number, uint8_t **rest, unsigned *over)
{
    size_t width = kerf_split_width(form);
    uint8_t *at = *rest;
    unsigned most = 0;

    for (size_t i = 0; i < count; i++) {
        uint32_t word = w[i];
        uint32_t r = rest_of(form, word);
        unsigned down = top - exponent_of(form, word) + 1;

        if (form == KERF_SPLIT_F16)
            down = down << 3 | (word >> 13 & 4) | (word >> 8 & 3);
        if (word == 0)
            down = 0;
        number[i] = (uint8_t)down;
        *over |= down >> 8;
        most = down > most ? down : most;
        if (form == KERF_SPLIT_F32)
            memcpy(at, &r, sizeof r); /* the fourth byte is room */
        else
            *at = (uint8_t)r;
        at += word == 0 ? 0 : width;
    }
    *rest = at;
    return most;
}

KERF_INLINE void
load_words(kerf_split_form form, uint32_t *w, const float *x, size_t count)
{
    uint16_t h[GROUP];

    if (form == KERF_SPLIT_F32) {
        memcpy(w, x, count * sizeof *w);
        return;
    }
    to_halves(form, h, x, count);
    for (size_t i = 0; i < count; i++)
        w[i] = h[i];
}

KERF_INLINE bool
split(kerf_split_form form, const float *x, size_t count, uint8_t *number,
      uint8_t *rest, uint8_t *top, uint8_t *most, size_t *rest_len)
{
    uint32_t w[GROUP];
    uint8_t *at = rest;
    unsigned highest = 0;
    unsigned greatest = 0;
    unsigned over = 0;

    for (size_t i = 0; i < count; i += GROUP) {
        size_t n = count - i < GROUP ? count - i : GROUP;

        load_words(form, w, x + i, n);
        for (size_t k = 0; k < n; k++) {
            unsigned e = exponent_of(form, w[k]);

            highest = e > highest ? e : highest;
        }
    }
    for (size_t i = 0; i < count; i += GROUP) {
        size_t n = count - i < GROUP ? count - i : GROUP;
        unsigned m;

        load_words(form, w, x + i, n);
        m = split_words(form, w, n, highest, number + i, &at, &over);
        greatest = m > greatest ? m : greatest;
    }
    *top = (uint8_t)highest;
    *most = (uint8_t)greatest;
    *rest_len = (size_t)(at - rest);
    return over == 0;
}

bool
kerf_split(kerf_split_form form, const float *x, size_t count, uint8_t *number,
           uint8_t *rest, uint8_t *top, uint8_t *most, size_t *rest_len)
{
    switch (form) {
    case KERF_SPLIT_F32:
        return split(KERF_SPLIT_F32, x, count, number, rest, top, most,
                     rest_len);
    case KERF_SPLIT_F16:
        return split(KERF_SPLIT_F16, x, count, number, rest, top, most,
                     rest_len);
    default:
        return split(KERF_SPLIT_BF16, x, count, number, rest, top, most,
                     rest_len);
    }
}

/* The word of one number; 0 stands for zero, and its rest is not looked at. */
KERF_INLINE uint32_t
join_word(kerf_split_form form, unsigned top, unsigned number, uint32_t rest)
{
    unsigned exponent;

    if (form == KERF_SPLIT_F16) {
        exponent = (top + 1 - (number >> 3)) & 31;
        return (number & 4) << 13 | exponent << 10 | (number & 3) << 8 | rest;
    }
    exponent = (top + 1 - number) & 255;
    if (form == KERF_SPLIT_F32)
        return (rest & 0x800000) << 8 | exponent << 23 | (rest & 0x7fffff);
    return (rest & 0x80) << 8 | exponent << 7 | (rest & 0x7f);
}

KERF_INLINE void
join(kerf_split_form form, unsigned top, const uint8_t *number, size_t count,
     const uint8_t *rest, float *x)
{
    size_t width = kerf_split_width(form);
    uint16_t h[GROUP];

    for (size_t i = 0; i < count; i += GROUP) {
        size_t n = count - i < GROUP ? count - i : GROUP;

        for (size_t k = 0; k < n; k++) {
            uint32_t r = *rest;
            uint32_t w;

            if (form == KERF_SPLIT_F32) {
                memcpy(&r, rest, sizeof r);
                r &= 0xffffff;
            }
            w = number[i + k] == 0 ? 0 : join_word(form, top, number[i + k], r);
            rest += number[i + k] == 0 ? 0 : width;
            if (form == KERF_SPLIT_F32)
                memcpy(x + i + k, &w, sizeof w);
            else if (form == KERF_SPLIT_F16)
                h[k] = (uint16_t)w;
            else
                x[i + k] = kerf_bf16_to_f32((uint16_t)w);
        }
        if (form == KERF_SPLIT_F16)
            kerf_halves_to(x + i, h, n);
    }
}

bool
kerf_split_join(kerf_split_form form, uint8_t top, const uint8_t *number,
                size_t count, const uint8_t *rest, size_t rest_len, float *x)
{
    unsigned shift = form == KERF_SPLIT_F16 ? 3 : 0;
    unsigned most = 0;
    size_t zeros = 0;

    for (size_t i = 0; i < count; i++) {
        most = number[i] > most ? number[i] : most;
        zeros += number[i] == 0;
    }
    if (most >> shift > top + 1u ||
        (count - zeros) * kerf_split_width(form) != rest_len)
        return false;
    switch (form) {
    case KERF_SPLIT_F32:
        join(KERF_SPLIT_F32, top, number, count, rest, x);
        break;
    case KERF_SPLIT_F16:
        join(KERF_SPLIT_F16, top, number, count, rest, x);
        break;
    case KERF_SPLIT_BF16:
        join(KERF_SPLIT_BF16, top, number, count, rest, x);
        break;
    }
    return true;
}
