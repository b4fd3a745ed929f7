#include "net/conn_own.h"

#include "base/bytes.h"
#include "base/clock.h"
#include "base/warm.h"
#include "net/rate.h"
#include "net/socket_own.h"

#include <stdatomic.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define LINGER_MS 1000
#define STALL_MS 10000
#define STALL_BYTES_PER_MS 4
#define STALL_OUT_NS 30000000000u /* a peer that takes nothing for so long */

static void warm_up(void *ctx);
static void serve(void *ctx);
static void on_poll(uv_poll_t *poll, int status, int events);
static void on_linger_over(void *ctx);
static void on_loop_over(void *ctx);

uint64_t
kerf_pieces_len(const size_t *len, size_t count)
{
    uint64_t total = 0;

    for (size_t i = 0; i < count; i++)
        total += kerf_align_up(len[i], KERF_PIECE_ALIGN);
    return total;
}

void
kerf_conn_ask(kerf_conn *conn, int events)
{
    if (conn->events == events)
        return;
    conn->events = events;
    if (events == 0)
        (void)uv_poll_stop(&conn->poll);
    else
        (void)uv_poll_start(&conn->poll, events, on_poll);
}

kerf_err
kerf_conn_open(kerf_conn **out, kerf_loop *loop, int fd,
               const kerf_conn_ops *ops, void *ctx)
{
    return kerf_conn_open_tls(out, loop, fd, NULL, NULL, ops, ctx);
}

kerf_err
kerf_conn_open_tls(kerf_conn **out, kerf_loop *loop, int fd,
                   struct kerf_tls *tls, const char *host,
                   const kerf_conn_ops *ops, void *ctx)
{
    static _Atomic unsigned numbers;
    kerf_conn *conn = calloc(1, sizeof *conn);

    if (conn == NULL) {
        (void)close(fd);
        return KERF_ENOMEM;
    }
    conn->head = malloc(KERF_HEAD_STEP);
    conn->ahead_room = ops->small ? KERF_CONN_AHEAD : KERF_HEAD_STEP;
    conn->ahead = malloc(conn->ahead_room);
    if (conn->head == NULL || conn->ahead == NULL ||
        (tls != NULL &&
         kerf_tls_link_new(&conn->tls, tls, fd, host) != KERF_OK) ||
        kerf_timer_new(&conn->linger, loop, on_linger_over, conn) != KERF_OK) {
        kerf_tls_link_free(conn->tls);
        free(conn->ahead);
        free(conn->head);
        free(conn);
        (void)close(fd);
        return KERF_ENOMEM;
    }
    conn->head_cap = conn->head_need = KERF_HEAD_STEP;
    conn->loop = loop;
    conn->ops = ops;
    conn->ctx = ctx;
    conn->fd = fd;
    conn->number = atomic_fetch_add(&numbers, 1) + 1;
    conn->refs = 2; /* the owner's and the poll's */
    conn->open = true;
    conn->state = tls != NULL ? KERF_READ_SHAKE : KERF_READ_HEAD;
    conn->shaking = tls != NULL;
    conn->found = (kerf_found){.warm = warm_up, .serve = serve, .ctx = conn};
    conn->want_out = (kerf_post){.fn = kerf_conn_on_want_out, .ctx = conn};
    conn->again = (kerf_post){.fn = kerf_conn_on_again, .ctx = conn};
    conn->last_in_ns = kerf_now_ns();
    conn->local = kerf_socket_is_local(fd);
    (void)kerf_peer_text(conn->peer, fd);
    (void)pthread_mutex_init(&conn->lock, NULL);
    (void)uv_poll_init(kerf_loop_uv(loop), &conn->poll, fd);
    conn->poll.data = conn;
    /* An edge speaks first: when the loop comes to it. */
    kerf_conn_ask(conn, host != NULL ? UV_READABLE | UV_WRITABLE : UV_READABLE);
    *out = conn;
    return KERF_OK;
}

