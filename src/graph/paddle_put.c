/*
 * Writes what a program is made of again: as it stands, but for attributes that
 * are left out, and for what an edit changes. Only ops that change are taken
 * apart; protobuf-c keeps what it does not know of them.
 */
#include "graph/paddle_own.h"
#include "kerf/limits.h"
#include "paddle.pb-c.h"

#include <stdlib.h>
#include <string.h>

typedef Kerf__Paddle__OpDesc op_desc;
typedef Kerf__Paddle__OpDesc__Attr op_attr;
typedef Kerf__Paddle__OpDesc__Var op_var;

/* Half of a program's bytes: the Python stack of whoever exported it, which
 * nothing reads. */
static bool
is_left_out(const kerf_wire_field *attr)
{
    static const char *const names[] = {"op_callstack", "op_namescope",
                                        "op_role_var"};
    kerf_rd r = kerf_wire_inside(attr);
    kerf_wire_field f;
    kerf_pd_text name = {0};
    bool found = false;

    if (attr->number != KERF_PD_OP_ATTRS || attr->wire != 2)
        return false;
    while (kerf_wire_next(&r, &f)) {
        if (f.number == 1 && f.wire == 2)
            name = (kerf_pd_text){(const char *)f.bytes, f.len};
    }
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        found |= kerf_pd_text_is(&name, names[i]);
    return found;
}

/* The OpDesc without those. */
static void
put_kept(kerf_rope *out, const kerf_pd_op *op)
{
    kerf_rd r = {.at = op->bytes, .left = op->len};
    kerf_wire_field f;

    while (kerf_wire_next(&r, &f)) {
        if (!is_left_out(&f))
            kerf_rope_view(out, f.whole, f.whole_len);
    }
}

/* Whether the edit changes anything about it. */
static kerf_err
find_change(const kerf_pd_op *op, const kerf_pd_edit *edit, bool *out)
{
    kerf_pd_args args = {0};
    kerf_err err = kerf_pd_args_read(&args, op);
    bool has = edit->block != NULL && args.block_count > 0;

    for (size_t i = 0; i < args.arg_count && !has && edit->rename != NULL;
         i++) {
        const kerf_pd_text *name = &args.arg[i].name;
        char *text = strndup(name->at, name->len);

        if (text == NULL)
            err = KERF_ENOMEM;
        has = text != NULL && edit->rename(edit->ctx, text) != NULL;
        free(text);
    }
    kerf_pd_args_fini(&args);
    *out = has;
    return err;
}

/* protobuf-c frees what it unpacked with free(), so that a string of ours may
 * take the place of one. */
static kerf_err
rename_text(char **text, const kerf_pd_edit *edit)
{
    const char *new = *text == NULL || edit->rename == NULL
                          ? NULL
                          : edit->rename(edit->ctx, *text);
    char *copy;

    if (new == NULL)
        return KERF_OK;
    copy = strdup(new);
    if (copy == NULL)
        return KERF_ENOMEM;
    if (*text != protobuf_c_empty_string)
        free(*text);
    *text = copy;
    return KERF_OK;
}

static kerf_err
rename_vars(op_var **var, size_t count, const kerf_pd_edit *edit)
{
    kerf_err err = KERF_OK;

    for (size_t i = 0; i < count; i++) {
        for (size_t k = 0; k < var[i]->n_arguments && err == KERF_OK; k++)
            err = rename_text(&var[i]->arguments[k], edit);
    }
    return err;
}

static bool
move_block(int32_t *index, const kerf_pd_edit *edit)
{
    if (edit->block == NULL)
        return true;
    if (*index < 0 || (size_t)*index >= edit->block_count ||
        edit->block[*index] == KERF_GRAPH_NONE)
        return false;
    *index = (int32_t)edit->block[*index];
    return true;
}

static kerf_err
edit_attr(op_attr *attr, const kerf_pd_edit *edit)
{
    kerf_err err = rename_text(&attr->var_name, edit);

    for (size_t i = 0; i < attr->n_vars_name && err == KERF_OK; i++)
        err = rename_text(&attr->vars_name[i], edit);
    if (attr->has_block_idx && !move_block(&attr->block_idx, edit))
        return KERF_ECORRUPT;
    for (size_t i = 0; i < attr->n_blocks_idx; i++) {
        if (!move_block(&attr->blocks_idx[i], edit))
            return KERF_ECORRUPT;
    }
    return err;
}

