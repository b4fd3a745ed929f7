#include "codec/plan.h"

#include "codec/detect.h"

#include <stdlib.h>
#include <string.h>

#define BIG ((size_t)64 << 10) /* tensors from here on have own blocks */
#define SMALL                                                                \
    256u                            /* up to here other bytes, if of another \
                                       width than its neighbours */
#define GAP_MOST ((size_t)16 << 10) /* more is in a block of its own */
#define GROUP_MOST ((size_t)256 << 10) /* words of small tensors in a block */
/* Words of a big tensor's block: some more may join them. */
#define PART_MOST ((size_t)KERF_WORDS_MOST / 16 * 15)
#define JOIN_MOST 2048u  /* bytes of those: its codes are not made for them */
#define FILE_LEAST 4096u /* shorter files are one block: more would not pay */
#define SAME_LEAST ((size_t)16 << 10) /* shorter repeats are not looked for */
#define LOOKED_AT                                              \
    ((size_t)64 << 10) /* a detected array is at least so long \
                        */

struct planner {
    kerf_plan *plan;
    const uint8_t *data;
    size_t at;    /* all before is in blocks, or in the open one */
    bool is_open; /* the last block may take more: */
    size_t room;  /* so many bytes of words */
};

static kerf_err plan_bytes(struct planner *p, size_t end);

static kerf_words_as
as_of(kerf_dtype dtype)
{
    return (kerf_words_as){.width = (unsigned)kerf_dtype_size(dtype),
                           .rotated = dtype <= KERF_F64};
}

/* Room for one more element of size bytes. */
static kerf_err
grow(void **array, size_t *room, size_t count, size_t size)
{
    size_t more = *room > 0 ? 2 * *room : 64;
    void *grown;

    if (count < *room)
        return KERF_OK;
    grown = reallocarray(*array, more, size);
    if (grown == NULL)
        return KERF_ENOMEM;
    *array = grown;
    *room = more;
    return KERF_OK;
}

/* A block that begins where the last one ends. */
static kerf_err
add_block(struct planner *p, kerf_words_as as, size_t len)
{
    kerf_plan *plan = p->plan;
    void *array = plan->block;
    kerf_err err =
        grow(&array, &plan->block_room, plan->block_count, sizeof *plan->block);

    plan->block = array;
    if (err != KERF_OK)
        return err;
    plan->block[plan->block_count++] =
        (kerf_block){.offset = p->at,
                     .len = len,
                     .as = as,
                     .same_as = p->at,
                     .stretch_first = plan->stretch_count};
    p->at += len;
    p->is_open = false;
    return KERF_OK;
}

/* To the last block. */
static kerf_err
add_stretch(struct planner *p, size_t gap, size_t words)
{
    kerf_plan *plan = p->plan;
    kerf_block *b = &plan->block[plan->block_count - 1];
    void *array = plan->stretch;
    kerf_err err = grow(&array, &plan->stretch_room, plan->stretch_count,
                        sizeof *plan->stretch);

    plan->stretch = array;
    if (err != KERF_OK)
        return err;
    plan->stretch[plan->stretch_count++] =
        (kerf_stretch){.gap = (uint32_t)gap, .words = (uint32_t)words};
    b->stretch_count++;
    b->len += gap + words;
    p->at += gap + words;
    p->room -= words < p->room ? words : p->room;
    return KERF_OK;
}

/* Bytes of no known structure, which are few: they go into the open block
 * where there is one. */
static kerf_err
plan_gap(struct planner *p, size_t end)
{
    const size_t most = KERF_BLOCK_MOST / 2;
    kerf_plan *plan = p->plan;

    if (end == p->at)
        return KERF_OK;
    if (p->is_open && end - p->at <= GAP_MOST &&
        plan->block[plan->block_count - 1].len < most)
        return add_stretch(p, end - p->at, 0);
    return plan_bytes(p, end);
}

