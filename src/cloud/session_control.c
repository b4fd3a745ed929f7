/*
 * The control connection: offers of bundles, and which one the edge runs.
 */
#include "cloud/session_own.h"

#include "base/text.h"

#include <stdlib.h>
#include <string.h>

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
        if (best == NULL || at->newest_ns > best->newest_ns)
            best = at;
    }
    return best;
}

static void
offer(kerf_session *s, kerf_served *served)
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
    hold(s, served);
    m.run = pick(s) == served;
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

void
kerf_session_offer_all(kerf_session *s)
{
    const kerf_registry *registry = s->cloud->registry;
    kerf_served *first = pick(s);

    /* The one to run first: nothing shall delay it. */
    if (first != NULL)
        offer(s, first);
    for (size_t i = 0; i < kerf_registry_count(registry); i++) {
        if (kerf_registry_at(registry, i) != first)
            offer(s, kerf_registry_at(registry, i));
    }
}

void
kerf_sessions_offer(kerf_cloud *cloud, kerf_served *s, kerf_served *old)
{
    kerf_session *next;

    for (kerf_session *e = cloud->sessions; e != NULL; e = next) {
        kerf_served *given;

        next = e->next;
        if (e->state != KERF_SESSION_OPEN)
            continue;
        if (s != NULL)
            offer(e, s);
        given = pick(e);
        if (old != NULL && given != NULL && given != s)
            offer(e, given); /* it ran the old one, perhaps */
    }
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
    if (cloud->events.shipped != NULL) {
        cloud->events.shipped(cloud->events.ctx, s->shown,
                              served->manifest.name, s->shipped_bytes,
                              s->shipped_wire, (kerf_err)m.err,
                              kerf_text_safe(reason, sizeof reason, m.reason));
    }
    s->shipped_bytes = s->shipped_wire = 0;
    for (size_t i = 0; m.err == 0 && i < s->held_count;) {
        bool current = s->held[i] == served;

        for (size_t c = 0; !current && c < kerf_registry_count(cloud->registry);
             c++)
            current = kerf_registry_at(cloud->registry, c) == s->held[i];
        if (current)
            i++;
        else
            kerf_session_drop_held(s, i);
    }
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
    default:
        return kerf_session_on_common(s, conn, frame, why);
    }
}

const kerf_conn_ops kerf_session_control_ops = {
    .on_frame = on_control_frame, .on_close = kerf_session_on_close};
