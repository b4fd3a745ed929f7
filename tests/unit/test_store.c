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

/* Removes what is in a folder. */
static void
empty(const char *path)
{
    struct dirent *entry;
    DIR *d = opendir(path);

    assert_non_null(d);
    while ((entry = readdir(d)) != NULL) {
        char at[KERF_PATH_MAX];

        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
            continue;
        assert_int_equal(kerf_path_join(at, path, entry->d_name), KERF_OK);
        if (unlink(at) != 0) {
            empty(at);
            assert_int_equal(rmdir(at), 0);
        }
    }
    (void)closedir(d);
}

/* Files in this folder of the store, hidden ones too, but no folders. */
static size_t
count_files(const char *name)
{
    struct dirent *entry;
    char path[KERF_PATH_MAX];
    size_t count = 0;
    DIR *d;

    path_of(path, name);
    d = opendir(path);
    assert_non_null(d);
    while ((entry = readdir(d)) != NULL)
        count += entry->d_type != DT_DIR;
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
    empty(dir);
    return rmdir(dir);
}

/* "parts/HEX" of the file. */
static const char *
part_of(const kerf_file *file)
{
    static char name[KERF_SHA256_HEX + 8];

    (void)snprintf(name, sizeof name, "parts/");
    kerf_hex(name + strlen(name), file->sha256, KERF_SHA256_LEN);
    return name;
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
    if (kerf_incoming_got(in) == 0)
        assert_int_equal(
            kerf_incoming_write_at(in, 0, text, strlen(text), NULL), KERF_OK);
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
    assert_int_equal(count_files("parts"), 3);
    assert_int_equal(count_files("bundles"), 1);
    assert_int_equal(count_files("."), 3); /* links */
    kerf_pair_fini(&pair);
}

static kerf_incoming *
open_in(kerf_store *store, const kerf_file *file)
{
    kerf_incoming *in = NULL;

    assert_int_equal(kerf_incoming_open(&in, store, file, NULL), KERF_OK);
    return in;
}

static void
write_at(kerf_incoming *in, uint64_t offset, const char *text, size_t len)
{
    assert_int_equal(kerf_incoming_write_at(in, offset, text, len, NULL),
                     KERF_OK);
}

static void
assert_missing(const kerf_incoming *in, uint64_t from, uint64_t offset,
               uint64_t len)
{
    uint64_t is_offset = 0;
    uint64_t is_len = 0;

    kerf_incoming_missing(in, from, &is_offset, &is_len);
    assert_int_equal(is_len, len);
    if (len > 0)
        assert_int_equal(is_offset, offset);
}

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

