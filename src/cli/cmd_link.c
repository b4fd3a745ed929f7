/*
 * cmd_link.c - `kerf link`: a link of a known kind between two programs.
 */
#include "base/text.h"
#include "cli/cmd.h"
#include "cli/json_line.h"
#include "cli/out.h"
#include "net/fd_watch.h"
#include "net/link_emu.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define HOST_MAX 256

struct address {
    char host[HOST_MAX];
    int port;
};

static struct {
    const char *spec[2];
    const char *listen, *to;
    bool list, control, json;
} args;

struct ui {
    kerf_loop *loop;
    kerf_link_emu *emu;
    kerf_fd_watch *in;
    char line[512]; /* of stdin, as far as it has come */
    size_t used;
    bool too_long;
};

static const kerf_opt table[] = {
    {.name = "listen",
     .kind = KERF_OPT_TEXT,
     .to = &args.listen,
     .value = "[HOST:]PORT",
     .help = "where edges dial; port 0: any (default 127.0.0.1:0)",
     .no_default = true},
    {.name = "to",
     .kind = KERF_OPT_TEXT,
     .to = &args.to,
     .value = "[HOST:]PORT",
     .help = "where the cloud listens (default 127.0.0.1:8080)",
     .no_default = true},
    {.name = "control",
     .kind = KERF_OPT_FLAG,
     .to = &args.control,
     .help = "take changes from stdin, a line each; its end is the end"},
    {.name = "list",
     .kind = KERF_OPT_FLAG,
     .to = &args.list,
     .help = "show the presets"},
    {.kind = KERF_OPT_GROUP, .help = "Output"},
    {.name = "json",
     .kind = KERF_OPT_FLAG,
     .to = &args.json,
     .help = "one JSON object per line on stdout"},
};

static const kerf_command command = {
    .name = "link",
    .usage = "SPEC --listen [HOST:]PORT --to [HOST:]PORT",
    .about =
        "Carries TCP connections as a link of a known kind would.\n"
        "SPEC: a preset and key=value, with commas: "
        "lte,jitter=20,stall=5s/300ms\n"
        "Keys: rate, up, down (Mbit/s); rtt, jitter, queue (ms); stall, "
        "outage (EVERY/FOR\nor @AT/FOR); cut (bytes); flip (probability per "
        "byte); seed.",
    .opt = table,
    .opt_count = sizeof table / sizeof *table,
    .arg = args.spec,
    .arg_least = 0,
    .arg_most = 1,
    .arg_name = "SPEC"};

/* "host:port", "[::1]:port" or "port". */
static bool
read_address(struct address *out, const char *text)
{
    const char *colon = strrchr(text, ':');
    const char *port = colon != NULL ? colon + 1 : text;
    const char *host = colon != NULL ? text : "127.0.0.1";
    size_t len = colon != NULL ? (size_t)(colon - text) : strlen(host);
    char *end = NULL;
    long value;

    if (len > 1 && host[0] == '[' && host[len - 1] == ']') {
        host++;
        len -= 2;
    }
    if (len == 0 || len >= sizeof out->host || *port < '0' || *port > '9')
        return false;
    value = strtol(port, &end, 10);
    if (*end != '\0' || value > 65535)
        return false;
    memcpy(out->host, host, len);
    out->host[len] = '\0';
    out->port = (int)value;
    return true;
}

static json_t *
spec_json(const kerf_link_spec *spec)
{
    json_t *o = json_object();

    (void)json_object_set_new(o, "up_mbit", json_real(spec->up_mbit));
    (void)json_object_set_new(o, "down_mbit", json_real(spec->down_mbit));
    (void)json_object_set_new(o, "rtt_ms", json_real(spec->rtt_ms));
    (void)json_object_set_new(o, "jitter_ms", json_real(spec->jitter_ms));
    (void)json_object_set_new(o, "queue_ms", json_real(spec->queue_ms));
    (void)json_object_set_new(o, "seed", json_integer((json_int_t)spec->seed));
    return o;
}

