#include "cut/prove.h"

#include "cut/compare.h"
#include "cut/halves.h"
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

/* A cut while it is checked. */
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

/* The whole or a head. */
static kerf_err
load(const kerf_prover *p, const kerf_model_bytes *bytes, kerf_net **out,
     kerf_detail *why)
{
    const kerf_load how = {.shapes = p->model->fixed,
                           .shape_count = p->model->graph->input_count};

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

static void
note_ranges(kerf_prover *p)
{
    for (size_t i = 0; i < p->out_count; i++) {
        kerf_span span = {0};

        for (size_t r = 0; r < p->run_count; r++)
            kerf_span_add(&span, &p->run[r].out[i]);
        p->range[i] = kerf_span_range(&span);
    }
}

/* The whole's answers; to the card's probes, the right ones. */
static kerf_err
answer(kerf_prover *p, kerf_net *net, kerf_detail *why)
{
    const kerf_card *card = &p->model->card;
    kerf_err err = KERF_OK;

    for (size_t i = 0; i < p->run_count && err == KERF_OK; i++) {
        kerf_proof_run *run = &p->run[i];

        err = kerf_probe_run_on(net, run->in, run->out, &run->out_count, why);
        if (err == KERF_OK && i < card->probe_count)
            err = kerf_probe_check(&card->probe[i], run->out, run->out_count,
                                   KERF_PROBE_TOLERANCE, why);
        if (err == KERF_EMISMATCH)
            err = kerf_fail_in(why, err,
                               "the model is not its card's, write that anew "
                               "(kerf card --force)");
    }
    if (err != KERF_OK)
        return err;
    note_ranges(p);
    return KERF_OK;
}

static kerf_err
run_whole(kerf_prover *p, kerf_detail *why)
{
    kerf_model_bytes bytes = kerf_cut_bytes(p->model);
    kerf_net *net = NULL;
    kerf_err err = load(p, &bytes, &net, why);

    if (err == KERF_OK) {
        note_outputs(p, net);
        err = answer(p, net, why);
    }
    kerf_net_free(net);
    return err == KERF_OK
               ? err
               : kerf_fail_in(why, err, "%s",
                              bytes.path == NULL ? p->model->file.name
                                                 : bytes.path);
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
    if (err == KERF_OK)
        err = run_whole(p, why);
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
    for (size_t i = 0; i < p->run_count; i++) {
        kerf_tensors_free(p->run[i].in, KERF_PORTS_MAX);
        kerf_tensors_free(p->run[i].out, KERF_PORTS_MAX);
    }
    free(p->run);
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
        if (kerf_net_in(c->tail, i)->dtype != cross[i].dtype) {
            return kerf_fail(why, KERF_EMISMATCH,
                             "output %zu of the head is %s, the tail takes %s",
                             i, kerf_dtype_name(cross[i].dtype),
                             kerf_dtype_name(kerf_net_in(c->tail, i)->dtype));
        }
    }
    return KERF_OK;
}

