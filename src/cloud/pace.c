#include "cloud/pace.h"

#include <string.h>

#define MS UINT64_C(1000000)
#define SECOND (1000 * MS)

#define SHARE 85          /* % of the link that parts take beside tensors */
#define FLOOR 5           /* % of what it took: others shall not starve them */
#define AGE 45            /* what it took is a 45th less each second */
#define RATE_LEAST 16384u /* whatever the link */
#define RATE_FIRST 262144u
#define RAMP 140 /* % of the step before */
#define RAMP_STEP (20 * MS)
#define RAMP_NOISE MS
#define RAMP_PINGS 8 /* in a step, at most */
#define RAMP_AHEAD 2 /* times what arrives: no use beyond */
#define RAMP_LAST (500 * MS)
#define LATE (2 * MS) /* and twice what pings are late by anyhow: */
#define NOISE_MOST (30 * MS)
#define NOISE_OF 16   /* pings, about, that this is told from */
#define LATE_OF 8     /* likewise, that they are late now */
#define LATE_RAMP 2   /* pings in a row: one may have met a busy edge */
#define LATE_STEADY 4 /* likewise, where nothing is expected */
#define DRAIN_MOST (400 * MS)
#define QUIET_PINGS 6
#define QUIET_NOISE 10 /* times this, since what arrives comes as unevenly */
#define QUIET_LAST (500 * MS)
#define QUIET_SHORT 60     /* % of what was allowed: there is a queue */
#define QUIET_LEAST 24000u /* bytes to tell that from */
#define STEADY_LAST (10 * SECOND)
#define STEADY_FIRST (2 * SECOND) /* noise may have looked like the link */
#define BASE_LAST (5 * SECOND)    /* two clocks drift apart */
#define MEASURE_LEAST (200 * MS)
#define RATE_MOST 1e15 /* bytes a second; more comes of clocks */
#define TICK_RAMP_MS 20
#define TICK_MS 50

static uint64_t
per_second(uint64_t bytes, uint64_t ns)
{
    double rate = ns == 0 ? 0 : (double)bytes * 1e9 / (double)ns;

    return rate < RATE_MOST ? (uint64_t)rate : (uint64_t)RATE_MOST;
}

/* What the kernel counts; 0 when it could not be asked. */
static uint64_t
since(uint64_t delivered, uint64_t before)
{
    return delivered > before ? delivered - before : 0;
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
    p->pings = 0;
    p->late = 0;
    p->late_ns = p->noise_ns;
    if (state == KERF_PACE_STEADY)
        p->until_ns = now_ns + STEADY_LAST;
}

static void
learn_link(kerf_pace *p, uint64_t rate)
{
    p->link = rate;
    if (rate > p->link_top)
        p->link_top = rate;
}

/* Links change. */
static void
age_link(kerf_pace *p, uint64_t now_ns)
{
    if (now_ns < p->aged_ns + SECOND)
        return;
    p->aged_ns = now_ns;
    p->link_top -= p->link_top / AGE;
    if (p->link_top < p->link)
        p->link_top = p->link;
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
    uint64_t rate = per_second(since(delivered, p->delivered), ns);

    if (ns < MEASURE_LEAST)
        return;
    learn_link(p, p->link == 0 ? rate : p->link / 2 + rate / 2);
    p->changed_ns = now_ns;
    p->delivered = delivered;
}

static void
note_recent(kerf_pace *p, uint64_t now_ns, uint64_t delivered)
{
    uint64_t recent =
        per_second(since(delivered, p->ticked), now_ns - p->ticked_ns);

    if (!p->idle)
        p->recent = p->recent / 2 + recent / 2;
    p->ticked_ns = now_ns;
    p->ticked = delivered;
}

static void
drain(kerf_pace *p, uint64_t now_ns, uint64_t for_ns, uint64_t delivered)
{
    turn(p, KERF_PACE_DRAIN, p->link / 2, now_ns, delivered);
    p->until_ns = now_ns + (for_ns < DRAIN_MOST ? for_ns : DRAIN_MOST);
    p->quiet.since_ns = 0;
    p->quiet.late_ns = 0;
    p->quiet.pings = 0;
}

