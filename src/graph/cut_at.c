/*
 * A cut at named tensors. The tail is what leads from them to the outputs, the
 * head what they come from, and no node may be in both. Two things cross
 * without being named: the few integers of shape-only nodes that the tail
 * cannot compute from what it has, and inputs of the network that only the tail
 * reads.
 */
#include "base/text.h"
#include "graph/cuts.h"
#include "graph/cuts_own.h"
#include "graph/flops.h"
#include "graph/graph_own.h"
#include "kerf/limits.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NAMES_SHOWN 4 /* in one message */

struct slice {
    const kerf_graph *g;
    /* [value_count] */
    bool *is_named, *is_carried; /* cross; carried: by themselves */
    bool *is_wanted;             /* by the tail, or an output */
    bool *head_reads;
    bool *is_told; /* in the message that they are missing */
    /* [node_count] */
    bool *head, *tail;
    bool *can_shape; /* shape-only, and the tail has all that it reads */
};

static kerf_err take_number(const char *text, kerf_cuts *list, kerf_cut *out,
                            kerf_detail *why);
static kerf_err make_slice(struct slice *s, const kerf_graph *g);
static void free_slice(struct slice *s);
static kerf_err find_name(struct slice *s, const char *name, kerf_detail *why);
static void slice_head(struct slice *s);
static void slice_tail(struct slice *s);
static void slice_shapes(struct slice *s);
static kerf_err check_slice(struct slice *s, kerf_detail *why);
static kerf_err take_slice(struct slice *s, kerf_cuts *list, kerf_cut *out,
                           kerf_detail *why);

kerf_err
kerf_cut_at(const kerf_graph *g, const char *const *name, size_t count,
            kerf_cut *out, kerf_detail *why)
{
    kerf_cuts list = {0};
    struct slice s = {0};
    kerf_err err = kerf_cuts_list(g, &list, why);

    if (err != KERF_OK)
        return err;
    if (count == 1 && kerf_graph_find(g, name[0]) == KERF_GRAPH_NONE &&
        name[0][0] != '\0' && name[0][strspn(name[0], "0123456789")] == '\0') {
        err = take_number(name[0], &list, out, why);
        goto out;
    }
    err = make_slice(&s, g);
    for (size_t i = 0; i < count && err == KERF_OK; i++)
        err = find_name(&s, name[i], why);
    if (err != KERF_OK)
        goto out;
    slice_head(&s);
    slice_tail(&s);
    slice_shapes(&s);
    slice_head(&s); /* what is carried comes from somewhere, too */
    err = check_slice(&s, why);
    if (err == KERF_OK)
        err = take_slice(&s, &list, out, why);
out:
    free_slice(&s);
    kerf_cuts_fini(&list);
    return err == KERF_ENOMEM ? kerf_fail(why, err, "%s", kerf_err_text(err))
                              : err;
}

/* A cut of the list, which loses it. */
static kerf_err
take_cut(kerf_cut *cut, kerf_cut *out, kerf_detail *why)
{
    if (cut->refused != NULL)
        return kerf_fail(why, KERF_ENOTSUP, "cut %u: %s", cut->index,
                         cut->refused);
    *out = *cut;
    *cut = (kerf_cut){0};
    return KERF_OK;
}

static kerf_err
take_number(const char *text, kerf_cuts *list, kerf_cut *out, kerf_detail *why)
{
    unsigned long long index = strtoull(text, NULL, 10);

    if (index >= list->count) {
        return kerf_fail(why, KERF_ENOENT,
                         "there is no tensor '%.32s', and no cut of that "
                         "number: they are 0 to %zu",
                         text, list->count - 1);
    }
    return take_cut(&list->cut[index], out, why);
}

static kerf_err
make_slice(struct slice *s, const kerf_graph *g)
{
    size_t values = g->value_count + 1, nodes = g->node_count + 1;

    s->g = g;
    s->is_named = calloc(values, sizeof(bool));
    s->is_carried = calloc(values, sizeof(bool));
    s->is_wanted = calloc(values, sizeof(bool));
    s->head_reads = calloc(values, sizeof(bool));
    s->is_told = calloc(values, sizeof(bool));
    s->head = calloc(nodes, sizeof(bool));
    s->tail = calloc(nodes, sizeof(bool));
    s->can_shape = calloc(nodes, sizeof(bool));
    return s->is_named == NULL || s->is_carried == NULL ||
                   s->is_wanted == NULL || s->head_reads == NULL ||
                   s->is_told == NULL || s->head == NULL || s->tail == NULL ||
                   s->can_shape == NULL
               ? KERF_ENOMEM
               : KERF_OK;
}

