#include "bench/onnx_out.h"

#include "base/bytes.h"
#include "base/rng.h"
#include "graph/wire.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define IR_VERSION 8
#define OPSET 13
#define ONNX_FLOAT 1 /* TensorProto.DataType */

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
enum { TENSOR_EXTERNAL = 13, TENSOR_LOCATION = 14, OUTSIDE = 1 };
enum { ENTRY_KEY = 1, ENTRY_VALUE = 2 };
enum { PORT_NAME = 1, PORT_TYPE = 2, TYPE_TENSOR = 1 };
enum { TENSOR_TYPE_ELEM = 1, TENSOR_TYPE_SHAPE = 2, SHAPE_DIM = 1 };
enum { DIM_VALUE = 1 };

static void
put_port(kerf_onnx *g, unsigned field, const char *name, const int64_t *dims,
         size_t rank)
{
    kerf_rope port = {0};
    kerf_rope type = {0};
    kerf_rope tensor = {0};
    kerf_rope shape = {0};

    for (size_t i = 0; i < rank; i++) {
        kerf_rope dim = {0};

        kerf_wire_put_int(&dim, DIM_VALUE, (uint64_t)dims[i]);
        kerf_wire_put_rope(&shape, SHAPE_DIM, &dim);
    }
    kerf_wire_put_int(&tensor, TENSOR_TYPE_ELEM, ONNX_FLOAT);
    kerf_wire_put_rope(&tensor, TENSOR_TYPE_SHAPE, &shape);
    kerf_wire_put_rope(&type, TYPE_TENSOR, &tensor);
    kerf_wire_put_text(&port, PORT_NAME, name);
    kerf_wire_put_rope(&port, PORT_TYPE, &type);
    kerf_wire_put_rope(&g->ports, field, &port);
}

/* What a parameter is but for its data. */
static kerf_rope
begin_param(const char *name, const int64_t *dims, size_t rank)
{
    kerf_rope t = {0};

    for (size_t i = 0; i < rank; i++)
        kerf_wire_put_int(&t, TENSOR_DIMS, (uint64_t)dims[i]);
    kerf_wire_put_int(&t, TENSOR_TYPE, ONNX_FLOAT);
    kerf_wire_put_text(&t, TENSOR_NAME, name);
    return t;
}

static size_t
count_of(const int64_t *dims, size_t rank)
{
    size_t count = 1;

    for (size_t i = 0; i < rank; i++)
        count *= (size_t)dims[i];
    return count;
}

void
kerf_onnx_param(kerf_onnx *g, const char *name, const int64_t *dims,
                size_t rank, const uint8_t *data)
{
    size_t bytes = count_of(dims, rank) * sizeof(float);
    kerf_rope t = begin_param(name, dims, rank);

    kerf_wire_put_head(&t, TENSOR_RAW, bytes);
    kerf_rope_view(&t, data, bytes);
    kerf_wire_put_rope(&g->weights, GRAPH_INITIALIZER, &t);
}

static void
put_entry(kerf_rope *t, const char *key, const char *value)
{
    kerf_rope entry = {0};

    kerf_wire_put_text(&entry, ENTRY_KEY, key);
    kerf_wire_put_text(&entry, ENTRY_VALUE, value);
    kerf_wire_put_rope(t, TENSOR_EXTERNAL, &entry);
}

void
kerf_onnx_param_outside(kerf_onnx *g, const char *name, const int64_t *dims,
                        size_t rank, const char *file, size_t offset)
{
    kerf_rope t = begin_param(name, dims, rank);
    char number[32];

    put_entry(&t, "location", file);
    (void)snprintf(number, sizeof number, "%zu", offset);
    put_entry(&t, "offset", number);
    (void)snprintf(number, sizeof number, "%zu",
                   count_of(dims, rank) * sizeof(float));
    put_entry(&t, "length", number);
    kerf_wire_put_int(&t, TENSOR_LOCATION, OUTSIDE);
    kerf_wire_put_rope(&g->weights, GRAPH_INITIALIZER, &t);
}

