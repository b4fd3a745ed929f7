/*
 * `kerf cut --at` and `kerf cut --join`: files, and the proof that they are
 * right.
 */
#include "base/clock.h"
#include "base/text.h"
#include "cli/cut_cmd.h"
#include "cli/cut_list.h"
#include "cli/json_line.h"

#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* One job, from the flags to the files. */
struct job {
    kerf_cut_model model; /* or the head to join */
    kerf_cut_model tail;  /* to join */
    kerf_cut cut;
    kerf_engine *engine;
    kerf_fresh files;
    kerf_made made;
    char name[KERF_NAME_MAX];
    uint64_t start_ns, engine_ns; /* engine: starting it, asking for types */
    uint64_t end_ns;
};

static kerf_fresh *at_work; /* for the signal handler only */

static void
on_signal(int number)
{
    kerf_fresh_fini(at_work); /* unlink() and rmdir() */
    (void)raise(number);      /* SA_RESETHAND: this one kills */
}

/* Ctrl-C leaves nothing half-written behind. */
static void
catch_signals(kerf_fresh *files)
{
    struct sigaction action = {.sa_handler = on_signal,
                               .sa_flags = (int)SA_RESETHAND};

    at_work = files;
    (void)sigaction(SIGINT, &action, NULL);
    (void)sigaction(SIGTERM, &action, NULL);
}

/* "a,b,c" as names; the whole is one when the model has such a tensor. */
static kerf_err
split_names(char *text, const kerf_graph *g, const char **name, size_t most,
            size_t *count, kerf_detail *why)
{
    *count = 0;
    if (kerf_graph_find(g, text) != KERF_GRAPH_NONE) {
        name[(*count)++] = text;
        return KERF_OK;
    }
    for (char *at = text;; at++) {
        size_t len = strcspn(at, ",");
        bool last = at[len] == '\0';

        if (*count == most) {
            return kerf_fail(why, KERF_EINVAL,
                             "more than %zu tensors are named: no more can "
                             "cross",
                             most);
        }
        if (len > 0)
            name[(*count)++] = at;
        at[len] = '\0';
        at += len;
        if (last)
            break;
    }
    return *count > 0
               ? KERF_OK
               : kerf_fail(why, KERF_EINVAL,
                           "no tensor is named: kerf cut MODEL lists them");
}

kerf_err
kerf_cut_cmd_find(const kerf_cut_flags *f, const kerf_cut_model *m,
                  kerf_cut *cut, kerf_detail *why)
{
    const char *name[KERF_PORTS_MAX];
    char *text = strdup(f->at);
    size_t count = 0;
    kerf_err err;

    if (text == NULL)
        return kerf_fail(why, KERF_ENOMEM, "no memory for names");
    err = split_names(text, m->graph, name, KERF_PORTS_MAX, &count, why);
    kerf_cut_fini(cut);
    if (err == KERF_OK)
        err = kerf_cut_at(m->graph, name, count, cut, why);
    free(text);
    return err;
}

static bool
is_typed(const struct job *j)
{
    for (size_t i = 0; i < j->cut.count; i++) {
        if (j->model.graph->value[j->cut.value[i]].type != KERF_VALUE_TENSOR)
            return false;
    }
    return true;
}

/* The engine is slow to start: without a proof it is only asked for what the
 * file does not say. */
static kerf_err
prepare_cut(const kerf_cut_flags *f, struct job *j, kerf_detail *why)
{
    kerf_err err = kerf_cut_cmd_open(f, false, &j->model, why);
    uint64_t start;

    if (err == KERF_OK && f->no_proof) {
        err = kerf_cut_type(&j->model, NULL, why);
        if (err == KERF_OK)
            err = kerf_cut_cmd_find(f, &j->model, &j->cut, why);
        if (err != KERF_OK || is_typed(j))
            return err;
    }
    start = kerf_now_ns();
    if (err == KERF_OK)
        err = kerf_cut_cmd_type(f, &j->model, &j->engine, why);
    j->engine_ns = kerf_now_ns() - start;
    return err == KERF_OK ? kerf_cut_cmd_find(f, &j->model, &j->cut, why) : err;
}

static kerf_make_opts
make_opts(const kerf_cut_flags *f, const struct job *j)
{
    return (kerf_make_opts){.name = j->name,
                            .engine = f->no_proof ? NULL : j->engine,
                            .proof = kerf_cut_cmd_proof(f)};
}

static kerf_err
make_cut(const kerf_cut_flags *f, struct job *j, kerf_detail *why)
{
    kerf_make_opts opts;
    kerf_err err = prepare_cut(f, j, why);

    if (err != KERF_OK)
        return err;
    if (f->name != NULL)
        (void)snprintf(j->name, sizeof j->name, "%s", f->name);
    else
        (void)kerf_make_name(j->name, j->model.file.name);
    opts = make_opts(f, j);
    err = kerf_fresh_open(&j->files, f->out, f->force, why);
    return err == KERF_OK ? kerf_make_cut(&j->files, &j->model, &j->cut, &opts,
                                          &j->made, why)
                          : err;
}

