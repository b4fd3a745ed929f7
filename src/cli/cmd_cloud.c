/*
 * cmd_cloud.c - `kerf cloud`: serve tails, ship heads.
 */
#include "cli/cmd.h"

#include "base/log.h"
#include "cli/cut_cmd.h"
#include "cli/json_line.h"
#include "cli/live.h"
#include "cli/show.h"
#include "kerf/cloud.h"
#include "kerf/legacy.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define DEFAULT_MODELS "data/send/model"

struct cloud_ui {
    kerf_printer *out, *err; /* err NULL: log lines go to out, too */
    pthread_mutex_t lock;    /* of edges: answers come on several threads */
    kerf_term term;
    kerf_live live;
    bool json, quiet, lines;
    bool legacy; /* that wire does not say what the edge does with a model */
    const char *models;
    size_t edges;
};

/* Events come on threads that serve edges: none of them writes. */

static void
on_listening(void *ctx, const char *host, int port)
{
    struct cloud_ui *ui = ctx;

    if (ui->json) {
        kerf_printer_json(ui->out, KERF_LINE_RARE,
                          json_pack("{s:s, s:o, s:i}", "event", "listening",
                                    "host", kerf_json_text(host), "port",
                                    port));
    } else {
        kerf_printer_say(ui->out, KERF_LINE_RARE,
                         strchr(host, ':') == NULL
                             ? "Listening on %s:%d, models from %s\n"
                             : "Listening on [%s]:%d, models from %s\n",
                         host, port, ui->models);
    }
}

static void
on_model(void *ctx, const char *name, const char *id, kerf_err err,
         const char *why)
{
    struct cloud_ui *ui = ctx;

    if (ui->json) {
        kerf_printer_json(
            ui->out, KERF_LINE_RARE,
            json_pack("{s:s, s:o, s:o, s:b, s:o}", "event", "model", "name",
                      kerf_json_text(name), "bundle", kerf_json_text(id), "ok",
                      err == KERF_OK, "why", kerf_json_text(why)));
    } else if (err == KERF_OK) {
        kerf_printer_say(ui->out, KERF_LINE_RARE,
                         "Model %s is ready (bundle %.12s)\n", name, id);
    } else {
        kerf_printer_say(
            ui->out, KERF_LINE_RARE, "%sModel %s is not served: %s%s\n",
            kerf_term_red(&ui->term), name, why, kerf_term_plain(&ui->term));
    }
}

static void
on_edge(void *ctx, const char *edge, const char *peer, bool joined,
        const char *why)
{
    struct cloud_ui *ui = ctx;

    (void)pthread_mutex_lock(&ui->lock);
    ui->edges += joined ? 1 : (size_t)-1;
    (void)pthread_mutex_unlock(&ui->lock);
    if (ui->json) {
        kerf_printer_json(ui->out, KERF_LINE_RARE,
                          json_pack("{s:s, s:o, s:o, s:b, s:o}", "event",
                                    "edge", "edge", kerf_json_text(edge),
                                    "peer", kerf_json_text(peer), "joined",
                                    joined, "why", kerf_json_text(why)));
    } else if (joined) {
        kerf_printer_say(ui->out, KERF_LINE_RARE, "Edge %s connected from %s\n",
                         edge, peer);
    } else {
        kerf_printer_say(ui->out, KERF_LINE_RARE, "Edge %s is gone: %s\n", edge,
                         why);
    }
}

