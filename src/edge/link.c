/*
 * The link to the cloud: two connections, made one after the other, and made
 * again with growing pauses whenever they break.
 *
 *     DOWN -> DIAL -> HELLO -> DIAL2 -> ATTACH -> UP
 *       ^________|______|________|________|_______|   any failure
 *
 * What was not answered before a break is sent again, under the same id, as
 * soon as the link is up. Everything here is on the loop's thread, but for
 * kerf_link_send().
 */
#include "edge/link_own.h"
#include "edge/trusted.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/rng.h"
#include "base/text.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LATE_MS 50
#define SHAKE_MS 10000 /* from the first connection to being attached */
#define BACKOFF_MIN_MS 100
#define BACKOFF_MAX_MS 5000
#define GIVE_UP_MS 5000 /* when stopping, for what is in flight */

static const kerf_conn_ops control_ops;

static void
no_tensors(kerf_edge *edge)
{
    (void)pthread_mutex_lock(&edge->lock);
    edge->tensors = NULL;
    edge->parting = false;
    edge->streaming = NULL;
    edge->stale = false; /* the next cloud may know it */
    kerf_edge_stir(edge);
}

/* The rest of a RESULT will not come: its flight may be given up again. */
static void
drop_receiving(kerf_edge *edge)
{
    (void)pthread_mutex_lock(&edge->lock);
    if (edge->receiving != NULL)
        edge->receiving->receiving = false;
    edge->receiving = NULL;
    (void)pthread_mutex_unlock(&edge->lock);
}

static void
drop_connections(kerf_edge *edge)
{
    kerf_conn *tensors = edge->tensors;

    no_tensors(edge); /* the worker sends on it no more */
    if (edge->dial != NULL)
        kerf_dial_cancel(edge->dial);
    if (tensors != NULL)
        kerf_conn_close(tensors);
    if (edge->attaching != NULL)
        kerf_conn_close(edge->attaching);
    if (edge->control != NULL)
        kerf_conn_close(edge->control);
    edge->dial = NULL;
    edge->attaching = edge->control = NULL;
    edge->rejects.asked = false; /* the next session tells */
    drop_receiving(edge);
    kerf_timer_stop(edge->heartbeat);
}

/* Once for each reason: "refused" at first, "update it" when it is there. */
static void
tell_down(kerf_edge *edge, kerf_address *a, bool was_up, const char *why)
{
    const kerf_address *next = kerf_route_now(edge);
    char shown[KERF_TEXT_MAX];

    if (was_up || strncmp(a->said_why, why, sizeof a->said_why - 1) != 0) {
        kerf_edge_tell_state(edge, false, "%s %s (%s), trying %s",
                             was_up ? "lost the cloud at"
                                    : "waiting for the cloud at",
                             a->shown, kerf_text_safe(shown, sizeof shown, why),
                             next == a ? "again" : next->shown);
    }
    (void)snprintf(a->said_why, sizeof a->said_why, "%s", why);
}

/* It ends here: else a cloud might take that for a crash. */
static void
say_bye(kerf_edge *edge)
{
    if (edge->control != NULL && edge->link >= KERF_LINK_DIAL2)
        (void)!kerf_conn_send_notice(edge->control, KERF_FRAME_BYE, 0,
                                     KERF_ECLOSED, 0, "the edge stops");
}

static void
leave(kerf_edge *edge)
{
    drop_connections(edge);
    kerf_fetch_cut(edge);
    edge->link = KERF_LINK_DOWN;
}

void
kerf_link_down(kerf_edge *edge, const char *why)
{
    bool was_up = edge->link == KERF_LINK_UP;
    kerf_address *a = &edge->route.at[edge->route.now];
    uint64_t wait_ms = 0;

    leave(edge);
    if (edge->fruitful) /* else it breaks again and again: ever slower */
        edge->backoff_ms = BACKOFF_MIN_MS;
    if (!kerf_route_lost(edge, was_up, edge->fruitful)) {
        wait_ms = edge->backoff_ms / 2 +
                  kerf_rng_next(&edge->jitter) % (edge->backoff_ms / 2 + 1);
        edge->backoff_ms = edge->backoff_ms * 2 > BACKOFF_MAX_MS
                               ? BACKOFF_MAX_MS
                               : edge->backoff_ms * 2;
    }
    edge->fruitful = false;
    tell_down(edge, a, was_up, why);
    kerf_offline_lost(edge, why);
    kerf_timer_start(edge->backoff, wait_ms, 0);
}

