/*
 * Sessions. An accepted connection waits for its first frame, which says what
 * it is:
 *
 *     accepted --HELLO--> control of a new session --(OFFER, FETCH, PART)-->
 *              --ATTACH-> tensors of the session with that token
 *
 * A session ends with its control connection, and takes the tensor connection
 * with it; the edge then comes back with a new HELLO and asks again for what
 * was not answered. Everything here is on the loop's thread.
 */
#include "cloud/cloud.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/text.h"

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#define SWEEP_MS 1000
#define FETCHES_MAX 16
#define HELD_MAX 64
#define FIRST_FRAME_NS 10000000000u

/* A part on its way to the edge, chunk by chunk. */
struct fetch {
    kerf_served *served; /* counted */
    kerf_role role;
    uint64_t at;
    uint16_t part;
};

enum session_state { SESSION_NEW, SESSION_OPEN };

struct kerf_session {
    kerf_cloud *cloud;
    kerf_session *prev, *next;
    int refs; /* the list's and the shipping post's */
    enum session_state state;
    uint64_t since_ns;
    kerf_conn *control, *tensors; /* owned; a NEW one has only control */
    kerf_hello hello;
    char shown[KERF_NAME_MAX]; /* name, safe to print */
    uint8_t token[KERF_TOKEN_LEN];

    kerf_served *held[HELD_MAX]; /* offered, newest first; counted */
    size_t held_count;
    uint64_t shipped_bytes;
    struct fetch fetch[FETCHES_MAX]; /* fetch[0] is under way */
    size_t fetch_count;
    bool chunk_sending;
    kerf_out chunk;
    uint8_t chunk_head[KERF_HEAD_STEP];
    kerf_post chunk_sent;

    kerf_slot *slot;      /* being received into */
    kerf_frame_type turn; /* what to answer instead: BUSY or FAILED, or 0 */
    kerf_err turn_err;
    uint32_t turn_retry_ms;
    kerf_detail turn_why;
};

static const kerf_conn_ops new_ops, control_ops, tensor_ops;

static void ship_next(kerf_session *s);

static void
session_unref(kerf_session *s)
{
    if (--s->refs > 0)
        return;
    free(s);
}

static void
drop_held(kerf_session *s, size_t i)
{
    kerf_served_unref(s->held[i]);
    s->held_count--;
    memmove(&s->held[i], &s->held[i + 1],
            (s->held_count - i) * sizeof(s->held[0]));
}

static void
end_session(kerf_session *s, const char *why)
{
    kerf_cloud *cloud = s->cloud;

    if (s->state == SESSION_OPEN && cloud->events.edge != NULL)
        cloud->events.edge(cloud->events.ctx, s->shown,
                           kerf_conn_peer(s->control), false, why);
    if (s->slot != NULL)
        kerf_slot_give(s->slot);
    s->slot = NULL;
    if (s->tensors != NULL)
        kerf_conn_close(s->tensors);
    if (s->control != NULL)
        kerf_conn_close(s->control);
    s->tensors = s->control = NULL;
    for (size_t i = 0; i < s->fetch_count; i++)
        kerf_served_unref(s->fetch[i].served);
    s->fetch_count = 0;
    while (s->held_count > 0)
        drop_held(s, s->held_count - 1);
    if (s->prev != NULL)
        s->prev->next = s->next;
    else
        cloud->sessions = s->next;
    if (s->next != NULL)
        s->next->prev = s->prev;
    cloud->session_count--;
    if (cloud->session_count == 0)
        kerf_timer_stop(cloud->sweep);
    session_unref(s);
}

void
kerf_session_accept(kerf_cloud *cloud, int fd)
{
    kerf_session *s;

    if (cloud->session_count >= (size_t)cloud->opts.edges_max + 64) {
        kerf_log(KERF_LOG_WARN, "cloud.too_many_edges", "most=%d",
                 cloud->opts.edges_max);
        (void)close(fd);
        return;
    }
    s = calloc(1, sizeof *s);
    if (s == NULL) {
        (void)close(fd);
        return;
    }
    if (kerf_conn_open(&s->control, cloud->loop, fd, &new_ops, s) != KERF_OK) {
        free(s);
        return;
    }
    s->refs = 1;
    s->cloud = cloud;
    s->since_ns = kerf_now_ns();
    s->next = cloud->sessions;
    if (s->next != NULL)
        s->next->prev = s;
    cloud->sessions = s;
    if (cloud->session_count++ == 0)
        kerf_timer_start(cloud->sweep, SWEEP_MS, SWEEP_MS);
}

