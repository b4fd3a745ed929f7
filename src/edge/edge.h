/*
 * edge.h (internal) - the edge's parts and how they hang together.
 *
 *     worker:  source -> head -> TENSOR straight to the socket
 *     loop:    sessions with the cloud; RESULT -> event queue
 *     loader:  store checks, compiling, self-tests
 *     writer:  what comes of a model: unpacked, written, checked
 *     caller:  event queue -> the events of kerf/edge.h
 *
 * One lock guards what worker and loop share: flight states, the connection to
 * send on, and the program in use. It is held for a send of the loop's at most;
 * the worker sends without it.
 */
#ifndef KERF_EDGE_EDGE_H
#define KERF_EDGE_EDGE_H

#include "base/busy.h"
#include "base/awake.h"
#include "base/queue.h"
#include "edge/again.h"
#include "edge/beat.h"
#include "edge/fetch_writer.h"
#include "edge/offline.h"
#include "edge/program.h"
#include "edge/reject.h"
#include "edge/route.h"
#include "edge/tune.h"
#include "proto/clock_sync.h"
#include "source/source.h"
#include "net/tls_folder.h"

#include <pthread.h>

/* What the caller is told. */
typedef enum kerf_note_kind {
    KERF_NOTE_STATE,
    KERF_NOTE_PROGRESS,
    KERF_NOTE_RECEIVED,
    KERF_NOTE_MODEL,
    KERF_NOTE_SIGNATURE,
    KERF_NOTE_SKIPPED,
    KERF_NOTE_DROPPED, /* a request that was queued on disk */
    KERF_NOTE_DONE,    /* the run is over: err and text say how */
} kerf_note_kind;

typedef struct kerf_note { /* heap, but for the last */
    kerf_event event;
    kerf_note_kind kind;
    bool connected;
    bool earlier; /* dropped: it is of an earlier run */
    uint64_t index, got, size, wire, reused, resumed, ns;
    kerf_err err;
    char name[KERF_PATH_MAX];
    char id[KERF_SHA256_HEX];
    kerf_signature signature;
    char text[KERF_TEXT_MAX];
} kerf_note;

typedef enum kerf_link_state {
    KERF_LINK_DOWN = 0, /* waiting to dial */
    KERF_LINK_DIAL,     /* control connection */
    KERF_LINK_HELLO,    /* waiting for WELCOME */
    KERF_LINK_DIAL2,    /* tensor connection */
    KERF_LINK_ATTACH,   /* waiting for ATTACHED */
    KERF_LINK_UP,
} kerf_link_state;

/* fetch.c: one bundle at a time comes in. */
typedef enum kerf_fetch_state {
    KERF_FETCH_IDLE = 0,
    KERF_FETCH_CHECK,   /* loader: which parts are missing? */
    KERF_FETCH_OPEN,    /* loader: which bytes of them are missing? */
    KERF_FETCH_RECEIVE, /* PART frames; writer: write, check, sync, rename */
    KERF_FETCH_DRAIN,   /* not to its end: the writer does what it was given */
    KERF_FETCH_LOAD,    /* loader: compile, test */
    KERF_FETCH_RENEW,   /* loader: it runs, and was signed anew */
} kerf_fetch_state;

/* What then becomes of files that are not whole. */
typedef enum kerf_fetch_end {
    KERF_FETCH_END_KEEP,  /* the link broke: they stay open for the next one */
    KERF_FETCH_END_DROP,  /* given up: closed; what was written stays */
    KERF_FETCH_END_LEAVE, /* a newer one is wanted: all that came stays */
} kerf_fetch_end;

#define KERF_OFFERS_MAX 64
#define KERF_OFFERS_BYTES ((size_t)32 << 20) /* of manifests that wait */
#define KERF_GAVE_UP "stopped before the cloud answered"

