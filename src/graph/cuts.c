/*
 * The list of cuts. A walk over the order keeps the set of values that cross:
 * a node's results join it, and a value leaves it behind its last reader. What
 * halves cost comes from sums along the order; a parameter is the head's from
 * its first reader on, and the tail's up to its last.
 */
#include "graph/cuts.h"

#include "base/bytes.h"
#include "base/text.h"
#include "graph/cuts_own.h"
#include "graph/flops.h"
#include "graph/graph_own.h"
#include "kerf/limits.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Where a value is read: places in the order; node_count: as an output. */
struct span {
    uint32_t first, last; /* first: KERF_GRAPH_NONE: nowhere */
};

/* Sums over all nodes before a place, or parameters by their span. */
struct sums {
    uint64_t flops;
    bool is_known;
    uint64_t begun, begun_bytes; /* parameters with a reader before it */
    uint64_t ended, ended_bytes; /* ... with none at or after it */
};

struct walk {
    const kerf_graph *g;
    struct span *span;            /* [value_count] */
    struct sums *before;          /* [node_count + 2] */
    uint64_t params, param_bytes; /* all that are read */
    uint32_t *set;                /* what crosses here, in no order */
    uint32_t *at;                 /* [value_count]: where in set[] */
    size_t set_count;
    size_t unknown, other; /* in set[]: no bytes known; cannot be sent */
    uint64_t bytes;
};

static kerf_err make_walk(struct walk *w, const kerf_graph *g);
static void free_walk(struct walk *w);
static void find_spans(struct walk *w);
static void sum_up(struct walk *w);
static void join_set(struct walk *w, uint32_t value);
static void leave_set(struct walk *w, uint32_t value);
static void pass_node(struct walk *w, uint32_t node);
static kerf_err add_cut(struct walk *w, kerf_cuts *cuts, uint32_t nodes);

kerf_err
kerf_cuts_list(const kerf_graph *g, kerf_cuts *out, kerf_detail *why)
{
    kerf_cuts cuts = {0};
    struct walk w = {0};
    uint32_t begin = 0;
    kerf_err err = make_walk(&w, g);

    if (err == KERF_OK)
        cuts.cut = calloc(g->node_count + 1, sizeof *cuts.cut);
    if (err != KERF_OK || cuts.cut == NULL) {
        err = KERF_ENOMEM;
        goto out;
    }
    find_spans(&w);
    sum_up(&w);
    for (uint32_t v = 0; v < g->value_count; v++) {
        if (g->value[v].kind == KERF_VALUE_INPUT &&
            w.span[v].first != KERF_GRAPH_NONE)
            join_set(&w, v);
    }
    while (begin < g->node_count && g->node[begin].is_const)
        begin++;
    err = add_cut(&w, &cuts, begin);
    for (uint32_t i = begin; i < g->node_count && err == KERF_OK; i++) {
        if (!g->node[i].is_live)
            continue;
        pass_node(&w, i);
        err = add_cut(&w, &cuts, i + 1);
    }
out:
    free_walk(&w);
    if (err != KERF_OK) {
        kerf_cuts_fini(&cuts);
        return kerf_fail(why, err, "%s", kerf_err_text(err));
    }
    *out = cuts;
    return KERF_OK;
}

void
kerf_cuts_fini(kerf_cuts *cuts)
{
    for (size_t i = 0; i < cuts->count; i++)
        kerf_cut_fini(&cuts->cut[i]);
    free(cuts->cut);
    *cuts = (kerf_cuts){0};
}

void
kerf_cut_fini(kerf_cut *cut)
{
    free(cut->value);
    free(cut->head);
    free(cut->refused);
    *cut = (kerf_cut){0};
}

bool
kerf_value_bytes(const kerf_value *v, uint64_t *bytes)
{
    size_t n = 0;

    if (!v->is_fixed || kerf_shape_bytes(&v->fixed, v->dtype, &n) != KERF_OK)
        return false;
    *bytes = n;
    return true;
}

int
kerf_value_compare(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

    return (x > y) - (x < y);
}

static kerf_err
make_walk(struct walk *w, const kerf_graph *g)
{
    size_t values = g->value_count + 1; /* never 0 */

    w->g = g;
    w->span = calloc(values, sizeof *w->span);
    w->before = calloc(g->node_count + 2, sizeof *w->before);
    w->set = calloc(values, sizeof *w->set);
    w->at = calloc(values, sizeof *w->at);
    return w->span == NULL || w->before == NULL || w->set == NULL ||
                   w->at == NULL
               ? KERF_ENOMEM
               : KERF_OK;
}

