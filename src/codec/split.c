#include "codec/split.h"

#include "codec/cpu.h"
#include "codec/halves.h"

#include <string.h>

#define GROUP 256 /* halves at a time */

/* What a word of the form is made of. */
KERF_INLINE unsigned
exponent_of(kerf_split_form form, uint32_t w)
{
    return form == KERF_SPLIT_F16 ? w >> 10 & 31 : w >> 7 & 255;
}

KERF_INLINE uint32_t
rest_of(kerf_split_form form, uint32_t w)
{
    return form == KERF_SPLIT_F16 ? w & 0xff : (w >> 8 & 0x80) | (w & 0x7f);
}

/* All ones for a number that is not 0: half of them are, at random, so that
 * branches would be guessed wrong. */
KERF_INLINE uint32_t
mask_of(uint32_t number)
{
    return (uint32_t)0 - (number != 0);
}

/* Splits words of one group, of which the greatest exponent is known. Returns
 * the greatest number, which is over 255 when it does not fit. */
KERF_INLINE unsigned
split_words(kerf_split_form form, const uint32_t *restrict w, size_t count,
            unsigned top, uint8_t *restrict number, uint8_t **rest)
{
    uint32_t r[GROUP];
    uint8_t *at = *rest;
    unsigned most = 0;

    for (size_t i = 0; i < count; i++) {
        uint32_t word = w[i];
        unsigned down = top - exponent_of(form, word) + 1;

        if (form == KERF_SPLIT_F16)
            down = down << 3 | (word >> 13 & 4) | (word >> 8 & 3);
        down &= mask_of(word);
        number[i] = (uint8_t)down;
        most = down > most ? down : most;
        r[i] = rest_of(form, word);
    }
    for (size_t i = 0; i < count; i++) {
        *at = (uint8_t)r[i];
        at += w[i] != 0;
    }
    *rest = at;
    return most;
}

KERF_INLINE void
load_words(kerf_split_form form, uint32_t *restrict w, const float *restrict x,
           size_t count)
{
    uint16_t h[GROUP];

    if (form == KERF_SPLIT_F16) {
        kerf_halves_from(h, x, count);
        for (size_t i = 0; i < count; i++)
            w[i] = h[i];
        return;
    }
    memcpy(w, x, count * sizeof *w);
    /* kerf_f32_to_bf16() of what is not NaN, in line for vectors */
    for (size_t i = 0; i < count; i++)
        w[i] = (w[i] + 0x7fff + (w[i] >> 16 & 1)) >> 16;
}

KERF_INLINE bool
split(kerf_split_form form, const float *x, size_t count, uint8_t *number,
      uint8_t *rest, uint8_t *top, uint8_t *most, size_t *rest_len)
{
    uint32_t w[GROUP];
    uint8_t *at = rest;
    unsigned highest = 0;
    unsigned greatest = 0;

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
        m = split_words(form, w, n, highest, number + i, &at);
        greatest = m > greatest ? m : greatest;
    }
    *top = (uint8_t)highest;
    *most = (uint8_t)greatest;
    *rest_len = (size_t)(at - rest);
    return greatest <= 255;
}

KERF_INLINE bool
split_any(kerf_split_form form, const float *x, size_t count, uint8_t *number,
          uint8_t *rest, uint8_t *top, uint8_t *most, size_t *rest_len)
{
    if (form == KERF_SPLIT_F16)
        return split(KERF_SPLIT_F16, x, count, number, rest, top, most,
                     rest_len);
    return split(KERF_SPLIT_BF16, x, count, number, rest, top, most, rest_len);
}

KERF_V3 static bool
split_v3(kerf_split_form form, const float *x, size_t count, uint8_t *number,
         uint8_t *rest, uint8_t *top, uint8_t *most, size_t *rest_len)
{
    return split_any(form, x, count, number, rest, top, most, rest_len);
}

bool
kerf_split(kerf_split_form form, const float *x, size_t count, uint8_t *number,
           uint8_t *rest, uint8_t *top, uint8_t *most, size_t *rest_len)
{
    if (kerf_cpu_is_v3())
        return split_v3(form, x, count, number, rest, top, most, rest_len);
    return split_any(form, x, count, number, rest, top, most, rest_len);
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
    return (rest & 0x80) << 8 | exponent << 7 | (rest & 0x7f);
}

KERF_INLINE void
join(kerf_split_form form, unsigned top, const uint8_t *restrict number,
     size_t count, const uint8_t *restrict rest, float *restrict x)
{
    uint32_t w[GROUP];
    uint16_t h[GROUP];

    for (size_t i = 0; i < count; i += GROUP) {
        size_t n = count - i < GROUP ? count - i : GROUP;

        for (size_t k = 0; k < n; k++) {
            w[k] = *rest;
            rest += number[i + k] != 0;
        }
        for (size_t k = 0; k < n; k++)
            w[k] = join_word(form, top, number[i + k], w[k]) &
                   mask_of(number[i + k]);
        if (form == KERF_SPLIT_F16) {
            for (size_t k = 0; k < n; k++)
                h[k] = (uint16_t)w[k];
            kerf_halves_to(x + i, h, n);
            continue;
        }
        for (size_t k = 0; k < n; k++)
            w[k] <<= 16;
        memcpy(x + i, w, n * sizeof *w);
    }
}

/* Once for any machine and once for newer ones. */
KERF_INLINE void
join_any(kerf_split_form form, unsigned top, const uint8_t *number,
         size_t count, const uint8_t *rest, float *x)
{
    if (form == KERF_SPLIT_F16)
        join(KERF_SPLIT_F16, top, number, count, rest, x);
    else
        join(KERF_SPLIT_BF16, top, number, count, rest, x);
}

KERF_V3 static void
join_v3(kerf_split_form form, unsigned top, const uint8_t *number, size_t count,
        const uint8_t *rest, float *x)
{
    join_any(form, top, number, count, rest, x);
}

/* Whether the numbers take just this rest, and no exponent under zero. */
KERF_INLINE bool
fits(kerf_split_form form, unsigned top, const uint8_t *number, size_t count,
     size_t rest_len)
{
    unsigned shift = form == KERF_SPLIT_F16 ? 3 : 0;
    size_t used = 0;
    uint8_t most = 0;

    for (size_t i = 0; i < count; i += GROUP) {
        size_t n = count - i < GROUP ? count - i : GROUP;
        uint16_t sum = 0;

        for (size_t k = 0; k < n; k++) {
            most = number[i + k] > most ? number[i + k] : most;
            sum = (uint16_t)(sum + (number[i + k] != 0));
        }
        used += sum;
    }
    return (unsigned)most >> shift <= top + 1u && used == rest_len;
}

KERF_V3 static bool
fits_v3(kerf_split_form form, unsigned top, const uint8_t *number, size_t count,
        size_t rest_len)
{
    return fits(form, top, number, count, rest_len);
}

bool
kerf_split_join(kerf_split_form form, uint8_t top, const uint8_t *number,
                size_t count, const uint8_t *rest, size_t rest_len, float *x)
{
    bool v3 = kerf_cpu_is_v3();

    if (!(v3 ? fits_v3(form, top, number, count, rest_len)
             : fits(form, top, number, count, rest_len)))
        return false;
    if (v3)
        join_v3(form, top, number, count, rest, x);
    else
        join_any(form, top, number, count, rest, x);
    return true;
}
