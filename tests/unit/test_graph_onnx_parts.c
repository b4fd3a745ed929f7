/* What is written of an ONNX model: parts, joined halves, and that nothing that
 * a file holds can break either. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "onnx_build.h"

/* x -> Relu a -> Exp early (an output) -> If (reads a) q -> Add(q, w) y, with a
 * shape on the way, and things that Kerf does not look into. late passes. */
static struct bytes
rich_model(uint64_t ir)
{
    kerf_rope graph = {0}, then = {0}, attributes = {0}, model = {0};

    kerf_wire_put_text(&graph, NAME, "net");
    add_node(&graph, "Relu", "x", "a", NULL);
    add_node(&graph, "Exp", "a", "early", NULL);
    add_node(&then, "Mul", "a,early", "t", NULL);
    add_port(&then, OUTPUT, "t", ELEM_F32, NULL);
    add_attribute(&attributes, "then_branch", 6, &then);
    add_node(&graph, "Shape", "early", "s", NULL);
    add_node(&graph, "If", "cond", "q", &attributes);
    add_node(&graph, "Reshape", "q,s", "r", NULL);
    add_node(&graph, "Add", "r,w", "u", NULL);
    add_node(&graph, "Add", "u,late", "y", NULL);
    add_param(&graph, "w", 3, 1);
    add_param(&graph, "unused", 3, 1);
    if (ir <= 3) {
        add_port(&graph, INPUT, "w", ELEM_F32, "3");
        add_port(&graph, INPUT, "unused", ELEM_F32, "3");
    }
    add_port(&graph, INPUT, "late", ELEM_F32, "3");
    add_port(&graph, INPUT, "cond", 9, "");
    add_port(&graph, INPUT, "x", ELEM_F32, "N,3");
    add_port(&graph, OUTPUT, "early", ELEM_F32, "N,3");
    add_port(&graph, OUTPUT, "y", ELEM_F32, "N,3");
    for (const char *const *name =
             (const char *const[]){"a", "q", "r", "u", NULL};
         *name != NULL; name++)
        add_port(&graph, INFO, *name, ELEM_F32, "N,3");
    add_port(&graph, INFO, "s", ELEM_I64, "2");
    kerf_wire_put_text(&graph, 99, "of the graph's future");
    kerf_wire_put_int(&model, 1, ir);
    kerf_wire_put_text(&model, 2, "maker");
    kerf_wire_put_rope(&model, 7, &graph);
    add_opset(&model, "", ir <= 3 ? 8 : 17);
    add_opset(&model, "mine", 1);
    kerf_wire_put_text(&model, 98, "of the model's future");
    return flatten(&model);
}

static bool
holds(const struct bytes *b, const char *text)
{
    return memmem(b->at, b->len, text, strlen(text)) != NULL;
}

/* The half of a cut. */
static struct bytes
write_half(const kerf_graph *g, const kerf_cut *cut, bool head)
{
    kerf_part part = {0};
    kerf_rope rope = {0}, weights = {0};
    kerf_detail why = {{0}};

    assert_int_equal(kerf_cut_part(g, cut, head, &part), KERF_OK);
    if (kerf_graph_write(g, &part, &rope, &weights, &why) != KERF_OK)
        fail_msg("%s", why.text);
    assert_int_equal(weights.len, 0);
    kerf_part_fini(&part);
    return flatten(&rope);
}

static kerf_cut
cut_at(const kerf_graph *g, const char *name)
{
    kerf_cut cut = {0};
    kerf_detail why = {{0}};

    if (kerf_cut_at(g, &name, 1, &cut, &why) != KERF_OK)
        fail_msg("%s", why.text);
    return cut;
}

static struct bytes
join(const struct bytes *head, const struct bytes *tail)
{
    kerf_graph *h = must_open(head);
    kerf_graph *t = must_open(tail);
    kerf_rope rope = {0}, weights = {0};
    kerf_detail why = {{0}};

    if (kerf_graph_join(h, t, &rope, &weights, &why) != KERF_OK)
        fail_msg("%s", why.text);
    kerf_graph_close(h);
    kerf_graph_close(t);
    return flatten(&rope);
}

