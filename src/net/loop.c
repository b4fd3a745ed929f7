/*
 * Design. libuv owns the epoll set, timers and DNS. Other threads only post:
 * an intrusive list under a mutex and one uv_async, so a post allocates
 * nothing. Handles are freed in their close callbacks, as libuv demands;
 * kerf_loop_free() walks and closes what the owners left.
 *
 *     poll: found, found, ... (libuv tells each) -> check: warm, serve, ...
 */
#include "net/loop.h"

#include "base/awake.h"
#include "base/clock.h"
#include "base/fs.h"
#include "net/loop_uv.h"

#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FOUND_MOST 16 /* what they warm has to stay in the caches */

struct kerf_loop {
    uv_loop_t uv;
    uv_async_t wake;
    uv_signal_t signals[2], hangup;
    uv_prepare_t turn;
    uv_check_t check; /* after each poll */
    kerf_found *found_first, *found_last;
    unsigned found_count;
    kerf_loop_fn *on_turn; /* or NULL */
    void *turn_ctx;
    uv_idle_t polls; /* runs while it waits awake */
    kerf_awake awake;
    bool expects; /* something to come, after this turn */
    bool waits;   /* for it */
    kerf_signal_fn *on_signal;
    void *signal_ctx;
    kerf_loop_fn *on_hangup;
    void *hangup_ctx;
    int signal_count;
    kerf_orphan *orphans;
    pthread_mutex_t lock;
    kerf_post *first, *last; /* under lock */
    bool stopping;           /* under lock */
};

uv_loop_t *
kerf_loop_uv(kerf_loop *loop)
{
    return &loop->uv;
}

static kerf_post *
take_posts(kerf_loop *loop, bool *stopping)
{
    kerf_post *list;

    (void)pthread_mutex_lock(&loop->lock);
    list = loop->first;
    loop->first = loop->last = NULL;
    *stopping = loop->stopping;
    (void)pthread_mutex_unlock(&loop->lock);
    return list;
}

/* False: there was nothing to do. */
static bool
run_posts(kerf_loop *loop, bool *stopping)
{
    kerf_post *post = take_posts(loop, stopping);
    bool any = post != NULL;

    while (post != NULL) {
        kerf_post *next = post->next;

        (void)pthread_mutex_lock(&loop->lock);
        post->waiting = false;
        (void)pthread_mutex_unlock(&loop->lock);
        post->fn(post->ctx); /* may free or post it again */
        post = next;
    }
    return any;
}

static void
on_wake(uv_async_t *async)
{
    kerf_loop *loop = async->data;
    bool stopping = false;

    (void)run_posts(loop, &stopping);
    if (stopping)
        uv_stop(&loop->uv);
}

/* Each turn of the loop, as long as it does not sleep. */
static void
on_poll(uv_idle_t *uv)
{
    kerf_loop *loop = uv->data;

    if (!kerf_awake_yield(&loop->awake))
        (void)uv_idle_stop(uv);
}

static void
on_prepare(uv_prepare_t *uv)
{
    kerf_loop *loop = uv->data;

    if (loop->on_turn != NULL)
        loop->on_turn(loop->turn_ctx);
    if (!loop->expects)
        return;
    loop->expects = false;
    loop->waits = true;
    kerf_awake_begin(&loop->awake);
    (void)uv_idle_start(&loop->polls, on_poll);
}

/* The next one's memory comes while this one has its turn. */
void
kerf_loop_serve_found(kerf_loop *loop)
{
    kerf_found *found = loop->found_first;

    loop->found_first = loop->found_last = NULL;
    loop->found_count = 0;
    if (found != NULL)
        found->warm(found->ctx);
    while (found != NULL) {
        kerf_found *next = found->next;

        if (next != NULL)
            next->warm(next->ctx);
        found->waits = false;
        found->serve(found->ctx);
        found = next;
    }
}

