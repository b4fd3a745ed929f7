/*
 * What a graph needs beyond what its file says: which nodes are const, look
 * only at shapes or are live, and the order.
 *
 * The order is that of the file, but for nodes that move up: const nodes stand
 * first, and shape-only nodes stand right behind the last node that they need.
 * A node that moves up reads the same versions of its names as before, since
 * only later ones are between; what it gives must have a name of its own, or a
 * reader of an older version would see it.
 */
#include "graph/graph_own.h"
#include "graph/ops.h"

#include <stdlib.h>
#include <string.h>

#define SMALL_ELEMENTS 64

struct settle {
    kerf_graph *g;
    /* In file order, until renumber(). */
    uint32_t *missing; /* [node_count]: inputs of a shape-only node to come */
    uint32_t *user_at; /* [value_count + 1]: where its part of user[] begins */
    uint32_t *user;    /* shape-only nodes that read a value */
    uint32_t *order;   /* [node_count] */
    uint32_t *place;   /* [node_count]: in order[] */
    uint32_t *ready;   /* [node_count]: a queue */
    size_t ordered, ready_from, ready_to;
};

static void set_links(kerf_graph *g);
static void find_const(kerf_graph *g);
static void find_shape_only(kerf_graph *g);
static void count_users(struct settle *s);
static void make_order(struct settle *s);
static kerf_err renumber(struct settle *s);
static kerf_err find_live(kerf_graph *g);
static void fix_shapes(kerf_graph *g);

kerf_err
kerf_graph_settle(kerf_graph *g, kerf_detail *why)
{
    size_t nodes = g->node_count + 1; /* never 0 */
    struct settle s = {.g = g};
    kerf_err err = KERF_ENOMEM;

    s.missing = calloc(nodes, sizeof *s.missing);
    s.user_at = calloc(g->value_count + 2, sizeof *s.user_at);
    s.user = calloc(g->own->link_count + 1, sizeof *s.user);
    s.order = calloc(nodes, sizeof *s.order);
    s.place = calloc(nodes, sizeof *s.place);
    s.ready = calloc(nodes, sizeof *s.ready);
    if (s.missing == NULL || s.user_at == NULL || s.user == NULL ||
        s.order == NULL || s.place == NULL || s.ready == NULL)
        goto out;
    set_links(g);
    find_const(g);
    find_shape_only(g);
    count_users(&s);
    make_order(&s);
    err = renumber(&s);
    if (err == KERF_OK)
        err = find_live(g);
    fix_shapes(g);
out:
    free(s.missing);
    free(s.user_at);
    free(s.user);
    free(s.order);
    free(s.place);
    free(s.ready);
    return err == KERF_OK ? KERF_OK
                          : kerf_fail(why, err, "%s", kerf_err_text(err));
}

static void
set_links(kerf_graph *g)
{
    static const uint32_t none = KERF_GRAPH_NONE; /* no node has a link */
    const uint32_t *at = g->own->link != NULL ? g->own->link : &none;

    for (size_t i = 0; i < g->node_count; i++) {
        kerf_node *n = &g->node[i];

        n->in = at;
        n->out = at + n->in_count;
        at += n->in_count + n->out_count;
    }
}

/* Every name that it gives is its alone. */
static bool
gives_own_names(const kerf_graph *g, const kerf_node *n)
{
    for (size_t i = 0; i < n->out_count; i++) {
        if (n->out[i] != KERF_GRAPH_NONE && g->value[n->out[i]].is_overwritten)
            return false;
    }
    return true;
}

static void
find_const(kerf_graph *g)
{
    for (size_t i = 0; i < g->node_count; i++) {
        kerf_node *n = &g->node[i];
        kerf_op_trait trait = kerf_op_find(n->op)->trait;

        n->is_random |= trait == KERF_OP_RANDOM;
        n->is_const =
            !n->is_random && trait != KERF_OP_CONTROL && gives_own_names(g, n);
        for (size_t k = 0; k < n->in_count && n->is_const; k++)
            n->is_const =
                n->in[k] == KERF_GRAPH_NONE || g->value[n->in[k]].is_const;
        for (size_t k = 0; k < n->out_count && n->is_const; k++) {
            if (n->out[k] != KERF_GRAPH_NONE)
                g->value[n->out[k]].is_const = true;
        }
    }
}

static bool
is_from_shapes(const kerf_graph *g, const kerf_value *v)
{
    return v->node != KERF_GRAPH_NONE && g->node[v->node].is_shape_only;
}

/* Few elements, or not known to be many. */
static bool
is_small(const kerf_value *v)
{
    size_t count = 0;

    return v->type != KERF_VALUE_TENSOR || !v->is_shaped ||
           kerf_shape_count(&v->shape, &count) == KERF_EINVAL ||
           count <= SMALL_ELEMENTS;
}

/* Computes with what such nodes gave, and stays small. */
static bool
continues_shapes(const kerf_graph *g, const kerf_node *n)
{
    bool has_one = false;

    if (kerf_op_find(n->op)->trait != KERF_OP_SMALL)
        return false;
    for (size_t i = 0; i < n->in_count; i++) {
        const kerf_value *v;

        if (n->in[i] == KERF_GRAPH_NONE)
            continue;
        v = &g->value[n->in[i]];
        if (!is_small(v) || !(v->is_const || is_from_shapes(g, v)))
            return false;
        has_one |= !v->is_const;
    }
    for (size_t i = 0; i < n->out_count; i++) {
        if (n->out[i] != KERF_GRAPH_NONE && !is_small(&g->value[n->out[i]]))
            return false;
    }
    return has_one;
}

