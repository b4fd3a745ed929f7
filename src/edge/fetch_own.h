/*
 * fetch_own.h - how models come in: fetch.c (which, and step by step),
 * fetch_parts.c (the bytes of a file), fetch_loader.c (what takes its time).
 * Threads: the loop's, but for kerf_loader_run().
 */
#ifndef KERF_EDGE_FETCH_OWN_H
#define KERF_EDGE_FETCH_OWN_H

#include "edge/edge.h"

/* fetch.c. The first of those wanted is not to be had, or not to be run. */
void kerf_fetch_give_up(kerf_edge *edge, kerf_err err, const char *why);
void kerf_fetch_work(kerf_edge *edge); /* on the first, if none is under way */
/* The loader's turn; it ends with kerf_fetch_on_loader(). */
void kerf_fetch_to_loader(kerf_edge *edge, kerf_fetch_state state);
void kerf_fetch_on_loader(void *edge);

/* fetch_parts.c. Asks for what is missing of the file that is open. */
void kerf_fetch_ask(kerf_edge *edge);
/* Closes it; what was asked of it may come yet, and is read over. */
void kerf_fetch_drop_part(kerf_edge *edge);
/* The link broke: leaves it open for the next session, which takes it if it
 * asks for that file first. */
void kerf_fetch_keep(kerf_fetcher *f);
bool kerf_fetch_take_kept(kerf_fetcher *f);
/* Whether this error is one to fetch what is wrong again for. */
bool kerf_fetch_try_again(kerf_edge *edge, kerf_err err);
void kerf_fetch_tell_received(kerf_edge *edge, const kerf_file *file);

#endif