static void
on_new_close(void *ctx, kerf_conn *conn, kerf_err err, const char *why)
{
    if (err != KERF_ECLOSED)
        kerf_log(KERF_LOG_WARN, "cloud.stranger", "conn=%u peer=%s why=\"%s\"",
                 kerf_conn_number(conn), kerf_conn_peer(conn), why);
    end_session(ctx, why);
}

/* Offers. */

struct offer_out { /* a kerf_out with what it points to */
    kerf_out out;
    kerf_served *served; /* counted */
    uint8_t head[KERF_HEAD_STEP];
};

static void
on_offer_sent(void *ctx, kerf_err err)
{
    struct offer_out *o = ctx;

    (void)err;
    kerf_served_unref(o->served);
    free(o);
}

static void
hold(kerf_session *s, kerf_served *served)
{
    for (size_t i = 0; i < s->held_count; i++) {
        if (s->held[i] == served)
            return;
    }
    if (s->held_count == HELD_MAX)
        drop_held(s, HELD_MAX - 1);
    memmove(&s->held[1], &s->held[0], s->held_count * sizeof(s->held[0]));
    s->held[0] = kerf_served_ref(served);
    s->held_count++;
}

static void
offer(kerf_session *s, kerf_served *served)
{
    struct offer_out *o = calloc(1, sizeof *o);
    kerf_offer m = {.manifest_len = (uint32_t)served->manifest_len};
    kerf_header h = {.type = KERF_FRAME_OFFER, .flags = KERF_FLAG_BODY_HASH};
    size_t len;

    if (o == NULL)
        return;
    hold(s, served);
    m.run = kerf_registry_pick(s->cloud->registry, s->hello.want) == served;
    memcpy(m.bundle, served->manifest.id, sizeof m.bundle);
    len = kerf_offer_put(o->head + KERF_HEADER_LEN,
                         sizeof o->head - KERF_HEADER_LEN, &m);
    o->served = kerf_served_ref(served);
    o->out.count = 1;
    o->out.piece[0] = served->manifest_json;
    o->out.len[0] = served->manifest_len;
    h.body_hash = kerf_body_hash(0, o->head + KERF_HEADER_LEN, len);
    h.body_hash =
        kerf_body_hash(h.body_hash, served->manifest_json, served->manifest_len);
    h.payload_len = kerf_pieces_len(o->out.len, 1);
    h.sent_ns = kerf_now_ns();
    o->out.head = o->head;
    o->out.head_len = kerf_head_seal(o->head, &h, len);
    o->out.done = on_offer_sent;
    o->out.ctx = o;
    kerf_conn_send(s->control, &o->out);
}

void
kerf_sessions_offer(kerf_cloud *cloud, kerf_served *s, kerf_served *old)
{
    kerf_session *next;

    for (kerf_session *e = cloud->sessions; e != NULL; e = next) {
        kerf_served *pick;

        next = e->next;
        if (e->state != SESSION_OPEN)
            continue;
        if (s != NULL)
            offer(e, s);
        pick = kerf_registry_pick(cloud->registry, e->hello.want);
        if (old != NULL && s == NULL && pick != NULL)
            offer(e, pick); /* it ran the removed one, perhaps */
    }
}

/* First frame: HELLO or ATTACH. */

