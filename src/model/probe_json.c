#include "model/probe_json.h"

#include <stdlib.h>

void
kerf_probes_free(kerf_probe *probe, size_t count)
{
    for (size_t i = 0; probe != NULL && i < count; i++) {
        for (size_t k = 0; k < probe[i].out_count; k++) {
            free(probe[i].out[k].at);
            free(probe[i].out[k].value);
        }
        free(probe[i].out);
    }
    free(probe);
}

static kerf_err
read_shape(kerf_shape *shape, const json_t *array, size_t *count,
           kerf_detail *why)
{
    *shape = (kerf_shape){.rank = (uint32_t)json_array_size(array)};
    if (!json_is_array(array) || json_array_size(array) > KERF_RANK_MAX)
        return kerf_fail(why, KERF_ECORRUPT,
                         "probes: \"shape\": expected at most %d numbers",
                         KERF_RANK_MAX);
    for (uint32_t i = 0; i < shape->rank; i++) {
        const json_t *dim = json_array_get(array, i);

        shape->dims[i] = json_is_integer(dim) ? json_integer_value(dim) : -1;
    }
    if (kerf_shape_count(shape, count) != KERF_OK)
        return kerf_fail(why, KERF_ECORRUPT, "probes: impossible \"shape\"");
    return KERF_OK;
}

/* out->count is set only with its arrays, so that a failure frees them. */
static kerf_err
read_out(kerf_probe_out *out, const json_t *object, kerf_detail *why)
{
    const json_t *at = json_object_get(object, "at");
    const json_t *values = json_object_get(object, "values");
    size_t n = json_array_size(at);
    size_t elements = 0;
    kerf_err err;

    err = read_shape(&out->shape, json_object_get(object, "shape"), &elements,
                     why);
    if (err != KERF_OK)
        return err;
    if (!json_is_array(at) || !json_is_array(values) ||
        json_array_size(values) != n)
        return kerf_fail(why, KERF_ECORRUPT,
                         "probes: \"at\" and \"values\": expected two lists "
                         "of the same length");
    if (n > KERF_PROBE_SAMPLES_MAX)
        return kerf_fail(why, KERF_ETOOBIG,
                         "probes: %zu values, the limit is %d", n,
                         KERF_PROBE_SAMPLES_MAX);
    out->at = calloc(n + 1, sizeof *out->at);
    out->value = calloc(n + 1, sizeof *out->value);
    if (out->at == NULL || out->value == NULL)
        return kerf_fail(why, KERF_ENOMEM, "probes: no memory");
    for (size_t i = 0; i < n; i++) {
        const json_t *index = json_array_get(at, i);
        const json_t *value = json_array_get(values, i);
        json_int_t v = json_is_integer(index) ? json_integer_value(index) : -1;

        if (v < 0 || (uint64_t)v >= elements)
            return kerf_fail(why, KERF_ECORRUPT,
                             "probes: \"at\": an index outside the shape");
        if (!json_is_number(value))
            return kerf_fail(why, KERF_ECORRUPT,
                             "probes: \"values\": expected numbers");
        out->at[i] = (size_t)v;
        out->value[i] = json_number_value(value);
    }
    out->count = n;
    return KERF_OK;
}

static kerf_err
read_probe(kerf_probe *probe, const json_t *object, kerf_detail *why)
{
    const json_t *seed = json_object_get(object, "seed");
    const json_t *outputs = json_object_get(object, "outputs");
    size_t n = json_array_size(outputs);
    kerf_err err;

    if (!json_is_integer(seed) || json_integer_value(seed) < 0)
        return kerf_fail(why, KERF_ECORRUPT,
                         "probes: \"seed\": expected a whole number from 0");
    probe->seed = (uint64_t)json_integer_value(seed);
    if (outputs != NULL && !json_is_array(outputs))
        return kerf_fail(why, KERF_ECORRUPT,
                         "probes: \"outputs\": expected a list");
    if (n > KERF_PORTS_MAX)
        return kerf_fail(why, KERF_ETOOBIG,
                         "probes: %zu outputs, the limit is %d", n,
                         KERF_PORTS_MAX);
    if (n == 0)
        return KERF_OK;
    probe->out = calloc(n, sizeof *probe->out);
    if (probe->out == NULL)
        return kerf_fail(why, KERF_ENOMEM, "probes: no memory");
    probe->out_count = n;
    for (size_t i = 0; i < n; i++) {
        err = read_out(&probe->out[i], json_array_get(outputs, i), why);
        if (err != KERF_OK)
            return err;
    }
    return KERF_OK;
}

kerf_err
kerf_probes_from_json(kerf_probe **out, size_t *count, const json_t *array,
                      kerf_detail *why)
{
    size_t n = json_array_size(array);
    kerf_probe *probe = NULL;
    kerf_err err = KERF_OK;

    if (!json_is_array(array))
        return kerf_fail(why, KERF_ECORRUPT, "\"probes\": expected a list");
    if (n > KERF_CARD_PROBES_MAX)
        return kerf_fail(why, KERF_ETOOBIG, "%zu probes, the limit is %d", n,
                         KERF_CARD_PROBES_MAX);
    if (n > 0) {
        probe = calloc(n, sizeof *probe);
        if (probe == NULL)
            return kerf_fail(why, KERF_ENOMEM, "probes: no memory");
    }
    for (size_t i = 0; i < n && err == KERF_OK; i++)
        err = read_probe(&probe[i], json_array_get(array, i), why);
    if (err != KERF_OK) {
        kerf_probes_free(probe, n);
        return err;
    }
    *out = probe;
    *count = n;
    return KERF_OK;
}

/* Appends value, which is consumed; false when either is missing or full. */
static bool
append(json_t *array, json_t *value)
{
    return json_array_append_new(array, value) == 0;
}

static json_t *
out_to_json(const kerf_probe_out *out)
{
    json_t *shape = json_array();
    json_t *at = json_array();
    json_t *values = json_array();
    bool good = true;

    for (uint32_t i = 0; i < out->shape.rank; i++)
        good = good && append(shape, json_integer(out->shape.dims[i]));
    for (size_t i = 0; i < out->count; i++)
        good = good && append(at, json_integer((json_int_t)out->at[i])) &&
               append(values, json_real(out->value[i]));
    if (!good) {
        json_decref(shape);
        json_decref(at);
        json_decref(values);
        return NULL;
    }
    /* "o" takes the references also when it fails. */
    return json_pack("{s:o, s:o, s:o}", "shape", shape, "at", at, "values",
                     values);
}

static json_t *
probe_to_json(const kerf_probe *probe)
{
    json_t *outputs = json_array();
    bool good = probe->seed <= INT64_MAX;

    for (size_t i = 0; i < probe->out_count && good; i++)
        good = append(outputs, out_to_json(&probe->out[i]));
    if (!good) {
        json_decref(outputs);
        return NULL;
    }
    return json_pack("{s:I, s:o}", "seed", (json_int_t)probe->seed, "outputs",
                     outputs);
}

json_t *
kerf_probes_to_json(const kerf_probe *probe, size_t count)
{
    json_t *array = json_array();

    for (size_t i = 0; i < count; i++) {
        if (!append(array, probe_to_json(&probe[i]))) {
            json_decref(array);
            return NULL;
        }
    }
    return array;
}
