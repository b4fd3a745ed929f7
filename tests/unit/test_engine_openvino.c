/* OpenVINO behind engine.h, on the demo model and, when they are there, on the
 * models beside the repository. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/fs.h"
#include "engine/openvino_check.h"
#include "kerf/engine.h"
#include "paddle_text.h"

#define DIGITS KERF_TEST_MODELS "/digits/"
#define SHARED KERF_TEST_SHARED "/"

struct model {
    uint8_t *graph, *weights;
    kerf_model_bytes bytes;
};

struct net {
    kerf_net *net;
    kerf_request *request;
    kerf_tensor in[4], out[4]; /* bound, inputs seeded */
};

static kerf_engine *engine;

static int
open_engine(void **state)
{
    (void)state;
    return kerf_engine_open(&engine, NULL, NULL) != KERF_OK;
}

static int
close_engine(void **state)
{
    (void)state;
    kerf_engine_close(engine);
    return 0;
}

/* False when the graph is not there; ext of the weights may be NULL. */
static bool
read_model(struct model *m, kerf_format format, const char *stem,
           const char *graph_ext, const char *weights_ext)
{
    char path[KERF_PATH_MAX];

    *m = (struct model){.bytes = {.format = format}};
    (void)snprintf(path, sizeof path, "%s%s", stem, graph_ext);
    if (!kerf_fs_exists(path)) {
        print_message("no %s: this part is left out\n", path);
        return false;
    }
    assert_int_equal(kerf_fs_read(path, KERF_MODEL_BYTES_MAX, &m->graph,
                                  &m->bytes.graph_len, NULL),
                     KERF_OK);
    if (weights_ext != NULL) {
        (void)snprintf(path, sizeof path, "%s%s", stem, weights_ext);
        assert_int_equal(kerf_fs_read(path, KERF_MODEL_BYTES_MAX, &m->weights,
                                      &m->bytes.weights_len, NULL),
                         KERF_OK);
    }
    m->bytes.graph = m->graph;
    m->bytes.weights = m->weights;
    return true;
}

static bool
read_paddle(struct model *m, const char *stem)
{
    return read_model(m, KERF_FORMAT_PADDLE, stem, ".pdmodel", ".pdiparams");
}

static void
free_model(struct model *m)
{
    free(m->graph);
    free(m->weights);
    *m = (struct model){0};
}

/* Loads, lets the bytes go, binds everything that can be bound. */
static void
start(struct net *n, struct model *m, const kerf_load *how)
{
    kerf_detail why = {0};
    uint64_t seed = 3;
    kerf_err err;

    *n = (struct net){0};
    err = kerf_engine_load(engine, &n->net, &m->bytes, how, &why);
    if (err != KERF_OK)
        print_message("%s\n", why.text);
    assert_int_equal(err, KERF_OK);
    free_model(m);
    assert_int_equal(kerf_request_new(&n->request, n->net, &why), KERF_OK);
    assert_true(kerf_net_in_count(n->net) <= 4);
    assert_true(kerf_net_out_count(n->net) <= 4);
    for (size_t i = 0; i < kerf_net_in_count(n->net); i++) {
        const kerf_port *port = kerf_net_in(n->net, i);

        assert_int_equal(
            kerf_tensor_alloc(&n->in[i], port->dtype, &port->shape), KERF_OK);
        kerf_tensor_fill_seeded(&n->in[i], &seed);
        assert_int_equal(
            kerf_request_bind_in(n->request, i, n->in[i].data, NULL), KERF_OK);
    }
    for (size_t i = 0; i < kerf_net_out_count(n->net); i++) {
        const kerf_port *port = kerf_net_out(n->net, i);

        if (!kerf_shape_is_static(&port->shape))
            continue;
        assert_int_equal(
            kerf_tensor_alloc(&n->out[i], port->dtype, &port->shape), KERF_OK);
        assert_int_equal(
            kerf_request_bind_out(n->request, i, n->out[i].data, NULL),
            KERF_OK);
    }
}

