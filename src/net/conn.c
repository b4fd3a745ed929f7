/*
 * Design. The reader is a small machine: HEAD (a fixed first read of
 * KERF_HEAD_STEP bytes, more when the meta is long) -> PAYLOAD (recvmsg into
 * the owner's pieces, pads into a scrap) -> frame -> HEAD. A level-triggered
 * poll calls it; after one frame it returns to the loop, so that connections
 * take turns.
 *
 * The queue of sends is under a mutex because workers send results themselves.
 * What the kernel does not take at once waits for the loop's POLLOUT. done()
 * callbacks run after the lock is dropped.
 */
#include "net/conn.h"

#include "base/bytes.h"
#include "base/clock.h"
#include "base/hash.h"
#include "base/log.h"
#include "net/loop_uv.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#define IOV_MAX_USED 32
#define LINGER_MS 1000
#define STALL_MS 10000
#define STALL_BYTES_PER_MS 4
#define SCRAP_LEN ((size_t)64 << 10)

enum read_state { READ_HEAD, READ_WAIT, READ_PAYLOAD, READ_LINGER, READ_OVER };

struct kerf_conn {
    uv_poll_t poll;
    kerf_loop *loop;
    const kerf_conn_ops *ops;
    void *ctx;
    int fd;
    unsigned number;
    char peer[64];
    _Atomic int refs;

    enum read_state state;
    int events; /* asked of the poll */
    uint8_t *head;
    size_t head_cap, head_got, head_need;
    kerf_frame_in frame;
    kerf_sink sink;
    uint64_t payload_max, payload_got;
    uint64_t last_in_ns, since_ns;

    pthread_mutex_t lock;
    kerf_out *first, *last; /* under lock */
    bool open, finishing;   /* under lock */
    bool out_asked;         /* under lock: want_out posted, or POLLOUT on */
    kerf_post want_out;
    kerf_timer *linger;
};

static const uint8_t zeros[KERF_PIECE_ALIGN];

static void on_poll(uv_poll_t *poll, int status, int events);
static void end(kerf_conn *conn, kerf_err err, const char *why);
static void on_want_out(void *ctx);
static void on_linger_over(void *ctx);

uint64_t
kerf_pieces_len(const size_t *len, size_t count)
{
    uint64_t total = 0;

    for (size_t i = 0; i < count; i++)
        total += kerf_align_up(len[i], KERF_PIECE_ALIGN);
    return total;
}

static void
ask_events(kerf_conn *conn, int events)
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
    static _Atomic unsigned numbers;
    kerf_conn *conn = calloc(1, sizeof *conn);

    if (conn == NULL) {
        (void)close(fd);
        return KERF_ENOMEM;
    }
    conn->head = malloc(KERF_HEAD_STEP);
    if (conn->head == NULL ||
        kerf_timer_new(&conn->linger, loop, on_linger_over, conn) != KERF_OK) {
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
    conn->want_out = (kerf_post){.fn = on_want_out, .ctx = conn};
    conn->last_in_ns = kerf_now_ns();
    (void)kerf_peer_text(conn->peer, fd);
    (void)pthread_mutex_init(&conn->lock, NULL);
    (void)uv_poll_init(kerf_loop_uv(loop), &conn->poll, fd);
    conn->poll.data = conn;
    ask_events(conn, UV_READABLE);
    *out = conn;
    return KERF_OK;
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
    free(conn->head);
    free(conn);
}

static void
on_poll_closed(uv_handle_t *handle)
{
    kerf_conn_unref(handle->data);
}

static void
finish_outs(kerf_out *list, kerf_err err)
{
    while (list != NULL) {
        kerf_out *next = list->next;

        list->done(list->ctx, err);
        list = next;
    }
}

