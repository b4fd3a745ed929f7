/* Cuts of small graphs: which there are, what crosses, what halves cost. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>

#include "graph/cuts.h"
#include "graph/flops.h"
#include "graph_text.h"

/* A skip connection, a parameter that is shared, one that is folded. */
#define SKIP                                                       \
    "in x | param w | param u | scale u -> v | conv2d x w -> a | " \
    "relu a -> b | conv2d b v -> c | elementwise_add a c -> d | "  \
    "conv2d d w -> y | out y"

static kerf_graph *
make(const char *text)
{
    kerf_detail why = {""};
    kerf_graph *g = NULL;

    if (text_graph(&g, text, &why) != KERF_OK)
        fail_msg("%s", why.text);
    return g;
}

/* "a b" */
static const char *
names_of(const kerf_graph *g, const uint32_t *value, size_t count)
{
    static char text[1024];
    size_t used = 0;

    text[0] = '\0';
    for (size_t i = 0; i < count; i++)
        used += (size_t)snprintf(text + used, sizeof text - used, "%s%s",
                                 i > 0 ? " " : "", g->value[value[i]].name);
    return text;
}

/* Cuts of the list, "/" between them. */
static void
assert_cuts(const char *text, const char *expected)
{
    kerf_graph *g = make(text);
    kerf_cuts cuts = {0};
    char all[2048];
    size_t used = 0;

    assert_int_equal(kerf_cuts_list(g, &cuts, NULL), KERF_OK);
    for (size_t i = 0; i < cuts.count; i++) {
        const kerf_cut *cut = &cuts.cut[i];

        assert_int_equal(cut->index, i);
        used += (size_t)snprintf(all + used, sizeof all - used, "%s%s%s",
                                 i > 0 ? " / " : "",
                                 names_of(g, cut->value, cut->count),
                                 cut->refused != NULL ? "!" : "");
    }
    assert_string_equal(all, expected);
    kerf_cuts_fini(&cuts);
    kerf_graph_close(g);
}

/* As kerf_cut_at(), with the names in one text. */
static kerf_err
cut_at(const kerf_graph *g, const char *names, kerf_cut *out, kerf_detail *why)
{
    char copy[256], *rest = NULL;
    const char *name[8];
    size_t count = 0;

    (void)snprintf(copy, sizeof copy, "%s", names);
    for (char *s = strtok_r(copy, " ", &rest); s != NULL && count < 8;
         s = strtok_r(NULL, " ", &rest))
        name[count++] = s;
    return kerf_cut_at(g, name, count, out, why);
}

/* What crosses when a set is named; both parts have what they need. */
static void
assert_named(const char *text, const char *names, const char *expected)
{
    kerf_graph *g = make(text);
    kerf_detail why = {""};
    kerf_cut cut = {0};

    if (cut_at(g, names, &cut, &why) != KERF_OK)
        fail_msg("%s: %s", names, why.text);
    assert_string_equal(names_of(g, cut.value, cut.count), expected);
    for (int head = 0; head < 2; head++) {
        bool *node = calloc(g->node_count, sizeof *node);
        bool *value = calloc(g->value_count, sizeof *value);
        kerf_part part = {0};

        assert_int_equal(kerf_cut_part(g, &cut, head == 1, &part), KERF_OK);
        assert_int_equal(kerf_part_needs(g, &part, node, value, NULL), KERF_OK);
        kerf_part_fini(&part);
        free(node);
        free(value);
    }
    kerf_cut_fini(&cut);
    kerf_graph_close(g);
}

static void
assert_refused(const char *text, const char *names, kerf_err err,
               const char *line)
{
    kerf_graph *g = make(text);
    kerf_detail why = {""};
    kerf_cut cut = {0};

    assert_int_equal(cut_at(g, names, &cut, &why), err);
    assert_string_equal(why.text, line);
    kerf_graph_close(g);
}

static void
list__skip_connection__crosses(void **state)
{
    (void)state;
    assert_cuts(SKIP, "x / a / a b / a c / d / y");
}

static void
list__dead_and_const_nodes__give_no_cut(void **state)
{
    (void)state;
    assert_cuts("in x | relu x -> a | tanh a -> dead | fill_constant -> two | "
                "mul a two -> b | out b",
                "x / a / b");
}

