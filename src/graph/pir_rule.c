#include "graph/pir_own.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* One op on its way. */
typedef struct call {
    kerf_pir *p;
    const json_t *op;
    const kerf_pir_rule *rule;
    kerf_rope args, attrs;
    const char *empty;   /* the old attribute that got no elements, or NULL */
    bool is_last_absent; /* operand */
    bool is_of_scalars;  /* so rule->of_scalars is what it becomes */
    const char *base;    /* name of the first result */
    uint32_t shape;      /* result of rule->gives_i32 that wants a cast, or 0 */
    const char *shape_name;
} call;

static kerf_err take_operand(call *c, const kerf_pir_in *in, size_t i);
static kerf_err take_results(call *c);
static kerf_err take_attrs(call *c);
static kerf_err check_attrs(call *c);
static kerf_err put_shape_cast(call *c);

static size_t
count_in(const kerf_pir_rule *rule)
{
    size_t n = 0;

    while (n < KERF_PIR_IN_MAX &&
           (rule->in[n].name != NULL || rule->in[n].list != NULL ||
            rule->in[n].attr != NULL || rule->in[n].is_ignored))
        n++;
    return n;
}

static const json_t *
type_of_result(const call *c)
{
    const json_t *results = json_object_get(c->op, "O");

    return json_object_get(json_array_get(results, 0), "TT");
}

static size_t
count_out(const kerf_pir_rule *rule)
{
    size_t n = 0;

    while (n < KERF_PIR_OUT_MAX &&
           (rule->out[n].name != NULL || rule->out[n].is_dropped))
        n++;
    return n;
}

static const char *
old_op(const call *c)
{
    if (c->is_of_scalars)
        return c->rule->of_scalars;
    return c->is_last_absent && c->rule->without != NULL ? c->rule->without
                                                         : c->rule->old;
}

kerf_err
kerf_pir_apply(kerf_pir *p, const json_t *op, const kerf_pir_rule *rule)
{
    call c = {.p = p, .op = op, .rule = rule};
    const json_t *operands = json_object_get(op, "I");
    size_t count = count_in(rule);
    kerf_err err = KERF_OK;

    if (json_array_size(operands) > count)
        err = kerf_pir_fail(p, KERF_ENOTSUP, "%zu operands, known are %zu",
                            json_array_size(operands), count);
    for (size_t i = 0; err == KERF_OK && i < count; i++)
        err = take_operand(&c, &rule->in[i], i);
    if (err == KERF_OK)
        err = take_results(&c);
    if (err == KERF_OK)
        err = take_attrs(&c);
    if (err == KERF_OK)
        err = check_attrs(&c);
    if (err == KERF_OK) {
        kerf_pir_put_op(&p->body, old_op(&c), &c.args, &c.attrs);
        err = put_shape_cast(&c);
    }
    kerf_rope_fini(&c.args);
    kerf_rope_fini(&c.attrs);
    return err;
}

/* ---- operands ----------------------------------------------------------- */

static void
put_cast(kerf_pir *p, const char *from, kerf_pir_dtype from_dtype,
         const char *to, kerf_pir_dtype to_dtype)
{
    kerf_rope args = {0}, attrs = {0};

    kerf_pir_put_arg(&args, KERF_PIR_INPUTS, "X", from);
    kerf_pir_put_arg(&args, KERF_PIR_OUTPUTS, "Out", to);
    kerf_pir_put_attr_int(&attrs, "in_dtype", from_dtype);
    kerf_pir_put_attr_int(&attrs, "out_dtype", to_dtype);
    kerf_pir_put_op(&p->body, "cast", &args, &attrs);
}

