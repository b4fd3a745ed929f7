/* fair.c: who is served when, told by counting and not by time. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <unistd.h>

#include "cloud/fair.h"

#define JOBS 64

static kerf_price cheap_price = {.ns = 100};
static kerf_price dear_price = {.ns = 1000};

/* Before each test: queues are freed while jobs wait, which prices count. */
static int
reset_prices(void **state)
{
    (void)state;
    cheap_price = (kerf_price){.ns = 100};
    dear_price = (kerf_price){.ns = 1000};
    return 0;
}

struct flow {
    kerf_line line;
    kerf_job job[JOBS];
    size_t served;
};

static void
push(kerf_fair *f, struct flow *flow, size_t at, kerf_price *price)
{
    kerf_job *job = &flow->job[at];

    job->of = flow;
    job->line = &flow->line;
    job->price = price;
    assert_int_equal(kerf_fair_push(f, job), KERF_OK);
}

static void
serve(kerf_fair *f, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        struct flow *flow = kerf_fair_try_pop(f);

        assert_non_null(flow);
        flow->served++;
    }
}

static void
fair__full_and_closed__refuse(void **state)
{
    struct flow a = {0};
    kerf_awake awake = {0};
    kerf_fair *f = NULL;

    (void)state;
    assert_int_equal(kerf_fair_new(&f, 0), KERF_EINVAL);
    assert_int_equal(kerf_fair_new(&f, 1), KERF_OK);
    push(f, &a, 0, &dear_price);
    a.job[1] = (kerf_job){.of = &a, .line = &a.line, .price = &dear_price};
    assert_int_equal(kerf_fair_push(f, &a.job[1]), KERF_EBUSY);
    assert_int_equal(kerf_fair_cost_ns(f), 1000);
    kerf_fair_close(f);
    assert_int_equal(kerf_fair_push(f, &a.job[1]), KERF_ECLOSED);
    assert_ptr_equal(kerf_fair_pop(f, &awake), &a);
    assert_null(kerf_fair_pop(f, &awake));
    assert_int_equal(kerf_fair_cost_ns(f), 0);
    kerf_fair_free(f);
}

static void
fair__one_floods__others_wait_for_one_of_its_jobs(void **state)
{
    static struct flow greedy, modest[3];
    kerf_fair *f = NULL;

    (void)state;
    memset(&greedy, 0, sizeof greedy);
    memset(modest, 0, sizeof modest);
    assert_int_equal(kerf_fair_new(&f, 1000), KERF_OK);
    for (size_t i = 0; i < JOBS; i++)
        push(f, &greedy, i, &cheap_price);
    serve(f, 1);
    assert_true(kerf_fair_is_next(f, &greedy.line)); /* it is alone */
    for (size_t i = 0; i < 3; i++)
        push(f, &modest[i], 0, &cheap_price);
    /* One more of the flood at most, then each of the three. */
    serve(f, 4);
    assert_int_equal(greedy.served, 2);
    for (size_t i = 0; i < 3; i++)
        assert_int_equal(modest[i].served, 1);
    kerf_fair_free(f);
}

/* Each has JOBS that wait. */
static void
push_all(kerf_fair *f, struct flow *flow, size_t count)
{
    for (size_t k = 0; k < count; k++) {
        for (size_t i = 0; i < JOBS; i++)
            push(f, &flow[k], i, &cheap_price);
    }
}

static void
fair__all_backlogged__equal_counts(void **state)
{
    static struct flow flow[5];
    kerf_fair *f = NULL;

    (void)state;
    memset(flow, 0, sizeof flow);
    assert_int_equal(kerf_fair_new(&f, 1000), KERF_OK);
    push_all(f, flow, 5);
    serve(f, (size_t)5 * 40);
    for (size_t k = 0; k < 5; k++)
        assert_int_equal(flow[k].served, 40);
    kerf_fair_free(f);
}

static void
fair__dear_and_cheap_tails__equal_time(void **state)
{
    static struct flow dear, cheap;
    kerf_fair *f = NULL;

    (void)state;
    memset(&dear, 0, sizeof dear);
    memset(&cheap, 0, sizeof cheap);
    assert_int_equal(kerf_fair_new(&f, 1000), KERF_OK);
    for (size_t i = 0; i < JOBS; i++) {
        push(f, &dear, i, &dear_price);
        push(f, &cheap, i, &cheap_price);
    }
    serve(f, 44); /* 4 x 1000 and 40 x 100 */
    assert_in_range(dear.served, 4, 5);
    assert_in_range(cheap.served, 39, 40);
    kerf_fair_free(f);
}

