/*
 * Writes a part of a program as a program of its own. Ops and variables that
 * are kept stand as they stood, in the same order, between feed and fetch ops
 * for the part's ports; blocks that ops run are kept whole, and numbered anew
 * where some are gone. The weights are ranges of the old file.
 */
#include "graph/paddle_own.h"
#include "kerf/limits.h"

#include <stdlib.h>
#include <string.h>

struct plan {
    const kerf_graph *g;
    const kerf_paddle *p;
    const kerf_part *part;
    bool *need_node, *need_value; /* [node_count], [value_count] */
    bool *op;                     /* [op_count]: of block 0 that are kept */
    bool *var;                    /* [var_count] of block 0 that are kept */
    bool *param;                  /* [param_count] */
    uint32_t *block; /* [block_count]: new index; KERF_GRAPH_NONE: gone */
    kerf_pd_edit edit;
    char *feed, *fetch; /* names of variables; NULL: to be made */
};

static kerf_err make_plan(struct plan *plan, kerf_detail *why);
static void free_plan(struct plan *plan);
static kerf_err put_program(struct plan *plan, kerf_rope *out);
static void put_weights(const struct plan *plan, kerf_rope *out);

kerf_err
kerf_paddle_write(const kerf_graph *g, const kerf_part *part, kerf_rope *graph,
                  kerf_rope *weights, kerf_detail *why)
{
    struct plan plan = {.g = g, .p = g->own->state, .part = part};
    kerf_rope program = {0}, params = {0};
    kerf_err err = make_plan(&plan, why);

    if (err != KERF_OK)
        goto out;
    err = put_program(&plan, &program);
    put_weights(&plan, &params);
    if (err == KERF_OK && (program.bad || params.bad))
        err = KERF_ENOMEM;
    if (err == KERF_OK && (program.len > KERF_MODEL_BYTES_MAX ||
                           params.len > KERF_MODEL_BYTES_MAX))
        err = KERF_ETOOBIG;
    if (err != KERF_OK) {
        err =
            kerf_fail(why, err, "writing the program: %s", kerf_err_text(err));
        goto out;
    }
    kerf_rope_move(graph, &program);
    kerf_rope_move(weights, &params);
    if (graph->bad || weights->bad)
        err = kerf_fail(why, KERF_ENOMEM, "out of memory");
out:
    kerf_rope_fini(&program);
    kerf_rope_fini(&params);
    free_plan(&plan);
    return err;
}

static kerf_err
alloc_plan(struct plan *plan)
{
    const kerf_graph *g = plan->g;
    const kerf_pdmodel *m = &plan->p->program;

    plan->need_node = calloc(g->node_count + 1, sizeof(bool));
    plan->need_value = calloc(g->value_count + 1, sizeof(bool));
    plan->op = calloc(m->op_count + 1, sizeof(bool));
    plan->var = calloc(m->var_count + 1, sizeof(bool));
    plan->param = calloc(m->param_count + 1, sizeof(bool));
    plan->block = calloc(m->block_count, sizeof *plan->block);
    return plan->need_node == NULL || plan->need_value == NULL ||
                   plan->op == NULL || plan->var == NULL ||
                   plan->param == NULL || plan->block == NULL
               ? KERF_ENOMEM
               : KERF_OK;
}

static void
free_plan(struct plan *plan)
{
    free(plan->need_node);
    free(plan->need_value);
    free(plan->op);
    free(plan->var);
    free(plan->param);
    free(plan->block);
    free(plan->feed);
    free(plan->fetch);
}

static void
keep_values(struct plan *plan, const uint32_t *value, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        uint32_t v = value[i];

        if (v != KERF_GRAPH_NONE && plan->g->value[v].origin != KERF_GRAPH_NONE)
            plan->var[plan->g->value[v].origin] = true;
    }
}

/* A record for each parameter that a kept block declares: who reads the file
 * counts on it. */
static void
keep_params(struct plan *plan)
{
    const kerf_pdmodel *m = &plan->p->program;

    for (size_t b = 0; b < m->block_count; b++) {
        for (size_t i = 0; i < m->block[b].var_count; i++) {
            size_t at = m->block[b].first_var + i;
            uint32_t param;

            if (plan->block[b] == KERF_GRAPH_NONE || (b == 0 && !plan->var[at]))
                continue;
            param =
                m->var[at].is_persistable && m->var[at].kind == KERF_PD_TENSOR
                    ? kerf_paddle_param(plan->p, &m->var[at].name)
                    : KERF_GRAPH_NONE;
            if (param != KERF_GRAPH_NONE)
                plan->param[param] = true;
        }
    }
}

/* Numbers the blocks that kept ops run. */
static void
keep_blocks(struct plan *plan)
{
    const kerf_pdmodel *m = &plan->p->program;
    uint32_t next = 1;

    plan->block[0] = 0;
    for (uint32_t b = 1; b < m->block_count; b++) {
        uint32_t runner = plan->p->runner[b];

        plan->block[b] = runner != KERF_GRAPH_NONE && plan->op[runner]
                             ? next++
                             : KERF_GRAPH_NONE;
    }
    if (next != m->block_count)
        plan->edit =
            (kerf_pd_edit){.block = plan->block, .block_count = m->block_count};
}

