#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <dirent.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "model/store.h"

static char dir[64];

static void
path_of(char out[KERF_PATH_MAX], const char *name)
{
    assert_int_equal(kerf_path_join(out, dir, name), KERF_OK);
}

/* Files in dir, hidden ones too; removes them when asked to. */
static size_t
count_files(bool remove)
{
    struct dirent *entry;
    DIR *d = opendir(dir);
    size_t count = 0;

    assert_non_null(d);
    while ((entry = readdir(d)) != NULL) {
        char path[KERF_PATH_MAX];

        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
            continue;
        count++;
        path_of(path, entry->d_name);
        if (remove)
            (void)unlink(path);
    }
    (void)closedir(d);
    return count;
}

static int
make_dir(void **state)
{
    (void)snprintf(dir, sizeof dir, "/tmp/kerf-store-XXXXXX");
    if (mkdtemp(dir) == NULL)
        return -1;
    return kerf_store_open((kerf_store **)state, dir, NULL) == KERF_OK ? 0 : -1;
}

static int
remove_dir(void **state)
{
    kerf_store_close(*state);
    (void)count_files(true);
    return rmdir(dir);
}

static void
write_raw(const char *name, const char *text)
{
    char path[KERF_PATH_MAX];

    path_of(path, name);
    assert_int_equal(kerf_fs_write(path, text, strlen(text), NULL), KERF_OK);
}

static bool
is_there(const char *name)
{
    char path[KERF_PATH_MAX];
    struct stat st;

    path_of(path, name);
    return lstat(path, &st) == 0;
}

static kerf_file
file_of(kerf_role role, const char *name, const void *data, size_t len)
{
    kerf_file f = {.role = role, .size = len};
    kerf_sha256 *hash = NULL;

    (void)snprintf(f.name, sizeof f.name, "%s", name);
    assert_int_equal(kerf_sha256_new(&hash), KERF_OK);
    kerf_sha256_add(hash, data, len);
    kerf_sha256_end(hash, f.sha256);
    kerf_sha256_free(hash);
    return f;
}

static const char *const contents[] = {
    "{\"kerf_card\": 1, \"name\": \"m\", \"input\": {\"kind\": \"tensor\"}}",
    "head graph", "head weights", "tail graph", "tail weights"};

static kerf_manifest
make_manifest(void)
{
    kerf_manifest m = {.name = "m", .probe_tolerance = 1e-3};

    for (int i = 0; i < KERF_ROLE_COUNT; i++) {
        char name[KERF_PART_NAME];

        assert_true(
            kerf_role_file(name, (kerf_role)i, KERF_FORMAT_PADDLE, "m"));
        m.file[m.file_count++] =
            file_of((kerf_role)i, name, contents[i], strlen(contents[i]));
    }
    assert_int_equal(kerf_manifest_seal(&m), KERF_OK);
    return m;
}

static void
bring(kerf_store *store, const kerf_file *file, const char *text)
{
    kerf_incoming *in = NULL;

    assert_int_equal(kerf_incoming_open(&in, store, file, NULL), KERF_OK);
    assert_int_equal(kerf_incoming_write(in, text, strlen(text), NULL),
                     KERF_OK);
    assert_int_equal(kerf_incoming_commit(in, NULL), KERF_OK);
}

static void
bring_all(kerf_store *store, const kerf_manifest *m)
{
    for (size_t i = 0; i < m->file_count; i++) {
        if (kerf_role_is_shipped(m->file[i].role, false))
            bring(store, &m->file[i], contents[m->file[i].role]);
    }
    assert_int_equal(kerf_store_finish(store, m, NULL), KERF_OK);
}

static void
store__all_parts_come__bundle_is_listed_and_loads(void **state)
{
    uint8_t id[4][KERF_BUNDLE_ID_LEN];
    kerf_manifest m = make_manifest();
    kerf_pair pair = {0};

    assert_int_equal(kerf_store_bundles(*state, id, 4), 0);
    assert_int_equal(kerf_store_load(*state, &m, false, &pair, NULL),
                     KERF_ENOENT);
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
    assert_int_equal(count_files(false), 4);
    kerf_pair_fini(&pair);
}

static void
incoming__before_commit__nothing_has_the_name(void **state)
{
    kerf_file f = file_of(KERF_ROLE_HEAD_GRAPH, "x.onnx", "abcdef", 6);
    kerf_incoming *in = NULL;

    assert_int_equal(kerf_incoming_open(&in, *state, &f, NULL), KERF_OK);
    for (size_t i = 0; i < 6; i++) { /* byte by byte */
        assert_int_equal(kerf_incoming_got(in), i);
        assert_int_equal(kerf_incoming_write(in, "abcdef" + i, 1, NULL),
                         KERF_OK);
        assert_false(is_there("x.onnx"));
    }
    assert_false(kerf_store_has(*state, &f));
    assert_int_equal(kerf_incoming_commit(in, NULL), KERF_OK);
    assert_true(kerf_store_has(*state, &f));
    assert_int_equal(count_files(false), 1);
}

