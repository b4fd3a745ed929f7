/*
 * graph.h - a network as a graph, whatever file it came from: read it, list its
 * cuts, write a part of it as a network of its own, join two parts.
 *
 *     bytes --open--> kerf_graph --kerf_cuts_list()--> kerf_cut
 *                          |                              |
 *                          +----- kerf_cut_part() <-------+
 *                                      |
 *                          kerf_graph_write() --> two kerf_rope
 *
 * A *value* is one definition of a tensor: a name that a program writes twice
 * (in place) is two values. Nodes stand in an order in which each value is
 * given before it is read; nodes that only look at shapes stand as early as
 * they can, so that a cut after their input carries a few integers instead of
 * the tensor.
 * *Const* values come from parameters alone; each part has its own, and they
 * never cross a cut.
 *
 * Buffers only. A graph shows into the bytes that it was opened on, and so does
 * what it writes: weights are never copied.
 * Threads: values.
 */
#ifndef KERF_GRAPH_GRAPH_H
#define KERF_GRAPH_GRAPH_H

#include "base/rope.h"
#include "kerf/model.h"

#define KERF_GRAPH_NONE UINT32_MAX
#define KERF_GRAPH_NODES_MAX 262144
#define KERF_GRAPH_VALUES_MAX 1048576

typedef enum kerf_value_kind {
    KERF_VALUE_INPUT = 0, /* of the network */
    KERF_VALUE_PARAM = 1, /* stored in the file */
    KERF_VALUE_NODE = 2,  /* a node gives it */
} kerf_value_kind;

typedef enum kerf_value_type {
    KERF_VALUE_UNTYPED = 0, /* the file does not say; shapes.h may fill it */
    KERF_VALUE_TENSOR = 1,  /* dtype is valid, shape when is_shaped */
    KERF_VALUE_OTHER = 2,   /* a list, a sequence, text: cannot cross */
} kerf_value_type;

typedef struct kerf_value {
    const char *name; /* as in the file; the graph's */
    kerf_value_kind kind;
    kerf_value_type type;
    uint32_t node;       /* that gives it; KERF_GRAPH_NONE unless a node does */
    bool is_const;       /* a parameter, or from parameters alone */
    bool is_overwritten; /* another value has this name too */
    bool is_maybe;       /* a block may run or not, and it has no value if not:
                            it cannot cross, type is OTHER */
    bool is_shaped;      /* rank and dims are known; -1: free */
    bool is_fixed;       /* fixed[] is known: every dim for one sample */
    kerf_dtype dtype;
    kerf_shape shape, fixed;
    uint64_t bytes;  /* that the file stores of it: a parameter's, or those of
                        a node that is a constant */
    uint32_t origin; /* the format's own index of it */
} kerf_value;

typedef struct kerf_node {
    const char *op;      /* type, as the format calls it: "conv2d", "Conv" */
    const char *name;    /* ONNX's name of the node; "" */
    const uint32_t *in;  /* values read, also by sub-graphs; KERF_GRAPH_NONE: an
                            optional one that is left out */
    const uint32_t *out; /* values given; the same for what nobody wants */
    size_t in_count, out_count;
    uint32_t data, weight; /* values, for FLOPs; KERF_GRAPH_NONE: none */
    bool is_random;        /* may give something else each time; ops known to
                              are, and what a format says is */
    bool is_const;         /* all it reads is const */
    bool is_shape_only;    /* looks at nothing but the shapes of its inputs, or
                              computes on such results (small integers) */
    bool is_live;          /* some output of the network needs it */
    uint32_t origin;       /* the format's own index of it */
} kerf_node;

typedef struct kerf_graph {
    kerf_format format;
    int64_t version; /* Paddle: 2006000 is 2.6.0; ONNX: opset of "" */
    kerf_node *node; /* in order */
    kerf_value *value;
    uint32_t *input, *output; /* values, in the order of the network's ports */
    size_t node_count, value_count, input_count, output_count;
    struct kerf_graph_own *own; /* graph_own.h */
} kerf_graph;

