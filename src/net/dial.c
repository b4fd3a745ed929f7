/*
 * Dialling: a name, then each of its addresses. A look-up runs on a thread of
 * libuv's, of which there are four, and nothing can stop it there: it is left
 * alone when its time is over, and taken up again by the next dial of the same
 * name, so that tries do not fill those threads. Addresses need none.
 */
#include "net/loop.h"

#include "net/loop_uv.h"
#include "net/socket_own.h"

#include <errno.h>
#include <netdb.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

struct lookup {
    uv_getaddrinfo_t request;
    kerf_loop *loop;
    kerf_dial *dial; /* that waits for it, or NULL */
    struct lookup *next;
    int port;
    char host[];
};

/* Of all loops; what is in them is each loop's own. */
static struct {
    pthread_mutex_t lock;
    struct lookup *first;
} running = {.lock = PTHREAD_MUTEX_INITIALIZER};

struct kerf_dial {
    struct lookup *lookup; /* under way, or NULL */
    uv_poll_t *poll;       /* of the attempt under way, or NULL */
    bool cancelled;
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
    uv_close((uv_handle_t *)dial->poll, kerf_handle_free_data);
    dial->poll = NULL;
}

static void
finish(kerf_dial *dial, int fd)
{
    drop_poll(dial);
    if (fd < 0 && dial->fd >= 0)
        (void)close(dial->fd);
    kerf_timer_free(dial->timeout);
    if (dial->list != NULL)
        freeaddrinfo(dial->list);
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
        kerf_socket_tune(dial->fd, false);
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

    if (fd >= 0 && kerf_address_is_loopback(dial->at->ai_addr))
        kerf_socket_unpace(fd);
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
unlist(const struct lookup *lookup)
{
    struct lookup **at = &running.first;

    (void)pthread_mutex_lock(&running.lock);
    while (*at != NULL && *at != lookup)
        at = &(*at)->next;
    if (*at != NULL)
        *at = lookup->next;
    (void)pthread_mutex_unlock(&running.lock);
}

static void
on_resolved(uv_getaddrinfo_t *request, int status, struct addrinfo *list)
{
    struct lookup *lookup = request->data;
    kerf_dial *dial = lookup->dial;

    unlist(lookup);
    free(lookup);
    if (dial == NULL) {
        uv_freeaddrinfo(list);
        return;
    }
    dial->lookup = NULL;
    dial->list = dial->at = list;
    if (status != 0) /* uv_strerror(0) would allocate */
        (void)snprintf(dial->why, sizeof dial->why, "no such host (%s)",
                       uv_strerror(status));
    if (status != 0)
        finish(dial, -1);
    else
        try_addresses(dial);
}

/* It goes on without us, unless it has not begun. */
static void
leave_lookup(kerf_dial *dial)
{
    struct lookup *lookup = dial->lookup;

    dial->lookup = NULL;
    lookup->dial = NULL;
    if (uv_cancel((uv_req_t *)&lookup->request) == 0)
        unlist(lookup); /* nobody takes it up: it has no answer */
}

/* One that somebody left, or NULL. */
static struct lookup *
find_left(const kerf_loop *loop, const char *host, int port)
{
    struct lookup *at;

    (void)pthread_mutex_lock(&running.lock);
    for (at = running.first; at != NULL; at = at->next) {
        if (at->loop == loop && at->dial == NULL && at->port == port &&
            strcmp(at->host, host) == 0)
            break;
    }
    (void)pthread_mutex_unlock(&running.lock);
    return at;
}

static struct lookup *
start_lookup(kerf_loop *loop, const char *host, int port)
{
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM};
    size_t size = strlen(host) + 1;
    struct lookup *lookup = calloc(1, sizeof *lookup + size);
    char service[16];

    if (lookup == NULL)
        return NULL;
    lookup->loop = loop;
    lookup->port = port;
    memcpy(lookup->host, host, size);
    lookup->request.data = lookup;
    (void)snprintf(service, sizeof service, "%d", port);
    if (uv_getaddrinfo(kerf_loop_uv(loop), &lookup->request, on_resolved, host,
                       service, &hints) != 0) {
        free(lookup);
        return NULL;
    }
    (void)pthread_mutex_lock(&running.lock);
    lookup->next = running.first;
    running.first = lookup;
    (void)pthread_mutex_unlock(&running.lock);
    return lookup;
}

/* NULL: it is a name. */
static struct addrinfo *
read_address(const char *host, int port)
{
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM,
                             .ai_flags = AI_NUMERICHOST | AI_NUMERICSERV};
    struct addrinfo *list = NULL;
    char service[16];

    (void)snprintf(service, sizeof service, "%d", port);
    return getaddrinfo(host, service, &hints, &list) == 0 ? list : NULL;
}

/* Of the name, or of one address: then the next one has its turn. Or it is the
 * first one's turn: fn must not be called before kerf_dial_start() returns. */
static void
on_dial_timeout(void *ctx)
{
    kerf_dial *dial = ctx;

    if (dial->lookup != NULL) {
        (void)snprintf(dial->why, sizeof dial->why, "no answer in time");
        leave_lookup(dial);
        finish(dial, -1);
        return;
    }
    if (dial->poll != NULL) {
        (void)snprintf(dial->why, sizeof dial->why, "no answer in time");
        drop_attempt(dial);
    }
    try_addresses(dial);
}

kerf_err
kerf_dial_start(kerf_dial **out, kerf_loop *loop, const char *host, int port,
                uint64_t timeout_ms, kerf_dial_fn *fn, void *ctx)
{
    kerf_dial *dial = calloc(1, sizeof *dial);

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
    dial->list = dial->at = read_address(host, port);
    if (dial->list == NULL) {
        dial->lookup = find_left(loop, host, port);
        if (dial->lookup == NULL)
            dial->lookup = start_lookup(loop, host, port);
        if (dial->lookup == NULL) {
            kerf_timer_free(dial->timeout);
            free(dial);
            return KERF_EIO;
        }
        dial->lookup->dial = dial;
    }
    kerf_timer_start(dial->timeout, dial->list != NULL ? 0 : timeout_ms, 0);
    *out = dial;
    return KERF_OK;
}

void
kerf_dial_cancel(kerf_dial *dial)
{
    dial->cancelled = true;
    if (dial->lookup != NULL)
        leave_lookup(dial);
    finish(dial, -1);
}
