/*
 * cmd_edge.c - `kerf edge`: get heads from a cloud, run them on inputs, show
 * the answers.
 */
#include "cli/cmd.h"

#include "base/fs.h"
#include "cli/edge_ui.h"
#include "cli/out.h"
#include "cli/service.h"
#include "kerf/legacy.h"
#include "net/loop.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* In the order of kerf_codec_id. */
#define CODECS                                                            \
    "raw|exact|f16|bf16|q8|q7|q6|q5|q4|q3|q2|q8c|q7c|q6c|q5c|q4c|q3c|q2c" \
    "|q8s|q7s|q6s|q5s|q4s|q3s|q2s"

static int
conclude(kerf_edge_ui *ui, kerf_err err, const kerf_detail *why,
         const kerf_edge_total *total)
{
    ui->show.left = total->left;
    if (ui->logs)
        kerf_edge_log_total(total);
    else if (ui->summary || ui->show.mode != KERF_SHOW_LINES ||
             total->answered + total->failed + total->skipped > 1)
        kerf_show_summary(&ui->show);
    if (ui->save_err != KERF_OK)
        return kerf_cmd_failed(ui->save_err, &ui->save_why);
    if (kerf_out_error() != 0)
        return 1; /* main() says it */
    if (err != KERF_OK)
        return kerf_cmd_failed(err, why);
    return total->failed + total->skipped > 0 ? 1 : 0;
}

static int
run_edge(kerf_edge_ui *ui, const kerf_edge_opts *o,
         const kerf_edge_events *events)
{
    kerf_edge_total total = {0};
    kerf_detail why = {{0}};
    kerf_err err = kerf_edge_open(&ui->edge, o, events, &why);
    int status;

    if (err != KERF_OK)
        return kerf_cmd_failed(err, &why);
    ui->show.has_via = true;
    /* Not when there is a cloud: an edge runs without one, too. */
    kerf_service_ready();
    err = kerf_edge_run(ui->edge, &total, &why);
    status = conclude(ui, err, &why, &total);
    if (!kerf_edge_close(ui->edge)) { /* a thread hangs, and may wake */
        status = kerf_out_end(status);
        (void)fflush(NULL);
        _exit(status);
    }
    return status;
}

static int
run_legacy(kerf_edge_ui *ui, const kerf_edge_opts *o, const char *edge_host,
           int edge_port, const kerf_edge_events *events)
{
    kerf_edge_total total = {0};
    kerf_detail why = {{0}};
    kerf_err err;

    kerf_cmd_legacy_service(ui->common);
    kerf_service_ready();
    err = kerf_legacy_edge_run(o, edge_host, edge_port, events, &total, &why);
    if (ui->logs)
        kerf_edge_log_total(&total);
    else if (ui->show.mode == KERF_SHOW_LINES)
        (void)printf("%llu of %llu tensors sent\n",
                     (unsigned long long)total.answered,
                     (unsigned long long)total.asked);
    if (err != KERF_OK)
        return kerf_cmd_failed(err, &why);
    return total.failed + total.skipped > 0 ? 1 : 0;
}

/* Folders are watched unless --once; other inputs end. */
static bool
has_folder(const kerf_edge_opts *o)
{
    for (size_t i = 0; i < o->input_count; i++) {
        if (kerf_cmd_is_dir(o->inputs[i]))
            return true;
    }
    return false;
}

/* What the flags say; one command runs in a process. */
static struct {
    kerf_edge_ui ui;
    kerf_edge_opts o;
    kerf_list inputs, trust;
    const char *edge_host;
    int edge_port, repeat, codec;
    bool legacy, once, repeat_given, window_given, deadline_given, name_given;
    int block; /* Ki values; 0: none */
    bool codec_given, dead_after_given, block_given;
    bool offline_given, queue_full_given;
    int offline, queue_full;
    const char *queue_max, *store_max;
    double dead_after_s;
    kerf_cmd_common common;
} args = {.ui = {.show = KERF_SHOW_DEFAULTS},
          .o = {.host = "127.0.0.1",
                .port = 8080,
                .store = KERF_CMD_STORE,
                .window = 8,
                .handle_signals = true},
          .edge_host = "127.0.0.1",
          .edge_port = 8081,
          .repeat = 1,
          .block = 128};

