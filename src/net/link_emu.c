/*
 * The emulated link's connections, its clock, and what it is told. How bytes
 * move: link_flow.c.
 */
#include "net/link_emu.h"

#include "base/awake.h"
#include "base/clock.h"
#include "base/fs.h"
#include "net/link_emu_own.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <unistd.h>

#define SOCKET_LEAST (32 << 10)
#define SOCKET_MOST (4 << 20)
#define ROUNDS_MOST 16 /* of moving bytes, then others have a turn */
/* What it takes to wake up a core that sleeps, or so. */
#define EARLY_NS 80000

static void step(kerf_link_emu *emu);

static int
socket_size(const kerf_link_emu *emu)
{
    double mbit = emu->spec.up_mbit > emu->spec.down_mbit ? emu->spec.up_mbit
                                                          : emu->spec.down_mbit;
    double bytes = mbit / 8 * 5e3; /* 5 ms */

    if (bytes < SOCKET_LEAST)
        return SOCKET_LEAST;
    return bytes > SOCKET_MOST ? SOCKET_MOST : (int)bytes;
}

static void
set_up_socket(const kerf_link_emu *emu, int fd)
{
    int size = socket_size(emu);
    int segment = KERF_LINK_PACKET + 12; /* with time stamps */

    (void)setsockopt(fd, IPPROTO_TCP, TCP_MAXSEG, &segment, sizeof segment);
    if (emu->spec.up_mbit > 0 && emu->spec.down_mbit > 0)
        (void)setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof size);
}

/* Connections: their ends. */

static void
close_side(kerf_link_side *side, bool reset)
{
    const struct linger none = {.l_onoff = 1};

    kerf_fd_watch_free(side->watch);
    side->watch = NULL;
    if (side->fd < 0)
        return;
    if (reset)
        (void)setsockopt(side->fd, SOL_SOCKET, SO_LINGER, &none, sizeof none);
    (void)close(side->fd);
    side->fd = -1;
}

void
kerf_link_drop(kerf_link_conn *conn, bool reset)
{
    kerf_link_emu *emu = conn->emu;

    for (int way = 0; way < 2; way++) {
        if (emu->way[way].turn == conn)
            emu->way[way].turn = conn->prev;
        kerf_lane_fini(&conn->lane[way]);
        close_side(&conn->side[way], reset);
    }
    if (conn->prev != NULL)
        conn->prev->next = conn->next;
    else
        emu->first = conn->next;
    if (conn->next != NULL)
        conn->next->prev = conn->prev;
    else
        emu->last = conn->prev;
    emu->counts.open--;
    emu->counts.reset += reset;
    free(conn);
}

static void
reset_all(kerf_link_emu *emu)
{
    for (kerf_link_conn *c = emu->first, *next; c != NULL; c = next) {
        next = c->next;
        kerf_link_drop(c, true);
    }
}

/* Vanished ones that both ends have given up. */
static void
sweep(kerf_link_emu *emu)
{
    for (kerf_link_conn *c = emu->first, *next; c != NULL; c = next) {
        struct pollfd fd[2] = {{.fd = c->side[0].fd, .events = POLLRDHUP},
                               {.fd = c->side[1].fd, .events = POLLRDHUP}};

        next = c->next;
        if (c->vanished && poll(fd, 2, 0) == 2)
            kerf_link_drop(c, true);
    }
}

/* What is waited for. */

static void
watch_side(kerf_link_conn *c, int number)
{
    kerf_link_side *side = &c->side[number];
    bool dials = number == 1 && c->connecting;
    bool in = !dials && !side->readable && !c->lane[number].closed;
    bool out = dials || (!side->writable && c->lane[!number].first != NULL);

    if (c->vanished)
        in = out = false;
    if (in == side->watches_in && out == side->watches_out)
        return;
    side->watches_in = in;
    side->watches_out = out;
    kerf_fd_watch_set(side->watch, in, out);
}

static uint64_t
sooner(uint64_t a_ns, uint64_t b_ns)
{
    return a_ns < b_ns ? a_ns : b_ns;
}

