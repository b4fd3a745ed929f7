/* What is read of an ONNX model, and what is refused, by name. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "onnx_build.h"

/* x -> Relu a -> Add(a, w) b -> Mul(b, a) y */
static kerf_rope
skip_graph(void)
{
    kerf_rope g = {0};

    add_node(&g, "Relu", "x", "a", NULL);
    add_node(&g, "Add", "a,w", "b", NULL);
    add_node(&g, "Mul", "b,a", "y", NULL);
    add_param(&g, "w", 3, 1);
    add_port(&g, INPUT, "x", ELEM_F32, "N,3");
    add_port(&g, OUTPUT, "y", ELEM_F32, "N,3");
    add_port(&g, INFO, "a", ELEM_F32, "2,3");
    return g;
}

static void
open__a_skip__has_values_nodes_and_types(void **state)
{
    kerf_rope graph = skip_graph();
    struct bytes b = finish(&graph, 8, 17);
    kerf_graph *g = must_open(&b);
    const kerf_value *x = value_of(g, "x");

    (void)state;
    assert_int_equal(g->version, 17);
    assert_int_equal(g->node_count, 3);
    assert_string_equal(names_of(g, g->input, g->input_count), "x");
    assert_string_equal(names_of(g, g->output, g->output_count), "y");
    assert_string_equal(node_of(g, "y")->op, "Mul");
    assert_string_equal(node_of(g, "y")->name, "y");
    assert_string_equal(names_of(g, node_of(g, "y")->in, 2), "b,a");
    assert_int_equal(x->kind, KERF_VALUE_INPUT);
    assert_int_equal(x->type, KERF_VALUE_TENSOR);
    assert_int_equal(x->dtype, KERF_F32);
    assert_int_equal(x->shape.rank, 2);
    assert_int_equal(x->shape.dims[0], -1);
    assert_int_equal(x->shape.dims[1], 3);
    assert_int_equal(value_of(g, "a")->shape.dims[0], 2);
    assert_int_equal(value_of(g, "b")->type, KERF_VALUE_UNTYPED);
    assert_int_equal(value_of(g, "w")->kind, KERF_VALUE_PARAM);
    assert_true(value_of(g, "w")->is_const);
    assert_int_equal(value_of(g, "w")->bytes, 12);
    kerf_graph_close(g);
    free(b.at);
}

static void
open__inputs_that_are_initializers__are_parameters(void **state)
{
    kerf_rope graph = {0};
    struct bytes b;
    kerf_graph *g;

    (void)state;
    add_port(&graph, INPUT, "w", ELEM_F32, "3");
    add_port(&graph, INPUT, "x", ELEM_F32, "3");
    add_node(&graph, "Add", "x,w", "y", NULL);
    add_param(&graph, "w", 3, 1);
    add_port(&graph, OUTPUT, "y", ELEM_F32, "3");
    b = finish(&graph, 3, 8);
    g = must_open(&b);
    assert_string_equal(names_of(g, g->input, g->input_count), "x");
    assert_int_equal(value_of(g, "w")->kind, KERF_VALUE_PARAM);
    kerf_graph_close(g);
    free(b.at);
}

static void
open__nodes_in_any_order__are_sorted(void **state)
{
    kerf_rope graph = {0};
    struct bytes b;
    kerf_graph *g;

    (void)state;
    add_node(&graph, "Neg", "c", "y", NULL);
    add_node(&graph, "Mul", "a,b", "c", NULL);
    add_node(&graph, "Exp", "a", "b", NULL);
    add_node(&graph, "Relu", "x", "a", NULL);
    add_port(&graph, INPUT, "x", ELEM_F32, "3");
    add_port(&graph, OUTPUT, "y", ELEM_F32, "3");
    b = finish(&graph, 8, 17);
    g = must_open(&b);
    assert_int_equal(g->node_count, 4);
    assert_string_equal(g->node[0].op, "Relu");
    assert_string_equal(g->node[1].op, "Exp");
    assert_string_equal(g->node[2].op, "Mul");
    assert_string_equal(g->node[3].op, "Neg");
    kerf_graph_close(g);
    free(b.at);
}

