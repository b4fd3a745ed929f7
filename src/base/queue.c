#include "base/queue.h"

#include "base/bytes.h"
#include "base/waiting.h"

#include <stdlib.h>

struct kerf_queue {
    kerf_waiting waiting; /* its lock is for all of this */
    size_t limit, count, head;
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
    kerf_waiting_init(&q->waiting);
    *out = q;
    return KERF_OK;
}

void
kerf_queue_free(kerf_queue *q)
{
    if (q == NULL)
        return;
    kerf_waiting_fini(&q->waiting);
    free(q);
}

static kerf_err
push(kerf_queue *q, void *item, bool quietly)
{
    kerf_err err = KERF_OK;

    (void)pthread_mutex_lock(&q->waiting.lock);
    if (q->waiting.closed) {
        err = KERF_ECLOSED;
    } else if (q->count == q->limit) {
        err = KERF_EBUSY;
    } else {
        q->items[(q->head + q->count++) % q->limit] = item;
        if (!quietly)
            kerf_waiting_stir(&q->waiting);
    }
    kerf_waiting_unlock(&q->waiting);
    return err;
}

kerf_err
kerf_queue_push(kerf_queue *q, void *item)
{
    return push(q, item, false);
}

kerf_err
kerf_queue_push_quietly(kerf_queue *q, void *item)
{
    return push(q, item, true);
}

void
kerf_queue_stir(kerf_queue *q)
{
    (void)pthread_mutex_lock(&q->waiting.lock);
    if (q->count > 0)
        kerf_waiting_stir(&q->waiting);
    kerf_waiting_unlock(&q->waiting);
}

/* Under the lock. */
static void *
take_first(void *ctx)
{
    kerf_queue *q = ctx;
    void *item;

    if (q->count == 0)
        return NULL;
    item = q->items[q->head];
    q->head = (q->head + 1) % q->limit;
    q->count--;
    if (q->count > 0)
        kerf_waiting_stir(&q->waiting);
    return item;
}

void *
kerf_queue_pop(kerf_queue *q)
{
    return kerf_waiting_pop(&q->waiting, take_first, q);
}

void *
kerf_queue_try_pop(kerf_queue *q)
{
    return kerf_waiting_try_pop(&q->waiting, take_first, q);
}

void
kerf_queue_close(kerf_queue *q)
{
    kerf_waiting_close(&q->waiting);
}

size_t
kerf_queue_count(kerf_queue *q)
{
    size_t n;

    (void)pthread_mutex_lock(&q->waiting.lock);
    n = q->count;
    kerf_waiting_unlock(&q->waiting);
    return n;
}
