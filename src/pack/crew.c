/*
 * All threads do the same: give the block that is next in order, if it is done
 * and nobody else gives; else take one and work on it. So a block mostly leaves
 * from the core that it was worked on, and none is only there to wait. Blocks
 * take well under a millisecond: who has to wait stays awake for a while.
 */
#include "pack/crew.h"

#include "base/awake.h"

#include <pthread.h>

struct slot {
    bool is_done;
    kerf_err err;
    kerf_detail why;
};

struct shop {
    const kerf_crew *crew;
    pthread_mutex_t lock; /* of all that follows */
    pthread_cond_t changed;
    unsigned changes; /* one more whenever others may go on */
    struct slot slot[KERF_CREW_SLOTS(KERF_CREW_MOST)];
    size_t slots;
    size_t taken, given; /* blocks so far; those between are in slots */
    bool is_taking, is_giving;
    bool is_over; /* there is nothing more to take */
    kerf_err err; /* the first; ends it */
    kerf_detail why;
};

struct worker {
    struct shop *shop;
    size_t number;
    pthread_t thread;
};

static void
tell(struct shop *shop)
{
    shop->changes++;
    (void)pthread_cond_signal(&shop->changed);
}

static void
wait_for_others(struct shop *shop, kerf_awake *awake)
{
    unsigned before = shop->changes;

    kerf_awake_begin(awake);
    while (shop->changes == before) {
        bool is_awake;

        (void)pthread_mutex_unlock(&shop->lock);
        is_awake = kerf_awake_yield(awake);
        (void)pthread_mutex_lock(&shop->lock);
        if (!is_awake && shop->changes == before)
            (void)pthread_cond_wait(&shop->changed, &shop->lock);
    }
    kerf_awake_end(awake);
}

static void
fail(struct shop *shop, kerf_err err, const kerf_detail *why)
{
    if (err == KERF_OK || shop->err != KERF_OK)
        return;
    shop->err = err;
    shop->why = *why;
}

/* False: the next one is not done, or is being given. */
static bool
give_one(struct shop *shop)
{
    size_t i = shop->given % shop->slots;
    struct slot *s = &shop->slot[i];
    kerf_detail why = {.text = ""};
    kerf_err err;

    if (shop->is_giving || shop->given == shop->taken || !s->is_done)
        return false;
    fail(shop, s->err, &s->why);
    if (shop->err != KERF_OK)
        return true;
    shop->is_giving = true;
    (void)pthread_mutex_unlock(&shop->lock);
    err = shop->crew->give(shop->crew->ctx, i, &why);
    (void)pthread_mutex_lock(&shop->lock);
    fail(shop, err, &why);
    s->is_done = false;
    shop->is_giving = false;
    shop->given++;
    tell(shop);
    return true;
}

/* Takes one and works on it. False: there is none, or no slot for it. */
static bool
work_on_one(struct shop *shop, size_t worker)
{
    size_t i = shop->taken % shop->slots;
    struct slot *s = &shop->slot[i];
    kerf_detail why = {.text = ""};
    bool more = true;
    kerf_err err;

    if (shop->is_over || shop->is_taking ||
        shop->taken - shop->given == shop->slots)
        return false;
    shop->is_taking = true;
    (void)pthread_mutex_unlock(&shop->lock);
    err = shop->crew->take(shop->crew->ctx, i, &more, &why);
    (void)pthread_mutex_lock(&shop->lock);
    fail(shop, err, &why);
    shop->is_taking = false;
    shop->is_over = !more;
    shop->changes++;
    if (err != KERF_OK || !more)
        return true;
    shop->taken++;
    tell(shop);
    (void)pthread_mutex_unlock(&shop->lock);
    s->why.text[0] = '\0';
    s->err = shop->crew->work(shop->crew->ctx, i, worker, &s->why);
    (void)pthread_mutex_lock(&shop->lock);
    s->is_done = true;
    return true;
}

static void
run(struct shop *shop, size_t worker)
{
    kerf_awake awake = {.mean_ns = 0};

    (void)pthread_mutex_lock(&shop->lock);
    while (shop->err == KERF_OK &&
           !(shop->is_over && shop->given == shop->taken)) {
        if (!give_one(shop) && !work_on_one(shop, worker))
            wait_for_others(shop, &awake);
    }
    shop->changes++;
    (void)pthread_cond_broadcast(&shop->changed);
    (void)pthread_mutex_unlock(&shop->lock);
}

static void *
run_worker(void *arg)
{
    const struct worker *w = arg;

    run(w->shop, w->number);
    return NULL;
}

static void
open_shop(struct shop *shop, const kerf_crew *crew, int threads)
{
    shop->crew = crew;
    shop->lock = (pthread_mutex_t)PTHREAD_MUTEX_INITIALIZER;
    shop->changed = (pthread_cond_t)PTHREAD_COND_INITIALIZER;
    shop->slots = KERF_CREW_SLOTS(threads);
    shop->changes = 0;
    shop->taken = shop->given = 0;
    shop->is_taking = shop->is_giving = shop->is_over = false;
    shop->err = KERF_OK;
    for (size_t i = 0; i < shop->slots; i++)
        shop->slot[i].is_done = false;
}

kerf_err
kerf_crew_run(const kerf_crew *crew, int threads, kerf_detail *why)
{
    struct shop shop; /* large: only what is used of it is set */
    struct worker worker[KERF_CREW_MOST];
    size_t count = 0;

    open_shop(&shop, crew, threads);
    /* Where no thread can be started, the caller does it all. */
    for (; count + 1 < (size_t)threads; count++) {
        worker[count] = (struct worker){.shop = &shop, .number = count};
        if (pthread_create(&worker[count].thread, NULL, run_worker,
                           &worker[count]) != 0)
            break;
    }
    run(&shop, count);
    for (size_t i = 0; i < count; i++)
        (void)pthread_join(worker[i].thread, NULL);
    if (shop.err != KERF_OK && why != NULL)
        *why = shop.why;
    return shop.err;
}
