#include "graph/paddle_own.h"

#include <stdlib.h>
#include <string.h>

/* Of one op; a concat may read hundreds. */
#define ARGS_MAX ((size_t)1 << 20)

/* OpDesc.Attr */
enum {
    ATTR_BLOCK_IDX = 12,
    ATTR_BLOCKS_IDX = 14,
    ATTR_VAR_NAME = 17,
    ATTR_VARS_NAME = 18,
};

void
kerf_pd_args_fini(kerf_pd_args *args)
{
    free(args->arg);
    free(args->block);
    *args = (kerf_pd_args){0};
}

/* Room doubles at powers of two. */
static kerf_err
grow(void **at, size_t count, size_t size)
{
    void *bigger;

    if (count >= ARGS_MAX)
        return KERF_ETOOBIG;
    if ((count & (count - 1)) != 0)
        return KERF_OK;
    bigger = realloc(*at, (count == 0 ? 1 : 2 * count) * size);
    if (bigger == NULL)
        return KERF_ENOMEM;
    *at = bigger;
    return KERF_OK;
}

static kerf_err
add_arg(kerf_pd_args *args, const kerf_pd_text *slot, const kerf_wire_field *f,
        bool is_out)
{
    kerf_pd_text name = {(const char *)f->bytes, f->len};
    void *room = args->arg;
    kerf_err err = KERF_OK;

    if (name.len == 0 || kerf_pd_text_is(&name, "@EMPTY@"))
        return KERF_OK;
    if (memchr(name.at, 0, name.len) != NULL)
        return KERF_ECORRUPT;
    err = grow(&room, args->arg_count, sizeof *args->arg);
    args->arg = room;
    if (err == KERF_OK)
        args->arg[args->arg_count++] =
            (kerf_pd_arg){.slot = *slot, .name = name, .is_out = is_out};
    return err;
}

static kerf_err
add_block(kerf_pd_args *args, uint64_t index)
{
    void *room = args->block;
    kerf_err err = grow(&room, args->block_count, sizeof *args->block);

    args->block = room;
    if (err == KERF_OK && index >= KERF_PDMODEL_BLOCKS_MAX)
        err = KERF_ECORRUPT;
    if (err == KERF_OK)
        args->block[args->block_count++] = (uint32_t)index;
    return err;
}

/* OpDesc.Var: 1 the slot, 2 names. */
static kerf_err
read_slot(kerf_pd_args *args, kerf_rd r, bool is_out)
{
    kerf_pd_text slot = {0};
    kerf_err err = KERF_OK;
    kerf_wire_field f;

    while (err == KERF_OK && kerf_wire_next(&r, &f)) {
        if (f.number == 1 && f.wire == 2)
            slot = (kerf_pd_text){(const char *)f.bytes, f.len};
        else if (f.number == 2 && f.wire == 2)
            err = add_arg(args, &slot, &f, is_out);
    }
    return err == KERF_OK && r.bad ? KERF_ECORRUPT : err;
}

static kerf_err
read_attr(kerf_pd_args *args, kerf_rd r)
{
    static const kerf_pd_text none = {0};
    kerf_err err = KERF_OK;
    kerf_wire_field f;

    while (err == KERF_OK && kerf_wire_next(&r, &f)) {
        bool is_block =
            f.number == ATTR_BLOCK_IDX || f.number == ATTR_BLOCKS_IDX;

        if ((f.number == ATTR_VAR_NAME || f.number == ATTR_VARS_NAME) &&
            f.wire == 2) {
            err = add_arg(args, &none, &f, false);
        } else if (is_block && f.wire == 0) {
            err = add_block(args, f.value);
        } else if (is_block && f.wire == 2) { /* packed */
            kerf_rd in = kerf_wire_inside(&f);

            while (err == KERF_OK && in.left > 0 && !in.bad)
                err = add_block(args, kerf_wire_varint(&in));
            r.bad |= in.bad;
        }
    }
    return err == KERF_OK && r.bad ? KERF_ECORRUPT : err;
}

/* All fields of that number, on their way into *args. */
static kerf_err
read_fields(kerf_pd_args *args, const kerf_pd_op *op, uint32_t number)
{
    kerf_rd r = {.at = op->bytes, .left = op->len};
    kerf_err err = KERF_OK;
    kerf_wire_field f;

    while (err == KERF_OK && kerf_wire_next(&r, &f)) {
        if (f.number != number || f.wire != 2)
            continue;
        if (number == KERF_PD_OP_ATTRS)
            err = read_attr(args, kerf_wire_inside(&f));
        else
            err = read_slot(args, kerf_wire_inside(&f),
                            number == KERF_PD_OP_OUTPUTS);
    }
    return err == KERF_OK && r.bad ? KERF_ECORRUPT : err;
}

kerf_err
kerf_pd_args_read(kerf_pd_args *out, const kerf_pd_op *op)
{
    kerf_pd_args args = {0};
    kerf_err err = read_fields(&args, op, KERF_PD_OP_INPUTS);

    if (err == KERF_OK)
        err = read_fields(&args, op, KERF_PD_OP_ATTRS);
    if (err == KERF_OK)
        err = read_fields(&args, op, KERF_PD_OP_OUTPUTS);
    if (err != KERF_OK) {
        kerf_pd_args_fini(&args);
        return err;
    }
    *out = args;
    return KERF_OK;
}