static void
write__halves__have_what_they_need_and_all_that_is_unknown(void **state)
{
    struct bytes whole = rich_model(8);
    kerf_graph *g = must_open(&whole);
    kerf_cut cut = cut_at(g, "5");

    (void)state;
    for (int head = 0; head < 2; head++) {
        struct bytes half = write_half(g, &cut, head);
        kerf_graph *h = must_open(&half);

        assert_true(holds(&half, "of the graph's future"));
        assert_true(holds(&half, "of the model's future"));
        assert_true(holds(&half, "maker"));
        assert_true(holds(&half, "mine"));
        assert_false(holds(&half, "unused"));
        assert_int_equal(kerf_graph_find(h, "w") == KERF_GRAPH_NONE, head);
        kerf_graph_close(h);
        free(half.at);
    }
    kerf_cut_fini(&cut);
    kerf_graph_close(g);
    free(whole.at);
}

static void
write__values_that_pass__go_through_an_identity(void **state)
{
    struct bytes whole = rich_model(8);
    kerf_graph *g = must_open(&whole);
    kerf_cut cut = cut_at(g, "4");
    struct bytes head = write_half(g, &cut, true);
    struct bytes tail = write_half(g, &cut, false);
    kerf_graph *h = must_open(&head);
    kerf_graph *t = must_open(&tail);

    (void)state;
    assert_string_equal(names_of(g, cut.value, cut.count), "late,early,s,q");
    assert_string_equal(names_of(h, h->input, h->input_count), "late,cond,x");
    assert_string_equal(names_of(h, h->output, h->output_count),
                        "late/kerf_out0,early,s,q");
    assert_string_equal(node_of(h, "late/kerf_out0")->op, "Identity");
    assert_string_equal(names_of(t, t->input, t->input_count),
                        "late,early/kerf_in1,s,q");
    assert_string_equal(names_of(t, t->output, t->output_count), "early,y");
    assert_string_equal(node_of(t, "early")->op, "Identity");
    assert_int_equal(value_of(t, "early/kerf_in1")->shape.rank, 2);
    kerf_graph_close(h);
    kerf_graph_close(t);
    kerf_graph_close(g);
    kerf_cut_fini(&cut);
    free(head.at);
    free(tail.at);
    free(whole.at);
}

/* All values of a graph as outputs, one of them twice. */
static void
write__an_output_that_is_there_already__has_a_name_of_its_own(void **state)
{
    struct bytes whole = rich_model(8), b;
    kerf_graph *g = must_open(&whole);
    kerf_graph *again;
    uint32_t out[] = {kerf_graph_find(g, "early"), kerf_graph_find(g, "early"),
                      kerf_graph_find(g, "w")};
    kerf_part part = {
        .in = g->input, .in_count = g->input_count, .out = out, .out_count = 3};
    kerf_rope rope = {0}, weights = {0};

    (void)state;
    part.node = calloc(g->node_count, sizeof *part.node);
    assert_non_null(part.node);
    memset(part.node, 1, g->node_count);
    assert_int_equal(kerf_graph_write(g, &part, &rope, &weights, NULL),
                     KERF_OK);
    b = flatten(&rope);
    again = must_open(&b);
    assert_string_equal(names_of(again, again->output, again->output_count),
                        "early,early/kerf_out1,w");
    kerf_graph_close(again);
    kerf_graph_close(g);
    free(part.node);
    free(b.at);
    free(whole.at);
}

static void
write__old_models__list_their_parameters_as_inputs(void **state)
{
    struct bytes whole = rich_model(3);
    kerf_graph *g = must_open(&whole);
    kerf_cut cut = cut_at(g, "4");
    struct bytes tail = write_half(g, &cut, false);
    kerf_graph *t = must_open(&tail);

    (void)state;
    assert_true(holds(&tail, "\x5a\x0f\x0a\x01w")); /* input: name w */
    assert_string_equal(names_of(t, t->input, t->input_count),
                        "late,early/kerf_in1,s,q");
    kerf_graph_close(t);
    kerf_graph_close(g);
    kerf_cut_fini(&cut);
    free(tail.at);
    free(whole.at);
}

