/*
 * A Paddle program from a stranger: u32 length of the program, the program, and
 * the parameters. What opens has cuts; halves that are written open again, and
 * join.
 */
#include "base/bytes.h"
#include "graph/cuts.h"

#include <stdlib.h>
#include <string.h>

#define CUTS_TRIED 4

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct half {
    uint8_t *graph, *weights;
    kerf_graph *g;
};

static void
close_half(struct half *half)
{
    kerf_graph_close(half->g);
    free(half->graph);
    free(half->weights);
}

/* What was written opens. */
static void
open_again(kerf_rope *graph, kerf_rope *weights, struct half *half)
{
    kerf_model_bytes m = {.format = KERF_FORMAT_PADDLE,
                          .graph_len = graph->len,
                          .weights_len = weights->len};
    kerf_detail why;

    if (kerf_rope_flatten(graph, &half->graph) != KERF_OK ||
        kerf_rope_flatten(weights, &half->weights) != KERF_OK)
        abort();
    m.graph = half->graph;
    m.weights = half->weights;
    if (kerf_graph_open(&half->g, &m, &why) != KERF_OK)
        abort();
}

/* half->g stays NULL when the part is refused. */
static void
write_half(const kerf_graph *g, const kerf_cut *cut, bool head,
           struct half *half)
{
    kerf_rope graph = {0}, weights = {0};
    kerf_part part = {0};
    kerf_detail why;

    if (kerf_cut_part(g, cut, head, &part) != KERF_OK)
        abort();
    if (kerf_graph_write(g, &part, &graph, &weights, &why) == KERF_OK)
        open_again(&graph, &weights, half);
    kerf_rope_fini(&graph);
    kerf_rope_fini(&weights);
    kerf_part_fini(&part);
}

static void
try_cut(const kerf_graph *g, const kerf_cut *cut)
{
    struct half head = {0}, tail = {0}, whole = {0};
    kerf_rope graph = {0}, weights = {0};
    kerf_detail why;

    write_half(g, cut, true, &head);
    write_half(g, cut, false, &tail);
    if (head.g != NULL && tail.g != NULL &&
        kerf_graph_join(head.g, tail.g, &graph, &weights, &why) == KERF_OK)
        open_again(&graph, &weights, &whole);
    kerf_rope_fini(&graph);
    kerf_rope_fini(&weights);
    close_half(&head);
    close_half(&tail);
    close_half(&whole);
}

/* The tensor with the middle number, by its name. */
static void
try_name(const kerf_graph *g)
{
    kerf_cut cut = {0};
    kerf_detail why;
    const char *name;

    if (g->value_count == 0)
        return;
    name = g->value[g->value_count / 2].name;
    if (kerf_cut_at(g, &name, 1, &cut, &why) == KERF_OK)
        try_cut(g, &cut);
    kerf_cut_fini(&cut);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    kerf_rd r = {.at = data, .left = size};
    kerf_model_bytes m = {.format = KERF_FORMAT_PADDLE};
    kerf_graph *g = NULL;
    kerf_cuts cuts = {0};
    kerf_detail why;

    m.graph_len = kerf_rd_u32(&r);
    m.graph = kerf_rd_bytes(&r, m.graph_len);
    m.weights_len = r.left;
    m.weights = kerf_rd_bytes(&r, r.left);
    if (r.bad || kerf_graph_open(&g, &m, &why) != KERF_OK)
        return 0;
    if (kerf_cuts_list(g, &cuts, &why) != KERF_OK || cuts.count == 0)
        abort();
    for (size_t i = 0; i < CUTS_TRIED; i++) {
        size_t at = i * (cuts.count - 1) / (CUTS_TRIED - 1);

        if (cuts.cut[at].refused == NULL)
            try_cut(g, &cuts.cut[at]);
    }
    try_name(g);
    kerf_cuts_fini(&cuts);
    kerf_graph_close(g);
    return 0;
}
