/*
 * Workers. A job is a slot whose tensors have arrived. The worker runs the tail
 * on the slot's memory and sends the answer from it, on its own thread: giving
 * it back to the loop would cost another wake-up (docs/BENCHMARKS.md). Where
 * others of the same model wait as well, or are about to come, they run
 * together (bunch.h, linger.h).
 */
#include "cloud/ahead.h"
#include "cloud/cloud.h"
#include "cloud/gather.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/thread.h"
#include "kerf/codec.h"

#include <stdio.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#define JOBS_MAX 16384 /* that wait: of all models */
#define MEAN_SHIFT 4   /* running mean over about 16 runs */
#define HOLD_NS 100000 /* of an answer, at most */
#define UPLOAD_MS 50   /* when slots wait for their tensors */

/* What a worker has handed to the kernel and not yet let go: answers to one
 * edge, when the next request waits and its tail is short. Sent together, they
 * cost one packet and one wake-up of the edge. */
struct held {
    kerf_conn *conn; /* counted; NULL: nothing */
    uint64_t since_ns;
};

static void
job_over(kerf_cloud *cloud, kerf_slot *slot)
{
    if (atomic_fetch_sub(&slot->holds, 1) != 1)
        return;
    kerf_slot_give(slot);
    if (atomic_fetch_sub(&cloud->in_flight, 1) == 1 &&
        atomic_load(&cloud->draining))
        kerf_loop_post(cloud->loop, &cloud->drained);
}

static void
on_answer_sent(void *ctx, kerf_err err)
{
    kerf_slot *slot = ctx;

    (void)err; /* a lost edge asks again when it is back */
    job_over(slot->owner, slot);
}

static void
refuse(kerf_cloud *cloud, kerf_slot *slot, kerf_err err, const char *text)
{
    (void)atomic_fetch_add(&slot->lane->failed, 1);
    if (err == KERF_EENGINE || err == KERF_EMISMATCH)
        kerf_rollouts_request(cloud->rollouts, slot->served, slot->lane->name,
                              true);
    (void)!kerf_conn_send_notice(slot->conn, KERF_FRAME_FAILED, slot->id, err,
                                 0, text);
    if (cloud->events.refused != NULL)
        cloud->events.refused(cloud->events.ctx, slot->lane->name,
                              slot->id & ~KERF_DRAIN_ID, err, text);
    job_over(cloud, slot);
}

/* Where the shape depends on the data the engine owns the output: copy it out,
 * the next run would overwrite it. */
static kerf_err
keep_output(kerf_slot *slot, size_t i, const kerf_tensor *view)
{
    kerf_tensor *out = &slot->out[i];
    void *data = out->data;

    if (view->bytes > slot->out_room[i] || data == NULL) {
        kerf_tensor bigger;
        kerf_err err = kerf_tensor_alloc(&bigger, view->dtype, &view->shape);

        if (err != KERF_OK)
            return err;
        kerf_tensor_free(out);
        data = bigger.data;
        slot->out_room[i] = bigger.bytes;
    }
    *out = *view;
    out->data = data;
    if (view->bytes > 0)
        memcpy(data, view->data, view->bytes);
    return KERF_OK;
}

/* Slots of one model whose turn it is. */
struct batch {
    kerf_group of;
    uint64_t start_ns, decode_ns, run_ns;
    kerf_err err[KERF_BATCH_MOST]; /* refused, when all is done */
    kerf_detail why[KERF_BATCH_MOST];
};

/* A worker's own. */
struct me {
    size_t number;
    kerf_codec *codec;
    kerf_tensors *m; /* too big for a stack, both */
    struct batch *batch;
    struct held held;
    kerf_awake awake;
};

static kerf_err
decode(kerf_slot *slot, kerf_codec *codec, kerf_detail *why)
{
    kerf_err err = slot->ahead_err;

    if (err != KERF_OK)
        *why = slot->ahead_why;
    for (size_t i = 0;
         err == KERF_OK && i < kerf_net_in_count(slot->served->tail); i++) {
        const kerf_coded *c = &slot->coded[i];

        if (c->codec != KERF_CODEC_RAW)
            err = kerf_codec_decode(codec, c->codec, c->blob, c->len,
                                    &slot->in[i], why);
    }
    while (err == KERF_OK && slot->decoded < slot->block_count)
        err = kerf_ahead_decode(slot, codec, why);
    return err;
}

