/*
 * onnx_own.h - an ONNX model as it stands in its file. Only for src/graph/.
 *
 *     onnx.c        model and graph: fields, values
 *     onnx_node.c   nodes
 *     onnx_tensor.c what a tensor or a value info says
 *     onnx_data.c   files that hold data of tensors
 *     onnx_reads.c  what a node reads, with its sub-graphs
 *     onnx_order.c  nodes in an order that works
 *     onnx_write.c, onnx_put.c  a part
 *     onnx_join*.c  two graphs as one
 */
#ifndef KERF_GRAPH_ONNX_OWN_H
#define KERF_GRAPH_ONNX_OWN_H

#include "base/map.h"
#include "graph/graph_own.h"
#include "graph/onnx_whole.h"

/* Numbers of fields, from onnx.proto. */
enum {
    ONNX_MODEL_IR_VERSION = 1,
    ONNX_MODEL_DOC = 6,
    ONNX_MODEL_GRAPH = 7,
    ONNX_MODEL_OPSET = 8,
    ONNX_MODEL_METADATA = 14,
    ONNX_MODEL_FUNCTION = 25,
};
enum {
    ONNX_GRAPH_NODE = 1,
    ONNX_GRAPH_NAME = 2,
    ONNX_GRAPH_PARAM = 5,
    ONNX_GRAPH_DOC = 10,
    ONNX_GRAPH_INPUT = 11,
    ONNX_GRAPH_OUTPUT = 12,
    ONNX_GRAPH_INFO = 13,
    ONNX_GRAPH_ANNOTATION = 14,
    ONNX_GRAPH_SPARSE = 15,
};
enum {
    ONNX_NODE_INPUT = 1,
    ONNX_NODE_OUTPUT = 2,
    ONNX_NODE_NAME = 3,
    ONNX_NODE_OP = 4,
    ONNX_NODE_ATTRIBUTE = 5,
    ONNX_NODE_DOMAIN = 7,
};
enum { ONNX_FUNCTION_NAME = 1, ONNX_FUNCTION_OPSET = 9 };
enum { ONNX_FUNCTION_DOMAIN = 10, ONNX_FUNCTION_OVERLOAD = 13 };
enum { ONNX_OPSET_DOMAIN = 1, ONNX_OPSET_VERSION = 2 };
enum { ONNX_ATTRIBUTE_NAME = 1, ONNX_ATTRIBUTE_TENSOR = 5 };
enum { ONNX_ATTRIBUTE_TYPE = 20, ONNX_ATTRIBUTE_IS_TENSOR = 4 };
enum {
    ONNX_TENSOR_DIMS = 1,
    ONNX_TENSOR_TYPE = 2,
    ONNX_TENSOR_FLOATS = 4,
    ONNX_TENSOR_INTS = 5,
    ONNX_TENSOR_TEXTS = 6,
    ONNX_TENSOR_LONGS = 7,
    ONNX_TENSOR_NAME = 8,
    ONNX_TENSOR_RAW = 9,
    ONNX_TENSOR_DOUBLES = 10,
    ONNX_TENSOR_ULONGS = 11,
    ONNX_TENSOR_EXTERNAL = 13,
    ONNX_TENSOR_LOCATION = 14,
};
enum { ONNX_SPARSE_VALUES = 1, ONNX_SPARSE_INDICES = 2, ONNX_SPARSE_DIMS = 3 };
enum {
    ONNX_INFO_NAME = 1,
    ONNX_ANNOTATION_NAME = 1,
    ONNX_ANNOTATION_TENSORS = 2
};

/* Text in the file; not 0-terminated. */
typedef struct kerf_onnx_text {
    const char *at;
    size_t len;
} kerf_onnx_text;

/* A field as it stands in the file, and the value that it is about:
 * KERF_GRAPH_NONE when there is none. */
typedef struct kerf_onnx_field {
    kerf_wire_field f;
    uint32_t value;
} kerf_onnx_field;

typedef struct kerf_onnx_fields {
    kerf_onnx_field *at; /* owned */
    size_t count, room;
} kerf_onnx_fields;

/* Files that hold data of tensors, each mapped once. */
typedef struct kerf_onnx_file {
    char *location; /* owned; as the tensors have it */
    kerf_map map;
} kerf_onnx_file;

typedef struct kerf_onnx_files {
    char *dir;          /* owned; where the model lies, without links */
    kerf_onnx_file *at; /* owned; by location */
    size_t count, room;
} kerf_onnx_files;