static int
list_presets(void)
{
    const kerf_link_spec *spec;

    for (size_t i = 0; (spec = kerf_link_preset(i)) != NULL; i++) {
        char text[128];

        if (args.json) {
            json_t *o = spec_json(spec);

            (void)json_object_del(o, "queue_ms");
            (void)json_object_del(o, "jitter_ms");
            (void)json_object_del(o, "seed");
            (void)json_object_set_new(o, "event", json_string("preset"));
            (void)json_object_set_new(o, "name", json_string(spec->name));
            kerf_json_line(o);
        } else {
            (void)printf("%-8s %s\n", spec->name,
                         kerf_link_spec_text(text, sizeof text, spec));
        }
    }
    return 0;
}

/* What happens. */

static void
say_listening(struct ui *ui, const struct address *at, const struct address *to)
{
    int port = kerf_link_emu_port(ui->emu);
    char safe[2][HOST_MAX * 4];
    char text[128];

    if (args.json) {
        json_t *o = json_object();

        (void)json_object_set_new(o, "event", json_string("listening"));
        (void)json_object_set_new(o, "host", kerf_json_text(at->host));
        (void)json_object_set_new(o, "port", json_integer(port));
        (void)json_object_set_new(o, "to_host", kerf_json_text(to->host));
        (void)json_object_set_new(o, "to_port", json_integer(to->port));
        (void)json_object_set_new(o, "link",
                                  spec_json(kerf_link_emu_spec(ui->emu)));
        kerf_json_line(o);
        return;
    }
    (void)printf(
        "Listening on %s:%d, to %s:%d: %s\n",
        kerf_text_safe(safe[0], sizeof safe[0], at->host), port,
        kerf_text_safe(safe[1], sizeof safe[1], to->host), to->port,
        kerf_link_spec_text(text, sizeof text, kerf_link_emu_spec(ui->emu)));
    kerf_out_flush();
}

static void
say_summary(const kerf_link_counts *c)
{
    const struct {
        const char *name;
        uint64_t value;
    } all[] = {{"connections", c->connections},
               {"up_bytes", c->up_bytes},
               {"down_bytes", c->down_bytes},
               {"flipped", c->flipped},
               {"cut", c->cut},
               {"reset", c->reset},
               {"stalls", c->stalls},
               {"outages", c->outages}};
    json_t *o = json_object();

    (void)json_object_set_new(o, "event", json_string("summary"));
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        (void)json_object_set_new(o, all[i].name,
                                  json_integer((json_int_t)all[i].value));
    }
    if (args.json) {
        kerf_json_line(o);
        return;
    }
    json_decref(o);
    (void)printf(
        "%llu connections, %llu bytes up, %llu down; %llu wrong bytes, "
        "%llu cut, %llu reset, %llu stalls, %llu outages\n",
        (unsigned long long)c->connections, (unsigned long long)c->up_bytes,
        (unsigned long long)c->down_bytes, (unsigned long long)c->flipped,
        (unsigned long long)c->cut, (unsigned long long)c->reset,
        (unsigned long long)c->stalls, (unsigned long long)c->outages);
}

static void
on_stop_signal(void *ctx, int nth)
{
    struct ui *ui = ctx;

    if (nth > 1)
        _exit(130);
    kerf_loop_stop(ui->loop);
}

/* Changes from stdin. */

static void
take_line(struct ui *ui, const char *line)
{
    kerf_detail why = {{0}};
    kerf_err err = ui->too_long
                       ? kerf_fail(&why, KERF_ETOOBIG, "link: a longer line")
                       : kerf_link_emu_tell(ui->emu, line, &why);
    char safe[2048];

    if (args.json) {
        const kerf_link_counts c = kerf_link_emu_counts(ui->emu);
        json_t *o = json_object();

        (void)json_object_set_new(o, "event", json_string("control"));
        (void)json_object_set_new(o, "line", kerf_json_text(line));
        (void)json_object_set_new(o, "ok", json_boolean(err == KERF_OK));
        (void)json_object_set_new(o, "why", kerf_json_text(why.text));
        (void)json_object_set_new(o, "up_bytes",
                                  json_integer((json_int_t)c.up_bytes));
        (void)json_object_set_new(o, "down_bytes",
                                  json_integer((json_int_t)c.down_bytes));
        kerf_json_line(o);
    } else if (err != KERF_OK) {
        (void)fprintf(stderr, "kerf: warning: %s\n",
                      kerf_text_safe(safe, sizeof safe, why.text));
    }
}

