/*
 * gather.h - which requests a worker runs as one: those that wait for the same
 * tail, and those that are about to come (linger.h).
 * Threads: a worker each.
 */
#ifndef KERF_CLOUD_GATHER_H
#define KERF_CLOUD_GATHER_H

#include "cloud/cloud.h"

/* Requests of one tail. */
typedef struct kerf_group {
    kerf_slot *slot[KERF_BATCH_MOST];
    size_t count;
    bool apart;          /* run one by one: so many at once do not pay */
    kerf_linger *linger; /* NULL: this tail has no batches */
    kerf_linger_plan plan;
} kerf_group;

/* Slot, and what waits of its kind. True: kerf_gather_wait() may get more. */
bool kerf_gather(kerf_group *g, kerf_cloud *cloud, kerf_slot *slot,
                 size_t worker);
/* Waits for those that are about to come; not while another tail's requests
 * wait, nor past a deadline, nor while the cloud drains. */
void kerf_gather_wait(kerf_group *g, kerf_cloud *cloud);
/* They have run, or the first of them where they run apart, and none is
 * answered yet. run_ns: that run; 0: none ran. */
void kerf_gather_ran(kerf_group *g, kerf_cloud *cloud, uint64_t run_ns);
/* All of them have run; the last is not answered yet. */
void kerf_gather_over(kerf_group *g, kerf_cloud *cloud);

#endif
