/*
 * The encoder. Symbols are coded from the last to the first, and bits are put
 * in front of those that are there, so that the decoder reads forwards.
 */
#include "codec/ans_own.h"

#include "base/bytes.h"
#include "codec/cpu.h"

#include <stdlib.h>
#include <string.h>

/* A context pays for its table (35 bytes, 2 us) from about so many values. */
#define CONTEXT_LEAST 1024
#define CONTEXT_SHARE 12 /* and this fraction of all */
/* From so many values on only the first ones of each step are counted. */
#define COUNT_ALL ((size_t)32 << 10)
#define COUNT_STEP 128
#define COUNT_RUN 32
#define NEAR_STEP 4 /* of nears one in so many is counted */
#define LOOK 8192   /* values that say whether rows are alike */

struct stream {
    uint64_t bits; /* still to be written, under a mark: the highest 1 */
    uint32_t x;
    uint8_t *at; /* start of what is written */
};

size_t
kerf_ans_scratch(size_t count)
{
    /* A near each; 14 bits a value and 8 bytes that are written ahead, for
     * each stream */
    return count * 3 + (size_t)ANS_STREAMS * 16;
}

KERF_INLINE uint8_t
near_of(const kerf_ans_shape *shape, uint8_t left, uint8_t up)
{
    unsigned sum =
        (unsigned)kerf_ans_distance(shape, left) + kerf_ans_distance(shape, up);

    return (uint8_t)(sum < ANS_NEARS ? sum : ANS_NEARS - 1);
}

/* What says the context of each value: `back` before it is its near, by rows,
 * or the value before it. The first one of a quarter has none. */
struct guide {
    const uint8_t *at;
    size_t back;
};

/* The nears of one quarter, by rows. */
KERF_INLINE void
find_nears(const kerf_ans_shape *shape, uint8_t *restrict near,
           const uint8_t *restrict v, size_t quarter)
{
    size_t width = shape->width < quarter ? shape->width : quarter;

    for (size_t i = 1; i < width; i++)
        near[i] = near_of(shape, v[i - 1], v[i - 1]);
    for (size_t i = width; i < quarter; i++)
        near[i] = near_of(shape, v[i - 1], v[i - width]);
}

KERF_V3 static void
find_nears_v3(const kerf_ans_shape *shape, uint8_t *near, const uint8_t *v,
              size_t quarter)
{
    kerf_ans_shape known = *shape;

    known.kind = KERF_ANS_LOG; /* so that the loop does not ask */
    if (shape->kind == KERF_ANS_LOG)
        find_nears(&known, near, v, quarter);
    else
        find_nears(shape, near, v, quarter);
}

/* Whether values are about as much like those above as like those before. */
static bool
rows_are_alike(const kerf_ans_shape *shape, const uint8_t *v, size_t count)
{
    size_t width = shape->width;
    size_t end = count < width + LOOK ? count : width + LOOK;
    unsigned long before = 0;
    unsigned long above = 0;

    for (size_t i = width; width > 0 && i < end; i++) {
        before += (unsigned)abs(v[i] - v[i - 1]);
        above += (unsigned)abs(v[i] - v[i - width]);
    }
    return above < 2 * before;
}

/* Fits the weights of all planes, writes them down, and finds the nears. */
static void
find_plane_nears(kerf_ans *a, kerf_wr *w, uint8_t *near, const uint8_t *v,
                 size_t quarter)
{
    const kerf_ans_shape *s = &a->shape;

    for (size_t at = 0; at < ANS_STREAMS * quarter; at += s->plane) {
        struct ans_plane p;

        kerf_ans_plane_fit(a, &p, v + at, at % quarter / s->plane);
        kerf_ans_plane_put(w, &p);
        kerf_ans_plane_nears(&p, v + at, s->width, s->plane, s->zero,
                             near + at);
    }
}