/* kerf_graph_own.state */
typedef struct kerf_onnx {
    kerf_onnx_fields model; /* all but the graph */
    kerf_onnx_fields graph;
    uint32_t *node; /* owned; kerf_node.origin -> the graph's field */
    uint32_t *info; /* owned; value -> the graph's field that says its type;
                       KERF_GRAPH_NONE */
    kerf_onnx_files files;
    bool has_outside;       /* some tensor has fields about another file */
    bool has_opset;         /* ops of ONNX itself can be used */
    int64_t function_opset; /* of ONNX's ops, that its functions use; 0: none */
    int64_t ir_version;
} kerf_onnx;

/* Inputs stand beside initializers of the same name up to this. */
#define KERF_ONNX_IR_LISTED 3

static inline kerf_onnx_text
kerf_onnx_text_of(const kerf_wire_field *f)
{
    return (kerf_onnx_text){(const char *)f->bytes, f->len};
}

/* Byte-wise, as strcmp() orders. */
int kerf_onnx_compare(const kerf_onnx_text *a, const kerf_onnx_text *b);
bool kerf_onnx_is(kerf_onnx_text text, const char *other);

bool kerf_onnx_is_default(kerf_onnx_text domain); /* ONNX's own */

/* For a person: cut when long. Returns out. */
#define KERF_ONNX_SHOWN 128
char *kerf_onnx_show(char out[KERF_ONNX_SHOWN], kerf_onnx_text text);
/* "'NAME' WHAT". Returns err. */
kerf_err kerf_onnx_fail(kerf_detail *why, kerf_err err, kerf_onnx_text name,
                        const char *what);

/* The last field of that number among the fields of a message, of wire type 2;
 * empty when there is none. */
kerf_onnx_text kerf_onnx_field_text(const uint8_t *message, size_t len,
                                    uint32_t number);

/* What a TensorProto says of itself. */
typedef struct kerf_onnx_tensor {
    kerf_onnx_text name;
    kerf_value_type
        type;         /* OTHER: text, or numbers that Kerf has no name for */
    kerf_dtype dtype; /* of TENSOR */
    bool is_shaped;   /* its rank fits into a kerf_shape */
    kerf_shape shape;
    bool is_outside; /* its data is in another file */
    bool has_bytes;  /* its size is known: no text, no type of the future */
    uint64_t bytes;  /* of its data */
} kerf_onnx_tensor;

/* Errors: KERF_ECORRUPT (also: less or more data than the dims say),
 * KERF_ETOOBIG. */
KERF_NODISCARD kerf_err kerf_onnx_tensor_read(kerf_onnx_tensor *out,
                                              const uint8_t *data, size_t len,
                                              kerf_detail *why);
/* A SparseTensorProto; bytes are those of values and indices. */
KERF_NODISCARD kerf_err kerf_onnx_sparse_read(kerf_onnx_tensor *out,
                                              const uint8_t *data, size_t len,
                                              kerf_detail *why);
/* Type, shape and bytes of v. */
void kerf_onnx_set_tensor(kerf_value *v, const kerf_onnx_tensor *t);
/* What a ValueInfoProto says: type, dtype, shape. Keeps the rest of *v.
 * Errors: KERF_ECORRUPT, KERF_ETOOBIG. */
KERF_NODISCARD kerf_err kerf_onnx_info_read(kerf_value *v, const uint8_t *data,
                                            size_t len, kerf_detail *why);
/* TensorProto.DataType. */
#define KERF_ONNX_I64 7
int32_t kerf_onnx_elem(kerf_dtype dtype);

/* A ValueInfoProto of that name as field number: what v knows. */
void kerf_onnx_info_put(kerf_rope *rope, uint32_t number, const kerf_value *v,
                        const char *name);

/* The folder of the model's file. Errors: KERF_ENOENT, KERF_EIO, KERF_ENOMEM.
 */
KERF_NODISCARD kerf_err kerf_onnx_files_init(kerf_onnx_files *files,
                                             const char *path,
                                             kerf_detail *why);
void kerf_onnx_files_fini(kerf_onnx_files *files); /* accepts a zeroed one */
/* Maps the file that a tensor (is_outside) names, if it is not yet; it must lie
 * in the model's folder and hold the data.
 * Errors: KERF_ECORRUPT, KERF_ENOTSUP, KERF_ENOENT, KERF_ETOOBIG, KERF_EIO,
 * KERF_ENOMEM. */
KERF_NODISCARD kerf_err kerf_onnx_files_add(kerf_onnx_files *files,
                                            const uint8_t *tensor, size_t len,
                                            kerf_detail *why);
/* The data of a tensor that was added. */
KERF_NODISCARD kerf_err kerf_onnx_files_data(const kerf_onnx_files *files,
                                             const uint8_t *tensor, size_t len,
                                             const uint8_t **data,
                                             size_t *data_len,
                                             kerf_detail *why);

