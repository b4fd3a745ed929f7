#include "bench/alone.h"

#include "base/clock.h"
#include "engine/load_card.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#define WARM_RUNS 20
#define SEED 1
#define THREADS_MAX 256

/* head: NULL to load the head itself; else the tail, shaped to what it gives.
 */
static kerf_err
load_net(kerf_half *half, kerf_engine *engine, const kerf_pair *pair,
         const kerf_net *head, kerf_detail *why)
{
    kerf_model_bytes bytes = kerf_pair_bytes(pair, head == NULL);

    if (head == NULL)
        return kerf_engine_load_raw(engine, &half->net, &bytes,
                                    pair->has_card ? &pair->card : NULL, why);
    return kerf_engine_load_tail(engine, &half->net, &bytes, head, why);
}

static kerf_err
load_half(kerf_half *half, kerf_engine *engine, const kerf_pair *pair,
          const kerf_net *head, kerf_detail *why)
{
    kerf_err err = load_net(half, engine, pair, head, why);

    if (err == KERF_OK && !kerf_net_is_static(half->net))
        err = kerf_fail(why, KERF_ENOTSUP,
                        "%s: the shape of an output depends on the data",
                        pair->manifest.name);
    if (err == KERF_OK)
        err = kerf_request_new(&half->request, half->net, why);
    for (size_t i = 0; err == KERF_OK && i < kerf_net_in_count(half->net);
         i++) {
        const kerf_port *port = kerf_net_in(half->net, i);

        err = kerf_tensor_alloc(&half->in[i], port->dtype, &port->shape);
        if (err == KERF_OK)
            err = kerf_request_bind_in(half->request, i, half->in[i].data, why);
    }
    return err;
}

static kerf_err
join_halves(kerf_alone *a, const char *name, kerf_detail *why)
{
    size_t count = kerf_net_out_count(a->head.net);
    kerf_err err = KERF_OK;

    if (count != kerf_net_in_count(a->tail.net))
        return kerf_fail(why, KERF_EMISMATCH,
                         "%s: the head gives %zu tensors, the tail takes %zu",
                         name, count, kerf_net_in_count(a->tail.net));
    for (size_t i = 0; err == KERF_OK && i < count; i++) {
        const kerf_port *port = kerf_net_out(a->head.net, i);

        if (port->dtype != a->tail.in[i].dtype ||
            !kerf_shape_equal(&port->shape, &a->tail.in[i].shape))
            return kerf_fail(why, KERF_EMISMATCH,
                             "%s: tensor %zu is not what the tail takes", name,
                             i);
        err =
            kerf_request_bind_out(a->head.request, i, a->tail.in[i].data, why);
    }
    return err;
}

static kerf_err
run_both(kerf_alone *a, kerf_detail *why)
{
    kerf_err err = kerf_request_run(a->head.request, why);

    return err == KERF_OK ? kerf_request_run(a->tail.request, why) : err;
}

kerf_err
kerf_alone_init(kerf_alone *a, kerf_engine *engine, const kerf_pair *pair,
                kerf_detail *why)
{
    uint64_t seed = SEED;
    kerf_err err;

    memset(a, 0, sizeof *a);
    err = load_half(&a->head, engine, pair, NULL, why);
    if (err == KERF_OK)
        err = load_half(&a->tail, engine, pair, a->head.net, why);
    if (err == KERF_OK)
        err = join_halves(a, pair->manifest.name, why);
    for (size_t i = 0; err == KERF_OK && i < kerf_net_out_count(a->tail.net);
         i++) {
        const kerf_port *port = kerf_net_out(a->tail.net, i);

        err = kerf_tensor_alloc(&a->out[i], port->dtype, &port->shape);
        if (err == KERF_OK)
            err =
                kerf_request_bind_out(a->tail.request, i, a->out[i].data, why);
    }
    for (size_t i = 0; err == KERF_OK && i < kerf_net_in_count(a->head.net);
         i++)
        kerf_tensor_fill_seeded(&a->head.in[i], &seed);
    for (int i = 0; err == KERF_OK && i < WARM_RUNS; i++)
        err = run_both(a, why);
    return err;
}