static void
on_shipped(void *ctx, const char *edge, const char *model, uint64_t bytes,
           uint64_t wire, kerf_err err, const char *why)
{
    struct cloud_ui *ui = ctx;
    char packed[48] = "";

    if (wire < bytes)
        (void)snprintf(packed, sizeof packed, " as %.2f MB",
                       (double)wire / 1e6);
    if (ui->json) {
        kerf_printer_json(
            ui->out, KERF_LINE_RARE,
            json_pack("{s:s, s:o, s:o, s:I, s:I, s:b, s:o}", "event", "shipped",
                      "edge", kerf_json_text(edge), "model",
                      kerf_json_text(model), "bytes", (json_int_t)bytes,
                      "wire_bytes", (json_int_t)wire, "ok", err == KERF_OK,
                      "why", kerf_json_text(why)));
    } else if (err == KERF_OK) {
        kerf_printer_say(ui->out, KERF_LINE_RARE,
                         "Edge %s %s the head of %s (%.2f MB sent%s)\n", edge,
                         ui->legacy ? "was sent" : "runs", model,
                         (double)bytes / 1e6, packed);
    } else {
        kerf_printer_say(ui->out, KERF_LINE_RARE,
                         "%sEdge %s cannot run the head of %s: %s%s\n",
                         kerf_term_red(&ui->term), edge, model, why,
                         kerf_term_plain(&ui->term));
    }
}

/* `[3]`: the best class of each row, as the reference prints it; or the shape.
 */
static void
print_best(FILE *out, const kerf_tensor *t)
{
    char text[KERF_SHAPE_TEXT];

    if (t->shape.rank == 2 && t->shape.dims[1] > 1)
        (void)fprintf(out, "%s", kerf_show_argmax(text, sizeof text, t));
    else
        (void)fprintf(out, " %s %s", kerf_dtype_name(t->dtype),
                      kerf_shape_text(text, &t->shape));
}

static void
print_answer(FILE *out, const kerf_cloud_answer *a, const kerf_tensor *output,
             bool with_name)
{
    if (with_name)
        (void)fprintf(out, "%s: ", a->edge);
    (void)fprintf(out, "Cloud cost %.4fs infer Tensor %llu\n",
                  (double)a->tail_ns / 1e9, (unsigned long long)a->id);
    for (size_t i = 0; i < a->count; i++) {
        if (with_name)
            (void)fprintf(out, "%s: ", a->edge);
        (void)fprintf(out, "Tensor %llu Result:", (unsigned long long)a->id);
        print_best(out, &output[i]);
        (void)fputc('\n', out);
    }
}

static void
on_answered(void *ctx, const kerf_cloud_answer *a, const kerf_tensor *output)
{
    struct cloud_ui *ui = ctx;
    char *text = NULL;
    size_t len = 0;
    bool with_name;
    FILE *out;

    if (ui->json) {
        kerf_printer_json(
            ui->out, KERF_LINE_MANY,
            json_pack("{s:s, s:o, s:o, s:I, s:f, s:f, s:I, s:I}", "event",
                      "answer", "edge", kerf_json_text(a->edge), "model",
                      kerf_json_text(a->model), "id", (json_int_t)a->id,
                      "queue_us", (double)a->queue_ns / 1e3, "tail_us",
                      (double)a->tail_ns / 1e3, "bytes_in",
                      (json_int_t)a->bytes_in, "bytes_out",
                      (json_int_t)a->bytes_out));
        return;
    }
    (void)pthread_mutex_lock(&ui->lock);
    with_name = ui->edges > 1;
    (void)pthread_mutex_unlock(&ui->lock);
    out = open_memstream(&text, &len);
    if (out == NULL)
        return;
    print_answer(out, a, output, with_name);
    if (fclose(out) == 0)
        kerf_printer_text(ui->out, KERF_LINE_MANY, text);
    free(text);
}

static void
on_refused(void *ctx, const char *edge, uint64_t id, kerf_err err,
           const char *why)
{
    struct cloud_ui *ui = ctx;

    if (ui->json) {
        kerf_printer_json(
            ui->out, KERF_LINE_MANY,
            json_pack("{s:s, s:o, s:I, s:s, s:o}", "event", "refused", "edge",
                      kerf_json_text(edge), "id", (json_int_t)id, "err",
                      kerf_err_name(err), "why", kerf_json_text(why)));
    } else {
        kerf_printer_say(ui->out, KERF_LINE_MANY,
                         "%sTensor %llu of %s refused: %s%s\n",
                         kerf_term_red(&ui->term), (unsigned long long)id, edge,
                         why, kerf_term_plain(&ui->term));
    }
}

static void
print_log(void *ctx, kerf_log_level level, const char *line)
{
    (void)level;
    kerf_printer_say(ctx, KERF_LINE_MANY, "%s\n", line);
}