void
kerf_loop_found(kerf_loop *loop, kerf_found *found)
{
    if (found->waits)
        return;
    found->waits = true;
    found->next = NULL;
    if (loop->found_last != NULL)
        loop->found_last->next = found;
    else
        loop->found_first = found;
    loop->found_last = found;
    if (++loop->found_count == FOUND_MOST)
        kerf_loop_serve_found(loop);
}

static void
on_check(uv_check_t *uv)
{
    kerf_loop_serve_found(uv->data);
}

kerf_err
kerf_loop_new(kerf_loop **out)
{
    kerf_loop *loop = calloc(1, sizeof *loop);

    if (loop == NULL)
        return KERF_ENOMEM;
    if (uv_loop_init(&loop->uv) != 0) {
        free(loop);
        return KERF_ENOMEM;
    }
    if (uv_async_init(&loop->uv, &loop->wake, on_wake) != 0) {
        (void)uv_loop_close(&loop->uv);
        free(loop);
        return KERF_ENOMEM;
    }
    (void)uv_prepare_init(&loop->uv, &loop->turn);
    (void)uv_prepare_start(&loop->turn, on_prepare);
    (void)uv_check_init(&loop->uv, &loop->check);
    (void)uv_check_start(&loop->check, on_check);
    (void)uv_idle_init(&loop->uv, &loop->polls);
    (void)pthread_mutex_init(&loop->lock, NULL);
    loop->wake.data = loop->turn.data = loop->polls.data = loop;
    loop->check.data = loop;
    *out = loop;
    return KERF_OK;
}

void
kerf_loop_run(kerf_loop *loop)
{
    (void)uv_run(&loop->uv, UV_RUN_DEFAULT);
    /* A signal while the owner shuts down has its default action again. */
    for (int i = 0; i < 2 && loop->on_signal != NULL; i++)
        (void)uv_signal_stop(&loop->signals[i]);
}

void
kerf_loop_stop(kerf_loop *loop)
{
    (void)pthread_mutex_lock(&loop->lock);
    loop->stopping = true;
    (void)pthread_mutex_unlock(&loop->lock);
    (void)uv_async_send(&loop->wake);
}

void
kerf_loop_flush(kerf_loop *loop)
{
    bool stopping;

    while (loop != NULL && run_posts(loop, &stopping))
        continue;
}

void
kerf_loop_adopt(kerf_loop *loop, kerf_orphan *orphan)
{
    orphan->prev = NULL;
    orphan->next = loop->orphans;
    if (orphan->next != NULL)
        orphan->next->prev = orphan;
    loop->orphans = orphan;
}

void
kerf_loop_release(kerf_loop *loop, kerf_orphan *orphan)
{
    if (orphan->prev != NULL)
        orphan->prev->next = orphan->next;
    else
        loop->orphans = orphan->next;
    if (orphan->next != NULL)
        orphan->next->prev = orphan->prev;
}

static void
close_left(uv_handle_t *handle, void *ctx)
{
    (void)ctx;
    if (!uv_is_closing(handle))
        uv_close(handle, NULL);
}

void
kerf_loop_free(kerf_loop *loop)
{
    if (loop == NULL)
        return;
    while (loop->orphans != NULL) {
        kerf_orphan *orphan = loop->orphans;

        kerf_loop_release(loop, orphan);
        orphan->fn(orphan->ctx);
    }
    uv_walk(&loop->uv, close_left, NULL);
    (void)uv_run(&loop->uv, UV_RUN_DEFAULT);
    (void)uv_loop_close(&loop->uv);
    (void)pthread_mutex_destroy(&loop->lock);
    free(loop);
}

void
kerf_loop_post(kerf_loop *loop, kerf_post *post)
{
    bool was_waiting;

    (void)pthread_mutex_lock(&loop->lock);
    was_waiting = post->waiting;
    if (!was_waiting) {
        post->waiting = true;
        post->next = NULL;
        if (loop->last != NULL)
            loop->last->next = post;
        else
            loop->first = post;
        loop->last = post;
    }
    (void)pthread_mutex_unlock(&loop->lock);
    if (!was_waiting)
        (void)uv_async_send(&loop->wake);
}

