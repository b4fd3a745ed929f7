#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <sys/wait.h>

#include "store_folder.h"

static void
store__all_parts_come__bundle_is_listed_and_loads(void **state)
{
    uint8_t id[4][KERF_BUNDLE_ID_LEN];
    kerf_manifest m = make_manifest();
    kerf_pair pair = {0};

    assert_int_equal(kerf_store_bundles(*state, id, 4), 0);
    assert_int_equal(kerf_store_load(*state, &m, false, &pair, NULL),
                     KERF_EAGAIN);
    bring_all(*state, &m);
    assert_int_equal(kerf_store_bundles(*state, id, 4), 1);
    assert_memory_equal(id[0], m.id, sizeof m.id);
    assert_int_equal(kerf_store_bundles(*state, id, 0), 0);
    assert_int_equal(kerf_store_load(*state, &m, false, &pair, NULL), KERF_OK);
    assert_true(pair.has_card);
    assert_int_equal(kerf_pair_bytes(&pair, true).graph_len, 10);
    assert_memory_equal(kerf_pair_bytes(&pair, true).weights, "head weights",
                        12);
    assert_null(kerf_pair_bytes(&pair, false).graph); /* tails never come */
    assert_int_equal(count_files("parts"), 3);
    assert_int_equal(count_files("bundles"), 2); /* and .used */
    assert_int_equal(count_files("."), 3);       /* links */
    kerf_pair_fini(&pair);
}

static void
store_has__changed_on_disk__is_false(void **state)
{
    kerf_file f = file_of(KERF_ROLE_HEAD_GRAPH, "x.onnx", "abcdef", 6);

    assert_false(kerf_store_has(*state, &f));
    bring(*state, &f, "abcdef");
    write_raw(part_of(&f), "abcdeX");
    assert_false(kerf_store_has(*state, &f));
    write_raw(part_of(&f), "abcdefg");
    assert_false(kerf_store_has(*state, &f));
    write_raw(part_of(&f), "abcde");
    assert_false(kerf_store_has(*state, &f));
}

static void
store__damaged_part__bundle_is_not_listed_and_does_not_load(void **state)
{
    uint8_t id[4][KERF_BUNDLE_ID_LEN];
    kerf_manifest m = make_manifest();
    kerf_pair pair = {0};
    kerf_detail why;

    bring_all(*state, &m);
    write_raw(part_of(&m.file[2]), "head weightX");
    assert_int_equal(kerf_store_bundles(*state, id, 4), 0);
    assert_int_equal(kerf_store_load(*state, &m, false, &pair, &why),
                     KERF_EAGAIN);
    assert_non_null(strstr(why.text, "client_infer_m.pdiparams"));
    write_raw(part_of(&m.file[2]), "much longer than it should be");
    assert_int_equal(kerf_store_load(*state, &m, false, &pair, &why),
                     KERF_EAGAIN);
    bring(*state, &m.file[2], contents[2]); /* only that part again */
    assert_int_equal(kerf_store_bundles(*state, id, 4), 1);
}

static void
store_bundles__bad_manifests__are_passed_over(void **state)
{
    uint8_t id[4][KERF_BUNDLE_ID_LEN];
    kerf_manifest m = make_manifest();
    char name[KERF_PATH_MAX];
    char *text = NULL;

    bring_all(*state, &m);
    assert_int_equal(kerf_manifest_format(&m, &text), KERF_OK);
    write_raw("bundles/a.json", "{");
    write_raw("bundles/b.json", "");
    write_raw("bundles/c.json", text); /* the name is its id */
    put_obstacle(FIFO, "bundles/d.json");
    put_obstacle(FOLDER, "bundles/e.json");
    put_obstacle(LINK, "bundles/f.json");
    free(text);
    assert_int_equal(kerf_store_bundles(*state, id, 4), 1);
    (void)snprintf(name, sizeof name, "bundles/");
    kerf_hex(name + 8, m.id, sizeof m.id);
    (void)snprintf(name + strlen(name), 8, ".json");
    write_raw(name, "[]");
    assert_int_equal(kerf_store_bundles(*state, id, 4), 0);
    assert_int_equal(kerf_store_latest(*state, NULL, &m), KERF_ENOENT);
    put_obstacle(FULL_FOLDER, name); /* and it can be written again */
    assert_int_equal(kerf_store_finish(*state, &m, NULL), KERF_OK);
    assert_int_equal(kerf_store_bundles(*state, id, 4), 1);
}

