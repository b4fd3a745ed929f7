/*
 * Taking: tensors come from the edge straight into the memory that the tail
 * reads, and the tail runs on each. No peer's number is ever allocated: what no
 * tail takes is read and dropped.
 */
#include "legacy/cloud.h"

#include "base/clock.h"
#include "base/log.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

static void
disconnect(kerf_legacy_taker *t)
{
    kerf_fd_watch_free(t->watch);
    if (t->fd >= 0)
        (void)close(t->fd);
    t->watch = NULL;
    t->fd = -1;
    kerf_legacy_fini(&t->reader);
    kerf_legacy_tail_unref(t->tail);
    t->tail = NULL;
    t->in_payload = false;
    if (t->stall != NULL)
        kerf_timer_stop(t->stall);
}

static void
tell_refused(const kerf_legacy_cloud *cloud, uint64_t id, kerf_err err,
             const char *why)
{
    if (cloud->events.refused != NULL)
        cloud->events.refused(cloud->events.ctx, cloud->taker.peer, id, err,
                              why);
}

/* A cut in the middle of a message loses a tensor, so it is told. */
static void
lose(kerf_legacy_cloud *cloud, kerf_err err, const kerf_detail *why)
{
    kerf_legacy_taker *t = &cloud->taker;
    bool amid = t->in_payload || !kerf_legacy_idle(&t->reader);

    kerf_log(KERF_LOG_INFO, "legacy.tensors_closed", "peer=%s why=%s", t->peer,
             KERF_Q(why->text));
    if (err != KERF_ECLOSED || amid)
        tell_refused(cloud, t->in_payload ? t->message.index + 1 : 0, err,
                     why->text[0] != '\0' ? why->text : kerf_err_text(err));
    disconnect(t);
    kerf_legacy_dialler_again(&t->dialler);
}

static void
on_stall(void *ctx)
{
    kerf_detail why;
    kerf_err err = kerf_fail(&why, KERF_EDEADLINE,
                             "the edge went silent in the middle of a tensor");

    lose(ctx, err, &why);
}

/* The one model whose tail takes this shape. */
static kerf_err
pick_tail(kerf_legacy_cloud *cloud, const kerf_shape *shape,
          kerf_legacy_tail **out, kerf_detail *why)
{
    char text[KERF_SHAPE_TEXT];
    kerf_legacy_tail *found = NULL;

    for (size_t i = 0; i < cloud->tail_count; i++) {
        kerf_legacy_tail *t = cloud->tail[i];

        if (!kerf_shape_equal(&t->in.shape, shape))
            continue;
        if (found != NULL) {
            return kerf_fail(why, KERF_EMISMATCH,
                             "a tensor %s fits the tails of %s and %s, and "
                             "this wire does not say which is meant: leave "
                             "one pair in --models",
                             kerf_shape_text(text, shape),
                             found->pair.manifest.name, t->pair.manifest.name);
        }
        found = t;
    }
    if (found == NULL)
        return kerf_fail(why, KERF_EMISMATCH, "no tail takes a tensor %s",
                         kerf_shape_text(text, shape));
    *out = found;
    return KERF_OK;
}

static void
begin_payload(kerf_legacy_cloud *cloud)
{
    kerf_legacy_taker *t = &cloud->taker;

    t->err = pick_tail(cloud, &t->message.shape, &t->tail, &t->why);
    if (t->err == KERF_OK)
        (void)kerf_legacy_tail_ref(t->tail);
    t->got = 0;
    t->in_payload = true;
}

static void
tell_answered(const kerf_legacy_cloud *cloud, const kerf_tensor *out,
              uint64_t tail_ns)
{
    const kerf_legacy_taker *t = &cloud->taker;
    kerf_cloud_answer a = {.edge = t->peer,
                           .model = t->tail->pair.manifest.name,
                           .id = t->message.index + 1,
                           .tail_ns = tail_ns,
                           .bytes_in = (size_t)t->message.len,
                           .count = kerf_net_out_count(t->tail->net)};

    for (size_t i = 0; i < a.count; i++)
        a.bytes_out += out[i].bytes;
    if (cloud->events.answered != NULL)
        cloud->events.answered(cloud->events.ctx, &a, out);
}

static void
end_payload(kerf_legacy_cloud *cloud)
{
    kerf_legacy_taker *t = &cloud->taker;
    kerf_tensor out[KERF_PORTS_MAX];
    uint64_t start_ns = kerf_now_ns();

    if (t->err == KERF_OK)
        t->err = kerf_legacy_tail_run(t->tail, out, &t->why);
    if (t->err == KERF_OK)
        tell_answered(cloud, out, kerf_now_ns() - start_ns);
    else
        tell_refused(cloud, t->message.index + 1, t->err, t->why.text);
    kerf_legacy_tail_unref(t->tail);
    t->tail = NULL;
    t->in_payload = false;
}

