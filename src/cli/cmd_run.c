#include "base/clock.h"
#include "cli/cmd.h"
#include "cli/save.h"
#include "cli/show.h"
#include "cli/whole.h"
#include "source/npy.h"
#include "source/source.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>

typedef struct run_flags {
    const char *model;
    kerf_list inputs;
    kerf_rules rules;
    kerf_engine_opts engine;
    kerf_cmd_common common;
    kerf_show show;
    kerf_save save;
    int repeat;
    double rate;
    bool watch, once, save_input;
} run_flags;

static const char about[] =
    "Runs a whole model on this machine: the baseline, and what a split must\n"
    "agree with. MODEL is a .pdmodel, .json (Paddle 3), .onnx or .xml file,\n"
    "its path without the ending, or a folder with one model. SRC is an\n"
    "image, a folder, a .npy file (a.npy,b.npy: one per input), random or\n"
    "random:SEED.";

static int
parse(run_flags *f, int argc, char **argv)
{
    const kerf_opt table[] = {
        {.kind = KERF_OPT_GROUP, .help = "inputs"},
        {.name = "input",
         .kind = KERF_OPT_LIST,
         .to = &f->inputs,
         .help = "images, folders, .npy, random"},
        {.name = "repeat",
         .kind = KERF_OPT_INT,
         .to = &f->repeat,
         .min = 0,
         .max = 1e9,
         .help = "times over the inputs; 0: for ever"},
        {.name = "once",
         .kind = KERF_OPT_FLAG,
         .to = &f->once,
         .help = "the same as --repeat 1"},
        {.name = "rate",
         .kind = KERF_OPT_REAL,
         .to = &f->rate,
         .min = 0,
         .max = 1e6,
         .value = "HZ",
         .help = "inputs per second; 0: as fast as it goes"},
        {.name = "watch",
         .kind = KERF_OPT_FLAG,
         .to = &f->watch,
         .help = "go on with images that arrive in the folders"},
        KERF_RULES_ROWS(&f->rules),
        {.kind = KERF_OPT_GROUP, .help = "results"},
        KERF_SHOW_ROWS(&f->show),
        KERF_SAVE_ROWS(&f->save),
        {.name = "save-input",
         .kind = KERF_OPT_FLAG,
         .to = &f->save_input,
         .help = "with --save: also the inputs, DIR/000000.input.npy"},
        KERF_CMD_ENGINE_OPTS(&f->engine, &f->common),
        KERF_CMD_LOG_OPT(&f->common),
    };
    const kerf_command command = {.name = "run",
                                  .usage = "MODEL --input SRC... [flags]",
                                  .about = about,
                                  .opt = table,
                                  .opt_count = sizeof table / sizeof *table,
                                  .arg = &f->model,
                                  .arg_least = 1,
                                  .arg_most = 1,
                                  .arg_name = "MODEL"};
    int rc = kerf_opts_parse(&command, argc, argv);

    if (rc >= 0)
        return rc;
    if (f->inputs.count == 0)
        return kerf_usage_error("run", "--input is missing");
    if (f->save_input && f->save.save == NULL)
        return kerf_usage_error("run", "--save-input needs --save DIR");
    if (f->once)
        f->repeat = 1;
    kerf_cmd_apply(&f->common, &f->engine);
    return -1;
}

static kerf_source *running; /* for the signal handler only */

static void
on_signal(int number)
{
    (void)number;
    kerf_source_stop(running); /* one write(2); the next signal kills */
}

/* Who reads what is printed may be slow: a write that waits for it goes on. */
static void
handle_signals(kerf_source *source)
{
    struct sigaction action = {.sa_handler = on_signal,
                               .sa_flags = (int)SA_RESETHAND | SA_RESTART};

    running = source;
    (void)sigaction(SIGINT, &action, NULL);
    (void)sigaction(SIGTERM, &action, NULL);
}

static kerf_err
save_inputs(const run_flags *f, const kerf_whole *w, uint64_t index,
            kerf_detail *why)
{
    kerf_err err = KERF_OK;

    for (size_t i = 0; i < w->in_count && err == KERF_OK; i++) {
        char name[64];
        char path[KERF_PATH_MAX];
        bool main_one = w->is_image ? i == w->image_port : i == 0;

        (void)snprintf(name, sizeof name,
                       main_one ? "%06llu.input.npy" : "%06llu.input%zu.npy",
                       (unsigned long long)index, i);
        err = kerf_path_join(path, f->save.save, name);
        if (err == KERF_OK)
            err = kerf_npy_write(path, &w->in[i], why);
    }
    return err;
}

