/*
 * offline.h - what becomes of requests while there is no cloud.
 *
 *     link lost --(--dead-after, and no other cloud came)--> offline
 *     offline:  a request that waits, or comes, is
 *                 wait    sent when a cloud is there again
 *                 fail    failed, with the reason
 *                 queue   written to disk, and sent later     offline_queue.c
 *                 local   finished by a tail of our own       offline_local.c
 *     link up   --> not offline; what is on disk is sent, in order
 *
 * A flight that is OFFLINE belongs to the thread here: the link neither sends
 * it nor takes an answer to it, so it has one fate.
 */
#ifndef KERF_EDGE_OFFLINE_H
#define KERF_EDGE_OFFLINE_H

#include "base/queue.h"
#include "edge/program.h"
#include "edge/spool.h"
#include "net/loop.h"

#include <pthread.h>

struct kerf_edge;

#define KERF_DRAIN_FLIGHTS 4

typedef struct kerf_offline_state {
    kerf_timer *timer;       /* the loop's */
    bool counting;           /* the loop's: the timer runs */
    bool offline;            /* under the edge's lock */
    char why[KERF_TEXT_MAX]; /* under lock: why the last cloud was lost */
    kerf_queue *jobs;        /* of kerf_flight, or the token */
    pthread_t thread;
    bool runs;
    kerf_spool *spool;                     /* NULL: nothing is queued */
    kerf_flight drain[KERF_DRAIN_FLIGHTS]; /* records on their way */
    _Atomic bool drain_asked, session_is_new;
    kerf_timer *again; /* the loop's: drains, after one could not be read */
    kerf_post put_off; /* starts it */
    bool unreadable;   /* the thread's: that was said */
    char drain_token;  /* its address is the job */
} kerf_offline_state;

KERF_NODISCARD kerf_err kerf_offline_init(struct kerf_edge *edge,
                                          kerf_detail *why);
KERF_NODISCARD bool kerf_offline_start(struct kerf_edge *edge);
/* Its thread. False: it has not ended within this time. */
bool kerf_offline_stop(struct kerf_edge *edge, uint64_t within_ms);
void kerf_offline_fini(struct kerf_edge *edge); /* after the link is closed */

/* On the loop's thread. */
void kerf_offline_lost(struct kerf_edge *edge, const char *why);
void kerf_offline_up(struct kerf_edge *edge);

/* Under the lock: the flight waits and there is no cloud. It is left WAITING
 * where nothing else is to be done with it. */
void kerf_offline_take(struct kerf_edge *edge, kerf_flight *f);
/* Under the lock: stopping; the same, but what would wait is answered as given
 * up. */
void kerf_offline_give_up(struct kerf_edge *edge, kerf_flight *f);
/* The worker's, at the end of the inputs: until the queue is empty, or
 * stopping. */
void kerf_offline_wait(struct kerf_edge *edge);

/* offline_local.c */
void kerf_local_run(struct kerf_edge *edge, kerf_flight *f);
/* On the loop's thread: no cloud has come since the start. Runs what is in the
 * store; false: there is nothing. */
bool kerf_local_start(struct kerf_edge *edge);
/* ... and what is there cannot be run, or nothing is: where that leaves nothing
 * to wait for, the run is over. */
void kerf_local_none(struct kerf_edge *edge, const char *why);

/* offline_queue.c */
void kerf_queue_put(struct kerf_edge *edge, kerf_flight *f);
void kerf_queue_drain(struct kerf_edge *edge);
void kerf_queue_ask(struct kerf_edge *edge); /* drain, soon; any thread */
void kerf_queue_again(void *edge);           /* the same; for a timer */
void kerf_queue_put_timer(void *edge);       /* on the loop's thread */
/* Whether a record is of an earlier run. */
bool kerf_queue_is_earlier(const struct kerf_edge *edge, uint64_t seq);
/* The caller has been told: the record may go. */
void kerf_queue_told(struct kerf_edge *edge, kerf_flight *f);
/* This cloud does not serve its bundle; another one may. Under the lock. */
void kerf_queue_put_off(struct kerf_edge *edge, kerf_flight *f);
/* The request will be tried again in another run. Under the lock. */
void kerf_queue_let_go(struct kerf_edge *edge, kerf_flight *f);

#endif
