#include "base/waiting.h"

#include <semaphore.h>
#include <stdatomic.h>

/* One that sleeps. The last to lie down is the first to be woken. */
struct kerf_sleeper {
    sem_t woken;
    struct kerf_sleeper *below;
};

void
kerf_waiting_init(kerf_waiting *w)
{
    *w = (kerf_waiting){.closed = false};
    (void)pthread_mutex_init(&w->lock, NULL);
}

void
kerf_waiting_fini(kerf_waiting *w)
{
    (void)pthread_mutex_destroy(&w->lock);
}

/* Under the lock: calls one sleeper, if there is one. */
static void
call_one(kerf_waiting *w)
{
    struct kerf_sleeper *s = w->top;

    if (s == NULL)
        return;
    w->top = s->below;
    s->below = w->called;
    w->called = s;
}

void
kerf_waiting_stir(kerf_waiting *w)
{
    atomic_store(&w->stirred, true);
    /* One that is awake will look, also when it is about to lie down: then it
     * looks once more under the lock. */
    if (atomic_load(&w->awake) == 0)
        call_one(w);
}

void
kerf_waiting_unlock(kerf_waiting *w)
{
    struct kerf_sleeper *s = w->called;

    w->called = NULL;
    (void)pthread_mutex_unlock(&w->lock);
    while (s != NULL) {
        struct kerf_sleeper *next = s->below;

        (void)sem_post(&s->woken); /* it may be gone as soon as it is posted */
        s = next;
    }
}

/* Under the lock, which it drops while it sleeps. */
static void
lie_down(kerf_waiting *w)
{
    struct kerf_sleeper s = {.below = w->top};

    (void)sem_init(&s.woken, 0, 0);
    w->top = &s; /* cppcheck-suppress autoVariables; called means unlinked */
    kerf_waiting_unlock(w);
    while (sem_wait(&s.woken) != 0) /* a signal's handler ran */
        ;
    (void)sem_destroy(&s.woken);
    (void)pthread_mutex_lock(&w->lock);
}

void *
kerf_waiting_pop(kerf_waiting *w, kerf_waiting_take *take, void *container)
{
    void *item;

    (void)pthread_mutex_lock(&w->lock);
    while ((item = take(container)) == NULL && !w->closed)
        lie_down(w);
    kerf_waiting_unlock(w);
    return item;
}

/* What came while its finder was awake, and counted on it. */
static void
call_for_rest(kerf_waiting *w)
{
    (void)pthread_mutex_lock(&w->lock);
    if (atomic_load(&w->stirred) && atomic_load(&w->awake) == 0)
        call_one(w);
    kerf_waiting_unlock(w);
}

void *
kerf_waiting_pop_awake(kerf_waiting *w, kerf_waiting_take *take,
                       void *container, kerf_awake *awake)
{
    void *item = NULL;

    kerf_awake_begin(awake);
    (void)atomic_fetch_add(&w->awake, 1);
    do {
        if (atomic_exchange(&w->stirred, false))
            item = kerf_waiting_try_pop(w, take, container);
    } while (item == NULL && kerf_awake_yield(awake));
    (void)atomic_fetch_sub(&w->awake, 1);
    if (item == NULL)
        item = kerf_waiting_pop(w, take, container);
    else
        call_for_rest(w);
    kerf_awake_end(awake);
    return item;
}

void *
kerf_waiting_try_pop(kerf_waiting *w, kerf_waiting_take *take, void *container)
{
    void *item;

    (void)pthread_mutex_lock(&w->lock);
    item = take(container);
    kerf_waiting_unlock(w);
    return item;
}

void
kerf_waiting_close(kerf_waiting *w)
{
    (void)pthread_mutex_lock(&w->lock);
    w->closed = true;
    atomic_store(&w->stirred, true);
    while (w->top != NULL)
        call_one(w);
    kerf_waiting_unlock(w);
}
