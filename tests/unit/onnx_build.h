/*
 * onnx_build.h - small ONNX models for tests, put together field by field.
 *
 *     kerf_rope graph = {0};
 *     add_port(&graph, 11, "x", ELEM_F32, "2,3");
 *     add_node(&graph, "Relu", "x", "y", NULL);
 *     add_port(&graph, 12, "y", ELEM_F32, "2,3");
 *     struct bytes model = finish(&graph, 8, 17);
 *
 * Include after cmocka.h.
 */
#ifndef KERF_TEST_ONNX_BUILD_H
#define KERF_TEST_ONNX_BUILD_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "graph/cuts.h"
#include "graph/wire.h"

enum { NODE = 1, NAME = 2, PARAM = 5, INPUT = 11, OUTPUT = 12, INFO = 13 };
enum { ANNOTATION = 14, SPARSE = 15 };
enum { ELEM_F32 = 1, ELEM_I32 = 6, ELEM_I64 = 7, ELEM_TEXT = 8 };

struct bytes {
    uint8_t *at; /* owned */
    size_t len;
};

/* Each part of a list "a,,b" as a field of that number; NULL: none. */
static inline void
add_list(kerf_rope *rope, uint32_t number, const char *list)
{
    char text[64];

    while (list != NULL) {
        const char *end = strchr(list, ',');
        size_t len = end == NULL ? strlen(list) : (size_t)(end - list);

        assert_true(len < sizeof text);
        memcpy(text, list, len);
        text[len] = '\0';
        kerf_wire_put_text(rope, number, text);
        list = end == NULL ? NULL : end + 1;
    }
}

/* attributes: fields of NodeProto, taken; NULL: none. The node is called as its
 * first output. number: the field of the message around it. */
static inline void
add_node_as(kerf_rope *rope, uint32_t number, const char *op, const char *in,
            const char *out, kerf_rope *attributes)
{
    kerf_rope node = {0};
    char name[64];

    add_list(&node, 1, in);
    add_list(&node, 2, out);
    (void)snprintf(name, sizeof name, "%.*s", (int)strcspn(out, ","), out);
    kerf_wire_put_text(&node, 3, name);
    kerf_wire_put_text(&node, 4, op);
    if (attributes != NULL)
        kerf_rope_move(&node, attributes);
    kerf_wire_put_rope(rope, number, &node);
}

static inline void
add_node(kerf_rope *graph, const char *op, const char *in, const char *out,
         kerf_rope *attributes)
{
    add_node_as(graph, NODE, op, in, out, attributes);
}

/* An attribute that holds a message: a tensor (5) or a graph (6). */
static inline void
add_attribute(kerf_rope *attributes, const char *name, uint32_t number,
              kerf_rope *message)
{
    kerf_rope attribute = {0};

    kerf_wire_put_text(&attribute, 1, name);
    kerf_wire_put_rope(&attribute, number, message);
    kerf_wire_put_rope(attributes, 5, &attribute);
}

/* dims: "2,N,3"; "" for a scalar, NULL for a shape that is not said. elem 0: no
 * type at all. */
static inline void
add_port(kerf_rope *graph, uint32_t number, const char *name, unsigned elem,
         const char *dims)
{
    kerf_rope port = {0}, type = {0}, tensor = {0}, shape = {0};

    kerf_wire_put_text(&port, 1, name);
    while (dims != NULL && *dims != '\0') {
        kerf_rope dim = {0};

        if (*dims >= '0' && *dims <= '9')
            kerf_wire_put_int(&dim, 1, strtoul(dims, NULL, 10));
        else
            add_list(&dim, 2, "N");
        kerf_wire_put_rope(&shape, 1, &dim);
        dims += strcspn(dims, ",");
        dims += *dims == ',';
    }
    kerf_wire_put_int(&tensor, 1, elem);
    if (dims != NULL)
        kerf_wire_put_rope(&tensor, 2, &shape);
    kerf_wire_put_rope(&type, 1, &tensor);
    if (elem != 0)
        kerf_wire_put_rope(&port, 2, &type);
    kerf_rope_fini(&type);
    kerf_wire_put_rope(graph, number, &port);
}

