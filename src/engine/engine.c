#include "engine/engine.h"

#include "base/text.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const kerf_backend *const backends[] = {
#ifdef KERF_HAVE_OPENVINO
    &kerf_backend_openvino,
#endif
    &kerf_backend_fake,
};

static const kerf_backend *find_backend(const char *kind);
static kerf_err check_bytes(const kerf_model_bytes *m, kerf_detail *why);
static kerf_err open_read(kerf_engine *engine, kerf_graph_read **out,
                          const kerf_model_bytes *m, kerf_detail *why);
static void close_read(kerf_engine *engine, kerf_graph_read *read);
static kerf_err check_ports(const kerf_graph_read *read, kerf_detail *why);
static kerf_err settle(const kerf_ports *in, const kerf_load *how,
                       kerf_shape *want, kerf_detail *why);
static kerf_err settle_given(const kerf_ports *in, const kerf_load *how,
                             kerf_shape *want, kerf_detail *why);
static kerf_err settle_free(const kerf_ports *in, const kerf_load *how,
                            kerf_shape *want, kerf_detail *why);
static kerf_err settle_image(const kerf_port *port, size_t i,
                             const kerf_card *card, kerf_shape *want,
                             kerf_detail *why);
static kerf_err check_bind(const kerf_ports *ports, const char *side, size_t i,
                           const void *data, kerf_detail *why);

kerf_err
kerf_engine_open(kerf_engine **out, const kerf_engine_opts *opts,
                 kerf_detail *why)
{
    const kerf_engine_opts none = {0};
    const kerf_backend *backend;
    const char *kind;
    kerf_engine *engine = NULL;
    kerf_err err;

    if (opts == NULL)
        opts = &none;
    if (opts->threads < 0 || opts->threads > 1024)
        return kerf_fail(why, KERF_EINVAL,
                         "engine threads %d: expected 1..1024", opts->threads);
    kind = opts->kind != NULL ? opts->kind : backends[0]->kind;
    backend = find_backend(kind);
    if (backend == NULL)
        return kerf_fail(why, KERF_ENOTSUP,
                         "engine '%s' is not in this build; try '%s'", kind,
                         backends[0]->kind);
    err = backend->open(&engine, opts, why);
    if (err != KERF_OK)
        return err;
    engine->backend = backend;
    *out = engine;
    return KERF_OK;
}

void
kerf_engine_close(kerf_engine *engine)
{
    if (engine != NULL)
        engine->backend->close(engine);
}

const char *
kerf_engine_version(const kerf_engine *engine)
{
    return engine->backend->version(engine);
}

bool
kerf_engine_has_op(const kerf_engine *engine, kerf_format format,
                   const char *op)
{
    return engine->backend->has_op == NULL ||
           engine->backend->has_op(format, op);
}

kerf_err
kerf_engine_load(kerf_engine *engine, kerf_net **out, const kerf_model_bytes *m,
                 const kerf_load *how, kerf_detail *why)
{
    const kerf_load none = {0};
    kerf_graph_read *read = NULL;
    kerf_shape want[KERF_PORTS_MAX];
    kerf_net *net = NULL;
    kerf_err err;

    if (how == NULL)
        how = &none;
    err = open_read(engine, &read, m, why);
    if (err != KERF_OK || read == NULL)
        goto out;
    err = check_ports(read, why);
    if (err != KERF_OK)
        goto out;
    err = settle(&read->in, how, want, why);
    if (err != KERF_OK)
        goto out;
    read->batch_most = how->batch_most;
    err = engine->backend->compile(engine, &net, read, want, how->prep,
                                   how->image_port, why);
    if (err != KERF_OK)
        goto out;
    net->engine = engine;
    net->batch_most = how->batch_most;
    net->is_static = true;
    for (size_t i = 0; i < net->out.count; i++)
        net->is_static &= kerf_shape_is_static(&net->out.port[i].shape);
    *out = net;
out:
    close_read(engine, read);
    return err;
}

void
kerf_net_free(kerf_net *net)
{
    if (net != NULL)
        net->engine->backend->net_free(net);
}

kerf_err
kerf_engine_inspect(kerf_engine *engine, const kerf_model_bytes *m,
                    kerf_port *in, size_t *in_count, kerf_port *out,
                    size_t *out_count, kerf_detail *why)
{
    kerf_graph_read *read = NULL;
    kerf_err err = open_read(engine, &read, m, why);

    if (err != KERF_OK || read == NULL)
        return err;
    err = check_ports(read, why);
    if (err != KERF_OK)
        goto out;
    memcpy(in, read->in.port, read->in.count * sizeof *in);
    memcpy(out, read->out.port, read->out.count * sizeof *out);
    *in_count = read->in.count;
    *out_count = read->out.count;
out:
    close_read(engine, read);
    return err;
}

