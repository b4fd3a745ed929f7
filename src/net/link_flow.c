/*
 * Design. A way of the link is a clock: when it will have sent all that it has
 * taken (busy_ns). A chunk that is read from a socket moves the clock on by its
 * bytes over the rate, and arrives when the clock stands there, plus half an
 * RTT, plus jitter. Nothing is read while the clock is further ahead than the
 * queue is long; connections are read by turns. So rates are exact on the
 * average however late a timer is, and nobody's share depends on its number of
 * bytes in a socket.
 *
 * Sockets have small buffers and segments of the size of a packet: with
 * loopback's 64 KB segments in a small buffer, TCP waits for its timers.
 */
#include "net/link_emu_own.h"

#include "base/rng.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>

#define READ_MOST ((size_t)64 << 10)
#define WINDOW_LEAST ((size_t)256 << 10)
#define WINDOW_MOST ((size_t)64 << 20)
#define TAKE_MOST 64 /* reads, then what arrives is delivered */

/* Rates. */

static double
bytes_per_ns(const kerf_link_emu *emu, int way)
{
    double mbit = way == KERF_LINK_UP ? emu->spec.up_mbit : emu->spec.down_mbit;

    return mbit / 8 * 1e-3;
}

/* At the link's rate, headers included; 0 without a limit. */
static uint64_t
time_of(const kerf_link_emu *emu, int way, size_t len)
{
    double rate = bytes_per_ns(emu, way);
    size_t packets = (len + KERF_LINK_PACKET - 1) / KERF_LINK_PACKET;

    return rate > 0
               ? (uint64_t)((double)(len + packets * KERF_LINK_HEADERS) / rate)
               : 0;
}

static size_t
clamp(double v, size_t least, size_t most)
{
    return v < (double)least ? least : v > (double)most ? most : (size_t)v;
}

/* A read is about 1 ms of the link, so that many connections share it, and of
 * whole packets, so that headers are counted right. */
static size_t
read_size(const kerf_link_emu *emu, int way)
{
    double rate = bytes_per_ns(emu, way);
    size_t size =
        rate > 0 ? clamp(rate * 1e6, KERF_LINK_PACKET, READ_MOST) : READ_MOST;

    return size - size % KERF_LINK_PACKET;
}

/* What one connection may have under way, as TCP's window: all that the link
 * holds, twice. */
static size_t
window_size(const kerf_link_emu *emu, int way)
{
    double rate = bytes_per_ns(emu, way);
    double ms = emu->spec.rtt_ms + emu->spec.jitter_ms + emu->spec.queue_ms;

    if (rate == 0)
        return emu->spec.rtt_ms + emu->spec.jitter_ms > 0 ? WINDOW_MOST
                                                          : 4 * WINDOW_LEAST;
    return clamp(2 * rate * ms * 1e6, WINDOW_LEAST, WINDOW_MOST);
}

/* Connections: bytes. */

/* What has arrived. False: the connection is over. *moved: something was. */
static bool
deliver(kerf_link_conn *conn, int way, uint64_t at_ns, bool *moved)
{
    kerf_lane *lane = &conn->lane[way];
    kerf_link_side *to = &conn->side[!way];
    kerf_link_counts *counts = &conn->emu->counts;

    while (lane->first != NULL && lane->first->at_ns <= at_ns) {
        kerf_chunk *chunk = lane->first;

        if (chunk->kind == KERF_CHUNK_DATA) {
            ssize_t n = send(to->fd, chunk->data + chunk->done,
                             chunk->len - chunk->done, MSG_NOSIGNAL);

            to->writable = n >= 0;
            if (n < 0 && (errno == EAGAIN || errno == EINTR))
                return true;
            if (n < 0)
                break; /* nobody takes it any more */
            *moved = true;
            *(way == KERF_LINK_UP ? &counts->up_bytes : &counts->down_bytes) +=
                (uint64_t)n;
            chunk->done += (size_t)n;
            if (chunk->done < chunk->len)
                continue;
        } else if (chunk->kind == KERF_CHUNK_END) {
            (void)shutdown(to->fd, SHUT_WR);
            lane->ended = true;
        } else {
            break;
        }
        lane->held -= chunk->len;
        lane->first = chunk->next;
        if (lane->first == NULL)
            lane->last = NULL;
        free(chunk);
    }
    if (lane->first != NULL && lane->first->at_ns <= at_ns) {
        bool cut = lane->first->kind == KERF_CHUNK_CUT;

        counts->cut += cut;
        kerf_link_drop(conn, !cut);
        return false;
    }
    if (conn->lane[0].ended && conn->lane[1].ended) {
        kerf_link_drop(conn, false);
        return false;
    }
    return true;
}

bool
kerf_link_deliver(kerf_link_emu *emu, uint64_t at_ns)
{
    bool moved = false;

    for (kerf_link_conn *c = emu->first, *next; c != NULL; c = next) {
        next = c->next;
        if (!c->vanished && deliver(c, KERF_LINK_UP, at_ns, &moved))
            (void)deliver(c, KERF_LINK_DOWN, at_ns, &moved);
    }
    return moved;
}

