/*
 * The nodes of an ONNX graph should stand in an order in which each name is
 * given before it is read; files exist in which they do not. A walk in depth
 * from each node in the file's order leaves a good order as it is.
 */
#include "graph/onnx_own.h"

#include <stdlib.h>

/* Who gives a name. */
struct given {
    kerf_onnx_text name;
    uint32_t node; /* by place in the file */
};

struct open {
    uint32_t node;
    uint32_t read; /* the next one to look at */
};

enum { UNSEEN = 0, OPEN, DONE };

struct sort {
    const kerf_onnx_fields *graph;
    kerf_onnx_step *node; /* [count]: by place in the file */
    uint32_t *order;      /* [count]: places */
    uint8_t *state;       /* [count] */
    struct open *open;    /* [count]: the way from the node begun with */
    struct given *given;
    size_t count, given_count, given_room, ordered;
    kerf_onnx_names reads;
    kerf_detail *why;
};

static kerf_err collect_nodes(struct sort *s);
static kerf_err collect_names(struct sort *s);
static kerf_err sort_given(struct sort *s);
static kerf_err visit(struct sort *s, uint32_t node);
static kerf_err put_order(struct sort *s, kerf_onnx_order *out);

kerf_err
kerf_onnx_order_make(kerf_onnx_order *out, const kerf_onnx_fields *graph,
                     kerf_detail *why)
{
    struct sort s = {.graph = graph, .why = why};
    kerf_err err = collect_nodes(&s);

    if (err == KERF_OK)
        err = collect_names(&s);
    if (err == KERF_OK)
        err = sort_given(&s);
    for (uint32_t i = 0; i < s.count && err == KERF_OK; i++)
        err = visit(&s, i);
    if (err == KERF_OK)
        err = put_order(&s, out);
    free(s.node);
    free(s.order);
    free(s.state);
    free(s.open);
    free(s.given);
    free(s.reads.at);
    return err;
}

void
kerf_onnx_order_fini(kerf_onnx_order *order)
{
    free(order->step);
    free(order->reads.at);
    *order = (kerf_onnx_order){0};
}

static kerf_err
collect_nodes(struct sort *s)
{
    size_t count = 0;

    for (size_t i = 0; i < s->graph->count; i++)
        count += s->graph->at[i].f.number == ONNX_GRAPH_NODE;
    if (count > KERF_GRAPH_NODES_MAX)
        return kerf_fail(s->why, KERF_ETOOBIG, "%zu nodes, the limit is %d",
                         count, KERF_GRAPH_NODES_MAX);
    s->node = calloc(count + 1, sizeof *s->node);
    s->order = calloc(count + 1, sizeof *s->order);
    s->state = calloc(count + 1, sizeof *s->state);
    s->open = calloc(count + 1, sizeof *s->open);
    if (s->node == NULL || s->order == NULL || s->state == NULL ||
        s->open == NULL)
        return kerf_fail(s->why, KERF_ENOMEM, "no memory for %zu nodes", count);
    for (size_t i = 0; i < s->graph->count; i++) {
        if (s->graph->at[i].f.number == ONNX_GRAPH_NODE)
            s->node[s->count++].field = (uint32_t)i;
    }
    return KERF_OK;
}

static kerf_err
give(struct sort *s, kerf_onnx_text name, uint32_t node)
{
    void *at = s->given;
    kerf_err err = kerf_graph_grow(&at, s->given_count, &s->given_room,
                                   KERF_GRAPH_VALUES_MAX, sizeof *s->given);

    s->given = at;
    if (err != KERF_OK)
        return kerf_fail(s->why, err, "the names that nodes give: %s",
                         kerf_err_text(err));
    s->given[s->given_count++] = (struct given){name, node};
    return KERF_OK;
}