static struct guide
find_guide(kerf_ans *a, kerf_wr *w, uint8_t *near, const uint8_t *v,
           size_t quarter)
{
    if (a->planes)
        find_plane_nears(a, w, near, v, quarter);
    if (a->planes)
        return (struct guide){.at = near, .back = 0};
    if (a->shape.width == 0)
        return (struct guide){.at = v, .back = 1};
    for (size_t at = 0; at < ANS_STREAMS * quarter; at += quarter) {
        if (kerf_cpu_is_v3())
            find_nears_v3(&a->shape, near + at, v + at, quarter);
        else
            find_nears(&a->shape, near + at, v + at, quarter);
    }
    return (struct guide){.at = near, .back = 0};
}

/* Of what guides to it; with planes, its context. */
static unsigned
bucket_of(const kerf_ans *a, unsigned guide)
{
    if (a->planes)
        return a->context_near[guide];
    if (a->shape.width == 0)
        guide = kerf_ans_near(a, (uint8_t)guide);
    return kerf_ans_bucket(guide);
}

static unsigned
context_at(const kerf_ans *a, unsigned guide)
{
    unsigned bucket = bucket_of(a, guide);

    return a->planes ? bucket : a->context_of[bucket];
}

/* How often each class has each bucket. One count per stream: the next value is
 * often the same, and would wait for the first one's count. Of many values a
 * part is enough. */
static void
count_all(kerf_ans *a, struct guide guide, const uint8_t *v, size_t quarter)
{
    uint32_t *count = a->count[0];
    size_t skip = quarter * ANS_STREAMS >= COUNT_ALL ? COUNT_STEP : COUNT_RUN;

    for (unsigned i = 0; i < ANS_NEARS; i++)
        a->row[i] = (uint16_t)(bucket_of(a, i) * ANS_CLASSES);
    memset(a->count, 0, sizeof a->count);
    for (size_t s = 0; s < ANS_STREAMS; s++)
        a->count[s][a->class_of[v[s * quarter]]]++;
    for (size_t at = 0; at < quarter; at += skip) {
        size_t end = at + COUNT_RUN < quarter ? at + COUNT_RUN : quarter;

        for (size_t i = at > 0 ? at : 1; i < end; i++) {
            for (size_t s = 0; s < ANS_STREAMS; s++) {
                size_t k = s * quarter + i;
                unsigned row = a->row[guide.at[k - guide.back]];

                a->count[s][row + a->class_of[v[k]]]++;
            }
        }
    }
    for (size_t i = 0; i < (size_t)ANS_BUCKETS * ANS_CLASSES; i++)
        count[i] += a->count[1][i] + a->count[2][i] + a->count[3][i];
    if (skip == COUNT_RUN)
        return;
    for (size_t i = 0; i < ANS_BUCKETS; i++) { /* the others may have any */
        for (size_t c = 0; c < a->classes; c++)
            count[i * ANS_CLASSES + c]++;
    }
}

/* With planes: as many contexts as there are, each with its share of values. */
static void
choose_nears(kerf_ans *a, const uint8_t *near, size_t count)
{
    uint32_t have[ANS_NEARS] = {0};
    size_t left = 0;
    size_t least;
    size_t sum = 0;

    for (size_t i = 0; i < count; i += NEAR_STEP) {
        have[near[i]]++;
        left++;
    }
    least = left / ANS_BUCKETS;
    if (least < CONTEXT_LEAST / NEAR_STEP)
        least = CONTEXT_LEAST / NEAR_STEP;
    a->contexts = 1;
    for (unsigned i = 0; i < ANS_NEARS; i++) {
        if (sum >= least && left >= least && a->contexts < ANS_BUCKETS) {
            a->first[a->contexts++] = (uint8_t)i;
            sum = 0;
        }
        sum += have[i];
        left -= have[i];
    }
    (void)kerf_ans_set_nears(a);
}

/* Joins neighbouring buckets until each context has enough values; their counts
 * end up in the rows of the contexts. */