static kerf_err
open_session(kerf_session *s, const kerf_frame_in *frame, kerf_detail *why)
{
    kerf_cloud *cloud = s->cloud;
    kerf_welcome m = {.version = KERF_WIRE_VERSION,
                      .codecs = 1u << KERF_CODEC_RAW,
                      .payload_max = KERF_PAYLOAD_MAX,
                      .window = (uint32_t)cloud->opts.window,
                      .heartbeat_ms = (uint32_t)cloud->opts.heartbeat_ms};
    uint8_t meta[KERF_HEAD_STEP * 2];
    kerf_err err;

    err = kerf_hello_get(&s->hello, frame->meta, frame->header.meta_len, why);
    if (err != KERF_OK)
        return err;
    if (s->hello.version_min > KERF_WIRE_VERSION ||
        s->hello.version_max < KERF_WIRE_VERSION)
        return kerf_fail(why, KERF_EVERSION,
                         "the edge speaks wire versions %u to %u, this cloud "
                         "%d: update the older one",
                         s->hello.version_min, s->hello.version_max,
                         KERF_WIRE_VERSION);
    if (getrandom(s->token, sizeof s->token, 0) != (ssize_t)sizeof s->token)
        return kerf_fail(why, KERF_EIO, "no random numbers");
    memcpy(m.token, s->token, sizeof m.token);
    memcpy(m.name, cloud->name, sizeof m.name);
    (void)kerf_text_safe(s->shown, sizeof s->shown, s->hello.name);
    err = kerf_conn_send_meta(s->control, KERF_FRAME_WELCOME, 0, meta,
                              kerf_welcome_put(meta, sizeof meta, &m));
    if (err != KERF_OK)
        return err;
    s->state = SESSION_OPEN;
    kerf_conn_set_ctx(s->control, &control_ops, s);
    if (cloud->events.edge != NULL)
        cloud->events.edge(cloud->events.ctx, s->shown,
                           kerf_conn_peer(s->control), true, "");
    /* The one to run first: nothing shall delay it. */
    kerf_served *pick = kerf_registry_pick(cloud->registry, s->hello.want);
    if (pick != NULL)
        offer(s, pick);
    for (size_t i = 0; i < kerf_registry_count(cloud->registry); i++) {
        if (kerf_registry_at(cloud->registry, i) != pick)
            offer(s, kerf_registry_at(cloud->registry, i));
    }
    return KERF_OK;
}

static kerf_err
attach(kerf_session *s, const kerf_frame_in *frame, kerf_detail *why)
{
    kerf_cloud *cloud = s->cloud;
    uint8_t token[KERF_TOKEN_LEN];
    kerf_session *e = cloud->sessions;
    kerf_err err =
        kerf_token_get(token, frame->meta, frame->header.meta_len, why);

    if (err != KERF_OK)
        return err;
    while (e != NULL && (e->state != SESSION_OPEN ||
                         memcmp(e->token, token, sizeof token) != 0))
        e = e->next;
    if (e == NULL || e->tensors != NULL)
        return kerf_fail(why, KERF_EPROTO, "no session waits for this token");
    e->tensors = s->control;
    s->control = NULL;
    kerf_conn_set_ctx(e->tensors, &tensor_ops, e);
    kerf_conn_set_payload_max(e->tensors, KERF_PAYLOAD_MAX);
    end_session(s, "");
    return kerf_conn_send_meta(e->tensors, KERF_FRAME_ATTACHED, 0, NULL, 0);
}

static kerf_err
on_new_frame(void *ctx, kerf_conn *conn, const kerf_frame_in *frame,
             kerf_detail *why)
{
    kerf_session *s = ctx;

    (void)conn;
    if (frame->header.type == KERF_FRAME_HELLO)
        return open_session(s, frame, why);
    if (frame->header.type == KERF_FRAME_ATTACH)
        return attach(s, frame, why);
    return kerf_fail(why, KERF_EPROTO, "frame type %u before HELLO",
                     frame->header.type);
}

static const kerf_conn_ops new_ops = {.on_frame = on_new_frame,
                                      .on_close = on_new_close};

/* Control. */

static void
on_chunk_sent(void *ctx, kerf_err err)
{
    kerf_session *s = ctx;

    (void)err;
    s->refs++; /* the post's */
    kerf_loop_post(s->cloud->loop, &s->chunk_sent);
}

static void
on_chunk_turn(void *ctx)
{
    kerf_session *s = ctx;

    s->chunk_sending = false;
    if (s->control != NULL)
        ship_next(s);
    session_unref(s);
}

