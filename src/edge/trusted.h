/*
 * trusted.h (internal) - what an edge with --trust runs: bundles that a trusted
 * key signed, in time, and none older than what has run. Without --trust
 * signatures are shown, and decide nothing.
 *
 * Checked before anything is fetched, again before it is loaded, and as long as
 * it runs: when it expires, no further input is run until there is a newer
 * statement (or bundle); what the head has run is still sent and answered.
 */
#ifndef KERF_EDGE_TRUSTED_H
#define KERF_EDGE_TRUSTED_H

#include "edge/edge.h"

/* Reads the keys; makes the timer. */
KERF_NODISCARD kerf_err kerf_trusted_init(kerf_edge *edge, kerf_detail *why);
void kerf_trusted_fini(kerf_edge *edge);

/* The loader's. May this run? says: what is signed; version 0: nothing, or no
 * text that can be read. Errors: KERF_EDENIED; the keys', the store's. */
KERF_NODISCARD kerf_err kerf_trusted_check(kerf_edge *edge,
                                           const kerf_wanted *wanted,
                                           kerf_statement *says,
                                           kerf_detail *why);
/* The loader's: it runs from now on, so nothing older may. */
KERF_NODISCARD kerf_err kerf_trusted_ran(kerf_edge *edge,
                                         const kerf_statement *says,
                                         kerf_detail *why);

/* The loop's. A program of this bundle runs or is about to, by another
 * statement than m's, or by one that has expired. */
bool kerf_trusted_is_news(kerf_edge *edge, const kerf_manifest *m);
/* ... and m's was found good. */
void kerf_trusted_renew(kerf_edge *edge, const kerf_manifest *m,
                        const kerf_statement *says);
/* A program took over: tells what its signature says, and watches its time. */
void kerf_trusted_switched(kerf_edge *edge);

/* The store's manifest to start with while there is no cloud: the one in force,
 * where signatures count. Errors: KERF_ENOENT. */
KERF_NODISCARD kerf_err kerf_trusted_stored(kerf_edge *edge,
                                            kerf_manifest *out);

#endif
