/*
 * The tensor connection of the link: requests leave from flights, answers come
 * back into them. On the loop's thread, but for kerf_link_send().
 */
#include "edge/link_own.h"

#include "base/clock.h"
#include "base/rng.h"
#include "base/text.h"
#include "edge/encode.h"

#include <stdio.h>
#include <string.h>

#define BUSY_MAX_MS 60000
#define BUSY_DOUBLED 10 /* times: to a second */

static bool
is_any_sent(const kerf_flight *flight, size_t count, const kerf_flight *but)
{
    bool any = false;

    for (size_t i = 0; i < count; i++)
        any |= &flight[i] != but && flight[i].state == KERF_FLIGHT_SENT;
    return any;
}

bool
kerf_link_is_alone(const kerf_edge *edge, const kerf_flight *f)
{
    const kerf_program *p = edge->current;

    return (p == NULL || !is_any_sent(p->flight, p->flights, f)) &&
           !is_any_sent(edge->offline.drain, KERF_DRAIN_FLIGHTS, f);
}

/* What can be taken back: not what is from disk. */
static bool
may_lend(const kerf_edge *edge, const kerf_flight *f, const kerf_header *h)
{
    return f->record == NULL && f->program->has_pages &&
           kerf_conn_lends(edge->tensors, h->payload_len);
}

/* The kernel may have its memory until the answer to it is there. */
static void
note_lent(kerf_edge *edge, kerf_flight *f)
{
    unsigned on = kerf_conn_number(edge->tensors);

    f->strays |= f->lent_on != 0 && f->lent_on != on;
    f->lent_on = on;
}

/* Its answer came on this connection: all of it has been read. */
static void
note_returned(kerf_flight *f, const kerf_conn *conn)
{
    if (f->lent_on == kerf_conn_number(conn))
        f->lent_on = 0;
}

/* There is a connection. */
static void
seal_request(kerf_edge *edge, kerf_flight *f)
{
    f->header.sent_ns = kerf_now_ns();
    /* Within a machine not what is alone: the cloud's core reads what is there
     * while this one copies the rest. */
    f->send.lend =
        may_lend(edge, f, &f->header) &&
        (!kerf_conn_is_local(edge->tensors) || !kerf_link_is_alone(edge, f));
    if (f->send.lend)
        note_lent(edge, f);
    f->send.head = f->head;
    f->send.head_len = kerf_head_seal(f->head, &f->header, f->meta_len);
    f->bytes_sent += f->send.head_len + (size_t)f->header.payload_len;
    (void)atomic_fetch_add(&f->sending, 1);
}

static void
seal_block(kerf_edge *edge, kerf_flight *f, kerf_flight_block *b)
{
    b->header.sent_ns = kerf_now_ns();
    b->out.lend = may_lend(edge, f, &b->header); /* also if it is alone: the
                                                  * next is made meanwhile */
    if (b->out.lend)
        note_lent(edge, f);
    b->out.head_len = kerf_head_seal(b->head, &b->header, b->header.meta_len);
    f->bytes_sent += b->out.head_len + (size_t)b->header.payload_len;
    (void)atomic_fetch_add(&f->sending, 1);
}

static void
send_block(kerf_edge *edge, kerf_flight *f, kerf_flight_block *b)
{
    seal_block(edge, f, b);
    kerf_conn_send(edge->tensors, &b->out);
}

/* Under the lock: whether it is to be sent now. */
static bool
make_sent(kerf_edge *edge, kerf_flight *f)
{
    uint32_t unknown;
    char why[KERF_TEXT_MAX];

    if (edge->tensors == NULL || edge->parting || f->stranded_ns != 0 ||
        atomic_load(&f->sending) > 0)
        return false;
    if (!edge->blocks || (f->codecs & ~edge->codecs) != 0)
        kerf_encode_join(edge, f);
    unknown = f->codecs & ~edge->codecs;
    if (unknown != 0) { /* the cloud before did */
        (void)snprintf(why, sizeof why,
                       "the cloud does not know tensor codec %s",
                       kerf_codec_name((uint8_t)__builtin_ctz(unknown)));
        kerf_edge_answer(edge, f, KERF_ENOTSUP, why);
        return false;
    }
    if (f->block_count > 0 && !edge->blocks) {
        kerf_edge_answer(edge, f, KERF_ENOTSUP,
                         "the cloud does not take tensors in blocks");
        return false;
    }
    if (edge->streaming != NULL) { /* kerf_link_finish() comes back to it */
        f->state = KERF_FLIGHT_WAITING;
        return false;
    }
    f->state = KERF_FLIGHT_SENT;
    return true;
}

