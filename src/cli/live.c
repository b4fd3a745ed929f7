#include "cli/live.h"

#include "cli/top_draw.h"

#include <stdio.h>
#include <sys/ioctl.h>
#include <unistd.h>

#define EDGES_MOST 200 /* no terminal has more lines */

static size_t
rows_of_terminal(void)
{
    struct winsize size = {0};

    if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) != 0 || size.ws_row == 0)
        return 24;
    return size.ws_row;
}

static void
erase(void *ctx, FILE *out)
{
    kerf_live *live = ctx;
    kerf_term term;

    kerf_term_init(&term, stdout);
    if (live->lines > 0 &&
        (rows_of_terminal() != live->rows || term.width != live->width))
        (void)fputs("\033[H\033[J", out); /* what is where? */
    else if (live->lines > 0)
        (void)fprintf(out, "\033[%zuA\r\033[J", live->lines);
    live->lines = 0;
}

/* The lock is not held while anything is written. False: no table. */
static bool
look(kerf_live *live)
{
    kerf_cloud_view view;
    bool is_on;

    (void)pthread_mutex_lock(&live->lock);
    is_on = live->cloud != NULL;
    if (is_on && kerf_cloud_look(live->cloud, EDGES_MOST, &view) == KERF_OK) {
        kerf_cloud_view_free(&live->view);
        live->view = view;
    }
    (void)pthread_mutex_unlock(&live->lock);
    return is_on;
}

/* A third of the terminal stays for lines. */
static void
draw(void *ctx, FILE *out)
{
    kerf_live *live = ctx;
    size_t rows = rows_of_terminal();
    size_t lines = rows * 2 / 3;
    kerf_term term;

    if (!look(live)) {
        kerf_cloud_view_free(&live->view);
        live->view = (kerf_cloud_view){0};
        return;
    }
    kerf_term_init(&term, stdout);
    term.out = out;
    live->rows = rows;
    live->width = term.width;
    live->lines = kerf_top_draw(&term, &live->view, lines < 3 ? 3 : lines);
}

void
kerf_live_start(kerf_live *live, kerf_cloud *cloud, kerf_printer *out)
{
    kerf_printer_frame frame = {.ctx = live, .erase = erase, .draw = draw};

    *live = (kerf_live){.cloud = cloud};
    (void)pthread_mutex_init(&live->lock, NULL);
    kerf_printer_set_frame(out, &frame);
}

void
kerf_live_stop(kerf_live *live)
{
    if (live->cloud == NULL)
        return;
    (void)pthread_mutex_lock(&live->lock);
    live->cloud = NULL;
    (void)pthread_mutex_unlock(&live->lock);
}
