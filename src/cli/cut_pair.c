/*
 * A cut that is served at once, in memory and proved, and again whenever the
 * files that it is made of change.
 */
#include "base/bytes.h"
#include "base/log.h"
#include "cli/cut_cmd.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum { FILES = 5 }; /* program, weights, card, --card, --labels */

static void
add_stamp(kerf_wr *w, int64_t *newest_ns, const char *path)
{
    struct stat st;
    int64_t mtime;

    kerf_wr_u64(w, path == NULL || path[0] == '\0' ? 0 : kerf_fs_stamp(path));
    if (path == NULL || path[0] == '\0' || stat(path, &st) != 0)
        return;
    mtime = (int64_t)st.st_mtim.tv_sec * 1000000000 + st.st_mtim.tv_nsec;
    if (mtime > *newest_ns)
        *newest_ns = mtime;
}

/* Which of several files is the model is for kerf_model_file_find(). */
static bool
counts(void *ctx, const char *name)
{
    static const char *const endings[] = {".pdmodel", ".pdiparams", ".json",
                                          ".onnx"};
    const kerf_rules *r = &((const kerf_cut_served *)ctx)->flags->rules;

    for (size_t i = 0; i < sizeof endings / sizeof *endings; i++) {
        if (kerf_path_ends(name, endings[i]))
            return true;
    }
    return (r->card != NULL && strcmp(kerf_path_base(r->card), name) == 0) ||
           (r->labels != NULL && strcmp(kerf_path_base(r->labels), name) == 0);
}

static uint64_t
stamp(void *ctx, int64_t *newest_ns)
{
    const kerf_cut_flags *f = ((const kerf_cut_served *)ctx)->flags;
    kerf_model_file file = {0};
    uint8_t bytes[FILES * 8];
    kerf_wr w = {.at = bytes, .left = sizeof bytes};
    uint64_t sum;

    *newest_ns = 0;
    if (kerf_model_file_find(&file, f->arg[0], NULL) != KERF_OK ||
        !kerf_fs_exists(file.graph_path))
        return 0;
    add_stamp(&w, newest_ns, file.graph_path);
    add_stamp(&w, newest_ns, file.weights_path);
    add_stamp(&w, newest_ns, file.card_path);
    add_stamp(&w, newest_ns, f->rules.card);
    add_stamp(&w, newest_ns, f->rules.labels);
    sum = kerf_xxh3(bytes, (size_t)(w.at - bytes));
    return sum == 0 ? 1 : sum;
}

static kerf_err
judge(const kerf_cut_served *s, const kerf_proof *proof, kerf_detail *why)
{
    if (!proof->ok) {
        return kerf_fail(why, KERF_EMISMATCH,
                         "the halves are not the whole: %s", proof->why.text);
    }
    if (!proof->is_static) {
        return kerf_fail(why, KERF_ENOTSUP,
                         "what crosses has a size that depends on the data: "
                         "choose another cut");
    }
    kerf_log(KERF_LOG_INFO, "cloud.cut_proved",
             "name=%s inputs=%zu bit_equal=%d max_abs=%g max_rel=%g", s->name,
             proof->runs, proof->bit_equal, proof->max_abs, proof->max_rel);
    return KERF_OK;
}

static kerf_err
prove(const kerf_cut_served *s, kerf_engine *engine, kerf_cut_model *m,
      const kerf_cut *cut, const kerf_pair *pair, kerf_detail *why)
{
    const kerf_proof_opts opts = kerf_cut_cmd_proof(s->flags);
    const kerf_model_bytes head = kerf_pair_bytes(pair, true);
    const kerf_model_bytes tail = kerf_pair_bytes(pair, false);
    kerf_prover *prover = NULL;
    kerf_proof proof = {0};
    kerf_err err = kerf_prover_new(&prover, engine, m, &opts, why);

    if (err == KERF_OK)
        err = kerf_prover_check(prover, cut, &head, &tail, &proof, why);
    if (err == KERF_OK)
        err = judge(s, &proof, why);
    kerf_proof_fini(&proof);
    kerf_prover_free(prover);
    return err;
}