void
kerf_link_go(kerf_edge *edge, size_t to)
{
    leave(edge);
    kerf_route_go(edge, to);
    edge->fruitful = false;
    kerf_timer_start(edge->backoff, 0, 0);
}

void
kerf_link_on_close(void *ctx, kerf_conn *conn, kerf_err err, const char *why)
{
    (void)conn;
    (void)err;
    kerf_link_down(ctx, why);
}

/* Dialling. */

kerf_err
kerf_link_say_hello(kerf_edge *edge, kerf_conn *conn, uint32_t asks)
{
    kerf_hello *m = calloc(1, sizeof *m);
    uint8_t *meta = malloc(KERF_META_MAX);
    kerf_err err = KERF_ENOMEM;

    if (m != NULL && meta != NULL) {
        m->version_min = m->version_max = KERF_WIRE_VERSION;
        m->codecs = 1u << KERF_CODEC_RAW;
        m->payload_max = KERF_ANSWER_MAX;
        m->asks = asks | (edge->has_met ? KERF_ASKS_AGAIN : KERF_ASKS_FIRST);
        m->part_codecs = 1u << KERF_PART_RAW | 1u << KERF_PART_KWZ;
        (void)snprintf(m->name, sizeof m->name, "%s", edge->name);
        (void)snprintf(m->want, sizeof m->want, "%s",
                       edge->opts.model != NULL ? edge->opts.model : "");
        (void)snprintf(m->engine, sizeof m->engine, "%s",
                       kerf_engine_version(edge->engine));
        (void)pthread_mutex_lock(&edge->lock);
        if (edge->current != NULL) {
            m->bundle_count = 1;
            memcpy(m->bundle[0], edge->current->manifest.id,
                   sizeof m->bundle[0]);
        }
        (void)pthread_mutex_unlock(&edge->lock);
        err = kerf_conn_send_meta(conn, KERF_FRAME_HELLO, 0, meta,
                                  kerf_hello_put(meta, KERF_META_MAX, m));
    }
    free(m);
    free(meta);
    return err;
}

static void
on_dialled(void *ctx, int fd, const char *why)
{
    kerf_edge *edge = ctx;
    bool second = edge->link == KERF_LINK_DIAL2;
    kerf_conn **conn = second ? &edge->attaching : &edge->control;
    uint8_t meta[KERF_TOKEN_LEN + 16];

    edge->dial = NULL;
    if (fd < 0) {
        kerf_link_down(edge, why);
        return;
    }
    if (kerf_conn_open_tls(conn, edge->loop, fd, kerf_tls_folder_now(edge->tls),
                           kerf_route_now(edge)->host,
                           second ? &kerf_link_tensor_ops : &control_ops,
                           edge) != KERF_OK) {
        kerf_link_down(edge, "out of memory");
        return;
    }
    if (!second) {
        edge->link = KERF_LINK_HELLO;
        edge->shake_until_ns = kerf_now_ns() + SHAKE_MS * (uint64_t)1000000;
        kerf_beat_hello(edge);
        if (kerf_link_say_hello(edge, *conn, 0) != KERF_OK)
            kerf_link_down(edge, "out of memory");
        return;
    }
    edge->link = KERF_LINK_ATTACH;
    if (kerf_conn_send_meta(
            *conn, KERF_FRAME_ATTACH, 0, meta,
            kerf_token_put(meta, sizeof meta, edge->welcome.token)) != KERF_OK)
        kerf_link_down(edge, "out of memory");
}