/* When to look again, in real time. */
static uint64_t
next_step(const kerf_link_emu *emu, uint64_t now_ns)
{
    uint64_t next_ns = sooner(kerf_break_next(&emu->stall, &emu->spec.stall),
                              kerf_break_next(&emu->outage, &emu->spec.outage));
    uint64_t link_ns =
        emu->frozen ? UINT64_MAX : kerf_link_next(emu, now_ns - emu->lag_ns);

    return link_ns != UINT64_MAX ? sooner(next_ns, link_ns + emu->lag_ns)
                                 : next_ns;
}

static void
arm(kerf_link_emu *emu, uint64_t now_ns)
{
    uint64_t next_ns = next_step(emu, now_ns);
    struct itimerspec at = {.it_value.tv_sec = 0};

    for (kerf_link_conn *c = emu->first; c != NULL; c = c->next) {
        watch_side(c, 0);
        watch_side(c, 1);
    }
    if (next_ns == emu->timer_ns && next_ns > now_ns)
        return;
    emu->timer_ns = next_ns;
    if (next_ns != UINT64_MAX) {
        next_ns = next_ns > EARLY_NS ? next_ns - EARLY_NS : 1; /* 0 disarms */
        at.it_value.tv_sec = (time_t)(next_ns / 1000000000);
        at.it_value.tv_nsec = (long)(next_ns % 1000000000);
    }
    (void)timerfd_settime(emu->timer_fd, TFD_TIMER_ABSTIME, &at, NULL);
}

/* Stalls and outages begin and end. */
static void
step_breaks(kerf_link_emu *emu, uint64_t now_ns)
{
    bool begun = false;
    bool stalled;

    (void)kerf_break_step(&emu->outage, &emu->spec.outage, now_ns, &begun);
    if (begun) {
        emu->counts.outages++;
        reset_all(emu);
    }
    stalled = kerf_break_step(&emu->stall, &emu->spec.stall, now_ns, &begun);
    emu->counts.stalls += begun;
    if (stalled && !emu->frozen)
        emu->frozen_ns = now_ns - emu->lag_ns;
    if (!stalled && emu->frozen)
        emu->lag_ns = now_ns - emu->frozen_ns;
    emu->frozen = stalled;
}

/* All that is due. */
static void
step(kerf_link_emu *emu)
{
    uint64_t now_ns = kerf_now_ns();
    uint64_t at_ns;

    step_breaks(emu, now_ns);
    at_ns = now_ns - emu->lag_ns;
    for (int i = 0; i < ROUNDS_MOST && !emu->frozen; i++) {
        kerf_link_take(emu, KERF_LINK_UP, at_ns);
        kerf_link_take(emu, KERF_LINK_DOWN, at_ns);
        if (!kerf_link_deliver(emu, at_ns))
            break;
    }
    arm(emu, now_ns);
}

static void
on_timer(void *ctx, bool readable, bool writable)
{
    kerf_link_emu *emu = ctx;
    uint64_t times;

    (void)readable;
    (void)writable;
    if (read(emu->timer_fd, &times, sizeof times) < 0)
        return;                           /* it was set anew meanwhile */
    while (kerf_now_ns() < emu->timer_ns) /* it is EARLY_NS too early */
        kerf_awake_pause();
    emu->timer_ns = UINT64_MAX;
    step(emu);
}

/* Connections: their beginning. */

/* False: refused. */
static bool
finish_connecting(kerf_link_conn *conn)
{
    int code = 0;
    socklen_t len = sizeof code;

    conn->connecting = false;
    return getsockopt(conn->side[1].fd, SOL_SOCKET, SO_ERROR, &code, &len) ==
               0 &&
           code == 0;
}

static void
on_side(void *ctx, bool readable, bool writable)
{
    kerf_link_side *side = ctx;
    kerf_link_conn *conn = side->conn;
    kerf_link_emu *emu = conn->emu;

    if (side == &conn->side[1] && conn->connecting) {
        if (!finish_connecting(conn))
            kerf_link_drop(conn, true);
    } else {
        side->readable |= readable;
        side->writable |= writable;
    }
    step(emu);
}