static void
run(struct net *n)
{
    kerf_detail why = {0};
    kerf_err err = kerf_request_run(n->request, &why);

    if (err != KERF_OK)
        print_message("%s\n", why.text);
    assert_int_equal(err, KERF_OK);
}

static void
stop(struct net *n)
{
    kerf_request_free(n->request);
    kerf_net_free(n->net);
    for (size_t i = 0; i < 4; i++) {
        kerf_tensor_free(&n->in[i]);
        kerf_tensor_free(&n->out[i]);
    }
}

static double
max_diff(const kerf_tensor *a, const kerf_tensor *b)
{
    size_t count = 0;
    double most = 0.0;

    assert_int_equal(a->bytes, b->bytes);
    assert_int_equal(kerf_shape_count(&a->shape, &count), KERF_OK);
    for (size_t i = 0; i < count; i++)
        most = fmax(most, fabs(kerf_tensor_at(a, i) - kerf_tensor_at(b, i)));
    return most;
}

static void
run__tail_of_head__is_the_whole(void **state)
{
    struct model m;
    struct net whole, head, tail;

    (void)state;
    if (!read_paddle(&m, DIGITS "digits"))
        skip();
    start(&whole, &m, NULL);
    assert_true(read_paddle(&m, DIGITS "client_infer_digits"));
    start(&head, &m, NULL);
    assert_true(read_paddle(&m, DIGITS "server_infer_digits"));
    start(&tail, &m, NULL);
    run(&whole);
    run(&head);
    assert_int_equal(
        kerf_request_bind_in(tail.request, 0, head.out[0].data, NULL), KERF_OK);
    run(&tail);
    assert_true(max_diff(&whole.out[0], &tail.out[0]) < 1e-6);
    stop(&whole);
    stop(&head);
    stop(&tail);
}

static void
load__prep__equals_the_formula(void **state)
{
    struct net image, plain;
    struct model m;
    kerf_card card;
    kerf_load how = {.prep = &card};
    float *x;

    (void)state;
    if (!read_paddle(&m, DIGITS "digits"))
        skip();
    kerf_card_init(&card);
    card.is_image = true;
    card.width = card.height = 32;
    card.scale = 1.0f / 255.0f;
    for (int c = 0; c < 3; c++) {
        card.mean[c] = 0.4f + 0.05f * (float)c;
        card.std[c] = 0.3f - 0.02f * (float)c;
    }
    start(&image, &m, &how);
    assert_int_equal(kerf_net_in(image.net, 0)->dtype, KERF_U8);
    assert_true(read_paddle(&m, DIGITS "digits"));
    start(&plain, &m, NULL);
    x = plain.in[0].data;
    for (size_t p = 0; p < 1024; p++) {
        for (size_t c = 0; c < 3; c++) {
            uint8_t pixel = (uint8_t)(p * 7U + c * 31U);

            ((uint8_t *)image.in[0].data)[p * 3 + c] = pixel;
            x[c * 1024 + p] =
                ((float)pixel * card.scale - card.mean[c]) / card.std[c];
        }
    }
    run(&image);
    run(&plain);
    assert_true(max_diff(&image.out[0], &plain.out[0]) < 1e-5);
    stop(&image);
    stop(&plain);
    kerf_card_fini(&card);
}

