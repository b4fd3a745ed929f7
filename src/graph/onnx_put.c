/*
 * Writes what stands in an ONNX file again: views of it, but for names that
 * change and for data that comes in from other files.
 */
#include "graph/onnx_own.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define DEEP_MAX 128 /* what kerf_onnx_each_outside() goes through */

/* The opset for Identity in a model that imports none of ONNX's own ops. */
#define OPSET_ANY 8

static kerf_err put_inside(kerf_rope *rope, const kerf_onnx *k,
                           kerf_onnx_message is, const kerf_wire_field *f,
                           const char *name, unsigned deep, kerf_detail *why);

/* One of the fields that hold a tensor's data. */
static bool
is_data(const kerf_wire_field *f)
{
    switch (f->number) {
    case ONNX_TENSOR_FLOATS:
    case ONNX_TENSOR_INTS:
    case ONNX_TENSOR_TEXTS:
    case ONNX_TENSOR_LONGS:
    case ONNX_TENSOR_RAW:
    case ONNX_TENSOR_DOUBLES:
    case ONNX_TENSOR_ULONGS:
        return true;
    default:
        return false;
    }
}

static kerf_err
put_tensor(kerf_rope *rope, const kerf_onnx *k, const kerf_wire_field *f,
           const char *name, kerf_detail *why)
{
    kerf_rd r = kerf_wire_inside(f);
    kerf_onnx_tensor t;
    kerf_wire_field at;
    const uint8_t *data = NULL;
    size_t len = 0;
    kerf_err err = kerf_onnx_tensor_read(&t, f->bytes, f->len, why);

    if (err == KERF_OK && t.is_outside)
        err =
            kerf_onnx_files_data(&k->files, f->bytes, f->len, &data, &len, why);
    if (err != KERF_OK)
        return err;
    while (kerf_wire_next(&r, &at)) {
        bool is_gone = kerf_onnx_is_outside(&at) ||
                       (at.number == ONNX_TENSOR_NAME && name != NULL) ||
                       (t.is_outside && is_data(&at));

        if (!is_gone)
            kerf_rope_view(rope, at.whole, at.whole_len);
    }
    if (name != NULL)
        kerf_wire_put_text(rope, ONNX_TENSOR_NAME, name);
    if (t.is_outside) {
        kerf_wire_put_head(rope, ONNX_TENSOR_RAW, len);
        kerf_rope_view(rope, data, len);
    }
    return KERF_OK;
}

/* The fields of the message f; name: of the tensor, or NULL. */
static kerf_err
put_fields(kerf_rope *rope, const kerf_onnx *k, kerf_onnx_message is,
           const kerf_wire_field *f, const char *name, unsigned deep,
           kerf_detail *why)
{
    kerf_rd r = kerf_wire_inside(f);
    kerf_err err = KERF_OK;
    kerf_wire_field at;

    if (is == KERF_ONNX_TENSOR)
        return put_tensor(rope, k, f, name, why);
    while (err == KERF_OK && kerf_wire_next(&r, &at)) {
        bool is_named =
            is == KERF_ONNX_SPARSE && at.number == ONNX_SPARSE_VALUES;

        err = put_inside(rope, k, kerf_onnx_inside(is, &at), &at,
                         is_named ? name : NULL, deep + 1, why);
    }
    return err;
}

static kerf_err
put_inside(kerf_rope *rope, const kerf_onnx *k, kerf_onnx_message is,
           const kerf_wire_field *f, const char *name, unsigned deep,
           kerf_detail *why)
{
    kerf_rope inside = {0};
    kerf_err err;

    if (is == KERF_ONNX_SKIP || (!k->has_outside && name == NULL)) {
        kerf_rope_view(rope, f->whole, f->whole_len);
        return KERF_OK;
    }
    if (deep == DEEP_MAX)
        return kerf_fail(why, KERF_ETOOBIG, "messages are nested too deep");
    err = put_fields(&inside, k, is, f, name, deep, why);
    if (err == KERF_OK)
        kerf_wire_put_rope(rope, f->number, &inside);
    kerf_rope_fini(&inside);
    return err;
}

