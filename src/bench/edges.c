/*
 *     all in -> settle -> at a rate -> flood begins -> at a rate, beside it
 *            -> flood ends, all answered -> as many in flight as are allowed
 */
#include "bench/edges.h"

#include "base/clock.h"
#include "base/stats.h"
#include "bench/light.h"
#include "kerf/tensor.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CONNECT_MS 120000
#define SETTLE_MS 1500
#define CALM_MS 1000 /* between phases, for what is still in flight */
#define END_MS 10000 /* at most, for what waits at a phase's end */
#define TICK_MS 1
#define LOOK_TICKS 50 /* for an interrupt */
#define FLOOD_DEEP 32 /* requests of each greedy session at a time */
#define KEPT 200000   /* times, for quantiles */

enum phase {
    CONNECTING,
    SETTLING,
    FAIR,
    FAIR_END, /* nothing new is asked; until all is answered */
    FLOODING,
    CROWD,
    CROWD_END,
    CALMING,
    COST
};

struct one {
    uint64_t asked, answered;
    uint64_t first_ns, retry_ns; /* of the request that waits; 0: none */
    uint64_t id;
    bool waits;
};

struct run {
    const kerf_edges_opts *opts;
    kerf_loop *loop;
    kerf_lights *lights;
    kerf_timer *tick, *next;
    struct one *one; /* honest edges */
    size_t *retry;   /* indices of those that were turned away */
    size_t retries, waiting;
    uint8_t bundle[KERF_BUNDLE_ID_LEN];
    float *payload;
    size_t payload_len;
    enum phase phase;
    uint64_t ticks, start_ns, sent, answered, busy, greedy, greedy_id;
    uint64_t cpu_ns, rss;
    size_t turn; /* who is next, for the cost */
    kerf_stats times;
    kerf_edges_figures *out;
    kerf_err err;
    kerf_detail *why;
};

/* A request on its way to the kernel. */
struct shot {
    kerf_out out;
    uint8_t head[2 * KERF_HEAD_STEP];
};

static void
on_failed(void *ctx, kerf_err err, const char *why)
{
    struct run *r = ctx;

    if (r->err == KERF_OK)
        r->err = kerf_fail(r->why, err, "%s", why);
    kerf_loop_stop(r->loop);
}

static void
free_shot(void *ctx, kerf_err err)
{
    (void)err;
    free(ctx);
}

static void
fire(struct run *r, size_t number, uint64_t id)
{
    static kerf_tensors m; /* too big for a stack */
    struct shot *s = malloc(sizeof *s);
    kerf_header h = {.type = KERF_FRAME_TENSOR, .id = id};
    size_t len;

    if (s == NULL) {
        on_failed(r, KERF_ENOMEM, "out of memory");
        return;
    }
    memcpy(m.bundle, r->bundle, sizeof m.bundle);
    m.count = 1;
    m.tensor[0] = (kerf_tensor_desc){
        .dtype = KERF_F32, .shape = r->opts->shape, .len = r->payload_len};
    s->out = (kerf_out){.count = 1, .done = free_shot, .ctx = s};
    s->out.piece[0] = r->payload;
    s->out.len[0] = r->payload_len;
    len = kerf_tensors_put(s->head + KERF_HEADER_LEN,
                           sizeof s->head - KERF_HEADER_LEN, &m);
    kerf_out_seal(&s->out, s->head, &h, len);
    kerf_conn_send(kerf_lights_at(r->lights, number)->tensors, &s->out);
}

static void
ask(struct run *r, size_t i)
{
    struct one *one = &r->one[i];

    one->waits = true;
    r->waiting++;
    one->first_ns = kerf_now_ns();
    fire(r, i, ++one->id);
}

/* The next edge that waits for nothing. */
static void
ask_next(struct run *r)
{
    for (size_t n = 0; n < r->opts->edges; n++) {
        size_t i = r->turn++ % r->opts->edges;

        if (!r->one[i].waits) {
            ask(r, i);
            return;
        }
    }
}

static void
on_turned_away(struct run *r, size_t i, const kerf_frame_in *frame)
{
    kerf_notice n;
    uint64_t wait_ms;

    if (frame->header.type == KERF_FRAME_FAILED ||
        kerf_notice_get(&n, frame->meta, frame->header.meta_len, NULL) !=
            KERF_OK) {
        on_failed(r, KERF_EIO, "the cloud refused a request");
        return;
    }
    r->busy++;
    wait_ms = n.retry_ms < 1 ? 1 : n.retry_ms;
    wait_ms += (uint64_t)rand() % (wait_ms + 1); /* as kerf edge does */
    r->one[i].retry_ns = kerf_now_ns() + wait_ms * 1000000u;
    r->retry[r->retries++] = i;
}

