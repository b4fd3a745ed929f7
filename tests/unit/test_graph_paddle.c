/* Paddle programs as graphs: what is read, and what parts are written. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/fs.h"
#include "paddle_model.h"

static void
assert_refused(const char *text, kerf_err err, const char *line)
{
    struct model m = {0};
    kerf_detail why = {""};

    m.bytes = pd_program(text, &m.graph, &m.weights);
    assert_int_equal(open_model(&m, &why), err);
    assert_string_equal(why.text, line);
    close_model(&m);
}

/* How often a text is in a file. */
static size_t
times(const kerf_model_bytes *m, const char *text)
{
    const uint8_t *at = m->graph;
    size_t left = m->graph_len, n = 0;
    const uint8_t *found;

    while ((found = memmem(at, left, text, strlen(text))) != NULL) {
        n++;
        left -= (size_t)(found + 1 - at);
        at = found + 1;
    }
    return n;
}

static void
open__program__gives_ports_parameters_and_types(void **state)
{
    struct model m = make(SKIP);
    const kerf_value *w = &m.g->value[kerf_graph_find(m.g, "w")];
    const kerf_value *a = &m.g->value[kerf_graph_find(m.g, "a")];

    (void)state;
    assert_text(m.g,
                "in: x | scale(u) v | matmul_v2(x, w) a | relu(a) b | "
                "matmul_v2(b, v) c | elementwise_add(a, c) d | tanh(d) dead | "
                "matmul_v2(d, w) y | out: y");
    assert_int_equal(m.g->version, PD_VERSION);
    assert_int_equal(w->kind, KERF_VALUE_PARAM);
    assert_int_equal(w->bytes, 64);
    assert_true(w->is_fixed);
    assert_int_equal(a->type, KERF_VALUE_TENSOR);
    assert_int_equal(a->shape.dims[0], -1);
    assert_true(a->is_fixed); /* one sample */
    assert_int_equal(a->fixed.dims[0], 1);
    assert_true(m.g->value[kerf_graph_find(m.g, "v")].is_const);
    assert_int_equal(m.g->node[1].data, kerf_graph_find(m.g, "x"));
    assert_int_equal(m.g->node[1].weight, kerf_graph_find(m.g, "w"));
    close_model(&m);
}

/* A loop reads and gives what its block does, where the block has no variable
 * of that name; a value that it may leave as it was, it reads. */
static void
open__blocks__are_part_of_their_op(void **state)
{
    struct model m = make(LOOP);

    (void)state;
    assert_text(m.g,
                "in: x n | matmul_v2(x, w) h | fill_constant() i | "
                "less_than(i, n) go | "
                "while(h, i, go, h, i, inner, n, x, go, h, i) go h i steps | "
                "relu(h) y | conditional_block(go, y, y, y) y | tanh(y) z | "
                "out: z");
    close_model(&m);
}

/* Paddle writes the last input first; what counts is its number. */
static void
open__ports__are_in_the_order_of_their_numbers(void **state)
{
    struct model m = make("feed b 1 | feed a 0 | relu X=a -> Out=y | "
                          "tanh X=b -> Out=z | fetch z 1 | fetch y 0");

    (void)state;
    assert_text(m.g, "in: a b | relu(a) y | tanh(b) z | out: y z");
    close_model(&m);
}

static void
open__ports_without_an_order__stay(void **state)
{
    struct model twice = make("feed b 0 | feed a 0 | relu X=a -> Out=y | "
                              "tanh X=b -> Out=z | fetch z 5 | fetch y 4");
    struct model apart = make("feed b 1 | relu X=b -> Out=y | feed a 0 | "
                              "tanh X=a -> Out=z | fetch y | fetch z");

    (void)state;
    assert_text(twice.g, "in: b a | relu(a) y | tanh(b) z | out: z y");
    assert_text(apart.g, "in: b a | relu(b) y | tanh(a) z | out: y z");
    close_model(&twice);
    close_model(&apart);
}

