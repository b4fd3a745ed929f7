#include "graph/paddle_join.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static kerf_err
fail_tensor(const kerf_pd_join *j, uint32_t value, const char *what)
{
    kerf_pd_text text = {j->tail->value[value].name,
                         strlen(j->tail->value[value].name)};
    char safe[KERF_PD_SAFE];

    return kerf_fail(j->why, KERF_EMISMATCH, "'%s' of the tail %s",
                     kerf_pd_text_safe(safe, &text), what);
}

/* What the head takes into the joined program. */
static void
find_head_names(kerf_pd_join *j)
{
    const kerf_graph *h = j->head;

    for (size_t v = 0; v < h->value_count; v++) {
        if (j->h.need_value[v])
            j->head_has[h->own->first[v]] = true;
    }
    for (size_t i = 0; i < h->input_count; i++)
        j->head_has[h->own->first[h->input[i]]] = true;
    for (size_t i = 0; i < h->node_count; i++) {
        const kerf_node *n = &h->node[i];

        for (size_t k = 0; k < n->out_count && j->h.need_node[i]; k++) {
            if (n->out[k] != KERF_GRAPH_NONE)
                j->head_has[h->own->first[n->out[k]]] = true;
        }
    }
}

static kerf_join_name *
name_of(kerf_pd_join *j, uint32_t value)
{
    return &j->name[j->tail->own->first[value]];
}

static void
note_node(kerf_pd_join *j, const kerf_node *n)
{
    for (size_t k = 0; k < n->in_count + n->out_count; k++) {
        uint32_t v = n->in[k]; /* out[] stands behind in[] */
        kerf_join_name *name;

        if (v == KERF_GRAPH_NONE)
            continue;
        name = name_of(j, v);
        name->is_inner |= j->has_blocks[n->origin];
        if (name->role == KERF_JOIN_NONE)
            name->role = KERF_JOIN_NODE;
    }
}

/* A name's first value says what it is: ports and parameters come first. */
static void
find_roles(kerf_pd_join *j)
{
    const kerf_graph *t = j->tail;

    for (uint32_t i = 0; i < t->input_count; i++) {
        kerf_join_name *name = name_of(j, t->input[i]);
        bool is_bound = i < j->head->output_count;

        name->role = is_bound ? KERF_JOIN_BOUND : KERF_JOIN_EXTRA;
        if (is_bound)
            name->port = j->head->output[i];
    }
    for (uint32_t v = 0; v < t->value_count; v++) {
        const kerf_value *value = &t->value[v];

        if (value->kind == KERF_VALUE_PARAM && j->t.need_value[v])
            name_of(j, v)->role = value->type == KERF_VALUE_TENSOR
                                      ? KERF_JOIN_PARAM
                                      : KERF_JOIN_BLANK;
    }
    for (size_t i = 0; i < t->node_count; i++) {
        if (j->t.need_node[i])
            note_node(j, &t->node[i]);
    }
    for (size_t i = 0; i < t->output_count; i++)
        name_of(j, t->output[i])->is_output = true;
}

/* A name that neither program has. */
static kerf_err
make_new(kerf_pd_join *j, uint32_t value)
{
    const char *old = j->tail->value[value].name;
    size_t room = strlen(old) + 32;
    char *new = malloc(room);

    if (new == NULL)
        return kerf_fail(j->why, KERF_ENOMEM, "out of memory");
    for (unsigned n = 1;; n++) {
        if (n == 1)
            (void)snprintf(new, room, "%s.tail", old);
        else
            (void)snprintf(new, room, "%s.tail%u", old, n);
        if (kerf_graph_find(j->head, new) == KERF_GRAPH_NONE &&
            kerf_graph_find(j->tail, new) == KERF_GRAPH_NONE)
            break;
    }
    j->name[value].new = new;
    return KERF_OK;
}

static const kerf_pd_record *
record_of(const kerf_graph *g, uint32_t value)
{
    const kerf_paddle *p = g->own->state;
    kerf_pd_text text = {g->value[value].name, strlen(g->value[value].name)};
    uint32_t param = kerf_paddle_param(p, &text);

    return param == KERF_GRAPH_NONE ? NULL : &p->record[param];
}

static bool
is_same_param(const kerf_pd_join *j, uint32_t head, uint32_t tail)
{
    const kerf_pd_record *a = record_of(j->head, head);
    const kerf_pd_record *b = record_of(j->tail, tail);

    return a != NULL && b != NULL && !j->head->value[head].is_overwritten &&
           !j->tail->value[tail].is_overwritten && a->len == b->len &&
           memcmp(a->start, b->start, a->len) == 0;
}

static bool
is_declared_alike(const kerf_pd_join *j, uint32_t head, uint32_t tail)
{
    uint32_t a = j->head->value[head].origin, b = j->tail->value[tail].origin;
    const kerf_pd_var *x, *y;

    if (a == KERF_GRAPH_NONE || b == KERF_GRAPH_NONE)
        return false;
    x = &j->h.p->program.var[a];
    y = &j->t.p->program.var[b];
    return x->whole_len == y->whole_len &&
           memcmp(x->whole, y->whole, x->whole_len) == 0;
}

