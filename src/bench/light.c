#include "bench/light.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define DIAL_MS 5000

struct kerf_lights {
    kerf_lights_opts opts;
    kerf_loop *loop;
    kerf_dial *dial;
    kerf_timer *beat;
    kerf_light *light;
    size_t in; /* also the index of the one that connects */
    size_t next_beat;
    bool is_over, has_bundle;
    uint8_t bundle[KERF_BUNDLE_ID_LEN];
};

static const kerf_conn_ops ops;

static void
fail(kerf_lights *l, kerf_err err, const char *text)
{
    char why[256];

    if (l->is_over)
        return;
    l->is_over = true;
    (void)snprintf(why, sizeof why, "%s edge %zu of %zu: %s", l->opts.name,
                   l->in + 1, l->opts.edges, text);
    l->opts.failed(l->opts.ctx, err, why);
}

static kerf_err
say_hello(kerf_light *c)
{
    const kerf_lights *l = c->all;
    kerf_hello *m = calloc(1, sizeof *m);
    uint8_t *meta = malloc(KERF_META_MAX);
    kerf_err err = KERF_ENOMEM;

    if (m != NULL && meta != NULL) {
        m->version_min = m->version_max = KERF_WIRE_VERSION;
        m->codecs = 1u << KERF_CODEC_RAW;
        m->payload_max = KERF_PAYLOAD_MAX;
        if (c->number + l->opts.alike < l->opts.edges)
            (void)snprintf(m->name, sizeof m->name, "%s-%zu", l->opts.name,
                           c->number);
        else
            (void)snprintf(m->name, sizeof m->name, "%s", l->opts.name);
        (void)snprintf(m->engine, sizeof m->engine, "none");
        err = kerf_conn_send_meta(c->control, KERF_FRAME_HELLO, 0, meta,
                                  kerf_hello_put(meta, KERF_META_MAX, m));
    }
    free(m);
    free(meta);
    return err;
}

static kerf_err
say_attach(kerf_light *c)
{
    uint8_t meta[KERF_TOKEN_LEN + 16];

    return kerf_conn_send_meta(
        c->tensors, KERF_FRAME_ATTACH, 0, meta,
        kerf_token_put(meta, sizeof meta, c->welcome.token));
}

static void
on_dialled(void *ctx, int fd, const char *why)
{
    kerf_lights *l = ctx;
    kerf_light *c = &l->light[l->in];
    bool second = c->control != NULL;
    kerf_err err;

    l->dial = NULL;
    if (fd < 0) {
        fail(l, KERF_EIO, why);
        return;
    }
    err = kerf_conn_open(second ? &c->tensors : &c->control, l->loop, fd, &ops,
                         c);
    if (err == KERF_OK)
        err = second ? say_attach(c) : say_hello(c);
    if (err != KERF_OK)
        fail(l, err, kerf_err_text(err));
}

static void
connect_next(kerf_lights *l)
{
    kerf_err err = kerf_dial_start(&l->dial, l->loop, l->opts.host,
                                   l->opts.port, DIAL_MS, on_dialled, l);

    if (err != KERF_OK)
        fail(l, err, "cannot dial");
}

/* One edge at a time, so that heartbeats are spread as those of strangers. */
static void
on_beat(void *ctx)
{
    kerf_lights *l = ctx;
    kerf_light *c = &l->light[l->next_beat++ % l->opts.edges];

    if (c->is_in)
        (void)!kerf_conn_send_meta(c->control, KERF_FRAME_PING, 0, NULL, 0);
}

static void
start_beats(kerf_lights *l)
{
    uint64_t each_ms =
        l->light[0].welcome.heartbeat_ms / (uint64_t)l->opts.edges;

    kerf_timer_start(l->beat, 1, each_ms < 1 ? 1 : each_ms);
}

static kerf_err
on_welcome(kerf_light *c, const kerf_frame_in *frame, kerf_detail *why)
{
    kerf_err err =
        kerf_welcome_get(&c->welcome, frame->meta, frame->header.meta_len, why);

    if (err == KERF_OK && c->welcome.heartbeat_ms == 0)
        err = kerf_fail(why, KERF_EPROTO, "WELCOME without a heartbeat");
    if (err != KERF_OK)
        return err;
    kerf_conn_set_payload_max(c->control, KERF_MANIFEST_MAX);
    connect_next(c->all);
    return KERF_OK;
}