/* JSON has no infinity. */
static json_t *
real_or_null(double v)
{
    return isfinite(v) ? json_real(v) : json_null();
}

static void
add_proof(json_t *o, const struct job *j)
{
    const kerf_proof *p = &j->made.proof;
    double other = (double)(j->engine_ns + j->made.prove_ns) / 1e6;
    double all = (double)(j->end_ns - j->start_ns) / 1e6;

    (void)json_object_set_new(o, "proved", json_boolean(p->runs > 0 && p->ok));
    if (p->runs > 0) {
        (void)json_object_set_new(o, "bit_equal", json_boolean(p->bit_equal));
        (void)json_object_set_new(o, "max_abs", real_or_null(p->max_abs));
        (void)json_object_set_new(o, "max_rel", real_or_null(p->max_rel));
        (void)json_object_set_new(o, "rounding", json_boolean(p->is_rounding));
        (void)json_object_set_new(o, "tolerance", json_real(p->tolerance));
        (void)json_object_set_new(o, "inputs",
                                  json_integer((json_int_t)p->runs));
        (void)json_object_set_new(o, "prove_ms",
                                  json_real((double)j->made.prove_ns / 1e6));
    }
    (void)json_object_set_new(o, "cut_ms", json_real(all - other));
    if (p->runs > 0 && !p->ok)
        (void)json_object_set_new(o, "why", kerf_json_text(p->why.text));
}

static void
add_files(json_t *o, const struct job *j)
{
    json_t *list = json_array();

    for (size_t i = 0; i < j->files.count; i++) {
        (void)json_array_append_new(
            list, json_pack("{s:o, s:I}", "name",
                            kerf_json_text(j->files.file[i].name), "bytes",
                            (json_int_t)j->files.file[i].size));
    }
    (void)json_object_set_new(o, "files", list);
}

static void
print_json(const struct job *j, bool cut)
{
    const kerf_graph *g = j->model.graph;
    json_t *o = json_pack("{s:o}", "name", kerf_json_text(j->name));
    char id[2 * KERF_BUNDLE_ID_LEN + 1];

    if (cut) {
        (void)json_object_set_new(o, "cut",
                                  j->cut.index == KERF_GRAPH_NONE
                                      ? json_null()
                                      : json_integer(j->cut.index));
        (void)json_object_set_new(
            o, "tensors", kerf_cut_tensors_json(g, j->cut.value, j->cut.count));
        (void)json_object_set_new(o, "bytes",
                                  j->cut.bytes_known
                                      ? json_integer((json_int_t)j->cut.bytes)
                                      : json_null());
    }
    if (cut && j->files.is_committed) {
        kerf_hex(id, j->made.id, sizeof j->made.id);
        (void)json_object_set_new(o, "bundle", json_string(id));
    }
    add_files(o, j);
    add_proof(o, j);
    kerf_json_line(o);
}

static void
print_crossing(const struct job *j)
{
    const kerf_graph *g = j->model.graph;

    for (size_t i = 0; i < j->cut.count; i++) {
        const kerf_value *v = &g->value[j->cut.value[i]];
        char shape[KERF_SHAPE_TEXT];
        char safe[512];
        char text[16] = "?";
        size_t bytes = 0;

        if (v->is_fixed &&
            kerf_shape_bytes(&v->fixed, v->dtype, &bytes) == KERF_OK)
            kerf_cut_bytes_text(text, bytes);
        (void)printf(
            "  %-32s %s %s  %s\n", kerf_text_safe(safe, sizeof safe, v->name),
            v->type == KERF_VALUE_TENSOR ? kerf_dtype_name(v->dtype) : "?",
            kerf_cut_shape_text(shape, v), text);
    }
}

static void
print_proof(const struct job *j)
{
    const kerf_proof *p = &j->made.proof;
    char ms[32];

    if (p->runs == 0) {
        (void)printf("not proved (--no-proof)\n");
        return;
    }
    (void)printf("proved on %zu inputs in %s: ", p->runs,
                 kerf_text_ns(ms, sizeof ms, j->made.prove_ns));
    if (p->bit_equal)
        (void)printf("every bit is equal\n");
    else
        (void)printf("differs by at most %.3g, %.3g of the output's range "
                     "(tolerance %g)\n",
                     p->max_abs, p->max_rel, p->tolerance);
    if (!p->is_static)
        (void)printf("what crosses has a size that depends on the data: kerf "
                     "cloud cannot serve it\n");
}

