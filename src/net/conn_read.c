/*
 * The reader: HEAD (a fixed first read of KERF_HEAD_STEP bytes, more when the
 * meta is long) -> PAYLOAD (recvmsg into the owner's pieces, pads into a scrap)
 * -> frame -> HEAD. It is called after a level-triggered poll (conn.c,
 * serve()); after some frames or bytes it returns to the loop, so that
 * connections take turns.
 *
 * The read of a payload goes on into the next frame's head: where frames follow
 * each other each costs one system call, and a short read says that no more is
 * there. The last payload of a turn is read without, since the poll knows
 * nothing of what is here already; where small frames are in a row more may be,
 * and then read_again() comes back to it.
 */
#include "net/conn_own.h"

#include "base/clock.h"
#include "base/log.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#define TURN_FRAMES 8
#define TURN_LEN ((uint64_t)4 << 20)   /* then other connections have theirs */
#define LOW_LEAST ((uint64_t)32 << 10) /* more than a record of TLS */
#define SMALL_MOST 1024 /* payload: the next one may be read with others */
#define TURN_READS 512  /* a record of TLS may be one byte */
#define SCRAP_LEN ((size_t)64 << 10)

/* Reading. Each step returns KERF_OK to go on, KERF_EAGAIN to wait for the
 * poll, anything else to end. */

static kerf_err
take_received(kerf_conn *conn, ssize_t n, kerf_detail *why)
{
    if (n > 0) {
        conn->last_in_ns = kerf_now_ns();
        if (conn->since_ns == 0)
            conn->since_ns = conn->last_in_ns;
        return KERF_OK;
    }
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return KERF_EAGAIN;
    if (n == 0)
        return kerf_fail(why, KERF_ECLOSED, "%s",
                         conn->since_ns != 0 ? "closed in the middle of a frame"
                                             : "closed by the peer");
    return kerf_fail(why, KERF_ECLOSED, "%s", strerror(errno));
}

/* As take_received(), into one piece of memory. */
static kerf_err
receive(kerf_conn *conn, void *data, size_t len, size_t *got, kerf_detail *why)
{
    kerf_err err = kerf_tls_read(conn->tls, data, len, got, why);

    switch (err) {
    case KERF_OK:
        return take_received(conn, (ssize_t)*got, why);
    case KERF_EAGAIN:
    case KERF_ENOMEM:
    case KERF_EPROTO: /* against the rules: to be logged, not a lost link */
        return err;
    default:
        return KERF_ECLOSED;
    }
}

static kerf_err
grow_head(kerf_conn *conn)
{
    uint8_t *bigger;

    if (conn->head_need <= conn->head_cap)
        return KERF_OK;
    bigger = realloc(conn->head, conn->head_need);
    if (bigger == NULL)
        return KERF_ENOMEM;
    conn->head = bigger;
    conn->head_cap = conn->head_need;
    return KERF_OK;
}

/* Moves up to len bytes of what was read ahead. Returns how many. */
static size_t
take_ahead(kerf_conn *conn, void *to, size_t len)
{
    size_t n = len < conn->ahead_got ? len : conn->ahead_got;

    memcpy(to, conn->ahead + conn->ahead_at, n);
    conn->ahead_at += n;
    conn->ahead_got -= n;
    return n;
}

static void
take_head_ahead(kerf_conn *conn)
{
    conn->head_got += take_ahead(conn, conn->head + conn->head_got,
                                 conn->head_need - conn->head_got);
}

/* The next frame begins with what was read ahead. */
static void
start_head(kerf_conn *conn)
{
    conn->head_got = 0;
    conn->head_known = false;
    conn->head_need = KERF_HEAD_STEP;
    take_head_ahead(conn);
    conn->since_ns = conn->head_got > 0 ? conn->last_in_ns : 0;
}

/* Where the last frame was small what follows is read with it. */
static kerf_err
receive_head_plain(kerf_conn *conn, void *to, size_t room, size_t *got,
                   kerf_detail *why)
{
    size_t beyond = conn->in_row ? conn->ahead_room : 0;
    struct iovec iov[2] = {{to, room}, {conn->ahead, beyond}};
    struct msghdr message = {.msg_iov = iov, .msg_iovlen = 2};
    ssize_t n = beyond > 0 ? recvmsg(conn->fd, &message, 0)
                           : recv(conn->fd, to, room, 0);
    kerf_err err = take_received(conn, n, why);

    if (err != KERF_OK)
        return err;
    conn->drained = (size_t)n < room + beyond;
    *got = (size_t)n < room ? (size_t)n : room;
    conn->ahead_at = 0;
    conn->ahead_got = (size_t)n - *got;
    return KERF_OK;
}