/* The name is in both programs, and not for the same thing. */
static kerf_err
part_names(kerf_pd_join *j, uint32_t value, uint32_t head)
{
    kerf_join_name *name = &j->name[value];
    const kerf_value *given = &j->tail->value[value];

    if ((name->is_inner || name->is_output) && name->role == KERF_JOIN_NODE &&
        given->kind == KERF_VALUE_NODE &&
        j->head->value[head].kind != KERF_VALUE_PARAM &&
        is_declared_alike(j, head, value))
        return KERF_OK;
    if (name->is_inner)
        return fail_tensor(j, value,
                           "is used in a loop or branch, and the head has "
                           "another tensor of that name: rename it");
    return make_new(j, value);
}

/* Whether the name of the tail is the head's, stays, or becomes another. */
static kerf_err
settle_name(kerf_pd_join *j, uint32_t value)
{
    kerf_join_name *name = &j->name[value];
    const char *text = j->tail->value[value].name;
    uint32_t head = kerf_graph_find(j->head, text);
    const kerf_value *had;

    if (head == KERF_GRAPH_NONE || !j->head_has[j->head->own->first[head]])
        return KERF_OK;
    had = &j->head->value[head];
    switch (name->role) {
    case KERF_JOIN_NONE:
        return KERF_OK;
    case KERF_JOIN_BOUND:
        if (strcmp(j->head->value[name->port].name, text) == 0) {
            name->is_shared = true;
            return KERF_OK;
        }
        break;
    case KERF_JOIN_PARAM:
        if (is_same_param(j, head, value)) {
            name->is_shared = true;
            return KERF_OK;
        }
        break;
    case KERF_JOIN_EXTRA:
        if (had->kind != KERF_VALUE_INPUT || had->is_overwritten ||
            !is_declared_alike(j, head, value))
            return fail_tensor(j, value,
                               "is an input that the head does not give, and "
                               "the head has another tensor of that name");
        name->is_shared = true;
        return KERF_OK;
    case KERF_JOIN_BLANK:
    case KERF_JOIN_NODE:
        break;
    }
    return part_names(j, value, head);
}

/* The head has the very same op, on the same things. */
static bool
is_in_head(const kerf_pd_join *j, const kerf_node *n)
{
    const kerf_pd_op *op = &j->t.p->program.op[n->origin];
    const kerf_pd_op *twin;
    uint32_t node = KERF_GRAPH_NONE;

    if (!n->is_const)
        return false;
    for (size_t k = 0; k < n->out_count; k++) {
        uint32_t v =
            n->out[k] == KERF_GRAPH_NONE
                ? KERF_GRAPH_NONE
                : kerf_graph_find(j->head, j->tail->value[n->out[k]].name);

        if (v == KERF_GRAPH_NONE)
            return false;
        node = j->head->value[v].node;
        if (node == KERF_GRAPH_NONE || !j->head->node[node].is_const ||
            !j->h.need_node[node])
            return false;
    }
    for (size_t k = 0; k < n->in_count; k++) {
        if (n->in[k] != KERF_GRAPH_NONE &&
            !j->name[j->tail->own->first[n->in[k]]].is_shared)
            return false;
    }
    if (node == KERF_GRAPH_NONE)
        return false;
    twin = &j->h.p->program.op[j->head->node[node].origin];
    return twin->len == op->len && memcmp(twin->bytes, op->bytes, op->len) == 0;
}

kerf_err
kerf_pd_join_names(kerf_pd_join *j)
{
    const kerf_graph *t = j->tail;
    kerf_err err = KERF_OK;

    find_head_names(j);
    find_roles(j);
    for (uint32_t v = 0; v < t->value_count && err == KERF_OK; v++) {
        if (t->own->first[v] == v && j->name[v].role != KERF_JOIN_NODE)
            err = settle_name(j, v);
    }
    for (size_t i = 0; i < t->node_count && err == KERF_OK; i++) {
        const kerf_node *n = &t->node[i];

        if (!j->t.need_node[i] || !is_in_head(j, n))
            continue;
        j->is_dropped[i] = true;
        for (size_t k = 0; k < n->out_count; k++) {
            if (n->out[k] != KERF_GRAPH_NONE)
                name_of(j, n->out[k])->is_shared = true;
        }
    }
    for (uint32_t v = 0; v < t->value_count && err == KERF_OK; v++) {
        if (t->own->first[v] == v && j->name[v].role == KERF_JOIN_NODE &&
            !j->name[v].is_shared)
            err = settle_name(j, v);
    }
    return err;
}

const char *
kerf_pd_join_rename(const void *ctx, const char *name)
{
    const kerf_pd_join *j = ctx;
    uint32_t v = kerf_graph_find(j->tail, name);

    return v == KERF_GRAPH_NONE ? NULL : j->name[j->tail->own->first[v]].new;
}
