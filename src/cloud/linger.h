/*
 * linger.h - how many requests of a tail a worker runs as one, and how long it
 * waits for those that are about to come.
 *
 * Edges ask again when they have their answers, so the edges of a batch come
 * back together, some 100 us after it. A worker that takes at once what is
 * there gets one of them or two, and another number each time: to go from one
 * size to another costs a run about as much as one more request does
 * (docs/BENCHMARKS.md, "Batches"). So a worker stays with a size, and waits for
 * it a little: no longer than it saves each request, not at all where that is
 * less than it takes an edge to ask again, and less and less often where it
 * waits in vain. Who asks one by one, and alone, is not waited for.
 * Threads: one at a time. Times are the caller's.
 */
#ifndef KERF_CLOUD_LINGER_H
#define KERF_CLOUD_LINGER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define KERF_BATCH_MOST 8
/* A wait is spent awake, as short ones are (base/awake.h). */
#define KERF_LINGER_MOST_NS 1000000u

/* A worker's, of one tail. */
typedef struct kerf_linger {
    size_t most;
    bool forced; /* costs do not count */
    /* Of a run, by size: as it was tried, and of late. */
    uint64_t tried_ns[KERF_BATCH_MOST + 1], cost_ns[KERF_BATCH_MOST + 1];
    size_t last;     /* the size of the last run */
    uint64_t crowd;  /* requests at the cloud, times 1024 */
    unsigned misses; /* waits in vain, one after the other */
    unsigned skip;   /* batches that do not wait */
} kerf_linger;

typedef struct kerf_linger_plan {
    size_t goal;      /* what is waited for */
    size_t most;      /* what is taken where more are there */
    uint64_t wait_ns; /* at most */
} kerf_linger_plan;

/* run_ns: of 1 to `most` requests at once; 0: not known, it is taken to lie on
 * the line between its neighbours. most: 2 to KERF_BATCH_MOST. */
void kerf_linger_init(kerf_linger *l, const uint64_t *run_ns, size_t most,
                      bool forced);
/* Whether so many at once cost less than one by one. */
bool kerf_linger_pays(const kerf_linger *l, size_t size);
/*
 * A worker has taken a request. seen: how many of this tail are at the cloud,
 * waiting or being run, that one included. workers: those that share them, not
 * those that are busy with other tails.
 */
kerf_linger_plan kerf_linger_plan_for(kerf_linger *l, size_t seen,
                                      size_t workers);
/* It has waited, and got what it waited for, or not. crowded: it lost its core
 * to others meanwhile, for longer than it wanted to wait: as seldom as can be.
 */
void kerf_linger_waited(kerf_linger *l, bool filled, bool crowded);
/* The same number at the end of a run, with those of the batch: none of them is
 * on its way to an edge and back yet, so that this is how many there are. */
void kerf_linger_saw(kerf_linger *l, size_t seen);
/* So many were run as one, in this time. */
void kerf_linger_ran(kerf_linger *l, size_t size, uint64_t run_ns);

#endif