static kerf_err
receive_head(kerf_conn *conn, kerf_detail *why)
{
    uint8_t *to = conn->head + conn->head_got;
    size_t room = conn->head_need - conn->head_got;
    size_t got = 0;
    kerf_err err;

    if (conn->tls != NULL) {
        err = receive(conn, to, room, &got, why);
    } else {
        err = receive_head_plain(conn, to, room, &got, why);
    }
    conn->head_got += got;
    return err;
}

/* A peer with --tls, where this side has none, begins a handshake. */
static bool
is_handshake(const kerf_conn *conn)
{
    return conn->tls == NULL && conn->head[0] == 0x16 && conn->head[1] == 3;
}

static kerf_err
read_head(kerf_conn *conn, kerf_detail *why)
{
    kerf_header *h = &conn->frame.header;
    kerf_err err = KERF_OK;

    if (conn->head_got < conn->head_need)
        err = receive_head(conn, why);
    if (err != KERF_OK)
        return err;
    if (!conn->head_known && conn->head_got >= KERF_HEADER_LEN) {
        if (is_handshake(conn))
            return kerf_fail(why, KERF_EPROTO,
                             "the peer speaks TLS, and this side does not: "
                             "start it with --tls DIR");
        err = kerf_header_get(h, conn->head, conn->payload_max, why);
        if (err != KERF_OK)
            return err;
        conn->head_known = true;
        conn->head_need = kerf_head_len(h->meta_len);
        err = grow_head(conn);
        if (err != KERF_OK)
            return err;
        take_head_ahead(conn);
    }
    if (conn->head_got < conn->head_need)
        return KERF_EAGAIN;
    conn->frame.meta = conn->head + KERF_HEADER_LEN;
    conn->state = KERF_READ_WAIT;
    return KERF_OK;
}

static bool
is_hashed(const kerf_conn *conn)
{
    return (conn->frame.header.flags & KERF_FLAG_BODY_HASH) != 0 &&
           (!conn->sink.discard || conn->sink.count > 0);
}

static kerf_err
ask_sink(kerf_conn *conn, kerf_detail *why)
{
    uint64_t len = conn->frame.header.payload_len;
    kerf_err err;

    conn->payload_got = 0;
    conn->sink.discard = false; /* not all of it: that is 1 KB */
    conn->sink.count = 0;
    if (len > 0) {
        err =
            conn->ops->on_head(conn->ctx, conn, &conn->frame, &conn->sink, why);
        if (err == KERF_EAGAIN)
            kerf_conn_ask(conn, conn->events & ~UV_READABLE);
        if (err != KERF_OK)
            return err;
        if ((!conn->sink.discard || conn->sink.count > 0) &&
            kerf_pieces_len(conn->sink.len, conn->sink.count) != len)
            return kerf_fail(why, KERF_EPROTO,
                             "payload length does not match its pieces");
    }
    if (is_hashed(conn))
        kerf_body_begin(&conn->hash_in, conn->frame.meta,
                        conn->frame.header.meta_len);
    conn->state = KERF_READ_PAYLOAD;
    return KERF_OK;
}

/* Where what nobody keeps is read into. */
static _Thread_local uint8_t dropped[SCRAP_LEN];

/* The memory of the payload that is still to be read, up to one step of it. */
static int
sink_iov(kerf_conn *conn, struct iovec iov[KERF_CONN_IOV])
{
    uint64_t start = 0;
    int n = 0;

    if (conn->sink.discard) {
        uint64_t left = conn->frame.header.payload_len - conn->payload_got;

        iov[0].iov_base = dropped;
        iov[0].iov_len = left < SCRAP_LEN ? (size_t)left : SCRAP_LEN;
        return 1;
    }
    for (size_t i = 0; i < conn->sink.count && n + 2 <= KERF_CONN_IOV; i++)
        n = kerf_conn_add_piece(iov, n, conn->sink.piece[i], conn->sink.len[i],
                                &start, conn->payload_got, dropped);
    return kerf_conn_clip(iov, n, KERF_HASH_STEP);
}

/* As far as it has come, while the caches have it and the peer sends on.
 * from: where the last read began. False: no memory. */
static bool
hash_received(kerf_conn *conn, uint64_t from)
{
    if (is_hashed(conn) && conn->sink.discard)
        return kerf_body_pass(&conn->hash_in, dropped, from,
                              (size_t)(conn->payload_got - from),
                              conn->sink.len, conn->sink.count);
    if (is_hashed(conn))
        kerf_body_add(&conn->hash_in, (const void *const *)conn->sink.piece,
                      conn->sink.len, conn->sink.count, conn->payload_got);
    return true;
}

static kerf_err
check_body(const kerf_conn *conn, kerf_detail *why)
{
    if (is_hashed(conn) &&
        kerf_body_end(&conn->hash_in) != conn->frame.header.body_hash)
        return kerf_fail(why, KERF_ECORRUPT,
                         "frame damaged on the way (its hash differs)");
    return KERF_OK;
}

