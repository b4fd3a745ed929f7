/*
 * OpenVINO behind engine.h: engine, requests, errors. Loading is in
 * openvino_load.c.
 *
 * A request keeps one ov_tensor for each memory it was bound to lately, so that
 * a caller who rotates a few slots pays for the wrapper once. The wrapper holds
 * a pointer, a shape and a type and owns nothing: an entry stays right when the
 * memory is freed and the same address comes back.
 */
#include "engine/openvino.h"

#include "base/text.h"
#include "engine/openvino_ops.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SLOTS 64 /* wrappers kept for each port */

struct slot {
    void *data;
    ov_tensor_t *tensor;
};

struct slots {
    size_t count, next; /* next: the one to replace when full */
    struct slot slot[SLOTS];
};

struct ov_request {
    kerf_request base;
    ov_infer_request_t *infer;
    ov_tensor_t *own[KERF_PORTS_MAX]; /* outputs in OpenVINO's memory */
    struct slots *in, *out;           /* one for each port */
    void *bound_in[KERF_PORTS_MAX];   /* the memory bound last; NULL: none */
    void *bound_out[KERF_PORTS_MAX];  /* the same, where net->passed */
};

static const ov_element_type_e types[KERF_DTYPE_COUNT] = {
    [KERF_F32] = F32,      [KERF_F16] = F16, [KERF_BF16] = BF16,
    [KERF_F64] = F64,      [KERF_U8] = U8,   [KERF_I8] = I8,
    [KERF_U16] = U16,      [KERF_I16] = I16, [KERF_U32] = U32,
    [KERF_I32] = I32,      [KERF_U64] = U64, [KERF_I64] = I64,
    [KERF_BOOL] = BOOLEAN,
};

static kerf_err open_engine(kerf_engine **out, const kerf_engine_opts *opts,
                            kerf_detail *why);
static void close_engine(kerf_engine *engine);
static const char *version(const kerf_engine *engine);
static bool has_op(kerf_format format, const char *op);
static void free_net(kerf_net *net);
static kerf_err new_request(kerf_request **out, kerf_net *net, size_t batch,
                            kerf_detail *why);
static void free_request(kerf_request *request);
static kerf_err bind_in(kerf_request *request, size_t i, void *data,
                        kerf_detail *why);
static kerf_err bind_out(kerf_request *request, size_t i, void *data,
                         kerf_detail *why);
static kerf_err run(kerf_request *request, kerf_detail *why);
static kerf_err get_out(kerf_request *request, size_t i, kerf_tensor *out,
                        kerf_detail *why);

const kerf_backend kerf_backend_openvino = {
    .kind = "openvino",
    .open = open_engine,
    .close = close_engine,
    .version = version,
    .has_op = has_op,
    .read = kerf_openvino_read,
    .drop = kerf_openvino_drop,
    .peek = kerf_openvino_peek,
    .reshape = kerf_openvino_reshape,
    .compile = kerf_openvino_compile,
    .net_free = free_net,
    .request_new = new_request,
    .request_free = free_request,
    .bind_in = bind_in,
    .bind_out = bind_out,
    .run = run,
    .out = get_out,
};

bool
kerf_openvino_dtype(ov_element_type_e type, kerf_dtype *out)
{
    for (int d = 0; d < KERF_DTYPE_COUNT; d++) {
        if (types[d] == type) {
            *out = (kerf_dtype)d;
            return true;
        }
    }
    return false;
}

ov_element_type_e
kerf_openvino_type(kerf_dtype dtype)
{
    return types[dtype];
}

/* Lines of an OpenVINO message that say where in its sources, not why. */
static bool
is_noise(const char *line, size_t len)
{
    static const char *const noise[] = {
        "Exception from ",
        "Check '",
        "FrontEnd API failed with",
    };

    for (size_t i = 0; i < sizeof noise / sizeof *noise; i++) {
        size_t n = strlen(noise[i]);

        if (len >= n && memcmp(line, noise[i], n) == 0)
            return true;
    }
    return len == 0;
}

/* Joins the lines that say why; at most cap bytes. */
static void
shorten(char *out, size_t cap, const char *message)
{
    size_t used = 0;

    out[0] = '\0';
    while (*message != '\0') {
        size_t len = strcspn(message, "\n");
        const char *line = message;
        size_t n = len;

        message += len + (message[len] == '\n');
        while (n > 0 && (line[n - 1] == ' ' || line[n - 1] == '\r'))
            n--;
        if (is_noise(line, n) || used + n + 3 > cap)
            continue;
        used += (size_t)snprintf(out + used, cap - used, "%s%.*s",
                                 used > 0 ? "; " : "", (int)n, line);
    }
}

