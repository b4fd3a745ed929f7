/* The checks of engine.c and the fake engine that they are tried with. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <math.h>
#include <pthread.h>
#include <string.h>

#include "engine/probe.h"
#include "fake_models.h"
#include "kerf/engine.h"

struct fixture {
    kerf_engine *engine;
    kerf_net *net;
    kerf_request *request;
    kerf_detail why;
};

static kerf_model_bytes
model(const char *json)
{
    return (kerf_model_bytes){
        .format = KERF_FORMAT_PADDLE, .graph = json, .graph_len = strlen(json)};
}

static kerf_err
load(struct fixture *f, const char *json, const kerf_load *how)
{
    const kerf_engine_opts opts = {.kind = "fake"};
    kerf_model_bytes m = model(json);
    kerf_err err;

    *f = (struct fixture){0};
    assert_int_equal(kerf_engine_open(&f->engine, &opts, &f->why), KERF_OK);
    err = kerf_engine_load(f->engine, &f->net, &m, how, &f->why);
    if (err != KERF_OK) {
        assert_null(f->net);
        return err;
    }
    return kerf_request_new(&f->request, f->net, &f->why);
}

static void
unload(struct fixture *f)
{
    kerf_request_free(f->request);
    kerf_net_free(f->net);
    kerf_engine_close(f->engine);
}

/* Memory for a port, seeded. */
static kerf_tensor
tensor_for(const kerf_port *port, uint64_t seed)
{
    kerf_tensor t;

    assert_int_equal(kerf_tensor_alloc(&t, port->dtype, &port->shape), KERF_OK);
    kerf_tensor_fill_seeded(&t, &seed);
    return t;
}

static void
run_chain(const kerf_tensor *x, kerf_tensor *y)
{
    struct fixture head, tail;
    kerf_tensor middle[2];

    assert_int_equal(load(&head, FAKE_HEAD, NULL), KERF_OK);
    assert_int_equal(load(&tail, FAKE_TAIL, NULL), KERF_OK);
    assert_int_equal(kerf_request_bind_in(head.request, 0, x->data, NULL),
                     KERF_OK);
    for (size_t i = 0; i < 2; i++) {
        middle[i] = tensor_for(kerf_net_out(head.net, i), 0);
        assert_int_equal(
            kerf_request_bind_out(head.request, i, middle[i].data, NULL),
            KERF_OK);
        assert_int_equal(
            kerf_request_bind_in(tail.request, i, middle[i].data, NULL),
            KERF_OK);
    }
    assert_int_equal(kerf_request_bind_out(tail.request, 0, y->data, NULL),
                     KERF_OK);
    assert_int_equal(kerf_request_run(head.request, &head.why), KERF_OK);
    assert_int_equal(kerf_request_run(tail.request, &tail.why), KERF_OK);
    for (size_t i = 0; i < 2; i++)
        kerf_tensor_free(&middle[i]);
    unload(&head);
    unload(&tail);
}

static void
fake__tail_of_head__is_the_whole_bit_for_bit(void **state)
{
    struct fixture whole;
    kerf_tensor x, y, out;

    (void)state;
    assert_int_equal(load(&whole, FAKE_WHOLE, NULL), KERF_OK);
    x = tensor_for(kerf_net_in(whole.net, 0), 5);
    y = tensor_for(kerf_net_out(whole.net, 0), 0);
    assert_int_equal(kerf_request_bind_in(whole.request, 0, x.data, NULL),
                     KERF_OK);
    assert_int_equal(kerf_request_run(whole.request, &whole.why), KERF_OK);
    assert_int_equal(kerf_request_out(whole.request, 0, &out, NULL), KERF_OK);
    run_chain(&x, &y);
    assert_int_equal(out.bytes, y.bytes);
    assert_true(kerf_shape_equal(&out.shape, &y.shape));
    assert_memory_equal(out.data, y.data, y.bytes);
    kerf_tensor_free(&x);
    kerf_tensor_free(&y);
    unload(&whole);
}