static void
choose_contexts(kerf_ans *a)
{
    size_t counted = 0;
    size_t least;
    size_t have = 0;
    unsigned to = 0;
    uint32_t *row = a->count[0];

    for (size_t i = 0; i < (size_t)ANS_BUCKETS * ANS_CLASSES; i++)
        counted += row[i];
    least = counted / CONTEXT_SHARE;
    if (least < CONTEXT_LEAST)
        least = CONTEXT_LEAST;
    a->starts = 1;
    for (unsigned b = 0; b < ANS_BUCKETS; b++) {
        const uint32_t *from = row + ((size_t)b * ANS_CLASSES);
        uint32_t *into = row + ((size_t)to * ANS_CLASSES);
        size_t sum = 0;

        for (unsigned c = 0; c < a->classes; c++)
            sum += from[c];
        if (b > 0 && have >= least && sum > 0) {
            a->starts |= (uint16_t)(1u << b);
            into = row + ((size_t)++to * ANS_CLASSES);
            have = 0;
            memmove(into, from, a->classes * sizeof *into);
        } else if (into != from) {
            for (unsigned c = 0; c < a->classes; c++)
                into[c] += from[c];
        }
        have += sum;
    }
}

/* Counts to frequencies whose sum is the number of states. */
static void
normalise(kerf_ans *a, unsigned context)
{
    const uint32_t *count = a->count[0] + (size_t)context * ANS_CLASSES;
    uint16_t *norm = a->norm[context];
    uint64_t total = 0;
    int left = 1 << a->log;
    unsigned top = 0;

    for (unsigned c = 0; c < a->classes; c++)
        total += count[c];
    for (unsigned c = 0; c < a->classes; c++) {
        uint64_t n = count[c] == 0
                         ? 0
                         : (((uint64_t)count[c] << a->log) + total / 2) / total;

        norm[c] = (uint16_t)(n == 0 && count[c] > 0 ? 1 : n);
        left -= norm[c];
        if (norm[c] > norm[top])
            top = c;
    }
    if (total == 0) { /* never used, but a table has its sum */
        norm[0] = (uint16_t)(1u << a->log);
        return;
    }
    /* What is over goes to the greatest; what is missing is taken from all. */
    while (left < 0) {
        unsigned most = 0;
        unsigned take;

        for (unsigned c = 0; c < a->classes; c++) {
            if (norm[c] > norm[most])
                most = c;
        }
        take = norm[most] / 8u + 1;
        if (take > (unsigned)-left)
            take = (unsigned)-left;
        norm[most] = (uint16_t)(norm[most] - take);
        left += (int)take;
    }
    norm[top] = (uint16_t)(norm[top] + left);
}

static void
make_steps(kerf_ans *a, unsigned context)
{
    unsigned size = 1u << a->log;
    struct ans_step *step = a->step + (size_t)context * 256;
    struct ans_step of[ANS_CLASSES] = {{0}};
    uint16_t *state = a->state + (size_t)context * size;
    uint16_t next[ANS_CLASSES];
    unsigned sum = 0;

    for (unsigned c = 0; c < a->classes; c++) {
        unsigned n = a->norm[context][c];
        unsigned most; /* bits */

        next[c] = (uint16_t)sum;
        if (n == 0)
            continue;
        most = n == 1 ? a->log : a->log - (31 - (unsigned)__builtin_clz(n - 1));
        of[c] = (struct ans_step){
            .delta_bits = (most << 16) - (n << most),
            .delta_state = (int32_t)(context * size + sum) - (int32_t)n,
            .extra = a->extra[c]};
        sum += n;
    }
    for (unsigned v = 0; v <= a->shape.max; v++) {
        step[v] = of[a->class_of[v]];
        step[v].rest = a->rest[v];
    }
    kerf_ans_spread(a, context);
    for (unsigned i = 0; i < size; i++)
        state[next[a->spread[i]]++] = (uint16_t)(size + i);
}

static void
put_gamma(uint8_t *out, size_t *at, unsigned n)
{
    unsigned len = 31 - (unsigned)__builtin_clz(n + 1);
    uint32_t code = (n + 1 - (1u << len)) << (len + 1) | 1u << len;
    uint64_t word;

    /* len zeros, a one, len bits; out is zeroed and has 8 bytes more */
    memcpy(&word, out + *at / 8, sizeof word);
    word |= (uint64_t)code << *at % 8;
    memcpy(out + *at / 8, &word, sizeof word);
    *at += 2 * (size_t)len + 1;
}

