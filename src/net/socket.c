/*
 * Listening, and what is set on sockets. Sockets are ours, not uv_tcp_t: conn.c
 * reads straight into tensor memory and sends from any thread, which libuv's
 * streams cannot.
 */
#include "net/loop.h"

#include "base/fs.h"
#include "base/log.h"
#include "net/loop_uv.h"
#include "net/socket_own.h"

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
#define CONTROL_MAX 17      /* the kernel's TCP_CA_NAME_MAX, and a zero */

union address {
    struct sockaddr any;
    struct sockaddr_in v4;
    struct sockaddr_in6 v6;
};

struct kerf_listener {
    uv_poll_t poll;
    kerf_loop *loop;
    kerf_timer *pause;
    kerf_accept_fn *fn;
    void *ctx;
    int fd;
};

bool
kerf_socket_is_local(int fd)
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

static bool
choose_control(int fd, const char *name)
{
    return setsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, name,
                      (socklen_t)strlen(name)) == 0;
}

/* In name, "" if it is not told. */
static void
look_at_control(int fd, char name[CONTROL_MAX])
{
    socklen_t len = CONTROL_MAX - 1;

    memset(name, 0, CONTROL_MAX);
    if (getsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, name, &len) != 0)
        name[0] = '\0';
}

void
kerf_socket_unpace(int fd)
{
    if (!choose_control(fd, "cubic")) /* not everybody may */
        (void)choose_control(fd, "reno");
}

/* What was begun with kerf_socket_unpace(), and leaves this machine after all,
 * has the system's choice, as it is now. That of a route stands, unless it is
 * ours. */
static void
pace_again(int fd)
{
    char own[CONTROL_MAX], ours[CONTROL_MAX], usual[CONTROL_MAX];
    int other = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    if (other < 0)
        return;
    look_at_control(fd, own);
    look_at_control(other, usual);
    kerf_socket_unpace(other);
    look_at_control(other, ours);
    if (strcmp(own, ours) == 0 && strcmp(own, usual) != 0)
        (void)choose_control(fd, usual);
    (void)close(other);
}

void
kerf_socket_tune(int fd, bool unpaced)
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
    if (kerf_socket_is_local(fd))
        kerf_socket_unpace(fd);
    else if (unpaced)
        pace_again(fd);
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
    kerf_loop_serve_found(listener->loop); /* those that end give files back */
    if (uv_is_closing((uv_handle_t *)poll))
        return;
    for (int i = 0; i < 64; i++) { /* then let others have a turn */
        int fd =
            accept4(listener->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

        if (fd >= 0) {
            kerf_socket_tune(fd, true);
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

bool
kerf_address_is_loopback(const struct sockaddr *any)
{
    union address at = {.any.sa_family = AF_UNSPEC};

    if (any->sa_family == AF_INET) {
        memcpy(&at.v4, any, sizeof at.v4);
        return ntohl(at.v4.sin_addr.s_addr) >> 24 == 127;
    }
    if (any->sa_family != AF_INET6)
        return false;
    memcpy(&at.v6, any, sizeof at.v6);
    return IN6_IS_ADDR_LOOPBACK(&at.v6.sin6_addr);
}

static kerf_err
say_open(const char *host, kerf_detail *why)
{
    return kerf_fail(why, KERF_EINVAL,
                     "%s without TLS: whoever reaches it gets models and "
                     "answers, and whoever is on the way reads and changes "
                     "all: make keys (kerf keygen) and give --tls DIR, "
                     "which --legacy cannot, or say --insecure",
                     host);
}

kerf_err
kerf_check_here(const char *host, kerf_detail *why)
{
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM,
                             .ai_flags = AI_PASSIVE | AI_NUMERICHOST};
    struct addrinfo *list = NULL;
    bool here;

    if (getaddrinfo(host, "0", &hints, &list) != 0)
        return KERF_OK; /* a name, or nothing: who listens finds out */
    here = kerf_address_is_loopback(list->ai_addr);
    freeaddrinfo(list);
    return here ? KERF_OK : say_open(host, why);
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

/* Of the addresses the first that can be had; -1: none, with the reason of the
 * last that was tried in *code, which stays 0 when none was. */
static int
open_first(const struct addrinfo *at, kerf_reach reach, int *code, bool *here)
{
    int fd = -1;

    for (; at != NULL && fd < 0; at = at->ai_next) {
        *here = kerf_address_is_loopback(at->ai_addr);
        if (*here || reach != KERF_REACH_HERE)
            fd = open_listening(at, code);
    }
    return fd;
}

static kerf_err
bind_host(const char *host, int port, kerf_reach reach, int *fd,
          kerf_detail *why)
{
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM,
                             .ai_flags = AI_PASSIVE};
    struct addrinfo *list = NULL;
    char service[16];
    bool here = false;
    int code = 0;

    (void)snprintf(service, sizeof service, "%d", port);
    if (getaddrinfo(host, service, &hints, &list) != 0)
        return kerf_fail(why, KERF_ENOENT, "no such host: %s", host);
    *fd = open_first(list, reach, &code, &here);
    freeaddrinfo(list);
    if (*fd >= 0 && !here && reach == KERF_REACH_INSECURE) {
        kerf_log(KERF_LOG_WARN, "net.insecure",
                 "host=%s: no TLS: whoever reaches it gets models and answers, "
                 "and whoever is on the way reads and changes all",
                 host);
    }
    if (*fd >= 0)
        return KERF_OK;
    if (code == 0)
        return say_open(host, why);
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
            kerf_reach reach, kerf_accept_fn *fn, void *ctx, kerf_detail *why)
{
    kerf_listener *listener;
    kerf_err err;
    int fd = -1;

    err = bind_host(host, port, reach, &fd, why);
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
    listener->loop = loop;
    listener->fd = fd;
    kerf_socket_unpace(fd); /* those it accepts: later it is too late */
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

void
kerf_handle_free_data(uv_handle_t *handle)
{
    free(handle->data);
}

void
kerf_listener_free(kerf_listener *listener)
{
    if (listener == NULL)
        return;
    kerf_timer_free(listener->pause);
    uv_close((uv_handle_t *)&listener->poll, kerf_handle_free_data);
    (void)close(listener->fd);
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