kerf_err
kerf_engine_shapes(kerf_engine *engine, const kerf_model_bytes *m,
                   const kerf_shape *shapes, size_t shape_count,
                   kerf_out_shape *out, size_t cap, size_t *count,
                   kerf_detail *why)
{
    const kerf_load how = {.shapes = shapes, .shape_count = shape_count};
    kerf_shape want[KERF_PORTS_MAX];
    kerf_graph_read *read = NULL;
    kerf_err err = open_read(engine, &read, m, why);

    if (err != KERF_OK || read == NULL)
        return err;
    if (read->out_count > cap)
        err = kerf_fail(why, KERF_ETOOBIG, "%zu outputs, expected at most %zu",
                        read->out_count, cap);
    for (size_t i = 0; err == KERF_OK && i < read->out_count; i++) {
        err = engine->backend->peek(read, i, &out[i].is_known, &out[i].dtype,
                                    &out[i].shape, why);
        out[i].fixed = out[i].shape;
    }
    if (err == KERF_OK && shapes != NULL) {
        err = settle(&read->in, &how, want, why);
        if (err == KERF_OK)
            err = engine->backend->reshape(read, want, why);
        for (size_t i = 0; err == KERF_OK && i < read->out_count; i++)
            err = engine->backend->peek(read, i, &out[i].is_known,
                                        &out[i].dtype, &out[i].fixed, why);
    }
    if (err == KERF_OK)
        *count = read->out_count;
    close_read(engine, read);
    return err;
}

size_t
kerf_net_in_count(const kerf_net *net)
{
    return net->in.count;
}

size_t
kerf_net_out_count(const kerf_net *net)
{
    return net->out.count;
}

const kerf_port *
kerf_net_in(const kerf_net *net, size_t i)
{
    return i < net->in.count ? &net->in.port[i] : NULL;
}

const kerf_port *
kerf_net_out(const kerf_net *net, size_t i)
{
    return i < net->out.count ? &net->out.port[i] : NULL;
}

bool
kerf_net_is_static(const kerf_net *net)
{
    return net->is_static;
}

static kerf_err
new_request(kerf_request **out, kerf_net *net, size_t batch, kerf_detail *why)
{
    kerf_request *request = NULL;
    kerf_err err = net->engine->backend->request_new(&request, net, batch, why);

    if (err != KERF_OK)
        return err;
    request->net = net;
    request->batch = batch;
    request->unbound = net->in.count;
    *out = request;
    return KERF_OK;
}

kerf_err
kerf_request_new(kerf_request **out, kerf_net *net, kerf_detail *why)
{
    return new_request(out, net, net->batch_most > 0 ? 1 : 0, why);
}

kerf_err
kerf_request_new_batch(kerf_request **out, kerf_net *net, size_t batch,
                       kerf_detail *why)
{
    if (batch == 0 || batch > net->batch_most)
        return kerf_fail(why, KERF_EINVAL, "%zu at once: the limit is %zu",
                         batch, net->batch_most);
    return new_request(out, net, batch, why);
}

void
kerf_request_free(kerf_request *request)
{
    if (request != NULL)
        request->net->engine->backend->request_free(request);
}

kerf_err
kerf_request_bind_in(kerf_request *request, size_t i, void *data,
                     kerf_detail *why)
{
    kerf_net *net = request->net;
    kerf_err err;

    if (i < net->in.count && data != NULL && request->in[i] == data)
        return KERF_OK;
    err = check_bind(&net->in, "input", i, data, why);
    if (err != KERF_OK)
        return err;
    err = net->engine->backend->bind_in(request, i, data, why);
    if (err != KERF_OK)
        return err;
    if (request->in[i] == NULL)
        request->unbound--;
    request->in[i] = data;
    return KERF_OK;
}

kerf_err
kerf_request_bind_out(kerf_request *request, size_t i, void *data,
                      kerf_detail *why)
{
    kerf_net *net = request->net;
    char port[KERF_PORT_TEXT];
    kerf_err err;

    if (i < net->out.count && data != NULL && request->out[i] == data)
        return KERF_OK;
    err = check_bind(&net->out, "output", i, data, why);
    if (err != KERF_OK)
        return err;
    if (!kerf_shape_is_static(&net->out.port[i].shape))
        return kerf_fail(why, KERF_ENOTSUP,
                         "%s depends on the data: it cannot be bound",
                         kerf_port_text(port, "output", i, &net->out.port[i]));
    err = net->engine->backend->bind_out(request, i, data, why);
    if (err != KERF_OK)
        return err;
    request->out[i] = data;
    return KERF_OK;
}