kerf_err
kerf_onnx_put(kerf_rope *rope, const kerf_onnx *k, kerf_onnx_message is,
              const kerf_wire_field *f, const char *name, kerf_detail *why)
{
    return put_inside(rope, k, is, f, name, 0, why);
}

/* Each dim is as v has it, or free. */
static bool
is_shape_told(const kerf_shape *v, const kerf_shape *told)
{
    bool is_told = v->rank == told->rank;

    for (uint32_t d = 0; is_told && d < v->rank; d++)
        is_told = told->dims[d] < 0 || told->dims[d] == v->dims[d];
    return is_told;
}

/* What the file says about v is all that is known of it, and not more: it may
 * have been written for another batch. */
static bool
is_told(const kerf_value *v, const kerf_wire_field *f)
{
    kerf_value told = *v;

    if (kerf_onnx_info_read(&told, f->bytes, f->len, NULL) != KERF_OK)
        return false;
    if (told.type == KERF_VALUE_OTHER || v->type != KERF_VALUE_TENSOR)
        return true;
    return told.type == KERF_VALUE_TENSOR && told.dtype == v->dtype &&
           (!v->is_shaped ||
            (told.is_shaped && is_shape_told(&v->shape, &told.shape)));
}

void
kerf_onnx_put_info(kerf_rope *rope, uint32_t number, const kerf_graph *g,
                   uint32_t value, const char *name)
{
    const kerf_onnx *k = g->own->state;
    const kerf_value *v = &g->value[value];
    const kerf_wire_field *f = k->info[value] == KERF_GRAPH_NONE
                                   ? NULL
                                   : &k->graph.at[k->info[value]].f;
    kerf_rope inside = {0};
    kerf_wire_field at;
    kerf_rd r;

    if (f == NULL || !is_told(v, f)) {
        kerf_onnx_info_put(rope, number, v, name);
        return;
    }
    r = kerf_wire_inside(f);
    if (strcmp(name, v->name) != 0)
        kerf_wire_put_text(&inside, ONNX_INFO_NAME, name);
    while (kerf_wire_next(&r, &at)) {
        if (at.number != ONNX_INFO_NAME || strcmp(name, v->name) == 0)
            kerf_rope_view(&inside, at.whole, at.whole_len);
    }
    kerf_wire_put_rope(rope, number, &inside);
    kerf_rope_fini(&inside);
}

void
kerf_onnx_put_identity(kerf_rope *rope, const char *from, const char *to,
                       const char *name)
{
    kerf_rope node = {0};

    kerf_wire_put_text(&node, ONNX_NODE_INPUT, from);
    kerf_wire_put_text(&node, ONNX_NODE_OUTPUT, to);
    if (name != NULL)
        kerf_wire_put_text(&node, ONNX_NODE_NAME, name);
    kerf_wire_put_text(&node, ONNX_NODE_OP, "Identity");
    kerf_wire_put_rope(rope, ONNX_GRAPH_NODE, &node);
    kerf_rope_fini(&node);
}

/* An attribute that is a tensor; tensor: taken. */
static void
put_tensor_attribute(kerf_rope *node, kerf_rope *tensor)
{
    kerf_rope attribute = {0};

    kerf_wire_put_text(&attribute, ONNX_ATTRIBUTE_NAME, "value");
    kerf_wire_put_rope(&attribute, ONNX_ATTRIBUTE_TENSOR, tensor);
    kerf_wire_put_int(&attribute, ONNX_ATTRIBUTE_TYPE,
                      ONNX_ATTRIBUTE_IS_TENSOR);
    kerf_wire_put_rope(node, ONNX_NODE_ATTRIBUTE, &attribute);
    kerf_rope_fini(&attribute);
}