static kerf_err
on_attached(kerf_light *c)
{
    kerf_lights *l = c->all;

    c->is_in = true;
    kerf_conn_set_payload_max(c->tensors, KERF_PAYLOAD_MAX);
    if (l->in == 0)
        start_beats(l);
    l->in++;
    if (l->in < l->opts.edges)
        connect_next(l);
    else
        l->opts.ready(l->opts.ctx);
    return KERF_OK;
}

static kerf_err
on_head(void *ctx, kerf_conn *conn, const kerf_frame_in *frame, kerf_sink *sink,
        kerf_detail *why)
{
    kerf_light *c = ctx;
    kerf_lights *l = c->all;
    kerf_offer m;
    kerf_err err = KERF_OK;

    (void)conn;
    sink->discard = true;
    if (frame->header.type == KERF_FRAME_OFFER && !l->has_bundle) {
        err = kerf_offer_get(&m, frame->meta, frame->header.meta_len, why);
        if (err == KERF_OK) {
            memcpy(l->bundle, m.bundle, sizeof l->bundle);
            l->has_bundle = true;
        }
    }
    return err;
}

static kerf_err
on_frame(void *ctx, kerf_conn *conn, const kerf_frame_in *frame,
         kerf_detail *why)
{
    kerf_light *c = ctx;
    const kerf_lights_opts *o = &c->all->opts;

    (void)conn;
    switch (frame->header.type) {
    case KERF_FRAME_WELCOME:
        return c->tensors == NULL ? on_welcome(c, frame, why) : KERF_OK;
    case KERF_FRAME_ATTACHED:
        return c->is_in ? KERF_OK : on_attached(c);
    case KERF_FRAME_RESULT:
    case KERF_FRAME_BUSY:
    case KERF_FRAME_FAILED:
        if (o->answer != NULL)
            o->answer(o->ctx, c, frame);
        return KERF_OK;
    default:
        return KERF_OK;
    }
}

static void
on_close(void *ctx, kerf_conn *conn, kerf_err err, const char *why)
{
    kerf_light *c = ctx;

    (void)conn;
    fail(c->all, err == KERF_OK ? KERF_ECLOSED : err, why);
}

static const kerf_conn_ops ops = {
    .on_head = on_head, .on_frame = on_frame, .on_close = on_close};

kerf_err
kerf_lights_new(kerf_lights **out, kerf_loop *loop,
                const kerf_lights_opts *opts)
{
    kerf_lights *l = calloc(1, sizeof *l);

    if (l == NULL)
        return KERF_ENOMEM;
    l->opts = *opts;
    l->loop = loop;
    l->light = calloc(opts->edges, sizeof *l->light);
    if (l->light == NULL ||
        kerf_timer_new(&l->beat, loop, on_beat, l) != KERF_OK) {
        free(l->light);
        free(l);
        return KERF_ENOMEM;
    }
    for (size_t i = 0; i < opts->edges; i++) {
        l->light[i].all = l;
        l->light[i].number = i;
    }
    connect_next(l);
    *out = l;
    return KERF_OK;
}

void
kerf_lights_free(kerf_lights *l)
{
    if (l == NULL)
        return;
    l->is_over = true;
    for (size_t i = 0; i < l->opts.edges; i++) {
        if (l->light[i].tensors != NULL)
            kerf_conn_close(l->light[i].tensors);
        if (l->light[i].control != NULL)
            kerf_conn_close(l->light[i].control);
    }
    if (l->dial != NULL)
        kerf_dial_cancel(l->dial);
    kerf_timer_free(l->beat);
    free(l->light);
    free(l);
}

kerf_light *
kerf_lights_at(kerf_lights *l, size_t i)
{
    return &l->light[i];
}

size_t
kerf_lights_in(const kerf_lights *l)
{
    return l->in;
}

bool
kerf_lights_bundle(const kerf_lights *l, uint8_t id[KERF_BUNDLE_ID_LEN])
{
    memcpy(id, l->bundle, sizeof l->bundle);
    return l->has_bundle;
}