static void
ship_chunk(kerf_session *s, const struct fetch *f, uint32_t len)
{
    kerf_part m = {.part = f->part, .offset = f->at, .len = len};
    kerf_header h = {.type = KERF_FRAME_PART, .flags = KERF_FLAG_BODY_HASH};
    const uint8_t *data = f->served->pair.data[f->role] + f->at;
    size_t meta_len;

    memcpy(m.bundle, f->served->manifest.id, sizeof m.bundle);
    meta_len = kerf_part_put(s->chunk_head + KERF_HEADER_LEN,
                             sizeof s->chunk_head - KERF_HEADER_LEN, &m);
    h.body_hash =
        kerf_body_hash(kerf_body_hash(0, s->chunk_head + KERF_HEADER_LEN,
                                      meta_len),
                       data, len);
    s->chunk = (kerf_out){.count = 1, .done = on_chunk_sent, .ctx = s};
    s->chunk.piece[0] = data;
    s->chunk.len[0] = len;
    h.payload_len = kerf_pieces_len(s->chunk.len, 1);
    h.sent_ns = kerf_now_ns();
    s->chunk.head = s->chunk_head;
    s->chunk.head_len = kerf_head_seal(s->chunk_head, &h, meta_len);
    s->chunk_sent = (kerf_post){.fn = on_chunk_turn, .ctx = s};
    s->chunk_sending = true;
    s->shipped_bytes += len;
    kerf_conn_send(s->control, &s->chunk);
}

static void
ship_next(kerf_session *s)
{
    struct fetch *f = &s->fetch[0];
    uint64_t left;

    if (s->chunk_sending || s->fetch_count == 0)
        return;
    left = f->served->pair.len[f->role] - f->at;
    if (left > 0) {
        uint32_t len =
            left < KERF_PART_CHUNK ? (uint32_t)left : KERF_PART_CHUNK;

        ship_chunk(s, f, len);
        f->at += len;
        return; /* goes on in on_chunk_turn() */
    }
    kerf_served_unref(f->served);
    s->fetch_count--;
    memmove(&s->fetch[0], &s->fetch[1], s->fetch_count * sizeof s->fetch[0]);
    ship_next(s);
}

static kerf_served *
find_held(kerf_session *s, const uint8_t *id)
{
    for (size_t i = 0; i < s->held_count; i++) {
        if (memcmp(s->held[i]->manifest.id, id, KERF_BUNDLE_ID_LEN) == 0)
            return s->held[i];
    }
    return NULL;
}

static kerf_err
on_fetch(kerf_session *s, const kerf_frame_in *frame, kerf_detail *why)
{
    kerf_part m;
    kerf_served *served;
    const kerf_file *file;
    kerf_err err =
        kerf_part_get(&m, frame->meta, frame->header.meta_len, why);

    if (err != KERF_OK)
        return err;
    served = find_held(s, m.bundle);
    if (served == NULL)
        return kerf_fail(why, KERF_ENOENT, "FETCH of a bundle not offered");
    if (m.part >= served->manifest.file_count)
        return kerf_fail(why, KERF_EPROTO, "FETCH of part %u of %zu", m.part,
                         served->manifest.file_count);
    file = &served->manifest.file[m.part];
    if (file->role >= KERF_ROLE_TAIL_GRAPH || m.offset > file->size)
        return kerf_fail(why, KERF_EPROTO, "FETCH of part %u is not allowed",
                         m.part);
    if (s->fetch_count == FETCHES_MAX)
        return kerf_fail(why, KERF_EPROTO, "more than %d FETCH at a time",
                         FETCHES_MAX);
    s->fetch[s->fetch_count++] = (struct fetch){
        .served = kerf_served_ref(served),
        .role = file->role,
        .at = m.offset,
        .part = m.part};
    ship_next(s);
    return KERF_OK;
}

/* The edge runs this bundle and has no request of another one in flight: older
 * ones that are served no longer may go. */