static kerf_err
run_tail(kerf_slot *slot, size_t me, kerf_detail *why)
{
    kerf_net *tail = slot->served->tail;
    kerf_request *request = NULL;
    kerf_err err = kerf_slot_request(slot, me, &request, why);

    if (err == KERF_OK)
        err = kerf_request_run(request, why);
    for (size_t i = 0; err == KERF_OK && !kerf_net_is_static(tail) &&
                       i < kerf_net_out_count(tail);
         i++) {
        kerf_tensor view;

        if (kerf_shape_is_static(&kerf_net_out(tail, i)->shape))
            continue;
        err = kerf_request_out(request, i, &view, why);
        if (err == KERF_OK)
            err = keep_output(slot, i, &view);
    }
    return err;
}

static void
fill_send(kerf_slot *slot, kerf_tensors *m)
{
    size_t count = kerf_net_out_count(slot->served->tail);
    kerf_header h = {.type = KERF_FRAME_RESULT, .id = slot->id};
    size_t len;

    memcpy(m->bundle, slot->served->manifest.id, sizeof m->bundle);
    m->deadline_ms = 0;
    m->echo_ns = slot->echo_ns;
    m->received_ns = slot->received_ns;
    m->count = (uint16_t)count;
    slot->send.count = count;
    for (size_t i = 0; i < count; i++) {
        const kerf_tensor *t = &slot->out[i];

        m->tensor[i] = (kerf_tensor_desc){.dtype = t->dtype,
                                          .codec = KERF_CODEC_RAW,
                                          .shape = t->shape,
                                          .len = t->bytes};
        slot->send.piece[i] = t->data;
        slot->send.len[i] = t->bytes;
    }
    len = kerf_tensors_put(slot->head + KERF_HEADER_LEN,
                           slot->head_cap - KERF_HEADER_LEN, m);
    kerf_out_seal_over(&slot->send, slot->head, &h, len,
                       kerf_conn_name(slot->conn) != NULL);
    slot->send.done = on_answer_sent;
    slot->send.ctx = slot;
}

static void
tell_answered(kerf_cloud *cloud, const kerf_slot *slot, const kerf_tensors *m)
{
    kerf_cloud_answer a = {.edge = slot->lane->name,
                           .model = slot->served->manifest.name,
                           .id = slot->id & ~KERF_DRAIN_ID,
                           .queue_ns = m->queue_ns,
                           .tail_ns = m->tail_ns,
                           .bytes_in = slot->bytes_in,
                           .count = slot->send.count};

    for (size_t i = 0; i < slot->send.count; i++)
        a.bytes_out += slot->send.len[i];
    cloud->events.answered(cloud->events.ctx, &a, slot->out);
}

static void
forget(struct held *held)
{
    if (held->conn != NULL)
        kerf_conn_unref(held->conn);
    held->conn = NULL;
}

static void
let_go(struct held *held)
{
    if (held->conn != NULL)
        kerf_conn_flush(held->conn);
    forget(held);
}

/* Whether the answer that is about to be sent may wait for the next one: for
 * `next`, which is sent at once, or for what is in the queue, when it is this
 * edge's turn again and its tail is short. What is held is of the same edge. */
static bool
hold(struct held *held, const kerf_cloud *cloud, const kerf_slot *slot,
     const kerf_slot *next)
{
    uint64_t tail_ns = atomic_load(&slot->served->price.ns);
    uint64_t now_ns = kerf_now_ns();
    uint64_t held_ns = held->conn != NULL ? now_ns - held->since_ns : 0;
    bool may = next != NULL
                   ? next->conn == slot->conn
                   : kerf_fair_is_next(cloud->jobs, &slot->lane->line) &&
                         held_ns + tail_ns <= HOLD_NS;

    if (!may) {
        forget(held); /* this one takes it along */
        return false;
    }
    if (held->conn == NULL) {
        kerf_conn_ref(slot->conn);
        *held = (struct held){.conn = slot->conn, .since_ns = now_ns};
    }
    return true;
}

static kerf_err
make_ready(kerf_slot *slot, kerf_codec *codec, uint64_t now_ns,
           kerf_detail *why)
{
    if (slot->deadline_ns != 0 && now_ns > slot->deadline_ns)
        return kerf_fail(why, KERF_EDEADLINE,
                         "deadline passed while waiting for a worker");
    return decode(slot, codec, why);
}

static void
run_each(struct batch *b, struct me *me)
{
    for (size_t k = 0; k < b->of.count; k++) {
        if (b->err[k] == KERF_OK)
            b->err[k] = run_tail(b->of.slot[k], me->number, &b->why[k]);
    }
}

/* A slot that is refused stays in the batch until it has run: its memory is
 * there, and nobody sees what comes out. */