kerf_err
kerf_openvino_fail(kerf_detail *why, kerf_err err, const char *doing)
{
    const char *message = ov_get_last_err_msg();
    char reason[400], safe[400];

    reason[0] = '\0';
    if (message != NULL) {
        shorten(reason, sizeof reason, message);
        if (reason[0] ==
            '\0') /* only a check that failed: better than nothing */
            (void)snprintf(reason, sizeof reason, "%s", message);
        if (strstr(message, "bad_alloc") != NULL)
            err = KERF_ENOMEM;
        ov_free(message); /* a copy */
    }
    kerf_text_safe(safe, sizeof safe, reason);
    return kerf_fail(why, err, "%s: %s", doing,
                     safe[0] ? safe : "OpenVINO gives no reason");
}

static kerf_err
open_engine(kerf_engine **out, const kerf_engine_opts *opts, kerf_detail *why)
{
    struct ov_engine *e = calloc(1, sizeof *e);
    ov_version_t v = {0};
    kerf_err err = KERF_OK;

    if (e == NULL)
        return kerf_fail(why, KERF_ENOMEM, "no memory for an engine");
    (void)snprintf(e->device, sizeof e->device, "%s",
                   opts->device != NULL ? opts->device : "CPU");
    (void)snprintf(e->threads, sizeof e->threads, "%d",
                   opts->threads > 0 ? opts->threads : 1);
    e->precision = opts->precision == KERF_PRECISION_BF16 ? "bf16" : "f32";
    ov_util_set_log_callback(NULL); /* stdout and stderr are ours */
    if (ov_get_openvino_version(&v) == OK) {
        (void)snprintf(e->version, sizeof e->version, "OpenVINO %s",
                       v.buildNumber);
        ov_version_free(&v);
    }
    if (ov_core_create(&e->core) != OK) {
        err = kerf_openvino_fail(why, KERF_EENGINE, "OpenVINO does not start");
        goto out;
    }
    *out = &e->base;
    e = NULL;
out:
    free(e);
    return err;
}

static void
close_engine(kerf_engine *engine)
{
    struct ov_engine *e = (struct ov_engine *)engine;

    ov_core_free(e->core);
    free(e);
}

static const char *
version(const kerf_engine *engine)
{
    return ((const struct ov_engine *)engine)->version;
}

static bool
has_op(kerf_format format, const char *op)
{
    const kerf_pd_text type = {op, strlen(op)};

    return format != KERF_FORMAT_PADDLE || kerf_openvino_has_op(&type);
}

static void
free_net(kerf_net *net)
{
    struct ov_net *n = (struct ov_net *)net;

    ov_compiled_model_free(n->compiled);
    free(n);
}

static kerf_err
new_request(kerf_request **out, kerf_net *net, size_t batch, kerf_detail *why)
{
    struct ov_net *n = (struct ov_net *)net;
    struct ov_request *r = calloc(1, sizeof *r);
    kerf_err err = KERF_ENOMEM;

    (void)batch; /* it is told with the memory */
    if (r == NULL)
        goto out;
    r->in = calloc(net->in.count + 1, sizeof *r->in);
    r->out = calloc(net->out.count + 1, sizeof *r->out);
    if (r->in == NULL || r->out == NULL)
        goto out;
    r->base.net = net;
    err = KERF_EENGINE;
    if (ov_compiled_model_create_infer_request(n->compiled, &r->infer) != OK)
        goto out;
    *out = &r->base;
    return KERF_OK;
out:
    if (r != NULL) {
        free(r->in);
        free(r->out);
        free(r);
    }
    return err == KERF_EENGINE ? kerf_openvino_fail(why, err, "new request")
                               : kerf_fail(why, err, "no memory for a request");
}

static void
free_slots(struct slots *slots, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        for (size_t k = 0; k < slots[i].count; k++)
            ov_tensor_free(slots[i].slot[k].tensor);
    }
    free(slots);
}

static void
free_request(kerf_request *request)
{
    struct ov_request *r = (struct ov_request *)request;

    for (size_t i = 0; i < KERF_PORTS_MAX; i++) {
        if (r->own[i] != NULL)
            ov_tensor_free(r->own[i]);
    }
    ov_infer_request_free(r->infer);
    free_slots(r->in, request->net->in.count);
    free_slots(r->out, request->net->out.count);
    free(r);
}

/* The wrapper of data, made when there is none; NULL: OpenVINO failed. */
static ov_tensor_t *
wrap(struct slots *slots, const kerf_port *port, ov_element_type_e type,
     size_t batch, void *data)
{
    int64_t dims[KERF_RANK_MAX];
    ov_shape_t shape = {.rank = (int64_t)port->shape.rank, .dims = dims};
    ov_tensor_t *tensor = NULL;
    struct slot *slot;

    for (size_t k = 0; k < slots->count; k++) {
        if (slots->slot[k].data == data)
            return slots->slot[k].tensor;
    }
    memcpy(dims, port->shape.dims, sizeof dims);
    if (batch > 0)
        dims[0] = (int64_t)batch;
    if (ov_tensor_create_from_host_ptr(type, shape, data, &tensor) != OK)
        return NULL;
    if (slots->count < SLOTS) {
        slot = &slots->slot[slots->count++];
    } else {
        slot = &slots->slot[slots->next++ % SLOTS];
        ov_tensor_free(slot->tensor);
    }
    *slot = (struct slot){.data = data, .tensor = tensor};
    return tensor;
}

