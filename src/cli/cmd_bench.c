/*
 * cmd_bench.c - `kerf bench`: numbers about this machine.
 */
#include "base/link_spec.h"
#include "base/text.h"
#include "bench/alone.h"
#include "bench/idle.h"
#include "bench/split.h"
#include "cli/bench_ui.h"
#include "cli/cmd.h"
#include "cli/json_line.h"
#include "cli/opts.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* What a split may cost: docs/BENCHMARKS.md. */
#define RATIO_P50_MOST 1.25
#define RATIO_THROUGHPUT_LEAST 0.90
#define IDLE_CPU_MOST 0.5 /* percent of a core */
#define IDLE_KIB_MOST 64.0

/* JSON. */

static void
add_times(json_t *o, const char *name, const kerf_times *t)
{
    char key[64];

    (void)snprintf(key, sizeof key, "%s_p50_us", name);
    kerf_bench_add_spread(o, key, &t->p50);
    (void)snprintf(key, sizeof key, "%s_p99_us", name);
    kerf_bench_add_real(o, key, t->p99);
}

static void
print_json(const kerf_split_result *r, const kerf_split_opts *opts,
           const kerf_split_idle *idle)
{
    json_t *o = json_object();

    (void)json_object_set_new(o, "model", kerf_json_text(r->model));
    (void)json_object_set_new(o, "crossing_bytes",
                              json_integer((json_int_t)r->crossing_bytes));
    (void)json_object_set_new(o, "answer_bytes",
                              json_integer((json_int_t)r->answer_bytes));
    (void)json_object_set_new(o, "rounds", json_integer(opts->rounds));
    (void)json_object_set_new(o, "runs", json_integer(opts->runs));
    (void)json_object_set_new(o, "window", json_integer(opts->window));
    if (opts->link != NULL)
        (void)json_object_set_new(o, "link", kerf_json_text(opts->link));
    (void)json_object_set_new(o, "cores", json_integer(r->cores));
    add_times(o, "head", &r->head);
    add_times(o, "tail", &r->tail);
    add_times(o, "raw_tcp", &r->raw_tcp);
    add_times(o, "split", &r->split);
    kerf_bench_add_spread(o, "ratio_p50", &r->ratio_p50);
    kerf_bench_add_spread(o, "throughput_hz", &r->throughput_hz);
    kerf_bench_add_spread(o, "limit_hz", &r->limit_hz);
    kerf_bench_add_spread(o, "ratio_throughput", &r->ratio_throughput);
    kerf_bench_add_spread(o, "all_cores_throughput_hz", &r->all_throughput_hz);
    kerf_bench_add_spread(o, "all_cores_limit_hz", &r->all_limit_hz);
    if (opts->idle_edges > 0) {
        (void)json_object_set_new(o, "idle_edges",
                                  json_integer(opts->idle_edges));
        kerf_bench_add_real(o, "idle_cloud_cpu_percent",
                            idle->cloud_cpu_percent);
        kerf_bench_add_real(o, "idle_edge_cpu_percent", idle->edge_cpu_percent);
        kerf_bench_add_real(o, "idle_cloud_kib_per_edge",
                            idle->cloud_kib_per_edge);
    }
    kerf_json_line(o);
}

/* For a person. */

static void
print_row(const char *name, const kerf_times *t)
{
    (void)printf("  %-10s %10.1f %10.1f   %.1f .. %.1f\n", name, t->p50.median,
                 t->p99, t->p50.least, t->p50.most);
}

static void
print_table(const kerf_bench_ui *ui, const kerf_split_result *r,
            const kerf_split_opts *opts)
{
    (void)printf("%s%s%s: %zu bytes cross, %zu come back; %d rounds of %d\n",
                 kerf_term_bold(&ui->out), r->model, kerf_term_plain(&ui->out),
                 r->crossing_bytes, r->answer_bytes, opts->rounds, opts->runs);
    (void)printf("  %s%-10s %10s %10s   %s%s\n", kerf_term_dim(&ui->out),
                 "one by one", "p50 us", "p99 us", "p50 of the rounds",
                 kerf_term_plain(&ui->out));
    print_row("head", &r->head);
    print_row("tail", &r->tail);
    print_row("raw TCP", &r->raw_tcp);
    print_row("split", &r->split);
    (void)printf("  %s%-10s %10s %10s   %s%s\n", kerf_term_dim(&ui->out),
                 "sustained", "split /s", "limit /s", "limit: the engine alone",
                 kerf_term_plain(&ui->out));
    (void)printf("  %-10s %10.0f %10.0f\n", "one core", r->throughput_hz.median,
                 r->limit_hz.median);
    (void)printf("  %-10s %10.0f %10.0f\n", "all cores",
                 r->all_throughput_hz.median, r->all_limit_hz.median);
}

