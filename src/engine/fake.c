/*
 * Runs the networks of the fake engine. What they are, and how they are
 * written: fake_graph.h.
 */
#include "engine/engine.h"

#include "base/clock.h"
#include "base/rng.h"
#include "engine/fake_graph.h"
#include "tensor/half.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

struct fake_net {
    kerf_net base;
    struct fake_graph *graph; /* owned */
    bool has_prep;
    size_t image_port;
    kerf_card rules; /* of prep: plain fields only, it owns nothing */
};

struct fake_request {
    kerf_request base;
    uint64_t runs;
    kerf_tensor value[FAKE_VALUES_MAX];
    kerf_tensor own[FAKE_VALUES_MAX];  /* memory of hidden and unbound values */
    const void *made[FAKE_VALUES_MAX]; /* where those made once are */
};

static kerf_err open_fake(kerf_engine **out, const kerf_engine_opts *opts,
                          kerf_detail *why);
static void close_fake(kerf_engine *engine);
static const char *version(const kerf_engine *engine);
static kerf_err read_fake(kerf_engine *engine, kerf_graph_read *read,
                          const kerf_model_bytes *m, kerf_detail *why);
static void drop(kerf_graph_read *read);
static kerf_err peek(const kerf_graph_read *read, size_t i, bool *is_known,
                     kerf_dtype *dtype, kerf_shape *shape, kerf_detail *why);
static kerf_err reshape(kerf_graph_read *read, const kerf_shape *want,
                        kerf_detail *why);
static kerf_err compile(kerf_engine *engine, kerf_net **out,
                        kerf_graph_read *read, const kerf_shape *want,
                        const kerf_card *prep, size_t image_port,
                        kerf_detail *why);
static void free_net(kerf_net *net);
static kerf_err new_request(kerf_request **out, kerf_net *net, size_t batch,
                            kerf_detail *why);
static void free_request(kerf_request *request);
static kerf_err bind(kerf_request *request, size_t i, void *data,
                     kerf_detail *why);
static kerf_err run(kerf_request *request, kerf_detail *why);
static kerf_err get_out(kerf_request *request, size_t i, kerf_tensor *out,
                        kerf_detail *why);

const kerf_backend kerf_backend_fake = {
    .kind = "fake",
    .open = open_fake,
    .close = close_fake,
    .version = version,
    .read = read_fake,
    .drop = drop,
    .peek = peek,
    .reshape = reshape,
    .compile = compile,
    .net_free = free_net,
    .request_new = new_request,
    .request_free = free_request,
    .bind_in = bind,
    .bind_out = bind,
    .run = run,
    .out = get_out,
};

static kerf_err
open_fake(kerf_engine **out, const kerf_engine_opts *opts, kerf_detail *why)
{
    kerf_engine *e = calloc(1, sizeof *e);

    (void)opts;
    if (e == NULL)
        return kerf_fail(why, KERF_ENOMEM, "no memory for an engine");
    *out = e;
    return KERF_OK;
}

static void
close_fake(kerf_engine *engine)
{
    free(engine);
}

static const char *
version(const kerf_engine *engine)
{
    (void)engine;
    return "fake 1";
}

static kerf_err
read_fake(kerf_engine *engine, kerf_graph_read *read, const kerf_model_bytes *m,
          kerf_detail *why)
{
    struct fake_graph *g = NULL;
    kerf_err err = kerf_fake_graph_parse(&g, m, why);

    (void)engine;
    if (err != KERF_OK)
        return err;
    read->in.count = g->in_count;
    read->out.count = read->out_count = g->out_count;
    for (size_t i = 0; i < g->in_count; i++)
        read->in.port[i] = g->value[i].port;
    for (size_t i = 0; i < g->out_count; i++)
        read->out.port[i] = g->value[g->out[i]].port;
    read->own = g;
    return KERF_OK;
}

static void
drop(kerf_graph_read *read)
{
    free(read->own);
    read->own = NULL;
}

static kerf_err
peek(const kerf_graph_read *read, size_t i, bool *is_known, kerf_dtype *dtype,
     kerf_shape *shape, kerf_detail *why)
{
    const struct fake_graph *g = read->own;
    const kerf_port *port = &g->value[g->out[i]].port;

    (void)why;
    *is_known = true;
    *dtype = port->dtype;
    *shape = port->shape;
    return KERF_OK;
}