static void
open__names_in_attributes__are_reads(void **state)
{
    struct model m = make("feed x | relu X=x -> Out=a | "
                          "assign X=x -> Out=y names=a | fetch y");

    (void)state;
    assert_text(m.g, "in: x | relu(x) a | assign(x, a) y | out: y");
    assert_true(m.g->node[0].is_live);
    close_model(&m);
}

/* An array that is written to holds what was in it. */
static void
open__array__is_added_to(void **state)
{
    struct model m =
        make("list arr | feed x | relu X=x -> Out=a | fill_constant -> Out=i | "
             "write_to_array X=x I=i -> Out=arr | fill_constant -> Out=k | "
             "write_to_array X=a I=k -> Out=arr | "
             "tensor_array_to_tensor X=arr -> Out=y | fetch y");

    (void)state;
    assert_text(m.g, "in: x | relu(x) a | fill_constant() i | "
                     "write_to_array(x, i) arr | fill_constant() k | "
                     "write_to_array(a, k, arr) arr | "
                     "tensor_array_to_tensor(arr) y | out: y");
    close_model(&m);
}

/* batch_norm writes its own mean: no new value; assign does give one, which
 * cannot be sent. */
static void
open__parameters_that_are_written__are_told_apart(void **state)
{
    struct model m =
        make("param mean 4 | param var 4 | feed x | "
             "batch_norm X=x Mean=mean Variance=var -> Y=a MeanOut=mean "
             "VarianceOut=var SavedMean=s | "
             "assign X=a -> Out=mean | elementwise_add X=a Y=mean -> Out=y | "
             "fetch y");
    kerf_cuts cuts = {0};

    (void)state;
    assert_text(m.g, "in: x | batch_norm(x, mean, var, mean, var) a s | "
                     "assign(a) mean | elementwise_add(a, mean) y | out: y");
    assert_int_equal(kerf_cuts_list(m.g, &cuts, NULL), KERF_OK);
    assert_int_equal(cuts.count, 4);
    assert_null(cuts.cut[1].refused);
    assert_string_equal(cuts.cut[2].refused,
                        "'mean' crosses, which is no tensor");
    kerf_cuts_fini(&cuts);
    close_model(&m);
}

/* What only a branch gives cannot be sent from where it is not taken; what had
 * a value before can. */
static void
open__branches__may_leave_values_unset(void **state)
{
    struct model m =
        make("param w 4,4 | feed x | feed go | list s | assign X=x -> Out=a | "
             "conditional_block Cond=go Input=x -> Out=a,b Scope=s sub=1 | "
             "elementwise_add X=a Y=b -> Out=y | relu X=y -> Out=z | fetch z | "
             "1: relu X=x -> Out=a | 1: tanh X=x -> Out=b");
    kerf_cuts cuts = {0};
    kerf_cut cut = {0};
    const char *name = "b";
    kerf_detail why = {""};

    (void)state;
    assert_int_equal(kerf_cuts_list(m.g, &cuts, NULL), KERF_OK);
    assert_int_equal(cuts.count, 5);
    assert_null(cuts.cut[1].refused);
    assert_string_equal(
        cuts.cut[2].refused,
        "'b' crosses, which has no value unless a branch is taken");
    assert_null(cuts.cut[3].refused);
    assert_int_equal(kerf_cut_at(m.g, &name, 1, &cut, &why), KERF_ENOTSUP);
    assert_string_equal(why.text, "'b' has no value unless a branch is taken: "
                                  "it cannot cross");
    kerf_cuts_fini(&cuts);
    close_model(&m);
}