static void
on_stdin(void *ctx, bool readable, bool writable)
{
    struct ui *ui = ctx;
    char data[512];
    ssize_t n = read(STDIN_FILENO, data, sizeof data);

    (void)readable;
    (void)writable;
    if (n < 0 && (errno == EINTR || errno == EAGAIN))
        return;
    if (n <= 0) {
        kerf_fd_watch_set(ui->in, false, false);
        kerf_loop_stop(ui->loop);
        return;
    }
    for (ssize_t i = 0; i < n; i++) {
        if (data[i] != '\n') {
            ui->too_long |= ui->used + 1 == sizeof ui->line;
            if (!ui->too_long)
                ui->line[ui->used++] = data[i];
            continue;
        }
        ui->line[ui->used] = '\0';
        take_line(ui, ui->line);
        ui->used = 0;
        ui->too_long = false;
    }
}

static kerf_err
run(struct ui *ui, const struct address *at, const struct address *to,
    const kerf_link_spec *spec, kerf_detail *why)
{
    const kerf_link_emu_opts opts = {.host = at->host,
                                     .port = at->port,
                                     .to_host = to->host,
                                     .to_port = to->port,
                                     .spec = spec};
    kerf_link_counts counts;
    kerf_err err = kerf_loop_new(&ui->loop);

    if (err == KERF_OK)
        err = kerf_loop_on_signal(ui->loop, on_stop_signal, ui);
    if (err == KERF_OK)
        err = kerf_link_emu_new(&ui->emu, ui->loop, &opts, why);
    if (err == KERF_EADDRINUSE) {
        err = kerf_fail(why, err,
                        "port %d on %s is in use: stop what listens there, or "
                        "give --listen another one",
                        at->port, at->host);
    }
    if (err == KERF_OK && args.control) {
        err = kerf_fd_watch_new(&ui->in, ui->loop, STDIN_FILENO, on_stdin, ui);
        if (err != KERF_OK)
            err = kerf_fail(why, err,
                            "--control: stdin is a file: give it a "
                            "pipe or a terminal");
    }
    if (err == KERF_OK) {
        if (args.control)
            kerf_fd_watch_set(ui->in, true, false);
        say_listening(ui, at, to);
        kerf_loop_run(ui->loop);
        counts = kerf_link_emu_counts(ui->emu);
        say_summary(&counts);
    }
    kerf_fd_watch_free(ui->in);
    kerf_link_emu_free(ui->emu);
    kerf_loop_free(ui->loop);
    return err;
}

int
kerf_cmd_link(int argc, char **argv)
{
    struct ui ui = {.used = 0};
    struct address at;
    struct address to;
    kerf_link_spec spec;
    kerf_detail why = {{0}};
    kerf_err err;
    int status = kerf_opts_parse(&command, argc, argv);

    if (status >= 0)
        return status;
    if (args.list)
        return list_presets();
    if (args.spec[0] == NULL)
        return kerf_usage_error("link", "SPEC is missing: a preset (--list), "
                                        "or key=value");
    if (kerf_link_spec_parse(&spec, args.spec[0], &why) != KERF_OK)
        return kerf_usage_error("link", "%s", why.text);
    if (!read_address(&at, args.listen != NULL ? args.listen : "0"))
        return kerf_usage_error("link", "--listen %s: expected [HOST:]PORT",
                                args.listen);
    if (!read_address(&to, args.to != NULL ? args.to : "8080") || to.port == 0)
        return kerf_usage_error("link", "--to %s: expected [HOST:]PORT",
                                args.to);
    err = run(&ui, &at, &to, &spec, &why);
    return err == KERF_OK ? 0 : kerf_cmd_failed(err, &why);
}