/* What "once" leaves alone, until its memory is another. */
static void
fake__once__is_made_once_for_each_memory(void **state)
{
    static const char text[] =
        "{\"kerf_fake\": 1, \"inputs\": [{\"name\": \"x\", \"shape\": [2]}],"
        " \"outputs\": [{\"name\": \"y\", \"shape\": [2], \"once\": true}]}";
    struct fixture f;
    _Alignas(64) float x[2] = {1, 2};
    _Alignas(64) float y[2] = {0};
    _Alignas(64) float z[2] = {0};

    (void)state;
    assert_int_equal(load(&f, text, NULL), KERF_OK);
    assert_int_equal(kerf_request_bind_in(f.request, 0, x, NULL), KERF_OK);
    assert_int_equal(kerf_request_bind_out(f.request, 0, y, NULL), KERF_OK);
    assert_int_equal(kerf_request_run(f.request, NULL), KERF_OK);
    assert_true(y[0] == 1 && y[1] == 2);
    x[0] = 5;
    assert_int_equal(kerf_request_run(f.request, NULL), KERF_OK);
    assert_true(y[0] == 1 && y[1] == 2);
    assert_int_equal(kerf_request_bind_out(f.request, 0, z, NULL), KERF_OK);
    assert_int_equal(kerf_request_run(f.request, NULL), KERF_OK);
    assert_true(z[0] == 5 && z[1] == 2);
    unload(&f);
}

#define ADDS                                                                 \
    "{\"kerf_fake\": 1, \"inputs\": [{\"name\": \"x\", \"shape\": [1, 4]}]," \
    " \"outputs\": [{\"name\": \"y\", \"shape\": [1, 2]}]%s}"

/* Samples one behind the other, each as by itself. */
static void
batch__several_samples__each_as_alone(void **state)
{
    static const kerf_shape one = {.rank = 2, .dims = {1, 4}};
    const kerf_load how = {.shapes = &one, .shape_count = 1, .batch_most = 3};
    _Alignas(64) float x[12] = {1, 2, 3, 4, 10, 20, 30, 40, 5, 6, 7, 8};
    static const float y[6] = {4, 6, 40, 60, 12, 14};
    kerf_request *two = NULL;
    kerf_tensor out;
    char text[256];
    struct fixture f;

    (void)state;
    (void)snprintf(text, sizeof text, ADDS, ", \"batch\": true");
    assert_int_equal(load(&f, text, &how), KERF_OK);
    assert_int_equal(kerf_net_in(f.net, 0)->shape.dims[0], -1);
    assert_int_equal(kerf_net_out(f.net, 0)->shape.dims[0], -1);
    assert_false(kerf_net_is_static(f.net));
    for (size_t n = 1; n <= 3; n++) {
        assert_int_equal(kerf_request_new_batch(&two, f.net, n, NULL), KERF_OK);
        assert_int_equal(kerf_request_bind_in(two, 0, x, NULL), KERF_OK);
        assert_int_equal(kerf_request_run(two, &f.why), KERF_OK);
        assert_int_equal(kerf_request_out(two, 0, &out, NULL), KERF_OK);
        assert_int_equal(out.shape.dims[0], n);
        assert_int_equal(out.bytes, n * 2 * sizeof *y);
        assert_memory_equal(out.data, y, out.bytes);
        kerf_request_free(two);
    }
    assert_int_equal(kerf_request_new_batch(&two, f.net, 0, NULL), KERF_EINVAL);
    assert_int_equal(kerf_request_new_batch(&two, f.net, 4, NULL), KERF_EINVAL);
    unload(&f);
}

static void
batch__not_for_it__is_refused(void **state)
{
    static const kerf_shape one = {.rank = 2, .dims = {1, 4}};
    static const kerf_shape two = {.rank = 2, .dims = {2, 4}};
    const kerf_load how = {.shapes = &one, .shape_count = 1, .batch_most = 3};
    const kerf_load of_two = {
        .shapes = &two, .shape_count = 1, .batch_most = 3};
    const kerf_load no_shapes = {.batch_most = 3};
    kerf_request *request = NULL;
    char text[256];
    struct fixture f;

    (void)state;
    (void)snprintf(text, sizeof text, ADDS, "");
    assert_int_equal(load(&f, text, &how), KERF_ENOTSUP);
    unload(&f);
    assert_int_equal(load(&f, text, &no_shapes), KERF_EINVAL);
    unload(&f);
    assert_int_equal(load(&f, text, &of_two), KERF_EINVAL);
    unload(&f);
    assert_int_equal(load(&f, text, NULL), KERF_OK);
    assert_int_equal(kerf_request_new_batch(&request, f.net, 1, NULL),
                     KERF_EINVAL);
    unload(&f);
}