typedef struct kerf_wanted {
    kerf_manifest manifest; /* with json: without units and probes */
    char *json; /* owned; NULL: the manifest is whole, kerf_fetch_expand() */
    size_t json_len;
    uint64_t text; /* hash of its JSON, as it was offered */
    bool run;
    bool stored; /* of no cloud: it is in the store, or cannot be run */
    /* The manifest's, for the loop while the loader reads it as a whole. */
    uint8_t id[KERF_BUNDLE_ID_LEN];
    char name[KERF_NAME_MAX];
} kerf_wanted;

#define KERF_ASKED_MAX 16

/* A FETCH that is not answered yet, or not as a whole. */
typedef struct kerf_asked {
    uint8_t bundle[KERF_BUNDLE_ID_LEN];
    uint16_t part;
    bool dropped; /* what comes of it is of no use any more */
    uint64_t at, end;
} kerf_asked;

/* A file of the bundle that comes in. */
typedef struct kerf_arrival {
    /* Open. What is missing of it may be asked at any time, all else is the
     * writer's, as long as there is RECEIVE or DRAIN. */
    kerf_incoming *incoming;
    uint64_t ask_from; /* what is missing before it is asked for */
    bool asked;        /* all that is missing is */
    bool given;        /* ... and has come: the writer is to publish it */
    unsigned tries;    /* it came damaged so often */
    bool damaged;      /* ... by what did not unpack: */
    kerf_detail damage;
    kerf_incoming_counts before; /* of before what was asked for */
    uint64_t since_ns, wire;     /* wire: bytes that came for it */
} kerf_arrival;

/* One that was coming in when the link broke: it need not be read again. */
typedef struct kerf_kept {
    kerf_incoming *incoming; /* NULL: none */
    uint8_t sha256[KERF_SHA256_LEN];
} kerf_kept;

typedef struct kerf_fetcher {
    kerf_fetch_state state;
    kerf_fetch_end end; /* of DRAIN */
    kerf_err again;     /* why it is given up, if it may be tried again */
    kerf_wanted wanted[KERF_OFFERS_MAX]; /* [0] is the one under way */
    size_t count;
    unsigned missing; /* bit per index in the manifest's files */
    kerf_arrival file[KERF_PARTS_MAX];
    kerf_kept kept[KERF_PARTS_MAX];
    kerf_asked asked[KERF_ASKED_MAX]; /* in order of coming */
    size_t asked_count;
    kerf_writer *writer;
    kerf_chunk *reading; /* the PART that is being read goes into it */
    uint64_t came_bytes, came_since_ns; /* of this bundle, and file bytes */
    uint64_t reply_ns;   /* from the first FETCH to what it asked for; or 0 */
    bool full;           /* reading stopped until the writer has done some */
    uint64_t told_ns;    /* when progress was */
    char *manifest_json; /* being received */
    kerf_offer offer;
    bool tails;    /* they are fetched, too */
    bool cut;      /* the link broke while the loader had it */
    bool left;     /* a newer one was offered meanwhile */
    bool dropping; /* the PART being read is of a bundle that we gave up */
    bool unasked;  /* and of no FETCH that we know of */
    /* The loader's answer. */
    kerf_post done;
    kerf_program *program;
    kerf_statement says; /* of the first's signature; trusted.h */
    kerf_err err;
    kerf_detail why;
} kerf_fetcher;

struct kerf_edge {
    kerf_edge_opts opts;
    kerf_edge_events events;
    char name[KERF_NAME_MAX];
    bool raw; /* every input is a tensor as the network takes it */
    kerf_engine *engine;
    kerf_store *store;
    kerf_trust trust;
    kerf_source *source; /* under lock: made with the first program */
    kerf_loop *loop;
    kerf_queue *queue; /* of kerf_event */
    kerf_note done_note;
    kerf_timer *alive; /* for who watches over us */
    kerf_busy busy;    /* the head, in the worker */
    pthread_t loop_thread, worker_thread, loader_thread;
    bool loop_runs, worker_runs, loader_runs;
    _Atomic bool compiling; /* the loader, which takes as long as it takes */