/* *name becomes a variable of that dtype with the value of number. */
static kerf_err
cast_operand(kerf_pir *p, uint32_t number, kerf_pir_dtype dtype,
             const char **name)
{
    kerf_pir_tensor type = p->value[number].type;
    const char *to;

    if (type.dtype == dtype)
        return KERF_OK;
    to = kerf_pir_name_op(p, "cast");
    if (to == NULL)
        return KERF_ENOMEM;
    put_cast(p, *name, type.dtype, to, dtype);
    type.dtype = dtype;
    kerf_pir_put_var(&p->vars, to, KERF_PIR_VAR_VALUE, &type);
    *name = to;
    return KERF_OK;
}

/* The numbers of a constant, or of a list of constants. *is_known: they are
 * that; false is no error. */
static kerf_err
read_known(kerf_pir *p, uint32_t number, kerf_pir_values *out, bool *is_known)
{
    const kerf_pir_value *v = &p->value[number];
    kerf_err err = KERF_OK;

    *out = (kerf_pir_values){0};
    *is_known = false;
    if (v->kind == KERF_PIR_CONSTANT) {
        err = kerf_pir_read_constant(v->op, out);
        *is_known = err == KERF_OK;
        return err == KERF_ENOTSUP ? KERF_OK : err;
    }
    if (v->kind != KERF_PIR_LIST)
        return KERF_OK;
    for (size_t i = 0; i < v->elem_count; i++) {
        if (p->value[v->elem[i]].kind != KERF_PIR_CONSTANT)
            return KERF_OK;
    }
    out->at = calloc(v->elem_count + 1, sizeof *out->at);
    if (out->at == NULL)
        return KERF_ENOMEM;
    for (size_t i = 0; err == KERF_OK && i < v->elem_count; i++) {
        kerf_pir_values one = {0};

        err = kerf_pir_read_constant(p->value[v->elem[i]].op, &one);
        if (err == KERF_OK && one.count == 1)
            out->at[out->count++] = one.at[0];
        kerf_pir_values_fini(&one);
    }
    *is_known = err == KERF_OK && out->count == v->elem_count;
    return err == KERF_ENOTSUP ? KERF_OK : err;
}

static kerf_err
put_attr(call *c, const char *name, kerf_pir_type type,
         const kerf_pir_values *values)
{
    if (!kerf_pir_put_attr(&c->attrs, name, type, values))
        return kerf_pir_fail(c->p, KERF_ENOTSUP,
                             "its '%s' does not fit the old op", name);
    if (values->text == NULL && values->count == 0)
        c->empty = name;
    return KERF_OK;
}

static bool
are_scalars(const kerf_pir *p, const kerf_pir_value *list)
{
    for (size_t i = 0; i < list->elem_count; i++) {
        const kerf_pir_value *v = &p->value[list->elem[i]];

        if (v->kind == KERF_PIR_LIST || v->type.shape.rank != 0)
            return false;
    }
    return list->elem_count > 0;
}

/* *name becomes a variable [1] with the value of the scalar `number`. */
static kerf_err
flatten_scalar(kerf_pir *p, uint32_t number, const char **name)
{
    kerf_pir_number one = {.whole = 1, .is_whole = true};
    kerf_pir_values shape = {.at = &one, .count = 1};
    kerf_pir_tensor type = p->value[number].type;
    kerf_rope args = {0}, attrs = {0};
    const char *to = kerf_pir_name_op(p, "reshape2");

    if (to == NULL)
        return KERF_ENOMEM;
    type.shape = (kerf_shape){.rank = 1, .dims = {1}};
    kerf_pir_put_arg(&args, KERF_PIR_INPUTS, "X", *name);
    kerf_pir_put_arg(&args, KERF_PIR_OUTPUTS, "Out", to);
    (void)kerf_pir_put_attr(&attrs, "shape", KERF_PIR_INTS, &shape);
    kerf_pir_put_op(&p->body, "reshape2", &args, &attrs);
    kerf_pir_put_var(&p->vars, to, KERF_PIR_VAR_VALUE, &type);
    *name = to;
    return KERF_OK;
}