static void
open__wrong_programs__are_named(void **state)
{
    (void)state;
    assert_refused("feed x | relu X=later -> Out=y | tanh X=y -> Out=later | "
                   "fetch y",
                   KERF_ECORRUPT,
                   "node 1 (relu): 'later' is read, and nothing before it "
                   "gives it");
    assert_refused("feed x | relu X=x -> Out=y", KERF_ENOTSUP,
                   "the program has no fetch op: it is not an exported model, "
                   "save it with save_inference_model");
    assert_refused("feed x | feed x | fetch x", KERF_ECORRUPT,
                   "op 1 (feed): 'x' has a value already");
    assert_refused("feed x | fetch y", KERF_ECORRUPT,
                   "op 1 (fetch): 'y' is an output, and nothing gives it");
    assert_refused("feed x | while X=x -> Out=x sub=1 | fetch x | "
                   "1: while X=x -> Out=x sub=1",
                   KERF_ECORRUPT,
                   "op 1 (while), or a block of it: corrupt data");
    assert_refused("feed x | while X=x -> Out=x sub=1 | "
                   "while X=x -> Out=x sub=1 | fetch x | 1: relu X=x -> Out=x",
                   KERF_ECORRUPT,
                   "op 2 (while), or a block of it: corrupt data");
    assert_refused("feed x | while X=x -> Out=x sub=3 | fetch x", KERF_ECORRUPT,
                   "op 1 (while), or a block of it: corrupt data");
}

static void
open__wrong_weights__are_named(void **state)
{
    struct model m = {0};
    kerf_detail why = {""};

    (void)state;
    m.bytes = pd_program(SKIP, &m.graph, &m.weights);
    m.bytes.weights = NULL;
    assert_int_equal(open_model(&m, &why), KERF_ECORRUPT);
    assert_non_null(strstr(why.text, "missing"));
    m.bytes.weights = m.weights;
    m.bytes.weights_len--;
    assert_int_equal(open_model(&m, &why), KERF_ECORRUPT);
    assert_non_null(strstr(why.text, "'w'"));
    close_model(&m);
}

static void
write__halves__have_what_they_need(void **state)
{
    struct model m = make(SKIP);
    kerf_cuts cuts = {0};
    struct model head, tail;

    (void)state;
    assert_int_equal(kerf_cuts_list(m.g, &cuts, NULL), KERF_OK);
    assert_int_equal(cuts.count, 6);
    head = write_half(m.g, &cuts.cut[2], true); /* a and b cross */
    tail = write_half(m.g, &cuts.cut[2], false);
    assert_text(head.g, "in: x | matmul_v2(x, w) a | relu(a) b | out: a b");
    assert_text(tail.g, "in: a b | scale(u) v | matmul_v2(b, v) c | "
                        "elementwise_add(a, c) d | matmul_v2(d, w) y | out: y");
    /* w is 4 x 4: a record of 20 + 6 + 64 bytes. */
    assert_int_equal(head.bytes.weights_len, 90);
    assert_int_equal(tail.bytes.weights_len, 180);
    assert_memory_equal(tail.weights + 90, head.weights, 90);
    close_model(&head);
    close_model(&tail);
    head = write_half(m.g, &cuts.cut[0], true);
    tail = write_half(m.g, &cuts.cut[5], false);
    assert_text(head.g, "in: x | out: x");
    assert_text(tail.g, "in: y | out: y");
    assert_int_equal(head.bytes.weights_len, 0);
    close_model(&head);
    close_model(&tail);
    kerf_cuts_fini(&cuts);
    close_model(&m);
}

/* Fields that nobody knows stay; who exported the network does not. */
static void
write__whole__keeps_unknown_fields_and_drops_the_callstack(void **state)
{
    struct model m = make(LOOP), again;
    kerf_part part = {0};
    size_t stacks = times(&m.bytes, PD_CALLSTACK);

    (void)state;
    assert_int_equal(kerf_part_whole(m.g, &part), KERF_OK);
    again = write_part(m.g, &part);
    assert_int_equal(stacks, 13);
    assert_int_equal(times(&again.bytes, PD_CALLSTACK), 0);
    assert_int_equal(times(&again.bytes, PD_UNKNOWN),
                     times(&m.bytes, PD_UNKNOWN));
    assert_int_equal(again.bytes.weights_len, m.bytes.weights_len);
    assert_memory_equal(again.weights, m.weights, m.bytes.weights_len);
    kerf_part_fini(&part);
    /* What was written is as it stands when it is written again. */
    assert_int_equal(kerf_part_whole(again.g, &part), KERF_OK);
    close_model(&m);
    m = write_part(again.g, &part);
    assert_int_equal(m.bytes.graph_len, again.bytes.graph_len);
    assert_memory_equal(m.graph, again.graph, m.bytes.graph_len);
    kerf_part_fini(&part);
    close_model(&m);
    close_model(&again);
}

