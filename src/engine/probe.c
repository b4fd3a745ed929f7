#include "engine/probe.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* As edges and clouds run it: into memory of the caller, where the size of an
 * output does not depend on the data. */
static kerf_err
bind_outputs(kerf_request *request, const kerf_net *net, kerf_tensor *out,
             kerf_detail *why)
{
    for (size_t i = 0; i < kerf_net_out_count(net); i++) {
        const kerf_port *port = kerf_net_out(net, i);
        kerf_err err = KERF_OK;

        if (!kerf_shape_is_static(&port->shape))
            continue;
        err = kerf_tensor_alloc(&out[i], port->dtype, &port->shape);
        if (err == KERF_OK && out[i].bytes > 0)
            err = kerf_request_bind_out(request, i, out[i].data, why);
        if (err != KERF_OK)
            return err;
    }
    return KERF_OK;
}

static kerf_err
copy_outputs(kerf_request *request, size_t count, kerf_tensor *out,
             kerf_detail *why)
{
    for (size_t i = 0; i < count; i++) {
        kerf_tensor view;
        kerf_err err;

        if (out[i].data != NULL)
            continue;
        err = kerf_request_out(request, i, &view, why);

        if (err == KERF_OK)
            err = kerf_tensor_alloc(&out[i], view.dtype, &view.shape);
        if (err != KERF_OK)
            return err;
        if (view.bytes > 0)
            memcpy(out[i].data, view.data, view.bytes);
    }
    return KERF_OK;
}

kerf_err
kerf_probe_run_on(kerf_net *net, const kerf_tensor *in,
                  kerf_tensor out[KERF_PORTS_MAX], size_t *count,
                  kerf_detail *why)
{
    kerf_request *request = NULL;
    size_t n = kerf_net_out_count(net);
    kerf_err err;

    memset(out, 0, KERF_PORTS_MAX * sizeof *out);
    err = kerf_request_new(&request, net, why);
    for (size_t i = 0; err == KERF_OK && i < kerf_net_in_count(net); i++)
        err = kerf_request_bind_in(request, i, in[i].data, why);
    if (err == KERF_OK)
        err = bind_outputs(request, net, out, why);
    if (err == KERF_OK)
        err = kerf_request_run(request, why);
    if (err == KERF_OK)
        err = copy_outputs(request, n, out, why);
    kerf_request_free(request);
    if (err != KERF_OK) {
        kerf_tensors_free(out, n);
        return err;
    }
    *count = n;
    return KERF_OK;
}

kerf_err
kerf_probe_run(kerf_net *net, uint64_t seed, kerf_tensor out[KERF_PORTS_MAX],
               size_t *count, kerf_detail *why)
{
    kerf_tensor in[KERF_PORTS_MAX] = {{0}};
    size_t n = kerf_net_in_count(net);
    uint64_t state = seed;
    kerf_err err = KERF_OK;

    for (size_t i = 0; err == KERF_OK && i < n; i++) {
        const kerf_port *port = kerf_net_in(net, i);

        err = kerf_tensor_alloc(&in[i], port->dtype, &port->shape);
        if (err == KERF_OK)
            kerf_tensor_fill_seeded(&in[i], &state);
    }
    if (err == KERF_OK)
        err = kerf_probe_run_on(net, in, out, count, why);
    kerf_tensors_free(in, n);
    return err;
}

kerf_err
kerf_probe_run_pair(kerf_net *head, kerf_net *tail, const kerf_probe *probe,
                    double tolerance, kerf_probe *crossed, kerf_detail *why)
{
    kerf_tensor cross[KERF_PORTS_MAX];
    kerf_tensor out[KERF_PORTS_MAX];
    size_t crossing = 0;
    size_t outs = 0;
    kerf_err err = kerf_probe_run(head, probe->seed, cross, &crossing, why);

    if (err != KERF_OK)
        return kerf_fail_in(why, err, "head");
    err = kerf_probe_run_on(tail, cross, out, &outs, why);
    if (err == KERF_OK)
        err = kerf_probe_check(probe, out, outs, tolerance, why);
    if (err == KERF_OK && crossed != NULL)
        err = kerf_probe_sample(crossed, probe->seed, cross, crossing);
    kerf_tensors_free(cross, crossing);
    kerf_tensors_free(out, outs);
    if (err != KERF_OK)
        err = kerf_fail_in(why, err, "head and tail together");
    return err;
}

