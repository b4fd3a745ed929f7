#include "edge/offline.h"

#include "base/thread.h"
#include "edge/link_own.h"

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define JOBS_MOST 4096 /* flights are 128 at most */

static const char *
policy_text(const kerf_edge *edge)
{
    switch (edge->opts.offline) {
    case KERF_OFFLINE_QUEUE:
        return "requests are queued on disk";
    case KERF_OFFLINE_FAIL:
        return "requests fail";
    case KERF_OFFLINE_LOCAL:
        return edge->current == NULL || edge->current->tail != NULL
                   ? "requests are finished here"
                   : "requests wait, since there is no tail here";
    case KERF_OFFLINE_WAIT:
        break;
    }
    return "requests wait";
}

void
kerf_offline_take(kerf_edge *edge, kerf_flight *f)
{
    kerf_offline_state *o = &edge->offline;
    char why[KERF_TEXT_MAX];

    if (f->record != NULL) /* it is on disk already */
        return;
    if (edge->opts.offline == KERF_OFFLINE_FAIL) {
        (void)snprintf(why, sizeof why, "no cloud for %.3g s: %.400s",
                       (double)kerf_beat_dead_ms(edge) / 1e3, o->why);
        kerf_edge_answer(edge, f, KERF_ECLOSED, why);
        return;
    }
    if (edge->opts.offline == KERF_OFFLINE_WAIT ||
        (edge->opts.offline == KERF_OFFLINE_LOCAL && f->program->tail == NULL))
        return;
    f->state = KERF_FLIGHT_OFFLINE;
    if (kerf_queue_push(o->jobs, f) != KERF_OK)
        f->state = KERF_FLIGHT_WAITING;
}

void
kerf_offline_give_up(kerf_edge *edge, kerf_flight *f)
{
    if (f->record != NULL) {
        kerf_queue_let_go(edge, f);
        return;
    }
    if (edge->opts.offline != KERF_OFFLINE_FAIL)
        kerf_offline_take(edge, f);
    if (f->state != KERF_FLIGHT_OFFLINE)
        kerf_edge_answer(edge, f, KERF_EINTR, KERF_GAVE_UP);
}

/* Only this thread makes it otherwise. */
static bool
has_no_program(kerf_edge *edge)
{
    bool none;

    (void)pthread_mutex_lock(&edge->lock);
    none = edge->current == NULL && edge->next == NULL;
    (void)pthread_mutex_unlock(&edge->lock);
    return none;
}

static void
go_offline(void *ctx)
{
    kerf_edge *edge = ctx;
    kerf_flight *list[KERF_FLIGHTS_LISTED];
    bool none = has_no_program(edge);
    bool lacks = none && !kerf_local_start(edge);
    size_t n;

    (void)pthread_mutex_lock(&edge->lock);
    edge->offline.offline = true;
    /* First this, then what becomes of them. */
    kerf_edge_tell_state(edge, false, "no cloud for %.3g s: %s%s",
                         (double)kerf_beat_dead_ms(edge) / 1e3,
                         policy_text(edge),
                         lacks ? ", and there is no model here yet" : "");
    n = kerf_link_flights(edge, list);
    for (size_t i = 0; i < n; i++)
        kerf_offline_take(edge, list[i]);
    kerf_edge_stir(edge);
    if (lacks && edge->fetch.count == 0)
        kerf_local_none(edge, "there is no model in --store to begin with");
}

void
kerf_offline_lost(kerf_edge *edge, const char *why)
{
    kerf_offline_state *o = &edge->offline;

    if (edge->opts.offline == KERF_OFFLINE_WAIT)
        return;
    (void)pthread_mutex_lock(&edge->lock);
    (void)snprintf(o->why, sizeof o->why, "%s", why);
    (void)pthread_mutex_unlock(&edge->lock);
    if (o->counting)
        return;
    o->counting = true;
    kerf_timer_start(o->timer, kerf_beat_dead_ms(edge), 0);
}