static kerf_err
reshape(kerf_graph_read *read, const kerf_shape *want, kerf_detail *why)
{
    return kerf_fake_graph_settle(read->own, want, why);
}

/* What several samples at once have for one sample. */
static kerf_err
check_sample(const kerf_port *port, kerf_detail *why)
{
    if (port->shape.rank > 0 && port->shape.dims[0] == 1)
        return KERF_OK;
    return kerf_fail(why, KERF_EINVAL,
                     "fake model: a value does not begin with 1");
}

static void
free_batch(kerf_ports *ports)
{
    for (size_t i = 0; i < ports->count; i++)
        ports->port[i].shape.dims[0] = -1;
}

static kerf_err
compile(kerf_engine *engine, kerf_net **out, kerf_graph_read *read,
        const kerf_shape *want, const kerf_card *prep, size_t image_port,
        kerf_detail *why)
{
    struct fake_graph *g = read->own;
    struct fake_net *n;
    kerf_err err;

    (void)engine;
    if (g->fails_load)
        return kerf_fail(why, KERF_EENGINE, "fake model: told to fail to load");
    if (read->batch_most > 0 && !g->batches)
        return kerf_fail(why, KERF_ENOTSUP, "fake model: not told to batch");
    err = kerf_fake_graph_settle(g, want, why);
    if (err != KERF_OK)
        return err;
    n = calloc(1, sizeof *n);
    if (n == NULL)
        return kerf_fail(why, KERF_ENOMEM, "no memory for a network");
    n->base.in.count = g->in_count;
    n->base.out.count = g->out_count;
    for (size_t i = 0; i < g->in_count; i++)
        n->base.in.port[i] = g->value[i].port;
    for (size_t i = 0; i < g->out_count; i++)
        n->base.out.port[i] = g->value[g->out[i]].port;
    if (read->batch_most > 0) {
        for (size_t i = 0; err == KERF_OK && i < g->value_count; i++)
            err = check_sample(&g->value[i].port, why);
        if (err != KERF_OK) {
            free(n);
            return err;
        }
        free_batch(&n->base.in);
        free_batch(&n->base.out);
    }
    if (prep != NULL) {
        n->has_prep = true;
        n->image_port = image_port;
        n->rules.layout = prep->layout;
        n->rules.colour = prep->colour;
        n->rules.scale = prep->scale;
        n->rules.width = prep->width;
        n->rules.height = prep->height;
        memcpy(n->rules.mean, prep->mean, sizeof prep->mean);
        memcpy(n->rules.std, prep->std, sizeof prep->std);
        n->base.in.port[image_port].dtype = KERF_U8;
        n->base.in.port[image_port].shape = (kerf_shape){
            .rank = 4,
            .dims = {1, prep->height, prep->width, kerf_card_channels(prep)}};
    }
    n->graph = g;
    read->own = NULL;
    *out = &n->base;
    return KERF_OK;
}

static void
free_net(kerf_net *net)
{
    struct fake_net *n = (struct fake_net *)net;

    free(n->graph);
    free(n);
}

static kerf_err
new_request(kerf_request **out, kerf_net *net, size_t batch, kerf_detail *why)
{
    const struct fake_net *n = (const struct fake_net *)net;
    struct fake_request *r = calloc(1, sizeof *r);

    if (r == NULL)
        return kerf_fail(why, KERF_ENOMEM, "no memory for a request");
    /* Memory of their own for all values; bound ones take the other. */
    for (size_t i = 0; i < n->graph->value_count; i++) {
        const struct fake_value *v = &n->graph->value[i];
        kerf_shape shape = v->port.shape;
        kerf_err err;

        if (v->by_rows)
            shape.dims[0] = 8;
        else if (batch > 1 && shape.rank > 0)
            shape.dims[0] *= (int64_t)batch;
        err = kerf_tensor_alloc(&r->own[i], v->port.dtype, &shape);
        if (err != KERF_OK) {
            free_request(&r->base);
            return kerf_fail(why, err, "no memory for a value");
        }
    }
    *out = &r->base;
    return KERF_OK;
}

