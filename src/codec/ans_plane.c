/*
 * What is foretold of a value of a plane: by the one before it and the one
 * above, and by how another plane, which is known, differs there from its own
 * neighbours. How much each of them counts is fitted to a plane by least
 * squares over some of its rows.
 */
#include "codec/ans_own.h"

#include <math.h>
#include <string.h>

#define PARTS 32.0 /* of 1, that weights are counted in */
#define FAR 127    /* distances from zero are counted as far as that */
#define TERMS 4    /* 1, left, up, how the other plane differs */
#define BACKS ANS_BACK_MOST
#define SAMPLES ANS_SAMPLES
#define CHUNK 16         /* places at a time; no row is shorter */
#define PLANE_LEAST 1024 /* values that pay for weights */
#define OTHER_LEAST 0.1  /* correlation, from which another plane counts */

bool
kerf_ans_has_planes(const kerf_ans_shape *shape, size_t count)
{
    size_t plane = shape->plane;
    size_t width = shape->width;

    return shape->kind == KERF_ANS_LOG && plane >= PLANE_LEAST &&
           width >= CHUNK && width <= ANS_ROW_MOST && plane % width == 0 &&
           plane > width && count > 0 && count % (ANS_STREAMS * plane) == 0;
}

void
kerf_ans_plane_put(kerf_wr *w, const struct ans_plane *p)
{
    kerf_wr_u8(w, p->left);
    kerf_wr_u8(w, (uint8_t)p->up);
    kerf_wr_u8(w, (uint8_t)p->other);
    kerf_wr_u8(w, (uint8_t)p->one);
    kerf_wr_u8(w, p->back);
}

static bool
is_weight(int n)
{
    return n >= -ANS_WEIGHT_MOST && n <= ANS_WEIGHT_MOST;
}

bool
kerf_ans_plane_get(kerf_rd *r, struct ans_plane *p, size_t before)
{
    p->left = kerf_rd_u8(r);
    p->up = (int8_t)kerf_rd_u8(r);
    p->other = (int8_t)kerf_rd_u8(r);
    p->one = (int8_t)kerf_rd_u8(r);
    p->back = kerf_rd_u8(r);
    return !r->bad && is_weight(p->left) && is_weight(p->up) &&
           is_weight(p->other) && p->back <= before;
}

KERF_INLINE int16_t
far_of(uint8_t v, uint8_t zero)
{
    uint8_t d = v > zero ? (uint8_t)(v - zero) : (uint8_t)(zero - v);

    return d < FAR ? d : FAR;
}

KERF_INLINE uint8_t
to_byte(int32_t n)
{
    n >>= ANS_NEAR_SHIFT;
    return (uint8_t)(n < 0 ? 0 : n > ANS_NEARS - 1 ? ANS_NEARS - 1 : n);
}

static uint8_t
before_of(int weight, uint8_t v, uint8_t zero)
{
    return to_byte(weight * far_of(v, zero));
}

KERF_INLINE void
before_all(uint8_t of[256], int16_t weight, uint8_t zero)
{
    for (int v = 0; v < 256; v++)
        of[v] = to_byte((int16_t)(weight * far_of((uint8_t)v, zero)));
}

KERF_V3 static void
before_all_v3(uint8_t of[256], int16_t weight, uint8_t zero)
{
    before_all(of, weight, zero);
}

void
kerf_ans_before_all(uint8_t of[256], int weight, uint8_t zero)
{
    if (kerf_cpu_is_v3())
        before_all_v3(of, (int16_t)weight, zero);
    else
        before_all(of, (int16_t)weight, zero);
}

int
kerf_ans_weight(const struct ans_plane *p, bool is_first_row)
{
    return p->left + (is_first_row && p->up > 0 ? p->up : 0);
}

/* How a value differs from the one before it and the one above, which is so far
 * before it. */
KERF_INLINE int16_t
differ_of(const uint8_t *v, size_t above, uint8_t zero)
{
    return (int16_t)(2 * far_of(*v, zero) - far_of(*(v - 1), zero) -
                     far_of(*(v - above), zero));
}

/* Nothing is above, and little time goes into it. */
static void
foretell_first(const struct ans_plane *p, const uint8_t *o, size_t width,
               uint8_t zero, uint8_t *base)
{
    base[0] = 0;
    for (size_t i = 1; i < width; i++)
        base[i] =
            to_byte(p->one * 8 +
                    (p->back == 0 ? 0 : p->other * differ_of(o + i, 1, zero)));
}