void
kerf_offline_up(kerf_edge *edge)
{
    kerf_offline_state *o = &edge->offline;

    kerf_timer_stop(o->timer);
    o->counting = false;
    (void)pthread_mutex_lock(&edge->lock);
    o->offline = false;
    (void)pthread_mutex_unlock(&edge->lock);
    atomic_store(&o->session_is_new, true);
    kerf_queue_ask(edge);
    if (edge->opts.offline == KERF_OFFLINE_LOCAL &&
        (edge->welcome.features & KERF_FEATURE_TAILS) == 0) {
        kerf_edge_tell_state(edge, true,
                             "the cloud keeps its tails (see kerf cloud "
                             "--share-tail): without one, requests wait while "
                             "it is gone");
    }
}

static void *
run(void *ctx)
{
    kerf_edge *edge = ctx;
    void *job;

    kerf_thread_begin("kerf-offline");
    kerf_thread_block_pipe();
    while ((job = kerf_queue_pop(edge->offline.jobs)) != NULL) {
        if (job == &edge->offline.drain_token)
            kerf_queue_drain(edge);
        else if (edge->opts.offline == KERF_OFFLINE_LOCAL)
            kerf_local_run(edge, job);
        else
            kerf_queue_put(edge, job);
    }
    return NULL;
}

void
kerf_offline_wait(kerf_edge *edge)
{
    if (edge->offline.spool == NULL)
        return;
    (void)pthread_mutex_lock(&edge->lock);
    while (!edge->stopping && kerf_spool_count(edge->offline.spool) > 0)
        (void)pthread_cond_wait(&edge->changed, &edge->lock);
    (void)pthread_mutex_unlock(&edge->lock);
}

static kerf_err
open_spool(kerf_edge *edge, kerf_detail *why)
{
    char dir[KERF_PATH_MAX];
    uint64_t most = edge->opts.queue_max > 0 ? edge->opts.queue_max
                                             : KERF_QUEUE_MAX_DEFAULT;
    kerf_err err = kerf_path_join(dir, edge->opts.store, "queue");

    if (err != KERF_OK)
        return kerf_fail(why, err, "--store: the path is too long");
    return kerf_spool_open(&edge->offline.spool, dir, most, why);
}

kerf_err
kerf_offline_init(kerf_edge *edge, kerf_detail *why)
{
    kerf_offline_state *o = &edge->offline;
    kerf_err err = kerf_timer_new(&o->timer, edge->loop, go_offline, edge);

    o->put_off = (kerf_post){.fn = kerf_queue_put_timer, .ctx = edge};
    if (err == KERF_OK)
        err = kerf_timer_new(&o->again, edge->loop, kerf_queue_again, edge);
    if (err == KERF_OK)
        err = kerf_queue_new(&o->jobs, JOBS_MOST);
    if (err == KERF_OK && edge->opts.offline == KERF_OFFLINE_QUEUE)
        err = open_spool(edge, why);
    return err;
}

bool
kerf_offline_start(kerf_edge *edge)
{
    if (edge->opts.offline == KERF_OFFLINE_WAIT ||
        edge->opts.offline == KERF_OFFLINE_FAIL)
        return true;
    edge->offline.runs =
        pthread_create(&edge->offline.thread, NULL, run, edge) == 0;
    return edge->offline.runs;
}

bool
kerf_offline_stop(kerf_edge *edge, uint64_t within_ms)
{
    if (edge->offline.jobs != NULL)
        kerf_queue_close(edge->offline.jobs);
    if (edge->offline.runs &&
        !kerf_thread_join(edge->offline.thread, within_ms))
        return false;
    edge->offline.runs = false;
    return true;
}

void
kerf_offline_fini(kerf_edge *edge)
{
    kerf_offline_state *o = &edge->offline;

    for (size_t i = 0; i < KERF_DRAIN_FLIGHTS; i++) {
        free(o->drain[i].record);
        free(o->drain[i].head);
        free(o->drain[i].block);
        for (size_t k = 0; k < KERF_PORTS_MAX; k++)
            free(o->drain[i].result[k].data);
    }
    kerf_timer_free(o->timer);
    kerf_timer_free(o->again);
    kerf_queue_free(o->jobs);
    kerf_spool_close(o->spool);
}
