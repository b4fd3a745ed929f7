#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>

#include "store_folder.h"

static void
incoming__before_commit__no_part_is_there(void **state)
{
    kerf_file f = file_of(KERF_ROLE_HEAD_GRAPH, "x.onnx", "abcdef", 6);
    kerf_incoming *in = open_in(*state, &f);

    for (size_t i = 0; i < 6; i++) { /* byte by byte */
        assert_int_equal(kerf_incoming_got(in), i);
        assert_missing(in, 0, i, 6 - i);
        write_at(in, i, "abcdef" + i, 1);
        assert_false(is_there(part_of(&f)));
    }
    assert_missing(in, 0, 0, 0);
    assert_false(kerf_store_has(*state, &f));
    assert_int_equal(kerf_incoming_commit(in, NULL), KERF_OK);
    assert_true(kerf_store_has(*state, &f));
    assert_int_equal(count_files("parts"), 1);
    assert_int_equal(count_files("partial"), 0);
}

static void
incoming__aborted_without_a_byte__leaves_nothing(void **state)
{
    kerf_file f = file_of(KERF_ROLE_HEAD_GRAPH, "x.onnx", "abcdef", 6);

    kerf_incoming_abort(open_in(*state, &f));
    kerf_incoming_abort(NULL);
    assert_int_equal(count_files("partial"), 0);
}

static void
incoming__without_units__is_all_or_nothing(void **state)
{
    kerf_file f = file_of(KERF_ROLE_HEAD_GRAPH, "x.onnx", "abcdef", 6);
    kerf_incoming *in = open_in(*state, &f);

    write_at(in, 0, "abc", 3);
    kerf_incoming_abort(in);
    in = open_in(*state, &f);
    assert_missing(in, 0, 0, 6);
    write_at(in, 0, "abcdef", 6);
    kerf_incoming_abort(in);
    in = open_in(*state, &f);
    assert_missing(in, 0, 0, 0);
    assert_int_equal(kerf_incoming_count(in).resumed, 6);
    assert_int_equal(kerf_incoming_commit(in, NULL), KERF_OK);
    assert_true(kerf_store_has(*state, &f));
}

static void
incoming__other_bytes_than_the_next__are_refused(void **state)
{
    kerf_file f = file_of(KERF_ROLE_HEAD_GRAPH, "x.onnx", "abcdef", 6);
    kerf_incoming *in = open_in(*state, &f);
    kerf_detail why;

    assert_int_equal(kerf_incoming_write_at(in, 1, "b", 1, &why), KERF_EPROTO);
    assert_non_null(strstr(why.text, "x.onnx"));
    write_at(in, 0, "ab", 2);
    assert_int_equal(kerf_incoming_write_at(in, 1, "b", 1, NULL), KERF_EPROTO);
    assert_int_equal(kerf_incoming_write_at(in, UINT64_MAX, "b", 1, NULL),
                     KERF_EPROTO);
    assert_int_equal(kerf_incoming_write_at(in, 2, "cdefg", 5, &why),
                     KERF_ETOOBIG);
    assert_int_equal(kerf_incoming_got(in), 2);
    kerf_incoming_abort(in);
}

static void
incoming__wrong_bytes__are_corrupt_and_the_old_file_stays(void **state)
{
    kerf_file f = file_of(KERF_ROLE_HEAD_GRAPH, "x.onnx", "abcdef", 6);
    kerf_incoming *in;
    kerf_detail why;

    in = open_in(*state, &f);
    write_at(in, 0, "abcdeX", 6);
    assert_int_equal(kerf_incoming_commit(in, &why), KERF_ECORRUPT);
    assert_non_null(strstr(why.text, "x.onnx"));
    in = open_in(*state, &f);
    write_at(in, 0, "abcde", 5);
    assert_int_equal(kerf_incoming_commit(in, &why), KERF_ECORRUPT); /* short */
    bring(*state, &f, "abcdef");
    assert_true(kerf_store_has(*state, &f));
    assert_int_equal(count_files("partial"), 0);
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
        assert_int_equal(kerf_incoming_open_plain(&in, *state, &f, NULL),
                         KERF_EINVAL);
    }
    f = file_of(KERF_ROLE_CARD, "x", "", 0);
    f.size = (uint64_t)1 << 63;
    assert_int_equal(kerf_incoming_open(&in, *state, &f, NULL), KERF_EINVAL);
    assert_int_equal(count_files("."), 0);
    assert_int_equal(count_files("partial"), 0);
}

