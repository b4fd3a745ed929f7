#include "cut/prove.h"

#include "cut/compare.h"
#include "cut/prove_own.h"
#include "engine/load_card.h"
#include "engine/probe.h"
#include "model/bundle.h"
#include "model/probe_json.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* What a dtype's own steps add up to: f16 has 11 bits, bf16 has 8. */
#define TOLERANCE_F16 5e-3
#define TOLERANCE_BF16 4e-2

/* A cut while it is checked on one view. */
struct check {
    kerf_prover *p;
    const kerf_model_bytes *tail_bytes;
    kerf_net *head;
    kerf_net *tail; /* for the shapes in tail_in */
    kerf_shape tail_in[KERF_PORTS_MAX];
    kerf_proof *proof;
};

void
kerf_proof_fini(kerf_proof *proof)
{
    kerf_probes_free(proof->probe, proof->probe_count);
    *proof = (kerf_proof){0};
}

kerf_err
kerf_prover_load(const kerf_prover *p, const kerf_proof_view *view,
                 const kerf_model_bytes *bytes, kerf_net **out,
                 kerf_detail *why)
{
    const kerf_cut_model *m = p->model;
    const kerf_load how = {.prep = view->is_image ? &m->card : NULL,
                           .image_port = m->image_port,
                           .shapes = m->fixed,
                           .shape_count = m->graph->input_count};

    return kerf_engine_load(p->engine, out, bytes, &how, why);
}

/* Rows whose number depends on the data, or that such an op has picked. */
static bool
is_set_of_rows(const kerf_graph *g, size_t output, const kerf_port *port)
{
    uint32_t node = output < g->output_count ? g->value[g->output[output]].node
                                             : KERF_GRAPH_NONE;

    if (!kerf_shape_is_static(&port->shape))
        return true;
    return node != KERF_GRAPH_NONE &&
           (strcasestr(g->node[node].op, "nms") != NULL ||
            strcasestr(g->node[node].op, "NonMaxSuppression") != NULL);
}

static void
note_outputs(kerf_prover *p, const kerf_net *net)
{
    p->out_count = kerf_net_out_count(net);
    p->is_static = kerf_net_is_static(net);
    for (size_t i = 0; i < p->out_count; i++) {
        p->out[i] = *kerf_net_out(net, i);
        p->is_rows[i] = is_set_of_rows(p->model->graph, i, &p->out[i]);
    }
}

/* The whole's answers of a view; of the card's probes, the right ones. */
static kerf_err
answer(kerf_prover *p, kerf_proof_view *view, kerf_detail *why)
{
    kerf_model_bytes bytes = kerf_cut_bytes(p->model);
    const kerf_card *card = &p->model->card;
    kerf_net *net = NULL;
    kerf_err err = KERF_OK;

    if (view->count == 0)
        return KERF_OK;
    err = kerf_prover_load(p, view, &bytes, &net, why);
    if (err == KERF_OK)
        note_outputs(p, net);
    for (size_t i = 0; i < view->count && err == KERF_OK; i++) {
        kerf_proof_run *run = &view->run[i];

        err = kerf_probe_run_on(net, run->in, run->out, &run->out_count, why);
        if (err == KERF_OK && !view->is_image && i < card->probe_count)
            err = kerf_probe_check(&card->probe[i], run->out, run->out_count,
                                   KERF_PROBE_TOLERANCE, why);
        if (err == KERF_EMISMATCH)
            err = kerf_fail_in(why, err,
                               "the model is not its card's, write "
                               "that anew (kerf card --force)");
    }
    kerf_net_free(net);
    return err == KERF_OK
               ? err
               : kerf_fail_in(why, err, "%s", p->model->file.graph_path);
}

