/*
 * Both ways work on as many vectors of 16 bytes as a word has bytes. Taking the
 * even bytes of all to the front and the odd ones behind them turns the bits of
 * a byte's position right by one; log2(width) times, and the bits that said
 * which byte of its word it was say which vector it is in. Compilers make pack
 * and unpack instructions of SSE2 (and of NEON) from it: nothing here needs a
 * choice at run time.
 */
#include "codec/plane.h"

#include <string.h>

#if __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "plane.c moves words as little-endian machines have them"
#endif

#define LANES 16 /* bytes of a vector, words of a step */

typedef uint8_t v8 __attribute__((vector_size(LANES)));
typedef uint16_t v16 __attribute__((vector_size(LANES)));
typedef uint32_t v32 __attribute__((vector_size(LANES)));
typedef uint64_t v64 __attribute__((vector_size(LANES)));

#define INLINE static inline __attribute__((always_inline))

INLINE v8
even(v8 a, v8 b)
{
    return __builtin_shufflevector(a, b, 0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20,
                                   22, 24, 26, 28, 30);
}

INLINE v8
odd(v8 a, v8 b)
{
    return __builtin_shufflevector(a, b, 1, 3, 5, 7, 9, 11, 13, 15, 17, 19, 21,
                                   23, 25, 27, 29, 31);
}

INLINE v8
zip_low(v8 a, v8 b)
{
    return __builtin_shufflevector(a, b, 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5,
                                   21, 6, 22, 7, 23);
}

INLINE v8
zip_high(v8 a, v8 b)
{
    return __builtin_shufflevector(a, b, 8, 24, 9, 25, 10, 26, 11, 27, 12, 28,
                                   13, 29, 14, 30, 15, 31);
}

/* Each word of v turned left by `by` bits, 1 or all but 1. */
INLINE v8
turn(v8 v, unsigned width, unsigned by)
{
    unsigned back = 8 * width - by;

    if (width == 2)
        return (v8)((v16)v << by | (v16)v >> back);
    if (width == 4)
        return (v8)((v32)v << by | (v32)v >> back);
    return (v8)((v64)v << by | (v64)v >> back);
}

INLINE void
split_step(uint8_t *const *plane, size_t at, const uint8_t *words,
           unsigned width, bool rotated)
{
    v8 v[KERF_PLANES_MOST], next[KERF_PLANES_MOST];

#pragma GCC unroll 8
    for (unsigned i = 0; i < width; i++) {
        memcpy(&v[i], words + (size_t)LANES * i, LANES);
        if (rotated)
            v[i] = turn(v[i], width, 1);
    }
#pragma GCC unroll 3
    for (unsigned step = width; step > 1; step /= 2) {
#pragma GCC unroll 4
        for (unsigned i = 0; i < width / 2; i++) {
            next[i] = even(v[(size_t)2 * i], v[2 * i + 1]);
            next[width / 2 + i] = odd(v[(size_t)2 * i], v[2 * i + 1]);
        }
        memcpy(v, next, sizeof v);
    }
#pragma GCC unroll 8
    for (unsigned i = 0; i < width; i++)
        memcpy(plane[i] + at, &v[i], LANES);
}

INLINE void
merge_step(uint8_t *words, const uint8_t *const *plane, size_t at,
           unsigned width, bool rotated)
{
    v8 v[KERF_PLANES_MOST], next[KERF_PLANES_MOST];

#pragma GCC unroll 8
    for (unsigned i = 0; i < width; i++)
        memcpy(&v[i], plane[i] + at, LANES);
#pragma GCC unroll 3
    for (unsigned step = width; step > 1; step /= 2) {
#pragma GCC unroll 4
        for (unsigned i = 0; i < width / 2; i++) {
            next[(size_t)2 * i] = zip_low(v[i], v[width / 2 + i]);
            next[2 * i + 1] = zip_high(v[i], v[width / 2 + i]);
        }
        memcpy(v, next, sizeof v);
    }
#pragma GCC unroll 8
    for (unsigned i = 0; i < width; i++) {
        if (rotated)
            v[i] = turn(v[i], width, 8 * width - 1);
        memcpy(words + (size_t)LANES * i, &v[i], LANES);
    }
}