/* Takes an op apart, changes it and puts it together again. */
static kerf_err
put_changed(kerf_rope *block, const kerf_pd_op *op, const kerf_pd_edit *edit)
{
    kerf_rope kept = {0};
    uint8_t *bytes = NULL;
    op_desc *desc = NULL;
    kerf_err err;

    put_kept(&kept, op);
    err = kerf_rope_flatten(&kept, &bytes);
    if (err != KERF_OK)
        goto out;
    desc = kerf__paddle__op_desc__unpack(NULL, kept.len, bytes);
    if (desc == NULL) {
        err = KERF_ECORRUPT;
        goto out;
    }
    err = rename_vars(desc->inputs, desc->n_inputs, edit);
    if (err == KERF_OK)
        err = rename_vars(desc->outputs, desc->n_outputs, edit);
    for (size_t i = 0; i < desc->n_attrs && err == KERF_OK; i++)
        err = edit_attr(desc->attrs[i], edit);
    if (err == KERF_OK)
        kerf_wire_put_message(block, KERF_PD_BLOCK_OPS, &desc->base);
out:
    if (desc != NULL)
        kerf__paddle__op_desc__free_unpacked(desc, NULL);
    free(bytes);
    kerf_rope_fini(&kept);
    return err;
}

kerf_err
kerf_pd_put_op(kerf_rope *block, const kerf_pd_op *op, const kerf_pd_edit *edit)
{
    kerf_rd r = {.at = op->bytes, .left = op->len};
    size_t len = op->len;
    bool is_changed = false;
    kerf_wire_field f;
    kerf_err err = KERF_OK;

    if (edit->block != NULL || edit->rename != NULL)
        err = find_change(op, edit, &is_changed);
    if (err != KERF_OK)
        return err;
    if (is_changed)
        return put_changed(block, op, edit);
    while (kerf_wire_next(&r, &f)) {
        if (is_left_out(&f))
            len -= f.whole_len;
    }
    kerf_wire_put_head(block, KERF_PD_BLOCK_OPS, len);
    put_kept(block, op);
    return KERF_OK;
}

kerf_err
kerf_pd_put_var(kerf_rope *block, const kerf_pd_var *var,
                const kerf_pd_edit *edit)
{
    kerf_rd r = {.at = var->whole, .left = var->whole_len};
    Kerf__Paddle__VarDesc *desc = NULL;
    char *name = strndup(var->name.at, var->name.len);
    kerf_wire_field f;
    kerf_err err = KERF_OK;

    if (name == NULL)
        return KERF_ENOMEM;
    if (edit->rename == NULL || edit->rename(edit->ctx, name) == NULL) {
        kerf_rope_view(block, var->whole, var->whole_len);
        goto out;
    }
    if (kerf_wire_next(&r, &f))
        desc = kerf__paddle__var_desc__unpack(NULL, f.len, f.bytes);
    if (desc == NULL) {
        err = KERF_ECORRUPT;
        goto out;
    }
    err = rename_text(&desc->name, edit);
    if (err == KERF_OK)
        kerf_wire_put_message(block, KERF_PD_BLOCK_VARS, &desc->base);
out:
    if (desc != NULL)
        kerf__paddle__var_desc__free_unpacked(desc, NULL);
    free(name);
    return err;
}

/* The VarDesc of a tensor; NULL: it is none. */
static Kerf__Paddle__VarDesc *
unpack_tensor(const kerf_pd_var *var)
{
    kerf_rd r = {.at = var->whole, .left = var->whole_len};
    Kerf__Paddle__VarDesc *desc = NULL;
    kerf_wire_field f;

    if (kerf_wire_next(&r, &f))
        desc = kerf__paddle__var_desc__unpack(NULL, f.len, f.bytes);
    if (desc != NULL && desc->type != NULL &&
        desc->type->dense_tensor != NULL &&
        desc->type->dense_tensor->tensor != NULL)
        return desc;
    if (desc != NULL)
        kerf__paddle__var_desc__free_unpacked(desc, NULL);
    return NULL;
}

kerf_err
kerf_pd_put_shaped(kerf_rope *block, const kerf_pd_var *var,
                   const kerf_shape *shape)
{
    Kerf__Paddle__VarDesc *desc = unpack_tensor(var);
    Kerf__Paddle__TensorDesc *tensor;
    int64_t *dims, dim[KERF_RANK_MAX];
    size_t count;

    if (desc == NULL)
        return KERF_ECORRUPT;
    tensor = desc->type->dense_tensor->tensor;
    dims = tensor->dims; /* what was unpacked is freed as it was */
    count = tensor->n_dims;
    memcpy(dim, shape->dims, sizeof dim);
    tensor->dims = dim;
    tensor->n_dims = shape->rank;
    kerf_wire_put_message(block, KERF_PD_BLOCK_VARS, &desc->base);
    tensor->dims = dims;
    tensor->n_dims = count;
    kerf__paddle__var_desc__free_unpacked(desc, NULL);
    return KERF_OK;
}

