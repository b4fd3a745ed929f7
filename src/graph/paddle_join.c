/*
 * Joins two programs: the ops of the head, then those of the tail. The head's
 * names stay. One of the tail's that the head has too stays if both mean the
 * same: what crosses under one name, an equal parameter, what equal ops compute
 * from equal parameters. Any other gets a new name.
 *
 * The tail's ops run behind all of the head's. So a name that blocks of it use,
 * which is not changed in there, may stay if nothing of the head is read under
 * it and it is declared alike.
 */
#include "graph/paddle_join.h"

#include <stdlib.h>
#include <string.h>

static kerf_err plan_whole(kerf_pd_plan *plan, kerf_part *part,
                           const kerf_graph *g, kerf_detail *why);
static kerf_err put_main(kerf_pd_join *j, kerf_rope *out);
static kerf_err put_weights(kerf_pd_join *j, kerf_rope *out);

static kerf_err
make_join(kerf_pd_join *j, kerf_part parts[2])
{
    kerf_err err = plan_whole(&j->h, &parts[0], j->head, j->why);

    if (err == KERF_OK)
        err = plan_whole(&j->t, &parts[1], j->tail, j->why);
    if (err != KERF_OK)
        return err;
    if (j->head->version != j->tail->version) {
        return kerf_fail(j->why, KERF_EMISMATCH,
                         "head and tail were written by different versions of "
                         "Paddle: %lld and %lld",
                         (long long)j->head->version,
                         (long long)j->tail->version);
    }
    j->name = calloc(j->tail->value_count + 1, sizeof *j->name);
    j->is_dropped = calloc(j->tail->node_count + 1, sizeof *j->is_dropped);
    j->head_has = calloc(j->head->value_count + 1, sizeof *j->head_has);
    j->has_blocks = calloc(j->t.p->program.op_count + 1, sizeof *j->has_blocks);
    if (j->name == NULL || j->is_dropped == NULL || j->head_has == NULL ||
        j->has_blocks == NULL)
        return kerf_fail(j->why, KERF_ENOMEM, "out of memory");
    for (size_t b = 1; b < j->t.p->program.block_count; b++) {
        if (j->t.block[b] == KERF_GRAPH_NONE)
            continue;
        j->t.block[b] += j->h.blocks - 1;
        j->has_blocks[j->t.p->runner[b]] = true;
    }
    j->t.edit = (kerf_pd_edit){.block = j->t.block,
                               .block_count = j->t.p->program.block_count,
                               .rename = kerf_pd_join_rename,
                               .ctx = j};
    return kerf_pd_join_names(j);
}

kerf_err
kerf_paddle_join(const kerf_graph *head, const kerf_graph *tail,
                 kerf_rope *graph, kerf_rope *weights, kerf_detail *why)
{
    kerf_pd_join j = {.head = head, .tail = tail, .why = why};
    const kerf_pd_plan *const plans[] = {&j.h, &j.t};
    kerf_rope main = {0}, params = {0};
    kerf_part parts[2] = {0};
    kerf_err err = make_join(&j, parts);

    if (err == KERF_OK) {
        err = put_main(&j, &main);
        if (err == KERF_OK)
            err = put_weights(&j, &params);
        if (err == KERF_OK)
            err = kerf_pd_finish(plans, 2, &main, &params, graph, weights, why);
        else
            err = kerf_fail(why, err, "joining the programs: %s",
                            kerf_err_text(err));
    }
    kerf_rope_fini(&main);
    kerf_rope_fini(&params);
    kerf_pd_plan_fini(&j.h);
    kerf_pd_plan_fini(&j.t);
    kerf_part_fini(&parts[0]);
    kerf_part_fini(&parts[1]);
    for (size_t i = 0; j.name != NULL && i < tail->value_count; i++)
        free(j.name[i].new);
    free(j.name);
    free(j.is_dropped);
    free(j.head_has);
    free(j.has_blocks);
    return err;
}

static kerf_err
plan_whole(kerf_pd_plan *plan, kerf_part *part, const kerf_graph *g,
           kerf_detail *why)
{
    kerf_err err = kerf_part_whole(g, part);

    if (err != KERF_OK)
        return kerf_fail(why, err, "%s", kerf_err_text(err));
    return kerf_pd_plan_make(plan, g, part, why);
}

/* The head has it, under the same name. */
static bool
is_shared(const kerf_pd_join *j, uint32_t value)
{
    return j->name[j->tail->own->first[value]].is_shared;
}

/* Variables: the head's, then the tail's that it does not have. */
static kerf_err
put_vars(const kerf_pd_join *j, kerf_rope *out)
{
    const kerf_pdmodel *h = &j->h.p->program, *t = &j->t.p->program;
    kerf_err err = KERF_OK;

    for (size_t i = 0; i < h->block[0].var_count && err == KERF_OK; i++) {
        if (j->h.var[i])
            err = kerf_pd_put_var(out, &h->var[i], &j->h.edit);
    }
    for (size_t i = 0; i < t->block[0].var_count && err == KERF_OK; i++) {
        uint32_t at = kerf_paddle_var(j->h.p, 0, &t->var[i].name);
        char *name;
        bool is_new;

        if (!j->t.var[i])
            continue;
        name = strndup(t->var[i].name.at, t->var[i].name.len);
        if (name == NULL)
            return KERF_ENOMEM;
        is_new = kerf_pd_join_rename(j, name) != NULL;
        free(name);
        if (is_new || at == KERF_GRAPH_NONE || !j->h.var[at])
            err = kerf_pd_put_var(out, &t->var[i], &j->t.edit);
    }
    if (j->h.feed == NULL && j->t.feed == NULL)
        kerf_pd_put_port_var(out, true);
    return err;
}

