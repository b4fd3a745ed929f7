/* A store in a folder of its own, for each test, and files that come in. */
#ifndef KERF_TESTS_STORE_FOLDER_H
#define KERF_TESTS_STORE_FOLDER_H

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "model/store.h"

#define IN_DIR(test) cmocka_unit_test_setup_teardown(test, make_dir, remove_dir)

static char dir[64];

static inline void
path_of(char out[KERF_PATH_MAX], const char *name)
{
    assert_int_equal(kerf_path_join(out, dir, name), KERF_OK);
}

/* Removes what is in a folder. */
static inline void
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
static inline size_t
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

static inline int
make_dir(void **state)
{
    (void)snprintf(dir, sizeof dir, "/tmp/kerf-store-XXXXXX");
    if (mkdtemp(dir) == NULL)
        return -1;
    return kerf_store_open((kerf_store **)state, dir, NULL) == KERF_OK ? 0 : -1;
}

static inline int
remove_dir(void **state)
{
    kerf_store_close(*state);
    empty(dir);
    return rmdir(dir);
}

/* "parts/HEX" of the file. */
static inline const char *
part_of(const kerf_file *file)
{
    static char name[KERF_SHA256_HEX + 8];

    (void)snprintf(name, sizeof name, "parts/");
    kerf_hex(name + strlen(name), file->sha256, KERF_SHA256_LEN);
    return name;
}

static inline void
write_raw(const char *name, const char *text)
{
    char path[KERF_PATH_MAX];

    path_of(path, name);
    assert_int_equal(kerf_fs_write(path, text, strlen(text), NULL), KERF_OK);
}

static inline bool
is_there(const char *name)
{
    char path[KERF_PATH_MAX];
    struct stat st;

    path_of(path, name);
    return lstat(path, &st) == 0;
}

static inline kerf_file
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

static inline kerf_manifest
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

static inline void
bring(kerf_store *store, const kerf_file *file, const char *text)
{
    kerf_incoming *in = NULL;

    assert_int_equal(kerf_incoming_open(&in, store, file, NULL), KERF_OK);
    if (kerf_incoming_got(in) == 0)
        assert_int_equal(
            kerf_incoming_write_at(in, 0, text, strlen(text), NULL), KERF_OK);
    assert_int_equal(kerf_incoming_commit(in, NULL), KERF_OK);
}

static inline void
bring_all(kerf_store *store, const kerf_manifest *m)
{
    for (size_t i = 0; i < m->file_count; i++) {
        if (kerf_role_is_shipped(m->file[i].role, false))
            bring(store, &m->file[i], contents[m->file[i].role]);
    }
    assert_int_equal(kerf_store_finish(store, m, NULL), KERF_OK);
}

static inline kerf_incoming *
open_in(kerf_store *store, const kerf_file *file)
{
    kerf_incoming *in = NULL;

    assert_int_equal(kerf_incoming_open(&in, store, file, NULL), KERF_OK);
    return in;
}

static inline void
write_at(kerf_incoming *in, uint64_t offset, const char *text, size_t len)
{
    assert_int_equal(kerf_incoming_write_at(in, offset, text, len, NULL),
                     KERF_OK);
}

static inline void
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

/* Four units of "abcdefgh": two bytes each. */
static inline kerf_file
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

/* A bundle with these head weights, in units. */
static inline kerf_manifest
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

/* The n-th of some bundles, of 100 bytes of weights. */
static inline kerf_manifest
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

static inline kerf_err
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

static inline size_t
count_bundles(kerf_store *store)
{
    uint8_t id[64][KERF_BUNDLE_ID_LEN];

    return kerf_store_bundles(store, id, 64);
}

enum obstacle { LINK, DANGLING, FIFO, FOLDER, FULL_FOLDER, HARD_LINK };

static inline void
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

#endif
