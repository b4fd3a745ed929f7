/*
 * top_draw.h - the table of edges that `kerf top` and `kerf cloud` show.
 * Threads: one at a time for each terminal.
 */
#ifndef KERF_CLI_TOP_DRAW_H
#define KERF_CLI_TOP_DRAW_H

#include "cli/term.h"
#include "kerf/cloud.h"

/* Draws at most `lines` lines, at least 3, each of them narrower than the
 * terminal and with what stood behind it cleared; edges that find no room are
 * counted. Returns how many it drew. */
size_t kerf_top_draw(const kerf_term *term, const kerf_cloud_view *v,
                     size_t lines);

#define KERF_ROLLOUT_LINE 1024
/* One line that says how it goes, without an end. Returns out. */
char *kerf_top_rollout(char *out, size_t cap, const kerf_rollout_view *v);

#endif
