/*
 * Writes a part of a program as a program of its own. Ops and variables that
 * are kept stand as they stood, in the same order, between feed and fetch ops
 * for the part's ports; blocks that ops run are kept whole, and numbered anew
 * where some are gone. The weights are ranges of the old file.
 */
#include "graph/paddle_own.h"

#include <string.h>

static kerf_err put_main(const kerf_pd_plan *plan, kerf_rope *out);
static void put_weights(const kerf_pd_plan *plan, kerf_rope *out);

kerf_err
kerf_paddle_write(const kerf_graph *g, const kerf_part *part, kerf_rope *graph,
                  kerf_rope *weights, kerf_detail *why)
{
    kerf_rope main = {0}, params = {0};
    kerf_pd_plan plan;
    const kerf_pd_plan *const plans[] = {&plan};
    kerf_err err = kerf_pd_plan_make(&plan, g, part, why);

    if (err == KERF_OK) {
        err = put_main(&plan, &main);
        put_weights(&plan, &params);
        if (err == KERF_OK)
            err = kerf_pd_finish(plans, 1, &main, &params, graph, weights, why);
        else
            err = kerf_fail(why, err, "writing the program: %s",
                            kerf_err_text(err));
    }
    kerf_rope_fini(&main);
    kerf_rope_fini(&params);
    kerf_pd_plan_fini(&plan);
    return err;
}

/* Whether the part has just the network's own ports: then their ops stand as
 * they stood. */
static bool
is_same(const uint32_t *a, size_t a_count, const uint32_t *b, size_t b_count)
{
    return a_count == b_count &&
           (a_count == 0 || memcmp(a, b, a_count * sizeof *a) == 0);
}

static kerf_err
put_ports(const kerf_pd_plan *plan, kerf_rope *out, bool is_feed)
{
    const kerf_graph *g = plan->g;
    const kerf_paddle *p = plan->p;
    const uint32_t *value = is_feed ? plan->part->in : plan->part->out;
    size_t count = is_feed ? plan->part->in_count : plan->part->out_count;
    bool same = is_feed ? is_same(value, count, g->input, g->input_count)
                        : is_same(value, count, g->output, g->output_count);
    const char *shared = is_feed ? plan->feed : plan->fetch;
    kerf_err err = KERF_OK;

    if (shared == NULL)
        shared = is_feed ? "feed" : "fetch";
    for (size_t i = 0; i < count && err == KERF_OK; i++) {
        const char *name = g->value[value[i]].name;

        if (same) {
            err = kerf_pd_put_op(
                out, &p->program.op[is_feed ? p->feed[i] : p->fetch[i]],
                &plan->edit);
        } else if (is_feed) {
            kerf_pd_put_port(out, "feed", shared, name, (int)i);
        } else {
            kerf_pd_put_port(out, "fetch", name, shared, (int)i);
        }
    }
    return err;
}

/* NULL, or what an engine has found out of an input of the part that its
 * variable contradicts: a number of boxes that is not fixed, a scalar that has
 * one dim there. */
static const kerf_shape *
other_shape(const kerf_pd_plan *plan, uint32_t var)
{
    const kerf_shape *has = &plan->p->program.var[var].desc.shape;

    for (size_t i = 0; i < plan->part->in_count; i++) {
        const kerf_value *v = &plan->g->value[plan->part->in[i]];
        bool fits = v->shape.rank == has->rank;

        if (v->origin != var || v->kind != KERF_VALUE_NODE || !v->is_shaped ||
            !plan->p->program.var[var].desc.is_known)
            continue;
        for (uint32_t d = 0; fits && d < has->rank; d++)
            fits = has->dims[d] < 0 || has->dims[d] == v->shape.dims[d];
        if (!fits)
            return &v->shape;
    }
    return NULL;
}

/* zeros: ops that fill variables. */
static kerf_err
put_vars(const kerf_pd_plan *plan, kerf_rope *out, kerf_rope *zeros)
{
    const kerf_pdmodel *m = &plan->p->program;
    kerf_err err = KERF_OK;

    for (uint32_t i = 0; i < m->block[0].var_count && err == KERF_OK; i++) {
        const kerf_shape *shape = plan->var[i] ? other_shape(plan, i) : NULL;

        if (plan->var[i] && plan->hollow[i])
            err = kerf_pd_put_zeros(out, zeros, &m->var[i]);
        else if (shape != NULL)
            err = kerf_pd_put_shaped(out, &m->var[i], shape);
        else if (plan->var[i])
            kerf_rope_view(out, m->var[i].whole, m->var[i].whole_len);
    }
    return err;
}

static kerf_err
put_main(const kerf_pd_plan *plan, kerf_rope *out)
{
    const kerf_pdmodel *m = &plan->p->program;
    kerf_rope zeros = {0};
    kerf_err err = KERF_OK;

    kerf_pd_put_rest(out, m);
    err = put_vars(plan, out, &zeros);
    if (plan->feed == NULL)
        kerf_pd_put_port_var(out, true);
    if (plan->fetch == NULL)
        kerf_pd_put_port_var(out, false);
    if (err == KERF_OK)
        err = put_ports(plan, out, true);
    kerf_rope_move(out, &zeros);
    for (size_t i = 0; i < m->block[0].op_count && err == KERF_OK; i++) {
        if (plan->op[i])
            err = kerf_pd_put_op(out, &m->op[i], &plan->edit);
    }
    if (err == KERF_OK)
        err = put_ports(plan, out, false);
    return err;
}

static void
put_weights(const kerf_pd_plan *plan, kerf_rope *out)
{
    const kerf_paddle *p = plan->p;

    for (size_t i = 0; i < p->program.param_count; i++) {
        if (plan->param[i])
            kerf_rope_view(out, p->record[i].start, p->record[i].len);
    }
}
