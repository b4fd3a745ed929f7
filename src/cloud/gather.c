#include "cloud/gather.h"

#include "base/clock.h"
#include "base/log.h"

#include <stdatomic.h>

#define CROWDED_NS 1000000 /* a core given away comes back later than this */

/* Up to `most` of those that wait and would not be run by an idle worker right
 * now. */
static void
take_along(kerf_group *g, kerf_cloud *cloud, size_t most)
{
    kerf_served *served = g->slot[0]->served;
    void *others[KERF_BATCH_MOST];
    size_t count;

    if (g->count >= most)
        return;
    count =
        kerf_fair_pop_alike(cloud->jobs, &served->price,
                            atomic_load(&cloud->idle), others, most - g->count);
    (void)atomic_fetch_add(&served->slots.running, count);
    for (size_t k = 0; k < count; k++)
        g->slot[g->count++] = others[k];
}

/* How many of this tail are at the cloud, and how many others wait. */
static size_t
look_around(const kerf_group *g, kerf_cloud *cloud, size_t *others)
{
    kerf_served *served = g->slot[0]->served;
    size_t alike;

    kerf_fair_look(cloud->jobs, &served->price, &alike, others);
    return alike + atomic_load(&served->slots.running);
}

static void
settle(kerf_group *g)
{
    g->apart = !kerf_linger_pays(g->linger, g->count);
    if (g->count > 1 && !g->apart)
        kerf_log(KERF_LOG_DEBUG, "cloud.ran_batch", "size=%zu", g->count);
}

/* The workers that are not busy with other tails. */
static size_t
sharers(kerf_slots *s, kerf_cloud *cloud)
{
    size_t here = atomic_load(&s->workers_on);
    size_t on = atomic_load(&cloud->workers_on);
    size_t elsewhere = on > here ? on - here : 0;
    size_t all = (size_t)cloud->opts.workers;

    return elsewhere < all ? all - elsewhere : 1;
}

bool
kerf_gather(kerf_group *g, kerf_cloud *cloud, kerf_slot *slot, size_t worker)
{
    kerf_slots *s = &slot->served->slots;
    size_t others;

    *g = (kerf_group){.count = 1};
    g->slot[0] = slot;
    (void)atomic_fetch_add(&s->running, 1);
    (void)atomic_fetch_add(&s->workers_on, 1);
    (void)atomic_fetch_add(&cloud->workers_on, 1);
    if (s->batch_most == 1)
        return false;
    g->linger = &s->bunch[worker].linger;
    g->plan = kerf_linger_plan_for(g->linger, look_around(g, cloud, &others),
                                   sharers(s, cloud));
    take_along(g, cloud, g->plan.most);
    if (g->count < g->plan.goal && g->plan.wait_ns > 0 && cloud->may_linger)
        return true;
    settle(g);
    return false;
}

/* Until when these may wait for others: none is late for that. */
static uint64_t
earliest_ns(const kerf_group *g, uint64_t until_ns)
{
    uint64_t mean_ns = g->linger->cost_ns[g->plan.goal];
    uint64_t run_ns = mean_ns + mean_ns / 4; /* some take longer */

    for (size_t k = 0; k < g->count; k++) {
        uint64_t deadline_ns = g->slot[k]->deadline_ns;

        if (deadline_ns != 0 && deadline_ns < until_ns + run_ns)
            until_ns = deadline_ns > run_ns ? deadline_ns - run_ns : 0;
    }
    return until_ns;
}

/* Whether there is news before that time, and this thread's core is nobody
 * else's: one that others have taken for a while comes back too late. */
static bool
await_news(kerf_cloud *cloud, unsigned news, uint64_t until_ns, bool *crowded)
{
    uint64_t now_ns = kerf_now_ns();

    while (kerf_fair_news(cloud->jobs) == news) {
        uint64_t was_ns = now_ns;

        if (now_ns >= until_ns || atomic_load(&cloud->draining) || *crowded)
            return false;
        kerf_awake_pause();
        now_ns = kerf_now_ns();
        *crowded = now_ns - was_ns > CROWDED_NS;
    }
    return true;
}

void
kerf_gather_wait(kerf_group *g, kerf_cloud *cloud)
{
    uint64_t until_ns = kerf_now_ns() + g->plan.wait_ns;
    size_t others;
    bool goes_on = true;
    bool crowded = false;

    while (goes_on) {
        unsigned news = kerf_fair_news(cloud->jobs);

        take_along(g, cloud, g->plan.goal);
        (void)look_around(g, cloud, &others);
        goes_on = g->count < g->plan.goal && others == 0 &&
                  await_news(cloud, news, earliest_ns(g, until_ns), &crowded);
    }
    if (!atomic_load(&cloud->draining))
        kerf_linger_waited(g->linger, g->count >= g->plan.goal, crowded);
    settle(g);
}

void
kerf_gather_ran(kerf_group *g, kerf_cloud *cloud, uint64_t run_ns)
{
    size_t others;

    if (g->linger == NULL)
        return;
    kerf_linger_saw(g->linger, look_around(g, cloud, &others));
    if (run_ns > 0)
        kerf_linger_ran(g->linger, g->apart ? 1 : g->count, run_ns);
}

void
kerf_gather_over(kerf_group *g, kerf_cloud *cloud)
{
    /* Run one by one, the others are answered and given back. */
    kerf_slots *s = &g->slot[g->count - 1]->served->slots;

    (void)atomic_fetch_sub(&s->running, g->count);
    (void)atomic_fetch_sub(&s->workers_on, 1);
    (void)atomic_fetch_sub(&cloud->workers_on, 1);
}
