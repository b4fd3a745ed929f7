/*
 * edge.h - get heads from a cloud, run them on inputs, show the answers: what
 * `kerf edge` does, as one call.
 * Threads: kerf_edge_run() calls events on the calling thread, unless they say
 * otherwise; it starts one thread for sockets and one for the engine.
 * kerf_edge_stop() from any thread, or from an event.
 */
#ifndef KERF_EDGE_H
#define KERF_EDGE_H

#include "kerf/edge_opts.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct kerf_edge kerf_edge;

KERF_API KERF_NODISCARD kerf_err kerf_edge_open(kerf_edge **out,
                                                const kerf_edge_opts *opts,
                                                const kerf_edge_events *events,
                                                kerf_detail *why);
/* Until all inputs are answered (watch, repeat 0: until stopped). */
KERF_API KERF_NODISCARD kerf_err kerf_edge_run(kerf_edge *edge,
                                               kerf_edge_total *total,
                                               kerf_detail *why);
KERF_API void kerf_edge_stop(kerf_edge *edge);
/* Accepts NULL. When the disk of opts.store hangs, it is not waited for longer
 * than some seconds: false: threads are left, with all that is theirs. Then the
 * process ends with _exit(), since exit() takes away what they use. */
KERF_API bool kerf_edge_close(kerf_edge *edge);

#ifdef __cplusplus
}
#endif
#endif
