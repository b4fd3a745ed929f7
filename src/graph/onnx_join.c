/*
 * Joins two ONNX graphs. The i-th output of the head is the i-th input of the
 * tail; beyond that, what stands in both halves (parameters, nodes on the same
 * values) is one thing. All the rest has names of its own in the whole: inputs
 * and outputs of the whole keep theirs, and of two values with one name the
 * tail's gets a new one.
 */
#include "graph/onnx_join.h"

#include <stdlib.h>
#include <string.h>

static kerf_err init_joint(kerf_onnx_joint *j);
static void fini_joint(kerf_onnx_joint *j);
static kerf_err find_same(kerf_onnx_joint *j);
static kerf_err give_names(kerf_onnx_joint *j);

kerf_err
kerf_onnx_join(const kerf_graph *head, const kerf_graph *tail, kerf_rope *graph,
               kerf_rope *weights, kerf_detail *why)
{
    kerf_onnx_joint j = {
        .head = {.g = head, .k = head->own->state},
        .tail = {.g = tail, .k = tail->own->state},
        .why = why,
    };
    kerf_rope inside = {0}, model = {0};
    kerf_err err = init_joint(&j);

    (void)weights; /* they are in the model */
    if (err == KERF_OK)
        err = find_same(&j);
    if (err == KERF_OK)
        err = give_names(&j);
    if (err == KERF_OK)
        err = kerf_onnx_join_graph(&j, &inside);
    if (err == KERF_OK)
        err = kerf_onnx_join_model(&j, &inside, &model);
    if (err == KERF_OK)
        err = kerf_onnx_check_size(&model, why);
    if (err == KERF_OK)
        kerf_rope_move(graph, &model);
    kerf_rope_fini(&inside);
    kerf_rope_fini(&model);
    fini_joint(&j);
    return err;
}

/* [count], each KERF_GRAPH_NONE. */
static uint32_t *
new_list(size_t count)
{
    uint32_t *list = malloc((count + 1) * sizeof *list);

    if (list != NULL)
        memset(list, 0xFF, (count + 1) * sizeof *list);
    return list;
}

static bool
init_side(kerf_onnx_side *s)
{
    s->final = new_list(s->g->value_count);
    s->is_dropped = calloc(s->g->node_count + 1, sizeof *s->is_dropped);
    return s->final != NULL && s->is_dropped != NULL;
}

static kerf_err
init_joint(kerf_onnx_joint *j)
{
    bool is_good = init_side(&j->head) && init_side(&j->tail);

    j->same = new_list(j->tail.g->value_count);
    if (!is_good || j->same == NULL ||
        kerf_graph_new(&j->whole, KERF_FORMAT_ONNX, &kerf_graph_onnx) !=
            KERF_OK)
        return kerf_fail(j->why, KERF_ENOMEM, "no memory to join two models");
    return KERF_OK;
}

static void
fini_joint(kerf_onnx_joint *j)
{
    free(j->head.final);
    free(j->head.is_dropped);
    free(j->tail.final);
    free(j->tail.is_dropped);
    free(j->same);
    kerf_graph_close(j->whole);
}

static bool
is_rope_equal(const kerf_rope *a, const kerf_rope *b)
{
    size_t i = 0, k = 0; /* pieces, and bytes of them that are done */
    size_t i_done = 0, k_done = 0;

    if (a->len != b->len)
        return false;
    while (i < a->count && k < b->count) {
        size_t i_left = a->piece[i].len - i_done;
        size_t k_left = b->piece[k].len - k_done;
        size_t len = i_left < k_left ? i_left : k_left;

        if (memcmp(a->piece[i].at + i_done, b->piece[k].at + k_done, len) != 0)
            return false;
        i_done += len;
        k_done += len;
        if (len == i_left) {
            i++;
            i_done = 0;
        }
        if (len == k_left) {
            k++;
            k_done = 0;
        }
    }
    return true;
}

kerf_err
kerf_onnx_equal(const kerf_onnx_joint *j, kerf_onnx_message is,
                const kerf_wire_field *head, const kerf_wire_field *tail,
                bool *out)
{
    kerf_rope a = {0}, b = {0};
    kerf_err err;

    *out = head->len == tail->len &&
           (head->len == 0 || memcmp(head->bytes, tail->bytes, head->len) == 0);
    if (!j->head.k->has_outside && !j->tail.k->has_outside)
        return KERF_OK;
    err = kerf_onnx_put(&a, j->head.k, is, head, NULL, j->why);
    if (err == KERF_OK)
        err = kerf_onnx_put(&b, j->tail.k, is, tail, NULL, j->why);
    if (err == KERF_OK && (a.bad || b.bad))
        err = kerf_fail(j->why, KERF_ENOMEM, "no memory to join two models");
    *out = err == KERF_OK && is_rope_equal(&a, &b);
    kerf_rope_fini(&a);
    kerf_rope_fini(&b);
    return err;
}

/* An Identity that a cut made for a port, with a mark in its name: that of its
 * input ("/kerf_in"), else of its output. */
