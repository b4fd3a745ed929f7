/*
 * cloud.h (internal) - the legacy cloud's parts: one thread, one loop.
 *
 *     folder -> models -> a session per connected edge: files go out
 *     dialler -> taker: tensors come in, tail, answered event
 *
 * The tail runs on the loop's thread: this wire has one tensor at a time.
 */
#ifndef KERF_LEGACY_CLOUD_H
#define KERF_LEGACY_CLOUD_H

#include "kerf/legacy.h"
#include "legacy/tail.h"
#include "legacy/wire.h"

typedef struct kerf_legacy_session kerf_legacy_session;

/* The connection to the edge that tensors come on. */
typedef struct kerf_legacy_taker {
    kerf_legacy_dialler dialler;
    kerf_legacy_reader reader;
    kerf_fd_watch *watch;
    kerf_timer *stall; /* runs within a message */
    int fd;            /* -1: not connected */
    char peer[64];
    char said[256]; /* last trouble logged */
    /* The message whose payload comes in. */
    bool in_payload;
    kerf_legacy_message message;
    uint64_t got, since_ns;
    kerf_legacy_tail *tail; /* counted; NULL: dropped, because of why */
    kerf_err err;
    kerf_detail why;
} kerf_legacy_taker;

typedef struct kerf_legacy_cloud {
    kerf_cloud_opts opts; /* defaults filled */
    kerf_cloud_events events;
    kerf_loop *loop;
    kerf_engine *engine;
    kerf_listener *listener;
    kerf_folder_watch *watch;
    kerf_legacy_tail *tail[KERF_MODELS_MAX]; /* counted */
    size_t tail_count;
    /* What was seen in the folder, so that a failure is told once. */
    struct {
        char name[KERF_NAME_MAX];
        uint64_t stamp;
    } known[KERF_MODELS_MAX];
    size_t known_count;
    kerf_legacy_session *sessions;
    int session_count;
    kerf_legacy_taker taker;
} kerf_legacy_cloud;

/* cloud_ship.c */
void kerf_legacy_ship_accept(void *cloud, int fd); /* kerf_accept_fn */
/* New or changed: every edge gets its files. */
void kerf_legacy_ship(kerf_legacy_cloud *cloud, kerf_legacy_tail *tail);
void kerf_legacy_ship_close(kerf_legacy_cloud *cloud);

/* cloud_take.c */
KERF_NODISCARD kerf_err kerf_legacy_take_start(kerf_legacy_cloud *cloud,
                                               const char *host, int port);
void kerf_legacy_take_close(kerf_legacy_cloud *cloud);

#endif
