/*
 * cloud.h - serve tails and ship heads: what `kerf cloud` does, as one call.
 * Threads: kerf_cloud_run() uses the calling thread for its sockets and starts
 * workers for the engine; kerf_cloud_stop() from any thread.
 */
#ifndef KERF_CLOUD_H
#define KERF_CLOUD_H

#include "kerf/cloud_opts.h"
#include "kerf/limits.h"

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

/* What the cloud knows of an edge: of all sessions of one name from one
 * address. Text is safe to print. */
typedef struct kerf_edge_view {
    char name[KERF_NAME_MAX];
    char peer[64];             /* address and port of the latest session */
    char model[KERF_NAME_MAX]; /* it runs, or asked for; "": nothing yet */
    char bundle[16];           /* its id, the first 12 digits */
    int64_t version;           /* that it is signed as; 0: it is not */
    /* What it was given last, and how far that is: offered, receiving, loading,
     * running or rejected; a rejected one stays until it is given another. */
    char update[16], update_bundle[16];
    char state[16]; /* joining, up, busy (turned away within the last
                     * second) or gone (what it asked for still runs) */
    size_t sessions;
    size_t queued;  /* requests that wait for a worker */
    size_t held;    /* ... that arrive, wait, run or are being answered */
    double seconds; /* since its first session */
    double rate_hz; /* answers, over the last seconds */
    double p50_us, p99_us; /* from arrival to answer, of the last 256 */
    uint64_t answered, late, failed, busy;
    uint64_t bytes_in, bytes_out; /* payload of answered requests */
    uint64_t batched[8];          /* answers that ran 1 to 8 at a time */
    double batch_mean;            /* requests in a run; 0: none ran */
} kerf_edge_view;

typedef struct kerf_cloud_view {
    double seconds; /* since it was opened */
    size_t edges, sessions;
    size_t workers;
    size_t queued;   /* requests that wait for a worker */
    double drain_ms; /* until those have run, as tails were measured */
    bool draining;
    double rate_hz;
    uint64_t answered, late, failed, busy; /* since it was opened */
    size_t shown;                          /* of the edges: the busiest first */
    kerf_edge_view *edge;
    size_t rollouts; /* that are not over */
    kerf_rollout_view *rollout;
} kerf_cloud_view;

/* Copies what is known now, of `most` edges at most. From any thread between
 * open and close. Free: kerf_cloud_view_free(). Errors: KERF_ENOMEM. */
KERF_API KERF_NODISCARD kerf_err kerf_cloud_look(kerf_cloud *cloud, size_t most,
                                                 kerf_cloud_view *out);
KERF_API void kerf_cloud_view_free(kerf_cloud_view *view); /* zeroes it */

typedef enum kerf_rollout_command {
    KERF_ROLLOUT_SET, /* give the new one to so many percent, 0 to 100 */
    KERF_ROLLOUT_HALT,
    KERF_ROLLOUT_RESUME,
    KERF_ROLLOUT_GO_BACK, /* give the old one to all */
    KERF_ROLLOUT_FINISH,  /* at 100 %: wait for no edge any more */
} kerf_rollout_command;

/* Copies those that are not over; model NULL: of all. As kerf_cloud_look(), and
 * KERF_ENOENT (no such model is served). Free: free(). */
KERF_API KERF_NODISCARD kerf_err kerf_cloud_rollouts(kerf_cloud *cloud,
                                                     const char *model,
                                                     kerf_rollout_view **out,
                                                     size_t *count,
                                                     kerf_detail *why);
/* From any thread between open and close; returns when it is kept. model NULL:
 * the only one that is being rolled out. Errors: KERF_ENOENT (no such model, or
 * several), KERF_EINVAL (it makes no sense now); the disk's, such as
 * KERF_ENOSPC: it is done, but not kept yet. */
KERF_API KERF_NODISCARD kerf_err kerf_cloud_rollout(kerf_cloud *cloud,
                                                    const char *model,
                                                    kerf_rollout_command what,
                                                    double percent,
                                                    kerf_detail *why);

#ifdef __cplusplus
}
#endif
#endif
