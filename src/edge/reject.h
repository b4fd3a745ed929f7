/*
 * reject.h - bundles that this edge would not run: their head does not load,
 * or does not answer its probes as it must.
 *
 * They are told to the cloud (READY), and told again when they are offered
 * again, without another try: the same bytes fail in the same way. It lasts as
 * long as the process. When nothing else runs here, the cloud may have another
 * one to offer: it is asked by a PING behind the READY, and when its PONG comes
 * before any OFFER, there is none. Threads: the loop's.
 */
#ifndef KERF_EDGE_REJECT_H
#define KERF_EDGE_REJECT_H

#include "kerf/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define KERF_REJECTS 16

struct kerf_edge;

typedef struct kerf_reject {
    uint64_t text; /* hash of its manifest: a new signature is a new try */
    kerf_err err;  /* KERF_OK: free */
    kerf_detail why;
} kerf_reject;

typedef struct kerf_rejects {
    kerf_reject at[KERF_REJECTS];
    size_t next; /* the oldest */
    bool asked;  /* nothing runs: the cloud may have another one */
    uint64_t asked_ns;
    kerf_err err; /* to end with, when it has none */
    kerf_detail line;
} kerf_rejects;

/* Whether it would fail in the same way again. */
bool kerf_reject_is_final(kerf_err err);
void kerf_reject_note(kerf_rejects *r, uint64_t text, kerf_err err,
                      const char *why);
/* NULL: it may be tried. */
const kerf_reject *kerf_reject_find(const kerf_rejects *r, uint64_t text);

/* Nothing runs here, and this cannot: ends the run, unless the cloud offers
 * something else. */
void kerf_reject_ask(struct kerf_edge *edge, kerf_err err, const char *line);
void kerf_reject_on_offer(struct kerf_edge *edge);
void kerf_reject_on_pong(struct kerf_edge *edge, uint64_t echo_ns);

#endif