static void
fake__every_input_element__changes_an_output(void **state)
{
    struct fixture f;
    kerf_tensor x, out;
    float before[10];

    (void)state;
    assert_int_equal(load(&f, FAKE_CLASSES, NULL), KERF_OK);
    x = tensor_for(kerf_net_in(f.net, 0), 5);
    assert_int_equal(kerf_request_bind_in(f.request, 0, x.data, NULL), KERF_OK);
    assert_int_equal(kerf_request_run(f.request, NULL), KERF_OK);
    assert_int_equal(kerf_request_out(f.request, 0, &out, NULL), KERF_OK);
    assert_int_equal(out.bytes, sizeof before);
    memcpy(before, out.data, sizeof before);
    for (size_t i = 0; i < x.bytes / sizeof(float); i++) {
        ((float *)x.data)[i] += 1.0f;
        assert_int_equal(kerf_request_run(f.request, NULL), KERF_OK);
        assert_int_equal(kerf_request_out(f.request, 0, &out, NULL), KERF_OK);
        assert_memory_not_equal(before, out.data, sizeof before);
        ((float *)x.data)[i] -= 1.0f;
    }
    kerf_tensor_free(&x);
    unload(&f);
}

static void
load__prep__takes_the_u8_image(void **state)
{
    struct fixture f;
    kerf_card card;
    kerf_load how = {.prep = &card};
    kerf_tensor x, out;
    const uint8_t *pixels;

    (void)state;
    kerf_card_init(&card);
    card.is_image = true;
    card.width = 3;
    card.height = 2;
    card.scale = 0.5f;
    for (int c = 0; c < 3; c++) {
        card.mean[c] = (float)c;
        card.std[c] = 2.0f;
    }
    assert_int_equal(load(&f, FAKE_IMAGE, &how), KERF_OK);
    assert_int_equal(kerf_net_in(f.net, 0)->dtype, KERF_U8);
    x = tensor_for(kerf_net_in(f.net, 0), 5);
    assert_int_equal(x.bytes, 2 * 3 * 3);
    for (size_t i = 0; i < x.bytes; i++)
        ((uint8_t *)x.data)[i] = (uint8_t)(i * 14);
    pixels = x.data;
    assert_int_equal(kerf_request_bind_in(f.request, 0, x.data, NULL), KERF_OK);
    assert_int_equal(kerf_request_run(f.request, NULL), KERF_OK);
    assert_int_equal(kerf_request_out(f.request, 0, &out, NULL), KERF_OK);
    for (size_t c = 0; c < 3; c++) {
        for (size_t p = 0; p < 6; p++) {
            float v = ((float)pixels[p * 3 + c] * 0.5f - (float)c) / 2.0f;

            assert_true(((float *)out.data)[c * 6 + p] == v);
        }
    }
    card.width = 4; /* the model's own width is 3 */
    unload(&f);
    assert_int_equal(load(&f, FAKE_IMAGE, &how), KERF_EINVAL);
    assert_non_null(strstr(f.why.text, "input 0 'x'"));
    unload(&f);
    kerf_tensor_free(&x);
    kerf_card_fini(&card);
}

static void
load__free_dims__are_settled_or_named(void **state)
{
    const kerf_shape given = {.rank = 4, .dims = {4, 3, 8, 8}};
    const kerf_shape wrong = {.rank = 4, .dims = {4, 1, 8, 8}};
    kerf_load how = {.shapes = &given, .shape_count = 1};
    struct fixture f;

    (void)state;
    assert_int_equal(load(&f, FAKE_FREE, NULL), KERF_EINVAL);
    assert_string_equal(
        f.why.text, "input 0 'x' has free dims (1, 3, ?, ?): give --size HxW");
    unload(&f);
    assert_int_equal(load(&f, FAKE_FREE_WORDS, NULL), KERF_EINVAL);
    assert_string_equal(f.why.text, "input 0 'x' has free dims (1, ?): export "
                                    "the model with fixed ones");
    unload(&f);
    assert_int_equal(load(&f, FAKE_FREE, &how), KERF_OK);
    assert_int_equal(kerf_net_in(f.net, 0)->shape.dims[0], 4);
    assert_int_equal(kerf_net_out(f.net, 0)->shape.dims[0], 4);
    unload(&f);
    how.shapes = &wrong;
    assert_int_equal(load(&f, FAKE_FREE, &how), KERF_EINVAL);
    assert_string_equal(f.why.text,
                        "input 0 'x' is (?, 3, ?, ?), not (4, 1, 8, 8)");
    unload(&f);
    how.shape_count = 2;
    assert_int_equal(load(&f, FAKE_FREE, &how), KERF_EINVAL);
    unload(&f);
}

