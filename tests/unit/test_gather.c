/* gather.c: what a worker takes and waits for. Where nothing ends a wait, it is
 * an hour. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "base/clock.h"
#include "cloud/gather.h"

#define SLOTS 8
#define HOUR_NS (UINT64_C(3600) * 1000000000)

struct place {
    kerf_cloud cloud;
    kerf_served served, other; /* tails */
    kerf_bunch bunch;
    kerf_lane lane[SLOTS];
    kerf_slot slot[SLOTS];
    kerf_group group;
};

static const uint64_t run_ns[KERF_BATCH_MOST + 1] = {
    [1] = 900000, [2] = 1400000, [4] = 2200000, [8] = 3800000};

static int
setup(void **state)
{
    struct place *p = calloc(1, sizeof *p);

    assert_non_null(p);
    assert_int_equal(kerf_fair_new(&p->cloud.jobs, SLOTS), KERF_OK);
    p->cloud.opts.workers = 1;
    p->cloud.may_linger = true;
    kerf_linger_init(&p->bunch.linger, run_ns, KERF_BATCH_MOST, false);
    p->served.slots.bunch = &p->bunch;
    p->served.slots.batch_most = KERF_BATCH_MOST;
    for (size_t i = 0; i < SLOTS; i++)
        p->slot[i].served = &p->served;
    *state = p;
    return 0;
}

static int
teardown(void **state)
{
    struct place *p = *state;

    while (kerf_fair_try_pop(p->cloud.jobs) != NULL)
        continue;
    kerf_fair_free(p->cloud.jobs);
    free(p);
    return 0;
}

/* Of an edge of its own. */
static void
push(struct place *p, size_t i)
{
    kerf_slot *slot = &p->slot[i];

    slot->job = (kerf_job){
        .of = slot, .line = &p->lane[i].line, .price = &slot->served->price};
    assert_int_equal(kerf_fair_push(p->cloud.jobs, &slot->job), KERF_OK);
}

/* As a worker does that popped one. */
static bool
gather(struct place *p)
{
    kerf_slot *slot = kerf_fair_try_pop(p->cloud.jobs);

    assert_non_null(slot);
    return kerf_gather(&p->group, &p->cloud, slot, 0);
}

static void
ran(struct place *p)
{
    kerf_gather_ran(&p->group, &p->cloud, run_ns[1]);
    assert_int_equal(atomic_load(&p->served.slots.workers_on), 1);
    kerf_gather_over(&p->group, &p->cloud);
    assert_int_equal(atomic_load(&p->served.slots.running), 0);
    assert_int_equal(atomic_load(&p->served.slots.workers_on), 0);
    assert_int_equal(atomic_load(&p->cloud.workers_on), 0);
}

/* Four came at a time so far, so that four are waited for. */
static void
begin_wait(struct place *p)
{
    for (size_t i = 0; i < 4; i++)
        push(p, i);
    assert_false(gather(p));
    assert_int_equal(p->group.count, 4);
    kerf_gather_ran(&p->group, &p->cloud, run_ns[4]);
    kerf_gather_over(&p->group, &p->cloud);
    push(p, 0);
    assert_true(gather(p));
    assert_int_equal(p->group.count, 1);
    assert_int_equal(p->group.plan.goal, 4);
    p->group.plan.wait_ns = HOUR_NS;
}

static void
gather__no_batches__takes_one(void **state)
{
    struct place *p = *state;

    p->served.slots.batch_most = 1;
    push(p, 0);
    push(p, 1);
    assert_false(gather(p));
    assert_int_equal(p->group.count, 1);
    ran(p);
    assert_int_equal(kerf_fair_count(p->cloud.jobs), 1);
}

static void
gather__idle_workers__get_what_they_can_run(void **state)
{
    struct place *p = *state;

    p->cloud.idle = 2;
    for (size_t i = 0; i < 6; i++)
        push(p, i);
    (void)gather(p);
    assert_int_equal(p->group.count, 4);
    assert_int_equal(kerf_fair_count(p->cloud.jobs), 2);
    ran(p);
}

static void
gather__other_tails__stay(void **state)
{
    struct place *p = *state;

    p->slot[1].served = &p->other;
    for (size_t i = 0; i < 3; i++)
        push(p, i);
    (void)gather(p);
    assert_int_equal(p->group.count, 2);
    assert_ptr_equal(p->group.slot[1], &p->slot[2]);
    assert_ptr_equal(kerf_fair_try_pop(p->cloud.jobs), &p->slot[1]);
    ran(p);
}

static void
gather__lone_edge__does_not_wait(void **state)
{
    struct place *p = *state;

    for (size_t i = 0; i < 20; i++) {
        push(p, 0);
        assert_false(gather(p));
        assert_int_equal(p->group.count, 1);
        ran(p);
    }
}

static void
gather__workers_without_cores__do_not_wait(void **state)
{
    struct place *p = *state;

    begin_wait(p);
    ran(p);
    p->cloud.may_linger = false;
    push(p, 0);
    assert_false(gather(p));
    ran(p);
}

/* In vain, and at once: not since another process took the core. */
static void
wait_in_vain(struct place *p)
{
    kerf_gather_wait(&p->group, &p->cloud);
    assert_int_equal(p->group.count, 1);
    assert_int_equal(p->bunch.linger.misses, 1);
    ran(p);
}

static void
wait__another_tail_waits__ends(void **state)
{
    struct place *p = *state;

    begin_wait(p);
    p->slot[7].served = &p->other;
    push(p, 7);
    wait_in_vain(p);
}

static void
wait__no_time_before_a_deadline__ends(void **state)
{
    struct place *p = *state;

    begin_wait(p);
    p->slot[0].deadline_ns = kerf_now_ns() + run_ns[4];
    wait_in_vain(p);
}

static void
wait__draining__ends(void **state)
{
    struct place *p = *state;

    begin_wait(p);
    p->cloud.draining = true;
    kerf_gather_wait(&p->group, &p->cloud);
    assert_int_equal(p->group.count, 1);
    ran(p);
}

static void *
push_three(void *ctx)
{
    for (size_t i = 1; i < 4; i++)
        push(ctx, i);
    return NULL;
}

static void
wait__they_come__takes_them(void **state)
{
    struct place *p = *state;
    pthread_t thread;

    begin_wait(p);
    assert_int_equal(pthread_create(&thread, NULL, push_three, p), 0);
    /* It also ends when the machine takes its core away. */
    while (p->group.count < 4)
        kerf_gather_wait(&p->group, &p->cloud);
    assert_int_equal(pthread_join(thread, NULL), 0);
    assert_int_equal(kerf_fair_count(p->cloud.jobs), 0);
    assert_int_equal(atomic_load(&p->served.slots.running), 4);
    ran(p);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(gather__no_batches__takes_one),
        CASE(gather__idle_workers__get_what_they_can_run),
        CASE(gather__other_tails__stay),
        CASE(gather__lone_edge__does_not_wait),
        CASE(gather__workers_without_cores__do_not_wait),
        CASE(wait__another_tail_waits__ends),
        CASE(wait__no_time_before_a_deadline__ends),
        CASE(wait__draining__ends),
        CASE(wait__they_come__takes_them),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
