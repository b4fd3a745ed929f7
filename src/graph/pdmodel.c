#include "graph/pdmodel.h"

#include "graph/wire.h"

#include <stdlib.h>
#include <string.h>

/* framework.proto: VarType.Type */
enum {
    PD_BOOL = 0,
    PD_INT16 = 1,
    PD_INT32 = 2,
    PD_INT64 = 3,
    PD_FP16 = 4,
    PD_FP32 = 5,
    PD_FP64 = 6,
    PD_DENSE_TENSOR = 7,
    PD_UINT8 = 20,
    PD_INT8 = 21,
    PD_BF16 = 22,
};

static kerf_err read_block(kerf_pdmodel *p, kerf_rd r);
static kerf_err read_var(kerf_pdmodel *p, kerf_rd r);
static kerf_err read_op(kerf_pdmodel *p, kerf_rd r);
static void sort_params(kerf_pdmodel *p);

kerf_err
kerf_pdmodel_open(kerf_pdmodel *p, const void *data, size_t len,
                  kerf_detail *why)
{
    kerf_rd r = {.at = data, .left = len};
    kerf_pdmodel new = {0};
    kerf_err err = KERF_OK;
    size_t blocks = 0;
    kerf_wire_field f;

    while (err == KERF_OK && kerf_wire_next(&r, &f)) {
        if (f.number == 1 && f.wire == 2) {
            err = read_block(&new, kerf_wire_inside(&f));
            blocks++;
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
    if (err == KERF_OK && (r.bad || blocks == 0))
        err = KERF_ECORRUPT;
    if (err != KERF_OK) {
        kerf_pdmodel_close(&new);
        return kerf_fail(why, err,
                         "the .pdmodel is not a whole Paddle "
                         "program: %s",
                         kerf_err_text(err));
    }
    sort_params(&new);
    *p = new;
    return KERF_OK;
}

void
kerf_pdmodel_close(kerf_pdmodel *p)
{
    free(p->param);
    free(p->op);
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
read_block(kerf_pdmodel *p, kerf_rd r)
{
    kerf_err err = KERF_OK;
    kerf_wire_field f;

    while (err == KERF_OK && kerf_wire_next(&r, &f)) {
        if (f.number == 3 && f.wire == 2)
            err = read_var(p, kerf_wire_inside(&f));
        else if (f.number == 4 && f.wire == 2)
            err = read_op(p, kerf_wire_inside(&f));
    }
    return err == KERF_OK && r.bad ? KERF_ECORRUPT : err;
}

/* VarType: 1 the kind, 3 {1 TensorDesc}. */
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
        }
        r.bad |= in.bad;
    }
    return err == KERF_OK && r.bad ? KERF_ECORRUPT : err;
}

/* Keeps what the .pdiparams has a record for: persistable tensors. */
static kerf_err
read_var(kerf_pdmodel *p, kerf_rd r)
{
    kerf_pd_param param = {0};
    bool is_kept = false;
    uint64_t kind = 0;
    kerf_err err = KERF_OK;
    void *room = p->param;
    kerf_wire_field f;

    while (err == KERF_OK && kerf_wire_next(&r, &f)) {
        if (f.number == 1 && f.wire == 2)
            param.name = (kerf_pd_text){(const char *)f.bytes, f.len};
        else if (f.number == 2 && f.wire == 2)
            err = read_type(kerf_wire_inside(&f), &kind, &param.desc);
        else if (f.number == 3 && f.wire == 0)
            is_kept = f.value != 0;
    }
    if (err == KERF_OK && r.bad)
        err = KERF_ECORRUPT;
    if (err != KERF_OK || !is_kept || kind != PD_DENSE_TENSOR)
        return err;
    err = grow(&room, p->param_count, KERF_PDMODEL_PARAMS_MAX, sizeof param);
    if (err != KERF_OK)
        return err;
    p->param = room;
    p->param[p->param_count++] = param;
    return KERF_OK;
}

static kerf_err
read_op(kerf_pdmodel *p, kerf_rd r)
{
    kerf_pd_text type = {0};
    void *room = p->op;
    kerf_wire_field f;
    kerf_err err;

    while (kerf_wire_next(&r, &f)) {
        if (f.number == 3 && f.wire == 2)
            type = (kerf_pd_text){(const char *)f.bytes, f.len};
    }
    if (r.bad)
        return KERF_ECORRUPT;
    err = grow(&room, p->op_count, KERF_PDMODEL_OPS_MAX, sizeof type);
    if (err != KERF_OK)
        return err;
    p->op = room;
    p->op[p->op_count++] = type;
    return KERF_OK;
}

static int
compare(const void *a, const void *b)
{
    const kerf_pd_text *x = &((const kerf_pd_param *)a)->name;
    const kerf_pd_text *y = &((const kerf_pd_param *)b)->name;
    size_t n = x->len < y->len ? x->len : y->len;
    int order = n == 0 ? 0 : memcmp(x->at, y->at, n);

    return order != 0 ? order : (x->len > y->len) - (x->len < y->len);
}

/* A parameter that several blocks declare has one record. */
static void
sort_params(kerf_pdmodel *p)
{
    size_t kept = 0;

    if (p->param_count == 0)
        return;
    qsort(p->param, p->param_count, sizeof *p->param, compare);
    for (size_t i = 1; i < p->param_count; i++) {
        if (compare(&p->param[kept], &p->param[i]) != 0)
            p->param[++kept] = p->param[i];
    }
    p->param_count = kept + 1;
}
