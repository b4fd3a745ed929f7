/*
 * paddle_own.h - what reading, writing and joining Paddle programs share. Only
 * for src/graph/paddle*.c.
 */
#ifndef KERF_GRAPH_PADDLE_OWN_H
#define KERF_GRAPH_PADDLE_OWN_H

#include "graph/graph_own.h"
#include "graph/pdiparams.h"
#include "graph/wire.h"

/* framework.proto: AttrType of the attributes that Kerf writes. */
#define KERF_PD_ATTR_INT 0
#define KERF_PD_ATTR_FLOAT 1
#define KERF_PD_ATTR_LONGS 11

/* Blocks within blocks; real ones have two or three. */
#define KERF_PD_DEPTH_MAX 32

/* Fields of ProgramDesc, BlockDesc and OpDesc. */
enum {
    KERF_PD_PROGRAM_BLOCKS = 1,
    KERF_PD_BLOCK_IDX = 1,
    KERF_PD_BLOCK_PARENT = 2,
    KERF_PD_BLOCK_VARS = 3,
    KERF_PD_BLOCK_OPS = 4,
    KERF_PD_BLOCK_FORWARD = 5,
    KERF_PD_OP_INPUTS = 1,
    KERF_PD_OP_OUTPUTS = 2,
    KERF_PD_OP_ATTRS = 4,
};

/* One argument of an op: a name in a slot ("X", "Filter"). */
typedef struct kerf_pd_arg {
    kerf_pd_text slot, name;
    bool is_out;
} kerf_pd_arg;

/* What an op reads, gives and runs. Names in attributes are reads without a
 * slot; empty names are left out. */
typedef struct kerf_pd_args {
    kerf_pd_arg *arg; /* owned; inputs first */
    uint32_t *block;  /* owned; sub-blocks */
    size_t arg_count, block_count;
} kerf_pd_args;

/* Errors: KERF_ECORRUPT, KERF_ETOOBIG, KERF_ENOMEM. */
KERF_NODISCARD kerf_err kerf_pd_args_read(kerf_pd_args *out,
                                          const kerf_pd_op *op);
void kerf_pd_args_fini(kerf_pd_args *args); /* accepts a zeroed one */

/* The state of a graph that was read from a program. A node's origin is an op
 * of block 0; a value's is a variable of block 0, or KERF_GRAPH_NONE for what
 * only other blocks declare. */
typedef struct kerf_paddle {
    const uint8_t *bytes; /* of the program, its ports in order */
    uint8_t *own;         /* NULL, or where these are */
    size_t len;
    kerf_pdmodel program;
    kerf_pd_record *record; /* owned; [program.param_count] */
    uint32_t *by_name;      /* owned; variables, sorted in each block */
    /* Owned, [program.block_count]: the block, and the op of block 0, that run
     * it; KERF_GRAPH_NONE for block 0 and what nobody runs. */
    uint32_t *parent, *runner;
    uint32_t *feed, *fetch; /* owned; op of each input and output */
    size_t feed_count, fetch_count;
} kerf_paddle;

/* Keeps m's bytes. Errors: those of kerf_pdmodel_open() and
 * kerf_pdiparams_check(); KERF_ECORRUPT (a name declared twice). */
KERF_NODISCARD kerf_err kerf_paddle_open(kerf_paddle **out,
                                         const kerf_model_bytes *m,
                                         kerf_detail *why);
void kerf_paddle_close(void *p); /* accepts NULL */

/* The variable of that name that a block declares; KERF_GRAPH_NONE. */
uint32_t kerf_paddle_var(const kerf_paddle *p, uint32_t block,
                         const kerf_pd_text *name);
/* The parameter of that name; KERF_GRAPH_NONE. */
uint32_t kerf_paddle_param(const kerf_paddle *p, const kerf_pd_text *name);

typedef struct kerf_pd_texts {
    kerf_pd_text *text; /* owned: free() */
    size_t count, room;
} kerf_pd_texts;

/*
 * What an op of block 0 gives, and what it reads beyond its arguments: all that
 * its blocks read and give outside of themselves, and parameters that it only
 * writes back. reads and writes are filled anew; notes who runs which block, of
 * which each has one op. Errors: KERF_ECORRUPT, KERF_ETOOBIG, KERF_ENOMEM.
 */