static void
open__left_out_inputs_and_outputs__are_none(void **state)
{
    kerf_rope graph = {0};
    struct bytes b;
    kerf_graph *g;

    (void)state;
    add_node(&graph, "Clip", "x,,top", "a", NULL);
    add_node(&graph, "LSTM", "a,top", ",h", NULL);
    add_param(&graph, "top", 1, 6);
    add_port(&graph, INPUT, "x", ELEM_F32, "3");
    add_port(&graph, OUTPUT, "h", ELEM_F32, "3");
    b = finish(&graph, 8, 17);
    g = must_open(&b);
    assert_string_equal(names_of(g, node_of(g, "a")->in, 3), "x,,top");
    assert_string_equal(names_of(g, node_of(g, "h")->out, 2), ",h");
    kerf_graph_close(g);
    free(b.at);
}

/* A graph that reads near (its own), far and x, in a graph within a graph. */
static void
add_branch(kerf_rope *attributes, const char *far)
{
    kerf_rope inner = {0}, outer = {0}, deep = {0};

    add_param(&inner, "own", 1, 1);
    add_node(&inner, "Add", "own,near", "i", NULL);
    add_node(&inner, "Add", "i,x", "j", NULL);
    add_node(&inner, "Add", "j,x", "k", NULL);
    add_port(&inner, OUTPUT, "k", 0, NULL);
    add_node(&outer, "Neg", far, "near", NULL);
    add_attribute(&deep, "then_branch", 6, &inner);
    add_node(&outer, "If", "near", "o", &deep);
    add_port(&outer, OUTPUT, "o", 0, NULL);
    add_attribute(attributes, "then_branch", 6, &outer);
}

static void
open__sub_graphs__read_the_names_around_them(void **state)
{
    kerf_rope graph = {0}, attributes = {0};
    struct bytes b;
    kerf_graph *g;

    (void)state;
    add_branch(&attributes, "far");
    add_node(&graph, "Exp", "x", "far", NULL);
    add_node(&graph, "If", "cond", "y", &attributes);
    add_port(&graph, INPUT, "cond", 9, "");
    add_port(&graph, INPUT, "x", ELEM_F32, "3");
    add_port(&graph, OUTPUT, "y", ELEM_F32, "3");
    b = finish(&graph, 8, 17);
    g = must_open(&b);
    assert_int_equal(node_of(g, "y")->in_count, 3);
    assert_string_equal(names_of(g, node_of(g, "y")->in, 3), "cond,far,x");
    kerf_graph_close(g);
    free(b.at);
}

static void
open__a_name_of_a_sub_graph_that_nobody_gives__is_refused(void **state)
{
    kerf_rope graph = {0}, attributes = {0};
    struct bytes b;

    (void)state;
    add_branch(&attributes, "nowhere");
    add_node(&graph, "If", "cond", "y", &attributes);
    add_port(&graph, INPUT, "cond", 9, "");
    add_port(&graph, INPUT, "x", ELEM_F32, "3");
    add_port(&graph, OUTPUT, "y", ELEM_F32, "3");
    b = finish(&graph, 8, 17);
    must_refuse(&b, KERF_ECORRUPT, "'nowhere'");
    free(b.at);
}

static void
open__graphs_in_graphs_without_end__are_refused(void **state)
{
    kerf_rope graph = {0};
    struct bytes b;

    (void)state;
    add_node(&graph, "Relu", "x", "y", NULL);
    for (int i = 0; i < 100; i++) {
        kerf_rope outer = {0}, attributes = {0};

        add_attribute(&attributes, "body", 6, &graph);
        add_node(&outer, "Loop", "x", "y", &attributes);
        graph = outer;
    }
    add_port(&graph, INPUT, "x", ELEM_F32, "3");
    b = finish(&graph, 8, 17);
    must_refuse(&b, KERF_ETOOBIG, "deeper");
    free(b.at);
}