/* What each node reads and gives. */
static kerf_err
collect_names(struct sort *s)
{
    kerf_err err = KERF_OK;

    for (uint32_t i = 0; i < s->count && err == KERF_OK; i++) {
        const kerf_wire_field *node = &s->graph->at[s->node[i].field].f;
        kerf_rd r = kerf_wire_inside(node);
        kerf_wire_field f;

        s->node[i].first = (uint32_t)s->reads.count;
        err = kerf_onnx_reads_add(&s->reads, NULL, node->bytes, node->len,
                                  s->why);
        s->node[i].end = (uint32_t)s->reads.count;
        while (err == KERF_OK && kerf_wire_next(&r, &f)) {
            if (f.number == ONNX_NODE_OUTPUT && f.wire == 2 && f.len > 0)
                err = give(s, kerf_onnx_text_of(&f), i);
        }
    }
    return err;
}

static int
compare(const void *a, const void *b)
{
    return kerf_onnx_compare(&((const struct given *)a)->name,
                             &((const struct given *)b)->name);
}

static kerf_err
sort_given(struct sort *s)
{
    char name[KERF_ONNX_SHOWN];

    if (s->given_count > 1)
        qsort(s->given, s->given_count, sizeof *s->given, compare);
    for (size_t i = 1; i < s->given_count; i++) {
        if (compare(&s->given[i - 1], &s->given[i]) == 0) {
            return kerf_fail(s->why, KERF_ECORRUPT,
                             "'%s' is given twice: in ONNX a name has one "
                             "meaning",
                             kerf_onnx_show(name, s->given[i].name));
        }
    }
    return KERF_OK;
}

static const struct given *
find_giver(const struct sort *s, kerf_onnx_text name)
{
    const struct given key = {.name = name};

    if (s->given_count == 0 || name.len == 0)
        return NULL;
    return bsearch(&key, s->given, s->given_count, sizeof key, compare);
}

static kerf_err
fail_cycle(const struct sort *s, uint32_t node)
{
    const kerf_wire_field *f = &s->graph->at[s->node[node].field].f;
    char name[KERF_ONNX_SHOWN], gives[KERF_ONNX_SHOWN];

    return kerf_fail(
        s->why, KERF_ECORRUPT,
        "the graph has a cycle: node '%s', which gives '%s', needs itself",
        kerf_onnx_show(name,
                       kerf_onnx_field_text(f->bytes, f->len, ONNX_NODE_NAME)),
        kerf_onnx_show(
            gives, kerf_onnx_field_text(f->bytes, f->len, ONNX_NODE_OUTPUT)));
}

static void
begin(struct sort *s, uint32_t node, size_t *depth)
{
    s->state[node] = OPEN;
    s->open[(*depth)++] = (struct open){node, s->node[node].first};
}

/* Puts the node into the order, behind all that it needs. */
static kerf_err
visit(struct sort *s, uint32_t node)
{
    size_t depth = 0;

    if (s->state[node] != UNSEEN)
        return KERF_OK;
    begin(s, node, &depth);
    while (depth > 0) {
        struct open *at = &s->open[depth - 1];
        const struct given *from;

        if (at->read == s->node[at->node].end) {
            s->state[at->node] = DONE;
            s->order[s->ordered++] = at->node;
            depth--;
            continue;
        }
        from = find_giver(s, s->reads.at[at->read++]);
        if (from != NULL && s->state[from->node] == OPEN)
            return fail_cycle(s, from->node);
        if (from != NULL && s->state[from->node] == UNSEEN)
            begin(s, from->node, &depth);
    }
    return KERF_OK;
}

static kerf_err
put_order(struct sort *s, kerf_onnx_order *out)
{
    kerf_onnx_step *step = calloc(s->count + 1, sizeof *step);

    if (step == NULL)
        return kerf_fail(s->why, KERF_ENOMEM, "no memory for %zu nodes",
                         s->count);
    for (size_t i = 0; i < s->count; i++)
        step[i] = s->node[s->order[i]];
    *out =
        (kerf_onnx_order){.step = step, .count = s->count, .reads = s->reads};
    s->reads = (kerf_onnx_names){0};
    return KERF_OK;
}