/* Engines leave ports out that nothing reads, and the others move up. */
static void
write__an_input_that_nothing_reads__stays_a_port(void **state)
{
    kerf_rope graph = {0};
    struct bytes whole, head, tail, both;
    kerf_graph *g, *h, *j;
    kerf_cut cut;

    (void)state;
    add_node(&graph, "Relu", "x", "a", NULL);
    add_node(&graph, "Neg", "a", "y", NULL);
    add_port(&graph, INPUT, "idle", ELEM_F32, "3");
    add_port(&graph, INPUT, "x", ELEM_F32, "3");
    add_port(&graph, OUTPUT, "y", ELEM_F32, "3");
    add_port(&graph, INFO, "a", ELEM_F32, "3");
    whole = finish(&graph, 8, 17);
    g = must_open(&whole);
    cut = cut_at(g, "a");
    head = write_half(g, &cut, true);
    tail = write_half(g, &cut, false);
    both = join(&head, &tail);
    h = must_open(&head);
    j = must_open(&both);
    assert_string_equal(names_of(h, h->input, h->input_count), "idle,x");
    assert_string_equal(node_of(h, "idle/kerf_unread0")->op, "Identity");
    assert_string_equal(names_of(j, j->input, j->input_count), "idle,x");
    assert_string_equal(node_of(j, "idle/kerf_unread0")->op, "Identity");
    assert_int_equal(j->node_count, 3);
    kerf_graph_close(h);
    kerf_graph_close(j);
    kerf_graph_close(g);
    kerf_cut_fini(&cut);
    free(head.at);
    free(tail.at);
    free(both.at);
    free(whole.at);
}

/* x -> Relu a -> Exp b -> Neg y; elem: of a and b. */
static kerf_rope
plain_graph(const char *a, const char *b, unsigned elem)
{
    kerf_rope g = {0};

    add_node(&g, "Relu", "x", a, NULL);
    add_node(&g, "Exp", a, b, NULL);
    add_node(&g, "Neg", b, "y", NULL);
    add_port(&g, INPUT, "x", ELEM_F32, "N,3");
    add_port(&g, OUTPUT, "y", ELEM_F32, "N,3");
    add_port(&g, INFO, a, elem, "N,3");
    add_port(&g, INFO, b, elem, "N,3");
    return g;
}

static void
write__types__are_the_files_or_made(void **state)
{
    kerf_rope graph = plain_graph("a", "b", ELEM_F32);
    struct bytes whole = finish(&graph, 8, 17), tail;
    kerf_graph *g = must_open(&whole);
    kerf_graph *t;
    kerf_shape shape = {.rank = 2, .dims = {-1, 3}};
    kerf_cut cut = cut_at(g, "a");

    (void)state;
    tail = write_half(g, &cut, false);
    assert_true(holds(&tail, "\x12\x01N")); /* the name of a free dim */
    free(tail.at);
    shape.rank = 3;
    shape.dims[2] = 5;
    kerf_graph_set_type(g, kerf_graph_find(g, "a"), KERF_F16, &shape, NULL);
    tail = write_half(g, &cut, false);
    t = must_open(&tail);
    assert_int_equal(value_of(t, "a")->dtype, KERF_F16);
    assert_int_equal(value_of(t, "a")->shape.rank, 3);
    assert_int_equal(value_of(t, "a")->shape.dims[0], -1);
    assert_int_equal(value_of(t, "a")->shape.dims[2], 5);
    kerf_graph_close(t);
    kerf_graph_close(g);
    kerf_cut_fini(&cut);
    free(tail.at);
    free(whole.at);
}

static void
write__an_input_of_no_type__is_refused_by_name(void **state)
{
    kerf_rope graph = plain_graph("a", "b", 0), rope = {0}, weights = {0};
    struct bytes whole = finish(&graph, 8, 17), head;
    kerf_graph *g = must_open(&whole);
    kerf_cut cut = cut_at(g, "a");
    kerf_part part = {0};
    kerf_detail why = {{0}};

    (void)state;
    head = write_half(g, &cut, true);
    assert_int_equal(kerf_cut_part(g, &cut, false, &part), KERF_OK);
    assert_int_equal(kerf_graph_write(g, &part, &rope, &weights, &why),
                     KERF_ENOTSUP);
    assert_non_null(strstr(why.text, "type of 'a'"));
    kerf_part_fini(&part);
    kerf_graph_close(g);
    kerf_cut_fini(&cut);
    free(head.at);
    free(whole.at);
}