/* Names that nodes give, and whether those are const. */
static void
open__what_parameters_alone_decide__is_const(void **state)
{
    static const struct {
        const char *name;
        bool is_const;
    } want[] = {
        {"c", true},  {"d", true},  {"e", false},     {"r", false},
        {"s", false}, {"t", false}, {"maybe", false}, {"sure", true},
    };
    kerf_rope graph = {0}, model = {0}, tensor = {0}, attributes = {0};
    kerf_rope function = {0}, domain = {0};
    struct bytes b;
    kerf_graph *g;

    (void)state;
    add_floats(&tensor, "", 4, 2);
    add_attribute(&attributes, "value", 5, &tensor);
    add_node(&graph, "Constant", NULL, "c", &attributes);
    add_node(&graph, "Add", "c,w", "d", NULL);
    add_node(&graph, "Add", "d,x", "e", NULL);
    add_node(&graph, "RandomUniform", NULL, "r", NULL);
    add_node(&graph, "Bernoulli", "c", "s", NULL);
    add_node(&graph, "Dropout", "c", "t", NULL);
    kerf_wire_put_text(&domain, 7, "mine");
    add_node(&graph, "Noise", "c", "maybe", &domain);
    add_node(&graph, "Neg", "c", "sure", NULL);
    add_param(&graph, "w", 4, 1);
    add_port(&graph, INPUT, "x", ELEM_F32, "4");
    add_port(&graph, OUTPUT, "e", ELEM_F32, "4");
    kerf_wire_put_text(&function, 1, "Noise");
    add_node_as(&function, 7, "RandomNormal", NULL, "n", NULL);
    kerf_wire_put_rope(&model, 25, &function);
    kerf_wire_put_rope(&model, 7, &graph);
    b = flatten(&model);
    g = must_open(&b);
    for (size_t i = 0; i < sizeof want / sizeof *want; i++)
        assert_int_equal(value_of(g, want[i].name)->is_const, want[i].is_const);
    assert_string_equal(node_of(g, "maybe")->op, "mine.Noise");
    assert_int_equal(value_of(g, "c")->bytes, 16);
    assert_int_equal(value_of(g, "c")->shape.dims[0], 4);
    kerf_graph_close(g);
    free(b.at);
}

static void
open__what_is_no_tensor_of_ours__cannot_cross(void **state)
{
    kerf_rope graph = {0}, list = {0}, type = {0}, port = {0};
    struct bytes b;
    kerf_graph *g;

    (void)state;
    add_node(&graph, "SequenceConstruct", "x", "s", NULL);
    add_node(&graph, "Identity", "s", "t", NULL);
    add_node(&graph, "Foo", "t,text,deep", "u", NULL);
    add_port(&graph, INPUT, "x", ELEM_F32, "3");
    add_port(&graph, INPUT, "text", ELEM_TEXT, "3");
    add_port(&graph, INPUT, "deep", ELEM_F32, "1,1,1,1,1,1,1,1,1");
    kerf_wire_put_rope(&type, 4, &list); /* a sequence */
    kerf_wire_put_text(&port, 1, "u");
    kerf_wire_put_rope(&port, 2, &type);
    kerf_wire_put_rope(&graph, OUTPUT, &port);
    b = finish(&graph, 8, 17);
    g = must_open(&b);
    assert_int_equal(value_of(g, "s")->type, KERF_VALUE_OTHER);
    assert_int_equal(value_of(g, "t")->type, KERF_VALUE_OTHER);
    assert_int_equal(value_of(g, "u")->type, KERF_VALUE_OTHER);
    assert_int_equal(value_of(g, "text")->type, KERF_VALUE_OTHER);
    assert_int_equal(value_of(g, "deep")->type, KERF_VALUE_TENSOR);
    assert_false(value_of(g, "deep")->is_shaped);
    kerf_graph_close(g);
    free(b.at);
}