/* Puts one value in front, in the context of the one before it. */
KERF_INLINE void
put(const kerf_ans *a, uint64_t *bits, uint32_t *x, unsigned row,
    unsigned value, bool extras)
{
    const struct ans_step *step = a->step + row + value;
    unsigned n = (*x + step->delta_bits) >> 16;

    *bits = *bits << n | (*x & ((1u << n) - 1));
    if (extras)
        *bits = *bits << step->extra | step->rest;
    *x = a->state[(int32_t)(*x >> n) + step->delta_state];
}

/* Writes whole bytes before *at; fewer than 8 bits stay. */
KERF_INLINE void
flush(uint64_t *bits, uint8_t **at)
{
    unsigned zeros = (unsigned)__builtin_clzll(*bits);
    unsigned count = 63 - zeros;
    uint64_t word = *bits << zeros << 1;

    memcpy(*at - 8, &word, sizeof word);
    *at -= count / 8;
    count %= 8;
    *bits = (*bits & ((1u << count) - 1)) | 1u << count;
}

/* The streams' bits and states are locals, so that most stay in registers. */
KERF_INLINE void
put_all(const kerf_ans *a, struct stream *s, struct guide guide,
        const uint8_t *v, size_t quarter, bool extras)
{
    uint64_t b0 = 1;
    uint64_t b1 = 1;
    uint64_t b2 = 1;
    uint64_t b3 = 1;
    uint32_t x0 = 1u << a->log;
    uint32_t x1 = x0;
    uint32_t x2 = x0;
    uint32_t x3 = x0;
    size_t i = quarter - 1;

    while (i > 0) {
        size_t end = i >= ANS_BATCH ? i - ANS_BATCH : 0;

        for (; i > end; i--) {
            size_t k = i;

            put(a, &b0, &x0, a->row[guide.at[k - guide.back]], v[k], extras);
            k += quarter;
            put(a, &b1, &x1, a->row[guide.at[k - guide.back]], v[k], extras);
            k += quarter;
            put(a, &b2, &x2, a->row[guide.at[k - guide.back]], v[k], extras);
            k += quarter;
            put(a, &b3, &x3, a->row[guide.at[k - guide.back]], v[k], extras);
        }
        flush(&b0, &s[0].at);
        flush(&b1, &s[1].at);
        flush(&b2, &s[2].at);
        flush(&b3, &s[3].at);
    }
    s[0].bits = b0;
    s[1].bits = b1;
    s[2].bits = b2;
    s[3].bits = b3;
    s[0].x = x0;
    s[1].x = x1;
    s[2].x = x2;
    s[3].x = x3;
}

KERF_V3 static void
put_all_v3(const kerf_ans *a, struct stream *s, struct guide guide,
           const uint8_t *v, size_t quarter, bool extras)
{
    if (extras)
        put_all(a, s, guide, v, quarter, true);
    else
        put_all(a, s, guide, v, quarter, false);
}

static void
put_streams(const kerf_ans *a, struct stream *s, struct guide guide,
            const uint8_t *v, size_t quarter)
{
    bool extras = kerf_ans_has_extras(a);

    if (kerf_cpu_is_v3())
        put_all_v3(a, s, guide, v, quarter, extras);
    else
        put_all(a, s, guide, v, quarter, extras);
    for (size_t k = 0; k < ANS_STREAMS; k++) {
        /* the first one has near 0 */
        put(a, &s[k].bits, &s[k].x, 0, v[k * quarter], extras);
        flush(&s[k].bits, &s[k].at);
        s[k].bits = s[k].bits << 1 | 1; /* where the decoder begins */
        flush(&s[k].bits, &s[k].at);
    }
}

static void
make_tables(kerf_ans *a, size_t count)
{
    a->log = count < 2048 ? 8 : count < ((size_t)128 << 10) ? 9 : 10;
    if (!a->planes) {
        choose_contexts(a);
        (void)kerf_ans_set_contexts(a);
    }
    for (unsigned k = 0; k < a->contexts; k++) {
        normalise(a, k);
        make_steps(a, k);
    }
    for (unsigned i = 0; i < ANS_NEARS; i++)
        a->row[i] = (uint16_t)(context_at(a, i) * 256u);
}

