/*
 * Listening and dialling. Sockets are ours, not uv_tcp_t: conn.c reads straight
 * into tensor memory and sends from any thread, which libuv's streams cannot.
 */
#include "net/loop.h"

#include "base/fs.h"
#include "net/loop_uv.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define UNACKED_MS 30000
#define ACCEPT_PAUSE_MS 100 /* when out of file descriptors */

union address {
    struct sockaddr any;
    struct sockaddr_in v4;
    struct sockaddr_in6 v6;
};

struct kerf_listener {
    uv_poll_t poll;
    kerf_timer *pause;
    kerf_accept_fn *fn;
    void *ctx;
    int fd;
};

/* Both ends have the same address: what is sent never leaves this machine. */
static bool
is_local(int fd)
{
    union address own = {.any.sa_family = AF_UNSPEC};
    union address peer = {.any.sa_family = AF_UNSPEC};
    socklen_t own_len = sizeof own;
    socklen_t peer_len = sizeof peer;

    if (getsockname(fd, &own.any, &own_len) != 0 ||
        getpeername(fd, &peer.any, &peer_len) != 0 ||
        own.any.sa_family != peer.any.sa_family)
        return false;
    if (own.any.sa_family == AF_INET6)
        return memcmp(&own.v6.sin6_addr, &peer.v6.sin6_addr,
                      sizeof own.v6.sin6_addr) == 0;
    return own.any.sa_family == AF_INET &&
           own.v4.sin_addr.s_addr == peer.v4.sin_addr.s_addr;
}

/* Where the system's choice is one that paces (BBR), it does so within a
 * machine too, for nothing: 4 MB then take twice as long, at half as much CPU
 * again (docs/BENCHMARKS.md). Over networks the choice is the system's. */
static void
unpace(int fd)
{
    static const char cubic[] = "cubic";

    if (is_local(fd))
        (void)setsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, cubic,
                         sizeof cubic - 1);
}

static void
tune(int fd)
{
    unsigned unacked_ms = UNACKED_MS;
    int on = 1;

    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    (void)setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on);
    /* A firewall that forgot the connection swallows what we send: without
     * this it would be retried for a quarter of an hour. Not less: it also
     * ends connections to a peer, or a proxy, that takes bytes slowly. */
    (void)setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &unacked_ms,
                     sizeof unacked_ms);
    unpace(fd);
}

static void on_acceptable(uv_poll_t *poll, int status, int events);

static void
resume_accepting(void *ctx)
{
    kerf_listener *listener = ctx;

    (void)uv_poll_start(&listener->poll, UV_READABLE, on_acceptable);
}

