/*
 * Sending. The queue is under a mutex because workers send results themselves.
 * What the kernel does not take at once waits for the loop's POLLOUT. done()
 * callbacks run after the lock is dropped.
 */
#include "net/conn_own.h"

#include "base/clock.h"
#include "base/log.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

static const uint8_t zeros[KERF_PIECE_ALIGN];

/* The memory of out that is still to be sent. */
static int
out_iov(const kerf_out *out, struct iovec iov[KERF_CONN_IOV])
{
    uint64_t start = out->head_len;
    int n = 0;

    if (out->at < out->head_len)
        iov[n++] = (struct iovec){(void *)(uintptr_t)(out->head + out->at),
                                  out->head_len - (size_t)out->at};
    for (size_t i = 0; i < out->count && n + 2 <= KERF_CONN_IOV; i++)
        n = kerf_conn_add_piece(iov, n, (void *)(uintptr_t)out->piece[i],
                                out->len[i], &start, out->at,
                                (void *)(uintptr_t)zeros);
    return n;
}

/* What one record of at most `most` bytes holds of the frame: from where it is,
 * where that fills one; else its next pieces together, in scratch. */
static const void *
choose_record(const kerf_out *out, size_t most, uint8_t *scratch, size_t *len)
{
    struct iovec iov[KERF_CONN_IOV];
    int n = kerf_conn_clip(iov, out_iov(out, iov), most);

    *len = iov[0].iov_len;
    if (n == 1)
        return iov[0].iov_base;
    *len = 0;
    for (int i = 0; i < n; i++) {
        memcpy(scratch + *len, iov[i].iov_base, iov[i].iov_len);
        *len += iov[i].iov_len;
    }
    return scratch;
}

/* The same as push_out(). A record that the kernel did not take is given again
 * with the same bytes, as OpenSSL wants it. */
static int
push_records(kerf_conn *conn, kerf_out *out)
{
    static _Thread_local uint8_t scratch[KERF_TLS_RECORD];

    while (out->at < out->total) {
        size_t most = conn->record != 0              ? conn->record
                      : conn->burst == 0             ? KERF_TLS_RECORD
                      : conn->burst < sizeof scratch ? conn->burst
                                                     : sizeof scratch;
        size_t put = 0;
        size_t len;
        const void *data = choose_record(out, most, scratch, &len);
        bool more =
            conn->burst == 0 && (out->more || len < out->total - out->at);
        kerf_err err = kerf_tls_write(conn->tls, data, len, more, &put);

        conn->record = err == KERF_EAGAIN ? len : 0;
        if (err != KERF_OK)
            return err == KERF_EAGAIN ? 0 : -1;
        out->at += put;
    }
    return 1;
}

static void
trace_sent(const kerf_conn *conn, const kerf_out *out, size_t len)
{
    if (kerf_log_on(KERF_LOG_TRACE) && out->count > 0)
        kerf_log(KERF_LOG_TRACE, "net.send", "conn=%u from=%p len=%zu",
                 conn->number, out->piece[0], len);
}

/* TLS has copies of its own. */
bool
kerf_conn_lends(const kerf_conn *conn, uint64_t payload_len)
{
    return conn->tls == NULL && payload_len >= KERF_LEND_LEAST;
}

/* Whether what is behind the head goes without a copy. */
static bool
may_lend(kerf_conn *conn, const kerf_out *out)
{
    if (!out->lend || conn->cannot_lend || conn->burst != 0 ||
        !kerf_conn_lends(conn, out->total - out->head_len))
        return false;
    if (conn->lend == NULL)
        conn->lend = kerf_lend_new();
    conn->cannot_lend = conn->lend == NULL;
    return !conn->cannot_lend;
}

/* The same as push_out() for what is behind the head, until it cannot lend. */
static int
push_lent(kerf_conn *conn, kerf_out *out, bool more)
{
    kerf_err err = KERF_OK;

    while (err == KERF_OK && out->at < out->total) {
        struct iovec iov[KERF_CONN_IOV];
        size_t count = (size_t)out_iov(out, iov);
        uint64_t end = out->at;
        size_t put = 0;

        for (size_t i = 0; i < count; i++)
            end += iov[i].iov_len;
        err = kerf_lend_send(conn->lend, conn->fd, iov, count,
                             more || end < out->total, &put);
        trace_sent(conn, out, put);
        out->at += put;
    }
    conn->cannot_lend = err == KERF_ENOTSUP;
    return err == KERF_ECLOSED ? -1 : err == KERF_OK ? 1 : 0;
}

