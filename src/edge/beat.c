#include "edge/beat.h"

#include "base/clock.h"
#include "edge/link_own.h"

#define MS_NS UINT64_C(1000000)
/* On the tensor connection a ping stands in line behind requests. They may be
 * in buffers that TCP does not tell of (a tunnel, a proxy), so what is not
 * answered yet buys time, at the rate of a slow link. */
#define SLOWEST_BYTES_PER_MS 16

uint64_t
kerf_beat_dead_ms(const kerf_edge *edge)
{
    uint64_t cloud_ms = (uint64_t)edge->welcome.heartbeat_ms * 3;

    if (edge->opts.dead_after_ms > 0)
        return (uint64_t)edge->opts.dead_after_ms;
    /* What the last cloud said, if it is not more patient than we are. */
    return cloud_ms > 0 && cloud_ms < KERF_DEAD_MS ? cloud_ms : KERF_DEAD_MS;
}

static void
fire_at(kerf_edge *edge, uint64_t at_ns)
{
    uint64_t now_ns = kerf_now_ns();
    uint64_t in_ms = at_ns > now_ns ? (at_ns - now_ns) / MS_NS + 1 : 0;

    edge->beat.due_ns = now_ns + in_ms * MS_NS;
    kerf_timer_start(edge->heartbeat, in_ms, 0);
}

void
kerf_beat_hello(kerf_edge *edge)
{
    edge->beat = (kerf_beat){.dead_ns = kerf_beat_dead_ms(edge) * MS_NS};
    fire_at(edge, kerf_now_ns() + edge->beat.dead_ns);
}

uint64_t
kerf_beat_silence_ms(int told_ms, uint32_t heartbeat_ms)
{
    uint64_t cloud_ms = (uint64_t)heartbeat_ms * 3;

    if (told_ms > 0)
        return (uint64_t)told_ms;
    return cloud_ms < KERF_DEAD_MOST_MS ? cloud_ms : KERF_DEAD_MOST_MS;
}

void
kerf_beat_start(kerf_edge *edge)
{
    uint64_t cloud_ms = edge->welcome.heartbeat_ms;
    uint64_t dead_ms = kerf_beat_silence_ms(edge->opts.dead_after_ms,
                                            edge->welcome.heartbeat_ms);
    uint64_t ping_ms = dead_ms / 3 < cloud_ms ? dead_ms / 3 : cloud_ms;
    uint64_t now_ns = kerf_now_ns();

    edge->beat = (kerf_beat){.dead_ns = dead_ms * MS_NS,
                             .ping_ns = ping_ms * MS_NS,
                             .since_ns = now_ns,
                             .next_ping_ns = now_ns + ping_ms * MS_NS};
    fire_at(edge, edge->beat.next_ping_ns);
}

/* When a connection on which nothing more comes will have been silent for too
 * long. */
static uint64_t
silent_at(const kerf_edge *edge, const kerf_conn *conn)
{
    uint64_t last_ns = kerf_conn_last_in_ns(conn);

    if (last_ns < edge->beat.since_ns)
        last_ns = edge->beat.since_ns;
    return last_ns + edge->beat.dead_ns;
}

static uint64_t
unanswered_bytes(kerf_edge *edge)
{
    kerf_flight *list[KERF_FLIGHTS_LISTED];
    uint64_t bytes = 0;
    size_t n;

    (void)pthread_mutex_lock(&edge->lock);
    if (edge->streaming != NULL) /* at most; it is being coded */
        bytes += edge->streaming->tensor_bytes;
    n = kerf_link_flights(edge, list);
    for (size_t i = 0; i < n; i++) {
        if (list[i]->state == KERF_FLIGHT_SENT)
            bytes += list[i]->coded_bytes;
    }
    (void)pthread_mutex_unlock(&edge->lock);
    return bytes;
}

/* The reason to end the session, or NULL; *soonest_ns: when to look again. */
static const char *
find_trouble(kerf_edge *edge, uint64_t now_ns, uint64_t *soonest_ns)
{
    uint64_t at_ns = silent_at(edge, edge->control);

    if (now_ns > at_ns)
        return "the cloud is silent";
    *soonest_ns = at_ns;
    if (edge->tensors != NULL) {
        at_ns = silent_at(edge, edge->tensors);
        if (now_ns > at_ns)
            at_ns += unanswered_bytes(edge) * MS_NS / SLOWEST_BYTES_PER_MS;
        if (now_ns > at_ns)
            return "the cloud is silent on the connection for tensors";
        *soonest_ns = at_ns < *soonest_ns ? at_ns : *soonest_ns;
    }
    if (kerf_conn_is_stalled(edge->control, now_ns) ||
        (edge->tensors != NULL && kerf_conn_is_stalled(edge->tensors, now_ns)))
        return "a frame takes too long";
    return NULL;
}

static void
ping(kerf_edge *edge, uint64_t now_ns)
{
    kerf_beat *b = &edge->beat;

    if (now_ns < b->next_ping_ns)
        return;
    b->next_ping_ns = now_ns + b->ping_ns;
    (void)!kerf_conn_send_meta(edge->control, KERF_FRAME_PING, 0, NULL, 0);
    if (edge->tensors == NULL)
        return;
    /* One at a time: on a slow link they would pile up behind a request. */
    if (b->pinged_ns != 0 && kerf_conn_last_in_ns(edge->tensors) < b->pinged_ns)
        return;
    b->pinged_ns = now_ns;
    (void)!kerf_conn_send_meta(edge->tensors, KERF_FRAME_PING, 0, NULL, 0);
}

void
kerf_beat_fire(void *ctx)
{
    kerf_edge *edge = ctx;
    kerf_beat *b = &edge->beat;
    uint64_t now_ns = kerf_now_ns();
    uint64_t soonest_ns = 0;
    const char *why;

    if (edge->link == KERF_LINK_HELLO ||
        (edge->link < KERF_LINK_UP && now_ns > edge->shake_until_ns)) {
        kerf_link_down(edge, "it takes the connection but does not answer: is "
                             "it a Kerf cloud?");
        return;
    }
    /* This process itself was stopped, or its disk was: what came meanwhile is
     * not read yet. */
    if (now_ns > b->due_ns + b->dead_ns / 3)
        b->since_ns = now_ns;
    why = find_trouble(edge, now_ns, &soonest_ns);
    if (why != NULL) {
        kerf_link_down(edge, why);
        return;
    }
    ping(edge, now_ns);
    if (edge->parting)
        kerf_loop_post(edge->loop, &edge->part);
    fire_at(edge, soonest_ns < b->next_ping_ns ? soonest_ns : b->next_ping_ns);
}
