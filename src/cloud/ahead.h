/*
 * ahead.h - decodes the blocks of a request while others of it are still on
 * their way, on a thread of its own. What it has no time for is left to the
 * worker that runs the request.
 *
 *     IDLE --a block--> QUEUED --decoded--> IDLE
 *       \                  \
 *        `--- the last -----`--> DONE: goes to a worker, from who had it
 *        `--- no more ------`--> DROPPED: given back, by who had it
 *
 * Threads: kerf_ahead_block(), _done() and _drop() on the loop's; each slot is
 * the loop's or the decoder's, by its state.
 */
#ifndef KERF_CLOUD_AHEAD_H
#define KERF_CLOUD_AHEAD_H

#include "cloud/slots.h"
#include "kerf/codec.h"

struct kerf_cloud;
typedef struct kerf_ahead kerf_ahead;

KERF_NODISCARD kerf_err kerf_ahead_start(struct kerf_cloud *cloud,
                                         kerf_detail *why);
/* Hands over what is complete; accepts that it was not started. Before the
 * workers stop. */
void kerf_ahead_stop(struct kerf_cloud *cloud);

/* The block that was added last is here. */
void kerf_ahead_block(struct kerf_cloud *cloud, kerf_slot *slot);
/* All of the request is here: it goes to a worker. Errors:
 * kerf_workers_push()'s; then the slot is the caller's. */
KERF_NODISCARD kerf_err kerf_ahead_done(struct kerf_cloud *cloud,
                                        kerf_slot *slot);
/* The rest of the request will not come. */
void kerf_ahead_drop(kerf_slot *slot);

/* Decodes the next block of those that arrived. */
KERF_NODISCARD kerf_err kerf_ahead_decode(kerf_slot *slot, kerf_codec *codec,
                                          kerf_detail *why);

#endif