void
kerf_pd_put_rest(kerf_rope *out, const kerf_pdmodel *m)
{
    kerf_rd r = {.at = m->block[0].bytes, .left = m->block[0].len};
    kerf_wire_field f;

    while (kerf_wire_next(&r, &f)) {
        if (f.number != KERF_PD_BLOCK_VARS && f.number != KERF_PD_BLOCK_OPS)
            kerf_rope_view(out, f.whole, f.whole_len);
    }
}

/* The fields of one of them. */
static kerf_err
put_block(kerf_rope *out, const kerf_pd_plan *plan, uint32_t block)
{
    const kerf_pdmodel *m = &plan->p->program;
    const kerf_pd_block *b = &m->block[block];
    /* No new names: what its ops call by a name may be its own. */
    const kerf_pd_edit edit = {.block = plan->edit.block,
                               .block_count = plan->edit.block_count};
    kerf_rd r = {.at = b->bytes, .left = b->len};
    kerf_err err = KERF_OK;
    uint32_t op = b->first_op;
    kerf_wire_field f;

    kerf_wire_put_int(out, KERF_PD_BLOCK_IDX, plan->block[block]);
    kerf_wire_put_int(out, KERF_PD_BLOCK_PARENT,
                      plan->block[plan->p->parent[block]]);
    while (err == KERF_OK && kerf_wire_next(&r, &f)) {
        if (f.number == KERF_PD_BLOCK_IDX || f.number == KERF_PD_BLOCK_PARENT ||
            (f.number == KERF_PD_BLOCK_FORWARD && edit.block != NULL))
            continue; /* forward: none, of a network that only runs */
        if (f.number == KERF_PD_BLOCK_OPS && f.wire == 2)
            err = kerf_pd_put_op(out, &m->op[op++], &edit);
        else
            kerf_rope_view(out, f.whole, f.whole_len);
    }
    return err;
}

/* The kept blocks that ops run: whole, with plan->block as their numbers. */
static kerf_err
put_inner(kerf_rope *blocks, const kerf_pd_plan *plan)
{
    kerf_err err = KERF_OK;

    for (uint32_t b = 1; b < plan->p->program.block_count && err == KERF_OK;
         b++) {
        kerf_rope inside = {0};

        if (plan->block[b] == KERF_GRAPH_NONE)
            continue;
        err = put_block(&inside, plan, b);
        kerf_wire_put_rope(blocks, KERF_PD_PROGRAM_BLOCKS, &inside);
    }
    return err;
}

/* A whole ProgramDesc: those blocks, which are moved, and what else p has:
 * version, op versions and what we do not know. */
static void
put_program(kerf_rope *out, const kerf_paddle *p, kerf_rope *blocks)
{
    kerf_rd r = {.at = p->bytes, .left = p->len};
    kerf_wire_field f;

    while (kerf_wire_next(&r, &f)) {
        if (f.number == KERF_PD_PROGRAM_BLOCKS)
            kerf_rope_move(out, blocks); /* all, at the first */
        else
            kerf_rope_view(out, f.whole, f.whole_len);
    }
}

/* Moves both to their places when all is well and no file is too big. */
static kerf_err
hand_over(kerf_rope *program, kerf_rope *params, kerf_rope *graph,
          kerf_rope *weights, kerf_detail *why)
{
    if (program->bad || params->bad)
        return kerf_fail(why, KERF_ENOMEM, "out of memory");
    if (program->len > KERF_MODEL_BYTES_MAX ||
        params->len > KERF_MODEL_BYTES_MAX)
        return kerf_fail(why, KERF_ETOOBIG,
                         "the program would have more than %zu bytes",
                         KERF_MODEL_BYTES_MAX);
    kerf_rope_move(graph, program);
    kerf_rope_move(weights, params);
    if (graph->bad || weights->bad)
        return kerf_fail(why, KERF_ENOMEM, "out of memory");
    return KERF_OK;
}

