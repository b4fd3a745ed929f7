/*
 * paddle_model.h - Paddle programs of paddle_text.h, opened; and parts of them.
 */
#ifndef KERF_TESTS_PADDLE_MODEL_H
#define KERF_TESTS_PADDLE_MODEL_H

#include "graph/cuts.h"
#include "graph/graph_own.h"
#include "paddle_text.h"

struct model {
    uint8_t *graph, *weights;
    kerf_model_bytes bytes;
    kerf_graph *g;
};

static kerf_err
open_model(struct model *m, kerf_detail *why)
{
    return kerf_graph_open(&m->g, &m->bytes, why);
}

static struct model
make(const char *text)
{
    struct model m = {0};
    kerf_detail why = {""};

    m.bytes = pd_program(text, &m.graph, &m.weights);
    if (open_model(&m, &why) != KERF_OK)
        fail_msg("%s", why.text);
    return m;
}

static void
close_model(struct model *m)
{
    kerf_graph_close(m->g);
    free(m->graph);
    free(m->weights);
    *m = (struct model){0};
}

static struct model
from_ropes(kerf_rope *graph, kerf_rope *weights)
{
    struct model m = {.bytes.format = KERF_FORMAT_PADDLE};
    kerf_detail why = {""};

    assert_int_equal(kerf_rope_flatten(graph, &m.graph), KERF_OK);
    assert_int_equal(kerf_rope_flatten(weights, &m.weights), KERF_OK);
    m.bytes.graph = m.graph;
    m.bytes.graph_len = graph->len;
    m.bytes.weights = m.weights;
    m.bytes.weights_len = weights->len;
    kerf_rope_fini(graph);
    kerf_rope_fini(weights);
    if (open_model(&m, &why) != KERF_OK)
        fail_msg("written again: %s", why.text);
    return m;
}

static struct model
write_part(const kerf_graph *g, const kerf_part *part)
{
    kerf_rope graph = {0}, weights = {0};
    kerf_detail why = {""};

    if (kerf_graph_write(g, part, &graph, &weights, &why) != KERF_OK)
        fail_msg("%s", why.text);
    return from_ropes(&graph, &weights);
}

static struct model
write_half(const kerf_graph *g, const kerf_cut *cut, bool head)
{
    kerf_part part = {0};
    struct model m;

    assert_int_equal(kerf_cut_part(g, cut, head, &part), KERF_OK);
    m = write_part(g, &part);
    kerf_part_fini(&part);
    return m;
}

/* "in: x | conv2d(x, w) y | out: y": in the order of the file. */
static const char *
text_of(const kerf_graph *g)
{
    static char text[4096];
    size_t used = 0;

    used += (size_t)snprintf(text, sizeof text, "in:");
    for (size_t i = 0; i < g->input_count; i++)
        used += (size_t)snprintf(text + used, sizeof text - used, " %s",
                                 g->value[g->input[i]].name);
    for (size_t i = 0; i < g->node_count; i++) {
        const kerf_node *n = &g->node[g->own->file_order[i]];

        used +=
            (size_t)snprintf(text + used, sizeof text - used, " | %s(", n->op);
        for (size_t k = 0; k < n->in_count; k++)
            used +=
                (size_t)snprintf(text + used, sizeof text - used, "%s%s",
                                 k > 0 ? ", " : "", g->value[n->in[k]].name);
        used += (size_t)snprintf(text + used, sizeof text - used, ")");
        for (size_t k = 0; k < n->out_count; k++)
            used += (size_t)snprintf(text + used, sizeof text - used, " %s",
                                     g->value[n->out[k]].name);
    }
    used += (size_t)snprintf(text + used, sizeof text - used, " | out:");
    for (size_t i = 0; i < g->output_count; i++)
        used += (size_t)snprintf(text + used, sizeof text - used, " %s",
                                 g->value[g->output[i]].name);
    return text;
}

static void
assert_text(const kerf_graph *g, const char *text)
{
    assert_string_equal(text_of(g), text);
}

/* A skip connection, a shared parameter, a folded one, a dead op. */
#define SKIP                                                     \
    "param w 4,4 | param u 4,4 | param idle 2 | feed x | "       \
    "scale X=u -> Out=v | matmul_v2 X=x Y=w -> Out=a | "         \
    "relu X=a -> Out=b | matmul_v2 X=b Y=v -> Out=c | "          \
    "elementwise_add X=a Y=c -> Out=d | tanh X=d -> Out=dead | " \
    "matmul_v2 X=d Y=w -> Out=y | fetch y"

#define LOOP                                                             \
    "param w 4,4 | param inner 4,4 | feed x | feed n | list steps | "    \
    "matmul_v2 X=x Y=w -> Out=h | fill_constant -> Out=i | "             \
    "less_than X=i Y=n -> Out=go | "                                     \
    "while X=h,i Condition=go -> Out=h,i,go StepScopes=steps sub=2 | "   \
    "relu X=h -> Out=y | conditional_block Cond=go Input=y -> Out=y "    \
    "sub=1 | tanh X=y -> Out=z | fetch z | "                             \
    "1: var t -1,4 | 1: exp X=y -> Out=t | 1: assign X=t -> Out=y | "    \
    "2: var t -1,4 | 2: matmul_v2 X=h Y=inner -> Out=t | "               \
    "2: elementwise_add X=t Y=x -> Out=h | 2: increment X=i -> Out=i | " \
    "2: less_than X=i Y=n -> Out=go"

#endif