/* A probe asks for shapes: large weights are zeros that take no room. */
static void
write__a_hollow_probe__has_shapes_of_large_weights_alone(void **state)
{
    kerf_rope graph = {0}, rope = {0}, weights = {0};
    kerf_rope tensor = {0}, attributes = {0};
    struct bytes whole, b;
    kerf_graph *g, *probe;
    uint32_t *value = NULL;
    size_t count = 0;

    (void)state;
    add_floats(&tensor, "", 5000, 2);
    add_attribute(&attributes, "value", 5, &tensor);
    add_node(&graph, "Constant", NULL, "c", &attributes);
    add_node(&graph, "Add", "x,large", "a", NULL);
    add_node(&graph, "Add", "a,small", "b", NULL);
    add_node(&graph, "Add", "b,c", "y", NULL);
    add_param(&graph, "large", 5000, 1);
    add_param(&graph, "small", 3, 1);
    add_port(&graph, INPUT, "x", ELEM_F32, "3");
    add_port(&graph, OUTPUT, "y", ELEM_F32, "3");
    whole = finish(&graph, 8, 17);
    g = must_open(&whole);
    assert_int_equal(
        kerf_graph_write_probe(g, true, &rope, &weights, &value, &count, NULL),
        KERF_OK);
    b = flatten(&rope);
    assert_true(b.len < 2000);
    probe = must_open(&b);
    assert_string_equal(node_of(probe, "large")->op, "ConstantOfShape");
    assert_string_equal(node_of(probe, "c")->op, "ConstantOfShape");
    assert_int_equal(value_of(probe, "small")->kind, KERF_VALUE_PARAM);
    assert_true(holds(&b, "\x08\x01\x10\x07J\x08\x88\x13")); /* [1] i64: 5000 */
    assert_int_equal(probe->output_count, count);
    kerf_graph_close(probe);
    kerf_graph_close(g);
    free(value);
    free(b.at);
    free(whole.at);
}

/* Tensors that only an annotation names go where it goes. */
static void
write__annotations__bring_their_tensors(void **state)
{
    kerf_rope graph = plain_graph("a", "b", ELEM_F32), note = {0}, entry = {0};
    struct bytes whole, head, tail;
    kerf_graph *g;
    kerf_cut cut;

    (void)state;
    add_param(&graph, "scale_of_b", 1, 1);
    kerf_wire_put_text(&note, 1, "b");
    kerf_wire_put_text(&entry, 1, "SCALE_TENSOR");
    kerf_wire_put_text(&entry, 2, "scale_of_b");
    kerf_wire_put_rope(&note, 2, &entry);
    kerf_wire_put_rope(&graph, ANNOTATION, &note);
    whole = finish(&graph, 8, 17);
    g = must_open(&whole);
    cut = cut_at(g, "a");
    head = write_half(g, &cut, true);
    tail = write_half(g, &cut, false);
    assert_false(holds(&head, "scale_of_b"));
    assert_true(holds(&tail, "SCALE_TENSOR"));
    assert_true(holds(&tail, "\x42\nscale_of_b")); /* TensorProto.name */
    kerf_graph_close(g);
    kerf_cut_fini(&cut);
    free(head.at);
    free(tail.at);
    free(whole.at);
}

/* Ops in order, with their outputs. */
static const char *
nodes_of(const kerf_graph *g)
{
    static char text[1024];
    size_t n = 0;

    for (size_t i = 0; i < g->node_count; i++) {
        const kerf_node *node = &g->node[i];

        n += (size_t)snprintf(text + n, sizeof text - n, "%s(%s)", node->op,
                              names_of(g, node->in, node->in_count));
        n += (size_t)snprintf(text + n, sizeof text - n, "%s ",
                              names_of(g, node->out, node->out_count));
    }
    return text;
}

