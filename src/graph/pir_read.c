#include "graph/pir_own.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static const struct {
    const char *type, *name; /* of a tensor, of an attribute */
    kerf_pir_dtype dtype;
} dtypes[] = {
    {"0.t_bool", "bool", KERF_PIR_BOOL_TENSOR},
    {"0.t_i16", "int16", 1},
    {"0.t_i32", "int32", KERF_PIR_I32},
    {"0.t_i64", "int64", KERF_PIR_I64},
    {"0.t_f16", "float16", 4},
    {"0.t_f32", "float32", KERF_PIR_F32},
    {"0.t_f64", "float64", 6},
    {"0.t_ui8", "uint8", 20},
    {"0.t_i8", "int8", 21},
    {"0.t_bf16", "bfloat16", 22},
};

const char *
kerf_pir_id(const json_t *object)
{
    const char *id = json_string_value(json_object_get(object, "#"));

    return id == NULL ? "" : id;
}

const json_t *
kerf_pir_attr_of(const json_t *op, const char *name)
{
    const json_t *attrs = json_object_get(op, "A");

    for (size_t i = 0; i < json_array_size(attrs); i++) {
        const json_t *attr = json_array_get(attrs, i);
        const char *n = json_string_value(json_object_get(attr, "N"));

        if (n != NULL && strcmp(n, name) == 0)
            return json_object_get(attr, "AT");
    }
    return NULL;
}

static kerf_pir_number
from_whole(json_int_t whole)
{
    return (kerf_pir_number){
        .real = (double)whole, .whole = whole, .is_whole = true};
}

/* Reals that are whole numbers count as such: "1.full" holds every kind of
 * number as a real. */
static kerf_pir_number
from_real(double real)
{
    kerf_pir_number n = {.real = real};

    if (fabs(real) < 0x1p62 && real == floor(real)) {
        n.whole = (int64_t)real;
        n.is_whole = true;
    }
    return n;
}

/* {"#": "0.a_f32", "D": 0.5}; "VD" instead of "D": what JSON has no word for.
 */
static kerf_err
read_number(const json_t *at, kerf_pir_number *out)
{
    const json_t *data = json_object_get(at, "D");
    const char *id = kerf_pir_id(at);
    const char *odd = json_string_value(json_object_get(at, "VD"));

    if (strcmp(id, "0.a_f32") == 0 || strcmp(id, "0.a_f64") == 0) {
        if (odd != NULL && strcmp(odd, "INF") == 0)
            *out = (kerf_pir_number){.real = INFINITY};
        else if (odd != NULL && strcmp(odd, "-INF") == 0)
            *out = (kerf_pir_number){.real = -INFINITY};
        else if (odd != NULL && strcmp(odd, "NAN") == 0)
            *out = (kerf_pir_number){.real = NAN};
        else if (json_is_number(data))
            *out = from_real(json_number_value(data));
        else
            return KERF_ECORRUPT;
        return KERF_OK;
    }
    if (strcmp(id, "0.a_bool") == 0) {
        *out = from_whole(json_is_true(data));
        return json_is_boolean(data) ? KERF_OK : KERF_ECORRUPT;
    }
    if (strcmp(id, "0.a_i32") == 0 || strcmp(id, "0.a_i64") == 0 ||
        strcmp(id, "0.a_index") == 0) {
        *out = from_whole(json_integer_value(data));
        return json_is_integer(data) ? KERF_OK : KERF_ECORRUPT;
    }
    return *id == '\0' ? KERF_ECORRUPT : KERF_ENOTSUP;
}

/* ["float32", 0.5], the inside of "1.a_scalar". */
static kerf_err
read_scalar(const json_t *data, kerf_pir_number *out)
{
    const char *dtype = json_string_value(json_array_get(data, 0));
    const json_t *value = json_array_get(data, 1);

    if (dtype == NULL || json_array_size(data) != 2)
        return KERF_ECORRUPT;
    if (strcmp(dtype, "bool") == 0 && json_is_boolean(value))
        *out = from_whole(json_is_true(value));
    else if (strstr(dtype, "16") != NULL) /* bits, of float16 too */
        return KERF_ENOTSUP;
    else if (json_is_integer(value))
        *out = from_whole(json_integer_value(value));
    else if (json_is_real(value))
        *out = from_real(json_real_value(value));
    else
        return KERF_ECORRUPT;
    return KERF_OK;
}

