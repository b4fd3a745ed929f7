#include "bench/floor.h"

#include "graph/weights.h"

#include <math.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#define EXPONENTS_MOST 2048u /* of f64 */

/* Where the exponent is in an element; bits 0: it has none. */
struct field {
    unsigned shift, bits;
};

/* What is counted over all f32 of the file. */
struct counts {
    uint32_t pair[256][256]; /* [exponent before][exponent] */
    uint32_t top[256][256];  /* [exponent][mantissa's top 8 bits] */
    float pair_bits[256][256];
    double saved_bits; /* by knowing the exponent, of all mantissas */
};

static struct field
field_of(kerf_dtype dtype)
{
    switch (dtype) {
    case KERF_F32:
        return (struct field){.shift = 23, .bits = 8};
    case KERF_BF16:
        return (struct field){.shift = 7, .bits = 8};
    case KERF_F16:
        return (struct field){.shift = 10, .bits = 5};
    case KERF_F64:
        return (struct field){.shift = 52, .bits = 11};
    default:
        return (struct field){.bits = 0};
    }
}

static uint64_t
load(const uint8_t *at, size_t width)
{
    uint64_t v = 0;

    memcpy(&v, at, width); /* little-endian, as the formats are */
    return v;
}

/* Bits of all that were counted, by an ideal coder. */
static double
entropy_bits(const uint64_t *seen, size_t kinds)
{
    double all = 0;
    double bits = 0;

    for (size_t i = 0; i < kinds; i++)
        all += (double)seen[i];
    for (size_t i = 0; i < kinds; i++) {
        if (seen[i] > 0)
            bits += (double)seen[i] * log2(all / (double)seen[i]);
    }
    return bits;
}

static double
float_bits(const uint8_t *at, size_t count, size_t width, struct field f)
{
    uint64_t seen[EXPONENTS_MOST] = {0};
    uint64_t mask = ((uint64_t)1 << f.bits) - 1;

    for (size_t i = 0; i < count; i++)
        seen[load(at + i * width, width) >> f.shift & mask]++;
    return entropy_bits(seen, (size_t)1 << f.bits) +
           (double)count * (double)(8 * width - f.bits);
}

static double
bytes_bits(const uint8_t *at, size_t count, size_t width)
{
    double bits = 0;

    for (size_t plane = 0; plane < width; plane++) {
        uint64_t seen[256] = {0};

        for (size_t i = 0; i < count; i++)
            seen[at[i * width + plane]]++;
        bits += entropy_bits(seen, 256);
    }
    return bits;
}

/* All elements are the same, as those of new normalisations are. */
static bool
is_constant(const uint8_t *at, size_t len, size_t width)
{
    return len >= width && memcmp(at, at + width, len - width) == 0;
}

static double
order0_bits(const uint8_t *data, const kerf_segment *s)
{
    struct field f = field_of(s->dtype);
    size_t width = kerf_dtype_size(s->dtype);

    if (is_constant(data + s->offset, s->len, width))
        return 0;
    return f.bits > 0 ? float_bits(data + s->offset, s->len / width, width, f)
                      : bytes_bits(data + s->offset, s->len / width, width);
}

static void
count_f32(struct counts *c, const uint8_t *at, size_t count)
{
    unsigned before = 127;

    for (size_t i = 0; i < count; i++) {
        uint64_t v = load(at + 4 * i, 4);
        unsigned exponent = v >> 23 & 255;

        c->pair[before][exponent]++;
        c->top[exponent][v >> 15 & 255]++;
        before = exponent;
    }
}

/* From counts to bits. A few counts in many kinds look less even than they are:
 * Miller and Madow's correction. */
static void
settle(struct counts *c)
{
    for (unsigned e = 0; e < 256; e++) {
        double all = 0;
        double used = 0;
        double bits = 0;

        for (unsigned i = 0; i < 256; i++) {
            all += c->pair[e][i];
            bits += c->top[e][i];
        }
        for (unsigned i = 0; i < 256; i++) {
            if (c->pair[e][i] > 0)
                c->pair_bits[e][i] = (float)log2(all / c->pair[e][i]);
        }
        all = bits;
        bits = 0;
        for (unsigned i = 0; i < 256; i++) {
            used += c->top[e][i] > 0;
            if (c->top[e][i] > 0)
                bits += c->top[e][i] * log2(all / c->top[e][i]);
        }
        bits += (used - 1) / (2 * log(2));
        if (bits < 8 * all)
            c->saved_bits += 8 * all - bits;
    }
}

static double
pair_bits(const struct counts *c, const uint8_t *at, size_t count)
{
    unsigned before = 127;
    double bits = 24.0 * (double)count;

    for (size_t i = 0; i < count; i++) {
        unsigned exponent = load(at + 4 * i, 4) >> 23 & 255;

        bits += c->pair_bits[before][exponent];
        before = exponent;
    }
    return bits;
}

/* A tensor that lies in the file, behind the one before. */
static bool
is_sound(const kerf_segment *s, size_t at, size_t len)
{
    return s->offset >= at && s->offset <= len && s->len <= len - s->offset &&
           kerf_dtype_size(s->dtype) > 0;
}

static void
add_segments(kerf_floor *out, struct counts *c, const uint8_t *data, size_t len,
             const kerf_segment *segment, size_t count)
{
    uint64_t other[256] = {0};
    size_t at = 0;
    double bits0 = 0;
    double bits1 = 0;

    for (size_t i = 0; i < count; i++) {
        if (is_sound(&segment[i], 0, len) && segment[i].dtype == KERF_F32)
            count_f32(c, data + segment[i].offset, segment[i].len / 4);
    }
    settle(c);
    for (size_t i = 0; i <= count; i++) {
        const kerf_segment *s = &segment[i];
        double bits;

        if (i < count && !is_sound(s, at, len))
            continue;
        for (size_t end = i < count ? s->offset : len; at < end; at++)
            other[data[at]]++;
        if (i == count)
            break;
        at += s->len;
        bits = order0_bits(data, s);
        bits0 += bits;
        out->tensor_bytes += s->len;
        if (s->dtype == KERF_F32) {
            out->float_bytes += s->len;
            bits = fmin(bits, pair_bits(c, data + s->offset, s->len / 4));
        }
        bits1 += bits;
    }
    bits0 += entropy_bits(other, 256);
    bits1 += entropy_bits(other, 256);
    out->order0 = bits0 / 8;
    out->conditional = (bits1 - c->saved_bits) / 8;
}

kerf_err
kerf_floor_of(kerf_floor *out, const uint8_t *data, size_t len)
{
    kerf_segment *segment = NULL;
    size_t count = 0;
    struct counts *c = calloc(1, sizeof *c);
    kerf_err err = c != NULL ? kerf_weights_find(data, len, &segment, &count)
                             : KERF_ENOMEM;

    *out = (kerf_floor){0};
    if (err == KERF_OK)
        add_segments(out, c, data, len, segment, count);
    free(segment);
    free(c);
    return err;
}
