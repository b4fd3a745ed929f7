/*
 * Writes a part of an ONNX graph as a model of its own: the fields of the model
 * as they are, and of the graph what the part needs.
 *
 * A value that is input and output of a part goes through an Identity, since a
 * name can be given only once: an input of the network keeps its name and the
 * output has a new one; any other keeps its name as output, where users look.
 * An input that nothing reads has one too: engines leave such ports out, and
 * the others would move up.
 */
#include "base/text.h"
#include "graph/onnx_own.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define OPSET_ZEROS 9 /* the first with ConstantOfShape */

struct writer {
    const kerf_graph *g;
    const kerf_onnx *k;
    const kerf_part *part;
    bool *need_node, *need_value; /* kerf_part_needs() */
    bool *is_here;   /* [value_count]: given or taken in the part */
    bool *is_out;    /* [value_count] */
    uint32_t *in_at; /* [value_count]: 1 + the port that takes it; 0: none */
    char **in_name, **out_name; /* by port; NULL: the value's own */
    char **unread;              /* by input: what reads it; NULL: something */
    bool has_identity;
    kerf_detail *why;
};

static kerf_err init_writer(struct writer *w);
static void fini_writer(struct writer *w);
static kerf_err check_inputs(const struct writer *w);
static kerf_err name_ports(struct writer *w);
static void find_here(struct writer *w);
static kerf_err put_nodes(struct writer *w, kerf_rope *graph);
static kerf_err put_graph_fields(struct writer *w, kerf_rope *graph);
static void put_ports(struct writer *w, kerf_rope *graph);

kerf_err
kerf_onnx_write(const kerf_graph *g, const kerf_part *part, kerf_rope *graph,
                kerf_rope *weights, kerf_detail *why)
{
    struct writer w = {.g = g, .k = g->own->state, .part = part, .why = why};
    kerf_rope inside = {0}, model = {0};
    kerf_err err = init_writer(&w);

    if (err == KERF_OK)
        err = kerf_part_needs(g, part, w.need_node, w.need_value, why);
    if (err == KERF_OK)
        err = check_inputs(&w);
    if (err == KERF_OK)
        err = name_ports(&w);
    if (err != KERF_OK)
        goto out;
    find_here(&w);
    err = put_nodes(&w, &inside);
    if (err == KERF_OK)
        err = put_graph_fields(&w, &inside);
    if (err != KERF_OK)
        goto out;
    put_ports(&w, &inside);
    err = kerf_onnx_put_model(&model, w.k, &inside, w.has_identity, why);
    if (err == KERF_OK)
        err = kerf_onnx_check_size(&model, why);
    if (err != KERF_OK)
        goto out;
    (void)weights; /* they are in the model */
    kerf_rope_move(graph, &model);
out:
    kerf_rope_fini(&inside);
    kerf_rope_fini(&model);
    fini_writer(&w);
    return err;
}

static kerf_err
init_writer(struct writer *w)
{
    size_t values = w->g->value_count + 1;

    w->need_node = calloc(w->g->node_count + 1, sizeof *w->need_node);
    w->need_value = calloc(values, sizeof *w->need_value);
    w->is_here = calloc(values, sizeof *w->is_here);
    w->is_out = calloc(values, sizeof *w->is_out);
    w->in_at = calloc(values, sizeof *w->in_at);
    w->in_name = calloc(w->part->in_count + 1, sizeof *w->in_name);
    w->out_name = calloc(w->part->out_count + 1, sizeof *w->out_name);
    w->unread = calloc(w->part->in_count + 1, sizeof *w->unread);
    if (w->need_node == NULL || w->need_value == NULL || w->is_here == NULL ||
        w->is_out == NULL || w->in_at == NULL || w->in_name == NULL ||
        w->out_name == NULL || w->unread == NULL)
        return kerf_fail(w->why, KERF_ENOMEM, "no memory to write a part");
    return KERF_OK;
}

static void
fini_writer(struct writer *w)
{
    for (size_t i = 0; w->in_name != NULL && i < w->part->in_count; i++)
        free(w->in_name[i]);
    for (size_t i = 0; w->out_name != NULL && i < w->part->out_count; i++)
        free(w->out_name[i]);
    for (size_t i = 0; w->unread != NULL && i < w->part->in_count; i++)
        free(w->unread[i]);
    free(w->need_node);
    free(w->need_value);
    free(w->is_here);
    free(w->is_out);
    free(w->in_at);
    free(w->in_name);
    free(w->out_name);
    free(w->unread);
}