/* Closes the socket and fails what is queued. */
static void
shut(kerf_conn *conn)
{
    kerf_out *left;

    if (conn->state == READ_OVER)
        return;
    conn->state = READ_OVER;
    (void)pthread_mutex_lock(&conn->lock);
    left = conn->first;
    conn->first = conn->last = NULL;
    conn->open = false;
    (void)uv_poll_stop(&conn->poll);
    (void)close(conn->fd);
    conn->fd = -1;
    (void)pthread_mutex_unlock(&conn->lock);
    kerf_timer_free(conn->linger);
    uv_close((uv_handle_t *)&conn->poll, on_poll_closed);
    finish_outs(left, KERF_ECLOSED);
}

void
kerf_conn_close(kerf_conn *conn)
{
    conn->ops = NULL;
    if (!conn->finishing)
        shut(conn);
    kerf_conn_unref(conn);
}

static void
start_linger(kerf_conn *conn)
{
    conn->state = READ_LINGER;
    (void)shutdown(conn->fd, SHUT_WR);
    ask_events(conn, UV_READABLE);
}

void
kerf_conn_finish(kerf_conn *conn)
{
    bool empty;

    conn->ops = NULL;
    if (conn->state == READ_OVER) {
        kerf_conn_unref(conn);
        return;
    }
    (void)pthread_mutex_lock(&conn->lock);
    conn->finishing = true;
    empty = conn->first == NULL;
    (void)pthread_mutex_unlock(&conn->lock);
    kerf_timer_start(conn->linger, LINGER_MS, 0);
    if (empty)
        start_linger(conn);
    else
        ask_events(conn, UV_WRITABLE);
    kerf_conn_unref(conn);
}

static void
on_linger_over(void *ctx)
{
    shut(ctx);
}

/* The connection is over: tells the owner, who then closes it. */
static void
end(kerf_conn *conn, kerf_err err, const char *why)
{
    const kerf_conn_ops *ops = conn->ops;

    if (ops == NULL) {
        shut(conn);
        return;
    }
    kerf_conn_ref(conn);
    shut(conn);
    ops->on_close(conn->ctx, conn, err, why);
    kerf_conn_unref(conn);
}