kerf_err
kerf_pd_finish(const kerf_pd_plan *const *plan, size_t count, kerf_rope *main,
               kerf_rope *params, kerf_rope *graph, kerf_rope *weights,
               kerf_detail *why)
{
    kerf_rope blocks = {0}, program = {0};
    kerf_err err = KERF_OK;

    kerf_wire_put_rope(&blocks, KERF_PD_PROGRAM_BLOCKS, main);
    for (size_t i = 0; i < count && err == KERF_OK; i++)
        err = put_inner(&blocks, plan[i]);
    put_program(&program, plan[0]->p, &blocks);
    if (err != KERF_OK)
        err =
            kerf_fail(why, err, "writing the program: %s", kerf_err_text(err));
    else
        err = hand_over(&program, params, graph, weights, why);
    kerf_rope_fini(&blocks);
    kerf_rope_fini(&program);
    return err;
}

/* protobuf-c wants strings that it could change; it only reads them. */
static char *
borrow(const char *text)
{
    union {
        const char *in;
        char *out;
    } at = {.in = text};

    return at.out;
}

/* An op with slots X and Out; in may be NULL. */
static void
put_simple(kerf_rope *block, const char *type, const char *in, const char *out,
           op_attr **attrs, size_t attr_count)
{
    op_var from = KERF__PADDLE__OP_DESC__VAR__INIT;
    op_var to = KERF__PADDLE__OP_DESC__VAR__INIT;
    op_desc desc = KERF__PADDLE__OP_DESC__INIT;
    char *in_name = borrow(in), *out_name = borrow(out);
    op_var *inputs = &from, *outputs = &to;

    from.parameter = borrow("X");
    from.n_arguments = 1;
    from.arguments = &in_name;
    to.parameter = borrow("Out");
    to.n_arguments = 1;
    to.arguments = &out_name;
    desc.type = borrow(type);
    desc.n_inputs = in != NULL ? 1 : 0;
    desc.inputs = &inputs;
    desc.n_outputs = 1;
    desc.outputs = &outputs;
    desc.n_attrs = attr_count;
    desc.attrs = attrs;
    kerf_wire_put_message(block, KERF_PD_BLOCK_OPS, &desc.base);
}

void
kerf_pd_put_port(kerf_rope *block, const char *type, const char *in,
                 const char *out, int col)
{
    op_attr attr = KERF__PADDLE__OP_DESC__ATTR__INIT;
    op_attr *attrs = &attr;

    attr.name = borrow("col");
    attr.type = KERF_PD_ATTR_INT;
    attr.has_i = 1;
    attr.i = col;
    put_simple(block, type, in, out, &attrs, col >= 0 ? 1 : 0);
}

kerf_err
kerf_pd_put_zeros(kerf_rope *vars, kerf_rope *ops, const kerf_pd_var *var)
{
    op_attr shape = KERF__PADDLE__OP_DESC__ATTR__INIT;
    op_attr dtype = KERF__PADDLE__OP_DESC__ATTR__INIT;
    op_attr value = KERF__PADDLE__OP_DESC__ATTR__INIT;
    op_attr *attrs[] = {&shape, &dtype, &value};
    Kerf__Paddle__VarDesc *desc = unpack_tensor(var);

    if (desc == NULL)
        return KERF_ECORRUPT;
    shape.name = borrow("shape");
    shape.type = KERF_PD_ATTR_LONGS;
    shape.n_longs = desc->type->dense_tensor->tensor->n_dims;
    shape.longs = desc->type->dense_tensor->tensor->dims;
    dtype.name = borrow("dtype");
    dtype.type = KERF_PD_ATTR_INT;
    dtype.has_i = 1;
    dtype.i = desc->type->dense_tensor->tensor->data_type;
    value.name = borrow("value");
    value.type = KERF_PD_ATTR_FLOAT;
    value.has_f = 1;
    put_simple(ops, "fill_constant", NULL, desc->name, attrs, 3);
    desc->has_persistable = desc->persistable = 0;
    desc->has_is_parameter = desc->is_parameter = 0;
    kerf_wire_put_message(vars, KERF_PD_BLOCK_VARS, &desc->base);
    kerf__paddle__var_desc__free_unpacked(desc, NULL);
    return KERF_OK;
}

void
kerf_pd_put_port_var(kerf_rope *block, bool is_feed)
{
    Kerf__Paddle__VarType type = KERF__PADDLE__VAR_TYPE__INIT;
    Kerf__Paddle__VarDesc desc = KERF__PADDLE__VAR_DESC__INIT;

    type.type = is_feed ? KERF_PD_FEED : KERF_PD_FETCH;
    desc.name = borrow(is_feed ? "feed" : "fetch");
    desc.type = &type;
    desc.has_persistable = 1;
    desc.persistable = 1;
    kerf_wire_put_message(block, KERF_PD_BLOCK_VARS, &desc.base);
}