/* One frame to the kernel, as far as it takes it. Under the lock. Returns 1
 * when all of it is gone, 0 when the kernel is full, -1 on error. */
static int
push_out(kerf_conn *conn, kerf_out *out, int flags)
{
    if (conn->tls != NULL)
        return push_records(conn, out);
    if (conn->burst != 0) /* else the kernel makes longer ones of them */
        flags |= MSG_EOR;
    while (out->at < out->total) {
        bool lend = out->lends && !conn->cannot_lend;
        struct iovec iov[KERF_CONN_IOV];
        struct msghdr message = {.msg_iov = iov};
        ssize_t n;

        if (lend && out->at >= out->head_len) {
            int code = push_lent(conn, out, (flags & MSG_MORE) != 0);

            if (!conn->cannot_lend)
                return code;
            continue;
        }
        message.msg_iovlen = (size_t)out_iov(out, iov);
        if (lend) /* the head: it is written again when it is sent again */
            message.msg_iovlen = 1;
        if (conn->burst != 0)
            message.msg_iovlen = (size_t)kerf_conn_clip(
                iov, (int)message.msg_iovlen, conn->burst);
        n = sendmsg(conn->fd, &message,
                    MSG_NOSIGNAL | flags | (lend ? MSG_MORE : 0));
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return errno == EAGAIN ? 0 : -1;
        trace_sent(conn, out, (size_t)n);
        out->at += (uint64_t)n;
    }
    return 1;
}

void
kerf_out_begin(kerf_out *out)
{
    out->at = 0;
    out->total = out->head_len + kerf_pieces_len(out->len, out->count);
}

bool
kerf_conn_has_taken(kerf_conn *conn, const kerf_out *out)
{
    bool taken;

    (void)pthread_mutex_lock(&conn->lock);
    taken = out->at == out->total;
    (void)pthread_mutex_unlock(&conn->lock);
    return taken;
}

/* Sends it, or queues it, under the lock. KERF_EAGAIN: queued. */
static kerf_err
send_locked(kerf_conn *conn, kerf_out *out)
{
    kerf_out_begin(out);
    out->next = NULL;
    if (!conn->open || conn->finishing)
        return KERF_ECLOSED;
    out->lends = may_lend(conn, out);
    if (conn->first == NULL && !conn->shaking &&
        push_out(conn, out, out->more ? MSG_MORE : 0) == 1)
        return KERF_OK;
    /* full, or a dead socket that the loop will notice */
    if (conn->last != NULL)
        conn->last->next = out;
    else
        conn->first = out;
    if (conn->out_count++ == 0)
        conn->out_since_ns = kerf_now_ns();
    conn->last = out;
    if (!conn->out_asked) {
        conn->out_asked = true;
        kerf_conn_ref(conn); /* the post's */
        kerf_loop_post(conn->loop, &conn->want_out);
    }
    return KERF_EAGAIN;
}

void
kerf_conn_send(kerf_conn *conn, kerf_out *out)
{
    out->next = NULL;
    kerf_conn_send_row(conn, out);
}

void
kerf_conn_send_row(kerf_conn *conn, kerf_out *first)
{
    kerf_out *sent = NULL, *lost = NULL;
    kerf_out **sent_end = &sent;
    kerf_out **lost_end = &lost;

    (void)pthread_mutex_lock(&conn->lock);
    while (first != NULL) {
        kerf_out *out = first;
        kerf_err err;

        first = out->next;
        err = send_locked(conn, out);
        if (err == KERF_OK) {
            *sent_end = out;
            sent_end = &out->next;
        } else if (err == KERF_ECLOSED) {
            *lost_end = out;
            lost_end = &out->next;
        }
    }
    (void)pthread_mutex_unlock(&conn->lock);
    kerf_conn_finish_outs(sent, KERF_OK);
    kerf_conn_finish_outs(lost, KERF_ECLOSED);
}