static uint64_t
turn_one(uint64_t word, unsigned width, unsigned by)
{
    uint64_t mask = ~(uint64_t)0 >> (64 - 8 * width);

    return (word << by | word >> (8 * width - by)) & mask;
}

static void
split_rest(uint8_t *const *plane, size_t at, const uint8_t *words, size_t count,
           unsigned width, bool rotated)
{
    for (size_t i = 0; i < count; i++) {
        uint64_t word = 0;

        memcpy(&word, words + i * width, width);
        if (rotated)
            word = turn_one(word, width, 1);
        for (unsigned k = 0; k < width; k++)
            plane[k][at + i] = (uint8_t)(word >> 8 * k);
    }
}

static void
merge_rest(uint8_t *words, const uint8_t *const *plane, size_t at, size_t count,
           unsigned width, bool rotated)
{
    for (size_t i = 0; i < count; i++) {
        uint64_t word = 0;

        for (unsigned k = 0; k < width; k++)
            word |= (uint64_t)plane[k][at + i] << 8 * k;
        if (rotated)
            word = turn_one(word, width, 8 * width - 1);
        memcpy(words + i * width, &word, width);
    }
}

/* The last step overlaps the one before it: that is faster than words one by
 * one, which are left to runs of less than a step. */
INLINE void
split(uint8_t *const *plane, const uint8_t *words, size_t count, unsigned width,
      bool rotated)
{
    size_t i = 0;

    if (count < LANES) {
        split_rest(plane, 0, words, count, width, rotated);
        return;
    }
    for (; i + LANES <= count; i += LANES)
        split_step(plane, i, words + i * width, width, rotated);
    if (i < count) {
        i = count - LANES;
        split_step(plane, i, words + i * width, width, rotated);
    }
}

INLINE void
merge(uint8_t *words, const uint8_t *const *plane, size_t count, unsigned width,
      bool rotated)
{
    size_t i = 0;

    if (count < LANES) {
        merge_rest(words, plane, 0, count, width, rotated);
        return;
    }
    for (; i + LANES <= count; i += LANES)
        merge_step(words + i * width, plane, i, width, rotated);
    if (i < count) {
        i = count - LANES;
        merge_step(words + i * width, plane, i, width, rotated);
    }
}

/* One body for each width, with its loops unrolled. */
void
kerf_plane_split(uint8_t *const plane[KERF_PLANES_MOST], const uint8_t *words,
                 size_t count, unsigned width, bool rotated)
{
    if (width == 4 && rotated)
        split(plane, words, count, 4, true);
    else if (width == 4)
        split(plane, words, count, 4, false);
    else if (width == 2)
        rotated ? split(plane, words, count, 2, true)
                : split(plane, words, count, 2, false);
    else if (width == 8)
        rotated ? split(plane, words, count, 8, true)
                : split(plane, words, count, 8, false);
    else
        memcpy(plane[0], words, count); /* a turned byte would gain nothing */
}

void
kerf_plane_merge(uint8_t *words, const uint8_t *const plane[KERF_PLANES_MOST],
                 size_t count, unsigned width, bool rotated)
{
    if (width == 4 && rotated)
        merge(words, plane, count, 4, true);
    else if (width == 4)
        merge(words, plane, count, 4, false);
    else if (width == 2)
        rotated ? merge(words, plane, count, 2, true)
                : merge(words, plane, count, 2, false);
    else if (width == 8)
        rotated ? merge(words, plane, count, 8, true)
                : merge(words, plane, count, 8, false);
    else
        memcpy(words, plane[0], count);
}