static void
incoming__aborted__goes_on_where_its_units_end(void **state)
{
    kerf_file f = in_units("x.onnx", "abcdefgh");
    kerf_incoming *in = open_in(*state, &f);
    uint8_t back[4];

    write_at(in, 0, "abcde", 5);
    kerf_incoming_abort(in);
    in = open_in(*state, &f);
    assert_int_equal(kerf_incoming_count(in).resumed, 4);
    assert_missing(in, 0, 4, 4);
    assert_missing(in, 7, 7, 1);
    assert_true(kerf_incoming_recall(in, 0, back, 4));
    assert_memory_equal(back, "abcd", 4);
    assert_false(kerf_incoming_recall(in, 1, back, 4));
    write_at(in, 4, "efgh", 4);
    assert_int_equal(kerf_incoming_count(in).received, 4);
    assert_int_equal(kerf_incoming_commit(in, NULL), KERF_OK);
    assert_true(kerf_store_has(*state, &f));
    free(f.unit);
}

static void
incoming__damage_of_one_unit__only_that_comes_again(void **state)
{
    kerf_file f = in_units("x.onnx", "abcdefgh");
    kerf_incoming *in = open_in(*state, &f);

    write_at(in, 0, "abXdefgh", 8);
    assert_int_equal(kerf_incoming_commit(in, NULL), KERF_ECORRUPT);
    in = open_in(*state, &f);
    assert_missing(in, 0, 2, 2);
    write_at(in, 2, "cd", 2);
    assert_missing(in, 0, 0, 0);
    assert_int_equal(kerf_incoming_commit(in, NULL), KERF_OK);
    write_raw(part_of(&f), "abcdXfgh"); /* and the same when it was whole */
    assert_false(kerf_store_has(*state, &f));
    in = open_in(*state, &f);
    assert_int_equal(kerf_incoming_count(in).reused, 6);
    assert_missing(in, 0, 4, 2);
    write_at(in, 4, "ef", 2);
    assert_int_equal(kerf_incoming_commit(in, NULL), KERF_OK);
    assert_true(kerf_store_has(*state, &f));
    free(f.unit);
}

static void
incoming__units_that_lie__are_not_kept(void **state)
{
    kerf_file f = in_units("x.onnx", "abcdefgh");
    kerf_incoming *in;

    memset(f.sha256, 7, sizeof f.sha256);
    in = open_in(*state, &f);
    write_at(in, 0, "abcdefgh", 8);
    assert_int_equal(kerf_incoming_commit(in, NULL), KERF_ECORRUPT);
    assert_int_equal(count_files("partial"), 0);
    f.unit[0].len = 3; /* nor taken when they are not of the file */
    assert_int_equal(kerf_incoming_open(&in, *state, &f, NULL), KERF_EINVAL);
    free(f.unit);
}

static void
incoming__units_of_other_files__are_taken_from_them(void **state)
{
    kerf_manifest m = bring_weights(*state, "aabbccdd");
    kerf_file f = in_units("client_infer_n.pdiparams", "ccxxaadd");
    kerf_incoming *in = open_in(*state, &f);

    assert_int_equal(kerf_incoming_count(in).reused, 6);
    assert_missing(in, 0, 2, 2);
    assert_int_equal(kerf_incoming_write_at(in, 2, "xxa", 3, NULL),
                     KERF_EPROTO); /* past what is missing */
    write_at(in, 2, "xx", 2);
    assert_int_equal(kerf_incoming_commit(in, NULL), KERF_OK);
    assert_true(kerf_store_has(*state, &f));
    free(f.unit);
    kerf_manifest_fini(&m);
}

static off_t
first_data(const char *name)
{
    char path[KERF_PATH_MAX];
    off_t data;
    int fd;

    path_of(path, name);
    fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    if (strcmp(name, "holes") == 0 && fallocate(fd, 0, 0, 8) != 0)
        skip();
    data = lseek(fd, 0, SEEK_DATA);
    (void)close(fd);
    return data;
}

/* Its manifest is there first, and tells of its units: of these there is none
 * yet. They were copied onto themselves once, 180 MB of them. */
static void
incoming__has_just_begun__is_not_its_own_source(void **state)
{
    kerf_manifest m = make_manifest();
    kerf_incoming *in;
    char name[KERF_SHA256_HEX + 16] = "partial/";

    m.file[2] = in_units("client_infer_m.pdiparams", "abcdefgh");
    assert_int_equal(kerf_manifest_seal(&m), KERF_OK);
    kerf_hex(name + strlen(name), m.file[2].sha256, KERF_SHA256_LEN);
    assert_int_equal(kerf_store_begin(*state, &m, false, NULL), KERF_OK);
    in = open_in(*state, &m.file[2]);
    assert_missing(in, 0, 0, 8);
    if (first_data("holes") >= 0)
        skip(); /* a file system that does not know what was written */
    assert_true(first_data(name) < 0);
    kerf_incoming_abort(in);
    kerf_manifest_fini(&m);
}

