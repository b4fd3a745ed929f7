/*
 * Types of a model's tensors. The engine is asked once, for a network that has
 * every tensor as an output; what it cannot say, the file may.
 */
#include "cut/model.h"

#include <stdlib.h>
#include <string.h>

/* The probe network and what the engine says of it. */
struct probe {
    kerf_rope graph, weights;
    uint8_t *own[2]; /* gathered bytes */
    uint32_t *value; /* of each output */
    kerf_out_shape *out;
    size_t count;
};

static void
fini_probe(struct probe *p)
{
    kerf_rope_fini(&p->graph);
    kerf_rope_fini(&p->weights);
    free(p->own[0]);
    free(p->own[1]);
    free(p->value);
    free(p->out);
    *p = (struct probe){0};
}

static kerf_err
write_probe(struct probe *p, const kerf_cut_model *m, bool is_hollow,
            kerf_model_bytes *bytes, kerf_detail *why)
{
    const uint8_t *graph = NULL;
    const uint8_t *weights = NULL;
    kerf_err err = kerf_graph_write_probe(
        m->graph, is_hollow, &p->graph, &p->weights, &p->value, &p->count, why);

    if (err != KERF_OK)
        return err;
    err = kerf_rope_gather(&p->graph, &graph, &p->own[0]);
    if (err == KERF_OK)
        err = kerf_rope_gather(&p->weights, &weights, &p->own[1]);
    p->out = calloc(p->count + 1, sizeof *p->out);
    if (err != KERF_OK || p->out == NULL)
        return kerf_fail(why, KERF_ENOMEM, "no memory for %zu tensors",
                         p->count);
    *bytes = (kerf_model_bytes){.format = m->file.format,
                                .graph = graph,
                                .graph_len = p->graph.len,
                                .weights = weights,
                                .weights_len = p->weights.len};
    return KERF_OK;
}

/* Whether the engine's answer is of use; else m->note says why not. */
static bool
ask(struct probe *p, kerf_cut_model *m, kerf_engine *engine,
    const kerf_model_bytes *bytes)
{
    size_t said = 0;
    kerf_detail why = {{0}};
    kerf_err err =
        kerf_engine_shapes(engine, bytes, m->is_settled ? m->fixed : NULL,
                           m->is_settled ? m->graph->input_count : 0, p->out,
                           p->count, &said, &why);

    if (err == KERF_OK && said == p->count)
        return true;
    if (err == KERF_OK)
        (void)kerf_fail(&why, KERF_EENGINE, "%zu outputs, expected %zu", said,
                        p->count);
    else if (why.text[0] == '\0')
        (void)kerf_fail(&why, err, "%s", kerf_err_text(err));
    (void)kerf_fail(&m->note, err, "sizes as the file has them: %s", why.text);
    return false;
}

/* What the file says, for one sample: a free first dim is the batch. Not for
 * what was asked: there the engine knows better, also that it is not fixed. */
static kerf_err
fix_from_file(kerf_graph *g, const uint32_t *asked, size_t count)
{
    bool *skip = calloc(g->value_count + 1, sizeof *skip);

    if (skip == NULL)
        return KERF_ENOMEM;
    for (size_t i = 0; i < count; i++)
        skip[asked[i]] = true;
    for (size_t i = 0; i < g->value_count; i++) {
        const kerf_value *v = &g->value[i];
        kerf_shape fixed = v->shape;

        if (skip[i] || v->type != KERF_VALUE_TENSOR || !v->is_shaped ||
            v->is_fixed)
            continue;
        if (fixed.rank > 0 && fixed.dims[0] < 0)
            fixed.dims[0] = 1;
        if (kerf_shape_is_static(&fixed))
            kerf_graph_set_type(g, (uint32_t)i, v->dtype, NULL, &fixed);
    }
    free(skip);
    return KERF_OK;
}

/* The file is what other runtimes read: its dtype goes first. A size that
 * depends on the data is none, whatever the file says. */
static void
take_said(kerf_cut_model *m, uint32_t value, const kerf_out_shape *out)
{
    const kerf_value *v = &m->graph->value[value];

    if (out->is_known) {
        kerf_graph_set_type(m->graph, value,
                            v->type == KERF_VALUE_TENSOR ? v->dtype
                                                         : out->dtype,
                            &out->shape, m->is_settled ? &out->fixed : NULL);
    }
}

static void
fix_inputs(kerf_cut_model *m)
{
    kerf_graph *g = m->graph;

    for (size_t i = 0; i < g->input_count; i++) {
        if (kerf_shape_is_static(&m->fixed[i]))
            kerf_graph_set_type(g, g->input[i], m->in[i].dtype, NULL,
                                &m->fixed[i]);
    }
}

kerf_err
kerf_cut_type(kerf_cut_model *m, kerf_engine *engine, kerf_detail *why)
{
    struct probe p = {0};
    kerf_model_bytes bytes;
    const kerf_detail free_dims = m->note; /* of kerf_cut_settle() */
    bool said = false;
    kerf_err err = KERF_OK;

    fix_inputs(m);
    /* Large weights do not matter for shapes; an engine that wants them all the
     * same gets them. */
    for (int is_hollow = 1;
         engine != NULL && is_hollow >= 0 && !said && err == KERF_OK;
         is_hollow--) {
        fini_probe(&p);
        m->note = free_dims;
        err = write_probe(&p, m, is_hollow, &bytes, why);
        said = err == KERF_OK && ask(&p, m, engine, &bytes);
    }
    for (size_t i = 0; said && i < p.count; i++)
        take_said(m, p.value[i], &p.out[i]);
    if (err == KERF_OK)
        err = fix_from_file(m->graph, p.value, said ? p.count : 0);
    fini_probe(&p);
    return err;
}
