/*
 * edge.h (internal) - the legacy edge's parts.
 *
 *     loop (the caller's thread): files come in -> store -> head
 *     worker: source -> head -> a note that waits until the loop has sent it
 *
 * Worker and loop share what stands under the lock, and one note: it is the
 * worker's while empty and the loop's while full. So at most one tensor is
 * under way, as with the reference.
 */
#ifndef KERF_LEGACY_EDGE_H
#define KERF_LEGACY_EDGE_H

#include "kerf/legacy.h"
#include "legacy/head.h"
#include "legacy/wire.h"
#include "source/source.h"

#include <pthread.h>

#define KERF_LEGACY_HEADS_MAX 64 /* names of which files were received */

typedef enum kerf_legacy_note_kind {
    KERF_LEGACY_NOTE_TENSOR, /* to be sent */
    KERF_LEGACY_NOTE_FAILED, /* the head failed on it */
    KERF_LEGACY_NOTE_SKIPPED,
    KERF_LEGACY_NOTE_DONE, /* the worker's last: err and why say how */
} kerf_legacy_note_kind;

typedef struct kerf_legacy_note {
    kerf_legacy_note_kind kind;
    kerf_item item;
    kerf_legacy_head *head; /* borrowed */
    kerf_err err;
    kerf_detail why;
    kerf_stages stages;
    uint64_t encoded_ns;
    kerf_legacy_send send;
} kerf_legacy_note;

/* A head of which a file was received. */
typedef struct kerf_legacy_fresh {
    kerf_manifest manifest; /* its files: graph, weights */
    unsigned got;           /* bit per role, since it was last complete */
} kerf_legacy_fresh;

/* edge_files.c: what comes from the cloud. */
typedef struct kerf_legacy_files {
    kerf_legacy_dialler dialler;
    kerf_legacy_reader reader;
    kerf_fd_watch *watch;
    kerf_timer *stall; /* runs within a message */
    int fd;            /* -1: not connected */
    char said[512];    /* last state told */
    bool is_refused;   /* what it sent last: connecting again is quiet */
    kerf_legacy_message message;
    kerf_incoming *incoming; /* NULL: between two files */
    uint64_t since_ns;
    kerf_legacy_fresh fresh[KERF_LEGACY_HEADS_MAX];
    size_t fresh_count;
    char loaded_id[KERF_SHA256_HEX];
    char wanted[KERF_NAME_MAX]; /* the model to run; "": the first */
} kerf_legacy_files;

typedef struct kerf_legacy_edge {
    kerf_edge_opts opts; /* defaults filled */
    kerf_edge_events events;
    bool raw;
    kerf_engine *engine;
    kerf_store *store;
    kerf_loop *loop;
    kerf_post posted; /* the note is full */

    pthread_mutex_t lock;
    pthread_cond_t changed;
    kerf_legacy_head *next; /* under lock: loaded, the worker takes it */
    kerf_source *source;    /* under lock: made by the worker */
    bool stopping;          /* under lock */
    bool full;              /* under lock */
    kerf_legacy_note note;

    /* The worker's own. */
    kerf_legacy_head *head;
    const kerf_legacy_head *source_for;

    /* The loop's own. */
    kerf_legacy_files files;
    kerf_listener *listener; /* for the cloud that takes tensors */
    kerf_fd_watch *out_watch;
    int out_fd; /* -1: not connected */
    kerf_timer *linger, *give_up;
    uint64_t linger_left; /* bytes that the cloud has not taken */
    uint64_t linger_since_ns;
    bool give_up_runs, given_up, done;
    kerf_edge_total total;
    kerf_err err; /* how it ended */
    kerf_detail why;
} kerf_legacy_edge;

/* edge.c */
void kerf_legacy_edge_state(kerf_legacy_edge *edge, bool connected,
                            const char *text);
/* Ends the run; the first error counts. */
void kerf_legacy_edge_fail(kerf_legacy_edge *edge, kerf_err err,
                           const char *why);

/* edge_files.c */
KERF_NODISCARD kerf_err kerf_legacy_files_start(kerf_legacy_edge *edge);
void kerf_legacy_files_close(kerf_legacy_edge *edge);

/* edge_send.c */
KERF_NODISCARD kerf_err kerf_legacy_out_start(kerf_legacy_edge *edge,
                                              const char *host, int port,
                                              kerf_detail *why);
void kerf_legacy_out_close(kerf_legacy_edge *edge);
/* The note is full: shows it, or sends it. */
void kerf_legacy_out_note(void *edge);
/* Asked to stop: what is not on its way fails now, the rest has 5 s. */
void kerf_legacy_out_stop(kerf_legacy_edge *edge);

/* edge_worker.c */
void *kerf_legacy_worker_run(void *edge);

#endif