/* CHUNK places of a row with one above. v, o: the first one, and that of the
 * other plane. */
KERF_INLINE void
foretell_chunk(const struct ans_plane *p, const uint8_t *restrict v,
               const uint8_t *restrict o, size_t width, uint8_t zero,
               uint8_t *restrict base)
{
    const uint8_t *above = v - width;

    for (size_t i = 0; i < CHUNK; i++) {
        int n = p->one * 8 + p->up * far_of(above[i], zero);

        if (p->back != 0)
            n += p->other * differ_of(o + i, width, zero);
        base[i] = to_byte(n);
    }
}

/* What the value before adds, to the bases of CHUNK places. */
KERF_INLINE void
add_chunk(uint8_t *restrict near, const uint8_t *restrict base,
          const uint8_t *restrict v, int16_t weight, uint8_t zero)
{
    for (size_t i = 0; i < CHUNK; i++) {
        uint8_t before =
            to_byte((int16_t)(weight * far_of(*(v + i - 1), zero)));
        uint16_t n = (uint16_t)(base[i] + before);

        near[i] = (uint8_t)(n < ANS_NEARS ? n : ANS_NEARS - 1);
    }
}

/* Where the chunk after that at i begins: the last one ends with the row. */
KERF_INLINE size_t
next_chunk(size_t i, size_t width)
{
    return i + CHUNK == width           ? width
           : i + CHUNK + CHUNK <= width ? i + CHUNK
                                        : width - CHUNK;
}

/* What is before the first place of a row is not its neighbour. */
static uint8_t
first_base(const struct ans_plane *p, const uint8_t *v, const uint8_t *o,
           size_t width, uint8_t zero)
{
    int n = p->one * 8 + p->up * far_of(*(v - width), zero);

    if (p->back != 0)
        n += p->other * 2 * (far_of(*o, zero) - far_of(*(o - width), zero));
    return to_byte(n);
}

/* near: NULL, or where the nears go as well. */
KERF_INLINE void
foretell_row(const struct ans_plane *p, const uint8_t *v, const uint8_t *o,
             size_t width, uint8_t zero, uint8_t *base, uint8_t *near)
{
    for (size_t i = 0; i < width; i = next_chunk(i, width)) {
        foretell_chunk(p, v + i, o + i, width, zero, base + i);
        if (near != NULL)
            add_chunk(near + i, base + i, v + i, p->left, zero);
    }
    base[0] = first_base(p, v, o, width, zero);
}

#if defined(__x86_64__)

#include <immintrin.h>

#define INLINE static inline __attribute__((always_inline)) KERF_V3

/* far_of() CHUNK values, in 16 bits each. */
INLINE __m256i
far_of_16(const uint8_t *v, __m128i zero)
{
    __m128i x = _mm_loadu_si128((const __m128i *)(const void *)v);

    x = _mm_or_si128(_mm_subs_epu8(x, zero), _mm_subs_epu8(zero, x));
    return _mm256_cvtepu8_epi16(_mm_min_epu8(x, _mm_set1_epi8(FAR)));
}

INLINE __m128i
to_bytes(__m256i n)
{
    n = _mm256_srai_epi16(n, ANS_NEAR_SHIFT);
    return _mm_packus_epi16(_mm256_castsi256_si128(n),
                            _mm256_extracti128_si256(n, 1));
}

INLINE __m256i
differ_of_16(const uint8_t *o, size_t width, __m128i zero)
{
    __m256i own = far_of_16(o, zero);

    own = _mm256_sub_epi16(_mm256_add_epi16(own, own), far_of_16(o - 1, zero));
    return _mm256_sub_epi16(own, far_of_16(o - width, zero));
}