static void
open__shape_and_size__look_at_shapes_only(void **state)
{
    kerf_rope graph = {0};
    struct bytes b;
    kerf_graph *g;

    (void)state;
    add_node(&graph, "Relu", "x", "a", NULL);
    add_node(&graph, "Exp", "a", "b", NULL);
    add_node(&graph, "Shape", "a", "s", NULL);
    add_node(&graph, "Reshape", "b,s", "y", NULL);
    add_port(&graph, INPUT, "x", ELEM_F32, "3");
    add_port(&graph, OUTPUT, "y", ELEM_F32, "3");
    b = finish(&graph, 8, 17);
    g = must_open(&b);
    assert_true(node_of(g, "s")->is_shape_only);
    assert_string_equal(g->node[1].op, "Shape"); /* as early as it can be */
    kerf_graph_close(g);
    free(b.at);
}

static void
refuse_graph(kerf_rope *graph, kerf_err err, const char *text)
{
    struct bytes b = finish(graph, 8, 17);

    must_refuse(&b, err, text);
    free(b.at);
}

static void
open__a_name_with_two_meanings__is_refused(void **state)
{
    kerf_rope graph = skip_graph();

    (void)state;
    add_node(&graph, "Exp", "x", "b", NULL);
    refuse_graph(&graph, KERF_ECORRUPT, "'b' is given twice");
    graph = skip_graph();
    add_param(&graph, "b", 3, 1);
    refuse_graph(&graph, KERF_ECORRUPT, "'b' is given twice");
    graph = skip_graph();
    add_param(&graph, "w", 3, 1);
    refuse_graph(&graph, KERF_ECORRUPT, "'w' is given twice");
    graph = skip_graph();
    add_port(&graph, INPUT, "x", ELEM_F32, "3");
    refuse_graph(&graph, KERF_ECORRUPT, "'x' is given twice");
}

static void
open__names_that_lead_nowhere__are_refused(void **state)
{
    kerf_rope graph = skip_graph();

    (void)state;
    add_node(&graph, "Exp", "gone", "z", NULL);
    refuse_graph(&graph, KERF_ECORRUPT, "'gone'");
    graph = skip_graph();
    add_port(&graph, OUTPUT, "lost", ELEM_F32, "3");
    refuse_graph(&graph, KERF_ECORRUPT, "'lost' is an output");
    graph = skip_graph();
    add_port(&graph, INPUT, "", ELEM_F32, "3");
    refuse_graph(&graph, KERF_ECORRUPT, "no name");
    graph = skip_graph();
    add_node(&graph, "", "x", "z", NULL);
    refuse_graph(&graph, KERF_ECORRUPT, "no op_type");
}

static void
open__a_cycle__is_refused_by_a_node_on_it(void **state)
{
    kerf_rope graph = {0};

    (void)state;
    add_node(&graph, "Relu", "x", "before", NULL);
    add_node(&graph, "Add", "before,c", "a", NULL);
    add_node(&graph, "Exp", "a", "b", NULL);
    add_node(&graph, "Neg", "b", "c", NULL);
    add_port(&graph, INPUT, "x", ELEM_F32, "3");
    add_port(&graph, OUTPUT, "c", ELEM_F32, "3");
    refuse_graph(&graph, KERF_ECORRUPT, "cycle: node 'a'");
    add_node(&graph, "Add", "x,y", "y", NULL);
    add_port(&graph, INPUT, "x", ELEM_F32, "3");
    refuse_graph(&graph, KERF_ECORRUPT, "cycle: node 'y'");
}