kerf_err
kerf_prover_new(kerf_prover **out, kerf_engine *engine, kerf_cut_model *m,
                const kerf_proof_opts *opts, kerf_detail *why)
{
    kerf_prover *p;
    kerf_err err;

    if (!m->is_settled)
        return kerf_fail(why, KERF_EINVAL, "no proof: %s", m->note.text);
    p = calloc(1, sizeof *p);
    if (p == NULL)
        return kerf_fail(why, KERF_ENOMEM, "no memory for a proof");
    p->engine = engine;
    p->model = m;
    p->tolerance = opts->tolerance;
    p->is_bf16 = opts->is_bf16;
    err = kerf_prover_inputs(p, opts, why);
    for (size_t i = 0; i < 2 && err == KERF_OK; i++)
        err = answer(p, &p->view[i], why);
    if (err != KERF_OK) {
        kerf_prover_free(p);
        return err;
    }
    *out = p;
    return KERF_OK;
}

void
kerf_prover_free(kerf_prover *p)
{
    if (p == NULL)
        return;
    for (size_t v = 0; v < 2; v++) {
        for (size_t i = 0; i < p->view[v].count; i++) {
            kerf_tensors_free(p->view[v].run[i].in, KERF_PORTS_MAX);
            kerf_tensors_free(p->view[v].run[i].out, KERF_PORTS_MAX);
        }
        free(p->view[v].run);
    }
    free(p);
}

static double
default_tolerance(const kerf_prover *p, const kerf_net *head)
{
    double tolerance = p->is_bf16 ? TOLERANCE_BF16 : KERF_PROOF_TOLERANCE;

    if (p->tolerance >= 0.0)
        return p->tolerance;
    for (size_t i = 0; i < kerf_net_out_count(head) + p->out_count; i++) {
        size_t crossing = kerf_net_out_count(head);
        kerf_dtype dtype = i < crossing ? kerf_net_out(head, i)->dtype
                                        : p->out[i - crossing].dtype;

        if (dtype == KERF_F16)
            tolerance = fmax(tolerance, TOLERANCE_F16);
        if (dtype == KERF_BF16)
            tolerance = fmax(tolerance, TOLERANCE_BF16);
    }
    return tolerance;
}

/* The tail for what crosses, when the shapes differ from run to run. */
static kerf_err
load_for(struct check *c, const kerf_tensor *cross, size_t count,
         kerf_detail *why)
{
    kerf_load how = {.shapes = c->tail_in, .shape_count = count};
    bool same = c->tail != NULL;
    kerf_err err;

    for (size_t i = 0; i < count; i++) {
        same = same && kerf_shape_equal(&c->tail_in[i], &cross[i].shape);
        c->tail_in[i] = cross[i].shape;
    }
    if (same)
        return KERF_OK;
    kerf_net_free(c->tail);
    c->tail = NULL;
    err = kerf_engine_load(c->p->engine, &c->tail, c->tail_bytes, &how, why);
    if (err != KERF_OK)
        return kerf_fail_in(why, err, "tail");
    for (size_t i = 0; i < count; i++) {
        if (kerf_net_in(c->tail, i)->dtype != cross[i].dtype)
            return kerf_fail(why, KERF_EMISMATCH,
                             "output %zu of the head is %s, the tail takes %s",
                             i, kerf_dtype_name(cross[i].dtype),
                             kerf_dtype_name(kerf_net_in(c->tail, i)->dtype));
    }
    return KERF_OK;
}

/* Compares one run's outputs; the first that differs is said. */
static kerf_err
judge(struct check *c, const kerf_proof_run *run, const kerf_tensor *out,
      size_t count, kerf_detail *why)
{
    kerf_proof *proof = c->proof;

    if (count != run->out_count)
        return kerf_fail(why, KERF_EMISMATCH,
                         "tail: %zu outputs, the whole has %zu", count,
                         run->out_count);
    for (size_t i = 0; i < count; i++) {
        kerf_detail what = {{0}};
        kerf_diff d = {0};
        kerf_err err = kerf_compare(&run->out[i], &out[i], c->p->is_rows[i],
                                    proof->tolerance, &d, &what);
        bool good = err == KERF_OK && d.rel <= proof->tolerance;

        if (err != KERF_OK && err != KERF_EMISMATCH)
            return kerf_fail(why, err, "%s", what.text);
        if (err == KERF_EMISMATCH)
            d = (kerf_diff){.abs = INFINITY, .rel = INFINITY};
        proof->bit_equal &= d.bit_equal;
        proof->max_abs = fmax(proof->max_abs, d.abs);
        proof->max_rel = fmax(proof->max_rel, d.rel);
        if (good || !proof->ok)
            continue;
        proof->ok = false;
        if (err == KERF_OK)
            (void)kerf_fail(&what, err, "differs by %.3g, %.3g of its range",
                            d.abs, d.rel);
        (void)kerf_fail(&proof->why, KERF_EMISMATCH, "%s: output %zu: %s",
                        run->name, i, what.text);
    }
    return KERF_OK;
}