void
kerf_onnx_put_zeros(kerf_rope *rope, const kerf_graph *g, const kerf_value *v)
{
    char *shape = kerf_onnx_fresh_name(&g, 1, v->name, "shape", 0);
    kerf_rope dims = {0}, zero = {0}, node = {0};
    uint8_t bytes[8 * KERF_RANK_MAX] = {0};
    kerf_wr w = {.at = bytes, .left = sizeof bytes};

    if (shape == NULL) {
        rope->bad = true;
        return;
    }
    for (uint32_t d = 0; d < v->shape.rank; d++)
        kerf_wr_u64(&w, (uint64_t)v->shape.dims[d]);
    kerf_wire_put_int(&dims, ONNX_TENSOR_DIMS, v->shape.rank);
    kerf_wire_put_int(&dims, ONNX_TENSOR_TYPE, KERF_ONNX_I64);
    kerf_wire_put_head(&dims, ONNX_TENSOR_RAW, sizeof bytes - w.left);
    kerf_rope_copy(&dims, bytes, sizeof bytes - w.left);
    kerf_wire_put_text(&node, ONNX_NODE_OUTPUT, shape);
    kerf_wire_put_text(&node, ONNX_NODE_OP, "Constant");
    put_tensor_attribute(&node, &dims);
    kerf_wire_put_rope(rope, ONNX_GRAPH_NODE, &node);

    memset(bytes, 0, sizeof bytes);
    kerf_wire_put_int(&zero, ONNX_TENSOR_DIMS, 1);
    kerf_wire_put_int(&zero, ONNX_TENSOR_TYPE,
                      (uint64_t)kerf_onnx_elem(v->dtype));
    kerf_wire_put_head(&zero, ONNX_TENSOR_RAW, kerf_dtype_size(v->dtype));
    kerf_rope_copy(&zero, bytes, kerf_dtype_size(v->dtype));
    kerf_wire_put_text(&node, ONNX_NODE_INPUT, shape);
    kerf_wire_put_text(&node, ONNX_NODE_OUTPUT, v->name);
    kerf_wire_put_text(&node, ONNX_NODE_OP, "ConstantOfShape");
    put_tensor_attribute(&node, &zero);
    kerf_wire_put_rope(rope, ONNX_GRAPH_NODE, &node);
    free(shape);
}

/* Identity needs an opset. */
static void
put_opset(kerf_rope *rope, const kerf_onnx *k)
{
    kerf_rope set = {0};

    kerf_wire_put_text(&set, 1, "");
    kerf_wire_put_int(&set, 2,
                      k->function_opset > 0 ? (uint64_t)k->function_opset
                                            : OPSET_ANY);
    kerf_wire_put_rope(rope, ONNX_MODEL_OPSET, &set);
    kerf_rope_fini(&set);
}

kerf_err
kerf_onnx_put_model(kerf_rope *rope, const kerf_onnx *k, kerf_rope *graph,
                    bool has_identity, kerf_detail *why)
{
    kerf_err err = KERF_OK;

    for (size_t i = 0; i < k->model.count && err == KERF_OK; i++) {
        const kerf_wire_field *f = &k->model.at[i].f;

        if (f->number == ONNX_MODEL_GRAPH)
            kerf_wire_put_rope(rope, ONNX_MODEL_GRAPH, graph);
        else
            err = kerf_onnx_put(rope, k, kerf_onnx_inside(KERF_ONNX_MODEL, f),
                                f, NULL, why);
    }
    if (has_identity && !k->has_opset)
        put_opset(rope, k);
    return err;
}

kerf_err
kerf_onnx_check_size(const kerf_rope *rope, kerf_detail *why)
{
    if (rope->bad)
        return kerf_fail(why, KERF_ENOMEM, "no memory to write a model");
    if (rope->len >= KERF_MODEL_BYTES_MAX) {
        return kerf_fail(
            why, KERF_ETOOBIG,
            "this part would have %zu bytes, and an .onnx has less "
            "than 2 GiB with its weights inside: cut elsewhere",
            rope->len);
    }
    return KERF_OK;
}

static bool
is_taken(const kerf_graph *const *g, size_t count, const char *name)
{
    for (size_t i = 0; i < count; i++) {
        if (kerf_graph_find(g[i], name) != KERF_GRAPH_NONE)
            return true;
    }
    return false;
}

char *
kerf_onnx_fresh_name(const kerf_graph *const *g, size_t count, const char *name,
                     const char *what, size_t port)
{
    size_t room = strlen(name) + strlen(what) + 40;
    char *text = malloc(room);

    if (text == NULL)
        return NULL;
    (void)snprintf(text, room, "%s/kerf_%s%zu", name, what, port);
    for (unsigned turn = 1; is_taken(g, count, text); turn++)
        (void)snprintf(text, room, "%s/kerf_%s%zu_%u", name, what, port, turn);
    return text;
}