static void
incoming__aborted__leaves_nothing(void **state)
{
    kerf_file f = file_of(KERF_ROLE_HEAD_GRAPH, "x.onnx", "abcdef", 6);
    kerf_incoming *in = NULL;

    assert_int_equal(kerf_incoming_open(&in, *state, &f, NULL), KERF_OK);
    assert_int_equal(kerf_incoming_write(in, "abc", 3, NULL), KERF_OK);
    assert_int_equal(count_files(false), 1);
    kerf_incoming_abort(in);
    kerf_incoming_abort(NULL);
    assert_int_equal(count_files(false), 0);
}

static void
incoming__wrong_bytes__are_corrupt_and_the_old_file_stays(void **state)
{
    kerf_file f = file_of(KERF_ROLE_HEAD_GRAPH, "x.onnx", "abcdef", 6);
    kerf_incoming *in = NULL;
    kerf_detail why;

    bring(*state, &f, "abcdef");
    assert_int_equal(kerf_incoming_open(&in, *state, &f, NULL), KERF_OK);
    assert_int_equal(kerf_incoming_write(in, "abcdeX", 6, NULL), KERF_OK);
    assert_int_equal(kerf_incoming_commit(in, &why), KERF_ECORRUPT);
    assert_non_null(strstr(why.text, "x.onnx"));
    assert_int_equal(kerf_incoming_open(&in, *state, &f, NULL), KERF_OK);
    assert_int_equal(kerf_incoming_write(in, "abcde", 5, NULL), KERF_OK);
    assert_int_equal(kerf_incoming_write(in, "fg", 2, &why), KERF_ETOOBIG);
    assert_int_equal(kerf_incoming_got(in), 5);
    assert_int_equal(kerf_incoming_commit(in, &why), KERF_ECORRUPT); /* short */
    assert_true(kerf_store_has(*state, &f));
    assert_int_equal(count_files(false), 1);
}

static void
incoming__empty_file__is_committed(void **state)
{
    kerf_file f = file_of(KERF_ROLE_HEAD_WEIGHTS, "x.pdiparams", "", 0);

    bring(*state, &f, "");
    assert_true(kerf_store_has(*state, &f));
}

static void
incoming__bad_names_and_sizes__are_refused(void **state)
{
    static const char *const names[] = {"../x", "a/b", "", ".hidden", "a b"};
    kerf_incoming *in = NULL;
    kerf_file f;

    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        f = file_of(KERF_ROLE_CARD, names[i], "", 0);
        assert_int_equal(kerf_incoming_open(&in, *state, &f, NULL),
                         KERF_EINVAL);
        assert_false(kerf_store_has(*state, &f));
    }
    f = file_of(KERF_ROLE_CARD, "x", "", 0);
    f.size = (uint64_t)1 << 63;
    assert_int_equal(kerf_incoming_open(&in, *state, &f, NULL), KERF_EINVAL);
    assert_int_equal(count_files(false), 0);
}

static void
incoming__symbolic_link_of_that_name__is_replaced_not_followed(void **state)
{
    kerf_file f = file_of(KERF_ROLE_HEAD_GRAPH, "x.onnx", "abcdef", 6);
    char outside[KERF_PATH_MAX];
    char path[KERF_PATH_MAX];
    struct stat st;

    path_of(outside, "outside");
    path_of(path, "x.onnx");
    write_raw("outside", "abcdef");
    assert_int_equal(symlink(outside, path), 0);
    assert_false(kerf_store_has(*state, &f)); /* right bytes, but a link */
    write_raw("outside", "precious");
    bring(*state, &f, "abcdef");
    assert_int_equal(lstat(path, &st), 0);
    assert_true(S_ISREG(st.st_mode));
    assert_int_equal(stat(outside, &st), 0);
    assert_int_equal(st.st_size, 8);
}

static void
store_has__changed_on_disk__is_false(void **state)
{
    kerf_file f = file_of(KERF_ROLE_HEAD_GRAPH, "x.onnx", "abcdef", 6);

    assert_false(kerf_store_has(*state, &f));
    bring(*state, &f, "abcdef");
    write_raw("x.onnx", "abcdeX");
    assert_false(kerf_store_has(*state, &f));
    write_raw("x.onnx", "abcdefg");
    assert_false(kerf_store_has(*state, &f));
    write_raw("x.onnx", "abcde");
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
    write_raw("client_infer_m.pdiparams", "head weightX");
    assert_int_equal(kerf_store_bundles(*state, id, 4), 0);
    assert_int_equal(kerf_store_load(*state, &m, false, &pair, &why),
                     KERF_ECORRUPT);
    assert_non_null(strstr(why.text, "client_infer_m.pdiparams"));
    write_raw("client_infer_m.pdiparams", "much longer than it should be");
    assert_int_equal(kerf_store_load(*state, &m, false, &pair, &why),
                     KERF_ECORRUPT);
    bring(*state, &m.file[2], contents[2]); /* only that part again */
    assert_int_equal(kerf_store_bundles(*state, id, 4), 1);
}