/* Blocks go with their op, and get new numbers; block 2 runs in the head, block
 * 1 in the tail. */
static void
write__blocks__are_numbered_anew(void **state)
{
    struct model m = make(LOOP), half;
    kerf_cuts cuts = {0};

    (void)state;
    assert_int_equal(kerf_cuts_list(m.g, &cuts, NULL), KERF_OK);
    assert_int_equal(cuts.count, 8);
    half = write_half(m.g, &cuts.cut[5], true); /* behind relu */
    assert_text(half.g,
                "in: x n | matmul_v2(x, w) h | fill_constant() i | "
                "less_than(i, n) go | "
                "while(h, i, go, h, i, inner, n, x, go, h, i) go h i steps | "
                "relu(h) y | out: go y");
    assert_int_equal(half.bytes.weights_len, m.bytes.weights_len);
    assert_int_equal(times(&half.bytes, "increment"), 1);
    assert_int_equal(times(&half.bytes, "exp"), 0);
    assert_int_equal(times(&half.bytes, PD_CALLSTACK), 0);
    close_model(&half);
    half = write_half(m.g, &cuts.cut[5], false);
    assert_text(half.g, "in: go y | conditional_block(go, y, y, y) y | "
                        "tanh(y) z | out: z");
    assert_int_equal(half.bytes.weights_len, 0);
    assert_int_equal(times(&half.bytes, "increment"), 0);
    assert_int_equal(times(&half.bytes, "exp"), 1);
    close_model(&half);
    kerf_cuts_fini(&cuts);
    close_model(&m);
}

/* Every name that can be asked for is an output. */
static void
probe__fetches_what_is_read(void **state)
{
    struct model m = make(SKIP), probe;
    kerf_rope graph = {0}, weights = {0};
    uint32_t *value = NULL;
    size_t count = 0;

    (void)state;
    assert_int_equal(kerf_graph_write_probe(m.g, false, &graph, &weights,
                                            &value, &count, NULL),
                     KERF_OK);
    probe = from_ropes(&graph, &weights);
    assert_int_equal(probe.g->output_count, count);
    for (size_t i = 0; i < count; i++)
        assert_string_equal(probe.g->value[probe.g->output[i]].name,
                            m.g->value[value[i]].name);
    free(value);
    close_model(&probe);
    close_model(&m);
}

/* A probe asks for shapes: large weights are zeros that take no room. */
static void
probe__hollow__has_shapes_of_large_weights_alone(void **state)
{
    struct model m = make("param large 4,2000 | param small 2000 | feed x | "
                          "matmul_v2 X=x Y=large -> Out=y | "
                          "elementwise_add X=y Y=small -> Out=z | fetch z"),
                 probe;
    kerf_rope graph = {0}, weights = {0};
    uint32_t *value = NULL;
    size_t count = 0;
    uint32_t large, small;

    (void)state;
    assert_int_equal(kerf_graph_write_probe(m.g, true, &graph, &weights, &value,
                                            &count, NULL),
                     KERF_OK);
    probe = from_ropes(&graph, &weights);
    assert_in_range(probe.bytes.weights_len, 8000, 8100);
    assert_int_equal(probe.g->output_count, count);
    large = kerf_graph_find(probe.g, "large");
    small = kerf_graph_find(probe.g, "small");
    assert_int_equal(probe.g->value[small].kind, KERF_VALUE_PARAM);
    assert_int_equal(probe.g->value[large].kind, KERF_VALUE_NODE);
    assert_true(probe.g->value[large].is_const);
    assert_string_equal(probe.g->node[probe.g->value[large].node].op,
                        "fill_constant");
    assert_int_equal(times(&probe.bytes, "shape"), 1);
    free(value);
    close_model(&probe);
    close_model(&m);
}