/* Blocks of words of one tensor, as long as each other. */
static kerf_err
plan_parts(struct planner *p, const kerf_segment *s, size_t same_as)
{
    kerf_words_as as = as_of(s->dtype);
    size_t words = s->len / as.width;
    size_t parts = (words + PART_MOST - 1) / PART_MOST;
    size_t part = 0;
    kerf_err err = KERF_OK;

    as.columns = s->columns;
    for (size_t i = 0; i < parts && err == KERF_OK; i++) {
        part = (words / parts + (i < words % parts)) * as.width;
        err = add_block(p, as, 0);
        if (err != KERF_OK)
            break;
        p->plan->block[p->plan->block_count - 1].same_as =
            same_as + (p->at - s->offset);
        err = add_stretch(p, 0, part);
    }
    /* Small tensors behind it may share its last block, and its codes. */
    p->is_open = true;
    p->room = same_as != s->offset    ? 0
              : part / 16 < JOIN_MOST ? part / 16
                                      : JOIN_MOST;
    return err;
}

static bool
fits_open(const struct planner *p, size_t gap, size_t len, kerf_words_as as)
{
    const kerf_block *b = p->plan->block;

    if (!p->is_open)
        return false;
    b += p->plan->block_count - 1;
    return b->as.width == as.width && b->as.rotated == as.rotated &&
           gap <= GAP_MOST && len <= p->room &&
           b->len + gap + len <= KERF_BLOCK_MOST / 2;
}

static kerf_err
plan_small(struct planner *p, const kerf_segment *s)
{
    const kerf_words_as as = as_of(s->dtype);
    size_t gap = s->offset - p->at;
    kerf_err err = KERF_OK;

    if (fits_open(p, gap, s->len, as))
        return add_stretch(p, gap, s->len);
    if (s->len <= SMALL && p->is_open)
        return KERF_OK; /* the gap grows */
    if (gap > GAP_MOST) {
        err = plan_bytes(p, s->offset);
        gap = 0;
    }
    if (err == KERF_OK)
        err = add_block(p, as, 0);
    p->is_open = true;
    p->room = (size_t)as.width * KERF_WORDS_MOST;
    p->room = p->room < GROUP_MOST ? p->room : GROUP_MOST;
    return err == KERF_OK ? add_stretch(p, gap, s->len) : err;
}

static kerf_err
plan_segment(struct planner *p, const kerf_segment *s, size_t same_as)
{
    kerf_err err;

    if (s->len < BIG && same_as == s->offset)
        return plan_small(p, s);
    err = plan_gap(p, s->offset);
    return err == KERF_OK ? plan_parts(p, s, same_as) : err;
}

static bool
is_usable(const kerf_segment *s, size_t at, size_t len)
{
    size_t width = kerf_dtype_size(s->dtype);

    return width > 0 && s->len > 0 && s->len % width == 0 && s->offset >= at &&
           s->offset <= len && s->len <= len - s->offset;
}

/* An array that begins at `from` and goes on as long as each window looks the
 * same; false: none. */
static bool
find_array(const uint8_t *data, size_t from, size_t end, kerf_segment *s)
{
    unsigned phase;
    size_t to = from;

    for (; end - to >= KERF_DETECT_LEN; to += KERF_DETECT_LEN) {
        kerf_dtype dtype;
        size_t width;

        if (!kerf_detect(data + to, &dtype, &phase))
            break;
        width = kerf_dtype_size(dtype);
        if (to == from)
            *s = (kerf_segment){.offset = from + phase, .dtype = dtype};
        else if (dtype != s->dtype || (to + phase - s->offset) % width != 0)
            break;
        s->len = to + KERF_DETECT_LEN - s->offset;
        s->len -= s->len % width;
    }
    return to > from;
}