static kerf_err
on_ready(kerf_session *s, const kerf_frame_in *frame, kerf_detail *why)
{
    kerf_cloud *cloud = s->cloud;
    kerf_ready m;
    kerf_served *served;
    char reason[KERF_TEXT_MAX];
    kerf_err err =
        kerf_ready_get(&m, frame->meta, frame->header.meta_len, why);

    if (err != KERF_OK)
        return err;
    served = find_held(s, m.bundle);
    if (served == NULL)
        return KERF_OK;
    if (cloud->events.shipped != NULL)
        cloud->events.shipped(cloud->events.ctx, s->shown,
                              served->manifest.name, s->shipped_bytes,
                              (kerf_err)m.err,
                              kerf_text_safe(reason, sizeof reason, m.reason));
    s->shipped_bytes = 0;
    for (size_t i = 0; m.err == 0 && i < s->held_count;) {
        bool current = s->held[i] == served;

        for (size_t c = 0; !current && c < kerf_registry_count(cloud->registry);
             c++)
            current = kerf_registry_at(cloud->registry, c) == s->held[i];
        if (current)
            i++;
        else
            drop_held(s, i);
    }
    return KERF_OK;
}

static kerf_err
answer_ping(kerf_conn *conn, const kerf_frame_in *frame)
{
    kerf_pong m = {.echo_ns = frame->header.sent_ns,
                   .received_ns = frame->received_ns};
    uint8_t meta[32];

    return kerf_conn_send_meta(conn, KERF_FRAME_PONG, frame->header.id, meta,
                               kerf_pong_put(meta, sizeof meta, &m));
}

/* What both connections may carry. */
static kerf_err
on_common_frame(kerf_session *s, kerf_conn *conn, const kerf_frame_in *frame,
                kerf_detail *why)
{
    kerf_notice notice;
    char text[KERF_TEXT_MAX];

    if (frame->header.type >= 128) /* by rule: later additions */
        return KERF_OK;
    switch (frame->header.type) {
    case KERF_FRAME_PING:
        return answer_ping(conn, frame);
    case KERF_FRAME_PONG:
    case KERF_FRAME_BYE:
        return KERF_OK;
    case KERF_FRAME_ERROR:
        if (kerf_notice_get(&notice, frame->meta, frame->header.meta_len,
                            why) != KERF_OK)
            return KERF_EPROTO;
        return kerf_fail(why, KERF_ECLOSED, "the edge ended it: %s",
                         kerf_text_safe(text, sizeof text, notice.text));
    default:
        return kerf_fail(why, KERF_EPROTO,
                         "frame type %u is not allowed here (edge %s)",
                         frame->header.type, s->shown);
    }
}

static kerf_err
on_control_frame(void *ctx, kerf_conn *conn, const kerf_frame_in *frame,
                 kerf_detail *why)
{
    kerf_session *s = ctx;

    switch (frame->header.type) {
    case KERF_FRAME_FETCH:
        return on_fetch(s, frame, why);
    case KERF_FRAME_READY:
        return on_ready(s, frame, why);
    default:
        return on_common_frame(s, conn, frame, why);
    }
}

static void
on_session_close(void *ctx, kerf_conn *conn, kerf_err err, const char *why)
{
    (void)conn;
    (void)err;
    end_session(ctx, why);
}

static const kerf_conn_ops control_ops = {.on_frame = on_control_frame,
                                          .on_close = on_session_close};

/* Tensors. */

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

        if (d->codec != KERF_CODEC_RAW) {
            (void)kerf_fail(why, KERF_ENOTSUP, "tensor codec %u is not known",
                            d->codec);
            return false;
        }
        if (d->dtype != port->dtype ||
            !kerf_shape_equal(&d->shape, &port->shape)) {
            (void)kerf_fail(why, KERF_EMISMATCH,
                            "tensor %zu is %s %s, the tail takes %s %s", i,
                            kerf_dtype_name(d->dtype),
                            kerf_shape_text(a, &d->shape),
                            kerf_dtype_name(port->dtype),
                            kerf_shape_text(b, &port->shape));
            return false;
        }
    }
    return true;
}