static bool
open_side(kerf_link_conn *conn, int number, int fd)
{
    const int on = 1;
    kerf_link_side *side = &conn->side[number];

    side->conn = conn;
    side->fd = fd;
    side->writable = true;
    if (fd < 0)
        return false;
    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    return kerf_fd_watch_new(&side->watch, conn->emu->loop, fd, on_side,
                             side) == KERF_OK;
}

static bool
dial(kerf_link_emu *emu, kerf_link_conn *conn)
{
    int fd = socket(emu->to.ss_family,
                    SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

    if (!open_side(conn, 1, fd))
        return false;
    set_up_socket(emu, fd);
    conn->connecting = true;
    return connect(fd, (struct sockaddr *)&emu->to, emu->to_len) == 0 ||
           errno == EINPROGRESS;
}

static void
on_accept(void *ctx, int fd)
{
    kerf_link_emu *emu = ctx;
    kerf_link_conn *conn = calloc(1, sizeof *conn);
    kerf_link_side refused = {.fd = fd};

    emu->counts.connections++;
    sweep(emu);
    if (conn == NULL || emu->outage.on) {
        free(conn);
        close_side(&refused, true);
        return;
    }
    conn->emu = emu;
    conn->side[1].fd = -1;
    conn->prev = emu->last;
    *(emu->last != NULL ? &emu->last->next : &emu->first) = conn;
    emu->last = conn;
    emu->counts.open++;
    conn->ready_ns =
        (emu->frozen ? emu->frozen_ns : kerf_now_ns() - emu->lag_ns) +
        (uint64_t)(emu->spec.rtt_ms * 1e6);
    for (int way = 0; way < 2; way++)
        kerf_lane_init(&conn->lane[way], &emu->spec, emu->counts.connections,
                       way);
    if (!open_side(conn, 0, fd) || !dial(emu, conn))
        kerf_link_drop(conn, true);
    step(emu);
}

/* The whole. */

static kerf_err
resolve(kerf_link_emu *emu, const char *host, int port, kerf_detail *why)
{
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM};
    struct addrinfo *list = NULL;
    char service[16];

    (void)snprintf(service, sizeof service, "%d", port);
    if (getaddrinfo(host, service, &hints, &list) != 0)
        return kerf_fail(why, KERF_ENOENT, "no such host: %s", host);
    emu->to_len = list->ai_addrlen;
    memcpy(&emu->to, list->ai_addr, list->ai_addrlen);
    freeaddrinfo(list);
    return KERF_OK;
}

static void
start_random(kerf_link_emu *emu)
{
    uint64_t now_ns = kerf_now_ns();

    kerf_break_start(&emu->stall, &emu->spec.stall, now_ns, emu->spec.seed);
    kerf_break_start(&emu->outage, &emu->spec.outage, now_ns,
                     emu->spec.seed + 1);
    for (int way = 0; way < 2; way++)
        emu->way[way].rng = emu->spec.seed + (uint64_t)way;
}

kerf_err
kerf_link_emu_new(kerf_link_emu **out, kerf_loop *loop,
                  const kerf_link_emu_opts *opts, kerf_detail *why)
{
    kerf_link_emu *emu = calloc(1, sizeof *emu);
    kerf_err err;

    if (emu == NULL)
        return KERF_ENOMEM;
    emu->loop = loop;
    emu->spec = *opts->spec;
    emu->timer_ns = UINT64_MAX;
    emu->timer_fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
    err = emu->timer_fd >= 0 ? KERF_OK
                             : kerf_fail(why, kerf_err_from_errno(errno),
                                         "no timer: %s", strerror(errno));
    if (err == KERF_OK)
        err = resolve(emu, opts->to_host, opts->to_port, why);
    if (err == KERF_OK)
        err =
            kerf_fd_watch_new(&emu->timer, loop, emu->timer_fd, on_timer, emu);
    if (err == KERF_OK)
        err = kerf_listen(&emu->listener, loop, opts->host, opts->port,
                          KERF_REACH_ALL, on_accept, emu, why);
    if (err != KERF_OK) {
        kerf_link_emu_free(emu);
        return err;
    }
    set_up_socket(emu, kerf_listener_fd(emu->listener));
    kerf_fd_watch_set(emu->timer, true, false);
    start_random(emu);
    step(emu);
    *out = emu;
    return KERF_OK;
}

