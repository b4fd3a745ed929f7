/*
 * Protobuf's wire format by hand: a field is a varint of (number << 3 | type),
 * then a varint (type 0), four bytes (type 5), or a length and bytes (type 2).
 * Messages inside messages are built aside, then appended with their length.
 */
#include "bench/onnx_out.h"

#include "base/bytes.h"
#include "base/rng.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define IR_VERSION 8
#define OPSET 13
#define ONNX_FLOAT 1 /* TensorProto.DataType */
#define BYTES_MAX ((size_t)256 << 20)

/* Field numbers, from onnx.proto. */
enum { MODEL_IR = 1, MODEL_PRODUCER = 2, MODEL_GRAPH = 7, MODEL_OPSET = 8 };
enum { OPSET_VERSION = 2 };
enum { GRAPH_NODE = 1, GRAPH_NAME = 2, GRAPH_INITIALIZER = 5 };
enum { GRAPH_INPUT = 11, GRAPH_OUTPUT = 12 };
enum { NODE_INPUT = 1, NODE_OUTPUT = 2, NODE_NAME = 3, NODE_OP = 4 };
enum { NODE_ATTRIBUTE = 5 };
enum { ATTRIBUTE_NAME = 1, ATTRIBUTE_INT = 3, ATTRIBUTE_INTS = 8 };
enum { ATTRIBUTE_TYPE = 20, TYPE_INT = 2, TYPE_INTS = 7 };
enum { TENSOR_DIMS = 1, TENSOR_TYPE = 2, TENSOR_NAME = 8, TENSOR_RAW = 9 };
enum { PORT_NAME = 1, PORT_TYPE = 2, TYPE_TENSOR = 1 };
enum { TENSOR_TYPE_ELEM = 1, TENSOR_TYPE_SHAPE = 2, SHAPE_DIM = 1 };
enum { DIM_VALUE = 1 };

/* Room for len more bytes; NULL when there is none. */
static uint8_t *
grow(kerf_onnx_bytes *b, size_t len)
{
    if (b->bad || len > BYTES_MAX - b->len) {
        b->bad = true;
        return NULL;
    }
    if (b->len + len > b->cap) {
        size_t cap = b->cap < 256 ? 256 : b->cap;
        uint8_t *data;

        while (cap < b->len + len)
            cap *= 2;
        data = realloc(b->data, cap);
        if (data == NULL) {
            b->bad = true;
            return NULL;
        }
        b->data = data;
        b->cap = cap;
    }
    b->len += len;
    return b->data + b->len - len;
}

static void
put_bytes(kerf_onnx_bytes *b, const void *data, size_t len)
{
    uint8_t *at = grow(b, len);

    if (at != NULL && len > 0)
        memcpy(at, data, len);
}

static void
put_varint(kerf_onnx_bytes *b, uint64_t v)
{
    uint8_t out[10];
    size_t n = 0;

    for (; v > 0x7f; v >>= 7)
        out[n++] = (uint8_t)(v & 0x7f) | 0x80;
    out[n++] = (uint8_t)v;
    put_bytes(b, out, n);
}

static void
put_int(kerf_onnx_bytes *b, unsigned field, int64_t v)
{
    put_varint(b, (uint64_t)field << 3);
    put_varint(b, (uint64_t)v);
}

static void
put_data(kerf_onnx_bytes *b, unsigned field, const void *data, size_t len)
{
    put_varint(b, (uint64_t)field << 3 | 2);
    put_varint(b, len);
    put_bytes(b, data, len);
}

static void
put_text(kerf_onnx_bytes *b, unsigned field, const char *text)
{
    put_data(b, field, text, strlen(text));
}

/* Appends the message and frees it. */
static void
put_message(kerf_onnx_bytes *b, unsigned field, kerf_onnx_bytes *m)
{
    put_data(b, field, m->data, m->len);
    b->bad |= m->bad;
    free(m->data);
    *m = (kerf_onnx_bytes){0};
}

