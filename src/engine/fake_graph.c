#include "engine/fake_graph.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static kerf_err
parse_port(kerf_port *port, const json_t *o, kerf_detail *why)
{
    const char *name = json_string_value(json_object_get(o, "name"));
    const char *dtype = json_string_value(json_object_get(o, "dtype"));
    const json_t *shape = json_object_get(o, "shape");
    size_t rank = json_array_size(shape);

    if (!json_is_array(shape) || rank > KERF_RANK_MAX)
        return kerf_fail(why, KERF_ECORRUPT, "fake model: a shape is wrong");
    (void)snprintf(port->name, sizeof port->name, "%s", name ? name : "");
    port->dtype = KERF_F32;
    if (dtype != NULL && !kerf_dtype_from_name(dtype, &port->dtype))
        return kerf_fail(why, KERF_ECORRUPT, "fake model: a dtype is wrong");
    port->shape.rank = (uint32_t)rank;
    for (size_t d = 0; d < rank; d++) {
        const json_t *dim = json_array_get(shape, d);

        port->shape.dims[d] = json_integer_value(dim);
        if (!json_is_integer(dim) || port->shape.dims[d] < -1)
            return kerf_fail(why, KERF_ECORRUPT, "fake model: a dim is wrong");
    }
    return KERF_OK;
}

static bool
find_value(const struct fake_graph *g, const char *name, size_t *out)
{
    for (size_t i = g->value_count; name != NULL && i-- > 0;) {
        if (strcmp(g->value[i].port.name, name) == 0) {
            *out = i;
            return true;
        }
    }
    return false;
}

static kerf_err
parse_value(struct fake_graph *g, const json_t *o, kerf_detail *why)
{
    struct fake_value *v = &g->value[g->value_count];
    const json_t *in = json_object_get(o, "in");
    const json_t *a = json_object_get(o, "a");
    kerf_err err;

    if (g->value_count == FAKE_VALUES_MAX)
        return kerf_fail(why, KERF_ETOOBIG, "fake model: too many values");
    err = parse_port(&v->port, o, why);
    if (err != KERF_OK)
        return err;
    v->a = json_is_number(a) ? json_number_value(a) : 1.0;
    v->b = json_number_value(json_object_get(o, "b"));
    v->seed = (uint64_t)json_integer_value(json_object_get(o, "seed"));
    v->by_rows = json_is_true(json_object_get(o, "rows"));
    v->once = json_is_true(json_object_get(o, "once"));
    v->in_count = in != NULL ? json_array_size(in) : g->in_count;
    if (v->in_count == 0 || v->in_count > KERF_PORTS_MAX ||
        (v->by_rows && (v->once || v->port.shape.rank == 0)))
        return kerf_fail(why, KERF_ECORRUPT, "fake model: a value is wrong");
    for (size_t i = 0; i < v->in_count; i++) {
        const char *name = json_string_value(json_array_get(in, i));

        v->in[i] = i;
        if (in != NULL && !find_value(g, name, &v->in[i]))
            return kerf_fail(why, KERF_ECORRUPT,
                             "fake model: a value reads what is not there");
        if (g->value[v->in[i]].by_rows)
            return kerf_fail(why, KERF_ECORRUPT,
                             "fake model: only outputs may have rows");
    }
    g->value_count++;
    return KERF_OK;
}

static kerf_err
parse_graph(struct fake_graph *g, const json_t *root, kerf_detail *why)
{
    const json_t *in = json_object_get(root, "inputs");
    const json_t *hidden = json_object_get(root, "hidden");
    const json_t *out = json_object_get(root, "outputs");
    kerf_err err = KERF_OK;

    g->in_count = json_array_size(in);
    g->out_count = json_array_size(out);
    if (g->in_count == 0 || g->out_count == 0 || g->in_count > KERF_PORTS_MAX ||
        g->out_count > KERF_PORTS_MAX)
        return kerf_fail(why, KERF_ECORRUPT,
                         "fake model: 1..%d inputs and outputs",
                         KERF_PORTS_MAX);
    for (size_t i = 0; err == KERF_OK && i < g->in_count; i++) {
        err = parse_port(&g->value[i].port, json_array_get(in, i), why);
        g->value_count++;
    }
    for (size_t i = 0; err == KERF_OK && i < json_array_size(hidden); i++)
        err = parse_value(g, json_array_get(hidden, i), why);
    for (size_t i = 0; err == KERF_OK && i < g->out_count; i++) {
        const json_t *o = json_array_get(out, i);

        if (json_is_string(o)) {
            if (!find_value(g, json_string_value(o), &g->out[i]))
                err = kerf_fail(why, KERF_ECORRUPT,
                                "fake model: an output is not there");
        } else {
            g->out[i] = g->value_count;
            err = parse_value(g, o, why);
        }
    }
    return err;
}

static bool
is_text(const json_t *root, const char *key, const char *text)
{
    const char *value = json_string_value(json_object_get(root, key));

    return value != NULL && strcmp(value, text) == 0;
}

kerf_err
kerf_fake_graph_parse(struct fake_graph **out, const kerf_model_bytes *m,
                      kerf_detail *why)
{
    struct fake_graph *g = calloc(1, sizeof *g);
    json_t *root = json_loadb(m->graph, m->graph_len, 0, NULL);
    kerf_err err;

    if (g == NULL) {
        err = kerf_fail(why, KERF_ENOMEM, "no memory for a fake model");
        goto out;
    }
    if (json_integer_value(json_object_get(root, "kerf_fake")) != 1) {
        err = kerf_fail(why, KERF_ECORRUPT, "not a model of the fake engine");
        goto out;
    }
    err = parse_graph(g, root, why);
    if (err != KERF_OK)
        goto out;
    g->cost_ns =
        1000 * (uint64_t)json_integer_value(json_object_get(root, "cost_us"));
    g->fail_after =
        (uint64_t)json_integer_value(json_object_get(root, "fail_after"));
    g->batches = json_is_true(json_object_get(root, "batch"));
    g->sleeps = is_text(root, "cost", "sleep");
    g->fails_load = is_text(root, "fail", "load");
    g->fails_run = is_text(root, "fail", "run");
    *out = g; /* the caller owns it from here */
    g = NULL;
out:
    json_decref(root);
    free(g);
    return err;
}

kerf_err
kerf_fake_graph_settle(struct fake_graph *g, const kerf_shape *want,
                       kerf_detail *why)
{
    int64_t batch = want[0].rank > 0 ? want[0].dims[0] : 1;

    for (size_t i = 0; i < g->value_count; i++) {
        kerf_shape *s = &g->value[i].port.shape;
        kerf_shape bounded;
        size_t bytes;

        if (i < g->in_count)
            *s = want[i];
        else if (s->rank > 0 && s->dims[0] < 0)
            s->dims[0] = batch;
        if (g->value[i].by_rows)
            s->dims[0] = -1;
        bounded = *s;
        if (g->value[i].by_rows)
            bounded.dims[0] = 8;
        if (kerf_shape_bytes(&bounded, g->value[i].port.dtype, &bytes) !=
            KERF_OK)
            return kerf_fail(why, KERF_EINVAL,
                             "fake model: value %zu has no usable shape", i);
    }
    return KERF_OK;
}
