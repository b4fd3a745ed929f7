/*
 * The worker: takes inputs from the source, runs the head on them, and sends
 * what crosses straight from the head's output memory, on its own thread.
 */
#include "edge/edge.h"

#include "base/clock.h"
#include "base/thread.h"
#include "edge/encode.h"

#include <stdio.h>
#include <string.h>

#define QUICK_NS 10000               /* to make a request */
#define HELD_MOST ((size_t)32 << 10) /* bytes of one that waits for others */
#define OTHER_INPUTS "the model was replaced by one with other inputs"

/* A flight to fill, or NULL. Under the lock. */
static kerf_flight *
find_free(kerf_edge *edge)
{
    kerf_program *p = edge->current;
    /* What is moved goes on, or the next program would wait for it for ever. */
    bool hold =
        (edge->next != NULL || edge->stale || (p != NULL && p->expired)) &&
        edge->leaving == NULL;
    size_t most = p == NULL || hold ? 0 : p->flights;

    if (edge->window > 0 && edge->window < most)
        most = edge->window;
    for (size_t i = 0; i < most; i++) {
        if (p->flight[i].state == KERF_FLIGHT_FREE)
            return &p->flight[i];
    }
    return NULL;
}

/* Under the lock: what was sent need not wait for another one any more. */
static void
let_go(kerf_edge *edge)
{
    if (edge->holds && edge->tensors != NULL)
        kerf_conn_flush(edge->tensors);
    edge->holds = false;
}

/* Something else is waited for: an input, the caller, a program. */
static void
on_waits(void *ctx)
{
    kerf_edge *edge = ctx;

    (void)pthread_mutex_lock(&edge->lock);
    let_go(edge);
    (void)pthread_mutex_unlock(&edge->lock);
}

/* Under the lock: whether the next request may be expected to follow sooner
 * than it would take to send this one by itself. */
static bool
has_next(kerf_edge *edge, const kerf_flight *f)
{
    return f->encoded_ns - f->start_ns < QUICK_NS &&
           f->coded_bytes <= HELD_MOST && find_free(edge) != NULL;
}

/* Under the lock: whether more than one answer is to come. */
static bool
is_busy(const kerf_program *p)
{
    size_t taken = 0;

    for (size_t i = 0; p != NULL && i < p->flights; i++)
        taken += p->flight[i].state != KERF_FLIGHT_FREE;
    return taken > 1;
}

/* Waits for a program and a free flight, which gets the state `as`. NULL:
 * stopping. Where the loop's thread is awake for several answers this one gives
 * way: it is awake only as long as nobody else works on its core. */
static kerf_flight *
take_flight(kerf_edge *edge, kerf_flight_state as)
{
    kerf_flight *f = NULL;

    (void)pthread_mutex_lock(&edge->lock);
    edge->awake.is_busy = is_busy(edge->current);
    edge->awake.gives_way = edge->awake.is_busy && edge->loop_awake;
    kerf_awake_begin(&edge->awake);
    while (!edge->stopping && (f = find_free(edge)) == NULL) {
        unsigned seen = atomic_load(&edge->changes);
        bool awake = true;

        let_go(edge);
        (void)pthread_mutex_unlock(&edge->lock);
        while (awake && atomic_load(&edge->changes) == seen)
            awake = kerf_awake_yield(&edge->awake);
        (void)pthread_mutex_lock(&edge->lock);
        if (!awake && atomic_load(&edge->changes) == seen)
            (void)pthread_cond_wait(&edge->changed, &edge->lock);
    }
    if (f != NULL)
        f->state = as;
    (void)pthread_mutex_unlock(&edge->lock);
    kerf_awake_end(&edge->awake);
    return f;
}

