#include "model/units.h"

#include <stdlib.h>
#include <string.h>

#include "base/rng.h"
#include "codec/plan.h"
#include "graph/weights.h"

#define BIG ((size_t)4096)           /* records from here on have own units */
#define GROUP_MOST ((size_t)1 << 16) /* of smaller ones */
#define GAP_MOST ((size_t)1024)      /* before a record's elements: its head */
#define SHORT ((size_t)1 << 20)   /* other bytes up to here are a graph or so */
#define SHORT_MEAN ((size_t)2048) /* of units of those */
#define LONG_MEAN ((size_t)32768)

struct maker {
    const uint8_t *data;
    size_t begin;   /* of the unit that is open */
    unsigned shift; /* units are so much longer, that there be fewer */
    kerf_unit *unit;
    size_t count, room;
    const uint64_t *gear; /* a number for each value of a byte */
    bool too_many;
};

/* What is open, up to end; nothing when that is nothing. */
static kerf_err
end_unit(struct maker *m, size_t end)
{
    while (m->begin < end) {
        size_t len = end - m->begin;

        if (m->count == KERF_UNITS_MOST) {
            m->too_many = true;
            return KERF_OK;
        }
        if (m->count == m->room) {
            size_t room = m->room > 0 ? 2 * m->room : 64;
            kerf_unit *grown = reallocarray(m->unit, room, sizeof *grown);

            if (grown == NULL)
                return KERF_ENOMEM;
            m->unit = grown;
            m->room = room;
        }
        len = len < KERF_UNIT_MOST ? len : KERF_UNIT_MOST;
        m->unit[m->count++] = (kerf_unit){.len = (uint32_t)len};
        m->begin += len;
    }
    return KERF_OK;
}

/* The end of a unit that begins at `from`: where a sum over the last 64 bytes
 * has zeros, more of them before the mean length than behind it (FastCDC, Xia
 * et al. 2016). mean: a power of two. */
static size_t
find_end(const struct maker *m, size_t from, size_t end, size_t mean)
{
    size_t left = end - from;
    size_t most = left < 8 * mean ? left : 8 * mean;
    const uint64_t few = (mean / 4 - 1) << 40;
    const uint64_t many = (mean * 4 - 1) << 40;
    uint64_t sum = 0;

    for (size_t i = mean / 4 > 64 ? mean / 4 - 64 : 0; i < most; i++) {
        sum = (sum << 1) + m->gear[m->data[from + i]];
        if (i >= mean / 4 && (sum & (i < mean ? many : few)) == 0)
            return from + i + 1;
    }
    return from + most;
}

static kerf_err
split_bytes(struct maker *m, size_t end)
{
    size_t mean = (end - m->begin <= SHORT ? SHORT_MEAN : LONG_MEAN)
                  << m->shift;
    kerf_err err = KERF_OK;

    mean = mean < KERF_UNIT_MOST / 8 ? mean : KERF_UNIT_MOST / 8;
    while (err == KERF_OK && m->begin < end && !m->too_many)
        err = end_unit(m, find_end(m, m->begin, end, mean));
    return err;
}

/* A big record, which ends with its elements s: split where the codec's blocks
 * begin. *block is the first that may begin in it. */
static kerf_err
split_record(struct maker *m, const kerf_segment *s, const kerf_plan *plan,
             size_t *block)
{
    kerf_err err = KERF_OK;

    for (; *block < plan->block_count && err == KERF_OK; (*block)++) {
        size_t at = plan->block[*block].offset;

        if (at >= s->offset + s->len)
            break;
        if (at > s->offset && at - m->begin >= BIG << m->shift)
            err = end_unit(m, at);
    }
    return err == KERF_OK ? end_unit(m, s->offset + s->len) : err;
}

/* Whether a small record is the last of its unit: the longer, the likelier. */
static bool
ends_group(const struct maker *m, size_t start, size_t end)
{
    size_t mean = BIG << m->shift;
    uint64_t chance = kerf_xxh3(m->data + start, end - start) % mean;

    return chance < end - start || end - m->begin >= GROUP_MOST << m->shift;
}

static kerf_err
take_record(struct maker *m, const kerf_segment *s, const kerf_plan *plan,
            size_t *block, size_t *at)
{
    size_t end = s->offset + s->len;
    kerf_err err = KERF_OK;

    if (s->offset - *at > GAP_MOST) {
        err = end_unit(m, *at);
        if (err == KERF_OK)
            err = split_bytes(m, s->offset);
        *at = s->offset;
    }
    if (err == KERF_OK && end - *at >= BIG << m->shift) {
        err = end_unit(m, *at);
        if (err == KERF_OK)
            err = split_record(m, s, plan, block);
    } else if (err == KERF_OK && ends_group(m, *at, end)) {
        err = end_unit(m, end);
    }
    *at = end;
    return err;
}

static kerf_err
make(struct maker *m, size_t len, const kerf_segment *segment, size_t count,
     const kerf_plan *plan)
{
    size_t at = 0;
    size_t block = 0;
    kerf_err err = KERF_OK;

    m->begin = m->count = 0;
    m->too_many = false;
    for (size_t i = 0; i < count && err == KERF_OK && !m->too_many; i++) {
        const kerf_segment *s = &segment[i];

        if (s->offset >= at && s->offset <= len && s->len <= len - s->offset)
            err = take_record(m, s, plan, &block, &at);
    }
    if (err == KERF_OK && !m->too_many)
        err = end_unit(m, at);
    return err == KERF_OK && !m->too_many ? split_bytes(m, len) : err;
}

static kerf_err
hash_units(struct maker *m)
{
    kerf_sha256 *hash = NULL;
    const uint8_t *at = m->data;
    kerf_err err = kerf_sha256_new(&hash);

    for (size_t i = 0; err == KERF_OK && i < m->count; i++) {
        kerf_sha256_add(hash, at, m->unit[i].len);
        kerf_sha256_end(hash, m->unit[i].sha256);
        at += m->unit[i].len;
    }
    kerf_sha256_free(hash);
    return err;
}

kerf_err
kerf_units_make(kerf_file *file, const uint8_t *data, size_t len)
{
    uint64_t gear[256];
    uint64_t seed = 1; /* that all clouds cut at the same places */
    struct maker m = {.data = data, .gear = gear};
    kerf_segment *segment = NULL;
    size_t count = 0;
    kerf_plan plan = {.block_count = 0};
    kerf_err err = kerf_weights_find(data, len, &segment, &count);

    kerf_units_drop(file);
    for (int i = 0; i < 256; i++)
        gear[i] = kerf_rng_next(&seed);
    if (err == KERF_OK && count > 0)
        err = kerf_plan_make(&plan, data, len, segment, count);
    if (err == KERF_OK)
        err = make(&m, len, segment, count, &plan);
    while (err == KERF_OK && m.too_many) {
        m.shift++;
        err = make(&m, len, segment, count, &plan);
    }
    if (err == KERF_OK)
        err = hash_units(&m);
    if (err == KERF_OK && m.count > 1) { /* one is the file itself */
        file->unit = m.unit;
        file->unit_count = m.count;
        m.unit = NULL;
    }
    free(m.unit);
    free(segment);
    kerf_plan_fini(&plan);
    return err;
}