void
kerf_conn_flush(kerf_conn *conn)
{
    const int on = 1;

    (void)pthread_mutex_lock(&conn->lock);
    if (conn->open) /* it is on already; tcp(7): setting it flushes */
        (void)setsockopt(conn->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    (void)pthread_mutex_unlock(&conn->lock);
}

void
kerf_conn_on_want_out(void *ctx)
{
    kerf_conn *conn = ctx;

    if (conn->state != KERF_READ_OVER && conn->state != KERF_READ_SHAKE)
        kerf_conn_ask(conn, conn->events | UV_WRITABLE);
    kerf_conn_unref(conn);
}

/* The reader of TLS waits for room to answer (a new key). */
static bool
wants_out(const kerf_conn *conn)
{
    return conn->tls != NULL && kerf_tls_wants_out(conn->tls);
}

/* The poll does not know of what was read ahead. Who waited and was choked when
 * it was resumed goes on, too. */
static bool
may_read_on(const kerf_conn *conn, bool eased)
{
    if (conn->state == KERF_READ_WAIT)
        return eased;
    return (eased || wants_out(conn)) &&
           (conn->state == KERF_READ_HEAD ||
            (conn->tls != NULL && conn->state == KERF_READ_PAYLOAD));
}

void
kerf_conn_on_writable(kerf_conn *conn)
{
    kerf_out *sent = NULL;
    kerf_out **tail = &sent;
    bool empty;
    bool eased;
    int code = 1;

    if (conn->state == KERF_READ_SHAKE) {
        kerf_conn_shake(conn);
        return;
    }
    (void)pthread_mutex_lock(&conn->lock);
    conn->out_since_ns = kerf_now_ns(); /* there is room, so some will go */
    while (conn->first != NULL &&
           (code = push_out(conn, conn->first, 0)) == 1) {
        kerf_out *out = conn->first;

        conn->first = out->next;
        conn->out_count--;
        out->next = NULL;
        *tail = out;
        tail = &out->next;
    }
    empty = conn->first == NULL;
    if (empty) {
        conn->last = NULL;
        conn->out_asked = false;
    }
    eased = conn->choked && conn->out_count <= KERF_CONN_OUTS / 2;
    (void)pthread_mutex_unlock(&conn->lock);
    if (eased) {
        conn->choked = false;
        kerf_conn_ask(conn, conn->events | UV_READABLE);
    }
    kerf_conn_finish_outs(sent, KERF_OK);
    if (code < 0)
        kerf_conn_end_broken(conn, "the connection broke while sending");
    else if (empty && conn->state != KERF_READ_OVER)
        kerf_conn_ask(conn, conn->events & ~UV_WRITABLE);
    if (code >= 0 && may_read_on(conn, eased))
        kerf_conn_on_readable(conn);
}

static void
free_out(void *ctx, kerf_err err)
{
    (void)err;
    free(ctx);
}

void
kerf_out_seal(kerf_out *out, uint8_t *head, kerf_header *h, size_t meta_len)
{
    kerf_out_seal_over(out, head, h, meta_len, false);
}

void
kerf_out_seal_over(kerf_out *out, uint8_t *head, kerf_header *h,
                   size_t meta_len, bool tls)
{
    bool hashed = !tls;

    h->flags = hashed ? KERF_FLAG_BODY_HASH : 0;
    h->body_hash =
        hashed ? kerf_body_hash(0, head + KERF_HEADER_LEN, meta_len) : 0;
    for (size_t i = 0; hashed && i < out->count; i++) {
        if (out->len[i] > 0) /* as the receiver of a frame without payload */
            h->body_hash =
                kerf_body_hash(h->body_hash, out->piece[i], out->len[i]);
    }
    h->payload_len = kerf_pieces_len(out->len, out->count);
    h->sent_ns = kerf_now_ns();
    out->head = head;
    out->head_len = kerf_head_seal(head, h, meta_len);
}

void
kerf_conn_break(kerf_conn *conn)
{
    (void)pthread_mutex_lock(&conn->lock);
    if (conn->open)
        (void)shutdown(conn->fd, SHUT_RDWR);
    (void)pthread_mutex_unlock(&conn->lock);
}

kerf_err
kerf_conn_send_meta(kerf_conn *conn, kerf_frame_type type, uint64_t id,
                    const uint8_t *meta, size_t len)
{
    kerf_header h = {.type = (uint8_t)type, .id = id};
    kerf_out *out = calloc(1, sizeof *out + kerf_head_len(len));
    uint8_t *head;

    if (out == NULL) {
        kerf_conn_break(conn);
        return KERF_ENOMEM;
    }
    head = (uint8_t *)(out + 1);
    if (len > 0)
        memcpy(head + KERF_HEADER_LEN, meta, len);
    out->done = free_out;
    out->ctx = out;
    kerf_out_seal_over(out, head, &h, len, conn->tls != NULL);
    kerf_conn_send(conn, out);
    return KERF_OK;
}

kerf_err
kerf_conn_answer_ping(kerf_conn *conn, const kerf_frame_in *ping)
{
    kerf_pong m = {.echo_ns = ping->header.sent_ns,
                   .received_ns = ping->received_ns};
    uint8_t meta[32];

    return kerf_conn_send_meta(conn, KERF_FRAME_PONG, ping->header.id, meta,
                               kerf_pong_put(meta, sizeof meta, &m));
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
