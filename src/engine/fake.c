/*
 * A deterministic engine for tests, sanitizers and fuzzers: small, portable,
 * the same bits everywhere. Its "model" is JSON text in place of the graph
 * (KERF_FORMAT_PADDLE: the .pdmodel file); weights may be anything or none.
 *
 *   {"kerf_fake": 1,
 *    "inputs":  [{"name": "x", "dtype": "f32", "shape": [-1, 3, 32, 32]}],
 *    "hidden":  [{"name": "h", "shape": [-1, 64, 8, 8], "in": ["x"],
 *                 "a": 0.5, "b": 1, "seed": 7}],
 *    "outputs": [{"name": "y", "shape": [-1, 10], "in": ["h"]}],
 *    "cost_us": 0, "cost": "busy", "fail": ""}
 *
 * A value (hidden or output) is computed from earlier values and inputs ("in";
 * without it: from all inputs). With m elements of the value and n of one that
 * it reads:
 *     value[i] = a * sum over what it reads of
 *                    (n >= m: in[i] + in[i + m] + ... ; n < m: in[i % n])
 *                + b + w(seed, i)
 * summed in double, in order; w is in [0, 1), and 0 for seed 0 (the default).
 * So "affine" is a value as large as its input, and ten "class scores" are a
 * value of ten elements. An entry of "outputs" may also be the name of an input
 * or a hidden value. Cutting is moving: the hidden value that ends the head is
 * the tail's input, and tail(head(x)) equals the whole bit for bit.
 *
 *   "dtype"    default "f32"; integers are rounded and saturate
 *   "shape"    -1 first: the batch of input 0, 1 when it is free too
 *   "once"     true: a request computes it in its first run, and leaves it as
 *              it is from then on: a network that costs nothing, for benchmarks
 *   "rows"     of an output: true makes its first dim depend on the data:
 *              (elements of what it reads first that are > 0.5) modulo 8
 *   "batch"    true: it may run several samples at once, each as by itself, in
 *              the time of one
 *   "cost_us"  each run lasts at least this long; "cost": "busy" burns the CPU,
 *              "sleep" waits
 *   "fail"     "load" or "run": that call fails with KERF_EENGINE;
 *              "fail_after": n lets n runs of each request succeed first
 */
#include "engine/engine.h"

#include "base/clock.h"
#include "base/rng.h"
#include "tensor/half.h"

#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define VALUES_MAX ((size_t)3 * KERF_PORTS_MAX)

/* One input, hidden value or output, in the order of computing. */
struct value {
    kerf_port port;
    double a, b;
    uint64_t seed;
    bool by_rows, once;
    size_t in_count;
    size_t in[KERF_PORTS_MAX]; /* indices of earlier values */
};

struct fake_graph {
    size_t in_count, value_count, out_count;
    struct value value[VALUES_MAX]; /* the inputs are first */
    size_t out[KERF_PORTS_MAX];     /* indices of values */
    uint64_t cost_ns, fail_after;
    bool sleeps, fails_load, fails_run, batches;
};

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
    kerf_tensor value[VALUES_MAX];
    kerf_tensor own[VALUES_MAX];  /* memory of hidden and unbound values */
    const void *made[VALUES_MAX]; /* where those made once are */
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
    struct value *v = &g->value[g->value_count];
    const json_t *in = json_object_get(o, "in");
    const json_t *a = json_object_get(o, "a");
    kerf_err err;

    if (g->value_count == VALUES_MAX)
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

static kerf_err
read_fake(kerf_engine *engine, kerf_graph_read *read, const kerf_model_bytes *m,
          kerf_detail *why)
{
    struct fake_graph *g = calloc(1, sizeof *g);
    json_t *root = json_loadb(m->graph, m->graph_len, 0, NULL);
    kerf_err err;

    (void)engine;
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
    read->in.count = g->in_count;
    read->out.count = read->out_count = g->out_count;
    for (size_t i = 0; i < g->in_count; i++)
        read->in.port[i] = g->value[i].port;
    for (size_t i = 0; i < g->out_count; i++)
        read->out.port[i] = g->value[g->out[i]].port;
    read->own = g;
    g = NULL;
out:
    json_decref(root);
    free(g);
    return err;
}

static void
drop(kerf_graph_read *read)
{
    free(read->own);
    read->own = NULL;
}

/* Gives every value its static shape. */
static kerf_err
settle_values(struct fake_graph *g, const kerf_shape *want, kerf_detail *why)
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
    return settle_values(read->own, want, why);
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
    err = settle_values(g, want, why);
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
        const struct value *v = &n->graph->value[i];
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

    for (size_t i = 0; i < VALUES_MAX; i++)
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
compute(const struct value *v, const kerf_tensor *values, kerf_tensor *t)
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

    memcpy(r->value, r->own, sizeof r->value);
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