void
kerf_link_emu_free(kerf_link_emu *emu)
{
    if (emu == NULL)
        return;
    kerf_listener_free(emu->listener);
    reset_all(emu);
    kerf_fd_watch_free(emu->timer);
    if (emu->timer_fd >= 0)
        (void)close(emu->timer_fd);
    free(emu);
}

int
kerf_link_emu_port(const kerf_link_emu *emu)
{
    return kerf_listener_port(emu->listener);
}

kerf_link_counts
kerf_link_emu_counts(const kerf_link_emu *emu)
{
    return emu->counts;
}

const kerf_link_spec *
kerf_link_emu_spec(const kerf_link_emu *emu)
{
    return &emu->spec;
}

static void
vanish(kerf_link_emu *emu)
{
    for (kerf_link_conn *c = emu->first; c != NULL; c = c->next) {
        c->vanished = true;
        kerf_lane_fini(&c->lane[0]);
        kerf_lane_fini(&c->lane[1]);
    }
}

static void
cut_after(kerf_link_emu *emu, uint64_t bytes)
{
    for (kerf_link_conn *c = emu->first; c != NULL; c = c->next) {
        for (int way = 0; way < 2; way++)
            c->lane[way].cut_at = c->lane[way].taken + bytes;
    }
}

static bool
same_breaks(const kerf_link_breaks *a, const kerf_link_breaks *b)
{
    bool same = a->every_ms == b->every_ms && a->for_ms == b->for_ms &&
                a->count == b->count;

    for (size_t i = 0; same && i < a->count; i++)
        same = a->at[i].at_ms == b->at[i].at_ms &&
               a->at[i].for_ms == b->at[i].for_ms;
    return same;
}

static kerf_err
change(kerf_link_emu *emu, const char *text, kerf_detail *why)
{
    kerf_link_spec old = emu->spec;
    kerf_err err = kerf_link_spec_change(&emu->spec, text, why);

    if (err == KERF_OK && (!same_breaks(&old.stall, &emu->spec.stall) ||
                           !same_breaks(&old.outage, &emu->spec.outage) ||
                           old.seed != emu->spec.seed))
        start_random(emu);
    return err;
}

/* "cut 1000" */
static bool
is_cut(const char *text, uint64_t *bytes)
{
    char *end = NULL;

    if (strncmp(text, "cut ", 4) != 0 || text[4] < '0' || text[4] > '9')
        return false;
    *bytes = strtoull(text + 4, &end, 10);
    return *end == '\0' && *bytes <= INT64_MAX;
}

kerf_err
kerf_link_emu_tell(kerf_link_emu *emu, const char *text, kerf_detail *why)
{
    kerf_err err = KERF_OK;
    uint64_t bytes = 0;

    if (strcmp(text, "hold") == 0 || strcmp(text, "go") == 0)
        emu->stall.by_hand = *text == 'h';
    else if (strcmp(text, "down") == 0 || strcmp(text, "up") == 0)
        emu->outage.by_hand = *text == 'd';
    else if (strcmp(text, "reset") == 0)
        reset_all(emu);
    else if (strcmp(text, "vanish") == 0)
        vanish(emu);
    else if (is_cut(text, &bytes))
        cut_after(emu, bytes);
    else if (strchr(text, '=') != NULL)
        err = change(emu, text, why);
    else {
        err = kerf_fail(why, KERF_EINVAL,
                        "link: %s: expected key=value, hold, go, down, up, "
                        "reset, vanish or cut BYTES",
                        text);
    }
    step(emu);
    return err;
}
