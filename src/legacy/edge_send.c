/*
 * Sending tensors to the cloud, which connects to the edge. Nothing is
 * acknowledged on this wire, so the end waits until the other machine's kernel
 * has acknowledged the last byte.
 */
#include "legacy/edge.h"

#include "base/clock.h"

#include <linux/sockios.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#define LINGER_STEP_MS 10
#define GIVE_UP_MS 5000

/* Answers the tensor of the note. */
static void
tell_answer(kerf_legacy_edge *edge, kerf_err err, const char *why)
{
    kerf_legacy_note *n = &edge->note;
    const kerf_edge_result r = {
        .index = n->item.index,
        .name = n->item.name,
        .card = n->head->has_card ? &n->head->card : NULL,
        .err = err,
        .why = why,
        .stages = n->stages,
        .bytes_sent = err == KERF_OK ? n->send.head_len + n->send.len : 0,
        .sent_count = 1,
        .sent = kerf_net_out(n->head->net, 0)};

    edge->total.asked++;
    if (err == KERF_OK)
        edge->total.answered++;
    else
        edge->total.failed++;
    if (edge->events.answer != NULL)
        edge->events.answer(edge->events.ctx, &r);
}

static void
tell_skipped(kerf_legacy_edge *edge)
{
    const kerf_item *item = &edge->note.item;

    edge->total.asked++;
    edge->total.skipped++;
    if (edge->events.skipped != NULL)
        edge->events.skipped(edge->events.ctx, item->index, item->name,
                             item->err, item->why.text);
}

/* The note is the worker's again. */
static void
release(kerf_legacy_edge *edge)
{
    (void)pthread_mutex_lock(&edge->lock);
    edge->full = false;
    (void)pthread_cond_broadcast(&edge->changed);
    (void)pthread_mutex_unlock(&edge->lock);
}

/* False: the note is the worker's, which may be filling it now. */
static bool
is_full(kerf_legacy_edge *edge)
{
    bool full;

    (void)pthread_mutex_lock(&edge->lock);
    full = edge->full;
    (void)pthread_mutex_unlock(&edge->lock);
    return full;
}

static bool
has_tensor(kerf_legacy_edge *edge)
{
    return is_full(edge) && edge->note.kind == KERF_LEGACY_NOTE_TENSOR;
}

static void
disconnect(kerf_legacy_edge *edge)
{
    kerf_fd_watch_free(edge->out_watch);
    if (edge->out_fd >= 0)
        (void)close(edge->out_fd);
    edge->out_watch = NULL;
    edge->out_fd = -1;
    if (has_tensor(edge))
        edge->note.send.at = 0; /* cut short: it is sent again, whole */
}

static void
finish(kerf_legacy_edge *edge, kerf_err err, const char *why)
{
    if (edge->err == KERF_OK && err != KERF_OK)
        edge->err = kerf_fail(&edge->why, err, "%s", why);
    kerf_timer_stop(edge->linger);
    kerf_loop_stop(edge->loop);
}

static void
lose(kerf_legacy_edge *edge, kerf_err err, const char *why)
{
    char text[640];
    bool ended_well = err == KERF_OK;

    disconnect(edge);
    if (edge->done) {
        (void)snprintf(text, sizeof text,
                       "the cloud had not taken the last tensor: %s", why);
        finish(edge, ended_well ? KERF_OK : err, text);
        return;
    }
    (void)snprintf(text, sizeof text,
                   "the cloud that takes tensors is gone (%s); what was on "
                   "its way may be lost: this wire acknowledges nothing",
                   why);
    kerf_legacy_edge_state(edge, false, text);
}

static void
try_send(kerf_legacy_edge *edge)
{
    kerf_legacy_note *n = &edge->note;
    kerf_detail why = {{0}};
    kerf_err err;

    if (edge->out_fd < 0 || !has_tensor(edge))
        return;
    err = kerf_legacy_send_some(edge->out_fd, &n->send, &why);
    if (err == KERF_ECLOSED) {
        lose(edge, err, why.text);
        return;
    }
    kerf_fd_watch_set(edge->out_watch, true, err == KERF_EAGAIN);
    if (err != KERF_OK)
        return;
    n->stages.ns[KERF_STAGE_UPLINK] = kerf_now_ns() - n->encoded_ns;
    tell_answer(edge, KERF_OK, NULL);
    release(edge);
}

static void
on_linger(void *ctx)
{
    kerf_legacy_edge *edge = ctx;
    uint64_t now_ns = kerf_now_ns();
    int left = 0;

    if (ioctl(edge->out_fd, SIOCOUTQ, &left) != 0 || left <= 0) {
        finish(edge, KERF_OK, "");
        return;
    }
    if ((uint64_t)left != edge->linger_left) {
        edge->linger_left = (uint64_t)left;
        edge->linger_since_ns = now_ns;
    }
    if (now_ns - edge->linger_since_ns >
        (uint64_t)edge->opts.stall_ms * 1000000u)
        lose(edge, KERF_ECLOSED, "it went silent");
}

