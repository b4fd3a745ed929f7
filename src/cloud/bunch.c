#include "cloud/bunch.h"

#include "cloud/slots.h"

#include <string.h>

/* That port, of any number of samples. */
static bool
is_stacked(const kerf_port *many, const kerf_port *one)
{
    kerf_shape shape = one->shape;

    shape.dims[0] = -1;
    return many->dtype == one->dtype && kerf_shape_equal(&many->shape, &shape);
}

static bool
fits(const kerf_net *net, const kerf_net *tail)
{
    bool fit = kerf_net_in_count(net) == kerf_net_in_count(tail) &&
               kerf_net_out_count(net) == kerf_net_out_count(tail);

    for (size_t i = 0; fit && i < kerf_net_in_count(tail); i++)
        fit = is_stacked(kerf_net_in(net, i), kerf_net_in(tail, i));
    for (size_t i = 0; fit && i < kerf_net_out_count(tail); i++)
        fit = is_stacked(kerf_net_out(net, i), kerf_net_out(tail, i));
    return fit;
}

kerf_err
kerf_bunch_load(kerf_bunch *out, kerf_engine *engine, const kerf_model_bytes *m,
                kerf_net *tail, size_t most, kerf_detail *why)
{
    kerf_shape shapes[KERF_PORTS_MAX];
    const kerf_load how = {.shapes = shapes,
                           .shape_count = kerf_net_in_count(tail),
                           .batch_most = most};
    kerf_bunch b = {.most = most};
    kerf_err err;

    for (size_t i = 0; i < how.shape_count; i++)
        shapes[i] = kerf_net_in(tail, i)->shape;
    err = kerf_engine_load(engine, &b.net, m, &how, why);
    if (err == KERF_OK && !fits(b.net, tail))
        err = kerf_fail(why, KERF_EMISMATCH,
                        "an output does not grow with the batch");
    for (size_t i = 0; err == KERF_OK && i < how.shape_count; i++) {
        shapes[i].dims[0] = (int64_t)most;
        err = kerf_tensor_alloc(&b.in[i], kerf_net_in(tail, i)->dtype,
                                &shapes[i]);
    }
    if (err != KERF_OK) {
        kerf_bunch_fini(&b);
        return err;
    }
    *out = b;
    return KERF_OK;
}

void
kerf_bunch_fini(kerf_bunch *b)
{
    for (size_t n = 0; n <= KERF_BATCH_MOST; n++)
        kerf_request_free(b->request[n]);
    kerf_tensors_free(b->in, KERF_PORTS_MAX);
    kerf_net_free(b->net);
    *b = (kerf_bunch){0};
}

static kerf_err
get_request(kerf_bunch *b, size_t count, kerf_request **out, kerf_detail *why)
{
    kerf_request *request = b->request[count];
    kerf_err err = KERF_OK;

    if (request == NULL)
        err = kerf_request_new_batch(&request, b->net, count, why);
    for (size_t i = 0; err == KERF_OK && b->request[count] == NULL &&
                       i < kerf_net_in_count(b->net);
         i++)
        err = kerf_request_bind_in(request, i, b->in[i].data, why);
    if (err != KERF_OK) {
        kerf_request_free(request);
        return err;
    }
    *out = b->request[count] = request;
    return KERF_OK;
}

/* Its part of an output of all. */
static kerf_err
share(const kerf_tensor *all, size_t i, struct kerf_slot *const *slots,
      size_t count, kerf_detail *why)
{
    size_t bytes = slots[0]->out[i].bytes;

    if (all->bytes != count * bytes)
        return kerf_fail(why, KERF_EENGINE,
                         "output %zu of %zu requests has %zu bytes, not %zu", i,
                         count, all->bytes, count * bytes);
    for (size_t k = 0; k < count; k++)
        memcpy(slots[k]->out[i].data, (const uint8_t *)all->data + k * bytes,
               bytes);
    return KERF_OK;
}

kerf_err
kerf_bunch_run(kerf_bunch *b, struct kerf_slot *const *slots, size_t count,
               kerf_detail *why)
{
    kerf_request *request = NULL;
    kerf_err err = get_request(b, count, &request, why);

    for (size_t i = 0; err == KERF_OK && i < kerf_net_in_count(b->net); i++) {
        size_t bytes = slots[0]->in[i].bytes;

        for (size_t k = 0; k < count; k++)
            memcpy((uint8_t *)b->in[i].data + k * bytes, slots[k]->in[i].data,
                   bytes);
    }
    if (err == KERF_OK)
        err = kerf_request_run(request, why);
    for (size_t i = 0; err == KERF_OK && i < kerf_net_out_count(b->net); i++) {
        kerf_tensor all;

        err = kerf_request_out(request, i, &all, why);
        if (err == KERF_OK)
            err = share(&all, i, slots, count, why);
    }
    return err;
}