static void
store_bundles__bad_manifests__are_passed_over(void **state)
{
    uint8_t id[4][KERF_BUNDLE_ID_LEN];
    kerf_manifest m = make_manifest();
    char *text = NULL;

    bring_all(*state, &m);
    assert_int_equal(kerf_manifest_format(&m, &text), KERF_OK);
    write_raw("a.manifest.json", "{");
    write_raw("b.manifest.json", "");
    write_raw("c.manifest.json", text); /* the name is m */
    free(text);
    assert_int_equal(kerf_store_bundles(*state, id, 4), 1);
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
    kerf_store *second = NULL;
    kerf_incoming *in = NULL;
    char stale[64];
    char reused[64];

    assert_int_equal(kerf_incoming_open(&in, *state, &f, NULL), KERF_OK);
    assert_int_equal(kerf_incoming_write(in, "abc", 3, NULL), KERF_OK);
    (void)snprintf(stale, sizeof stale, ".kerf-%ld-0.tmp", (long)dead_pid());
    /* A process that died had the number that we have now. */
    (void)snprintf(reused, sizeof reused, ".kerf-%ld-99999.tmp",
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
    assert_int_equal(kerf_incoming_write(in, "def", 3, NULL), KERF_OK);
    assert_int_equal(kerf_incoming_commit(in, NULL), KERF_OK);
    assert_true(kerf_store_has(second, &f));
    kerf_store_close(second);
}

static void
store_open__killed_while_writing__next_start_cleans_up(void **state)
{
    kerf_file f = file_of(KERF_ROLE_HEAD_GRAPH, "x.onnx", "abcdef", 6);
    kerf_store *again = NULL;
    int status = 0;
    pid_t pid = fork();

    if (pid == 0) {
        kerf_incoming *in = NULL;

        if (kerf_incoming_open(&in, *state, &f, NULL) != KERF_OK ||
            kerf_incoming_write(in, "abc", 3, NULL) != KERF_OK)
            _exit(1);
        (void)raise(SIGKILL);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFSIGNALED(status));
    assert_int_equal(count_files(false), 1);
    assert_int_equal(kerf_store_open(&again, dir, NULL), KERF_OK);
    assert_int_equal(count_files(false), 0);
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

/* Runs in a child: a limit on file sizes stands for a full disk. */
static int
fill_disk(kerf_store *store, const kerf_manifest *m)
{
    static uint8_t data[8192];
    struct rlimit most = {.rlim_cur = 4096, .rlim_max = 4096};
    kerf_file f = {.role = KERF_ROLE_HEAD_GRAPH, .size = sizeof data};
    kerf_incoming *in = NULL;
    kerf_detail why = {{0}};

    (void)signal(SIGXFSZ, SIG_IGN);
    if (setrlimit(RLIMIT_FSIZE, &most) != 0)
        return 1;
    (void)snprintf(f.name, sizeof f.name, "big.onnx");
    if (kerf_incoming_open(&in, store, &f, &why) == KERF_OK) {
        /* A file system that cannot reserve: the write must see it. */
        if (kerf_incoming_write(in, data, sizeof data, &why) != KERF_ENOSPC)
            return 2;
        kerf_incoming_abort(in);
    }
    if (strstr(why.text, "big.onnx") == NULL || strstr(why.text, dir) == NULL)
        return 3;
    if (strchr(why.text, '\n') != NULL)
        return 4;
    most.rlim_cur = 16;
    if (setrlimit(RLIMIT_FSIZE, &most) != 0)
        return 5;
    if (kerf_store_finish(store, m, &why) != KERF_ENOSPC)
        return 6;
    return 0;
}

static void
incoming__disk_full__is_one_clear_error_and_leaves_nothing(void **state)
{
    kerf_manifest m = make_manifest();
    int status = 0;
    pid_t pid = fork();

    if (pid == 0)
        _exit(fill_disk(*state, &m));
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
    assert_int_equal(count_files(false), 0);
}

#define IN_DIR(test) cmocka_unit_test_setup_teardown(test, make_dir, remove_dir)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        IN_DIR(store__all_parts_come__bundle_is_listed_and_loads),
        IN_DIR(incoming__before_commit__nothing_has_the_name),
        IN_DIR(incoming__aborted__leaves_nothing),
        IN_DIR(incoming__wrong_bytes__are_corrupt_and_the_old_file_stays),
        IN_DIR(incoming__empty_file__is_committed),
        IN_DIR(incoming__bad_names_and_sizes__are_refused),
        IN_DIR(incoming__symbolic_link_of_that_name__is_replaced_not_followed),
        IN_DIR(store_has__changed_on_disk__is_false),
        IN_DIR(store__damaged_part__bundle_is_not_listed_and_does_not_load),
        IN_DIR(store_bundles__bad_manifests__are_passed_over),
        IN_DIR(store_open__temporary_files__only_those_of_nobody_go),
        IN_DIR(store_open__killed_while_writing__next_start_cleans_up),
        IN_DIR(store_open__no_folder_possible__is_an_error),
        IN_DIR(incoming__disk_full__is_one_clear_error_and_leaves_nothing),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
