/*
 * waiting.h - threads that wait for what a container of their owner's gets: the
 * lock of that container, and who is woken (queue.h, cloud/fair.h).
 *
 * Of those that wait, one that is awake (awake.h) comes first, then the one
 * that fell asleep last: its caches are the warmest.
 * Threads: any number of each.
 */
#ifndef KERF_BASE_WAITING_H
#define KERF_BASE_WAITING_H

#include "base/awake.h"

#include <pthread.h>
#include <stddef.h>

typedef struct kerf_waiting {
    pthread_mutex_t lock; /* of the container, too: kerf_waiting_unlock() */
    struct kerf_sleeper *top;
    struct kerf_sleeper *called; /* to be woken when the lock is dropped */
    bool closed;
    _Atomic bool stirred;   /* something may be there: look, under the lock */
    _Atomic unsigned awake; /* those that look by themselves */
} kerf_waiting;

/* Takes one item out of the container, under the lock; NULL: it is empty. */
typedef void *kerf_waiting_take(void *container);

void kerf_waiting_init(kerf_waiting *w); /* open */
void kerf_waiting_fini(kerf_waiting *w); /* nobody waits */
/* Under the lock: an item was added, or one was taken and more are there than
 * its finder can do at once. */
void kerf_waiting_stir(kerf_waiting *w);
/* Drops the lock, then wakes who was called: it would only wait for the lock
 * before. */
void kerf_waiting_unlock(kerf_waiting *w);
/* Waits for an item; NULL once it is closed and empty. */
void *kerf_waiting_pop(kerf_waiting *w, kerf_waiting_take *take,
                       void *container);
/* The same, and stays awake for a while where waits are short; *awake belongs
 * to the waiting thread. */
void *kerf_waiting_pop_awake(kerf_waiting *w, kerf_waiting_take *take,
                             void *container, kerf_awake *awake);
void *kerf_waiting_try_pop(kerf_waiting *w, kerf_waiting_take *take,
                           void *container);
/* Nothing more will come: all that wait get what is left, then NULL. */
void kerf_waiting_close(kerf_waiting *w);

#endif
