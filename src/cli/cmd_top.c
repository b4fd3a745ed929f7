/*
 * cmd_top.c - `kerf top`: what a cloud on this machine is doing, live.
 */
#include "cli/ask.h"
#include "cli/cmd.h"
#include "cli/json_line.h"
#include "cli/out.h"
#include "cli/term.h"
#include "cli/top_draw.h"
#include "cli/top_read.h"

#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>

#define EACH_MS 1000
#define LINES_PLAIN 1000000 /* where nothing is drawn over */

static struct {
    const char *control;
    int port, most;
    bool json, once, port_given;
} args;

static const kerf_opt table[] = {
    {.name = "control",
     .kind = KERF_OPT_TEXT,
     .to = &args.control,
     .value = "PATH",
     .help = "socket of the cloud, as its --control has it",
     .no_default = true},
    {.name = "cloud-port",
     .kind = KERF_OPT_INT,
     .to = &args.port,
     .given = &args.port_given,
     .min = 1,
     .max = 65535,
     .help = "the cloud on this port; needed where several run",
     .no_default = true},
    {.name = "most",
     .kind = KERF_OPT_INT,
     .to = &args.most,
     .min = 0,
     .max = 100000,
     .help = "edges that are shown; 0: all that find room"},
    {.kind = KERF_OPT_GROUP, .help = "Output"},
    {.name = "json",
     .kind = KERF_OPT_FLAG,
     .to = &args.json,
     .help = "one JSON object per second on stdout, with every edge"},
    {.name = "once",
     .kind = KERF_OPT_FLAG,
     .to = &args.once,
     .help = "one look, then the end"},
};

static const kerf_command command = {
    .name = "top",
    .usage = "[flags]",
    .about = "Shows the edges of a cloud that runs on this machine, once a "
             "second.\nOn a terminal, q or Ctrl-C ends it.",
    .opt = table,
    .opt_count = sizeof table / sizeof *table};

static volatile sig_atomic_t is_over;

static void
on_signal(int number)
{
    if (number != SIGWINCH) /* that one only interrupts a wait */
        is_over = 1;
}

static void
catch_signals(void)
{
    static const int numbers[] = {SIGINT, SIGTERM, SIGHUP, SIGWINCH};
    struct sigaction action = {.sa_handler = on_signal};

    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++)
        (void)sigaction(numbers[i], &action, NULL);
}

/* A new reference in *out. most 0: every edge. */
static kerf_err
ask(kerf_ask *a, size_t most, json_t **out, kerf_detail *why)
{
    char text[64] = "{\"get\":\"edges\"}\n";

    if (most > 0)
        (void)snprintf(text, sizeof text, "{\"get\":\"edges\",\"most\":%zu}\n",
                       most);
    return kerf_ask_line(a, text, out, why);
}

/* Showing. */

static size_t
rows_of(void)
{
    struct winsize size = {0};

    if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) != 0 || size.ws_row == 0)
        return 24;
    return size.ws_row < 4 ? 4 : size.ws_row;
}

static kerf_err
show(const kerf_term *term, json_t *o, size_t lines, kerf_detail *why)
{
    kerf_cloud_view view = {0};
    kerf_err err = kerf_top_read(&view, o, why);

    if (err != KERF_OK)
        return err;
    if (term->is_tty && !args.once)
        (void)fputs("\033[H", term->out);
    (void)kerf_top_draw(term, &view, lines);
    if (term->is_tty && !args.once)
        (void)fputs("\033[J", term->out);
    kerf_out_flush();
    kerf_cloud_view_free(&view);
    return KERF_OK;
}

static kerf_err
look(kerf_ask *a, kerf_detail *why)
{
    kerf_term term;
    size_t lines = LINES_PLAIN;
    size_t most = 0;
    json_t *o = NULL;
    kerf_err err;

    kerf_term_init(&term, stdout);
    if (term.is_tty && !args.once)
        lines = rows_of() - 1; /* the last line's end would scroll */
    if (!args.json && lines < LINES_PLAIN)
        most = lines;
    if (args.most > 0 && (most == 0 || (size_t)args.most < most))
        most = (size_t)args.most;
    err = ask(a, most, &o, why);
    if (err == KERF_OK && args.json) {
        kerf_cloud_view view = {0};

        err = kerf_top_read(&view, o, why); /* an error is no object of ours */
        kerf_cloud_view_free(&view);
        if (err == KERF_OK)
            kerf_json_line(json_incref(o));
    } else if (err == KERF_OK) {
        err = show(&term, o, lines, why);
    }
    json_decref(o);
    if (err == KERF_OK && kerf_out_error() != 0)
        err = KERF_EINTR; /* main() says it */
    return err;
}

/* Until the next look is due. False: q was pressed. */
static bool
wait_for_next(bool has_keys)
{
    struct pollfd p = {.fd = STDIN_FILENO, .events = POLLIN};
    char key;

    if (poll(&p, has_keys ? 1 : 0, EACH_MS) <= 0)
        return true; /* a resize comes here, too */
    if (read(STDIN_FILENO, &key, 1) != 1)
        return true;
    return key != 'q' && key != 'Q' && key != 3;
}

static kerf_err
look_on(kerf_ask *a, bool has_keys, kerf_detail *why)
{
    kerf_err err;

    do {
        err = look(a, why);
    } while (err == KERF_OK && !args.once && wait_for_next(has_keys) &&
             !is_over);
    return err == KERF_EINTR ? KERF_OK : err;
}

/* The terminal as we need it: keys at once, a screen of our own. */
static kerf_err
look_on_screen(kerf_ask *a, kerf_detail *why)
{
    struct termios was;
    bool has_keys = tcgetattr(STDIN_FILENO, &was) == 0;
    kerf_err err;

    if (has_keys) {
        struct termios raw = was;

        raw.c_lflag &= (tcflag_t) ~(ICANON | ECHO);
        (void)tcsetattr(STDIN_FILENO, TCSANOW, &raw);
    }
    (void)fputs("\033[?1049h\033[?25l\033[H\033[J", stdout);
    err = look_on(a, has_keys, why);
    (void)fputs("\033[?25h\033[?1049l", stdout);
    kerf_out_flush();
    if (has_keys)
        (void)tcsetattr(STDIN_FILENO, TCSANOW, &was);
    return err;
}

int
kerf_cmd_top(int argc, char **argv)
{
    kerf_ask cloud;
    kerf_ask_where where;
    kerf_detail why = {{0}};
    int status = kerf_opts_parse(&command, argc, argv);
    kerf_err err;

    if (status >= 0)
        return status;
    if (args.control != NULL && args.port_given)
        return kerf_usage_error("top", "--control or --cloud-port, not both");
    where = (kerf_ask_where){.control = args.control,
                             .port = args.port,
                             .port_given = args.port_given,
                             .is_over = &is_over};
    err = kerf_ask_open(&cloud, &where, &why);
    if (err == KERF_OK) {
        catch_signals();
        err = isatty(STDOUT_FILENO) == 1 && !args.json && !args.once
                  ? look_on_screen(&cloud, &why)
                  : look_on(&cloud, false, &why);
    }
    kerf_ask_close(&cloud);
    return err == KERF_OK ? 0 : kerf_cmd_failed(err, &why);
}