static void
go_on_as_before(kerf_pace *p, uint64_t now_ns, uint64_t delivered)
{
    bool looked = p->was.state == KERF_PACE_RAMP && p->was.link != 0;

    p->link = p->was.link;
    if (looked) /* not again and again: it shakes the link */
        turn(p, KERF_PACE_STEADY, percent(p->link, SHARE), now_ns, delivered);
    else
        turn(p, p->was.state, p->was.rate, now_ns, delivered);
    if (p->was.state == KERF_PACE_STEADY)
        p->until_ns = p->was.until_ns;
}

/* The queue should be gone: is it, and was it one? */
static void
judge(kerf_pace *p, uint64_t now_ns, uint64_t delivered)
{
    uint64_t ns = now_ns - p->quiet.since_ns;
    uint64_t bytes = delivered - p->quiet.delivered;
    uint64_t allowed = (uint64_t)((double)p->rate * (double)ns / 1e9);
    uint64_t late_ns =
        p->quiet.pings == 0 ? 0 : p->quiet.late_ns / p->quiet.pings;

    if (allowed >= QUIET_LEAST && bytes < percent(allowed, QUIET_SHORT)) {
        p->link_top /= 2; /* it is less than half */
        learn_link(p, per_second(bytes, ns));
        drain(p, now_ns, DRAIN_MOST / 2, delivered);
        p->was.state = KERF_PACE_FREE;
        return;
    }
    if (p->quiet.pings > 0)
        p->noise_ns = p->noise_ns == 0 ? late_ns : (p->noise_ns + late_ns) / 2;
    if (p->noise_ns > NOISE_MOST)
        p->noise_ns = NOISE_MOST;
    if (p->quiet.pings > 0 && p->was.state != KERF_PACE_FREE &&
        p->was.noise_ns <= late_ns)
        go_on_as_before(p, now_ns, delivered);
    else
        turn(p, KERF_PACE_STEADY, percent(p->link, SHARE), now_ns, delivered);
    if (p->was.state == KERF_PACE_RAMP && p->was.link == 0)
        p->until_ns = now_ns + STEADY_FIRST;
}

static void
look_while_quiet(kerf_pace *p, uint64_t now_ns, uint64_t delivered)
{
    uint64_t ns = now_ns - p->quiet.since_ns;

    if (now_ns < p->until_ns)
        return;
    if (p->quiet.since_ns == 0) {
        p->quiet.since_ns = now_ns;
        p->quiet.delivered = delivered;
    } else if (ns >= QUIET_LAST ||
               (p->quiet.pings >= QUIET_PINGS &&
                ns * p->quiet.pings >= QUIET_NOISE * p->quiet.late_ns)) {
        judge(p, now_ns, delivered);
    }
}

static void
move_on(kerf_pace *p, uint64_t now_ns, uint64_t delivered)
{
    if (p->state == KERF_PACE_FREE)
        measure_free(p, now_ns, delivered);
    else if (p->state == KERF_PACE_DRAIN)
        look_while_quiet(p, now_ns, delivered);
    else if (p->state == KERF_PACE_STEADY && now_ns >= p->until_ns)
        turn(p, KERF_PACE_RAMP, percent(p->rate, RAMP), now_ns, delivered);
}

