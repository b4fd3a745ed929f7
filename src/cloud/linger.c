#include "cloud/linger.h"

#include <string.h>

#define UNIT ((uint64_t)1024) /* of a crowd: one request */
#define CROWD_SHIFT 3 /* it falls by an eighth of what is too much, a run */
#define COST_SHIFT 4  /* a running mean over about 16 runs */
#define DRIFT_SHIFT 6 /* of sizes that are not run, slower */
#define COST_JUMP 4   /* a run of more than so many means was disturbed */
#define MISSES_MOST 6 /* one wait in 64 runs */
#define PAYS_PERCENT 95
#define WAIT_LEAST_NS 50000 /* an edge does not ask again sooner */

void
kerf_linger_init(kerf_linger *l, const uint64_t *run_ns, size_t most,
                 bool forced)
{
    size_t below = 1;

    *l = (kerf_linger){.most = most, .forced = forced, .last = 1};
    for (size_t n = 1; n <= most; n++) {
        size_t above = n;

        while (above < most && run_ns[above] == 0)
            above++;
        below = run_ns[n] != 0 ? n : below;
        l->tried_ns[n] =
            above == below
                ? run_ns[n]
                : (run_ns[below] * (above - n) + run_ns[above] * (n - below)) /
                      (above - below);
    }
    memcpy(l->cost_ns, l->tried_ns, sizeof l->cost_ns);
}

bool
kerf_linger_pays(const kerf_linger *l, size_t size)
{
    return size <= 1 ||
           (size <= l->most &&
            (l->forced ||
             100 * l->cost_ns[size] <= PAYS_PERCENT * size * l->cost_ns[1]));
}

/* The largest that pays of up to this size. */
static size_t
clip(const kerf_linger *l, size_t size)
{
    size = size > l->most ? l->most : size;
    while (size > 1 && !kerf_linger_pays(l, size))
        size--;
    return size < 1 ? 1 : size;
}

/* What a request is saved by being one of so many. */
static uint64_t
gain_ns(const kerf_linger *l, size_t size)
{
    uint64_t each_ns;

    if (size < 2 || size > KERF_BATCH_MOST)
        return 0;
    each_ns = l->cost_ns[size] / size;
    return each_ns < l->cost_ns[1] ? l->cost_ns[1] - each_ns : 0;
}

kerf_linger_plan
kerf_linger_plan_for(kerf_linger *l, size_t seen, size_t workers)
{
    uint64_t now = UNIT * seen;
    uint64_t share; /* of this worker */
    uint64_t last = UNIT * l->last;
    bool stays;
    kerf_linger_plan p;

    l->crowd = now > l->crowd ? now : l->crowd;
    share = l->crowd / workers;
    /* So that seven edges are four for one worker and three for the other, all
     * the time. */
    stays = 4 * share < 4 * last + 3 * UNIT && 4 * last < 4 * share + 3 * UNIT;
    p.goal = clip(l, stays ? l->last : (share + UNIT / 2) / UNIT);
    p.most = clip(l, (share + UNIT - 1) / UNIT);
    p.most = p.most < p.goal ? p.goal : p.most;
    p.wait_ns = gain_ns(l, p.goal);
    p.wait_ns =
        p.wait_ns < KERF_LINGER_MOST_NS ? p.wait_ns : KERF_LINGER_MOST_NS;
    if (l->skip > 0 || p.wait_ns < WAIT_LEAST_NS)
        p.wait_ns = 0;
    if (p.goal > 1 && l->skip > 0)
        l->skip--;
    return p;
}

void
kerf_linger_waited(kerf_linger *l, bool filled, bool crowded)
{
    if (crowded)
        l->misses = MISSES_MOST;
    else if (filled)
        l->misses = 0;
    else if (l->misses < MISSES_MOST)
        l->misses++;
    l->skip = (1u << l->misses) - 1;
}

void
kerf_linger_saw(kerf_linger *l, size_t seen)
{
    uint64_t now = UNIT * seen;

    l->crowd =
        now > l->crowd ? now : l->crowd - ((l->crowd - now) >> CROWD_SHIFT);
}

static void
approach(uint64_t *mean, uint64_t to, unsigned shift)
{
    *mean = to > *mean ? *mean + ((to - *mean) >> shift)
                       : *mean - ((*mean - to) >> shift);
}

/* Sizes that are not run drift to what they would cost now, going by how they
 * were tried and by the one that is run: so one that was given up while the
 * machine was disturbed is tried again. */
void
kerf_linger_ran(kerf_linger *l, size_t size, uint64_t run_ns)
{
    uint64_t most_ns = COST_JUMP * l->cost_ns[size];
    double load = 1;

    l->last = size;
    approach(&l->cost_ns[size], run_ns < most_ns ? run_ns : most_ns,
             COST_SHIFT);
    if (l->tried_ns[size] > 0)
        load = (double)l->cost_ns[size] / (double)l->tried_ns[size];
    for (size_t n = 1; n <= l->most; n++) {
        if (n != size)
            approach(&l->cost_ns[n], (uint64_t)(load * (double)l->tried_ns[n]),
                     DRIFT_SHIFT);
    }
}