void
kerf_conn_near(kerf_conn *conn, unsigned i, const void *at, size_t len)
{
    conn->near[i] = (kerf_near){at, len};
}

void
kerf_conn_ref(kerf_conn *conn)
{
    (void)atomic_fetch_add(&conn->refs, 1);
}

void
kerf_conn_unref(kerf_conn *conn)
{
    if (atomic_fetch_sub(&conn->refs, 1) != 1)
        return;
    (void)pthread_mutex_destroy(&conn->lock);
    kerf_body_fini(&conn->hash_in);
    kerf_tls_link_free(conn->tls);
    free(conn->ahead);
    free(conn->head);
    free(conn);
}

static void
on_poll_closed(uv_handle_t *handle)
{
    kerf_conn_unref(handle->data);
}

void
kerf_conn_finish_outs(kerf_out *list, kerf_err err)
{
    while (list != NULL) {
        kerf_out *next = list->next;

        list->done(list->ctx, err);
        list = next;
    }
}

/* Closes the socket and fails what is queued. */
void
kerf_conn_shut(kerf_conn *conn)
{
    kerf_out *left;

    if (conn->state == KERF_READ_OVER)
        return;
    conn->state = KERF_READ_OVER;
    (void)pthread_mutex_lock(&conn->lock);
    left = conn->first;
    conn->first = conn->last = NULL;
    conn->out_count = 0;
    conn->open = false;
    /* Before close(): it still uses the number, which another thread's next
     * file would have. */
    uv_close((uv_handle_t *)&conn->poll, on_poll_closed);
    (void)close(conn->fd);
    conn->fd = -1;
    kerf_lend_free(conn->lend);
    conn->lend = NULL;
    (void)pthread_mutex_unlock(&conn->lock);
    if (conn->orphan.fn != NULL)
        kerf_loop_release(conn->loop, &conn->orphan);
    kerf_timer_free(conn->linger);
    kerf_conn_finish_outs(left, KERF_ECLOSED);
}

void
kerf_conn_close(kerf_conn *conn)
{
    conn->ops = NULL;
    if (!conn->finishing)
        kerf_conn_shut(conn);
    kerf_conn_unref(conn);
}

/* Lets the peer read what the kernel has taken, for a while. What it has not
 * taken points to memory of an owner that is about to leave: it is dropped. */
static void
linger(kerf_conn *conn)
{
    bool empty;

    conn->ops = NULL;
    (void)pthread_mutex_lock(&conn->lock);
    conn->finishing = true;
    empty = conn->first == NULL;
    (void)pthread_mutex_unlock(&conn->lock);
    if (!empty) {
        kerf_conn_shut(conn);
        return;
    }
    conn->state = KERF_READ_LINGER;
    (void)shutdown(conn->fd, SHUT_WR);
    kerf_conn_ask(conn, UV_READABLE);
    conn->orphan = (kerf_orphan){.fn = on_loop_over, .ctx = conn};
    kerf_loop_adopt(conn->loop, &conn->orphan);
    kerf_timer_start(conn->linger, LINGER_MS, 0);
}

static void
on_linger_over(void *ctx)
{
    kerf_conn_shut(ctx);
}

static void
on_loop_over(void *ctx)
{
    kerf_conn *conn = ctx;

    conn->orphan.fn = NULL; /* released already */
    kerf_conn_shut(conn);
}

/* The connection is over: tells the owner, who then closes it. */
void
kerf_conn_end(kerf_conn *conn, kerf_err err, const char *why)
{
    const kerf_conn_ops *ops = conn->ops;

    if (ops == NULL) {
        kerf_conn_shut(conn);
        return;
    }
    kerf_conn_ref(conn);
    kerf_conn_shut(conn);
    ops->on_close(conn->ctx, conn, err, why);
    kerf_conn_unref(conn);
}