/* Its frames in a row: they all go before another's. */
static void
make_row(kerf_edge *edge, kerf_flight *f, bool more)
{
    kerf_out **end = &f->send.next;

    f->send.more = more && f->block_count == 0;
    seal_request(edge, f);
    for (size_t i = 0; i < f->block_count; i++) {
        seal_block(edge, f, &f->block[i]);
        *end = &f->block[i].out;
        end = &f->block[i].out.next;
    }
    *end = NULL;
}

void
kerf_link_send(kerf_edge *edge, kerf_flight *f)
{
    if (!make_sent(edge, f))
        return;
    make_row(edge, f, false);
    f->sent_on = kerf_conn_number(edge->tensors);
    kerf_conn_send_row(edge->tensors, &f->send);
}

bool
kerf_link_send_apart(kerf_edge *edge, kerf_flight *f, bool more)
{
    kerf_conn *conn = edge->tensors;

    if (!make_sent(edge, f))
        return false;
    make_row(edge, f, more);
    f->sent_on = kerf_conn_number(conn);
    if (f->block_count > 0) {
        kerf_conn_send_row(conn, &f->send);
        return true;
    }
    kerf_out_begin(&f->send);
    edge->apart = f;
    edge->apart_on = conn;
    kerf_conn_ref(conn);
    (void)pthread_mutex_unlock(&edge->lock);
    kerf_conn_send(conn, &f->send);
    (void)pthread_mutex_lock(&edge->lock);
    edge->apart = NULL;
    /* Who connected meanwhile may have found it being sent. */
    if (edge->tensors != NULL && f->state == KERF_FLIGHT_SENT &&
        f->sent_on != kerf_conn_number(edge->tensors))
        kerf_link_send(edge, f);
    kerf_conn_unref(conn);
    return true;
}

void
kerf_link_begin(kerf_edge *edge, kerf_flight *f)
{
    (void)atomic_fetch_add(&f->sending, 1);
    (void)pthread_mutex_lock(&edge->lock);
    if (edge->tensors != NULL && edge->blocks && !edge->parting) {
        edge->streaming = f;
        f->send.more = false;
        seal_request(edge, f);
        kerf_conn_send(edge->tensors, &f->send);
    }
    (void)pthread_mutex_unlock(&edge->lock);
}

void
kerf_link_block(kerf_edge *edge, kerf_flight *f, kerf_flight_block *block)
{
    (void)pthread_mutex_lock(&edge->lock);
    if (edge->streaming == f)
        send_block(edge, f, block);
    (void)pthread_mutex_unlock(&edge->lock);
}

bool
kerf_link_finish(kerf_edge *edge, kerf_flight *f)
{
    bool whole = edge->streaming == f;
    kerf_flight *list[KERF_FLIGHTS_LISTED];
    size_t n;

    if (whole)
        send_block(edge, f, &f->block[f->block_count - 1]);
    (void)atomic_fetch_sub(&f->sending, 1);
    if (!whole)
        return false;
    f->state = KERF_FLIGHT_SENT;
    edge->streaming = NULL;
    n = kerf_link_flights(edge, list);
    for (size_t i = 0; i < n; i++) {
        if (list[i]->state == KERF_FLIGHT_WAITING && list[i]->retry_ns == 0)
            kerf_link_send(edge, list[i]);
    }
    return true;
}

