#include "graph/paddle_own.h"

kerf_err
kerf_paddle_join(const kerf_graph *head, const kerf_graph *tail,
                 kerf_rope *graph, kerf_rope *weights, kerf_detail *why)
{
    (void)head;
    (void)tail;
    (void)graph;
    (void)weights;
    return kerf_fail(why, KERF_ENOTSUP, "Paddle models cannot be joined yet");
}
