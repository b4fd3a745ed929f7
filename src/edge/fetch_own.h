/*
 * fetch_own.h - how models come in: fetch_offers.c (which), fetch.c (step by
 * step),
 * fetch_parts.c (the bytes of its files), fetch_loader.c (what takes its time),
 * fetch_writer.c (threads that write and hash what comes).
 * Threads: the loop's, but for kerf_loader_run().
 */
#ifndef KERF_EDGE_FETCH_OWN_H
#define KERF_EDGE_FETCH_OWN_H

#include "edge/edge.h"

/* fetch_offers.c */
void kerf_fetch_drop_first(kerf_fetcher *f);
void kerf_fetch_drop_waiting(kerf_fetcher *f); /* all but the one under way */
/* The same, but what comes from the store needs no cloud. */
void kerf_fetch_drop_offered(kerf_fetcher *f);
/* The loader's: the whole manifest of one that is worked on. */
KERF_NODISCARD kerf_err kerf_fetch_expand(kerf_wanted *w, kerf_detail *why);

/* fetch.c. The first of those wanted is not to be had, or not to be run. */
void kerf_fetch_give_up(kerf_edge *edge, kerf_err err, const char *why);
void kerf_fetch_work(kerf_edge *edge); /* on the first, if none is under way */
/* The loader's turn; it ends with kerf_fetch_on_loader(). */
void kerf_fetch_to_loader(kerf_edge *edge, kerf_fetch_state state);
void kerf_fetch_on_loader(void *edge);
void kerf_fetch_on_ended(kerf_edge *edge);
void kerf_fetch_on_whole(kerf_edge *edge); /* all that was open was tried */

/* fetch_parts.c. Asks for what is missing of the files that are open. */
void kerf_fetch_receive(kerf_edge *edge);
/* How much may be under way where so many bytes of files came in so long, and
 * the first of them reply_ns after it was asked for (0: none came yet). */
uint64_t kerf_fetch_under_way(uint64_t came, uint64_t ns, uint64_t reply_ns);
/* Not to the end. When the writer has done what it was given, fetch.c goes on
 * with kerf_fetch_on_ended(). */
void kerf_fetch_end_early(kerf_edge *edge, kerf_fetch_end end);
/* What a PART is read into; nobody reads into it any more. */
void kerf_fetch_drop_reading(kerf_fetcher *f);
/* Closes them; what was asked of them may come yet, and is read over. */
void kerf_fetch_drop_parts(kerf_fetcher *f);
/* Leaves them open for the next bundle that has those files. */
void kerf_fetch_keep(kerf_fetcher *f);
/* One that was left open; NULL: none. */
kerf_incoming *kerf_fetch_take_kept(kerf_fetcher *f, const kerf_file *file);
void kerf_fetch_drop_kept(kerf_fetcher *f);
void kerf_fetch_on_written(void *edge); /* the writer has done some */

#endif