static void
on_answer(void *ctx, kerf_light *light, const kerf_frame_in *frame)
{
    struct run *r = ctx;
    struct one *one;

    if (light->number >= r->opts->edges) { /* the greedy one asks at once */
        r->greedy += frame->header.type == KERF_FRAME_RESULT ? 1 : 0;
        if (r->phase >= FLOODING && r->phase <= CROWD_END)
            fire(r, light->number, ++r->greedy_id);
        return;
    }
    if (frame->header.type != KERF_FRAME_RESULT) {
        on_turned_away(r, light->number, frame);
        return;
    }
    one = &r->one[light->number];
    one->waits = false;
    r->waiting--;
    one->answered++;
    r->answered++;
    kerf_stats_add(&r->times, (double)(kerf_now_ns() - one->first_ns) / 1e3);
    if (r->phase == COST)
        ask_next(r);
}

static void
ask_again(struct run *r)
{
    uint64_t now_ns = kerf_now_ns();
    size_t kept = 0;

    for (size_t n = 0; n < r->retries; n++) {
        size_t i = r->retry[n];

        if (now_ns >= r->one[i].retry_ns)
            fire(r, i, r->one[i].id);
        else
            r->retry[kept++] = i;
    }
    r->retries = kept;
}

/* All edges have the same rate, one after the other. One whose request still
 * waits asks for nothing more, and has not got its share. */
static void
ask_at_rate(struct run *r)
{
    double due = (double)(kerf_now_ns() - r->start_ns) / 1e9 * r->opts->hz;

    while ((double)r->sent < due) {
        size_t i = r->sent++ % r->opts->edges;

        r->one[i].asked++;
        if (!r->one[i].waits)
            ask(r, i);
    }
}

static void on_next(void *ctx);

static void
on_tick(void *ctx)
{
    struct run *r = ctx;

    if (r->ticks++ % LOOK_TICKS == 0) {
        kerf_child_drain(r->opts->cloud);
        if (kerf_bench_interrupted())
            on_failed(r, KERF_EINTR, "interrupted");
    }
    ask_again(r);
    if (r->phase == FAIR || r->phase == CROWD)
        ask_at_rate(r);
    if ((r->phase == FAIR_END || r->phase == CROWD_END) && r->waiting == 0)
        on_next(r);
}

static void
begin(struct run *r, enum phase phase, double seconds)
{
    r->phase = phase;
    r->start_ns = kerf_now_ns();
    r->sent = r->answered = r->busy = r->greedy = 0;
    for (size_t i = 0; i < r->opts->edges; i++)
        r->one[i].asked = r->one[i].answered = 0;
    r->times.used = 0;
    r->times.count = 0;
    kerf_timer_start(r->next, (uint64_t)(seconds * 1000), 0);
}

/* The phase is over but for what waits. */
static void
begin_end(struct run *r, enum phase phase)
{
    r->phase = phase;
    kerf_timer_start(r->next, END_MS, 0);
}

static void
take_share(struct run *r, kerf_edges_share *s)
{
    double seconds = (double)(kerf_now_ns() - r->start_ns) / 1e9;
    double sum = 0;
    double squares = 0;

    *s = (kerf_edges_share){.least = 1,
                            .busy = r->busy,
                            .asked = r->sent,
                            .answered = r->answered,
                            .p50_us = kerf_stats_quantile(&r->times, 0.5),
                            .p99_us = kerf_stats_quantile(&r->times, 0.99),
                            .greedy_hz = (double)r->greedy / seconds};
    for (size_t i = 0; i < r->opts->edges; i++) {
        const struct one *one = &r->one[i];
        double part =
            one->asked == 0 ? 1 : (double)one->answered / (double)one->asked;

        sum += part;
        squares += part * part;
        s->least = part < s->least ? part : s->least;
    }
    s->jain = squares == 0 ? 0 : sum * sum / squares / (double)r->opts->edges;
}

static void
flood(struct run *r)
{
    kerf_progress_say(&r->opts->progress, "%zu edges, one floods",
                      r->opts->edges);
    for (size_t k = 0; k < r->opts->greedy; k++) {
        for (size_t n = 0; n < FLOOD_DEEP; n++)
            fire(r, r->opts->edges + k, ++r->greedy_id);
    }
    begin(r, FLOODING, 0.5);
}

static void
begin_cost(struct run *r)
{
    kerf_progress_say(&r->opts->progress, "%zu edges, %zu in flight",
                      r->opts->edges, r->opts->in_flight);
    begin(r, COST, r->opts->seconds);
    r->cpu_ns = kerf_child_cpu_ns(r->opts->cloud);
    for (size_t n = 0; n < r->opts->in_flight; n++)
        ask_next(r);
}

static void
take_cost(struct run *r)
{
    uint64_t cpu_ns = kerf_child_cpu_ns(r->opts->cloud) - r->cpu_ns;
    double seconds = (double)(kerf_now_ns() - r->start_ns) / 1e9;

    if (r->answered > 0)
        r->out->cpu_us = (double)cpu_ns / 1e3 / (double)r->answered;
    r->out->hz = (double)r->answered / seconds;
    r->out->busy_p50_us = kerf_stats_quantile(&r->times, 0.5);
    kerf_loop_stop(r->loop);
}

