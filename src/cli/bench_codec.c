/*
 * bench_codec.c - `kerf bench codec`: the reference's study of compression.
 */
#include "base/fs.h"
#include "bench/split.h"
#include "cli/bench_ui.h"
#include "cli/cmd.h"
#include "cli/study.h"
#include "pack/tree.h"

#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

static const char *args[KERF_LIST_MAX];
static kerf_list only, from;
static const char *plots, *work;
static int rounds = 3;
static double once_s = 10;
static kerf_bench_ui ui;

static const kerf_opt table[] = {
    {.name = "method",
     .kind = KERF_OPT_LIST,
     .to = &only,
     .value = "NAME...",
     .help = "only these of gzip, bz2, xz, zip, tar.gz, zstd-3, zstd-19, kwz, "
             "kwz-N"},
    {.name = "rounds",
     .kind = KERF_OPT_INT,
     .to = &rounds,
     .min = 1,
     .max = KERF_CODEC_ROUNDS_MOST,
     .help = "times that each is measured, in turns; medians count"},
    {.name = "once",
     .kind = KERF_OPT_REAL,
     .to = &once_s,
     .min = 0,
     .max = 1e6,
     .help = "seconds; what takes longer is measured once"},
    {.name = "work",
     .kind = KERF_OPT_TEXT,
     .to = &work,
     .value = "DIR",
     .help = "for temporary files (default /dev/shm, which is memory, or "
             "TMPDIR)",
     .no_default = true},
    {.name = "from",
     .kind = KERF_OPT_LIST,
     .to = &from,
     .value = "FILE...",
     .help = "add what earlier runs printed with --json"},
    {.name = "plots",
     .kind = KERF_OPT_TEXT,
     .to = &plots,
     .value = "DIR",
     .help = "draw compress, ratio, extract as .svg and .png, by gnuplot"},
    KERF_BENCH_UI_OPTS(&ui),
};

static kerf_err
measure(kerf_study *study, const char *path, const kerf_codec_opts *opts,
        kerf_detail *why)
{
    kerf_codec_file *found = malloc(sizeof *found); /* some KB */
    kerf_err err = found != NULL ? kerf_bench_codec(found, path, opts, why)
                                 : kerf_fail(why, KERF_ENOMEM, "no memory");

    if (err == KERF_OK) {
        err = kerf_study_add(study, found);
        if (err != KERF_OK)
            err = kerf_fail(why, err, "%s: %s", path, kerf_err_text(err));
    }
    free(found);
    return err;
}

/* The weights of a folder; a file as it is. */
static kerf_err
measure_all(kerf_study *study, const char *path, const kerf_codec_opts *opts,
            kerf_detail *why)
{
    kerf_tree tree = {0};
    bool is_dir = kerf_fs_is_dir(path);
    size_t count = 0;
    kerf_err err;

    if (!is_dir)
        return measure(study, path, opts, why);
    err = kerf_tree_walk(&tree, path, why);
    for (size_t i = 0; i < tree.count && err == KERF_OK; i++) {
        const char *file = tree.item[i].path;

        if (!S_ISREG(tree.item[i].mode) ||
            (!kerf_path_ends(file, ".pdiparams") &&
             !kerf_path_ends(file, ".onnx")))
            continue;
        count++;
        err = measure(study, file, opts, why);
    }
    if (err == KERF_OK && count == 0)
        err = kerf_fail(why, KERF_ENOENT, "%s: no .pdiparams or .onnx in it",
                        path);
    kerf_tree_fini(&tree);
    return err;
}

static kerf_err
collect(kerf_study *study, const kerf_codec_opts *opts, kerf_detail *why)
{
    char digits[KERF_PATH_MAX];
    kerf_err err = KERF_OK;

    for (size_t i = 0; i < from.count && err == KERF_OK; i++)
        err = kerf_study_read(study, from.item[i], why);
    if (args[0] == NULL && from.count == 0) {
        if (!kerf_bench_digits(digits))
            return kerf_fail(why, KERF_ENOENT,
                             "no models/digits here or above the executable: "
                             "name files");
        return measure_all(study, digits, opts, why);
    }
    for (size_t i = 0; args[i] != NULL && err == KERF_OK; i++)
        err = measure_all(study, args[i], opts, why);
    return err;
}

static void
show(const kerf_study *study)
{
    for (size_t i = 0; i < study->count; i++) {
        if (ui.json)
            kerf_study_print_json(&study->file[i]);
        else
            kerf_study_print(&ui.out, &study->file[i]);
        kerf_study_judge(&ui, &study->file[i]);
    }
}

static int
run(void)
{
    char dir[KERF_PATH_MAX] = "";
    const kerf_codec_opts opts = {.work = dir,
                                  .rounds = rounds,
                                  .once_s = once_s,
                                  .only = only.item,
                                  .only_count = only.count,
                                  .progress = kerf_bench_ui_progress(&ui)};
    kerf_study study = {.count = 0};
    kerf_detail why = {{0}};
    kerf_err err;

    kerf_bench_ui_begin(&ui);
    if (work == NULL && access("/dev/shm", W_OK) == 0)
        work = "/dev/shm";
    err = kerf_work_make(dir, work, &why);
    if (err == KERF_OK)
        err = collect(&study, &opts, &why);
    kerf_work_remove(dir);
    kerf_bench_ui_clear(&ui);
    if (err == KERF_OK) {
        kerf_study_sort(&study);
        show(&study);
        if (plots != NULL)
            err = kerf_study_plot(&study, plots, &why);
    }
    kerf_study_fini(&study);
    return err == KERF_OK ? kerf_bench_ui_status(&ui)
                          : kerf_cmd_failed(err, &why);
}

int
kerf_bench_codec_main(int argc, char **argv)
{
    const kerf_command command = {
        .name = "bench codec",
        .usage = "[FILE|DIR...] [flags]",
        .about =
            "The reference's study of compression: its five formats, zstd and "
            "kwz on files of\nweights (of a folder: its .pdiparams and .onnx; "
            "without any: models/digits), from\nfile to file and in memory; "
            "beside the files' entropy, memcpy, and what the\nreference "
            "published of a file of 184 MB, on another machine.",
        .opt = table,
        .opt_count = sizeof table / sizeof *table,
        .arg = args,
        .arg_least = 0,
        .arg_most = KERF_LIST_MAX - 1,
        .arg_name = "FILE"};
    int status = kerf_opts_parse(&command, argc, argv);

    if (status >= 0)
        return status;
    for (size_t i = 0; i < only.count; i++) {
        if (!kerf_study_is_own(only.item[i]))
            return kerf_usage_error("bench codec", "unknown method %s",
                                    only.item[i]);
    }
    return run();
}