static kerf_err
bind_in(kerf_request *request, size_t i, void *data, kerf_detail *why)
{
    struct ov_request *r = (struct ov_request *)request;
    struct ov_net *n = (struct ov_net *)request->net;
    ov_tensor_t *t = wrap(&r->in[i], &n->base.in.port[i], n->in_type[i],
                          request->batch, data);

    if (t == NULL ||
        ov_infer_request_set_input_tensor_by_index(r->infer, i, t) != OK)
        return kerf_openvino_fail(why, KERF_EENGINE, "bind an input");
    r->bound_in[i] = data;
    return KERF_OK;
}

static kerf_err
bind_out(kerf_request *request, size_t i, void *data, kerf_detail *why)
{
    struct ov_request *r = (struct ov_request *)request;
    struct ov_net *n = (struct ov_net *)request->net;
    ov_tensor_t *t;

    if (n->passed[i] > 0) {
        r->bound_out[i] = data;
        return KERF_OK;
    }
    t = wrap(&r->out[i], &n->base.out.port[i], n->out_type[i], 0, data);
    if (t == NULL ||
        ov_infer_request_set_output_tensor_by_index(r->infer, i, t) != OK)
        return kerf_openvino_fail(why, KERF_EENGINE, "bind an output");
    return KERF_OK;
}

/* Inputs that are outputs: small ones, as the size of a picture. */
static kerf_err
copy_passed(struct ov_request *r, kerf_detail *why)
{
    const struct ov_net *n = (struct ov_net *)r->base.net;

    for (size_t i = 0; i < n->base.out.count; i++) {
        const kerf_port *port = &n->base.out.port[i];
        size_t bytes = 0;

        if (r->bound_out[i] == NULL)
            continue;
        if (r->bound_in[n->passed[i] - 1] == NULL)
            return kerf_fail(why, KERF_EINVAL, "input %zu is not bound",
                             n->passed[i] - 1);
        if (kerf_shape_bytes(&port->shape, port->dtype, &bytes) == KERF_OK)
            memmove(r->bound_out[i], r->bound_in[n->passed[i] - 1], bytes);
    }
    return KERF_OK;
}

static kerf_err
run(kerf_request *request, kerf_detail *why)
{
    struct ov_request *r = (struct ov_request *)request;

    if (ov_infer_request_infer(r->infer) != OK)
        return kerf_openvino_fail(why, KERF_EENGINE, "inference");
    return copy_passed(r, why);
}

static kerf_err
get_out(kerf_request *request, size_t i, kerf_tensor *out, kerf_detail *why)
{
    struct ov_request *r = (struct ov_request *)request;
    ov_shape_t shape = {0};
    kerf_tensor t = {.dtype = request->net->out.port[i].dtype};
    kerf_err err = KERF_EENGINE;
    ov_tensor_t *own = NULL;
    size_t elements = 0;

    if (r->bound_out[i] != NULL) {
        t.shape = request->net->out.port[i].shape;
        t.data = r->bound_out[i];
        *out = t;
        return kerf_shape_bytes(&t.shape, t.dtype, &out->bytes);
    }
    if (ov_infer_request_get_output_tensor_by_index(r->infer, i, &own) != OK)
        return kerf_openvino_fail(why, err, "read an output");
    if (r->own[i] != NULL)
        ov_tensor_free(r->own[i]);
    r->own[i] = own; /* it holds the memory that *out shows */
    /* Its C interface refuses to say the shape of a scalar. */
    if (ov_tensor_get_shape(own, &shape) != OK &&
        (ov_tensor_get_size(own, &elements) != OK || elements != 1))
        return kerf_openvino_fail(why, err, "read the shape of an output");
    if (shape.rank < 0 || shape.rank > KERF_RANK_MAX) {
        err = kerf_fail(why, KERF_ENOTSUP, "output %zu has %lld dims", i,
                        (long long)shape.rank);
        goto out;
    }
    t.shape.rank = (uint32_t)shape.rank;
    if (shape.rank > 0)
        memcpy(t.shape.dims, shape.dims,
               (size_t)shape.rank * sizeof *shape.dims);
    err = kerf_shape_bytes(&t.shape, t.dtype, &t.bytes);
    if (err != KERF_OK) {
        (void)kerf_fail(why, err, "output %zu is too big", i);
        goto out;
    }
    /* An empty tensor has no memory; what we give is never NULL. */
    if (t.bytes == 0)
        t.data = &r->own[i];
    else if (ov_tensor_data(own, &t.data) != OK)
        err = kerf_openvino_fail(why, KERF_EENGINE, "read an output");
    if (err == KERF_OK)
        *out = t;
out:
    (void)ov_shape_free(&shape);
    return err;
}
