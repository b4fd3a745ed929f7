/*
 * bench_edges.c - `kerf bench edges`: thousands of edges at one cloud.
 */
#include "bench/crowd.h"
#include "cli/bench_ui.h"
#include "cli/cmd.h"
#include "cli/json_line.h"
#include "cli/out.h"

#include <stdio.h>
#include <stdlib.h>

/* docs/BENCHMARKS.md. */
#define JAIN_LEAST 0.98
#define COST_RATIO_MOST 1.3
#define BATCH_HZ_LEAST 1.3
#define LONE_P50_MOST 1.03

static kerf_bench_ui ui;
static const char *counts = "8,2000";
static bool batches;
static kerf_crowd_opts opts = {
    .greedy = 8, .in_flight = 8, .hz = 2000, .seconds = 5, .rounds = 5};
static double first_cpu_us; /* of the first count: what others are held to */

static const kerf_opt table[] = {
    {.name = "edges",
     .kind = KERF_OPT_TEXT,
     .to = &counts,
     .value = "N[,N...]",
     .help = "how many; each number has a cloud of its own"},
    {.name = "rate",
     .kind = KERF_OPT_REAL,
     .to = &opts.hz,
     .min = 1,
     .max = 1000000,
     .value = "HZ",
     .help = "requests per second of all edges together"},
    {.name = "seconds",
     .kind = KERF_OPT_REAL,
     .to = &opts.seconds,
     .min = 0.1,
     .max = 3600,
     .help = "of each measurement"},
    {.name = "greedy",
     .kind = KERF_OPT_INT,
     .to = &opts.greedy,
     .min = 0,
     .max = 64,
     .help = "sessions of one more edge, which floods; 0: none"},
    {.name = "in-flight",
     .kind = KERF_OPT_INT,
     .to = &opts.in_flight,
     .min = 1,
     .max = 64,
     .help = "requests of all edges at a time, for the cost of one"},
    {.kind = KERF_OPT_GROUP, .help = "Batches instead"},
    {.name = "batch",
     .kind = KERF_OPT_FLAG,
     .to = &batches,
     .help = "a ResNet18's tail batched and not, by 8 edges and by one"},
    {.name = "batch-most",
     .kind = KERF_OPT_INT,
     .to = &opts.batch,
     .min = 0,
     .max = 8,
     .help = "kerf cloud's --batch; 0: as it is measured to pay"},
    {.name = "rounds",
     .kind = KERF_OPT_INT,
     .to = &opts.rounds,
     .min = 1,
     .max = KERF_CROWD_ROUNDS,
     .help = "times that both are measured, in turns"},
    KERF_BENCH_UI_OPTS(&ui)};

static const kerf_command command = {
    .name = "bench edges",
    .usage = "[flags]",
    .about = "What many edges cost a cloud, and whether each gets its share, "
             "also beside\none that floods. The edges are real sessions; the "
             "tail is a small one.",
    .opt = table,
    .opt_count = sizeof table / sizeof *table};

/* False: not a list of such numbers. */
static bool
read_counts(void)
{
    const char *at = counts;

    do {
        char *end = NULL;
        unsigned long n = strtoul(at, &end, 10);

        if (end == at || n < 1 || n > 7900 ||
            opts.counts == KERF_CROWD_COUNTS || (*end != ',' && *end != '\0'))
            return false;
        opts.count[opts.counts++] = n;
        at = end + 1;
        if (*end == '\0')
            return true;
    } while (true);
}

static void
add_share(json_t *o, const char *name, const kerf_edges_share *s)
{
    json_t *part = json_object();

    kerf_bench_add_real(part, "jain", s->jain);
    kerf_bench_add_real(part, "least_share", s->least);
    kerf_bench_add_real(part, "p50_us", s->p50_us);
    kerf_bench_add_real(part, "p99_us", s->p99_us);
    (void)json_object_set_new(part, "asked",
                              json_integer((json_int_t)s->asked));
    (void)json_object_set_new(part, "answered",
                              json_integer((json_int_t)s->answered));
    (void)json_object_set_new(part, "busy", json_integer((json_int_t)s->busy));
    kerf_bench_add_real(part, "greedy_hz", s->greedy_hz);
    (void)json_object_set_new(o, name, part);
}

static void
print_json(size_t edges, const kerf_edges_figures *f)
{
    json_t *o = json_object();

    (void)json_object_set_new(o, "event", json_string("edges"));
    (void)json_object_set_new(o, "edges", json_integer((json_int_t)edges));
    kerf_bench_add_real(o, "rate_hz", opts.hz);
    kerf_bench_add_real(o, "rss_kib_per_edge", f->rss_kib);
    kerf_bench_add_real(o, "cpu_us_per_request", f->cpu_us);
    kerf_bench_add_real(o, "busy_hz", f->hz);
    kerf_bench_add_real(o, "busy_p50_us", f->busy_p50_us);
    add_share(o, "alone", &f->fair);
    if (opts.greedy > 0)
        add_share(o, "beside_greedy", &f->crowd);
    kerf_json_line(o);
}