/* Our side found fault: the peer is told, then the owner. */
static void
reject(kerf_conn *conn, kerf_err err, const kerf_detail *why)
{
    const kerf_conn_ops *ops = conn->ops;
    void *ctx = conn->ctx;
    const char *text = why->text[0] ? why->text : kerf_err_text(err);

    if (ops == NULL) {
        shut(conn);
        return;
    }
    (void)!kerf_conn_send_notice(conn, KERF_FRAME_ERROR, 0, err, 0, text);
    kerf_conn_ref(conn); /* kerf_conn_finish() drops one, and so does the */
    kerf_conn_ref(conn); /* owner's kerf_conn_close(), which then only lets go */
    kerf_conn_finish(conn);
    ops->on_close(ctx, conn, err, text);
    kerf_conn_unref(conn);
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

unsigned
kerf_conn_number(const kerf_conn *conn)
{
    return conn->number;
}

uint64_t
kerf_conn_last_in_ns(const kerf_conn *conn)
{
    return conn->last_in_ns;
}

bool
kerf_conn_is_stalled(const kerf_conn *conn, uint64_t now_ns)
{
    uint64_t allowed_ms = STALL_MS;

    if (conn->since_ns == 0 || conn->state == READ_WAIT)
        return false;
    if (conn->state == READ_PAYLOAD)
        allowed_ms += conn->frame.header.payload_len / STALL_BYTES_PER_MS;
    return now_ns > conn->since_ns + allowed_ms * 1000000u;
}

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

static kerf_err
read_head(kerf_conn *conn, kerf_detail *why)
{
    kerf_header *h = &conn->frame.header;
    ssize_t n = recv(conn->fd, conn->head + conn->head_got,
                     conn->head_need - conn->head_got, 0);
    bool header_was_there = conn->head_got >= KERF_HEADER_LEN;
    kerf_err err = take_received(conn, n, why);

    if (err != KERF_OK)
        return err;
    conn->head_got += (size_t)n;
    if (!header_was_there && conn->head_got >= KERF_HEADER_LEN) {
        err = kerf_header_get(h, conn->head, conn->payload_max, why);
        if (err != KERF_OK)
            return err;
        conn->head_need = kerf_head_len(h->meta_len);
        err = grow_head(conn);
        if (err != KERF_OK)
            return err;
    }
    if (conn->head_got < conn->head_need)
        return KERF_EAGAIN;
    conn->frame.meta = conn->head + KERF_HEADER_LEN;
    conn->state = READ_WAIT;
    return KERF_OK;
}

static kerf_err
ask_sink(kerf_conn *conn, kerf_detail *why)
{
    uint64_t len = conn->frame.header.payload_len;
    kerf_err err;

    conn->payload_got = 0;
    conn->sink = (kerf_sink){0};
    if (len > 0) {
        err = conn->ops->on_head(conn->ctx, conn, &conn->frame, &conn->sink,
                                 why);
        if (err == KERF_EAGAIN)
            ask_events(conn, conn->events & ~UV_READABLE);
        if (err != KERF_OK)
            return err;
        if (!conn->sink.discard &&
            kerf_pieces_len(conn->sink.len, conn->sink.count) != len)
            return kerf_fail(why, KERF_EPROTO,
                             "payload length does not match its pieces");
    }
    conn->state = READ_PAYLOAD;
    return KERF_OK;
}

/* The memory of the payload that is still to be read. */
static int
sink_iov(kerf_conn *conn, struct iovec iov[IOV_MAX_USED])
{
    static uint8_t scrap[SCRAP_LEN]; /* written, never read */
    uint64_t start = 0;
    int n = 0;

    if (conn->sink.discard) {
        uint64_t left = conn->frame.header.payload_len - conn->payload_got;

        iov[0].iov_base = scrap;
        iov[0].iov_len = left < SCRAP_LEN ? (size_t)left : SCRAP_LEN;
        return 1;
    }
    for (size_t i = 0; i < conn->sink.count && n + 2 <= IOV_MAX_USED; i++) {
        size_t len = conn->sink.len[i];
        size_t padded = kerf_align_up(len, KERF_PIECE_ALIGN);
        uint64_t skip =
            conn->payload_got > start ? conn->payload_got - start : 0;

        start += padded;
        if (skip < len)
            iov[n++] = (struct iovec){(uint8_t *)conn->sink.piece[i] + skip,
                                      len - (size_t)skip};
        if (skip < padded && padded > len) {
            size_t pad_skip = skip > len ? (size_t)skip - len : 0;

            iov[n++] = (struct iovec){scrap, padded - len - pad_skip};
        }
    }
    return n;
}

static kerf_err
check_body(const kerf_conn *conn, kerf_detail *why)
{
    const kerf_header *h = &conn->frame.header;
    uint64_t hash;

    if (!(h->flags & KERF_FLAG_BODY_HASH) || conn->sink.discard)
        return KERF_OK;
    hash = kerf_body_hash(0, conn->frame.meta, h->meta_len);
    for (size_t i = 0; i < conn->sink.count; i++)
        hash = kerf_body_hash(hash, conn->sink.piece[i], conn->sink.len[i]);
    if (hash != h->body_hash)
        return kerf_fail(why, KERF_ECORRUPT,
                         "frame damaged on the way (its hash differs)");
    return KERF_OK;
}

static kerf_err
read_payload(kerf_conn *conn, kerf_detail *why)
{
    uint64_t len = conn->frame.header.payload_len;
    kerf_err err;

    while (conn->payload_got < len) {
        struct iovec iov[IOV_MAX_USED];
        struct msghdr message = {.msg_iov = iov};
        ssize_t n;

        message.msg_iovlen = (size_t)sink_iov(conn, iov);
        n = recvmsg(conn->fd, &message, 0);
        err = take_received(conn, n, why);
        if (err != KERF_OK)
            return err;
        if (kerf_log_on(KERF_LOG_TRACE))
            kerf_log(KERF_LOG_TRACE, "net.recv", "conn=%u at=%p len=%zd",
                     conn->number, iov[0].iov_base, n);
        conn->payload_got += (uint64_t)n;
    }
    err = check_body(conn, why);
    if (err != KERF_OK)
        return err;
    conn->frame.received_ns = kerf_now_ns();
    conn->state = READ_HEAD;
    conn->head_got = 0;
    conn->head_need = KERF_HEAD_STEP;
    conn->since_ns = 0;
    return conn->ops->on_frame(conn->ctx, conn, &conn->frame, why);
}

static void
read_linger(kerf_conn *conn)
{
    uint8_t scrap[4096];
    ssize_t n = recv(conn->fd, scrap, sizeof scrap, 0);

    if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR))
        shut(conn);
}

