#include "graph/pdmodel.h"

#include "base/text.h"
#include "graph/wire.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* framework.proto: VarType.Type of an element */
enum {
    PD_BOOL = 0,
    PD_INT16 = 1,
    PD_INT32 = 2,
    PD_INT64 = 3,
    PD_FP16 = 4,
    PD_FP32 = 5,
    PD_FP64 = 6,
    PD_UINT8 = 20,
    PD_INT8 = 21,
    PD_BF16 = 22,
};

static kerf_err read_block(kerf_pdmodel *p, const kerf_wire_field *at);
static kerf_err read_var(kerf_pdmodel *p, const kerf_wire_field *at);
static kerf_err read_op(kerf_pdmodel *p, const kerf_wire_field *at);
static kerf_err find_params(kerf_pdmodel *p);

kerf_err
kerf_pdmodel_open(kerf_pdmodel *p, const void *data, size_t len,
                  kerf_detail *why)
{
    kerf_rd r = {.at = data, .left = len};
    kerf_pdmodel new = {0};
    kerf_err err = KERF_OK;
    kerf_wire_field f;

    while (err == KERF_OK && kerf_wire_next(&r, &f)) {
        if (f.number == 1 && f.wire == 2) {
            err = read_block(&new, &f);
        } else if (f.number == 4 && f.wire == 2) {
            kerf_rd in = kerf_wire_inside(&f);
            kerf_wire_field v;

            while (kerf_wire_next(&in, &v)) {
                if (v.number == 1 && v.wire == 0)
                    memcpy(&new.version, &v.value, sizeof new.version);
            }
            r.bad |= in.bad;
        }
    }
    if (err == KERF_OK && (r.bad || new.block_count == 0))
        err = KERF_ECORRUPT;
    if (err == KERF_OK)
        err = find_params(&new);
    if (err != KERF_OK) {
        kerf_pdmodel_close(&new);
        return kerf_fail(why, err,
                         "the .pdmodel is not a whole Paddle "
                         "program: %s",
                         kerf_err_text(err));
    }
    *p = new;
    return KERF_OK;
}

void
kerf_pdmodel_close(kerf_pdmodel *p)
{
    free(p->block);
    free(p->var);
    free(p->op);
    free(p->param);
    *p = (kerf_pdmodel){0};
}

static bool
dtype_of(uint64_t type, kerf_dtype *out)
{
    static const struct {
        uint64_t type;
        kerf_dtype dtype;
    } map[] = {
        {PD_BOOL, KERF_BOOL}, {PD_INT16, KERF_I16}, {PD_INT32, KERF_I32},
        {PD_INT64, KERF_I64}, {PD_FP16, KERF_F16},  {PD_FP32, KERF_F32},
        {PD_FP64, KERF_F64},  {PD_UINT8, KERF_U8},  {PD_INT8, KERF_I8},
        {PD_BF16, KERF_BF16},
    };

    for (size_t i = 0; i < sizeof map / sizeof *map; i++) {
        if (map[i].type == type) {
            *out = map[i].dtype;
            return true;
        }
    }
    return false;
}

static bool
add_dim(kerf_shape *s, uint64_t value)
{
    if (s->rank == KERF_RANK_MAX)
        return false;
    memcpy(&s->dims[s->rank], &value, sizeof value);
    s->rank++;
    return true;
}

kerf_err
kerf_pd_desc_read(kerf_pd_desc *out, const void *data, size_t len)
{
    kerf_rd r = {.at = data, .left = len};
    kerf_pd_desc desc = {0};
    bool fits = true;
    kerf_wire_field f;

    while (kerf_wire_next(&r, &f)) {
        if (f.number == 1 && f.wire == 0) {
            desc.is_known = dtype_of(f.value, &desc.dtype);
        } else if (f.number == 2 && f.wire == 0) {
            fits &= add_dim(&desc.shape, f.value);
        } else if (f.number == 2 && f.wire == 2) { /* packed */
            kerf_rd in = kerf_wire_inside(&f);

            while (in.left > 0 && !in.bad && fits)
                fits &= add_dim(&desc.shape, kerf_wire_varint(&in));
            r.bad |= in.bad;
        }
    }
    if (r.bad)
        return KERF_ECORRUPT;
    if (!fits)
        return KERF_ENOTSUP;
    *out = desc;
    return KERF_OK;
}

/* Makes room for one more element of size bytes. */
static kerf_err
grow(void **at, size_t count, size_t most, size_t size)
{
    void *bigger;

    if (count >= most)
        return KERF_ETOOBIG;
    if ((count & (count - 1)) != 0) /* room doubles at powers of two */
        return KERF_OK;
    bigger = realloc(*at, (count == 0 ? 1 : 2 * count) * size);
    if (bigger == NULL)
        return KERF_ENOMEM;
    *at = bigger;
    return KERF_OK;
}

static kerf_err
read_block(kerf_pdmodel *p, const kerf_wire_field *at)
{
    kerf_pd_block block = {.bytes = at->bytes,
                           .len = at->len,
                           .first_var = (uint32_t)p->var_count,
                           .first_op = (uint32_t)p->op_count};
    kerf_rd r = kerf_wire_inside(at);
    void *room = p->block;
    kerf_err err =
        grow(&room, p->block_count, KERF_PDMODEL_BLOCKS_MAX, sizeof block);
    kerf_wire_field f;

    p->block = room;
    while (err == KERF_OK && kerf_wire_next(&r, &f)) {
        if (f.number == 3 && f.wire == 2)
            err = read_var(p, &f);
        else if (f.number == 4 && f.wire == 2)
            err = read_op(p, &f);
    }
    if (err != KERF_OK || r.bad)
        return err != KERF_OK ? err : KERF_ECORRUPT;
    block.var_count = (uint32_t)p->var_count - block.first_var;
    block.op_count = (uint32_t)p->op_count - block.first_op;
    p->block[p->block_count++] = block;
    return KERF_OK;
}