/* Bytes without a structure that is known, up to end. */
static kerf_err
plan_bytes(struct planner *p, size_t end)
{
    const kerf_words_as bytes = {0};
    kerf_err err = KERF_OK;
    kerf_segment s = {0};

    p->is_open = false;
    for (size_t look = p->at;
         end - look >= KERF_DETECT_LEN && err == KERF_OK;) {
        if (!find_array(p->data, look, end, &s)) {
            look += KERF_DETECT_LEN;
            continue;
        }
        look = s.offset + s.len;
        if (s.len < LOOKED_AT)
            continue;
        while (p->at < s.offset && err == KERF_OK) {
            size_t left = s.offset - p->at;

            err = add_block(p, bytes,
                            left < KERF_BLOCK_MOST ? left : KERF_BLOCK_MOST);
        }
        if (err == KERF_OK)
            err = plan_parts(p, &s, s.offset);
        p->is_open = false;
    }
    while (p->at < end && err == KERF_OK) {
        size_t left = end - p->at;

        err = add_block(p, bytes,
                        left < KERF_BLOCK_MOST ? left : KERF_BLOCK_MOST);
    }
    return err;
}

/* A tensor, to be found by its ends. */
struct found {
    const kerf_segment *segment;
    uint64_t ends;
};

static int
by_ends(const void *a, const void *b)
{
    const struct found *x = a, *y = b;

    if (x->ends != y->ends)
        return x->ends < y->ends ? -1 : 1;
    return x->segment < y->segment ? -1 : x->segment > y->segment;
}

static uint64_t
mix_ends(const uint8_t *data, size_t len)
{
    uint64_t a, b;

    memcpy(&a, data, sizeof a);
    memcpy(&b, data + len - sizeof b, sizeof b);
    return (a ^ (b << 1 | b >> 63)) * 0x9E3779B97F4A7C15u + len;
}

/* Layers that share their weights are in some files twice. same[i]: where the
 * bytes of segment i are first, itself if nowhere before. */
static kerf_err
find_same(size_t *same, const uint8_t *data, size_t len,
          const kerf_segment *segments, size_t count)
{
    struct found *found = calloc(count + 1, sizeof *found);
    size_t n = 0;

    if (found == NULL)
        return KERF_ENOMEM;
    for (size_t i = 0; i < count; i++) {
        const kerf_segment *s = &segments[i];

        same[i] = s->offset;
        if (s->len >= SAME_LEAST && is_usable(s, 0, len))
            found[n++] = (struct found){
                .segment = s, .ends = mix_ends(data + s->offset, s->len)};
    }
    qsort(found, n, sizeof *found, by_ends);
    for (size_t i = 1; i < n; i++) {
        const kerf_segment *a = found[i - 1].segment;
        const kerf_segment *b = found[i].segment;

        if (found[i - 1].ends == found[i].ends && a->len == b->len &&
            a->dtype == b->dtype && b->offset - a->offset >= a->len &&
            memcmp(data + a->offset, data + b->offset, a->len) == 0)
            same[b - segments] = same[a - segments];
    }
    free(found);
    return KERF_OK;
}

static bool
is_weights(const kerf_plan *plan, size_t len)
{
    size_t words = 0;

    for (size_t i = 0; i < plan->stretch_count; i++)
        words += plan->stretch[i].words;
    return len - words <= len / 8;
}

kerf_err
kerf_plan_make(kerf_plan *plan, const uint8_t *data, size_t len,
               const kerf_segment *segments, size_t segment_count)
{
    struct planner p = {.plan = plan, .data = data};
    size_t *same = calloc(segment_count + 1, sizeof *same);
    kerf_err err = KERF_ENOMEM;

    if (len < FILE_LEAST)
        segment_count = 0;
    if (same != NULL)
        err = find_same(same, data, len, segments, segment_count);
    for (size_t i = 0; i < segment_count && err == KERF_OK; i++) {
        if (is_usable(&segments[i], p.at, len))
            err = plan_segment(&p, &segments[i], same[i]);
    }
    if (err == KERF_OK)
        err = plan_gap(&p, len);
    if (err == KERF_OK && len == 0) /* a file has a last block */
        err = add_block(&p, (kerf_words_as){0}, 0);
    plan->is_weights = err == KERF_OK && is_weights(plan, len);
    free(same);
    return err;
}

void
kerf_plan_fini(kerf_plan *plan)
{
    free(plan->block);
    free(plan->stretch);
    *plan = (kerf_plan){0};
}