void
kerf_loop_expect(kerf_loop *loop, bool is_busy)
{
    loop->awake.is_busy = is_busy || (loop->expects && loop->awake.is_busy);
    loop->expects = true;
}

void
kerf_loop_came(kerf_loop *loop)
{
    if (!loop->waits)
        return;
    loop->waits = false;
    kerf_awake_end(&loop->awake);
    (void)uv_idle_stop(&loop->polls);
}

void
kerf_loop_on_turn(kerf_loop *loop, kerf_loop_fn *fn, void *ctx)
{
    loop->on_turn = fn;
    loop->turn_ctx = ctx;
}

struct kerf_timer {
    uv_timer_t uv;
    kerf_loop_fn *fn;
    void *ctx;
};

static void
on_timer(uv_timer_t *uv)
{
    kerf_timer *timer = uv->data;

    timer->fn(timer->ctx);
}

static void
free_data(uv_handle_t *handle)
{
    free(handle->data);
}

kerf_err
kerf_timer_new(kerf_timer **out, kerf_loop *loop, kerf_loop_fn *fn, void *ctx)
{
    kerf_timer *timer = calloc(1, sizeof *timer);

    if (timer == NULL)
        return KERF_ENOMEM;
    (void)uv_timer_init(&loop->uv, &timer->uv);
    timer->uv.data = timer;
    timer->fn = fn;
    timer->ctx = ctx;
    *out = timer;
    return KERF_OK;
}

void
kerf_timer_start(kerf_timer *timer, uint64_t in_ms, uint64_t repeat_ms)
{
    uv_update_time(timer->uv.loop);
    (void)uv_timer_start(&timer->uv, on_timer, in_ms, repeat_ms);
}

void
kerf_timer_stop(kerf_timer *timer)
{
    if (timer != NULL)
        (void)uv_timer_stop(&timer->uv);
}

void
kerf_timer_free(kerf_timer *timer)
{
    if (timer != NULL)
        uv_close((uv_handle_t *)&timer->uv, free_data);
}

static void
on_signal(uv_signal_t *uv, int number)
{
    kerf_loop *loop = uv->data;

    (void)number;
    loop->on_signal(loop->signal_ctx, ++loop->signal_count);
}

kerf_err
kerf_loop_on_signal(kerf_loop *loop, kerf_signal_fn *fn, void *ctx)
{
    static const int numbers[2] = {SIGINT, SIGTERM};

    loop->on_signal = fn;
    loop->signal_ctx = ctx;
    for (int i = 0; i < 2; i++) {
        (void)uv_signal_init(&loop->uv, &loop->signals[i]);
        loop->signals[i].data = loop;
        if (uv_signal_start(&loop->signals[i], on_signal, numbers[i]) != 0)
            return KERF_EIO;
    }
    return KERF_OK;
}

static void
on_hangup(uv_signal_t *uv, int number)
{
    kerf_loop *loop = uv->data;

    (void)number;
    loop->on_hangup(loop->hangup_ctx);
}

kerf_err
kerf_loop_on_hangup(kerf_loop *loop, kerf_loop_fn *fn, void *ctx)
{
    loop->on_hangup = fn;
    loop->hangup_ctx = ctx;
    (void)uv_signal_init(&loop->uv, &loop->hangup);
    loop->hangup.data = loop;
    return uv_signal_start(&loop->hangup, on_hangup, SIGHUP) == 0 ? KERF_OK
                                                                  : KERF_EIO;
}

struct kerf_folder_watch {
    uv_fs_event_t uv;
    uv_fs_event_t above; /* the folder that it is in: it may be replaced */
    unsigned open;       /* handles that are not closed */
    char dir[KERF_PATH_MAX];
    kerf_timer *quiet;
    uint64_t quiet_ms, most_ms;
    uint64_t
        latest_ns; /* of the change that waits, by most_ms; 0: none waits */
    kerf_name_fn *counts;
    kerf_loop_fn *fn;
    void *ctx;
};

static void
on_quiet(void *ctx)
{
    kerf_folder_watch *watch = ctx;

    watch->latest_ns = 0;
    watch->fn(watch->ctx);
}

