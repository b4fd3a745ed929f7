/*
 * cmd_top.c - `kerf top`: what a cloud on this machine is doing, live.
 */
#include "base/clock.h"
#include "base/text.h"
#include "cli/cmd.h"
#include "cli/json_line.h"
#include "cli/out.h"
#include "cli/term.h"
#include "cli/top_draw.h"
#include "cli/top_read.h"
#include "net/local.h"

#include <dirent.h>
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <termios.h>
#include <unistd.h>

#define EACH_MS 1000
#define ANSWER_MS 10000
#define ANSWER_MOST ((size_t)256 << 20)
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

/* Finding the cloud. */

struct found {
    char path[KERF_LOCAL_PATH];
    int fd;
    size_t count;
    char ports[256];  /* of all of them, for an error */
    kerf_detail mute; /* of one that does not answer */
};

static bool
port_of(const kerf_local_place *place, const char *name, int *port)
{
    size_t prefix = strlen(place->prefix);
    size_t len = strlen(name);
    int used = 0;

    return strncmp(name, place->prefix, prefix) == 0 &&
           sscanf(name + prefix, "%d%n", port, &used) == 1 &&
           len >= prefix + (size_t)used + 5 &&
           strcmp(name + len - 5, ".sock") == 0 &&
           (len == prefix + (size_t)used + 5 ||
            name[prefix + (size_t)used] == '@'); /* its host */
}

static void
try_socket(struct found *f, const char *path, int port)
{
    size_t used = strlen(f->ports);
    kerf_detail why = {{0}};
    kerf_err err;
    int fd = -1;

    err = kerf_local_connect(&fd, path, &why);
    if (err == KERF_EDEADLINE)
        f->mute = why;
    if (err != KERF_OK) {
        kerf_local_clear(path); /* of one that was killed */
        return;
    }
    (void)snprintf(f->ports + used, sizeof f->ports - used, "%s%d",
                   f->count > 0 ? ", " : "", port);
    if (f->count++ > 0) {
        (void)close(fd);
        return;
    }
    f->fd = fd;
    (void)snprintf(f->path, sizeof f->path, "%s", path);
}

/* The one cloud of this user that runs. */
static kerf_err
find_cloud(struct found *f, kerf_detail *why)
{
    kerf_local_place place = {0};
    char path[KERF_LOCAL_PATH];
    struct dirent *entry;
    DIR *dir;

    kerf_local_place_of(&place);
    dir = opendir(place.dir);
    while (dir != NULL && (entry = readdir(dir)) != NULL) {
        int port = 0;

        if (port_of(&place, entry->d_name, &port) &&
            (!args.port_given || port == args.port) &&
            (size_t)snprintf(path, sizeof path, "%s/%s", place.dir,
                             entry->d_name) < sizeof path)
            try_socket(f, path, port);
    }
    if (dir != NULL)
        (void)closedir(dir);
    if (f->count == 1)
        return KERF_OK;
    if (f->count > 1) {
        (void)close(f->fd);
        if (args.port_given) {
            return kerf_fail(why, KERF_EINVAL,
                             "several clouds run here on port %d, of other "
                             "hosts: give --control",
                             args.port);
        }
        return kerf_fail(why, KERF_EINVAL,
                         "several clouds run here: give --cloud-port one of "
                         "%s",
                         f->ports);
    }
    if (f->mute.text[0] != '\0')
        return kerf_fail(why, KERF_EDEADLINE, "%s", f->mute.text);
    return kerf_fail(why, KERF_ENOENT,
                     "no cloud of yours runs on this machine (looked for "
                     "%s/%s*.sock): start kerf cloud, or give --control",
                     place.dir, place.prefix);
}

static kerf_err
open_cloud(struct found *f, kerf_detail *why)
{
    kerf_err err = KERF_OK;

    if (args.control == NULL && !args.port_given)
        return find_cloud(f, why);
    if (args.control != NULL)
        (void)snprintf(f->path, sizeof f->path, "%s", args.control);
    else
        err = kerf_local_path(f->path, NULL, args.port, why);
    if (err == KERF_OK)
        err = kerf_local_connect(
            &f->fd, args.control != NULL ? args.control : f->path, why);
    if (err == KERF_ENOENT && args.control == NULL) {
        kerf_detail none; /* the first words are the better ones */
        kerf_err other = find_cloud(f, &none); /* of another host */

        if (other == KERF_EINVAL)
            *why = none;
        err = other == KERF_ENOENT ? err : other;
    }
    return err;
}

