/*
 * The tensor connection: each TENSOR is read straight into a slot of its
 * bundle, and the slot goes to a worker; or it is turned away with a reason.
 */
#include "cloud/session_own.h"

#include <stdatomic.h>
#include <string.h>

static void
turn_away(kerf_session *s, kerf_sink *sink, kerf_frame_type type, kerf_err err)
{
    s->turn = type;
    s->turn_err = err;
    sink->discard = true;
}

static bool
fits(const kerf_served *served, const kerf_tensors *m, kerf_detail *why)
{
    if (m->count != kerf_net_in_count(served->tail)) {
        (void)kerf_fail(why, KERF_EMISMATCH, "%u tensors, the tail takes %zu",
                        m->count, kerf_net_in_count(served->tail));
        return false;
    }
    for (size_t i = 0; i < m->count; i++) {
        const kerf_tensor_desc *d = &m->tensor[i];
        const kerf_port *port = kerf_net_in(served->tail, i);
        char a[KERF_SHAPE_TEXT];
        char b[KERF_SHAPE_TEXT];

        if (d->dtype != port->dtype ||
            !kerf_shape_equal(&d->shape, &port->shape)) {
            (void)kerf_fail(
                why, KERF_EMISMATCH,
                "tensor %zu is %s %s, the tail takes %s %s", i,
                kerf_dtype_name(d->dtype), kerf_shape_text(a, &d->shape),
                kerf_dtype_name(port->dtype), kerf_shape_text(b, &port->shape));
            return false;
        }
    }
    return true;
}

/* A raw tensor goes to where the tail reads it, a blob beside it. */
static kerf_err
place(kerf_slot *slot, const kerf_tensors *m, kerf_sink *sink)
{
    sink->count = m->count;
    for (size_t i = 0; i < m->count; i++) {
        const kerf_tensor_desc *d = &m->tensor[i];
        kerf_err err = KERF_OK;

        slot->coded[i].codec = KERF_CODEC_RAW;
        if (d->codec != KERF_CODEC_RAW)
            err = kerf_slot_code(slot, i, (kerf_codec_id)d->codec,
                                 (size_t)d->len);
        if (err != KERF_OK)
            return err;
        sink->piece[i] =
            d->codec == KERF_CODEC_RAW ? slot->in[i].data : slot->coded[i].blob;
        sink->len[i] = (size_t)d->len;
    }
    return KERF_OK;
}

static void
fill_slot(kerf_session *s, kerf_slot *slot, const kerf_frame_in *frame)
{
    const kerf_tensors *m = &s->cloud->parsed;

    slot->conn = s->tensors;
    kerf_conn_ref(slot->conn);
    (void)kerf_conn_count(slot->conn, 1);
    slot->id = frame->header.id;
    slot->echo_ns = frame->header.sent_ns;
    slot->deadline_ns = (uint64_t)m->deadline_ms * 1000000u; /* + arrival */
    slot->answer_max = s->hello.payload_max;
    slot->bytes_in = (size_t)frame->header.payload_len;
    memcpy(slot->edge, s->shown, sizeof slot->edge);
    s->slot = slot;
}

/* An edge that does not read its answers keeps their slots from the others. A
 * slot comes back a little after its answer is with the edge, so an edge that
 * uses its window up may hold more for a moment. */
static bool
holds_too_many(kerf_session *s)
{
    return kerf_conn_count(s->tensors, 0) >=
           2 * (unsigned)s->cloud->opts.window;
}

