#include "graph/flops.h"

#include "graph/ops.h"

#include <math.h>

/* Shapes come from files: what is more than this is not believed. */
#define FLOPS_MAX 1e18

/* NULL when its shape for one sample is not known. */
static const kerf_shape *
shape_of(const kerf_graph *g, uint32_t value)
{
    if (value == KERF_GRAPH_NONE || !g->value[value].is_fixed)
        return NULL;
    return &g->value[value].fixed;
}

/* Product of dims[from..to); a double, so that nothing can overflow. */
static double
product(const kerf_shape *s, uint32_t from, uint32_t to)
{
    double n = 1;

    for (uint32_t d = from; d < to; d++)
        n *= (double)s->dims[d];
    return n;
}

static double
elements(const kerf_shape *s)
{
    return product(s, 0, s->rank);
}

/* What the weight holds for each channel of its first dim. */
static double
per_filter(const kerf_shape *weight)
{
    return weight->rank == 0 ? 0 : product(weight, 1, weight->rank);
}

static double
of_matrices(const kerf_shape *data, const kerf_shape *weight,
            const kerf_shape *out)
{
    uint32_t d = data->rank > 2 ? data->rank - 2 : 0;
    uint32_t w = weight->rank > 2 ? weight->rank - 2 : 0;
    uint32_t o = out->rank > 2 ? out->rank - 2 : 0;
    double given = elements(out);
    double columns = out->rank > 0 ? (double)out->dims[out->rank - 1] : 1;
    double square;

    if (given == 0 || columns == 0)
        return 0;
    if (weight->rank == 2) /* data may be flattened on the way */
        return 2 * given * elements(weight) / columns;
    /* [M,K] and [K,N] give [M,N], in whatever way each is turned. */
    square = product(data, d, data->rank) * product(weight, w, weight->rank) /
             product(out, o, out->rank);
    return 2 * given * round(sqrt(square));
}

/* False when a weight's shape is not known. Biases are left out by rank. */
static bool
of_recurrent(const kerf_graph *g, const kerf_node *n, const kerf_shape *data,
             double *out)
{
    uint32_t least = n->op[0] >= 'a' ? 2 : 3; /* ONNX: [directions, ...] */
    double weights = 0;

    for (size_t i = 0; i < n->in_count; i++) {
        const kerf_shape *w;

        if (n->in[i] == KERF_GRAPH_NONE || !g->value[n->in[i]].is_const)
            continue;
        w = shape_of(g, n->in[i]);
        if (w == NULL)
            return false;
        if (w->rank >= least)
            weights += elements(w);
    }
    *out = data->rank == 0 ? 0 : 2 * product(data, 0, data->rank - 1) * weights;
    return true;
}

/* The output that the work is for: the biggest one, since batch_norm gives what
 * it saves for training before it. NULL when one of them has a size that is not
 * known; such without any shape are scratch memory (ReserveSpace). */
static const kerf_shape *
biggest_out(const kerf_graph *g, const kerf_node *n)
{
    const kerf_shape *best = NULL;

    for (size_t i = 0; i < n->out_count; i++) {
        const kerf_shape *s = shape_of(g, n->out[i]);

        if (s == NULL && n->out[i] != KERF_GRAPH_NONE &&
            g->value[n->out[i]].is_shaped)
            return NULL;
        if (s == NULL)
            continue;
        if (best == NULL || elements(s) > elements(best))
            best = s;
    }
    return best;
}

/* False when a shape is not known. */
static bool
count(const kerf_graph *g, const kerf_node *n, const kerf_op_known *op,
      double *out)
{
    const kerf_shape *given = biggest_out(g, n);
    const kerf_shape *data = shape_of(g, n->data);
    const kerf_shape *weight = shape_of(g, n->weight);
    bool has_all = true;

    switch (op->cost) {
    case KERF_COST_NONE:
        *out = 0;
        break;
    case KERF_COST_CONV:
        has_all = given != NULL && weight != NULL;
        if (has_all)
            *out = 2 * elements(given) * per_filter(weight);
        break;
    case KERF_COST_CONV_TRANSPOSE:
        has_all = data != NULL && weight != NULL;
        if (has_all)
            *out = 2 * elements(data) * per_filter(weight);
        break;
    case KERF_COST_MATMUL:
        has_all = given != NULL && data != NULL && weight != NULL;
        if (has_all)
            *out = of_matrices(data, weight, given);
        break;
    case KERF_COST_RNN:
        has_all = data != NULL && of_recurrent(g, n, data, out);
        break;
    case KERF_COST_IN:
        has_all = data != NULL;
        if (has_all)
            *out = op->times * elements(data);
        break;
    case KERF_COST_OUT:
        has_all = given != NULL;
        if (has_all)
            *out = op->times * elements(given);
        break;
    }
    return has_all;
}

bool
kerf_node_flops(const kerf_graph *g, const kerf_node *n, uint64_t *flops)
{
    double counted = 0;
    bool is_known = n->is_const || count(g, n, kerf_op_find(n->op), &counted);

    *flops = 0;
    if (!is_known || !(counted < FLOPS_MAX))
        return false;
    *flops = (uint64_t)counted;
    return true;
}
