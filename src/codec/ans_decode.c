/*
 * The decoder. Streams are read forwards, 8 bytes at a time; a read never goes
 * past the input, whatever the streams say, and each stream must end where the
 * next begins, in the state that the encoder began with.
 */
#include "codec/ans_own.h"

#include "base/bytes.h"
#include "codec/cpu.h"

#include <string.h>

/* A decoder's entry, small so that many stay near: number of the state's bits
 * 0..3, of those as they are 4..7, value 8..15, the next state but for its bits
 * 16..31; without rows that is an index over all tables, else the context comes
 * to it later. */
#define EXTRA_SHIFT 4
#define VALUE_SHIFT 8
#define NEXT_SHIFT 16
#define BITS_MASK 15

/* The highest bit of a stream's 64 is a mark, and the zeros over it say how
 * many have been used: at most 56 are, between two refills. */
#define MARK (UINT64_C(1) << 63)

struct stream {
    const uint8_t *at; /* of bits, when nothing of them is used */
    uint64_t bits;
    uint64_t x;  /* state */
    size_t left; /* distance of the value before */
    uint8_t *v;
};

/* Where the table of the value after v begins, when there are no rows. */
static uint32_t
table_after(const kerf_ans *a, uint8_t v)
{
    unsigned bucket = kerf_ans_bucket(kerf_ans_near(a, v));

    return (uint32_t)a->context_of[bucket] << a->log;
}

static void
make_table(kerf_ans *a, unsigned context)
{
    unsigned size = 1u << a->log;
    uint32_t *table = a->table + (size_t)context * size;
    uint16_t next[ANS_CLASSES];
    uint32_t fixed[ANS_CLASSES] = {0};

    for (unsigned c = 0; c < a->classes; c++) {
        next[c] = a->norm[context][c];
        fixed[c] = (uint32_t)a->extra[c] << EXTRA_SHIFT | (uint32_t)a->base[c]
                                                              << VALUE_SHIFT;
        if (a->shape.width == 0)
            fixed[c] |= table_after(a, a->base[c]) << NEXT_SHIFT;
    }
    kerf_ans_spread(a, context);
    for (unsigned i = 0; i < size; i++) {
        unsigned c = a->spread[i];
        unsigned x = next[c]++;
        unsigned n = a->log - (31 - (unsigned)__builtin_clz(x));

        table[i] = fixed[c] + n + (((x << n) - size) << NEXT_SHIFT);
    }
}

static void
make_lookups(kerf_ans *a)
{
    for (unsigned i = 0; i < 2 * ANS_NEARS; i++) {
        unsigned near = i < ANS_NEARS ? i : ANS_NEARS - 1;

        unsigned context = a->planes ? a->context_near[near]
                                     : a->context_of[kerf_ans_bucket(near)];

        a->from[i] = (uint32_t)context << a->log;
    }
    for (unsigned v = 0; v < 256; v++)
        a->distance[v] = kerf_ans_distance(&a->shape, (uint8_t)v);
}

static bool
read_norms(kerf_ans *a, const uint8_t *in, size_t len)
{
    size_t at = 0; /* bits */

    for (unsigned k = 0; k < a->contexts; k++) {
        uint32_t sum = 0;

        for (unsigned c = 0; c < a->classes; c++) {
            uint32_t word;
            unsigned n;
            unsigned width;

            if (at > len * 8)
                return false;
            memcpy(&word, in + at / 8, sizeof word); /* the pad is behind */
            word >>= at % 8;
            if ((word & 0x7ff) == 0)
                return false;
            width = (unsigned)__builtin_ctz(word);
            n = (word >> (width + 1) & ((1u << width) - 1)) + (1u << width) - 1;
            at += 2 * (size_t)width + 1;
            a->norm[k][c] = (uint16_t)n;
            sum += n;
        }
        if (sum != 1u << a->log)
            return false;
    }
    return (at + 7) / 8 == len;
}

KERF_INLINE void
refill(struct stream *s, const uint8_t *limit)
{
    unsigned used = (unsigned)__builtin_clzll(s->bits);

    s->at += used / 8;
    s->at = s->at > limit ? limit : s->at;
    memcpy(&s->bits, s->at, sizeof s->bits);
    /* one bit of the byte at s->at is used for each that is missing above */
    s->bits = s->bits >> used % 8 | MARK >> used % 8;
}

/* What a decoding loop is made for: known when it is compiled. */
struct way {
    bool extras; /* classes have bits as they are */
    bool rows;   /* contexts are of two neighbours */
    bool up;     /* ... and there is one above */
    bool planes; /* contexts are foretold: up is the base, and of a first row */
    bool first;
};