static void
write_log(void *ctx, kerf_log_level level, const char *line)
{
    (void)ctx;
    (void)level;
    (void)fprintf(stderr, "%s\n", line);
}

/* On one terminal log lines keep their places among the others; where stdout
 * stands still they must not wait for it elsewhere. */
static kerf_err
start_printing(struct cloud_ui *ui)
{
    kerf_err err = kerf_printer_start(&ui->out, STDOUT_FILENO, ui->json);

    if (err == KERF_OK &&
        !(ui->term.is_tty && !ui->json && isatty(STDERR_FILENO) == 1))
        err = kerf_printer_start(&ui->err, STDERR_FILENO, false);
    if (err == KERF_OK)
        kerf_log_set_sink(print_log, ui->err != NULL ? ui->err : ui->out);
    return err;
}

/* Returns status, or 1 when stdout could not be written; a reader that went
 * away is no error. */
static int
stop_printing(struct cloud_ui *ui, int status)
{
    int code = kerf_printer_stop(ui->out);

    kerf_log_set_sink(write_log, NULL);
    (void)kerf_printer_stop(ui->err);
    return code != 0 && code != EPIPE ? 1 : status;
}

static bool
is_live(const struct cloud_ui *ui)
{
    return ui->term.is_tty && ui->term.moves && !ui->json && !ui->lines &&
           !ui->legacy;
}

static kerf_err
serve(struct cloud_ui *ui, const kerf_cloud_opts *opts,
      const kerf_cloud_events *events, kerf_detail *why)
{
    kerf_cloud *cloud = NULL;
    kerf_err err = kerf_cloud_open(&cloud, opts, events, why);

    if (err != KERF_OK)
        return err;
    if (is_live(ui))
        kerf_live_start(&ui->live, cloud, ui->out);
    kerf_cloud_run(cloud);
    kerf_live_stop(&ui->live);
    kerf_cloud_close(cloud);
    return KERF_OK;
}

/* What the flags say; one command runs in a process. */
static struct {
    struct cloud_ui ui;
    kerf_cloud_opts o;
    const char *edge_host, *control;
    int edge_port;
    bool legacy, models_given;
    int model_codec;
    double dead_after_s;
    kerf_cut_flags cut; /* --model, --cut, and what goes with them */
    kerf_cut_served served;
    kerf_cmd_common common;
} args = {.ui = {.models = DEFAULT_MODELS},
          .o = {.host = "127.0.0.1",
                .port = 8080,
                .models = DEFAULT_MODELS,
                .handle_signals = true},
          .edge_host = "127.0.0.1",
          .edge_port = 8081,
          .cut = {.rules = KERF_RULES_DEFAULTS}};