KERF_V3 static void
foretell_row_v3(const struct ans_plane *p, const uint8_t *v, const uint8_t *o,
                size_t width, uint8_t zero, uint8_t *base, uint8_t *near)
{
    const __m128i z = _mm_set1_epi8((char)zero);
    const __m256i one = _mm256_set1_epi16((int16_t)(p->one * 8));
    const __m256i up = _mm256_set1_epi16(p->up);
    const __m256i left = _mm256_set1_epi16(p->left);
    const __m256i other = _mm256_set1_epi16(p->other);

    for (size_t i = 0; i < width; i = next_chunk(i, width)) {
        __m256i n = _mm256_mullo_epi16(up, far_of_16(v + i - width, z));
        __m128i bytes;

        n = _mm256_add_epi16(n, one);
        if (p->back != 0)
            n = _mm256_add_epi16(
                n, _mm256_mullo_epi16(other, differ_of_16(o + i, width, z)));
        bytes = to_bytes(n);
        _mm_storeu_si128((__m128i *)(void *)(base + i), bytes);
        if (near == NULL)
            continue;
        n = _mm256_mullo_epi16(left, far_of_16(v + i - 1, z));
        bytes = _mm_adds_epu8(bytes, to_bytes(n));
        _mm_storeu_si128((__m128i *)(void *)(near + i), bytes);
    }
    base[0] = first_base(p, v, o, width, zero);
}

#else

static void
foretell_row_v3(const struct ans_plane *p, const uint8_t *v, const uint8_t *o,
                size_t width, uint8_t zero, uint8_t *base, uint8_t *near)
{
    foretell_row(p, v, o, width, zero, base, near);
}

#endif

static void
foretell(const struct ans_plane *p, const uint8_t *v, size_t width,
         size_t plane, uint8_t zero, uint8_t *base, uint8_t *near)
{
    const uint8_t *o = v - p->back * plane;

    if (kerf_cpu_is_v3())
        foretell_row_v3(p, v, o, width, zero, base, near);
    else
        foretell_row(p, v, o, width, zero, base, near);
}

void
kerf_ans_foretell(const struct ans_plane *p, const uint8_t *v, size_t width,
                  size_t plane, uint8_t zero, bool is_first_row, uint8_t *base)
{
    if (is_first_row)
        foretell_first(p, v - p->back * plane, width, zero, base);
    else
        foretell(p, v, width, plane, zero, base, NULL);
}

static uint8_t
sum_of(unsigned a, unsigned b)
{
    return (uint8_t)(a + b < ANS_NEARS ? a + b : ANS_NEARS - 1);
}

void
kerf_ans_plane_nears(const struct ans_plane *p, const uint8_t *v, size_t width,
                     size_t plane, uint8_t zero, uint8_t *near)
{
    uint8_t base[ANS_ROW_MOST];
    int weight = kerf_ans_weight(p, true);

    kerf_ans_foretell(p, v, width, plane, zero, true, near);
    for (size_t i = 1; i < width; i++)
        near[i] = sum_of(near[i], before_of(weight, v[i - 1], zero));
    for (size_t at = width; at < plane; at += width) {
        foretell(p, v + at, width, plane, zero, base, near + at);
        /* The one above counts as the one before, too. */
        near[at] = sum_of(base[0], before_of(p->left, v[at - width], zero));
    }
}

/* Some values of a plane and what is next to them. */
struct sample {
    size_t count;
    int16_t one[SAMPLES], value[SAMPLES], left[SAMPLES], up[SAMPLES];
};

/* differ: how values differ from both neighbours. */
KERF_INLINE void
take_row(struct sample *s, int16_t *restrict differ, const uint8_t *restrict v,
         size_t width, size_t n, uint8_t zero)
{
    int16_t *value = s->value + s->count;
    int16_t *left = s->left + s->count;
    int16_t *up = s->up + s->count;

    for (size_t i = 0; i < n; i++) {
        value[i] = far_of(v[i], zero);
        left[i] = far_of(v[i - 1], zero);
        up[i] = far_of(v[i - width], zero);
        differ[i] = (int16_t)(2 * value[i] - left[i] - up[i]);
    }
}

KERF_V3 static void
take_row_v3(struct sample *s, int16_t *differ, const uint8_t *v, size_t width,
            size_t n, uint8_t zero)
{
    take_row(s, differ, v, width, n, zero);
}

