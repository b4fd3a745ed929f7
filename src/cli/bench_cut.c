/*
 * bench_cut.c - `kerf bench cut`: what cutting costs, against its bars.
 */
#include "bench/cut.h"
#include "base/text.h"
#include "cli/bench_ui.h"
#include "cli/cmd.h"
#include "cli/json_line.h"
#include "cli/out.h"

#include <stdio.h>

/* docs/BENCHMARKS.md */
#define CP_RATIO_MOST 1.5
#define CP_EXTRA_S 0.2
#define LIST_S_MOST 1.0
#define LIST_NODES 1010 /* a model of "1,000 nodes", and smaller ones */
#define OWN_MB_MOST 100.0

static const char *models[KERF_LIST_MAX];
static kerf_bench_ui ui;
static kerf_cut_opts opts = {.rounds = 9, .megabytes = 180, .nodes = 1000};

static const kerf_opt table[] = {
    {.name = "rounds",
     .kind = KERF_OPT_INT,
     .to = &opts.rounds,
     .min = 1,
     .max = KERF_CUT_ROUNDS_MAX,
     .help = "times that everything is measured, in turns; medians count"},
    {.kind = KERF_OPT_GROUP, .help = "Models of its own"},
    {.name = "megabytes",
     .kind = KERF_OPT_INT,
     .to = &opts.megabytes,
     .min = 1,
     .max = 1900,
     .help = "weights of those whose bytes count"},
    {.name = "nodes",
     .kind = KERF_OPT_INT,
     .to = &opts.nodes,
     .min = 6,
     .max = 100000,
     .help = "of those whose nodes count"},
    {.name = "huge",
     .kind = KERF_OPT_FLAG,
     .to = &opts.huge,
     .help = "two of 2 GB, too; takes 6 GB in TMPDIR"},
    KERF_BENCH_UI_OPTS(&ui)};

static void
print_json(const kerf_cut_figures *f)
{
    json_t *o = json_pack(
        "{s:o, s:I, s:I, s:I, s:I}", "model", kerf_json_text(f->model), "bytes",
        (json_int_t)f->bytes, "nodes", (json_int_t)f->nodes, "cut",
        (json_int_t)f->cut, "rounds", (json_int_t)opts.rounds);

    kerf_bench_add_spread(o, "cut_s", &f->cut_s);
    kerf_bench_add_spread(o, "cp_s", &f->cp_s);
    kerf_bench_add_spread(o, "list_s", &f->list_s);
    (void)json_object_set_new(
        o, "proved_s", f->proved_s < 0 ? json_null() : json_real(f->proved_s));
    (void)json_object_set_new(o, "cut_own_bytes",
                              json_integer((json_int_t)f->cut_own));
    (void)json_object_set_new(o, "list_own_bytes",
                              json_integer((json_int_t)f->list_own));
    kerf_json_line(o);
}

static void
print_row(const char *name, const kerf_spread *s)
{
    (void)printf("  %-10s %8.3f s   %.3f .. %.3f\n", name, s->median, s->least,
                 s->most);
}

static void
print_table(const kerf_cut_figures *f)
{
    char safe[512];

    (void)printf("%s%s%s: %.1f MB written, %zu nodes, cut %u; %d rounds\n",
                 kerf_term_bold(&ui.out),
                 kerf_text_safe(safe, sizeof safe, f->model),
                 kerf_term_plain(&ui.out), (double)f->bytes / 1e6, f->nodes,
                 f->cut, opts.rounds);
    print_row("cut", &f->cut_s);
    print_row("cp", &f->cp_s);
    print_row("list", &f->list_s);
    if (f->proved_s >= 0)
        (void)printf("  %-10s %8.3f s   once\n", "and proved", f->proved_s);
    else if (f->unproved.text[0] != '\0')
        (void)printf("  not proved: %s\n", f->unproved.text);
}

static void
on_result(void *ctx, const kerf_cut_figures *f)
{
    double most = CP_RATIO_MOST * f->cp_s.median + CP_EXTRA_S;

    (void)ctx;
    kerf_bench_ui_clear(&ui);
    if (ui.json)
        print_json(f);
    else
        print_table(f);
    kerf_bench_ui_judge(&ui, f->cut_s.median <= most,
                        "cut, at most 1.5 x cp + 0.2 s:", f->cut_s.median, most,
                        " s");
    if (f->nodes <= LIST_NODES)
        kerf_bench_ui_judge(&ui, f->list_s.median < LIST_S_MOST,
                            "list:", f->list_s.median, LIST_S_MOST, " s");
    kerf_bench_ui_judge(&ui, (double)f->cut_own <= OWN_MB_MOST * 1e6,
                        "cut, memory of its own:", (double)f->cut_own / 1e6,
                        OWN_MB_MOST, " MB");
    kerf_bench_ui_judge(&ui, (double)f->list_own <= OWN_MB_MOST * 1e6,
                        "list, memory of its own:", (double)f->list_own / 1e6,
                        OWN_MB_MOST, " MB");
    kerf_out_flush();
}

int
kerf_bench_cut_main(int argc, char **argv)
{
    const kerf_command command = {
        .name = "bench cut",
        .usage = "[MODEL...] [flags]",
        .about = "What cutting costs: kerf cut in the middle of the weights, "
                 "without its proof,\nand cp of the bytes that it writes, in "
                 "turns; listing all cuts; and memory.\nWithout MODEL: made-up "
                 "ones, in TMPDIR.",
        .opt = table,
        .opt_count = sizeof table / sizeof *table,
        .arg = models,
        .arg_most = KERF_LIST_MAX - 1,
        .arg_name = "MODEL"};
    int status = kerf_opts_parse(&command, argc, argv);
    kerf_detail why = {{0}};
    kerf_err err;

    if (status >= 0)
        return status;
    kerf_bench_ui_begin(&ui);
    opts.model = models;
    while (models[opts.model_count] != NULL)
        opts.model_count++;
    opts.progress = kerf_bench_ui_progress(&ui);
    opts.result = on_result;
    err = kerf_bench_cut(&opts, &why);
    kerf_bench_ui_clear(&ui);
    return err == KERF_OK ? kerf_bench_ui_status(&ui)
                          : kerf_cmd_failed(err, &why);
}
