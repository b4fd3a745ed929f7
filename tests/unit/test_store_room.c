/* What stays in a store, what goes, and what is the latest. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <fcntl.h>

#include "store_folder.h"

/* The manifest alone is some hundreds of bytes. */
static uint64_t
bytes_of_one(kerf_store *store)
{
    kerf_stored *list = NULL;
    uint64_t bytes = 0;
    size_t count;

    assert_int_equal(kerf_store_list(store, &list, &count, &bytes, NULL),
                     KERF_OK);
    assert_int_equal(count, 1);
    free(list);
    return bytes;
}

static void
store__bound__least_lately_used_go(void **state)
{
    kerf_manifest m[5];
    uint64_t one;

    assert_int_equal(bring_nth(*state, 0, &m[0], NULL), KERF_OK);
    one = bytes_of_one(*state);
    kerf_store_bound(*state, 4 * one); /* a manifest stands twice at first */
    for (int i = 1; i < 3; i++)
        assert_int_equal(bring_nth(*state, i, &m[i], NULL), KERF_OK);
    assert_int_equal(count_bundles(*state), 3);
    assert_int_equal(count_files("parts"), 2 + 3); /* two are in all */
    kerf_store_use(*state, m[0].id); /* the first is the last used now */
    for (int i = 3; i < 5; i++)
        assert_int_equal(bring_nth(*state, i, &m[i], NULL), KERF_OK);
    assert_true(kerf_store_has(*state, &m[0].file[2]));
    assert_false(kerf_store_has(*state, &m[1].file[2]));
    assert_true(kerf_store_has(*state, &m[4].file[2]));
    assert_true(count_bundles(*state) <= 3);
    assert_true(kerf_store_has(*state, &m[4].file[0]));
}

static void
store__bound__what_runs_stays_and_it_is_said(void **state)
{
    kerf_manifest m[2];
    kerf_detail why = {{0}};
    kerf_store *other = NULL;
    kerf_hold *hold = NULL;

    assert_int_equal(bring_nth(*state, 0, &m[0], NULL), KERF_OK);
    assert_int_equal(kerf_store_hold(&hold, *state, m[0].id, NULL), KERF_OK);
    assert_int_equal(kerf_store_open(&other, dir, NULL), KERF_OK);
    kerf_store_bound(other, 200);
    assert_int_equal(bring_nth(other, 1, &m[1], &why), KERF_ENOSPC);
    assert_non_null(strstr(why.text, "--store-max"));
    assert_null(strchr(why.text, '\n'));
    assert_int_equal(count_bundles(other), 1);
    kerf_hold_free(hold);
    kerf_store_close(other);
}

static void
store_collect__keeps_what_is_held(void **state)
{
    kerf_manifest m[3];
    kerf_store *look = NULL;
    kerf_hold *hold = NULL;
    uint64_t freed = 0;
    size_t gone = 0;

    for (int i = 0; i < 3; i++)
        assert_int_equal(bring_nth(*state, i, &m[i], NULL), KERF_OK);
    assert_int_equal(kerf_store_hold(&hold, *state, m[2].id, NULL), KERF_OK);
    assert_int_equal(kerf_store_look(&look, dir, NULL), KERF_OK);
    assert_int_equal(kerf_store_collect(look, 0, &freed, &gone, NULL), KERF_OK);
    assert_int_equal(gone, 0);
    assert_int_equal(kerf_store_collect(look, 1, &freed, &gone, NULL),
                     KERF_ENOSPC);
    assert_int_equal(gone, 2);
    assert_int_equal(count_bundles(look), 1);
    assert_true(kerf_store_has(look, &m[2].file[2]));
    assert_int_equal(count_files("parts"), 3);
    kerf_store_close(*state); /* it outlives that */
    *state = NULL;
    assert_int_equal(kerf_store_collect(look, 1, &freed, &gone, NULL),
                     KERF_ENOSPC);
    assert_int_equal(gone, 0);
    kerf_hold_free(hold);
    assert_int_equal(kerf_store_collect(look, 1, &freed, &gone, NULL), KERF_OK);
    assert_int_equal(count_files("parts"), 0);
    assert_int_equal(count_files("."), 0); /* no names that dangle */
    kerf_store_close(look);
}

