#include "cli/printer.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/thread.h"
#include "cli/json_line.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define ROOM ((size_t)4 << 20) /* bytes that wait; twice for rare lines */
#define NOTICE 96              /* more than one takes */
/* Had from the start, so that no line needs memory. */
#define SPACE (2 * ROOM + NOTICE)
#define CHUNK 4096 /* a pipe that can be written has room for it */
#define STEP_MS 100
#define STILL_NS 1000000000u /* at the end: as long as nothing moves */
#define END_S 5              /* ... and in all */
#define END_NS (END_S * (uint64_t)1000000000u)

struct kerf_printer {
    int fd;
    bool as_json;
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t work, end;
    /* Under the lock. */
    char *waiting; /* SPACE bytes, as printing */
    size_t len;
    unsigned long long left_out;
    bool is_over, has_ended, has_frame;
    kerf_printer_frame frame;
    /* Of the thread, but to swap it. */
    char *printing;
    uint64_t moved_ns;
    _Atomic uint64_t over_ns; /* 0: it goes on */
    _Atomic int error;
};

/* Under the lock. */
static void
append(kerf_printer *p, const char *text, size_t len)
{
    memcpy(p->waiting + p->len, text, len);
    p->len += len;
}

/* Under the lock. */
static void
tell_left_out(kerf_printer *p)
{
    char text[NOTICE];
    int n;

    if (p->left_out == 0)
        return;
    n = snprintf(text, sizeof text,
                 p->as_json ? "{\"event\":\"left_out\",\"count\":%llu}\n"
                            : "%llu lines left out\n",
                 p->left_out);
    append(p, text, (size_t)n);
    p->left_out = 0;
}

static unsigned long long
lines_in(const char *text)
{
    unsigned long long count = 0;

    for (; (text = strchr(text, '\n')) != NULL; text++)
        count++;
    return count;
}

/* Text and what ends it. */
static void
push(kerf_printer *p, kerf_line kind, const char *text, const char *end)
{
    size_t room = kind == KERF_LINE_RARE ? 2 * ROOM : ROOM;
    size_t len = strlen(text);
    size_t end_len = strlen(end);

    if (atomic_load(&p->error) != 0)
        return;
    (void)pthread_mutex_lock(&p->lock);
    if (p->len + NOTICE + len + end_len > room) {
        p->left_out += lines_in(text) + lines_in(end);
    } else {
        tell_left_out(p);
        append(p, text, len);
        append(p, end, end_len);
        (void)pthread_cond_signal(&p->work);
    }
    (void)pthread_mutex_unlock(&p->lock);
}

void
kerf_printer_text(kerf_printer *p, kerf_line kind, const char *text)
{
    push(p, kind, text, "");
}

void
kerf_printer_say(kerf_printer *p, kerf_line kind, const char *fmt, ...)
{
    char text[4096];
    va_list args;
    int n;

    va_start(args, fmt);
    n = vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    if (n < 0)
        return;
    if ((size_t)n >= sizeof text)
        text[sizeof text - 2] = '\n';
    kerf_printer_text(p, kind, text);
}

void
kerf_printer_json(kerf_printer *p, kerf_line kind, json_t *object)
{
    char *line = kerf_json_dump(object);

    if (line != NULL)
        push(p, kind, line, "\n");
    free(line);
}

/* Printing, on the thread. */

static bool
is_given_up(const kerf_printer *p)
{
    uint64_t over_ns = atomic_load(&p->over_ns);
    uint64_t now_ns = kerf_now_ns();
    uint64_t since_ns = p->moved_ns > over_ns ? p->moved_ns : over_ns;

    return over_ns != 0 &&
           (now_ns > since_ns + STILL_NS || now_ns > over_ns + END_NS);
}

static void
fail(kerf_printer *p, int code)
{
    atomic_store(&p->error, code);
    if (code != EPIPE)
        kerf_log(KERF_LOG_ERROR, "cli.output_failed",
                 "fd=%d why=%s then=\"nothing more is printed there\"", p->fd,
                 KERF_Q(strerror(code)));
}

static void
put(kerf_printer *p, const char *data, size_t len)
{
    while (len > 0 && atomic_load(&p->error) == 0 && !is_given_up(p)) {
        struct pollfd w = {.fd = p->fd, .events = POLLOUT};
        ssize_t n;

        if (poll(&w, 1, STEP_MS) <= 0)
            continue;
        n = write(p->fd, data, len < CHUNK ? len : CHUNK);
        if (n >= 0) {
            data += n;
            len -= (size_t)n;
            p->moved_ns = kerf_now_ns();
        } else if (errno != EINTR && errno != EAGAIN) {
            fail(p, errno);
        }
    }
}