kerf_err
kerf_request_run(kerf_request *request, kerf_detail *why)
{
    const kerf_ports *in = &request->net->in;
    char port[KERF_PORT_TEXT];
    kerf_err err;

    for (size_t i = 0; request->unbound > 0 && i < in->count; i++) {
        if (request->in[i] == NULL)
            return kerf_fail(why, KERF_EINVAL, "%s is not bound",
                             kerf_port_text(port, "input", i, &in->port[i]));
    }
    err = request->net->engine->backend->run(request, why);
    request->has_run = err == KERF_OK;
    return err;
}

kerf_err
kerf_request_out(kerf_request *request, size_t i, kerf_tensor *out,
                 kerf_detail *why)
{
    const kerf_ports *ports = &request->net->out;
    const kerf_port *port;

    if (i >= ports->count)
        return kerf_fail(why, KERF_EINVAL, "output %zu of a network with %zu",
                         i, ports->count);
    if (!request->has_run)
        return kerf_fail(why, KERF_EINVAL,
                         "no output: the last run failed or "
                         "there was none");
    if (request->out[i] == NULL)
        return request->net->engine->backend->out(request, i, out, why);
    port = &ports->port[i];
    *out = (kerf_tensor){
        .dtype = port->dtype, .shape = port->shape, .data = request->out[i]};
    return kerf_shape_bytes(&port->shape, port->dtype, &out->bytes);
}

char *
kerf_port_text(char out[KERF_PORT_TEXT], const char *side, size_t i,
               const kerf_port *port)
{
    char name[KERF_NAME_MAX];

    kerf_text_safe(name, sizeof name, port->name);
    (void)snprintf(out, KERF_PORT_TEXT, name[0] ? "%s %zu '%s'" : "%s %zu",
                   side, i, name);
    return out;
}

static const kerf_backend *
find_backend(const char *kind)
{
    for (size_t i = 0; i < sizeof backends / sizeof *backends; i++) {
        if (strcmp(backends[i]->kind, kind) == 0)
            return backends[i];
    }
    return NULL;
}

static kerf_err
check_bytes(const kerf_model_bytes *m, kerf_detail *why)
{
    if (m->graph == NULL || m->graph_len == 0)
        return kerf_fail(why, KERF_ECORRUPT, "the model's graph is empty");
    if (m->graph_len > KERF_MODEL_BYTES_MAX ||
        m->weights_len > KERF_MODEL_BYTES_MAX) {
        return kerf_fail(why, KERF_ETOOBIG,
                         "graph of %zu and weights of %zu bytes: the limit is "
                         "%zu each",
                         m->graph_len, m->weights_len, KERF_MODEL_BYTES_MAX);
    }
    return KERF_OK;
}

/* *out: new -> close_read(). */
static kerf_err
open_read(kerf_engine *engine, kerf_graph_read **out, const kerf_model_bytes *m,
          kerf_detail *why)
{
    kerf_err err = check_bytes(m, why);
    kerf_graph_read *read;

    if (err != KERF_OK)
        return err;
    read = calloc(1, sizeof *read); /* tens of KB: not for a small stack */
    if (read == NULL)
        return kerf_fail(why, KERF_ENOMEM, "no memory for a model's ports");
    err = engine->backend->read(engine, read, m, why);
    if (err != KERF_OK) {
        close_read(engine, read);
        return err;
    }
    *out = read;
    return KERF_OK;
}

static void
close_read(kerf_engine *engine, kerf_graph_read *read)
{
    if (read != NULL)
        engine->backend->drop(read);
    free(read);
}

static kerf_err
check_ports(const kerf_graph_read *read, kerf_detail *why)
{
    if (read->out_count <= KERF_PORTS_MAX)
        return KERF_OK;
    return kerf_fail(why, KERF_ENOTSUP, "%zu outputs: the limit is %d",
                     read->out_count, KERF_PORTS_MAX);
}

static kerf_err
settle(const kerf_ports *in, const kerf_load *how, kerf_shape *want,
       kerf_detail *why)
{
    char port[KERF_PORT_TEXT];
    size_t bytes;
    kerf_err err;

    if (how->batch_most > 0 && (how->prep != NULL || how->shapes == NULL))
        return kerf_fail(why, KERF_EINVAL, "a batch needs shapes, and no prep");
    if (how->prep != NULL && how->image_port >= in->count)
        return kerf_fail(why, KERF_EINVAL,
                         "image input %zu of a network with %zu inputs",
                         how->image_port, in->count);
    err = how->shapes != NULL ? settle_given(in, how, want, why)
                              : settle_free(in, how, want, why);
    for (size_t i = 0; err == KERF_OK && i < in->count; i++) {
        err = kerf_shape_bytes(&want[i], in->port[i].dtype, &bytes);
        if (err != KERF_OK)
            return kerf_fail(why, err, "%s is too big",
                             kerf_port_text(port, "input", i, &in->port[i]));
    }
    return err;
}