/* Behind its own outputs, each once; what goes in is no news. */
static void
keeping__gives_these_values_too(void **state)
{
    struct model m = make(SKIP), kept;
    kerf_rope graph = {0}, weights = {0};
    const uint32_t value[] = {
        kerf_graph_find(m.g, "x"),
        kerf_graph_find(m.g, "b"),
        kerf_graph_find(m.g, "y"),
        kerf_graph_find(m.g, "d"),
    };
    static const char *const want[] = {"y", "b", "d"};

    (void)state;
    assert_int_equal(
        kerf_graph_write_keeping(m.g, value, 4, &graph, &weights, NULL),
        KERF_OK);
    kept = from_ropes(&graph, &weights);
    assert_int_equal(kept.g->input_count, 1);
    assert_int_equal(kept.g->output_count, 3);
    for (size_t i = 0; i < 3; i++)
        assert_string_equal(kept.g->value[kept.g->output[i]].name, want[i]);
    close_model(&kept);
    close_model(&m);
}

/* All that a stranger's file can be made to run. */
static void
use(const kerf_model_bytes *m)
{
    kerf_graph *g = NULL;
    kerf_cuts cuts = {0};
    kerf_detail why = {""};

    if (kerf_graph_open(&g, m, &why) != KERF_OK) {
        assert_true(why.text[0] != '\0');
        return;
    }
    assert_int_equal(kerf_cuts_list(g, &cuts, NULL), KERF_OK);
    for (size_t i = 0; i < cuts.count; i += 3) {
        for (int head = 0; head < 2; head++) {
            kerf_rope graph = {0}, weights = {0};
            kerf_part part = {0};
            kerf_graph *half = NULL;
            kerf_err err;

            if (cuts.cut[i].refused != NULL)
                continue;
            assert_int_equal(kerf_cut_part(g, &cuts.cut[i], head == 1, &part),
                             KERF_OK);
            err = kerf_graph_write(g, &part, &graph, &weights, &why);
            if (err == KERF_OK) {
                uint8_t *bytes = NULL, *params = NULL;
                kerf_model_bytes again = {.format = KERF_FORMAT_PADDLE};

                assert_int_equal(kerf_rope_flatten(&graph, &bytes), KERF_OK);
                assert_int_equal(kerf_rope_flatten(&weights, &params), KERF_OK);
                again.graph = bytes;
                again.graph_len = graph.len;
                again.weights = params;
                again.weights_len = weights.len;
                if (kerf_graph_open(&half, &again, &why) != KERF_OK)
                    fail_msg("a half of what opens: %s", why.text);
                kerf_graph_close(half);
                free(bytes);
                free(params);
            }
            kerf_rope_fini(&graph);
            kerf_rope_fini(&weights);
            kerf_part_fini(&part);
        }
    }
    kerf_cuts_fini(&cuts);
    kerf_graph_close(g);
}

/* A copy of exactly len bytes, so that a sanitizer sees one byte too many. */
static uint8_t *
exactly(const uint8_t *bytes, size_t len)
{
    uint8_t *copy = malloc(len > 0 ? len : 1);

    assert_non_null(copy);
    memcpy(copy, bytes, len);
    return copy;
}

static void
open__every_truncation_and_byte__is_an_error_or_right(void **state)
{
    struct model m = make(LOOP);
    kerf_model_bytes bad = m.bytes;

    (void)state;
    for (size_t len = 0; len < m.bytes.graph_len; len++) {
        uint8_t *copy = exactly(m.graph, len);

        bad.graph = copy;
        bad.graph_len = len;
        use(&bad);
        free(copy);
    }
    bad = m.bytes;
    for (size_t at = 0; at < m.bytes.graph_len; at++) {
        for (int k = 0; k < 2; k++) {
            uint8_t *copy = exactly(m.graph, m.bytes.graph_len);

            copy[at] ^= (uint8_t)(k == 0 ? 0xFF : 1 << at % 8);
            bad.graph = copy;
            use(&bad);
            free(copy);
        }
    }
    bad = m.bytes;
    for (size_t at = 0; at < m.bytes.weights_len; at++) {
        uint8_t *copy = exactly(m.weights, m.bytes.weights_len);

        copy[at] ^= 0xFF;
        bad.weights = copy;
        use(&bad);
        free(copy);
    }
    close_model(&m);
}