/* A price that changes while jobs wait is the same for all of them. */
static void
fair__price_changes__equal_counts(void **state)
{
    static struct flow early, late;
    static kerf_price price = {.ns = 1};
    kerf_fair *f = NULL;

    (void)state;
    memset(&early, 0, sizeof early);
    memset(&late, 0, sizeof late);
    assert_int_equal(kerf_fair_new(&f, 1000), KERF_OK);
    for (size_t i = 0; i < JOBS; i++)
        push(f, &early, i, &price);
    price.ns = 1000000;
    for (size_t i = 0; i < JOBS; i++)
        push(f, &late, i, &price);
    serve(f, 20);
    price.ns = 10;
    serve(f, 20);
    assert_in_range(early.served, 19, 21);
    kerf_fair_free(f);
}

/* How many of them are of this flow. */
static size_t
count_of(void *const *some, size_t count, const struct flow *flow)
{
    size_t n = 0;

    for (size_t i = 0; i < count; i++)
        n += some[i] == flow ? 1 : 0;
    return n;
}

static void
fair__pop_alike__what_turns_would_give_and_lines_pay(void **state)
{
    static struct flow greedy, modest, other;
    void *some[8];
    kerf_fair *f = NULL;

    (void)state;
    memset(&greedy, 0, sizeof greedy);
    memset(&modest, 0, sizeof modest);
    memset(&other, 0, sizeof other);
    assert_int_equal(kerf_fair_new(&f, 1000), KERF_OK);
    for (size_t i = 0; i < 12; i++)
        push(f, &greedy, i, &cheap_price);
    for (size_t i = 0; i < 4; i++)
        push(f, &other, i, &dear_price);
    for (size_t i = 0; i < 4; i++)
        push(f, &modest, i, &cheap_price);
    assert_int_equal(kerf_fair_pop_alike(f, &cheap_price, 0, some, 6), 6);
    assert_int_equal(count_of(some, 6, &greedy), 3);
    assert_int_equal(count_of(some, 6, &modest), 3);
    assert_int_equal(kerf_fair_count(f), 14);
    assert_int_equal(kerf_fair_line_count(f, &greedy.line), 9);
    assert_int_equal(kerf_fair_line_count(f, &other.line), 4);
    /* One of modest's is left: then greedy is alone of its kind. */
    assert_int_equal(kerf_fair_pop_alike(f, &cheap_price, 0, some, 4), 4);
    assert_int_equal(count_of(some, 4, &modest), 1);
    serve(f, 10);
    assert_int_equal(other.served, 4);
    assert_int_equal(greedy.served, 6);
    assert_null(kerf_fair_try_pop(f));
    kerf_fair_free(f);
}

/* Not what others shall run, not what is there of other kinds. */
static void
fair__pop_alike__what_shall_stay__stays(void **state)
{
    static struct flow a, b;
    void *some[8];
    kerf_fair *f = NULL;

    (void)state;
    memset(&a, 0, sizeof a);
    memset(&b, 0, sizeof b);
    assert_int_equal(kerf_fair_new(&f, 1000), KERF_OK);
    assert_int_equal(kerf_fair_pop_alike(f, &cheap_price, 0, some, 7), 0);
    for (size_t i = 0; i < 3; i++)
        push(f, &a, i, &cheap_price);
    assert_int_equal(kerf_fair_pop_alike(f, &cheap_price, 3, some, 7), 0);
    assert_int_equal(kerf_fair_pop_alike(f, &dear_price, 0, some, 7), 0);
    assert_int_equal(kerf_fair_count(f), 3);
    push(f, &b, 0, &dear_price);
    assert_int_equal(kerf_fair_pop_alike(f, &cheap_price, 2, some, 7), 2);
    assert_int_equal(kerf_fair_pop_alike(f, &cheap_price, 1, some, 7), 1);
    assert_int_equal(kerf_fair_pop_alike(f, &cheap_price, 0, some, 7), 0);
    assert_ptr_equal(kerf_fair_try_pop(f), &b);
    kerf_fair_free(f);
}

/* Edges that are served by batches get equal counts, as one by one. */
static void
fair__batches__equal_counts(void **state)
{
    static struct flow flow[5];
    void *some[8];
    kerf_fair *f = NULL;

    (void)state;
    memset(flow, 0, sizeof flow);
    assert_int_equal(kerf_fair_new(&f, 1000), KERF_OK);
    push_all(f, flow, 5);
    for (size_t round = 0; round < 25; round++) { /* of 8 */
        serve(f, 1);
        assert_int_equal(kerf_fair_pop_alike(f, &cheap_price, 0, some, 7), 7);
        for (size_t i = 0; i < 7; i++)
            ((struct flow *)some[i])->served++;
    }
    for (size_t k = 0; k < 5; k++)
        assert_int_equal(flow[k].served, 40);
    kerf_fair_free(f);
}

