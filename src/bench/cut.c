#include "bench/cut.h"

#include "bench/chain.h"
#include "bench/child.h"
#include "cut/model.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define LAYERS 172 /* of a model whose bytes count */
#define HUGE_BYTES UINT64_C(2000000000)
#define PROVED_MOST UINT64_C(1000000000) /* the engine needs them in memory */

struct bench {
    const kerf_cut_opts *opts;
    char work[KERF_PATH_MAX]; /* temporary; in it: */
    char log[KERF_PATH_MAX];
    char first[KERF_PATH_MAX], copy[KERF_PATH_MAX], again[KERF_PATH_MAX];
    double cut_s[KERF_CUT_ROUNDS_MAX], cp_s[KERF_CUT_ROUNDS_MAX],
        list_s[KERF_CUT_ROUNDS_MAX];
};

/* ---- which cut -------------------------------------------------------- */

static uint64_t
distance(const kerf_cut *cut)
{
    uint64_t head = cut->cost_head.param_bytes;
    uint64_t tail = cut->cost_tail.param_bytes;

    return head > tail ? head - tail : tail - head;
}

/* The one whose halves hold about as many bytes of weights. */
static kerf_err
pick_cut(const char *path, kerf_cut_figures *f, kerf_detail *why)
{
    kerf_cut_model *m = calloc(1, sizeof *m); /* tens of KB */
    const kerf_cut *best = NULL;
    kerf_cuts cuts = {0};
    kerf_err err;

    if (m == NULL)
        return kerf_fail(why, KERF_ENOMEM, "no memory");
    err = kerf_cut_open(m, path, false, why);
    if (err == KERF_OK)
        err = kerf_cuts_list(m->graph, &cuts, why);
    for (size_t i = 0; i < cuts.count; i++) {
        const kerf_cut *cut = &cuts.cut[i];

        if (cut->refused == NULL && cut->count > 0 &&
            (best == NULL || distance(cut) < distance(best)))
            best = cut;
    }
    if (err == KERF_OK && best == NULL)
        err = kerf_fail(why, KERF_ENOTSUP, "%s: no cut can be made", path);
    if (err == KERF_OK) {
        f->nodes = m->graph->node_count;
        f->cut = best->index;
    }
    kerf_cuts_fini(&cuts);
    kerf_cut_close(m);
    free(m);
    return err;
}

/* ---- one run of each -------------------------------------------------- */

static kerf_err
run_cut(struct bench *b, const char *path, unsigned cut, const char *out,
        bool proves, double *seconds, uint64_t *own, kerf_detail *why)
{
    char number[16];
    const char *argv[] = {"kerf", "cut",   path, "--at",
                          number, "--out", out,  proves ? NULL : "--no-proof",
                          NULL};

    (void)snprintf(number, sizeof number, "%u", cut);
    return kerf_child_run(argv, b->log, seconds, own, why);
}

static kerf_err
run_list(struct bench *b, const char *path, double *seconds, uint64_t *own,
         kerf_detail *why)
{
    const char *argv[] = {"kerf", "cut", path, NULL};

    return kerf_child_run(argv, b->log, seconds, own, why);
}

static kerf_err
run_cp(struct bench *b, double *seconds, kerf_detail *why)
{
    const char *argv[] = {"cp", "-R", b->first, b->copy, NULL};

    return kerf_child_run(argv, b->log, seconds, NULL, why);
}

/* Bytes of the files in a folder. */
static uint64_t
bytes_in(const char *dir)
{
    kerf_names names = {0};
    char path[KERF_PATH_MAX];
    struct stat st;
    uint64_t sum = 0;

    if (kerf_fs_list(dir, 64, &names, NULL) != KERF_OK)
        return 0;
    for (size_t i = 0; i < names.count; i++) {
        if (kerf_path_join(path, dir, names.name[i]) == KERF_OK &&
            stat(path, &st) == 0)
            sum += (uint64_t)st.st_size;
    }
    kerf_names_free(&names);
    return sum;
}

/* ---- one model -------------------------------------------------------- */

/* Everything once, which warms the page cache, while memory is looked at. */
static kerf_err
warm(struct bench *b, const char *path, kerf_cut_figures *f, kerf_detail *why)
{
    double seconds = 0;
    kerf_err err = run_list(b, path, &seconds, &f->list_own, why);

    if (err == KERF_OK)
        err = run_cut(b, path, f->cut, b->first, false, &seconds, &f->cut_own,
                      why);
    f->bytes = bytes_in(b->first);
    if (err == KERF_OK)
        err = run_cp(b, &seconds, why);
    kerf_work_remove(b->copy);
    return err;
}

/* In turns; what was written is gone before the next one writes. */
static kerf_err
do_round(struct bench *b, const char *path, const kerf_cut_figures *f, int at,
         kerf_detail *why)
{
    kerf_err err = run_cp(b, &b->cp_s[at], why);

    kerf_work_remove(b->copy);
    if (err == KERF_OK)
        err =
            run_cut(b, path, f->cut, b->again, false, &b->cut_s[at], NULL, why);
    kerf_work_remove(b->again);
    return err == KERF_OK ? run_list(b, path, &b->list_s[at], NULL, why) : err;
}

