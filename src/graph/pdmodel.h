/*
 * pdmodel.h - what a Paddle program (.pdmodel) is made of: blocks, variables
 * and ops as they stand, and its parameters. Buffers only.
 *
 * The program is a protobuf message (framework.proto); this walks the wire form
 * and looks at nothing else. Everything points into the caller's bytes.
 * Threads: values.
 */
#ifndef KERF_GRAPH_PDMODEL_H
#define KERF_GRAPH_PDMODEL_H

#include "kerf/tensor.h"

#define KERF_PDMODEL_PARAMS_MAX 65536
#define KERF_PDMODEL_BLOCKS_MAX 4096
#define KERF_PDMODEL_VARS_MAX 1048576 /* of all blocks */
#define KERF_PDMODEL_OPS_MAX 1048576

/* framework.proto: VarType.Type of a VarDesc; tensors are dense ones. */
typedef enum kerf_pd_kind {
    KERF_PD_TENSOR = 7,
    KERF_PD_FEED = 9,
    KERF_PD_FETCH = 10,
} kerf_pd_kind;

/* TensorDesc. dtype is valid only when is_known. */
typedef struct kerf_pd_desc {
    bool is_known;
    kerf_dtype dtype;
    kerf_shape shape; /* -1: free */
} kerf_pd_desc;

typedef struct kerf_pd_text {
    const char *at; /* not 0-terminated */
    size_t len;
} kerf_pd_text;

typedef struct kerf_pd_param {
    kerf_pd_text name;
    kerf_pd_desc desc;
} kerf_pd_param;

/* A VarDesc. */
typedef struct kerf_pd_var {
    kerf_pd_text name;
    uint64_t kind; /* kerf_pd_kind, or another */
    bool is_persistable;
    kerf_pd_desc desc;    /* of a tensor */
    const uint8_t *whole; /* the field as it stands in its block */
    size_t whole_len;
} kerf_pd_var;

typedef struct kerf_pd_op {
    kerf_pd_text type;
    const uint8_t *bytes; /* the OpDesc */
    size_t len;
} kerf_pd_op;

typedef struct kerf_pd_block {
    const uint8_t *bytes;
    size_t len;
    uint32_t first_var, var_count, first_op, op_count;
} kerf_pd_block;

typedef struct kerf_pdmodel {
    int64_t version; /* 2006000: Paddle 2.6.0; 0: not said */
    /* All owned. Variables and ops stand block after block, in the order of the
     * file. */
    kerf_pd_block *block;
    kerf_pd_var *var;
    kerf_pd_op *op;
    kerf_pd_param *param; /* by name, as in the .pdiparams */
    size_t block_count, var_count, op_count, param_count;
} kerf_pdmodel;

/* Fills *p, which shows into data. Untouched on error.
 * Errors: KERF_ECORRUPT, KERF_ETOOBIG, KERF_ENOTSUP (rank), KERF_ENOMEM. */
KERF_NODISCARD kerf_err kerf_pdmodel_open(kerf_pdmodel *p, const void *data,
                                          size_t len, kerf_detail *why);
void kerf_pdmodel_close(kerf_pdmodel *p); /* accepts a zeroed one */

/*
 * Paddle numbers inputs and outputs (`col`), and often writes the op of the
 * last input first; engines count ops. *out: a copy of the program with these
 * ops in the order of their numbers -> free(); NULL when they are, or say no
 * such order. Errors: those of kerf_pdmodel_open().
 */
KERF_NODISCARD kerf_err kerf_pdmodel_sort_ports(const void *data, size_t len,
                                                uint8_t **out,
                                                kerf_detail *why);

/* Has a record in the .pdiparams. */
bool kerf_pd_var_is_param(const kerf_pd_var *var);

/* In byte order, as strcmp(). */
int kerf_pd_text_compare(const kerf_pd_text *a, const kerf_pd_text *b);
bool kerf_pd_text_is(const kerf_pd_text *a, const char *text);
/* Made safe to show, and cut short. Returns out. */
#define KERF_PD_SAFE 128
char *kerf_pd_text_safe(char out[KERF_PD_SAFE], const kerf_pd_text *text);

/* Parses one TensorDesc message. */
KERF_NODISCARD kerf_err kerf_pd_desc_read(kerf_pd_desc *out, const void *data,
                                          size_t len);

#endif