static const kerf_opt table[] = {
    {.name = "cloud-host",
     .kind = KERF_OPT_TEXT,
     .to = &args.o.host,
     .value = "HOST[,HOST...]",
     .help = "where the cloud is; HOST may be HOST:PORT; of several the first "
             "that is well"},
    {.name = "cloud-port",
     .kind = KERF_OPT_INT,
     .to = &args.o.port,
     .min = 1,
     .max = 65535,
     .help = "its port, where HOST says none"},
    {.name = "tls",
     .kind = KERF_OPT_TEXT,
     .to = &args.o.tls,
     .value = "DIR",
     .no_default = true,
     .help = "keys and certificates, as kerf keygen makes them: TLS, and only "
             "clouds of the fleet; followed"},
    {.name = "store",
     .kind = KERF_OPT_TEXT,
     .to = &args.o.store,
     .value = "DIR",
     .help = "folder for received models"},
    {.name = "store-max",
     .kind = KERF_OPT_TEXT,
     .to = &args.store_max,
     .value = "SIZE",
     .help = "bytes of models in it: those used least lately go, but not what "
             "runs; default: 16G"},
    {.name = "model",
     .kind = KERF_OPT_TEXT,
     .to = &args.o.model,
     .value = "NAME",
     .no_default = true,
     .help = "run this one; default: the one that changed last"},
    {.name = "trust",
     .kind = KERF_OPT_LIST,
     .to = &args.trust,
     .value = "KEY.pub...",
     .no_default = true,
     .help = "public keys, or folders of them: run nothing that is not signed "
             "with one (kerf sign)"},
    {.name = "name",
     .kind = KERF_OPT_TEXT,
     .to = &args.o.name,
     .given = &args.name_given,
     .value = "NAME",
     .no_default = true,
     .help = "of this edge, shown by the cloud; default: that of the "
             "certificate in --tls, or host and process"},
    {.kind = KERF_OPT_GROUP, .help = "Inputs"},
    {.name = "input",
     .kind = KERF_OPT_LIST,
     .to = &args.inputs,
     .value = "SRC",
     .no_default = true,
     .help = "image, folder, .npy, random[:SEED]; default: random every "
             "5 s"},
    {.name = "once",
     .kind = KERF_OPT_FLAG,
     .to = &args.once,
     .help = "end after the inputs; default: watch folders for more"},
    {.name = "repeat",
     .kind = KERF_OPT_INT,
     .to = &args.repeat,
     .given = &args.repeat_given,
     .min = 0,
     .max = 1e9,
     .help = "times over the inputs; 0: for ever"},
    {.name = "rate",
     .kind = KERF_OPT_REAL,
     .to = &args.o.rate_hz,
     .min = 0,
     .max = 1e6,
     .value = "HZ",
     .help = "inputs per second; 0: no limit"},
    {.kind = KERF_OPT_GROUP, .help = "Requests"},
    {.name = "window",
     .kind = KERF_OPT_INT,
     .to = &args.o.window,
     .given = &args.window_given,
     .min = 1,
     .max = 64,
     .help = "in flight at a time, if the cloud grants it"},
    {.name = "deadline",
     .kind = KERF_OPT_INT,
     .to = &args.o.deadline_ms,
     .given = &args.deadline_given,
     .min = 0,
     .max = 3600000,
     .value = "MS",
     .help = "give a request up after this; 0: never"},
    {.name = "dead-after",
     .kind = KERF_OPT_REAL,
     .to = &args.dead_after_s,
     .given = &args.dead_after_given,
     .min = 0.3,
     .max = 3600,
     .value = "SECONDS",
     .no_default = true,
     .help = "leave a cloud that is silent for so long; default: what the "
             "cloud says, 5"},
    {.name = "offline",
     .kind = KERF_OPT_CHOICE,
     .to = &args.offline,
     .given = &args.offline_given,
     .choices = "wait|queue|fail|local",
     .help = "what becomes of requests when there has been no cloud for "
             "--dead-after"},
    {.name = "queue-max",
     .kind = KERF_OPT_TEXT,
     .to = &args.queue_max,
     .value = "SIZE",
     .help = "with --offline queue: bytes on disk, in --store; default: 1G"},
    {.name = "queue-full",
     .kind = KERF_OPT_CHOICE,
     .to = &args.queue_full,
     .given = &args.queue_full_given,
     .choices = "wait|drop-oldest|drop-new",
     .help = "when they are reached: take no inputs, or which request fails"},
    {.name = "codec",
     .kind = KERF_OPT_CHOICE,
     .to = &args.codec,
     .given = &args.codec_given,
     .choices = CODECS "|auto",
     .help = "how tensors are packed; auto: by link and size"},
    {.name = "block",
     .kind = KERF_OPT_INT,
     .to = &args.block,
     .given = &args.block_given,
     .min = 0,
     .max = 1 << 18,
     .value = "KI",
     .help = "pack larger tensors in blocks of 1024 KI values; 0: never"},
    KERF_CMD_ENGINE_OPTS(&args.o.engine, &args.common),
    {.kind = KERF_OPT_GROUP, .help = "The reference's wire"},
    {.name = "legacy",
     .kind = KERF_OPT_FLAG,
     .to = &args.legacy,
     .help = "speak it: results stay on the cloud"},
    {.name = "edge-host",
     .kind = KERF_OPT_TEXT,
     .to = &args.edge_host,
     .value = "HOST",
     .help = "with --legacy: address to listen on"},
    {.name = "edge-port",
     .kind = KERF_OPT_INT,
     .to = &args.edge_port,
     .min = 0,
     .max = 65535,
     .help = "with --legacy: port to listen on"},
    {.name = "insecure",
     .kind = KERF_OPT_FLAG,
     .to = &args.o.insecure,
     .help = "with --legacy: listen beyond this machine; whoever is on the way "
             "reads and changes all"},
    {.name = "card",
     .kind = KERF_OPT_TEXT,
     .to = &args.o.card,
     .value = "FILE",
     .help = "with --legacy, which carries no cards; default: "
             "NAME.kerf.json in --store"},
    {.kind = KERF_OPT_GROUP, .help = "Output"},
    KERF_SHOW_ROWS(&args.ui.show),
    {.name = "summary",
     .kind = KERF_OPT_FLAG,
     .to = &args.ui.summary,
     .help = "always end with a summary"},
    {.name = "save",
     .kind = KERF_OPT_TEXT,
     .to = &args.ui.save,
     .value = "DIR",
     .no_default = true,
     .help = "outputs as DIR/000000.0.npy ..."},
    KERF_CMD_LOG_OPT(&args.common),
    KERF_CMD_SERVICE_OPTS(&args.common),
};