/* The cut and its proof, on a model that was opened. */
static kerf_err
make_pair(const kerf_cut_served *s, kerf_engine *engine, kerf_cut_model *m,
          kerf_pair *out, kerf_detail *why)
{
    kerf_cut cut = {0};
    kerf_pair pair = {0};
    kerf_err err = kerf_cut_type(m, engine, why);

    if (err == KERF_OK)
        err = kerf_cut_cmd_find(s->flags, m, &cut, why);
    if (err == KERF_OK)
        err = kerf_make_pair(&pair, m, &cut, s->name, why);
    if (err == KERF_OK)
        err = prove(s, engine, m, &cut, &pair, why);
    kerf_cut_fini(&cut);
    if (err != KERF_OK) {
        kerf_pair_fini(&pair);
        return err;
    }
    *out = pair;
    return KERF_OK;
}

static kerf_err
make(void *ctx, kerf_engine *engine, kerf_pair *out, kerf_detail *why)
{
    const kerf_cut_served *s = ctx;
    kerf_cut_model *m = calloc(1, sizeof *m); /* tens of KB */
    int64_t newest_ns;
    uint64_t before = stamp(ctx, &newest_ns);
    kerf_err err;

    if (m == NULL)
        return kerf_fail(why, KERF_ENOMEM, "no memory");
    /* Read, not mapped: an export may write over the files at any time. */
    err = kerf_cut_cmd_open(s->flags, true, m, why);
    if (err == KERF_OK && stamp(ctx, &newest_ns) != before)
        err = kerf_fail(why, KERF_EAGAIN, "%s: its files changed while read",
                        s->flags->arg[0]);
    if (err == KERF_OK)
        err = make_pair(s, engine, m, out, why);
    kerf_cut_close(m);
    free(m);
    return err;
}

/* A watched folder would be missed first, and say less. */
static kerf_err
check_there(const char *path, kerf_detail *why)
{
    if (path == NULL || kerf_fs_exists(path))
        return KERF_OK;
    return kerf_fail(why, KERF_ENOENT, "%s: no such file", path);
}

/* The folder of path, unless it is watched already. */
static void
add_dir(kerf_cut_served *s, const char *path)
{
    kerf_cloud_maker *maker = &s->maker;
    char dir[KERF_PATH_MAX];
    size_t i = 0;

    if (path == NULL)
        return;
    (void)kerf_path_dir(dir, path);
    while (i < KERF_CLOUD_MAKER_DIRS && maker->dir[i] != NULL &&
           strcmp(maker->dir[i], dir) != 0)
        i++;
    if (i == KERF_CLOUD_MAKER_DIRS || maker->dir[i] != NULL)
        return;
    (void)snprintf(s->dir[i], sizeof s->dir[i], "%s", dir);
    maker->dir[i] = s->dir[i];
}

kerf_err
kerf_cut_served_init(kerf_cut_served *s, const kerf_cut_flags *f,
                     kerf_detail *why)
{
    kerf_model_file file = {0};
    kerf_err err = kerf_model_file_find(&file, f->arg[0], why);

    if (err == KERF_OK)
        err = check_there(f->rules.card, why);
    if (err == KERF_OK)
        err = check_there(f->rules.labels, why);
    if (err != KERF_OK)
        return err;
    *s = (kerf_cut_served){.flags = f,
                           .maker = {.ctx = s,
                                     .name = s->name,
                                     .counts = counts,
                                     .stamp = stamp,
                                     .make = make}};
    if (f->name != NULL)
        (void)snprintf(s->name, sizeof s->name, "%s", f->name);
    else
        (void)kerf_make_name(s->name, file.name);
    add_dir(s, file.graph_path);
    add_dir(s, f->rules.card);
    add_dir(s, f->rules.labels);
    return KERF_OK;
}
