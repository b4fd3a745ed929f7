#include "edge/edge.h"

#include "base/log.h"
#include "base/thread.h"
#include "edge/trusted.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define QUEUE_LEN 4096 /* flights are 128 at most; the rest is for notes */
#define BLOCK_KI 128
#define FLIGHTS_MOST 256 /* of a program and the next, and some notes */

kerf_note *
kerf_note_new(kerf_note_kind kind)
{
    kerf_note *note = calloc(1, sizeof *note);

    if (note != NULL) {
        note->event.note = note;
        note->kind = kind;
    }
    return note;
}

void
kerf_edge_tell(kerf_edge *edge, kerf_note *note)
{
    /* Thousands wait to be shown: room is kept for answers, which count. */
    if (kerf_queue_count(edge->queue) > QUEUE_LEN - FLIGHTS_MOST ||
        kerf_queue_push(edge->queue, &note->event) != KERF_OK)
        free(note);
}

/* Thousands of inputs may be skipped faster than a slow terminal shows it. */
void
kerf_edge_wait_for_room(kerf_edge *edge)
{
    bool stopping = false;

    while (!stopping && kerf_queue_count(edge->queue) > QUEUE_LEN / 2) {
        (void)usleep(1000);
        (void)pthread_mutex_lock(&edge->lock);
        stopping = edge->stopping;
        (void)pthread_mutex_unlock(&edge->lock);
    }
}

void
kerf_edge_tell_state(kerf_edge *edge, bool connected, const char *fmt, ...)
{
    kerf_note *note = kerf_note_new(KERF_NOTE_STATE);
    va_list args;

    if (note == NULL)
        return;
    note->connected = connected;
    va_start(args, fmt);
    (void)vsnprintf(note->text, sizeof note->text, fmt, args);
    va_end(args);
    kerf_edge_tell(edge, note);
}

void
kerf_edge_tell_model(kerf_edge *edge, const char *name, const char *id,
                     kerf_err err, const char *why)
{
    kerf_note *note = kerf_note_new(KERF_NOTE_MODEL);

    if (note == NULL)
        return;
    note->err = err;
    (void)snprintf(note->name, sizeof note->name, "%s", name);
    (void)snprintf(note->id, sizeof note->id, "%s", id);
    (void)snprintf(note->text, sizeof note->text, "%s", why);
    kerf_edge_tell(edge, note);
}

static void
fill_answer(kerf_edge *edge, kerf_flight *f, kerf_err err, const char *why)
{
    f->state = KERF_FLIGHT_ANSWERED;
    f->err = err;
    if (why[0] == '\0')
        f->why.text[0] = '\0'; /* each answer: not by way of printf() */
    else if (why != f->why.text)
        (void)kerf_fail(&f->why, err, "%s", why);
    if (err == KERF_OK)
        edge->total.answered++;
    else
        edge->total.failed++;
    f->event.flight = f;
}

void
kerf_edge_answer(kerf_edge *edge, kerf_flight *f, kerf_err err, const char *why)
{
    fill_answer(edge, f, err, why);
    if (kerf_queue_push(edge->queue, &f->event) != KERF_OK)
        f->state = KERF_FLIGHT_FREE; /* nobody listens any more */
}

void
kerf_edge_answer_in_turn(kerf_edge *edge, kerf_flight *f)
{
    fill_answer(edge, f, KERF_OK, "");
    if (kerf_queue_push_quietly(edge->queue, &f->event) != KERF_OK)
        f->state = KERF_FLIGHT_FREE;
    edge->to_stir = true;
    /* Not where much is sent all the time: then there is work for all cores. */
    edge->loop_awake =
        f->coded_bytes < KERF_AWAKE_LARGE || kerf_link_is_alone(edge, f);
    if (edge->loop_awake)
        kerf_loop_expect(edge->loop, true);
}

static void
on_turn(void *ctx)
{
    kerf_edge *edge = ctx;

    if (edge->to_stir)
        kerf_queue_stir(edge->queue);
    edge->to_stir = false;
}