/* A model whose sizes are not known has no proof; its times count. */
static kerf_err
prove(struct bench *b, const char *path, const char *what, kerf_cut_figures *f,
      kerf_detail *why)
{
    kerf_err err;

    kerf_progress_say(&b->opts->progress, "%s: proving a cut", what);
    err = run_cut(b, path, f->cut, b->again, true, &f->proved_s, NULL,
                  &f->unproved);
    kerf_work_remove(b->again);
    if (err == KERF_EINTR)
        *why = f->unproved;
    return err == KERF_EINTR ? err : KERF_OK;
}

static kerf_err
measure(struct bench *b, const char *path, const char *what, kerf_detail *why)
{
    kerf_cut_figures f = {.model = what, .proved_s = -1};
    size_t rounds = (size_t)b->opts->rounds;
    kerf_err err;

    kerf_progress_say(&b->opts->progress, "%s: looking at it", what);
    err = pick_cut(path, &f, why);
    if (err == KERF_OK)
        err = warm(b, path, &f, why);
    for (int i = 0; i < b->opts->rounds && err == KERF_OK; i++) {
        kerf_progress_say(&b->opts->progress, "%s: round %d of %d", what, i + 1,
                          b->opts->rounds);
        err = do_round(b, path, &f, i, why);
    }
    if (err == KERF_OK && f.bytes <= PROVED_MOST)
        err = prove(b, path, what, &f, why);
    kerf_work_remove(b->first);
    if (err != KERF_OK)
        return err;
    f.cut_s = kerf_spread_of(b->cut_s, rounds);
    f.cp_s = kerf_spread_of(b->cp_s, rounds);
    f.list_s = kerf_spread_of(b->list_s, rounds);
    b->opts->result(b->opts->ctx, &f);
    return KERF_OK;
}

/* ---- models of its own ------------------------------------------------ */

static kerf_err
measure_own(struct bench *b, const char *what, const kerf_chain *chain,
            kerf_detail *why)
{
    char dir[KERF_PATH_MAX];
    kerf_err err = kerf_path_join(dir, b->work, "model");

    if (err != KERF_OK)
        return err;
    kerf_progress_say(&b->opts->progress, "%s: making it", what);
    err = kerf_chain_write(chain, dir, "chain", why);
    if (err == KERF_OK)
        err = measure(b, dir, what, why);
    kerf_work_remove(dir);
    return err;
}

static kerf_err
measure_all_own(struct bench *b, kerf_detail *why)
{
    uint64_t bytes = (uint64_t)b->opts->megabytes * 1000000;
    int many = (b->opts->nodes + KERF_CHAIN_NODES - 1) / KERF_CHAIN_NODES;
    const struct {
        const char *what;
        kerf_chain chain;
        bool is_huge;
    } own[] = {
        {"Paddle", {KERF_FORMAT_PADDLE, false, LAYERS, bytes}, false},
        {"ONNX", {KERF_FORMAT_ONNX, false, LAYERS, bytes}, false},
        {"ONNX, external data", {KERF_FORMAT_ONNX, true, LAYERS, bytes}, false},
        {"Paddle, many nodes", {KERF_FORMAT_PADDLE, false, many, 0}, false},
        {"ONNX, many nodes", {KERF_FORMAT_ONNX, false, many, 0}, false},
        {"Paddle, huge", {KERF_FORMAT_PADDLE, false, LAYERS, HUGE_BYTES}, true},
        {"ONNX, external data, huge",
         {KERF_FORMAT_ONNX, true, LAYERS, HUGE_BYTES},
         true},
    };
    kerf_err err = KERF_OK;

    for (size_t i = 0; i < sizeof own / sizeof *own && err == KERF_OK; i++) {
        if (b->opts->huge || !own[i].is_huge)
            err = measure_own(b, own[i].what, &own[i].chain, why);
    }
    return err;
}

/* Folders that are there only while something is measured. */
static kerf_err
set_up(struct bench *b, kerf_detail *why)
{
    kerf_err err = kerf_work_make(b->work, NULL, why);

    if (err == KERF_OK)
        err = kerf_path_join(b->log, b->work, "log");
    if (err == KERF_OK)
        err = kerf_path_join(b->first, b->work, "first");
    if (err == KERF_OK)
        err = kerf_path_join(b->copy, b->work, "copy");
    if (err == KERF_OK)
        err = kerf_path_join(b->again, b->work, "again");
    return err;
}

kerf_err
kerf_bench_cut(const kerf_cut_opts *opts, kerf_detail *why)
{
    struct bench *b = calloc(1, sizeof *b);
    kerf_err err;

    if (b == NULL)
        return kerf_fail(why, KERF_ENOMEM, "no memory");
    b->opts = opts;
    err = set_up(b, why);
    for (size_t i = 0; i < opts->model_count && err == KERF_OK; i++)
        err = measure(b, opts->model[i], opts->model[i], why);
    if (err == KERF_OK && opts->model_count == 0)
        err = measure_all_own(b, why);
    kerf_work_remove(b->work);
    free(b);
    return err;
}