/* Four units of "abcdefgh": two bytes each. */
static kerf_file
in_units(const char *name, const char *text)
{
    kerf_file f = file_of(KERF_ROLE_HEAD_WEIGHTS, name, text, strlen(text));

    f.unit_count = strlen(text) / 2;
    f.unit = calloc(f.unit_count, sizeof *f.unit);
    assert_non_null(f.unit);
    for (size_t i = 0; i < f.unit_count; i++) {
        f.unit[i].len = 2;
        memcpy(f.unit[i].sha256,
               file_of(KERF_ROLE_CARD, "x", text + 2 * i, 2).sha256,
               KERF_SHA256_LEN);
    }
    return f;
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

/* A bundle with these head weights, in units. */
static kerf_manifest
bring_weights(kerf_store *store, const char *text)
{
    kerf_manifest m = make_manifest();
    kerf_incoming *in;
    uint64_t offset, len;

    m.file[2] = in_units("client_infer_m.pdiparams", text);
    assert_int_equal(kerf_manifest_seal(&m), KERF_OK);
    for (int i = 0; i < 2; i++)
        bring(store, &m.file[i], contents[i]);
    in = open_in(store, &m.file[2]);
    for (;;) {
        kerf_incoming_missing(in, 0, &offset, &len);
        if (len == 0)
            break;
        write_at(in, offset, text + offset, (size_t)len);
    }
    assert_int_equal(kerf_incoming_commit(in, NULL), KERF_OK);
    assert_int_equal(kerf_store_finish(store, &m, NULL), KERF_OK);
    return m;
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

enum obstacle { LINK, DANGLING, FIFO, FOLDER, FULL_FOLDER, HARD_LINK };

static void
put_obstacle(enum obstacle what, const char *name)
{
    char outside[KERF_PATH_MAX];
    char path[KERF_PATH_MAX];

    path_of(path, name);
    path_of(outside, "outside");
    (void)unlink(path);
    write_raw("outside", "abcdef");
    if (what == LINK)
        assert_int_equal(symlink(outside, path), 0);
    else if (what == DANGLING)
        assert_int_equal(symlink("/nowhere/at/all", path), 0);
    else if (what == FIFO)
        assert_int_equal(mkfifo(path, 0644), 0);
    else if (what == HARD_LINK)
        assert_int_equal(link(outside, path), 0);
    else
        assert_int_equal(mkdir(path, 0755), 0);
    if (what == FULL_FOLDER) {
        char in[KERF_PATH_MAX];

        assert_int_equal(kerf_path_join(in, path, "precious"), KERF_OK);
        assert_int_equal(kerf_fs_write(in, "x", 1, NULL), KERF_OK);
    }
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
                     KERF_ECORRUPT);
    assert_non_null(strstr(why.text, "client_infer_m.pdiparams"));
    write_raw(part_of(&m.file[2]), "much longer than it should be");
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

/* The n-th of some bundles, of 100 bytes of weights. */
static kerf_manifest
nth(int n, char text[101])
{
    kerf_manifest m = make_manifest();

    for (int i = 0; i < 100; i++)
        text[i] = (char)('a' + n);
    text[100] = '\0';
    m.file[2] =
        file_of(KERF_ROLE_HEAD_WEIGHTS, m.file[2].name, text, strlen(text));
    assert_int_equal(kerf_manifest_seal(&m), KERF_OK);
    return m;
}

static kerf_err
bring_nth(kerf_store *store, int n, kerf_manifest *m, kerf_detail *why)
{
    char text[101];
    kerf_err err;

    *m = nth(n, text);
    err = kerf_store_begin(store, m, false, why);
    if (err != KERF_OK)
        return err;
    for (int i = 0; i < 3; i++) {
        if (!kerf_store_has(store, &m->file[i]))
            bring(store, &m->file[i], i == 2 ? text : contents[i]);
    }
    return kerf_store_finish(store, m, why);
}

static size_t
count_bundles(kerf_store *store)
{
    uint8_t id[64][KERF_BUNDLE_ID_LEN];

    return kerf_store_bundles(store, id, 64);
}

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
    kerf_store_bound(*state, 3 * one);
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

    assert_int_equal(bring_nth(*state, 0, &m[0], NULL), KERF_OK);
    kerf_store_use(*state, m[0].id);
    kerf_store_run(*state, m[0].id);
    assert_int_equal(kerf_store_open(&other, dir, NULL), KERF_OK);
    kerf_store_bound(other, 200);
    assert_int_equal(bring_nth(other, 1, &m[1], &why), KERF_ENOSPC);
    assert_non_null(strstr(why.text, "--store-max"));
    assert_null(strchr(why.text, '\n'));
    assert_int_equal(count_bundles(other), 1);
    kerf_store_close(other);
}

static void
store_collect__keeps_what_is_held(void **state)
{
    kerf_manifest m[3];
    kerf_store *look = NULL;
    uint64_t freed = 0;
    size_t gone = 0;

    for (int i = 0; i < 3; i++)
        assert_int_equal(bring_nth(*state, i, &m[i], NULL), KERF_OK);
    kerf_store_use(*state, m[2].id);
    assert_int_equal(kerf_store_look(&look, dir, NULL), KERF_OK);
    assert_int_equal(kerf_store_collect(look, 0, &freed, &gone, NULL), KERF_OK);
    assert_int_equal(gone, 0);
    assert_int_equal(kerf_store_collect(look, 1, &freed, &gone, NULL),
                     KERF_ENOSPC);
    assert_int_equal(gone, 2);
    assert_int_equal(count_bundles(look), 1);
    assert_true(kerf_store_has(look, &m[2].file[2]));
    assert_int_equal(count_files("parts"), 3);
    kerf_store_run(*state, m[2].id); /* it stays held when it runs */
    assert_int_equal(kerf_store_collect(look, 1, &freed, &gone, NULL),
                     KERF_ENOSPC);
    assert_int_equal(gone, 0);
    kerf_store_close(*state);
    *state = NULL;
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

/* So long that it is hashed behind; written in pieces, with a pause for a crash
 * in the middle. */
static void
write_large(kerf_store *store, const kerf_file *f, const char *data,
            kerf_err err)
{
    const size_t step = 300000;
    kerf_incoming *in = open_in(store, f);

    for (size_t at = 0; at < f->size; at += step) {
        size_t len = f->size - at < step ? (size_t)f->size - at : step;

        if (at / step == 10) {
            kerf_incoming_abort(in);
            in = open_in(store, f);
            for (size_t i = 0; i < at; i += step) /* no units: all again */
                write_at(in, i, data + i, step);
        }
        write_at(in, at, data + at, len);
    }
    assert_int_equal(kerf_incoming_commit(in, NULL), err);
}

static void
incoming__large__is_hashed_behind(void **state)
{
    const size_t len = (9 << 20) + 17;
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

#define IN_DIR(test) cmocka_unit_test_setup_teardown(test, make_dir, remove_dir)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        IN_DIR(store__all_parts_come__bundle_is_listed_and_loads),
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
        IN_DIR(
            incoming__damaged_file_of_the_store__none_of_its_damage_is_taken),
        IN_DIR(incoming__two_of_the_same_file__do_not_meet),
        IN_DIR(plain__accepted__is_a_file_of_its_name),
        IN_DIR(incoming__no_file_in_a_files_place__is_put_aside),
        IN_DIR(store_has__changed_on_disk__is_false),
        IN_DIR(store__damaged_part__bundle_is_not_listed_and_does_not_load),
        IN_DIR(store_bundles__bad_manifests__are_passed_over),
        IN_DIR(store__bound__least_lately_used_go),
        IN_DIR(store__bound__what_runs_stays_and_it_is_said),
        IN_DIR(store_collect__keeps_what_is_held),
        IN_DIR(store_collect__what_comes_in_stays),
        IN_DIR(store_finish__versions_that_were_given_up__go),
        IN_DIR(store_verify__a_flipped_bit__is_told_and_mended_by_its_unit),
        IN_DIR(store_verify__odd_files__are_told),
        IN_DIR(store_open__temporary_files__only_those_of_nobody_go),
        IN_DIR(incoming__killed_while_writing__goes_on_at_the_next_start),
        IN_DIR(store_open__store_of_an_older_kerf__is_taken_over),
        IN_DIR(
            store_open__damaged_store_of_an_older_kerf__what_is_right_is_kept),
        IN_DIR(store_open__no_folder_possible__is_an_error),
        IN_DIR(incoming__large__is_hashed_behind),
        IN_DIR(incoming__disk_full__is_one_clear_error_and_leaves_nothing),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