static kerf_err
settle_given(const kerf_ports *in, const kerf_load *how, kerf_shape *want,
             kerf_detail *why)
{
    char port[KERF_PORT_TEXT], has[KERF_SHAPE_TEXT], asked[KERF_SHAPE_TEXT];

    if (how->shape_count != in->count)
        return kerf_fail(why, KERF_EINVAL, "%zu shapes for %zu inputs",
                         how->shape_count, in->count);
    for (size_t i = 0; i < in->count; i++) {
        const kerf_shape *is = &in->port[i].shape;
        bool fits = is->rank == how->shapes[i].rank &&
                    kerf_shape_is_static(&how->shapes[i]);

        want[i] = how->shapes[i];
        for (uint32_t d = 0; fits && d < is->rank; d++)
            fits = is->dims[d] < 0 || is->dims[d] == want[i].dims[d] ||
                   (d == 0 && how->batch_most > 0);
        fits &= how->batch_most == 0 || (is->rank > 0 && want[i].dims[0] == 1);
        if (!fits) {
            return kerf_fail(why, KERF_EINVAL, "%s is %s, not %s",
                             kerf_port_text(port, "input", i, &in->port[i]),
                             kerf_shape_text(has, is),
                             kerf_shape_text(asked, &want[i]));
        }
        if (how->prep != NULL && i == how->image_port) {
            kerf_shape image = {0};
            kerf_err err =
                settle_image(&in->port[i], i, how->prep, &image, why);

            if (err != KERF_OK)
                return err;
            if (!kerf_shape_equal(&image, &want[i])) {
                return kerf_fail(why, KERF_EINVAL,
                                 "%s: the card says %s, the shape asked is %s",
                                 kerf_port_text(port, "input", i, &in->port[i]),
                                 kerf_shape_text(has, &image),
                                 kerf_shape_text(asked, &want[i]));
            }
        }
    }
    return KERF_OK;
}

/* A free batch becomes 1; other free dims only the card can settle. */
static kerf_err
settle_free(const kerf_ports *in, const kerf_load *how, kerf_shape *want,
            kerf_detail *why)
{
    char port[KERF_PORT_TEXT], has[KERF_SHAPE_TEXT];
    kerf_err err;

    for (size_t i = 0; i < in->count; i++) {
        want[i] = in->port[i].shape;
        if (how->prep != NULL && i == how->image_port) {
            err = settle_image(&in->port[i], i, how->prep, &want[i], why);
            if (err != KERF_OK)
                return err;
            continue;
        }
        if (want[i].rank > 0 && want[i].dims[0] < 0)
            want[i].dims[0] = 1;
        if (!kerf_shape_is_static(&want[i])) {
            want[i].dims[0] =
                in->port[i].shape.dims[0] < 0 ? 1 : in->port[i].shape.dims[0];
            return kerf_fail(why, KERF_EINVAL, "%s has free dims %s: %s",
                             kerf_port_text(port, "input", i, &in->port[i]),
                             kerf_shape_text(has, &want[i]),
                             want[i].rank == 4
                                 ? "give --size HxW"
                                 : "export the model with fixed ones");
        }
    }
    return KERF_OK;
}

static kerf_err
settle_image(const kerf_port *port, size_t i, const kerf_card *card,
             kerf_shape *want, kerf_detail *why)
{
    int64_t c = kerf_card_channels(card);
    bool first = card->layout == KERF_LAYOUT_NCHW;
    kerf_shape image = {.rank = 4,
                        .dims = {1, first ? c : card->height,
                                 first ? card->height : card->width,
                                 first ? card->width : c}};
    char text[KERF_PORT_TEXT], has[KERF_SHAPE_TEXT], asked[KERF_SHAPE_TEXT];
    bool fits = port->shape.rank == 4 && card->width > 0 && card->height > 0;

    for (uint32_t d = 0; fits && d < 4; d++)
        fits = port->shape.dims[d] < 0 || port->shape.dims[d] == image.dims[d];
    if (!fits) {
        return kerf_fail(
            why, KERF_EINVAL, "%s is %s: an image of %s does not fit",
            kerf_port_text(text, "input", i, port),
            kerf_shape_text(has, &port->shape), kerf_shape_text(asked, &image));
    }
    *want = image;
    return KERF_OK;
}

static kerf_err
check_bind(const kerf_ports *ports, const char *side, size_t i,
           const void *data, kerf_detail *why)
{
    char port[KERF_PORT_TEXT];

    if (i >= ports->count)
        return kerf_fail(why, KERF_EINVAL, "%s %zu of a network with %zu", side,
                         i, ports->count);
    if (data == NULL || (uintptr_t)data % KERF_TENSOR_ALIGN != 0)
        return kerf_fail(
            why, KERF_EINVAL, "%s: memory must start at a multiple of %d",
            kerf_port_text(port, side, i, &ports->port[i]), KERF_TENSOR_ALIGN);
    return KERF_OK;
}
