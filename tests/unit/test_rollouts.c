#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/fs.h"
#include "base/text.h"
#include "cloud/rollouts.h"

static kerf_served served[KERF_MODELS_MAX + 4];

static void
stir(void *ctx)
{
    (void)ctx;
}

static kerf_rollouts *
open_in(const char *dir)
{
    kerf_rollouts_opts opts = {
        .percent = 10, .halt = 20, .dir = dir, .stirred = stir};
    kerf_rollouts *r = NULL;

    assert_int_equal(kerf_rollouts_new(&r, &opts, NULL), KERF_OK);
    return r;
}

static void
come(kerf_rollouts *r, size_t n)
{
    kerf_rollouts_changed(r, &served[n], NULL);
}

static void
go(kerf_rollouts *r, size_t n)
{
    kerf_rollouts_changed(r, NULL, &served[n]);
}

static bool
is_known(kerf_rollouts *r, size_t n)
{
    char dir[KERF_PATH_MAX];

    return kerf_rollouts_before(r, served[n].manifest.name, NULL, dir);
}

static void
removed_models__the_one_that_went_first_is_forgotten_first(void **state)
{
    char dir[] = "/tmp/kerf-rollouts-XXXXXX";
    char file[KERF_PATH_MAX];
    kerf_rollouts *r;

    (void)state;
    assert_non_null(mkdtemp(dir));
    r = open_in(dir);
    for (size_t i = 0; i < KERF_MODELS_MAX; i++)
        come(r, i);
    go(r, 5);
    go(r, 3);
    go(r, 200);
    go(r, 5); /* again: nothing */
    go(r, 0);
    come(r, 3);
    go(r, 3); /* now it went last */
    come(r, KERF_MODELS_MAX);
    assert_false(is_known(r, 5));
    assert_true(is_known(r, 200) && is_known(r, 0) && is_known(r, 3));
    assert_true(kerf_rollouts_stop(r));
    kerf_rollouts_free(r);
    /* Also after a restart, where what is served is not known at first. */
    r = open_in(dir);
    come(r, KERF_MODELS_MAX + 1);
    assert_false(is_known(r, 200));
    come(r, KERF_MODELS_MAX + 2);
    assert_false(is_known(r, 0));
    come(r, KERF_MODELS_MAX + 3);
    assert_false(is_known(r, 3));
    for (size_t i = 0; i < KERF_MODELS_MAX + 4; i++)
        assert_int_equal(is_known(r, i),
                         i != 0 && i != 3 && i != 5 && i != 200);
    assert_true(kerf_rollouts_stop(r));
    kerf_rollouts_free(r);
    assert_int_equal(kerf_path_join(file, dir, "state.json"), KERF_OK);
    assert_int_equal(unlink(file), 0);
    assert_int_equal(rmdir(dir), 0);
}

static void
command(kerf_rollouts *r, kerf_rollout_command what)
{
    assert_int_equal(kerf_rollouts_command(r, NULL, what, 100, NULL), KERF_OK);
}

static void
resume__before_edges_are_told__does_not_end_it(void **state)
{
    kerf_served *old = &served[0], newer = served[1];
    kerf_rollouts *r;

    (void)state;
    (void)snprintf(newer.manifest.name, sizeof newer.manifest.name, "%s",
                   old->manifest.name);
    r = open_in(NULL);
    kerf_rollouts_changed(r, old, NULL);
    kerf_rollouts_changed(r, &newer, old);
    command(r, KERF_ROLLOUT_SET);
    kerf_rollouts_telling(r);
    kerf_rollouts_offer(r, &newer, "a");
    kerf_rollouts_ready(r, &newer, "a", KERF_EENGINE, "no good");
    command(r, KERF_ROLLOUT_HALT);
    kerf_rollouts_telling(r);
    assert_ptr_equal(kerf_rollouts_for(r, &newer, "a"), old);
    command(r, KERF_ROLLOUT_RESUME); /* as the loop has passed edge a */
    kerf_rollouts_settle(r);
    assert_ptr_equal(kerf_rollouts_old(r, &newer), old);
    kerf_rollouts_telling(r);
    assert_ptr_equal(kerf_rollouts_for(r, &newer, "a"), &newer);
    kerf_rollouts_offer(r, &newer, "a");
    kerf_rollouts_settle(r);
    assert_ptr_equal(kerf_rollouts_old(r, &newer), old); /* it may fail yet */
    kerf_rollouts_ready(r, &newer, "a", KERF_OK, "");
    kerf_rollouts_settle(r);
    assert_null(kerf_rollouts_old(r, &newer));
    assert_true(kerf_rollouts_stop(r));
    kerf_rollouts_free(r);
}