void
kerf_conn_end_slowly(kerf_conn *conn, kerf_err err, const char *why)
{
    const kerf_conn_ops *ops = conn->ops;
    void *ctx = conn->ctx;

    if (ops == NULL) {
        kerf_conn_shut(conn);
        return;
    }
    kerf_conn_ref(conn); /* the owner's kerf_conn_close() then only lets go */
    linger(conn);
    ops->on_close(ctx, conn, err, why);
    kerf_conn_unref(conn);
}

/* Our side found fault: the peer is told, then the owner. */
void
kerf_conn_reject(kerf_conn *conn, kerf_err err, const kerf_detail *why)
{
    const char *text = why->text[0] ? why->text : kerf_err_text(err);

    if (conn->ops != NULL)
        (void)!kerf_conn_send_notice(conn, KERF_FRAME_ERROR, 0, err, 0, text);
    kerf_conn_end_slowly(conn, err, text);
}

void
kerf_conn_set_payload_max(kerf_conn *conn, uint64_t bytes)
{
    conn->payload_max = bytes;
}

void
kerf_conn_set_ctx(kerf_conn *conn, const kerf_conn_ops *ops, void *ctx)
{
    conn->ops = ops;
    conn->ctx = ctx;
}

const char *
kerf_conn_peer(const kerf_conn *conn)
{
    return conn->peer;
}

const char *
kerf_conn_name(const kerf_conn *conn)
{
    return conn->tls != NULL ? kerf_tls_peer(conn->tls) : NULL;
}

unsigned
kerf_conn_how_far(const kerf_conn *conn)
{
    return conn->tls != NULL ? kerf_tls_how_far(conn->tls)
                             : KERF_CONN_STEPS - 1;
}

bool
kerf_conn_is_same_peer(const kerf_conn *a, const kerf_conn *b)
{
    const char *name = kerf_conn_name(a);
    const char *other = kerf_conn_name(b);

    return name == NULL || (other != NULL && strcmp(name, other) == 0);
}

kerf_err
kerf_conn_recheck(const kerf_conn *conn, const struct kerf_tls *now,
                  kerf_detail *why)
{
    return conn->tls != NULL ? kerf_tls_recheck(conn->tls, now, why) : KERF_OK;
}

unsigned
kerf_conn_number(const kerf_conn *conn)
{
    return conn->number;
}

unsigned
kerf_conn_count(kerf_conn *conn, int change)
{
    return (unsigned)(atomic_fetch_add(&conn->count, change) + change);
}

uint64_t
kerf_conn_last_in_ns(const kerf_conn *conn)
{
    return conn->last_in_ns;
}

uint64_t
kerf_conn_rate(const kerf_conn *conn)
{
    return kerf_rate_of(conn->fd);
}

uint64_t
kerf_conn_delivered(const kerf_conn *conn)
{
    return kerf_delivered_of(conn->fd);
}

bool
kerf_conn_is_local(const kerf_conn *conn)
{
    return conn->local;
}

void
kerf_conn_pace(kerf_conn *conn, uint64_t bytes_per_s)
{
    size_t burst;

    if (bytes_per_s == conn->pace)
        return;
    conn->pace = bytes_per_s;
    (void)pthread_mutex_lock(&conn->lock);
    if (conn->open) {
        burst = kerf_socket_pace(conn->fd, bytes_per_s);
        conn->burst = burst;
    }
    (void)pthread_mutex_unlock(&conn->lock);
}

kerf_err
kerf_conn_skip(const kerf_frame_in *frame, kerf_sink *sink, kerf_detail *why)
{
    sink->discard = frame->header.type >= 128;
    return sink->discard
               ? KERF_OK
               : kerf_fail(why, KERF_EPROTO, "frame type %u carries no payload",
                           frame->header.type);
}