    /* Shared by worker and loop, under lock. */
    pthread_mutex_t lock;
    pthread_cond_t changed;
    _Atomic unsigned changes;     /* counts signals of changed */
    kerf_program *current, *next; /* next takes over when current is idle */
    kerf_program *leaving; /* replaced while the worker waits for an input */
    kerf_conn *tensors;    /* NULL: not connected */
    size_t window;         /* granted by the cloud; flights at most */
    uint32_t codecs;       /* that the cloud takes */
    bool blocks;           /* it takes BLOCK */
    /* Its frames are being made and sent by the worker, one behind the other:
     * no others may come between. NULL: none, or the connection broke. */
    kerf_flight *streaming;
    /* The worker sends it without the lock: it and its program stay. NULL. */
    kerf_flight *apart;
    kerf_conn *apart_on;  /* sends it */
    bool stopping, ended; /* asked to stop; nothing more will come */
    bool parting;         /* nothing new is sent in this session */
    bool gave_up;         /* stopping, and the cloud will not be waited for */
    bool stale; /* the cloud does not know `current`: nothing new for it, until
                 * it offers something, requests fail for it, or it is gone */
    bool loop_awake; /* the loop was told to stay so after the last answer */
    kerf_edge_total total;
    kerf_offline_state offline;
    size_t borrows; /* of current: its card is being shown */

    /* The worker's own. */
    /* Bundle whose inputs the source gives; not its program, which may be gone
     * and its address taken by the next. */
    uint8_t source_for[KERF_BUNDLE_ID_LEN];
    kerf_card source_card;
    kerf_tensors encoded;
    kerf_awake awake;
    bool holds; /* the kernel may wait for another request to be sent */
    kerf_codec *codec;
    kerf_tune tune;
    size_t block_values; /* of a block, about; 0: none are made */

    /* The loop's own. */
    kerf_link_state link;
    kerf_tls_folder *tls; /* NULL: without */
    kerf_dial *dial;
    kerf_conn *control, *attaching;
    kerf_welcome welcome;
    kerf_timer *backoff, *heartbeat, *wake, *give_up, *expiry;
    uint64_t backoff_ms, jitter;
    uint64_t shake_until_ns; /* the link must be up by then */
    kerf_beat beat;
    kerf_route route;
    size_t part_to; /* while parting: address, or KERF_PART_NEXT */
    uint64_t part_until_ns;
    bool fruitful; /* it brought an answer */
    bool has_met;  /* some cloud, in this run */
    kerf_sync sync;
    kerf_tensors parsed;
    kerf_flight *receiving;
    bool to_stir; /* answers were queued, and the caller may sleep */
    /* The bundle of requests from disk that this cloud does not serve. */
    uint8_t unserved[KERF_BUNDLE_ID_LEN];
    bool has_unserved;
    kerf_fetcher fetch;
    kerf_rejects rejects;
    kerf_again again;
    kerf_queue *loads; /* jobs for the loader */
    kerf_post switched, arm, stop, part, probed;
};

/* edge.c: for the caller's thread; safe from any. */
void kerf_edge_tell(kerf_edge *edge, kerf_note *note); /* consumed */
void kerf_edge_wait_for_room(kerf_edge *edge); /* not on the loop's thread */
kerf_note *kerf_note_new(kerf_note_kind kind); /* NULL: no memory */
void kerf_edge_tell_state(kerf_edge *edge, bool connected, const char *fmt, ...)
    KERF_PRINTF(3, 4);
void kerf_edge_tell_model(kerf_edge *edge, const char *name, const char *id,
                          kerf_err err, const char *why);
/* Under the lock: the flight is answered (or failed) and goes to the caller. */
void kerf_edge_answer(kerf_edge *edge, kerf_flight *f, kerf_err err,
                      const char *why);
/* The same of an answer from the cloud; the loop wakes the caller in its turn,
 * for all that came by then. */