static kerf_err
answer_item(run_flags *f, kerf_whole *w, const kerf_item *item,
            kerf_detail *why)
{
    kerf_tensor out[KERF_PORTS_MAX] = {0};
    kerf_answer a = {.index = item->index,
                     .input = item->path[0] != '\0' ? item->path : item->name,
                     .card = &w->card,
                     .out = out,
                     .port = w->out_port};
    uint64_t start = kerf_now_ns();
    kerf_err err = kerf_request_run(w->request, why);

    a.stages.ns[KERF_STAGE_CAPTURE] = item->capture_ns;
    a.stages.ns[KERF_STAGE_PREPROCESS] = item->preprocess_ns;
    a.stages.ns[KERF_STAGE_HEAD] = kerf_now_ns() - start;
    for (size_t i = 0; i < w->out_count && err == KERF_OK; i++) {
        err = kerf_request_out(w->request, i, &out[i], why);
        a.out_count = i + 1;
    }
    if (err != KERF_OK) {
        a.err = err;
        a.why = why->text;
        kerf_show_answer(&f->show, &a);
        return KERF_OK;
    }
    if (f->save_input)
        err = save_inputs(f, w, item->index, why);
    kerf_show_answer(&f->show, &a);
    return err == KERF_OK ? kerf_save_answer(&f->save, &a, why) : err;
}

static kerf_err
run_items(run_flags *f, kerf_whole *w, kerf_source *source, kerf_detail *why)
{
    for (;;) {
        kerf_item item;
        kerf_err err = kerf_source_next(source, w->in, &item, why);

        if (err == KERF_ECLOSED)
            return KERF_OK;
        if (err == KERF_OK && item.err == KERF_OK)
            err = answer_item(f, w, &item, why);
        else if (err == KERF_OK)
            kerf_show_skipped(&f->show, item.index,
                              item.path[0] != '\0' ? item.path : item.name,
                              item.why.text);
        if (err != KERF_OK)
            return err;
    }
}

static kerf_err
open_source(const run_flags *f, const kerf_whole *w, kerf_source **out,
            kerf_detail *why)
{
    kerf_source_opts opts = {.spec = f->inputs.item,
                             .spec_count = f->inputs.count,
                             .port = w->in_port,
                             .port_count = w->in_count,
                             .card = w->is_image ? &w->card : NULL,
                             .image_port = w->image_port,
                             .repeat = (uint64_t)f->repeat,
                             .rate_hz = f->rate,
                             .watch = f->watch};

    return kerf_source_new(out, &opts, why);
}

/* Inputs are images unless the card or the inputs themselves say tensors. */
static bool
takes_images(const run_flags *f, const kerf_whole *w)
{
    bool is_tensor_card = w->file.card_path[0] != '\0' && !w->card.is_image &&
                          !f->rules.has_resize && !f->rules.has_colour;

    return !is_tensor_card &&
           !kerf_source_is_raw(f->inputs.item, f->inputs.count);
}

static kerf_err
run(run_flags *f, kerf_detail *why)
{
    kerf_whole w = {0};
    kerf_source *source = NULL;
    /* A mistyped input is said before a missing rule or a slow load. */
    kerf_err err = kerf_source_check(f->inputs.item, f->inputs.count, why);

    if (err == KERF_OK)
        err = kerf_save_start(&f->save, why);
    if (err == KERF_OK)
        err = kerf_whole_find(&w, f->model, &f->rules, why);
    if (err == KERF_OK)
        err = kerf_whole_load(&w, &f->engine, takes_images(f, &w), why);
    if (err == KERF_OK)
        err = open_source(f, &w, &source, why);
    if (err != KERF_OK)
        goto out;
    handle_signals(source);
    err = run_items(f, &w, source, why);
out:
    (void)signal(SIGINT, SIG_DFL);
    (void)signal(SIGTERM, SIG_DFL);
    kerf_source_free(source);
    kerf_whole_close(&w);
    return err;
}

int
kerf_cmd_run(int argc, char **argv)
{
    static run_flags f; /* large: a list of inputs */
    kerf_detail why = {.text = ""};
    kerf_err err;
    bool good;
    int rc;

    f = (run_flags){.rules = KERF_RULES_DEFAULTS,
                    .show = KERF_SHOW_DEFAULTS,
                    .save = KERF_SAVE_DEFAULTS,
                    .repeat = 1};
    rc = parse(&f, argc, argv);
    if (rc >= 0)
        return rc;
    err = kerf_show_init(&f.show);
    if (err != KERF_OK)
        return kerf_cmd_failed(err, &why);
    err = run(&f, &why);
    if (err != KERF_OK) {
        kerf_show_fini(&f.show);
        return kerf_cmd_failed(err, &why);
    }
    kerf_show_summary(&f.show);
    good = kerf_save_finish(&f.save, f.show.json) && f.show.failed == 0 &&
           f.show.skipped == 0;
    kerf_show_fini(&f.show);
    return good ? 0 : 1;
}