static void
trace_received(const kerf_conn *conn, const struct iovec *iov, size_t len)
{
    if (kerf_log_on(KERF_LOG_TRACE))
        kerf_log(KERF_LOG_TRACE, "net.recv", "conn=%u at=%p len=%zu",
                 conn->number, iov[0].iov_base, len);
}

/* A small payload that came with what was before it. Returns its bytes. */
static size_t
fill_from_ahead(kerf_conn *conn, const struct iovec *iov, size_t count)
{
    size_t got = 0;

    for (size_t i = 0; i < count; i++)
        got += take_ahead(conn, iov[i].iov_base, iov[i].iov_len);
    return got;
}

/* One read of payload, and of what is behind it when all that is left fits. */
static kerf_err
receive_plain(kerf_conn *conn, struct iovec iov[KERF_CONN_IOV + 1],
              size_t count, bool ahead, size_t *got, kerf_detail *why)
{
    uint64_t left = conn->frame.header.payload_len - conn->payload_got;
    struct msghdr message = {.msg_iov = iov, .msg_iovlen = count};
    uint64_t room = 0;
    kerf_err err;
    ssize_t n;

    for (size_t i = 0; i < count; i++)
        room += iov[i].iov_len;
    if (ahead && room == left) {
        size_t beyond = conn->in_row ? conn->ahead_room : KERF_HEAD_STEP;

        iov[message.msg_iovlen++] = (struct iovec){conn->ahead, beyond};
        room += beyond;
    }
    n = recvmsg(conn->fd, &message, 0);
    err = take_received(conn, n, why);
    if (err != KERF_OK)
        return err;
    *got = (size_t)n;
    conn->drained = *got < room;
    conn->ahead_at = 0;
    conn->ahead_got = *got > left ? *got - (size_t)left : 0;
    return KERF_OK;
}

static kerf_err
receive_payload(kerf_conn *conn, bool ahead, size_t *got, kerf_detail *why)
{
    uint64_t from = conn->payload_got;
    struct iovec iov[KERF_CONN_IOV + 1];
    size_t count = (size_t)sink_iov(conn, iov);
    size_t beyond = 0;
    kerf_err err = KERF_OK;

    if (conn->tls != NULL) {
        err = receive(conn, iov[0].iov_base, iov[0].iov_len, got, why);
    } else if (conn->ahead_got > 0) {
        *got = fill_from_ahead(conn, iov, count);
    } else {
        err = receive_plain(conn, iov, count, ahead, got, why);
        beyond = conn->ahead_got;
    }
    if (err != KERF_OK)
        return err;
    trace_received(conn, iov, *got);
    conn->payload_got += *got - beyond;
    return hash_received(conn, from)
               ? KERF_OK
               : kerf_fail(why, KERF_ENOMEM, "out of memory");
}

static void
set_low(kerf_conn *conn, int low)
{
    int bytes = low > 0 ? low : 1;

    if (conn->low != low)
        (void)setsockopt(conn->fd, SOL_SOCKET, SO_RCVLOWAT, &bytes,
                         sizeof bytes);
    conn->low = low;
}

/* The poll comes back when a step of the payload is here: not with each
 * segment. The last step is a small one: while it is on its way, the rest is
 * read and hashed. TLS may have read some of a record already. */
static void
wait_for_step(kerf_conn *conn)
{
    uint64_t left = conn->frame.header.payload_len - conn->payload_got;
    uint64_t ours = conn->tls != NULL ? LOW_LEAST : 0;
    uint64_t low = left > ours ? left - ours : 0;

    if (low > 2 * LOW_LEAST)
        low -= LOW_LEAST;
    if (low > KERF_HASH_STEP)
        low = KERF_HASH_STEP;
    if (conn->ops->in_steps)
        set_low(conn, low >= LOW_LEAST ? (int)low : 0);
}

static kerf_err
read_payload(kerf_conn *conn, bool ahead, kerf_detail *why)
{
    uint64_t len = conn->frame.header.payload_len;
    size_t reads = 0;
    kerf_err err;

    for (uint64_t turn = 0; conn->payload_got < len;) {
        size_t got = 0;

        err = receive_payload(conn, ahead, &got, why);
        if (err == KERF_EAGAIN)
            wait_for_step(conn);
        if (err != KERF_OK)
            return err;
        turn += got;
        reads++;
        if ((turn >= TURN_LEN || reads >= TURN_READS) &&
            conn->payload_got < len) {
            wait_for_step(conn); /* less may be left than was waited for */
            return KERF_EAGAIN;  /* the poll comes back to it */
        }
    }
    set_low(conn, 0);
    err = check_body(conn, why);
    if (err != KERF_OK)
        return err;
    conn->frame.received_ns = kerf_now_ns();
    if (len > 0)
        conn->in_row = conn->ops->small && len <= SMALL_MOST;
    conn->state = KERF_READ_HEAD;
    conn->since_ns = 0;
    err = conn->ops->on_frame(conn->ctx, conn, &conn->frame, why);
    if (err != KERF_OK || conn->state != KERF_READ_HEAD)
        return err;
    start_head(conn);
    return conn->drained && conn->head_got < conn->head_need ? KERF_EAGAIN
                                                             : KERF_OK;
}

