#include "base/queue.h"

#include "base/bytes.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>

/* A popper that sleeps. The last to lie down is the first to be woken: its
 * caches are the warmest. */
struct sleeper {
    pthread_cond_t woken;
    struct sleeper *below;
    bool called;
};

struct kerf_queue {
    pthread_mutex_t lock;
    struct sleeper *top;
    size_t limit, count, head;
    bool closed;
    _Atomic bool stirred;   /* something may be there: look, under the lock */
    _Atomic unsigned awake; /* poppers that look by themselves */
    void *items[];
};

kerf_err
kerf_queue_new(kerf_queue **out, size_t limit)
{
    kerf_queue *q;
    size_t bytes;

    if (limit == 0 || !kerf_size_mul(limit, sizeof(void *), &bytes) ||
        !kerf_size_add(bytes, sizeof *q, &bytes))
        return KERF_EINVAL;
    q = calloc(1, bytes);
    if (q == NULL)
        return KERF_ENOMEM;
    q->limit = limit;
    (void)pthread_mutex_init(&q->lock, NULL);
    *out = q;
    return KERF_OK;
}

void
kerf_queue_free(kerf_queue *q)
{
    if (q == NULL)
        return;
    (void)pthread_mutex_destroy(&q->lock);
    free(q);
}

/* Under the lock: wakes one sleeper, if there is one. */
static void
call_one(kerf_queue *q)
{
    struct sleeper *s = q->top;

    if (s == NULL)
        return;
    q->top = s->below;
    s->called = true;
    (void)pthread_cond_signal(&s->woken);
}

kerf_err
kerf_queue_push(kerf_queue *q, void *item)
{
    kerf_err err = KERF_OK;

    (void)pthread_mutex_lock(&q->lock);
    if (q->closed) {
        err = KERF_ECLOSED;
    } else if (q->count == q->limit) {
        err = KERF_EBUSY;
    } else {
        q->items[(q->head + q->count++) % q->limit] = item;
        atomic_store(&q->stirred, true);
        /* One that is awake will look, also when it is about to lie down:
         * then it looks once more under the lock. */
        if (atomic_load(&q->awake) == 0)
            call_one(q);
    }
    (void)pthread_mutex_unlock(&q->lock);
    return err;
}

/* Under the lock. */
static void *
take_first(kerf_queue *q)
{
    void *item;

    if (q->count == 0)
        return NULL;
    item = q->items[q->head];
    q->head = (q->head + 1) % q->limit;
    q->count--;
    if (q->count > 0) { /* more than its finder can do at once */
        atomic_store(&q->stirred, true);
        if (atomic_load(&q->awake) == 0)
            call_one(q);
    }
    return item;
}

static void
lie_down(kerf_queue *q)
{
    struct sleeper s = {.below = q->top};

    (void)pthread_cond_init(&s.woken, NULL);
    q->top = &s; /* cppcheck-suppress autoVariables; called means unlinked */
    while (!s.called)
        (void)pthread_cond_wait(&s.woken, &q->lock);
    (void)pthread_cond_destroy(&s.woken);
}

void *
kerf_queue_pop(kerf_queue *q)
{
    void *item;

    (void)pthread_mutex_lock(&q->lock);
    while (q->count == 0 && !q->closed)
        lie_down(q);
    item = take_first(q);
    (void)pthread_mutex_unlock(&q->lock);
    return item;
}

/* What came while its finder was awake, and counted on it. */
static void
call_for_rest(kerf_queue *q)
{
    (void)pthread_mutex_lock(&q->lock);
    if (q->count > 0 && atomic_load(&q->awake) == 0)
        call_one(q);
    (void)pthread_mutex_unlock(&q->lock);
}

void *
kerf_queue_pop_awake(kerf_queue *q, kerf_awake *awake)
{
    void *item = NULL;

    kerf_awake_begin(awake);
    (void)atomic_fetch_add(&q->awake, 1);
    do {
        if (atomic_exchange(&q->stirred, false))
            item = kerf_queue_try_pop(q);
    } while (item == NULL && kerf_awake_yield(awake));
    (void)atomic_fetch_sub(&q->awake, 1);
    if (item == NULL)
        item = kerf_queue_pop(q);
    else
        call_for_rest(q);
    kerf_awake_end(awake);
    return item;
}

void *
kerf_queue_try_pop(kerf_queue *q)
{
    void *item;

    (void)pthread_mutex_lock(&q->lock);
    item = take_first(q);
    (void)pthread_mutex_unlock(&q->lock);
    return item;
}

static bool
is_among(void *const *items, size_t count, const void *item)
{
    for (size_t i = 0; i < count; i++) {
        if (items[i] == item)
            return true;
    }
    return false;
}

bool
kerf_queue_take(kerf_queue *q, void *const *items, size_t count)
{
    size_t found = 0;

    (void)pthread_mutex_lock(&q->lock);
    for (size_t i = 0; q->count >= count && i < q->count; i++)
        found +=
            is_among(items, count, q->items[(q->head + i) % q->limit]) ? 1 : 0;
    if (found == count) {
        size_t kept = 0;

        for (size_t i = 0; i < q->count; i++) {
            void *item = q->items[(q->head + i) % q->limit];

            if (!is_among(items, count, item))
                q->items[(q->head + kept++) % q->limit] = item;
        }
        q->count = kept;
    }
    (void)pthread_mutex_unlock(&q->lock);
    return found == count;
}

void
kerf_queue_close(kerf_queue *q)
{
    (void)pthread_mutex_lock(&q->lock);
    q->closed = true;
    atomic_store(&q->stirred, true);
    while (q->top != NULL)
        call_one(q);
    (void)pthread_mutex_unlock(&q->lock);
}

size_t
kerf_queue_count(kerf_queue *q)
{
    size_t n;

    (void)pthread_mutex_lock(&q->lock);
    n = q->count;
    (void)pthread_mutex_unlock(&q->lock);
    return n;
}
