/*
 * runner.h - runs requests whose tensors are here, and answers them: the tail
 * on a slot's memory, the answer from it straight to the socket, which costs
 * less than giving it back to the loop (docs/BENCHMARKS.md).
 * Threads: a runner is of one; what is about a job, any.
 */
#ifndef KERF_CLOUD_RUNNER_H
#define KERF_CLOUD_RUNNER_H

#include "cloud/cloud.h"
#include "cloud/gather.h"
#include "kerf/codec.h"

/* What was handed to the kernel and is not let go yet: answers to one edge,
 * when the next request waits and its tail is short. Sent together, they cost
 * one packet and one wake-up of the edge. */
typedef struct kerf_held {
    kerf_conn *conn; /* counted; NULL: nothing */
    uint64_t since_ns;
} kerf_held;

typedef struct kerf_runner {
    kerf_cloud *cloud;
    size_t number;    /* of the worker whose networks and requests it runs */
    kerf_group group; /* the owner's: what kerf_runner_run() runs */
    bool more_follow; /* the owner's: the edge's next request has begun to come;
                       * what is held is let go when it does not */
    kerf_held held;
    bool is_busy; /* there is more than what was answered last: awake.h */
    /* Private: of the requests that run. */
    kerf_codec *codec;
    uint64_t start_ns, decode_ns, run_ns;
    kerf_err err[KERF_BATCH_MOST]; /* refused, when all is done */
    kerf_detail why[KERF_BATCH_MOST];
    kerf_tensors m;
} kerf_runner;

/* Errors: KERF_ENOMEM. */
KERF_NODISCARD kerf_err kerf_runner_new(kerf_runner **out, kerf_cloud *cloud,
                                        size_t number);
void kerf_runner_free(kerf_runner *r); /* accepts NULL */
/* Runs and answers the group that kerf_gather() made, or refuses what cannot be
 * run. */
void kerf_runner_run(kerf_runner *r);
/* The same of one slot, which was not gathered. */
void kerf_runner_run_alone(kerf_runner *r, kerf_slot *slot);
/* Sends what is held, if anything is. */
void kerf_runner_let_go(kerf_runner *r);

/* The request counts as one in flight until it is over, which is when its slot
 * is given back: by then its answer is sent. */
void kerf_job_begin(kerf_cloud *cloud, kerf_slot *slot);
void kerf_job_over(kerf_slot *slot);

#endif