void kerf_edge_answer_in_turn(kerf_edge *edge, kerf_flight *f);
/* Under the lock: the flight is on disk, which the caller is told. */
void kerf_edge_tell_queued(kerf_edge *edge, kerf_flight *f);
/* Under the lock, which it drops: what the worker waits for may have come. */
void kerf_edge_stir(kerf_edge *edge);
/* Calls the caller's functions for an event, but for KERF_NOTE_DONE; its
 * thread. Frees the note, or the flight. */
void kerf_edge_show(kerf_edge *edge, kerf_event *event);
/* The run is over; the first call counts. */
void kerf_edge_finish(kerf_edge *edge, kerf_err err, const char *why);
/* The flight (or NULL) is done with; the next program takes over when nothing
 * of the current one is in flight. */
void kerf_edge_free_flight(kerf_edge *edge, kerf_flight *f);
void kerf_edge_drop_leaving(kerf_edge *edge);

/* link.c: sessions with the cloud. */
KERF_NODISCARD kerf_err kerf_link_init(kerf_edge *edge);
void kerf_link_start(kerf_edge *edge);
void kerf_link_on_trust(void *edge); /* another cloud may be trusted now */
void kerf_link_close(kerf_edge *edge);
/* Under the lock: no other request waits for its answer. */
bool kerf_link_is_alone(const kerf_edge *edge, const kerf_flight *f);
/* Under the lock: sends the flight if there is a connection. */
void kerf_link_send(kerf_edge *edge, kerf_flight *f);
/* The same for the worker: drops the lock while the kernel copies, so that
 * answers come in and are shown meanwhile, and takes it again. more: another
 * one follows at once, and the kernel may wait for it; if it does not, then
 * kerf_conn_flush(). False: it was not sent. */
bool kerf_link_send_apart(kerf_edge *edge, kerf_flight *f, bool more);
/* Under the lock: the cloud knows the current program after all. */
void kerf_link_unstrand(kerf_edge *edge);
/* The worker's, not under the lock: sends the TENSOR frame of a flight whose
 * blocks are not made yet, if that can be; then each block, as long as the
 * connection is there. What is not sent is sent by kerf_link_send(), with all
 * of the flight. */
void kerf_link_begin(kerf_edge *edge, kerf_flight *f);
void kerf_link_block(kerf_edge *edge, kerf_flight *f, kerf_flight_block *block);
/* Under the lock: sends the last block, whereupon all may send again. False:
 * the connection broke, and not all of the flight was sent. */
bool kerf_link_finish(kerf_edge *edge, kerf_flight *f);
void kerf_link_on_switched(void *ctx);
void kerf_link_arm(void *ctx); /* deadlines and retries */

/* fetch_offers.c, fetch.c, fetch_parts.c */
KERF_NODISCARD kerf_err kerf_fetch_offer_head(kerf_edge *edge,
                                              const kerf_frame_in *frame,
                                              kerf_sink *sink,
                                              kerf_detail *why);
KERF_NODISCARD kerf_err kerf_fetch_offer(kerf_edge *edge, kerf_detail *why);
void kerf_fetch_free_wanted(kerf_wanted *wanted); /* what it owns */
/* What it owns is moved. */
void kerf_fetch_add(kerf_edge *edge, const kerf_wanted *wanted);
KERF_NODISCARD kerf_err kerf_fetch_part_head(kerf_edge *edge,
                                             const kerf_frame_in *frame,
                                             kerf_sink *sink, kerf_detail *why);
KERF_NODISCARD kerf_err kerf_fetch_part(kerf_edge *edge,
                                        const kerf_frame_in *frame,
                                        kerf_detail *why);
void kerf_fetch_cut(kerf_edge *edge); /* the connection is gone */
KERF_NODISCARD kerf_err kerf_fetch_init(kerf_edge *edge);
void kerf_fetch_fini(kerf_edge *edge); /* all threads have ended */
void kerf_fetch_ready(kerf_edge *edge, const uint8_t *bundle, kerf_err err,
                      const char *why);
void *kerf_loader_run(void *edge);

/* worker.c */
void *kerf_worker_run(void *edge);

#endif