/* The source for this program's inputs: made once, told when they change. */
static kerf_err
fit_source(kerf_edge *edge, const kerf_program *p, kerf_detail *why)
{
    kerf_port port[KERF_PORTS_MAX];
    size_t count = kerf_net_in_count(p->net);
    kerf_source_opts o = {.spec = edge->opts.inputs,
                          .spec_count = edge->opts.input_count,
                          .port = port,
                          .port_count = count,
                          .card = p->raw ? NULL : &edge->source_card,
                          .image_port = p->image_port,
                          .repeat = edge->opts.repeat,
                          .rate_hz = edge->opts.rate_hz,
                          .random_period_ms = KERF_RANDOM_PERIOD_MS,
                          .watch = edge->opts.watch,
                          .waits = on_waits,
                          .ctx = edge};
    kerf_source *source = NULL;
    kerf_err err;

    if (edge->source != NULL &&
        memcmp(edge->source_for, p->manifest.id, sizeof edge->source_for) == 0)
        return KERF_OK;
    on_waits(edge);
    for (size_t i = 0; i < count; i++)
        port[i] = *kerf_net_in(p->net, i);
    edge->source_card = p->card; /* only its numbers are used */
    memcpy(edge->source_for, p->manifest.id, sizeof edge->source_for);
    if (edge->source != NULL)
        return kerf_source_refit(edge->source, &o, why);
    err = kerf_source_new(&source, &o, why);
    if (err != KERF_OK)
        return err;
    (void)pthread_mutex_lock(&edge->lock);
    edge->source = source;
    if (edge->stopping)
        kerf_source_stop(source);
    (void)pthread_mutex_unlock(&edge->lock);
    return KERF_OK;
}

static void
tell_skipped(kerf_edge *edge, const kerf_item *item)
{
    kerf_note *note = kerf_note_new(KERF_NOTE_SKIPPED);

    on_waits(edge);
    kerf_edge_wait_for_room(edge);
    (void)pthread_mutex_lock(&edge->lock);
    edge->total.asked++;
    edge->total.skipped++;
    (void)pthread_mutex_unlock(&edge->lock);
    if (note == NULL)
        return;
    note->index = item->index;
    note->err = item->err;
    (void)snprintf(note->name, sizeof note->name, "%s",
                   item->path[0] != '\0' ? item->path : item->name);
    (void)snprintf(note->text, sizeof note->text, "%s", item->why.text);
    kerf_edge_tell(edge, note);
}

/* Under the lock. Several small ones that are made one after the other go to
 * the kernel as such, but on their way together. */
static void
send_in_row(kerf_edge *edge, kerf_flight *f)
{
    bool more = has_next(edge, f);

    if (kerf_link_send_apart(edge, f, more))
        edge->holds = more;
}

/* blocks: they went out while they were made. */
static void
submit(kerf_edge *edge, kerf_flight *f, bool again, bool blocks, kerf_err err,
       const kerf_detail *why)
{
    bool next;

    (void)pthread_mutex_lock(&edge->lock);
    edge->total.asked += again ? 0 : 1;
    if (edge->opts.deadline_ms > 0 && !again)
        f->deadline_ns =
            f->encoded_ns + (uint64_t)edge->opts.deadline_ms * 1000000u;
    f->state = KERF_FLIGHT_WAITING;
    if (!blocks || !kerf_link_finish(edge, f)) {
        if (err != KERF_OK)
            kerf_edge_answer(edge, f, err, why->text);
        else if (edge->gave_up)
            kerf_offline_give_up(edge, f);
        else if (edge->offline.offline)
            kerf_offline_take(edge, f);
        else
            send_in_row(edge, f);
    }
    next = edge->next != NULL;
    (void)pthread_mutex_unlock(&edge->lock);
    if (next) /* it may have been answered already, and hold it up */
        kerf_edge_free_flight(edge, NULL);
    if (edge->opts.deadline_ms > 0)
        kerf_loop_post(edge->loop, &edge->arm);
}

