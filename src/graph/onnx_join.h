/*
 * onnx_join.h - two ONNX graphs about to become one. Only for onnx_join*.c.
 *
 *     onnx_join.c        what is the same in both, and its name in the whole
 *     onnx_join_graph.c  the graph of the whole
 *     onnx_join_model.c  the model around it
 */
#ifndef KERF_GRAPH_ONNX_JOIN_H
#define KERF_GRAPH_ONNX_JOIN_H

#include "graph/onnx_own.h"

typedef struct kerf_onnx_side {
    const kerf_graph *g;
    const kerf_onnx *k;
    uint32_t *final;  /* [value_count]: in the whole; KERF_GRAPH_NONE */
    bool *is_dropped; /* [node_count]: stands on the other side too, or is an
                         Identity that a cut made */
} kerf_onnx_side;

typedef struct kerf_onnx_joint {
    kerf_onnx_side head, tail;
    uint32_t *same;    /* [tail's value_count]: the head's value that it is;
                          KERF_GRAPH_NONE */
    kerf_graph *whole; /* values alone: the names of the whole */
    bool has_names;    /* all that the halves need are in it */
    bool has_identity;
    kerf_detail *why;
} kerf_onnx_joint;

/* Appends the fields of the graph. */
KERF_NODISCARD kerf_err kerf_onnx_join_graph(kerf_onnx_joint *j,
                                             kerf_rope *graph);
/* Appends the fields of the model, with that graph (empty then). */
KERF_NODISCARD kerf_err kerf_onnx_join_model(kerf_onnx_joint *j,
                                             kerf_rope *graph,
                                             kerf_rope *model);

/* Whether two messages of that kind are the same, with data that is outside. */
KERF_NODISCARD kerf_err kerf_onnx_equal(const kerf_onnx_joint *j,
                                        kerf_onnx_message is,
                                        const kerf_wire_field *head,
                                        const kerf_wire_field *tail, bool *out);
/* A new value of the whole: of that name, or NAME/kerf_WHAT0 if it is taken. */
KERF_NODISCARD kerf_err kerf_onnx_claim(kerf_onnx_joint *j, const char *name,
                                        const char *what, uint32_t *out);

static inline const char *
kerf_onnx_final_name(const kerf_onnx_joint *j, const kerf_onnx_side *s,
                     uint32_t value)
{
    return j->whole->value[s->final[value]].name;
}

#endif
