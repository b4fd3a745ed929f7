#include "graph/pir_own.h"

#include <stdlib.h>
#include <string.h>

/* A constant of one value with more elements is never an attribute. */
#define FULL_MAX 64

/* The value once for every element of the shape. */
static kerf_err
read_full(const json_t *op, kerf_pir_values *out)
{
    kerf_pir_values value = {0}, shape = {0};
    kerf_err err = kerf_pir_read_values(kerf_pir_attr_of(op, "value"), &value);
    int64_t count = 1;

    if (err == KERF_OK)
        err = kerf_pir_read_values(kerf_pir_attr_of(op, "shape"), &shape);
    if (err == KERF_OK && value.count != 1)
        err = KERF_ECORRUPT;
    for (size_t i = 0; err == KERF_OK && i < shape.count; i++) {
        if (shape.at[i].whole < 0 || shape.at[i].whole > FULL_MAX ||
            count * shape.at[i].whole > FULL_MAX)
            err = KERF_ENOTSUP;
        else
            count *= shape.at[i].whole;
    }
    if (err == KERF_OK)
        err = kerf_pir_values_room(out, (size_t)count);
    for (size_t i = 0; err == KERF_OK && i < out->count; i++)
        out->at[i] = value.at[0];
    kerf_pir_values_fini(&value);
    kerf_pir_values_fini(&shape);
    return err;
}

kerf_err
kerf_pir_read_constant(const json_t *op, kerf_pir_values *out)
{
    const char *id = kerf_pir_id(op);

    *out = (kerf_pir_values){0};
    if (strcmp(id, "1.full") == 0)
        return read_full(op, out);
    if (strcmp(id, "1.full_int_array") == 0)
        return kerf_pir_read_values(kerf_pir_attr_of(op, "value"), out);
    return kerf_pir_read_values(kerf_pir_attr_of(op, "values"), out);
}

static size_t
count_elements(const kerf_shape *shape)
{
    size_t count = 1;

    for (uint32_t i = 0; i < shape->rank; i++) {
        if (shape->dims[i] < 0 ||
            !kerf_size_mul(count, (size_t)shape->dims[i], &count))
            return SIZE_MAX;
    }
    return count;
}

static void
put_shape(kerf_rope *attrs, kerf_pir_type type, const kerf_shape *shape)
{
    kerf_pir_number dim[KERF_RANK_MAX] = {0};
    kerf_pir_values values = {.at = dim, .count = shape->rank};

    for (uint32_t i = 0; i < shape->rank; i++)
        dim[i] = (kerf_pir_number){.whole = shape->dims[i], .is_whole = true};
    (void)kerf_pir_put_attr(attrs, "shape", type, &values);
}

/* The same value everywhere. False: the old op's f32 cannot say it. */
static bool
put_fill(const json_t *op, const kerf_pir_tensor *t, kerf_rope *attrs)
{
    kerf_pir_values value = {0};
    bool is_real =
        t->dtype != KERF_PIR_I32 && t->dtype != KERF_PIR_I64; /* or fits */
    bool fits = false;

    if (kerf_pir_read_values(kerf_pir_attr_of(op, "value"), &value) ==
            KERF_OK &&
        value.count == 1 &&
        (is_real || (double)(float)value.at[0].real == value.at[0].real)) {
        put_shape(attrs, KERF_PIR_LONGS, &t->shape);
        kerf_pir_put_attr_int(attrs, "dtype", t->dtype);
        fits = kerf_pir_put_attr(attrs, "value", KERF_PIR_FLOAT, &value);
    }
    kerf_pir_values_fini(&value);
    return fits;
}

/* Value by value. */
static kerf_err
put_elements(const json_t *op, const kerf_pir_tensor *t, kerf_rope *attrs)
{
    static const struct {
        kerf_pir_dtype dtype;
        const char *name;
        kerf_pir_type type;
    } kinds[] = {
        {KERF_PIR_BOOL_TENSOR, "bool_values", KERF_PIR_INTS},
        {KERF_PIR_I32, "int32_values", KERF_PIR_INTS},
        {KERF_PIR_I64, "int64_values", KERF_PIR_LONGS},
        {KERF_PIR_F32, "fp32_values", KERF_PIR_FLOATS},
    };
    kerf_pir_values values = {0};
    kerf_err err = kerf_pir_read_constant(op, &values);

    if (err == KERF_OK && values.count != count_elements(&t->shape))
        err = KERF_ECORRUPT;
    if (err == KERF_OK) {
        put_shape(attrs, KERF_PIR_INTS, &t->shape);
        kerf_pir_put_attr_int(attrs, "dtype", t->dtype);
        err = KERF_ENOTSUP;
    }
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        if (err == KERF_ENOTSUP && kinds[i].dtype == t->dtype &&
            kerf_pir_put_attr(attrs, kinds[i].name, kinds[i].type, &values))
            err = KERF_OK;
    }
    kerf_pir_values_fini(&values);
    return err;
}

static kerf_err
write_constant(kerf_pir *p, kerf_pir_value *v)
{
    kerf_rope args = {0}, attrs = {0};
    const char *type = "assign_value";
    kerf_err err = KERF_OK;

    if (strcmp(kerf_pir_id(v->op), "1.full") == 0 &&
        put_fill(v->op, &v->type, &attrs)) {
        type = "fill_constant";
    } else {
        kerf_rope_fini(&attrs);
        err = put_elements(v->op, &v->type, &attrs);
    }
    if (err != KERF_OK) {
        kerf_rope_fini(&attrs);
        return kerf_pir_fail(p, err, "a constant that it reads: %s",
                             kerf_err_text(err));
    }
    if (v->name == NULL)
        v->name = kerf_pir_name_op(p, type);
    if (v->name == NULL) {
        kerf_rope_fini(&attrs);
        return KERF_ENOMEM;
    }
    kerf_pir_put_arg(&args, KERF_PIR_OUTPUTS, "Out", v->name);
    kerf_pir_put_op(&p->body, type, &args, &attrs);
    kerf_pir_put_var(&p->vars, v->name, KERF_PIR_VAR_VALUE, &v->type);
    v->is_written = true;
    return KERF_OK;
}

kerf_err
kerf_pir_variable(kerf_pir *p, uint32_t number, const char **name)
{
    kerf_pir_value *v = &p->value[number];
    kerf_err err = KERF_OK;

    if (v->kind == KERF_PIR_LIST)
        return kerf_pir_fail(p, KERF_ECORRUPT,
                             "value %u is a list, a tensor is expected",
                             number);
    if (v->kind == KERF_PIR_NOTHING)
        return kerf_pir_fail(p, KERF_ECORRUPT,
                             "value %u is not given before it is read", number);
    if (!v->is_written)
        err = write_constant(p, v);
    *name = v->name;
    return err;
}