static kerf_err
read_dtype(const json_t *data, kerf_pir_number *out)
{
    const char *name = json_string_value(data);

    if (name == NULL)
        return KERF_ECORRUPT;
    if (strncmp(name, "Undefined", 9) == 0) {
        *out = from_whole(KERF_PIR_UNDEFINED);
        return KERF_OK;
    }
    for (size_t i = 0; i < sizeof dtypes / sizeof *dtypes; i++) {
        if (strcmp(dtypes[i].name, name) == 0) {
            *out = from_whole(dtypes[i].dtype);
            return KERF_OK;
        }
    }
    return KERF_ENOTSUP;
}

kerf_err
kerf_pir_values_room(kerf_pir_values *out, size_t count)
{
    out->at = calloc(count == 0 ? 1 : count, sizeof *out->at);
    out->count = out->at == NULL ? 0 : count;
    return out->at == NULL ? KERF_ENOMEM : KERF_OK;
}

/* A list of attributes, or of plain whole numbers ("1.a_intarray"). */
static kerf_err
read_list(const json_t *list, bool plain, kerf_pir_values *out)
{
    kerf_err err;

    if (!json_is_array(list))
        return KERF_ECORRUPT;
    err = kerf_pir_values_room(out, json_array_size(list));
    for (size_t i = 0; err == KERF_OK && i < out->count; i++) {
        const json_t *item = json_array_get(list, i);

        if (!plain)
            err = read_number(item, &out->at[i]);
        else if (json_is_integer(item))
            out->at[i] = from_whole(json_integer_value(item));
        else
            err = KERF_ECORRUPT;
    }
    return err;
}

kerf_err
kerf_pir_read_values(const json_t *at, kerf_pir_values *out)
{
    const json_t *data = json_object_get(at, "D");
    const char *id = kerf_pir_id(at);
    kerf_err err;

    *out = (kerf_pir_values){0};
    if (strcmp(id, "0.a_array") == 0)
        return read_list(data, false, out);
    if (strcmp(id, "1.a_intarray") == 0)
        return read_list(data, true, out);
    if (strcmp(id, "0.a_str") == 0) {
        out->text = json_string_value(data);
        return out->text == NULL ? KERF_ECORRUPT : KERF_OK;
    }
    err = kerf_pir_values_room(out, 1);
    if (err != KERF_OK)
        return err;
    if (strcmp(id, "1.a_dtype") == 0)
        return read_dtype(data, out->at);
    if (strcmp(id, "1.a_scalar") == 0)
        return read_scalar(data, out->at);
    return read_number(at, out->at);
}

void
kerf_pir_values_fini(kerf_pir_values *values)
{
    free(values->at);
    *values = (kerf_pir_values){0};
}

bool
kerf_pir_is_nothing(const json_t *type)
{
    return strcmp(kerf_pir_id(type), "NULL") == 0 ||
           strcmp(kerf_pir_id(type), "0.t_null") == 0;
}

/* {"#": "0.t_dtensor", "D": [{"#": "0.t_f32"}, [1, 3], "NCHW", [], 0]} */
kerf_err
kerf_pir_read_tensor(const json_t *type, kerf_pir_tensor *out)
{
    const json_t *data = json_object_get(type, "D");
    const json_t *dims = json_array_get(data, 1);
    const char *element = kerf_pir_id(json_array_get(data, 0));
    kerf_pir_tensor t = {.dtype = KERF_PIR_UNDEFINED};

    if (*kerf_pir_id(type) == '\0')
        return KERF_ECORRUPT;
    if (strcmp(kerf_pir_id(type), "0.t_dtensor") != 0)
        return KERF_ENOTSUP;
    for (size_t i = 0; i < sizeof dtypes / sizeof *dtypes; i++) {
        if (strcmp(dtypes[i].type, element) == 0)
            t.dtype = dtypes[i].dtype;
    }
    if (!json_is_array(dims) || *element == '\0')
        return KERF_ECORRUPT;
    if (t.dtype == KERF_PIR_UNDEFINED || json_array_size(dims) > KERF_RANK_MAX)
        return KERF_ENOTSUP;
    for (size_t i = 0; i < json_array_size(dims); i++) {
        const json_t *dim = json_array_get(dims, i);

        if (!json_is_integer(dim) || json_integer_value(dim) < -1)
            return KERF_ECORRUPT;
        t.shape.dims[t.shape.rank++] = json_integer_value(dim);
    }
    *out = t;
    return KERF_OK;
}
