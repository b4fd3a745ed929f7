/*
 * pir_own.h - the parts of the translation of Paddle 3's programs. Only for
 * src/graph/pir*.c.
 *
 *     pir.c        the walk: values, names, constants, the program
 *     pir_constant.c  constants as attributes or ops
 *     pir_rule.c   one op by its row of the table
 *     pir_unbind.c one that becomes many
 *     pir_ops.c    the table
 *     pir_read.c   attributes and types out of the JSON
 *     pir_write.c  ops and variables in framework.proto's wire form
 */
#ifndef KERF_GRAPH_PIR_OWN_H
#define KERF_GRAPH_PIR_OWN_H

#include "graph/pir.h"
#include "graph/wire.h"
#include "kerf/tensor.h"

#include <jansson.h>

#define KERF_PIR_VALUES_MAX 1048576
#define KERF_PIR_LIST_MAX 4096
#define KERF_PIR_NAME_MAX 256 /* of a name that is made here */

/* framework.proto: VarType.Type of tensors. */
typedef enum kerf_pir_dtype {
    KERF_PIR_UNDEFINED = -1,
    KERF_PIR_BOOL_TENSOR = 0,
    KERF_PIR_I32 = 2,
    KERF_PIR_I64 = 3,
    KERF_PIR_F32 = 5,
} kerf_pir_dtype;

/* Types of an op's attributes; the numbers are framework.proto's AttrType. */
typedef enum kerf_pir_type {
    KERF_PIR_INT = 0,
    KERF_PIR_FLOAT = 1,
    KERF_PIR_STRING = 2,
    KERF_PIR_INTS = 3,
    KERF_PIR_FLOATS = 4,
    KERF_PIR_BOOL = 6,
    KERF_PIR_LONG = 9,
    KERF_PIR_LONGS = 11,
} kerf_pir_type;

/* ---- the table ---------------------------------------------------------- */

#define KERF_PIR_IN_MAX 6
#define KERF_PIR_OUT_MAX 6
#define KERF_PIR_ATTR_MAX 14

/* What becomes of an operand. */
typedef struct kerf_pir_in {
    const char *name;   /* input of the old op for a tensor, or NULL */
    const char *list;   /* input for a list of tensors, or NULL */
    const char *attr;   /* attribute that a constant becomes; or NULL */
    kerf_pir_type type; /* of attr */
    bool is_optional;   /* may be left out */
    bool is_ignored;    /* the old op has no use for it */
    bool is_axis;       /* count from the front: engines want that */
    bool is_i32;        /* so must the tensor be: engines want that */
} kerf_pir_in;

/* What becomes of a result. */
typedef struct kerf_pir_out {
    const char *name;
    int operand;     /* over 0: it is this operand, in place */
    bool is_dropped; /* the old op does not give it */
} kerf_pir_out;

typedef enum kerf_pir_from {
    KERF_PIR_FROM_ATTR = 0, /* the attribute `pir` */
    KERF_PIR_FROM_ROW,      /* value */
    KERF_PIR_FROM_NOTHING,  /* an empty list */
    KERF_PIR_FROM_ONES,     /* a 1 for each element of the attribute `pir` */
    KERF_PIR_FROM_DTYPE,    /* number of the first operand's dtype */
    KERF_PIR_FROM_EMPTY,    /* whether the old attribute `pir` has no element */
    KERF_PIR_IS_VALUE,      /* none: `pir` must be value, as the old op is */
    KERF_PIR_IS_IGNORED,    /* none: the old op has no use for `pir` */
} kerf_pir_from;

/* An attribute of the old op. */
typedef struct kerf_pir_attr {
    const char *name;
    const char *pir;
    kerf_pir_type type;
    kerf_pir_from from;
    double value;
} kerf_pir_attr;

/* How an op of PIR (`pir`, without dialect) is written. */
typedef struct kerf_pir_rule {
    const char *pir, *old;
    kerf_pir_in in[KERF_PIR_IN_MAX];
    kerf_pir_out out[KERF_PIR_OUT_MAX];
    kerf_pir_attr attr[KERF_PIR_ATTR_MAX];
    const char *without; /* old op when the last operand is left out */
    /* Old op, with result Out, for a list of scalars, which become [1] first:
     * engines are not of one mind about what a scalar's shape is. */
    const char *of_scalars;
    bool gives_i32; /* whatever the result is: a cast follows */
    bool is_typed;  /* operands are cast to the result's dtype first */
} kerf_pir_rule;

/* "1.conv2d", also as "1.conv2d_" -> its row, or NULL. */
const kerf_pir_rule *kerf_pir_find_rule(const char *op);

/* ---- reading ------------------------------------------------------------ */

typedef struct kerf_pir_number {
    double real;
    int64_t whole;
    bool is_whole; /* whole is the number; real is, or is near it */
} kerf_pir_number;

/* An attribute's value: text, or numbers (also bools and dtypes). */
typedef struct kerf_pir_values {
    const char *text; /* the JSON's */
    kerf_pir_number *at;
    size_t count;
} kerf_pir_values;

typedef struct kerf_pir_tensor {
    kerf_pir_dtype dtype;
    kerf_shape shape; /* -1: free */
} kerf_pir_tensor;

/* Its "#"; "" when it has none. */
const char *kerf_pir_id(const json_t *object);

/* The "AT" of an op's attribute of that name; NULL when it has none. */
const json_t *kerf_pir_attr_of(const json_t *op, const char *name);

/* Errors: KERF_ECORRUPT, KERF_ENOTSUP (such values are beyond us),
 * KERF_ENOMEM. *out is to be finished in every case. */
