/*
 * A value waits for the one before it, so that one plane alone would be slow:
 * LANES planes go side by side. With AVX2 eight values of each of them at a
 * time are turned, so that those at the same place are one vector.
 */
#include "codec/spread.h"

#include "base/bytes.h"
#include "codec/cpu.h"

#include <math.h>
#include <string.h>

#define LANES 16
/* Of an error, to the value after and the one below: less than all of it, so
 * that a 0, which gets half a step less than that at most, stays one. */
#define PART_AFTER 0.25f
#define PART_BELOW 0.5f
#define ERROR_MOST 0.5f /* larger where the numbers end */

struct lanes {
    const float *x[LANES];
    uint8_t *q[LANES];
    float per_step[LANES];
    float most[LANES]; /* the greatest number of the plane */
    size_t used;
    size_t rows, width;
    float zero;
};

size_t
kerf_spread_scratch(size_t width)
{
    return width * LANES;
}

static float
limit(float e)
{
    return fmaxf(fminf(e, ERROR_MOST), -ERROR_MOST);
}

/* One plane; above has the errors of the row above, then those of this one. */
static void
spread_plane(const struct lanes *l, size_t k, float *above)
{
    memset(above, 0, l->width * sizeof *above);
    for (size_t row = 0; row < l->rows; row++) {
        const float *x = l->x[k] + row * l->width;
        uint8_t *q = l->q[k] + row * l->width;
        float left = 0;

        for (size_t i = 0; i < l->width; i++) {
            float v = x[i] * l->per_step[k] + l->zero + PART_BELOW * above[i] +
                      PART_AFTER * left;
            float number = rintf(fminf(fmaxf(v, 0), l->most[k]));

            q[i] = (uint8_t)number;
            above[i] = left = limit(v - number);
        }
    }
}

#if defined(__x86_64__)

#include <immintrin.h>

#define HALF 8 /* lanes, and places that are turned at once */
#define INLINE static inline __attribute__((always_inline)) KERF_V3

/* Eight vectors of a lane each become eight of a place each. */
INLINE void
turn(__m256 v[HALF])
{
    __m256 two[HALF];
    __m256 four[HALF];

    for (int i = 0; i < HALF; i += 2) {
        two[i] = _mm256_unpacklo_ps(v[i], v[i + 1]);
        two[i + 1] = _mm256_unpackhi_ps(v[i], v[i + 1]);
    }
    for (int i = 0; i < HALF; i += 4) {
        four[i] = _mm256_shuffle_ps(two[i], two[i + 2], 0x44);
        four[i + 1] = _mm256_shuffle_ps(two[i], two[i + 2], 0xee);
        four[i + 2] = _mm256_shuffle_ps(two[i + 1], two[i + 3], 0x44);
        four[i + 3] = _mm256_shuffle_ps(two[i + 1], two[i + 3], 0xee);
    }
    for (int i = 0; i < HALF / 2; i++) {
        v[i] = _mm256_permute2f128_ps(four[i], four[i + 4], 0x20);
        v[i + 4] = _mm256_permute2f128_ps(four[i], four[i + 4], 0x31);
    }
}

/* The values at `from` of eight lanes, in steps; n of them, the others 0. */
INLINE void
load(const struct lanes *l, size_t first, size_t from, size_t n, __m256 v[HALF])
{
    const __m256 zero = _mm256_set1_ps(l->zero);
    const __m256i places = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
    const __m256i mask = _mm256_cmpgt_epi32(_mm256_set1_epi32((int)n), places);

    for (size_t k = 0; k < HALF; k++) {
        const float *x = l->x[first + k] + from;
        __m256 per_step = _mm256_set1_ps(l->per_step[first + k]);

        v[k] = n == HALF ? _mm256_loadu_ps(x) : _mm256_maskload_ps(x, mask);
        v[k] = _mm256_add_ps(_mm256_mul_ps(v[k], per_step), zero);
    }
    turn(v);
}

