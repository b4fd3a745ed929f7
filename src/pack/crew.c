#include "pack/crew.h"

#include <pthread.h>

enum slot_state { FREE, READY, BUSY, DONE };

struct slot {
    enum slot_state state;
    kerf_err err;
    kerf_detail why;
};

struct shop {
    const kerf_crew *crew;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    struct slot slot[KERF_CREW_MOST + 1];
    size_t slots, next; /* next: to be worked on */
    bool is_over;
};

struct worker {
    struct shop *shop;
    size_t number;
    pthread_t thread;
};

static void *
work(void *arg)
{
    const struct worker *w = arg;
    struct shop *shop = w->shop;

    (void)pthread_mutex_lock(&shop->lock);
    for (;;) {
        size_t i = shop->next;
        struct slot *s = &shop->slot[i];

        if (s->state != READY) {
            if (shop->is_over)
                break;
            (void)pthread_cond_wait(&shop->changed, &shop->lock);
            continue;
        }
        s->state = BUSY;
        shop->next = (i + 1) % shop->slots;
        (void)pthread_mutex_unlock(&shop->lock);
        s->why.text[0] = '\0';
        s->err = shop->crew->work(shop->crew->ctx, i, w->number, &s->why);
        (void)pthread_mutex_lock(&shop->lock);
        s->state = DONE;
        (void)pthread_cond_broadcast(&shop->changed);
    }
    (void)pthread_mutex_unlock(&shop->lock);
    return NULL;
}

static kerf_err
run_alone(const kerf_crew *crew, kerf_detail *why)
{
    for (;;) {
        bool more = true;
        kerf_err err = crew->take(crew->ctx, 0, &more, why);

        if (err != KERF_OK || !more)
            return err;
        err = crew->work(crew->ctx, 0, 0, why);
        if (err == KERF_OK)
            err = crew->give(crew->ctx, 0, why);
        if (err != KERF_OK)
            return err;
    }
}

static void
set_state(struct shop *shop, size_t i, enum slot_state state)
{
    (void)pthread_mutex_lock(&shop->lock);
    shop->slot[i].state = state;
    (void)pthread_cond_broadcast(&shop->changed);
    (void)pthread_mutex_unlock(&shop->lock);
}

static void
wait_done(struct shop *shop, size_t i)
{
    (void)pthread_mutex_lock(&shop->lock);
    while (shop->slot[i].state != DONE)
        (void)pthread_cond_wait(&shop->changed, &shop->lock);
    (void)pthread_mutex_unlock(&shop->lock);
}

/* The caller's part: fills slots ahead, empties them in order. */
static kerf_err
lead(struct shop *shop, kerf_detail *why)
{
    const kerf_crew *crew = shop->crew;
    size_t taken = 0;
    size_t given = 0;
    bool more = true;
    kerf_err err = KERF_OK;

    for (;;) {
        while (err == KERF_OK && more && taken - given < shop->slots) {
            err = crew->take(crew->ctx, taken % shop->slots, &more, why);
            if (err == KERF_OK && more)
                set_state(shop, taken++ % shop->slots, READY);
        }
        if (given == taken)
            return err;
        wait_done(shop, given % shop->slots);
        if (err == KERF_OK) {
            const struct slot *s = &shop->slot[given % shop->slots];

            err = s->err;
            if (err != KERF_OK && why != NULL)
                *why = s->why;
        }
        if (err == KERF_OK)
            err = crew->give(crew->ctx, given % shop->slots, why);
        set_state(shop, given++ % shop->slots, FREE);
    }
}

kerf_err
kerf_crew_run(const kerf_crew *crew, int threads, kerf_detail *why)
{
    struct shop shop = {.crew = crew,
                        .lock = PTHREAD_MUTEX_INITIALIZER,
                        .changed = PTHREAD_COND_INITIALIZER,
                        .slots = KERF_CREW_SLOTS(threads)};
    struct worker worker[KERF_CREW_MOST];
    size_t count = 0;
    kerf_err err = KERF_OK;

    if (threads <= 1)
        return run_alone(crew, why);
    for (; count < (size_t)threads; count++) {
        worker[count] = (struct worker){.shop = &shop, .number = count};
        if (pthread_create(&worker[count].thread, NULL, work, &worker[count]) !=
            0)
            break;
    }
    if (count == 0)
        err = kerf_fail(why, KERF_ENOMEM, "cannot start a thread");
    else
        err = lead(&shop, why);
    (void)pthread_mutex_lock(&shop.lock);
    shop.is_over = true;
    (void)pthread_cond_broadcast(&shop.changed);
    (void)pthread_mutex_unlock(&shop.lock);
    for (size_t i = 0; i < count; i++)
        (void)pthread_join(worker[i].thread, NULL);
    return err;
}