/*
 * Reads and checks the whole of m, whose bytes must outlive the graph. External
 * data of an ONNX model is mapped when m->path says where the model lies, and
 * refused otherwise.
 * Errors: KERF_ECORRUPT, KERF_ENOTSUP, KERF_ETOOBIG, KERF_ENOENT, KERF_EIO,
 * KERF_ENOMEM; *why names the node, tensor or field.
 */
KERF_NODISCARD kerf_err kerf_graph_open(kerf_graph **out,
                                        const kerf_model_bytes *m,
                                        kerf_detail *why);
void kerf_graph_close(kerf_graph *g); /* accepts NULL */

/* The last value of that name; KERF_GRAPH_NONE. */
uint32_t kerf_graph_find(const kerf_graph *g, const char *name);
/* The (up to) three names of values that can cross which are nearest to name:
 * by Damerau-Levenshtein distance. */
size_t kerf_graph_nearest(const kerf_graph *g, const char *name,
                          const char *near[3]);

/* What an engine found out: dtype, shape with -1 where free, and the shape for
 * one sample. Keeps what the file says where a pointer is NULL. */
void kerf_graph_set_type(kerf_graph *g, uint32_t value, kerf_dtype dtype,
                         const kerf_shape *shape, const kerf_shape *fixed);

/* Why a value of type OTHER cannot cross, to go behind "which ". */
const char *kerf_value_lacks(const kerf_value *v);

/* Bytes of a value for one sample; false: its shape is not known. */
bool kerf_value_bytes(const kerf_value *v, uint64_t *bytes);

/* Part of a graph, to be written as a network of its own. */
typedef struct kerf_part {
    bool *node;         /* owned, [node_count]: is in it */
    uint32_t *in, *out; /* owned; values: inputs and outputs, in port order */
    size_t in_count, out_count;
    bool is_hollow; /* large parameters may be zeros that take no room: only
                       shapes matter */
} kerf_part;

/* All of it, with its own ports. Errors: KERF_ENOMEM. */
KERF_NODISCARD kerf_err kerf_part_whole(const kerf_graph *g, kerf_part *out);
void kerf_part_fini(kerf_part *part); /* accepts a zeroed one */

/*
 * The files of a network that is that part: graph, and weights (empty for
 * ONNX). Const nodes and parameters that the part needs are added by
 * themselves. A value that is both input and output of a part passes through
 * it. External data of ONNX comes inside. What is written shows into g.
 * Errors: KERF_EINVAL (the part reads what it does not have: named),
 * KERF_ENOTSUP, KERF_ETOOBIG (over KERF_MODEL_BYTES_MAX), KERF_ENOMEM.
 */
KERF_NODISCARD kerf_err kerf_graph_write(const kerf_graph *g,
                                         const kerf_part *part,
                                         kerf_rope *graph, kerf_rope *weights,
                                         kerf_detail *why);

/* The whole network with every tensor that can cross and that is read as an
 * output, for an engine to say their shapes; is_hollow: as in kerf_part.
 * *value: new array -> free(): the value of each output. Values of names that
 * are written more than once are left out. */
KERF_NODISCARD kerf_err kerf_graph_write_probe(const kerf_graph *g,
                                               bool is_hollow, kerf_rope *graph,
                                               kerf_rope *weights,
                                               uint32_t **value, size_t *count,
                                               kerf_detail *why);

/* The whole network that gives these values too, behind its own outputs;
 * inputs and outputs of the network are left out.
 * Errors: as kerf_graph_write(). */
KERF_NODISCARD kerf_err kerf_graph_write_keeping(const kerf_graph *g,
                                                 const uint32_t *value,
                                                 size_t count, kerf_rope *graph,
                                                 kerf_rope *weights,
                                                 kerf_detail *why);

/*
 * The network that is tail after head: the i-th output of head is the i-th
 * input of tail, whatever they are called; inputs of tail beyond those, which
 * head does not give, become inputs of the whole.
 * Errors: as kerf_graph_write(); KERF_EMISMATCH (formats, counts, dtypes,
 * shapes, or one name for two different things: named).
 */
KERF_NODISCARD kerf_err kerf_graph_join(const kerf_graph *head,
                                        const kerf_graph *tail,
                                        kerf_rope *graph, kerf_rope *weights,
                                        kerf_detail *why);

#endif