/* Asking. */

struct line {
    char *text;
    size_t len, room;
};

static kerf_err
make_room(struct line *l, kerf_detail *why)
{
    size_t room = l->room == 0 ? 65536 : 2 * l->room;
    char *bigger;

    if (l->len < l->room)
        return KERF_OK;
    if (room > ANSWER_MOST)
        return kerf_fail(why, KERF_ETOOBIG, "the cloud's answer has no end");
    bigger = realloc(l->text, room);
    if (bigger == NULL)
        return KERF_ENOMEM;
    l->text = bigger;
    l->room = room;
    return KERF_OK;
}

/* Up to the line's end, which is the last byte that comes: one answer for one
 * question. */
static kerf_err
read_line(int fd, struct line *l, kerf_detail *why)
{
    uint64_t until_ns = kerf_now_ns() + (uint64_t)ANSWER_MS * 1000000u;

    l->len = 0;
    while (l->len == 0 || l->text[l->len - 1] != '\n') {
        struct pollfd p = {.fd = fd, .events = POLLIN};
        kerf_err err = make_room(l, why);
        ssize_t n;

        if (err != KERF_OK)
            return err;
        if (kerf_now_ns() > until_ns)
            return kerf_fail(why, KERF_EDEADLINE, "the cloud does not answer");
        if (is_over)
            return KERF_EINTR;
        if (poll(&p, 1, 200) <= 0)
            continue;
        n = recv(fd, l->text + l->len, l->room - l->len, 0);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return kerf_fail(why, KERF_ECLOSED,
                             "the cloud has ended, or takes "
                             "no more of kerf top");
        l->len += (size_t)n;
    }
    return KERF_OK;
}

/* A new reference in *out. most 0: every edge. */
static kerf_err
ask(int fd, size_t most, struct line *l, json_t **out, kerf_detail *why)
{
    char text[64] = "{\"get\":\"edges\"}\n";
    size_t len;
    kerf_err err;

    if (most > 0)
        (void)snprintf(text, sizeof text, "{\"get\":\"edges\",\"most\":%zu}\n",
                       most);
    len = strlen(text);
    if (send(fd, text, len, MSG_NOSIGNAL) != (ssize_t)len)
        return kerf_fail(why, KERF_ECLOSED,
                         "the cloud has ended, or takes no "
                         "more of kerf top");
    err = read_line(fd, l, why);
    if (err != KERF_OK)
        return err;
    *out = json_loadb(l->text, l->len, 0, NULL);
    if (*out == NULL)
        return kerf_fail(why, KERF_EPROTO, "what listens there is no cloud");
    return KERF_OK;
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
look(int fd, struct line *l, kerf_detail *why)
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
    err = ask(fd, most, l, &o, why);
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
look_on(int fd, struct line *l, bool has_keys, kerf_detail *why)
{
    kerf_err err;

    do {
        err = look(fd, l, why);
    } while (err == KERF_OK && !args.once && wait_for_next(has_keys) &&
             !is_over);
    return err == KERF_EINTR ? KERF_OK : err;
}

/* The terminal as we need it: keys at once, a screen of our own. */
static kerf_err
look_on_screen(int fd, struct line *l, kerf_detail *why)
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
    err = look_on(fd, l, has_keys, why);
    (void)fputs("\033[?25h\033[?1049l", stdout);
    kerf_out_flush();
    if (has_keys)
        (void)tcsetattr(STDIN_FILENO, TCSANOW, &was);
    return err;
}

int
kerf_cmd_top(int argc, char **argv)
{
    struct found cloud = {.fd = -1};
    struct line line = {0};
    kerf_detail why = {{0}};
    int status = kerf_opts_parse(&command, argc, argv);
    kerf_err err;

    if (status >= 0)
        return status;
    if (args.control != NULL && args.port_given)
        return kerf_usage_error("top", "--control or --cloud-port, not both");
    err = open_cloud(&cloud, &why);
    if (err == KERF_OK) {
        catch_signals();
        err = isatty(STDOUT_FILENO) == 1 && !args.json && !args.once
                  ? look_on_screen(cloud.fd, &line, &why)
                  : look_on(cloud.fd, &line, false, &why);
        (void)close(cloud.fd);
    }
    free(line.text);
    return err == KERF_OK ? 0 : kerf_cmd_failed(err, &why);
}
