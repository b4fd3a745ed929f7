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
#include "cloud/registry.h"

#define HEAD                                                             \
    "{\"kerf_fake\": 1, \"inputs\": [{\"name\": \"x\", \"shape\": [-1, " \
    "8]}], \"outputs\": [{\"name\": \"h\", \"shape\": [-1, 4], \"in\": " \
    "[\"x\"], \"b\": %d}]}"
#define TAIL                                                             \
    "{\"kerf_fake\": 1, \"inputs\": [{\"name\": \"h\", \"shape\": [-1, " \
    "4]}], \"outputs\": [{\"name\": \"y\", \"shape\": [-1, 2], \"in\": " \
    "[\"h\"]}]}"

/* What the registry says, on the loop's thread: "+a" for a pair that is known
 * now, ">a" for one that is offered. */
static struct told {
    kerf_loop *loop;
    kerf_registry *registry;
    char text[64];
    const char *until; /* then the loop stops */
    pthread_mutex_t lock;
    pthread_cond_t more;
    int read;         /* under lock: so many pairs, by the loader */
    int read_as_told; /* the first of text */
} told = {.lock = PTHREAD_MUTEX_INITIALIZER, .more = PTHREAD_COND_INITIALIZER};

static char dir[64];

static void
write_file(const char *role, const char *name, const char *kind,
           const char *text)
{
    char file[64];
    char path[KERF_PATH_MAX];

    (void)snprintf(file, sizeof file, "%s_infer_%s.%s", role, name, kind);
    assert_int_equal(kerf_path_join(path, dir, file), KERF_OK);
    assert_int_equal(kerf_fs_write(path, text, strlen(text), NULL), KERF_OK);
}

static void
write_pair(const char *name, int bias)
{
    char head[sizeof HEAD + 16];

    (void)snprintf(head, sizeof head, HEAD, bias);
    write_file("client", name, "pdmodel", head);
    write_file("client", name, "pdiparams", "h");
    write_file("server", name, "pdmodel", TAIL);
    write_file("server", name, "pdiparams", "t");
}

static void
remove_pairs(void)
{
    kerf_names names = {0};

    assert_int_equal(kerf_fs_list(dir, 100, &names, NULL), KERF_OK);
    for (size_t i = 0; i < names.count; i++) {
        char path[KERF_PATH_MAX];

        assert_int_equal(kerf_path_join(path, dir, names.name[i]), KERF_OK);
        assert_int_equal(unlink(path), 0);
    }
    kerf_names_free(&names);
    assert_int_equal(rmdir(dir), 0);
}

static int
pairs_read(void)
{
    int n;

    (void)pthread_mutex_lock(&told.lock);
    n = told.read;
    (void)pthread_mutex_unlock(&told.lock);
    return n;
}

static void
say(char what, const kerf_served *s)
{
    size_t len = strlen(told.text);

    (void)snprintf(told.text + len, sizeof told.text - len, "%c%s", what,
                   s != NULL ? s->manifest.name : "-");
    if (strcmp(told.text, told.until) == 0)
        kerf_loop_stop(told.loop);
}

static void
on_changed(void *ctx, kerf_served *s, kerf_served *old)
{
    (void)ctx;
    (void)old;
    if (told.text[0] == '\0')
        told.read_as_told = pairs_read();
    say('+', s);
}

static void
on_offer(void *ctx, kerf_served *s)
{
    (void)ctx;
    say('>', s);
}

static void
on_failed(void *ctx, const char *name, kerf_err err, const char *why)
{
    (void)ctx;
    fail_msg("%s: %s: %s", name, kerf_err_text(err), why);
}

static void
on_keep(void *ctx, const kerf_pair *pair, int64_t newest_ns)
{
    (void)ctx;
    (void)pair;
    (void)newest_ns;
    (void)pthread_mutex_lock(&told.lock);
    told.read++;
    (void)pthread_cond_signal(&told.more);
    (void)pthread_mutex_unlock(&told.lock);
}

/* Until the loader has read so many pairs; false: not within that time. */
static bool
wait_for_read(int count, time_t seconds)
{
    struct timespec until;
    int rc = 0;

    (void)clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += seconds;
    (void)pthread_mutex_lock(&told.lock);
    while (told.read < count && rc == 0)
        rc = pthread_cond_timedwait(&told.more, &told.lock, &until);
    (void)pthread_mutex_unlock(&told.lock);
    return rc == 0;
}

static void
pairs_found_at_once__are_all_known_before_one_is_offered(void **state)
{
    const kerf_engine_opts fake = {.kind = "fake"};
    kerf_registry_opts opts = {.dir = dir,
                               .served = {.workers = 1, .slots = 1},
                               .changed = on_changed,
                               .failed = on_failed,
                               .keep = on_keep,
                               .offer = on_offer};
    kerf_detail why = {{0}};

    (void)state;
    (void)snprintf(dir, sizeof dir, "/tmp/kerf-registry-XXXXXX");
    assert_non_null(mkdtemp(dir));
    write_pair("a", 1);
    write_pair("b", 1);
    assert_int_equal(kerf_engine_open(&opts.engine, &fake, &why), KERF_OK);
    assert_int_equal(kerf_loop_new(&told.loop), KERF_OK);
    told.text[0] = '\0';
    told.until = "";
    if (kerf_registry_new(&told.registry, told.loop, &opts, &why) != KERF_OK)
        fail_msg("%s", why.text);
    kerf_registry_start(told.registry);
    assert_string_equal(told.text, "+a+b>a>b");
    assert_int_equal(pairs_read(), 2);

    write_pair("a", 2);
    write_pair("b", 2);
    kerf_registry_look(told.registry);
    assert_true(wait_for_read(4, 60));
    /* What the loop has not heard of is not the one before anything. */
    write_pair("a", 3);
    kerf_registry_look(told.registry);
    assert_false(wait_for_read(5, 1));
    told.text[0] = '\0';
    told.until = "+a+b>a>b+a>a";
    kerf_loop_run(told.loop);
    assert_string_equal(told.text, told.until);
    assert_int_equal(told.read_as_told, 4);

    assert_true(kerf_registry_stop(told.registry));
    kerf_registry_free(told.registry);
    kerf_loop_free(told.loop);
    kerf_engine_close(opts.engine);
    remove_pairs();
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(
            pairs_found_at_once__are_all_known_before_one_is_offered),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