/* One place of eight lanes: v becomes its numbers. */
INLINE void
round_one(__m256 *v, __m256 most, float *above, __m256 *left)
{
    const __m256 after = _mm256_set1_ps(PART_AFTER);
    const __m256 below = _mm256_set1_ps(PART_BELOW);
    const __m256 limit = _mm256_set1_ps(ERROR_MOST);
    const __m256 under = _mm256_set1_ps(-ERROR_MOST);
    __m256 up = _mm256_mul_ps(_mm256_loadu_ps(above), below);
    __m256 x =
        _mm256_add_ps(_mm256_add_ps(*v, up), _mm256_mul_ps(*left, after));
    __m256 e;

    *v = _mm256_min_ps(_mm256_max_ps(x, _mm256_setzero_ps()), most);
    *v = _mm256_round_ps(*v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
    e = _mm256_sub_ps(x, *v);
    *left = _mm256_max_ps(_mm256_min_ps(e, limit), under);
    _mm256_storeu_ps(above, *left);
}

/* Numbers of four places of each lane as its four bytes. */
INLINE __m256i
join(const __m256 *v)
{
    __m256i a = _mm256_cvttps_epi32(v[0]);
    __m256i b = _mm256_slli_epi32(_mm256_cvttps_epi32(v[1]), 8);
    __m256i c = _mm256_slli_epi32(_mm256_cvttps_epi32(v[2]), 16);
    __m256i d = _mm256_slli_epi32(_mm256_cvttps_epi32(v[3]), 24);

    return _mm256_or_si256(_mm256_or_si256(a, b), _mm256_or_si256(c, d));
}

INLINE void
store(const struct lanes *l, size_t first, size_t from, size_t n,
      const __m256 v[HALF])
{
    uint32_t low[HALF];
    uint32_t high[HALF];

    _mm256_storeu_si256((__m256i *)(void *)low, join(v));
    _mm256_storeu_si256((__m256i *)(void *)high, join(v + HALF / 2));
    for (size_t k = 0; k < HALF && first + k < l->used; k++) {
        uint64_t bytes = low[k] | (uint64_t)high[k] << 32;

        if (n == HALF) {
            memcpy(l->q[first + k] + from, &bytes, HALF);
            continue;
        }
        for (size_t i = 0; i < n; i++)
            l->q[first + k][from + i] = (uint8_t)(bytes >> 8 * i);
    }
}

/* Two halves of the lanes: one waits for memory and sums while the other does
 * not. */
KERF_V3 static void
spread_vector(const struct lanes *l, float *above)
{
    const __m256 most[2] = {_mm256_loadu_ps(l->most),
                            _mm256_loadu_ps(l->most + HALF)};
    __m256 a[HALF];
    __m256 b[HALF];

    memset(above, 0, l->width * LANES * sizeof *above);
    for (size_t row = 0; row < l->rows; row++) {
        __m256 left[2] = {_mm256_setzero_ps(), _mm256_setzero_ps()};

        for (size_t at = 0; at < l->width; at += HALF) {
            size_t n = l->width - at < HALF ? l->width - at : HALF;
            size_t from = row * l->width + at;
            float *up = above + at * LANES;

            load(l, 0, from, n, a);
            load(l, HALF, from, n, b);
            for (size_t i = 0; i < n; i++) {
                round_one(&a[i], most[0], up + i * LANES, &left[0]);
                round_one(&b[i], most[1], up + i * LANES + HALF, &left[1]);
            }
            store(l, 0, from, n, a);
            store(l, HALF, from, n, b);
        }
    }
}

#endif

static void
spread_lanes(const struct lanes *l, float *above)
{
#if defined(__x86_64__)
    if (kerf_cpu_is_v3()) {
        spread_vector(l, above);
        return;
    }
#endif
    for (size_t k = 0; k < l->used; k++)
        spread_plane(l, k, above);
}

void
kerf_spread(uint8_t *q, const float *x, size_t planes, size_t rows,
            size_t width, const kerf_scales *s, const float *step,
            const kerf_span *span, float *scratch)
{
    struct lanes l = {.rows = rows, .width = width, .zero = s->zero};

    for (size_t first = 0; first < planes; first += LANES) {
        l.used = planes - first < LANES ? planes - first : LANES;
        for (size_t k = 0; k < LANES; k++) {
            size_t plane = first + (k < l.used ? k : 0); /* any, unused */
            float to = step[plane];
            float top = fmaxf(kerf_span_float(span[plane].greatest), 0);

            l.x[k] = x + plane * rows * width;
            l.q[k] = q + plane * rows * width;
            l.per_step[k] = to > 0 ? (float)(1.0 / (double)to) : 0;
            l.most[k] = fminf(rintf(top * l.per_step[k]) + s->zero, s->most);
        }
        spread_lanes(&l, scratch);
    }
}
