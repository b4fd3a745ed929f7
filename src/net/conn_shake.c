/*
 * Shaking hands, where a connection has TLS beneath: before the first frame.
 */
#include "net/conn_own.h"

#include "base/clock.h"

/* The peer does not speak TLS: it is told so in its own way. */
static void
turn_plain(kerf_conn *conn, kerf_err err, const kerf_detail *why)
{
    kerf_tls_link *tls = conn->tls;

    (void)pthread_mutex_lock(&conn->lock);
    conn->tls = NULL;
    conn->shaking = false;
    (void)pthread_mutex_unlock(&conn->lock);
    kerf_tls_link_free(tls);
    kerf_conn_reject(conn, err, why);
}

/* It will not be sent any more; what TLS said last shall arrive. */
static void
drop_queued(kerf_conn *conn)
{
    kerf_out *left;

    (void)pthread_mutex_lock(&conn->lock);
    left = conn->first;
    conn->first = conn->last = NULL;
    conn->out_count = 0;
    (void)pthread_mutex_unlock(&conn->lock);
    kerf_conn_finish_outs(left, KERF_ECLOSED);
}

static void
end_shake(kerf_conn *conn)
{
    bool waits;

    (void)pthread_mutex_lock(&conn->lock);
    conn->shaking = false;
    waits = conn->first != NULL;
    conn->out_since_ns = conn->last_in_ns;
    (void)pthread_mutex_unlock(&conn->lock);
    conn->state = KERF_READ_HEAD;
    kerf_conn_ask(conn, waits ? UV_READABLE | UV_WRITABLE : UV_READABLE);
}

void
kerf_conn_shake(kerf_conn *conn)
{
    kerf_detail why = {{0}};
    kerf_err err;

    if (conn->ops == NULL)
        return;
    err = kerf_tls_shake(conn->tls, &why);
    conn->last_in_ns = kerf_now_ns();
    if (err == KERF_OK)
        end_shake(conn);
    else if (err == KERF_EAGAIN)
        kerf_conn_ask(conn, kerf_tls_wants_out(conn->tls)
                                ? UV_READABLE | UV_WRITABLE
                                : UV_READABLE);
    if (err == KERF_OK || err == KERF_EAGAIN)
        return;
    drop_queued(conn);
    if (err == KERF_ENOTSUP && kerf_tls_is_server(conn->tls))
        turn_plain(conn, err, &why);
    else
        kerf_conn_end_slowly(conn, err, why.text);
}