/* A model that does not say what it takes is one for nobody. */
static kerf_err
check_inputs(const struct writer *w)
{
    for (size_t i = 0; i < w->part->in_count; i++) {
        const kerf_value *v = &w->g->value[w->part->in[i]];
        char name[KERF_ONNX_SHOWN];

        if (v->type == KERF_VALUE_UNTYPED) {
            return kerf_fail(
                w->why, KERF_ENOTSUP,
                "neither the engine nor the file says the type of '%s': put "
                "the model through onnx.shape_inference.infer_shapes() first",
                kerf_text_safe(name, sizeof name, v->name));
        }
    }
    return KERF_OK;
}

/* A name for what an Identity takes or gives. */
static kerf_err
name_one(struct writer *w, char **name, uint32_t value, const char *what,
         size_t port)
{
    *name = kerf_onnx_fresh_name(&w->g, 1, w->g->value[value].name, what, port);
    if (*name == NULL)
        return kerf_fail(w->why, KERF_ENOMEM, "no memory for a name");
    w->has_identity = true;
    return KERF_OK;
}

/* New names for the ports that an Identity connects. */
static kerf_err
name_ports(struct writer *w)
{
    const kerf_part *p = w->part;
    kerf_err err = KERF_OK;

    for (size_t i = 0; i < p->in_count && err == KERF_OK; i++) {
        uint32_t v = p->in[i];

        w->in_at[v] = (uint32_t)i + 1;
        if (!w->need_value[v] && w->g->value[v].type == KERF_VALUE_TENSOR)
            err = name_one(w, &w->unread[i], v, "unread", i);
    }
    for (size_t i = 0; i < p->out_count && err == KERF_OK; i++) {
        uint32_t v = p->out[i];
        uint32_t in = w->in_at[v];

        if (w->is_out[v] || (in > 0 && w->g->value[v].kind == KERF_VALUE_INPUT))
            err = name_one(w, &w->out_name[i], v, "out", i);
        else if (in > 0)
            err = name_one(w, &w->in_name[in - 1], v, "in", in - 1);
        w->is_out[v] = true;
    }
    return err;
}

/* The tensors that an annotation names: scales and zero points. */
static void
need_annotation(struct writer *w, const kerf_wire_field *f)
{
    kerf_rd r = kerf_wire_inside(f);
    kerf_wire_field at;

    while (kerf_wire_next(&r, &at)) {
        kerf_onnx_text name;
        uint32_t v;

        if (at.number != ONNX_ANNOTATION_TENSORS || at.wire != 2)
            continue;
        name = kerf_onnx_field_text(at.bytes, at.len, 2);
        v = kerf_graph_lookup(w->g, name.at, name.len);
        if (v != KERF_GRAPH_NONE && w->g->value[v].kind == KERF_VALUE_PARAM)
            w->need_value[v] = true;
    }
}

static void
find_here(struct writer *w)
{
    for (size_t i = 0; i < w->part->in_count; i++)
        w->is_here[w->part->in[i]] = true;
    for (size_t i = 0; i < w->g->node_count; i++) {
        const kerf_node *n = &w->g->node[i];

        for (size_t o = 0; w->need_node[i] && o < n->out_count; o++) {
            if (n->out[o] != KERF_GRAPH_NONE)
                w->is_here[n->out[o]] = true;
        }
    }
    for (size_t v = 0; v < w->g->value_count; v++)
        w->is_here[v] |=
            w->g->value[v].kind == KERF_VALUE_PARAM && w->need_value[v];
    for (size_t i = 0; i < w->k->graph.count; i++) {
        const kerf_onnx_field *field = &w->k->graph.at[i];

        if (field->f.number == ONNX_GRAPH_ANNOTATION &&
            field->value != KERF_GRAPH_NONE && w->is_here[field->value])
            need_annotation(w, &field->f);
    }
}

/* Is written as zeros that take no room. */
static bool
is_hollow(const struct writer *w, uint32_t value)
{
    return w->need_value[value] && w->k->has_opset &&
           w->g->version >= OPSET_ZEROS &&
           kerf_part_hollows(w->part, &w->g->value[value]);
}

