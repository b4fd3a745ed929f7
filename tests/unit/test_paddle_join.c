/* Halves of Paddle programs join to what they came from, and strangers too. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "paddle_model.h"

static struct model
join(const kerf_graph *head, const kerf_graph *tail)
{
    kerf_rope graph = {0}, weights = {0};
    kerf_detail why = {""};

    if (kerf_graph_join(head, tail, &graph, &weights, &why) != KERF_OK)
        fail_msg("%s", why.text);
    return from_ropes(&graph, &weights);
}

/* Each cut's halves open, join to the whole, and can be cut again. */
static void
cut_and_join(const char *text)
{
    struct model m = make(text);
    kerf_cuts cuts = {0}, again = {0};

    assert_int_equal(kerf_cuts_list(m.g, &cuts, NULL), KERF_OK);
    for (size_t i = 0; i < cuts.count; i++) {
        struct model head, tail, whole;
        size_t live = 0;

        assert_null(cuts.cut[i].refused);
        head = write_half(m.g, &cuts.cut[i], true);
        tail = write_half(m.g, &cuts.cut[i], false);
        assert_int_equal(head.g->output_count, cuts.cut[i].count);
        assert_int_equal(tail.g->input_count, cuts.cut[i].count);
        for (size_t k = 0; k < cuts.cut[i].count; k++) {
            const char *name = m.g->value[cuts.cut[i].value[k]].name;

            assert_string_equal(head.g->value[head.g->output[k]].name, name);
            assert_string_equal(tail.g->value[tail.g->input[k]].name, name);
        }
        whole = join(head.g, tail.g);
        for (size_t k = 0; k < m.g->node_count; k++)
            live += m.g->node[k].is_live;
        assert_int_equal(whole.g->node_count, live);
        assert_int_equal(whole.g->input_count, m.g->input_count);
        assert_true(whole.bytes.weights_len <= m.bytes.weights_len);
        assert_int_equal(kerf_cuts_list(tail.g, &again, NULL), KERF_OK);
        assert_int_equal(again.count, cuts.count - i);
        kerf_cuts_fini(&again);
        close_model(&head);
        close_model(&tail);
        close_model(&whole);
    }
    kerf_cuts_fini(&cuts);
    close_model(&m);
}

static void
join__halves_of_every_cut__are_the_whole(void **state)
{
    (void)state;
    cut_and_join(SKIP);
    cut_and_join(LOOP);
    cut_and_join("feed x | feed size | relu X=x -> Out=x1 | "
                 "shape Input=x1 -> Out=s | sigmoid X=x1 -> Out=x1 | "
                 "tanh X=x1 -> Out=x2 | yolo_box X=x2 ImgSize=size -> Out=b | "
                 "expand X=b Shape=s -> Out=y | fetch y | fetch x1");
}

/* Two networks that have names in common. */
static void
join__common_names__become_two(void **state)
{
    struct model head = make("param w 4,4 | feed x | "
                             "matmul_v2 X=x Y=w -> Out=t | relu X=t -> Out=f | "
                             "fetch f");
    struct model tail = make("param a 1 | param w 4,4 | feed t | "
                             "matmul_v2 X=t Y=w -> Out=x | relu X=x -> Out=f | "
                             "fetch f");
    struct model whole = join(head.g, tail.g);

    (void)state;
    assert_text(whole.g,
                "in: x | matmul_v2(x, w) t | relu(t) f | assign(f) t.tail | "
                "matmul_v2(t.tail, w.tail) x.tail | relu(x.tail) f | out: f");
    assert_int_equal(whole.bytes.weights_len, 180);
    close_model(&whole);
    close_model(&head);
    close_model(&tail);
}

static void
join__equal_parameters_and_ops__are_kept_once(void **state)
{
    struct model head = make("param w 4,4 | feed x | scale X=w -> Out=v | "
                             "matmul_v2 X=x Y=v -> Out=f | fetch f");
    struct model tail = make("param w 4,4 | feed f | scale X=w -> Out=v | "
                             "matmul_v2 X=f Y=v -> Out=y | fetch y");
    struct model whole = join(head.g, tail.g);

    (void)state;
    assert_text(whole.g, "in: x | scale(w) v | matmul_v2(x, v) f | "
                         "matmul_v2(f, v) y | out: y");
    assert_int_equal(whole.bytes.weights_len, 90);
    close_model(&whole);
    close_model(&head);
    close_model(&tail);
}

static void
assert_no_join(const char *head_text, const char *tail_text, const char *line)
{
    struct model head = make(head_text), tail = make(tail_text);
    kerf_rope graph = {0}, weights = {0};
    kerf_detail why = {""};

    assert_int_equal(kerf_graph_join(head.g, tail.g, &graph, &weights, &why),
                     KERF_EMISMATCH);
    assert_string_equal(why.text, line);
    kerf_rope_fini(&graph);
    kerf_rope_fini(&weights);
    close_model(&head);
    close_model(&tail);
}

static void
join__what_does_not_fit__is_named(void **state)
{
    (void)state;
    assert_no_join("feed x | relu X=x -> Out=y | fetch y | fetch x",
                   "feed x | relu X=x -> Out=y | fetch y",
                   "the head gives 2 tensors, the tail takes 1");
    assert_no_join("var x -1,3 | feed x | fetch x",
                   "var x -1,5 | feed x | fetch x",
                   "output 0 of the head is f32 (?, 3), input 0 of the tail is "
                   "f32 (?, 5)");
    assert_no_join("feed x | relu X=x -> Out=s | tanh X=s -> Out=y | fetch y",
                   "feed y | feed s | elementwise_add X=y Y=s -> Out=z | "
                   "fetch z",
                   "'s' of the tail is an input that the head does not give, "
                   "and the head has another tensor of that name");
    assert_no_join("param w 4,4 | feed x | matmul_v2 X=x Y=w -> Out=y | "
                   "fetch y",
                   "feed y | while X=y -> Out=z sub=1 | fetch z | "
                   "1: param w 4,5 | 1: matmul_v2 X=y Y=w -> Out=z",
                   "'w' of the tail is used in a loop or branch, and the head "
                   "has another tensor of that name: rename it");
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(join__halves_of_every_cut__are_the_whole),
        cmocka_unit_test(join__common_names__become_two),
        cmocka_unit_test(join__equal_parameters_and_ops__are_kept_once),
        cmocka_unit_test(join__what_does_not_fit__is_named),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