KERF_NODISCARD kerf_err kerf_pir_read_values(const json_t *at,
                                             kerf_pir_values *out);
void kerf_pir_values_fini(kerf_pir_values *values);

/* Zeroed numbers. Errors: KERF_ENOMEM. */
KERF_NODISCARD kerf_err kerf_pir_values_room(kerf_pir_values *out,
                                             size_t count);

/* Errors: KERF_ECORRUPT, KERF_ENOTSUP (no tensor, or of no known dtype). */
KERF_NODISCARD kerf_err kerf_pir_read_tensor(const json_t *type,
                                             kerf_pir_tensor *out);

/* "0.t_null" and its like: a result that is not there. */
bool kerf_pir_is_nothing(const json_t *type);

/* ---- writing ------------------------------------------------------------ */

/* OpDesc fields, for kerf_pir_put_args(). */
#define KERF_PIR_INPUTS 1
#define KERF_PIR_OUTPUTS 2

/* One "X: [names]" of an op. */
void kerf_pir_put_args(kerf_rope *op, uint32_t field, const char *parameter,
                       const char *const *name, size_t count);
void kerf_pir_put_arg(kerf_rope *op, uint32_t field, const char *parameter,
                      const char *name);

/* False when the values do not fit the type: nothing is written then. */
bool kerf_pir_put_attr(kerf_rope *attrs, const char *name, kerf_pir_type type,
                       const kerf_pir_values *values);
void kerf_pir_put_attr_int(kerf_rope *attrs, const char *name, int64_t value);

/* The op of that type, which takes args and attrs; both are empty then. */
void kerf_pir_put_op(kerf_rope *ops, const char *type, kerf_rope *args,
                     kerf_rope *attrs);

typedef enum kerf_pir_var {
    KERF_PIR_VAR_VALUE,
    KERF_PIR_VAR_PARAM,
    KERF_PIR_VAR_FEED,
} kerf_pir_var;

void kerf_pir_put_var(kerf_rope *vars, const char *name, kerf_pir_var kind,
                      const kerf_pir_tensor *type);

/* The whole program; vars and ops are empty then. */
void kerf_pir_put_program(kerf_rope *program, kerf_rope *vars, kerf_rope *ops);

/* ---- the walk ----------------------------------------------------------- */

typedef enum kerf_pir_kind {
    KERF_PIR_NOTHING = 0, /* nobody has given it */
    KERF_PIR_TENSOR,      /* variable `name` */
    KERF_PIR_CONSTANT,    /* op; a variable too once it has a name */
    KERF_PIR_LIST,        /* elem */
} kerf_pir_kind;

typedef struct kerf_pir_value {
    kerf_pir_kind kind;
    bool is_written;  /* its variable is in the program */
    const char *name; /* kerf_pir.names' */
    const json_t *op; /* of a constant */
    uint32_t *elem;   /* owned; values */
    size_t elem_count;
    kerf_pir_tensor type;
} kerf_pir_value;

typedef struct kerf_pir {
    json_t *root;
    const json_t *ops;
    size_t op;             /* the one that is looked at */
    kerf_pir_value *value; /* owned; by number, then elements of lists */
    size_t value_count, value_room;
    json_t *names;  /* owned; keys: every name in use */
    json_t *counts; /* owned; how many ops of each type got a name */
    kerf_rope vars, feeds, body;
    kerf_detail *why;
} kerf_pir;

/* "op 12, 1.conv2d: ..." into *why. */
kerf_err kerf_pir_fail(kerf_pir *p, kerf_err err, const char *fmt, ...)
    KERF_PRINTF(3, 4);

/* The number behind {"%": number} of an operand or result; 0: none.
 * Errors: KERF_ECORRUPT. */
KERF_NODISCARD kerf_err kerf_pir_number_of(kerf_pir *p, const json_t *ref,
                                           uint32_t *out);
/* Whether that number has no value yet. Errors: KERF_ECORRUPT (also of 0). */
KERF_NODISCARD kerf_err kerf_pir_check_new(kerf_pir *p, uint32_t number);

/* A name of its own: text, or text with more behind it. NULL: no memory. */
const char *kerf_pir_name(kerf_pir *p, const char *text);
/* "relu_0", "relu_1", ... */
const char *kerf_pir_name_op(kerf_pir *p, const char *type);

/* Makes number a tensor of that name, with its variable. */
KERF_NODISCARD kerf_err kerf_pir_define(kerf_pir *p, uint32_t number,
                                        const char *name, kerf_pir_var kind,
                                        const json_t *type);

/* What a constant op ("1.full", ...) holds, in C order. Errors: also
 * KERF_ENOTSUP (too much of one value for an attribute). */
KERF_NODISCARD kerf_err kerf_pir_read_constant(const json_t *op,
                                               kerf_pir_values *out);

/* A new value that has no number in the program. */
KERF_NODISCARD kerf_err kerf_pir_add_value(kerf_pir *p, uint32_t *out);

/* The variable of a tensor or constant, which is written now if need be.
 * Errors: KERF_ECORRUPT (nobody has given it), KERF_ENOTSUP, KERF_ENOMEM. */
KERF_NODISCARD kerf_err kerf_pir_variable(kerf_pir *p, uint32_t number,
                                          const char **name);

/* Writes the op p->op as its row says. */
KERF_NODISCARD kerf_err kerf_pir_apply(kerf_pir *p, const json_t *op,
                                       const kerf_pir_rule *rule);

/* Writes the op p->op, 1.unbind or 1.unstack, as slices. */
KERF_NODISCARD kerf_err kerf_pir_unbind(kerf_pir *p, const json_t *op);

#endif