static void
dial(void *ctx)
{
    kerf_edge *edge = ctx;
    const kerf_address *a = kerf_route_now(edge);

    if (kerf_dial_start(&edge->dial, edge->loop, a->host, a->port,
                        kerf_beat_dead_ms(edge), on_dialled, edge) != KERF_OK)
        kerf_link_down(edge, "cannot dial");
}

static void
on_backoff(void *ctx)
{
    kerf_edge *edge = ctx;

    edge->link = KERF_LINK_DIAL;
    dial(edge);
}

/* Control. */

static kerf_err
on_welcome(kerf_edge *edge, const kerf_frame_in *frame, kerf_detail *why)
{
    kerf_welcome *w = &edge->welcome;
    kerf_err err =
        kerf_welcome_get(w, frame->meta, frame->header.meta_len, why);

    if (err != KERF_OK)
        return err;
    if (w->version != KERF_WIRE_VERSION)
        return kerf_fail(why, KERF_EVERSION,
                         "the cloud chose wire version %u, this edge speaks %d",
                         w->version, KERF_WIRE_VERSION);
    if (w->window < 1 || w->heartbeat_ms < 100)
        return kerf_fail(why, KERF_EPROTO, "WELCOME grants no window");
    kerf_conn_set_payload_max(edge->control, KERF_MANIFEST_MAX);
    edge->link = KERF_LINK_DIAL2;
    edge->has_met = true;
    edge->sync = (kerf_sync){0};
    kerf_beat_start(edge);
    dial(edge);
    return KERF_OK;
}

static kerf_err
on_error_frame(const kerf_frame_in *frame, kerf_detail *why)
{
    kerf_notice n;
    char text[KERF_TEXT_MAX];
    kerf_err err =
        kerf_notice_get(&n, frame->meta, frame->header.meta_len, why);

    if (err != KERF_OK)
        return err;
    return kerf_fail(why, KERF_ECLOSED, "the cloud ended it: %s",
                     kerf_text_safe(text, sizeof text, n.text));
}

static kerf_err
on_pong(kerf_edge *edge, const kerf_conn *conn, const kerf_frame_in *frame,
        kerf_detail *why)
{
    kerf_pong m;
    kerf_err err = kerf_pong_get(&m, frame->meta, frame->header.meta_len, why);

    if (err != KERF_OK)
        return err;
    (void)kerf_sync_add(&edge->sync, m.echo_ns, m.received_ns,
                        frame->header.sent_ns, frame->received_ns);
    if (conn == edge->control)
        kerf_reject_on_pong(edge, m.echo_ns);
    return KERF_OK;
}

kerf_err
kerf_link_on_common(kerf_edge *edge, kerf_conn *conn,
                    const kerf_frame_in *frame, kerf_detail *why)
{
    if (frame->header.type >= 128) /* by rule: later additions */
        return KERF_OK;
    switch (frame->header.type) {
    case KERF_FRAME_ERROR:
        return on_error_frame(frame, why);
    case KERF_FRAME_PING:
        return kerf_conn_answer_ping(conn, frame);
    case KERF_FRAME_PONG:
        return on_pong(edge, conn, frame, why);
    case KERF_FRAME_BYE: /* it answers what it has, then closes */
        kerf_edge_tell_state(edge, true, "the cloud is stopping");
        kerf_link_part(edge, KERF_PART_NEXT);
        return KERF_OK;
    default:
        return kerf_fail(why, KERF_EPROTO, "frame type %u is not allowed here",
                         frame->header.type);
    }
}

static kerf_err
on_control_head(void *ctx, kerf_conn *conn, const kerf_frame_in *frame,
                kerf_sink *sink, kerf_detail *why)
{
    kerf_edge *edge = ctx;

    (void)conn;
    switch (frame->header.type) {
    case KERF_FRAME_OFFER:
        return kerf_fetch_offer_head(edge, frame, sink, why);
    case KERF_FRAME_PART:
        return kerf_fetch_part_head(edge, frame, sink, why);
    default:
        return kerf_conn_skip(frame, sink, why);
    }
}