static void
store_finish__versions_that_were_given_up__go(void **state)
{
    char text[101];
    kerf_manifest old = nth(0, text);
    kerf_manifest m;
    kerf_incoming *in;

    assert_int_equal(kerf_store_begin(*state, &old, false, NULL), KERF_OK);
    in = open_in(*state, &old.file[2]);
    write_at(in, 0, text, 50);
    kerf_incoming_abort(in);
    assert_int_equal(count_files("partial"), 2);
    assert_int_equal(bring_nth(*state, 1, &m, NULL), KERF_OK);
    assert_int_equal(count_files("partial"), 0);
}

struct told {
    size_t count;
    char what[4][128];
};

static void
note_finding(void *ctx, const char *what, const char *why)
{
    struct told *told = ctx;

    assert_true(why[0] != '\0');
    if (told->count < 4)
        (void)snprintf(told->what[told->count], sizeof told->what[0], "%s",
                       what);
    told->count++;
}

static size_t
verify(kerf_store *store, struct told *told)
{
    uint64_t checked = 0;

    *told = (struct told){.count = 0};
    assert_int_equal(
        kerf_store_verify(store, note_finding, told, &checked, NULL), KERF_OK);
    return told->count;
}

static void
store_verify__a_flipped_bit__is_told_and_mended_by_its_unit(void **state)
{
    kerf_manifest m = bring_weights(*state, "aabbccdd");
    kerf_incoming *in;
    struct told told;

    assert_int_equal(verify(*state, &told), 0);
    write_raw(part_of(&m.file[2]), "aabbccde");
    assert_int_equal(verify(*state, &told), 2); /* the part, and who needs it */
    assert_string_equal(told.what[0], part_of(&m.file[2]));
    assert_non_null(strstr(told.what[1], "bundles/"));
    assert_false(is_there(part_of(&m.file[2])));
    in = open_in(*state, &m.file[2]);
    assert_missing(in, 0, 6, 2);
    write_at(in, 6, "dd", 2);
    assert_int_equal(kerf_incoming_commit(in, NULL), KERF_OK);
    assert_int_equal(verify(*state, &told), 0);
    kerf_manifest_fini(&m);
}

static void
store_verify__odd_files__are_told(void **state)
{
    kerf_manifest m = make_manifest();
    struct told told;
    char name[KERF_PATH_MAX];

    bring_all(*state, &m);
    for (int what = LINK; what <= FULL_FOLDER; what++) {
        put_obstacle((enum obstacle)what, part_of(&m.file[1]));
        assert_int_equal(verify(*state, &told), 2);
        assert_false(is_there(part_of(&m.file[1])));
        bring(*state, &m.file[1], contents[1]);
    }
    write_raw("parts/hello", "");
    assert_int_equal(verify(*state, &told), 1);
    (void)snprintf(name, sizeof name, "bundles/");
    kerf_hex(name + 8, m.id, sizeof m.id);
    (void)snprintf(name + strlen(name), 8, ".json");
    write_raw(name, "{");
    assert_int_equal(verify(*state, &told), 2);
    assert_false(is_there(name));
}

/* A process number that no process has: that of a child waited for. */
static pid_t
dead_pid(void)
{
    pid_t pid = fork();

    if (pid == 0)
        _exit(0);
    assert_true(pid > 0);
    assert_int_equal(waitpid(pid, NULL, 0), pid);
    return pid;
}