/* Keeps all feed and fetch variables; the first of each is for new ports. */
static kerf_err
keep_port_vars(struct plan *plan, kerf_detail *why)
{
    const kerf_pdmodel *m = &plan->p->program;

    for (size_t i = 0; i < m->block[0].var_count; i++) {
        const kerf_pd_var *var = &m->var[i];
        char **name = var->kind == KERF_PD_FEED    ? &plan->feed
                      : var->kind == KERF_PD_FETCH ? &plan->fetch
                                                   : NULL;

        if (name == NULL)
            continue;
        plan->var[i] = true;
        if (*name == NULL)
            *name = strndup(var->name.at, var->name.len);
        if (*name == NULL)
            return KERF_ENOMEM;
    }
    if ((plan->feed == NULL &&
         kerf_graph_find(plan->g, "feed") != KERF_GRAPH_NONE) ||
        (plan->fetch == NULL &&
         kerf_graph_find(plan->g, "fetch") != KERF_GRAPH_NONE))
        return kerf_fail(why, KERF_ENOTSUP,
                         "a tensor is called feed or fetch, as the program's "
                         "ports are: rename it");
    return KERF_OK;
}

static kerf_err
make_plan(struct plan *plan, kerf_detail *why)
{
    const kerf_graph *g = plan->g;
    kerf_err err = alloc_plan(plan);

    if (err == KERF_OK)
        err = kerf_part_needs(g, plan->part, plan->need_node, plan->need_value,
                              why);
    if (err != KERF_OK)
        return err == KERF_ENOMEM ? kerf_fail(why, err, "out of memory") : err;
    for (size_t i = 0; i < g->node_count; i++) {
        const kerf_node *n = &g->node[i];

        if (!plan->need_node[i])
            continue;
        plan->op[n->origin] = true;
        keep_values(plan, n->in, n->in_count);
        keep_values(plan, n->out, n->out_count);
    }
    keep_values(plan, plan->part->in, plan->part->in_count);
    keep_values(plan, plan->part->out, plan->part->out_count);
    keep_blocks(plan);
    keep_params(plan);
    return keep_port_vars(plan, why);
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
put_ports(const struct plan *plan, kerf_rope *out, bool is_feed)
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

        if (same)
            err = kerf_pd_put_op(
                out, &p->program.op[is_feed ? p->feed[i] : p->fetch[i]],
                &plan->edit);
        else if (is_feed)
            kerf_pd_put_port(out, "feed", shared, name, (int)i);
        else
            kerf_pd_put_port(out, "fetch", name, shared, (int)i);
    }
    return err;
}

static kerf_err
put_main(const struct plan *plan, kerf_rope *out)
{
    const kerf_pdmodel *m = &plan->p->program;
    kerf_err err = KERF_OK;

    kerf_pd_put_rest(out, m);
    for (size_t i = 0; i < m->block[0].var_count; i++) {
        if (plan->var[i])
            kerf_rope_view(out, m->var[i].whole, m->var[i].whole_len);
    }
    if (plan->feed == NULL)
        kerf_pd_put_port_var(out, true);
    if (plan->fetch == NULL)
        kerf_pd_put_port_var(out, false);
    err = put_ports(plan, out, true);
    for (size_t i = 0; i < m->block[0].op_count && err == KERF_OK; i++) {
        if (plan->op[i])
            err = kerf_pd_put_op(out, &m->op[i], &plan->edit);
    }
    if (err == KERF_OK)
        err = put_ports(plan, out, false);
    return err;
}

/* All that is not a block stands as it stood: version, op versions and what we
 * do not know. */
static kerf_err
put_program(struct plan *plan, kerf_rope *out)
{
    const kerf_paddle *p = plan->p;
    kerf_rd r = {.at = p->bytes, .left = p->len};
    uint32_t block = 0;
    kerf_err err = KERF_OK;
    kerf_wire_field f;

    while (err == KERF_OK && kerf_wire_next(&r, &f)) {
        kerf_rope inside = {0};

        if (f.number != KERF_PD_PROGRAM_BLOCKS || f.wire != 2) {
            kerf_rope_view(out, f.whole, f.whole_len);
            continue;
        }
        if (block == 0)
            err = put_main(plan, &inside);
        else if (plan->block[block] != KERF_GRAPH_NONE)
            err = kerf_pd_put_inner(&inside, &p->program, block,
                                    plan->block[p->parent[block]], &plan->edit);
        if (err == KERF_OK && plan->block[block] != KERF_GRAPH_NONE)
            kerf_wire_put_rope(out, KERF_PD_PROGRAM_BLOCKS, &inside);
        kerf_rope_fini(&inside);
        block++;
    }
    return err;
}

static void
put_weights(const struct plan *plan, kerf_rope *out)
{
    const kerf_paddle *p = plan->p;

    for (size_t i = 0; i < p->program.param_count; i++) {
        if (plan->param[i])
            kerf_rope_view(out, p->record[i].start, p->record[i].len);
    }
}
