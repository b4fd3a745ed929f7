/*
 * split.h - floats as small numbers that code well (how far the exponent is
 * under the greatest one; 0: the float is zero) and the rest of their bits,
 * which is noise and is kept as it is; nothing of it for zeros.
 *
 *     f16   number: exponent, sign, 2 bits      rest: 1 byte
 *     bf16  number: exponent                    rest: 1 byte
 *
 * They take what is finite, also after rounding. Threads: pure.
 */
#ifndef KERF_CODEC_SPLIT_H
#define KERF_CODEC_SPLIT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef enum kerf_split_form {
    KERF_SPLIT_F16 = 0,
    KERF_SPLIT_BF16 = 1,
} kerf_split_form;

/* Splits x[0..count) into number[0..count) and rest, which has room for
 * count + 1 bytes. *top is the greatest exponent in the form, *most
 * the greatest number, *rest_len the bytes of rest. False: it does not fit. */
bool kerf_split(kerf_split_form form, const float *x, size_t count,
                uint8_t *number, uint8_t *rest, uint8_t *top, uint8_t *most,
                size_t *rest_len);

/* The reverse; one byte after rest[0..rest_len) may be read. False: the numbers
 * ask for another length of rest, or for an exponent below zero. */
bool kerf_split_join(kerf_split_form form, uint8_t top, const uint8_t *number,
                     size_t count, const uint8_t *rest, size_t rest_len,
                     float *x);

#endif