/* Rows of a plane, as far apart as that they are SAMPLES at most. */
static void
take_sample(struct sample *s, int16_t *differ, const uint8_t *v, size_t width,
            size_t plane, uint8_t zero)
{
    size_t rows = plane / width;
    size_t fit = SAMPLES / width;
    size_t apart = fit == 0 ? rows : (rows - 1 + fit - 1) / fit;
    size_t n = width - 1 < SAMPLES ? width - 1 : SAMPLES;

    for (size_t i = 0; i < SAMPLES; i++)
        s->one[i] = 1;
    s->count = 0;
    for (size_t row = 1; row < rows && s->count + n <= SAMPLES; row += apart) {
        const uint8_t *from = v + row * width + 1;

        if (kerf_cpu_is_v3())
            take_row_v3(s, differ + s->count, from, width, n, zero);
        else
            take_row(s, differ + s->count, from, width, n, zero);
        s->count += n;
    }
}

KERF_INLINE double
dot_of(const int16_t *restrict a, const int16_t *restrict b, size_t n)
{
    int32_t sum = 0; /* at most 512 * 508 * 508 */

    for (size_t i = 0; i < n; i++)
        sum += a[i] * b[i];
    return sum;
}

KERF_V3 static double
dot_v3(const int16_t *a, const int16_t *b, size_t n)
{
    return dot_of(a, b, n);
}

static double
dot(const int16_t *a, const int16_t *b, size_t n)
{
    return kerf_cpu_is_v3() ? dot_v3(a, b, n) : dot_of(a, b, n);
}

/* Solves the normal equations m x = y by elimination; terms that say nothing
 * get 0. */
static void
solve(double m[TERMS][TERMS + 1], size_t terms, double x[TERMS])
{
    for (size_t i = 0; i < terms; i++) {
        if (m[i][i] < 1e-6) {
            m[i][i] = 0;
            continue;
        }
        for (size_t row = i + 1; row < terms; row++) {
            double part = m[row][i] / m[i][i];

            for (size_t k = i; k < terms; k++)
                m[row][k] -= part * m[i][k];
            m[row][TERMS] -= part * m[i][TERMS];
        }
    }
    for (size_t i = terms; i-- > 0;) {
        x[i] = m[i][TERMS];
        for (size_t k = i + 1; k < terms; k++)
            x[i] -= m[i][k] * x[k];
        x[i] = m[i][i] > 0 ? x[i] / m[i][i] : 0;
    }
}

static int
whole(double x, int least, int most)
{
    return (int)fmax(least, fmin(most, rint(x)));
}

static void
fit(struct ans_plane *p, const struct sample *s, const int16_t *other)
{
    const int16_t *term[TERMS] = {s->one, s->left, s->up, other};
    size_t terms = other == NULL ? TERMS - 1 : TERMS;
    double m[TERMS][TERMS + 1];
    double x[TERMS] = {0};

    for (size_t i = 0; i < terms; i++) {
        for (size_t k = 0; k <= i; k++)
            m[i][k] = m[k][i] = dot(term[i], term[k], s->count);
        m[i][TERMS] = dot(term[i], s->value, s->count);
    }
    solve(m, terms, x);
    p->one = (int8_t)whole(x[0] * PARTS / 8, INT8_MIN, INT8_MAX);
    p->left = (uint8_t)whole(x[1] * PARTS, 0, ANS_WEIGHT_MOST);
    p->up = (int8_t)whole(x[2] * PARTS, -ANS_WEIGHT_MOST, ANS_WEIGHT_MOST);
    p->other = (int8_t)whole(x[3] * PARTS, -ANS_WEIGHT_MOST, ANS_WEIGHT_MOST);
}

void
kerf_ans_plane_fit(kerf_ans *a, struct ans_plane *p, const uint8_t *v, size_t k)
{
    const kerf_ans_shape *shape = &a->shape;
    struct sample s;
    int16_t *own = a->differ[k % (BACKS + 1)];
    const int16_t *best = NULL;
    double most = OTHER_LEAST * OTHER_LEAST;
    double norm;

    take_sample(&s, own, v, shape->width, shape->plane, shape->zero);
    norm = dot(own, own, s.count);
    *p = (struct ans_plane){0};
    for (size_t back = 1; back <= BACKS && back <= k; back++) {
        const int16_t *other = a->differ[(k - back) % (BACKS + 1)];
        double both = dot(own, other, s.count);
        double alike = both * both / (norm * dot(other, other, s.count) + 1);

        if (alike > most) {
            most = alike;
            best = other;
            p->back = (uint8_t)back;
        }
    }
    fit(p, &s, best);
}
