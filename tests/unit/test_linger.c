/* linger.c: how many at once, and what is waited for; times are made up. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "cloud/linger.h"

/* As a ResNet18's tail was tried, in us times 1000. */
static const uint64_t pays_ns[KERF_BATCH_MOST + 1] = {
    [1] = 900000, [2] = 1400000, [4] = 2200000, [8] = 3800000};
static const uint64_t never_pays_ns[KERF_BATCH_MOST + 1] = {
    [1] = 900000, [2] = 1800000, [4] = 3600000, [8] = 7200000};

static kerf_linger
tried(const uint64_t *run_ns)
{
    kerf_linger l;

    kerf_linger_init(&l, run_ns, KERF_BATCH_MOST, false);
    return l;
}

/* A batch of so many is run, while seen are there. */
static void
run(kerf_linger *l, size_t size, size_t seen)
{
    kerf_linger_saw(l, seen);
    kerf_linger_ran(l, size, l->tried_ns[size]);
}

static void
init__sizes_between__lie_on_the_line(void **state)
{
    kerf_linger l = tried(pays_ns);

    (void)state;
    assert_int_equal(l.cost_ns[1], 900000);
    assert_int_equal(l.cost_ns[3], 1800000);
    assert_int_equal(l.cost_ns[4], 2200000);
    assert_int_equal(l.cost_ns[5], 2600000);
    assert_int_equal(l.cost_ns[7], 3400000);
}

static void
plan__lone_edge__never_waits(void **state)
{
    kerf_linger l = tried(pays_ns);

    (void)state;
    for (size_t workers = 1; workers <= 4; workers++) {
        for (int i = 0; i < 100; i++) {
            kerf_linger_plan p = kerf_linger_plan_for(&l, 1, workers);

            assert_int_equal(p.goal, 1);
            assert_int_equal(p.wait_ns, 0);
            run(&l, 1, 1);
        }
    }
}

static void
plan__eight_at_two_workers__four_each(void **state)
{
    kerf_linger l = tried(pays_ns);
    kerf_linger_plan p = kerf_linger_plan_for(&l, 8, 2);

    (void)state;
    assert_int_equal(p.goal, 4);
    assert_int_equal(p.most, 4);
    assert_int_equal(p.wait_ns, 900000 - 2200000 / 4);
    run(&l, 4, 8);
    p = kerf_linger_plan_for(&l, 5, 2); /* three are not back yet */
    assert_int_equal(p.goal, 4);
    assert_true(p.wait_ns > 0);
}

static void
plan__eight_at_one_worker__all(void **state)
{
    kerf_linger l = tried(pays_ns);

    (void)state;
    assert_int_equal(kerf_linger_plan_for(&l, 8, 1).goal, 8);
    assert_int_equal(kerf_linger_plan_for(&l, 20, 1).most, 8);
}

static void
plan__seven_at_two_workers__each_keeps_its_size(void **state)
{
    kerf_linger four = tried(pays_ns);
    kerf_linger three = tried(pays_ns);

    (void)state;
    run(&four, 4, 7);
    run(&three, 3, 7);
    for (int i = 0; i < 20; i++) {
        assert_int_equal(kerf_linger_plan_for(&four, 7, 2).goal, 4);
        assert_int_equal(kerf_linger_plan_for(&three, 7, 2).goal, 3);
        run(&four, 4, 7);
        run(&three, 3, 7);
    }
}

static void
plan__edges_leave__waits_for_fewer_then_for_none(void **state)
{
    kerf_linger l = tried(pays_ns);
    int runs = 0;

    (void)state;
    run(&l, 8, 8);
    while (kerf_linger_plan_for(&l, 1, 1).goal > 1) {
        run(&l, 1, 1);
        runs++;
        assert_true(runs < 40);
    }
    assert_int_equal(kerf_linger_plan_for(&l, 1, 1).wait_ns, 0);
}

static void
wait__in_vain__less_and_less_often(void **state)
{
    kerf_linger l = tried(pays_ns);
    int waits = 0;

    (void)state;
    for (int i = 0; i < 1000; i++) {
        kerf_linger_plan p = kerf_linger_plan_for(&l, 8, 2);

        if (p.wait_ns > 0) {
            kerf_linger_waited(&l, false, false);
            waits++;
        }
    }
    /* At 0, 2, 6, 14, ..., then each 64th time. */
    assert_in_range(waits, 15, 22);
}

static void
wait__filled__waits_again_at_once(void **state)
{
    kerf_linger l = tried(pays_ns);

    (void)state;
    for (int i = 0; i < 5; i++)
        kerf_linger_waited(&l, false, false);
    assert_int_equal(kerf_linger_plan_for(&l, 8, 2).wait_ns, 0);
    kerf_linger_waited(&l, true, false);
    assert_true(kerf_linger_plan_for(&l, 8, 2).wait_ns > 0);
}

