/*
 * Connections that have not said what they are. As many may wait as there may
 * be edges, and some more; then one of them goes, so that idle ones shut nobody
 * out: of those that have shown the least the one that has waited longest. With
 * TLS one that is silent costs nothing, one that was greeted a signature, and
 * one with a good certificate was given it by the fleet. Those that shake hands
 * cost memory (docs/SECURITY.md): of them there are fewer.
 *
 * How far a connection is, is looked at when its turn to go has come: it then
 * moves to those that have come as far, twice at most.
 */
#include "cloud/session_own.h"

#include "base/clock.h"
#include "base/log.h"

#define SHAKING_MOST 1024u

void
kerf_session_add_new(kerf_session *s, unsigned step)
{
    kerf_new_list *list = &s->cloud->fresh[step];

    s->step = step;
    s->newer = NULL;
    s->older = list->newest;
    if (s->older != NULL)
        s->older->newer = s;
    else
        list->oldest = s;
    list->newest = s;
    list->count++;
}

void
kerf_session_remove_new(kerf_session *s)
{
    kerf_new_list *list = &s->cloud->fresh[s->step];

    if (s->older != NULL)
        s->older->newer = s->newer;
    else
        list->oldest = s->newer;
    if (s->newer != NULL)
        s->newer->older = s->older;
    else
        list->newest = s->older;
    s->older = s->newer = NULL;
    list->count--;
}

static void
evict(kerf_session *s)
{
    kerf_cloud *cloud = s->cloud;
    const char *why = "too many connections without HELLO";

    if (kerf_session_may_log(cloud, KERF_SAY_NEW))
        kerf_log(KERF_LOG_WARN, "cloud.too_many_new",
                 "most=%zu step=%u peer=%s", cloud->new_most, s->step,
                 kerf_conn_peer(s->control));
    (void)!kerf_conn_send_notice(s->control, KERF_FRAME_ERROR, 0, KERF_EBUSY, 0,
                                 why);
    kerf_session_end(s, why);
}

static bool
is_full(const kerf_cloud *cloud)
{
    size_t shaking = 0;

    for (unsigned i = 0; i + 1 < KERF_CONN_STEPS; i++)
        shaking += cloud->fresh[i].count;
    return shaking >= SHAKING_MOST ||
           shaking + cloud->fresh[KERF_CONN_STEPS - 1].count >= cloud->new_most;
}

void
kerf_sessions_make_way(kerf_cloud *cloud)
{
    while (is_full(cloud)) {
        kerf_session *s = NULL;
        unsigned step;

        for (unsigned i = 0; s == NULL; i++)
            s = cloud->fresh[i].oldest;
        step = kerf_conn_how_far(s->control);
        if (step > s->step) {
            kerf_session_remove_new(s);
            kerf_session_add_new(s, step);
        } else {
            evict(s);
        }
    }
}

/* What is said of strangers. */

bool
kerf_session_may_log(kerf_cloud *cloud, kerf_say what)
{
    return kerf_few_may(&cloud->few[what], kerf_now_ns());
}

void
kerf_sessions_tell_left_out(kerf_cloud *cloud, bool end)
{
    static const char *const names[KERF_SAYS] = {
        [KERF_SAY_NEW] = "too_many_new",
        [KERF_SAY_STRANGER] = "stranger",
        [KERF_SAY_EDGES] = "too_many_edges",
        [KERF_SAY_OVERDUE] = "overdue",
        [KERF_SAY_NAME] = "too_many_of_name"};
    uint64_t now_ns = kerf_now_ns();

    for (unsigned i = 0; i < KERF_SAYS; i++) {
        uint64_t count = kerf_few_left_out(&cloud->few[i], now_ns, end);

        if (count > 0)
            kerf_log(KERF_LOG_WARN, "cloud.left_out", "of=cloud.%s lines=%llu",
                     names[i], (unsigned long long)count);
    }
}
