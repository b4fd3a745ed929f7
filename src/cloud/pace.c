#include "cloud/pace.h"

#include <string.h>

#define MS UINT64_C(1000000)
#define SECOND (1000 * MS)

#define SHARE 85          /* % of the link that parts take beside tensors */
#define FLOOR 10          /* % of what it took: others shall not starve them */
#define RATE_LEAST 16384u /* whatever the link */
#define RATE_FIRST 262144u
#define RAMP 140 /* % of the step before */
#define RAMP_STEP (20 * MS)
#define RAMP_AHEAD 2 /* times what arrives: no use beyond */
#define RAMP_LAST (500 * MS)
#define LATE (2 * MS) /* and twice what pings are late by anyhow: */
#define NOISE_MOST (3 * MS)
#define NOISE_OF 16   /* pings, about, that this is told from */
#define LATE_RAMP 2   /* pings in a row: one may have met a busy edge */
#define LATE_STEADY 4 /* likewise, where nothing is expected */
#define DRAIN_MOST (200 * MS)
#define STEADY_LAST (10 * SECOND)
#define BASE_LAST (5 * SECOND) /* two clocks drift apart */
#define MEASURE_LEAST (200 * MS)
#define TICK_RAMP_MS 20
#define TICK_MS 50

static uint64_t
per_second(uint64_t bytes, uint64_t ns)
{
    return ns == 0 ? 0 : (uint64_t)((double)bytes * 1e9 / (double)ns);
}

static uint64_t
percent(uint64_t rate, unsigned of_hundred)
{
    return rate / 100 * of_hundred;
}

unsigned
kerf_pace_tick_ms(const kerf_pace *p)
{
    return p->state == KERF_PACE_RAMP || p->state == KERF_PACE_DRAIN
               ? TICK_RAMP_MS
               : TICK_MS;
}

static void
turn(kerf_pace *p, kerf_pace_state state, uint64_t rate, uint64_t now_ns,
     uint64_t delivered)
{
    uint64_t least = percent(p->link_top, FLOOR);

    if (least < RATE_LEAST)
        least = RATE_LEAST;
    p->state = state;
    p->rate = rate < least ? least : rate;
    p->changed_ns = now_ns;
    p->delivered = delivered;
    p->late = 0;
    if (state == KERF_PACE_STEADY)
        p->until_ns = now_ns + STEADY_LAST;
}

static void
learn_link(kerf_pace *p, uint64_t rate)
{
    p->link = rate;
    p->link_top -= p->link_top / 16; /* links change */
    if (rate > p->link_top)
        p->link_top = rate;
}

static void
begin(kerf_pace *p, uint64_t now_ns, uint64_t delivered)
{
    p->has_base = false;
    if (p->link != 0)
        turn(p, KERF_PACE_STEADY, percent(p->link, SHARE), now_ns, delivered);
    else
        turn(p, KERF_PACE_RAMP, RATE_FIRST, now_ns, delivered);
}

/* What TCP gets through by itself. */
static void
measure_free(kerf_pace *p, uint64_t now_ns, uint64_t delivered)
{
    uint64_t ns = now_ns - p->changed_ns;
    uint64_t rate = per_second(delivered - p->delivered, ns);

    if (ns < MEASURE_LEAST)
        return;
    learn_link(p, p->link == 0 ? rate : p->link / 2 + rate / 2);
    p->changed_ns = now_ns;
    p->delivered = delivered;
}

static void
note_recent(kerf_pace *p, uint64_t now_ns, uint64_t delivered)
{
    uint64_t recent = per_second(delivered - p->ticked, now_ns - p->ticked_ns);

    if (!p->idle)
        p->recent = p->recent / 2 + recent / 2;
    p->ticked_ns = now_ns;
    p->ticked = delivered;
}

static void
move_on(kerf_pace *p, uint64_t now_ns, uint64_t delivered)
{
    if (p->state == KERF_PACE_FREE)
        measure_free(p, now_ns, delivered);
    else if (p->state == KERF_PACE_DRAIN && now_ns >= p->until_ns)
        turn(p, KERF_PACE_STEADY, percent(p->link, SHARE), now_ns, delivered);
    else if (p->state == KERF_PACE_STEADY && now_ns >= p->until_ns)
        turn(p, KERF_PACE_RAMP, percent(p->rate, RAMP), now_ns, delivered);
}