bool
kerf_conn_has_next(const kerf_conn *conn)
{
    return conn->ahead_got > 0;
}

static void
read_linger(kerf_conn *conn)
{
    uint8_t scrap[4096];
    ssize_t n = recv(conn->fd, scrap, sizeof scrap, 0);

    if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR))
        kerf_conn_shut(conn);
}

/* A peer that asks and never reads the answers would fill our memory. */
static bool
choke(kerf_conn *conn)
{
    /* Not under the lock: who sends holds it all the while. */
    conn->choked = conn->out_count >= KERF_CONN_OUTS;
    if (conn->choked)
        kerf_conn_ask(conn, conn->events & ~UV_READABLE);
    return conn->choked;
}

static kerf_err
read_frame(kerf_conn *conn, bool ahead, kerf_detail *why)
{
    kerf_err err = KERF_OK;

    if (choke(conn))
        return KERF_EAGAIN;
    if (conn->state == KERF_READ_HEAD)
        err = read_head(conn, why);
    if (err == KERF_OK && conn->state == KERF_READ_WAIT)
        err = ask_sink(conn, why);
    if (err == KERF_OK && conn->state == KERF_READ_PAYLOAD)
        err = read_payload(conn, ahead, why);
    return err;
}

/* What is here and needs no more of the socket: TLS may hold more than was
 * taken this time, and the next head may have been read ahead. */
static bool
has_more(const kerf_conn *conn)
{
    return conn->tls != NULL ? !kerf_tls_is_dry(conn->tls)
                             : conn->state == KERF_READ_HEAD &&
                                   conn->head_got == conn->head_need;
}

static void
read_again(kerf_conn *conn)
{
    if (conn->ops == NULL || conn->choked ||
        (conn->state != KERF_READ_HEAD && conn->state != KERF_READ_PAYLOAD))
        return;
    if (conn->tls != NULL && kerf_tls_wants_out(conn->tls)) {
        kerf_conn_ask(conn, conn->events | UV_WRITABLE);
    } else if (has_more(conn) && !conn->again_asked) {
        conn->again_asked = true;
        kerf_conn_ref(conn); /* the post's */
        kerf_loop_post(conn->loop, &conn->again);
    }
}

void
kerf_conn_on_again(void *ctx)
{
    kerf_conn *conn = ctx;

    conn->again_asked = false;
    if (conn->state == KERF_READ_HEAD || conn->state == KERF_READ_PAYLOAD)
        kerf_conn_on_readable(conn);
    kerf_conn_unref(conn);
}

void
kerf_conn_on_readable(kerf_conn *conn)
{
    kerf_detail why = {{0}};
    kerf_err err = KERF_OK;

    if (conn->state == KERF_READ_LINGER) {
        read_linger(conn);
        return;
    }
    if (conn->ops == NULL) /* finishing: what comes in no longer counts */
        return;
    conn->drained = false;
    if (conn->tls != NULL)
        kerf_tls_turn(conn->tls);
    if (conn->state == KERF_READ_SHAKE)
        kerf_conn_shake(conn);
    if (conn->ops == NULL || conn->state == KERF_READ_SHAKE ||
        conn->state == KERF_READ_OVER)
        return;
    for (int i = 0; i < TURN_FRAMES && err == KERF_OK && conn->ops != NULL; i++)
        err = read_frame(conn, i + 1 < TURN_FRAMES, &why);
    if (conn->ops != NULL && conn->ops->on_pause != NULL)
        conn->ops->on_pause(conn->ctx);
    if (err == KERF_OK || err == KERF_EAGAIN || conn->ops == NULL) {
        read_again(conn);
        return;
    }
    if (err == KERF_ECLOSED)
        kerf_conn_end(conn, err, why.text);
    else
        kerf_conn_reject(conn, err, &why);
}

void
kerf_conn_resume(kerf_conn *conn)
{
    if (conn->state != KERF_READ_WAIT || conn->ops == NULL)
        return;
    kerf_conn_ask(conn, conn->events | UV_READABLE);
    kerf_conn_ref(conn);
    kerf_conn_on_readable(conn);
    kerf_conn_unref(conn);
}