static const kerf_command command = {
    .name = "edge",
    .usage = "--input SRC... [flags]",
    .about = "Gets heads from a cloud, runs them on inputs, shows the "
             "answers.",
    .opt = table,
    .opt_count = sizeof table / sizeof *table};

/* The first flag given that has no effect on the reference's wire; NULL. */
static const char *
find_useless(void)
{
    const kerf_edge_ui *ui = &args.ui;
    const struct {
        bool given;
        const char *name;
    } useless[] = {
        {ui->save != NULL, "save"},
        {ui->summary, "summary"},
        {ui->show.table, "table"},
        {ui->show.truth != KERF_TRUTH_NONE, "truth"},
        {ui->show.has_top_k, "top-k"},
        {args.window_given, "window"},
        {args.deadline_given, "deadline"},
        {args.name_given, "name"},
        {args.codec_given, "codec"},
        {args.dead_after_given, "dead-after"},
        {args.block_given, "block"},
        {args.offline_given, "offline"},
    };

    for (size_t i = 0; i < sizeof useless / sizeof *useless; i++) {
        if (useless[i].given)
            return useless[i].name;
    }
    return NULL;
}

/* What goes with --legacy, and what without. Returns -1: go on. */
static int
check_legacy(void)
{
    const kerf_edge_opts *o = &args.o;
    kerf_detail why = {{0}};

    if (args.legacy && args.trust.count > 0)
        return kerf_usage_error("edge", "--trust does not go with --legacy: "
                                        "that wire carries no signatures");
    if (args.legacy && find_useless() != NULL) {
        return kerf_usage_error("edge",
                                "--%s does nothing with --legacy: results stay "
                                "on the cloud",
                                find_useless());
    }
    if (args.legacy && o->tls != NULL)
        return kerf_usage_error("edge", "--tls does not go with --legacy: the "
                                        "reference's wire knows no TLS");
    if (!args.legacy && o->insecure)
        return kerf_usage_error("edge", "--insecure goes with --legacy: else "
                                        "nothing dials an edge");
    if (args.legacy && !o->insecure &&
        kerf_check_here(args.edge_host, &why) != KERF_OK)
        return kerf_usage_error("edge", "--edge-host %s", why.text);
    if (args.legacy && strchr(o->host, ',') != NULL)
        return kerf_usage_error("edge", "--legacy takes one --cloud-host");
    if (!args.legacy && o->card != NULL)
        return kerf_usage_error("edge",
                                "--card needs --legacy: else the card comes "
                                "with the head");
    return -1;
}