static void
list__early_output_and_late_input__cross(void **state)
{
    (void)state;
    assert_cuts("in x size unread | relu x -> a | exp a -> b | "
                "yolo_box b size -> c | out a c",
                "x size / size a / size a b / a c");
}

static void
list__overwritten_names__are_two_values(void **state)
{
    (void)state;
    assert_cuts("in x | conv2d x -> y | relu y -> y | exp y -> z | out z",
                "x / y / y / z");
}

static void
list__shapes__cross_instead_of_the_map(void **state)
{
    (void)state;
    assert_cuts("in x | conv2d x -> f | relu f -> a | shape f -> s | "
                "bilinear_interp a s -> y | out y",
                "x / f / f s / a s / y");
}

static void
list__what_is_no_tensor__is_refused(void **state)
{
    kerf_graph *g = make("in x | write_to_array x -> list | "
                         "tensor_array_to_tensor list -> y | out y");
    kerf_cuts cuts = {0};

    (void)state;
    g->value[kerf_graph_find(g, "list")].type = KERF_VALUE_OTHER;
    assert_int_equal(kerf_cuts_list(g, &cuts, NULL), KERF_OK);
    assert_int_equal(cuts.count, 3);
    assert_null(cuts.cut[0].refused);
    assert_string_equal(cuts.cut[1].refused,
                        "'list' crosses, which is no tensor");
    assert_null(cuts.cut[2].refused);
    kerf_cuts_fini(&cuts);
    kerf_graph_close(g);
}

static void
set_shape(kerf_graph *g, const char *name, uint32_t rank, int64_t a, int64_t b,
          int64_t c, int64_t d)
{
    kerf_shape shape = {.rank = rank, .dims = {a, b, c, d}};
    uint32_t v = kerf_graph_find(g, name);
    size_t count = 0;

    kerf_graph_set_type(g, v, KERF_F32, &shape, &shape);
    assert_int_equal(kerf_shape_count(&shape, &count), KERF_OK);
    if (g->value[v].kind == KERF_VALUE_PARAM)
        g->value[v].bytes = 4 * count;
}

static void
list__costs__are_summed_along_the_order(void **state)
{
    kerf_graph *g = make(SKIP);
    kerf_cuts cuts = {0};
    const uint64_t each = UINT64_C(16) * 16 * 8; /* elements of a map */
    const uint64_t conv = 2 * each * 72;

    (void)state;
    for (uint32_t i = 0; i < g->node_count; i++)
        g->node[i].weight =
            g->node[i].in_count > 1 ? g->node[i].in[1] : KERF_GRAPH_NONE;
    for (const char *name = "xabcdy"; *name != '\0'; name++) {
        const char one[] = {*name, '\0'};

        set_shape(g, one, 4, 1, 8, 16, 16);
    }
    assert_int_equal(kerf_cuts_list(g, &cuts, NULL), KERF_OK);
    assert_false(cuts.cut[0].flops_known); /* no shape of w */
    assert_true(cuts.cut[0].bytes_known);
    kerf_cuts_fini(&cuts);
    for (const char *name = "wuv"; *name != '\0'; name++) {
        const char one[] = {*name, '\0'};

        set_shape(g, one, 4, 8, 8, 3, 3);
    }
    assert_int_equal(kerf_cuts_list(g, &cuts, NULL), KERF_OK);
    assert_int_equal(cuts.count, 6);
    for (size_t i = 0; i < cuts.count; i++) {
        const kerf_cut *cut = &cuts.cut[i];
        static const uint64_t maps[] = {1, 1, 2, 2, 1, 1};
        /* w is read by the first and the last conv2d, u (through v, which costs
         * nothing) by the one between. */
        static const uint64_t head[] = {0, 576, 576, 1152, 1152, 1152};
        static const uint64_t tail[] = {1152, 1152, 1152, 576, 576, 0};
        static const uint64_t convs[] = {0, 1, 1, 2, 2, 3};
        static const uint64_t others[] = {0, 0, 1, 1, 2, 2};

        assert_true(cut->flops_known && cut->bytes_known);
        assert_int_equal(cut->bytes, 4 * each * maps[i]);
        assert_int_equal(cut->cost_head.params, head[i]);
        assert_int_equal(cut->cost_tail.params, tail[i]);
        assert_int_equal(cut->cost_head.param_bytes, 4 * head[i]);
        assert_int_equal(cut->cost_tail.param_bytes, 4 * tail[i]);
        assert_int_equal(cut->cost_head.flops,
                         convs[i] * conv + others[i] * each);
        assert_int_equal(cut->cost_tail.flops,
                         (3 - convs[i]) * conv + (2 - others[i]) * each);
    }
    kerf_cuts_fini(&cuts);
    kerf_graph_close(g);
}