uint8_t *
kerf_onnx_weights(uint64_t *seed, size_t count, float limit)
{
    size_t len = count * sizeof(float);
    uint8_t *data = malloc(len);
    kerf_wr w = {.at = data, .left = len};

    for (size_t i = 0; data != NULL && i < count; i++)
        kerf_wr_u32(&w, kerf_float_bits(limit * (2 * kerf_rng_unit(seed) - 1)));
    return data;
}

static void
put_weights(kerf_onnx *g, const char *name, const int64_t *dims, size_t rank,
            float limit)
{
    size_t count = count_of(dims, rank);
    uint8_t *data = kerf_onnx_weights(&g->seed, count, limit);
    kerf_rope t = begin_param(name, dims, rank);

    kerf_wire_put_head(&t, TENSOR_RAW, count * sizeof(float));
    if (data != NULL)
        kerf_rope_take(&t, data, count * sizeof(float));
    t.bad |= data == NULL;
    kerf_wire_put_rope(&g->weights, GRAPH_INITIALIZER, &t);
}

static void
put_ints(kerf_rope *node, const char *name, int v, size_t count)
{
    kerf_rope a = {0};

    kerf_wire_put_text(&a, ATTRIBUTE_NAME, name);
    for (size_t i = 0; i < count; i++)
        kerf_wire_put_int(&a, ATTRIBUTE_INTS, (uint64_t)v);
    kerf_wire_put_int(&a, ATTRIBUTE_TYPE, TYPE_INTS);
    kerf_wire_put_rope(node, NODE_ATTRIBUTE, &a);
}

static void
put_one_int(kerf_rope *node, const char *name, int v)
{
    kerf_rope a = {0};

    kerf_wire_put_text(&a, ATTRIBUTE_NAME, name);
    kerf_wire_put_int(&a, ATTRIBUTE_INT, (uint64_t)v);
    kerf_wire_put_int(&a, ATTRIBUTE_TYPE, TYPE_INT);
    kerf_wire_put_rope(node, NODE_ATTRIBUTE, &a);
}

static void
put_window(kerf_rope *node, int kernel, int stride)
{
    put_ints(node, "kernel_shape", kernel, 2);
    put_ints(node, "strides", stride, 2);
    put_ints(node, "pads", kernel / 2, 4);
}

/* inputs: 0-terminated. attributes are appended and freed. */
static void
put_node(kerf_onnx *g, const char *op, const char *const *inputs,
         const char *out, kerf_rope *attributes)
{
    kerf_rope node = {0};
    char name[64];

    (void)snprintf(name, sizeof name, "%s_%d", op, g->count++);
    for (; *inputs != NULL; inputs++)
        kerf_wire_put_text(&node, NODE_INPUT, *inputs);
    kerf_wire_put_text(&node, NODE_OUTPUT, out);
    kerf_wire_put_text(&node, NODE_NAME, name);
    kerf_wire_put_text(&node, NODE_OP, op);
    if (attributes != NULL)
        kerf_rope_move(&node, attributes);
    kerf_wire_put_rope(&g->nodes, GRAPH_NODE, &node);
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
    kerf_rope attributes = {0};
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
    kerf_rope attributes = {0};
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
    kerf_rope attributes = {0};

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

void
kerf_onnx_finish(kerf_onnx *g, const char *name, kerf_rope *model)
{
    kerf_rope graph = {0};
    kerf_rope opset = {0};

    kerf_rope_move(&graph, &g->nodes);
    kerf_wire_put_text(&graph, GRAPH_NAME, name);
    kerf_rope_move(&graph, &g->weights);
    kerf_rope_move(&graph, &g->ports);
    kerf_wire_put_int(&opset, OPSET_VERSION, OPSET);
    kerf_wire_put_int(model, MODEL_IR, IR_VERSION);
    kerf_wire_put_text(model, MODEL_PRODUCER, "kerf bench");
    kerf_wire_put_rope(model, MODEL_GRAPH, &graph);
    kerf_wire_put_rope(model, MODEL_OPSET, &opset);
}