/* Value i of stream k; `at` is its place in a row. */
KERF_INLINE void
take(const kerf_ans *a, struct stream *s, size_t k, size_t i, size_t at,
     struct way way)
{
    size_t up = way.planes ? a->foretold[k][at]
                : way.up   ? a->distance[s->v[i - a->shape.width]]
                           : s->left;
    uint32_t e = a->table[way.rows ? a->from[s->left + up] + s->x : s->x];
    unsigned n = way.extras ? e & BITS_MASK : (uint8_t)e;
    unsigned rest = 0;

    if (way.extras) {
        unsigned extra = e >> EXTRA_SHIFT & BITS_MASK;

        rest = (unsigned)s->bits & ((1u << extra) - 1);
        s->bits >>= extra;
    }
    s->x = (e >> NEXT_SHIFT) + (s->bits & ((UINT64_C(1) << n) - 1));
    s->bits >>= n;
    s->v[i] = (uint8_t)((e >> VALUE_SHIFT) + rest);
    if (way.planes)
        s->left = a->before[way.first ? 0 : 1][k][s->v[i]];
    else if (way.rows)
        s->left = a->distance[s->v[i]];
}

KERF_INLINE void
take_some(const kerf_ans *a, struct stream *out, size_t i, size_t to,
          const uint8_t *limit, struct way way)
{
    struct stream s0 = out[0];
    struct stream s1 = out[1];
    struct stream s2 = out[2];
    struct stream s3 = out[3];
    size_t start = i;

    while (i < to) {
        size_t end = i + ANS_BATCH;

        refill(&s0, limit);
        refill(&s1, limit);
        refill(&s2, limit);
        refill(&s3, limit);
        if (end > to)
            end = to;
        while (i < end) {
            take(a, &s0, 0, i, i - start, way);
            take(a, &s1, 1, i, i - start, way);
            take(a, &s2, 2, i, i - start, way);
            take(a, &s3, 3, i, i - start, way);
            i++;
        }
    }
    out[0] = s0;
    out[1] = s1;
    out[2] = s2;
    out[3] = s3;
}

/* The row at `at` of the planes p, one of each stream. */
KERF_INLINE void
take_row(kerf_ans *a, struct stream *s, const struct ans_plane p[ANS_STREAMS],
         size_t at, bool is_first, const uint8_t *limit, bool extras)
{
    size_t width = a->shape.width;
    struct way way = {
        .extras = extras, .rows = true, .planes = true, .first = is_first};

    for (size_t k = 0; k < ANS_STREAMS; k++) {
        const uint8_t *v = s[k].v + at;

        kerf_ans_foretell(&p[k], v, width, a->shape.plane, a->shape.zero,
                          is_first, a->foretold[k]);
        s[k].left = is_first ? 0 : a->before[1][k][*(v - width)];
    }
    take_some(a, s, at, at + width, limit, way);
}

/* planes: the weights. False: they are none. */
KERF_INLINE bool
take_planes(kerf_ans *a, struct stream *s, size_t quarter, const uint8_t *limit,
            const uint8_t *planes, bool extras)
{
    size_t plane = a->shape.plane;
    size_t count = quarter / plane;

    for (size_t at = 0; at < quarter; at += plane) {
        struct ans_plane p[ANS_STREAMS];

        for (size_t k = 0; k < ANS_STREAMS; k++) {
            size_t before = at / plane;
            kerf_rd r = {.at = planes + (k * count + before) * ANS_PLANE_BYTES,
                         .left = ANS_PLANE_BYTES};

            if (!kerf_ans_plane_get(&r, &p[k], before))
                return false;
            kerf_ans_before_all(a->before[0][k], kerf_ans_weight(&p[k], true),
                                a->shape.zero);
            kerf_ans_before_all(a->before[1][k], kerf_ans_weight(&p[k], false),
                                a->shape.zero);
        }
        take_row(a, s, p, at, true, limit, extras);
        for (size_t row = a->shape.width; row < plane; row += a->shape.width)
            take_row(a, s, p, at + row, false, limit, extras);
    }
    return true;
}

KERF_INLINE bool
take_all(kerf_ans *a, struct stream *s, size_t quarter, const uint8_t *limit,
         const uint8_t *planes, bool extras)
{
    struct way way = {.extras = extras};
    size_t width = a->shape.width;

    if (a->planes)
        return take_planes(a, s, quarter, limit, planes, extras);
    if (width == 0) {
        take_some(a, s, 0, quarter, limit, way);
        return true;
    }
    width = width < quarter ? width : quarter;
    way.rows = true;
    take_some(a, s, 0, width, limit, way);
    way.up = true;
    take_some(a, s, width, quarter, limit, way);
    return true;
}

KERF_V3 static bool
take_all_v3(kerf_ans *a, struct stream *s, size_t quarter, const uint8_t *limit,
            const uint8_t *planes, bool extras)
{
    return extras ? take_all(a, s, quarter, limit, planes, true)
                  : take_all(a, s, quarter, limit, planes, false);
}