static void
open__tensors_whose_data_does_not_fit__are_refused(void **state)
{
    static const struct {
        uint64_t dim, elem;
        size_t raw; /* bytes; 0: none */
        uint32_t typed;
        kerf_err err;
    } cases[] = {
        {3, ELEM_F32, 12, 0, KERF_OK},
        {3, ELEM_F32, 11, 0, KERF_ECORRUPT},
        {3, ELEM_F32, 16, 0, KERF_ECORRUPT},
        {3, ELEM_F32, 0, 0, KERF_ECORRUPT},
        {3, ELEM_F32, 0, 4, KERF_OK}, /* float_data, 12 bytes */
        {4, ELEM_F32, 0, 4, KERF_ECORRUPT},
        {12, ELEM_I64, 0, 7, KERF_OK}, /* int64_data, one byte each */
        {UINT64_C(1) << 40, ELEM_I64, 0, 7, KERF_ECORRUPT},
        {UINT64_C(1) << 62, ELEM_F32, 12, 0, KERF_ETOOBIG},
        {UINT64_MAX, ELEM_F32, 12, 0, KERF_ETOOBIG}, /* -1 */
        {3, 22, 2, 0, KERF_OK},                      /* int4: 12 bits */
        {3, 22, 1, 0, KERF_ECORRUPT},
        {0, ELEM_F32, 0, 0, KERF_OK},
        {3, 77, 5, 0, KERF_OK}, /* of the future: who knows */
    };
    static const char twelve[12] = {0};

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        kerf_rope graph = {0}, tensor = {0};
        struct bytes b;
        kerf_graph *g;
        kerf_detail why = {{0}};

        kerf_wire_put_int(&tensor, 1, cases[i].dim);
        kerf_wire_put_int(&tensor, 2, cases[i].elem);
        kerf_wire_put_text(&tensor, 8, "t");
        if (cases[i].raw > 0)
            kerf_wire_put_head(&tensor, 9, cases[i].raw);
        for (size_t k = 0; k < cases[i].raw; k++)
            kerf_rope_copy(&tensor, "", 1);
        if (cases[i].typed != 0) {
            kerf_wire_put_head(&tensor, cases[i].typed, sizeof twelve);
            kerf_rope_copy(&tensor, twelve, sizeof twelve);
        }
        kerf_wire_put_rope(&graph, PARAM, &tensor);
        b = finish(&graph, 8, 17);
        assert_int_equal(open_bytes(&g, &b, NULL, &why), cases[i].err);
        if (cases[i].err != KERF_OK)
            assert_non_null(strstr(why.text, "tensor 't'"));
        kerf_graph_close(g);
        free(b.at);
    }
}

static void
open__what_is_no_model__is_refused(void **state)
{
    static uint8_t zeros[16];
    struct bytes b = {zeros, sizeof zeros};
    kerf_rope model = {0}, graph = {0};

    (void)state;
    must_refuse(&b, KERF_ECORRUPT, "not a whole ONNX model");
    b.len = 0;
    must_refuse(&b, KERF_ECORRUPT, "no graph");
    kerf_wire_put_rope(&model, 7, &graph);
    kerf_wire_put_rope(&model, 7, &graph);
    b = flatten(&model);
    must_refuse(&b, KERF_ECORRUPT, "two graphs");
    free(b.at);
    kerf_wire_put_int(&model, 7, 1);
    b = flatten(&model);
    must_refuse(&b, KERF_ECORRUPT, "field 7 of the model is damaged");
    free(b.at);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(open__a_skip__has_values_nodes_and_types),
        cmocka_unit_test(open__inputs_that_are_initializers__are_parameters),
        cmocka_unit_test(open__nodes_in_any_order__are_sorted),
        cmocka_unit_test(open__left_out_inputs_and_outputs__are_none),
        cmocka_unit_test(open__sub_graphs__read_the_names_around_them),
        cmocka_unit_test(
            open__a_name_of_a_sub_graph_that_nobody_gives__is_refused),
        cmocka_unit_test(open__graphs_in_graphs_without_end__are_refused),
        cmocka_unit_test(open__what_parameters_alone_decide__is_const),
        cmocka_unit_test(open__what_is_no_tensor_of_ours__cannot_cross),
        cmocka_unit_test(open__shape_and_size__look_at_shapes_only),
        cmocka_unit_test(open__a_name_with_two_meanings__is_refused),
        cmocka_unit_test(open__names_that_lead_nowhere__are_refused),
        cmocka_unit_test(open__a_cycle__is_refused_by_a_node_on_it),
        cmocka_unit_test(open__tensors_whose_data_does_not_fit__are_refused),
        cmocka_unit_test(open__what_is_no_model__is_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