void
kerf_edge_tell_queued(kerf_edge *edge, kerf_flight *f)
{
    f->state = KERF_FLIGHT_ANSWERED;
    f->event.flight = f;
    if (kerf_queue_push(edge->queue, &f->event) != KERF_OK)
        f->state = KERF_FLIGHT_FREE;
}

void
kerf_edge_stir(kerf_edge *edge)
{
    (void)atomic_fetch_add(&edge->changes, 1);
    (void)pthread_mutex_unlock(&edge->lock);
    /* After the unlock: the worker would wake only to wait for the lock. It
     * misses nothing, since it compares `changes` under the lock. */
    (void)pthread_cond_broadcast(&edge->changed);
}

void
kerf_edge_finish(kerf_edge *edge, kerf_err err, const char *why)
{
    kerf_note *note = &edge->done_note;
    bool first;

    (void)pthread_mutex_lock(&edge->lock);
    first = !edge->ended;
    edge->ended = true;
    (void)pthread_mutex_unlock(&edge->lock);
    if (!first)
        return;
    note->event.note = note;
    note->kind = KERF_NOTE_DONE;
    note->err = err;
    (void)snprintf(note->text, sizeof note->text, "%s", why);
    while (kerf_queue_push(edge->queue, &note->event) == KERF_EBUSY)
        (void)usleep(1000); /* the caller drains it */
}

/* Whether the worker will move what is in it to another program: it waits for
 * its input, or the cloud does not know the program that made it. */
static bool
is_movable(const kerf_flight *f)
{
    return f->state == KERF_FLIGHT_FILLING ||
           (f->state == KERF_FLIGHT_WAITING && f->stranded_ns != 0);
}

/* The next program takes over when nothing of the current one is in flight, but
 * what can be moved. Under the lock; returns the old program when it is free to
 * go. */
static kerf_program *
switch_program(kerf_edge *edge)
{
    kerf_program *old = edge->current;
    bool moving = false;

    if (edge->borrows > 0 || edge->apart != NULL)
        return NULL;

    for (size_t i = 0; old != NULL && i < old->flights; i++) {
        const kerf_flight *f = &old->flight[i];

        if (f->state != KERF_FLIGHT_FREE && !is_movable(f))
            return NULL;
        moving |= f->state != KERF_FLIGHT_FREE;
    }
    if (moving && edge->leaving != NULL)
        return NULL; /* one at a time */
    edge->current = edge->next;
    edge->next = NULL;
    kerf_loop_post(edge->loop, &edge->switched);
    edge->stale = false;
    if (!moving)
        return old;
    edge->leaving = old;
    return NULL;
}

void
kerf_edge_free_flight(kerf_edge *edge, kerf_flight *f)
{
    kerf_program *old = NULL;

    (void)pthread_mutex_lock(&edge->lock);
    if (f != NULL)
        f->state = KERF_FLIGHT_FREE;
    if (edge->next != NULL)
        old = switch_program(edge);
    kerf_edge_stir(edge);
    kerf_program_free(old);
}

/* Whether the caller still looks at an answer of this program, or NULL. */
static bool
is_shown(const kerf_program *p)
{
    bool shown = false;

    for (size_t i = 0; p != NULL && i < p->flights; i++)
        shown |= p->flight[i].state == KERF_FLIGHT_ANSWERED;
    return shown;
}

void
kerf_edge_drop_leaving(kerf_edge *edge)
{
    kerf_program *old;

    (void)pthread_mutex_lock(&edge->lock);
    while (is_shown(edge->leaving))
        (void)pthread_cond_wait(&edge->changed, &edge->lock);
    old = edge->leaving;
    edge->leaving = NULL;
    (void)pthread_mutex_unlock(&edge->lock);
    kerf_program_free(old);
    kerf_edge_free_flight(edge, NULL); /* the next one may have waited */
}

static void
on_signal(void *ctx, int nth)
{
    kerf_edge *edge = ctx;

    if (nth > 1)
        _exit(1);
    if (edge->events.stopping != NULL)
        edge->events.stopping(edge->events.ctx);
    kerf_edge_stop(edge);
}

static void
on_hangup(void *ctx)
{
    kerf_edge *edge = ctx;

    edge->events.reload(edge->events.ctx);
}

