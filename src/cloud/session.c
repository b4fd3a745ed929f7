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
#include "cloud/session_own.h"

#include "base/clock.h"
#include "base/hash.h"
#include "base/log.h"
#include "base/text.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#define SWEEP_MS 1000
/* Of so many sweeps one looks for frames and blocks that take too long, which
 * is a matter of 10 s: for an idle edge it is most of what a sweep costs. */
#define SWEEPS_THOROUGH 4u
#define FIRST_FRAME_NS 10000000000u

static const kerf_conn_ops new_ops;

void
kerf_session_unref(kerf_session *s)
{
    if (--s->refs > 0)
        return;
    free(s);
}

void
kerf_session_end(kerf_session *s, const char *why)
{
    kerf_cloud *cloud = s->cloud;

    if (s->state == KERF_SESSION_NEW)
        kerf_session_remove_new(s);
    else
        cloud->open_count--;
    if (s->state == KERF_SESSION_OPEN)
        kerf_session_leave(s);
    if (s->state == KERF_SESSION_OPEN && cloud->events.edge != NULL)
        cloud->events.edge(cloud->events.ctx, s->shown,
                           kerf_conn_peer(s->control), false, why);
    if (s->slot != NULL)
        kerf_ahead_drop(s->slot);
    s->slot = NULL;
    if (s->tensors != NULL)
        kerf_conn_close(s->tensors);
    if (s->control != NULL)
        kerf_conn_close(s->control);
    if (s->lane != NULL) {
        s->lane->attached -= s->tensors != NULL ? 1 : 0;
        kerf_lanes_leave(&cloud->lanes, s->lane);
        kerf_table_remove(cloud->tokens, &s->by_token);
    }
    s->lane = NULL;
    kerf_timer_free(s->pace_timer);
    s->pace_timer = NULL;
    s->tensors = s->control = NULL;
    for (size_t i = 0; i < s->fetch_count; i++)
        kerf_served_unref(s->fetch[i].served);
    s->fetch_count = 0;
    while (s->held_count > 0)
        kerf_session_drop_held(s, s->held_count - 1);
    if (s->prev != NULL)
        s->prev->next = s->next;
    else
        cloud->sessions = s->next;
    if (s->next != NULL)
        s->next->prev = s->prev;
    cloud->session_count--;
    kerf_session_unref(s);
}

/* A silent edge is found so much too late, at most. */
static uint64_t
sweep_ms(const kerf_cloud *cloud)
{
    uint64_t ms = (uint64_t)cloud->opts.dead_after_ms / 4;

    return ms < SWEEP_MS ? ms + 1 : SWEEP_MS;
}