static void
take_rss(struct run *r)
{
    size_t sessions = r->opts->edges + r->opts->greedy;

    r->out->rss_kib =
        ((double)kerf_child_rss(r->opts->cloud) - (double)r->rss) / 1024 /
        (double)sessions;
}

static double
shorter(const struct run *r, double ms)
{
    return r->opts->seconds < ms / 1e3 ? r->opts->seconds : ms / 1e3;
}

static void
on_next(void *ctx)
{
    struct run *r = ctx;

    switch (r->phase) {
    case CONNECTING:
        on_failed(r, KERF_EDEADLINE, "no answer from the cloud");
        break;
    case SETTLING:
        if (r->opts->hz <= 0) {
            begin_cost(r);
            break;
        }
        kerf_progress_say(&r->opts->progress, "%zu edges, %.0f requests/s",
                          r->opts->edges, r->opts->hz);
        begin(r, FAIR, r->opts->seconds);
        break;
    case FAIR:
        begin_end(r, FAIR_END);
        break;
    case FAIR_END:
        take_share(r, &r->out->fair);
        take_rss(r);
        if (r->opts->greedy > 0)
            flood(r);
        else
            begin_cost(r);
        break;
    case FLOODING:
        begin(r, CROWD, r->opts->seconds);
        break;
    case CROWD:
        begin_end(r, CROWD_END);
        break;
    case CROWD_END:
        take_share(r, &r->out->crowd);
        begin(r, CALMING, shorter(r, CALM_MS));
        break;
    case CALMING:
        begin_cost(r);
        break;
    case COST:
        take_cost(r);
        break;
    }
}

static void
on_ready(void *ctx)
{
    struct run *r = ctx;

    if (!kerf_lights_bundle(r->lights, r->bundle)) {
        on_failed(r, KERF_ENOENT, "the cloud offers no model");
        return;
    }
    begin(r, SETTLING, shorter(r, SETTLE_MS));
}

static kerf_err
make_payload(struct run *r)
{
    kerf_err err = kerf_shape_bytes(&r->opts->shape, KERF_F32, &r->payload_len);

    if (err != KERF_OK)
        return err;
    r->payload = calloc(1, r->payload_len);
    if (r->payload == NULL)
        return KERF_ENOMEM;
    for (size_t i = 0; i < r->payload_len / sizeof *r->payload; i++)
        r->payload[i] = (float)(i % 17) / 17;
    return KERF_OK;
}

static kerf_err
start(struct run *r)
{
    const kerf_edges_opts *o = r->opts;
    const kerf_lights_opts lights = {.host = o->host,
                                     .port = o->port,
                                     .edges = o->edges + o->greedy,
                                     .name = "bench",
                                     .alike = o->greedy,
                                     .ctx = r,
                                     .ready = on_ready,
                                     .answer = on_answer,
                                     .failed = on_failed};
    kerf_err err = make_payload(r);

    r->one = calloc(o->edges, sizeof *r->one);
    r->retry = calloc(o->edges, sizeof *r->retry);
    if (err == KERF_OK && (r->one == NULL || r->retry == NULL))
        err = KERF_ENOMEM;
    if (err == KERF_OK)
        err = kerf_stats_init(&r->times, KEPT);
    if (err == KERF_OK)
        err = kerf_loop_new(&r->loop);
    if (err == KERF_OK)
        err = kerf_timer_new(&r->tick, r->loop, on_tick, r);
    if (err == KERF_OK)
        err = kerf_timer_new(&r->next, r->loop, on_next, r);
    if (err != KERF_OK)
        return err;
    kerf_progress_say(&o->progress, "%zu edges connect", o->edges);
    r->rss = kerf_child_rss(o->cloud);
    kerf_timer_start(r->next, CONNECT_MS, 0);
    kerf_timer_start(r->tick, TICK_MS, TICK_MS);
    return kerf_lights_new(&r->lights, r->loop, &lights);
}

kerf_err
kerf_edges_run(kerf_edges_figures *out, const kerf_edges_opts *opts,
               kerf_detail *why)
{
    struct run r = {.opts = opts, .out = out, .why = why};
    kerf_err err;

    *out = (kerf_edges_figures){0};
    err = start(&r);
    if (err == KERF_OK) {
        kerf_loop_run(r.loop);
        err = r.err;
    }
    kerf_lights_free(r.lights);
    if (r.loop != NULL) {
        kerf_timer_free(r.tick);
        kerf_timer_free(r.next);
        kerf_loop_free(r.loop);
    }
    kerf_stats_fini(&r.times);
    free(r.one);
    free(r.retry);
    free(r.payload);
    return err;
}