static kerf_err
put_list(call *c, const kerf_pir_in *in, uint32_t number)
{
    kerf_pir *p = c->p;
    size_t count = p->value[number].elem_count;
    const char **name;
    kerf_err err = KERF_OK;

    if (in->list == NULL && in->attr == NULL)
        return kerf_pir_fail(p, KERF_ECORRUPT,
                             "value %u is a list, a tensor is expected",
                             number);
    if (in->list == NULL)
        return kerf_pir_fail(p, KERF_ENOTSUP, "its '%s' is a computed list",
                             in->attr);
    name = calloc(count + 1, sizeof *name);
    if (name == NULL)
        return KERF_ENOMEM;
    c->is_of_scalars =
        c->rule->of_scalars != NULL && are_scalars(p, &p->value[number]);
    for (size_t i = 0; err == KERF_OK && i < count; i++) {
        err = kerf_pir_variable(p, p->value[number].elem[i], &name[i]);
        if (err == KERF_OK && c->is_of_scalars)
            err = flatten_scalar(p, p->value[number].elem[i], &name[i]);
    }
    if (err == KERF_OK)
        kerf_pir_put_args(&c->args, KERF_PIR_INPUTS, in->list, name, count);
    free(name);
    return err;
}

static kerf_err
put_tensor(call *c, const kerf_pir_in *in, uint32_t number)
{
    const char *name;
    kerf_pir_tensor result = {0};
    kerf_err err;

    if (in->name == NULL && in->attr == NULL)
        return kerf_pir_fail(c->p, KERF_ECORRUPT,
                             "value %u is no list, one is expected", number);
    if (in->name == NULL)
        return kerf_pir_fail(c->p, KERF_ENOTSUP,
                             "its '%s' is computed, a constant is expected",
                             in->attr);
    err = kerf_pir_variable(c->p, number, &name);
    if (err == KERF_OK && in->is_i32)
        err = cast_operand(c->p, number, KERF_PIR_I32, &name);
    if (err == KERF_OK && c->rule->is_typed) {
        err = kerf_pir_read_tensor(type_of_result(c), &result);
        if (err != KERF_OK)
            err = kerf_pir_fail(c->p, err, "its result is no tensor");
        else
            err = cast_operand(c->p, number, result.dtype, &name);
    }
    if (err == KERF_OK)
        kerf_pir_put_arg(&c->args, KERF_PIR_INPUTS, in->name, name);
    return err;
}

/* Engines want an axis that counts from the front. */
static void
turn_axis(call *c, kerf_pir_values *axis)
{
    const json_t *ref = json_array_get(json_object_get(c->op, "I"), 0);
    uint32_t number = 0;

    if (kerf_pir_number_of(c->p, ref, &number) == KERF_OK && axis->count == 1 &&
        axis->at[0].whole < 0)
        axis->at[0].whole += c->p->value[number].type.shape.rank;
}

static kerf_err
take_operand(call *c, const kerf_pir_in *in, size_t i)
{
    const json_t *ref = json_array_get(json_object_get(c->op, "I"), i);
    kerf_pir_values known = {0};
    bool is_known = false;
    uint32_t number = 0;
    kerf_err err = KERF_OK;

    if (ref != NULL)
        err = kerf_pir_number_of(c->p, ref, &number);
    if (err != KERF_OK)
        return err;
    c->is_last_absent = number == 0;
    if (in->is_ignored || (number == 0 && in->is_optional))
        return KERF_OK;
    if (number == 0)
        return kerf_pir_fail(c->p, KERF_ECORRUPT, "operand %zu is missing", i);
    if (in->attr != NULL)
        err = read_known(c->p, number, &known, &is_known);
    if (err != KERF_OK) {
        err =
            kerf_pir_fail(c->p, err, "operand %zu: %s", i, kerf_err_text(err));
        goto out;
    }
    if (is_known && in->is_axis)
        turn_axis(c, &known);
    if (is_known) {
        err = put_attr(c, in->attr, in->type, &known);
        goto out;
    }
    /* Readers ask for lists even where a tensor takes their place. */
    kerf_pir_values_fini(&known);
    if (in->attr != NULL &&
        (in->type == KERF_PIR_INTS || in->type == KERF_PIR_LONGS))
        (void)kerf_pir_put_attr(&c->attrs, in->attr, in->type, &known);
    if (c->p->value[number].kind == KERF_PIR_LIST)
        err = put_list(c, in, number);
    else
        err = put_tensor(c, in, number);
out:
    kerf_pir_values_fini(&known);
    return err;
}