KERF_NODISCARD kerf_err kerf_paddle_effects(kerf_paddle *p, uint32_t op,
                                            const kerf_pd_args *args,
                                            kerf_pd_texts *reads,
                                            kerf_pd_texts *writes);

/* What is changed where something of a program is written again. */
typedef struct kerf_pd_edit {
    const uint32_t *block; /* new index of each; NULL: as they are */
    size_t block_count;
    /* A new name for one; NULL: it stays. The function may be NULL. */
    const char *(*rename)(const void *ctx, const char *name);
    const void *ctx;
} kerf_pd_edit;

/* These append fields of a BlockDesc; look at rope->bad, too. Attributes that
 * only say who exported an op, and where, are left out.
 * Errors: KERF_ECORRUPT, KERF_ETOOBIG, KERF_ENOMEM. */
KERF_NODISCARD kerf_err kerf_pd_put_op(kerf_rope *block, const kerf_pd_op *op,
                                       const kerf_pd_edit *edit);
KERF_NODISCARD kerf_err kerf_pd_put_var(kerf_rope *block,
                                        const kerf_pd_var *var,
                                        const kerf_pd_edit *edit);
/* The same, with another shape. Errors: KERF_ECORRUPT, KERF_ENOMEM. */
KERF_NODISCARD kerf_err kerf_pd_put_shaped(kerf_rope *block,
                                           const kerf_pd_var *var,
                                           const kerf_shape *shape);
/* A parameter as a variable that an op fills with zeros, to the block's
 * variables and to its ops. Errors: KERF_ECORRUPT. */
KERF_NODISCARD kerf_err kerf_pd_put_zeros(kerf_rope *vars, kerf_rope *ops,
                                          const kerf_pd_var *var);
/* The fields of block 0 but for variables and ops. */
void kerf_pd_put_rest(kerf_rope *out, const kerf_pdmodel *m);
/* An op of that type that has one input, one output, and col when >= 0. */
void kerf_pd_put_port(kerf_rope *block, const char *type, const char *in,
                      const char *out, int col);
/* A variable "feed" (or "fetch"), which all such ops of a program share. */
void kerf_pd_put_port_var(kerf_rope *block, bool is_feed);

/* What of a program is kept. */
typedef struct kerf_pd_plan {
    const kerf_graph *g;
    const kerf_paddle *p;
    const kerf_part *part;
    bool *need_node, *need_value; /* [node_count], [value_count] */
    bool *op;                     /* of block 0, [op_count] */
    bool *var;                    /* of block 0, [var_count] */
    bool *hollow;                 /* the same: parameters that become zeros */
    bool *param;                  /* [param_count] */
    uint32_t *block; /* [block_count]: new index; KERF_GRAPH_NONE: gone */
    uint32_t blocks; /* how many are kept, with block 0 */
    kerf_pd_edit edit;
    char *feed, *fetch; /* names of variables of ports; NULL: there are none */
} kerf_pd_plan;

/* part must outlive the plan. kerf_pd_plan_fini() it in every case.
 * Errors: those of kerf_part_needs(). */
KERF_NODISCARD kerf_err kerf_pd_plan_make(kerf_pd_plan *plan,
                                          const kerf_graph *g,
                                          const kerf_part *part,
                                          kerf_detail *why);
void kerf_pd_plan_fini(kerf_pd_plan *plan);

/*
 * A program to graph and its .pdiparams to weights: main (the fields of block
 * 0), the kept blocks that ops of the plans run, what else the first one's
 * program has; params. Both are moved.
 * Errors: KERF_ENOMEM, KERF_ETOOBIG (a file), those of kerf_pd_put_op().
 */
KERF_NODISCARD kerf_err kerf_pd_finish(const kerf_pd_plan *const *plan,
                                       size_t count, kerf_rope *main,
                                       kerf_rope *params, kerf_rope *graph,
                                       kerf_rope *weights, kerf_detail *why);

kerf_err kerf_paddle_write(const kerf_graph *g, const kerf_part *part,
                           kerf_rope *graph, kerf_rope *weights,
                           kerf_detail *why);
kerf_err kerf_paddle_join(const kerf_graph *head, const kerf_graph *tail,
                          kerf_rope *graph, kerf_rope *weights,
                          kerf_detail *why);

#endif
