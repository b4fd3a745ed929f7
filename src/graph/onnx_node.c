/*
 * The nodes of an ONNX graph, and what of their values they say themselves.
 */
#include "graph/onnx_own.h"

#include <stdlib.h>
#include <string.h>

struct adder {
    kerf_graph *g;
    kerf_onnx *k;
    const kerf_onnx_order *order;
    bool has_random; /* a function of the model may be random */
    kerf_detail *why;
};

/* Gives a list, or a map: that needs no type to be known. */
static bool
gives_list(const char *op)
{
    static const char *const lists[] = {
        "SequenceConstruct", "SequenceEmpty",     "SequenceErase",
        "SequenceInsert",    "SequenceMap",       "SplitToSequence",
        "Optional",          "ai.onnx.ml.ZipMap",
    };
    bool gives = false;

    for (size_t i = 0; i < sizeof lists / sizeof *lists; i++)
        gives |= strcmp(op, lists[i]) == 0;
    return gives;
}

/* The tensor of a Constant, if it has one. */
static void
read_constant(kerf_value *v, const kerf_wire_field *node)
{
    kerf_onnx_text attribute =
        kerf_onnx_field_text(node->bytes, node->len, ONNX_NODE_ATTRIBUTE);
    kerf_onnx_text tensor = kerf_onnx_field_text(
        (const uint8_t *)attribute.at, attribute.len, ONNX_ATTRIBUTE_TENSOR);
    kerf_onnx_tensor t;

    if (tensor.at != NULL &&
        kerf_onnx_tensor_read(&t, (const uint8_t *)tensor.at, tensor.len,
                              NULL) == KERF_OK)
        kerf_onnx_set_tensor(v, &t);
}

/* "Conv", or "com.microsoft.Conv": another op. */
static kerf_err
write_op(const struct adder *a, const kerf_wire_field *f,
         char op[KERF_ONNX_OP_MAX])
{
    kerf_onnx_text type = kerf_onnx_field_text(f->bytes, f->len, ONNX_NODE_OP);
    kerf_onnx_text domain =
        kerf_onnx_field_text(f->bytes, f->len, ONNX_NODE_DOMAIN);
    size_t n = 0;

    if (type.len == 0)
        return kerf_fail(a->why, KERF_ECORRUPT, "a node has no op_type");
    if (domain.len + type.len + 2 > KERF_ONNX_OP_MAX)
        return kerf_onnx_fail(a->why, KERF_ETOOBIG, type,
                              "is too long for an op_type");
    if (memchr(type.at, 0, type.len) != NULL ||
        (domain.len > 0 && memchr(domain.at, 0, domain.len) != NULL))
        return kerf_onnx_fail(a->why, KERF_ECORRUPT, type, "is no op_type");
    if (!kerf_onnx_is_default(domain)) {
        memcpy(op, domain.at, domain.len);
        n = domain.len;
        op[n++] = '.';
    }
    memcpy(op + n, type.at, type.len);
    op[n + type.len] = '\0';
    return KERF_OK;
}

/* The value that a node reads as its k-th. */
static uint32_t
read_of(const struct adder *a, const kerf_onnx_step *step, uint32_t k)
{
    kerf_onnx_text name;

    if (step->end - step->first <= k)
        return KERF_GRAPH_NONE;
    name = a->order->reads.at[step->first + k];
    return name.len == 0 ? KERF_GRAPH_NONE
                         : kerf_graph_lookup(a->g, name.at, name.len);
}

/* What is known of a value without its type. */
static void
type_output(const struct adder *a, const kerf_wire_field *node, const char *op,
            uint32_t data, uint32_t value)
{
    kerf_value *v = &a->g->value[value];

    if (strcmp(op, "Constant") == 0)
        read_constant(v, node);
    else if (gives_list(op) ||
             (strcmp(op, "Identity") == 0 && data != KERF_GRAPH_NONE &&
              a->g->value[data].type == KERF_VALUE_OTHER))
        v->type = KERF_VALUE_OTHER;
}

static kerf_err
add_node_outputs(struct adder *a, const kerf_wire_field *node, const char *op,
                 uint32_t data)
{
    kerf_rd r = kerf_wire_inside(node);
    kerf_err err = KERF_OK;
    kerf_wire_field f;

    while (err == KERF_OK && kerf_wire_next(&r, &f)) {
        kerf_onnx_text name = kerf_onnx_text_of(&f);
        uint32_t value;

        if (f.number != ONNX_NODE_OUTPUT || f.wire != 2)
            continue;
        if (kerf_graph_lookup(a->g, name.at, name.len) != KERF_GRAPH_NONE)
            return kerf_onnx_fail(
                a->why, KERF_ECORRUPT, name,
                "is given twice: in ONNX a name has one meaning");
        err = kerf_graph_add_out(a->g, name.at, name.len, &value, a->why);
        if (err == KERF_OK && value != KERF_GRAPH_NONE)
            type_output(a, node, op, data, value);
    }
    return err;
}

static kerf_err
add_node(struct adder *a, const kerf_onnx_step *step)
{
    const kerf_wire_field *f = &a->k->graph.at[step->field].f;
    kerf_onnx_text name =
        kerf_onnx_field_text(f->bytes, f->len, ONNX_NODE_NAME);
    char op[KERF_ONNX_OP_MAX];
    uint32_t node;
    kerf_node *n;
    kerf_err err = write_op(a, f, op);

    if (err != KERF_OK)
        return err;
    err = kerf_graph_add_node(a->g, op, strlen(op), name.at, name.len, &node);
    if (err != KERF_OK)
        return kerf_onnx_fail(a->why, err, name,
                              "cannot be the name of a node");
    n = &a->g->node[node];
    n->is_random = a->has_random && strchr(op, '.') != NULL;
    n->data = read_of(a, step, 0);
    n->weight = read_of(a, step, strncmp(op, "QLinear", 7) == 0 ? 3 : 1);
    for (uint32_t i = step->first; i < step->end && err == KERF_OK; i++)
        err = kerf_graph_add_in(a->g, a->order->reads.at[i].at,
                                a->order->reads.at[i].len, a->why);
    if (err == KERF_OK)
        err = add_node_outputs(a, f, op, n->data);
    return err;
}

kerf_err
kerf_onnx_add_nodes(kerf_graph *g, kerf_onnx *k, bool has_random,
                    kerf_detail *why)
{
    kerf_onnx_order order = {0};
    struct adder a = {g, k, &order, has_random, why};
    kerf_err err = kerf_onnx_order_make(&order, &k->graph, why);

    if (err != KERF_OK)
        return err;
    k->node = calloc(order.count + 1, sizeof *k->node);
    if (k->node == NULL)
        err =
            kerf_fail(why, KERF_ENOMEM, "no memory for %zu nodes", order.count);
    for (size_t i = 0; i < order.count && err == KERF_OK; i++) {
        k->node[i] = order.step[i].field;
        err = add_node(&a, &order.step[i]);
    }
    kerf_onnx_order_fini(&order);
    return err;
}
