/*
 * What is random on an emulated link, and what is under way on it.
 */
#include "net/link_emu_own.h"

#include "base/rng.h"

#include <math.h>
#include <stdlib.h>

/* (0, 1], 53 bits. */
static double
draw_unit(uint64_t *rng)
{
    return (double)((kerf_rng_next(rng) >> 11) + 1) * 0x1p-53;
}

/* Exponential. */
static uint64_t
draw_ns(uint64_t *rng, double mean_ms)
{
    return (uint64_t)(-log(draw_unit(rng)) * mean_ms * 1e6);
}

static uint64_t
mix(uint64_t seed, uint64_t a, uint64_t b)
{
    uint64_t state = seed ^ a * 0xD6E8FEB86659FD93u ^ b * 0xA3EC647659359ACDu;

    return kerf_rng_next(&state);
}

/* Stalls and outages. */

static void
plan_random(kerf_break_clock *c, const kerf_link_breaks *b, uint64_t from_ns)
{
    c->random_ns =
        b->every_ms > 0 ? from_ns + draw_ns(&c->rng, b->every_ms) : UINT64_MAX;
}

void
kerf_break_start(kerf_break_clock *c, const kerf_link_breaks *b,
                 uint64_t now_ns, uint64_t seed)
{
    c->start_ns = now_ns;
    c->rng = mix(seed, 3, 0);
    c->fixed_done = 0;
    c->until_ns = 0;
    plan_random(c, b, now_ns);
}

static uint64_t
fixed_ns(const kerf_break_clock *c, const kerf_link_breaks *b, size_t i)
{
    return c->start_ns + (uint64_t)(b->at[i].at_ms * 1e6);
}

static void
extend(kerf_break_clock *c, uint64_t until_ns)
{
    if (until_ns > c->until_ns)
        c->until_ns = until_ns;
}

bool
kerf_break_step(kerf_break_clock *c, const kerf_link_breaks *b, uint64_t now_ns,
                bool *begun)
{
    bool was_on = c->on;

    for (size_t i = 0; i < b->count; i++) {
        if ((c->fixed_done >> i & 1) == 0 && fixed_ns(c, b, i) <= now_ns) {
            c->fixed_done |= 1u << i;
            extend(c, fixed_ns(c, b, i) + (uint64_t)(b->at[i].for_ms * 1e6));
        }
    }
    if (c->random_ns <= now_ns) {
        uint64_t until_ns = c->random_ns + draw_ns(&c->rng, b->for_ms);

        extend(c, until_ns);
        plan_random(c, b, until_ns);
    }
    c->on = c->by_hand || c->until_ns > now_ns;
    *begun = c->on && !was_on;
    return c->on;
}

uint64_t
kerf_break_next(const kerf_break_clock *c, const kerf_link_breaks *b)
{
    uint64_t next_ns = c->random_ns;

    for (size_t i = 0; i < b->count; i++) {
        if ((c->fixed_done >> i & 1) == 0 && fixed_ns(c, b, i) < next_ns)
            next_ns = fixed_ns(c, b, i);
    }
    if (c->on && !c->by_hand && c->until_ns < next_ns)
        next_ns = c->until_ns;
    return next_ns;
}

/* Lanes. */

void
kerf_lane_init(kerf_lane *lane, const kerf_link_spec *spec, uint64_t number,
               int way)
{
    *lane = (kerf_lane){.rng = mix(spec->seed, number, (uint64_t)way + 1),
                        .flip_at = UINT64_MAX,
                        .cut_at =
                            spec->cut_bytes > 0 ? spec->cut_bytes : UINT64_MAX};
}

void
kerf_lane_fini(kerf_lane *lane)
{
    while (lane->first != NULL) {
        kerf_chunk *chunk = lane->first;

        lane->first = chunk->next;
        free(chunk);
    }
    lane->last = NULL;
    lane->held = 0;
}

/* Geometric: how many good bytes come first. */
static uint64_t
draw_gap(uint64_t *rng, double flip)
{
    double gap;

    if (flip >= 1)
        return 0;
    gap = log(draw_unit(rng)) / log1p(-flip);
    return gap < 9e15 ? (uint64_t)gap : UINT64_MAX / 2;
}

size_t
kerf_lane_spoil(kerf_lane *lane, double flip, uint8_t *data, size_t len)
{
    uint64_t end = lane->taken + len;
    size_t count = 0;

    if (flip != lane->flip) {
        lane->flip = flip;
        lane->flip_at = UINT64_MAX;
        if (flip > 0)
            lane->flip_at = lane->taken + draw_gap(&lane->rng, flip);
    }
    while (lane->flip_at < end) {
        data[lane->flip_at - lane->taken] ^=
            (uint8_t)(1u << (kerf_rng_next(&lane->rng) & 7));
        lane->flip_at += 1 + draw_gap(&lane->rng, flip);
        count++;
    }
    return count;
}

void
kerf_lane_push(kerf_lane *lane, kerf_chunk *chunk)
{
    chunk->next = NULL;
    if (chunk->at_ns < lane->last_ns)
        chunk->at_ns = lane->last_ns; /* jitter does not overtake */
    lane->last_ns = chunk->at_ns;
    if (lane->last != NULL)
        lane->last->next = chunk;
    else
        lane->first = chunk;
    lane->last = chunk;
    lane->held += chunk->len;
}

kerf_chunk *
kerf_chunk_new(kerf_chunk_kind kind, size_t len)
{
    kerf_chunk *chunk = malloc(sizeof *chunk + len);

    if (chunk != NULL)
        *chunk = (kerf_chunk){.kind = kind, .len = len};
    return chunk;
}