static void
bind__more_memories_than_are_kept__all_work(void **state)
{
    kerf_tensor x[100], own;
    struct model m;
    struct net n;

    (void)state;
    if (!read_paddle(&m, DIGITS "digits"))
        skip();
    start(&n, &m, NULL);
    run(&n);
    for (int round = 0; round < 2; round++) {
        for (size_t i = 0; i < 100; i++) {
            kerf_tensor y;

            if (round == 0) {
                assert_int_equal(
                    kerf_tensor_alloc(&x[i], n.in[0].dtype, &n.in[0].shape),
                    KERF_OK);
                memcpy(x[i].data, n.in[0].data, x[i].bytes);
            }
            assert_int_equal(
                kerf_tensor_alloc(&y, n.out[0].dtype, &n.out[0].shape),
                KERF_OK);
            assert_int_equal(
                kerf_request_bind_in(n.request, 0, x[i].data, NULL), KERF_OK);
            assert_int_equal(kerf_request_bind_out(n.request, 0, y.data, NULL),
                             KERF_OK);
            run(&n);
            assert_int_equal(kerf_request_out(n.request, 0, &own, NULL),
                             KERF_OK);
            assert_ptr_equal(own.data, y.data);
            assert_memory_equal(y.data, n.out[0].data, y.bytes);
            assert_int_equal(
                kerf_request_bind_out(n.request, 0, n.out[0].data, NULL),
                KERF_OK);
            kerf_tensor_free(&y);
        }
    }
    assert_int_equal(kerf_request_bind_in(n.request, 0, n.in[0].data, NULL),
                     KERF_OK);
    for (size_t i = 0; i < 100; i++)
        kerf_tensor_free(&x[i]);
    stop(&n);
}

/* OpenVINO leaves such memory as it is. */
static void
bind__outputs_that_are_inputs__are_written(void **state)
{
    _Alignas(KERF_TENSOR_ALIGN) float a[4] = {-1, 2, -3, 4};
    _Alignas(KERF_TENSOR_ALIGN) float b[4] = {5, 6, 7, 8};
    _Alignas(KERF_TENSOR_ALIGN) float out[3][KERF_TENSOR_ALIGN / 4] = {{0}};
    uint8_t *graph = NULL, *weights = NULL;
    kerf_model_bytes bytes =
        pd_program("feed b 1 | feed a 0 | relu X=a -> Out=y | "
                   "fetch b | fetch y | fetch a",
                   &graph, &weights);
    kerf_tensor got = {0};
    kerf_detail why = {""};
    struct net n = {0};

    (void)state;
    if (kerf_engine_load(engine, &n.net, &bytes, NULL, &why) != KERF_OK)
        fail_msg("%s", why.text);
    assert_int_equal(kerf_request_new(&n.request, n.net, NULL), KERF_OK);
    assert_int_equal(kerf_request_bind_in(n.request, 0, a, NULL), KERF_OK);
    assert_int_equal(kerf_request_bind_in(n.request, 1, b, NULL), KERF_OK);
    for (size_t i = 0; i < 3; i++)
        assert_int_equal(kerf_request_bind_out(n.request, i, out[i], NULL),
                         KERF_OK);
    for (int round = 0; round < 2; round++) {
        run(&n);
        assert_memory_equal(out[0], b, sizeof b);
        assert_true(out[1][0] == 0 && out[1][1] == a[1]);
        assert_memory_equal(out[2], a, sizeof a);
        a[1] = b[2] = 9; /* the same memory, other numbers */
    }
    assert_int_equal(kerf_request_out(n.request, 0, &got, NULL), KERF_OK);
    assert_ptr_equal(got.data, out[0]);
    assert_int_equal(got.bytes, sizeof b);
    stop(&n);
    free(graph);
    free(weights);
}

static void
expect(const kerf_model_bytes *m, kerf_err expected, const char *text)
{
    kerf_net *net = NULL;
    kerf_detail why = {0};
    kerf_err err = kerf_engine_load(engine, &net, m, NULL, &why);

    if (err != expected || strstr(why.text, text) == NULL)
        print_message("%s: %s\n", kerf_err_name(err), why.text);
    assert_int_equal(err, expected);
    assert_non_null(strstr(why.text, text));
    assert_null(net);
}