static void
flops__each_kind__follows_its_formula(void **state)
{
    static const struct {
        const char *op;
        int64_t data[4], weight[4], out[4];
        uint64_t flops;
    } rows[] = {
        /* rank 4 but where a dim is 0, which ends the shape */
        {"Conv", {1, 8, 4, 4}, {16, 2, 3, 3}, {1, 16, 4, 4}, 9216},
        {"ConvTranspose", {1, 8, 4, 4}, {8, 4, 2, 2}, {1, 4, 8, 8}, 4096},
        {"MatMul", {1, 64}, {64, 10}, {1, 10}, 1280},
        {"Gemm", {2, 64}, {10, 64}, {2, 10}, 2560},
        {"mul", {1, 4, 4, 4}, {64, 10}, {1, 10}, 1280},
        {"bmm", {3, 5, 7}, {3, 7, 2}, {3, 5, 2}, 420},
        {"matmul_v2", {3, 4, 5, 7}, {3, 4, 2, 7}, {3, 4, 5, 2}, 1680},
        {"MaxPool", {1, 8, 4, 4}, {0}, {1, 8, 2, 2}, 128},
        {"softmax", {1, 10}, {0}, {1, 10}, 50},
        {"batch_norm", {1, 8, 4, 4}, {0}, {1, 8, 4, 4}, 256},
        {"lstm", {12, 32}, {8, 32}, {12, 8}, 6144},
        {"Concat", {1, 8}, {0}, {1, 16}, 0},
        {"some_op", {1, 8}, {0}, {1, 16}, 0},
    };

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char text[128];
        kerf_graph *g;
        uint64_t flops = 0;
        kerf_node *n;

        (void)snprintf(text, sizeof text,
                       "in x | param w | %s x w -> y | out y", rows[i].op);
        g = make(text);
        n = &g->node[0];
        n->data = n->in[0];
        n->weight = n->in[1];
        for (int k = 0; k < 3; k++) {
            const int64_t *d = k == 0   ? rows[i].data
                               : k == 1 ? rows[i].weight
                                        : rows[i].out;
            uint32_t rank = 0;

            while (rank < 4 && d[rank] != 0)
                rank++;
            set_shape(g,
                      k == 0   ? "x"
                      : k == 1 ? "w"
                               : "y",
                      rank, d[0], d[1], d[2], d[3]);
        }
        assert_true(kerf_node_flops(g, n, &flops));
        assert_int_equal(flops, rows[i].flops);
        kerf_graph_close(g);
    }
}

static void
at__number__is_that_cut(void **state)
{
    (void)state;
    assert_named(SKIP, "0", "x");
    assert_named(SKIP, "3", "a c");
    assert_refused(SKIP, "6", KERF_ENOENT,
                   "there is no tensor '6', and no cut of that number: they "
                   "are 0 to 5");
    assert_refused(SKIP, "99999999999999999999999", KERF_ENOENT,
                   "there is no tensor '99999999999999999999999', and no cut "
                   "of that number: they are 0 to 5");
    /* a tensor may be called that */
    assert_named("in x | relu x -> 0 | exp 0 -> y | out y", "0", "0");
}

static void
at__set_of_the_list__is_that_cut(void **state)
{
    kerf_graph *g = make(SKIP);
    kerf_cut cut = {0};

    (void)state;
    assert_int_equal(cut_at(g, "c a a", &cut, NULL), KERF_OK);
    assert_int_equal(cut.index, 3);
    assert_null(cut.head);
    kerf_cut_fini(&cut);
    kerf_graph_close(g);
}

/* Two branches, one cut early and one late. */
#define BRANCHES                                                              \
    "in x size | param w u | relu x -> a | mul a w -> b1 | exp b1 -> c1 | "   \
    "mul a u -> b2 | exp b2 -> c2 | add c1 c2 -> d | yolo_box d size -> y | " \
    "out y"

