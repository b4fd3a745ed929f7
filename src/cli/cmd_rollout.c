/*
 * cmd_rollout.c - `kerf rollout`: how the update of a model goes on a cloud of
 * this machine, and what to do about it.
 */
#include "base/text.h"
#include "cli/ask.h"
#include "cli/cmd.h"
#include "cli/json_line.h"
#include "cli/top_draw.h"
#include "cli/top_read.h"
#include "cloud/rollout.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct {
    kerf_ask_where where;
    const char *model;
    const char *arg[1];
    bool json;
} args;

static const kerf_opt table[] = {
    {.name = "model",
     .kind = KERF_OPT_TEXT,
     .to = &args.model,
     .value = "NAME",
     .help = "which one; needed where several are being rolled out",
     .no_default = true},
    {.name = "control",
     .kind = KERF_OPT_TEXT,
     .to = &args.where.control,
     .value = "PATH",
     .help = "socket of the cloud, as its --control has it",
     .no_default = true},
    {.name = "cloud-port",
     .kind = KERF_OPT_INT,
     .to = &args.where.port,
     .given = &args.where.port_given,
     .min = 1,
     .max = 65535,
     .help = "the cloud on this port; needed where several run",
     .no_default = true},
    {.name = "json",
     .kind = KERF_OPT_FLAG,
     .to = &args.json,
     .help = "one JSON object on stdout"},
};

static const kerf_command command = {
    .name = "rollout",
    .usage = "[status|PERCENT|halt|resume|back|finish] [flags]",
    .about = "Shows how the update of a model goes on a cloud of this "
             "machine; gives it to so\nmany edges, to no more, to more again, "
             "gives the old one to all, or waits for none\nany more.",
    .opt = table,
    .opt_count = sizeof table / sizeof *table,
    .arg = args.arg,
    .arg_least = 0,
    .arg_most = 1,
    .arg_name = "status, a percentage, halt, resume, back or finish"};

/* The line that asks for it -> free(). NULL: no memory. */
static char *
question(const char *what, double percent)
{
    json_t *o = json_pack("{s:s}", "rollout", what);
    char *text;
    char *line = NULL;

    if (strcmp(what, "set") == 0)
        (void)json_object_set_new(o, "percent", json_real(percent));
    if (args.model != NULL)
        (void)json_object_set_new(o, "model", json_string(args.model));
    text = json_dumps(o, JSON_COMPACT);
    json_decref(o);
    if (text != NULL && asprintf(&line, "%s\n", text) < 0)
        line = NULL;
    free(text);
    return line;
}

static kerf_err
show(const json_t *o, kerf_detail *why)
{
    const char *event = json_string_value(json_object_get(o, "event"));
    const char *error = json_string_value(json_object_get(o, "error"));
    char text[KERF_ROLLOUT_LINE];
    kerf_cloud_view view = {0};
    kerf_err err;

    if (event == NULL || strcmp(event, "rollouts") != 0) {
        return kerf_fail(why, KERF_EPROTO, "the cloud says: %s",
                         error != NULL
                             ? kerf_text_safe(text, sizeof text, error)
                             : "nothing that is known here");
    }
    if (args.json) {
        kerf_json_line(json_deep_copy(o));
        return KERF_OK;
    }
    err = kerf_top_read_rollouts(&view, o);
    if (err == KERF_OK && view.rollouts == 0)
        (void)puts("nothing is being rolled out: every edge is given the same "
                   "bundle");
    for (size_t i = 0; i < view.rollouts; i++)
        (void)puts(kerf_top_rollout(text, sizeof text, &view.rollout[i]));
    kerf_cloud_view_free(&view);
    return err;
}

static kerf_err
ask(const char *what, double percent, kerf_detail *why)
{
    char *line = question(what, percent);
    json_t *o = NULL;
    kerf_ask cloud;
    kerf_err err;

    if (line == NULL)
        return KERF_ENOMEM;
    err = kerf_ask_open(&cloud, &args.where, why);
    if (err == KERF_OK)
        err = kerf_ask_line(&cloud, line, &o, why);
    if (err == KERF_OK)
        err = show(o, why);
    json_decref(o);
    kerf_ask_close(&cloud);
    free(line);
    return err;
}

int
kerf_cmd_rollout(int argc, char **argv)
{
    kerf_detail why = {{0}};
    int status = kerf_opts_parse(&command, argc, argv);
    const char *what = args.arg[0] != NULL ? args.arg[0] : "status";
    double percent = 0;
    kerf_err err;

    if (status >= 0)
        return status;
    if (args.where.control != NULL && args.where.port_given)
        return kerf_usage_error("rollout",
                                "--control or --cloud-port, not both");
    if (args.model != NULL && strlen(args.model) >= KERF_NAME_MAX)
        return kerf_usage_error("rollout", "--model: the name is too long");
    if (kerf_rollout_percent(what, 0, &percent)) {
        what = "set";
    } else if (strcmp(what, "status") != 0 && strcmp(what, "halt") != 0 &&
               strcmp(what, "resume") != 0 && strcmp(what, "back") != 0 &&
               strcmp(what, "finish") != 0) {
        return kerf_usage_error("rollout",
                                "%s: expected status, a percentage (50%%), "
                                "halt, resume, back or finish",
                                what);
    }
    err = ask(what, percent, &why);
    return err == KERF_OK ? 0 : kerf_cmd_failed(err, &why);
}
