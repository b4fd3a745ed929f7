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

#define KERF_GRAPH_LINKS_MAX ((size_t)1 << 24)

/* A slot of the hash map of names: open addressing, no removal. */
typedef struct kerf_name_slot {
    uint32_t hash;
    uint32_t value; /* the newest one; KERF_GRAPH_NONE: free */
} kerf_name_slot;

struct kerf_graph_own {
    const kerf_graph_format *format;
    void *state;             /* the format's */
    kerf_name_slot *slot;    /* [slot_count], a power of two or 0 */
    struct kerf_chunk *text; /* names and ops, in chunks */
    uint32_t *first;         /* [value_count]: the first value of its name */
    uint32_t *link;          /* all in[] and out[] lists, one after the other */
    uint32_t *file_order; /* [node_count]: nodes by origin; settle makes it */
    size_t slot_count, name_count;
    size_t link_count, link_room, node_room, value_room, input_room,
        output_room;
    bool has_overwritten; /* some name has two values */
};

/* An empty graph; kerf_graph_close() frees it. */
KERF_NODISCARD kerf_err kerf_graph_new(kerf_graph **out, kerf_format format,
                                       const kerf_graph_format *how);

/* Makes room in *at for one more element of size bytes, of `most` at most.
 * Errors: KERF_ETOOBIG, KERF_ENOMEM. */
KERF_NODISCARD kerf_err kerf_graph_grow(void **at, size_t count, size_t *room,
                                        size_t most, size_t size);

/* Builders: each copies its text; a text with a 0 byte is KERF_ECORRUPT.
 * Errors: KERF_ECORRUPT, KERF_ETOOBIG, KERF_ENOMEM. */

/* A new value, which hides an older one of that name from
 * kerf_graph_lookup(). Fill the rest of g->value[*out]; parameters are const
 * already. */
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

/* After the last node: kerf_graph_open() calls it when read() is done. From
 * here on node[].in and node[].out can be looked at, and nodes are numbered by
 * the order; kerf_node.origin is the format's own number of a node (read() may
 * set it, rising; it starts as the place in file order). */
KERF_NODISCARD kerf_err kerf_graph_settle(kerf_graph *g, kerf_detail *why);

/* Whether it could be sent: a tensor that the network computes or takes, and
 * that some output needs. */
bool kerf_value_can_cross(const kerf_graph *g, uint32_t value);

/* Whether a value's data may be zeros in that part: a large parameter, or
 * constant node, of floats. Nothing gets its shape from what such a one
 * holds. */
bool kerf_part_hollows(const kerf_part *part, const kerf_value *v);

/*
 * Which nodes and values a part needs: its own nodes that lead to an output of
 * it, plus const nodes; the values that these read, and its outputs. A part is
 * written with its nodes in the order of the file (own->file_order); this makes
 * sure that each of them then reads the version of a name that it read in the
 * whole. need_node and need_value: [node_count] and [value_count], zeroed by
 * the caller.
 * Errors: KERF_EINVAL (reads what it does not have: named), KERF_ENOTSUP (a
 * name that is written twice would be mixed up: named), KERF_ENOMEM.
 */
KERF_NODISCARD kerf_err kerf_part_needs(const kerf_graph *g,
                                        const kerf_part *part, bool *need_node,
                                        bool *need_value, kerf_detail *why);

#endif