static void
store_collect__what_comes_in_stays(void **state)
{
    char text[101];
    kerf_manifest m = nth(0, text);
    kerf_incoming *in;
    kerf_store *look = NULL;
    uint64_t freed = 0;
    size_t gone = 0;

    assert_int_equal(kerf_store_begin(*state, &m, false, NULL), KERF_OK);
    for (int i = 0; i < 2; i++)
        bring(*state, &m.file[i], contents[i]);
    in = open_in(*state, &m.file[2]);
    write_at(in, 0, text, 50);
    assert_int_equal(kerf_store_look(&look, dir, NULL), KERF_OK);
    assert_int_equal(kerf_store_collect(look, 1, &freed, &gone, NULL),
                     KERF_ENOSPC);
    assert_int_equal(freed, 0);
    write_at(in, 50, text + 50, 50);
    assert_int_equal(kerf_incoming_commit(in, NULL), KERF_OK);
    assert_int_equal(kerf_store_finish(*state, &m, NULL), KERF_OK);
    assert_int_equal(count_bundles(*state), 1);
    assert_int_equal(count_files("partial"), 0);
    kerf_store_close(look);
}

static size_t
collect_all(kerf_store *store)
{
    uint64_t freed = 0;
    size_t gone = 0;

    (void)!kerf_store_collect(store, 1, &freed, &gone, NULL);
    return gone;
}

static void
store_hold__before_it_came_and_when_replaced__it_stays(void **state)
{
    kerf_manifest m = make_manifest();
    kerf_manifest other;
    kerf_hold *hold[2] = {NULL, NULL};

    for (int i = 0; i < 2; i++)
        assert_int_equal(kerf_store_hold(&hold[i], *state, m.id, NULL),
                         KERF_OK);
    assert_int_equal(kerf_store_begin(*state, &m, false, NULL), KERF_OK);
    bring_all(*state, &m);
    assert_int_equal(collect_all(*state), 0);
    m.sig = (kerf_signed){.len = 1, .text = "x"}; /* signed anew */
    assert_int_equal(kerf_store_finish(*state, &m, NULL), KERF_OK);
    assert_int_equal(collect_all(*state), 0);
    kerf_hold_free(hold[0]); /* another program of it has one, too */
    assert_int_equal(bring_nth(*state, 1, &other, NULL), KERF_OK);
    assert_int_equal(collect_all(*state), 1);
    assert_true(kerf_store_has(*state, &m.file[2]));
    kerf_hold_free(hold[1]);
    assert_int_equal(collect_all(*state), 1);
    assert_int_equal(count_files("parts"), 0);
}

/* As a clock would that was wrong. */
static void
set_time(const kerf_manifest *m, time_t at)
{
    const struct timespec time[2] = {{.tv_sec = at}, {.tv_sec = at}};
    char id[2 * sizeof m->id + 1], name[KERF_PATH_MAX];
    char path[KERF_PATH_MAX];

    kerf_hex(id, m->id, sizeof m->id);
    (void)snprintf(name, sizeof name, "bundles/%s.json", id);
    path_of(path, name);
    assert_int_equal(utimensat(AT_FDCWD, path, time, 0), 0);
}

static void
assert_latest(kerf_store *store, const kerf_manifest *m)
{
    kerf_manifest latest = {0};

    assert_int_equal(kerf_store_latest(store, NULL, &latest), KERF_OK);
    assert_memory_equal(latest.id, m->id, sizeof m->id);
    kerf_manifest_fini(&latest);
}

static void
store_latest__clock_jumps__is_what_ran_last(void **state)
{
    kerf_manifest m[3];

    for (int i = 0; i < 3; i++)
        assert_int_equal(bring_nth(*state, i, &m[i], NULL), KERF_OK);
    assert_latest(*state, &m[2]); /* none ran: that came last */
    kerf_store_use(*state, m[0].id);
    assert_latest(*state, &m[0]);
    set_time(&m[0], 4000000000);
    kerf_store_use(*state, m[1].id);
    assert_latest(*state, &m[1]);
    set_time(&m[1], 10);
    assert_latest(*state, &m[1]);
    assert_int_equal(collect_all(*state), 3);
    for (int i = 0; i < 2; i++) /* comes anew: it did not run since */
        assert_int_equal(bring_nth(*state, i, &m[i], NULL), KERF_OK);
    assert_latest(*state, &m[1]);
}

static void
store_latest__record_that_is_none__times_decide(void **state)
{
    static const char *const records[] = {"", "\n\n", "x", "0123 1 ran\n",
                                          "\377\377 9 came\n"};
    kerf_manifest m[2];

    for (int i = 0; i < 2; i++)
        assert_int_equal(bring_nth(*state, i, &m[i], NULL), KERF_OK);
    set_time(&m[0], 2000);
    set_time(&m[1], 1000);
    for (size_t i = 0; i < sizeof records / sizeof *records; i++) {
        write_raw("bundles/.used", records[i]);
        assert_latest(*state, &m[0]);
    }
    put_obstacle(FULL_FOLDER, "bundles/.used");
    kerf_store_use(*state, m[1].id);
    assert_latest(*state, &m[1]);
}