static void
free_request(kerf_request *request)
{
    struct fake_request *r = (struct fake_request *)request;

    for (size_t i = 0; i < FAKE_VALUES_MAX; i++)
        kerf_tensor_free(&r->own[i]);
    free(r);
}

static kerf_err
bind(kerf_request *request, size_t i, void *data, kerf_detail *why)
{
    (void)request;
    (void)i;
    (void)data;
    (void)why;
    return KERF_OK; /* engine.c has noted it in request->in and ->out */
}

static double
read_at(const kerf_tensor *t, size_t i)
{
    if (t->dtype == KERF_F32)
        return (double)((const float *)t->data)[i];
    return kerf_tensor_at(t, i);
}

static double
clamp(double v, double low, double high)
{
    if (!(v >= low)) /* NaN too */
        return low;
    return v > high ? high : v;
}

#define STORE_AS(type, low, high)                               \
    do {                                                        \
        ((type *)t->data)[i] = (type)clamp(rint(v), low, high); \
    } while (0)

static void
write_at(kerf_tensor *t, size_t i, double v)
{
    switch (t->dtype) {
    case KERF_F32:
        ((float *)t->data)[i] = (float)v;
        break;
    case KERF_F64:
        ((double *)t->data)[i] = v;
        break;
    case KERF_F16:
        ((uint16_t *)t->data)[i] = kerf_f32_to_f16((float)v);
        break;
    case KERF_BF16:
        ((uint16_t *)t->data)[i] = kerf_f32_to_bf16((float)v);
        break;
    case KERF_U8:
        STORE_AS(uint8_t, 0.0, 255.0);
        break;
    case KERF_I8:
        STORE_AS(int8_t, -128.0, 127.0);
        break;
    case KERF_U16:
        STORE_AS(uint16_t, 0.0, 65535.0);
        break;
    case KERF_I16:
        STORE_AS(int16_t, -32768.0, 32767.0);
        break;
    case KERF_U32:
        STORE_AS(uint32_t, 0.0, 4294967295.0);
        break;
    case KERF_I32:
        STORE_AS(int32_t, -2147483648.0, 2147483647.0);
        break;
    case KERF_U64: /* bounds that a double holds exactly */
        STORE_AS(uint64_t, 0.0, 0x1p63);
        break;
    case KERF_I64:
        STORE_AS(int64_t, -0x1p62, 0x1p62);
        break;
    case KERF_BOOL:
        ((uint8_t *)t->data)[i] = v > 0.5;
        break;
    case KERF_DTYPE_COUNT:
        break;
    }
}

static size_t
count_of(const kerf_tensor *t)
{
    return t->bytes / kerf_dtype_size(t->dtype);
}

/* The u8 image as the tensor that the model has. */
static void
apply_prep(const kerf_card *card, const uint8_t *image, kerf_tensor *t)
{
    size_t channels = (size_t)kerf_card_channels(card);
    size_t pixels = (size_t)card->width * (size_t)card->height;

    for (size_t p = 0; p < pixels; p++) {
        for (size_t c = 0; c < channels; c++) {
            float v = (float)image[p * channels + c];
            size_t at = card->layout == KERF_LAYOUT_NCHW ? c * pixels + p
                                                         : p * channels + c;

            v = (v * card->scale - card->mean[c]) / card->std[c];
            write_at(t, at, (double)v);
        }
    }
}

static void
choose_rows(kerf_tensor *t, const kerf_tensor *first)
{
    size_t rows = 0, count = count_of(first);

    for (size_t k = 0; k < count; k++)
        rows += read_at(first, k) > 0.5;
    rows %= 8;
    t->bytes = t->bytes / 8 * rows; /* it came with room for 8 */
    t->shape.dims[0] = (int64_t)rows;
}