static const kerf_opt table[] = {
    {.name = "cloud-host",
     .kind = KERF_OPT_TEXT,
     .to = &args.o.host,
     .value = "HOST",
     .help = "address to listen on; 0.0.0.0: all"},
    {.name = "cloud-port",
     .kind = KERF_OPT_INT,
     .to = &args.o.port,
     .min = 0,
     .max = 65535,
     .help = "port to listen on; 0: any free one"},
    {.name = "models",
     .kind = KERF_OPT_TEXT,
     .to = &args.o.models,
     .given = &args.models_given,
     .value = "DIR",
     .help = "folder of client_infer_* and server_infer_*, watched"},
    {.kind = KERF_OPT_GROUP, .help = "Capacity"},
    {.name = "workers",
     .kind = KERF_OPT_INT,
     .to = &args.o.workers,
     .min = 0,
     .max = 256,
     .help = "engine threads; 0: one per core, 4 at most"},
    {.name = "window",
     .kind = KERF_OPT_INT,
     .to = &args.o.window,
     .min = 0,
     .max = 64,
     .help = "requests in flight per edge; 0: 16"},
    {.name = "queue",
     .kind = KERF_OPT_INT,
     .to = &args.o.queue,
     .min = 0,
     .max = 4096,
     .help = "requests held per model; 0: 64"},
    {.name = "batch",
     .kind = KERF_OPT_INT,
     .to = &args.o.batch,
     .min = 0,
     .max = 8,
     .help = "requests that wait at the same time and run as one, at most; "
             "1: none; 0: up to 8, where it is measured to pay"},
    {.name = "max-edges",
     .kind = KERF_OPT_INT,
     .to = &args.o.edges_max,
     .min = 0,
     .max = 100000,
     .help = "edges at a time; 0: 4096"},
    {.name = "heartbeat",
     .kind = KERF_OPT_INT,
     .to = &args.o.heartbeat_ms,
     .min = 0,
     .max = 600000,
     .value = "MS",
     .help = "edges ping this often; 0: a third of --dead-after"},
    {.name = "dead-after",
     .kind = KERF_OPT_REAL,
     .to = &args.dead_after_s,
     .min = 0,
     .max = 3600,
     .value = "SECONDS",
     .help = "drop an edge that is silent for so long, at least 0.3; 0: three "
             "times --heartbeat, or 5"},
    {.name = "share-tail",
     .kind = KERF_OPT_FLAG,
     .to = &args.o.share_tail,
     .help = "let edges have the tails, too, to go on alone when this cloud is "
             "gone (kerf edge --offline local)"},
    {.name = "model-codec",
     .kind = KERF_OPT_CHOICE,
     .to = &args.model_codec,
     .choices = "auto|raw|kwz",
     .help = "how models are sent to edges; auto: packed, but on links of over "
             "3.2 Gbit/s"},
    {.kind = KERF_OPT_GROUP, .help = "A whole model, cut here"},
    {.name = "model",
     .kind = KERF_OPT_TEXT,
     .to = &args.cut.arg[0],
     .value = "MODEL",
     .help = "cut and serve it instead of a folder; its files are watched"},
    {.name = "cut",
     .kind = KERF_OPT_TEXT,
     .to = &args.cut.at,
     .value = "NAME[,NAME...]",
     .help = "where, as kerf cut lists it: tensors, or a number"},
    {.name = "name",
     .kind = KERF_OPT_TEXT,
     .to = &args.cut.name,
     .help = "of the pair (default: the model's)"},
    {.name = "shape",
     .kind = KERF_OPT_LIST,
     .to = &args.cut.shape,
     .value = "NAME=1x3x224x224...",
     .help = "of inputs that the model leaves open"},
    {.name = "tolerance",
     .kind = KERF_OPT_REAL,
     .to = &args.cut.tolerance,
     .given = &args.cut.has_tolerance,
     .min = 0,
     .max = 1,
     .help = "of the proof, in parts of an output's range (default 1e-05 for "
             "f32)",
     .no_default = true},
    KERF_RULES_ROWS(&args.cut.rules),
    KERF_CMD_ENGINE_OPTS(&args.o.engine, &args.common),
    {.kind = KERF_OPT_GROUP, .help = "The reference's wire"},
    {.name = "legacy",
     .kind = KERF_OPT_FLAG,
     .to = &args.legacy,
     .help = "speak it: send heads on the cloud's port, fetch tensors from "
             "the edge's"},
    {.name = "edge-host",
     .kind = KERF_OPT_TEXT,
     .to = &args.edge_host,
     .value = "HOST",
     .help = "with --legacy"},
    {.name = "edge-port",
     .kind = KERF_OPT_INT,
     .to = &args.edge_port,
     .min = 1,
     .max = 65535,
     .help = "with --legacy"},
    {.kind = KERF_OPT_GROUP, .help = "Output"},
    {.name = "control",
     .kind = KERF_OPT_TEXT,
     .to = &args.control,
     .value = "PATH",
     .help = "socket that kerf top asks; none: none; without it: by user and "
             "port",
     .no_default = true},
    {.name = "json",
     .kind = KERF_OPT_FLAG,
     .to = &args.ui.json,
     .help = "one JSON object per line on stdout"},
    {.name = "lines",
     .kind = KERF_OPT_FLAG,
     .to = &args.ui.lines,
     .help = "plain lines also on a terminal, in place of the table of edges"},
    {.name = "quiet",
     .kind = KERF_OPT_FLAG,
     .to = &args.ui.quiet,
     .help = "no line per answer"},
    KERF_CMD_LOG_OPT(&args.common),
};

