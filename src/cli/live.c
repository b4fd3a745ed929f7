#include "cli/live.h"

#include "base/log.h"
#include "base/thread.h"
#include "cli/top_draw.h"

#include <stdio.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

#define EDGES_MOST 200 /* no terminal has more lines */

/* All below is under the lock. */

static size_t
rows_of_terminal(void)
{
    struct winsize size = {0};

    if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) != 0 || size.ws_row == 0)
        return 24;
    return size.ws_row;
}

static void
erase(kerf_live *live)
{
    if (live->lines > 0)
        (void)printf("\033[%zuA\r\033[J", live->lines);
    live->lines = 0;
}

/* A third of the terminal stays for lines. */
static void
draw(kerf_live *live)
{
    size_t rows = rows_of_terminal();
    size_t lines = rows * 2 / 3;
    kerf_term term;

    kerf_term_init(&term, stdout);
    if (live->lines > 0 && (rows != live->rows || term.width != live->width)) {
        (void)fputs("\033[H\033[J", stdout); /* what is where? */
        live->lines = 0;
    }
    erase(live);
    live->rows = rows;
    live->width = term.width;
    live->lines = kerf_top_draw(&term, &live->view, lines < 3 ? 3 : lines);
    (void)fflush(stdout);
}

static void
look(kerf_live *live)
{
    kerf_cloud_view view;

    if (kerf_cloud_look(live->cloud, EDGES_MOST, &view) != KERF_OK)
        return;
    kerf_cloud_view_free(&live->view);
    live->view = view;
}

static void *
run_live(void *ctx)
{
    kerf_live *live = ctx;

    kerf_thread_begin("kerf-live");
    (void)pthread_mutex_lock(&live->lock);
    while (!live->is_over) {
        struct timespec until;

        look(live);
        draw(live);
        (void)clock_gettime(CLOCK_REALTIME, &until);
        until.tv_sec++;
        (void)pthread_cond_timedwait(&live->over, &live->lock, &until);
    }
    erase(live);
    (void)fflush(stdout);
    (void)pthread_mutex_unlock(&live->lock);
    return NULL;
}

static void
write_log(void *ctx, kerf_log_level level, const char *line)
{
    (void)level;
    kerf_live_begin(ctx);
    (void)fprintf(stderr, "%s\n", line);
    kerf_live_end(ctx);
}

kerf_err
kerf_live_start(kerf_live *live, kerf_cloud *cloud)
{
    *live = (kerf_live){.cloud = cloud};
    (void)pthread_mutex_init(&live->lock, NULL);
    (void)pthread_cond_init(&live->over, NULL);
    if (pthread_create(&live->thread, NULL, run_live, live) != 0)
        return KERF_ENOMEM;
    live->runs = true;
    if (isatty(STDERR_FILENO) == 1)
        kerf_log_set_sink(write_log, live);
    return KERF_OK;
}

void
kerf_live_stop(kerf_live *live)
{
    if (!live->runs)
        return;
    (void)pthread_mutex_lock(&live->lock);
    live->is_over = true;
    (void)pthread_cond_signal(&live->over);
    (void)pthread_mutex_unlock(&live->lock);
    (void)pthread_join(live->thread, NULL);
    kerf_cloud_view_free(&live->view);
}

void
kerf_live_begin(kerf_live *live)
{
    if (!live->runs)
        return;
    (void)pthread_mutex_lock(&live->lock);
    erase(live);
    (void)fflush(stdout);
}

void
kerf_live_end(kerf_live *live)
{
    if (!live->runs)
        return;
    (void)fflush(stdout);
    if (!live->is_over)
        draw(live);
    (void)pthread_mutex_unlock(&live->lock);
}
