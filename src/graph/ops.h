/*
 * ops.h - what Kerf knows of an op by its name, in Paddle and in ONNX: what it
 * costs (flops.h), and how it may be moved in the order of a graph.
 * Threads: constants.
 */
#ifndef KERF_GRAPH_OPS_H
#define KERF_GRAPH_OPS_H

#include <stdbool.h>

typedef enum kerf_op_cost {
    KERF_COST_NONE = 0, /* moves data, or is not counted */
    KERF_COST_CONV,
    KERF_COST_CONV_TRANSPOSE,
    KERF_COST_MATMUL,
    KERF_COST_RNN,
    KERF_COST_IN,  /* so many for each element of its data */
    KERF_COST_OUT, /* so many for each element that it gives */
} kerf_op_cost;

typedef enum kerf_op_trait {
    KERF_OP_PLAIN = 0,
    KERF_OP_RANDOM,  /* another result each time */
    KERF_OP_CONTROL, /* has sub-graphs: not looked into */
    KERF_OP_SMALL,   /* small integers in, small integers out */
} kerf_op_trait;

typedef struct kerf_op_known {
    const char *name;
    kerf_op_trait trait;
    kerf_op_cost cost;
    unsigned times; /* of KERF_COST_IN and KERF_COST_OUT */
} kerf_op_known;

/* A plain op without cost for a name that is not known. */
const kerf_op_known *kerf_op_find(const char *name);

#endif