uint64_t
kerf_pace_tick(kerf_pace *p, uint64_t now_ns, bool asked, bool busy,
               uint64_t delivered)
{
    p->idle = p->idle || !busy || p->ticked_ns == 0;
    note_recent(p, now_ns, delivered);
    if (asked && p->state == KERF_PACE_FREE) {
        begin(p, now_ns, delivered);
    } else if (!asked && p->state != KERF_PACE_FREE) {
        turn(p, KERF_PACE_FREE, 0, now_ns, delivered);
    } else if (p->idle) { /* nothing is learned from that */
        p->changed_ns = now_ns;
        p->delivered = delivered;
        p->late = 0;
    } else {
        move_on(p, now_ns, delivered);
    }
    p->idle = !busy;
    return p->state == KERF_PACE_FREE ? 0 : p->rate;
}

/* How much longer than the shortest it took. */
static uint64_t
delay_ns(kerf_pace *p, uint64_t now_ns, uint64_t sent_ns, uint64_t received_ns)
{
    int64_t way_ns = (int64_t)(received_ns - sent_ns); /* of two clocks */
    int64_t least;

    if (!p->has_base || now_ns - p->base_since_ns > BASE_LAST) {
        p->base_ns[1] = p->has_base ? p->base_ns[0] : way_ns;
        p->base_ns[0] = way_ns;
        p->base_since_ns = now_ns;
        p->has_base = true;
    }
    if (way_ns < p->base_ns[0])
        p->base_ns[0] = way_ns;
    least = p->base_ns[0] < p->base_ns[1] ? p->base_ns[0] : p->base_ns[1];
    return way_ns > least ? (uint64_t)(way_ns - least) : 0;
}

static void
drain(kerf_pace *p, uint64_t now_ns, uint64_t for_ns, uint64_t delivered)
{
    turn(p, KERF_PACE_DRAIN, p->link / 2, now_ns, delivered);
    p->until_ns = now_ns + for_ns;
}

/* Edges that are busy are late to look, queue or not. */
static bool
is_late(kerf_pace *p, uint64_t late_ns)
{
    bool late = late_ns > LATE + 2 * p->noise_ns;

    if (late_ns > NOISE_MOST)
        late_ns = NOISE_MOST;
    if (p->state == KERF_PACE_STEADY)
        p->noise_ns = p->noise_ns - p->noise_ns / NOISE_OF + late_ns / NOISE_OF;
    return late;
}

/* There is a queue: what arrives is what the link takes. */
static void
slow_down(kerf_pace *p, uint64_t now_ns, uint64_t late_ns, uint64_t delivered)
{
    uint64_t got = per_second(delivered - p->delivered, now_ns - p->changed_ns);
    uint64_t was = p->link;

    if (p->state == KERF_PACE_RAMP) {
        if (got < p->recent) /* it began just now */
            got = p->recent;
        learn_link(p, got < p->rate ? got : p->rate);
        if (was != 0 && p->link < was && percent(was, 80) <= p->link)
            p->link = was; /* it was looked for more, and there is none */
    } else {
        was = percent(was, 90);
        learn_link(p, got != 0 && got < was ? got : was);
    }
    drain(p, now_ns, late_ns < DRAIN_MOST / 2 ? 2 * late_ns : DRAIN_MOST,
          delivered);
}

void
kerf_pace_pong(kerf_pace *p, uint64_t now_ns, uint64_t sent_ns,
               uint64_t received_ns, uint64_t delivered)
{
    uint64_t late_ns;

    if (p->state == KERF_PACE_FREE)
        return;
    late_ns = delay_ns(p, now_ns, sent_ns, received_ns);
    if (p->idle || sent_ns < p->changed_ns || p->state == KERF_PACE_DRAIN)
        return;
    p->late = is_late(p, late_ns) ? p->late + 1 : 0;
    if (p->late >= (p->state == KERF_PACE_RAMP ? LATE_RAMP : LATE_STEADY)) {
        slow_down(p, now_ns, late_ns, delivered);
    } else if (p->state == KERF_PACE_RAMP && p->late == 0 &&
               sent_ns >= p->changed_ns + RAMP_STEP / 2) {
        if (p->rate <= RATE_FIRST || p->rate / RAMP_AHEAD <= p->recent) {
            turn(p, KERF_PACE_RAMP, percent(p->rate, RAMP), now_ns, delivered);
        } else if (now_ns > p->changed_ns + RAMP_LAST) {
            /* There was a queue from the start, or something else is slower. */
            learn_link(p, p->recent);
            drain(p, now_ns, DRAIN_MOST, delivered);
        }
    }
}