static void
load__damaged_files__say_what_is_wrong(void **state)
{
    struct model m, other;
    kerf_model_bytes bad;

    (void)state;
    if (!read_paddle(&m, DIGITS "digits"))
        skip();
    bad = m.bytes;
    bad.weights = NULL;
    bad.weights_len = 0;
    expect(&bad, KERF_ECORRUPT, "the .pdiparams is missing or empty");
    bad = m.bytes;
    for (size_t k = 1; k < 20; k++) {
        bad.weights_len = m.bytes.weights_len * k / 20;
        expect(&bad, KERF_ECORRUPT, "the file ends inside it");
    }
    bad = m.bytes;
    for (size_t k = 1; k < 20; k++) {
        bad.graph_len = m.bytes.graph_len * k / 20;
        expect(&bad, KERF_ECORRUPT, "not a whole Paddle program");
    }
    assert_true(read_paddle(&other, DIGITS "server_infer_digits"));
    bad = m.bytes;
    bad.weights = other.bytes.weights;
    bad.weights_len = other.bytes.weights_len;
    expect(&bad, KERF_ECORRUPT, "the .pdiparams");
    free_model(&other);
    free_model(&m);
}

static void
load__foreign_files__say_what_is_wrong(void **state)
{
    static const char program[] = "{\"base_code\":{\"magic\":\"pir\"}}";
    kerf_model_bytes m = {.graph = program, .graph_len = sizeof program - 1};

    (void)state;
    expect(&m, KERF_ENOTSUP, "FLAGS_enable_pir_api=0");
    m.graph = "{\"kerf_fake\": 1}";
    m.graph_len = strlen(m.graph);
    expect(&m, KERF_ECORRUPT, "JSON");
    m.graph = "hello";
    m.graph_len = 5;
    expect(&m, KERF_ECORRUPT, "not a whole Paddle program");
    m.format = KERF_FORMAT_ONNX;
    expect(&m, KERF_ECORRUPT, "not a whole ONNX model");
    m.format = KERF_FORMAT_IR;
    expect(&m, KERF_ECORRUPT, "not an OpenVINO network");
}

/* Replaces a text by one of the same length, wherever it is. */
static void
patch(uint8_t *bytes, size_t len, const char *from, const char *to)
{
    size_t size = strlen(from);

    for (size_t i = 0; bytes != NULL && i + size <= len; i++) {
        if (memcmp(bytes + i, from, size) == 0)
            memcpy(bytes + i, to, size);
    }
}

static void
load__ops_that_the_engine_lacks__are_all_named(void **state)
{
    struct model m;

    (void)state;
    if (!read_paddle(&m, DIGITS "digits"))
        skip();
    patch(m.graph, m.bytes.graph_len,
          "\x1a\x06"
          "conv2d",
          "\x1a\x06"
          "cony2d");
    patch(m.graph, m.bytes.graph_len,
          "\x1a\x04"
          "relu",
          "\x1a\x04"
          "rexu");
    expect(&m.bytes, KERF_ENOTSUP, "the engine lacks the ops cony2d, rexu");
    free_model(&m);
    if (!read_model(&m, KERF_FORMAT_ONNX, SHARED "resnet20_cifar10_onnx/model",
                    ".onnx", NULL))
        return;
    patch(m.graph, m.bytes.graph_len,
          "\x22\x04"
          "Relu",
          "\x22\x04"
          "Relx");
    expect(&m.bytes, KERF_ENOTSUP, "the engine lacks the ops Relx");
    free_model(&m);
}