static kerf_err
on_control_frame(void *ctx, kerf_conn *conn, const kerf_frame_in *frame,
                 kerf_detail *why)
{
    kerf_edge *edge = ctx;
    uint8_t type = frame->header.type;

    if (edge->link == KERF_LINK_HELLO && type == KERF_FRAME_WELCOME)
        return on_welcome(edge, frame, why);
    if (edge->link >= KERF_LINK_DIAL2 && type == KERF_FRAME_OFFER &&
        frame->header.payload_len > 0)
        return kerf_fetch_offer(edge, why);
    if (edge->link >= KERF_LINK_DIAL2 && type == KERF_FRAME_PART &&
        frame->header.payload_len > 0)
        return kerf_fetch_part(edge, frame, why);
    return kerf_link_on_common(edge, conn, frame, why);
}

static const kerf_conn_ops control_ops = {.on_head = on_control_head,
                                          .on_frame = on_control_frame,
                                          .on_close = kerf_link_on_close};

/* Timers. */

/* Sends what may be tried again, gives up what is too late. Returns when to
 * look again; UINT64_MAX: not for time's sake. Under the lock. */
static uint64_t
arm_flight(kerf_edge *edge, kerf_flight *f, uint64_t now_ns)
{
    uint64_t soonest_ns = f->deadline_ns != 0 ? f->deadline_ns : UINT64_MAX;

    if (now_ns >= soonest_ns && !f->receiving &&
        atomic_load(&f->sending) == 0) {
        kerf_edge_answer(edge, f, KERF_EDEADLINE,
                         "no answer within the deadline");
        return UINT64_MAX;
    }
    if (kerf_link_is_hopeless(edge, f, now_ns)) {
        if (f->record == NULL)
            edge->stale = false; /* no offer came: the next ones fail, too */
        if (f->record != NULL && edge->route.count > 1)
            kerf_queue_put_off(edge, f);
        else
            kerf_edge_answer(edge, f, KERF_ENOENT, f->why.text);
        return UINT64_MAX;
    }
    if (f->retry_ns != 0 && now_ns >= f->retry_ns) {
        f->retry_ns = 0;
        kerf_link_send(edge, f);
    }
    if (now_ns >= soonest_ns) /* once its memory is free */
        soonest_ns = now_ns + LATE_MS * (uint64_t)1000000;
    if (f->retry_ns != 0 && f->retry_ns < soonest_ns)
        soonest_ns = f->retry_ns;
    if (f->stranded_ns != 0 && now_ns + edge->beat.dead_ns < soonest_ns)
        soonest_ns = now_ns + edge->beat.dead_ns;
    return soonest_ns;
}

/* Looks at each flight, and sets the timer for the next time. */
void
kerf_link_arm(void *ctx)
{
    kerf_edge *edge = ctx;
    uint64_t now_ns = kerf_now_ns();
    uint64_t soonest_ns = UINT64_MAX;
    kerf_flight *list[KERF_FLIGHTS_LISTED];
    size_t n;

    (void)pthread_mutex_lock(&edge->lock);
    n = kerf_link_flights(edge, list);
    for (size_t i = 0; i < n; i++) {
        uint64_t at_ns = arm_flight(edge, list[i], now_ns);

        if (at_ns < soonest_ns)
            soonest_ns = at_ns;
    }
    (void)pthread_mutex_unlock(&edge->lock);
    if (soonest_ns != UINT64_MAX) {
        uint64_t left_ns = soonest_ns > now_ns ? soonest_ns - now_ns : 0;

        kerf_timer_start(edge->wake, left_ns / 1000000u + 1, 0);
    }
}

/* Stopping, and the cloud does not answer: say so instead of waiting. */
static void
on_give_up(void *ctx)
{
    kerf_edge *edge = ctx;
    kerf_flight *list[KERF_FLIGHTS_LISTED];
    size_t n;

    say_bye(edge);
    drop_connections(edge);
    kerf_timer_stop(edge->backoff);
    kerf_route_stop(edge);
    edge->link = KERF_LINK_DOWN;
    (void)pthread_mutex_lock(&edge->lock);
    edge->gave_up = true; /* what the worker still has ends in submit() */
    n = kerf_link_flights(edge, list);
    for (size_t i = 0; i < n; i++)
        kerf_offline_give_up(edge, list[i]);
    (void)pthread_mutex_unlock(&edge->lock);
}

