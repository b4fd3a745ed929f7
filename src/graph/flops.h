/*
 * flops.h - how much a node computes, by the name of its op (ops.h).
 *
 * Convention: an addition or a multiplication is one, a multiply-add two (other
 * tools count multiply-adds, which is half as much). For one sample:
 *
 *     convolution   2 * elements given * elements of the weight / channels
 *                   given: its weight is [out, in / groups, kernel...]
 *     transposed    2 * elements of data * elements of the weight / channels of
 *                   data: its weight is [in, out / groups, kernel...]
 *     matrices      2 * elements given * the length that is summed over
 *     recurrent     2 * (time steps * batch) * elements of its weights
 *     pooling, reduction           1 for each element of data
 *     activation, element-wise     1 for each element given
 *     normalisation  2 for each element given where mean and variance are
 *                    stored (batch), 7 where they are computed (layer, group)
 *     softmax       5 for each element given
 *
 * Moving data (reshape, concat, resize...), what runs on the parameters alone,
 * and ops that are not known by name count nothing.
 * Threads: pure.
 */
#ifndef KERF_GRAPH_FLOPS_H
#define KERF_GRAPH_FLOPS_H

#include "graph/graph.h"

/* False when a shape that counts is not known; *flops is 0 then. */
bool kerf_node_flops(const kerf_graph *g, const kerf_node *n, uint64_t *flops);

#endif