/* Adds those of a list that are on their way. */
static size_t
add_flights(kerf_flight *flight, size_t count,
            kerf_flight *list[KERF_FLIGHTS_LISTED], size_t n)
{
    for (size_t i = 0; i < count && n < KERF_FLIGHTS_LISTED; i++) {
        kerf_flight *f = &flight[i];
        size_t at = n;

        if (f->state != KERF_FLIGHT_WAITING && f->state != KERF_FLIGHT_SENT)
            continue;
        for (; at > 0 && list[at - 1]->id > f->id; at--)
            list[at] = list[at - 1];
        list[at] = f;
        n++;
    }
    return n;
}

size_t
kerf_link_flights(kerf_edge *edge, kerf_flight *list[KERF_FLIGHTS_LISTED])
{
    kerf_program *p = edge->current;
    size_t n = 0;

    if (p != NULL)
        n = add_flights(p->flight, p->flights, list, 0);
    return add_flights(edge->offline.drain, KERF_DRAIN_FLIGHTS, list, n);
}

void
kerf_link_unstrand(kerf_edge *edge)
{
    kerf_flight *list[KERF_FLIGHTS_LISTED];
    size_t n = kerf_link_flights(edge, list);

    edge->stale = false;
    for (size_t i = 0; i < n; i++) {
        if (list[i]->stranded_ns == 0)
            continue;
        list[i]->stranded_ns = 0;
        kerf_link_send(edge, list[i]);
    }
}

/* A request from disk of a bundle that was waited for in this session. */
static bool
is_given_up(const kerf_edge *edge, const kerf_flight *f)
{
    return f->record != NULL && edge->has_unserved &&
           memcmp(edge->unserved, f->head + KERF_HEADER_LEN,
                  sizeof edge->unserved) == 0;
}

bool
kerf_link_is_hopeless(kerf_edge *edge, const kerf_flight *f, uint64_t now_ns)
{
    if (f->stranded_ns == 0 || edge->link != KERF_LINK_UP ||
        edge->fetch.count > 0 || edge->next != NULL)
        return false;
    if (is_given_up(edge, f))
        return true;
    if (now_ns < f->stranded_ns + edge->beat.dead_ns)
        return false;
    if (f->record != NULL) { /* there may be many, a few at a time */
        edge->has_unserved = true;
        memcpy(edge->unserved, f->head + KERF_HEADER_LEN,
               sizeof edge->unserved);
    }
    return true;
}

static kerf_err
on_attached(kerf_edge *edge, kerf_detail *why)
{
    kerf_flight *list[KERF_FLIGHTS_LISTED];
    size_t n;

    if (!kerf_conn_is_same_peer(edge->control, edge->attaching))
        return kerf_fail(why, KERF_EDENIED,
                         "the second connection came to another cloud, with "
                         "another certificate, than the first");
    edge->link = KERF_LINK_UP;
    kerf_conn_set_payload_max(edge->attaching, KERF_ANSWER_MAX);
    kerf_route_up(edge);
    kerf_offline_up(edge);
    kerf_edge_tell_state(edge, true, "connected to %s",
                         kerf_route_now(edge)->shown);
    (void)pthread_mutex_lock(&edge->lock);
    edge->tensors = edge->attaching;
    edge->attaching = NULL;
    edge->window = edge->welcome.window;
    edge->codecs = edge->welcome.codecs;
    edge->has_unserved = false;
    edge->blocks = (edge->welcome.features & KERF_FEATURE_BLOCKS) != 0;
    n = kerf_link_flights(edge, list);
    for (size_t i = 0; i < n; i++) {
        list[i]->retry_ns = list[i]->stranded_ns = 0;
        list[i]->busy_row = 0;
        kerf_link_send(edge, list[i]);
    }
    kerf_edge_stir(edge);
    return KERF_OK;
}

/* The flight that waits for the answer to this id. Under the lock. */
static kerf_flight *
find_flight(kerf_edge *edge, uint64_t id)
{
    kerf_flight *list[KERF_FLIGHTS_LISTED];
    size_t n = kerf_link_flights(edge, list);

    for (size_t i = 0; i < n; i++) {
        if (list[i]->id == id)
            return list[i];
    }
    return edge->streaming != NULL && edge->streaming->id == id
               ? edge->streaming
               : NULL;
}