static void
free_half(kerf_half *half)
{
    kerf_request_free(half->request);
    kerf_net_free(half->net);
    kerf_tensors_free(half->in, KERF_PORTS_MAX);
}

void
kerf_alone_fini(kerf_alone *a)
{
    free_half(&a->head);
    free_half(&a->tail);
    kerf_tensors_free(a->out, KERF_PORTS_MAX);
    memset(a, 0, sizeof *a);
}

size_t
kerf_alone_crossing(const kerf_alone *a)
{
    size_t bytes = 0;

    for (size_t i = 0; i < kerf_net_in_count(a->tail.net); i++)
        bytes += a->tail.in[i].bytes;
    return bytes;
}

size_t
kerf_alone_answer(const kerf_alone *a)
{
    size_t bytes = 0;

    for (size_t i = 0; i < kerf_net_out_count(a->tail.net); i++)
        bytes += a->out[i].bytes;
    return bytes;
}

kerf_err
kerf_half_time(kerf_half *half, kerf_stats *ns, int runs, kerf_detail *why)
{
    kerf_err err = KERF_OK;

    for (int i = -WARM_RUNS; err == KERF_OK && i < runs; i++) {
        uint64_t start_ns = kerf_now_ns();

        err = kerf_request_run(half->request, why);
        if (i >= 0)
            kerf_stats_add(ns, (double)(kerf_now_ns() - start_ns));
    }
    return err;
}

struct runner {
    kerf_alone *alone;
    double seconds, hz;
    kerf_err err;
    kerf_detail why;
};

static void *
run_for(void *ctx)
{
    struct runner *r = ctx;
    uint64_t start_ns = kerf_now_ns();
    uint64_t spent_ns = 0;
    uint64_t runs = 0;

    while (r->err == KERF_OK && (double)spent_ns < r->seconds * 1e9) {
        r->err = run_both(r->alone, &r->why);
        runs++;
        spent_ns = kerf_now_ns() - start_ns;
    }
    r->hz = (double)runs * 1e9 / (double)spent_ns;
    return NULL;
}

kerf_err
kerf_alone_rate(kerf_alone *a, size_t count, double seconds, double *hz,
                kerf_detail *why)
{
    struct runner *r = calloc(count, sizeof *r);
    pthread_t thread[THREADS_MAX];
    size_t started = 0;
    kerf_err err = KERF_OK;

    if (r == NULL || count > THREADS_MAX) {
        free(r);
        return KERF_ENOMEM;
    }
    *hz = 0;
    for (; started < count; started++) {
        r[started].alone = &a[started];
        r[started].seconds = seconds;
        if (pthread_create(&thread[started], NULL, run_for, &r[started]) != 0) {
            err = kerf_fail(why, KERF_ENOMEM, "cannot start a thread");
            break;
        }
    }
    for (size_t i = 0; i < started; i++) {
        (void)pthread_join(thread[i], NULL);
        *hz += r[i].hz;
        if (err == KERF_OK && r[i].err != KERF_OK)
            err = kerf_fail(why, r[i].err, "%s", r[i].why.text);
    }
    free(r);
    return err;
}

kerf_err
kerf_bench_limit(const char *dir, const char *name, double seconds, double *hz,
                 kerf_detail *why)
{
    const kerf_engine_opts opts = {0};
    kerf_engine *engine = NULL;
    kerf_alone alone = {0};
    kerf_pair pair = {0};
    kerf_err err = kerf_pair_read(&pair, dir, name, why);

    if (err == KERF_OK)
        err = kerf_engine_open(&engine, &opts, why);
    if (err == KERF_OK)
        err = kerf_alone_init(&alone, engine, &pair, why);
    if (err == KERF_OK)
        err = kerf_alone_rate(&alone, 1, seconds, hz, why);
    kerf_alone_fini(&alone);
    kerf_engine_close(engine);
    kerf_pair_fini(&pair);
    return err;
}
