/*
 * cloud.h (internal) - the cloud's parts and how they hang together.
 *
 *     loop thread:  listener -> sessions -> a line of jobs per edge
 *     workers:      lines in turns -> tail -> RESULT straight to the socket
 *     loader:       folder -> registry (registry.h)
 */
#ifndef KERF_CLOUD_CLOUD_H
#define KERF_CLOUD_CLOUD_H

#include "base/busy.h"
#include "base/few.h"
#include "cloud/fair.h"
#include "cloud/lane.h"
#include "cloud/registry.h"
#include "cloud/rollouts.h"
#include "kerf/cloud.h"
#include "net/conn.h"
#include "net/tls_folder.h"

typedef struct kerf_session kerf_session;

#define KERF_PLACES 4096

/* Connections that have not said what they are. */
typedef struct kerf_new_list {
    kerf_session *oldest, *newest;
    size_t count;
} kerf_new_list;

/* Lines in the log that any peer can cause. */
typedef enum kerf_say {
    KERF_SAY_NEW,
    KERF_SAY_STRANGER,
    KERF_SAY_EDGES,
    KERF_SAY_OVERDUE,
    KERF_SAY_NAME,
    KERF_SAYS,
} kerf_say;

typedef struct kerf_worker {
    pthread_t thread;
    struct kerf_runner *runner;
} kerf_worker;

struct kerf_cloud {
    kerf_cloud_opts opts; /* defaults filled */
    kerf_cloud_events events;
    char name[KERF_NAME_MAX];
    kerf_loop *loop;
    kerf_engine *engine;
    kerf_listener *listener;
    kerf_tls_folder *tls; /* NULL: without */
    kerf_registry *registry;
    kerf_rollouts *rollouts;
    kerf_post stirred;            /* a rollout changed what edges are given */
    struct kerf_control *control; /* or NULL */
    kerf_fair *jobs;              /* of kerf_slot */
    kerf_lanes lanes;
    uint64_t since_ns;
    struct kerf_ahead *ahead;
    struct kerf_runner *here; /* here.h */
    uint64_t here_ns;         /* what it ran in this turn of the loop */
    kerf_worker *worker;
    kerf_busy *busy; /* one per worker */
    size_t workers;
    _Atomic size_t idle;       /* workers that wait for a job */
    _Atomic size_t workers_on; /* that gather or run */
    _Atomic size_t in_flight;  /* slots between arrival and answer sent */
    _Atomic bool draining;
    kerf_post stop;
    kerf_post drained; /* posted by who sent the last answer */
    kerf_timer *drain_timeout;
    kerf_timer *signed_ends; /* signed.h */
    kerf_timer *alive;       /* for who watches over us */
    unsigned sweeps;
    kerf_timer *sweep;      /* runs while there are sessions or lanes */
    uint64_t swept_ns;      /* the last time; 0: not since it was started */
    kerf_session *sessions; /* list; loop thread */
    size_t session_count;
    size_t open_count;                    /* of these; the others are NEW */
    kerf_new_list fresh[KERF_CONN_STEPS]; /* those, by what they have shown */
    size_t new_most;                      /* NEW ones at a time */
    kerf_few few[KERF_SAYS];              /* lines of each kind */
    kerf_table *tokens; /* of sessions that are open; loop thread */
    /* When edges of an address last asked for something, by its hash. */
    uint64_t asked_ns[KERF_PLACES];
    uint64_t asked_last_ns; /* anyone */
    /* The loop's thread interrupts those that compute, while tails are long. */
    bool has_cores, interrupts;
    bool may_linger;       /* each worker has a core to wait awake on */
    uint64_t long_last_ns; /* when one of those was asked for */
    kerf_tensors parsed;   /* scratch of the loop thread: too big for a stack */
};

/* session.c */
void kerf_session_accept(kerf_cloud *cloud, int fd);
/* A model came or changed (s), or one went, or others are given it (NULL): tell
 * the edges that it concerns. */
void kerf_sessions_offer(kerf_cloud *cloud, kerf_served *s);
/* Whom to trust, or who may have what, is another now. */
void kerf_sessions_recheck(kerf_cloud *cloud);
void kerf_sessions_sweep(kerf_cloud *cloud);
void kerf_sessions_sweep_on(kerf_cloud *cloud); /* from now on */
void kerf_sessions_bye(kerf_cloud *cloud, const char *text);
void kerf_sessions_close(kerf_cloud *cloud);

/* worker.c */
KERF_NODISCARD kerf_err kerf_workers_start(kerf_cloud *cloud, kerf_detail *why);
void kerf_workers_stop(kerf_cloud *cloud); /* BUSY for what still waits */
/* Hands a filled slot over; on a full queue the slot is not consumed. */
KERF_NODISCARD kerf_err kerf_workers_push(kerf_cloud *cloud, kerf_slot *slot);
/* How long a request that comes now would wait, for BUSY. */
#define KERF_RETRY_MOST_MS 5000
uint32_t kerf_workers_retry_ms(kerf_cloud *cloud, kerf_served *s);

#endif