static void
store__bound__manifests_count_too(void **state)
{
    kerf_manifest m;
    uint64_t bytes = 0;

    kerf_store_bound(*state, 8192);
    for (int i = 0; i < 40; i++) {
        kerf_stored *list = NULL;
        size_t count = 0;

        m = make_manifest(); /* the same parts, by another name */
        (void)snprintf(m.name, sizeof m.name, "m%d", i);
        for (size_t k = 0; k < m.file_count; k++)
            assert_true(kerf_role_file(m.file[k].name, m.file[k].role,
                                       KERF_FORMAT_PADDLE, m.name));
        assert_int_equal(kerf_manifest_seal(&m), KERF_OK);
        assert_int_equal(kerf_store_begin(*state, &m, false, NULL), KERF_OK);
        bring_all(*state, &m);
        assert_int_equal(kerf_store_list(*state, &list, &count, &bytes, NULL),
                         KERF_OK);
        free(list);
        assert_true(bytes <= 8192);
    }
    assert_int_equal(count_files("parts"), 3);
    assert_true(count_bundles(*state) > 1);
    assert_true(count_bundles(*state) < 20);
}

/* Empty files of 64 hex digits and what is said. */
static void
litter(const char *folder, int count, const char *end)
{
    for (int i = 0; i < count; i++) {
        char name[KERF_PATH_MAX];
        char path[KERF_PATH_MAX];
        int fd;

        (void)snprintf(name, sizeof name, "%s/%064x%s", folder, i, end);
        path_of(path, name);
        fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
        assert_true(fd >= 0);
        (void)close(fd);
    }
}

static void
store_tidy__very_many_manifests__the_least_lately_used_go(void **state)
{
    kerf_manifest m[2];

    for (int i = 0; i < 2; i++)
        assert_int_equal(bring_nth(*state, i, &m[i], NULL), KERF_OK);
    litter("bundles", 1500, ".json");
    kerf_store_tidy(*state, m[0].id);
    assert_int_equal(count_bundles(*state), 2);
    assert_int_equal(count_files("bundles"), 1024 + 1); /* and .used */
}

static void
store__more_files_than_it_looks_at__is_said(void **state)
{
    kerf_detail why = {{0}};
    kerf_manifest m;

    kerf_store_bound(*state, 1 << 20);
    litter("parts", 65537, "");
    assert_int_equal(bring_nth(*state, 0, &m, &why), KERF_ETOOBIG);
    assert_non_null(strstr(why.text, "remove the folder"));
}

static void
store_tidy__partial_files_of_nobody__one_is_left_or_none(void **state)
{
    char text[101];
    kerf_manifest m = nth(0, text);
    kerf_incoming *in[3];
    char name[KERF_PATH_MAX];
    char path[KERF_PATH_MAX];

    assert_int_equal(kerf_store_begin(*state, &m, false, NULL), KERF_OK);
    for (int i = 0; i < 3; i++) {
        in[i] = open_in(*state, &m.file[2]);
        write_at(in[i], 0, text, 50);
    }
    assert_int_equal(count_files("partial"), 1 + 3);
    kerf_store_tidy(*state, NULL);
    assert_int_equal(count_files("partial"), 1 + 3); /* they have them */
    for (int i = 0; i < 3; i++)
        kerf_incoming_abort(in[i]);
    (void)snprintf(name, sizeof name, "partial/%s",
                   part_of(&m.file[2]) + strlen("parts/"));
    assert_true(is_there(name));
    path_of(path, name);
    assert_int_equal(unlink(path), 0);
    kerf_store_tidy(*state, NULL);
    assert_int_equal(count_files("partial"), 1 + 1);
    assert_true(is_there(name));
    in[0] = open_in(*state, &m.file[2]);
    assert_int_equal(kerf_incoming_got(in[0]), 0); /* it has no units */
    write_at(in[0], 0, text, 100);
    assert_int_equal(kerf_incoming_commit(in[0], NULL), KERF_OK);
    litter("partial", 1, ".1"); /* of nothing here */
    write_raw(name, "x");
    kerf_store_tidy(*state, NULL);
    assert_int_equal(count_files("partial"), 1);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        IN_DIR(store__bound__least_lately_used_go),
        IN_DIR(store_hold__before_it_came_and_when_replaced__it_stays),
        IN_DIR(store_latest__clock_jumps__is_what_ran_last),
        IN_DIR(store_latest__record_that_is_none__times_decide),
        IN_DIR(store__bound__manifests_count_too),
        IN_DIR(store_tidy__very_many_manifests__the_least_lately_used_go),
        IN_DIR(store__more_files_than_it_looks_at__is_said),
        IN_DIR(store_tidy__partial_files_of_nobody__one_is_left_or_none),
        IN_DIR(store__bound__what_runs_stays_and_it_is_said),
        IN_DIR(store_collect__keeps_what_is_held),
        IN_DIR(store_collect__what_comes_in_stays),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