/* Whether its memory is with the kernel as a whole. Under the lock. */
static bool
is_sent(kerf_edge *edge, kerf_conn *conn, const kerf_flight *f)
{
    return atomic_load(&f->sending) == 0 ||
           (edge->apart == f && edge->apart_on == conn &&
            kerf_conn_has_taken(conn, &f->send));
}

/* Its tensors are still being sent from the flight's memory. */
static kerf_err
fail_early(kerf_detail *why)
{
    return kerf_fail(why, KERF_EPROTO,
                     "an answer to a request that is not sent yet");
}

static kerf_err
on_tensor_head(void *ctx, kerf_conn *conn, const kerf_frame_in *frame,
               kerf_sink *sink, kerf_detail *why)
{
    kerf_edge *edge = ctx;
    kerf_tensors *m = &edge->parsed;
    kerf_flight *f;
    kerf_err err;

    edge->receiving = NULL;
    if (frame->header.type != KERF_FRAME_RESULT)
        return kerf_conn_skip(frame, sink, why);
    sink->discard = true;
    err = kerf_tensors_get(m, frame->meta, frame->header.meta_len,
                           frame->header.payload_len, why);
    if (err != KERF_OK)
        return err;
    (void)pthread_mutex_lock(&edge->lock);
    f = find_flight(edge, frame->header.id);
    if (f != NULL && is_sent(edge, conn, f)) {
        f->receiving = true;
        edge->receiving = f;
    }
    (void)pthread_mutex_unlock(&edge->lock);
    if (f == NULL) /* answered before, or given up */
        return KERF_OK;
    if (edge->receiving == NULL)
        return fail_early(why);
    sink->discard = false;
    sink->count = m->count;
    for (size_t i = 0; i < m->count; i++) {
        if (m->tensor[i].codec != KERF_CODEC_RAW)
            return kerf_fail(why, KERF_ENOTSUP, "tensor codec %u is not known",
                             m->tensor[i].codec);
        err = kerf_flight_result(f, i, &m->tensor[i]);
        if (err != KERF_OK)
            return err;
        sink->piece[i] = f->result[i].data;
        sink->len[i] = f->result[i].bytes;
    }
    f->result_count = m->count;
    return KERF_OK;
}

/* The stages that only both ends together know. They add up to the whole. */
static void
take_times(kerf_edge *edge, kerf_flight *f, const kerf_frame_in *frame)
{
    const kerf_tensors *m = &edge->parsed;
    uint64_t *ns = f->stages.ns;
    uint64_t up = 0;
    uint64_t down = 0;
    uint64_t known;
    uint64_t whole = frame->received_ns - f->start_ns;

    (void)kerf_sync_add(&edge->sync, m->echo_ns, m->received_ns,
                        frame->header.sent_ns, frame->received_ns);
    kerf_sync_split(&edge->sync, m->echo_ns, m->received_ns,
                    frame->header.sent_ns, frame->received_ns, &up, &down);
    ns[KERF_STAGE_QUEUE] = m->queue_ns;
    ns[KERF_STAGE_DECODE] = m->decode_ns;
    ns[KERF_STAGE_TAIL] = m->tail_ns;
    ns[KERF_STAGE_DOWNLINK] = down;
    ns[KERF_STAGE_UPLINK] = 0;
    known = kerf_stages_total(&f->stages);
    /* Waiting for a connection, resends, BUSY: all of that is the uplink. */
    ns[KERF_STAGE_UPLINK] = whole > known ? whole - known : up;
}

static kerf_err
on_result(kerf_edge *edge, const kerf_conn *conn, const kerf_frame_in *frame)
{
    kerf_flight *f = edge->receiving;

    edge->receiving = NULL;
    if (f == NULL)
        return KERF_OK;
    edge->fruitful = true;
    take_times(edge, f, frame);
    f->late = edge->parsed.late ||
              (f->deadline_ns != 0 && frame->received_ns > f->deadline_ns);
    f->bytes_received = kerf_head_len(frame->header.meta_len) +
                        (size_t)frame->header.payload_len;
    (void)pthread_mutex_lock(&edge->lock);
    f->receiving = false;
    note_returned(f, conn);
    kerf_edge_answer_in_turn(edge, f);
    (void)pthread_mutex_unlock(&edge->lock);
    if (edge->parting)
        kerf_loop_post(edge->loop, &edge->part);
    return KERF_OK;
}