static bool
is_pass(const kerf_graph *g, const kerf_node *n, const char *mark)
{
    uint32_t port;

    if (strcmp(n->op, "Identity") != 0 || n->in_count != 1 ||
        n->out_count != 1 || n->in[0] == KERF_GRAPH_NONE ||
        n->out[0] == KERF_GRAPH_NONE || strstr(n->name, mark) == NULL)
        return false;
    port = strcmp(mark, "/kerf_in") == 0 ? n->in[0] : n->out[0];
    return strcmp(g->value[port].name, n->name) == 0;
}

/* Identities that lead to the head's outputs: those are what they read. */
static void
drop_head_passes(kerf_onnx_joint *j)
{
    const kerf_graph *g = j->head.g;

    for (size_t i = 0; i < g->output_count; i++) {
        uint32_t node = g->value[g->output[i]].node;

        if (node != KERF_GRAPH_NONE && is_pass(g, &g->node[node], "/kerf_out"))
            j->head.is_dropped[node] = true;
    }
}

/* Identities that read what nothing else does: if there is need of them, they
 * are made again. */
static void
drop_unread(kerf_onnx_side *s)
{
    for (size_t i = 0; i < s->g->node_count; i++) {
        const kerf_node *n = &s->g->node[i];

        s->is_dropped[i] |= !n->is_live && is_pass(s->g, n, "/kerf_unread");
    }
}

static uint32_t
root_of(const kerf_onnx_side *head, uint32_t value)
{
    uint32_t node = head->g->value[value].node;

    return node != KERF_GRAPH_NONE && head->is_dropped[node]
               ? head->g->node[node].in[0]
               : value;
}

static kerf_err
match_inputs(kerf_onnx_joint *j)
{
    const kerf_graph *head = j->head.g;
    const kerf_graph *tail = j->tail.g;

    for (size_t i = 0; i < head->output_count; i++)
        j->same[tail->input[i]] = root_of(&j->head, head->output[i]);
    for (size_t i = head->output_count; i < tail->input_count; i++) {
        const kerf_value *v = &tail->value[tail->input[i]];
        uint32_t other = kerf_graph_find(head, v->name);
        const kerf_value *u = &head->value[other];

        if (other == KERF_GRAPH_NONE || u->kind != KERF_VALUE_INPUT)
            continue;
        if (u->type != v->type || u->dtype != v->dtype ||
            u->is_shaped != v->is_shaped ||
            (u->is_shaped && !kerf_shape_equal(&u->shape, &v->shape))) {
            char name[KERF_ONNX_SHOWN];

            return kerf_fail(
                j->why, KERF_EMISMATCH,
                "'%s' is an input of both halves, of different types",
                kerf_onnx_show(name,
                               (kerf_onnx_text){v->name, strlen(v->name)}));
        }
        j->same[tail->input[i]] = other;
    }
    return KERF_OK;
}

static kerf_err
match_params(kerf_onnx_joint *j)
{
    kerf_err err = KERF_OK;

    for (uint32_t v = 0; v < j->tail.g->value_count && err == KERF_OK; v++) {
        const kerf_value *mine = &j->tail.g->value[v];
        uint32_t other = kerf_graph_find(j->head.g, mine->name);
        const kerf_wire_field *a, *b;
        bool is_same = false;

        if (mine->kind != KERF_VALUE_PARAM || other == KERF_GRAPH_NONE ||
            j->head.g->value[other].kind != KERF_VALUE_PARAM)
            continue;
        a = &j->head.k->graph.at[j->head.g->value[other].origin].f;
        b = &j->tail.k->graph.at[mine->origin].f;
        if (a->number == b->number)
            err = kerf_onnx_equal(j, kerf_onnx_inside(KERF_ONNX_GRAPH, b), a, b,
                                  &is_same);
        if (is_same)
            j->same[v] = other;
    }
    return err;
}

/* The head's node that gives what a node of the tail gives. */
static uint32_t
find_twin(const kerf_onnx_joint *j, const kerf_node *n)
{
    uint32_t twin = KERF_GRAPH_NONE;
    const kerf_node *other;

    for (size_t i = 0; i < n->out_count && twin == KERF_GRAPH_NONE; i++) {
        uint32_t v =
            n->out[i] == KERF_GRAPH_NONE
                ? KERF_GRAPH_NONE
                : kerf_graph_find(j->head.g, j->tail.g->value[n->out[i]].name);

        if (v != KERF_GRAPH_NONE)
            twin = j->head.g->value[v].node;
    }
    if (twin == KERF_GRAPH_NONE || n->is_random || j->head.is_dropped[twin])
        return KERF_GRAPH_NONE;
    other = &j->head.g->node[twin];
    if (other->in_count != n->in_count || other->out_count != n->out_count)
        return KERF_GRAPH_NONE;
    for (size_t i = 0; i < n->in_count; i++) {
        bool is_out = n->in[i] == KERF_GRAPH_NONE;

        if (is_out != (other->in[i] == KERF_GRAPH_NONE) ||
            (!is_out && j->same[n->in[i]] != other->in[i]))
            return KERF_GRAPH_NONE;
    }
    return twin;
}