static void
wait_for_quiet(kerf_folder_watch *watch)
{
    uint64_t now_ns = kerf_now_ns();
    uint64_t wait_ms = watch->quiet_ms;

    if (watch->latest_ns == 0)
        watch->latest_ns = watch->most_ms == 0
                               ? UINT64_MAX
                               : now_ns + watch->most_ms * 1000000u;
    if (now_ns + wait_ms * 1000000u > watch->latest_ns)
        wait_ms = now_ns < watch->latest_ns
                      ? (watch->latest_ns - now_ns) / 1000000u
                      : 0;
    kerf_timer_start(watch->quiet, wait_ms, 0);
}

static void
on_change(uv_fs_event_t *uv, const char *name, int events, int status)
{
    kerf_folder_watch *watch = uv->data;

    (void)events;
    (void)status;
    if (name == NULL || watch->counts(watch->ctx, name))
        wait_for_quiet(watch);
}

/* What is watched is the folder that was there, not its name. */
static void
on_change_above(uv_fs_event_t *uv, const char *name, int events, int status)
{
    kerf_folder_watch *watch = uv->data;

    (void)events;
    (void)status;
    if (name == NULL || strcmp(name, kerf_path_base(watch->dir)) != 0)
        return;
    (void)uv_fs_event_stop(&watch->uv);
    (void)uv_fs_event_start(&watch->uv, on_change, watch->dir, 0);
    wait_for_quiet(watch);
}

/* Best effort: a folder may be in one that cannot be read. */
static void
watch_above(kerf_folder_watch *watch)
{
    char above[KERF_PATH_MAX];
    const char *base = kerf_path_base(watch->dir);

    if (base[0] == '\0' || strcmp(base, ".") == 0 || strcmp(base, "..") == 0)
        return;
    (void)kerf_path_dir(above, watch->dir);
    (void)uv_fs_event_start(&watch->above, on_change_above, above, 0);
}

kerf_err
kerf_folder_watch_new(kerf_folder_watch **out, kerf_loop *loop, const char *dir,
                      uint64_t quiet_ms, uint64_t most_ms, kerf_name_fn *counts,
                      kerf_loop_fn *fn, void *ctx, kerf_detail *why)
{
    kerf_folder_watch *watch = calloc(1, sizeof *watch);
    int code;

    if (watch == NULL)
        return KERF_ENOMEM;
    if (kerf_timer_new(&watch->quiet, loop, on_quiet, watch) != KERF_OK) {
        free(watch);
        return KERF_ENOMEM;
    }
    (void)uv_fs_event_init(&loop->uv, &watch->uv);
    (void)uv_fs_event_init(&loop->uv, &watch->above);
    watch->uv.data = watch->above.data = watch;
    watch->open = 2;
    (void)snprintf(watch->dir, sizeof watch->dir, "%s", dir);
    for (size_t n = strlen(watch->dir); n > 1 && watch->dir[n - 1] == '/'; n--)
        watch->dir[n - 1] = '\0';
    watch->quiet_ms = quiet_ms;
    watch->most_ms = most_ms;
    watch->counts = counts;
    watch->fn = fn;
    watch->ctx = ctx;
    watch_above(watch); /* first: it must not be replaced in between */
    code = uv_fs_event_start(&watch->uv, on_change, dir, 0);
    if (code != 0) {
        kerf_folder_watch_free(watch);
        return kerf_fail(why, KERF_EIO, "cannot watch %s: %s", dir,
                         uv_strerror(code));
    }
    *out = watch;
    return KERF_OK;
}

static void
on_watch_closed(uv_handle_t *handle)
{
    kerf_folder_watch *watch = handle->data;

    if (--watch->open == 0)
        free(watch);
}

void
kerf_folder_watch_free(kerf_folder_watch *watch)
{
    if (watch == NULL)
        return;
    kerf_timer_free(watch->quiet);
    uv_close((uv_handle_t *)&watch->uv, on_watch_closed);
    uv_close((uv_handle_t *)&watch->above, on_watch_closed);
}
