/*
 * The control connection: offers of bundles, and which one the edge runs.
 */
#include "cloud/session_own.h"

#include "base/clock.h"
#include "base/text.h"

#include <stdlib.h>
#include <string.h>

/* Replaced bundles of a model that an edge may still use, beside the old one of
 * a rollout: an edge that never says what it runs must not keep all. */
#define REPLACED_MOST 4
/* What a new bundle does at its first inputs, it has done by then. */
#define SOON_NS UINT64_C(60000000000)

void
kerf_session_drop_held(kerf_session *s, size_t i)
{
    if (s->may_last == s->held[i])
        s->may_last = NULL; /* another one may come to lie there */
    kerf_served_unref(s->held[i]);
    s->held_count--;
    memmove(&s->held[i], &s->held[i + 1],
            (s->held_count - i) * sizeof(s->held[0]));
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

static bool
is_current(const kerf_cloud *cloud, const kerf_served *served)
{
    for (size_t c = 0; c < kerf_registry_count(cloud->registry); c++) {
        if (kerf_registry_at(cloud->registry, c) == served)
            return true;
    }
    return kerf_rollouts_needs(cloud->rollouts, served);
}

static void
drop_replaced(kerf_session *s, const kerf_served *by)
{
    size_t replaced = 0;

    for (size_t i = 0; i < s->held_count;) {
        const kerf_served *at = s->held[i];

        if (strcmp(at->manifest.name, by->manifest.name) == 0 &&
            !is_current(s->cloud, at) && ++replaced > REPLACED_MOST)
            kerf_session_drop_held(s, i);
        else
            i++;
    }
}

static void
hold(kerf_session *s, kerf_served *served)
{
    for (size_t i = 0; i < s->held_count; i++) {
        if (s->held[i] == served)
            return;
    }
    if (s->held_count == KERF_HELD_MAX)
        kerf_session_drop_held(s, KERF_HELD_MAX - 1);
    memmove(&s->held[1], &s->held[0], s->held_count * sizeof(s->held[0]));
    s->held[0] = kerf_served_ref(served);
    s->held_count++;
    drop_replaced(s, served);
}

/* What this edge is given to run: of the model that it wants, else of the one
 * whose files changed last. NULL: there is none. */
static kerf_served *
pick(const kerf_session *s)
{
    const kerf_registry *registry = s->cloud->registry;
    kerf_served *best = NULL;

    for (size_t i = 0; i < kerf_registry_count(registry); i++) {
        kerf_served *at = kerf_registry_at(registry, i);

        if (s->hello.want[0] != '\0' &&
            strcmp(at->manifest.name, s->hello.want) != 0)
            continue;
        if (!kerf_session_may(s, at->manifest.name))
            continue;
        at = kerf_rollouts_for(s->cloud->rollouts, at, s->shown);
        if (at != NULL && (best == NULL || at->newest_ns > best->newest_ns))
            best = at;
    }
    return best;
}

/* For those who look on: what it is given, or what it would not have. */
static void
note_told(kerf_session *s, const kerf_served *served)
{
    kerf_cloud *cloud = s->cloud;
    const kerf_served *failed =
        kerf_rollouts_failed(cloud->rollouts, served, s->shown);

    if (failed != NULL)
        kerf_lanes_note_update(&cloud->lanes, s->lane, KERF_UPDATE_REJECTED,
                               failed->id);
    else
        kerf_lanes_note_update(&cloud->lanes, s->lane, KERF_UPDATE_OFFERED,
                               served->id);
}

/* What it is given to run; NULL: nothing that is known. */
static const kerf_served *
told(const kerf_session *s)
{
    for (size_t i = 0; i < s->held_count; i++) {
        if (s->held[i]->number == s->told)
            return s->held[i];
    }
    return NULL;
}

/* Given another model, it leaves the rollout of the one before. */
static void
change_model(const kerf_session *s, const kerf_served *served)
{
    const kerf_served *was = told(s);

    if (was != NULL && strcmp(was->manifest.name, served->manifest.name) != 0)
        kerf_rollouts_left(s->cloud->rollouts, NULL, s->shown,
                           KERF_LEFT_MIDWAY);
}

static void
offer(kerf_session *s, kerf_served *served, bool run)
{
    struct offer_out *o;
    kerf_offer m = {.manifest_len = (uint32_t)served->manifest_len};
    kerf_header h = {.type = KERF_FRAME_OFFER};
    size_t len;

    if (!kerf_session_may(s, served->manifest.name))
        return;
    o = calloc(1, sizeof *o);
    if (o == NULL) {
        kerf_conn_break(s->control);
        return;
    }
    if (run)
        change_model(s, served);
    hold(s, served);
    m.run = run;
    if (run) { /* what it only keeps says nothing of how it runs */
        kerf_rollouts_offer(s->cloud->rollouts, served, s->shown);
        if (s->told != served->number) {
            s->runs_ns = 0;
            s->refused = s->loads = false;
        }
        s->told = served->number;
        note_told(s, served);
    }
    memcpy(m.bundle, served->manifest.id, sizeof m.bundle);
    len = kerf_offer_put(o->head + KERF_HEADER_LEN,
                         sizeof o->head - KERF_HEADER_LEN, &m);
    o->served = kerf_served_ref(served);
    o->out.count = 1;
    o->out.piece[0] = served->manifest_json;
    o->out.len[0] = served->manifest_len;
    kerf_out_seal_over(&o->out, o->head, &h, len, s->cloud->tls != NULL);
    o->out.done = on_offer_sent;
    o->out.ctx = o;
    kerf_conn_send(s->control, &o->out);
}

/* The one of this model that the edge runs now and may use until it has loaded
 * what it is given, when that is another one; NULL: no need. */
static kerf_served *
still_running(kerf_session *s, kerf_served *newest, const kerf_served *given)
{
    kerf_served *old = kerf_rollouts_old(s->cloud->rollouts, newest);
    kerf_served *at[2] = {newest, old};

    for (size_t i = 0; old != NULL && i < 2; i++) {
        for (size_t k = 0; at[i] != given && k < s->hello.bundle_count; k++) {
            if (memcmp(s->hello.bundle[k], at[i]->manifest.id,
                       KERF_BUNDLE_ID_LEN) == 0)
                return at[i];
        }
    }
    return NULL;
}

/* Coming and going. */

static kerf_leave
how_left(const kerf_session *s)
{
    if (s->said_bye)
        return KERF_LEFT_WELL;
    if (s->runs_ns != 0)
        return kerf_conn_last_in_ns(s->control) > s->runs_ns + SOON_NS
                   ? KERF_LEFT_WELL
                   : KERF_LEFT_SOON;
    return s->loads && !s->refused ? KERF_LEFT_SOON : KERF_LEFT_MIDWAY;
}

static void
leave(kerf_session *s, kerf_leave how)
{
    if (!s->left)
        kerf_rollouts_left(s->cloud->rollouts, told(s), s->shown, how);
    s->left = true;
}

void
kerf_session_leave(kerf_session *s)
{
    leave(s, how_left(s));
}

/* Of an edge whose end was not noticed yet, or of another one of its name: how
 * that ends says nothing. */
static void
leave_earlier(const kerf_session *s)
{
    for (kerf_session *e = s->cloud->sessions;
         s->lane->sessions > 1 && e != NULL; e = e->next) {
        if (e != s && e->lane == s->lane)
            leave(e, KERF_LEFT_MIDWAY);
    }
}

void
kerf_session_offer_all(kerf_session *s)
{
    const kerf_registry *registry = s->cloud->registry;
    kerf_rollouts *rollouts = s->cloud->rollouts;
    kerf_served *first;
    size_t count = kerf_registry_count(registry);

    leave_earlier(s);
    first = pick(s);
    if (first != NULL) {
        kerf_rollouts_came(rollouts, first->manifest.name, s->shown, &s->hello);
        first = pick(s); /* it may have failed by that */
    }
    /* It has it, so that this delays nothing. */
    for (size_t i = 0; i < count; i++) {
        kerf_served *at = kerf_registry_at(registry, i);
        kerf_served *runs =
            still_running(s, at, kerf_rollouts_for(rollouts, at, s->shown));

        if (runs != NULL)
            offer(s, runs, false);
    }
    /* The one to run first: nothing shall delay it. */
    if (first != NULL)
        offer(s, first, true);
    for (size_t i = 0; i < count; i++) {
        kerf_served *at = kerf_rollouts_for(
            rollouts, kerf_registry_at(registry, i), s->shown);

        if (at != NULL && at != first)
            offer(s, at, false);
    }
}

/* What it is given may be another one now. */
static void
tell_again(kerf_session *s)
{
    kerf_served *given = pick(s);

    if (given != NULL && given->number != s->told)
        offer(s, given, true);
}

void
kerf_sessions_offer(kerf_cloud *cloud, kerf_served *s)
{
    kerf_session *next;

    kerf_rollouts_telling(cloud->rollouts);
    for (kerf_session *e = cloud->sessions; e != NULL; e = next) {
        next = e->next;
        if (e->state != KERF_SESSION_OPEN)
            continue;
        tell_again(e);
        if (s != NULL && e->told != s->number &&
            kerf_rollouts_for(cloud->rollouts, s, e->shown) == s)
            offer(e, s, false);
    }
    kerf_rollouts_settle(cloud->rollouts);
    if (cloud->session_count == 0 && cloud->lanes.count == 0 &&
        kerf_rollouts_any_open(cloud->rollouts))
        kerf_sessions_sweep_on(cloud); /* it may end by time alone */
}

/* Control. */

kerf_served *
kerf_session_held(kerf_session *s, const uint8_t *id)
{
    for (size_t i = 0; i < s->held_count; i++) {
        if (memcmp(s->held[i]->manifest.id, id, KERF_BUNDLE_ID_LEN) == 0)
            return s->held[i];
    }
    return NULL;
}

static void
note_ready(kerf_session *s, const kerf_served *served, kerf_err err)
{
    kerf_lanes *lanes = &s->cloud->lanes;

    if (err != KERF_OK) {
        kerf_lanes_note_update(lanes, s->lane,
                               kerf_ready_is_passing((uint16_t)err)
                                   ? KERF_UPDATE_BLOCKED
                                   : KERF_UPDATE_REJECTED,
                               served->id);
        return;
    }
    kerf_lanes_note_model(lanes, s->lane, served, served->manifest.name,
                          served->id, served->says.version);
    if (kerf_lanes_update_is(lanes, s->lane, served->id))
        kerf_lanes_note_update(lanes, s->lane, KERF_UPDATE_RUNNING, served->id);
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
    kerf_err err = kerf_ready_get(&m, frame->meta, frame->header.meta_len, why);

    if (err != KERF_OK)
        return err;
    served = kerf_session_held(s, m.bundle);
    if (served == NULL)
        return KERF_OK;
    (void)kerf_text_safe(reason, sizeof reason, m.reason);
    for (size_t i = 0; m.err == 0 && i < s->held_count;) {
        if (s->held[i] == served || is_current(cloud, s->held[i]))
            i++;
        else
            kerf_session_drop_held(s, i);
    }
    if (served->number == s->told) {
        s->refused = m.err != 0;
        if (m.err == 0 && s->runs_ns == 0)
            s->runs_ns = kerf_now_ns();
    }
    note_ready(s, served, (kerf_err)m.err);
    kerf_rollouts_ready(cloud->rollouts, served, s->shown, (kerf_err)m.err,
                        reason);
    if (cloud->events.shipped != NULL) { /* who hears of it finds it counted */
        cloud->events.shipped(cloud->events.ctx, s->shown,
                              served->manifest.name, s->shipped_bytes,
                              s->shipped_wire, (kerf_err)m.err, reason);
    }
    s->shipped_bytes = s->shipped_wire = 0;
    tell_again(s);
    return KERF_OK;
}

static kerf_err
on_loading(kerf_session *s, const kerf_frame_in *frame, kerf_detail *why)
{
    uint8_t bundle[KERF_BUNDLE_ID_LEN];
    const kerf_served *served;
    kerf_err err =
        kerf_loading_get(bundle, frame->meta, frame->header.meta_len, why);

    if (err != KERF_OK)
        return err;
    served = kerf_session_held(s, bundle);
    if (served != NULL && served->number == s->told)
        s->loads = true;
    return KERF_OK;
}

static kerf_err
on_control_frame(void *ctx, kerf_conn *conn, const kerf_frame_in *frame,
                 kerf_detail *why)
{
    kerf_session *s = ctx;

    switch (frame->header.type) {
    case KERF_FRAME_FETCH:
        return kerf_session_on_fetch(s, frame, why);
    case KERF_FRAME_READY:
        return on_ready(s, frame, why);
    case KERF_FRAME_LOADING:
        return on_loading(s, frame, why);
    default:
        return kerf_session_on_common(s, conn, frame, why);
    }
}

const kerf_conn_ops kerf_session_control_ops = {
    .on_frame = on_control_frame, .on_close = kerf_session_on_close};
