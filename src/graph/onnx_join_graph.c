#include "graph/onnx_join.h"

#include <stdlib.h>
#include <string.h>

struct put {
    kerf_onnx_joint *j;
    kerf_rope *graph;
    bool *is_in, *is_out;  /* owned; [values of the whole], of its ports */
    bool *is_read;         /* owned; by a node, or an output */
    kerf_onnx_names loose; /* fields of the head's graph about no value, whole;
                              sorted */
};

static kerf_err put_nodes(struct put *p, const kerf_onnx_side *s);
static kerf_err put_fields(struct put *p, const kerf_onnx_side *s);
static kerf_err put_ports(struct put *p);
static void put_infos(struct put *p, const kerf_onnx_side *s);

kerf_err
kerf_onnx_join_graph(kerf_onnx_joint *j, kerf_rope *graph)
{
    struct put p = {.j = j, .graph = graph};
    kerf_err err = put_nodes(&p, &j->head);

    if (err == KERF_OK)
        err = put_nodes(&p, &j->tail);
    if (err == KERF_OK)
        err = put_fields(&p, &j->head);
    kerf_onnx_names_sort(&p.loose);
    if (err == KERF_OK)
        err = put_fields(&p, &j->tail);
    j->has_names = true;
    if (err == KERF_OK)
        err = put_ports(&p);
    if (err == KERF_OK) {
        put_infos(&p, &j->head);
        put_infos(&p, &j->tail);
    }
    free(p.is_in);
    free(p.is_out);
    free(p.is_read);
    free(p.loose.at);
    return err;
}

static kerf_err
fail_name(const struct put *p, kerf_onnx_text name)
{
    return kerf_onnx_fail(p->j->why, KERF_EMISMATCH, name,
                          "is one thing in the head and another in the tail, "
                          "and cannot be renamed where it stands: rename it in "
                          "one of them");
}

/* A sub-graph reads that name, which is not to be changed there: a value that
 * is called otherwise gets this name too. */
static kerf_err
bridge(struct put *p, const kerf_onnx_side *s, kerf_onnx_text name)
{
    kerf_graph *whole = p->j->whole;
    uint32_t v = kerf_graph_lookup(s->g, name.at, name.len);
    uint32_t other = kerf_graph_lookup(whole, name.at, name.len);
    kerf_err err;

    if (other != KERF_GRAPH_NONE)
        return other == s->final[v] || whole->value[other].origin == s->final[v]
                   ? KERF_OK
                   : fail_name(p, name);
    err = kerf_onnx_claim(p->j, s->g->value[v].name, "join", &other);
    if (err != KERF_OK)
        return err;
    whole->value[other].origin = s->final[v]; /* it is the same */
    kerf_onnx_put_identity(p->graph, kerf_onnx_final_name(p->j, s, v),
                           s->g->value[v].name, NULL);
    p->j->has_identity = true;
    return KERF_OK;
}

/* Sub-graphs stay as they are: what they read must be called so, and what they
 * give must not be called as something of the other half. */
static kerf_err
check_inner(struct put *p, const kerf_onnx_side *s, const kerf_wire_field *f,
            size_t inputs)
{
    kerf_onnx_names reads = {0}, inner = {0};
    kerf_err err =
        kerf_onnx_reads_add(&reads, &inner, f->bytes, f->len, p->j->why);

    for (size_t i = inputs; i < reads.count && err == KERF_OK; i++)
        err = bridge(p, s, reads.at[i]);
    for (size_t i = 0; i < inner.count && err == KERF_OK; i++) {
        kerf_onnx_text name = inner.at[i];

        if (kerf_graph_lookup(p->j->whole, name.at, name.len) !=
                KERF_GRAPH_NONE &&
            kerf_graph_lookup(s->g, name.at, name.len) == KERF_GRAPH_NONE)
            err = fail_name(p, name);
    }
    free(reads.at);
    free(inner.at);
    return err;
}

/* What a name of the node is in the whole. */
static const char *
find_name(const struct put *p, const kerf_onnx_side *s,
          const kerf_wire_field *f)
{
    uint32_t v = kerf_graph_lookup(s->g, (const char *)f->bytes, f->len);

    return kerf_onnx_final_name(p->j, s, v);
}

static bool
is_name(const kerf_wire_field *f)
{
    return (f->number == ONNX_NODE_INPUT || f->number == ONNX_NODE_OUTPUT) &&
           f->wire == 2 && f->len > 0;
}

/* The node with other names at its inputs and outputs. */
static kerf_err
put_renamed(struct put *p, const kerf_onnx_side *s, const kerf_wire_field *node)
{
    kerf_rd r = kerf_wire_inside(node);
    kerf_rope inside = {0};
    kerf_err err = KERF_OK;
    kerf_wire_field f;

    while (err == KERF_OK && kerf_wire_next(&r, &f)) {
        if (is_name(&f))
            kerf_wire_put_text(&inside, f.number, find_name(p, s, &f));
        else
            err = kerf_onnx_put(&inside, s->k,
                                kerf_onnx_inside(KERF_ONNX_NODE, &f), &f, NULL,
                                p->j->why);
    }
    if (err == KERF_OK)
        kerf_wire_put_rope(p->graph, ONNX_GRAPH_NODE, &inside);
    kerf_rope_fini(&inside);
    return err;
}