/* The fields of an f32 tensor [count], all its elements value. */
static inline void
add_floats(kerf_rope *tensor, const char *name, size_t count, float value)
{
    kerf_wire_put_int(tensor, 1, count);
    kerf_wire_put_int(tensor, 2, ELEM_F32);
    kerf_wire_put_text(tensor, 8, name);
    kerf_wire_put_head(tensor, 9, count * sizeof value);
    for (size_t i = 0; i < count; i++)
        kerf_rope_copy(tensor, &value, sizeof value);
}

static inline void
add_param(kerf_rope *graph, const char *name, size_t count, float value)
{
    kerf_rope tensor = {0};

    add_floats(&tensor, name, count, value);
    kerf_wire_put_rope(graph, PARAM, &tensor);
}

/* One field of the model. */
static inline void
add_opset(kerf_rope *model, const char *domain, uint64_t version)
{
    kerf_rope set = {0};

    kerf_wire_put_text(&set, 1, domain);
    kerf_wire_put_int(&set, 2, version);
    kerf_wire_put_rope(model, 8, &set);
}

static inline struct bytes
flatten(kerf_rope *rope)
{
    struct bytes b = {.len = rope->len};

    assert_int_equal(kerf_rope_flatten(rope, &b.at), KERF_OK);
    kerf_rope_fini(rope);
    return b;
}

/* graph: taken. opset 0: none. */
static inline struct bytes
finish(kerf_rope *graph, uint64_t ir, uint64_t opset)
{
    kerf_rope model = {0};

    kerf_wire_put_int(&model, 1, ir);
    kerf_wire_put_rope(&model, 7, graph);
    if (opset != 0)
        add_opset(&model, "", opset);
    return flatten(&model);
}

static inline kerf_err
open_bytes(kerf_graph **g, const struct bytes *b, const char *path,
           kerf_detail *why)
{
    const kerf_model_bytes m = {.format = KERF_FORMAT_ONNX,
                                .graph = b->at,
                                .graph_len = b->len,
                                .path = path};

    *g = NULL;
    return kerf_graph_open(g, &m, why);
}

/* Opens it; there is no doubt that it can be. */
static inline kerf_graph *
must_open(const struct bytes *b)
{
    kerf_detail why = {{0}};
    kerf_graph *g;

    if (open_bytes(&g, b, NULL, &why) != KERF_OK)
        fail_msg("%s", why.text);
    return g;
}

/* Cannot be opened, and what is said about it holds the text. */
static inline void
must_refuse(const struct bytes *b, kerf_err err, const char *text)
{
    kerf_detail why = {{0}};
    kerf_graph *g;

    assert_int_equal(open_bytes(&g, b, NULL, &why), err);
    assert_null(g);
    if (strstr(why.text, text) == NULL)
        fail_msg("'%s' is not in: %s", text, why.text);
}

static inline const kerf_value *
value_of(const kerf_graph *g, const char *name)
{
    uint32_t v = kerf_graph_find(g, name);

    assert_int_not_equal(v, KERF_GRAPH_NONE);
    return &g->value[v];
}

static inline const kerf_node *
node_of(const kerf_graph *g, const char *output)
{
    const kerf_value *v = value_of(g, output);

    assert_int_not_equal(v->node, KERF_GRAPH_NONE);
    return &g->node[v->node];
}

/* Names of the values, with a ',' between them; "" for one that is left out. */
static inline const char *
names_of(const kerf_graph *g, const uint32_t *value, size_t count)
{
    static char text[512];
    size_t n = 0;

    text[0] = '\0';
    for (size_t i = 0; i < count; i++)
        n += (size_t)snprintf(
            text + n, sizeof text - n, "%s%s", i == 0 ? "" : ",",
            value[i] == KERF_GRAPH_NONE ? "" : g->value[value[i]].name);
    return text;
}

#endif
