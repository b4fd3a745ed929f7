/*
 * A session's parts beside tensors: measures, and tells the connection how fast
 * they may go (pace.h).
 */
#include "cloud/session_own.h"

#include "base/clock.h"
#include "base/hash.h"
#include "base/log.h"

#include <string.h>

#define ASKED_LAST_NS UINT64_C(10000000000)
/* While anyone asks: hashing and sending what holds the loop for 20 us. */
#define BESIDE_CHUNK ((size_t)64 << 10)
#define BESIDE_NS UINT64_C(1000000000)
#define REST_NS UINT64_C(1000000000) /* no parts for so long: no ticks */
#define PINGS_MOST 32u /* under way; an edge that answers none gets no more */

/* Edges of one address share a link, as far as is known here. A few addresses
 * share a place: then a download is paced for nothing. */
void
kerf_session_pace_open(kerf_session *s)
{
    s->place =
        &s->cloud->asked_ns[kerf_xxh3(s->lane->host, strlen(s->lane->host)) %
                            KERF_PLACES];
}

static bool
asked_lately(const kerf_session *s, uint64_t now_ns)
{
    return *s->place != 0 && now_ns < *s->place + ASKED_LAST_NS;
}

/* Its stamps tell how long the way there takes for an answer now. */
static void
ping(kerf_session *s)
{
    if (s->tensors == NULL || s->pings >= PINGS_MOST)
        return;
    s->pings++;
    (void)!kerf_conn_send_meta(s->tensors, KERF_FRAME_PING, 0, NULL, 0);
}

static void
on_tick(void *ctx)
{
    kerf_session *s = ctx;
    uint64_t now_ns = kerf_now_ns();
    kerf_pace_state was = s->pace.state;
    uint64_t rate;

    if (s->fetch_count == 0 && now_ns > s->shipped_ns + REST_NS) {
        s->pacing = false;
        return;
    }
    rate = kerf_pace_tick(&s->pace, now_ns, asked_lately(s, now_ns),
                          s->fetch_count > 0, kerf_conn_delivered(s->control));
    kerf_conn_pace(s->control, rate);
    if (rate != 0)
        ping(s);
    if (was != s->pace.state) {
        kerf_log(KERF_LOG_DEBUG, "cloud.pace",
                 "peer=%s state=%d rate=%llu link=%llu",
                 kerf_conn_peer(s->control), (int)s->pace.state,
                 (unsigned long long)rate, (unsigned long long)s->pace.link);
    }
    kerf_timer_start(s->pace_timer, kerf_pace_tick_ms(&s->pace), 0);
}

void
kerf_session_pace_shipping(kerf_session *s)
{
    s->shipped_ns = kerf_now_ns();
    if (s->pacing || kerf_conn_is_local(s->control))
        return;
    if (s->pace_timer == NULL &&
        kerf_timer_new(&s->pace_timer, s->cloud->loop, on_tick, s) != KERF_OK)
        return; /* it goes unpaced */
    s->pacing = true;
    s->pace.idle = true; /* until now */
    on_tick(s);
}

void
kerf_session_pace_pong(kerf_session *s, const kerf_frame_in *frame)
{
    kerf_pong m;

    if (s->pings == 0 || s->control == NULL ||
        kerf_pong_get(&m, frame->meta, frame->header.meta_len, NULL) != KERF_OK)
        return;
    s->pings--;
    kerf_pace_pong(&s->pace, kerf_now_ns(), m.echo_ns, m.received_ns,
                   kerf_conn_delivered(s->control));
    if (s->pacing && s->pace.state != KERF_PACE_FREE)
        kerf_conn_pace(s->control, s->pace.rate);
}

bool
kerf_session_pace_beside(const kerf_session *s)
{
    return s->cloud->asked_last_ns != 0 &&
           s->shipped_ns < s->cloud->asked_last_ns + BESIDE_NS;
}

size_t
kerf_session_pace_chunk(const kerf_session *s)
{
    size_t most = kerf_session_pace_beside(s) ? BESIDE_CHUNK : KERF_PART_CHUNK;
    uint64_t paced = s->pace.rate / 100;

    if (!s->pacing || s->pace.state == KERF_PACE_FREE || paced > most)
        return most;
    return paced < 16384 ? 16384 : (size_t)paced;
}
