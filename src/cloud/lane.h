/*
 * lane.h - an edge, as the cloud knows it: its line in the queue and its
 * counters. All sessions of one name from one address share a lane, so that to
 * connect often brings no larger share. (To give several names does.) With TLS
 * the name is the certificate's, and the address does not matter.
 *
 *     first session --> lane --> last session gone and no slot held: freed
 *
 * Threads: lanes come and go, and are told apart, on the loop's thread;
 * counters from any; kerf_lanes_look() from any.
 */
#ifndef KERF_CLOUD_LANE_H
#define KERF_CLOUD_LANE_H

#include "base/table.h"
#include "cloud/fair.h"
#include "kerf/cloud.h"
#include "kerf/limits.h"

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>

#define KERF_LANE_TIMES 256 /* of the last answers: for quantiles */
#define KERF_LANE_SECONDS 4 /* that a rate is over */
#define KERF_LANE_BATCHES 8 /* sizes 1 to 8 */

/* A slot whose answer is being handed to the kernel: the edge may have it, and
 * ask again, before the worker has given the slot back. */
#define KERF_LANE_DONE ((uint64_t)1 << 32)

/* How far an edge is with the bundle that it was given. */
typedef enum kerf_update {
    KERF_UPDATE_NONE = 0,
    KERF_UPDATE_OFFERED,
    KERF_UPDATE_RECEIVING,
    KERF_UPDATE_LOADING,
    KERF_UPDATE_RUNNING,
    KERF_UPDATE_REJECTED,
    KERF_UPDATE_BLOCKED, /* for now, for want of room or the like */
} kerf_update;

typedef struct kerf_lane {
    /* What each request touches, side by side: KERF_LANE_NEAR. */
    kerf_line line;        /* the queue's */
    const void *served;    /* loop: whose names model and bundle are */
    _Atomic uint64_t held; /* slots, and KERF_LANE_DONE for each that is as
                            * good as given back; the last that is touched by
                            * its owner */
    _Atomic uint64_t answered, bytes_in, bytes_out;
    _Atomic uint64_t batched[KERF_LANE_BATCHES]; /* answers by size - 1 */
    _Atomic uint64_t late, failed, busy;
    /* By kerf_lanes_tick(), under the lock. */
    bool is_busy; /* turned away within the last second */
    uint64_t was_answered[KERF_LANE_SECONDS], was_busy;
    struct kerf_lane *prev, *next;     /* of all */
    _Atomic size_t sessions, attached; /* changed by the loop */
    kerf_knot knot;
    uint64_t since_ns;
    char name[KERF_NAME_MAX]; /* safe to print */
    char host[64];            /* without the port; "": certified */
    char peer[64];            /* of the latest session */
    char model[KERF_NAME_MAX];
    char bundle[16];
    int64_t version; /* signed; 0: not */
    char update_bundle[16];
    _Atomic kerf_update update;                 /* changed by the loop */
    _Atomic uint32_t times_us[KERF_LANE_TIMES]; /* arrival to answer */
} kerf_lane;

/* Bytes at the beginning of a lane. */
#define KERF_LANE_NEAR (offsetof(kerf_lane, is_busy))

typedef struct kerf_lanes {
    kerf_table *table; /* by name and host */
    kerf_lane *first;
    size_t count;
    uint64_t ticks, last_tick_ns, tick_ns[KERF_LANE_SECONDS];
    kerf_cloud_view past; /* sums of those that are gone; no edges in it */
    pthread_mutex_t lock; /* of the list and of text, against looks */
} kerf_lanes;

KERF_NODISCARD kerf_err kerf_lanes_init(kerf_lanes *l);
void kerf_lanes_fini(kerf_lanes *l); /* accepts a zeroed one; no slot is held */

/* The lane of this edge, one session more in it; NULL: out of memory. name is
 * safe to print, peer has a port behind its last colon. certified: the name is
 * of a certificate; the same for all edges of a cloud. */
kerf_lane *kerf_lanes_join(kerf_lanes *l, const char *name, const char *peer,
                           bool certified);
void kerf_lanes_leave(kerf_lanes *l, kerf_lane *lane);
/* What the lane asks for now. */
void kerf_lanes_note_model(kerf_lanes *l, kerf_lane *lane, const void *served,
                           const char *model, const char *bundle,
                           int64_t version);
void kerf_lanes_note_update(kerf_lanes *l, kerf_lane *lane, kerf_update update,
                            const char *bundle);
/* On from offered: parts of what it was given are on their way. */
void kerf_lanes_move_update(kerf_lane *lane, kerf_update update);
/* Whether the note is of this bundle (its id in hex). */
bool kerf_lanes_update_is(kerf_lanes *l, const kerf_lane *lane,
                          const char *bundle);
/* Once a second or more often: rates; frees lanes that are over. */
void kerf_lanes_tick(kerf_lanes *l, uint64_t now_ns);

/* Slots that count against its share. */
size_t kerf_lane_share(const kerf_lane *lane);

/* An answer will be noted soon. */
void kerf_lane_warm_times(const kerf_lane *lane);
/* batch: how many ran at once. */
void kerf_lane_note_answer(kerf_lane *lane, uint64_t time_ns, size_t batch,
                           size_t bytes_in, size_t bytes_out, bool late);

/* Copies what is known, the busiest edges first, at most `most` of them.
 * Errors: KERF_ENOMEM. Free: kerf_cloud_view_free(). */
KERF_NODISCARD kerf_err kerf_lanes_look(kerf_lanes *l, kerf_fair *f,
                                        size_t most, kerf_cloud_view *out);

#endif