/* It is a constant node, and hollow. */
static bool
is_hollow_node(const struct writer *w, const kerf_node *n)
{
    return n->out_count == 1 && n->out[0] != KERF_GRAPH_NONE &&
           is_hollow(w, n->out[0]);
}

static kerf_err
put_nodes(struct writer *w, kerf_rope *graph)
{
    const kerf_part *p = w->part;
    kerf_err err = KERF_OK;

    for (uint32_t v = 0; v < w->g->value_count; v++) {
        if (is_hollow(w, v))
            kerf_onnx_put_zeros(graph, w->g, &w->g->value[v]);
    }
    for (size_t i = 0; i < p->in_count; i++) {
        if (w->in_name[i] != NULL)
            kerf_onnx_put_identity(graph, w->in_name[i],
                                   w->g->value[p->in[i]].name, w->in_name[i]);
        if (w->unread[i] != NULL)
            kerf_onnx_put_identity(graph, w->g->value[p->in[i]].name,
                                   w->unread[i], w->unread[i]);
    }
    for (size_t i = 0; i < w->g->node_count && err == KERF_OK; i++) {
        uint32_t at = w->g->own->file_order[i];
        uint32_t field = w->k->node[w->g->node[at].origin];

        if (w->need_node[at] && !is_hollow_node(w, &w->g->node[at]))
            err = kerf_onnx_put(graph, w->k, KERF_ONNX_NODE,
                                &w->k->graph.at[field].f, NULL, w->why);
    }
    for (size_t i = 0; i < p->out_count; i++) {
        if (w->out_name[i] != NULL)
            kerf_onnx_put_identity(graph, w->g->value[p->out[i]].name,
                                   w->out_name[i], w->out_name[i]);
    }
    return err;
}

/* Whether a field that is neither node nor port stays. */
static bool
is_kept(const struct writer *w, const kerf_onnx_field *field)
{
    switch (field->f.number) {
    case ONNX_GRAPH_NODE:
    case ONNX_GRAPH_OUTPUT:
        return false;
    case ONNX_GRAPH_PARAM:
    case ONNX_GRAPH_SPARSE:
        return w->need_value[field->value] && !is_hollow(w, field->value);
    case ONNX_GRAPH_INPUT: /* see put_ports() */
        return false;
    case ONNX_GRAPH_INFO: /* ports have theirs */
        return field->value == KERF_GRAPH_NONE ||
               (w->is_here[field->value] && w->in_at[field->value] == 0 &&
                !w->is_out[field->value]);
    case ONNX_GRAPH_ANNOTATION:
        return field->value == KERF_GRAPH_NONE || w->is_here[field->value];
    default:
        return true;
    }
}

static kerf_err
put_graph_fields(struct writer *w, kerf_rope *graph)
{
    kerf_err err = KERF_OK;

    for (size_t i = 0; i < w->k->graph.count && err == KERF_OK; i++) {
        const kerf_onnx_field *field = &w->k->graph.at[i];

        if (is_kept(w, field))
            err = kerf_onnx_put(graph, w->k,
                                kerf_onnx_inside(KERF_ONNX_GRAPH, &field->f),
                                &field->f, NULL, w->why);
    }
    return err;
}

static void
put_ports(struct writer *w, kerf_rope *graph)
{
    const kerf_part *p = w->part;

    for (size_t i = 0; i < p->in_count; i++)
        kerf_onnx_put_info(graph, ONNX_GRAPH_INPUT, w->g, p->in[i],
                           w->in_name[i] != NULL ? w->in_name[i]
                                                 : w->g->value[p->in[i]].name);
    for (size_t i = 0; i < p->out_count; i++) {
        kerf_onnx_put_info(graph, ONNX_GRAPH_OUTPUT, w->g, p->out[i],
                           w->out_name[i] != NULL
                               ? w->out_name[i]
                               : w->g->value[p->out[i]].name);
    }
    if (w->k->ir_version > KERF_ONNX_IR_LISTED)
        return;
    for (size_t i = 0; i < w->k->graph.count; i++) {
        const kerf_onnx_field *field = &w->k->graph.at[i];

        if (field->f.number == ONNX_GRAPH_INPUT &&
            w->g->value[field->value].kind == KERF_VALUE_PARAM &&
            w->need_value[field->value] && !is_hollow(w, field->value))
            kerf_rope_view(graph, field->f.whole, field->f.whole_len);
    }
}
