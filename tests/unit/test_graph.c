/* Graphs as a format builds them: names, const and shape-only nodes, order. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "graph_text.h"

static kerf_graph *
make(const char *text)
{
    kerf_detail why = {""};
    kerf_graph *g = NULL;

    if (text_graph(&g, text, &why) != KERF_OK)
        fail_msg("%s", why.text);
    return g;
}

/* The ops in order, "c:" before const ones, "s:" before shape-only ones, in
 * parentheses when dead. */
static const char *
order_of(const kerf_graph *g)
{
    static char text[1024];
    size_t used = 0;

    text[0] = '\0';
    for (size_t i = 0; i < g->node_count; i++) {
        const kerf_node *n = &g->node[i];

        used += (size_t)snprintf(text + used, sizeof text - used, "%s%s%s%s%s",
                                 i > 0 ? " " : "", n->is_live ? "" : "(",
                                 n->is_const        ? "c:"
                                 : n->is_shape_only ? "s:"
                                                    : "",
                                 n->op, n->is_live ? "" : ")");
    }
    return text;
}

static void
assert_order(const char *text, const char *order)
{
    kerf_graph *g = make(text);

    assert_string_equal(order_of(g), order);
    for (uint32_t i = 0; i < g->node_count; i++) {
        const kerf_node *n = &g->node[i];

        for (size_t k = 0; k < n->out_count; k++)
            assert_int_equal(g->value[n->out[k]].node, i);
        for (size_t k = 0; k < n->in_count; k++) {
            const kerf_value *v = &g->value[n->in[k]];

            assert_true(v->node == KERF_GRAPH_NONE || v->node < i);
        }
        assert_true(g->node[g->own->file_order[i]].origin == i);
    }
    kerf_graph_close(g);
}

static void
settle__parameters_alone__are_const_and_first(void **state)
{
    (void)state;
    assert_order("in x | param w | relu x -> y | fill_constant -> one | "
                 "scale w -> v | mul y v -> z | scale one -> unread | out z",
                 "(c:fill_constant) c:scale (c:scale) relu mul");
}

static void
settle__random_and_control__are_not_const(void **state)
{
    (void)state;
    assert_order("in x | uniform_random -> r | param w | while w -> u | "
                 "sum x r u -> z | out z",
                 "uniform_random while sum");
}

static void
settle__shapes__stand_right_behind_what_they_look_at(void **state)
{
    (void)state;
    assert_order("in x | conv2d x -> f | relu f -> a | sigmoid a -> b | "
                 "shape f -> s | fill_constant -> two | "
                 "elementwise_mul s two -> t | cast t -> u | "
                 "shape x -> sx | bicubic_interp b u sx -> y | out y",
                 "c:fill_constant s:shape conv2d s:shape s:elementwise_mul "
                 "s:cast relu sigmoid bicubic_interp");
}

/* z is written twice: its first reader must not see what shape gives. */
static void
settle__overwritten_name__is_not_moved(void **state)
{
    (void)state;
    assert_order("in x | relu x -> z | tanh z -> y | shape x -> z | "
                 "fill_constant -> y | add z y -> o | out o",
                 "(relu) (tanh) shape fill_constant add");
}

static void
settle__dead_nodes__are_told(void **state)
{
    (void)state;
    assert_order("in x | relu x -> a | tanh x -> b | exp b -> c | out a",
                 "relu (tanh) (exp)");
}

static void
settle__overwritten__marks_both(void **state)
{
    kerf_graph *g = make("in x | relu x -> y | tanh y -> y | exp y -> z | "
                         "out z");
    uint32_t y = kerf_graph_find(g, "y");

    (void)state;
    assert_int_equal(g->value[y].node, 1);
    assert_true(g->value[y].is_overwritten);
    assert_true(g->value[g->node[0].out[0]].is_overwritten);
    assert_int_equal(g->node[2].in[0], y);
    assert_false(g->value[kerf_graph_find(g, "z")].is_overwritten);
    assert_int_equal(kerf_graph_find(g, "w"), KERF_GRAPH_NONE);
    kerf_graph_close(g);
}

