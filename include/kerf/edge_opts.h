/*
 * edge_opts.h - what an edge is told to do, and what it tells: for
 * kerf_edge_open() and for kerf_legacy_edge_run(). Threads: values.
 */
#ifndef KERF_EDGE_OPTS_H
#define KERF_EDGE_OPTS_H

#include "kerf/codec_id.h"
#include "kerf/engine.h"
#include "kerf/signature.h"
#include "kerf/stage.h"

#ifdef __cplusplus
extern "C" {
#endif

/* What becomes of requests when there has been no cloud for dead_after_ms. */
typedef enum kerf_offline {
    KERF_OFFLINE_WAIT = 0, /* they are sent when there is one again */
    KERF_OFFLINE_QUEUE,    /* to disk, and sent later, also by a later run */
    KERF_OFFLINE_FAIL,
    KERF_OFFLINE_LOCAL, /* a tail of our own finishes them, if there is one */
} kerf_offline;

/* ... and when the queue on disk is full. */
typedef enum kerf_queue_full {
    KERF_QUEUE_FULL_WAIT = 0, /* no new inputs are taken */
    KERF_QUEUE_FULL_DROP_OLDEST,
    KERF_QUEUE_FULL_DROP_NEW,
} kerf_queue_full;

#define KERF_QUEUE_MAX_DEFAULT UINT64_C(1000000000)
#define KERF_STORE_MAX_DEFAULT UINT64_C(16000000000)

/* Which way a result came. */
typedef enum kerf_via {
    KERF_VIA_CLOUD = 0,
    KERF_VIA_LOCAL,  /* a tail on the edge itself */
    KERF_VIA_QUEUED, /* from the cloud, by way of the queue on disk */
} kerf_via;

typedef struct kerf_edge_opts {
    /* Of the cloud: HOST, or HOST:PORT, or several with commas between. The
     * first is used while it is well, else the next one that is. */
    const char *host;
    int port; /* where host says none */
    /* Folder of keys and certificates (kerf keygen), followed; NULL: no TLS. */
    const char *tls;
    bool insecure; /* the reference's wire: host may be other than loopback */
    const char *store; /* folder for received models */
    /* Shown by the cloud; NULL: with tls that of the certificate, and no other
     * one is taken; else host name and pid. */
    const char *name;
    const char *model; /* wanted; NULL: what the cloud says */
    /* Public keys (kerf sign), or folders of FILE.pub: only what one of these
     * signed is run. None: all is. */
    const char *const *trust;
    size_t trust_count;
    kerf_engine_opts engine;
    int window;      /* requests in flight, 1..64; 0: 8 */
    int deadline_ms; /* per request; 0: none */
    /* A cloud that gives no sign of life for so long is gone; 0: three times
     * the heartbeat that it asks for, and 5000 before it has. */
    int dead_after_ms;
    kerf_offline offline;
    uint64_t store_max; /* bytes of models; 0: KERF_STORE_MAX_DEFAULT */
    uint64_t queue_max; /* bytes on disk; 0: KERF_QUEUE_MAX_DEFAULT */
    kerf_queue_full queue_full;
    /* How tensors are sent, where that makes them smaller and the cloud knows
     * it: kerf/codec.h. */
    kerf_codec_id codec;
    bool codec_auto; /* raw, exact, f16 or q8: what is there soonest */
    /* Coded tensors of more values than this, in Ki, are sent in blocks of as
     * many, where the cloud takes them; 64 at least. 0: 128; < 0: never. */
    int block_ki;
    /* Inputs: see source/source.h. */
    const char *const *inputs;
    size_t input_count;
    uint64_t repeat;     /* times over the inputs; 0: for ever */
    double rate_hz;      /* 0: as fast as answers come */
    bool watch;          /* folders: go on with files that arrive later */
    bool handle_signals; /* SIGINT, SIGTERM: stop; twice: exit */
    int alive_ms;        /* the alive event comes so often; 0: never */
    /* Only for the reference's wire, which carries no cards: */
    const char *card; /* file; NULL: NAME.kerf.json in the store, if any */
    int retry_ms;     /* between two attempts to reach the cloud; 0: 2000 */
    int stall_ms;     /* of silence within a message end it; 0: 30000 */
} kerf_edge_opts;

typedef struct kerf_edge_result {
    uint64_t index;        /* 0, 1, ... in the order of the inputs */
    const char *name;      /* of the input, as given; not safe to print */
    const kerf_card *card; /* NULL: the model has none */
    kerf_err err;          /* KERF_OK, or why there is no result */
    const char *why;
    kerf_via via;
    bool late; /* it came, and after its deadline */
    /* An earlier run put it on disk: index is that run's, record is unique in
     * this one. */
    bool earlier;
    uint64_t record;
    kerf_stages stages;
    uint64_t start_ns; /* CLOCK_MONOTONIC: before the first stage */
    size_t bytes_sent, bytes_received; /* on the wire, all of the frames */
    size_t tensor_bytes, coded_bytes; /* what the head gave, before and after */
    kerf_codec_id codec;              /* of the first tensor */
    size_t sent_count;
    const kerf_port *sent; /* what the head gave: dtype and shape */
    size_t count;
    const kerf_tensor *output; /* for the call only */
} kerf_edge_result;

/* A file of a model that is there whole and verified. */
typedef struct kerf_edge_file {
    const char *name;
    uint64_t size;    /* bytes */
    uint64_t reused;  /* of these, that other files in the store had */
    uint64_t resumed; /* that came in an earlier try */
    uint64_t wire;    /* bytes that came for the others */
    uint64_t ns;      /* in this time */
} kerf_edge_file;

/* Any may be NULL. why and name texts are safe to print, unless said. */
typedef struct kerf_edge_events {
    void *ctx;
    /* Waiting for the cloud, connected, waiting for a model, ... one line. */
    void (*state)(void *ctx, bool connected, const char *text);
    /* wire: bytes that came for these; fewer, when the cloud packs models. */
    void (*progress)(void *ctx, const char *file, uint64_t got, uint64_t size,
                     uint64_t wire);
    void (*received)(void *ctx, const kerf_edge_file *file);
    /* Loaded, tested on its probes, in use; or why it cannot be. */
    void (*model)(void *ctx, const char *name, const char *id, kerf_err err,
                  const char *why);
    /* What the signature says of the model in use, if it has one. */
    void (*signature)(void *ctx, const char *name, const kerf_signature *sig);
    void (*answer)(void *ctx, const kerf_edge_result *result);
    /* The request is on disk: its answer comes later, or in a later run. */
    void (*queued)(void *ctx, uint64_t index, const char *name);
    /* An input that could not be read; the run goes on. */
    void (*skipped)(void *ctx, uint64_t index, const char *name, kerf_err err,
                    const char *why);
    /* These three come on the loop's thread. */
    /* The loop turns, and the head has not run for longer than busy_ms on one
     * input: what a watchdog wants to know. */
    void (*alive)(void *ctx, uint64_t busy_ms);
    /* SIGHUP, with handle_signals; NULL: it has its default action. */
    void (*reload)(void *ctx);
    void (*stopping)(void *ctx); /* SIGINT or SIGTERM came */
} kerf_edge_events;

typedef struct kerf_edge_total {
    uint64_t asked, answered, failed, skipped;
    uint64_t left; /* queued on disk, at the end */
} kerf_edge_total;

#ifdef __cplusplus
}
#endif
#endif