/* ---- results ------------------------------------------------------------ */

/* The name of a result: its own (an output of the program), or one made of the
 * op's and the result's. */
static const char *
name_result(call *c, uint32_t number, const char *param, bool is_listed,
            size_t i)
{
    char text[KERF_PIR_NAME_MAX];
    const char *own = c->p->value[number].name;

    if (own == NULL && c->base == NULL && !is_listed) {
        own = kerf_pir_name_op(c->p, c->rule->old);
    } else if (own == NULL) {
        if (c->base == NULL)
            c->base = kerf_pir_name_op(c->p, c->rule->old);
        if (c->base == NULL)
            return NULL;
        if (is_listed)
            (void)snprintf(text, sizeof text, "%.100s.%zu", c->base, i);
        else
            (void)snprintf(text, sizeof text, "%.100s.%s", c->base, param);
        own = kerf_pir_name(c->p, text);
    }
    if (c->base == NULL)
        c->base = own;
    return own;
}

static kerf_err
take_list(call *c, uint32_t number, const char *param, const json_t *type)
{
    const json_t *types = json_object_get(type, "D");
    size_t count = json_array_size(types);
    const char **name = calloc(count + 1, sizeof *name);
    uint32_t *elem = calloc(count + 1, sizeof *elem);
    kerf_err err = KERF_OK;

    if (name == NULL || elem == NULL)
        err = KERF_ENOMEM;
    else if (count > KERF_PIR_LIST_MAX)
        err = kerf_pir_fail(c->p, KERF_ETOOBIG, "a list of %zu results", count);
    else if (c->p->value[number].kind != KERF_PIR_NOTHING)
        err = kerf_pir_fail(c->p, KERF_ECORRUPT, "value %u is given twice",
                            number);
    for (size_t i = 0; err == KERF_OK && i < count; i++) {
        err = kerf_pir_add_value(c->p, &elem[i]);
        if (err != KERF_OK)
            break;
        name[i] = name_result(c, elem[i], param, true, i);
        err = name[i] == NULL
                  ? KERF_ENOMEM
                  : kerf_pir_define(c->p, elem[i], name[i], KERF_PIR_VAR_VALUE,
                                    json_array_get(types, i));
    }
    if (err == KERF_OK) {
        kerf_pir_put_args(&c->args, KERF_PIR_OUTPUTS, param, name, count);
        c->p->value[number] = (kerf_pir_value){
            .kind = KERF_PIR_LIST, .elem = elem, .elem_count = count};
        elem = NULL;
    }
    free(elem);
    free(name);
    return err;
}

/* A result that is one of the operands (running means, which do not run here).
 */
static kerf_err
take_in_place(call *c, const kerf_pir_out *out, uint32_t number)
{
    kerf_pir *p = c->p;
    const json_t *ref =
        json_array_get(json_object_get(c->op, "I"), (size_t)out->operand);
    uint32_t operand = 0;
    const char *name;
    kerf_err err = kerf_pir_number_of(p, ref, &operand);

    if (err == KERF_OK)
        err = kerf_pir_variable(p, operand, &name);
    if (err == KERF_OK && p->value[number].kind != KERF_PIR_NOTHING)
        err =
            kerf_pir_fail(p, KERF_ECORRUPT, "value %u is given twice", number);
    if (err != KERF_OK)
        return err;
    kerf_pir_put_arg(&c->args, KERF_PIR_OUTPUTS, out->name, name);
    p->value[number] = (kerf_pir_value){.kind = KERF_PIR_TENSOR,
                                        .is_written = true,
                                        .name = name,
                                        .type = p->value[operand].type};
    return KERF_OK;
}