static void
add_in__unknown_name__is_named(void **state)
{
    kerf_detail why = {""};
    kerf_graph *g = NULL;

    (void)state;
    assert_int_equal(text_graph(&g, "in x | add x y -> z | relu z -> y", &why),
                     KERF_ECORRUPT);
    assert_string_equal(why.text, "node 0 (add): 'y' is read, and nothing "
                                  "before it gives it");
}

static void
add_value__zero_byte__is_corrupt(void **state)
{
    kerf_graph *g = NULL;
    uint32_t v, n;

    (void)state;
    assert_int_equal(kerf_graph_new(&g, KERF_FORMAT_ONNX, &text_format),
                     KERF_OK);
    assert_int_equal(kerf_graph_add_value(g, "a", 1, KERF_VALUE_INPUT, &v),
                     KERF_OK);
    assert_int_equal(kerf_graph_add_value(g, "a\0b", 3, KERF_VALUE_INPUT, &v),
                     KERF_ECORRUPT);
    assert_int_equal(kerf_graph_add_node(g, "\0", 1, "", 0, &n), KERF_ECORRUPT);
    assert_int_equal(kerf_graph_lookup(g, "a\0b", 3), KERF_GRAPH_NONE);
    assert_int_equal(kerf_graph_lookup(g, "ab", 1), 0);
    kerf_graph_close(g);
}

static void
lookup__many_names__finds_the_last_of_each(void **state)
{
    kerf_graph *g = NULL;
    char name[32];
    uint32_t v;

    (void)state;
    assert_int_equal(kerf_graph_new(&g, KERF_FORMAT_ONNX, &text_format),
                     KERF_OK);
    for (uint32_t i = 0; i < 30000; i++) {
        int len = snprintf(name, sizeof name, "tensor_%u.tmp_0", i % 20000);

        assert_int_equal(
            kerf_graph_add_value(g, name, (size_t)len, KERF_VALUE_PARAM, &v),
            KERF_OK);
    }
    assert_int_equal(kerf_graph_find(g, "tensor_9999.tmp_0"), 29999);
    assert_int_equal(kerf_graph_find(g, "tensor_19999.tmp_0"), 19999);
    assert_int_equal(kerf_graph_find(g, "tensor_20000.tmp_0"), KERF_GRAPH_NONE);
    kerf_graph_close(g);
}

static void
nearest__typo__comes_first(void **state)
{
    kerf_graph *g =
        make("in image | param relu_50 | relu image -> relu_5.tmp_0 | "
             "relu relu_5.tmp_0 -> relu_6.tmp_0 | exp relu_6.tmp_0 -> "
             "probabilities | "
             "exp image -> relu_55.tmp_0 | out probabilities");
    const char *near[3];

    (void)state;
    assert_int_equal(kerf_graph_nearest(g, "rleu_6.tmp_0", near), 3);
    assert_string_equal(near[0], "relu_6.tmp_0");
    assert_string_equal(near[1], "relu_5.tmp_0");
    assert_string_equal(near[2], "image"); /* relu_55 is dead */
    kerf_graph_close(g);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(settle__parameters_alone__are_const_and_first),
        cmocka_unit_test(settle__random_and_control__are_not_const),
        cmocka_unit_test(settle__shapes__stand_right_behind_what_they_look_at),
        cmocka_unit_test(settle__overwritten_name__is_not_moved),
        cmocka_unit_test(settle__dead_nodes__are_told),
        cmocka_unit_test(settle__overwritten__marks_both),
        cmocka_unit_test(add_in__unknown_name__is_named),
        cmocka_unit_test(add_value__zero_byte__is_corrupt),
        cmocka_unit_test(lookup__many_names__finds_the_last_of_each),
        cmocka_unit_test(nearest__typo__comes_first),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
