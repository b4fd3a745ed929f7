/*
 * cmd_cloud.c - `kerf cloud`: serve tails, ship heads.
 */
#include "cli/cmd.h"

#include "base/fs.h"
#include "base/log.h"
#include "cli/cloud_ui.h"
#include "cli/cut_cmd.h"
#include "cli/service.h"
#include "cloud/rollout.h"
#include "kerf/legacy.h"
#include "net/loop.h"

#include <stdio.h>
#include <string.h>

static bool
is_live(const kerf_cloud_ui *ui)
{
    return ui->term.is_tty && ui->term.moves && !ui->json && !ui->lines &&
           !ui->legacy && !ui->logs;
}

static kerf_err
serve(kerf_cloud_ui *ui, const kerf_cloud_opts *opts,
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
    kerf_cloud_ui ui;
    kerf_cloud_opts o;
    const char *edge_host, *control;
    int edge_port;
    const char *rollout, *rollout_halt;
    bool halt_given;
    char rollout_place[KERF_PATH_MAX];
    bool legacy, models_given;
    int model_codec;
    double dead_after_s;
    kerf_cut_flags cut; /* --model, --cut, and what goes with them */
    kerf_cut_served served;
    kerf_cmd_common common;
} args = {.ui = {.models = KERF_CMD_MODELS},
          .o = {.host = "127.0.0.1",
                .port = 8080,
                .models = KERF_CMD_MODELS,
                .rollout_wait_h = 24,
                .handle_signals = true},
          .edge_host = "127.0.0.1",
          .edge_port = 8081,
          .rollout_halt = "20%",
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
    {.name = "tls",
     .kind = KERF_OPT_TEXT,
     .to = &args.o.tls,
     .value = "DIR",
     .no_default = true,
     .help = "keys and certificates, as kerf keygen makes them: TLS, and only "
             "edges of the fleet; followed"},
    {.name = "insecure",
     .kind = KERF_OPT_FLAG,
     .to = &args.o.insecure,
     .help = "listen beyond this machine without TLS: whoever reaches it gets "
             "models and answers"},
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
    {.kind = KERF_OPT_GROUP, .help = "Updates"},
    {.name = "rollout",
     .kind = KERF_OPT_TEXT,
     .to = &args.rollout,
     .value = "PERCENT",
     .help = "give a changed pair to so many of the edges at first (then kerf "
             "rollout); without it: to all",
     .no_default = true},
    {.name = "rollout-halt",
     .kind = KERF_OPT_TEXT,
     .to = &args.rollout_halt,
     .given = &args.halt_given,
     .value = "PERCENT",
     .help = "give it to no more edges when over so many of at least 3 failed "
             "on it"},
    {.name = "rollout-wait",
     .kind = KERF_OPT_REAL,
     .to = &args.o.rollout_wait_h,
     .value = "HOURS",
     .min = 0.0001,
     .max = 8760,
     .help = "wait so long for an edge that went before it said how it goes"},
    {.name = "rollout-soak",
     .kind = KERF_OPT_REAL,
     .to = &args.o.rollout_soak_min,
     .value = "MINUTES",
     .min = 0,
     .max = 525600,
     .help = "when all run it, keep the old one, and halt on failures, for so "
             "long"},
    {.name = "rollout-dir",
     .kind = KERF_OPT_TEXT,
     .to = &args.o.rollout_dir,
     .value = "DIR",
     .help = "where old pairs and the rollout are kept; without it: "
             ".kerf-rollout in --models",
     .no_default = true},
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
    KERF_CMD_SERVICE_OPTS(&args.common),
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

/* Returns -1: go on. */
static int
check_rollout(void)
{
    kerf_cloud_opts *o = &args.o;

    if (args.rollout == NULL) {
        if (o->rollout_dir != NULL || args.halt_given)
            return kerf_usage_error("cloud", "--rollout-%s goes with --rollout",
                                    args.halt_given ? "halt" : "dir");
        return -1;
    }
    if (args.legacy)
        return kerf_usage_error("cloud", "--rollout does not go with --legacy");
    if (!kerf_rollout_percent(args.rollout, 0, &o->rollout) ||
        o->rollout == 0) {
        return kerf_usage_error("cloud",
                                "--rollout %s: expected a percentage over 0, "
                                "up to 100%%",
                                args.rollout);
    }
    if (!kerf_rollout_percent(args.rollout_halt, 0, &o->rollout_halt))
        return kerf_usage_error("cloud",
                                "--rollout-halt %s: expected a percentage",
                                args.rollout_halt);
    if (o->rollout_dir != NULL)
        return -1;
    if (args.cut.arg[0] != NULL)
        return kerf_usage_error("cloud",
                                "--rollout with --model needs --rollout-dir: a "
                                "folder to keep old pairs in");
    if (kerf_path_join(args.rollout_place, o->models, ".kerf-rollout") !=
        KERF_OK)
        return kerf_usage_error("cloud", "--models: the path is too long");
    o->rollout_dir = args.rollout_place;
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

/* What the flags say against each other. Returns -1: go on. */
static int
check_flags(void)
{
    kerf_detail why = {{0}};
    int status = check_cut();

    if (status < 0)
        status = check_rollout();
    if (status >= 0)
        return status;
    if (args.control != NULL && args.legacy)
        return kerf_usage_error("cloud", "--control does not go with --legacy");
    if (args.o.tls != NULL && args.legacy)
        return kerf_usage_error("cloud", "--tls does not go with --legacy: the "
                                         "reference's wire knows no TLS");
    if (args.o.tls != NULL && args.o.insecure)
        return kerf_usage_error("cloud", "--tls or --insecure, not both");
    if (args.o.tls == NULL && !args.o.insecure &&
        kerf_check_here(args.o.host, &why) != KERF_OK)
        return kerf_usage_error("cloud", "--cloud-host %s", why.text);
    if (args.control != NULL && args.control[0] == '\0')
        return kerf_usage_error("cloud", "--control is a path, or none");
    if (args.models_given && !kerf_cmd_is_dir(args.o.models)) {
        return kerf_usage_error("cloud",
                                "--models %s: no such folder; make it, or "
                                "leave the flag out for " KERF_CMD_MODELS,
                                args.o.models);
    }
    return -1;
}

static void
apply_flags(void)
{
    kerf_cloud_ui *ui = &args.ui;

    args.o.dead_after_ms = (int)(args.dead_after_s * 1000.0);
    args.o.control = args.control == NULL                ? ""
                     : strcmp(args.control, "none") == 0 ? NULL
                                                         : args.control;
    args.o.model_codec = (kerf_model_codec)args.model_codec;
    args.o.alive_ms = kerf_service_alive_ms();
    kerf_cmd_apply(&args.common, &args.o.engine);
    ui->models = args.o.models;
    ui->legacy = args.legacy;
    ui->command = &command;
    ui->common = &args.common;
    ui->logs = kerf_cmd_logs(&args.common) && !ui->json;
    if (ui->logs && !kerf_log_on(KERF_LOG_DEBUG))
        ui->quiet = true;
    kerf_term_init(&ui->term, stdout);
}

int
kerf_cmd_cloud(int argc, char **argv)
{
    kerf_cloud_ui *ui = &args.ui;
    kerf_cloud_events events;
    kerf_detail why = {{0}};
    int status = kerf_opts_parse(&command, argc, argv);
    kerf_err err = KERF_OK;

    if (status < 0)
        status = check_flags();
    if (status >= 0)
        return status;
    apply_flags();
    if (args.cut.at != NULL)
        err = serve_cut(&why);
    if (err != KERF_OK)
        return kerf_cmd_failed(err, &why);
    if (args.legacy)
        kerf_cmd_legacy_service(&args.common);
    kerf_cloud_ui_events(ui, !ui->quiet && !is_live(ui), &events);
    (void)pthread_mutex_init(&ui->lock, NULL);
    err = kerf_cloud_ui_start(ui);
    if (err == KERF_OK)
        err = args.legacy ? kerf_legacy_cloud_run(&args.o, args.edge_host,
                                                  args.edge_port, &events, &why)
                          : serve(ui, &args.o, &events, &why);
    status = kerf_cloud_ui_stop(ui, 0);
    (void)pthread_mutex_destroy(&ui->lock);
    return err == KERF_OK ? status : kerf_cmd_failed(err, &why);
}