static void
on_readable(kerf_conn *conn)
{
    kerf_detail why = {{0}};
    kerf_err err = KERF_OK;

    if (conn->state == READ_LINGER) {
        read_linger(conn);
        return;
    }
    if (conn->ops == NULL) /* finishing: what comes in no longer counts */
        return;
    if (conn->state == READ_HEAD)
        err = read_head(conn, &why);
    if (err == KERF_OK && conn->state == READ_WAIT)
        err = ask_sink(conn, &why);
    if (err == KERF_OK && conn->state == READ_PAYLOAD)
        err = read_payload(conn, &why);
    if (err == KERF_OK || err == KERF_EAGAIN || conn->ops == NULL)
        return;
    if (err == KERF_ECLOSED)
        end(conn, err, why.text);
    else
        reject(conn, err, &why);
}

void
kerf_conn_resume(kerf_conn *conn)
{
    if (conn->state != READ_WAIT || conn->ops == NULL)
        return;
    ask_events(conn, conn->events | UV_READABLE);
    kerf_conn_ref(conn);
    on_readable(conn);
    kerf_conn_unref(conn);
}

/* Sending. */

/* The memory of out that is still to be sent. */
static int
out_iov(const kerf_out *out, struct iovec iov[IOV_MAX_USED])
{
    uint64_t start = out->head_len;
    int n = 0;

    if (out->at < out->head_len)
        iov[n++] = (struct iovec){(void *)(uintptr_t)(out->head + out->at),
                                  out->head_len - (size_t)out->at};
    for (size_t i = 0; i < out->count && n + 2 <= IOV_MAX_USED; i++) {
        size_t len = out->len[i];
        size_t padded = kerf_align_up(len, KERF_PIECE_ALIGN);
        uint64_t skip = out->at > start ? out->at - start : 0;
        uintptr_t piece = (uintptr_t)out->piece[i];

        start += padded;
        if (skip < len)
            iov[n++] = (struct iovec){(void *)(piece + skip),
                                      len - (size_t)skip};
        if (skip < padded && padded > len) {
            size_t pad_skip = skip > len ? (size_t)skip - len : 0;

            iov[n++] = (struct iovec){(void *)(uintptr_t)zeros,
                                      padded - len - pad_skip};
        }
    }
    return n;
}

/* One frame to the kernel, as far as it takes it. Under the lock. Returns 1
 * when all of it is gone, 0 when the kernel is full, -1 on error. */
static int
push_out(kerf_conn *conn, kerf_out *out)
{
    while (out->at < out->total) {
        struct iovec iov[IOV_MAX_USED];
        struct msghdr message = {.msg_iov = iov};
        ssize_t n;

        message.msg_iovlen = (size_t)out_iov(out, iov);
        n = sendmsg(conn->fd, &message, MSG_NOSIGNAL);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return errno == EAGAIN ? 0 : -1;
        if (kerf_log_on(KERF_LOG_TRACE) && out->count > 0)
            kerf_log(KERF_LOG_TRACE, "net.send", "conn=%u from=%p len=%zd",
                     conn->number, out->piece[0], n);
        out->at += (uint64_t)n;
    }
    return 1;
}