static void
on_alive(void *ctx)
{
    kerf_edge *edge = ctx;

    edge->events.alive(edge->events.ctx, kerf_busy_ms(&edge->busy, 1));
}

static void *
run_loop(void *ctx)
{
    kerf_edge *edge = ctx;

    kerf_thread_begin("kerf-loop");
    kerf_thread_block_pipe();
    kerf_link_start(edge);
    if (edge->alive != NULL)
        kerf_timer_start(edge->alive, 0, (uint64_t)edge->opts.alive_ms);
    kerf_loop_run(edge->loop);
    return NULL;
}

static void
fill_defaults(kerf_edge *edge, const kerf_edge_opts *opts)
{
    static const char *const random_input[] = {"random"};
    kerf_edge_opts *o = &edge->opts;

    *o = *opts;
    o->window = o->window <= 0                 ? 8
                : o->window > KERF_FLIGHTS_MAX ? KERF_FLIGHTS_MAX
                                               : o->window;
    if (o->block_ki >= 0) {
        size_t values =
            (size_t)(o->block_ki == 0 ? BLOCK_KI : o->block_ki) * 1024;

        edge->block_values =
            values < KERF_BLOCK_VALUES_MIN ? KERF_BLOCK_VALUES_MIN : values;
    }
    if (o->input_count == 0) { /* as the reference does */
        o->inputs = random_input;
        o->input_count = 1;
    }
    if (o->name != NULL) {
        (void)snprintf(edge->name, sizeof edge->name, "%s", o->name);
    } else {
        char host[64] = "edge";

        (void)gethostname(host, sizeof host - 1);
        (void)snprintf(edge->name, sizeof edge->name, "%s-%d", host,
                       (int)getpid());
    }
    edge->raw = kerf_source_is_raw(o->inputs, o->input_count);
}

/* With TLS the edge's name is that of its certificate. */
static kerf_err
open_tls(kerf_edge *edge, kerf_detail *why)
{
    const char *name;
    kerf_err err =
        kerf_tls_folder_open(&edge->tls, edge->loop, edge->opts.tls,
                             KERF_SIDE_EDGE, kerf_link_on_trust, edge, why);

    if (err != KERF_OK)
        return err;
    name = kerf_creds_name(kerf_tls_folder_creds(edge->tls));
    if (edge->opts.name != NULL && strcmp(edge->opts.name, name) != 0) {
        return kerf_fail(why, KERF_EINVAL,
                         "--name %.100s: the certificate in %s is for %s: "
                         "leave --name out",
                         edge->opts.name, edge->opts.tls, name);
    }
    (void)snprintf(edge->name, sizeof edge->name, "%s", name);
    return KERF_OK;
}

/* What an earlier run left; but for what this one would begin with, when there
 * is no cloud. */
static void
tidy_store(kerf_edge *edge)
{
    kerf_manifest first = {0};
    bool has = kerf_trusted_stored(edge, &first) == KERF_OK;

    kerf_store_tidy(edge->store, has ? first.id : NULL);
    kerf_manifest_fini(&first);
}

static kerf_err
open_store(kerf_edge *edge, kerf_detail *why)
{
    uint64_t most = edge->opts.store_max;
    kerf_err err = kerf_store_open(&edge->store, edge->opts.store, why);

    if (err == KERF_OK)
        kerf_store_bound(edge->store, most > 0 ? most : KERF_STORE_MAX_DEFAULT);
    return err;
}

/* Signals, and who watches over us. */
static kerf_err
open_watch(kerf_edge *edge)
{
    kerf_err err = KERF_OK;

    if (edge->opts.handle_signals)
        err = kerf_loop_on_signal(edge->loop, on_signal, edge);
    if (err == KERF_OK && edge->opts.handle_signals &&
        edge->events.reload != NULL)
        err = kerf_loop_on_hangup(edge->loop, on_hangup, edge);
    if (err == KERF_OK && edge->events.alive != NULL && edge->opts.alive_ms > 0)
        err = kerf_timer_new(&edge->alive, edge->loop, on_alive, edge);
    return err;
}