bool
kerf_conn_is_stalled(kerf_conn *conn, uint64_t now_ns)
{
    uint64_t allowed_ms = STALL_MS;
    bool out_stalled;

    (void)pthread_mutex_lock(&conn->lock);
    out_stalled =
        conn->first != NULL && now_ns > conn->out_since_ns + STALL_OUT_NS;
    (void)pthread_mutex_unlock(&conn->lock);
    if (out_stalled)
        return true;
    if (conn->since_ns == 0 || conn->state == KERF_READ_WAIT)
        return false;
    if (conn->state == KERF_READ_PAYLOAD)
        allowed_ms += conn->frame.header.payload_len / STALL_BYTES_PER_MS;
    return now_ns > conn->since_ns + allowed_ms * 1000000u;
}

/* libuv says "bad file descriptor" for whatever the socket reports. */
static const char *
socket_trouble(int fd, int status)
{
    int code = 0;
    socklen_t len = sizeof code;

    if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &code, &len) != 0 || code == 0)
        return status == UV_EBADF ? "the connection broke"
                                  : uv_strerror(status);
    return strerror(code);
}

void
kerf_conn_end_broken(kerf_conn *conn, const char *why)
{
    if (conn->state != KERF_READ_LINGER)
        kerf_conn_on_readable(conn);
    if (conn->state != KERF_READ_OVER)
        kerf_conn_end(conn, KERF_ECLOSED, why);
}

static void
warm_up(void *ctx)
{
    const kerf_conn *conn = ctx;

    kerf_warm(conn->head, KERF_HEADER_LEN + KERF_LINE);
    for (size_t i = 0; i < KERF_CONN_NEAR; i++)
        kerf_warm(conn->near[i].at, conn->near[i].len);
}

/* What was found may have changed while others had their turn. */
static void
serve(void *ctx)
{
    kerf_conn *conn = ctx;
    int status = conn->status;
    int events = conn->polled & conn->events;

    conn->status = conn->polled = 0;
    if (conn->state == KERF_READ_OVER)
        return;
    kerf_conn_ref(conn);
    if (status < 0) {
        kerf_conn_end_broken(conn, socket_trouble(conn->fd, status));
    } else {
        if (events & UV_WRITABLE)
            kerf_conn_on_writable(conn);
        if ((events & UV_READABLE) && conn->state != KERF_READ_OVER)
            kerf_conn_on_readable(conn);
    }
    /* NOLINTNEXTLINE(clang-analyzer-unix.Malloc): it cannot count refs */
    kerf_conn_unref(conn);
}

static void
on_poll(uv_poll_t *poll, int status, int events)
{
    kerf_conn *conn = poll->data;

    kerf_warm(&conn->found,
              offsetof(kerf_conn, sink.piece[1]) - offsetof(kerf_conn, found));
    kerf_warm(&conn->sink.len[0], sizeof conn->sink.len[0]);
    kerf_loop_came(conn->loop);
    if (status < 0)
        conn->status = status;
    conn->polled |= events;
    kerf_loop_found(conn->loop, &conn->found);
}

int
kerf_conn_add_piece(struct iovec *iov, int n, void *piece, size_t len,
                    uint64_t *start, uint64_t at, void *pad)
{
    size_t padded = kerf_align_up(len, KERF_PIECE_ALIGN);
    uint64_t skip = at > *start ? at - *start : 0;

    *start += padded;
    if (skip < len)
        iov[n++] = (struct iovec){(uint8_t *)piece + skip, len - (size_t)skip};
    if (skip < padded && padded > len) {
        size_t pad_skip = skip > len ? (size_t)skip - len : 0;

        iov[n++] = (struct iovec){pad, padded - len - pad_skip};
    }
    return n;
}

int
kerf_conn_clip(struct iovec *iov, int n, size_t most)
{
    for (int i = 0; i < n; i++) {
        if (iov[i].iov_len >= most) {
            iov[i].iov_len = most;
            return i + (most > 0 ? 1 : 0);
        }
        most -= iov[i].iov_len;
    }
    return n;
}