static void
wait__core_lost_to_others__as_seldom_as_can_be(void **state)
{
    kerf_linger l = tried(pays_ns);

    (void)state;
    kerf_linger_waited(&l, true, true);
    for (int i = 0; i < 63; i++)
        assert_int_equal(kerf_linger_plan_for(&l, 8, 2).wait_ns, 0);
    assert_true(kerf_linger_plan_for(&l, 8, 2).wait_ns > 0);
}

static void
wait__slow_tail__is_bounded(void **state)
{
    const uint64_t slow_ns[] = {0, 90000000, 100000000};
    kerf_linger l;

    (void)state;
    kerf_linger_init(&l, slow_ns, 2, false);
    assert_int_equal(kerf_linger_plan_for(&l, 2, 1).wait_ns,
                     KERF_LINGER_MOST_NS);
}

static void
wait__short_tail__none(void **state)
{
    const uint64_t short_ns[KERF_BATCH_MOST + 1] = {
        [1] = 20000, [2] = 25000, [4] = 35000, [8] = 55000};
    kerf_linger l = tried(short_ns);

    (void)state;
    assert_int_equal(kerf_linger_plan_for(&l, 8, 1).goal, 8);
    assert_int_equal(kerf_linger_plan_for(&l, 8, 1).wait_ns, 0);
}

static void
costs__no_size_pays__one_by_one(void **state)
{
    kerf_linger l = tried(never_pays_ns);
    kerf_linger_plan p = kerf_linger_plan_for(&l, 8, 1);

    (void)state;
    assert_int_equal(p.goal, 1);
    assert_int_equal(p.most, 1);
    assert_int_equal(p.wait_ns, 0);
}

static void
costs__forced__do_not_count(void **state)
{
    kerf_linger l;

    (void)state;
    kerf_linger_init(&l, never_pays_ns, KERF_BATCH_MOST, true);
    assert_int_equal(kerf_linger_plan_for(&l, 8, 1).goal, 8);
    assert_int_equal(kerf_linger_plan_for(&l, 8, 1).wait_ns, 0);
}

/* What was tried is not what it costs at work. */
static void
costs__dearer_at_work__given_up_and_tried_again(void **state)
{
    kerf_linger l = tried(pays_ns);
    int batches = 0;

    (void)state;
    for (int i = 0; i < 1000; i++) {
        size_t goal = kerf_linger_plan_for(&l, 4, 1).goal;

        kerf_linger_saw(&l, 4);
        kerf_linger_ran(&l, goal, goal == 1 ? 900000 : goal * 1500000);
        batches += goal == 1 ? 0 : 1;
    }
    assert_in_range(batches, 1, 300);
}

static void
costs__all_slower__batches_stay(void **state)
{
    kerf_linger l = tried(pays_ns);
    size_t batches = 0;

    (void)state;
    for (int i = 0; i < 1000; i++) {
        size_t goal = kerf_linger_plan_for(&l, 4, 1).goal;

        kerf_linger_saw(&l, 4);
        kerf_linger_ran(&l, goal, 2 * l.tried_ns[goal]);
        batches += goal > 1 ? 1 : 0;
    }
    assert_in_range(batches, 800, 1000);
    assert_int_equal(kerf_linger_plan_for(&l, 4, 1).goal, 4);
}

static void
costs__one_run_disturbed__changes_nothing(void **state)
{
    kerf_linger l = tried(pays_ns);

    (void)state;
    run(&l, 4, 4);
    kerf_linger_ran(&l, 4, 1000000000);
    assert_true(kerf_linger_pays(&l, 4));
    assert_int_equal(kerf_linger_plan_for(&l, 4, 1).goal, 4);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(init__sizes_between__lie_on_the_line),
        cmocka_unit_test(plan__lone_edge__never_waits),
        cmocka_unit_test(plan__eight_at_two_workers__four_each),
        cmocka_unit_test(plan__eight_at_one_worker__all),
        cmocka_unit_test(plan__seven_at_two_workers__each_keeps_its_size),
        cmocka_unit_test(plan__edges_leave__waits_for_fewer_then_for_none),
        cmocka_unit_test(wait__in_vain__less_and_less_often),
        cmocka_unit_test(wait__filled__waits_again_at_once),
        cmocka_unit_test(wait__core_lost_to_others__as_seldom_as_can_be),
        cmocka_unit_test(wait__slow_tail__is_bounded),
        cmocka_unit_test(wait__short_tail__none),
        cmocka_unit_test(costs__no_size_pays__one_by_one),
        cmocka_unit_test(costs__forced__do_not_count),
        cmocka_unit_test(costs__dearer_at_work__given_up_and_tried_again),
        cmocka_unit_test(costs__all_slower__batches_stay),
        cmocka_unit_test(costs__one_run_disturbed__changes_nothing),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