static void
put_port(kerf_onnx *g, unsigned field, const char *name, const int64_t *dims,
         size_t rank)
{
    kerf_onnx_bytes port = {0};
    kerf_onnx_bytes type = {0};
    kerf_onnx_bytes tensor = {0};
    kerf_onnx_bytes shape = {0};

    for (size_t i = 0; i < rank; i++) {
        kerf_onnx_bytes dim = {0};

        put_int(&dim, DIM_VALUE, dims[i]);
        put_message(&shape, SHAPE_DIM, &dim);
    }
    put_int(&tensor, TENSOR_TYPE_ELEM, ONNX_FLOAT);
    put_message(&tensor, TENSOR_TYPE_SHAPE, &shape);
    put_message(&type, TYPE_TENSOR, &tensor);
    put_text(&port, PORT_NAME, name);
    put_message(&port, PORT_TYPE, &type);
    put_message(&g->ports, field, &port);
}

/* Weights are uniform in [-limit, limit), little-endian f32. */
static void
put_weights(kerf_onnx *g, const char *name, const int64_t *dims, size_t rank,
            float limit)
{
    kerf_onnx_bytes t = {0};
    size_t count = 1;
    uint8_t *at;

    for (size_t i = 0; i < rank; i++) {
        put_int(&t, TENSOR_DIMS, dims[i]);
        count *= (size_t)dims[i];
    }
    put_int(&t, TENSOR_TYPE, ONNX_FLOAT);
    put_text(&t, TENSOR_NAME, name);
    put_varint(&t, TENSOR_RAW << 3 | 2);
    put_varint(&t, count * 4);
    at = grow(&t, count * 4);
    for (size_t i = 0; at != NULL && i < count; i++) {
        float v = limit * (2 * kerf_rng_unit(&g->seed) - 1);
        kerf_wr w = {.at = at + 4 * i, .left = 4};
        uint32_t bits;

        memcpy(&bits, &v, sizeof bits);
        kerf_wr_u32(&w, bits);
    }
    put_message(&g->weights, GRAPH_INITIALIZER, &t);
}

static void
put_ints(kerf_onnx_bytes *node, const char *name, int v, size_t count)
{
    kerf_onnx_bytes a = {0};

    put_text(&a, ATTRIBUTE_NAME, name);
    for (size_t i = 0; i < count; i++)
        put_int(&a, ATTRIBUTE_INTS, v);
    put_int(&a, ATTRIBUTE_TYPE, TYPE_INTS);
    put_message(node, NODE_ATTRIBUTE, &a);
}

static void
put_one_int(kerf_onnx_bytes *node, const char *name, int v)
{
    kerf_onnx_bytes a = {0};

    put_text(&a, ATTRIBUTE_NAME, name);
    put_int(&a, ATTRIBUTE_INT, v);
    put_int(&a, ATTRIBUTE_TYPE, TYPE_INT);
    put_message(node, NODE_ATTRIBUTE, &a);
}

static void
put_window(kerf_onnx_bytes *node, int kernel, int stride)
{
    put_ints(node, "kernel_shape", kernel, 2);
    put_ints(node, "strides", stride, 2);
    put_ints(node, "pads", kernel / 2, 4);
}

/* inputs: 0-terminated. attributes are appended and freed. */
static void
put_node(kerf_onnx *g, const char *op, const char *const *inputs,
         const char *out, kerf_onnx_bytes *attributes)
{
    kerf_onnx_bytes node = {0};
    char name[64];

    (void)snprintf(name, sizeof name, "%s_%d", op, g->count++);
    for (; *inputs != NULL; inputs++)
        put_text(&node, NODE_INPUT, *inputs);
    put_text(&node, NODE_OUTPUT, out);
    put_text(&node, NODE_NAME, name);
    put_text(&node, NODE_OP, op);
    if (attributes != NULL) {
        put_bytes(&node, attributes->data, attributes->len);
        node.bad |= attributes->bad;
        free(attributes->data);
    }
    put_message(&g->nodes, GRAPH_NODE, &node);
}