static void
bind__wrong_port_or_memory__is_refused(void **state)
{
    struct fixture f;
    kerf_tensor x, out;

    (void)state;
    assert_int_equal(load(&f, FAKE_CLASSES, NULL), KERF_OK);
    x = tensor_for(kerf_net_in(f.net, 0), 1);
    assert_int_equal(kerf_request_run(f.request, &f.why), KERF_EINVAL);
    assert_string_equal(f.why.text, "input 0 'x' is not bound");
    assert_int_equal(kerf_request_out(f.request, 0, &out, NULL), KERF_EINVAL);
    assert_int_equal(kerf_request_bind_in(f.request, 1, x.data, NULL),
                     KERF_EINVAL);
    assert_int_equal(kerf_request_bind_in(f.request, 0, NULL, NULL),
                     KERF_EINVAL);
    assert_int_equal(
        kerf_request_bind_in(f.request, 0, (uint8_t *)x.data + 4, &f.why),
        KERF_EINVAL);
    assert_string_equal(f.why.text,
                        "input 0 'x': memory must start at a multiple of 64");
    assert_int_equal(kerf_request_bind_out(f.request, 1, x.data, NULL),
                     KERF_EINVAL);
    assert_int_equal(kerf_request_bind_in(f.request, 0, x.data, NULL), KERF_OK);
    assert_int_equal(kerf_request_bind_in(f.request, 0, x.data, NULL), KERF_OK);
    assert_int_equal(kerf_request_run(f.request, NULL), KERF_OK);
    assert_int_equal(kerf_request_out(f.request, 1, &out, NULL), KERF_EINVAL);
    kerf_tensor_free(&x);
    unload(&f);
}

static void
bind_out__rows_that_depend_on_the_data__is_refused(void **state)
{
    struct fixture f;
    kerf_tensor x, out;

    (void)state;
    assert_int_equal(load(&f, FAKE_ROWS, NULL), KERF_OK);
    assert_false(kerf_net_is_static(f.net));
    x = tensor_for(kerf_net_in(f.net, 0), 1);
    assert_int_equal(kerf_request_bind_out(f.request, 0, x.data, NULL),
                     KERF_ENOTSUP);
    assert_int_equal(kerf_request_bind_in(f.request, 0, x.data, NULL), KERF_OK);
    for (size_t rows = 0; rows < 8; rows++) {
        for (size_t i = 0; i < 16; i++)
            ((float *)x.data)[i] = i < rows ? 1.0f : 0.0f;
        assert_int_equal(kerf_request_run(f.request, NULL), KERF_OK);
        assert_int_equal(kerf_request_out(f.request, 0, &out, NULL), KERF_OK);
        assert_int_equal(out.shape.dims[0], rows);
        assert_int_equal(out.bytes, rows * 6 * sizeof(float));
    }
    kerf_tensor_free(&x);
    unload(&f);
}

static void
fake__told_to_fail__fails(void **state)
{
    struct fixture f;
    kerf_tensor x, out;

    (void)state;
    assert_int_equal(load(&f, FAKE_FAILS_LOAD, NULL), KERF_EENGINE);
    unload(&f);
    assert_int_equal(load(&f, FAKE_FAILS_RUN, NULL), KERF_OK);
    x = tensor_for(kerf_net_in(f.net, 0), 1);
    assert_int_equal(kerf_request_bind_in(f.request, 0, x.data, NULL), KERF_OK);
    assert_int_equal(kerf_request_run(f.request, NULL), KERF_OK);
    assert_int_equal(kerf_request_run(f.request, NULL), KERF_EENGINE);
    assert_int_equal(kerf_request_out(f.request, 0, &out, NULL), KERF_EINVAL);
    kerf_tensor_free(&x);
    unload(&f);
}