static const kerf_wire_field *
node_field(const kerf_onnx_side *s, uint32_t node)
{
    return &s->k->graph.at[s->k->node[s->g->node[node].origin]].f;
}

static kerf_err
match_node(kerf_onnx_joint *j, uint32_t node)
{
    const kerf_node *n = &j->tail.g->node[node];
    uint32_t twin = find_twin(j, n);
    bool is_same = false;
    kerf_err err = KERF_OK;

    if (twin != KERF_GRAPH_NONE)
        err = kerf_onnx_equal(j, KERF_ONNX_NODE, node_field(&j->head, twin),
                              node_field(&j->tail, node), &is_same);
    for (size_t i = 0; i < n->out_count && is_same; i++) {
        if (n->out[i] != KERF_GRAPH_NONE)
            j->same[n->out[i]] = j->head.g->node[twin].out[i];
    }
    if (!is_same && is_pass(j->tail.g, n, "/kerf_in") &&
        j->same[n->in[0]] != KERF_GRAPH_NONE) {
        j->same[n->out[0]] = j->same[n->in[0]];
        is_same = true;
    }
    j->tail.is_dropped[node] = is_same;
    return err;
}

static kerf_err
find_same(kerf_onnx_joint *j)
{
    kerf_err err;

    drop_head_passes(j);
    drop_unread(&j->head);
    drop_unread(&j->tail);
    err = match_inputs(j);
    if (err == KERF_OK)
        err = match_params(j);
    for (uint32_t i = 0; i < j->tail.g->node_count && err == KERF_OK; i++) {
        if (!j->tail.is_dropped[i])
            err = match_node(j, i);
    }
    return err;
}

kerf_err
kerf_onnx_claim(kerf_onnx_joint *j, const char *name, const char *what,
                uint32_t *out)
{
    const kerf_graph *const all[] = {j->whole, j->head.g, j->tail.g};
    char *fresh = NULL;
    kerf_err err;

    if (kerf_graph_find(j->whole, name) != KERF_GRAPH_NONE) {
        fresh = kerf_onnx_fresh_name(all, j->has_names ? 1 : 3, name, what, 0);
        if (fresh == NULL)
            return kerf_fail(j->why, KERF_ENOMEM, "no memory for a name");
        name = fresh;
    }
    err = kerf_graph_add_value(j->whole, name, strlen(name), KERF_VALUE_NODE,
                               out);
    free(fresh);
    return err == KERF_OK ? err
                          : kerf_fail(j->why, err, "the names of the whole: %s",
                                      kerf_err_text(err));
}

/* A name for the value, near its own, if it has none and is its own. */
static kerf_err
name_value(kerf_onnx_joint *j, kerf_onnx_side *s, uint32_t v)
{
    uint32_t node = s->g->value[v].node;

    if (s->final[v] != KERF_GRAPH_NONE ||
        (node != KERF_GRAPH_NONE && s->is_dropped[node]))
        return KERF_OK;
    return kerf_onnx_claim(j, s->g->value[v].name, "join", &s->final[v]);
}

/* The tail's value, which may be one of the head. */
static kerf_err
name_output(kerf_onnx_joint *j, uint32_t v)
{
    uint32_t other = j->same[v];

    if (other == KERF_GRAPH_NONE)
        return name_value(j, &j->tail, v);
    if (j->head.final[other] != KERF_GRAPH_NONE)
        return KERF_OK;
    return kerf_onnx_claim(j, j->tail.g->value[v].name, "join",
                           &j->head.final[other]);
}

static kerf_err
give_names(kerf_onnx_joint *j)
{
    const kerf_graph *head = j->head.g;
    const kerf_graph *tail = j->tail.g;
    kerf_err err = KERF_OK;

    for (size_t i = 0; i < head->input_count && err == KERF_OK; i++)
        err = name_value(j, &j->head, head->input[i]);
    for (size_t i = 0; i < tail->input_count && err == KERF_OK; i++) {
        if (j->same[tail->input[i]] == KERF_GRAPH_NONE)
            err = name_value(j, &j->tail, tail->input[i]);
    }
    for (size_t i = 0; i < tail->output_count && err == KERF_OK; i++)
        err = name_output(j, tail->output[i]);
    for (uint32_t v = 0; v < head->value_count && err == KERF_OK; v++)
        err = name_value(j, &j->head, v);
    for (uint32_t i = 0; i < head->node_count && err == KERF_OK; i++) {
        if (j->head.is_dropped[i])
            j->head.final[head->node[i].out[0]] =
                j->head.final[head->node[i].in[0]];
    }
    for (uint32_t v = 0; v < tail->value_count && err == KERF_OK; v++) {
        if (j->same[v] != KERF_GRAPH_NONE)
            j->tail.final[v] = j->head.final[j->same[v]];
        else
            err = name_value(j, &j->tail, v);
    }
    return err;
}