static void
print_files(const struct job *j)
{
    char text[16];
    char safe[KERF_PATH_MAX];
    char id[2 * KERF_BUNDLE_ID_LEN + 1];

    for (size_t i = 0; i < j->files.count; i++)
        (void)printf("  %-40s %8s\n", j->files.file[i].name,
                     kerf_cut_bytes_text(text, j->files.file[i].size));
    kerf_hex(id, j->made.id, sizeof j->made.id);
    (void)printf("in %s", kerf_text_safe(safe, sizeof safe, j->files.dir));
    if (j->cut.count > 0)
        (void)printf(", bundle %.12s", id);
    (void)printf("\n");
}

static void
print_made(const struct job *j)
{
    char text[16];

    if (j->cut.count > 0) {
        (void)printf(
            "%s: %zu tensor%s cross%s, %s\n", j->name, j->cut.count,
            j->cut.count == 1 ? "" : "s", j->cut.count == 1 ? "es" : "",
            j->cut.bytes_known ? kerf_cut_bytes_text(text, j->cut.bytes)
                               : "size not known");
        print_crossing(j);
    }
    print_files(j);
    print_proof(j);
    if (j->cut.count > 0 && !j->model.has_card &&
        j->model.image_port != KERF_PORTS_MAX)
        (void)printf("without a card edges take .npy inputs only: for images "
                     "run kerf card first, or give its rules here\n");
}

/* Ends the job: what it made is shown, what it could not finish is removed. */
static int
finish(const kerf_cut_flags *f, struct job *j, kerf_err err, kerf_detail *why)
{
    bool tried = err == KERF_OK || j->made.proof.runs > 0;

    if (err == KERF_OK || j->model.note.text[0] != '\0')
        kerf_cut_cmd_note(&j->model);
    if (f->json && tried)
        print_json(j, !f->join);
    else if (!f->json && err == KERF_OK)
        print_made(j);
    kerf_fresh_fini(&j->files);
    (void)signal(SIGINT, SIG_DFL);
    (void)signal(SIGTERM, SIG_DFL);
    kerf_proof_fini(&j->made.proof);
    kerf_cut_fini(&j->cut);
    kerf_cut_close(&j->model);
    kerf_cut_close(&j->tail);
    kerf_engine_close(j->engine);
    free(j);
    return err == KERF_OK ? 0 : kerf_cmd_failed(err, why);
}

static int
run(const kerf_cut_flags *f,
    kerf_err (*work)(const kerf_cut_flags *f, struct job *j, kerf_detail *why))
{
    struct job *j = calloc(1, sizeof *j); /* tens of KB */
    kerf_detail why = {{0}};
    kerf_err err;

    if (j == NULL)
        return kerf_cmd_failed(KERF_ENOMEM, &why);
    j->start_ns = kerf_now_ns();
    catch_signals(&j->files);
    err = work(f, j, &why);
    j->end_ns = kerf_now_ns();
    return finish(f, j, err, &why);
}

int
kerf_cut_cmd_at(const kerf_cut_flags *f)
{
    return run(f, make_cut);
}

/* "net" of "client_infer_net"; without it, "joined". */
static void
name_joined(const kerf_cut_flags *f, struct job *j)
{
    static const char start[] = "client_infer_";
    const char *name = j->model.file.name;

    if (f->name != NULL)
        name = f->name;
    else if (strncmp(name, start, sizeof start - 1) == 0)
        name += sizeof start - 1;
    else
        name = "joined";
    (void)snprintf(j->name, sizeof j->name, "%s", name);
}

/* Halves are opened as they are: flags are for the whole. */
static kerf_err
make_joined(const kerf_cut_flags *f, struct job *j, kerf_detail *why)
{
    kerf_make_opts opts;
    uint64_t start;
    kerf_err err = kerf_cut_open(&j->model, f->arg[0], false, why);

    if (err == KERF_OK)
        err = kerf_cut_open(&j->tail, f->arg[1], false, why);
    if (err == KERF_OK)
        err = kerf_rules_apply(&f->rules, &j->model.card, why);
    if (err == KERF_OK)
        err = kerf_fresh_open(&j->files, f->out, f->force, why);
    start = kerf_now_ns();
    if (err == KERF_OK && !f->no_proof)
        err = kerf_engine_open(&j->engine, &f->engine, why);
    j->engine_ns = kerf_now_ns() - start;
    if (err != KERF_OK)
        return err;
    name_joined(f, j);
    opts = make_opts(f, j);
    return kerf_make_joined(&j->files, &j->model, &j->tail, f->shape.item,
                            f->shape.count, &opts, &j->made, why);
}

int
kerf_cut_cmd_join(const kerf_cut_flags *f)
{
    return run(f, make_joined);
}
