/*
 * fair.h - the jobs that wait for a worker, a line of them for each edge.
 *
 * Lines take turns by deficit round robin (Shreedhar and Varghese, 1995): a
 * line whose turn it is may spend a quantum of tail time, and what is left of
 * it when its next job costs more is kept for the next turn. The quantum is the
 * price of the dearest job that waits, so that every turn serves at least one:
 * to pop is O(1) however many lines there are. An edge that floods makes its
 * own line long and nobody else's.
 * Threads: any number of pushers and poppers; what is in a line, a job or a
 * price, but its ns, is under the queue's lock.
 */
#ifndef KERF_CLOUD_FAIR_H
#define KERF_CLOUD_FAIR_H

#include "base/awake.h"
#include "kerf/err.h"

#include <stddef.h>
#include <stdint.h>

typedef struct kerf_fair kerf_fair;
typedef struct kerf_line kerf_line;

/* Of one kind of job, a model's. It is looked at when it is paid, so that jobs
 * of one kind cost the same however long they waited. Zeroed: costs 1. */
typedef struct kerf_price {
    _Atomic uint64_t ns;
    _Atomic size_t waiting; /* private, as what follows; set under the lock */
    struct kerf_price *prev, *next;
} kerf_price;

/* Lies in what it is the job for. */
typedef struct kerf_job {
    void *of;        /* what pops give */
    kerf_line *line; /* where it waits */
    kerf_price *price;
    struct kerf_job *prev, *next; /* private */
} kerf_job;

/* One per edge. Zeroed: empty. Outlives its jobs' waiting. */
struct kerf_line {
    kerf_job *first, *last;
    size_t count;
    int64_t deficit_ns;
    kerf_line *before, *behind; /* in the ring of those with jobs */
};

/* limit: jobs at a time. Errors: KERF_EINVAL (0), KERF_ENOMEM. */
KERF_NODISCARD kerf_err kerf_fair_new(kerf_fair **out, size_t limit);
void kerf_fair_free(kerf_fair *f); /* accepts NULL; jobs are the caller's */

/* KERF_EBUSY when full, KERF_ECLOSED after close. Of *job, `of`, `line` and
 * `price` are set. */
KERF_NODISCARD kerf_err kerf_fair_push(kerf_fair *f, kerf_job *job);
/* Waits for a job, and stays awake for a while where waits are short; *awake
 * belongs to the popping thread. NULL once the queue is closed and empty. */
void *kerf_fair_pop(kerf_fair *f, kerf_awake *awake);
void *kerf_fair_try_pop(kerf_fair *f); /* NULL when empty */
/*
 * Pops more jobs of this kind, to be done together with one that was popped:
 * what their lines' turns would give next, if there were no other kinds. Up to
 * `most`, and so many that `leave` jobs stay, or none. Takes no lock where none
 * waits. Returns how many, what they are of in out[].
 */
size_t kerf_fair_pop_alike(kerf_fair *f, const kerf_price *kind, size_t leave,
                           void **out, size_t most);
/* How many of this kind wait, and how many of others; about, while others push
 * and pop: it takes no lock. */
void kerf_fair_look(const kerf_fair *f, const kerf_price *kind, size_t *alike,
                    size_t *others);
/* Another number after each push, and after close: tells whether to look. */
unsigned kerf_fair_news(const kerf_fair *f);
/* No more pushes; waiting poppers drain what is left, then get NULL. */
void kerf_fair_close(kerf_fair *f);

/* About, while others push and pop: it takes no lock. */
size_t kerf_fair_count(kerf_fair *f);
/* Whether it is this line's turn now. */
bool kerf_fair_is_next(kerf_fair *f, const kerf_line *line);
size_t kerf_fair_line_count(kerf_fair *f, const kerf_line *line);
/* What all that waits costs: one worker's time to drain the queue. */
uint64_t kerf_fair_cost_ns(kerf_fair *f);

#endif