/* Names, one after the other. */
typedef struct kerf_onnx_names {
    kerf_onnx_text *at; /* owned */
    size_t count, room;
} kerf_onnx_names;

/* Errors: KERF_ETOOBIG, KERF_ENOMEM. */
KERF_NODISCARD kerf_err kerf_onnx_names_add(kerf_onnx_names *names,
                                            kerf_onnx_text name,
                                            kerf_detail *why);
void kerf_onnx_names_sort(kerf_onnx_names *names);
/* Among sorted ones. */
bool kerf_onnx_names_has(const kerf_onnx_names *names, kerf_onnx_text name);

/* Adds the inputs of a node (empty: left out), then each name once that its
 * sub-graphs read of the graph around; inner (or NULL): what the sub-graphs
 * give themselves. Errors: KERF_ECORRUPT, KERF_ETOOBIG, KERF_ENOMEM. */
KERF_NODISCARD kerf_err kerf_onnx_reads_add(kerf_onnx_names *reads,
                                            kerf_onnx_names *inner,
                                            const uint8_t *node, size_t len,
                                            kerf_detail *why);

/* A node: a field of the graph, and what it reads. */
typedef struct kerf_onnx_step {
    uint32_t field;
    uint32_t first, end; /* in kerf_onnx_order.reads */
} kerf_onnx_step;

/* Adds the graph's nodes in an order that works; has_random: a function of the
 * model may be random. Errors: KERF_ECORRUPT, KERF_ETOOBIG, KERF_ENOMEM. */
#define KERF_ONNX_OP_MAX 512 /* bytes of domain and type */
KERF_NODISCARD kerf_err kerf_onnx_add_nodes(kerf_graph *g, kerf_onnx *k,
                                            bool has_random, kerf_detail *why);

/* The nodes of a graph, in an order in which each name is given before it is
 * read: that of the file, when it is one. */
typedef struct kerf_onnx_order {
    kerf_onnx_step *step; /* owned */
    size_t count;
    kerf_onnx_names reads; /* owned */
} kerf_onnx_order;

/* Errors: KERF_ECORRUPT (a cycle, a name given twice: named), KERF_ETOOBIG,
 * KERF_ENOMEM. */
KERF_NODISCARD kerf_err kerf_onnx_order_make(kerf_onnx_order *out,
                                             const kerf_onnx_fields *graph,
                                             kerf_detail *why);
void kerf_onnx_order_fini(kerf_onnx_order *order); /* accepts a zeroed one */

/*
 * Writing (onnx_put.c). These append to a rope.
 */

/* The field f, a message of that kind: a view, with data of other files inside.
 * name: for a tensor or sparse tensor, or NULL to keep its own. */
KERF_NODISCARD kerf_err kerf_onnx_put(kerf_rope *rope, const kerf_onnx *k,
                                      kerf_onnx_message is,
                                      const kerf_wire_field *f,
                                      const char *name, kerf_detail *why);
/* A ValueInfoProto: as the file has it, or made when more is known. */
void kerf_onnx_put_info(kerf_rope *rope, uint32_t number, const kerf_graph *g,
                        uint32_t value, const char *name);
/* name: of the node; may be NULL. */
void kerf_onnx_put_identity(kerf_rope *rope, const char *from, const char *to,
                            const char *name);
/* Nodes that give zeros of the value's dtype and shape under its name, and take
 * hardly any room. The value is shaped. */
void kerf_onnx_put_zeros(kerf_rope *rope, const kerf_graph *g,
                         const kerf_value *v);
/* The fields of the model, with another graph (empty then). */
KERF_NODISCARD kerf_err kerf_onnx_put_model(kerf_rope *rope, const kerf_onnx *k,
                                            kerf_rope *graph, bool has_identity,
                                            kerf_detail *why);
/* Errors: KERF_ENOMEM, KERF_ETOOBIG. */
KERF_NODISCARD kerf_err kerf_onnx_check_size(const kerf_rope *rope,
                                             kerf_detail *why);

/* A name like "NAME/kerf_WHAT0" that none of the graphs has -> free(); NULL: no
 * memory. */
char *kerf_onnx_fresh_name(const kerf_graph *const *g, size_t count,
                           const char *name, const char *what, size_t port);

/* kerf_graph_format */
kerf_err kerf_onnx_write(const kerf_graph *g, const kerf_part *part,
                         kerf_rope *graph, kerf_rope *weights,
                         kerf_detail *why);
kerf_err kerf_onnx_join(const kerf_graph *head, const kerf_graph *tail,
                        kerf_rope *graph, kerf_rope *weights, kerf_detail *why);

#endif
