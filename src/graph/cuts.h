/*
 * cuts.h - where a graph can be cut in two, and what each cut costs.
 *
 * A cut is a set of values that separates the graph. Position cuts take the
 * first nodes of the graph's order as the head; cut 0 is the input itself, the
 * last one the output. Named cuts take any set of tensors that separates.
 * Crossing values stand in the order of their definition; that is the order of
 * the ports of both halves, and on the wire.
 * Threads: values.
 */
#ifndef KERF_GRAPH_CUTS_H
#define KERF_GRAPH_CUTS_H

#include "graph/graph.h"

typedef struct kerf_half_cost {
    uint64_t params;      /* elements; shared ones count in both halves */
    uint64_t param_bytes; /* of the stored data */
    uint64_t flops;       /* a multiply-add is two; see flops.h */
} kerf_half_cost;

typedef struct kerf_cut {
    uint32_t index;  /* in the list; KERF_GRAPH_NONE: a named one */
    uint32_t nodes;  /* the head is the first so many nodes; NONE: named */
    uint32_t after;  /* the node just before it; NONE for cut 0 */
    uint32_t *value; /* owned; what crosses; KERF_PORTS_MAX of them at most
                        (more are refused) */
    size_t count;
    uint64_t bytes;   /* that cross, for one sample */
    bool bytes_known; /* every shape is known */
    bool flops_known; /* shapes of all nodes that count are known */
    bool *head;       /* owned; named cuts: [node_count], else NULL */
    char *refused;    /* owned; NULL, or why it cannot be made */
    kerf_half_cost cost_head, cost_tail;
} kerf_cut;

typedef struct kerf_cuts {
    kerf_cut *cut; /* owned */
    size_t count;
} kerf_cuts;

/* Every cut after a prefix of the order, each crossing set once. Those that
 * cannot be made are in it too, with the reason. Costs are as far as types are
 * set (kerf_graph_set_type()). Errors: KERF_ENOMEM. */
KERF_NODISCARD kerf_err kerf_cuts_list(const kerf_graph *g, kerf_cuts *out,
                                       kerf_detail *why);
void kerf_cuts_fini(kerf_cuts *cuts);

/*
 * The cut at these tensors. A single name that is no tensor but a number is
 * that cut of the list. Inputs of the network that only the tail reads cross
 * too, by themselves.
 * Errors: KERF_ENOENT (with the three nearest names), KERF_EINVAL (they do not
 * separate the graph: *why names a node that would be needed on both sides, and
 * the tensors to add), KERF_ENOTSUP (refused: why), KERF_ENOMEM.
 */
KERF_NODISCARD kerf_err kerf_cut_at(const kerf_graph *g,
                                    const char *const *name, size_t count,
                                    kerf_cut *out, kerf_detail *why);
void kerf_cut_fini(kerf_cut *cut); /* accepts a zeroed one */

/* One half, ready for kerf_graph_write(). Errors: KERF_ENOMEM. */
KERF_NODISCARD kerf_err kerf_cut_part(const kerf_graph *g, const kerf_cut *cut,
                                      bool head, kerf_part *out);

#endif
