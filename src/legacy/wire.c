#include "legacy/wire.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>

#define STEP 4096
#define DIAL_TIMEOUT_MS 10000

kerf_err
kerf_legacy_recv(int fd, void *data, size_t cap, size_t *got, kerf_detail *why)
{
    ssize_t n;

    do
        n = recv(fd, data, cap, 0);
    while (n < 0 && errno == EINTR);
    if (n > 0) {
        *got = (size_t)n;
        return KERF_OK;
    }
    if (n == 0)
        return kerf_fail(why, KERF_ECLOSED, "the peer closed the connection");
    if (errno == EAGAIN || errno == EWOULDBLOCK)
        return KERF_EAGAIN;
    return kerf_fail(why, KERF_ECLOSED, "connection lost: %s", strerror(errno));
}

kerf_err
kerf_legacy_drop(int fd, kerf_detail *why)
{
    uint8_t step[STEP];
    size_t got = 0;

    return kerf_legacy_recv(fd, step, sizeof step, &got, why);
}

kerf_err
kerf_legacy_read_head(int fd, kerf_legacy_reader *r, kerf_legacy_message *m,
                      kerf_detail *why)
{
    bool ready = false;
    kerf_err err = KERF_OK;

    while (err == KERF_OK && !ready) {
        uint8_t step[STEP];
        size_t need = kerf_legacy_need(r);
        size_t got = 0;
        size_t used = 0;

        err = kerf_legacy_recv(fd, step, need < STEP ? need : STEP, &got, why);
        if (err == KERF_OK)
            err = kerf_legacy_feed(r, step, got, &used, &ready, m, why);
        else if (err == KERF_ECLOSED && !kerf_legacy_idle(r))
            (void)kerf_fail_in(why, err, "in the middle of a header");
    }
    return err;
}

kerf_err
kerf_legacy_send_some(int fd, kerf_legacy_send *s, kerf_detail *why)
{
    while (s->at < s->head_len + s->len) {
        size_t in_head = s->at < s->head_len ? s->at : s->head_len;
        size_t in_data = s->at - in_head;
        struct iovec piece[2] = {
            {.iov_base = s->head + in_head, .iov_len = s->head_len - in_head},
            {.iov_base = (uint8_t *)(uintptr_t)s->data + in_data,
             .iov_len = s->len - in_data}};
        struct msghdr message = {.msg_iov = piece, .msg_iovlen = 2};
        ssize_t n = sendmsg(fd, &message, MSG_NOSIGNAL);

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
            return KERF_EAGAIN;
        if (n < 0)
            return kerf_fail(why, KERF_ECLOSED, "connection lost: %s",
                             strerror(errno));
        s->at += (size_t)n;
    }
    return KERF_OK;
}

static void
on_dialled(void *ctx, int fd, const char *why)
{
    kerf_legacy_dialler *d = ctx;

    d->dial = NULL;
    if (fd >= 0) {
        d->up(d->ctx, fd);
        return;
    }
    d->down(d->ctx, why);
    kerf_legacy_dialler_again(d);
}

static void
dial(void *ctx)
{
    kerf_legacy_dialler *d = ctx;

    if (kerf_dial_start(&d->dial, d->loop, d->host, d->port, DIAL_TIMEOUT_MS,
                        on_dialled, d) == KERF_OK)
        return;
    d->dial = NULL;
    d->down(d->ctx, "cannot dial");
    kerf_legacy_dialler_again(d);
}

kerf_err
kerf_legacy_dialler_start(kerf_legacy_dialler *d)
{
    kerf_err err = kerf_timer_new(&d->retry, d->loop, dial, d);

    if (err == KERF_OK)
        kerf_timer_start(d->retry, 0, 0);
    return err;
}

void
kerf_legacy_dialler_again(kerf_legacy_dialler *d)
{
    kerf_timer_start(d->retry, d->retry_ms, 0);
}

void
kerf_legacy_dialler_stop(kerf_legacy_dialler *d)
{
    if (d->dial != NULL)
        kerf_dial_cancel(d->dial);
    kerf_timer_free(d->retry);
    d->dial = NULL;
    d->retry = NULL;
}