static void
join__halves_of_every_cut__is_the_whole(void **state)
{
    struct bytes whole = rich_model(8);
    kerf_graph *g = must_open(&whole);
    char nodes[1024];
    kerf_cuts cuts = {0};

    (void)state;
    (void)snprintf(nodes, sizeof nodes, "%s", nodes_of(g));
    assert_int_equal(kerf_cuts_list(g, &cuts, NULL), KERF_OK);
    assert_int_equal(cuts.count, 8);
    for (size_t i = 0; i < cuts.count; i++) {
        struct bytes head = write_half(g, &cuts.cut[i], true);
        struct bytes tail = write_half(g, &cuts.cut[i], false);
        struct bytes both = join(&head, &tail);
        kerf_graph *j = must_open(&both);

        assert_string_equal(nodes_of(j), nodes);
        assert_string_equal(names_of(j, j->input, j->input_count),
                            "late,cond,x");
        assert_string_equal(names_of(j, j->output, j->output_count), "early,y");
        kerf_graph_close(j);
        free(head.at);
        free(tail.at);
        free(both.at);
    }
    kerf_cuts_fini(&cuts);
    kerf_graph_close(g);
    free(whole.at);
}

static void
join__names_that_mean_two_things__are_told_apart(void **state)
{
    kerf_rope h = plain_graph("a", "b", ELEM_F32);
    kerf_rope t = plain_graph("b", "c", ELEM_F32);
    struct bytes head, tail, both;
    kerf_graph *j;

    (void)state;
    add_param(&h, "w", 3, 1);
    add_node(&h, "Add", "w,x", "unread", NULL);
    add_param(&t, "w", 3, 2);
    head = finish(&h, 8, 17);
    tail = finish(&t, 8, 17);
    both = join(&head, &tail);
    j = must_open(&both);
    assert_string_equal(names_of(j, j->input, j->input_count), "x");
    assert_string_equal(names_of(j, j->output, j->output_count), "y");
    assert_string_equal(
        nodes_of(j),
        "Relu(x)a Exp(a)b Neg(b)y/kerf_join0 Add(w,x)unread "
        "Relu(y/kerf_join0)b/kerf_join0 Exp(b/kerf_join0)c Neg(c)y ");
    assert_int_not_equal(kerf_graph_find(j, "w/kerf_join0"), KERF_GRAPH_NONE);
    kerf_graph_close(j);
    free(head.at);
    free(tail.at);
    free(both.at);
}

static void
refuse_join(struct bytes head, struct bytes tail, const char *text)
{
    kerf_graph *h = must_open(&head);
    kerf_graph *t = must_open(&tail);
    kerf_rope rope = {0}, weights = {0};
    kerf_detail why = {{0}};

    assert_int_equal(kerf_graph_join(h, t, &rope, &weights, &why),
                     KERF_EMISMATCH);
    if (strstr(why.text, text) == NULL)
        fail_msg("'%s' is not in: %s", text, why.text);
    assert_int_equal(rope.count, 0);
    kerf_graph_close(h);
    kerf_graph_close(t);
    free(head.at);
    free(tail.at);
}

static struct bytes
plain_model(uint64_t ir, uint64_t opset)
{
    kerf_rope graph = plain_graph("a", "b", ELEM_F32);

    return finish(&graph, ir, opset);
}

/* Two functions of one name, one of which negates. */
static struct bytes
function_model(bool negates)
{
    kerf_rope graph = plain_graph("a", "b", ELEM_F32), model = {0};
    kerf_rope function = {0};

    kerf_wire_put_text(&function, 1, "F");
    kerf_wire_put_text(&function, 10, "mine");
    add_node_as(&function, 7, negates ? "Neg" : "Exp", "p", "q", NULL);
    kerf_wire_put_int(&model, 1, 8);
    kerf_wire_put_rope(&model, 7, &graph);
    kerf_wire_put_rope(&model, 25, &function);
    add_opset(&model, "", 17);
    return flatten(&model);
}

static void
join__what_does_not_fit__is_named(void **state)
{
    kerf_rope attributes = {0}, branch = {0}, g = {0};
    struct bytes tail;

    (void)state;
    refuse_join(plain_model(8, 17), plain_model(8, 13),
                "opset of domain '': the head has 17, the tail 13");
    refuse_join(plain_model(8, 17), plain_model(9, 17), "ir_version is 8");
    refuse_join(function_model(true), function_model(false), "function 'F'");
    /* A sub-graph of the tail reads the tail's x, which is the head's y; the
     * head has another x. */
    add_node(&branch, "Neg", "x", "n", NULL);
    add_attribute(&attributes, "then_branch", 6, &branch);
    add_node(&g, "If", "x", "z", &attributes);
    add_port(&g, INPUT, "x", ELEM_F32, "N,3");
    add_port(&g, OUTPUT, "z", ELEM_F32, "N,3");
    tail = finish(&g, 8, 17);
    refuse_join(plain_model(8, 17), tail, "'x' is one thing in the head");
}