/* Compares one run's outputs with want; the first that differs is said. */
static kerf_err
judge(struct check *c, const kerf_proof_run *run, const kerf_tensor *want,
      const kerf_tensor *out, size_t count, kerf_detail *why)
{
    kerf_proof *proof = c->proof;

    if (count != run->out_count)
        return kerf_fail(why, KERF_EMISMATCH,
                         "tail: %zu outputs, the whole has %zu", count,
                         run->out_count);
    for (size_t i = 0; i < count; i++) {
        kerf_detail what = {{0}};
        kerf_diff d = {0};
        kerf_err err =
            kerf_compare(&want[i], &out[i], c->p->is_rows[i], c->p->range[i],
                         proof->tolerance, &d, &what);

        if (err != KERF_OK && err != KERF_EMISMATCH)
            return kerf_fail(why, err, "%s", what.text);
        if (err == KERF_EMISMATCH)
            d = (kerf_diff){.abs = INFINITY, .rel = INFINITY};
        proof->bit_equal &= d.bit_equal;
        proof->max_abs = fmax(proof->max_abs, d.abs);
        proof->max_rel = fmax(proof->max_rel, d.rel);
        if (d.rel <= proof->tolerance || !proof->ok)
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

/* The probe of what crosses goes with the bundle. */
static kerf_err
keep_probe(struct check *c, const kerf_proof_run *run, const kerf_tensor *cross,
           size_t count)
{
    kerf_proof *proof = c->proof;
    kerf_err err;

    if (!run->is_seeded || !proof->is_static || proof->probe == NULL)
        return KERF_OK;
    err = kerf_probe_sample(&proof->probe[proof->probe_count], run->seed, cross,
                            count);
    proof->probe_count += err == KERF_OK;
    return err;
}

static kerf_err
check_run(struct check *c, const kerf_proof_run *run, const kerf_tensor *want,
          kerf_detail *why)
{
    kerf_tensor cross[KERF_PORTS_MAX] = {{0}};
    kerf_tensor out[KERF_PORTS_MAX] = {{0}};
    size_t crossing = 0;
    size_t outs = 0;
    kerf_err err = kerf_probe_run_on(c->head, run->in, cross, &crossing, why);

    if (err != KERF_OK)
        return kerf_fail_in(why, err, "head");
    if (!c->proof->is_static)
        err = load_for(c, cross, crossing, why);
    if (err == KERF_OK)
        err = kerf_probe_run_on(c->tail, cross, out, &outs, why);
    if (err == KERF_OK)
        err = judge(c, run, want, out, outs, why);
    if (err == KERF_OK)
        err = keep_probe(c, run, cross, crossing);
    c->proof->runs++;
    kerf_tensors_free(cross, crossing);
    kerf_tensors_free(out, outs);
    return err;
}

/* All runs again, with what `keeping` answers as what is wanted. */
static kerf_err
compare_with(struct check *c, kerf_net *keeping, kerf_detail *why)
{
    kerf_err err = KERF_OK;

    for (size_t i = 0; i < c->p->run_count && err == KERF_OK && c->proof->ok;
         i++) {
        const kerf_proof_run *run = &c->p->run[i];
        kerf_tensor want[KERF_PORTS_MAX] = {{0}};
        size_t count = 0;

        err = kerf_probe_run_on(keeping, run->in, want, &count, why);
        if (err == KERF_OK && count < run->out_count)
            err = KERF_EMISMATCH;
        if (err == KERF_OK)
            err = check_run(c, run, want, why);
        kerf_tensors_free(want, count);
    }
    return err;
}

/* Halves that are not the whole: are they when it keeps what crosses? What
 * cannot be looked at is not said. */
static void
look_for_rounding(struct check *c, const kerf_cut *cut)
{
    const kerf_graph *g = c->p->model->graph;
    kerf_half whole = {0};
    kerf_net *keeping = NULL;
    kerf_detail why = {{0}};
    kerf_proof *proof = c->proof;
    kerf_proof again = {.ok = true,
                        .bit_equal = true,
                        .is_static = proof->is_static,
                        .tolerance = proof->tolerance};
    kerf_err err = kerf_graph_write_keeping(g, cut->value, cut->count,
                                            &whole.graph, &whole.weights, &why);

    if (err == KERF_OK)
        err = kerf_half_gather(&whole, c->p->model->file.format, &why);
    if (err == KERF_OK)
        err = load(c->p, &whole.bytes, &keeping, &why);
    c->proof = &again;
    if (err == KERF_OK)
        err = compare_with(c, keeping, &why);
    c->proof = proof;
    proof->is_rounding = err == KERF_OK && again.ok;
    if (proof->is_rounding) {
        why = proof->why;
        (void)kerf_fail(&proof->why, KERF_EMISMATCH,
                        "%s: by rounding: the halves equal the whole%s once "
                        "it gives what crosses too (--tolerance)",
                        why.text, again.bit_equal ? " in every bit" : "");
    }
    kerf_net_free(keeping);
    kerf_half_fini(&whole);
}

kerf_err
kerf_prover_check(kerf_prover *p, const kerf_cut *cut,
                  const kerf_model_bytes *head, const kerf_model_bytes *tail,
                  kerf_proof *proof, kerf_detail *why)
{
    struct check c = {.p = p, .tail_bytes = tail, .proof = proof};
    kerf_err err;

    *proof =
        (kerf_proof){.ok = true,
                     .bit_equal = true,
                     .outputs = p->out_count,
                     .probe = calloc(p->run_count + 1, sizeof *proof->probe)};
    if (proof->probe == NULL)
        return kerf_fail(why, KERF_ENOMEM, "no memory for a proof");
    err = load(p, head, &c.head, why);
    if (err != KERF_OK)
        return kerf_fail_in(why, err, "head");
    proof->is_static = kerf_net_is_static(c.head);
    proof->tolerance = default_tolerance(p, c.head);
    if (proof->is_static)
        err = kerf_engine_load_tail(p->engine, &c.tail, tail, c.head, why);
    for (size_t i = 0; i < p->run_count && err == KERF_OK; i++)
        err = check_run(&c, &p->run[i], p->run[i].out, why);
    if (err == KERF_OK && !proof->ok && cut != NULL &&
        proof->max_rel <= KERF_PROOF_ROUNDING_MOST)
        look_for_rounding(&c, cut);
    kerf_net_free(c.head);
    kerf_net_free(c.tail);
    return err;
}

kerf_err
kerf_prover_probes(const kerf_prover *p, kerf_probe **out, size_t *count)
{
    kerf_probe *probe = calloc(p->run_count + 1, sizeof *probe);
    size_t n = 0;
    kerf_err err = probe == NULL ? KERF_ENOMEM : KERF_OK;

    for (size_t i = 0; i < p->run_count && err == KERF_OK; i++) {
        const kerf_proof_run *run = &p->run[i];

        if (!run->is_seeded)
            continue;
        err = kerf_probe_sample(&probe[n], run->seed, run->out,
                                p->is_static ? run->out_count : 0);
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