static void
at__set_beyond_the_list__separates(void **state)
{
    kerf_graph *g = make(BRANCHES);
    kerf_cut cut = {0};

    (void)state;
    assert_named(BRANCHES, "b1 c2", "size b1 c2");
    assert_named(BRANCHES, "d", "size d");
    assert_named(BRANCHES, "size d", "size d");
    assert_int_equal(cut_at(g, "c2 b1", &cut, NULL), KERF_OK);
    assert_int_equal(cut.index, KERF_GRAPH_NONE);
    assert_int_equal(cut.nodes, KERF_GRAPH_NONE);
    assert_non_null(cut.head);
    kerf_cut_fini(&cut);
    kerf_graph_close(g);
}

static void
at__what_does_not_separate__is_told_what_to_add(void **state)
{
    (void)state;
    assert_refused(SKIP, "b", KERF_EINVAL,
                   "these tensors do not separate the network: conv2d that "
                   "gives 'a' is needed on both sides; add a");
    assert_refused(BRANCHES, "c1", KERF_EINVAL,
                   "these tensors do not separate the network: relu that gives "
                   "'a' is needed on both sides; add a");
    assert_refused("in x | relu x -> a | add a x -> b | out b", "a",
                   KERF_EINVAL,
                   "these tensors do not separate the network: the input 'x' "
                   "is needed on both sides; add x");
    assert_refused("in x | relu x -> a | exp a -> b | out a b", "b",
                   KERF_EINVAL,
                   "these tensors do not separate the network: relu that gives "
                   "'a' is needed on both sides; add a");
}

static void
at__wrong_names__are_refused_with_help(void **state)
{
    (void)state;
    assert_refused(SKIP, "w", KERF_EINVAL,
                   "'w' comes from the parameters alone: each half has its "
                   "own, it does not cross");
    assert_refused(SKIP, "relu", KERF_ENOENT,
                   "there is no tensor 'relu'; the nearest are x, a, b");
    assert_refused(SKIP, "a d", KERF_EINVAL,
                   "'a' is not read behind the other tensors: leave it out");
    assert_refused("in x | relu x -> a | exp x -> b | out a", "b", KERF_EINVAL,
                   "'b' leads to no output of the network");
    assert_refused("in x | conv2d x -> y | relu y -> y | exp y -> z | out z",
                   "y", KERF_ENOTSUP,
                   "'y' is written more than once, the name does not say which "
                   "is meant: give the number of the cut");
}

/* The map's shape is carried, or taken from the map where that crosses. */
static void
at__shapes_on_both_sides__cross_by_themselves(void **state)
{
    static const char text[] =
        "in x | conv2d x -> f | relu f -> a | exp a -> b | shape f -> s | "
        "fill_constant -> two | elementwise_mul s two -> t | "
        "bilinear_interp b t -> y | out y";

    (void)state;
    assert_named(text, "a", "a t");
    assert_named(text, "a s", "a s");
    assert_named(text, "f", "f");
    assert_named(text, "b", "b t");
}

/* A position cut is safe whatever is overwritten: every part of every cut runs
 * with the versions that it had. */
static void
part__every_cut_with_overwriting__reads_its_versions(void **state)
{
    kerf_graph *g =
        make("in x | fill_constant -> i | conv2d x -> y | relu y -> y | "
             "while i y -> y i | shape y -> s | exp y -> i | relu y -> y | "
             "add i y s -> z | tanh z -> y | out y");
    kerf_cuts cuts = {0};

    (void)state;
    assert_int_equal(kerf_cuts_list(g, &cuts, NULL), KERF_OK);
    assert_int_equal(cuts.count, 10);
    for (size_t i = 0; i < cuts.count; i++) {
        for (int head = 0; head < 2; head++) {
            bool node[16] = {0}, value[32] = {0};
            kerf_part part = {0};
            kerf_detail why = {""};

            assert_int_equal(kerf_cut_part(g, &cuts.cut[i], head == 1, &part),
                             KERF_OK);
            if (kerf_part_needs(g, &part, node, value, &why) != KERF_OK)
                fail_msg("cut %zu: %s", i, why.text);
            kerf_part_fini(&part);
        }
    }
    kerf_cuts_fini(&cuts);
    kerf_graph_close(g);
}