static void
compute(const struct fake_value *v, const kerf_tensor *values, kerf_tensor *t)
{
    size_t m;

    if (v->by_rows)
        choose_rows(t, &values[v->in[0]]);
    m = count_of(t);
    for (size_t i = 0; i < m; i++) {
        uint64_t state = v->seed + i * 0x9E3779B97F4A7C15u;
        double sum = 0.0;

        for (size_t k = 0; k < v->in_count; k++) {
            const kerf_tensor *in = &values[v->in[k]];
            size_t n = count_of(in);

            if (n > 0 && n < m)
                sum += read_at(in, i % n);
            for (size_t j = i; n >= m && j < n; j += m)
                sum += read_at(in, j);
        }
        sum = v->a * sum + v->b;
        if (v->seed != 0)
            sum += (double)kerf_rng_unit(&state);
        write_at(t, i, sum);
    }
}

static void
spend(const struct fake_graph *g, uint64_t start_ns)
{
    uint64_t end = start_ns + g->cost_ns;
    uint64_t now = kerf_now_ns();

    if (g->sleeps && now < end) {
        struct timespec left = {.tv_sec = (time_t)((end - now) / 1000000000u),
                                .tv_nsec = (long)((end - now) % 1000000000u)};

        (void)nanosleep(&left, NULL);
    }
    while (!g->sleeps && kerf_now_ns() < end)
        ;
}

/* The memory of sample k of all values. */
static void
place(struct fake_request *r, const struct fake_graph *g, size_t k)
{
    const kerf_request *request = &r->base;

    memcpy(r->value, r->own, g->value_count * sizeof *r->value);
    for (size_t i = 0; request->batch > 0 && i < g->value_count; i++) {
        kerf_tensor *t = &r->value[i];

        t->shape.dims[0] /= (int64_t)request->batch;
        t->bytes /= request->batch;
        t->data = (uint8_t *)t->data + k * t->bytes;
    }
    for (size_t i = 0; i < g->in_count; i++) {
        if (request->in[i] != NULL)
            r->value[i].data =
                (uint8_t *)request->in[i] + k * r->value[i].bytes;
    }
    for (size_t i = 0; i < g->out_count; i++) {
        if (request->out[i] != NULL && g->out[i] >= g->in_count)
            r->value[g->out[i]].data = request->out[i];
    }
}

static void
run_sample(struct fake_request *r, const struct fake_net *n)
{
    const struct fake_graph *g = n->graph;
    const kerf_request *request = &r->base;

    if (n->has_prep) {
        r->value[n->image_port].data = r->own[n->image_port].data;
        apply_prep(&n->rules, request->in[n->image_port],
                   &r->value[n->image_port]);
    }
    for (size_t i = g->in_count; i < g->value_count; i++) {
        if (!g->value[i].once || r->made[i] != r->value[i].data)
            compute(&g->value[i], r->value, &r->value[i]);
        r->made[i] = r->value[i].data;
    }
    /* An output that is an input, or the same value twice: copied. */
    for (size_t i = 0; i < g->out_count; i++) {
        const kerf_tensor *t = &r->value[g->out[i]];

        if (request->out[i] != NULL && request->out[i] != t->data)
            memcpy(request->out[i], t->data, t->bytes);
    }
}

static kerf_err
run(kerf_request *request, kerf_detail *why)
{
    struct fake_request *r = (struct fake_request *)request;
    const struct fake_net *n = (const struct fake_net *)request->net;
    const struct fake_graph *g = n->graph;
    uint64_t start = g->cost_ns > 0 ? kerf_now_ns() : 0;
    size_t k = 0;

    if (g->fails_run && r->runs >= g->fail_after)
        return kerf_fail(why, KERF_EENGINE, "fake model: told to fail to run");
    do {
        place(r, g, k);
        run_sample(r, n);
    } while (++k < request->batch);
    if (g->cost_ns > 0)
        spend(g, start);
    r->runs++;
    return KERF_OK;
}

static kerf_err
get_out(kerf_request *request, size_t i, kerf_tensor *out, kerf_detail *why)
{
    const struct fake_request *r = (const struct fake_request *)request;
    const struct fake_net *n = (const struct fake_net *)request->net;

    size_t from = n->graph->out[i];

    (void)why;
    *out = r->value[from];
    if (request->batch == 0)
        return KERF_OK;
    *out = r->own[from]; /* of all samples */
    if (from < n->graph->in_count)
        out->data = request->in[from];
    return KERF_OK;
}
