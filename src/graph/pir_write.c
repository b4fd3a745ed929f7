#include "graph/pir_own.h"

#include <string.h>

#define VERSION 2006000 /* Paddle 2.6.0, the last with the old form */

/* Field numbers and types of framework.proto. */
enum { PROGRAM_BLOCKS = 1, PROGRAM_VERSION = 4, VERSION_VERSION = 1 };
enum { BLOCK_IDX = 1, BLOCK_PARENT = 2, BLOCK_VARS = 3, BLOCK_OPS = 4 };
enum { VAR_NAME = 1, VAR_TYPE = 2, VAR_PERSISTABLE = 3, VAR_FEED_CHECK = 4 };
enum { TYPE_TYPE = 1, TYPE_DENSE = 3, DENSE_TENSOR = 1 };
enum { TENSOR_DTYPE = 1, TENSOR_DIMS = 2 };
enum { OP_TYPE = 3, OP_ATTRS = 4, ARGS_PARAMETER = 1, ARGS_NAME = 2 };
enum { ATTR_NAME = 1, ATTR_TYPE = 2, ATTR_I = 3, ATTR_F = 4, ATTR_S = 5 };
enum { ATTR_INTS = 6, ATTR_FLOATS = 7, ATTR_B = 10, ATTR_L = 13 };
enum { ATTR_LONGS = 15 };
enum { DENSE = 7, FEED_LIST = 9, FETCH_LIST = 10 };

void
kerf_pir_put_args(kerf_rope *op, uint32_t field, const char *parameter,
                  const char *const *name, size_t count)
{
    kerf_rope args = {0};

    kerf_wire_put_text(&args, ARGS_PARAMETER, parameter);
    for (size_t i = 0; i < count; i++)
        kerf_wire_put_text(&args, ARGS_NAME, name[i]);
    kerf_wire_put_rope(op, field, &args);
}

void
kerf_pir_put_arg(kerf_rope *op, uint32_t field, const char *parameter,
                 const char *name)
{
    kerf_pir_put_args(op, field, parameter, &name, 1);
}

static bool
is_int(const kerf_pir_number *n)
{
    return n->is_whole && n->whole >= INT32_MIN && n->whole <= INT32_MAX;
}

static bool
fits(const kerf_pir_values *v, kerf_pir_type type)
{
    bool is_one = type == KERF_PIR_INT || type == KERF_PIR_LONG ||
                  type == KERF_PIR_BOOL || type == KERF_PIR_FLOAT;
    bool all = type == KERF_PIR_STRING ? v->text != NULL : v->text == NULL;

    if (is_one && v->count != 1)
        return false;
    for (size_t i = 0; all && i < v->count; i++) {
        if (type == KERF_PIR_INT || type == KERF_PIR_INTS)
            all = is_int(&v->at[i]);
        else if (type == KERF_PIR_LONG || type == KERF_PIR_LONGS)
            all = v->at[i].is_whole;
        else if (type == KERF_PIR_BOOL)
            all = v->at[i].is_whole && (v->at[i].whole & ~INT64_C(1)) == 0;
    }
    return all;
}

bool
kerf_pir_put_attr(kerf_rope *attrs, const char *name, kerf_pir_type type,
                  const kerf_pir_values *values)
{
    static const uint32_t fields[] = {
        [KERF_PIR_INT] = ATTR_I,       [KERF_PIR_FLOAT] = ATTR_F,
        [KERF_PIR_INTS] = ATTR_INTS,   [KERF_PIR_FLOATS] = ATTR_FLOATS,
        [KERF_PIR_BOOL] = ATTR_B,      [KERF_PIR_LONG] = ATTR_L,
        [KERF_PIR_LONGS] = ATTR_LONGS, [KERF_PIR_STRING] = ATTR_S,
    };
    kerf_rope attr = {0};

    if (!fits(values, type))
        return false;
    kerf_wire_put_text(&attr, ATTR_NAME, name);
    kerf_wire_put_int(&attr, ATTR_TYPE, type);
    if (type == KERF_PIR_STRING)
        kerf_wire_put_text(&attr, fields[type], values->text);
    for (size_t i = 0; i < values->count; i++) {
        if (type == KERF_PIR_FLOAT || type == KERF_PIR_FLOATS)
            kerf_wire_put_float(&attr, fields[type], (float)values->at[i].real);
        else
            kerf_wire_put_int(&attr, fields[type],
                              (uint64_t)values->at[i].whole);
    }
    kerf_wire_put_rope(attrs, OP_ATTRS, &attr);
    return true;
}

