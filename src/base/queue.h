/*
 * queue.h - bounded queue of pointers between threads.
 *
 * Threads: any number of pushers and poppers. A full queue refuses; what to do
 * then is the pusher's decision.
 */
#ifndef KERF_BASE_QUEUE_H
#define KERF_BASE_QUEUE_H

#include "kerf/err.h"

#include <stddef.h>

typedef struct kerf_queue kerf_queue;

KERF_NODISCARD kerf_err kerf_queue_new(kerf_queue **out, size_t limit);
void kerf_queue_free(kerf_queue *q); /* accepts NULL; items are the caller's */

/* KERF_EBUSY when full, KERF_ECLOSED after close. Consumes only on success. */
KERF_NODISCARD kerf_err kerf_queue_push(kerf_queue *q, void *item);
/* The same, and wakes nobody: kerf_queue_stir() follows, when more is pushed or
 * a lock is dropped that the popper would wait for. */
KERF_NODISCARD kerf_err kerf_queue_push_quietly(kerf_queue *q, void *item);
void kerf_queue_stir(kerf_queue *q);
/* Waits for an item; NULL once the queue is closed and empty. */
void *kerf_queue_pop(kerf_queue *q);
void *kerf_queue_try_pop(kerf_queue *q); /* NULL when empty */
/* No more pushes; waiting poppers drain what is left, then get NULL. */
void kerf_queue_close(kerf_queue *q);
size_t kerf_queue_count(kerf_queue *q);

#endif
