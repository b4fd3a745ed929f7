#include "codec/ans_own.h"

#include <stdlib.h>
#include <string.h>

#define NEAR 16 /* distances from zero below this have classes of their own */
#define OCTAVE 8

kerf_err
kerf_ans_new(kerf_ans **out)
{
    *out = calloc(1, sizeof **out);
    return *out == NULL ? KERF_ENOMEM : KERF_OK;
}

void
kerf_ans_free(kerf_ans *a)
{
    free(a);
}

static unsigned
bit_length(unsigned n)
{
    return n == 0 ? 0 : 32 - (unsigned)__builtin_clz(n);
}

unsigned
kerf_ans_bucket(unsigned near)
{
    unsigned octave = bit_length(near);

    /* 4: 4, 6: 5, 8: 6, 12: 7, ..., 192: 15 */
    return near < 4 ? near : 2 * octave - 2 + (near >> (octave - 2) & 1);
}

unsigned
kerf_ans_near(const kerf_ans *a, uint8_t v)
{
    uint8_t first = a->base[a->class_of[v]];
    unsigned twice = 2u * kerf_ans_distance(&a->shape, first);

    return twice < ANS_NEARS ? twice : ANS_NEARS - 1;
}

static void
add_class(kerf_ans *a, unsigned base, unsigned extra)
{
    a->base[a->classes] = (uint8_t)base;
    a->extra[a->classes] = (uint8_t)extra;
    a->classes++;
}

/* Distance 1 and up on one side of zero, as far as `most`. */
static void
lay_side(kerf_ans *a, unsigned most, bool up)
{
    unsigned zero = a->shape.zero;
    unsigned d = 1;

    while (d <= most) {
        unsigned extra = d < NEAR ? 0 : bit_length(d) - 4;
        unsigned last = d + (1u << extra) - 1;

        /* The greatest value is a class of its own: it is where activations
         * are clipped, as by relu6. */
        if (up && last >= most && d < most && d >= NEAR)
            add_class(a, zero + most, 0);
        if (up)
            add_class(a, zero + d, extra);
        else
            add_class(a, last <= most ? zero - last : 0, extra);
        d = last + 1;
    }
}

/* The first class that has a value keeps it: ranges at the ends overlap. */
static void
set_values(kerf_ans *a)
{
    bool taken[256] = {false};

    for (unsigned c = 0; c < a->classes; c++) {
        for (unsigned i = 0; i < 1u << a->extra[c]; i++) {
            unsigned v = a->base[c] + i;

            if (v > a->shape.max)
                break;
            if (taken[v])
                continue;
            taken[v] = true;
            a->class_of[v] = (uint8_t)c;
            a->rest[v] = (uint8_t)i;
        }
    }
}

bool
kerf_ans_lay_out(kerf_ans *a)
{
    const kerf_ans_shape *s = &a->shape;

    a->classes = 0;
    memset(a->class_of, 0, sizeof a->class_of);
    memset(a->rest, 0, sizeof a->rest);
    if (s->zero > s->max)
        return false;
    if (s->kind == KERF_ANS_EIGHTS) {
        add_class(a, 0, 0);
        for (unsigned c = 1; c <= s->max / 8u; c++)
            add_class(a, 8 * c, 3);
    } else if (s->kind == KERF_ANS_LOG) {
        /* Down first, so that no class of one side covers the other's. */
        lay_side(a, s->zero, false);
        add_class(a, s->zero, 0);
        lay_side(a, s->max - s->zero, true);
    } else {
        return false;
    }
    set_values(a);
    return true;
}

bool
kerf_ans_has_extras(const kerf_ans *a)
{
    bool any = false;

    for (unsigned c = 0; c < a->classes; c++)
        any |= a->extra[c] > 0;
    return any;
}

bool
kerf_ans_set_contexts(kerf_ans *a)
{
    unsigned n = 0;

    if ((a->starts & 1) == 0 || a->starts >> ANS_BUCKETS != 0)
        return false;
    for (unsigned b = 0; b < ANS_BUCKETS; b++) {
        n += a->starts >> b & 1;
        a->context_of[b] = (uint8_t)(n - 1);
    }
    a->contexts = n;
    return true;
}

bool
kerf_ans_set_nears(kerf_ans *a)
{
    unsigned n = 0;

    for (unsigned i = 0; i < ANS_NEARS; i++) {
        n += n + 1 < a->contexts && i == a->first[n + 1];
        a->context_near[i] = (uint8_t)n;
    }
    return a->contexts <= ANS_BUCKETS && n + 1 == a->contexts;
}

void
kerf_ans_spread(kerf_ans *a, unsigned context)
{
    unsigned size = 1u << a->log;
    unsigned stride = (size >> 1) + (size >> 3) + 3;
    unsigned at = 0;

    for (unsigned c = 0; c < a->classes; c++) {
        for (unsigned i = a->norm[context][c]; i > 0; i--) {
            a->spread[at] = (uint8_t)c;
            at = (at + stride) & (size - 1);
        }
    }
}
