#include "base/queue.h"

#include "base/bytes.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>

struct kerf_queue {
    pthread_mutex_t lock;
    pthread_cond_t filled;
    size_t limit, count, head;
    bool closed;
    _Atomic bool stirred; /* something may be there: look, under the lock */
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
    (void)pthread_cond_init(&q->filled, NULL);
    *out = q;
    return KERF_OK;
}

void
kerf_queue_free(kerf_queue *q)
{
    if (q == NULL)
        return;
    (void)pthread_cond_destroy(&q->filled);
    (void)pthread_mutex_destroy(&q->lock);
    free(q);
}

kerf_err
kerf_queue_push(kerf_queue *q, void *item)
{
    kerf_err err = KERF_OK;

    (void)pthread_mutex_lock(&q->lock);
    if (q->closed)
        err = KERF_ECLOSED;
    else if (q->count == q->limit)
        err = KERF_EBUSY;
    else
        q->items[(q->head + q->count++) % q->limit] = item;
    atomic_store(&q->stirred, true);
    (void)pthread_mutex_unlock(&q->lock);
    if (err == KERF_OK)
        (void)pthread_cond_signal(&q->filled);
    return err;
}

static void *
take_first(kerf_queue *q)
{
    void *item;

    if (q->count == 0)
        return NULL;
    item = q->items[q->head];
    q->head = (q->head + 1) % q->limit;
    q->count--;
    if (q->count > 0)
        atomic_store(&q->stirred, true);
    return item;
}

void *
kerf_queue_pop(kerf_queue *q)
{
    void *item;

    (void)pthread_mutex_lock(&q->lock);
    while (q->count == 0 && !q->closed)
        (void)pthread_cond_wait(&q->filled, &q->lock);
    item = take_first(q);
    (void)pthread_mutex_unlock(&q->lock);
    return item;
}

void *
kerf_queue_pop_awake(kerf_queue *q, kerf_awake *awake)
{
    void *item;

    kerf_awake_begin(awake);
    do {
        item = atomic_exchange(&q->stirred, false) ? kerf_queue_try_pop(q)
                                                   : NULL;
    } while (item == NULL && kerf_awake_yield(awake));
    if (item == NULL)
        item = kerf_queue_pop(q);
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

void
kerf_queue_close(kerf_queue *q)
{
    (void)pthread_mutex_lock(&q->lock);
    q->closed = true;
    atomic_store(&q->stirred, true);
    (void)pthread_mutex_unlock(&q->lock);
    (void)pthread_cond_broadcast(&q->filled);
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
