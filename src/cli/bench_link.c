/*
 * bench_link.c - `kerf bench link`: raw tensors over emulated links.
 */
#include "bench/link.h"
#include "cli/bench_ui.h"
#include "cli/cmd.h"
#include "cli/json_line.h"
#include "cli/out.h"

#include <stdio.h>
#include <stdlib.h>

#define BAR 0.05 /* how far from bytes / rate + RTT: docs/BENCHMARKS.md */
#define SIZES_MAX 16

static kerf_list specs, sizes;
static int rounds = 5;
static kerf_bench_ui ui;

static const kerf_opt table[] = {
    {.name = "link",
     .kind = KERF_OPT_LIST,
     .to = &specs,
     .value = "SPEC...",
     .help = "these instead of all presets; see kerf link"},
    {.name = "bytes",
     .kind = KERF_OPT_LIST,
     .to = &sizes,
     .value = "N...",
     .help = "of a tensor, f32 (default 262144)",
     .no_default = true},
    {.name = "rounds",
     .kind = KERF_OPT_INT,
     .to = &rounds,
     .min = 1,
     .max = KERF_LINK_ROUNDS_MAX,
     .help = "requests of each; the median counts"},
    KERF_BENCH_UI_OPTS(&ui),
};

static void
print_json(const char *spec, const kerf_link_timed *t)
{
    json_t *o = json_object();

    (void)json_object_set_new(o, "event", json_string("link"));
    (void)json_object_set_new(o, "link", kerf_json_text(spec));
    (void)json_object_set_new(o, "bytes", json_integer((json_int_t)t->bytes));
    (void)json_object_set_new(o, "rounds", json_integer(rounds));
    kerf_bench_add_real(o, "up_mbit", t->spec.up_mbit);
    kerf_bench_add_real(o, "rtt_ms", t->spec.rtt_ms);
    kerf_bench_add_real(o, "expected_ms", t->expected_ms);
    kerf_bench_add_spread(o, "transfer_ms", &t->ms);
    kerf_bench_add_real(o, "ratio", t->ms.median / t->expected_ms);
    kerf_json_line(o);
}

static void
show(const char *spec, const kerf_link_timed *t)
{
    double ratio = t->ms.median / t->expected_ms;
    bool met = t->expected_ms == 0 || (ratio <= 1 + BAR && ratio >= 1 - BAR);

    ui.bars_missed += !met;
    if (ui.json) {
        print_json(spec, t);
        return;
    }
    (void)printf("  %-10s %8zu %12.1f %12.1f %10.1f .. %-10.1f", spec, t->bytes,
                 t->expected_ms, t->ms.median, t->ms.least, t->ms.most);
    if (t->expected_ms > 0) {
        (void)printf(" %6.3f  %s%s%s", ratio,
                     met ? kerf_term_green(&ui.out) : kerf_term_red(&ui.out),
                     met ? "met" : "not met", kerf_term_plain(&ui.out));
    }
    (void)printf("\n");
    kerf_out_flush();
}

static kerf_err
measure(const char *spec, const size_t *bytes, size_t count, kerf_detail *why)
{
    kerf_err err = KERF_OK;

    for (size_t i = 0; i < count && err == KERF_OK; i++) {
        const kerf_link_timing opts = {.spec = spec,
                                       .bytes = bytes[i],
                                       .rounds = rounds,
                                       .progress = kerf_bench_ui_progress(&ui)};
        kerf_link_timed timed;

        err = kerf_bench_link(&timed, &opts, why);
        kerf_bench_ui_clear(&ui);
        if (err == KERF_OK)
            show(spec, &timed);
    }
    return err;
}

static int
run(const size_t *bytes, size_t count)
{
    const kerf_link_spec *preset;
    kerf_detail why = {{0}};
    kerf_err err = KERF_OK;

    kerf_bench_ui_begin(&ui);
    if (!ui.json) {
        (void)printf("  %s%-10s %8s %12s %12s %10s .. %-10s %6s%s\n",
                     kerf_term_dim(&ui.out), "link", "bytes", "expected ms",
                     "transfer ms", "least", "most", "ratio",
                     kerf_term_plain(&ui.out));
    }
    for (size_t i = 0; i < specs.count && err == KERF_OK; i++)
        err = measure(specs.item[i], bytes, count, &why);
    for (size_t i = 0; specs.count == 0 && err == KERF_OK &&
                       (preset = kerf_link_preset(i)) != NULL;
         i++)
        err = measure(preset->name, bytes, count, &why);
    return err == KERF_OK ? kerf_bench_ui_status(&ui)
                          : kerf_cmd_failed(err, &why);
}

/* Returns -1: go on. */
static int
read_sizes(size_t bytes[SIZES_MAX], size_t *count)
{
    for (size_t i = 0; i < sizes.count; i++) {
        char *end = NULL;
        unsigned long long v = strtoull(sizes.item[i], &end, 10);

        if (*end != '\0' || v == 0 || v % 4 != 0 || v > KERF_LINK_BYTES_MAX ||
            i == SIZES_MAX) {
            return kerf_usage_error("bench link",
                                    "--bytes %s: expected a multiple of 4, up "
                                    "to 64 MiB, 16 of them at most",
                                    sizes.item[i]);
        }
        bytes[(*count)++] = (size_t)v;
    }
    return -1;
}

int
kerf_bench_link_main(int argc, char **argv)
{
    static const size_t usual[] = {262144};
    const kerf_command command = {
        .name = "bench link",
        .usage = "[flags]",
        .about = "How long a raw tensor takes over emulated links (kerf link), "
                 "there and the\nanswer back, beside bytes / rate + RTT.",
        .opt = table,
        .opt_count = sizeof table / sizeof *table};
    size_t bytes[SIZES_MAX];
    size_t count = 0;
    int status = kerf_opts_parse(&command, argc, argv);

    if (status < 0)
        status = read_sizes(bytes, &count);
    for (size_t i = 0; i < specs.count && status < 0; i++) {
        kerf_link_spec spec;
        kerf_detail why = {{0}};

        if (kerf_link_spec_parse(&spec, specs.item[i], &why) != KERF_OK)
            status = kerf_usage_error("bench link", "%s", why.text);
    }
    if (status >= 0)
        return status;
    return count > 0 ? run(bytes, count)
                     : run(usual, sizeof usual / sizeof *usual);
}