static void
on_acceptable(uv_poll_t *poll, int status, int events)
{
    kerf_listener *listener = poll->data;

    (void)status;
    (void)events;
    for (int i = 0; i < 64; i++) { /* then let others have a turn */
        int fd =
            accept4(listener->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

        if (fd >= 0) {
            tune(fd);
            listener->fn(listener->ctx, fd);
        } else if (errno == EMFILE || errno == ENFILE || errno == ENOMEM ||
                   errno == ENOBUFS) {
            (void)uv_poll_stop(&listener->poll);
            kerf_timer_start(listener->pause, ACCEPT_PAUSE_MS, 0);
            return;
        } else if (errno != EINTR && errno != ECONNABORTED) {
            return;
        }
    }
}

static int
open_listening(const struct addrinfo *at, int *code)
{
    int on = 1;
    int fd =
        socket(at->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

    if (fd < 0) {
        *code = errno;
        return -1;
    }
    (void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (bind(fd, at->ai_addr, at->ai_addrlen) == 0 && listen(fd, 1024) == 0)
        return fd;
    *code = errno;
    (void)close(fd);
    return -1;
}

static kerf_err
bind_host(const char *host, int port, int *fd, kerf_detail *why)
{
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM,
                             .ai_flags = AI_PASSIVE};
    struct addrinfo *list = NULL;
    char service[16];
    int code = EADDRNOTAVAIL;

    (void)snprintf(service, sizeof service, "%d", port);
    if (getaddrinfo(host, service, &hints, &list) != 0)
        return kerf_fail(why, KERF_ENOENT, "no such host: %s", host);
    *fd = -1;
    for (struct addrinfo *at = list; at != NULL && *fd < 0; at = at->ai_next)
        *fd = open_listening(at, &code);
    freeaddrinfo(list);
    if (*fd >= 0)
        return KERF_OK;
    if (code == EADDRINUSE) {
        return kerf_fail(why, KERF_EADDRINUSE,
                         "port %d on %s is in use: stop what listens there, or "
                         "give --cloud_port another one",
                         port, host);
    }
    return kerf_fail(why, kerf_err_from_errno(code),
                     "cannot listen on %s:%d: %s", host, port, strerror(code));
}

kerf_err
kerf_listen(kerf_listener **out, kerf_loop *loop, const char *host, int port,
            kerf_accept_fn *fn, void *ctx, kerf_detail *why)
{
    kerf_listener *listener;
    kerf_err err;
    int fd = -1;

    err = bind_host(host, port, &fd, why);
    if (err != KERF_OK)
        return err;
    listener = calloc(1, sizeof *listener);
    if (listener == NULL ||
        kerf_timer_new(&listener->pause, loop, resume_accepting, listener) !=
            KERF_OK) {
        free(listener);
        (void)close(fd);
        return KERF_ENOMEM;
    }
    listener->fd = fd;
    listener->fn = fn;
    listener->ctx = ctx;
    (void)uv_poll_init(kerf_loop_uv(loop), &listener->poll, fd);
    listener->poll.data = listener;
    resume_accepting(listener);
    *out = listener;
    return KERF_OK;
}

int
kerf_listener_port(const kerf_listener *listener)
{
    union address at = {.any.sa_family = AF_UNSPEC};
    socklen_t len = sizeof at;

    if (getsockname(listener->fd, &at.any, &len) != 0)
        return 0;
    return ntohs(at.any.sa_family == AF_INET6 ? at.v6.sin6_port
                                              : at.v4.sin_port);
}

int
kerf_listener_fd(const kerf_listener *listener)
{
    return listener->fd;
}

static void
free_data(uv_handle_t *handle)
{
    free(handle->data);
}

void
kerf_listener_free(kerf_listener *listener)
{
    if (listener == NULL)
        return;
    kerf_timer_free(listener->pause);
    uv_close((uv_handle_t *)&listener->poll, free_data);
    (void)close(listener->fd);
}

struct kerf_dial {
    uv_getaddrinfo_t resolve;
    uv_poll_t *poll; /* of the attempt under way, or NULL */
    bool resolving, cancelled;
    kerf_timer *timeout;
    uint64_t timeout_ms;
    kerf_loop *loop;
    struct addrinfo *list, *at;
    kerf_dial_fn *fn;
    void *ctx;
    int fd;
    char why[192];
};

static void
drop_poll(kerf_dial *dial)
{
    if (dial->poll == NULL)
        return;
    (void)uv_poll_stop(dial->poll);
    dial->poll->data = dial->poll;
    uv_close((uv_handle_t *)dial->poll, free_data);
    dial->poll = NULL;
}

static void
finish(kerf_dial *dial, int fd)
{
    drop_poll(dial);
    if (fd < 0 && dial->fd >= 0)
        (void)close(dial->fd);
    kerf_timer_free(dial->timeout);
    uv_freeaddrinfo(dial->list);
    if (!dial->cancelled)
        dial->fn(dial->ctx, fd, dial->why);
    free(dial);
}

static void
drop_attempt(kerf_dial *dial)
{
    drop_poll(dial);
    (void)close(dial->fd);
    dial->fd = -1;
    dial->at = dial->at->ai_next;
}

static bool start_attempt(kerf_dial *dial);

static void
try_addresses(kerf_dial *dial)
{
    for (; dial->at != NULL; dial->at = dial->at->ai_next) {
        if (start_attempt(dial))
            return;
    }
    finish(dial, -1);
}

static void
on_connect(uv_poll_t *poll, int status, int events)
{
    kerf_dial *dial = poll->data;
    socklen_t len = sizeof(int);
    int code = status;

    (void)events;
    if (getsockopt(dial->fd, SOL_SOCKET, SO_ERROR, &code, &len) != 0)
        code = errno;
    if (code == 0) {
        tune(dial->fd);
        finish(dial, dial->fd);
        return;
    }
    (void)snprintf(dial->why, sizeof dial->why, "%s", strerror(code));
    drop_attempt(dial);
    try_addresses(dial);
}

static bool
start_attempt(kerf_dial *dial)
{
    int fd = socket(dial->at->ai_family,
                    SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

    if (fd >= 0 && (connect(fd, dial->at->ai_addr, dial->at->ai_addrlen) == 0 ||
                    errno == EINPROGRESS)) {
        dial->poll = calloc(1, sizeof *dial->poll);
        if (dial->poll != NULL) {
            dial->fd = fd;
            (void)uv_poll_init(kerf_loop_uv(dial->loop), dial->poll, fd);
            dial->poll->data = dial;
            (void)uv_poll_start(dial->poll, UV_WRITABLE, on_connect);
            kerf_timer_start(dial->timeout, dial->timeout_ms, 0);
            return true;
        }
    }
    (void)snprintf(dial->why, sizeof dial->why, "%s", strerror(errno));
    if (fd >= 0)
        (void)close(fd);
    return false;
}

static void
on_resolved(uv_getaddrinfo_t *request, int status, struct addrinfo *list)
{
    kerf_dial *dial = request->data;

    dial->resolving = false;
    dial->list = dial->at = list;
    if (status != 0) /* uv_strerror(0) would allocate */
        (void)snprintf(dial->why, sizeof dial->why, "no such host (%s)",
                       uv_strerror(status));
    if (dial->cancelled || status != 0) {
        finish(dial, -1);
        return;
    }
    try_addresses(dial);
}

/* Of the name, or of one address: then the next one has its turn. */
static void
on_dial_timeout(void *ctx)
{
    kerf_dial *dial = ctx;

    (void)snprintf(dial->why, sizeof dial->why, "no answer in time");
    if (dial->resolving) {
        (void)uv_cancel((uv_req_t *)&dial->resolve); /* on_resolved follows */
        return;
    }
    drop_attempt(dial);
    try_addresses(dial);
}

kerf_err
kerf_dial_start(kerf_dial **out, kerf_loop *loop, const char *host, int port,
                uint64_t timeout_ms, kerf_dial_fn *fn, void *ctx)
{
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM};
    kerf_dial *dial = calloc(1, sizeof *dial);
    char service[16];

    if (dial == NULL)
        return KERF_ENOMEM;
    if (kerf_timer_new(&dial->timeout, loop, on_dial_timeout, dial) !=
        KERF_OK) {
        free(dial);
        return KERF_ENOMEM;
    }
    dial->loop = loop;
    dial->fd = -1;
    dial->fn = fn;
    dial->ctx = ctx;
    dial->timeout_ms = timeout_ms;
    dial->resolve.data = dial;
    dial->resolving = true;
    (void)snprintf(service, sizeof service, "%d", port);
    if (uv_getaddrinfo(kerf_loop_uv(loop), &dial->resolve, on_resolved, host,
                       service, &hints) != 0) {
        kerf_timer_free(dial->timeout);
        free(dial);
        return KERF_EIO;
    }
    kerf_timer_start(dial->timeout, timeout_ms, 0);
    *out = dial;
    return KERF_OK;
}

void
kerf_dial_cancel(kerf_dial *dial)
{
    dial->cancelled = true;
    if (dial->resolving) { /* on_resolved() frees it, perhaps long after */
        kerf_timer_free(dial->timeout);
        dial->timeout = NULL;
        (void)uv_cancel((uv_req_t *)&dial->resolve);
    } else {
        finish(dial, -1);
    }
}

char *
kerf_peer_text(char out[64], int fd)
{
    union address at = {.any.sa_family = AF_UNSPEC};
    socklen_t len = sizeof at;
    char host[INET6_ADDRSTRLEN] = "?";

    if (getpeername(fd, &at.any, &len) != 0) {
        (void)snprintf(out, 64, "unknown");
    } else if (at.any.sa_family == AF_INET6) {
        (void)inet_ntop(AF_INET6, &at.v6.sin6_addr, host, sizeof host);
        (void)snprintf(out, 64, "[%s]:%u", host, ntohs(at.v6.sin6_port));
    } else {
        (void)inet_ntop(AF_INET, &at.v4.sin_addr, host, sizeof host);
        (void)snprintf(out, 64, "%s:%u", host, ntohs(at.v4.sin_port));
    }
    return out;
}
