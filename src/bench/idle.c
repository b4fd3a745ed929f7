/*
 *     all attached -> settle -> count for `seconds` -> stop
 */
#include "bench/idle.h"

#include "base/clock.h"
#include "bench/light.h"

#define CONNECT_MS 30000
#define SETTLE_MS 1500
#define LOOK_MS 50 /* for an interrupt */

struct run {
    const kerf_idle_opts *opts;
    kerf_loop *loop;
    kerf_lights *lights;
    kerf_timer *look, *phase;
    uint64_t rss, cpu_ns, start_ns;
    bool ready, counting;
    kerf_idle *idle;
    kerf_err err;
    kerf_detail *why;
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
on_ready(void *ctx)
{
    struct run *r = ctx;

    r->ready = true;
    kerf_timer_start(r->phase, SETTLE_MS, 0);
}

static void
on_phase(void *ctx)
{
    struct run *r = ctx;

    if (!r->ready) {
        on_failed(r, KERF_EDEADLINE, "no answer from the cloud");
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

static void
on_look(void *ctx)
{
    struct run *r = ctx;

    kerf_child_drain(r->opts->cloud);
    if (kerf_bench_interrupted())
        on_failed(ctx, KERF_EINTR, "interrupted");
}

kerf_err
kerf_idle_run(kerf_idle *idle, const kerf_idle_opts *opts, kerf_detail *why)
{
    struct run r = {.opts = opts, .idle = idle, .why = why};
    const kerf_lights_opts lights = {.host = opts->host,
                                     .port = opts->port,
                                     .edges = opts->edges,
                                     .name = "idle",
                                     .ctx = &r,
                                     .ready = on_ready,
                                     .failed = on_failed};
    kerf_err err = kerf_loop_new(&r.loop);

    if (err == KERF_OK)
        err = kerf_timer_new(&r.look, r.loop, on_look, &r);
    if (err == KERF_OK)
        err = kerf_timer_new(&r.phase, r.loop, on_phase, &r);
    if (err == KERF_OK) {
        r.rss = kerf_child_rss(opts->cloud);
        err = kerf_lights_new(&r.lights, r.loop, &lights);
    }
    if (err == KERF_OK) {
        kerf_timer_start(r.look, LOOK_MS, LOOK_MS);
        kerf_timer_start(r.phase, CONNECT_MS, 0);
        kerf_loop_run(r.loop);
        err = r.err;
    }
    kerf_lights_free(r.lights);
    kerf_timer_free(r.look);
    kerf_timer_free(r.phase);
    kerf_loop_free(r.loop);
    return err;
}