/* The tables, and before them the first nears of contexts. Returns the bytes of
 * the tables. */
static size_t
write_tables(const kerf_ans *a, kerf_wr *w)
{
    size_t bits = 0;
    uint8_t *table;

    for (unsigned k = 1; a->planes && k < a->contexts; k++)
        kerf_wr_u8(w, a->first[k]);
    if (w->bad || w->left < ANS_TABLE_MAX + 8) {
        w->bad = true;
        return 0;
    }
    table = w->at;
    memset(table, 0, ANS_TABLE_MAX + 8);
    for (unsigned k = 0; k < a->contexts; k++) {
        for (unsigned c = 0; c < a->classes; c++)
            put_gamma(table, &bits, a->norm[k][c]);
    }
    w->at += (bits + 7) / 8;
    w->left -= (bits + 7) / 8;
    return (bits + 7) / 8;
}

static void
write_head(const kerf_ans *a, uint8_t *out, size_t table_len)
{
    kerf_wr w = {.at = out, .left = ANS_HEAD};

    kerf_wr_u8(&w, a->planes ? ANS_KIND_PLANES : (uint8_t)a->shape.kind);
    kerf_wr_u8(&w, a->shape.max);
    kerf_wr_u8(&w, a->shape.zero);
    kerf_wr_u8(&w, (uint8_t)a->log);
    kerf_wr_u16(&w, a->planes ? (uint16_t)(a->contexts - 1) : a->starts);
    kerf_wr_u16(&w, (uint16_t)table_len);
    kerf_wr_u32(&w, a->shape.width);
}

size_t
kerf_ans_encode(kerf_ans *a, const kerf_ans_shape *shape, const uint8_t *v,
                size_t count, uint8_t *scratch, uint8_t *out, size_t cap)
{
    size_t quarter = count / ANS_STREAMS;
    size_t tail = count % ANS_STREAMS;
    struct guide guide;
    struct stream s[ANS_STREAMS];
    const uint8_t *end[ANS_STREAMS];
    kerf_wr w;
    size_t len;

    a->shape = *shape;
    a->planes = kerf_ans_has_planes(shape, count);
    if (!a->planes && !rows_are_alike(shape, v, count))
        a->shape.width = 0;
    if (quarter == 0 || cap < ANS_HEAD || !kerf_ans_lay_out(a))
        return 0;
    w = (kerf_wr){.at = out + ANS_HEAD, .left = cap - ANS_HEAD};
    if (a->planes)
        kerf_wr_u32(&w, shape->plane);
    guide = find_guide(a, &w, scratch, v, quarter);
    if (a->planes)
        choose_nears(a, guide.at, count);
    count_all(a, guide, v, quarter);
    make_tables(a, count);
    len = write_tables(a, &w);
    if (w.bad)
        return 0;
    write_head(a, out, len);
    for (size_t k = 0; k < ANS_STREAMS; k++)
        end[k] = s[k].at = scratch + count + (k + 1) * (quarter * 2 + 16);
    put_streams(a, s, guide, v, quarter);
    for (size_t k = 0; k < ANS_STREAMS; k++)
        kerf_wr_u16(&w, (uint16_t)(s[k].x - (1u << a->log)));
    for (size_t k = 0; k + 1 < ANS_STREAMS; k++)
        kerf_wr_u32(&w, (uint32_t)(end[k] - s[k].at) + (s[k].bits > 1));
    kerf_wr_bytes(&w, v + ANS_STREAMS * quarter, tail);
    for (size_t k = 0; k < ANS_STREAMS; k++) {
        size_t odd = s[k].bits > 1; /* the bits that are left */

        kerf_wr_bytes(&w, s[k].at - odd, (size_t)(end[k] - s[k].at) + odd);
    }
    kerf_wr_zero(&w, KERF_ANS_PAD);
    return w.bad ? 0 : cap - w.left;
}