static void
judge_model(kerf_bench_ui *ui, const kerf_split_result *r, bool has_link)
{
    double p50 = r->ratio_p50.median;
    double hz = r->ratio_throughput.median;

    kerf_bench_ui_judge(ui, p50 <= RATIO_P50_MOST,
                        "split / (head + tail + raw TCP), p50:", p50,
                        RATIO_P50_MOST, "");
    if (has_link)
        return; /* the link limits, not the engine */
    kerf_bench_ui_judge(ui, hz >= RATIO_THROUGHPUT_LEAST,
                        "one core: split / limit, requests per second:", hz,
                        RATIO_THROUGHPUT_LEAST, "");
}

static void
judge_idle(kerf_bench_ui *ui, const kerf_split_opts *opts,
           const kerf_split_idle *idle)
{
    if (!ui->json)
        (void)printf("%sidle%s: %d edges connected\n", kerf_term_bold(&ui->out),
                     kerf_term_plain(&ui->out), opts->idle_edges);
    kerf_bench_ui_judge(ui, idle->cloud_cpu_percent < IDLE_CPU_MOST,
                        "cloud's CPU, of one core:", idle->cloud_cpu_percent,
                        IDLE_CPU_MOST, " %");
    kerf_bench_ui_judge(ui, idle->edge_cpu_percent < IDLE_CPU_MOST,
                        "an idle edge's CPU, of one core:",
                        idle->edge_cpu_percent, IDLE_CPU_MOST, " %");
    kerf_bench_ui_judge(ui, idle->cloud_kib_per_edge <= IDLE_KIB_MOST,
                        "cloud's memory, for each edge:",
                        idle->cloud_kib_per_edge, IDLE_KIB_MOST, " KiB");
}

static int
run_split(kerf_bench_ui *ui, const kerf_split_opts *opts)
{
    static kerf_split_result result[KERF_SPLIT_MODELS_MAX];
    size_t count = 0;
    kerf_split_idle idle;
    kerf_detail why = {{0}};
    kerf_err err;

    err = kerf_bench_split(opts, result, &count, &idle, &why);
    kerf_bench_ui_clear(ui);
    if (err != KERF_OK)
        return kerf_cmd_failed(err, &why);
    for (size_t i = 0; i < count; i++) {
        if (ui->json)
            print_json(&result[i], opts, &idle);
        else
            print_table(ui, &result[i], opts);
        judge_model(ui, &result[i], opts->link != NULL);
    }
    if (opts->idle_edges > 0)
        judge_idle(ui, opts, &idle);
    return kerf_bench_ui_status(ui);
}

/* What the flags of `bench split` set. */
static kerf_bench_ui split_ui;
static kerf_list split_names;
static kerf_split_opts split = {.rounds = 5,
                                .runs = 2000,
                                .seconds = 1,
                                .window = 8, /* as kerf edge has it */
                                .idle_edges = 100,
                                .idle_seconds = 5};

static const kerf_opt split_table[] = {
    {.name = "models",
     .kind = KERF_OPT_TEXT,
     .to = &split.models,
     .value = "DIR",
     .help = "folder of pairs to measure; without it: the digits model and "
             "a ResNet18 for 32x32 images with made-up weights"},
    {.name = "model",
     .kind = KERF_OPT_LIST,
     .to = &split_names,
     .value = "NAME...",
     .help = "only these"},
    {.name = "rounds",
     .kind = KERF_OPT_INT,
     .to = &split.rounds,
     .min = 1,
     .max = KERF_SPLIT_ROUNDS_MAX,
     .help = "times that everything is measured, in turns"},
    {.name = "runs",
     .kind = KERF_OPT_INT,
     .to = &split.runs,
     .min = 10,
     .max = 1000000,
     .help = "of each thing in a round"},
    {.name = "seconds",
     .kind = KERF_OPT_REAL,
     .to = &split.seconds,
     .min = 0.01,
     .max = 600,
     .help = "of each throughput measurement"},
    {.name = "window",
     .kind = KERF_OPT_INT,
     .to = &split.window,
     .min = 1,
     .max = 64,
     .help = "requests in flight for throughput"},
    {.name = "link",
     .kind = KERF_OPT_TEXT,
     .to = &split.link,
     .value = "SPEC",
     .help = "of one between edge and cloud, and for raw TCP; see kerf link",
     .no_default = true},
    {.name = "idle-edges",
     .kind = KERF_OPT_INT,
     .to = &split.idle_edges,
     .min = 0,
     .max = KERF_IDLE_EDGES_MAX,
     .help = "edges that ask for nothing; 0: leave idling out"},
    {.name = "idle-seconds",
     .kind = KERF_OPT_REAL,
     .to = &split.idle_seconds,
     .min = 0.1,
     .max = 3600,
     .help = "how long CPU use is counted while idle"},
    KERF_BENCH_UI_OPTS(&split_ui)};