static void
free_slice(struct slice *s)
{
    free(s->is_named);
    free(s->is_carried);
    free(s->is_wanted);
    free(s->head_reads);
    free(s->is_told);
    free(s->head);
    free(s->tail);
    free(s->can_shape);
}

static kerf_err
fail_unknown(const kerf_graph *g, const char *safe, const char *name,
             kerf_detail *why)
{
    const char *near[3] = {"", "", ""};
    size_t count = kerf_graph_nearest(g, name, near);
    char list[320], safe_list[320];

    (void)snprintf(list, sizeof list, "%.100s%s%.100s%s%.100s", near[0],
                   count > 1 ? ", " : "", near[1], count > 2 ? ", " : "",
                   near[2]);
    return kerf_fail(why, KERF_ENOENT, "there is no tensor '%s'%s%s", safe,
                     count > 0 ? "; the nearest are " : "",
                     kerf_text_safe(safe_list, sizeof safe_list, list));
}

static kerf_err
find_name(struct slice *s, const char *name, kerf_detail *why)
{
    const kerf_graph *g = s->g;
    uint32_t found = kerf_graph_find(g, name);
    const kerf_value *v;
    char safe[128];

    (void)kerf_text_safe(safe, sizeof safe, name);
    if (found == KERF_GRAPH_NONE)
        return fail_unknown(g, safe, name, why);
    v = &g->value[found];
    if (v->is_const) {
        return kerf_fail(why, KERF_EINVAL,
                         "'%s' comes from the parameters alone: each half has "
                         "its own, it does not cross",
                         safe);
    }
    if (v->is_overwritten) {
        return kerf_fail(why, KERF_ENOTSUP,
                         "'%s' is written more than once, the name does not "
                         "say which is meant: give the number of the cut",
                         safe);
    }
    if (v->type == KERF_VALUE_OTHER)
        return kerf_fail(why, KERF_ENOTSUP, "'%s' %s: it cannot cross", safe,
                         kerf_value_lacks(v));
    if (!kerf_value_can_cross(g, found))
        return kerf_fail(why, KERF_EINVAL,
                         "'%s' leads to no output of the network", safe);
    s->is_named[found] = true;
    return KERF_OK;
}

/* What named and carried values come from. */
static void
slice_head(struct slice *s)
{
    for (size_t i = s->g->node_count; i-- > 0;) {
        const kerf_node *n = &s->g->node[i];

        for (size_t k = 0; k < n->out_count && !n->is_const; k++) {
            uint32_t v = n->out[k];

            if (v != KERF_GRAPH_NONE &&
                (s->is_named[v] || s->is_carried[v] || s->head_reads[v]))
                s->head[i] = true;
        }
        for (size_t k = 0; k < n->in_count && s->head[i]; k++) {
            if (n->in[k] != KERF_GRAPH_NONE)
                s->head_reads[n->in[k]] = true;
        }
    }
}

/* Whether the tail has to compute it. */
static bool
is_lacking(const struct slice *s, const kerf_node *n)
{
    for (size_t k = 0; k < n->out_count && !n->is_const; k++) {
        uint32_t v = n->out[k];

        if (v != KERF_GRAPH_NONE && s->is_wanted[v] && !s->is_named[v])
            return true;
    }
    return false;
}

static void
join_tail(struct slice *s, size_t node)
{
    const kerf_node *n = &s->g->node[node];

    s->tail[node] = true;
    for (size_t k = 0; k < n->in_count; k++) {
        if (n->in[k] != KERF_GRAPH_NONE && !s->g->value[n->in[k]].is_const)
            s->is_wanted[n->in[k]] = true;
    }
}