/* The worker is done: the end of the stream is the last thing to send. */
static void
end(kerf_legacy_edge *edge)
{
    edge->done = true;
    if (edge->out_fd < 0 || edge->given_up ||
        shutdown(edge->out_fd, SHUT_WR) != 0) {
        finish(edge, KERF_OK, "");
        return;
    }
    edge->linger_since_ns = kerf_now_ns();
    kerf_timer_start(edge->linger, 0, LINGER_STEP_MS);
}

void
kerf_legacy_out_note(void *ctx)
{
    kerf_legacy_edge *edge = ctx;
    kerf_legacy_note *n = &edge->note;

    /* on_ready() or on_cloud() may have sent it before this call came. */
    if (!is_full(edge))
        return;
    switch (n->kind) {
    case KERF_LEGACY_NOTE_TENSOR:
        try_send(edge);
        kerf_legacy_out_stop(edge);
        return;
    case KERF_LEGACY_NOTE_FAILED:
        tell_answer(edge, n->err, n->why.text);
        break;
    case KERF_LEGACY_NOTE_SKIPPED:
        tell_skipped(edge);
        break;
    case KERF_LEGACY_NOTE_DONE:
        if (n->err != KERF_OK && edge->err == KERF_OK)
            edge->err = kerf_fail(&edge->why, n->err, "%s", n->why.text);
        end(edge);
        break;
    }
    release(edge);
}

static void
on_give_up(void *ctx)
{
    kerf_legacy_edge *edge = ctx;

    edge->given_up = true;
    if (edge->done)
        lose(edge, KERF_ECLOSED, "stopped waiting for it");
    else
        kerf_legacy_out_stop(edge);
}

void
kerf_legacy_out_stop(kerf_legacy_edge *edge)
{
    bool stopping;

    (void)pthread_mutex_lock(&edge->lock);
    stopping = edge->stopping;
    (void)pthread_mutex_unlock(&edge->lock);
    if (!stopping)
        return;
    if (!edge->give_up_runs)
        kerf_timer_start(edge->give_up, GIVE_UP_MS, 0);
    edge->give_up_runs = true;
    if (!has_tensor(edge) || (edge->out_fd >= 0 && !edge->given_up))
        return;
    if (edge->note.send.at > 0) /* else it was not on its way */
        tell_answer(edge, KERF_ECLOSED, "stopped before the cloud took it");
    disconnect(edge);
    release(edge);
}

/* The cloud has nothing to say here; what it says is dropped. */
static void
on_ready(void *ctx, bool readable, bool writable)
{
    kerf_legacy_edge *edge = ctx;
    kerf_detail why = {{0}};
    kerf_err err = KERF_OK;
    int left = 0;

    if (readable)
        err = kerf_legacy_drop(edge->out_fd, &why);
    if (err == KERF_ECLOSED) {
        /* Closing is how a cloud answers the end of our stream. */
        bool taken = edge->done && ioctl(edge->out_fd, SIOCOUTQ, &left) == 0 &&
                     left <= 1;

        lose(edge, taken ? KERF_OK : err, why.text);
        kerf_legacy_out_stop(edge);
        return;
    }
    if (writable) {
        try_send(edge);
        kerf_legacy_out_stop(edge);
    }
}

/* The newest connection counts: the old one may be that of a cloud that died
 * without a word. */
static void
on_cloud(void *ctx, int fd)
{
    kerf_legacy_edge *edge = ctx;
    char peer[64];
    char text[128];

    if (edge->done) {
        (void)close(fd);
        return;
    }
    disconnect(edge);
    if (kerf_fd_watch_new(&edge->out_watch, edge->loop, fd, on_ready, edge) !=
        KERF_OK) {
        (void)close(fd);
        return;
    }
    edge->out_fd = fd;
    kerf_fd_watch_set(edge->out_watch, true, false);
    (void)snprintf(text, sizeof text, "the cloud %s takes tensors",
                   kerf_peer_text(peer, fd));
    kerf_legacy_edge_state(edge, true, text);
    try_send(edge);
}

kerf_err
kerf_legacy_out_start(kerf_legacy_edge *edge, const char *host, int port,
                      kerf_detail *why)
{
    char text[320];
    kerf_err err = kerf_timer_new(&edge->linger, edge->loop, on_linger, edge);

    if (err == KERF_OK)
        err = kerf_timer_new(&edge->give_up, edge->loop, on_give_up, edge);
    if (err == KERF_OK) {
        err = kerf_listen(&edge->listener, edge->loop, host, port,
                          edge->opts.insecure ? KERF_REACH_INSECURE
                                              : KERF_REACH_HERE,
                          on_cloud, edge, why);
    }
    if (err == KERF_EADDRINUSE) {
        (void)kerf_fail(why, err,
                        "port %d on %s is in use: stop what listens there, or "
                        "give --edge_port another one",
                        port, host);
    }
    if (err != KERF_OK)
        return err;
    (void)snprintf(text, sizeof text,
                   "listening on %s:%d for the cloud that takes tensors", host,
                   kerf_listener_port(edge->listener));
    kerf_legacy_edge_state(edge, false, text);
    return KERF_OK;
}

void
kerf_legacy_out_close(kerf_legacy_edge *edge)
{
    kerf_listener_free(edge->listener);
    disconnect(edge);
    kerf_timer_free(edge->linger);
    kerf_timer_free(edge->give_up);
}