static void
free_walk(struct walk *w)
{
    free(w->span);
    free(w->before);
    free(w->set);
    free(w->at);
}

static void
widen(struct span *s, uint32_t first, uint32_t last)
{
    if (s->first == KERF_GRAPH_NONE) {
        *s = (struct span){first, last};
        return;
    }
    if (first < s->first)
        s->first = first;
    if (last > s->last)
        s->last = last;
}

/* From the last node to the first, so that a const node's readers are known
 * before its own parameters are looked at. */
static void
find_spans(struct walk *w)
{
    const kerf_graph *g = w->g;
    uint32_t end = (uint32_t)g->node_count;

    for (size_t v = 0; v < g->value_count; v++)
        w->span[v] = (struct span){KERF_GRAPH_NONE, 0};
    for (size_t i = 0; i < g->output_count; i++)
        widen(&w->span[g->output[i]], end, end);
    for (uint32_t i = end; i-- > 0;) {
        const kerf_node *n = &g->node[i];
        struct span read = {i, i};

        if (!n->is_live)
            continue;
        if (n->is_const) {
            read.first = KERF_GRAPH_NONE;
            for (size_t k = 0; k < n->out_count; k++) {
                const struct span *s =
                    n->out[k] == KERF_GRAPH_NONE ? NULL : &w->span[n->out[k]];

                if (s != NULL && s->first != KERF_GRAPH_NONE)
                    widen(&read, s->first, s->last);
            }
        }
        for (size_t k = 0; k < n->in_count; k++) {
            if (n->in[k] != KERF_GRAPH_NONE)
                widen(&w->span[n->in[k]], read.first, read.last);
        }
    }
}

static void
sum_up(struct walk *w)
{
    const kerf_graph *g = w->g;
    struct sums *at = w->before;

    at[0].is_known = true;
    for (size_t v = 0; v < g->value_count; v++) {
        const kerf_value *p = &g->value[v];
        uint64_t count = kerf_param_count(p);

        if (w->span[v].first == KERF_GRAPH_NONE)
            continue;
        at[w->span[v].first + 1].begun += count;
        at[w->span[v].first + 1].begun_bytes += p->bytes;
        at[w->span[v].last + 1].ended += count;
        at[w->span[v].last + 1].ended_bytes += p->bytes;
        w->params += count;
        w->param_bytes += p->bytes;
    }
    for (size_t i = 0; i < g->node_count; i++) {
        struct sums *next = &at[i + 1];
        uint64_t flops = 0;

        next->is_known =
            !g->node[i].is_live || kerf_node_flops(g, &g->node[i], &flops);
        next->is_known &= at[i].is_known;
        next->flops = at[i].flops + (g->node[i].is_live ? flops : 0);
        next->begun += at[i].begun;
        next->begun_bytes += at[i].begun_bytes;
        next->ended += at[i].ended;
        next->ended_bytes += at[i].ended_bytes;
    }
}

uint64_t
kerf_param_count(const kerf_value *v)
{
    size_t count = 0;

    return kerf_shape_count(&v->shape, &count) == KERF_OK && v->bytes > 0
               ? count
               : 0;
}

static void
join_set(struct walk *w, uint32_t value)
{
    const kerf_value *v = &w->g->value[value];
    uint64_t bytes = 0;

    w->at[value] = (uint32_t)w->set_count;
    w->set[w->set_count++] = value;
    w->unknown += !kerf_value_bytes(v, &bytes);
    w->other += v->type == KERF_VALUE_OTHER;
    w->bytes += bytes;
}

static void
leave_set(struct walk *w, uint32_t value)
{
    const kerf_value *v = &w->g->value[value];
    uint32_t last = w->set[--w->set_count];
    uint64_t bytes = 0;

    w->set[w->at[value]] = last;
    w->at[last] = w->at[value];
    w->unknown -= !kerf_value_bytes(v, &bytes);
    w->other -= v->type == KERF_VALUE_OTHER;
    w->bytes -= bytes;
}