static void
find_shape_only(kerf_graph *g)
{
    for (size_t i = 0; i < g->node_count; i++) {
        kerf_node *n = &g->node[i];

        n->is_shape_only =
            !n->is_const && gives_own_names(g, n) &&
            (g->own->format->is_shape_op(n->op) || continues_shapes(g, n));
    }
}

/* What has to be computed first. */
static bool
is_waited_for(const kerf_graph *g, uint32_t value)
{
    return value != KERF_GRAPH_NONE && !g->value[value].is_const &&
           g->value[value].kind == KERF_VALUE_NODE;
}

static void
count_users(struct settle *s)
{
    const kerf_graph *g = s->g;

    for (size_t i = 0; i < g->node_count; i++) {
        const kerf_node *n = &g->node[i];

        for (size_t k = 0; k < n->in_count && n->is_shape_only; k++) {
            if (is_waited_for(g, n->in[k]))
                s->user_at[n->in[k] + 2]++;
        }
    }
    for (size_t v = 2; v < g->value_count + 2; v++)
        s->user_at[v] += s->user_at[v - 1];
    /* user_at[v + 1] is where v's next one goes; in the end, where v's end. */
    for (size_t i = 0; i < g->node_count; i++) {
        const kerf_node *n = &g->node[i];

        for (size_t k = 0; k < n->in_count && n->is_shape_only; k++) {
            if (!is_waited_for(g, n->in[k]))
                continue;
            s->user[s->user_at[n->in[k] + 1]++] = (uint32_t)i;
            s->missing[i]++;
        }
    }
}

/* Puts the node into the order; shape-only nodes that have all they need now
 * join the queue. */
static void
put_node(struct settle *s, uint32_t node)
{
    const kerf_node *n = &s->g->node[node];

    s->place[node] = (uint32_t)s->ordered;
    s->order[s->ordered++] = node;
    for (size_t k = 0; k < n->out_count; k++) {
        uint32_t v = n->out[k];

        if (v == KERF_GRAPH_NONE)
            continue;
        for (uint32_t u = s->user_at[v]; u < s->user_at[v + 1]; u++) {
            if (--s->missing[s->user[u]] == 0)
                s->ready[s->ready_to++] = s->user[u];
        }
    }
}

static void
put_ready(struct settle *s)
{
    while (s->ready_from < s->ready_to)
        put_node(s, s->ready[s->ready_from++]);
}

static void
make_order(struct settle *s)
{
    const kerf_graph *g = s->g;

    for (uint32_t i = 0; i < g->node_count; i++) {
        if (g->node[i].is_const)
            put_node(s, i);
    }
    for (uint32_t i = 0; i < g->node_count; i++) {
        if (g->node[i].is_shape_only && s->missing[i] == 0)
            s->ready[s->ready_to++] = i;
    }
    put_ready(s);
    for (uint32_t i = 0; i < g->node_count; i++) {
        if (g->node[i].is_const || g->node[i].is_shape_only)
            continue;
        put_node(s, i);
        put_ready(s);
    }
}

static kerf_err
renumber(struct settle *s)
{
    kerf_graph *g = s->g;
    kerf_node *node = malloc((g->node_count + 1) * sizeof *node);

    if (node == NULL)
        return KERF_ENOMEM;
    for (size_t i = 0; i < g->node_count; i++)
        node[i] = g->node[s->order[i]];
    free(g->node);
    g->node = node;
    for (size_t v = 0; v < g->value_count; v++) {
        if (g->value[v].node != KERF_GRAPH_NONE)
            g->value[v].node = s->place[g->value[v].node];
    }
    g->own->file_order = s->place;
    s->place = NULL;
    return KERF_OK;
}

static kerf_err
find_live(kerf_graph *g)
{
    bool *is_wanted = calloc(g->value_count + 1, sizeof *is_wanted);

    if (is_wanted == NULL)
        return KERF_ENOMEM;
    for (size_t i = 0; i < g->output_count; i++)
        is_wanted[g->output[i]] = true;
    for (size_t i = g->node_count; i-- > 0;) {
        kerf_node *n = &g->node[i];

        n->is_live = false;
        for (size_t k = 0; k < n->out_count; k++)
            n->is_live |= n->out[k] != KERF_GRAPH_NONE && is_wanted[n->out[k]];
        for (size_t k = 0; k < n->in_count && n->is_live; k++) {
            if (n->in[k] != KERF_GRAPH_NONE)
                is_wanted[n->in[k]] = true;
        }
    }
    free(is_wanted);
    return KERF_OK;
}

/* What the file says of shapes, for one sample: only the first dim is free. */
static void
fix_shapes(kerf_graph *g)
{
    for (size_t i = 0; i < g->value_count; i++) {
        kerf_value *v = &g->value[i];

        if (v->type != KERF_VALUE_TENSOR || !v->is_shaped || v->is_fixed)
            continue;
        v->fixed = v->shape;
        if (v->fixed.rank > 0 && v->fixed.dims[0] < 0)
            v->fixed.dims[0] = 1;
        v->is_fixed = kerf_shape_is_static(&v->fixed);
    }
}