/* VarType: 1 the kind, 3 {1 TensorDesc}. A rank that we cannot have leaves the
 * tensor unknown. */
static kerf_err
read_type(kerf_rd r, uint64_t *kind, kerf_pd_desc *desc)
{
    kerf_err err = KERF_OK;
    kerf_wire_field f, g;

    while (err == KERF_OK && kerf_wire_next(&r, &f)) {
        kerf_rd in = kerf_wire_inside(&f);

        if (f.number == 1 && f.wire == 0)
            *kind = f.value;
        if (f.number != 3 || f.wire != 2)
            continue;
        while (err == KERF_OK && kerf_wire_next(&in, &g)) {
            if (g.number == 1 && g.wire == 2)
                err = kerf_pd_desc_read(desc, g.bytes, g.len);
            if (err == KERF_ENOTSUP)
                err = KERF_OK;
        }
        r.bad |= in.bad;
    }
    return err == KERF_OK && r.bad ? KERF_ECORRUPT : err;
}

static bool
is_name(const kerf_pd_text *text)
{
    return text->len > 0 && memchr(text->at, 0, text->len) == NULL;
}

static kerf_err
read_var(kerf_pdmodel *p, const kerf_wire_field *at)
{
    kerf_pd_var var = {.whole = at->whole, .whole_len = at->whole_len};
    kerf_rd r = kerf_wire_inside(at);
    void *room = p->var;
    kerf_err err = grow(&room, p->var_count, KERF_PDMODEL_VARS_MAX, sizeof var);
    kerf_wire_field f;

    p->var = room;
    while (err == KERF_OK && kerf_wire_next(&r, &f)) {
        if (f.number == 1 && f.wire == 2)
            var.name = (kerf_pd_text){(const char *)f.bytes, f.len};
        else if (f.number == 2 && f.wire == 2)
            err = read_type(kerf_wire_inside(&f), &var.kind, &var.desc);
        else if (f.number == 3 && f.wire == 0)
            var.is_persistable = f.value != 0;
    }
    if (err != KERF_OK || r.bad || !is_name(&var.name))
        return err != KERF_OK ? err : KERF_ECORRUPT;
    p->var[p->var_count++] = var;
    return KERF_OK;
}

static kerf_err
read_op(kerf_pdmodel *p, const kerf_wire_field *at)
{
    kerf_pd_op op = {.bytes = at->bytes, .len = at->len};
    kerf_rd r = kerf_wire_inside(at);
    void *room = p->op;
    kerf_err err = grow(&room, p->op_count, KERF_PDMODEL_OPS_MAX, sizeof op);
    kerf_wire_field f;

    p->op = room;
    while (kerf_wire_next(&r, &f)) {
        if (f.number == 3 && f.wire == 2)
            op.type = (kerf_pd_text){(const char *)f.bytes, f.len};
    }
    if (err != KERF_OK || r.bad || !is_name(&op.type))
        return err != KERF_OK ? err : KERF_ECORRUPT;
    p->op[p->op_count++] = op;
    return KERF_OK;
}

bool
kerf_pd_var_is_param(const kerf_pd_var *var)
{
    return var->is_persistable && var->kind == KERF_PD_TENSOR;
}

int
kerf_pd_text_compare(const kerf_pd_text *a, const kerf_pd_text *b)
{
    size_t n = a->len < b->len ? a->len : b->len;
    int order = n == 0 ? 0 : memcmp(a->at, b->at, n);

    return order != 0 ? order : (a->len > b->len) - (a->len < b->len);
}

bool
kerf_pd_text_is(const kerf_pd_text *a, const char *text)
{
    size_t len = strlen(text);

    return a->len == len && (len == 0 || memcmp(a->at, text, len) == 0);
}

char *
kerf_pd_text_safe(char out[KERF_PD_SAFE], const kerf_pd_text *text)
{
    char raw[KERF_PD_SAFE] = "";
    size_t len = text->len < sizeof raw ? text->len : sizeof raw - 1;

    if (len > 0)
        memcpy(raw, text->at, len);
    return kerf_text_safe(out, KERF_PD_SAFE, raw);
}

static int
compare(const void *a, const void *b)
{
    return kerf_pd_text_compare(&((const kerf_pd_param *)a)->name,
                                &((const kerf_pd_param *)b)->name);
}

/* What the .pdiparams has a record for: persistable tensors of all blocks. A
 * parameter that several blocks declare has one. */
static kerf_err
find_params(kerf_pdmodel *p)
{
    void *room = NULL;
    size_t kept = 0;
    kerf_err err = KERF_OK;

    for (size_t i = 0; i < p->var_count; i++) {
        const kerf_pd_var *var = &p->var[i];

        if (!kerf_pd_var_is_param(var))
            continue;
        err = grow(&room, p->param_count, KERF_PDMODEL_PARAMS_MAX,
                   sizeof *p->param);
        p->param = room;
        if (err != KERF_OK)
            return err;
        p->param[p->param_count++] = (kerf_pd_param){var->name, var->desc};
    }
    if (p->param_count == 0)
        return KERF_OK;
    qsort(p->param, p->param_count, sizeof *p->param, compare);
    for (size_t i = 1; i < p->param_count; i++) {
        if (compare(&p->param[kept], &p->param[i]) != 0)
            p->param[++kept] = p->param[i];
    }
    p->param_count = kept + 1;
    return KERF_OK;
}