static void
run_batch(struct batch *b, struct me *me)
{
    size_t ready = 0;
    uint64_t ready_ns;

    b->start_ns = kerf_now_ns();
    b->run_ns = 0;
    for (size_t k = 0; k < b->of.count; k++) {
        b->why[k].text[0] = '\0';
        b->err[k] =
            make_ready(b->of.slot[k], me->codec, b->start_ns, &b->why[k]);
        ready += b->err[k] == KERF_OK ? 1 : 0;
    }
    ready_ns = kerf_now_ns();
    b->decode_ns = ready_ns - b->start_ns;
    if (ready == 0)
        return;
    if (b->of.count == 1 ||
        kerf_bunch_run(&b->of.slot[0]->served->slots.bunch[me->number],
                       b->of.slot, b->of.count, NULL) != KERF_OK)
        run_each(b, me); /* also so that one does not fail the others */
    b->run_ns = kerf_now_ns() - ready_ns;
}

static void
note_time(kerf_served *served, uint64_t tail_ns)
{
    uint64_t mean = atomic_load(&served->price.ns);

    atomic_store(&served->price.ns, mean == 0 ? tail_ns
                                              : mean - (mean >> MEAN_SHIFT) +
                                                    (tail_ns >> MEAN_SHIFT));
}

static void
answer(kerf_cloud *cloud, const struct batch *b, size_t k, struct me *me)
{
    kerf_slot *slot = b->of.slot[k];
    const kerf_slot *next = k + 1 < b->of.count && b->err[k + 1] == KERF_OK
                                ? b->of.slot[k + 1]
                                : NULL;
    kerf_tensors *m = me->m;
    uint64_t bytes;

    m->queue_ns = b->start_ns - slot->received_ns;
    m->decode_ns = b->decode_ns; /* all wait for all */
    m->tail_ns = b->run_ns;
    m->late = slot->deadline_ns != 0 &&
              b->start_ns + b->decode_ns + b->run_ns > slot->deadline_ns;
    fill_send(slot, m);
    bytes = kerf_pieces_len(slot->send.len, slot->send.count);
    if (bytes > slot->answer_max) {
        refuse(cloud, slot, KERF_ETOOBIG,
               "the answer is larger than this edge takes");
        return;
    }
    if (me->held.conn != slot->conn)
        let_go(&me->held);
    slot->send.more = hold(&me->held, cloud, slot, next);
    kerf_lane_note_answer(slot->lane, m->queue_ns + m->decode_ns + m->tail_ns,
                          b->of.count, slot->bytes_in, bytes, m->late);
    me->awake.is_busy = slot->bytes_in >= KERF_AWAKE_LARGE ||
                        kerf_conn_count(slot->conn, 0) > 1 ||
                        atomic_load(&cloud->in_flight) > 1;
    slot->holds = 2;
    kerf_slot_done(slot, true);
    kerf_conn_send(slot->conn, &slot->send);
    if (atomic_load(&slot->holds) == 2) /* the kernel did not take it all */
        kerf_slot_done(slot, false);
    if (cloud->events.answered != NULL)
        tell_answered(cloud, slot, m);
    kerf_rollouts_request(cloud->rollouts, slot->served, slot->lane->name,
                          false);
    job_over(cloud, slot);
}

/* all: what is run next to each other, for what is learned of it; NULL: that is
 * known. */
static void
do_one_run(kerf_cloud *cloud, struct batch *b, kerf_group *all, struct me *me)
{
    kerf_served *served =
        b->of.slot[0]->served; /* lives as long as a slot does */

    run_batch(b, me);
    if (all != NULL)
        kerf_gather_ran(all, cloud, b->run_ns);
    if (b->run_ns > 0)
        note_time(served, b->run_ns / b->of.count);
    for (size_t k = 0; k < b->of.count; k++) {
        const char *text = b->why[k].text;

        if (b->err[k] == KERF_OK)
            answer(cloud, b, k, me);
        else
            refuse(cloud, b->of.slot[k], b->err[k],
                   text[0] != '\0' ? text : kerf_err_text(b->err[k]));
    }
}

static void
do_batch(kerf_cloud *cloud, struct batch *b, struct me *me)
{
    kerf_group all = b->of;

    if (!all.apart) {
        do_one_run(cloud, b, &all, me);
        return;
    }
    for (size_t k = 0; k < all.count; k++) {
        b->of = (kerf_group){.slot = {all.slot[k]}, .count = 1};
        do_one_run(cloud, b, k == 0 ? &all : NULL, me);
    }
}

