#include "graph/graph_own.h"

/* Only the shape of the format until it can read and write. */

static kerf_err
read_paddle(kerf_graph *g, const kerf_model_bytes *m, kerf_detail *why)
{
    (void)g;
    (void)m;
    return kerf_fail(why, KERF_ENOTSUP, "Paddle models cannot be cut yet");
}

static void
close_paddle(void *state)
{
    (void)state;
}

static kerf_err
write_paddle(const kerf_graph *g, const kerf_part *part, kerf_rope *graph,
             kerf_rope *weights, kerf_detail *why)
{
    (void)g;
    (void)part;
    (void)graph;
    (void)weights;
    return kerf_fail(why, KERF_ENOTSUP, "Paddle models cannot be cut yet");
}

static kerf_err
join_paddle(const kerf_graph *head, const kerf_graph *tail, kerf_rope *graph,
            kerf_rope *weights, kerf_detail *why)
{
    (void)head;
    (void)tail;
    (void)graph;
    (void)weights;
    return kerf_fail(why, KERF_ENOTSUP, "Paddle models cannot be cut yet");
}

static bool
is_shape_op(const char *op)
{
    (void)op;
    return false;
}

const kerf_graph_format kerf_graph_paddle = {.read = read_paddle,
                                             .close = close_paddle,
                                             .write = write_paddle,
                                             .join = join_paddle,
                                             .is_shape_op = is_shape_op};