/* From the outputs back to named values, and to shape-only nodes. */
static void
slice_tail(struct slice *s)
{
    const kerf_graph *g = s->g;

    for (size_t i = 0; i < g->output_count; i++)
        s->is_wanted[g->output[i]] = !g->value[g->output[i]].is_const;
    for (size_t i = g->node_count; i-- > 0;) {
        if (!g->node[i].is_shape_only && is_lacking(s, &g->node[i]))
            join_tail(s, i);
    }
}

/* Whether the tail can look at it. */
static bool
tail_has(const struct slice *s, uint32_t value)
{
    const kerf_value *v;

    if (value == KERF_GRAPH_NONE || s->is_named[value])
        return true;
    v = &s->g->value[value];
    if (v->kind == KERF_VALUE_INPUT)
        return !s->head_reads[value];
    return v->is_const || s->tail[v->node] || s->can_shape[v->node];
}

/* Shapes that the tail wants: it computes them if it can. */
static void
slice_shapes(struct slice *s)
{
    const kerf_graph *g = s->g;

    for (size_t i = 0; i < g->node_count; i++) {
        const kerf_node *n = &g->node[i];

        s->can_shape[i] = n->is_shape_only && !s->head[i];
        for (size_t k = 0; k < n->in_count && s->can_shape[i]; k++)
            s->can_shape[i] = tail_has(s, n->in[k]);
    }
    for (size_t i = g->node_count; i-- > 0;) {
        const kerf_node *n = &g->node[i];

        if (!n->is_shape_only || !is_lacking(s, n))
            continue;
        if (s->can_shape[i]) {
            join_tail(s, i);
            continue;
        }
        for (size_t k = 0; k < n->out_count; k++) {
            uint32_t v = n->out[k];

            if (v != KERF_GRAPH_NONE && s->is_wanted[v])
                s->is_carried[v] = !s->is_named[v];
        }
    }
}

/* What the tail wants of the head, and does not get. */
static bool
is_missing(const struct slice *s, uint32_t value)
{
    const kerf_value *v;

    if (value == KERF_GRAPH_NONE || s->is_named[value] || s->is_carried[value])
        return false;
    v = &s->g->value[value];
    if (v->kind == KERF_VALUE_INPUT)
        return s->head_reads[value];
    return !v->is_const && s->head[v->node];
}

struct missing {
    size_t count;
    uint32_t value[NAMES_SHOWN];
};

static void
tell_missing(struct slice *s, struct missing *m, uint32_t value)
{
    if (!is_missing(s, value) || s->is_told[value])
        return;
    s->is_told[value] = true;
    if (m->count < NAMES_SHOWN)
        m->value[m->count] = value;
    m->count++;
}

static kerf_err
fail_missing(const struct slice *s, const struct missing *m, kerf_detail *why)
{
    const kerf_graph *g = s->g;
    const kerf_value *first = &g->value[m->value[0]];
    char list[256] = "", safe[256], by[64], more[32] = "";
    char safe_by[64], safe_first[64];
    size_t used = 0;

    for (size_t i = 0; i < m->count && i < NAMES_SHOWN; i++) {
        int n = snprintf(list + used, sizeof list - used, "%s%.60s",
                         i > 0 ? ", " : "", g->value[m->value[i]].name);

        used += n < 0 ? 0 : (size_t)n;
    }
    if (m->count > NAMES_SHOWN)
        (void)snprintf(more, sizeof more, " and %zu more",
                       m->count - NAMES_SHOWN);
    (void)snprintf(by, sizeof by, "%s",
                   first->kind == KERF_VALUE_INPUT ? "the input"
                                                   : g->node[first->node].op);
    return kerf_fail(why, KERF_EINVAL,
                     "these tensors do not separate the network: %s%s '%s' is "
                     "needed on both sides; add %s%s",
                     kerf_text_safe(safe_by, sizeof safe_by, by),
                     first->kind == KERF_VALUE_INPUT ? "" : " that gives",
                     kerf_text_safe(safe_first, sizeof safe_first, first->name),
                     kerf_text_safe(safe, sizeof safe, list), more);
}