/* Puts it on the way, behind all that is. */
static void
put(kerf_link_conn *conn, int way, kerf_chunk *chunk, uint64_t at_ns)
{
    kerf_link_emu *emu = conn->emu;
    kerf_link_way *w = &emu->way[way];
    double late_ms = emu->spec.rtt_ms / 2;

    if (emu->spec.jitter_ms > 0)
        late_ms += (double)kerf_rng_unit(&w->rng) * emu->spec.jitter_ms;
    if (w->busy_ns < at_ns)
        w->busy_ns = at_ns;
    w->busy_ns += time_of(emu, way, chunk->len);
    chunk->at_ns = w->busy_ns + (uint64_t)(late_ms * 1e6);
    kerf_lane_push(&conn->lane[way], chunk);
}

static bool
put_end(kerf_link_conn *conn, int way, kerf_chunk_kind kind, uint64_t at_ns)
{
    kerf_chunk *chunk = kerf_chunk_new(kind, 0);

    conn->lane[way].closed = true;
    if (chunk == NULL)
        return false;
    put(conn, way, chunk, at_ns);
    return true;
}

/* Reads some and puts it on the way. False: no memory. */
static bool
take(kerf_link_conn *conn, int way, uint64_t at_ns)
{
    kerf_link_emu *emu = conn->emu;
    kerf_lane *lane = &conn->lane[way];
    uint64_t left = lane->cut_at - lane->taken;
    size_t size = read_size(emu, way);
    kerf_chunk *chunk;
    kerf_chunk *less;
    ssize_t n;

    if (left < size)
        size = (size_t)left;
    if (size == 0)
        return put_end(conn, way, KERF_CHUNK_CUT, at_ns);
    chunk = kerf_chunk_new(KERF_CHUNK_DATA, size);
    if (chunk == NULL)
        return false;
    n = recv(conn->side[way].fd, chunk->data, size, 0);
    if (n <= 0) {
        int code = n < 0 ? errno : 0;

        free(chunk);
        if (code == EINTR)
            return true;
        if (code == EAGAIN) {
            conn->side[way].readable = false;
            return true;
        }
        return put_end(conn, way, n == 0 ? KERF_CHUNK_END : KERF_CHUNK_RESET,
                       at_ns);
    }
    less = realloc(chunk, sizeof *chunk + (size_t)n);
    if (less != NULL)
        chunk = less;
    chunk->len = (size_t)n;
    emu->counts.flipped +=
        kerf_lane_spoil(lane, emu->spec.flip, chunk->data, chunk->len);
    lane->taken += chunk->len;
    put(conn, way, chunk, at_ns);
    return lane->taken < lane->cut_at ||
           put_end(conn, way, KERF_CHUNK_CUT, at_ns);
}

static bool
may_take(const kerf_link_conn *conn, int way)
{
    const kerf_lane *lane = &conn->lane[way];

    return conn->side[way].readable && !lane->closed && !conn->connecting &&
           !conn->vanished && lane->held < window_size(conn->emu, way);
}

/* The next that may be read, by turns; NULL. */
static kerf_link_conn *
next_turn(kerf_link_emu *emu, int way, uint64_t at_ns)
{
    kerf_link_conn *from = emu->way[way].turn;
    kerf_link_conn *c = from != NULL ? from->next : NULL;

    for (; c != NULL; c = c->next) {
        if (may_take(c, way) && c->ready_ns <= at_ns)
            return c;
    }
    for (c = emu->first; c != NULL; c = c->next) {
        if (may_take(c, way) && c->ready_ns <= at_ns)
            return c;
        if (c == from)
            break;
    }
    return NULL;
}

static bool
has_room(const kerf_link_emu *emu, int way, uint64_t at_ns)
{
    uint64_t queue_ns = (uint64_t)(emu->spec.queue_ms * 1e6);

    return bytes_per_ns(emu, way) == 0 ||
           emu->way[way].busy_ns <= at_ns + queue_ns;
}

void
kerf_link_take(kerf_link_emu *emu, int way, uint64_t at_ns)
{
    kerf_link_conn *c;
    size_t left = TAKE_MOST;

    while (left-- > 0 && has_room(emu, way, at_ns) &&
           (c = next_turn(emu, way, at_ns)) != NULL) {
        emu->way[way].turn = c;
        if (!take(c, way, at_ns))
            kerf_link_drop(c, true);
    }
}

static void
sooner(uint64_t *at_ns, uint64_t other_ns)
{
    if (other_ns < *at_ns)
        *at_ns = other_ns;
}

uint64_t
kerf_link_next(const kerf_link_emu *emu, uint64_t at_ns)
{
    uint64_t next_ns = UINT64_MAX;

    for (const kerf_link_conn *c = emu->first; c != NULL; c = c->next) {
        for (int way = 0; way < 2 && !c->vanished; way++) {
            const kerf_lane *lane = &c->lane[way];
            uint64_t room_ns = at_ns;

            if (lane->first != NULL &&
                (c->side[!way].writable || lane->first->at_ns > at_ns))
                sooner(&next_ns, lane->first->at_ns);
            if (!may_take(c, way))
                continue;
            if (!has_room(emu, way, at_ns))
                room_ns = emu->way[way].busy_ns -
                          (uint64_t)(emu->spec.queue_ms * 1e6);
            sooner(&next_ns, c->ready_ns > room_ns ? c->ready_ns : room_ns);
        }
    }
    return next_ns;
}
