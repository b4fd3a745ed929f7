/*
 * The tensor connection: each TENSOR is read straight into a slot of its
 * bundle, and so are the BLOCKs that follow it; then the slot goes to a worker,
 * or is run at once where that is quicker (here.h). Or it is turned away with a
 * reason, when the last of its bytes is here.
 */
#include "cloud/here.h"
#include "cloud/session_own.h"

#include "base/clock.h"
#include "base/thread.h"
#include "kerf/codec.h"

#include <stdatomic.h>
#include <string.h>

#define BUSY_ROW_MOST 12 /* doubled often enough */
#define LONG_TAIL_NS 200000
#define LONG_SINCE_NS 100000000u

static void
turn_away(kerf_session *s, kerf_sink *sink, kerf_frame_type type, kerf_err err)
{
    const kerf_tensors *m = &s->cloud->parsed;

    s->turn = type;
    s->turn_err = err;
    sink->discard = true;
    sink->count = m->count;
    for (size_t i = 0; i < m->count; i++)
        sink->len[i] = (size_t)m->tensor[i].len;
}

static bool
in_blocks(const kerf_tensor_desc *d)
{
    return d->codec != KERF_CODEC_RAW && d->len == 0;
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
    kerf_slot_begin(slot);
    for (size_t i = 0; i < m->count; i++) {
        const kerf_tensor_desc *d = &m->tensor[i];
        kerf_codec_id codec = (kerf_codec_id)d->codec;
        kerf_err err = KERF_OK;

        slot->coded[i].codec = KERF_CODEC_RAW;
        if (in_blocks(d))
            err = kerf_slot_code_blocks(slot, i);
        else if (codec != KERF_CODEC_RAW)
            err = kerf_slot_code(slot, i, codec, (size_t)d->len);
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

    kerf_lane_warm_times(s->lane);
    slot->conn = s->tensors;
    kerf_conn_ref(slot->conn);
    (void)kerf_conn_count(slot->conn, 1);
    s->busy_row = 0;
    s->busy_until_ns = 0;
    slot->id = frame->header.id;
    slot->deadline_ns = (uint64_t)m->deadline_ms * 1000000u; /* + arrival */
    slot->answer_max = s->answer_max;
    slot->bytes_in = (size_t)frame->header.payload_len;
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

/* When it may come back: later each time that it came back in vain. What comes
 * before it may is of the same time: the rest of a window. */
static uint32_t
retry_ms(kerf_session *s, kerf_served *served)
{
    uint64_t now_ns = kerf_now_ns();
    uint64_t ms = kerf_workers_retry_ms(s->cloud, served);

    if (now_ns >= s->busy_until_ns && s->busy_row < BUSY_ROW_MOST)
        s->busy_row++;
    if (s->busy_row > 1)
        ms <<= s->busy_row - 1;
    if (ms > KERF_RETRY_MOST_MS)
        ms = KERF_RETRY_MOST_MS;
    if (now_ns >= s->busy_until_ns)
        s->busy_until_ns = now_ns + ms * 1000000u;
    return (uint32_t)ms;
}

/* Finds the next tensor that comes in blocks. */
static void
move_on(struct kerf_coming *c)
{
    while (c->tensor < c->count && c->at == c->values[c->tensor]) {
        c->tensor++;
        c->at = 0;
    }
    c->open = c->tensor < c->count;
}

/* What of the request follows in blocks, also when it is turned away. Where
 * nothing does, values[] is left alone: it is in no cache. */
static void
expect_blocks(struct kerf_coming *c, const kerf_tensors *m, uint64_t id)
{
    bool any = false;

    for (size_t i = 0; i < m->count; i++)
        any |= in_blocks(&m->tensor[i]);
    c->id = id;
    c->tensor = 0;
    c->at = 0;
    c->count = any ? m->count : 0;
    for (size_t i = 0; i < c->count; i++) {
        const kerf_tensor_desc *d = &m->tensor[i];
        size_t bytes = 0;

        c->values[i] = 0;
        if (!in_blocks(d))
            continue;
        (void)!kerf_shape_bytes(&d->shape, d->dtype, &bytes); /* was checked */
        c->values[i] = bytes / sizeof(float);
        c->codec[i] = d->codec;
        c->grain[i] = kerf_codec_grain((kerf_codec_id)d->codec, &d->shape);
    }
    move_on(c);
}

/* What arrives waits for an inference on this core to end, which is quicker
 * than to interrupt it where tails are short, and where this core is the only
 * one. Of a long one others wait for what is not read: the next batch. */
static void
choose_class(kerf_cloud *cloud, const kerf_served *served)
{
    uint64_t now_ns = cloud->asked_last_ns;

    if (cloud->has_cores && atomic_load(&served->price.ns) > LONG_TAIL_NS)
        cloud->long_last_ns = now_ns;
    kerf_thread_interrupt(&cloud->interrupts,
                          cloud->long_last_ns != 0 &&
                              now_ns < cloud->long_last_ns + LONG_SINCE_NS);
}

/* A slot for the request, or why it is turned away. */
static void
take_request(kerf_session *s, const kerf_frame_in *frame, kerf_sink *sink)
{
    kerf_cloud *cloud = s->cloud;
    kerf_tensors *m = &cloud->parsed;
    kerf_served *served = kerf_session_held(s, m->bundle);
    kerf_slot *slot;

    if (served != NULL) {
        choose_class(cloud, served);
        kerf_lanes_note_model(&cloud->lanes, s->lane, served,
                              served->manifest.name, served->id,
                              served->says.version);
    }
    if (served == NULL) {
        (void)kerf_fail(&s->turn_why, KERF_ENOENT,
                        "the cloud does not serve this edge's bundle");
        turn_away(s, sink, KERF_FRAME_FAILED, KERF_ENOENT);
    } else if (kerf_session_check_may(s, served, &s->turn_why) != KERF_OK) {
        turn_away(s, sink, KERF_FRAME_FAILED, KERF_EDENIED);
    } else if (!fits(served, m, &s->turn_why)) {
        kerf_rollouts_request(cloud->rollouts, served, s->shown, true);
        turn_away(s, sink, KERF_FRAME_FAILED, KERF_EMISMATCH);
    } else if (atomic_load(&cloud->draining)) {
        s->turn_retry_ms = 1000;
        (void)kerf_fail(&s->turn_why, KERF_EBUSY, "the cloud is stopping");
        turn_away(s, sink, KERF_FRAME_BUSY, KERF_EBUSY);
    } else if (holds_too_many(s)) {
        s->turn_retry_ms = retry_ms(s, served);
        (void)kerf_fail(&s->turn_why, KERF_EBUSY,
                        "more requests in flight than the window");
        turn_away(s, sink, KERF_FRAME_BUSY, KERF_EBUSY);
    } else if ((slot = kerf_slot_take(served, s->lane)) == NULL) {
        s->turn_retry_ms = retry_ms(s, served);
        (void)kerf_fail(&s->turn_why, KERF_EBUSY,
                        "%zu requests are waiting or arriving",
                        kerf_slots_used(&served->slots));
        turn_away(s, sink, KERF_FRAME_BUSY, KERF_EBUSY);
    } else if (place(slot, m, sink) != KERF_OK) {
        kerf_slot_give(slot);
        s->turn_retry_ms = 1000;
        (void)kerf_fail(&s->turn_why, KERF_ENOMEM, "out of memory");
        turn_away(s, sink, KERF_FRAME_BUSY, KERF_ENOMEM);
    } else {
        fill_slot(s, slot, frame);
    }
}

static kerf_err
on_request_head(kerf_session *s, const kerf_frame_in *frame, kerf_sink *sink,
                kerf_detail *why)
{
    kerf_tensors *m = &s->cloud->parsed;
    kerf_err err;

    if (s->coming.open) {
        return kerf_fail(why, KERF_EPROTO,
                         "a request before the blocks of the one before");
    }
    s->turn = 0;
    s->slot = NULL;
    *s->place = kerf_now_ns();
    s->cloud->asked_last_ns = *s->place;
    err = kerf_tensors_get(m, frame->meta, frame->header.meta_len,
                           frame->header.payload_len, why);
    if (err != KERF_OK)
        return err;
    expect_blocks(&s->coming, m, frame->header.id);
    take_request(s, frame, sink);
    return KERF_OK;
}

/* Blocks are those that are missing, in order, and not too small. */
static kerf_err
check_block(const struct kerf_coming *c, const kerf_tensor_block *b,
            uint64_t id, kerf_detail *why)
{
    uint64_t left;
    bool last;

    if (!c->open || c->id != id)
        return kerf_fail(why, KERF_EPROTO,
                         "a BLOCK of request %llu, which misses none",
                         (unsigned long long)id);
    left = c->values[c->tensor] - c->at;
    if (b->tensor != c->tensor || b->first != c->at || b->count > left) {
        return kerf_fail(why, KERF_EPROTO,
                         "BLOCK: values %lu of tensor %u, %llu of %zu follow",
                         (unsigned long)b->first, b->tensor,
                         (unsigned long long)c->at, c->tensor);
    }
    last = b->count == left;
    if ((!last && b->count < KERF_BLOCK_VALUES_MIN) ||
        b->count % c->grain[c->tensor] != 0)
        return kerf_fail(why, KERF_EPROTO, "BLOCK: %lu values are too few",
                         (unsigned long)b->count);
    if (b->codec != KERF_CODEC_RAW && b->codec != c->codec[c->tensor])
        return kerf_fail(why, KERF_EPROTO,
                         "BLOCK: codec %u in a tensor of codec %u", b->codec,
                         c->codec[c->tensor]);
    return KERF_OK;
}

static kerf_err
on_block_head(kerf_session *s, const kerf_frame_in *frame, kerf_sink *sink,
              kerf_detail *why)
{
    struct kerf_coming *c = &s->coming;
    kerf_tensor_block b;
    kerf_err err =
        kerf_tensor_block_get(&b, frame->meta, frame->header.meta_len,
                              frame->header.payload_len, why);

    if (err == KERF_OK)
        err = check_block(c, &b, frame->header.id, why);
    if (err != KERF_OK)
        return err;
    c->at += b.count;
    c->reading = true;
    sink->discard = s->slot == NULL;
    sink->count = 1;
    sink->len[0] = b.len;
    if (sink->discard)
        return KERF_OK;
    sink->piece[0] = kerf_slot_add_block(s->slot, &b);
    s->slot->bytes_in += (size_t)frame->header.payload_len;
    return KERF_OK;
}

static kerf_err
on_tensor_head(void *ctx, kerf_conn *conn, const kerf_frame_in *frame,
               kerf_sink *sink, kerf_detail *why)
{
    (void)conn;
    switch (frame->header.type) {
    case KERF_FRAME_TENSOR:
        return on_request_head(ctx, frame, sink, why);
    case KERF_FRAME_BLOCK:
        return on_block_head(ctx, frame, sink, why);
    default:
        return kerf_conn_skip(frame, sink, why);
    }
}

/* The edge is expected to ask again as soon as it did before. Among thousands
 * none does: their requests come together, and to sleep until some are here
 * costs less than to look for each. */
static void
run_here(kerf_session *s, kerf_slot *slot)
{
    uint64_t now_ns = slot->received_ns;
    bool soon = now_ns - s->ran_here_ns < KERF_AWAKE_MOST_NS;

    s->ran_here_ns = now_ns;
    kerf_here_run(s->cloud, slot, soon);
}

/* All of the request is here. */
static kerf_err
on_request(kerf_session *s, const kerf_frame_in *frame)
{
    kerf_cloud *cloud = s->cloud;
    kerf_slot *slot = s->slot;

    if (slot != NULL) {
        slot->echo_ns = frame->header.sent_ns;
        slot->received_ns = frame->received_ns;
        if (slot->deadline_ns != 0)
            slot->deadline_ns += frame->received_ns;
        s->slot = NULL;
        if (kerf_here_may(cloud, slot)) {
            run_here(s, slot);
            return KERF_OK;
        }
        kerf_here_pause(cloud); /* this one's answer comes later */
        if (kerf_ahead_done(cloud, slot) == KERF_OK)
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
        cloud->events.refused(cloud->events.ctx, s->shown,
                              frame->header.id & ~KERF_DRAIN_ID, s->turn_err,
                              s->turn_why.text);
    return kerf_conn_send_notice(s->tensors, s->turn, frame->header.id,
                                 s->turn_err, s->turn_retry_ms,
                                 s->turn_why.text);
}

static kerf_err
on_tensor_frame(void *ctx, kerf_conn *conn, const kerf_frame_in *frame,
                kerf_detail *why)
{
    kerf_session *s = ctx;
    struct kerf_coming *c = &s->coming;
    kerf_sink none = {0}; /* all tensors are in blocks: no payload to place */
    kerf_err err = KERF_OK;

    if (frame->header.type == KERF_FRAME_TENSOR) {
        if (frame->header.payload_len == 0)
            err = on_request_head(s, frame, &none, why);
        if (err == KERF_OK && frame->header.payload_len == 0 && !c->open)
            err = kerf_fail(why, KERF_EPROTO, "TENSOR without payload");
    } else if (frame->header.type == KERF_FRAME_BLOCK) {
        if (frame->header.payload_len == 0)
            err = kerf_fail(why, KERF_EPROTO, "BLOCK without payload");
        else if (s->slot != NULL)
            kerf_ahead_block(s->cloud, s->slot);
        move_on(c);
    } else {
        return kerf_session_on_common(s, conn, frame, why);
    }
    c->reading = false;
    c->moved_ns = frame->received_ns;
    return err != KERF_OK || c->open ? err : on_request(s, frame);
}

static void
on_pause(void *ctx)
{
    kerf_session *s = ctx;

    kerf_here_pause(s->cloud);
}

bool
kerf_session_waits(const kerf_session *s, uint64_t now_ns)
{
    uint64_t most_ns = (uint64_t)s->cloud->opts.dead_after_ms * 1000000u;

    return s->coming.open && !s->coming.reading &&
           now_ns > s->coming.moved_ns + most_ns;
}

const kerf_conn_ops kerf_session_tensor_ops = {.in_steps = true,
                                               .on_head = on_tensor_head,
                                               .on_frame = on_tensor_frame,
                                               .on_pause = on_pause,
                                               .on_close =
                                                   kerf_session_on_close};