static kerf_err
take_result(call *c, const kerf_pir_out *out, const json_t *result)
{
    kerf_pir *p = c->p;
    const json_t *type = json_object_get(result, "TT");
    const char *id = json_string_value(json_object_get(type, "#"));
    uint32_t number;
    const char *name;
    kerf_err err;

    if (kerf_pir_is_nothing(type) || out->is_dropped)
        return KERF_OK;
    err = kerf_pir_number_of(p, result, &number);
    if (err == KERF_OK && number == 0)
        err = kerf_pir_fail(p, KERF_ECORRUPT, "a result without a number");
    if (err != KERF_OK)
        return err;
    if (out->operand > 0)
        return take_in_place(c, out, number);
    if (id != NULL && strcmp(id, "0.t_vec") == 0)
        return take_list(c, number, out->name, type);
    if (c->rule->gives_i32) {
        kerf_pir_tensor t;

        err = kerf_pir_read_tensor(type, &t);
        if (err != KERF_OK)
            return kerf_pir_fail(p, err, "its result is no tensor");
        if (t.dtype != KERF_PIR_I32) {
            t.dtype = KERF_PIR_I32;
            name = kerf_pir_name_op(p, c->rule->old);
            if (name == NULL)
                return KERF_ENOMEM;
            kerf_pir_put_var(&p->vars, name, KERF_PIR_VAR_VALUE, &t);
            kerf_pir_put_arg(&c->args, KERF_PIR_OUTPUTS, out->name, name);
            c->shape = number;
            c->shape_name = name;
            return KERF_OK;
        }
    }
    name = name_result(c, number, out->name, false, 0);
    if (name == NULL)
        return KERF_ENOMEM;
    kerf_pir_put_arg(&c->args, KERF_PIR_OUTPUTS,
                     c->is_of_scalars ? "Out" : out->name, name);
    return kerf_pir_define(p, number, name, KERF_PIR_VAR_VALUE, type);
}

static kerf_err
take_results(call *c)
{
    const json_t *results = json_object_get(c->op, "O");
    size_t count = json_array_size(results);
    kerf_err err = KERF_OK;

    if (count > count_out(c->rule))
        return kerf_pir_fail(c->p, KERF_ENOTSUP, "%zu results, known are %zu",
                             count, count_out(c->rule));
    for (size_t i = 0; err == KERF_OK && i < count; i++)
        err = take_result(c, &c->rule->out[i], json_array_get(results, i));
    return err;
}

/* The old shape op says i32 whatever is asked for. */
static kerf_err
put_shape_cast(call *c)
{
    kerf_pir *p = c->p;
    const char *name;
    kerf_err err;

    if (c->shape == 0)
        return KERF_OK;
    name = p->value[c->shape].name;
    if (name == NULL)
        name = kerf_pir_name_op(p, "cast");
    if (name == NULL)
        return KERF_ENOMEM;
    err = kerf_pir_define(p, c->shape, name, KERF_PIR_VAR_VALUE,
                          type_of_result(c));
    if (err == KERF_OK)
        put_cast(p, c->shape_name, KERF_PIR_I32, name,
                 p->value[c->shape].type.dtype);
    return err;
}

/* ---- attributes --------------------------------------------------------- */

static kerf_err
put_number(call *c, const kerf_pir_attr *attr, double value)
{
    kerf_pir_number number = {
        .real = value, .whole = (int64_t)value, .is_whole = true};
    kerf_pir_values values = {.at = &number, .count = 1};

    return put_attr(c, attr->name, attr->type, &values);
}

static kerf_err
put_ones(call *c, const kerf_pir_attr *attr, kerf_pir_values *values)
{
    for (size_t i = 0; i < values->count; i++)
        values->at[i] = (kerf_pir_number){.whole = 1, .is_whole = true};
    return put_attr(c, attr->name, attr->type, values);
}