static void
load__every_truncation__is_corrupt(void **state)
{
    const kerf_engine_opts opts = {.kind = "fake"};
    kerf_model_bytes m = model(FAKE_WHOLE);
    kerf_engine *engine = NULL;
    kerf_net *net = NULL;

    (void)state;
    assert_int_equal(kerf_engine_open(&engine, &opts, NULL), KERF_OK);
    for (size_t len = 0; len < strlen(FAKE_WHOLE); len++) {
        m.graph_len = len;
        assert_int_equal(kerf_engine_load(engine, &net, &m, NULL, NULL),
                         KERF_ECORRUPT);
    }
    kerf_engine_close(engine);
}

static void
inspect__free_dims__are_shown_as_they_are(void **state)
{
    const kerf_engine_opts opts = {.kind = "fake"};
    static kerf_port in[KERF_PORTS_MAX], out[KERF_PORTS_MAX];
    kerf_model_bytes m = model(FAKE_FREE);
    size_t in_count = 0, out_count = 0;
    kerf_engine *engine = NULL;

    (void)state;
    assert_int_equal(kerf_engine_open(&engine, &opts, NULL), KERF_OK);
    assert_int_equal(
        kerf_engine_inspect(engine, &m, in, &in_count, out, &out_count, NULL),
        KERF_OK);
    assert_int_equal(in_count, 1);
    assert_int_equal(out_count, 1);
    assert_string_equal(in[0].name, "x");
    assert_int_equal(in[0].shape.dims[2], -1);
    kerf_engine_close(engine);
}

static void
shapes__free_batch__are_said_free_and_static(void **state)
{
    const kerf_shape given[] = {{.rank = 4, .dims = {2, 3, 32, 32}},
                                {.rank = 4, .dims = {2, 3, 32, 31}}};
    const kerf_engine_opts opts = {.kind = "fake"};
    kerf_model_bytes m = model(FAKE_HEAD);
    kerf_engine *engine = NULL;
    kerf_out_shape out[2];
    size_t count = 0;

    (void)state;
    assert_int_equal(kerf_engine_open(&engine, &opts, NULL), KERF_OK);
    assert_int_equal(
        kerf_engine_shapes(engine, &m, NULL, 0, out, 1, &count, NULL),
        KERF_ETOOBIG);
    assert_int_equal(
        kerf_engine_shapes(engine, &m, &given[1], 1, out, 2, &count, NULL),
        KERF_EINVAL);
    assert_int_equal(count, 0);
    assert_int_equal(
        kerf_engine_shapes(engine, &m, NULL, 0, out, 2, &count, NULL), KERF_OK);
    assert_int_equal(count, 2);
    assert_int_equal(out[0].fixed.dims[0], -1);
    assert_int_equal(
        kerf_engine_shapes(engine, &m, given, 1, out, 2, &count, NULL),
        KERF_OK);
    assert_true(out[0].is_known && out[1].is_known);
    assert_int_equal(out[1].dtype, KERF_I32);
    assert_int_equal(out[0].shape.dims[0], -1);
    assert_int_equal(out[0].fixed.dims[0], 2);
    assert_int_equal(out[0].fixed.dims[1], 64);
    kerf_engine_close(engine);
}

static void
open__unknown_kind__is_not_supported(void **state)
{
    const kerf_engine_opts unknown = {.kind = "abacus"};
    const kerf_engine_opts threads = {.kind = "fake", .threads = -1};
    kerf_engine *engine = NULL;
    kerf_detail why;

    (void)state;
    assert_int_equal(kerf_engine_open(&engine, &unknown, &why), KERF_ENOTSUP);
    assert_non_null(strstr(why.text, "abacus"));
    assert_int_equal(kerf_engine_open(&engine, &threads, &why), KERF_EINVAL);
    assert_null(engine);
    kerf_engine_close(NULL);
    kerf_net_free(NULL);
    kerf_request_free(NULL);
}

struct worker {
    kerf_net *net;
    const kerf_tensor *x;
    float first;
};