/* before: the flight whose input this is, if another head ran on it. */
static void
start_flight(kerf_edge *edge, kerf_flight *f, const kerf_flight *before)
{
    kerf_detail why = {{0}};
    uint64_t taken_ns = kerf_now_ns();
    uint64_t head_ns;
    kerf_err err;
    bool blocks = false;

    f->index = f->item.index;
    f->id = f->index + 1; /* as people count; unique in this run */
    f->stages = (kerf_stages){0};
    f->stages.ns[KERF_STAGE_CAPTURE] = f->item.capture_ns;
    f->stages.ns[KERF_STAGE_PREPROCESS] = f->item.preprocess_ns;
    f->start_ns = taken_ns - f->item.capture_ns - f->item.preprocess_ns;
    f->deadline_ns = f->retry_ns = f->stranded_ns = 0;
    if (before != NULL) {
        f->start_ns = before->start_ns;
        f->deadline_ns = before->deadline_ns;
    }
    f->late = false;
    f->bytes_sent = f->bytes_received = 0;
    f->busy_row = 0;
    f->tensor_bytes = f->coded_bytes = 0;
    f->codecs = 0;
    f->via = KERF_VIA_CLOUD;
    f->queued = false;
    f->result_count = 0;
    kerf_flight_take_back(f);
    kerf_busy_begin(&edge->busy);
    err = kerf_request_run(f->request, &why);
    kerf_busy_end(&edge->busy);
    head_ns = kerf_now_ns();
    f->stages.ns[KERF_STAGE_HEAD] = head_ns - taken_ns;
    if (err == KERF_OK)
        blocks = kerf_encode(edge, f);
    if (blocks) {
        kerf_link_begin(edge, f);
        kerf_encode_blocks(edge, f);
    }
    f->encoded_ns = kerf_now_ns();
    f->stages.ns[KERF_STAGE_ENCODE] = f->encoded_ns - head_ns;
    submit(edge, f, before != NULL, blocks, err, &why);
}

/* False: its program takes other inputs. */
static bool
copy_input(kerf_flight *to, const kerf_flight *from)
{
    size_t n = kerf_net_in_count(to->program->net);

    if (n != kerf_net_in_count(from->program->net))
        return false;
    for (size_t i = 0; i < n; i++) {
        if (to->in[i].dtype != from->in[i].dtype ||
            !kerf_shape_equal(&to->in[i].shape, &from->in[i].shape))
            return false;
        memcpy(to->in[i].data, from->in[i].data, to->in[i].bytes);
    }
    to->item = from->item;
    return true;
}

/* One of a program that the cloud does not know, which was replaced; NULL. */
static kerf_flight *
take_stranded(kerf_edge *edge)
{
    kerf_flight *f = NULL;

    (void)pthread_mutex_lock(&edge->lock);
    for (size_t i = 0;
         edge->leaving != NULL && i < edge->leaving->flights && f == NULL;
         i++) {
        if (edge->leaving->flight[i].state == KERF_FLIGHT_WAITING)
            f = &edge->leaving->flight[i];
    }
    if (f != NULL)
        f->state = KERF_FLIGHT_RUNNING;
    (void)pthread_mutex_unlock(&edge->lock);
    return f;
}

/* The new head runs on what is stranded with the old one. Returns whether there
 * was anything. */
static bool
redo_stranded(kerf_edge *edge)
{
    kerf_flight *from;
    bool any = false;

    while ((from = take_stranded(edge)) != NULL) {
        kerf_flight *to = take_flight(edge, KERF_FLIGHT_RUNNING);

        any = true;
        if (to != NULL && copy_input(to, from)) {
            start_flight(edge, to, from);
            kerf_edge_free_flight(edge, from);
            continue;
        }
        (void)pthread_mutex_lock(&edge->lock);
        kerf_edge_answer(edge, from, to == NULL ? KERF_EINTR : KERF_EMISMATCH,
                         to == NULL ? KERF_GAVE_UP : OTHER_INPUTS);
        (void)pthread_mutex_unlock(&edge->lock);
        if (to != NULL)
            kerf_edge_free_flight(edge, to);
    }
    return any;
}

/* The program changed while this flight waited for its input: the item moves
 * to a flight of the new one. NULL: it takes other inputs, or stopping. */
static kerf_flight *
move_flight(kerf_edge *edge, kerf_flight *from)
{
    kerf_flight *to = take_flight(edge, KERF_FLIGHT_RUNNING);

    if (to == NULL || copy_input(to, from))
        return to;
    from->item.err = KERF_EMISMATCH;
    (void)kerf_fail(&from->item.why, KERF_EMISMATCH, OTHER_INPUTS);
    tell_skipped(edge, &from->item);
    kerf_edge_free_flight(edge, to);
    return NULL;
}