void
kerf_onnx_begin(kerf_onnx *g, uint64_t seed)
{
    *g = (kerf_onnx){.seed = seed};
}

void
kerf_onnx_input(kerf_onnx *g, const char *name, const int64_t *dims,
                size_t rank)
{
    put_port(g, GRAPH_INPUT, name, dims, rank);
}

void
kerf_onnx_output(kerf_onnx *g, const char *name, const int64_t *dims,
                 size_t rank)
{
    put_port(g, GRAPH_OUTPUT, name, dims, rank);
}

/* Names and values of a layer's weight and bias. He et al. 2015: variance
 * 2 / fan_in, which a uniform law has at a limit of sqrt(6 / fan_in). */
static void
put_layer(kerf_onnx *g, char weight[32], char bias[32], const int64_t *dims,
          size_t rank, float gain)
{
    double fan_in = 1;

    for (size_t i = 1; i < rank; i++)
        fan_in *= (double)dims[i];
    (void)snprintf(weight, 32, "w%d", g->count);
    (void)snprintf(bias, 32, "b%d", g->count);
    put_weights(g, weight, dims, rank, gain * (float)sqrt(6 / fan_in));
    put_weights(g, bias, dims, 1, 0.1F);
}

void
kerf_onnx_conv(kerf_onnx *g, const char *in, const char *out,
               const kerf_onnx_conv_opts *o)
{
    const int64_t dims[4] = {o->to, o->from, o->kernel, o->kernel};
    kerf_onnx_bytes attributes = {0};
    char weight[32];
    char bias[32];
    const char *const inputs[] = {in, weight, bias, NULL};

    put_layer(g, weight, bias, dims, 4, o->gain);
    put_window(&attributes, o->kernel, o->stride);
    put_node(g, "Conv", inputs, out, &attributes);
}

void
kerf_onnx_dense(kerf_onnx *g, const char *in, const char *out, int from, int to)
{
    const int64_t dims[2] = {to, from};
    kerf_onnx_bytes attributes = {0};
    char weight[32];
    char bias[32];
    const char *const inputs[] = {in, weight, bias, NULL};

    put_layer(g, weight, bias, dims, 2, 1);
    put_one_int(&attributes, "transB", 1);
    put_node(g, "Gemm", inputs, out, &attributes);
}

void
kerf_onnx_max_pool(kerf_onnx *g, const char *in, const char *out, int kernel,
                   int stride)
{
    const char *const inputs[] = {in, NULL};
    kerf_onnx_bytes attributes = {0};

    put_window(&attributes, kernel, stride);
    put_node(g, "MaxPool", inputs, out, &attributes);
}

void
kerf_onnx_op(kerf_onnx *g, const char *op, const char *a, const char *b,
             const char *out)
{
    const char *const inputs[] = {a, b, NULL};

    put_node(g, op, inputs, out, NULL);
}

kerf_err
kerf_onnx_finish(kerf_onnx *g, const char *name, uint8_t **data, size_t *len)
{
    kerf_onnx_bytes model = {0};
    kerf_onnx_bytes graph = g->nodes; /* taken over: it grows the rest */
    kerf_onnx_bytes opset = {0};

    put_text(&graph, GRAPH_NAME, name);
    put_bytes(&graph, g->weights.data, g->weights.len);
    put_bytes(&graph, g->ports.data, g->ports.len);
    graph.bad |= g->weights.bad || g->ports.bad;
    free(g->weights.data);
    free(g->ports.data);
    *g = (kerf_onnx){0};
    put_int(&opset, OPSET_VERSION, OPSET);
    put_int(&model, MODEL_IR, IR_VERSION);
    put_text(&model, MODEL_PRODUCER, "kerf bench");
    put_message(&model, MODEL_GRAPH, &graph);
    put_message(&model, MODEL_OPSET, &opset);
    if (model.bad) {
        free(model.data);
        return KERF_ENOMEM;
    }
    *data = model.data;
    *len = model.len;
    return KERF_OK;
}