static void *
work(void *arg)
{
    struct worker *w = arg;
    kerf_request *request = NULL;
    kerf_tensor out = {0};

    if (kerf_request_new(&request, w->net, NULL) != KERF_OK)
        return NULL;
    if (kerf_request_bind_in(request, 0, w->x->data, NULL) == KERF_OK) {
        for (int i = 0; i < 20; i++) {
            if (kerf_request_run(request, NULL) == KERF_OK &&
                kerf_request_out(request, 0, &out, NULL) == KERF_OK)
                w->first = ((float *)out.data)[0];
        }
    }
    kerf_request_free(request);
    return NULL;
}

static void
request__one_for_each_thread__agree(void **state)
{
    struct worker worker[4];
    pthread_t thread[4];
    struct fixture f;
    kerf_tensor x;

    (void)state;
    assert_int_equal(load(&f, FAKE_CLASSES, NULL), KERF_OK);
    x = tensor_for(kerf_net_in(f.net, 0), 1);
    for (int i = 0; i < 4; i++) {
        worker[i] = (struct worker){.net = f.net, .x = &x};
        assert_int_equal(pthread_create(&thread[i], NULL, work, &worker[i]), 0);
    }
    for (int i = 0; i < 4; i++)
        assert_int_equal(pthread_join(thread[i], NULL), 0);
    for (int i = 0; i < 4; i++) {
        assert_true(worker[i].first != 0.0f);
        assert_true(worker[i].first == worker[0].first);
    }
    kerf_tensor_free(&x);
    unload(&f);
}

/* A probe is written as JSON, which has no word for NaN; and infinity would
 * make everything near enough. */
static void
probe__values_that_are_not_finite__are_left_out(void **state)
{
    float data[2][4] = {{1, NAN, INFINITY, 4}, {NAN, NAN, -INFINITY, NAN}};
    kerf_shape shape = {.rank = 1, .dims = {4}};
    kerf_tensor out[2] = {
        {.shape = shape, .data = data[0], .bytes = sizeof data[0]},
        {.shape = shape, .data = data[1], .bytes = sizeof data[1]}};
    kerf_probe probe = {0};
    kerf_detail why = {{0}};

    (void)state;
    assert_int_equal(kerf_probe_sample(&probe, 1, out, 2), KERF_OK);
    assert_int_equal(probe.out[0].count, 2);
    assert_int_equal(probe.out[0].at[1], 3);
    assert_true(probe.out[0].value[1] == 4);
    assert_int_equal(probe.out[1].count, 0);
    assert_int_equal(probe.out[1].shape.dims[0], 4);
    assert_int_equal(kerf_probe_check(&probe, out, 2, 1e-3, &why), KERF_OK);
    data[0][1] = 7; /* not looked at */
    assert_int_equal(kerf_probe_check(&probe, out, 2, 1e-3, &why), KERF_OK);
    data[0][3] = 5;
    assert_int_equal(kerf_probe_check(&probe, out, 2, 1e-3, &why),
                     KERF_EMISMATCH);
    data[0][3] = NAN;
    assert_int_equal(kerf_probe_check(&probe, out, 2, 1e-3, &why),
                     KERF_EMISMATCH);
    assert_non_null(strstr(why.text, "output 0 element 3 is nan, expected 4"));
    kerf_probe_fini(&probe);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(fake__tail_of_head__is_the_whole_bit_for_bit),
        cmocka_unit_test(fake__once__is_made_once_for_each_memory),
        cmocka_unit_test(batch__several_samples__each_as_alone),
        cmocka_unit_test(batch__not_for_it__is_refused),
        cmocka_unit_test(fake__every_input_element__changes_an_output),
        cmocka_unit_test(load__prep__takes_the_u8_image),
        cmocka_unit_test(load__free_dims__are_settled_or_named),
        cmocka_unit_test(bind__wrong_port_or_memory__is_refused),
        cmocka_unit_test(bind_out__rows_that_depend_on_the_data__is_refused),
        cmocka_unit_test(fake__told_to_fail__fails),
        cmocka_unit_test(load__every_truncation__is_corrupt),
        cmocka_unit_test(inspect__free_dims__are_shown_as_they_are),
        cmocka_unit_test(shapes__free_batch__are_said_free_and_static),
        cmocka_unit_test(open__unknown_kind__is_not_supported),
        cmocka_unit_test(request__one_for_each_thread__agree),
        cmocka_unit_test(probe__values_that_are_not_finite__are_left_out),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