/* As much as is there now, into the tail's memory or nowhere. */
static kerf_err
read_payload(kerf_legacy_taker *t, kerf_detail *why)
{
    uint64_t left = t->message.len - t->got;
    uint8_t nowhere[16384];
    uint8_t *to =
        t->tail != NULL ? (uint8_t *)t->tail->in.data + t->got : nowhere;
    size_t room = t->tail != NULL || left < sizeof nowhere ? (size_t)left
                                                           : sizeof nowhere;
    size_t got = 0;
    kerf_err err;

    if (left == 0)
        return KERF_OK;
    err = kerf_legacy_recv(t->fd, to, room, &got, why);
    if (err == KERF_ECLOSED)
        (void)kerf_fail_in(why, err, "after %llu of %llu bytes of a tensor",
                           (unsigned long long)t->got,
                           (unsigned long long)t->message.len);
    t->got += got;
    return err;
}

static void
on_ready(void *ctx, bool readable, bool writable)
{
    kerf_legacy_cloud *cloud = ctx;
    kerf_legacy_taker *t = &cloud->taker;
    kerf_detail why = {{0}};
    kerf_err err = KERF_OK;

    (void)readable;
    (void)writable;
    if (!t->in_payload) {
        err = kerf_legacy_read_head(t->fd, &t->reader, &t->message, &why);
        if (err == KERF_OK)
            begin_payload(cloud);
    } else {
        err = read_payload(t, &why);
    }
    if (err != KERF_OK && err != KERF_EAGAIN) {
        lose(cloud, err, &why);
        return;
    }
    if (t->in_payload && t->got == t->message.len)
        end_payload(cloud);
    if (t->in_payload || !kerf_legacy_idle(&t->reader))
        kerf_timer_start(t->stall, (uint64_t)cloud->opts.stall_ms, 0);
    else
        kerf_timer_stop(t->stall);
}

static void
on_up(void *ctx, int fd)
{
    kerf_legacy_cloud *cloud = ctx;
    kerf_legacy_taker *t = &cloud->taker;
    kerf_detail why = {{0}};

    (void)kerf_peer_text(t->peer, fd);
    t->said[0] = '\0';
    kerf_log(KERF_LOG_INFO, "legacy.tensors_open", "peer=%s", t->peer);
    kerf_legacy_init(&t->reader, KERF_LEGACY_TENSOR, KERF_TENSOR_BYTES_MAX);
    t->fd = fd;
    if (kerf_fd_watch_new(&t->watch, cloud->loop, fd, on_ready, cloud) ==
        KERF_OK)
        kerf_fd_watch_set(t->watch, true, false);
    else
        lose(cloud, kerf_fail(&why, KERF_ENOMEM, "no memory"), &why);
}

static void
on_down(void *ctx, const char *why)
{
    kerf_legacy_taker *t = &((kerf_legacy_cloud *)ctx)->taker;

    if (strcmp(t->said, why) == 0)
        return;
    (void)snprintf(t->said, sizeof t->said, "%s", why);
    kerf_log(KERF_LOG_INFO, "legacy.waiting", "edge=%s:%d why=%s",
             t->dialler.host, t->dialler.port, KERF_Q(why));
}

kerf_err
kerf_legacy_take_start(kerf_legacy_cloud *cloud, const char *host, int port)
{
    kerf_legacy_taker *t = &cloud->taker;
    kerf_err err;

    if (cloud->opts.stall_ms <= 0)
        cloud->opts.stall_ms = KERF_LEGACY_STALL_MS;
    t->dialler = (kerf_legacy_dialler){
        .loop = cloud->loop,
        .host = host,
        .port = port,
        .retry_ms = cloud->opts.retry_ms > 0 ? (uint64_t)cloud->opts.retry_ms
                                             : KERF_LEGACY_RETRY_MS,
        .up = on_up,
        .down = on_down,
        .ctx = cloud};
    err = kerf_timer_new(&t->stall, cloud->loop, on_stall, cloud);
    if (err == KERF_OK)
        err = kerf_legacy_dialler_start(&t->dialler);
    return err;
}

void
kerf_legacy_take_close(kerf_legacy_cloud *cloud)
{
    kerf_legacy_taker *t = &cloud->taker;

    disconnect(t);
    kerf_legacy_dialler_stop(&t->dialler);
    kerf_timer_free(t->stall);
    t->stall = NULL;
}