static void
store_open__temporary_files__only_those_of_nobody_go(void **state)
{
    kerf_file f = file_of(KERF_ROLE_HEAD_GRAPH, "x.onnx", "abcdef", 6);
    uint8_t sum[KERF_SHA256_LEN];
    kerf_store *second = NULL;
    kerf_incoming *in = NULL;
    char stale[64];
    char reused[64];

    assert_int_equal(kerf_incoming_open_plain(&in, *state, &f, NULL), KERF_OK);
    write_at(in, 0, "abc", 3);
    (void)snprintf(stale, sizeof stale, ".kerf-%ld-0.tmp", (long)dead_pid());
    /* A process that died had the number that we have now. */
    (void)snprintf(reused, sizeof reused, "bundles/.kerf-%ld-99999.tmp",
                   (long)getpid());
    write_raw(stale, "x");
    write_raw(reused, "x");
    write_raw(".kerf-1-x.tmp", "x");
    write_raw(".kerf-0-0.tmp", "x");
    assert_int_equal(kerf_store_open(&second, dir, NULL), KERF_OK);
    assert_false(is_there(stale));
    assert_false(is_there(reused));
    assert_true(is_there(".kerf-1-x.tmp")); /* not of our form */
    assert_true(is_there(".kerf-0-0.tmp"));
    write_at(in, 3, "def", 3);
    assert_int_equal(kerf_incoming_accept(in, sum, NULL), KERF_OK);
    assert_true(is_there("x.onnx"));
    kerf_store_close(second);
}

/* What an older Kerf left: files by name. */
static void
write_old(const kerf_manifest *m)
{
    char *text = NULL;

    assert_int_equal(kerf_manifest_format(m, &text), KERF_OK);
    for (int i = 0; i < 3; i++)
        write_raw(m->file[i].name, contents[i]);
    write_raw("m.manifest.json", text);
    free(text);
}

static void
store_open__store_of_an_older_kerf__is_taken_over(void **state)
{
    uint8_t id[4][KERF_BUNDLE_ID_LEN];
    kerf_manifest m = make_manifest();
    kerf_store *again = NULL;
    char path[KERF_PATH_MAX];
    char target[KERF_PATH_MAX] = "";

    (void)state;
    write_old(&m);
    for (int i = 0; i < 2; i++) { /* the second time nothing is left to do */
        assert_int_equal(kerf_store_open(&again, dir, NULL), KERF_OK);
        assert_int_equal(kerf_store_bundles(again, id, 4), 1);
        kerf_store_close(again);
    }
    assert_false(is_there("m.manifest.json"));
    assert_int_equal(count_files("parts"), 3);
    path_of(path, m.file[1].name);
    assert_true(readlink(path, target, sizeof target - 1) > 0);
    assert_string_equal(target, part_of(&m.file[1]));
}

static void
store_open__damaged_store_of_an_older_kerf__what_is_right_is_kept(void **state)
{
    uint8_t id[4][KERF_BUNDLE_ID_LEN];
    kerf_manifest m = make_manifest();
    kerf_store *again = NULL;

    (void)state;
    write_old(&m);
    write_raw(m.file[2].name, "head weightX");
    assert_int_equal(kerf_store_open(&again, dir, NULL), KERF_OK);
    assert_int_equal(kerf_store_bundles(again, id, 4), 0);
    assert_true(kerf_store_has(again, &m.file[1]));
    assert_false(kerf_store_has(again, &m.file[2]));
    kerf_store_close(again);
}

static void
store_open__no_folder_possible__is_an_error(void **state)
{
    kerf_store *store = NULL;
    char path[KERF_PATH_MAX];
    kerf_detail why;

    (void)state;
    write_raw("file", "");
    path_of(path, "file/deeper");
    assert_int_not_equal(kerf_store_open(&store, path, &why), KERF_OK);
    assert_non_null(strstr(why.text, "file"));
    assert_null(store);
    kerf_store_close(NULL);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        IN_DIR(store__all_parts_come__bundle_is_listed_and_loads),
        IN_DIR(store_has__changed_on_disk__is_false),
        IN_DIR(store__damaged_part__bundle_is_not_listed_and_does_not_load),
        IN_DIR(store_bundles__bad_manifests__are_passed_over),
        IN_DIR(store_finish__versions_that_were_given_up__go),
        IN_DIR(store_verify__a_flipped_bit__is_told_and_mended_by_its_unit),
        IN_DIR(store_verify__odd_files__are_told),
        IN_DIR(store_open__temporary_files__only_those_of_nobody_go),
        IN_DIR(store_open__store_of_an_older_kerf__is_taken_over),
        IN_DIR(
            store_open__damaged_store_of_an_older_kerf__what_is_right_is_kept),
        IN_DIR(store_open__no_folder_possible__is_an_error),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