static kerf_err
check_run(struct check *c, const kerf_proof_run *run, kerf_detail *why)
{
    kerf_proof *proof = c->proof;
    kerf_tensor cross[KERF_PORTS_MAX] = {{0}};
    kerf_tensor out[KERF_PORTS_MAX] = {{0}};
    size_t crossing = 0;
    size_t outs = 0;
    kerf_err err = kerf_probe_run_on(c->head, run->in, cross, &crossing, why);

    if (err != KERF_OK)
        return kerf_fail_in(why, err, "head");
    if (!proof->is_static)
        err = load_for(c, cross, crossing, why);
    if (err == KERF_OK)
        err = kerf_probe_run_on(c->tail, cross, out, &outs, why);
    if (err == KERF_OK)
        err = judge(c, run, out, outs, why);
    if (err == KERF_OK && run->is_seeded && proof->is_static) {
        err = kerf_probe_sample(&proof->probe[proof->probe_count], run->seed,
                                cross, crossing);
        proof->probe_count += err == KERF_OK;
    }
    proof->runs++;
    kerf_tensors_free(cross, crossing);
    kerf_tensors_free(out, outs);
    return err;
}

static kerf_err
check_view(struct check *c, const kerf_proof_view *view,
           const kerf_model_bytes *head, kerf_detail *why)
{
    kerf_err err;

    if (view->count == 0)
        return KERF_OK;
    err = kerf_prover_load(c->p, view, head, &c->head, why);
    if (err != KERF_OK)
        return kerf_fail_in(why, err, "head");
    c->proof->is_static = kerf_net_is_static(c->head);
    c->proof->tolerance = default_tolerance(c->p, c->head);
    if (c->proof->is_static && c->tail == NULL)
        err = kerf_engine_load_tail(c->p->engine, &c->tail, c->tail_bytes,
                                    c->head, why);
    for (size_t i = 0; i < view->count && err == KERF_OK; i++)
        err = check_run(c, &view->run[i], why);
    kerf_net_free(c->head);
    c->head = NULL;
    return err;
}

kerf_err
kerf_prover_check(kerf_prover *p, const kerf_model_bytes *head,
                  const kerf_model_bytes *tail, kerf_proof *proof,
                  kerf_detail *why)
{
    struct check c = {.p = p, .tail_bytes = tail, .proof = proof};
    kerf_err err = KERF_OK;

    *proof = (kerf_proof){
        .ok = true,
        .bit_equal = true,
        .outputs = p->out_count,
        .probe = calloc(p->view[0].count + 1, sizeof *proof->probe)};
    if (proof->probe == NULL)
        return kerf_fail(why, KERF_ENOMEM, "no memory for a proof");
    for (size_t i = 0; i < 2 && err == KERF_OK; i++)
        err = check_view(&c, &p->view[i], head, why);
    kerf_net_free(c.tail);
    return err;
}

kerf_err
kerf_prover_probes(const kerf_prover *p, kerf_probe **out, size_t *count)
{
    const kerf_proof_view *v = &p->view[0];
    kerf_probe *probe = calloc(v->count + 1, sizeof *probe);
    size_t n = 0;
    kerf_err err = probe == NULL ? KERF_ENOMEM : KERF_OK;

    for (size_t i = 0; i < v->count && err == KERF_OK; i++) {
        if (!v->run[i].is_seeded)
            continue;
        err = kerf_probe_sample(&probe[n], v->run[i].seed, v->run[i].out,
                                p->is_static ? v->run[i].out_count : 0);
        n += err == KERF_OK;
    }
    if (err != KERF_OK) {
        kerf_probes_free(probe, n);
        return err;
    }
    *out = probe;
    *count = n;
    return KERF_OK;
}