static kerf_slot *
next_job(kerf_cloud *cloud, struct held *held, kerf_awake *awake)
{
    kerf_slot *slot =
        held->conn != NULL ? kerf_fair_try_pop(cloud->jobs) : NULL;

    /* The next answer of the same edge lets go what is held. */
    if (slot == NULL || slot->conn != held->conn)
        let_go(held);
    if (slot != NULL)
        return slot;
    (void)atomic_fetch_add(&cloud->idle, 1);
    slot = kerf_fair_pop(cloud->jobs, awake);
    (void)atomic_fetch_sub(&cloud->idle, 1);
    return slot;
}

static void *
run_worker(void *ctx)
{
    kerf_cloud *cloud = ctx;
    struct me me = {.number = atomic_fetch_add(&cloud->next_worker, 1),
                    .m = malloc(sizeof *me.m),
                    .batch = malloc(sizeof *me.batch)};
    kerf_slot *slot;
    bool ready = kerf_codec_new(&me.codec) == KERF_OK && me.m != NULL &&
                 me.batch != NULL;

    kerf_thread_begin("kerf-worker");
    while ((slot = next_job(cloud, &me.held, &me.awake)) != NULL) {
        if (!ready) {
            refuse(cloud, slot, KERF_ENOMEM, "the cloud is out of memory");
            continue;
        }
        if (kerf_gather(&me.batch->of, cloud, slot, me.number)) {
            let_go(&me.held);
            kerf_gather_wait(&me.batch->of, cloud);
        }
        if (me.batch->of.count > 1)
            let_go(&me.held); /* it was held for one tail */
        kerf_busy_begin(&cloud->busy[me.number]);
        do_batch(cloud, me.batch, &me);
        kerf_busy_end(&cloud->busy[me.number]);
    }
    kerf_codec_free(me.codec);
    free(me.m);
    free(me.batch);
    return NULL;
}

kerf_err
kerf_workers_start(kerf_cloud *cloud, kerf_detail *why)
{
    size_t want = (size_t)cloud->opts.workers;
    kerf_err err = kerf_fair_new(&cloud->jobs, JOBS_MAX);

    if (err != KERF_OK)
        return err;
    cloud->worker = calloc(want, sizeof *cloud->worker);
    cloud->busy = calloc(want, sizeof *cloud->busy);
    if (cloud->worker == NULL || cloud->busy == NULL)
        return KERF_ENOMEM;
    for (size_t i = 0; i < want; i++) {
        if (pthread_create(&cloud->worker[i], NULL, run_worker, cloud) != 0)
            return kerf_fail(why, KERF_ENOMEM, "cannot start a thread");
        cloud->workers++;
    }
    return KERF_OK;
}

void
kerf_workers_stop(kerf_cloud *cloud)
{
    kerf_slot *slot;

    if (cloud->jobs != NULL) {
        kerf_fair_close(cloud->jobs);
        /* Not refused: the next cloud may still answer it. */
        while ((slot = kerf_fair_try_pop(cloud->jobs)) != NULL) {
            (void)!kerf_conn_send_notice(slot->conn, KERF_FRAME_BUSY, slot->id,
                                         KERF_EBUSY, 1000, "the cloud stopped");
            job_over(cloud, slot);
        }
    }
    for (size_t i = 0; i < cloud->workers; i++)
        (void)pthread_join(cloud->worker[i], NULL);
    kerf_fair_free(cloud->jobs);
    free(cloud->worker);
    free(cloud->busy);
    cloud->jobs = NULL;
    cloud->worker = NULL;
    cloud->busy = NULL;
    cloud->workers = 0;
}

kerf_err
kerf_workers_push(kerf_cloud *cloud, kerf_slot *slot)
{
    kerf_err err;

    slot->owner = cloud;
    slot->holds = 1;
    slot->job.price = &slot->served->price;
    (void)atomic_fetch_add(&cloud->in_flight, 1);
    err = kerf_fair_push(cloud->jobs, &slot->job);
    if (err != KERF_OK)
        (void)atomic_fetch_sub(&cloud->in_flight, 1);
    return err;
}

uint32_t
kerf_workers_retry_ms(kerf_cloud *cloud, kerf_served *s)
{
    uint64_t ns = kerf_fair_cost_ns(cloud->jobs) + atomic_load(&s->price.ns);
    uint64_t ms = ns / cloud->workers / 1000000;
    uint64_t least_ms = 1;

    /* Then the queue says nothing about when a slot comes back. */
    if (2 * atomic_load(&cloud->in_flight) < kerf_slots_used(&s->slots))
        least_ms = UPLOAD_MS;
    return ms < least_ms             ? (uint32_t)least_ms
           : ms > KERF_RETRY_MOST_MS ? KERF_RETRY_MOST_MS
                                     : (uint32_t)ms;
}
