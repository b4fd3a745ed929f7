/*
 * What goes when there are too many bundles. Only a manifest is decided about;
 * parts are there as long as one that is left needs them. Whoever brings in a
 * bundle has put its manifest into partial/ before, under the same lock.
 */
#include "model/store_own.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "base/text.h"

static void
remove_file(const kerf_store *store, kerf_store_dir dir, const char *name,
            kerf_freed *freed)
{
    uint64_t size = kerf_store_size(store, dir, name);

    if (unlinkat(store->dir[dir], name, 0) != 0)
        return;
    freed->bytes += size;
    freed->files++;
}

/* Parts, and those that come in, unless somebody is at it. */
static void
sweep_dir(const kerf_store *store, kerf_store_dir dir,
          const kerf_survey *survey, kerf_freed *freed)
{
    kerf_names names = {0};

    if (kerf_fs_list_at(store->dir[dir], KERF_STORE_FILES_MOST, &names) !=
        KERF_OK)
        return;
    for (size_t i = 0; i < names.count; i++) {
        const char *name = names.name[i];
        const char *more;
        int fd;

        if (!kerf_store_is_hex(name, &more) ||
            strcmp(more, KERF_MANIFEST_END) == 0 ||
            kerf_survey_needs(survey, name, NULL))
            continue;
        fd = kerf_store_try(store, dir, name);
        if (fd < 0)
            continue;
        remove_file(store, dir, name, freed);
        (void)close(fd);
    }
    kerf_names_free(&names);
}

/* Links of ours whose part has gone. */
static void
sweep_links(const kerf_store *store)
{
    int root = store->dir[KERF_STORE_ROOT];
    kerf_names names = {0};

    if (kerf_fs_list_at(root, KERF_STORE_FILES_MOST, &names) != KERF_OK)
        return;
    for (size_t i = 0; i < names.count; i++) {
        char target[KERF_STORE_NAME] = "";
        const char *more;
        struct stat st;
        ssize_t n = readlinkat(root, names.name[i], target, sizeof target - 1);

        if (n <= 0 || strncmp(target, "parts/", 6) != 0 ||
            !kerf_store_is_hex(target + 6, &more) || *more != '\0')
            continue;
        if (fstatat(root, target, &st, AT_SYMLINK_NOFOLLOW) != 0 &&
            errno == ENOENT)
            (void)unlinkat(root, names.name[i], 0);
    }
    kerf_names_free(&names);
}

void
kerf_store_sweep(const kerf_store *store, kerf_freed *freed)
{
    kerf_survey survey = {0};

    if (kerf_survey_make(&survey, store) != KERF_OK ||
        survey.count == KERF_STORE_BUNDLES_MOST) {
        kerf_survey_free(&survey); /* not all are known: nothing may go */
        return;
    }
    sweep_dir(store, KERF_STORE_PARTS, &survey, freed);
    sweep_dir(store, KERF_STORE_PARTIAL, &survey, freed);
    sweep_links(store);
    kerf_survey_free(&survey);
}

uint64_t
kerf_store_bytes(const kerf_store *store)
{
    uint64_t bytes = 0;

    for (int d = KERF_STORE_PARTS; d < KERF_STORE_DIRS; d++) {
        kerf_names names = {0};

        if (kerf_fs_list_at(store->dir[d], KERF_STORE_FILES_MOST, &names) !=
            KERF_OK)
            continue;
        for (size_t i = 0; i < names.count; i++)
            bytes += kerf_store_size(store, (kerf_store_dir)d, names.name[i]);
        kerf_names_free(&names);
    }
    return bytes;
}

static bool
fits(const kerf_store *store, uint64_t bound, uint64_t need, bool *is_bound)
{
    struct statvfs disk;
    uint64_t used = kerf_store_bytes(store);

    *is_bound = bound > 0 && (need > bound || used > bound - need);
    if (*is_bound)
        return false;
    return fstatvfs(store->dir[KERF_STORE_ROOT], &disk) != 0 ||
           (uint64_t)disk.f_bavail * disk.f_frsize >= need;
}

/* Takes away one bundle that nobody holds, and what only it needs. */
static bool
evict(const kerf_store *store, const kerf_found *found, kerf_freed *freed)
{
    int fd = kerf_store_try(store, found->dir, found->name);

    if (fd < 0)
        return false;
    remove_file(store, found->dir, found->name, freed);
    (void)close(fd);
    freed->bundles++;
    kerf_store_sweep(store, freed);
    return true;
}