static kerf_err
on_tensor_head(void *ctx, kerf_conn *conn, const kerf_frame_in *frame,
               kerf_sink *sink, kerf_detail *why)
{
    kerf_session *s = ctx;
    kerf_cloud *cloud = s->cloud;
    kerf_tensors *m = &cloud->parsed;
    kerf_served *served;
    kerf_slot *slot;
    kerf_err err;

    (void)conn;
    s->turn = 0;
    s->slot = NULL;
    if (frame->header.type >= 128) {
        sink->discard = true;
        return KERF_OK;
    }
    if (frame->header.type != KERF_FRAME_TENSOR)
        return kerf_fail(why, KERF_EPROTO, "frame type %u carries no payload",
                         frame->header.type);
    err = kerf_tensors_get(m, frame->meta, frame->header.meta_len,
                           frame->header.payload_len, why);
    if (err != KERF_OK)
        return err;
    served = kerf_session_held(s, m->bundle);
    if (served != NULL)
        kerf_lanes_note_model(&cloud->lanes, s->lane, served,
                              served->manifest.name, served->id);
    if (served == NULL) {
        (void)kerf_fail(&s->turn_why, KERF_ENOENT,
                        "the cloud does not serve this edge's bundle");
        turn_away(s, sink, KERF_FRAME_FAILED, KERF_ENOENT);
    } else if (!fits(served, m, &s->turn_why)) {
        turn_away(s, sink, KERF_FRAME_FAILED, KERF_EMISMATCH);
    } else if (atomic_load(&cloud->draining)) {
        s->turn_retry_ms = 1000;
        (void)kerf_fail(&s->turn_why, KERF_EBUSY, "the cloud is stopping");
        turn_away(s, sink, KERF_FRAME_BUSY, KERF_EBUSY);
    } else if (holds_too_many(s)) {
        s->turn_retry_ms = kerf_workers_retry_ms(cloud, served);
        (void)kerf_fail(&s->turn_why, KERF_EBUSY,
                        "more requests in flight than the window");
        turn_away(s, sink, KERF_FRAME_BUSY, KERF_EBUSY);
    } else if ((slot = kerf_slot_take(served, s->lane)) == NULL) {
        s->turn_retry_ms = kerf_workers_retry_ms(cloud, served);
        (void)kerf_fail(&s->turn_why, KERF_EBUSY, "%zu requests are waiting",
                        kerf_fair_count(cloud->jobs));
        turn_away(s, sink, KERF_FRAME_BUSY, KERF_EBUSY);
    } else if (place(slot, m, sink) != KERF_OK) {
        kerf_slot_give(slot);
        s->turn_retry_ms = 1000;
        (void)kerf_fail(&s->turn_why, KERF_ENOMEM, "out of memory");
        turn_away(s, sink, KERF_FRAME_BUSY, KERF_ENOMEM);
    } else {
        fill_slot(s, slot, frame);
    }
    return KERF_OK;
}

static kerf_err
on_tensor(kerf_session *s, const kerf_frame_in *frame, kerf_detail *why)
{
    kerf_cloud *cloud = s->cloud;
    kerf_slot *slot = s->slot;

    if (frame->header.payload_len == 0)
        return kerf_fail(why, KERF_EPROTO, "TENSOR without payload");
    if (slot != NULL) {
        slot->received_ns = frame->received_ns;
        if (slot->deadline_ns != 0)
            slot->deadline_ns += frame->received_ns;
        s->slot = NULL;
        if (kerf_workers_push(cloud, slot) == KERF_OK)
            return KERF_OK;
        s->turn = KERF_FRAME_BUSY;
        s->turn_err = KERF_EBUSY;
        s->turn_retry_ms = 1000;
        (void)kerf_fail(&s->turn_why, KERF_EBUSY, "too many requests wait");
        kerf_slot_give(slot);
    }
    (void)atomic_fetch_add(
        s->turn == KERF_FRAME_BUSY ? &s->lane->busy : &s->lane->failed, 1);
    if (s->turn == KERF_FRAME_FAILED && cloud->events.refused != NULL)
        cloud->events.refused(cloud->events.ctx, s->shown, frame->header.id,
                              s->turn_err, s->turn_why.text);
    return kerf_conn_send_notice(s->tensors, s->turn, frame->header.id,
                                 s->turn_err, s->turn_retry_ms,
                                 s->turn_why.text);
}

static kerf_err
on_tensor_frame(void *ctx, kerf_conn *conn, const kerf_frame_in *frame,
                kerf_detail *why)
{
    kerf_session *s = ctx;

    if (frame->header.type == KERF_FRAME_TENSOR)
        return on_tensor(s, frame, why);
    return kerf_session_on_common(s, conn, frame, why);
}

const kerf_conn_ops kerf_session_tensor_ops = {.on_head = on_tensor_head,
                                               .on_frame = on_tensor_frame,
                                               .on_close =
                                                   kerf_session_on_close};