static kerf_err
put_node(struct put *p, const kerf_onnx_side *s, const kerf_wire_field *node)
{
    kerf_rd r = kerf_wire_inside(node);
    size_t inputs = 0;
    bool is_renamed = false;
    kerf_wire_field f;
    kerf_err err;

    while (kerf_wire_next(&r, &f)) {
        inputs += f.number == ONNX_NODE_INPUT && f.wire == 2;
        if (is_name(&f))
            is_renamed |=
                !kerf_onnx_is(kerf_onnx_text_of(&f), find_name(p, s, &f));
    }
    err = check_inner(p, s, node, inputs);
    if (err != KERF_OK)
        return err;
    if (is_renamed)
        return put_renamed(p, s, node);
    return kerf_onnx_put(p->graph, s->k, KERF_ONNX_NODE, node, NULL, p->j->why);
}

static kerf_err
put_nodes(struct put *p, const kerf_onnx_side *s)
{
    kerf_err err = KERF_OK;

    for (size_t i = 0; i < s->g->node_count && err == KERF_OK; i++) {
        uint32_t at = s->g->own->file_order[i];
        uint32_t field = s->k->node[s->g->node[at].origin];

        if (!s->is_dropped[at])
            err = put_node(p, s, &s->k->graph.at[field].f);
    }
    return err;
}

static bool
is_tail(const struct put *p, const kerf_onnx_side *s)
{
    return s == &p->j->tail;
}

/* It is called in the whole as it is here. */
static bool
keeps_name(const struct put *p, const kerf_onnx_side *s, uint32_t v)
{
    return strcmp(kerf_onnx_final_name(p->j, s, v), s->g->value[v].name) == 0;
}

static kerf_err
put_param(struct put *p, const kerf_onnx_side *s, const kerf_onnx_field *field)
{
    uint32_t v = field->value;
    const char *name =
        keeps_name(p, s, v) ? NULL : kerf_onnx_final_name(p->j, s, v);

    if (is_tail(p, s) && p->j->same[v] != KERF_GRAPH_NONE)
        return KERF_OK;
    if (s->k->ir_version <= KERF_ONNX_IR_LISTED)
        kerf_onnx_put_info(p->graph, ONNX_GRAPH_INPUT, s->g, v,
                           kerf_onnx_final_name(p->j, s, v));
    return kerf_onnx_put(p->graph, s->k,
                         kerf_onnx_inside(KERF_ONNX_GRAPH, &field->f),
                         &field->f, name, p->j->why);
}

/* An annotation of names that are all kept. */
static bool
is_annotation_kept(const struct put *p, const kerf_onnx_side *s,
                   const kerf_onnx_field *field)
{
    kerf_rd r = kerf_wire_inside(&field->f);
    bool is_kept = field->value != KERF_GRAPH_NONE &&
                   s->final[field->value] != KERF_GRAPH_NONE &&
                   keeps_name(p, s, field->value);
    kerf_wire_field f;

    while (is_kept && kerf_wire_next(&r, &f)) {
        kerf_onnx_text name = kerf_onnx_field_text(f.bytes, f.len, 2);
        uint32_t v = kerf_graph_lookup(s->g, name.at, name.len);

        if (f.number == ONNX_ANNOTATION_TENSORS && f.wire == 2)
            is_kept = v == KERF_GRAPH_NONE || keeps_name(p, s, v);
    }
    return is_kept;
}

/* A field that is no node, port or parameter. What both halves have is in the
 * whole once; the whole has the head's name. */
static kerf_err
put_loose(struct put *p, const kerf_onnx_side *s, const kerf_onnx_field *field)
{
    const kerf_wire_field *f = &field->f;
    kerf_onnx_text whole = {(const char *)f->whole, f->whole_len};
    kerf_err err = KERF_OK;

    if (f->number == ONNX_GRAPH_INFO && field->value != KERF_GRAPH_NONE)
        return KERF_OK; /* see put_infos() */
    if (f->number == ONNX_GRAPH_ANNOTATION && !is_annotation_kept(p, s, field))
        return KERF_OK;
    if (is_tail(p, s) &&
        (f->number == ONNX_GRAPH_NAME || f->number == ONNX_GRAPH_DOC ||
         kerf_onnx_names_has(&p->loose, whole)))
        return KERF_OK;
    if (!is_tail(p, s))
        err = kerf_onnx_names_add(&p->loose, whole, p->j->why);
    kerf_rope_view(p->graph, f->whole, f->whole_len);
    return err;
}

