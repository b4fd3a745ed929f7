/*
 * here.h - tails that run where their tensors have arrived, on the loop's
 * thread: those that take less time than to hand the request to a worker.
 *
 * No thread is woken, and the tensors are in this core's caches. How long the
 * connections wait for that is bounded: by KERF_HERE_TAIL_NS for a tail (a
 * mean: one that stumbles goes to the workers until it is quick again), by
 * KERF_HERE_ANSWER for what it answers, and by KERF_HERE_TURN_NS for all of a
 * turn, beyond which it pays to use other cores. Requests that wait for a
 * worker are not overtaken, nor those of the same tail that one has taken: so a
 * network is free when it is used here, but for one that a worker is just about
 * to use, and then runs take turns. A tail that was quick and hangs holds
 * up the loop, which whoever watches over it notices (the alive event).
 * Threads: the loop's.
 */
#ifndef KERF_CLOUD_HERE_H
#define KERF_CLOUD_HERE_H

#include "cloud/cloud.h"

#define KERF_HERE_TAIL_NS 10000u
#define KERF_HERE_ANSWER ((size_t)16 << 10) /* bytes */
#define KERF_HERE_TURN_NS 1000000u          /* tails, and their answers */

/* Errors: KERF_ENOMEM. */
KERF_NODISCARD kerf_err kerf_here_start(kerf_cloud *cloud);
void kerf_here_stop(kerf_cloud *cloud); /* also if it did not start */
/* Whether the request in this slot is one to be run here, now. */
bool kerf_here_may(kerf_cloud *cloud, const kerf_slot *slot);
/* Runs and answers it; the slot is given back. soon: its edge is expected to
 * ask again at once. The answer may wait for kerf_here_pause(). */
void kerf_here_run(kerf_cloud *cloud, kerf_slot *slot, bool soon);
/* No more of this edge, for now. */
void kerf_here_pause(kerf_cloud *cloud);

#endif
