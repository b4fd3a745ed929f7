/*
 * light.h - edges without a head: real sessions with a cloud, thousands of them
 * in one process, that send and get what a benchmark wants. Each is the wire's
 * least: HELLO, ATTACH on a second connection, heartbeats.
 * Threads: one owner; everything on the thread that runs the loop.
 */
#ifndef KERF_BENCH_LIGHT_H
#define KERF_BENCH_LIGHT_H

#include "net/conn.h"

#define KERF_LIGHTS_MAX 8000

typedef struct kerf_lights kerf_lights;

typedef struct kerf_light {
    kerf_lights *all;
    size_t number;
    kerf_conn *control, *tensors;
    kerf_welcome welcome;
    bool is_in; /* attached */
} kerf_light;

typedef struct kerf_lights_opts {
    const char *host;
    int port;
    size_t edges;
    const char *name; /* each is NAME-0, NAME-1, ... */
    size_t alike;     /* the last so many are all called NAME */
    void *ctx;
    void (*ready)(void *ctx); /* all are in */
    /* RESULT, BUSY or FAILED; payload is dropped. May be NULL. */
    void (*answer)(void *ctx, kerf_light *light, const kerf_frame_in *frame);
    void (*failed)(void *ctx, kerf_err err, const char *why); /* one is gone */
} kerf_lights_opts;

/* Connects one after the other, so that the backlog of the cloud's socket is no
 * matter; pings from then on, spread evenly. Errors: KERF_ENOMEM. */
KERF_NODISCARD kerf_err kerf_lights_new(kerf_lights **out, kerf_loop *loop,
                                        const kerf_lights_opts *opts);
void kerf_lights_free(kerf_lights *l); /* before the loop; accepts NULL */
kerf_light *kerf_lights_at(kerf_lights *l, size_t i);
size_t kerf_lights_in(const kerf_lights *l); /* how many are in */
/* Of the first OFFER; false: none came. */
bool kerf_lights_bundle(const kerf_lights *l, uint8_t id[KERF_BUNDLE_ID_LEN]);

#endif
