/*
 * cloud_opts.h - what a cloud is told to do, and what it tells: for
 * kerf_cloud_open() and for kerf_legacy_cloud_run(). Threads: values.
 */
#ifndef KERF_CLOUD_OPTS_H
#define KERF_CLOUD_OPTS_H

#include "kerf/engine.h"
#include "kerf/limits.h"
#include "kerf/signature.h"

#ifdef __cplusplus
extern "C" {
#endif

struct kerf_pair;

#define KERF_CLOUD_MAKER_DIRS 3

/*
 * Makes the one pair that is served instead of those of a folder: when the
 * cloud opens, which fails if that does, and again when its files have changed.
 * Calls come one at a time, on the thread that opens the cloud and then on the
 * loader's.
 */
typedef struct kerf_cloud_maker {
    void *ctx;
    const char *name; /* of each pair that it makes */
    /* Folders in which a change of a file whose name counts makes the cloud ask
     * for the stamp, on the loop's thread; NULL: none. */
    const char *dir[KERF_CLOUD_MAKER_DIRS];
    bool (*counts)(void *ctx, const char *name);
    /* Identity of what the pair is made of, as it is now, and its latest
     * change; 0 when it is not there. */
    uint64_t (*stamp)(void *ctx, int64_t *newest_ns);
    /* A new pair (model/bundle.h) in *out, which is zeroed and untouched on
     * error. */
    kerf_err (*make)(void *ctx, kerf_engine *engine, struct kerf_pair *out,
                     kerf_detail *why);
} kerf_cloud_maker;

/* How models are sent to edges that take them packed. */
typedef enum kerf_model_codec {
    KERF_MODEL_CODEC_AUTO = 0, /* packed, but on links of over 3.2 Gbit/s */
    KERF_MODEL_CODEC_RAW,
    KERF_MODEL_CODEC_KWZ,
} kerf_model_codec;

typedef struct kerf_cloud_opts {
    const char *host; /* to listen on */
    int port;         /* 0: any free one; see the listening event */
    /* Folder of keys and certificates (kerf keygen), followed; NULL: no TLS,
     * and a host other than loopback needs insecure. Not for the reference's
     * wire. */
    const char *tls;
    bool insecure;
    const char *models; /* folder of client_infer_* and server_infer_* */
    /* Instead of the folder; outlives the cloud. Not for the reference's wire.
     */
    const kerf_cloud_maker *maker;
    kerf_engine_opts engine;
    int workers; /* engine threads; 0: one per core, 4 at most */
    int window;  /* requests in flight per edge; 0: 16 */
    int queue;   /* requests waiting per model; 0: 64 */
    /* Requests of one tail that may run at once: 2, 4 or 8, kept where they
     * answer bit for bit as one by one; 1: never; 0: where it pays, too. */
    int batch;
    /* An edge that gives no sign of life for so long is gone; 0: three times
     * the heartbeat, or 5000. */
    int dead_after_ms;
    int heartbeat_ms; /* edges ping so often; 0: a third of that */
    int edges_max;    /* 0: 4096 */
    kerf_model_codec model_codec;
    bool share_tail; /* edges may have tails, to go on alone */
    /* Percent of the edges that are given a changed pair at first, over 0 to
     * 100; 0: all, and nothing of what follows. */
    double rollout;
    double rollout_halt; /* percent that may fail before it halts; under 0: all
                          */
    double rollout_wait_h; /* hours that an edge is waited for which went before
                            * it said how it went; 0: 24 */
    double rollout_soak_min; /* minutes that the old one is kept, and failures
                              * halt, when all run the new one; 0: none */
    /* Folder for what outlives this cloud: who got what, and the old pairs.
     * NULL: a cloud that starts gives everyone the pairs that it finds. */
    const char *rollout_dir;
    /* Path of a socket that `kerf top` asks: "": by user and port, where it can
     * be made; NULL: none. Not for the reference's wire. */
    const char *control;
    bool handle_signals; /* SIGINT, SIGTERM: drain and return; twice: exit */
    int alive_ms;        /* the alive event comes so often; 0: never */
    /* Only for the reference's wire: */
    int retry_ms; /* between two attempts to reach the edge; 0: 2000 */
    int stall_ms; /* of silence within a message end it; 0: 30000 */
} kerf_cloud_opts;

/* One answered request. Its outputs come beside it in the event. */
typedef struct kerf_cloud_answer {
    const char *edge; /* its name, made safe to print */
    const char *model;
    uint64_t id; /* the edge's request id */
    uint64_t queue_ns, tail_ns;
    size_t bytes_in, bytes_out; /* payload */
    size_t count;               /* outputs */
} kerf_cloud_answer;

/* How the change of a model's pair goes (docs/OPERATIONS.md). Text is safe to
 * print. */
typedef struct kerf_rollout_view {
    char model[KERF_NAME_MAX];
    char old_bundle[16], new_bundle[16]; /* the first 12 digits of the ids */
    char state[16]; /* running, halted, back (all get the old one), over */
    double percent; /* of the edges are given the new one, while it runs */
    size_t offered; /* edges that were offered it, and did not say yet */
    size_t well;    /* ... that run it */
    size_t failed;  /* ... that could not, and were offered the old one */
    size_t blocked; /* of offered: that cannot for now, for want of room, memory
                     * or the like, and try again */
    char why[256];  /* it is halted or back */
    char blocked_why[256]; /* of the last one of these */
} kerf_rollout_view;

/* Any may be NULL. Text is safe to print. On the loop's thread, but answered,
 * refused and rollout: on any. The first two come several at a time, right
 * after the answer was sent: that worker takes no other request until they
 * return. Where answered is set, all requests are the workers'; refused may
 * hold up the loop. rollout comes in the order of what happened, one at a time;
 * so perhaps when the command that it tells of has returned. It may give
 * commands itself. */
typedef struct kerf_cloud_events {
    void *ctx;
    void (*listening)(void *ctx, const char *host, int port);
    /* err KERF_OK: loaded and tested, now served; why: NULL or the trouble. */
    void (*model)(void *ctx, const char *name, const char *id, kerf_err err,
                  const char *why);
    /* What the signature of a model says that is now served, not checked: the
     * cloud has no keys. NULL: there is one, and why it is of no use. why may
     * also warn of one that is. */
    void (*signature)(void *ctx, const char *name, const kerf_signature *sig,
                      const char *why);
    void (*edge)(void *ctx, const char *edge, const char *peer, bool joined,
                 const char *why);
    /* The edge runs the model's head (KERF_OK), or could not and why. wire:
     * bytes that were sent for these bytes of its files. */
    void (*shipped)(void *ctx, const char *edge, const char *model,
                    uint64_t bytes, uint64_t wire, kerf_err err,
                    const char *why);
    void (*answered)(void *ctx, const kerf_cloud_answer *answer,
                     const kerf_tensor *output);
    void (*refused)(void *ctx, const char *edge, uint64_t id, kerf_err err,
                    const char *why);
    /* The loop turns, and no worker has been at one request for longer than
     * busy_ms: what a watchdog wants to know. */
    void (*alive)(void *ctx, uint64_t busy_ms);
    /* SIGHUP, with handle_signals; NULL: it has its default action. */
    void (*reload)(void *ctx);
    /* It takes no new edges and answers what it has: once, before
     * kerf_cloud_run() returns. */
    void (*stopping)(void *ctx);
    /* It began, changed its state, or is over. */
    void (*rollout)(void *ctx, const kerf_rollout_view *view);
} kerf_cloud_events;

#ifdef __cplusplus
}
#endif
#endif