void
kerf_conn_send(kerf_conn *conn, kerf_out *out)
{
    kerf_err done = KERF_EAGAIN;

    out->next = NULL;
    out->at = 0;
    out->total = out->head_len + kerf_pieces_len(out->len, out->count);
    (void)pthread_mutex_lock(&conn->lock);
    if (!conn->open || conn->finishing) {
        done = KERF_ECLOSED;
    } else if (conn->first == NULL && push_out(conn, out) == 1) {
        done = KERF_OK;
    } else { /* full, or a dead socket that the loop will notice */
        if (conn->last != NULL)
            conn->last->next = out;
        else
            conn->first = out;
        conn->last = out;
        if (!conn->out_asked) {
            conn->out_asked = true;
            kerf_conn_ref(conn); /* the post's */
            kerf_loop_post(conn->loop, &conn->want_out);
        }
    }
    (void)pthread_mutex_unlock(&conn->lock);
    if (done != KERF_EAGAIN)
        out->done(out->ctx, done);
}

static void
on_want_out(void *ctx)
{
    kerf_conn *conn = ctx;

    if (conn->state != READ_OVER)
        ask_events(conn, conn->events | UV_WRITABLE);
    kerf_conn_unref(conn);
}

static void
on_writable(kerf_conn *conn)
{
    kerf_out *sent = NULL;
    kerf_out **tail = &sent;
    bool empty;
    bool finishing;
    int code = 1;

    (void)pthread_mutex_lock(&conn->lock);
    while (conn->first != NULL && (code = push_out(conn, conn->first)) == 1) {
        kerf_out *out = conn->first;

        conn->first = out->next;
        out->next = NULL;
        *tail = out;
        tail = &out->next;
    }
    empty = conn->first == NULL;
    if (empty) {
        conn->last = NULL;
        conn->out_asked = false;
    }
    finishing = conn->finishing;
    (void)pthread_mutex_unlock(&conn->lock);
    finish_outs(sent, KERF_OK);
    if (code < 0)
        end(conn, KERF_ECLOSED, "the connection broke while sending");
    else if (empty && finishing && conn->state != READ_OVER)
        start_linger(conn);
    else if (empty && conn->state != READ_OVER)
        ask_events(conn, conn->events & ~UV_WRITABLE);
}

static void
on_poll(uv_poll_t *poll, int status, int events)
{
    kerf_conn *conn = poll->data;

    kerf_conn_ref(conn);
    if (status < 0) {
        end(conn, KERF_ECLOSED, uv_strerror(status));
    } else {
        if (events & UV_WRITABLE)
            on_writable(conn);
        if ((events & UV_READABLE) && conn->state != READ_OVER)
            on_readable(conn);
    }
    kerf_conn_unref(conn);
}

static void
free_out(void *ctx, kerf_err err)
{
    (void)err;
    free(ctx);
}

kerf_err
kerf_conn_send_meta(kerf_conn *conn, kerf_frame_type type, uint64_t id,
                    const uint8_t *meta, size_t len)
{
    kerf_header h = {.type = (uint8_t)type,
                     .id = id,
                     .flags = KERF_FLAG_BODY_HASH,
                     .body_hash = kerf_body_hash(0, meta, len),
                     .sent_ns = kerf_now_ns()};
    kerf_out *out = calloc(1, sizeof *out + kerf_head_len(len));
    uint8_t *head;

    if (out == NULL)
        return KERF_ENOMEM;
    head = (uint8_t *)(out + 1);
    if (len > 0)
        memcpy(head + KERF_HEADER_LEN, meta, len);
    out->head = head;
    out->head_len = kerf_head_seal(head, &h, len);
    out->done = free_out;
    out->ctx = out;
    kerf_conn_send(conn, out);
    return KERF_OK;
}

kerf_err
kerf_conn_send_notice(kerf_conn *conn, kerf_frame_type type, uint64_t id,
                      kerf_err err, uint32_t retry_ms, const char *text)
{
    kerf_notice notice = {.err = (uint16_t)err, .retry_ms = retry_ms};
    uint8_t meta[KERF_TEXT_MAX + 16];
    size_t len;

    (void)snprintf(notice.text, sizeof notice.text, "%s", text);
    len = kerf_notice_put(meta, sizeof meta, &notice);
    return kerf_conn_send_meta(conn, type, id, meta, len);
}
