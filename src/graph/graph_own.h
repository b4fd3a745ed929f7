/*
 * graph_own.h - how a format builds a graph. Only for src/graph/.
 *
 *     format->read() --kerf_graph_add_*()--> values and nodes in file order
 *     kerf_graph_settle() (graph_settle.c): const, shape-only and live nodes,
 *     the order, overwritten names
 */
#ifndef KERF_GRAPH_GRAPH_OWN_H
#define KERF_GRAPH_GRAPH_OWN_H

#include "graph/graph.h"

typedef struct kerf_graph_format {
    /* Fills g; m's bytes outlive it. */
    kerf_err (*read)(kerf_graph *g, const kerf_model_bytes *m,
                     kerf_detail *why);
    void (*close)(void *state); /* accepts NULL */
    kerf_err (*write)(const kerf_graph *g, const kerf_part *part,
                      kerf_rope *graph, kerf_rope *weights, kerf_detail *why);
    kerf_err (*join)(const kerf_graph *head, const kerf_graph *tail,
                     kerf_rope *graph, kerf_rope *weights, kerf_detail *why);
    /* Looks at shapes alone, whatever its inputs hold ("shape", "Shape",
     * "prior_box"): ops by name. */
    bool (*is_shape_op)(const char *op);
} kerf_graph_format;

extern const kerf_graph_format kerf_graph_paddle; /* paddle.c */
extern const kerf_graph_format kerf_graph_onnx;   /* onnx.c */

struct kerf_graph_own {
    const kerf_graph_format *format;
    void *state;                  /* the format's */
    struct kerf_names_map *names; /* name -> last value */
    struct kerf_text_arena *text; /* names */
    uint32_t *link; /* all in[] and out[] lists, one after the other */
    size_t link_count, link_room, node_room, value_room;
};

/* Builders: each copies its text; a text with a 0 byte is KERF_ECORRUPT.
 * Errors: KERF_ECORRUPT, KERF_ETOOBIG, KERF_ENOMEM. */

/* A new value, which hides an older one of that name from
 * kerf_graph_lookup(). Fill the rest of g->value[*out]. */
KERF_NODISCARD kerf_err kerf_graph_add_value(kerf_graph *g, const char *name,
                                             size_t len, kerf_value_kind kind,
                                             uint32_t *out);
/* The newest value of that name; KERF_GRAPH_NONE. */
uint32_t kerf_graph_lookup(const kerf_graph *g, const char *name, size_t len);

/* A new node, in file order; then what it reads and gives, in that order: all
 * reads before the first output. kerf_graph_add_out() makes the value (kind
 * NODE); an empty name is a left-out one in both. A name that nobody has given
 * is KERF_ECORRUPT, named in *why. */
KERF_NODISCARD kerf_err kerf_graph_add_node(kerf_graph *g, const char *op,
                                            size_t op_len, const char *name,
                                            size_t name_len, uint32_t *out);
KERF_NODISCARD kerf_err kerf_graph_add_in(kerf_graph *g, const char *name,
                                          size_t len, kerf_detail *why);
KERF_NODISCARD kerf_err kerf_graph_add_out(kerf_graph *g, const char *name,
                                           size_t len, uint32_t *value,
                                           kerf_detail *why);
KERF_NODISCARD kerf_err kerf_graph_add_input(kerf_graph *g, uint32_t value);
KERF_NODISCARD kerf_err kerf_graph_add_output(kerf_graph *g, uint32_t value);

/* After the last node. */
KERF_NODISCARD kerf_err kerf_graph_settle(kerf_graph *g, kerf_detail *why);

/* Which parameters and nodes a part needs: its own nodes that lead to an
 * output of it, plus const nodes, plus parameters. need_value and need_node:
 * [value_count] and [node_count], zeroed by the caller. */
KERF_NODISCARD kerf_err kerf_part_needs(const kerf_graph *g,
                                        const kerf_part *part, bool *need_node,
                                        bool *need_value, kerf_detail *why);

#endif
