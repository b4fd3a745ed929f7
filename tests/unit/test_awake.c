#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <pthread.h>
#include <sched.h>
#include <stdbool.h>

#include "base/awake.h"

/* All on one core: who yields gives it to a thread that works. */
struct crowded {
    cpu_set_t before;
    pthread_t other;
    _Atomic bool over;
};

static void *
work(void *ctx)
{
    struct crowded *c = ctx;

    while (!c->over)
        continue;
    return NULL;
}

static int
begin_work(void **state)
{
    static struct crowded c;
    cpu_set_t one;
    int core = 0;

    assert_int_equal(sched_getaffinity(0, sizeof c.before, &c.before), 0);
    while (!CPU_ISSET((size_t)core, &c.before))
        core++;
    CPU_ZERO(&one);
    CPU_SET((size_t)core, &one);
    assert_int_equal(sched_setaffinity(0, sizeof one, &one), 0);
    c.over = false;
    *state = &c;
    return pthread_create(&c.other, NULL, work, &c);
}

static int
end_work(void **state)
{
    struct crowded *c = *state;

    c->over = true;
    assert_int_equal(pthread_join(c->other, NULL), 0);
    return sched_setaffinity(0, sizeof c->before, &c->before);
}

/* Without a bound of time: nothing but the other thread can end it. */
static void
yield__others_work_on_the_core__gives_way(void **state)
{
    kerf_awake a = {.gives_way = true, .until_ns = UINT64_MAX};

    (void)state;
    while (kerf_awake_yield(&a))
        continue;
}

static void
yield__others_work_and_it_shall_stay__stays(void **state)
{
    kerf_awake a = {.until_ns = UINT64_MAX};

    (void)state;
    for (int i = 0; i < 20; i++)
        assert_true(kerf_awake_yield(&a));
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(
            yield__others_work_on_the_core__gives_way, begin_work, end_work),
        cmocka_unit_test_setup_teardown(
            yield__others_work_and_it_shall_stay__stays, begin_work, end_work),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