/* Inputs: the head's, then the tail's that nobody gives. */
static kerf_err
put_feeds(kerf_pd_join *j, kerf_rope *out)
{
    const kerf_graph *h = j->head, *t = j->tail;
    const char *feed = j->h.feed != NULL   ? j->h.feed
                       : j->t.feed != NULL ? j->t.feed
                                           : "feed";
    size_t extra = 0;
    kerf_err err = KERF_OK;

    for (size_t i = h->output_count; i < t->input_count; i++)
        extra += !is_shared(j, t->input[i]);
    for (size_t i = 0; i < h->input_count && err == KERF_OK; i++) {
        if (extra == 0)
            err = kerf_pd_put_op(out, &j->h.p->program.op[j->h.p->feed[i]],
                                 &j->h.edit);
        else
            kerf_pd_put_port(out, "feed", feed, h->value[h->input[i]].name,
                             (int)i);
    }
    extra = h->input_count;
    for (size_t i = h->output_count; i < t->input_count; i++) {
        if (!is_shared(j, t->input[i]))
            kerf_pd_put_port(out, "feed", feed, t->value[t->input[i]].name,
                             (int)extra++);
    }
    return err;
}

static kerf_err
put_ops(kerf_rope *out, const kerf_pd_plan *plan, const bool *is_dropped)
{
    const kerf_graph *g = plan->g;
    kerf_err err = KERF_OK;

    for (size_t i = 0; i < g->node_count && err == KERF_OK; i++) {
        uint32_t at = g->own->file_order[i];

        if (plan->need_node[at] && (is_dropped == NULL || !is_dropped[at]))
            err = kerf_pd_put_op(out, &plan->p->program.op[g->node[at].origin],
                                 &plan->edit);
    }
    return err;
}

static kerf_err
put_main(kerf_pd_join *j, kerf_rope *out)
{
    const kerf_graph *h = j->head, *t = j->tail;
    kerf_err err;

    kerf_pd_put_rest(out, &j->h.p->program);
    err = put_vars(j, out);
    if (err == KERF_OK)
        err = put_feeds(j, out);
    if (err == KERF_OK)
        err = put_ops(out, &j->h, NULL);
    for (size_t i = 0; i < h->output_count && err == KERF_OK; i++) {
        const char *from = h->value[h->output[i]].name;
        const char *to = t->value[t->input[i]].name;
        const char *new = kerf_pd_join_rename(j, to);

        to = new != NULL ? new : to;
        if (strcmp(from, to) != 0)
            kerf_pd_put_port(out, "assign", from, to, -1);
    }
    if (err == KERF_OK)
        err = put_ops(out, &j->t, j->is_dropped);
    for (size_t i = 0; i < t->output_count && err == KERF_OK; i++)
        err = kerf_pd_put_op(out, &j->t.p->program.op[j->t.p->fetch[i]],
                             &j->t.edit);
    return err;
}

struct weight {
    const char *name;
    const kerf_pd_record *record;
};

static int
compare_weights(const void *a, const void *b)
{
    return strcmp(((const struct weight *)a)->name,
                  ((const struct weight *)b)->name);
}

static void
add_weights(const kerf_pd_join *j, const kerf_pd_plan *plan,
            struct weight *list, size_t *count)
{
    const kerf_graph *g = plan->g;

    for (size_t i = 0; i < plan->p->program.param_count; i++) {
        const kerf_pd_text *name = &plan->p->program.param[i].name;
        uint32_t v = kerf_graph_lookup(g, name->at, name->len);
        const char *new = NULL;

        if (!plan->param[i])
            continue;
        if (g == j->tail) {
            const kerf_join_name *n = &j->name[g->own->first[v]];

            if (n->is_shared)
                continue;
            new = n->new;
        }
        list[(*count)++] = (struct weight){new != NULL ? new : g->value[v].name,
                                           &plan->p->record[i]};
    }
}

static kerf_err
put_weights(kerf_pd_join *j, kerf_rope *out)
{
    size_t most = j->h.p->program.param_count + j->t.p->program.param_count + 1;
    struct weight *list = calloc(most, sizeof *list);
    size_t count = 0;

    if (list == NULL)
        return KERF_ENOMEM;
    add_weights(j, &j->h, list, &count);
    add_weights(j, &j->t, list, &count);
    qsort(list, count, sizeof *list, compare_weights);
    for (size_t i = 0; i < count; i++)
        kerf_rope_view(out, list[i].record->start, list[i].record->len);
    free(list);
    return KERF_OK;
}