static void
put_frame(kerf_printer *p, void (*write_to)(void *ctx, FILE *out), void *ctx)
{
    char *text = NULL;
    size_t len = 0;
    FILE *out = open_memstream(&text, &len);

    if (out == NULL)
        return;
    write_to(ctx, out);
    if (fclose(out) == 0)
        put(p, text, len);
    free(text);
}

static void
print(kerf_printer *p, size_t len, const kerf_printer_frame *frame)
{
    if (frame != NULL)
        put_frame(p, frame->erase, frame->ctx);
    put(p, p->printing, len);
    if (frame != NULL)
        put_frame(p, frame->draw, frame->ctx);
}

static void
wait_for_work(kerf_printer *p)
{
    struct timespec until;

    if (!p->has_frame) {
        (void)pthread_cond_wait(&p->work, &p->lock);
        return;
    }
    (void)clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec++;
    (void)pthread_cond_timedwait(&p->work, &p->lock, &until);
}

static void *
run_printer(void *ctx)
{
    kerf_printer *p = ctx;
    bool is_last;

    kerf_thread_begin("kerf-print");
    (void)pthread_mutex_lock(&p->lock);
    do {
        kerf_printer_frame frame;
        char *lines;
        size_t len;
        bool has_frame;

        if (p->len == 0 && !p->is_over)
            wait_for_work(p);
        is_last = p->is_over;
        tell_left_out(p);
        lines = p->waiting;
        p->waiting = p->printing;
        p->printing = lines;
        len = p->len;
        p->len = 0;
        frame = p->frame;
        has_frame = p->has_frame;
        (void)pthread_mutex_unlock(&p->lock);
        print(p, len, has_frame ? &frame : NULL);
        (void)pthread_mutex_lock(&p->lock);
    } while (!is_last);
    p->has_ended = true;
    (void)pthread_cond_signal(&p->end);
    (void)pthread_mutex_unlock(&p->lock);
    return NULL;
}

static void
free_printer(kerf_printer *p)
{
    (void)pthread_mutex_destroy(&p->lock);
    (void)pthread_cond_destroy(&p->work);
    (void)pthread_cond_destroy(&p->end);
    free(p->waiting);
    free(p->printing);
    free(p);
}

kerf_err
kerf_printer_start(kerf_printer **out, int fd, bool as_json)
{
    kerf_printer *p = calloc(1, sizeof *p);

    if (p == NULL)
        return KERF_ENOMEM;
    p->fd = fd;
    p->as_json = as_json;
    p->waiting = malloc(SPACE);
    p->printing = malloc(SPACE);
    (void)pthread_mutex_init(&p->lock, NULL);
    (void)pthread_cond_init(&p->work, NULL);
    (void)pthread_cond_init(&p->end, NULL);
    if (p->waiting == NULL || p->printing == NULL ||
        pthread_create(&p->thread, NULL, run_printer, p) != 0) {
        free_printer(p);
        return KERF_ENOMEM;
    }
    *out = p;
    return KERF_OK;
}

int
kerf_printer_stop(kerf_printer *p)
{
    struct timespec until;
    bool has_ended;
    int error;

    if (p == NULL)
        return 0;
    (void)clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += END_S + 1;
    (void)pthread_mutex_lock(&p->lock);
    p->is_over = true;
    atomic_store(&p->over_ns, kerf_now_ns());
    (void)pthread_cond_signal(&p->work);
    while (!p->has_ended &&
           pthread_cond_timedwait(&p->end, &p->lock, &until) == 0)
        ;
    has_ended = p->has_ended;
    (void)pthread_mutex_unlock(&p->lock);
    error = atomic_load(&p->error);
    if (!has_ended) { /* inside a write() after all: it ends with the process */
        (void)pthread_detach(p->thread);
        return error;
    }
    (void)pthread_join(p->thread, NULL);
    free_printer(p);
    return error;
}

void
kerf_printer_set_frame(kerf_printer *p, const kerf_printer_frame *frame)
{
    (void)pthread_mutex_lock(&p->lock);
    p->frame = *frame;
    p->has_frame = true;
    (void)pthread_cond_signal(&p->work);
    (void)pthread_mutex_unlock(&p->lock);
}