/* Does what is stranded before anything new. */
static bool
has_redone(kerf_edge *edge, kerf_flight *f)
{
    bool stranded = false;

    (void)pthread_mutex_lock(&edge->lock);
    stranded = edge->leaving != NULL && f->program != edge->leaving;
    (void)pthread_mutex_unlock(&edge->lock);
    if (!stranded)
        return false;
    on_waits(edge);
    kerf_edge_free_flight(edge, f);
    (void)redo_stranded(edge);
    kerf_edge_drop_leaving(edge);
    return true;
}

/* Its input is there. Whether its program was replaced meanwhile; else it is
 * RUNNING. Waits while the program may not run: for its signature, or for the
 * next one. */
static bool
has_left(kerf_edge *edge, kerf_flight *f)
{
    bool left;

    (void)pthread_mutex_lock(&edge->lock);
    while (f->program != edge->leaving && f->program->expired &&
           !edge->stopping) {
        let_go(edge);
        (void)pthread_cond_wait(&edge->changed, &edge->lock);
    }
    left = f->program == edge->leaving;
    if (!left && f->program->expired && f->item.err == KERF_OK)
        f->item.err = kerf_fail(&f->item.why, KERF_EDENIED,
                                "the signature of the model expired before it "
                                "was run on this");
    if (!left)
        f->state = KERF_FLIGHT_RUNNING;
    (void)pthread_mutex_unlock(&edge->lock);
    return left;
}

/* False: the source has ended, or the run is over. */
static bool
do_one(kerf_edge *edge, kerf_flight *f, kerf_detail *why, kerf_err *err)
{
    bool left;

    *err = fit_source(edge, f->program, why);
    if (*err == KERF_OK)
        *err = kerf_source_next(edge->source, f->in, &f->item, why);
    if (*err != KERF_OK) {
        kerf_edge_free_flight(edge, f);
        return false;
    }
    left = has_left(edge, f);
    if (left) {
        on_waits(edge);
        (void)redo_stranded(edge);
        kerf_flight *to = f->item.err == KERF_OK ? move_flight(edge, f) : NULL;

        if (f->item.err != KERF_OK && to == NULL &&
            f->item.err != KERF_EMISMATCH)
            tell_skipped(edge, &f->item);
        kerf_edge_drop_leaving(edge);
        if (to != NULL)
            start_flight(edge, to, NULL);
        return true;
    }
    if (f->item.err != KERF_OK) {
        tell_skipped(edge, &f->item);
        kerf_edge_free_flight(edge, f);
    } else {
        start_flight(edge, f, NULL);
    }
    return true;
}

static bool
is_idle(const kerf_program *p)
{
    bool idle = true;

    for (size_t i = 0; p != NULL && i < p->flights; i++)
        idle &= p->flight[i].state == KERF_FLIGHT_FREE;
    return idle;
}

static void
wait_for_answers(kerf_edge *edge)
{
    bool leaving = true;

    on_waits(edge);
    while (leaving) {
        (void)pthread_mutex_lock(&edge->lock);
        while (edge->leaving == NULL && !is_idle(edge->current))
            (void)pthread_cond_wait(&edge->changed, &edge->lock);
        leaving = edge->leaving != NULL;
        (void)pthread_mutex_unlock(&edge->lock);
        if (leaving) {
            (void)redo_stranded(edge);
            kerf_edge_drop_leaving(edge);
        }
    }
}

void *
kerf_worker_run(void *ctx)
{
    kerf_edge *edge = ctx;
    kerf_detail why = {{0}};
    kerf_err err = KERF_ECLOSED;
    kerf_flight *f;

    kerf_thread_begin("kerf-worker");
    kerf_thread_block_pipe();
    if (edge->opts.codec_auto &&
        kerf_tune_measure(&edge->tune, edge->codec) != KERF_OK)
        edge->opts.codec_auto = false; /* no memory: codec is raw */
    while ((f = take_flight(edge, KERF_FLIGHT_FILLING)) != NULL &&
           (has_redone(edge, f) || do_one(edge, f, &why, &err)))
        continue;
    wait_for_answers(edge);
    kerf_offline_wait(edge);
    if (err == KERF_ECLOSED || err == KERF_OK)
        kerf_edge_finish(edge, KERF_OK, "");
    else
        kerf_edge_finish(edge, err, why.text);
    return NULL;
}
