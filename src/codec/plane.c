/*
 * Both ways work on as many vectors of 16 bytes as a word has bytes. Taking the
 * even bytes of all to the front and the odd ones behind them turns the bits of
 * a byte's position right by one; log2(width) times, and the bits that said
 * which byte of its word it was say which vector it is in. Compilers make pack
 * and unpack instructions of SSE2 (and of NEON) from it. Words of 4 bytes, as
 * nearly all are, have loops of their own for AVX2, twice as fast.
 */
#include "codec/plane.h"

#include "codec/cpu.h"

#include <string.h>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

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

#if defined(__x86_64__)

#define WIDE 32 /* bytes of a vector, words of a step */
#define INLINE_V3 INLINE KERF_V3

INLINE_V3 __m256i
turn_wide(__m256i v, int by)
{
    return _mm256_or_si256(_mm256_slli_epi32(v, by),
                           _mm256_srli_epi32(v, 32 - by));
}

/* 8 words to 8 bytes of each plane, one after the other. */
INLINE_V3 __m256i
split_eight(const uint8_t *words, bool rotated)
{
    const __m256i bytes =
        _mm256_setr_epi8(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15,
                         0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
    const __m256i halves = _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7);
    __m256i v;

    memcpy(&v, words, sizeof v);
    if (rotated)
        v = turn_wide(v, 1);
    return _mm256_permutevar8x32_epi32(_mm256_shuffle_epi8(v, bytes), halves);
}

INLINE_V3 void
split_wide(uint8_t *const *plane, size_t at, const uint8_t *words, bool rotated)
{
    __m256i a = split_eight(words, rotated);
    __m256i b = split_eight(words + WIDE, rotated);
    __m256i c = split_eight(words + (size_t)2 * WIDE, rotated);
    __m256i d = split_eight(words + (size_t)3 * WIDE, rotated);
    __m256i ab02 = _mm256_unpacklo_epi64(a, b);
    __m256i ab13 = _mm256_unpackhi_epi64(a, b);
    __m256i cd02 = _mm256_unpacklo_epi64(c, d);
    __m256i cd13 = _mm256_unpackhi_epi64(c, d);
    __m256i v[4] = {_mm256_permute2x128_si256(ab02, cd02, 0x20),
                    _mm256_permute2x128_si256(ab13, cd13, 0x20),
                    _mm256_permute2x128_si256(ab02, cd02, 0x31),
                    _mm256_permute2x128_si256(ab13, cd13, 0x31)};

#pragma GCC unroll 4
    for (size_t i = 0; i < 4; i++)
        memcpy(plane[i] + at, &v[i], WIDE);
}

INLINE_V3 void
merge_wide(uint8_t *words, const uint8_t *const *plane, size_t at, bool rotated)
{
    __m256i p[4], low01, high01, low23, high23, q[4], v[4];

#pragma GCC unroll 4
    for (size_t i = 0; i < 4; i++)
        memcpy(&p[i], plane[i] + at, WIDE);
    low01 = _mm256_unpacklo_epi8(p[0], p[1]);
    high01 = _mm256_unpackhi_epi8(p[0], p[1]);
    low23 = _mm256_unpacklo_epi8(p[2], p[3]);
    high23 = _mm256_unpackhi_epi8(p[2], p[3]);
    q[0] = _mm256_unpacklo_epi16(low01, low23); /* words 0-3, 16-19 */
    q[1] = _mm256_unpackhi_epi16(low01, low23);
    q[2] = _mm256_unpacklo_epi16(high01, high23);
    q[3] = _mm256_unpackhi_epi16(high01, high23); /* 12-15, 28-31 */
    v[0] = _mm256_permute2x128_si256(q[0], q[1], 0x20);
    v[1] = _mm256_permute2x128_si256(q[2], q[3], 0x20);
    v[2] = _mm256_permute2x128_si256(q[0], q[1], 0x31);
    v[3] = _mm256_permute2x128_si256(q[2], q[3], 0x31);
#pragma GCC unroll 4
    for (size_t i = 0; i < 4; i++) {
        if (rotated)
            v[i] = turn_wide(v[i], 31);
        memcpy(words + WIDE * i, &v[i], WIDE);
    }
}

/* As split() and merge(); count is WIDE at least. */
INLINE_V3 void
split_all(uint8_t *const *plane, const uint8_t *words, size_t count,
          bool rotated)
{
    size_t i = 0;

    for (; i + WIDE <= count; i += WIDE)
        split_wide(plane, i, words + 4 * i, rotated);
    if (i < count)
        split_wide(plane, count - WIDE, words + 4 * (count - WIDE), rotated);
}

INLINE_V3 void
merge_all(uint8_t *words, const uint8_t *const *plane, size_t count,
          bool rotated)
{
    size_t i = 0;

    for (; i + WIDE <= count; i += WIDE)
        merge_wide(words + 4 * i, plane, i, rotated);
    if (i < count)
        merge_wide(words + 4 * (count - WIDE), plane, count - WIDE, rotated);
}

KERF_V3 static void
split_v3(uint8_t *const *plane, const uint8_t *words, size_t count,
         bool rotated)
{
    rotated ? split_all(plane, words, count, true)
            : split_all(plane, words, count, false);
}

KERF_V3 static void
merge_v3(uint8_t *words, const uint8_t *const *plane, size_t count,
         bool rotated)
{
    rotated ? merge_all(words, plane, count, true)
            : merge_all(words, plane, count, false);
}

static bool
is_wide(size_t count, unsigned width)
{
    return width == 4 && count >= WIDE && kerf_cpu_is_v3();
}

#else

static void
split_v3(uint8_t *const *plane, const uint8_t *words, size_t count,
         bool rotated)
{
    (void)plane, (void)words, (void)count, (void)rotated;
}

static void
merge_v3(uint8_t *words, const uint8_t *const *plane, size_t count,
         bool rotated)
{
    (void)words, (void)plane, (void)count, (void)rotated;
}

static bool
is_wide(size_t count, unsigned width)
{
    (void)count, (void)width;
    return false;
}

#endif

/* One body for each width, with its loops unrolled. */
void
kerf_plane_split(uint8_t *const plane[KERF_PLANES_MOST], const uint8_t *words,
                 size_t count, unsigned width, bool rotated)
{
    if (is_wide(count, width))
        split_v3(plane, words, count, rotated);
    else if (width == 4 && rotated)
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
    if (is_wide(count, width))
        merge_v3(words, plane, count, rotated);
    else if (width == 4 && rotated)
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