/* Events: of a halt, and of the resumption that comes as that is told. */
static struct {
    kerf_rollouts *r;
    pthread_mutex_t lock;
    pthread_cond_t more;
    char text[64]; /* under lock: states, as told */
    int stirs;     /* under lock: one for each command */
    int events;    /* under lock: the first is no command's */
    pthread_t other;
} told = {.lock = PTHREAD_MUTEX_INITIALIZER, .more = PTHREAD_COND_INITIALIZER};

static void
count_stir(void *ctx)
{
    (void)ctx;
    (void)pthread_mutex_lock(&told.lock);
    told.stirs++;
    (void)pthread_mutex_unlock(&told.lock);
}

static void *
resume_it(void *ctx)
{
    command(told.r, KERF_ROLLOUT_RESUME);
    return ctx;
}

static bool
is_in_state(const char *state)
{
    kerf_rollout_view *views = NULL;
    size_t count = 0;
    bool is;

    assert_int_equal(kerf_rollouts_look(told.r, NULL, &views, &count, NULL),
                     KERF_OK);
    is = count == 1 && strcmp(views[0].state, state) == 0;
    free(views);
    return is;
}

/* Until something was told after the halt; false: nothing, for long enough. */
static bool
is_overtaken(void)
{
    size_t len = strlen(told.text);
    struct timespec until;
    int rc = 0;

    (void)clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += 1;
    while (strlen(told.text) == len && rc == 0)
        rc = pthread_cond_timedwait(&told.more, &told.lock, &until);
    return rc == 0;
}

static void
hear(void *ctx, const kerf_rollout_view *view)
{
    bool halts = strcmp(view->state, "halted") == 0;

    (void)ctx;
    if (halts) {
        assert_int_equal(pthread_create(&told.other, NULL, resume_it, NULL), 0);
        while (!is_in_state("running"))
            (void)usleep(1000);
    }
    (void)pthread_mutex_lock(&told.lock);
    if (halts)
        assert_false(is_overtaken());
    (void)snprintf(told.text + strlen(told.text),
                   sizeof told.text - strlen(told.text), " %s", view->state);
    assert_true(told.stirs >= told.events++);
    (void)pthread_cond_signal(&told.more);
    (void)pthread_mutex_unlock(&told.lock);
}

/* newer follows served[0], whose name it is given. */
static void
begin_and_halt(const kerf_rollouts_opts *opts, kerf_served *newer)
{
    told.text[0] = '\0';
    (void)snprintf(newer->manifest.name, sizeof newer->manifest.name, "%s",
                   served[0].manifest.name);
    assert_int_equal(kerf_rollouts_new(&told.r, opts, NULL), KERF_OK);
    kerf_rollouts_changed(told.r, &served[0], NULL);
    kerf_rollouts_changed(told.r, newer, &served[0]);
    command(told.r, KERF_ROLLOUT_HALT);
}

/* Who hears of it may look at once what edges are given; and what is told last
 * is how it is. */
static void
events__of_several_threads__in_order__after_edges_are_stirred(void **state)
{
    kerf_rollouts_opts opts = {
        .percent = 10, .halt = 20, .stirred = count_stir, .event = hear};
    kerf_served newer = served[1];

    (void)state;
    begin_and_halt(&opts, &newer);
    assert_int_equal(pthread_join(told.other, NULL), 0);
    assert_string_equal(told.text, " running halted running");
    assert_true(kerf_rollouts_stop(told.r));
    kerf_rollouts_free(told.r);
}

/* A halt that is told resumes it, on the thread that tells. */
static void
answer_halt(void *ctx, const kerf_rollout_view *view)
{
    (void)ctx;
    (void)snprintf(told.text + strlen(told.text),
                   sizeof told.text - strlen(told.text), " %s", view->state);
    if (strcmp(view->state, "halted") == 0)
        command(told.r, KERF_ROLLOUT_RESUME);
}

static void
events__one_that_commands__does_not_wait_for_itself(void **state)
{
    kerf_rollouts_opts opts = {
        .percent = 10, .halt = 20, .stirred = stir, .event = answer_halt};
    kerf_served newer = served[1];

    (void)state;
    begin_and_halt(&opts, &newer);
    assert_string_equal(told.text, " running halted running");
    assert_true(kerf_rollouts_stop(told.r));
    kerf_rollouts_free(told.r);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(events__one_that_commands__does_not_wait_for_itself),
        cmocka_unit_test(
            events__of_several_threads__in_order__after_edges_are_stirred),
        cmocka_unit_test(resume__before_edges_are_told__does_not_end_it),
        cmocka_unit_test(
            removed_models__the_one_that_went_first_is_forgotten_first),
    };

    for (size_t i = 0; i < sizeof served / sizeof served[0]; i++) {
        served[i].refs = 1; /* never freed */
        (void)snprintf(served[i].manifest.name, sizeof served[i].manifest.name,
                       "m%zu", i);
        memcpy(served[i].manifest.id, &i, sizeof i);
        kerf_hex(served[i].id, served[i].manifest.id,
                 sizeof served[i].manifest.id);
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