static kerf_err
put_dtype_of_first(call *c, const kerf_pir_attr *attr)
{
    const json_t *ref = json_array_get(json_object_get(c->op, "I"), 0);
    uint32_t number = 0;
    kerf_err err = kerf_pir_number_of(c->p, ref, &number);

    if (err == KERF_OK)
        err = put_number(c, attr, c->p->value[number].type.dtype);
    return err;
}

static kerf_err
take_attr(call *c, const kerf_pir_attr *attr)
{
    const json_t *at =
        attr->pir == NULL ? NULL : kerf_pir_attr_of(c->op, attr->pir);
    kerf_pir_values values = {0};
    kerf_err err = KERF_OK;

    switch (attr->from) {
    case KERF_PIR_FROM_ROW:
        return put_number(c, attr, attr->value);
    case KERF_PIR_FROM_NOTHING:
        return put_attr(c, attr->name, attr->type, &values);
    case KERF_PIR_FROM_DTYPE:
        return put_dtype_of_first(c, attr);
    case KERF_PIR_FROM_EMPTY:
        return put_number(c, attr,
                          c->empty != NULL && attr->pir != NULL &&
                              strcmp(c->empty, attr->pir) == 0);
    case KERF_PIR_IS_IGNORED:
        return KERF_OK;
    case KERF_PIR_IS_VALUE:
    case KERF_PIR_FROM_ONES:
    case KERF_PIR_FROM_ATTR:
        break;
    }
    if (at == NULL)
        return KERF_OK;
    err = kerf_pir_read_values(at, &values);
    if (err != KERF_OK)
        err = kerf_pir_fail(c->p, err, "attribute '%s': %s", attr->pir,
                            kerf_err_text(err));
    else if (attr->from == KERF_PIR_FROM_ONES)
        err = put_ones(c, attr, &values);
    else if (attr->from == KERF_PIR_FROM_ATTR)
        err = put_attr(c, attr->name, attr->type, &values);
    else if (values.count != 1 || values.at[0].real != attr->value)
        err = kerf_pir_fail(c->p, KERF_ENOTSUP, "its '%s' is not %g", attr->pir,
                            attr->value);
    kerf_pir_values_fini(&values);
    return err;
}

static kerf_err
take_attrs(call *c)
{
    const kerf_pir_attr *attr = c->rule->attr;
    kerf_err err = KERF_OK;

    for (size_t i = 0; err == KERF_OK && i < KERF_PIR_ATTR_MAX &&
                       (attr[i].name != NULL || attr[i].pir != NULL);
         i++)
        err = take_attr(c, &attr[i]);
    return err;
}

/* Attributes that say nothing about what the op computes. */
static bool
is_remark(const char *name)
{
    static const char *const remarks[] = {
        "struct_name", "place", "op_callstack", "op_role", "op_namescope",
    };

    for (size_t i = 0; i < sizeof remarks / sizeof *remarks; i++) {
        if (strcmp(remarks[i], name) == 0)
            return true;
    }
    return false;
}

/* No attribute may be passed over. */
static kerf_err
check_attrs(call *c)
{
    const json_t *attrs = json_object_get(c->op, "A");

    for (size_t i = 0; i < json_array_size(attrs); i++) {
        const char *name =
            json_string_value(json_object_get(json_array_get(attrs, i), "N"));
        bool is_known = name != NULL && is_remark(name);

        if (name == NULL)
            return kerf_pir_fail(c->p, KERF_ECORRUPT, "attribute %zu", i);
        for (size_t k = 0; k < KERF_PIR_ATTR_MAX && !is_known; k++) {
            const char *pir = c->rule->attr[k].pir;

            is_known = pir != NULL && strcmp(pir, name) == 0;
        }
        if (!is_known)
            return kerf_pir_fail(c->p, KERF_ENOTSUP, "unknown attribute '%s'",
                                 name);
    }
    return KERF_OK;
}