static const kerf_command command = {
    .name = "cloud",
    .usage = "[flags]",
    .about = "Serves tails and ships heads to edges.",
    .opt = table,
    .opt_count = sizeof table / sizeof *table};

/* --model and --cut, or neither. Returns -1: go on. */
static int
check_cut(void)
{
    const kerf_cut_flags *f = &args.cut;

    if ((f->arg[0] == NULL) != (f->at == NULL))
        return kerf_usage_error("cloud", "--model and --cut go together");
    if (f->arg[0] == NULL && kerf_rules_given(&f->rules))
        return kerf_usage_error("cloud",
                                "--card, rules and labels go with --model: a "
                                "pair has its card");
    if (f->arg[0] == NULL &&
        (f->name != NULL || f->shape.count > 0 || f->has_tolerance)) {
        return kerf_usage_error("cloud", "--%s goes with --model",
                                f->name != NULL      ? "name"
                                : f->shape.count > 0 ? "shape"
                                                     : "tolerance");
    }
    if (f->arg[0] != NULL && args.models_given)
        return kerf_usage_error("cloud", "--model or --models, not both");
    if (f->arg[0] != NULL && args.legacy)
        return kerf_usage_error("cloud", "--model does not go with --legacy: "
                                         "kerf cut writes files for it");
    return -1;
}

/* Cuts on the fly. */
static kerf_err
serve_cut(kerf_detail *why)
{
    kerf_err err;

    args.cut.engine = args.o.engine;
    args.cut.common = args.common;
    err = kerf_cut_served_init(&args.served, &args.cut, why);
    if (err == KERF_OK) {
        args.o.maker = &args.served.maker;
        args.ui.models = args.cut.arg[0];
    }
    return err;
}

int
kerf_cmd_cloud(int argc, char **argv)
{
    struct cloud_ui *ui = &args.ui;
    kerf_cloud_events events = {.ctx = ui,
                                .listening = on_listening,
                                .model = on_model,
                                .edge = on_edge,
                                .shipped = on_shipped,
                                .refused = on_refused};
    kerf_detail why = {{0}};
    int status = kerf_opts_parse(&command, argc, argv);
    kerf_err err;

    if (status < 0)
        status = check_cut();
    if (status >= 0)
        return status;
    args.o.dead_after_ms = (int)(args.dead_after_s * 1000.0);
    if (args.control != NULL && args.legacy)
        return kerf_usage_error("cloud", "--control does not go with --legacy");
    args.o.control = args.control == NULL                ? ""
                     : strcmp(args.control, "none") == 0 ? NULL
                                                         : args.control;
    if (args.control != NULL && args.control[0] == '\0')
        return kerf_usage_error("cloud", "--control is a path, or none");
    args.o.model_codec = (kerf_model_codec)args.model_codec;
    kerf_cmd_apply(&args.common, &args.o.engine);
    if (args.models_given && !kerf_cmd_is_dir(args.o.models)) {
        return kerf_usage_error("cloud",
                                "--models %s: no such folder; make it, or "
                                "leave the flag out for " DEFAULT_MODELS,
                                args.o.models);
    }
    ui->models = args.o.models;
    ui->legacy = args.legacy;
    if (args.cut.at != NULL) {
        err = serve_cut(&why);
        if (err != KERF_OK)
            return kerf_cmd_failed(err, &why);
    }
    kerf_term_init(&ui->term, stdout);
    if (!ui->quiet && !is_live(ui))
        events.answered = on_answered;
    (void)pthread_mutex_init(&ui->lock, NULL);
    err = start_printing(ui);
    if (err == KERF_OK)
        err = args.legacy ? kerf_legacy_cloud_run(&args.o, args.edge_host,
                                                  args.edge_port, &events, &why)
                          : serve(ui, &args.o, &events, &why);
    status = stop_printing(ui, 0);
    (void)pthread_mutex_destroy(&ui->lock);
    return err == KERF_OK ? status : kerf_cmd_failed(err, &why);
}