/* Real models, where they are; numbers of cuts as another cutter found them. */
static void
models__every_cut__has_two_halves_that_open(void **state)
{
    static const struct {
        const char *stem;
        size_t cuts, step;
    } models[] = {
        {"mobilenet_v1_0.75_imagenet/inference", 87, 29},
        {"resnet20_cifar10/inference", 74, 1},
        {"resnet56_cifar10/inference", 200, 40},
        {"ch_PP-OCRv3_det_infer/inference", 237, 40},
        {"ppyolo_tiny_650e_coco/model", 277, 60},
    };

    (void)state;
    for (size_t i = 0; i < sizeof models / sizeof *models; i++) {
        struct model m = {.bytes.format = KERF_FORMAT_PADDLE};
        kerf_cuts cuts = {0};
        char graph[KERF_PATH_MAX], weights[KERF_PATH_MAX];

        (void)snprintf(graph, sizeof graph, "%s/%s.pdmodel", KERF_TEST_SHARED,
                       models[i].stem);
        (void)snprintf(weights, sizeof weights, "%s/%s.pdiparams",
                       KERF_TEST_SHARED, models[i].stem);
        if (!kerf_fs_exists(graph)) {
            print_message("no %s: this part is left out\n", graph);
            continue;
        }
        assert_int_equal(kerf_fs_read(graph, KERF_MODEL_BYTES_MAX, &m.graph,
                                      &m.bytes.graph_len, NULL),
                         KERF_OK);
        assert_int_equal(kerf_fs_read(weights, KERF_MODEL_BYTES_MAX, &m.weights,
                                      &m.bytes.weights_len, NULL),
                         KERF_OK);
        m.bytes.graph = m.graph;
        m.bytes.weights = m.weights;
        assert_int_equal(open_model(&m, NULL), KERF_OK);
        assert_int_equal(kerf_cuts_list(m.g, &cuts, NULL), KERF_OK);
        assert_int_equal(cuts.count, models[i].cuts);
        for (size_t k = 0; k < cuts.count; k += models[i].step) {
            struct model head = write_half(m.g, &cuts.cut[k], true);
            struct model tail = write_half(m.g, &cuts.cut[k], false);

            assert_int_equal(times(&head.bytes, "op_callstack"), 0);
            close_model(&head);
            close_model(&tail);
        }
        kerf_cuts_fini(&cuts);
        close_model(&m);
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(open__program__gives_ports_parameters_and_types),
        cmocka_unit_test(open__blocks__are_part_of_their_op),
        cmocka_unit_test(open__ports__are_in_the_order_of_their_numbers),
        cmocka_unit_test(open__ports_without_an_order__stay),
        cmocka_unit_test(open__names_in_attributes__are_reads),
        cmocka_unit_test(open__array__is_added_to),
        cmocka_unit_test(open__parameters_that_are_written__are_told_apart),
        cmocka_unit_test(open__branches__may_leave_values_unset),
        cmocka_unit_test(open__wrong_programs__are_named),
        cmocka_unit_test(open__wrong_weights__are_named),
        cmocka_unit_test(write__halves__have_what_they_need),
        cmocka_unit_test(
            write__whole__keeps_unknown_fields_and_drops_the_callstack),
        cmocka_unit_test(write__blocks__are_numbered_anew),
        cmocka_unit_test(probe__fetches_what_is_read),
        cmocka_unit_test(probe__hollow__has_shapes_of_large_weights_alone),
        cmocka_unit_test(keeping__gives_these_values_too),
        cmocka_unit_test(open__every_truncation_and_byte__is_an_error_or_right),
        cmocka_unit_test(models__every_cut__has_two_halves_that_open),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