static kerf_err
check_slice(struct slice *s, kerf_detail *why)
{
    const kerf_graph *g = s->g;
    struct missing m = {0};
    char safe[128];

    for (size_t i = 0; i < g->node_count; i++) {
        const kerf_node *n = &g->node[i];

        for (size_t k = 0; k < n->in_count && s->tail[i] && !s->head[i]; k++)
            tell_missing(s, &m, n->in[k]);
    }
    for (size_t i = 0; i < g->output_count; i++)
        tell_missing(s, &m, g->output[i]);
    if (m.count > 0)
        return fail_missing(s, &m, why);
    for (size_t v = 0; v < g->value_count; v++) {
        if (s->is_named[v] && !s->is_wanted[v]) {
            return kerf_fail(
                why, KERF_EINVAL,
                "'%s' is not read behind the other tensors: leave it out",
                kerf_text_safe(safe, sizeof safe, g->value[v].name));
        }
    }
    return KERF_OK;
}

static kerf_err
cost_half(const kerf_graph *g, const kerf_cut *cut, bool head,
          kerf_half_cost *cost, bool *is_known, kerf_detail *why)
{
    bool *need_node = calloc(g->node_count + 1, sizeof *need_node);
    bool *need_value = calloc(g->value_count + 1, sizeof *need_value);
    kerf_part part = {0};
    kerf_err err = kerf_cut_part(g, cut, head, &part);

    if (need_node == NULL || need_value == NULL)
        err = KERF_ENOMEM;
    if (err == KERF_OK)
        err = kerf_part_needs(g, &part, need_node, need_value, why);
    for (size_t i = 0; i < g->node_count && err == KERF_OK; i++) {
        uint64_t flops = 0;

        if (need_node[i])
            *is_known &= kerf_node_flops(g, &g->node[i], &flops);
        cost->flops += flops;
    }
    for (size_t v = 0; v < g->value_count && err == KERF_OK; v++) {
        if (!need_value[v])
            continue;
        cost->params += kerf_param_count(&g->value[v]);
        cost->param_bytes += g->value[v].bytes;
    }
    kerf_part_fini(&part);
    free(need_node);
    free(need_value);
    return err;
}

/* The cut of the list with these values; NULL: none. */
static kerf_cut *
find_same(kerf_cuts *list, const uint32_t *value, size_t count)
{
    for (size_t i = 0; i < list->count; i++) {
        kerf_cut *cut = &list->cut[i];

        if (cut->count == count &&
            memcmp(cut->value, value, count * sizeof *value) == 0)
            return cut;
    }
    return NULL;
}

static kerf_err
take_slice(struct slice *s, kerf_cuts *list, kerf_cut *out, kerf_detail *why)
{
    const kerf_graph *g = s->g;
    kerf_cut cut = {.index = KERF_GRAPH_NONE,
                    .nodes = KERF_GRAPH_NONE,
                    .after = KERF_GRAPH_NONE,
                    .bytes_known = true,
                    .flops_known = true};
    kerf_cut *same;
    kerf_err err = KERF_ENOMEM;

    cut.value = calloc(g->value_count + 1, sizeof *cut.value);
    if (cut.value == NULL)
        goto out;
    for (uint32_t v = 0; v < g->value_count; v++) {
        uint64_t bytes = 0;

        if (!s->is_named[v] && !s->is_carried[v] &&
            !(g->value[v].kind == KERF_VALUE_INPUT && s->is_wanted[v]))
            continue;
        cut.value[cut.count++] = v;
        cut.bytes_known &= kerf_value_bytes(&g->value[v], &bytes);
        cut.bytes += bytes;
    }
    same = find_same(list, cut.value, cut.count);
    if (same != NULL) {
        err = take_cut(same, out, why);
        goto out;
    }
    if (cut.count > KERF_PORTS_MAX) {
        err = kerf_fail(why, KERF_ENOTSUP, "%zu tensors cross, more than %d",
                        cut.count, KERF_PORTS_MAX);
        goto out;
    }
    cut.head = s->head;
    s->head = NULL;
    err = cost_half(g, &cut, true, &cut.cost_head, &cut.flops_known, why);
    if (err == KERF_OK)
        err = cost_half(g, &cut, false, &cut.cost_tail, &cut.flops_known, why);
    if (err != KERF_OK)
        goto out;
    *out = cut; /* the caller's from here */
    cut = (kerf_cut){0};
out:
    kerf_cut_fini(&cut);
    return err;
}