static int
bench_split(int argc, char **argv)
{
    const kerf_command command = {
        .name = "bench split",
        .usage = "[flags]",
        .about = "What a split costs: head and tail alone, raw TCP of the same "
                 "bytes, and a\nwhole cloud and edge on loopback, in turns.",
        .opt = split_table,
        .opt_count = sizeof split_table / sizeof *split_table};
    kerf_link_spec spec;
    kerf_detail why = {{0}};
    int status = kerf_opts_parse(&command, argc, argv);

    if (status >= 0)
        return status;
    if (split.link != NULL &&
        kerf_link_spec_parse(&spec, split.link, &why) != KERF_OK)
        return kerf_usage_error("bench split", "%s", why.text);
    kerf_bench_ui_begin(&split_ui);
    split.only = split_names.item;
    split.only_count = split_names.count;
    split.progress = kerf_bench_ui_progress(&split_ui);
    return run_split(&split_ui, &split);
}

static int
bench_limit(int argc, char **argv)
{
    const char *models = NULL;
    const char *name = NULL;
    double seconds = 1;
    double hz = 0;
    bool json = false;
    char safe[512];
    kerf_detail why = {{0}};
    kerf_err err;
    const kerf_opt table[] = {{.name = "models",
                               .kind = KERF_OPT_TEXT,
                               .to = &models,
                               .value = "DIR",
                               .help = "folder of the pair"},
                              {.name = "model",
                               .kind = KERF_OPT_TEXT,
                               .to = &name,
                               .value = "NAME",
                               .help = "the pair"},
                              {.name = "seconds",
                               .kind = KERF_OPT_REAL,
                               .to = &seconds,
                               .min = 0.001,
                               .max = 600,
                               .help = "how long it runs"},
                              {.name = "json",
                               .kind = KERF_OPT_FLAG,
                               .to = &json,
                               .help = "one JSON object on stdout"}};
    const kerf_command command = {
        .name = "bench limit",
        .usage = "--models DIR --model NAME [flags]",
        .about = "The engine alone: head then tail in one thread, without a "
                 "pause.",
        .opt = table,
        .opt_count = sizeof table / sizeof *table};
    int status = kerf_opts_parse(&command, argc, argv);

    if (status >= 0)
        return status;
    if (models == NULL || name == NULL)
        return kerf_usage_error("bench limit",
                                "--models and --model are needed");
    err = kerf_bench_limit(models, name, seconds, &hz, &why);
    if (err != KERF_OK)
        return kerf_cmd_failed(err, &why);
    if (json)
        (void)printf("{\"event\":\"limit\",\"limit_hz\":%.6f}\n", hz);
    else
        (void)printf("%s: %.0f per second\n",
                     kerf_text_safe(safe, sizeof safe, name), hz);
    return 0;
}

int
kerf_cmd_bench(int argc, char **argv)
{
    const char *what = argc > 1 ? argv[1] : "--help";

    if (strcmp(what, "split") == 0)
        return bench_split(argc - 1, argv + 1);
    if (strcmp(what, "limit") == 0)
        return bench_limit(argc - 1, argv + 1);
    if (strcmp(what, "tensor") == 0)
        return kerf_bench_tensor_main(argc - 1, argv + 1);
    if (strcmp(what, "cut") == 0)
        return kerf_bench_cut_main(argc - 1, argv + 1);
    if (strcmp(what, "codec") == 0)
        return kerf_bench_codec_main(argc - 1, argv + 1);
    if (strcmp(what, "edges") == 0)
        return kerf_bench_edges_main(argc - 1, argv + 1);
    if (strcmp(what, "link") == 0)
        return kerf_bench_link_main(argc - 1, argv + 1);
    if (strcmp(what, "transport") == 0)
        return kerf_bench_transport_main(argc - 1, argv + 1);
    if (strcmp(what, "peer") == 0)
        return kerf_bench_peer_main(argc - 1, argv + 1);
    if (strcmp(what, "--help") == 0 || strcmp(what, "-h") == 0) {
        (void)fputs(
            "usage: kerf bench WHAT [flags]\n\n"
            "Measures this machine.\n\n"
            "  split      what splitting a network costs\n"
            "  limit      how often the engine alone runs it\n"
            "  tensor     what tensor codecs make of real tensors\n"
            "  cut        what cutting a model costs, beside cp\n"
            "  codec      what gzip, bz2, xz, zip, tar.gz, zstd and kwz "
            "make of weights\n"
            "  transport  carrying a tensor, beside ZeroMQ, nng, gRPC "
            "and raw sockets\n"
            "  edges      thousands of edges at one cloud, and their shares\n"
            "  link       how long raw tensors take over emulated links\n\n"
            "  kerf bench WHAT --help   its flags\n",
            argc > 1 ? stdout : stderr);
        return argc > 1 ? 0 : 2;
    }
    return kerf_usage_error("bench",
                            "unknown benchmark %s: split, limit, tensor, cut, "
                            "codec, transport, edges or link",
                            what);
}