void
kerf_pir_put_attr_int(kerf_rope *attrs, const char *name, int64_t value)
{
    kerf_pir_number number = {.whole = value, .is_whole = true};
    kerf_pir_values values = {.at = &number, .count = 1};

    (void)kerf_pir_put_attr(attrs, name, KERF_PIR_INT, &values);
}

void
kerf_pir_put_op(kerf_rope *ops, const char *type, kerf_rope *args,
                kerf_rope *attrs)
{
    kerf_wire_put_text(args, OP_TYPE, type);
    kerf_rope_move(args, attrs);
    kerf_wire_put_rope(ops, BLOCK_OPS, args);
}

void
kerf_pir_put_var(kerf_rope *vars, const char *name, kerf_pir_var kind,
                 const kerf_pir_tensor *t)
{
    kerf_rope var = {0}, type = {0}, dense = {0}, tensor = {0};

    kerf_wire_put_int(&tensor, TENSOR_DTYPE, (uint64_t)(int64_t)t->dtype);
    for (uint32_t i = 0; i < t->shape.rank; i++)
        kerf_wire_put_int(&tensor, TENSOR_DIMS, (uint64_t)t->shape.dims[i]);
    kerf_wire_put_rope(&dense, DENSE_TENSOR, &tensor);
    kerf_wire_put_int(&type, TYPE_TYPE, DENSE);
    kerf_wire_put_rope(&type, TYPE_DENSE, &dense);
    kerf_wire_put_text(&var, VAR_NAME, name);
    kerf_wire_put_rope(&var, VAR_TYPE, &type);
    kerf_wire_put_int(&var, VAR_PERSISTABLE, kind == KERF_PIR_VAR_PARAM);
    if (kind == KERF_PIR_VAR_FEED)
        kerf_wire_put_int(&var, VAR_FEED_CHECK, 1);
    kerf_wire_put_rope(vars, BLOCK_VARS, &var);
}

/* The variable that feed ops read, or fetch ops write. */
static void
put_port_list(kerf_rope *vars, const char *name, uint64_t kind)
{
    kerf_rope var = {0}, type = {0};

    kerf_wire_put_int(&type, TYPE_TYPE, kind);
    kerf_wire_put_text(&var, VAR_NAME, name);
    kerf_wire_put_rope(&var, VAR_TYPE, &type);
    kerf_wire_put_int(&var, VAR_PERSISTABLE, 1);
    kerf_wire_put_rope(vars, BLOCK_VARS, &var);
}

void
kerf_pir_put_program(kerf_rope *program, kerf_rope *vars, kerf_rope *ops)
{
    kerf_rope block = {0}, version = {0};

    kerf_wire_put_int(&block, BLOCK_IDX, 0);
    kerf_wire_put_int(&block, BLOCK_PARENT, UINT64_MAX); /* -1: none */
    put_port_list(vars, "feed", FEED_LIST);
    put_port_list(vars, "fetch", FETCH_LIST);
    kerf_rope_move(&block, vars);
    kerf_rope_move(&block, ops);
    kerf_wire_put_rope(program, PROGRAM_BLOCKS, &block);
    kerf_wire_put_int(&version, VERSION_VERSION, VERSION);
    kerf_wire_put_rope(program, PROGRAM_VERSION, &version);
}