static void
incoming__damaged_file_of_the_store__none_of_its_damage_is_taken(void **state)
{
    kerf_manifest m = bring_weights(*state, "aabbccdd");
    kerf_file f = in_units("client_infer_n.pdiparams", "ddccbbaa");
    kerf_incoming *in;

    write_raw(part_of(&m.file[2]), "aaXbcc"); /* and cut short */
    in = open_in(*state, &f);
    assert_int_equal(kerf_incoming_count(in).reused, 4);
    assert_missing(in, 0, 0, 2);
    assert_missing(in, 2, 4, 2);
    kerf_incoming_abort(in);
    free(f.unit);
    kerf_manifest_fini(&m);
}

static void
incoming__two_of_the_same_file__do_not_meet(void **state)
{
    kerf_file f = in_units("x.onnx", "abcdefgh");
    kerf_incoming *one = open_in(*state, &f);
    kerf_incoming *two = open_in(*state, &f);

    write_at(one, 0, "abcd", 4);
    write_at(two, 0, "abcdefgh", 8);
    assert_int_equal(kerf_incoming_commit(two, NULL), KERF_OK);
    write_at(one, 4, "efgh", 4);
    assert_int_equal(kerf_incoming_commit(one, NULL), KERF_OK);
    assert_true(kerf_store_has(*state, &f));
    assert_int_equal(count_files("partial"), 0);
    free(f.unit);
}

static void
plain__accepted__is_a_file_of_its_name(void **state)
{
    kerf_file f = file_of(KERF_ROLE_HEAD_GRAPH, "x.onnx", "abcdef", 6);
    uint8_t sum[KERF_SHA256_LEN] = {0};
    kerf_incoming *in = NULL;

    assert_int_equal(kerf_incoming_open_plain(&in, *state, &f, NULL), KERF_OK);
    write_at(in, 0, "abc", 3);
    assert_false(is_there("x.onnx"));
    write_at(in, 3, "def", 3);
    assert_int_equal(kerf_incoming_accept(in, sum, NULL), KERF_OK);
    assert_memory_equal(sum, f.sha256, sizeof sum);
    assert_true(is_there("x.onnx"));
    assert_int_equal(kerf_incoming_open_plain(&in, *state, &f, NULL), KERF_OK);
    write_at(in, 0, "abc", 3);
    kerf_incoming_abort(in);
    assert_int_equal(count_files("."), 1);
}

/* Nothing blocks, nothing outside is written to, and it comes all the same. */
static void
incoming__no_file_in_a_files_place__is_put_aside(void **state)
{
    kerf_file f = file_of(KERF_ROLE_HEAD_GRAPH, "x.onnx", "abcdef", 6);
    char name[KERF_SHA256_HEX + 8];
    char path[KERF_PATH_MAX];
    struct stat st;

    for (int what = LINK; what <= HARD_LINK; what++) {
        (void)snprintf(name, sizeof name, "%s", part_of(&f));
        put_obstacle((enum obstacle)what, name);
        assert_int_equal(kerf_store_has(*state, &f), what == HARD_LINK);
        (void)snprintf(name, sizeof name, "partial/%s", part_of(&f) + 6);
        put_obstacle((enum obstacle)what, name);
        bring(*state, &f, "abcdef");
        path_of(path, part_of(&f));
        assert_int_equal(lstat(path, &st), 0);
        assert_true(S_ISREG(st.st_mode));
        assert_true(kerf_store_has(*state, &f));
        path_of(path, "outside");
        assert_int_equal(stat(path, &st), 0);
        assert_int_equal(st.st_nlink, 1);
        assert_int_equal(st.st_size, 6);
    }
    (void)snprintf(name, sizeof name, "aside/%s.0/precious", part_of(&f) + 6);
    assert_true(is_there(name));
}

static void
incoming__killed_while_writing__goes_on_at_the_next_start(void **state)
{
    kerf_file f = in_units("x.onnx", "abcdefgh");
    kerf_store *again = NULL;
    kerf_incoming *in;
    int status = 0;
    pid_t pid = fork();

    if (pid == 0) {
        in = NULL;
        if (kerf_incoming_open(&in, *state, &f, NULL) != KERF_OK ||
            kerf_incoming_write_at(in, 0, "abcde", 5, NULL) != KERF_OK)
            _exit(1);
        (void)raise(SIGKILL);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFSIGNALED(status));
    assert_int_equal(kerf_store_open(&again, dir, NULL), KERF_OK);
    in = open_in(again, &f);
    assert_int_equal(kerf_incoming_count(in).resumed, 4);
    kerf_incoming_abort(in);
    kerf_store_close(again);
    free(f.unit);
}

