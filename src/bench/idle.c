/*
 * Connections are made one edge after the other, so that the backlog of the
 * cloud's socket is no matter. Then:
 *
 *     all attached -> settle -> count for `seconds` -> stop
 */
#include "bench/idle.h"

#include "base/clock.h"
#include "net/conn.h"

#include <stdio.h>
#include <stdlib.h>

#define CONNECT_MS 30000
#define DIAL_MS 5000
#define SETTLE_MS 1500
#define LOOK_MS 50 /* for an interrupt */

struct client {
    struct run *run;
    kerf_conn *control, *tensors;
    kerf_welcome welcome;
};

struct run {
    const kerf_idle_opts *opts;
    kerf_loop *loop;
    kerf_dial *dial;
    kerf_timer *look, *phase, *beat;
    struct client *client;
    size_t attached; /* also the index of the one that connects */
    size_t next_beat;
    uint64_t rss, cpu_ns, start_ns;
    bool counting;
    kerf_idle *idle;
    kerf_err err;
    kerf_detail *why;
};

static const kerf_conn_ops ops;

static void
fail(struct run *r, kerf_err err, const char *text)
{
    if (r->err == KERF_OK)
        r->err = kerf_fail(r->why, err, "idle edge %zu of %zu: %s",
                           r->attached + 1, r->opts->edges, text);
    kerf_loop_stop(r->loop);
}

static kerf_err
say_hello(struct client *c)
{
    kerf_hello *m = calloc(1, sizeof *m);
    uint8_t *meta = malloc(KERF_META_MAX);
    kerf_err err = KERF_ENOMEM;

    if (m != NULL && meta != NULL) {
        m->version_min = m->version_max = KERF_WIRE_VERSION;
        m->codecs = 1u << KERF_CODEC_RAW;
        m->payload_max = KERF_PAYLOAD_MAX;
        (void)snprintf(m->name, sizeof m->name, "idle-%zu", c->run->attached);
        (void)snprintf(m->engine, sizeof m->engine, "none");
        err = kerf_conn_send_meta(c->control, KERF_FRAME_HELLO, 0, meta,
                                  kerf_hello_put(meta, KERF_META_MAX, m));
    }
    free(m);
    free(meta);
    return err;
}

static kerf_err
say_attach(struct client *c)
{
    uint8_t meta[KERF_TOKEN_LEN + 16];

    return kerf_conn_send_meta(
        c->tensors, KERF_FRAME_ATTACH, 0, meta,
        kerf_token_put(meta, sizeof meta, c->welcome.token));
}

static void
on_dialled(void *ctx, int fd, const char *why)
{
    struct run *r = ctx;
    struct client *c = &r->client[r->attached];
    bool second = c->control != NULL;
    kerf_err err;

    r->dial = NULL;
    if (fd < 0) {
        fail(r, KERF_EIO, why);
        return;
    }
    err = kerf_conn_open(second ? &c->tensors : &c->control, r->loop, fd, &ops,
                         c);
    if (err == KERF_OK)
        err = second ? say_attach(c) : say_hello(c);
    if (err != KERF_OK)
        fail(r, err, kerf_err_text(err));
}

static void
connect_next(struct run *r)
{
    kerf_err err = kerf_dial_start(&r->dial, r->loop, r->opts->host,
                                   r->opts->port, DIAL_MS, on_dialled, r);

    if (err != KERF_OK)
        fail(r, err, "cannot dial");
}

/* One edge at a time, so that heartbeats are spread as those of strangers. */
static void
on_beat(void *ctx)
{
    struct run *r = ctx;
    struct client *c = &r->client[r->next_beat++ % r->opts->edges];

    if (c->tensors != NULL) /* all the way in */
        (void)!kerf_conn_send_meta(c->control, KERF_FRAME_PING, 0, NULL, 0);
}

static void
start_beats(struct run *r)
{
    uint64_t each_ms =
        r->client[0].welcome.heartbeat_ms / (uint64_t)r->opts->edges;

    kerf_timer_start(r->beat, 1, each_ms < 1 ? 1 : each_ms);
}

