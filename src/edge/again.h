/*
 * again.h - a bundle that is to run, and could not for a reason of the moment
 * (no room, no memory, a clock): it is tried again, each time a little later,
 * while the session lasts and nothing else is offered to be run. The next
 * session brings an offer of its own. Threads: the loop's.
 */
#ifndef KERF_EDGE_AGAIN_H
#define KERF_EDGE_AGAIN_H

#include "kerf/err.h"

#include <stdbool.h>
#include <stdint.h>

struct kerf_edge;
struct kerf_timer;

typedef struct kerf_again {
    struct kerf_timer *timer;
    struct kerf_wanted *wanted; /* or NULL */
    uint64_t text;              /* the last one's; 0: none */
    uint64_t wait_ms;
} kerf_again;

KERF_NODISCARD kerf_err kerf_again_init(struct kerf_edge *edge);
void kerf_again_fini(struct kerf_edge *edge);
/* Takes the first of those wanted, if it is one to try again; its place is
 * left empty. */
void kerf_again_take(struct kerf_edge *edge, kerf_err err);
/* One has run: the next that cannot is tried again as soon as the first was. */
void kerf_again_forget(struct kerf_edge *edge);
void kerf_again_drop(struct kerf_edge *edge);

#endif