/* The node joins the head. */
static void
pass_node(struct walk *w, uint32_t node)
{
    const kerf_graph *g = w->g;
    const kerf_node *n = &g->node[node];

    for (size_t k = 0; k < n->out_count; k++) {
        uint32_t v = n->out[k];

        if (v != KERF_GRAPH_NONE && w->span[v].first != KERF_GRAPH_NONE)
            join_set(w, v);
    }
    for (size_t k = 0; k < n->in_count; k++) {
        uint32_t v = n->in[k];

        if (v == KERF_GRAPH_NONE || g->value[v].is_const ||
            w->span[v].last != node)
            continue;
        if (w->at[v] < w->set_count && w->set[w->at[v]] == v)
            leave_set(w, v); /* once, when it is read twice */
    }
}

/* Why this cut cannot be made, in new memory; NULL with *err KERF_OK: it can.
 */
static char *
refuse(const struct walk *w, kerf_err *err)
{
    char text[256], safe[128];
    char *copy;

    if (w->set_count == 0) {
        (void)snprintf(text, sizeof text, "nothing crosses");
    } else if (w->other > 0) {
        uint32_t v = w->set[0];

        for (size_t i = 0; i < w->set_count; i++) {
            v = w->set[i];
            if (w->g->value[v].type == KERF_VALUE_OTHER)
                break;
        }
        (void)snprintf(text, sizeof text, "'%s' crosses, which %s",
                       kerf_text_safe(safe, sizeof safe, w->g->value[v].name),
                       kerf_value_lacks(&w->g->value[v]));
    } else if (w->set_count > KERF_PORTS_MAX) {
        (void)snprintf(text, sizeof text, "%zu tensors cross, more than %d",
                       w->set_count, KERF_PORTS_MAX);
    } else {
        return NULL;
    }
    copy = strdup(text);
    if (copy == NULL)
        *err = KERF_ENOMEM;
    return copy;
}

static kerf_err
add_cut(struct walk *w, kerf_cuts *cuts, uint32_t nodes)
{
    const struct sums *here = &w->before[nodes];
    const struct sums *end = &w->before[w->g->node_count];
    /* A cut that is refused for its size does not cost the square of it. */
    size_t kept = w->set_count < KERF_PORTS_MAX ? w->set_count : KERF_PORTS_MAX;
    kerf_cut *cut = &cuts->cut[cuts->count];
    kerf_err err = KERF_OK;

    *cut = (kerf_cut){
        .index = (uint32_t)cuts->count,
        .nodes = nodes,
        .after = cuts->count == 0 ? KERF_GRAPH_NONE : nodes - 1,
        .count = kept,
        .bytes = w->bytes,
        .bytes_known = w->unknown == 0,
        .flops_known = end->is_known,
        .cost_head = {here->begun, here->begun_bytes, here->flops},
        .cost_tail = {w->params - here->ended,
                      w->param_bytes - here->ended_bytes,
                      end->flops - here->flops},
    };
    cuts->count++;
    cut->refused = refuse(w, &err);
    cut->value = malloc((kept + 1) * sizeof *cut->value);
    if (err != KERF_OK || cut->value == NULL)
        return KERF_ENOMEM;
    memcpy(cut->value, w->set, kept * sizeof *cut->value);
    qsort(cut->value, kept, sizeof *cut->value, kerf_value_compare);
    return KERF_OK;
}

kerf_err
kerf_cut_part(const kerf_graph *g, const kerf_cut *cut, bool head,
              kerf_part *out)
{
    const uint32_t *in = head ? g->input : cut->value;
    const uint32_t *give = head ? cut->value : g->output;
    kerf_part part = {.in_count = head ? g->input_count : cut->count,
                      .out_count = head ? cut->count : g->output_count};

    part.node = calloc(g->node_count + 1, sizeof *part.node);
    part.in = calloc(part.in_count + 1, sizeof *part.in);
    part.out = calloc(part.out_count + 1, sizeof *part.out);
    if (part.node == NULL || part.in == NULL || part.out == NULL) {
        kerf_part_fini(&part);
        return KERF_ENOMEM;
    }
    for (uint32_t i = 0; i < g->node_count; i++) {
        bool is_before = cut->head != NULL ? cut->head[i] : i < cut->nodes;

        part.node[i] = g->node[i].is_live && is_before == head;
    }
    for (size_t i = 0; i < part.in_count; i++)
        part.in[i] = in[i];
    for (size_t i = 0; i < part.out_count; i++)
        part.out[i] = give[i];
    *out = part;
    return KERF_OK;
}
