/*
 * cloud.h - serve tails and ship heads: what `kerf cloud` does, as one call.
 * Threads: kerf_cloud_run() uses the calling thread for its sockets and starts
 * workers for the engine; kerf_cloud_stop() from any thread.
 */
#ifndef KERF_CLOUD_H
#define KERF_CLOUD_H

#include "kerf/cloud_opts.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct kerf_cloud kerf_cloud;

/* Loads what is in the folder and listens. events is copied.
 * Errors: KERF_EADDRINUSE, KERF_ENOENT (host, folder), engine's. */
KERF_API KERF_NODISCARD kerf_err
kerf_cloud_open(kerf_cloud **out, const kerf_cloud_opts *opts,
                const kerf_cloud_events *events, kerf_detail *why);
/* Serves until stopped, then drains: answers what it has taken (at most 5 s)
 * and tells the edges. */
KERF_API void kerf_cloud_run(kerf_cloud *cloud);
KERF_API void kerf_cloud_stop(kerf_cloud *cloud);
KERF_API void kerf_cloud_close(kerf_cloud *cloud); /* accepts NULL */

#ifdef __cplusplus
}
#endif
#endif
