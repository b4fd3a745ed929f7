/* Tests for the watch of a folder in net/loop.h. */
#include "base/fs.h"
#include "net/loop.h"

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

enum { WRITES = 3000 };

struct busy {
    kerf_loop *loop;
    char path[64];
    int writes, calls;
};

static bool
any(void *ctx, const char *name)
{
    (void)ctx;
    (void)name;
    return true;
}

static void
on_folder(void *ctx)
{
    struct busy *b = ctx;

    b->calls++;
    kerf_loop_stop(b->loop);
}

static void
on_write(void *ctx)
{
    struct busy *b = ctx;
    FILE *file = fopen(b->path, "we");

    assert_non_null(file);
    assert_int_equal(fclose(file), 0);
    if (++b->writes == WRITES)
        kerf_loop_stop(b->loop);
}

/* As a revocation, while somebody else writes on and on. */
static void
watch__never_quiet__is_told_at_the_latest(void **state)
{
    char dir[] = "/tmp/kerf-watch-XXXXXX";
    struct busy b = {0};
    kerf_folder_watch *watch = NULL;
    kerf_timer *timer = NULL;
    kerf_detail why;

    (void)state;
    assert_non_null(mkdtemp(dir));
    (void)snprintf(b.path, sizeof b.path, "%s/x", dir);
    assert_int_equal(kerf_loop_new(&b.loop), KERF_OK);
    assert_int_equal(kerf_folder_watch_new(&watch, b.loop, dir, 100000, 50, any,
                                           on_folder, &b, &why),
                     KERF_OK);
    assert_int_equal(kerf_timer_new(&timer, b.loop, on_write, &b), KERF_OK);
    kerf_timer_start(timer, 1, 5);
    kerf_loop_run(b.loop);
    kerf_loop_run(b.loop); /* nor only the first time */
    assert_int_equal(b.calls, 2);
    kerf_timer_free(timer);
    kerf_folder_watch_free(watch);
    kerf_loop_flush(b.loop);
    kerf_loop_free(b.loop);
    assert_int_equal(unlink(b.path), 0);
    assert_int_equal(rmdir(dir), 0);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(watch__never_quiet__is_told_at_the_latest),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