static void
print_share(const char *name, const kerf_edges_share *s)
{
    (void)printf("  %-14s p50 %8.0f us, p99 %8.0f us, Jain %.4f, least %5.1f "
                 "%%, busy %llu",
                 name, s->p50_us, s->p99_us, s->jain, 100 * s->least,
                 (unsigned long long)s->busy);
    if (s->greedy_hz > 0)
        (void)printf(", the greedy one %.0f/s", s->greedy_hz);
    (void)fputc('\n', stdout);
}

static void
on_result(void *ctx, size_t edges, const kerf_edges_figures *f)
{
    (void)ctx;
    kerf_bench_ui_clear(&ui);
    if (ui.json) {
        print_json(edges, f);
    } else {
        (void)printf("%s%zu edges%s: %.1f KiB of the cloud's memory each\n",
                     kerf_term_bold(&ui.out), edges, kerf_term_plain(&ui.out),
                     f->rss_kib);
        print_share("at the rate", &f->fair);
        if (opts.greedy > 0)
            print_share("beside a flood", &f->crowd);
        (void)printf(
            "  %-14s %.1f us of CPU per request, %.0f/s, p50 %.0f us\n",
            "when busy", f->cpu_us, f->hz, f->busy_p50_us);
    }
    kerf_bench_ui_judge(&ui, f->fair.jain >= JAIN_LEAST,
                        "Jain's index:", f->fair.jain, JAIN_LEAST, "");
    if (opts.greedy > 0)
        kerf_bench_ui_judge(&ui, f->crowd.jain >= JAIN_LEAST,
                            "Jain's index, beside a flood:", f->crowd.jain,
                            JAIN_LEAST, "");
    if (first_cpu_us > 0) {
        kerf_bench_ui_judge(&ui, f->cpu_us <= COST_RATIO_MOST * first_cpu_us,
                            "CPU per request / with the first count of edges:",
                            f->cpu_us / first_cpu_us, COST_RATIO_MOST, "");
    } else {
        first_cpu_us = f->cpu_us;
    }
    kerf_out_flush();
}

static void
show_batches(const kerf_crowd_batch *b)
{
    if (ui.json) {
        json_t *o = json_object();

        (void)json_object_set_new(o, "event", json_string("batch"));
        kerf_bench_add_spread(o, "single_hz", &b->single_hz);
        kerf_bench_add_spread(o, "batch_hz", &b->batch_hz);
        kerf_bench_add_spread(o, "ratio_hz", &b->ratio_hz);
        kerf_bench_add_spread(o, "single_cpu_us", &b->single_cpu_us);
        kerf_bench_add_spread(o, "batch_cpu_us", &b->batch_cpu_us);
        kerf_bench_add_spread(o, "ratio_cpu", &b->ratio_cpu);
        kerf_bench_add_spread(o, "single_p50_us", &b->single_p50_us);
        kerf_bench_add_spread(o, "batch_p50_us", &b->batch_p50_us);
        kerf_bench_add_spread(o, "ratio_p50", &b->ratio_p50);
        kerf_json_line(o);
    } else {
        (void)printf("%sbatches%s: 8 edges %.0f/s batched, %.0f/s not, CPU "
                     "%.0f us and %.0f us per request (%.2f); one edge, p50 "
                     "%.0f us and %.0f us\n",
                     kerf_term_bold(&ui.out), kerf_term_plain(&ui.out),
                     b->batch_hz.median, b->single_hz.median,
                     b->batch_cpu_us.median, b->single_cpu_us.median,
                     b->ratio_cpu.median, b->batch_p50_us.median,
                     b->single_p50_us.median);
    }
    kerf_bench_ui_judge(&ui, b->ratio_hz.median >= BATCH_HZ_LEAST,
                        "8 edges, batched / not, requests per second:",
                        b->ratio_hz.median, BATCH_HZ_LEAST, "");
    kerf_bench_ui_judge(&ui, b->ratio_p50.median <= LONE_P50_MOST,
                        "one edge, batched / not, p50:", b->ratio_p50.median,
                        LONE_P50_MOST, "");
}

int
kerf_bench_edges_main(int argc, char **argv)
{
    kerf_crowd_batch batch = {0};
    kerf_detail why = {{0}};
    int status = kerf_opts_parse(&command, argc, argv);
    kerf_err err;

    if (status >= 0)
        return status;
    if (!read_counts()) {
        return kerf_usage_error("bench edges",
                                "--edges %s: expected up to %d numbers from 1 "
                                "to 7900, with commas",
                                counts, KERF_CROWD_COUNTS);
    }
    kerf_bench_ui_begin(&ui);
    opts.progress = kerf_bench_ui_progress(&ui);
    opts.result = on_result;
    err = batches ? kerf_crowd_batches(&batch, &opts, &why)
                  : kerf_crowd_run(&opts, &why);
    kerf_bench_ui_clear(&ui);
    if (err != KERF_OK)
        return kerf_cmd_failed(err, &why);
    if (batches)
        show_batches(&batch);
    return kerf_bench_ui_status(&ui);
}
