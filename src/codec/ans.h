/*
 * ans.h - entropy coder for the small numbers that tensors become: quantised
 * values, exponents. Layout: docs/PROTOCOL.md, "Coded values".
 *
 * Each value is a class and some bits that are written as they are; classes are
 * coded by table ANS (Duda 2013; the tables are those of FSE), each with the
 * statistics of its context: how far from zero the value before it and the one
 * a row before it are. Activations are smooth in both directions and have zeros
 * in runs, so that this saves 10 to 40 % of what one set of statistics takes.
 * Of large planes better than that: how much each neighbour counts, and what
 * another plane says, is fitted to each (ans_plane.c).
 * Four streams run side by side, each over a quarter of the values, because one
 * alone would wait for memory.
 * Buffers only. Threads: a kerf_ans belongs to one thread.
 */
#ifndef KERF_CODEC_ANS_H
#define KERF_CODEC_ANS_H

#include "kerf/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct kerf_ans kerf_ans; /* tables: about 260 KB */

/* How values become classes. */
typedef enum kerf_ans_kind {
    /* Values near `zero` are classes of their own, others 8 to the octave. */
    KERF_ANS_LOG = 0,
    /* value = 8 * class + 3 bits as they are; 0 is a class of its own. */
    KERF_ANS_EIGHTS = 1,
} kerf_ans_kind;

typedef struct kerf_ans_shape {
    kerf_ans_kind kind;
    uint8_t max;    /* no value is greater */
    uint8_t zero;   /* LOG: the value in the middle of small ones; <= max */
    uint32_t width; /* values in a row; 0: none above counts, twice as fast */
    uint32_t plane; /* values of a channel, whole rows; 0: there is none */
} kerf_ans_shape;

#define KERF_ANS_PAD                                        \
    8 /* bytes after the last stream, so that reads stay in \
       */

KERF_NODISCARD kerf_err kerf_ans_new(kerf_ans **out);
void kerf_ans_free(kerf_ans *a); /* accepts NULL */

/* Whether values are foretold from their plane and another: when planes are
 * large enough to pay for their weights, and each quarter has whole ones. */
bool kerf_ans_has_planes(const kerf_ans_shape *shape, size_t count);

/* Bytes of scratch that encoding so many values takes. */
size_t kerf_ans_scratch(size_t count);

/* Codes v[0..count) into out[0..cap). Returns the length, or 0: it would take
 * more than cap. scratch has kerf_ans_scratch(count) bytes. */
size_t kerf_ans_encode(kerf_ans *a, const kerf_ans_shape *shape,
                       const uint8_t *v, size_t count, uint8_t *scratch,
                       uint8_t *out, size_t cap);

/* The reverse: all of in[0..len) is one result of kerf_ans_encode(). False when
 * it is none; then v holds anything. What it gives may be over shape->max when
 * the input is hostile, but always fits the byte. */
bool kerf_ans_decode(kerf_ans *a, const uint8_t *in, size_t len, uint8_t *v,
                     size_t count);

#endif