static void
incoming__hashed_from_memory__is_not_read_again(void **state)
{
    kerf_file f = file_of(KERF_ROLE_HEAD_GRAPH, "x.onnx", "abcdef", 6);
    kerf_incoming *in = open_in(*state, &f);

    kerf_incoming_hash(in, 0, "Xbcdef", 6); /* not written yet: not counted */
    write_at(in, 0, "abcdef", 6);
    kerf_incoming_hash(in, 2, "cdef", 4); /* reads the first two */
    kerf_incoming_hash(in, 2, "XXXX", 4); /* they have been */
    assert_int_equal(kerf_incoming_commit(in, NULL), KERF_OK);
    assert_true(kerf_store_has(*state, &f));

    f = file_of(KERF_ROLE_HEAD_GRAPH, "y.onnx", "ABCDEF", 6);
    in = open_in(*state, &f);
    write_at(in, 0, "ABCDEF", 6);
    kerf_incoming_hash(in, 0, "ABCDEX", 6);
    assert_int_equal(kerf_incoming_commit(in, NULL), KERF_ECORRUPT);
}

/* Written in pieces and hashed on its way, some of it from memory, with a pause
 * for a crash when so much has come that it is not read again at once. */
static void
write_large(kerf_store *store, const kerf_file *f, const char *data,
            kerf_err err)
{
    const size_t step = 300000;
    kerf_incoming *in = open_in(store, f);

    for (size_t at = 0; at < f->size; at += step) {
        size_t len = f->size - at < step ? (size_t)f->size - at : step;

        if (at / step == 60) {
            kerf_incoming_abort(in);
            in = open_in(store, f);
            for (size_t i = 0; i < at; i += step) /* no units: all again */
                write_at(in, i, data + i, step);
        }
        write_at(in, at, data + at, len);
        kerf_incoming_hash(in, at, at / step % 3 == 0 ? NULL : data + at, len);
    }
    assert_int_equal(kerf_incoming_commit(in, NULL), err);
}

static void
incoming__large__is_hashed_on_its_way(void **state)
{
    const size_t len = (20 << 20) + 17;
    char *data = malloc(len);
    kerf_file f;

    assert_non_null(data);
    for (size_t i = 0; i < len; i++)
        data[i] = (char)(i * 2654435761u >> 13);
    f = file_of(KERF_ROLE_HEAD_GRAPH, "x.onnx", data, len);
    data[len / 2] ^= 1;
    write_large(*state, &f, data, KERF_ECORRUPT);
    assert_false(is_there(part_of(&f)));
    data[len / 2] ^= 1;
    write_large(*state, &f, data, KERF_OK);
    assert_true(is_there(part_of(&f)));
    free(data);
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
        if (kerf_incoming_write_at(in, 0, data, sizeof data, &why) !=
            KERF_ENOSPC)
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
    assert_int_equal(count_files("parts"), 0);
    assert_int_equal(count_files("bundles"), 0);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        IN_DIR(incoming__before_commit__no_part_is_there),
        IN_DIR(incoming__aborted_without_a_byte__leaves_nothing),
        IN_DIR(incoming__without_units__is_all_or_nothing),
        IN_DIR(incoming__other_bytes_than_the_next__are_refused),
        IN_DIR(incoming__wrong_bytes__are_corrupt_and_the_old_file_stays),
        IN_DIR(incoming__empty_file__is_committed),
        IN_DIR(incoming__bad_names_and_sizes__are_refused),
        IN_DIR(incoming__aborted__goes_on_where_its_units_end),
        IN_DIR(incoming__damage_of_one_unit__only_that_comes_again),
        IN_DIR(incoming__units_that_lie__are_not_kept),
        IN_DIR(incoming__units_of_other_files__are_taken_from_them),
        IN_DIR(incoming__has_just_begun__is_not_its_own_source),
        IN_DIR(
            incoming__damaged_file_of_the_store__none_of_its_damage_is_taken),
        IN_DIR(incoming__two_of_the_same_file__do_not_meet),
        IN_DIR(plain__accepted__is_a_file_of_its_name),
        IN_DIR(incoming__no_file_in_a_files_place__is_put_aside),
        IN_DIR(incoming__killed_while_writing__goes_on_at_the_next_start),
        IN_DIR(incoming__hashed_from_memory__is_not_read_again),
        IN_DIR(incoming__large__is_hashed_on_its_way),
        IN_DIR(incoming__disk_full__is_one_clear_error_and_leaves_nothing),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