kerf_err
kerf_store_room(const kerf_store *store, uint64_t bound, uint64_t need,
                const char *but, kerf_freed *freed, kerf_detail *why)
{
    kerf_survey survey = {0};
    bool is_bound = false;
    char a[32], b[32], c[32];
    kerf_err err;

    if (fits(store, bound, need, &is_bound))
        return KERF_OK;
    kerf_store_sweep(store, freed);
    err = kerf_survey_make(&survey, store);
    if (err != KERF_OK)
        return kerf_fail(why, err, "%s: cannot be looked at: %s", store->path,
                         kerf_err_text(err));
    for (size_t i = 0; i < survey.count; i++) {
        if (fits(store, bound, need, &is_bound))
            break;
        if (but == NULL || strcmp(survey.found[i].name, but) != 0)
            (void)evict(store, &survey.found[i], freed);
    }
    kerf_survey_free(&survey);
    if (fits(store, bound, need, &is_bound))
        return KERF_OK;
    if (!is_bound) /* the disk's own answer decides, when it is written to */
        return KERF_OK;
    return kerf_fail(
        why, KERF_ENOSPC,
        "%s: no room within --store-max %s: %s are in use, %s more are "
        "needed: give it more",
        store->path, kerf_text_bytes(a, sizeof a, bound),
        kerf_text_bytes(b, sizeof b, kerf_store_bytes(store)),
        kerf_text_bytes(c, sizeof c, need));
}

void
kerf_store_bound(kerf_store *store, uint64_t bytes)
{
    store->bound = bytes;
}

/* Bytes that are to come. */
static uint64_t
count_missing(const kerf_store *store, const kerf_manifest *m, bool tail)
{
    uint64_t need = 0;

    for (size_t i = 0; i < m->file_count; i++) {
        const kerf_file *f = &m->file[i];
        char name[KERF_STORE_NAME];
        uint64_t has;

        if (!kerf_role_is_shipped(f->role, tail))
            continue;
        kerf_store_part_name(name, f);
        if (kerf_store_size(store, KERF_STORE_PARTS, name) == f->size)
            continue;
        has = kerf_store_size(store, KERF_STORE_PARTIAL, name);
        need += f->size > has ? f->size - has : 0;
    }
    return need;
}

/* Its manifest among those that come in, held. 0, or an errno. */
static int
write_coming(kerf_store *store, const kerf_manifest *m, const char *name)
{
    char *json = NULL;
    int code;

    if (kerf_manifest_format(m, &json) != KERF_OK)
        return ENOMEM;
    code = kerf_store_clear(store, KERF_STORE_PARTIAL, name);
    if (code == 0)
        code = kerf_store_write(store, KERF_STORE_PARTIAL, name, json,
                                strlen(json));
    free(json);
    if (code == 0) {
        (void)pthread_mutex_lock(&store->lock);
        (void)kerf_hold_take(&store->coming, store, KERF_STORE_PARTIAL, m->id);
        (void)pthread_mutex_unlock(&store->lock);
    }
    return code;
}

kerf_err
kerf_store_begin(kerf_store *store, const kerf_manifest *m, bool tail,
                 kerf_detail *why)
{
    char name[KERF_STORE_NAME];
    char what[KERF_NAME_MAX + 32];
    kerf_freed freed = {0};
    kerf_err err = KERF_OK;
    uint64_t need;
    bool is_there;
    int lock;
    int code = 0;

    (void)pthread_mutex_lock(&store->lock);
    is_there = kerf_hold_take(&store->coming, store, KERF_STORE_BUNDLES, m->id);
    (void)pthread_mutex_unlock(&store->lock);
    need = count_missing(store, m, tail);
    if (is_there && need == 0)
        return KERF_OK; /* as far as sizes tell */
    kerf_store_bundle_name(name, m->id);
    lock = kerf_store_lock(store);
    code = write_coming(store, m, name);
    if (code != 0) {
        (void)snprintf(what, sizeof what, "the manifest of %s", m->name);
        err = kerf_store_fail(store, what, code, why);
    }
    if (err == KERF_OK && need > 0)
        err = kerf_store_room(store, store->bound, need, name, &freed, why);
    kerf_store_unlock(lock);
    return err;
}