static void
on_stop(void *ctx)
{
    kerf_edge *edge = ctx;

    kerf_timer_start(edge->give_up, edge->link == KERF_LINK_UP ? GIVE_UP_MS : 0,
                     0);
}

/* The worker has taken the next program: nothing of an older one is in flight.
 */
void
kerf_link_on_switched(void *ctx)
{
    kerf_edge *edge = ctx;
    uint8_t id[KERF_BUNDLE_ID_LEN];
    char name[KERF_NAME_MAX];
    char hex[KERF_SHA256_HEX];
    char tail_why[sizeof(kerf_detail)];

    (void)pthread_mutex_lock(&edge->lock);
    memcpy(id, edge->current->manifest.id, sizeof id);
    memcpy(name, edge->current->manifest.name, sizeof name);
    memcpy(hex, edge->current->id, sizeof hex);
    memcpy(tail_why, edge->current->tail_why.text, sizeof tail_why);
    (void)pthread_mutex_unlock(&edge->lock);
    kerf_edge_tell_model(edge, name, hex, KERF_OK, "");
    kerf_trusted_switched(edge);
    kerf_fetch_ready(edge, id, KERF_OK, "");
    if (tail_why[0] != '\0')
        kerf_edge_tell_state(edge, edge->link == KERF_LINK_UP,
                             "the tail of %s cannot be used here: %s", name,
                             tail_why);
}

void
kerf_link_on_trust(void *ctx)
{
    kerf_edge *edge = ctx;
    const kerf_conn *conns[] = {edge->control, edge->tensors, edge->attaching};
    kerf_detail why = {{0}};
    kerf_err err = KERF_OK;

    kerf_route_recheck(edge);
    for (size_t i = 0; err == KERF_OK && i < sizeof conns / sizeof *conns; i++)
        if (conns[i] != NULL)
            err = kerf_conn_recheck(conns[i], kerf_tls_folder_now(edge->tls),
                                    &why);
    if (err != KERF_OK)
        kerf_link_down(edge, why.text);
}

void
kerf_link_start(kerf_edge *edge)
{
    edge->backoff_ms = BACKOFF_MIN_MS;
    edge->jitter = kerf_now_ns();
    kerf_offline_lost(edge, "none has been there yet");
    kerf_timer_start(edge->backoff, 0, 0);
}

kerf_err
kerf_link_init(kerf_edge *edge)
{
    kerf_err err = kerf_timer_new(&edge->backoff, edge->loop, on_backoff, edge);

    edge->switched = (kerf_post){.fn = kerf_link_on_switched, .ctx = edge};
    edge->arm = (kerf_post){.fn = kerf_link_arm, .ctx = edge};
    edge->stop = (kerf_post){.fn = on_stop, .ctx = edge};
    edge->part = (kerf_post){.fn = kerf_link_on_part, .ctx = edge};
    if (err == KERF_OK)
        err = kerf_route_init(edge);
    if (err == KERF_OK)
        err =
            kerf_timer_new(&edge->heartbeat, edge->loop, kerf_beat_fire, edge);
    if (err == KERF_OK)
        err = kerf_timer_new(&edge->wake, edge->loop, kerf_link_arm, edge);
    if (err == KERF_OK)
        err = kerf_timer_new(&edge->give_up, edge->loop, on_give_up, edge);
    return err;
}

void
kerf_link_close(kerf_edge *edge)
{
    say_bye(edge);
    drop_connections(edge);
    kerf_route_close(edge);
    kerf_fetch_cut(edge);
    kerf_loop_flush(edge->loop);
    kerf_timer_free(edge->backoff);
    kerf_timer_free(edge->heartbeat);
    kerf_timer_free(edge->wake);
    kerf_timer_free(edge->give_up);
}