void
kerf_session_accept(kerf_cloud *cloud, int fd)
{
    kerf_session *s;

    kerf_sessions_make_way(cloud);
    s = calloc(1, sizeof *s);
    if (s == NULL) {
        (void)close(fd);
        return;
    }
    if (kerf_conn_open_tls(&s->control, cloud->loop, fd,
                           kerf_tls_folder_now(cloud->tls), NULL, &new_ops,
                           s) != KERF_OK) {
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
    kerf_session_add_new(s, kerf_conn_how_far(s->control));
    if (cloud->session_count++ == 0 && cloud->lanes.count == 0)
        kerf_sessions_sweep_on(cloud);
}

void
kerf_sessions_sweep_on(kerf_cloud *cloud)
{
    cloud->swept_ns = 0;
    kerf_timer_start(cloud->sweep, sweep_ms(cloud), sweep_ms(cloud));
}

static void
on_new_close(void *ctx, kerf_conn *conn, kerf_err err, const char *why)
{
    const kerf_session *s = ctx;

    if (err != KERF_ECLOSED &&
        kerf_session_may_log(s->cloud, KERF_SAY_STRANGER))
        kerf_log(KERF_LOG_WARN, "cloud.stranger", "conn=%u peer=%s why=%s",
                 kerf_conn_number(conn), kerf_conn_peer(conn), KERF_Q(why));
    kerf_session_end(ctx, why);
}

/* First frame: HELLO or ATTACH. */

static uint64_t
token_hash(const uint8_t token[KERF_TOKEN_LEN])
{
    return kerf_xxh3(token, KERF_TOKEN_LEN);
}

static kerf_session *
find_session(const kerf_cloud *cloud, const uint8_t token[KERF_TOKEN_LEN])
{
    kerf_knot *knot = kerf_table_find(cloud->tokens, token_hash(token));

    for (; knot != NULL; knot = kerf_table_more(knot)) {
        kerf_session *s = knot->of;

        if (memcmp(s->token, token, KERF_TOKEN_LEN) == 0)
            return s;
    }
    return NULL;
}

/* With TLS an edge is who its certificate says, by what is trusted now: that
 * may have changed since the handshake began. */
static kerf_err
check_name(const kerf_session *s, kerf_detail *why)
{
    const char *name = kerf_conn_name(s->control);
    char shown[KERF_NAME_MAX];

    if (name == NULL)
        return KERF_OK;
    if (strcmp(name, s->hello.name) != 0) {
        return kerf_fail(why, KERF_EDENIED,
                         "the edge says that it is %s, and its certificate is "
                         "for %s: leave --name out",
                         kerf_text_safe(shown, sizeof shown, s->hello.name),
                         name);
    }
    return kerf_conn_recheck(s->control, kerf_tls_folder_now(s->cloud->tls),
                             why);
}

static kerf_err
open_session(kerf_session *s, const kerf_frame_in *frame, kerf_detail *why)
{
    kerf_cloud *cloud = s->cloud;
    kerf_welcome m = {.version = KERF_WIRE_VERSION,
                      .codecs = KERF_CODECS_ALL,
                      .payload_max = KERF_PAYLOAD_MAX,
                      .window = (uint32_t)cloud->opts.window,
                      .heartbeat_ms = (uint32_t)cloud->opts.heartbeat_ms,
                      .features =
                          KERF_FEATURE_BLOCKS | KERF_FEATURE_RANGES |
                          (cloud->opts.share_tail ? KERF_FEATURE_TAILS : 0u)};
    uint8_t meta[KERF_HEAD_STEP * 2];
    kerf_err err;

    err = kerf_hello_get(&s->hello, frame->meta, frame->header.meta_len, why);
    if (err != KERF_OK)
        return err;
    if (s->hello.version_min > KERF_WIRE_VERSION ||
        s->hello.version_max < KERF_WIRE_VERSION) {
        return kerf_fail(why, KERF_EVERSION,
                         "the edge speaks wire versions %u to %u, this cloud "
                         "%d: update the older one",
                         s->hello.version_min, s->hello.version_max,
                         KERF_WIRE_VERSION);
    }
    (void)kerf_text_safe(s->shown, sizeof s->shown, s->hello.name);
    err = check_name(s, why);
    if (err == KERF_OK)
        err = kerf_session_check_any(s, why);
    if (err != KERF_OK)
        return err;
    if ((s->hello.asks & KERF_ASKS_PROBE) == 0)
        kerf_session_make_room(s);
    if (cloud->open_count >= (size_t)cloud->opts.edges_max) {
        if (kerf_session_may_log(cloud, KERF_SAY_EDGES))
            kerf_log(KERF_LOG_WARN, "cloud.too_many_edges", "most=%d peer=%s",
                     cloud->opts.edges_max, kerf_conn_peer(s->control));
        return kerf_fail(why, KERF_EBUSY, "the cloud is full: %d edge%s",
                         cloud->opts.edges_max,
                         cloud->opts.edges_max == 1 ? "" : "s");
    }
    if (getrandom(s->token, sizeof s->token, 0) != (ssize_t)sizeof s->token)
        return kerf_fail(why, KERF_EIO, "no random numbers");
    memcpy(m.token, s->token, sizeof m.token);
    memcpy(m.name, cloud->name, sizeof m.name);
    err = kerf_conn_send_meta(s->control, KERF_FRAME_WELCOME, 0, meta,
                              kerf_welcome_put(meta, sizeof meta, &m));
    if (err != KERF_OK)
        return err;
    if ((s->hello.asks & KERF_ASKS_PROBE) != 0)
        return KERF_OK; /* it has its answer, and leaves */
    s->lane =
        kerf_lanes_join(&cloud->lanes, s->shown, kerf_conn_peer(s->control),
                        kerf_conn_name(s->control) != NULL);
    if (s->lane == NULL)
        return KERF_ENOMEM;
    kerf_table_add(cloud->tokens, &s->by_token, token_hash(s->token), s);
    s->answer_max = s->hello.payload_max;
    kerf_session_pace_open(s);
    kerf_session_remove_new(s);
    s->state = KERF_SESSION_OPEN;
    cloud->open_count++;
    kerf_conn_set_ctx(s->control, &kerf_session_control_ops, s);
    if (cloud->events.edge != NULL)
        cloud->events.edge(cloud->events.ctx, s->shown,
                           kerf_conn_peer(s->control), true, "");
    kerf_session_offer_all(s);
    return KERF_OK;
}

static kerf_err
attach(kerf_session *s, const kerf_frame_in *frame, kerf_detail *why)
{
    kerf_cloud *cloud = s->cloud;
    uint8_t token[KERF_TOKEN_LEN];
    kerf_session *e;
    kerf_err err =
        kerf_token_get(token, frame->meta, frame->header.meta_len, why);

    if (err != KERF_OK)
        return err;
    e = find_session(cloud, token);
    if (e == NULL || e->tensors != NULL)
        return kerf_fail(why, KERF_EPROTO, "no session waits for this token");
    if (!kerf_conn_is_same_peer(s->control, e->control))
        return kerf_fail(why, KERF_EDENIED,
                         "this token is of another edge's session");
    err = kerf_conn_recheck(s->control, kerf_tls_folder_now(cloud->tls), why);
    if (err != KERF_OK)
        return err;
    e->tensors = s->control;
    e->lane->attached++;
    s->control = NULL;
    kerf_conn_set_ctx(e->tensors, &kerf_session_tensor_ops, e);
    kerf_conn_set_payload_max(e->tensors, KERF_PAYLOAD_MAX);
    kerf_conn_near(e->tensors, 0, &e->coming.count, KERF_SESSION_NEAR);
    kerf_conn_near(e->tensors, 1, e->lane, KERF_LANE_NEAR);
    kerf_session_end(s, "");
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

/* What both connections may carry. */
kerf_err
kerf_session_on_common(kerf_session *s, kerf_conn *conn,
                       const kerf_frame_in *frame, kerf_detail *why)
{
    kerf_notice notice;
    char text[KERF_TEXT_MAX];

    if (frame->header.type >= 128) /* by rule: later additions */
        return KERF_OK;
    switch (frame->header.type) {
    case KERF_FRAME_PING:
        return kerf_conn_answer_ping(conn, frame);
    case KERF_FRAME_PONG:
        kerf_session_pace_pong(s, frame);
        return KERF_OK;
    case KERF_FRAME_BYE:
        s->said_bye = true;
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

void
kerf_session_on_close(void *ctx, kerf_conn *conn, kerf_err err, const char *why)
{
    (void)conn;
    (void)err;
    kerf_session_end(ctx, why);
}

static const char *
overdue(const kerf_session *s, uint64_t now_ns, bool thorough)
{
    uint64_t silence_ns = (uint64_t)s->cloud->opts.dead_after_ms * 1000000u;

    if (s->state == KERF_SESSION_NEW)
        return now_ns > s->since_ns + FIRST_FRAME_NS ? "no HELLO in 10 s"
                                                     : NULL;
    if (now_ns > kerf_conn_last_in_ns(s->control) + silence_ns)
        return "silent for too long";
    if (!thorough)
        return NULL;
    if (kerf_conn_is_stalled(s->control, now_ns) ||
        (s->tensors != NULL && kerf_conn_is_stalled(s->tensors, now_ns)))
        return "a frame takes too long";
    if (kerf_session_waits(s, now_ns))
        return "the blocks of a request stopped coming";
    return NULL;
}

/* This process itself was stopped: what came meanwhile is not read yet. */
static bool
was_away(kerf_cloud *cloud, uint64_t now_ns)
{
    uint64_t late_ms =
        sweep_ms(cloud) + (uint64_t)cloud->opts.dead_after_ms / 3;
    bool away = cloud->swept_ns != 0 &&
                now_ns > cloud->swept_ns + late_ms * UINT64_C(1000000);

    cloud->swept_ns = now_ns;
    return away;
}

void
kerf_sessions_sweep(kerf_cloud *cloud)
{
    uint64_t now_ns = kerf_now_ns();
    bool thorough = cloud->sweeps++ % SWEEPS_THOROUGH == 0;
    kerf_session *next;

    kerf_lanes_tick(&cloud->lanes, now_ns);
    kerf_sessions_tell_left_out(cloud, cloud->session_count == 0);
    kerf_rollouts_settle(cloud->rollouts);
    if (cloud->session_count == 0 && cloud->lanes.count == 0 &&
        !kerf_rollouts_any_open(cloud->rollouts))
        kerf_timer_stop(cloud->sweep);
    if (was_away(cloud, now_ns))
        return;
    for (kerf_session *s = cloud->sessions; s != NULL; s = next) {
        const char *why = overdue(s, now_ns, thorough);

        next = s->next;
        if (why == NULL)
            continue;
        if (kerf_session_may_log(cloud, KERF_SAY_OVERDUE))
            kerf_log(KERF_LOG_WARN, "cloud.overdue", "peer=%s why=%s",
                     kerf_conn_peer(s->control), KERF_Q(why));
        (void)!kerf_conn_send_notice(s->control, KERF_FRAME_ERROR, 0,
                                     KERF_EDEADLINE, 0, why);
        kerf_session_end(s, why);
    }
}

void
kerf_sessions_bye(kerf_cloud *cloud, const char *text)
{
    for (kerf_session *s = cloud->sessions; s != NULL; s = s->next) {
        if (s->state == KERF_SESSION_OPEN)
            (void)!kerf_conn_send_notice(s->control, KERF_FRAME_BYE, 0,
                                         KERF_ECLOSED, 1000, text);
    }
}

void
kerf_sessions_close(kerf_cloud *cloud)
{
    while (cloud->sessions != NULL) /* the end of one unlinks it: */
        /* NOLINTNEXTLINE(clang-analyzer-unix.Malloc): it cannot see that */
        kerf_session_end(cloud->sessions, "the cloud stops");
    kerf_sessions_tell_left_out(cloud, true);
}