static int
check_disk(void)
{
    if (args.store_max != NULL &&
        (!kerf_cmd_size(args.store_max, &args.o.store_max) ||
         args.o.store_max == 0))
        return kerf_usage_error(
            "edge", "--store-max %s: expected bytes, as 500M", args.store_max);
    if (args.offline != KERF_OFFLINE_QUEUE &&
        (args.queue_max != NULL || args.queue_full_given))
        return kerf_usage_error("edge", "--queue-max and --queue-full go with "
                                        "--offline queue");
    if (args.queue_max != NULL &&
        (!kerf_cmd_size(args.queue_max, &args.o.queue_max) ||
         args.o.queue_max == 0))
        return kerf_usage_error(
            "edge", "--queue-max %s: expected bytes, as 500M", args.queue_max);
    return -1;
}

int
kerf_cmd_edge(int argc, char **argv)
{
    kerf_edge_ui *ui = &args.ui;
    kerf_edge_opts *o = &args.o;
    kerf_edge_events events;
    kerf_detail why = {{0}};
    kerf_err err;
    int status = kerf_opts_parse(&command, argc, argv);

    if (status >= 0)
        return status;
    status = check_legacy();
    if (status < 0)
        status = check_disk();
    if (status >= 0)
        return status;
    ui->command = &command;
    ui->common = &args.common;
    ui->logs = kerf_cmd_logs(&args.common) && !ui->show.json;
    o->alive_ms = kerf_service_alive_ms();
    kerf_edge_ui_events(ui, &events);
    kerf_cmd_apply(&args.common, &o->engine);
    o->codec_auto = args.codec == KERF_CODEC_COUNT;
    o->codec = o->codec_auto ? KERF_CODEC_RAW : (kerf_codec_id)args.codec;
    o->offline = (kerf_offline)args.offline;
    o->queue_full = (kerf_queue_full)args.queue_full;
    o->dead_after_ms = (int)(args.dead_after_s * 1000.0);
    o->block_ki = args.block == 0 ? -1 : args.block;
    o->trust = args.trust.item;
    o->trust_count = args.trust.count;
    o->inputs = args.inputs.item;
    o->input_count = args.inputs.count;
    o->repeat = (uint64_t)args.repeat;
    if (o->input_count == 0 && !args.repeat_given && !args.once)
        o->repeat = 0; /* random, for ever, as the reference does */
    o->watch = !args.once && o->repeat != 0 && has_folder(o);
    err = kerf_show_init(&ui->show);
    if (err == KERF_OK && ui->save != NULL)
        err = kerf_fs_mkdirs(ui->save, &why);
    if (err != KERF_OK)
        status = kerf_cmd_failed(err, &why);
    else if (args.legacy)
        status = run_legacy(ui, o, args.edge_host, args.edge_port, &events);
    else
        status = run_edge(ui, o, &events);
    kerf_show_fini(&ui->show);
    return status;
}