/* What OpenVINO 2026.4 says of such models, in fewer words. */
static void
explain__long_stories__become_the_op_and_the_end(void **state)
{
    static const struct {
        const char *said, *want;
    } stories[] = {
        {"OpenVINO cannot read the model: Fail to convert rnn Exception Check "
         "'mode == \"LSTM\"' failed at src/op/rnn.cpp:16:; While validating "
         "node 'rnn':; RNN Only Supports LSTM",
         "the engine cannot take this op rnn: RNN Only Supports LSTM"},
        {"OpenVINO cannot read the model: [if] END: node: internal::Block less "
         "(opset1::Tanh t[0]:f32[1,6]) CALLBACK HAS THROWN: Check '!x' failed "
         "at src/tensor.cpp:102:; Attempt to get a name",
         "the engine cannot take this op internal::Block: Attempt to get a "
         "name"},
        {"OpenVINO cannot read the model: Model wasn't fully converted. Failed "
         "operations detailed log:; -- Scan-17 with a message:; Check 'size' "
         "failed at src/op/scan.cpp:36:; Summary:; -- Conversion is failed "
         "for: Scan-17",
         "the engine cannot take this op Scan: Check 'size' failed at "
         "src/op/scan.cpp:36"},
        {"OpenVINO cannot read the model: no reason",
         "OpenVINO cannot read the model: no reason"},
        {"Fail to convert rnn", "Fail to convert rnn"}, /* cut short */
    };
    const kerf_model_bytes none = {.format = KERF_FORMAT_ONNX};

    (void)state;
    for (size_t i = 0; i < sizeof stories / sizeof *stories; i++) {
        kerf_detail said = {{0}}, why = {{0}};

        (void)kerf_fail(&said, KERF_ECORRUPT, "%s", stories[i].said);
        assert_int_equal(
            kerf_openvino_explain(&none, KERF_ECORRUPT, &said, &why),
            KERF_ECORRUPT);
        assert_string_equal(why.text, stories[i].want);
    }
}

static void
load__a_bit_wrong_in_the_program__is_clean(void **state)
{
    struct model m;
    size_t step;

    (void)state;
    if (!read_paddle(&m, DIGITS "server_infer_digits"))
        skip();
    step = m.bytes.graph_len / 60 + 1;
    for (size_t i = 0; i < m.bytes.graph_len; i += step) {
        kerf_net *net = NULL;

        m.graph[i] ^= (uint8_t)(1u << (i % 8));
        if (kerf_engine_load(engine, &net, &m.bytes, NULL, NULL) == KERF_OK)
            kerf_net_free(net);
        m.graph[i] ^= (uint8_t)(1u << (i % 8));
    }
    free_model(&m);
}

static void
load__shared_models__run(void **state)
{
    static const struct {
        kerf_format format;
        const char *stem, *graph, *weights;
    } models[] = {
        {KERF_FORMAT_PADDLE, SHARED "resnet20_cifar10/inference", ".pdmodel",
         ".pdiparams"},
        {KERF_FORMAT_PADDLE, SHARED "resnet56_cifar10/inference", ".pdmodel",
         ".pdiparams"},
        {KERF_FORMAT_PADDLE, SHARED "mobilenet_v1_0.75_imagenet/inference",
         ".pdmodel", ".pdiparams"},
        {KERF_FORMAT_ONNX, SHARED "resnet20_cifar10_onnx/model", ".onnx", NULL},
        {KERF_FORMAT_ONNX, SHARED "fastestdet_coco_onnx/model", ".onnx", NULL},
    };

    (void)state;
    for (size_t i = 0; i < sizeof models / sizeof *models; i++) {
        struct model m;
        struct net n;
        kerf_tensor out;

        if (!read_model(&m, models[i].format, models[i].stem, models[i].graph,
                        models[i].weights))
            continue;
        start(&n, &m, NULL);
        run(&n);
        assert_int_equal(kerf_request_out(n.request, 0, &out, NULL), KERF_OK);
        assert_true(isfinite(kerf_tensor_at(&out, 0)));
        stop(&n);
    }
}

static void
load__detector__has_rows_that_depend_on_the_data(void **state)
{
    static _Alignas(KERF_TENSOR_ALIGN) float spare[1024];
    struct model m;
    struct net n;
    kerf_tensor out;

    (void)state;
    if (!read_paddle(&m, SHARED "ppyolo_tiny_650e_coco/model"))
        skip();
    start(&n, &m, NULL);
    assert_false(kerf_net_is_static(n.net));
    assert_int_equal(kerf_net_in_count(n.net), 3);
    assert_int_equal(kerf_net_out(n.net, 0)->shape.dims[0], -1);
    assert_int_equal(kerf_request_bind_out(n.request, 0, spare, NULL),
                     KERF_ENOTSUP);
    run(&n);
    assert_int_equal(kerf_request_out(n.request, 0, &out, NULL), KERF_OK);
    assert_int_equal(out.shape.rank, 2);
    assert_int_equal(out.shape.dims[1], 6);
    assert_non_null(out.data);
    stop(&n);
}

