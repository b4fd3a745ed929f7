#include "graph/paddle_own.h"

#include <stdlib.h>
#include <string.h>

static kerf_err
alloc_plan(kerf_pd_plan *plan)
{
    const kerf_graph *g = plan->g;
    const kerf_pdmodel *m = &plan->p->program;

    plan->need_node = calloc(g->node_count + 1, sizeof(bool));
    plan->need_value = calloc(g->value_count + 1, sizeof(bool));
    plan->op = calloc(m->op_count + 1, sizeof(bool));
    plan->var = calloc(m->var_count + 1, sizeof(bool));
    plan->hollow = calloc(m->var_count + 1, sizeof(bool));
    plan->param = calloc(m->param_count + 1, sizeof(bool));
    plan->block = calloc(m->block_count, sizeof *plan->block);
    return plan->need_node == NULL || plan->need_value == NULL ||
                   plan->op == NULL || plan->var == NULL ||
                   plan->hollow == NULL || plan->param == NULL ||
                   plan->block == NULL
               ? KERF_ENOMEM
               : KERF_OK;
}

void
kerf_pd_plan_fini(kerf_pd_plan *plan)
{
    free(plan->need_node);
    free(plan->need_value);
    free(plan->op);
    free(plan->var);
    free(plan->hollow);
    free(plan->param);
    free(plan->block);
    free(plan->feed);
    free(plan->fetch);
}

static void
keep_values(kerf_pd_plan *plan, const uint32_t *value, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        uint32_t v = value[i];

        if (v != KERF_GRAPH_NONE && plan->g->value[v].origin != KERF_GRAPH_NONE)
            plan->var[plan->g->value[v].origin] = true;
    }
}

static void
mark_hollow(kerf_pd_plan *plan)
{
    for (size_t i = 0; i < plan->g->value_count; i++) {
        const kerf_value *v = &plan->g->value[i];

        if (v->kind == KERF_VALUE_PARAM && v->origin != KERF_GRAPH_NONE &&
            !v->is_overwritten && kerf_part_hollows(plan->part, v))
            plan->hollow[v->origin] = true;
    }
}

/* A record for each parameter that a kept block declares: who reads the file
 * counts on it. */
static void
keep_params(kerf_pd_plan *plan)
{
    const kerf_pdmodel *m = &plan->p->program;

    for (size_t b = 0; b < m->block_count; b++) {
        for (size_t i = 0; i < m->block[b].var_count; i++) {
            size_t at = m->block[b].first_var + i;
            uint32_t param;

            if (plan->block[b] == KERF_GRAPH_NONE ||
                (b == 0 && (!plan->var[at] || plan->hollow[at])))
                continue;
            param = kerf_pd_var_is_param(&m->var[at])
                        ? kerf_paddle_param(plan->p, &m->var[at].name)
                        : KERF_GRAPH_NONE;
            if (param != KERF_GRAPH_NONE)
                plan->param[param] = true;
        }
    }
}

/* Numbers the blocks that kept ops run. */
static void
keep_blocks(kerf_pd_plan *plan)
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
    plan->blocks = next;
    if (next != m->block_count)
        plan->edit =
            (kerf_pd_edit){.block = plan->block, .block_count = m->block_count};
}

/* Keeps all feed and fetch variables; the first of each is for new ports. */
static kerf_err
keep_port_vars(kerf_pd_plan *plan, kerf_detail *why)
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

kerf_err
kerf_pd_plan_make(kerf_pd_plan *plan, const kerf_graph *g,
                  const kerf_part *part, kerf_detail *why)
{
    kerf_err err;

    *plan = (kerf_pd_plan){.g = g, .p = g->own->state, .part = part};
    err = alloc_plan(plan);
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
    mark_hollow(plan);
    keep_blocks(plan);
    keep_params(plan);
    return keep_port_vars(plan, why);
}