/* A part that feeds a name which its own nodes write before it is read. */
static void
part__mixed_versions__are_refused(void **state)
{
    kerf_graph *g = make("in x | relu x -> y | exp y -> a | tanh x -> y | "
                         "add y a -> z | out z");
    uint32_t in[] = {g->node[0].out[0], g->node[2].out[0]};
    bool take[4] = {false, true, false, true};
    bool node[4] = {0}, value[8] = {0};
    kerf_part part = {.node = take,
                      .in = in,
                      .out = g->output,
                      .in_count = 2,
                      .out_count = 1};
    kerf_detail why = {""};

    (void)state;
    assert_int_equal(kerf_part_needs(g, &part, node, value, &why),
                     KERF_ENOTSUP);
    assert_non_null(strstr(why.text, "'y' is written more than once"));
    kerf_graph_close(g);
}

static void
part__lacks_an_input__is_named(void **state)
{
    kerf_graph *g = make("in x | relu x -> a | exp a -> b | out b");
    bool take[2] = {true, true}, node[2] = {0}, value[4] = {0};
    kerf_part part = {.node = take, .out = g->output, .out_count = 1};
    kerf_detail why = {""};

    (void)state;
    assert_int_equal(kerf_part_needs(g, &part, node, value, &why), KERF_EINVAL);
    assert_non_null(strstr(why.text, "tensor 'x' is an input"));
    take[0] = false;
    assert_int_equal(kerf_part_needs(g, &part, node, value, &why), KERF_EINVAL);
    assert_string_equal(why.text,
                        "tensor 'a' is needed and not given in this part");
    kerf_graph_close(g);
}

/* Nothing about a list may take the square of its length. */
static void
list__long_chain_and_wide_fan__are_quick(void **state)
{
    kerf_graph *g = NULL;
    kerf_cuts cuts = {0};
    uint32_t v, n;
    char name[32] = "x";
    const uint32_t nodes = 100000;

    (void)state;
    assert_int_equal(kerf_graph_new(&g, KERF_FORMAT_ONNX, &text_format),
                     KERF_OK);
    assert_int_equal(kerf_graph_add_value(g, "x", 1, KERF_VALUE_INPUT, &v),
                     KERF_OK);
    assert_int_equal(kerf_graph_add_input(g, v), KERF_OK);
    for (uint32_t i = 0; i < nodes; i++) { /* all results stay to the end */
        int len = snprintf(name, sizeof name, "t%u", i);

        assert_int_equal(kerf_graph_add_node(g, "relu", 4, "", 0, &n), KERF_OK);
        assert_int_equal(kerf_graph_add_in(g, "x", 1, NULL), KERF_OK);
        assert_int_equal(kerf_graph_add_out(g, name, (size_t)len, &v, NULL),
                         KERF_OK);
        assert_int_equal(kerf_graph_add_output(g, v), KERF_OK);
    }
    assert_int_equal(kerf_graph_settle(g, NULL), KERF_OK);
    assert_int_equal(kerf_cuts_list(g, &cuts, NULL), KERF_OK);
    assert_int_equal(cuts.count, nodes + 1);
    assert_null(cuts.cut[63].refused);
    assert_string_equal(cuts.cut[64].refused, "65 tensors cross, more than 64");
    kerf_cuts_fini(&cuts);
    kerf_graph_close(g);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(list__skip_connection__crosses),
        cmocka_unit_test(list__dead_and_const_nodes__give_no_cut),
        cmocka_unit_test(list__early_output_and_late_input__cross),
        cmocka_unit_test(list__overwritten_names__are_two_values),
        cmocka_unit_test(list__shapes__cross_instead_of_the_map),
        cmocka_unit_test(list__what_is_no_tensor__is_refused),
        cmocka_unit_test(list__costs__are_summed_along_the_order),
        cmocka_unit_test(flops__each_kind__follows_its_formula),
        cmocka_unit_test(at__number__is_that_cut),
        cmocka_unit_test(at__set_of_the_list__is_that_cut),
        cmocka_unit_test(at__set_beyond_the_list__separates),
        cmocka_unit_test(at__what_does_not_separate__is_told_what_to_add),
        cmocka_unit_test(at__wrong_names__are_refused_with_help),
        cmocka_unit_test(at__shapes_on_both_sides__cross_by_themselves),
        cmocka_unit_test(part__every_cut_with_overwriting__reads_its_versions),
        cmocka_unit_test(part__mixed_versions__are_refused),
        cmocka_unit_test(part__lacks_an_input__is_named),
        cmocka_unit_test(list__long_chain_and_wide_fan__are_quick),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