/* OpenVINO's C interface cannot say the shape of a scalar. */
static void
run__scalars__go_in_and_out(void **state)
{
    /* y = -x, both f32 [] */
    static const uint8_t onnx[] = "\x08\x07:*\n\x0b\n\x01x\x12\x01y\"\x03"
                                  "Neg\x12\x01gZ\x0b\n\x01x\x12\x06\n\x04\x08"
                                  "\x01\x12\0b\x0b\n\x01y\x12\x06\n\x04\x08"
                                  "\x01\x12\0B\x04\n\0\x10\x0d";
    struct model m = {.bytes = {.format = KERF_FORMAT_ONNX,
                                .graph = onnx,
                                .graph_len = sizeof onnx - 1}};
    kerf_tensor out = {0};
    struct net n = {0};
    _Alignas(KERF_TENSOR_ALIGN) float x = 2.5f;

    (void)state;
    assert_int_equal(kerf_engine_load(engine, &n.net, &m.bytes, NULL, NULL),
                     KERF_OK);
    assert_int_equal(kerf_request_new(&n.request, n.net, NULL), KERF_OK);
    assert_int_equal(kerf_request_bind_in(n.request, 0, &x, NULL), KERF_OK);
    run(&n); /* the output is the engine's own: nothing is bound */
    assert_int_equal(kerf_request_out(n.request, 0, &out, NULL), KERF_OK);
    assert_int_equal(out.shape.rank, 0);
    assert_int_equal(out.bytes, sizeof x);
    assert_true(*(const float *)out.data == -x);
    stop(&n);
}

static void
load__free_height_and_width__asks_for_the_size(void **state)
{
    const kerf_shape shape = {.rank = 4, .dims = {1, 3, 64, 96}};
    const kerf_load how = {.shapes = &shape, .shape_count = 1};
    kerf_out_shape out = {0};
    size_t count = 0;
    struct model m;
    struct net n;

    (void)state;
    if (!read_paddle(&m, SHARED "ch_PP-OCRv3_det_infer/inference"))
        skip();
    assert_int_equal(
        kerf_engine_shapes(engine, &m.bytes, &shape, 1, &out, 1, &count, NULL),
        KERF_OK);
    assert_true(out.is_known && count == 1);
    assert_int_equal(out.shape.dims[3], -1);
    assert_int_equal(out.fixed.dims[3], 96);
    expect(&m.bytes, KERF_EINVAL,
           "input 0 'x' has free dims (1, 3, ?, ?): give --size HxW");
    start(&n, &m, &how);
    run(&n);
    assert_int_equal(kerf_net_out(n.net, 0)->shape.dims[3], 96);
    stop(&n);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(run__tail_of_head__is_the_whole),
        cmocka_unit_test(load__prep__equals_the_formula),
        cmocka_unit_test(bind__more_memories_than_are_kept__all_work),
        cmocka_unit_test(bind__outputs_that_are_inputs__are_written),
        cmocka_unit_test(load__damaged_files__say_what_is_wrong),
        cmocka_unit_test(load__foreign_files__say_what_is_wrong),
        cmocka_unit_test(load__ops_that_the_engine_lacks__are_all_named),
        cmocka_unit_test(explain__long_stories__become_the_op_and_the_end),
        cmocka_unit_test(load__a_bit_wrong_in_the_program__is_clean),
        cmocka_unit_test(load__shared_models__run),
        cmocka_unit_test(load__detector__has_rows_that_depend_on_the_data),
        cmocka_unit_test(run__scalars__go_in_and_out),
        cmocka_unit_test(load__free_height_and_width__asks_for_the_size),
    };

    return cmocka_run_group_tests(tests, open_engine, close_engine);
}
