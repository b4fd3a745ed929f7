/*
 * For who looks after a store: what is in it, and whether it is right.
 */
#include "model/store_own.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static kerf_stored
describe(const kerf_store *store, const kerf_found *found)
{
    const kerf_manifest *m = &found->manifest;
    kerf_stored s = {.used_s = found->used_ns / 1000000000,
                     .is_coming = found->dir == KERF_STORE_PARTIAL};

    s.is_held = kerf_store_is_held(store, m->id);
    memcpy(s.id, m->id, sizeof s.id);
    (void)snprintf(s.name, sizeof s.name, "%s", m->name);
    for (size_t i = 0; i < m->file_count; i++) {
        char name[KERF_STORE_NAME];
        uint64_t size;

        kerf_store_part_name(name, &m->file[i]);
        size = kerf_store_size(store, KERF_STORE_PARTS, name);
        s.bytes += size;
        if (kerf_role_is_shipped(m->file[i].role, false) &&
            size != m->file[i].size)
            s.missing += m->file[i].size;
    }
    return s;
}

kerf_err
kerf_store_list(kerf_store *store, kerf_stored **out, size_t *count,
                uint64_t *bytes, kerf_detail *why)
{
    kerf_survey survey = {0};
    kerf_stored *list = NULL;
    kerf_err err = kerf_store_measure(store, bytes, why);

    if (err != KERF_OK)
        return err;
    err = kerf_survey_make(&survey, store);
    if (err == KERF_OK) {
        list = calloc(survey.count + 1, sizeof *list);
        err = list == NULL ? KERF_ENOMEM : KERF_OK;
    }
    if (err != KERF_OK) {
        kerf_survey_free(&survey);
        return kerf_fail(why, err, "%s: %s", store->path, kerf_err_text(err));
    }
    for (size_t i = 0; i < survey.count; i++)
        list[survey.count - 1 - i] = describe(store, &survey.found[i]);
    *out = list;
    *count = survey.count;
    kerf_survey_free(&survey);
    return KERF_OK;
}

struct verify {
    kerf_store *store;
    kerf_store_finding tell;
    void *ctx;
    uint64_t *checked;
};

static void
tell(const struct verify *v, kerf_store_dir dir, const char *name,
     const char *why)
{
    char what[KERF_PART_NAME + 16];

    (void)snprintf(what, sizeof what, "%s/%s", kerf_store_dir_name(dir), name);
    v->tell(v->ctx, what, why);
}

/* Still the file that was read, and not one that came meanwhile. */
static bool
is_same(const kerf_store *store, int fd, const char *name)
{
    struct stat st, there;

    return fstat(fd, &st) == 0 &&
           fstatat(store->dir[KERF_STORE_PARTS], name, &there,
                   AT_SYMLINK_NOFOLLOW) == 0 &&
           st.st_dev == there.st_dev && st.st_ino == there.st_ino;
}

/* What is right of it is of use to the one that comes in its place. */
static void
put_back(const struct verify *v, const char *name)
{
    const kerf_store *store = v->store;
    const char *how = "not the bytes of its name: will be fetched again";

    if (renameat2(store->dir[KERF_STORE_PARTS], name,
                  store->dir[KERF_STORE_PARTIAL], name,
                  RENAME_NOREPLACE) != 0 &&
        (errno != EEXIST ||
         unlinkat(store->dir[KERF_STORE_PARTS], name, 0) != 0))
        how = "not the bytes of its name, and cannot be taken away";
    tell(v, KERF_STORE_PARTS, name, how);
}

static void
verify_part(const struct verify *v, const char *name)
{
    char digits[KERF_SHA256_HEX];
    kerf_file file = {.size = 0};
    const char *more;
    int fd;

    if (!kerf_store_is_hex(name, &more) || *more != '\0') {
        tell(v, KERF_STORE_PARTS, name, "not of Kerf");
        return;
    }
    fd = kerf_store_open_file(v->store, KERF_STORE_PARTS, name, &file.size);
    if (fd < 0) {
        bool cleared = errno == ENOENT || errno == ELOOP;

        cleared =
            cleared && kerf_store_clear(v->store, KERF_STORE_PARTS, name) == 0;
        tell(v, KERF_STORE_PARTS, name,
             cleared ? "not a file: put aside" : "cannot be read");
        return;
    }
    (void)snprintf(digits, sizeof digits, "%s", name);
    (void)kerf_unhex(file.sha256, sizeof file.sha256, digits);
    if (kerf_store_is(fd, &file))
        *v->checked += file.size;
    else if (is_same(v->store, fd, name))
        put_back(v, name);
    (void)close(fd);
}

