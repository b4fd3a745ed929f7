/*
 * queue.h - bounded queue of pointers between threads.
 *
 * Of poppers that wait, one that is awake (awake.h) comes first, then the one
 * that fell asleep last: its caches are the warmest.
 * Threads: any number of pushers and poppers. A full queue refuses; what to do
 * then is the pusher's decision.
 */
#ifndef KERF_BASE_QUEUE_H
#define KERF_BASE_QUEUE_H

#include "base/awake.h"
#include "kerf/err.h"

#include <stdbool.h>
#include <stddef.h>

typedef struct kerf_queue kerf_queue;

KERF_NODISCARD kerf_err kerf_queue_new(kerf_queue **out, size_t limit);
void kerf_queue_free(kerf_queue *q); /* accepts NULL; items are the caller's */

/* KERF_EBUSY when full, KERF_ECLOSED after close. Consumes only on success. */
KERF_NODISCARD kerf_err kerf_queue_push(kerf_queue *q, void *item);
/* Waits for an item; NULL once the queue is closed and empty. */
void *kerf_queue_pop(kerf_queue *q);
/* The same, and stays awake for a while where waits are short (awake.h); *awake
 * belongs to the popping thread. */
void *kerf_queue_pop_awake(kerf_queue *q, kerf_awake *awake);
void *kerf_queue_try_pop(kerf_queue *q); /* NULL when empty */
/* Takes these items out of the queue, wherever they are in it; false, and the
 * queue as it was, when one of them is not. */
bool kerf_queue_take(kerf_queue *q, void *const *items, size_t count);
/* No more pushes; waiting poppers drain what is left, then get NULL. */
void kerf_queue_close(kerf_queue *q);
size_t kerf_queue_count(kerf_queue *q);

#endif