/* Everything that can be done with a model that could be opened. */
static void
use_up(const struct bytes *b)
{
    kerf_graph *g = NULL;
    kerf_cuts cuts = {0};
    kerf_detail why;

    if (open_bytes(&g, b, NULL, &why) != KERF_OK) {
        assert_int_not_equal(why.text[0], '\0');
        return;
    }
    assert_int_equal(kerf_cuts_list(g, &cuts, &why), KERF_OK);
    for (size_t i = 0; i < cuts.count; i += 3) {
        struct bytes half[2] = {{0}};
        kerf_graph *part[2] = {NULL};
        kerf_rope rope = {0}, weights = {0};

        for (int h = 0; h < 2 && cuts.cut[i].refused == NULL; h++) {
            kerf_part p = {0};

            assert_int_equal(kerf_cut_part(g, &cuts.cut[i], h == 0, &p),
                             KERF_OK);
            if (kerf_graph_write(g, &p, &rope, &weights, &why) == KERF_OK) {
                half[h] = flatten(&rope);
                part[h] = must_open(&half[h]);
            }
            kerf_part_fini(&p);
        }
        if (part[0] != NULL && part[1] != NULL &&
            kerf_graph_join(part[0], part[1], &rope, &weights, &why) ==
                KERF_OK) {
            struct bytes both = flatten(&rope);
            kerf_graph *j = must_open(&both);

            assert_int_equal(j->output_count, g->output_count);
            kerf_graph_close(j);
            free(both.at);
        }
        for (int h = 0; h < 2; h++) {
            kerf_graph_close(part[h]);
            free(half[h].at);
        }
    }
    kerf_cuts_fini(&cuts);
    kerf_graph_close(g);
}

static void
hostile__every_truncation__is_an_error_or_works(void **state)
{
    struct bytes whole = rich_model(8);

    (void)state;
    for (size_t len = 0; len < whole.len; len++) {
        struct bytes cut = {malloc(len + 1), len};

        assert_non_null(cut.at);
        memcpy(cut.at, whole.at, len);
        use_up(&cut);
        free(cut.at);
    }
    free(whole.at);
}

static void
hostile__every_flipped_bit__is_an_error_or_works(void **state)
{
    struct bytes whole = rich_model(8);

    (void)state;
    use_up(&whole);
    for (size_t i = 0; i < 8 * whole.len; i++) {
        whole.at[i / 8] ^= (uint8_t)(1U << i % 8);
        use_up(&whole);
        whole.at[i / 8] ^= (uint8_t)(1U << i % 8);
    }
    free(whole.at);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(
            write__halves__have_what_they_need_and_all_that_is_unknown),
        cmocka_unit_test(write__values_that_pass__go_through_an_identity),
        cmocka_unit_test(
            write__an_output_that_is_there_already__has_a_name_of_its_own),
        cmocka_unit_test(write__old_models__list_their_parameters_as_inputs),
        cmocka_unit_test(write__an_input_that_nothing_reads__stays_a_port),
        cmocka_unit_test(write__types__are_the_files_or_made),
        cmocka_unit_test(write__an_input_of_no_type__is_refused_by_name),
        cmocka_unit_test(
            write__a_hollow_probe__has_shapes_of_large_weights_alone),
        cmocka_unit_test(write__annotations__bring_their_tensors),
        cmocka_unit_test(join__halves_of_every_cut__is_the_whole),
        cmocka_unit_test(join__names_that_mean_two_things__are_told_apart),
        cmocka_unit_test(join__what_does_not_fit__is_named),
        cmocka_unit_test(hostile__every_truncation__is_an_error_or_works),
        cmocka_unit_test(hostile__every_flipped_bit__is_an_error_or_works),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