/* A job that is pushed again when it was popped. */
struct item {
    kerf_job job;
    kerf_line line;
    _Atomic bool waits;
};

static void
fair__look__counts_kinds_and_tells_of_pushes(void **state)
{
    static struct flow flow;
    kerf_fair *f = NULL;
    size_t alike;
    size_t others;
    unsigned news;

    (void)state;
    memset(&flow, 0, sizeof flow);
    assert_int_equal(kerf_fair_new(&f, JOBS), KERF_OK);
    kerf_fair_look(f, &cheap_price, &alike, &others);
    assert_int_equal(alike + others, 0);
    news = kerf_fair_news(f);
    push(f, &flow, 0, &cheap_price);
    assert_int_not_equal(kerf_fair_news(f), news);
    push(f, &flow, 1, &dear_price);
    push(f, &flow, 2, &dear_price);
    kerf_fair_look(f, &cheap_price, &alike, &others);
    assert_int_equal(alike, 1);
    assert_int_equal(others, 2);
    news = kerf_fair_news(f);
    serve(f, 1);
    assert_int_equal(kerf_fair_news(f), news);
    kerf_fair_look(f, &cheap_price, &alike, &others);
    assert_int_equal(alike, 0);
    assert_int_equal(others, 2);
    kerf_fair_close(f);
    assert_int_not_equal(kerf_fair_news(f), news);
    kerf_fair_free(f);
}

struct race {
    kerf_fair *queue;
    _Atomic int left;
};

static void *
pop_all(void *ctx)
{
    struct race *race = ctx;
    kerf_awake awake = {0};
    struct item *item;
    size_t n = 0;

    while ((item = kerf_fair_pop(race->queue, &awake)) != NULL) {
        atomic_store(&item->waits, false);
        (void)atomic_fetch_sub(&race->left, 1);
        if (++n % 64 == 0) /* sometimes long enough for others to sleep */
            (void)usleep(50);
    }
    return NULL;
}

static void
fair__many_poppers_awake_and_asleep__every_item_is_taken(void **state)
{
    enum { POPPERS = 4, ITEMS = 20000, AT_ONCE = 64 };
    static struct item item[AT_ONCE];
    kerf_price price = {.ns = 1};
    struct race race = {.left = ITEMS};
    pthread_t popper[POPPERS];

    (void)state;
    assert_int_equal(kerf_fair_new(&race.queue, AT_ONCE), KERF_OK);
    for (int i = 0; i < POPPERS; i++)
        assert_int_equal(pthread_create(&popper[i], NULL, pop_all, &race), 0);
    for (int i = 0; i < ITEMS; i++) {
        struct item *one = &item[i % AT_ONCE];

        while (atomic_load(&one->waits))
            (void)usleep(20);
        atomic_store(&one->waits, true);
        one->job.of = one;
        one->job.line = &one->line;
        one->job.price = &price;
        assert_int_equal(kerf_fair_push(race.queue, &one->job), KERF_OK);
        if (i % 1000 == 0)
            (void)usleep(2500); /* all of them sleep */
    }
    while (atomic_load(&race.left) > 0) /* a lost wake-up hangs here */
        (void)usleep(1000);
    kerf_fair_close(race.queue);
    for (int i = 0; i < POPPERS; i++)
        assert_int_equal(pthread_join(popper[i], NULL), 0);
    kerf_fair_free(race.queue);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(fair__full_and_closed__refuse, reset_prices),
        cmocka_unit_test_setup(
            fair__one_floods__others_wait_for_one_of_its_jobs, reset_prices),
        cmocka_unit_test_setup(fair__all_backlogged__equal_counts,
                               reset_prices),
        cmocka_unit_test_setup(fair__dear_and_cheap_tails__equal_time,
                               reset_prices),
        cmocka_unit_test_setup(fair__price_changes__equal_counts, reset_prices),
        cmocka_unit_test_setup(
            fair__pop_alike__what_turns_would_give_and_lines_pay, reset_prices),
        cmocka_unit_test_setup(fair__pop_alike__what_shall_stay__stays,
                               reset_prices),
        cmocka_unit_test_setup(fair__batches__equal_counts, reset_prices),
        cmocka_unit_test_setup(fair__look__counts_kinds_and_tells_of_pushes,
                               reset_prices),
        cmocka_unit_test(
            fair__many_poppers_awake_and_asleep__every_item_is_taken),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
