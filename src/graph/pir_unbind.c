/*
 * 1.unbind and 1.unstack: a tensor taken apart along an axis. The old op for it
 * (unstack) is one that engines read only when every size is known, so each
 * part becomes a slice.
 */
#include "graph/pir_own.h"

#include <stdio.h>
#include <stdlib.h>

/* What is taken apart. */
typedef struct whole {
    kerf_pir *p;
    const char *name;
    int64_t axis; /* from the front */
} whole;

static void
put_ints(kerf_rope *attrs, const char *name, int64_t value)
{
    kerf_pir_number one = {.whole = value, .is_whole = true};
    kerf_pir_values values = {.at = &one, .count = 1};

    (void)kerf_pir_put_attr(attrs, name, KERF_PIR_INTS, &values);
}

static void
put_slice(const whole *w, size_t i, const char *to)
{
    kerf_rope args = {0}, attrs = {0};

    kerf_pir_put_arg(&args, KERF_PIR_INPUTS, "Input", w->name);
    kerf_pir_put_arg(&args, KERF_PIR_OUTPUTS, "Out", to);
    put_ints(&attrs, "axes", w->axis);
    put_ints(&attrs, "starts", (int64_t)i);
    put_ints(&attrs, "ends", (int64_t)i + 1);
    put_ints(&attrs, "infer_flags", 1);
    put_ints(&attrs, "decrease_axis", w->axis);
    kerf_pir_put_op(&w->p->body, "slice", &args, &attrs);
}

static kerf_err
open_whole(whole *w, const json_t *op)
{
    kerf_pir *p = w->p;
    kerf_pir_values axis = {0};
    uint32_t number = 0;
    int64_t rank;
    kerf_err err = kerf_pir_number_of(
        p, json_array_get(json_object_get(op, "I"), 0), &number);

    if (err == KERF_OK)
        err = kerf_pir_variable(p, number, &w->name);
    if (err != KERF_OK)
        return err;
    rank = p->value[number].type.shape.rank;
    err = kerf_pir_read_values(kerf_pir_attr_of(op, "axis"), &axis);
    if (err == KERF_OK && (axis.count != 1 || axis.at[0].whole < -rank ||
                           axis.at[0].whole >= rank))
        err = KERF_ECORRUPT;
    if (err == KERF_OK)
        w->axis = axis.at[0].whole + (axis.at[0].whole < 0 ? rank : 0);
    else if (err != KERF_ENOMEM)
        err = kerf_pir_fail(p, err, "attribute 'axis'");
    kerf_pir_values_fini(&axis);
    return err;
}

static kerf_err
put_pieces(const whole *w, const json_t *types, const char *base,
           uint32_t *elem)
{
    kerf_err err = KERF_OK;

    for (size_t i = 0; i < json_array_size(types) && err == KERF_OK; i++) {
        char text[KERF_PIR_NAME_MAX];
        const char *name;

        (void)snprintf(text, sizeof text, "%.100s.%zu", base, i);
        name = kerf_pir_name(w->p, text);
        if (name == NULL)
            return KERF_ENOMEM;
        err = kerf_pir_add_value(w->p, &elem[i]);
        if (err == KERF_OK)
            err = kerf_pir_define(w->p, elem[i], name, KERF_PIR_VAR_VALUE,
                                  json_array_get(types, i));
        if (err == KERF_OK)
            put_slice(w, i, name);
    }
    return err;
}

kerf_err
kerf_pir_unbind(kerf_pir *p, const json_t *op)
{
    const json_t *result = json_array_get(json_object_get(op, "O"), 0);
    const json_t *types = json_object_get(json_object_get(result, "TT"), "D");
    size_t count = json_array_size(types);
    whole w = {.p = p};
    uint32_t number = 0;
    uint32_t *elem;
    const char *base;
    kerf_err err = open_whole(&w, op);

    if (err == KERF_OK)
        err = kerf_pir_number_of(p, result, &number);
    if (err == KERF_OK)
        err = kerf_pir_check_new(p, number);
    if (err != KERF_OK)
        return err;
    if (count == 0 || count > KERF_PIR_LIST_MAX)
        return kerf_pir_fail(p, KERF_ECORRUPT, "a list of %zu results", count);
    elem = calloc(count, sizeof *elem);
    base = kerf_pir_name_op(p, "unbind");
    err = elem == NULL || base == NULL ? KERF_ENOMEM
                                       : put_pieces(&w, types, base, elem);
    if (err != KERF_OK) {
        free(elem);
        return err;
    }
    p->value[number] = (kerf_pir_value){
        .kind = KERF_PIR_LIST, .elem = elem, .elem_count = count};
    return KERF_OK;
}