static bool
take_streams(kerf_ans *a, struct stream *s, size_t quarter,
             const uint8_t *limit, const uint8_t *planes)
{
    bool extras = kerf_ans_has_extras(a);

    return kerf_cpu_is_v3() ? take_all_v3(a, s, quarter, limit, planes, extras)
                            : take_all(a, s, quarter, limit, planes, extras);
}

/* What is there with planes only: their size, the weights, to *planes, and the
 * contexts. */
static bool
read_planes(kerf_ans *a, kerf_rd *r, size_t count, const uint8_t **planes)
{
    a->shape.plane = kerf_rd_u32(r);
    if (r->bad || !kerf_ans_has_planes(&a->shape, count))
        return false;
    *planes = kerf_rd_bytes(r, count / a->shape.plane * ANS_PLANE_BYTES);
    a->contexts = a->starts + 1u;
    if (a->contexts > ANS_BUCKETS)
        return false;
    for (unsigned k = 1; k < a->contexts; k++)
        a->first[k] = kerf_rd_u8(r);
    return !r->bad && kerf_ans_set_nears(a);
}

/* planes: where their weights are, if there are any. */
static bool
read_head(kerf_ans *a, kerf_rd *r, size_t count, const uint8_t **planes)
{
    const uint8_t *table;
    uint8_t kind = kerf_rd_u8(r);
    size_t len;

    a->planes = kind == ANS_KIND_PLANES;
    a->shape.kind = a->planes ? KERF_ANS_LOG : (kerf_ans_kind)kind;
    a->shape.max = kerf_rd_u8(r);
    a->shape.zero = kerf_rd_u8(r);
    a->log = kerf_rd_u8(r);
    a->starts = kerf_rd_u16(r);
    len = kerf_rd_u16(r);
    a->shape.width = kerf_rd_u32(r);
    if (r->bad || kind > ANS_KIND_PLANES || a->log < ANS_LOG_MIN ||
        a->log > ANS_LOG_MAX || !kerf_ans_lay_out(a))
        return false;
    if (a->planes ? !read_planes(a, r, count, planes)
                  : !kerf_ans_set_contexts(a))
        return false;
    table = kerf_rd_bytes(r, len);
    if (r->bad || r->left < KERF_ANS_PAD || !read_norms(a, table, len))
        return false;
    for (unsigned k = 0; k < a->contexts; k++)
        make_table(a, k);
    make_lookups(a);
    return true;
}

bool
kerf_ans_decode(kerf_ans *a, const uint8_t *in, size_t len, uint8_t *v,
                size_t count)
{
    kerf_rd r = {.at = in, .left = len};
    size_t quarter = count / ANS_STREAMS;
    size_t tail = count % ANS_STREAMS;
    struct stream s[ANS_STREAMS] = {0};
    size_t size[ANS_STREAMS];
    const uint8_t *start[ANS_STREAMS];
    const uint8_t *last;
    const uint8_t *after;
    const uint8_t *planes = NULL;

    if (quarter == 0 || !read_head(a, &r, count, &planes))
        return false;
    for (size_t k = 0; k < ANS_STREAMS; k++)
        s[k].x = kerf_rd_u16(&r);
    for (size_t k = 0; k + 1 < ANS_STREAMS; k++)
        size[k] = kerf_rd_u32(&r);
    last = kerf_rd_bytes(&r, tail);
    if (last == NULL || r.left < KERF_ANS_PAD)
        return false;
    memcpy(v + ANS_STREAMS * quarter, last, tail);
    after = r.at + r.left - KERF_ANS_PAD;
    for (size_t k = 0; k < ANS_STREAMS; k++) {
        if (k + 1 == ANS_STREAMS)
            size[k] = (size_t)(after - r.at);
        s[k].v = v + k * quarter;
        s[k].at = start[k] = r.at;
        if (s[k].x >> a->log != 0 || size[k] == 0 ||
            size[k] > (size_t)(after - r.at) || *r.at == 0)
            return false;
        /* As if the bits up to the encoder's mark had been used. */
        s[k].bits = MARK >> (__builtin_ctz(*r.at) + 1);
        r.at += size[k];
    }
    if (!take_streams(a, s, quarter, after, planes))
        return false;
    for (size_t k = 0; k < ANS_STREAMS; k++) {
        const uint8_t *end = k + 1 < ANS_STREAMS ? start[k + 1] : after;
        unsigned used = (unsigned)__builtin_clzll(s[k].bits);

        if (s[k].x % (1u << a->log) != 0 || used % 8 != 0 ||
            s[k].at + used / 8 != end)
            return false;
    }
    return true;
}