kerf_err
kerf_edge_open(kerf_edge **out, const kerf_edge_opts *opts,
               const kerf_edge_events *events, kerf_detail *why)
{
    kerf_edge *edge = calloc(1, sizeof *edge);
    kerf_err err;

    if (edge == NULL)
        return KERF_ENOMEM;
    fill_defaults(edge, opts);
    edge->events = *events;
    (void)pthread_mutex_init(&edge->lock, NULL);
    (void)pthread_cond_init(&edge->changed, NULL);
    err = kerf_route_parse(&edge->route, edge->opts.host, edge->opts.port, why);
    if (err == KERF_OK)
        err = kerf_source_check(edge->opts.inputs, edge->opts.input_count, why);
    if (err == KERF_OK)
        err = kerf_codec_new(&edge->codec);
    if (err == KERF_OK)
        err = open_store(edge, why);
    if (err == KERF_OK)
        err = kerf_engine_open(&edge->engine, &edge->opts.engine, why);
    if (err == KERF_OK)
        err = kerf_queue_new(&edge->queue, QUEUE_LEN);
    if (err == KERF_OK)
        err = kerf_queue_new(&edge->loads, 4);
    if (err == KERF_OK)
        err = kerf_loop_new(&edge->loop);
    if (err == KERF_OK)
        kerf_loop_on_turn(edge->loop, on_turn, edge);
    if (err == KERF_OK && edge->opts.tls != NULL)
        err = open_tls(edge, why);
    if (err == KERF_OK)
        err = kerf_fetch_init(edge);
    if (err == KERF_OK)
        err = kerf_link_init(edge);
    if (err == KERF_OK)
        err = kerf_trusted_init(edge, why);
    if (err == KERF_OK)
        err = kerf_again_init(edge);
    if (err == KERF_OK)
        tidy_store(edge);
    if (err == KERF_OK)
        err = kerf_offline_init(edge, why);
    if (err == KERF_OK)
        err = open_watch(edge);
    if (err != KERF_OK) {
        (void)kerf_edge_close(edge);
        return err;
    }
    *out = edge;
    return KERF_OK;
}

static kerf_err
start_threads(kerf_edge *edge, kerf_detail *why)
{
    edge->loader_runs =
        pthread_create(&edge->loader_thread, NULL, kerf_loader_run, edge) == 0;
    edge->loop_runs =
        edge->loader_runs && kerf_writer_start(edge->fetch.writer) &&
        kerf_offline_start(edge) &&
        pthread_create(&edge->loop_thread, NULL, run_loop, edge) == 0;
    edge->worker_runs =
        edge->loop_runs &&
        pthread_create(&edge->worker_thread, NULL, kerf_worker_run, edge) == 0;
    if (edge->worker_runs)
        return KERF_OK;
    return kerf_fail(why, KERF_ENOMEM, "cannot start a thread");
}

kerf_err
kerf_edge_run(kerf_edge *edge, kerf_edge_total *total, kerf_detail *why)
{
    kerf_err err;
    bool over;

    kerf_thread_begin("kerf-show");
    err = start_threads(edge, why);
    over = err != KERF_OK;
    while (!over) {
        kerf_event *event = kerf_queue_pop(edge->queue);

        if (event->flight == NULL && event->note->kind == KERF_NOTE_DONE) {
            over = true;
            err = event->note->err;
            if (err != KERF_OK)
                (void)kerf_fail(why, err, "%s", event->note->text);
        } else {
            kerf_edge_show(edge, event);
        }
    }
    (void)pthread_mutex_lock(&edge->lock);
    *total = edge->total;
    (void)pthread_mutex_unlock(&edge->lock);
    if (edge->offline.spool != NULL)
        total->left = kerf_spool_count(edge->offline.spool);
    return err;
}

void
kerf_edge_stop(kerf_edge *edge)
{
    (void)pthread_mutex_lock(&edge->lock);
    edge->stopping = true;
    if (edge->source != NULL)
        kerf_source_stop(edge->source);
    kerf_edge_stir(edge);
    kerf_loop_post(edge->loop, &edge->stop);
}
