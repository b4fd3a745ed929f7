#include "cloud/runner.h"

#include "base/clock.h"
#include "cloud/ahead.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#define MEAN_SHIFT 4   /* running mean over about 16 runs */
#define HOLD_NS 100000 /* of an answer, at most */

void
kerf_job_begin(kerf_cloud *cloud, kerf_slot *slot)
{
    slot->owner = cloud;
    slot->holds = 1;
    (void)atomic_fetch_add(&cloud->in_flight, 1);
}

void
kerf_job_over(kerf_slot *slot)
{
    kerf_cloud *cloud = slot->owner;

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
    kerf_job_over(slot);
}

static void
refuse(kerf_slot *slot, kerf_err err, const char *text)
{
    kerf_cloud *cloud = slot->owner;

    (void)atomic_fetch_add(&slot->lane->failed, 1);
    if (err == KERF_EENGINE || err == KERF_EMISMATCH)
        kerf_rollouts_request(cloud->rollouts, slot->served, slot->lane->name,
                              true);
    (void)!kerf_conn_send_notice(slot->conn, KERF_FRAME_FAILED, slot->id, err,
                                 0, text);
    if (cloud->events.refused != NULL)
        cloud->events.refused(cloud->events.ctx, slot->lane->name,
                              slot->id & ~KERF_DRAIN_ID, err, text);
    kerf_job_over(slot);
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
run_tail(kerf_slot *slot, size_t number, kerf_detail *why)
{
    kerf_net *tail = slot->served->tail;
    kerf_request *request = NULL;
    kerf_err err = kerf_slot_request(slot, number, &request, why);

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
forget(kerf_held *held)
{
    if (held->conn != NULL)
        kerf_conn_unref(held->conn);
    held->conn = NULL;
}

void
kerf_runner_let_go(kerf_runner *r)
{
    if (r->held.conn != NULL)
        kerf_conn_flush(r->held.conn);
    forget(&r->held);
}

/* Whether the answer that is about to be sent may wait for the next one: for
 * `next`, which is sent at once, or for what is in the queue or follows it on
 * its connection, when it is this edge's turn again and its tail is short. What
 * is held is of the same edge. */
static bool
hold(kerf_runner *r, const kerf_slot *slot, const kerf_slot *next)
{
    kerf_held *held = &r->held;
    uint64_t tail_ns = atomic_load(&slot->served->price.ns);
    uint64_t now_ns = kerf_now_ns();
    uint64_t held_ns = held->conn != NULL ? now_ns - held->since_ns : 0;
    bool may;

    if (next != NULL)
        may = next->conn == slot->conn;
    else
        may = held_ns + tail_ns <= HOLD_NS &&
              (r->more_follow ||
               kerf_fair_is_next(r->cloud->jobs, &slot->lane->line));
    if (!may) {
        forget(held); /* this one takes it along */
        return false;
    }
    if (held->conn == NULL) {
        kerf_conn_ref(slot->conn);
        *held = (kerf_held){.conn = slot->conn, .since_ns = now_ns};
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
run_each(kerf_runner *r)
{
    for (size_t k = 0; k < r->group.count; k++) {
        if (r->err[k] == KERF_OK)
            r->err[k] = run_tail(r->group.slot[k], r->number, &r->why[k]);
    }
}

/* A slot that is refused stays in the batch until it has run: its memory is
 * there, and nobody sees what comes out. */
static void
run_batch(kerf_runner *r)
{
    size_t ready = 0;
    uint64_t ready_ns;

    r->start_ns = kerf_now_ns();
    r->run_ns = 0;
    for (size_t k = 0; k < r->group.count; k++) {
        r->why[k].text[0] = '\0';
        r->err[k] =
            make_ready(r->group.slot[k], r->codec, r->start_ns, &r->why[k]);
        ready += r->err[k] == KERF_OK ? 1 : 0;
    }
    ready_ns = kerf_now_ns();
    r->decode_ns = ready_ns - r->start_ns;
    if (ready == 0)
        return;
    if (r->group.count == 1 ||
        kerf_bunch_run(&r->group.slot[0]->served->slots.bunch[r->number],
                       r->group.slot, r->group.count, NULL) != KERF_OK)
        run_each(r); /* also so that one does not fail the others */
    r->run_ns = kerf_now_ns() - ready_ns;
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
answer(kerf_runner *r, size_t k)
{
    kerf_cloud *cloud = r->cloud;
    kerf_slot *slot = r->group.slot[k];
    const kerf_slot *next = k + 1 < r->group.count && r->err[k + 1] == KERF_OK
                                ? r->group.slot[k + 1]
                                : NULL;
    kerf_tensors *m = &r->m;
    uint64_t bytes;

    m->queue_ns = r->start_ns - slot->received_ns;
    m->decode_ns = r->decode_ns; /* all wait for all */
    m->tail_ns = r->run_ns;
    m->late = slot->deadline_ns != 0 &&
              r->start_ns + r->decode_ns + r->run_ns > slot->deadline_ns;
    fill_send(slot, m);
    bytes = kerf_pieces_len(slot->send.len, slot->send.count);
    if (bytes > slot->answer_max) {
        refuse(slot, KERF_ETOOBIG, "the answer is larger than this edge takes");
        return;
    }
    if (r->held.conn != slot->conn)
        kerf_runner_let_go(r);
    slot->send.more = hold(r, slot, next);
    kerf_lane_note_answer(slot->lane, m->queue_ns + m->decode_ns + m->tail_ns,
                          r->group.count, slot->bytes_in, bytes, m->late);
    r->is_busy = slot->bytes_in >= KERF_AWAKE_LARGE ||
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
    kerf_job_over(slot);
}

/* Of a group that is run at once or one by one: all, with the first run of it,
 * for what is learned; over, with the last; else NULL. */
static void
run_one(kerf_runner *r, kerf_group *all, kerf_group *over)
{
    kerf_served *served =
        r->group.slot[0]->served; /* lives as long as a slot does */

    run_batch(r);
    if (all != NULL)
        kerf_gather_ran(all, r->cloud, r->run_ns);
    if (over != NULL)
        kerf_gather_over(over, r->cloud);
    if (r->run_ns > 0)
        note_time(served, r->run_ns / r->group.count);
    for (size_t k = 0; k < r->group.count; k++) {
        const char *text = r->why[k].text;

        if (r->err[k] == KERF_OK)
            answer(r, k);
        else
            refuse(r->group.slot[k], r->err[k],
                   text[0] != '\0' ? text : kerf_err_text(r->err[k]));
    }
}

void
kerf_runner_run_alone(kerf_runner *r, kerf_slot *slot)
{
    r->group = (kerf_group){.slot = {slot}, .count = 1};
    run_one(r, NULL, NULL);
}

void
kerf_runner_run(kerf_runner *r)
{
    kerf_group all = r->group;

    if (!all.apart) {
        run_one(r, &all, &all);
        return;
    }
    for (size_t k = 0; k < all.count; k++) {
        r->group = (kerf_group){.slot = {all.slot[k]}, .count = 1};
        run_one(r, k == 0 ? &all : NULL, k + 1 == all.count ? &all : NULL);
    }
}

kerf_err
kerf_runner_new(kerf_runner **out, kerf_cloud *cloud, size_t number)
{
    kerf_runner *r = calloc(1, sizeof *r);

    if (r == NULL || kerf_codec_new(&r->codec) != KERF_OK) {
        free(r);
        return KERF_ENOMEM;
    }
    r->cloud = cloud;
    r->number = number;
    *out = r;
    return KERF_OK;
}

void
kerf_runner_free(kerf_runner *r)
{
    if (r == NULL)
        return;
    kerf_runner_let_go(r);
    kerf_codec_free(r->codec);
    free(r);
}