uint64_t
kerf_pace_tick(kerf_pace *p, uint64_t now_ns, bool asked, bool busy,
               uint64_t delivered)
{
    p->idle = p->idle || !busy || p->ticked_ns == 0;
    note_recent(p, now_ns, delivered);
    age_link(p, now_ns);
    if (asked && p->state == KERF_PACE_FREE) {
        begin(p, now_ns, delivered);
    } else if (!asked && p->state != KERF_PACE_FREE) {
        turn(p, KERF_PACE_FREE, 0, now_ns, delivered);
    } else if (p->idle) { /* nothing is learned from that */
        p->changed_ns = now_ns;
        p->delivered = delivered;
        p->late = 0;
        p->quiet.since_ns = 0;
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
    /* Unsigned: the other clock may say anything. */
    return way_ns > least ? (uint64_t)way_ns - (uint64_t)least : 0;
}

static void
follow(uint64_t *mean_ns, uint64_t ns, uint64_t most_ns, unsigned of)
{
    if (ns > most_ns)
        ns = most_ns;
    *mean_ns = *mean_ns - *mean_ns / of + ns / of;
}

/* How much noise it takes that pings are not late now: each of some in a row,
 * by twice that, or all of them, by half as much. */
static uint64_t
needs_noise(const kerf_pace *p)
{
    unsigned row = p->state == KERF_PACE_RAMP ? LATE_RAMP : LATE_STEADY;
    uint64_t least_ns = 0;

    if (p->late >= row)
        least_ns = (p->late_least_ns - LATE) / 2;
    if (p->pings >= row && p->late_ns > LATE + 3 * least_ns / 2)
        least_ns = (p->late_ns - LATE) * 2 / 3;
    return least_ns;
}

/* Edges that are busy are late to look, queue or not. */
static void
note_late(kerf_pace *p, uint64_t late_ns)
{
    uint64_t most_ns = LATE + 2 * p->noise_ns;

    p->pings++;
    if (late_ns <= most_ns)
        p->late = 0;
    else if (p->late++ == 0 || late_ns < p->late_least_ns)
        p->late_least_ns = late_ns;
    follow(&p->late_ns, late_ns, 2 * most_ns, LATE_OF);
    if (p->state == KERF_PACE_STEADY)
        follow(&p->noise_ns, late_ns, most_ns, NOISE_OF);
    if (p->noise_ns > NOISE_MOST)
        p->noise_ns = NOISE_MOST;
}

/* There may be a queue: then what arrives is what the link takes. It has grown
 * since the ping was sent. */
static void
slow_down(kerf_pace *p, uint64_t now_ns, uint64_t sent_ns, uint64_t late_ns,
          uint64_t delivered)
{
    uint64_t got =
        per_second(since(delivered, p->delivered), now_ns - p->changed_ns);
    uint64_t was = p->link;

    p->was.state = p->state;
    p->was.rate = p->rate;
    p->was.link = p->link;
    p->was.until_ns = p->until_ns;
    p->was.noise_ns = needs_noise(p);
    if (p->state == KERF_PACE_RAMP) {
        if (got < p->recent && p->pings < RAMP_PINGS) /* it began just now */
            got = p->recent;
        learn_link(p, got < p->rate ? got : p->rate);
        if (was != 0 && percent(was, 80) <= p->link &&
            p->rate <= percent(was, RAMP))
            p->link = was; /* it was looked for more, and there is none */
    } else {
        was = percent(was, 90);
        learn_link(p, got != 0 && got < was ? got : was);
    }
    drain(p, now_ns, 2 * late_ns + (now_ns - sent_ns), delivered);
}

/* No queue yet. The less pings tell, the more of them it takes. */
static void
look_for_more(kerf_pace *p, uint64_t now_ns, uint64_t sent_ns,
              uint64_t delivered)
{
    if (p->late > 0 ||
        (p->pings < RAMP_PINGS && p->pings < p->noise_ns / RAMP_NOISE) ||
        sent_ns < p->changed_ns + RAMP_STEP / 2)
        return;
    if (p->rate <= RATE_FIRST || p->rate / RAMP_AHEAD <= p->recent) {
        turn(p, KERF_PACE_RAMP, percent(p->rate, RAMP), now_ns, delivered);
    } else if (now_ns > p->changed_ns + RAMP_LAST) {
        /* There was a queue from the start, or something else is slower. */
        learn_link(p, p->recent);
        p->was.state = KERF_PACE_FREE;
        drain(p, now_ns, DRAIN_MOST / 2, delivered);
    }
}

/* False: there is nothing to be told from it. */
static bool
is_of_now(const kerf_pace *p, uint64_t sent_ns)
{
    return !p->idle && sent_ns >= p->changed_ns;
}

void
kerf_pace_pong(kerf_pace *p, uint64_t now_ns, uint64_t sent_ns,
               uint64_t received_ns, uint64_t delivered)
{
    uint64_t late_ns;

    if (p->state == KERF_PACE_FREE)
        return;
    late_ns = delay_ns(p, now_ns, sent_ns, received_ns);
    if (!is_of_now(p, sent_ns))
        return;
    if (p->state == KERF_PACE_DRAIN) {
        if (p->quiet.since_ns != 0 && sent_ns >= p->quiet.since_ns) {
            p->quiet.late_ns += late_ns;
            p->quiet.pings++;
        }
        return;
    }
    note_late(p, late_ns);
    if (needs_noise(p) > p->noise_ns)
        slow_down(p, now_ns, sent_ns, late_ns, delivered);
    else if (p->state == KERF_PACE_RAMP)
        look_for_more(p, now_ns, sent_ns, delivered);
}
