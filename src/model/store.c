#include "model/store_own.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/text.h"

static kerf_err
open_dir(kerf_store *store, kerf_store_dir dir, kerf_detail *why)
{
    const char *name = kerf_store_dir_name(dir);
    int root = store->dir[KERF_STORE_ROOT];

    if (mkdirat(root, name, 0755) != 0 && errno != EEXIST)
        return kerf_store_fail(store, name, errno, why);
    store->dir[dir] =
        openat(root, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (store->dir[dir] >= 0)
        return KERF_OK;
    if (errno == ELOOP || errno == ENOTDIR)
        return kerf_fail(why, KERF_EIO,
                         "%s/%s: not a folder: remove it, Kerf makes its own",
                         store->path, name);
    return kerf_store_fail(store, name, errno, why);
}

static kerf_err
open_root(kerf_store *store, kerf_detail *why)
{
    int root = open(store->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    if (root < 0)
        return kerf_fail(why, KERF_EIO, "%s: %s", store->path, strerror(errno));
    store->dir[KERF_STORE_ROOT] = root;
    if (faccessat(root, ".", W_OK | X_OK, 0) != 0)
        return kerf_fail(why, KERF_EIO, "%s: cannot write here: %s",
                         store->path, strerror(errno));
    return KERF_OK;
}

static kerf_err
new_store(kerf_store **out, const char *dir, kerf_detail *why)
{
    kerf_store *store = calloc(1, sizeof *store);

    if (store == NULL)
        return kerf_fail(why, KERF_ENOMEM, "%s: no memory", dir);
    for (int i = 0; i < KERF_STORE_DIRS; i++)
        store->dir[i] = -1;
    (void)snprintf(store->path, sizeof store->path, "%s", dir);
    *out = store;
    return KERF_OK;
}

kerf_err
kerf_store_open_plain(kerf_store **out, const char *dir, kerf_detail *why)
{
    kerf_store *store = NULL;
    kerf_err err = kerf_fs_mkdirs(dir, why);

    if (err == KERF_OK)
        err = new_store(&store, dir, why);
    if (err == KERF_OK)
        err = open_root(store, why);
    if (err != KERF_OK) {
        kerf_store_close(store);
        return err;
    }
    kerf_store_clean(store, KERF_STORE_ROOT);
    *out = store;
    return KERF_OK;
}

kerf_err
kerf_store_look(kerf_store **out, const char *dir, kerf_detail *why)
{
    kerf_store *store = NULL;
    kerf_err err = new_store(&store, dir, why);

    for (int i = KERF_STORE_ROOT; err == KERF_OK && i < KERF_STORE_DIRS; i++) {
        int at = i == KERF_STORE_ROOT ? AT_FDCWD : store->dir[KERF_STORE_ROOT];
        const char *name =
            i == KERF_STORE_ROOT ? dir : kerf_store_dir_name((kerf_store_dir)i);

        store->dir[i] = openat(at, name,
                               O_RDONLY | O_DIRECTORY | O_CLOEXEC |
                                   (i == KERF_STORE_ROOT ? 0 : O_NOFOLLOW));
        if (store->dir[i] < 0)
            err =
                kerf_fail(why, KERF_ENOENT, "%s is no store of models: %s: %s",
                          dir, name, strerror(errno));
    }
    if (err != KERF_OK) {
        kerf_store_close(store);
        return err;
    }
    *out = store;
    return KERF_OK;
}

kerf_err
kerf_store_open(kerf_store **out, const char *dir, kerf_detail *why)
{
    kerf_store *store = NULL;
    kerf_err err = kerf_store_open_plain(&store, dir, why);

    for (int i = KERF_STORE_PARTS; err == KERF_OK && i < KERF_STORE_DIRS; i++)
        err = open_dir(store, (kerf_store_dir)i, why);
    if (err != KERF_OK) {
        kerf_store_close(store);
        return err;
    }
    for (int i = KERF_STORE_PARTS; i < KERF_STORE_DIRS; i++)
        kerf_store_clean(store, (kerf_store_dir)i);
    kerf_store_take_over(store);
    *out = store;
    return KERF_OK;
}

void
kerf_store_close(kerf_store *store)
{
    if (store == NULL)
        return;
    for (int i = 0; i < KERF_STORE_DIRS; i++) {
        if (store->dir[i] >= 0)
            (void)close(store->dir[i]);
    }
    kerf_hold_free(store->coming);
    free(store);
}

void
kerf_store_part_name(char out[KERF_STORE_NAME], const kerf_file *file)
{
    kerf_hex(out, file->sha256, KERF_SHA256_LEN);
}

void
kerf_store_bundle_name(char out[KERF_STORE_NAME],
                       const uint8_t id[KERF_BUNDLE_ID_LEN])
{
    char hex[KERF_SHA256_HEX];

    kerf_hex(hex, id, KERF_BUNDLE_ID_LEN);
    (void)snprintf(out, KERF_STORE_NAME, "%s%s", hex, KERF_MANIFEST_END);
}

bool
kerf_store_bundle_id(uint8_t id[KERF_BUNDLE_ID_LEN], const char *name)
{
    char hex[KERF_SHA256_HEX];
    const char *more;

    if (!kerf_store_is_hex(name, &more) || strcmp(more, KERF_MANIFEST_END) != 0)
        return false;
    (void)snprintf(hex, sizeof hex, "%s", name);
    return kerf_unhex(id, KERF_BUNDLE_ID_LEN, hex);
}

bool
kerf_store_is(int fd, const kerf_file *file)
{
    kerf_sha256 *hash = NULL;
    uint8_t sum[KERF_SHA256_LEN];
    uint8_t *step = malloc(KERF_STORE_STEP);
    bool same = false;

    if (step != NULL && kerf_sha256_new(&hash) == KERF_OK &&
        kerf_store_hash(hash, fd, 0, file->size, -1, 0, step)) {
        kerf_sha256_end(hash, sum);
        same = memcmp(sum, file->sha256, sizeof sum) == 0;
    }
    kerf_sha256_free(hash);
    free(step);
    return same;
}

bool
kerf_store_has(kerf_store *store, const kerf_file *file)
{
    char name[KERF_STORE_NAME];
    uint64_t size = 0;
    bool has;
    int fd;

    kerf_store_part_name(name, file);
    fd = kerf_store_open_file(store, KERF_STORE_PARTS, name, &size);
    if (fd < 0)
        return false;
    has = size == file->size && kerf_store_is(fd, file);
    (void)close(fd);
    return has;
}

kerf_err
kerf_store_manifest(const kerf_store *store, kerf_store_dir dir,
                    const char *name, kerf_manifest *out)
{
    char expected[KERF_STORE_NAME];
    uint8_t *json = NULL;
    size_t len = 0;
    kerf_manifest m = {0};
    kerf_err err =
        kerf_store_read(store, dir, name, KERF_MANIFEST_MAX, &json, &len, NULL);

    if (err == KERF_OK)
        err = kerf_manifest_parse(&m, json, len, NULL);
    free(json);
    if (err != KERF_OK)
        return err;
    kerf_store_bundle_name(expected, m.id);
    if (strcmp(expected, name) != 0) {
        kerf_manifest_fini(&m);
        return KERF_EMISMATCH;
    }
    *out = m;
    return KERF_OK;
}

kerf_err
kerf_store_find(kerf_store *store, const uint8_t id[KERF_BUNDLE_ID_LEN],
                kerf_manifest *out)
{
    char name[KERF_STORE_NAME];

    kerf_store_bundle_name(name, id);
    return kerf_store_manifest(store, KERF_STORE_BUNDLES, name, out);
}

kerf_err
kerf_store_latest(kerf_store *store, const char *name, kerf_manifest *out)
{
    kerf_survey survey = {0};
    kerf_used used;
    const kerf_found *best = NULL;
    bool best_ran = false;
    kerf_err err = kerf_used_read(&used, store);

    if (err != KERF_OK)
        return err;
    err = kerf_survey_make(&survey, store);
    for (size_t i = 0; err == KERF_OK && i < survey.count; i++) {
        const kerf_found *f = &survey.found[i];
        const kerf_used_one *one = kerf_used_find(&used, f->manifest.id);
        bool ran = one != NULL && one->ran;

        /* They are in order. */
        if (f->dir == KERF_STORE_BUNDLES && (ran || !best_ran) &&
            (name == NULL || strcmp(f->manifest.name, name) == 0)) {
            best = f;
            best_ran = ran;
        }
    }
    if (err == KERF_OK)
        err = best == NULL
                  ? KERF_ENOENT
                  : kerf_store_manifest(store, best->dir, best->name, out);
    kerf_survey_free(&survey);
    kerf_used_free(&used);
    return err;
}

/* Id of the bundle that this manifest lists, if all of it is there. */
static bool
read_bundle(kerf_store *store, const char *name, uint8_t id[KERF_BUNDLE_ID_LEN])
{
    kerf_manifest m = {0};
    bool whole = true;

    if (kerf_store_manifest(store, KERF_STORE_BUNDLES, name, &m) != KERF_OK)
        return false;
    for (size_t i = 0; whole && i < m.file_count; i++)
        whole = !kerf_role_is_shipped(m.file[i].role, false) ||
                kerf_store_has(store, &m.file[i]);
    memcpy(id, m.id, KERF_BUNDLE_ID_LEN);
    kerf_manifest_fini(&m);
    return whole;
}

size_t
kerf_store_bundles(kerf_store *store, uint8_t (*id)[KERF_BUNDLE_ID_LEN],
                   size_t cap)
{
    kerf_names names = {0};
    size_t count = 0;

    if (kerf_fs_list_at(store->dir[KERF_STORE_BUNDLES], KERF_STORE_FILES_MOST,
                        &names) != KERF_OK)
        return 0;
    for (size_t i = 0; i < names.count && count < cap; i++) {
        if (read_bundle(store, names.name[i], id[count]))
            count++;
    }
    kerf_names_free(&names);
    return count;
}

/* For people: it does not matter much if it cannot be made. */
static void
link_part(kerf_store *store, const kerf_file *file)
{
    int root = store->dir[KERF_STORE_ROOT];
    char target[KERF_STORE_NAME + 8] = "parts/";
    char is[sizeof target];
    char temp[KERF_STORE_NAME];
    ssize_t n = readlinkat(root, file->name, is, sizeof is);
    int fd;

    kerf_store_part_name(target + strlen(target), file);
    if (n == (ssize_t)strlen(target) && memcmp(is, target, (size_t)n) == 0)
        return;
    fd = kerf_store_temp(store, KERF_STORE_ROOT, temp); /* a name of our own */
    if (fd < 0)
        return;
    (void)unlinkat(root, temp, 0);
    if (symlinkat(target, root, temp) == 0 &&
        renameat(root, temp, root, file->name) != 0)
        (void)unlinkat(root, temp, 0);
    (void)close(fd);
}

/* It comes in no longer; nor do other versions, which somebody gave up. */
static void
end_coming(kerf_store *store, const kerf_manifest *m)
{
    kerf_survey survey = {0};
    kerf_freed freed = {0};

    kerf_hold_free(store->coming);
    store->coming = NULL;
    if (kerf_survey_make(&survey, store) != KERF_OK)
        survey.count = 0;
    for (size_t i = 0; i < survey.count; i++) {
        const kerf_found *f = &survey.found[i];

        if (f->dir == KERF_STORE_PARTIAL &&
            strcmp(f->manifest.name, m->name) == 0 &&
            (memcmp(f->manifest.id, m->id, sizeof m->id) == 0 ||
             !kerf_store_is_held(store, f->manifest.id)))
            (void)unlinkat(store->dir[f->dir], f->name, 0);
    }
    kerf_survey_free(&survey);
    kerf_store_sweep(store, &freed);
}

static void
link_parts(kerf_store *store, const kerf_manifest *m)
{
    for (size_t i = 0; i < m->file_count; i++) {
        struct stat st;
        char part[KERF_STORE_NAME];

        kerf_store_part_name(part, &m->file[i]);
        if (fstatat(store->dir[KERF_STORE_PARTS], part, &st,
                    AT_SYMLINK_NOFOLLOW) == 0)
            link_part(store, &m->file[i]); /* also a tail that is here */
    }
}

/* Whether this very text stands there. */
static bool
is_written(const kerf_store *store, const char *name, const char *json)
{
    uint8_t *text = NULL;
    size_t len = 0;
    bool same =
        kerf_store_read(store, KERF_STORE_BUNDLES, name, KERF_MANIFEST_MAX,
                        &text, &len, NULL) == KERF_OK &&
        len == strlen(json) && memcmp(text, json, len) == 0;

    free(text);
    return same;
}

/* 0, or an errno. */
static int
write_manifest(kerf_store *store, const kerf_manifest *m, const char *json)
{
    char name[KERF_STORE_NAME];
    bool is_new;
    int code = 0;

    kerf_store_bundle_name(name, m->id);
    is_new = kerf_store_size(store, KERF_STORE_BUNDLES, name) == 0;
    if (is_new || !is_written(store, name, json))
        code = kerf_store_write(store, KERF_STORE_BUNDLES, name, json,
                                strlen(json));
    if (code == 0 && is_new)
        kerf_used_note(store, m->id, false);
    return code;
}

kerf_err
kerf_store_finish(kerf_store *store, const kerf_manifest *m, kerf_detail *why)
{
    char what[KERF_NAME_MAX + 32];
    char *json = NULL;
    kerf_err err = kerf_manifest_format(m, &json);
    int lock = -1;
    int code;

    if (err != KERF_OK)
        return kerf_fail(why, err, "%s: cannot write its manifest: %s", m->name,
                         kerf_err_text(err));
    err = kerf_store_lock(&lock, store, why);
    if (err == KERF_OK) {
        code = write_manifest(store, m, json);
        if (code == 0) {
            link_parts(store, m);
            end_coming(store, m);
        } else {
            (void)snprintf(what, sizeof what, "the manifest of %s", m->name);
            err = kerf_store_fail(store, what, code, why);
        }
    }
    kerf_store_unlock(lock);
    free(json);
    return err;
}

static kerf_err
load_part(kerf_store *store, kerf_pair *pair, const kerf_file *file, bool plain,
          kerf_sha256 *hash, kerf_detail *why)
{
    char hex[KERF_STORE_NAME];
    uint8_t sum[KERF_SHA256_LEN];
    uint8_t *data = NULL;
    size_t len = 0;
    /* It is to be fetched again; which says nothing about the bundle. */
    const kerf_err gone = plain ? KERF_ECORRUPT : KERF_EAGAIN;
    kerf_err err;

    kerf_store_part_name(hex, file);
    err =
        kerf_store_read(store, plain ? KERF_STORE_ROOT : KERF_STORE_PARTS,
                        plain ? file->name : hex, file->size, &data, &len, why);
    kerf_pair_drop(pair, file->role);
    pair->data[file->role] = data; /* frees it, whatever comes */
    pair->len[file->role] = len;
    if (err == KERF_ENOENT)
        return kerf_fail(why, gone, "%s: %s is not there", store->path,
                         file->name);
    if (err == KERF_OK) {
        kerf_sha256_add(hash, data, len);
        kerf_sha256_end(hash, sum);
    }
    if (err == KERF_ETOOBIG ||
        (err == KERF_OK &&
         (len != file->size || memcmp(sum, file->sha256, sizeof sum) != 0))) {
        return kerf_fail(why, gone,
                         "%s/%s: not the bytes of the manifest (SHA-256 "
                         "differs)",
                         store->path, file->name);
    }
    return err;
}

static kerf_err
load_pair(kerf_store *store, const kerf_manifest *m, bool tail, bool plain,
          kerf_pair *pair, kerf_detail *why)
{
    kerf_pair new = {.manifest = *m};
    kerf_sha256 *hash = NULL;
    kerf_err err;

    new.manifest.probe = NULL;
    new.manifest.probe_count = 0;
    for (size_t i = 0; i < KERF_PARTS_MAX; i++) {
        new.manifest.file[i].unit = NULL;
        new.manifest.file[i].unit_count = 0;
    }
    err = kerf_sha256_new(&hash);
    for (size_t i = 0; i < m->file_count && err == KERF_OK; i++) {
        if (kerf_role_is_shipped(m->file[i].role, tail))
            err = load_part(store, &new, &m->file[i], plain, hash, why);
    }
    if (err == KERF_OK)
        err = kerf_pair_card(&new, why);
    if (err == KERF_OK) {
        *pair = new;
        new = (kerf_pair){0};
    }
    kerf_sha256_free(hash);
    kerf_pair_fini(&new);
    return err;
}

kerf_err
kerf_store_load(kerf_store *store, const kerf_manifest *m, bool tail,
                kerf_pair *pair, kerf_detail *why)
{
    return load_pair(store, m, tail, false, pair, why);
}

kerf_err
kerf_store_load_plain(kerf_store *store, const kerf_manifest *m,
                      kerf_pair *pair, kerf_detail *why)
{
    return load_pair(store, m, false, true, pair, why);
}