static void
fill_slot(kerf_session *s, kerf_slot *slot, const kerf_frame_in *frame,
          kerf_sink *sink)
{
    const kerf_tensors *m = &s->cloud->parsed;

    slot->conn = s->tensors;
    kerf_conn_ref(slot->conn);
    slot->id = frame->header.id;
    slot->echo_ns = frame->header.sent_ns;
    slot->deadline_ns = (uint64_t)m->deadline_ms * 1000000u; /* + arrival */
    slot->bytes_in = (size_t)frame->header.payload_len;
    memcpy(slot->edge, s->shown, sizeof slot->edge);
    sink->count = m->count;
    for (size_t i = 0; i < m->count; i++) {
        sink->piece[i] = slot->in[i].data;
        sink->len[i] = slot->in[i].bytes;
    }
    s->slot = slot;
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
    served = find_held(s, m->bundle);
    if (served == NULL) {
        (void)kerf_fail(&s->turn_why, KERF_EMISMATCH,
                        "the cloud does not serve this edge's bundle");
        turn_away(s, sink, KERF_FRAME_FAILED, KERF_EMISMATCH);
    } else if (!fits(served, m, &s->turn_why)) {
        turn_away(s, sink, KERF_FRAME_FAILED, KERF_EMISMATCH);
    } else if (atomic_load(&cloud->draining)) {
        s->turn_retry_ms = 1000;
        (void)kerf_fail(&s->turn_why, KERF_EBUSY, "the cloud is stopping");
        turn_away(s, sink, KERF_FRAME_BUSY, KERF_EBUSY);
    } else if ((slot = kerf_slot_take(served)) == NULL) {
        s->turn_retry_ms = kerf_workers_retry_ms(cloud, served);
        (void)kerf_fail(&s->turn_why, KERF_EBUSY, "%zu requests are waiting",
                        kerf_queue_count(cloud->jobs));
        turn_away(s, sink, KERF_FRAME_BUSY, KERF_EBUSY);
    } else {
        fill_slot(s, slot, frame, sink);
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
    return on_common_frame(s, conn, frame, why);
}

static const kerf_conn_ops tensor_ops = {.on_head = on_tensor_head,
                                         .on_frame = on_tensor_frame,
                                         .on_close = on_session_close};

static const char *
overdue(const kerf_session *s, uint64_t now_ns)
{
    uint64_t silence_ns = (uint64_t)s->cloud->opts.heartbeat_ms * 3000000u;

    if (s->state == SESSION_NEW)
        return now_ns > s->since_ns + FIRST_FRAME_NS ? "no HELLO in 10 s"
                                                     : NULL;
    if (now_ns > kerf_conn_last_in_ns(s->control) + silence_ns)
        return "silent for too long";
    if (kerf_conn_is_stalled(s->control, now_ns) ||
        (s->tensors != NULL && kerf_conn_is_stalled(s->tensors, now_ns)))
        return "a frame takes too long";
    return NULL;
}

void
kerf_sessions_sweep(kerf_cloud *cloud)
{
    uint64_t now_ns = kerf_now_ns();
    kerf_session *next;

    for (kerf_session *s = cloud->sessions; s != NULL; s = next) {
        const char *why = overdue(s, now_ns);

        next = s->next;
        if (why == NULL)
            continue;
        kerf_log(KERF_LOG_WARN, "cloud.overdue", "peer=%s why=\"%s\"",
                 kerf_conn_peer(s->control), why);
        (void)!kerf_conn_send_notice(s->control, KERF_FRAME_ERROR, 0,
                                     KERF_EDEADLINE, 0, why);
        end_session(s, why);
    }
}

void
kerf_sessions_bye(kerf_cloud *cloud, const char *text)
{
    for (kerf_session *s = cloud->sessions; s != NULL; s = s->next) {
        if (s->state == SESSION_OPEN)
            (void)!kerf_conn_send_notice(s->control, KERF_FRAME_BYE, 0,
                                         KERF_ECLOSED, 1000, text);
    }
}

void
kerf_sessions_close(kerf_cloud *cloud)
{
    while (cloud->sessions != NULL)
        end_session(cloud->sessions, "the cloud stops");
}
