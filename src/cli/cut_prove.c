/*
 * `kerf cut --prove`: every cut of the list is made in memory and proved.
 */
#include "base/text.h"
#include "cli/cut_cmd.h"
#include "cli/cut_list.h"
#include "cli/json_line.h"
#include "cut/halves.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NAME_COLUMNS 36

/* All cuts of one model. */
struct proofs {
    kerf_cut_model model;
    kerf_cut_list list;
    kerf_engine *engine;
    kerf_prover *prover;
    size_t proved, bit_equal, rounding, failed;
    bool json;
};

/* Why the cut cannot even run goes into proof->why. */
static kerf_err
prove_one(struct proofs *p, const kerf_cut *cut, kerf_proof *proof)
{
    kerf_halves h = {0};
    kerf_detail why = {{0}};
    kerf_err err = kerf_halves_make(&h, p->model.graph, cut, &why);

    for (int i = 0; i < KERF_HALF_COUNT && err == KERF_OK; i++)
        err = kerf_half_gather(&h.half[i], p->model.file.format, &why);
    if (err == KERF_OK)
        err = kerf_prover_check(p->prover, cut, &h.half[KERF_HEAD].bytes,
                                &h.half[KERF_TAIL].bytes, proof, &why);
    kerf_halves_fini(&h);
    if (err != KERF_OK) {
        proof->ok = false;
        proof->why = why;
    }
    return err;
}

static void
show_json(const struct proofs *p, const kerf_cut *cut, const kerf_proof *proof)
{
    const char *after = kerf_cut_after(p->model.graph, cut);
    json_t *o =
        json_pack("{s:I, s:o}", "cut", (json_int_t)cut->index, "after",
                  after[0] == '\0' ? json_null() : kerf_json_text(after));
    bool ran = proof->runs > 0;

    (void)json_object_set_new(
        o, "ok", cut->refused != NULL ? json_null() : json_boolean(proof->ok));
    (void)json_object_set_new(
        o, "bit_equal", ran ? json_boolean(proof->bit_equal) : json_null());
    (void)json_object_set_new(o, "max_abs",
                              ran && isfinite(proof->max_abs)
                                  ? json_real(proof->max_abs)
                                  : json_null());
    (void)json_object_set_new(o, "max_rel",
                              ran && isfinite(proof->max_rel)
                                  ? json_real(proof->max_rel)
                                  : json_null());
    (void)json_object_set_new(
        o, "rounding", ran ? json_boolean(proof->is_rounding) : json_null());
    if (cut->refused != NULL)
        (void)json_object_set_new(o, "refused", kerf_json_text(cut->refused));
    else if (!proof->ok)
        (void)json_object_set_new(o, "why", kerf_json_text(proof->why.text));
    kerf_json_line(o);
}

static void
show_line(const struct proofs *p, const kerf_cut *cut, const kerf_proof *proof)
{
    const kerf_graph *g = p->model.graph;
    kerf_term t;
    char text[512];

    kerf_term_init(&t, stdout);
    (void)snprintf(text, sizeof text, "%s %s", kerf_cut_after_op(g, cut),
                   kerf_cut_after(g, cut));
    (void)fprintf(t.out, "%5u  ", cut->index);
    if (cut->index == 0)
        (void)snprintf(text, sizeof text, "the input");
    kerf_term_cell(&t, text,
                   t.is_tty || kerf_term_columns(text) < NAME_COLUMNS
                       ? NAME_COLUMNS
                       : (int)kerf_term_columns(text),
                   false);
    if (cut->refused != NULL)
        (void)fprintf(t.out, "  %srefused: %s%s\n", kerf_term_dim(&t),
                      cut->refused, kerf_term_plain(&t));
    else if (!proof->ok)
        (void)fprintf(t.out, "  %sfailed: %s%s\n", kerf_term_red(&t),
                      proof->why.text, kerf_term_plain(&t));
    else if (proof->bit_equal)
        (void)fprintf(t.out, "  %severy bit equal%s\n", kerf_term_green(&t),
                      kerf_term_plain(&t));
    else
        (void)fprintf(t.out, "  within %.2g, %.2g of the range\n",
                      proof->max_abs, proof->max_rel);
    (void)fflush(t.out);
}

static kerf_err
prove_all(struct proofs *p, kerf_detail *why)
{
    for (size_t i = 0; i < p->list.cuts.count; i++) {
        const kerf_cut *cut = &p->list.cuts.cut[i];
        kerf_proof proof = {0};
        kerf_err err =
            cut->refused == NULL ? prove_one(p, cut, &proof) : KERF_OK;

        if (err == KERF_ENOMEM)
            return kerf_fail(why, err, "cut %zu: %s", i, proof.why.text);
        if (cut->refused == NULL) {
            p->proved += proof.ok;
            p->bit_equal += proof.ok && proof.bit_equal;
            p->rounding += proof.is_rounding;
            p->failed += !proof.ok;
        }
        if (p->json)
            show_json(p, cut, &proof);
        else
            show_line(p, cut, &proof);
        kerf_proof_fini(&proof);
    }
    return KERF_OK;
}

static kerf_err
work(const kerf_cut_flags *f, struct proofs *p, kerf_detail *why)
{
    kerf_proof_opts opts = kerf_cut_cmd_proof(f);
    kerf_err err = kerf_cut_cmd_open(f, false, &p->model, why);

    if (err == KERF_OK)
        err = kerf_cut_cmd_type(f, &p->model, &p->engine, why);
    if (err == KERF_OK)
        err = kerf_cut_list_make(&p->list, &p->model, why);
    if (err == KERF_OK)
        err = kerf_prover_new(&p->prover, p->engine, &p->model, &opts, why);
    return err == KERF_OK ? prove_all(p, why) : err;
}

static void
show_summary(const struct proofs *p)
{
    FILE *to = p->json ? stderr : stdout;

    (void)fprintf(to, "%s%zu cuts: %zu proved (%zu bit-equal",
                  p->json ? "" : "\n", p->list.cuts.count, p->proved,
                  p->bit_equal);
    (void)fprintf(to, "), %zu refused", p->list.refused);
    if (p->failed > 0)
        (void)fprintf(to, ", %zu failed (%zu by rounding)", p->failed,
                      p->rounding);
    (void)fprintf(to, "\n");
}

int
kerf_cut_cmd_prove(const kerf_cut_flags *f)
{
    struct proofs *p = calloc(1, sizeof *p); /* tens of KB */
    kerf_detail why = {{0}};
    size_t failed = 0;
    kerf_err err = KERF_ENOMEM;

    if (p == NULL)
        return kerf_cmd_failed(err, &why);
    p->json = f->json;
    err = work(f, p, &why);
    failed = p->failed;
    if (err == KERF_OK) {
        kerf_cut_cmd_note(&p->model);
        show_summary(p);
    }
    kerf_prover_free(p->prover);
    kerf_cut_list_fini(&p->list);
    kerf_cut_close(&p->model);
    kerf_engine_close(p->engine);
    free(p);
    if (err != KERF_OK)
        return kerf_cmd_failed(err, &why);
    return failed == 0 ? 0 : 1;
}
