#include "legacy/edge.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

void
kerf_legacy_edge_state(kerf_legacy_edge *edge, bool connected, const char *text)
{
    if (edge->events.state != NULL)
        edge->events.state(edge->events.ctx, connected, text);
}

static void
stop(kerf_legacy_edge *edge)
{
    (void)pthread_mutex_lock(&edge->lock);
    edge->stopping = true;
    if (edge->source != NULL)
        kerf_source_stop(edge->source);
    (void)pthread_cond_broadcast(&edge->changed);
    (void)pthread_mutex_unlock(&edge->lock);
    kerf_legacy_out_stop(edge);
}

void
kerf_legacy_edge_fail(kerf_legacy_edge *edge, kerf_err err, const char *why)
{
    if (edge->err == KERF_OK)
        edge->err = kerf_fail(&edge->why, err, "%s", why);
    stop(edge);
}

static void
on_signal(void *ctx, int nth)
{
    if (nth > 1)
        _exit(1);
    stop(ctx);
}

static void
fill_defaults(kerf_legacy_edge *edge, const kerf_edge_opts *opts)
{
    static const char *const random_input[] = {"random"};
    kerf_edge_opts *o = &edge->opts;

    *o = *opts;
    if (o->input_count == 0) { /* as the reference does */
        o->inputs = random_input;
        o->input_count = 1;
        o->repeat = 0;
    }
    if (o->retry_ms <= 0)
        o->retry_ms = KERF_LEGACY_RETRY_MS;
    if (o->stall_ms <= 0)
        o->stall_ms = KERF_LEGACY_STALL_MS;
    edge->raw = kerf_source_is_raw(o->inputs, o->input_count);
}

static kerf_err
start(kerf_legacy_edge *edge, const char *edge_host, int edge_port,
      kerf_detail *why)
{
    const kerf_edge_opts *o = &edge->opts;
    kerf_err err = kerf_source_check(o->inputs, o->input_count, why);

    if (err == KERF_OK)
        err = kerf_store_open_plain(&edge->store, o->store, why);
    if (err == KERF_OK)
        err = kerf_engine_open(&edge->engine, &o->engine, why);
    if (err == KERF_OK)
        err = kerf_loop_new(&edge->loop);
    if (err == KERF_OK && o->handle_signals)
        err = kerf_loop_on_signal(edge->loop, on_signal, edge);
    if (err == KERF_OK)
        err = kerf_legacy_out_start(edge, edge_host, edge_port, why);
    if (err == KERF_OK)
        err = kerf_legacy_files_start(edge);
    return err;
}

static void
fini(kerf_legacy_edge *edge)
{
    kerf_legacy_files_close(edge);
    kerf_legacy_out_close(edge);
    kerf_loop_free(edge->loop);
    kerf_source_free(edge->source);
    kerf_legacy_head_free(edge->head);
    kerf_legacy_head_free(edge->next);
    kerf_engine_close(edge->engine);
    kerf_store_close(edge->store);
    (void)pthread_cond_destroy(&edge->changed);
    (void)pthread_mutex_destroy(&edge->lock);
    free(edge);
}

kerf_err
kerf_legacy_edge_run(const kerf_edge_opts *opts, const char *edge_host,
                     int edge_port, const kerf_edge_events *events,
                     kerf_edge_total *total, kerf_detail *why)
{
    kerf_legacy_edge *edge = calloc(1, sizeof *edge);
    pthread_t worker;
    kerf_err err;

    if (edge == NULL)
        return kerf_fail(why, KERF_ENOMEM, "no memory");
    fill_defaults(edge, opts);
    edge->events = *events;
    edge->files.fd = edge->out_fd = -1;
    (void)pthread_mutex_init(&edge->lock, NULL);
    (void)pthread_cond_init(&edge->changed, NULL);
    edge->posted = (kerf_post){.fn = kerf_legacy_out_note, .ctx = edge};
    err = start(edge, edge_host, edge_port, why);
    if (err == KERF_OK &&
        pthread_create(&worker, NULL, kerf_legacy_worker_run, edge) != 0)
        err = kerf_fail(why, KERF_ENOMEM, "cannot start a thread");
    if (err == KERF_OK) {
        kerf_loop_run(edge->loop);
        (void)pthread_join(worker, NULL);
        err = edge->err;
        if (err != KERF_OK)
            (void)kerf_fail(why, err, "%s", edge->why.text);
    }
    *total = edge->total;
    fini(edge);
    return err;
}