static void
on_phase(void *ctx)
{
    struct run *r = ctx;

    if (r->attached < r->opts->edges) {
        fail(r, KERF_EDEADLINE, "no answer from the cloud");
    } else if (!r->counting) {
        r->counting = true;
        r->start_ns = kerf_now_ns();
        r->cpu_ns = kerf_child_cpu_ns(r->opts->cloud);
        kerf_timer_start(r->phase, (uint64_t)(r->opts->seconds * 1000), 0);
    } else {
        uint64_t spent_ns = kerf_now_ns() - r->start_ns;
        uint64_t cpu_ns = kerf_child_cpu_ns(r->opts->cloud) - r->cpu_ns;
        uint64_t rss = kerf_child_rss(r->opts->cloud);

        r->idle->cpu_percent = 100.0 * (double)cpu_ns / (double)spent_ns;
        r->idle->rss_kib =
            ((double)rss - (double)r->rss) / 1024 / (double)r->opts->edges;
        kerf_loop_stop(r->loop);
    }
}

static kerf_err
on_welcome(struct client *c, const kerf_frame_in *frame, kerf_detail *why)
{
    kerf_err err =
        kerf_welcome_get(&c->welcome, frame->meta, frame->header.meta_len, why);

    if (err == KERF_OK && c->welcome.heartbeat_ms == 0)
        err = kerf_fail(why, KERF_EPROTO, "WELCOME without a heartbeat");
    if (err != KERF_OK)
        return err;
    kerf_conn_set_payload_max(c->control, KERF_MANIFEST_MAX);
    connect_next(c->run);
    return KERF_OK;
}

static kerf_err
on_attached(struct run *r)
{
    if (r->attached == 0)
        start_beats(r);
    r->attached++;
    if (r->attached < r->opts->edges)
        connect_next(r);
    else
        kerf_timer_start(r->phase, SETTLE_MS, 0);
    return KERF_OK;
}

static kerf_err
on_head(void *ctx, kerf_conn *conn, const kerf_frame_in *frame, kerf_sink *sink,
        kerf_detail *why)
{
    (void)ctx;
    (void)conn;
    (void)frame;
    (void)why;
    sink->discard = true; /* offers */
    return KERF_OK;
}

static kerf_err
on_frame(void *ctx, kerf_conn *conn, const kerf_frame_in *frame,
         kerf_detail *why)
{
    struct client *c = ctx;

    (void)conn;
    if (frame->header.type == KERF_FRAME_WELCOME && c->tensors == NULL)
        return on_welcome(c, frame, why);
    if (frame->header.type == KERF_FRAME_ATTACHED)
        return on_attached(c->run);
    return KERF_OK;
}

static void
on_close(void *ctx, kerf_conn *conn, kerf_err err, const char *why)
{
    struct client *c = ctx;

    (void)conn;
    fail(c->run, err == KERF_OK ? KERF_ECLOSED : err, why);
}

static const kerf_conn_ops ops = {
    .on_head = on_head, .on_frame = on_frame, .on_close = on_close};

static void
on_look(void *ctx)
{
    struct run *r = ctx;

    kerf_child_drain(r->opts->cloud);
    if (kerf_bench_interrupted())
        fail(ctx, KERF_EINTR, "interrupted");
}

static void
close_run(struct run *r)
{
    for (size_t i = 0; r->client != NULL && i < r->opts->edges; i++) {
        if (r->client[i].tensors != NULL)
            kerf_conn_close(r->client[i].tensors);
        if (r->client[i].control != NULL)
            kerf_conn_close(r->client[i].control);
    }
    if (r->dial != NULL)
        kerf_dial_cancel(r->dial);
    kerf_timer_free(r->look);
    kerf_timer_free(r->phase);
    kerf_timer_free(r->beat);
    kerf_loop_free(r->loop);
    free(r->client);
}

kerf_err
kerf_idle_run(kerf_idle *idle, const kerf_idle_opts *opts, kerf_detail *why)
{
    struct run r = {.opts = opts, .idle = idle, .why = why};
    kerf_err err = kerf_loop_new(&r.loop);

    r.client = calloc(opts->edges, sizeof *r.client);
    if (r.client == NULL)
        err = KERF_ENOMEM;
    for (size_t i = 0; err == KERF_OK && i < opts->edges; i++)
        r.client[i].run = &r;
    if (err == KERF_OK)
        err = kerf_timer_new(&r.look, r.loop, on_look, &r);
    if (err == KERF_OK)
        err = kerf_timer_new(&r.phase, r.loop, on_phase, &r);
    if (err == KERF_OK)
        err = kerf_timer_new(&r.beat, r.loop, on_beat, &r);
    if (err == KERF_OK) {
        r.rss = kerf_child_rss(opts->cloud);
        kerf_timer_start(r.look, LOOK_MS, LOOK_MS);
        kerf_timer_start(r.phase, CONNECT_MS, 0);
        connect_next(&r);
        kerf_loop_run(r.loop);
        err = r.err;
    }
    close_run(&r);
    return err;
}