void
kerf_probe_fini(kerf_probe *probe)
{
    for (size_t i = 0; i < probe->out_count; i++) {
        free(probe->out[i].at);
        free(probe->out[i].value);
    }
    free(probe->out);
    *probe = (kerf_probe){0};
}

/* What is not finite is left out: JSON has no word for it. */
static kerf_err
sample(kerf_probe_out *o, const kerf_tensor *t)
{
    size_t elements = t->bytes / kerf_dtype_size(t->dtype);
    size_t n = elements < KERF_PROBE_SAMPLES ? elements : KERF_PROBE_SAMPLES;

    o->shape = t->shape;
    o->at = calloc(n + 1, sizeof *o->at);
    o->value = calloc(n + 1, sizeof *o->value);
    if (o->at == NULL || o->value == NULL)
        return KERF_ENOMEM;
    for (size_t i = 0; i < n; i++) {
        size_t at = n == 1 ? 0 : i * (elements - 1) / (n - 1);
        double value = kerf_tensor_at(t, at);

        if (!isfinite(value))
            continue;
        o->at[o->count] = at;
        o->value[o->count++] = value;
    }
    return KERF_OK;
}

kerf_err
kerf_probe_sample(kerf_probe *probe, uint64_t seed, const kerf_tensor *out,
                  size_t count)
{
    kerf_probe p = {.seed = seed};
    kerf_err err = KERF_OK;

    p.out = calloc(count + 1, sizeof *p.out);
    if (p.out == NULL)
        return KERF_ENOMEM;
    p.out_count = count;
    for (size_t i = 0; err == KERF_OK && i < count; i++)
        err = sample(&p.out[i], &out[i]);
    if (err != KERF_OK) {
        kerf_probe_fini(&p);
        return err;
    }
    *probe = p;
    return KERF_OK;
}

static kerf_err
check_output(const kerf_probe_out *o, const kerf_tensor *t, size_t index,
             double tolerance, kerf_detail *why)
{
    size_t elements = t->bytes / kerf_dtype_size(t->dtype);
    double least = INFINITY;
    double most = -INFINITY;
    double allowed;

    if (!kerf_shape_equal(&o->shape, &t->shape)) {
        char a[KERF_SHAPE_TEXT];
        char b[KERF_SHAPE_TEXT];

        return kerf_fail(why, KERF_EMISMATCH,
                         "self-test: output %zu has shape %s, expected %s",
                         index, kerf_shape_text(a, &t->shape),
                         kerf_shape_text(b, &o->shape));
    }
    for (size_t i = 0; i < o->count; i++) {
        least = fmin(least, o->value[i]);
        most = fmax(most, o->value[i]);
    }
    allowed = fmax(1e-6, tolerance * fmax(most - least, fabs(most)));
    for (size_t i = 0; i < o->count; i++) {
        double got;

        if (o->at[i] >= elements)
            return kerf_fail(why, KERF_ECORRUPT,
                             "self-test: probe looks at element %zu of %zu",
                             o->at[i], elements);
        got = kerf_tensor_at(t, o->at[i]);
        if (!(fabs(got - o->value[i]) <= allowed)) {
            return kerf_fail(why, KERF_EMISMATCH,
                             "self-test: output %zu element %zu is %.6g, "
                             "expected %.6g",
                             index, o->at[i], got, o->value[i]);
        }
    }
    return KERF_OK;
}

kerf_err
kerf_probe_check(const kerf_probe *probe, const kerf_tensor *out, size_t count,
                 double tolerance, kerf_detail *why)
{
    if (probe->out_count == 0)
        return KERF_OK;
    if (probe->out_count != count)
        return kerf_fail(why, KERF_EMISMATCH,
                         "self-test: %zu outputs, expected %zu", count,
                         probe->out_count);
    for (size_t i = 0; i < count; i++) {
        kerf_err err = check_output(&probe->out[i], &out[i], i, tolerance, why);

        if (err != KERF_OK)
            return err;
    }
    return KERF_OK;
}