static void
verify_parts(const kerf_manifest *m, const struct verify *v, const char *name)
{
    for (size_t i = 0; i < m->file_count; i++) {
        const kerf_file *f = &m->file[i];
        char part[KERF_STORE_NAME];

        kerf_store_part_name(part, f);
        if (kerf_role_is_shipped(f->role, false) &&
            kerf_store_size(v->store, KERF_STORE_PARTS, part) != f->size) {
            char why[KERF_PART_NAME + 32];

            (void)snprintf(why, sizeof why, "%s is missing", f->name);
            tell(v, KERF_STORE_BUNDLES, name, why);
        }
    }
}

static void
verify_bundle(const struct verify *v, const char *name)
{
    kerf_manifest m = {0};
    kerf_err err = kerf_store_manifest(v->store, KERF_STORE_BUNDLES, name, &m);

    if (err == KERF_OK)
        verify_parts(&m, v, name);
    else if (err == KERF_ENOMEM || err == KERF_EIO)
        tell(v, KERF_STORE_BUNDLES, name, "cannot be read");
    else if (kerf_store_clear(v->store, KERF_STORE_BUNDLES, name) == 0 &&
             (unlinkat(v->store->dir[KERF_STORE_BUNDLES], name, 0) == 0 ||
              errno == ENOENT))
        tell(v, KERF_STORE_BUNDLES, name,
             "not the manifest of its name: removed");
    else
        tell(v, KERF_STORE_BUNDLES, name,
             "not the manifest of its name, and cannot be taken away");
    kerf_manifest_fini(&m);
}

kerf_err
kerf_store_verify(kerf_store *store, kerf_store_finding found, void *ctx,
                  uint64_t *checked, kerf_detail *why)
{
    struct verify v = {
        .store = store, .tell = found, .ctx = ctx, .checked = checked};
    static const kerf_store_dir dirs[] = {KERF_STORE_PARTS, KERF_STORE_BUNDLES};

    *checked = 0;
    for (size_t d = 0; d < 2; d++) {
        kerf_names names = {0};
        kerf_err err =
            kerf_fs_list_at(store->dir[dirs[d]], KERF_STORE_FILES_MOST, &names);

        if (err != KERF_OK)
            return kerf_fail(why, err, "%s/%s: %s", store->path,
                             kerf_store_dir_name(dirs[d]), kerf_err_text(err));
        for (size_t i = 0; i < names.count; i++) {
            if (dirs[d] == KERF_STORE_PARTS)
                verify_part(&v, names.name[i]);
            else
                verify_bundle(&v, names.name[i]);
        }
        kerf_names_free(&names);
    }
    return KERF_OK;
}

kerf_err
kerf_store_collect(kerf_store *store, uint64_t bound, uint64_t *freed,
                   size_t *bundles, kerf_detail *why)
{
    kerf_freed all = {0};
    int lock = -1;
    kerf_err err = kerf_store_lock(&lock, store, why);

    if (err == KERF_OK) {
        kerf_store_sweep(store, &all);
        err = kerf_store_room(store, bound, 0, NULL, &all, why);
        kerf_store_unlock(lock);
    }
    *freed = all.bytes;
    *bundles = all.bundles;
    return err;
}

void
kerf_store_tidy(kerf_store *store, const uint8_t *but)
{
    char name[KERF_STORE_NAME];
    kerf_freed all = {0};
    int lock = -1;

    if (kerf_store_lock(&lock, store, NULL) != KERF_OK)
        return;
    if (but != NULL)
        kerf_store_bundle_name(name, but);
    kerf_store_sweep(store, &all);
    (void)!kerf_store_room(store, store->bound, 0, but == NULL ? NULL : name,
                           &all, NULL);
    kerf_store_unlock(lock);
}