/* Doubled here, too: each time all of it is sent again. */
static void
wait_for_turn(kerf_edge *edge, kerf_flight *f, uint32_t retry_ms)
{
    uint64_t wait_ms = (uint64_t)1 << f->busy_row;

    f->busy_row += f->busy_row < BUSY_DOUBLED ? 1 : 0;
    if (retry_ms > wait_ms)
        wait_ms = retry_ms < BUSY_MAX_MS ? retry_ms : BUSY_MAX_MS;
    wait_ms += kerf_rng_next(&edge->jitter) % (wait_ms + 1);
    f->state = KERF_FLIGHT_WAITING;
    f->retry_ns = kerf_now_ns() + wait_ms * 1000000u;
}

/* Under the lock: what a request has become that was not run. */
static void
turn_away(kerf_edge *edge, kerf_flight *f, bool busy, const kerf_notice *n)
{
    char text[KERF_TEXT_MAX];

    if (busy) {
        wait_for_turn(edge, f, n->retry_ms);
    } else if (n->err == KERF_ENOENT) {
        if (f->record == NULL)
            edge->stale = true; /* its next offer ends this */
        f->state = KERF_FLIGHT_WAITING;
        f->stranded_ns = kerf_now_ns();
        (void)kerf_fail(&f->why, KERF_ENOENT, "%s",
                        kerf_text_safe(text, sizeof text, n->text));
    } else {
        kerf_edge_answer(edge, f, n->err == 0 ? KERF_EPROTO : (kerf_err)n->err,
                         kerf_text_safe(text, sizeof text, n->text));
    }
}

static kerf_err
on_turned_away(kerf_edge *edge, kerf_conn *conn, const kerf_frame_in *frame,
               kerf_detail *why)
{
    kerf_notice n;
    kerf_flight *f;
    bool busy = frame->header.type == KERF_FRAME_BUSY;
    bool early;
    kerf_err err =
        kerf_notice_get(&n, frame->meta, frame->header.meta_len, why);

    if (err != KERF_OK)
        return err;
    (void)pthread_mutex_lock(&edge->lock);
    f = find_flight(edge, frame->header.id);
    early = f != NULL && !is_sent(edge, conn, f);
    if (f != NULL && !early) {
        note_returned(f, conn);
        turn_away(edge, f, busy, &n);
    }
    (void)pthread_mutex_unlock(&edge->lock);
    if (early)
        return fail_early(why);
    if (n.err == KERF_ENOENT)
        kerf_edge_free_flight(edge, NULL); /* it holds no program up */
    if (busy || n.err == KERF_ENOENT)
        kerf_link_arm(edge);
    if (edge->parting)
        kerf_loop_post(edge->loop, &edge->part);
    return KERF_OK;
}

static kerf_err
on_tensor_frame(void *ctx, kerf_conn *conn, const kerf_frame_in *frame,
                kerf_detail *why)
{
    kerf_edge *edge = ctx;
    uint8_t type = frame->header.type;

    if (edge->link == KERF_LINK_ATTACH && type == KERF_FRAME_ATTACHED)
        return on_attached(edge, why);
    if (edge->link == KERF_LINK_UP && type == KERF_FRAME_RESULT) {
        kerf_sink none = {0}; /* every output is empty: no payload to place */
        kerf_err err = frame->header.payload_len > 0
                           ? KERF_OK
                           : on_tensor_head(ctx, conn, frame, &none, why);

        return err == KERF_OK ? on_result(edge, conn, frame) : err;
    }
    if (edge->link == KERF_LINK_UP &&
        (type == KERF_FRAME_BUSY || type == KERF_FRAME_FAILED))
        return on_turned_away(edge, conn, frame, why);
    return kerf_link_on_common(edge, conn, frame, why);
}

const kerf_conn_ops kerf_link_tensor_ops = {.small = true,
                                            .on_head = on_tensor_head,
                                            .on_frame = on_tensor_frame,
                                            .on_close = kerf_link_on_close};