static kerf_err
put_fields(struct put *p, const kerf_onnx_side *s)
{
    kerf_err err = KERF_OK;

    for (size_t i = 0; i < s->k->graph.count && err == KERF_OK; i++) {
        const kerf_onnx_field *field = &s->k->graph.at[i];

        switch (field->f.number) {
        case ONNX_GRAPH_NODE:
        case ONNX_GRAPH_INPUT:
        case ONNX_GRAPH_OUTPUT:
            break;
        case ONNX_GRAPH_PARAM:
        case ONNX_GRAPH_SPARSE:
            err = put_param(p, s, field);
            break;
        default:
            err = put_loose(p, s, field);
        }
    }
    return err;
}

/* What nodes of that side read. */
static void
mark_read(struct put *p, const kerf_onnx_side *s)
{
    for (size_t i = 0; i < s->g->node_count; i++) {
        const kerf_node *n = &s->g->node[i];

        for (size_t k = 0; k < n->in_count && !s->is_dropped[i]; k++) {
            if (n->in[k] != KERF_GRAPH_NONE)
                p->is_read[s->final[n->in[k]]] = true;
        }
    }
}

/* One that nothing reads has an Identity, as in parts (onnx_write.c). */
static kerf_err
put_input(struct put *p, const kerf_onnx_side *s, uint32_t v)
{
    const char *name = kerf_onnx_final_name(p->j, s, v);
    uint32_t alias;
    kerf_err err = KERF_OK;

    p->is_in[s->final[v]] = true;
    kerf_onnx_put_info(p->graph, ONNX_GRAPH_INPUT, s->g, v, name);
    if (p->is_read[s->final[v]] || s->g->value[v].type != KERF_VALUE_TENSOR)
        return KERF_OK;
    err = kerf_onnx_claim(p->j, name, "unread", &alias);
    if (err != KERF_OK)
        return err;
    name = p->j->whole->value[alias].name;
    kerf_onnx_put_identity(p->graph, kerf_onnx_final_name(p->j, s, v), name,
                           name);
    p->j->has_identity = true;
    return KERF_OK;
}

/* One that is an input too, or an output already, has an Identity. */
static kerf_err
put_output(struct put *p, size_t port)
{
    const kerf_onnx_side *s = &p->j->tail;
    uint32_t v = s->g->output[port];
    const char *name = kerf_onnx_final_name(p->j, s, v);

    if (p->is_in[s->final[v]] || p->is_out[s->final[v]]) {
        const char *from = name;
        uint32_t alias;
        kerf_err err =
            kerf_onnx_claim(p->j, s->g->value[v].name, "out", &alias);

        if (err != KERF_OK)
            return err;
        name = p->j->whole->value[alias].name;
        kerf_onnx_put_identity(p->graph, from, name, name);
        p->j->has_identity = true;
    }
    p->is_out[s->final[v]] = true;
    kerf_onnx_put_info(p->graph, ONNX_GRAPH_OUTPUT, s->g, v, name);
    return KERF_OK;
}

static kerf_err
put_ports(struct put *p)
{
    const kerf_onnx_joint *j = p->j;
    size_t values = j->whole->value_count + 1;
    kerf_err err = KERF_OK;

    p->is_in = calloc(values, sizeof *p->is_in);
    p->is_out = calloc(values, sizeof *p->is_out);
    p->is_read = calloc(values, sizeof *p->is_read);
    if (p->is_in == NULL || p->is_out == NULL || p->is_read == NULL)
        return kerf_fail(j->why, KERF_ENOMEM, "no memory to join two models");
    mark_read(p, &j->head);
    mark_read(p, &j->tail);
    for (size_t i = 0; i < j->tail.g->output_count; i++)
        p->is_read[j->tail.final[j->tail.g->output[i]]] = true;
    for (size_t i = 0; i < j->head.g->input_count && err == KERF_OK; i++)
        err = put_input(p, &j->head, j->head.g->input[i]);
    for (size_t i = j->head.g->output_count;
         i < j->tail.g->input_count && err == KERF_OK; i++) {
        if (j->same[j->tail.g->input[i]] == KERF_GRAPH_NONE)
            err = put_input(p, &j->tail, j->tail.g->input[i]);
    }
    for (size_t i = 0; i < j->tail.g->output_count && err == KERF_OK; i++)
        err = put_output(p, i);
    return err;
}

/* What the file says of values inside. */
static void
put_infos(struct put *p, const kerf_onnx_side *s)
{
    for (uint32_t v = 0; v < s->g->value_count; v++) {
        const kerf_value *value = &s->g->value[v];

        if (value->kind != KERF_VALUE_NODE || s->final[v] == KERF_GRAPH_NONE ||
            s->is_dropped[value->node] || s->k->info[v] == KERF_GRAPH_NONE ||
            p->is_in[s->final[v]] || p->is_out[s->final[v]])
            continue;
        kerf_onnx_put_info(p->graph, ONNX_GRAPH_INFO, s->g, v,
                           kerf_onnx_final_name(p->j, s, v));
    }
}
