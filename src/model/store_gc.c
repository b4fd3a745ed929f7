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

/* Of a file that comes in twice (HEX.1 where another process had HEX), and that
 * nobody is at any more: one is enough, and none when it is there whole. */
static bool
is_stray(const kerf_store *store, const char *name, const char *more)
{
    char hex[KERF_STORE_NAME];

    (void)snprintf(hex, sizeof hex, "%.*s", (int)(more - name), name);
    if (kerf_store_size(store, KERF_STORE_PARTS, hex) > 0)
        return true;
    return *more != '\0' && renameat2(store->dir[KERF_STORE_PARTIAL], name,
                                      store->dir[KERF_STORE_PARTIAL], hex,
                                      RENAME_NOREPLACE) != 0;
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
        bool needed;
        int fd;

        if (!kerf_store_is_hex(name, &more) ||
            strcmp(more, KERF_MANIFEST_END) == 0)
            continue;
        needed = kerf_survey_needs(survey, name, NULL);
        if (needed && dir == KERF_STORE_PARTS)
            continue;
        fd = kerf_store_try(store, dir, name);
        if (fd < 0)
            continue;
        if (!needed || is_stray(store, name, more))
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

    if (kerf_survey_make(&survey, store) != KERF_OK)
        return; /* not all are known: nothing may go */
    sweep_dir(store, KERF_STORE_PARTS, &survey, freed);
    sweep_dir(store, KERF_STORE_PARTIAL, &survey, freed);
    sweep_links(store);
    if (survey.count == 0)
        remove_file(store, KERF_STORE_BUNDLES, KERF_STORE_USED, freed);
    kerf_survey_free(&survey);
}

kerf_err
kerf_store_measure(const kerf_store *store, uint64_t *bytes, kerf_detail *why)
{
    uint64_t sum = kerf_store_size(store, KERF_STORE_BUNDLES, KERF_STORE_USED);

    for (int d = KERF_STORE_PARTS; d < KERF_STORE_DIRS; d++) {
        kerf_names names = {0};
        kerf_err err =
            kerf_fs_list_at(store->dir[d], KERF_STORE_FILES_MOST, &names);

        if (err != KERF_OK) {
            const char *name = kerf_store_dir_name((kerf_store_dir)d);

            if (err == KERF_ETOOBIG) {
                return kerf_fail(why, err,
                                 "%s/%s: more than %d files, which are not all "
                                 "Kerf's: remove the folder",
                                 store->path, name, KERF_STORE_FILES_MOST);
            }
            return kerf_fail(why, err, "%s/%s: cannot be looked at: %s",
                             store->path, name, kerf_err_text(err));
        }
        for (size_t i = 0; i < names.count; i++)
            sum += kerf_store_size(store, (kerf_store_dir)d, names.name[i]);
        kerf_names_free(&names);
    }
    *bytes = sum;
    return KERF_OK;
}

/* Takes away one bundle that nobody holds; not what only it needs. */
static bool
evict(const kerf_store *store, kerf_store_dir dir, const char *name,
      const char *but, kerf_freed *freed)
{
    uint8_t id[KERF_BUNDLE_ID_LEN];
    size_t files = freed->files;

    if ((but != NULL && strcmp(name, but) == 0) ||
        !kerf_store_bundle_id(id, name) || kerf_store_is_held(store, id))
        return false;
    remove_file(store, dir, name, freed);
    freed->bundles += freed->files - files;
    return freed->files > files;
}

/* However small they are: no more bundles than that. */
static kerf_err
trim(const kerf_store *store, size_t most, const char *but, kerf_freed *freed)
{
    kerf_listed *list = NULL;
    size_t count = 0;
    size_t left;
    kerf_err err = kerf_survey_list(store, &list, &count);

    left = count;
    for (size_t i = 0; err == KERF_OK && i < count && left > most; i++)
        left -= evict(store, list[i].dir, list[i].name, but, freed);
    free(list);
    return err;
}

/* What stands in a manifest's place, and is none. */
static void
evict_damaged(const kerf_store *store, const char *but, kerf_freed *freed)
{
    kerf_listed *list = NULL;
    size_t count = 0;

    if (kerf_survey_list(store, &list, &count) != KERF_OK)
        return;
    for (size_t i = 0; i < count; i++) {
        kerf_manifest m = {0};
        kerf_err err =
            kerf_store_manifest(store, list[i].dir, list[i].name, &m);

        kerf_manifest_fini(&m);
        if (err != KERF_OK && err != KERF_ENOMEM && err != KERF_EIO)
            (void)evict(store, list[i].dir, list[i].name, but, freed);
    }
    free(list);
}

typedef struct room {
    uint64_t bound, need, used;
    bool is_bound; /* that, and not the disk, is what there is no room in */
} room;

static bool
fits(const kerf_store *store, room *r)
{
    struct statvfs disk;

    if (kerf_store_measure(store, &r->used, NULL) != KERF_OK)
        return false;
    r->is_bound =
        r->bound > 0 && (r->need > r->bound || r->used > r->bound - r->need);
    if (r->is_bound)
        return false;
    return fstatvfs(store->dir[KERF_STORE_ROOT], &disk) != 0 ||
           (uint64_t)disk.f_bavail * disk.f_frsize >= r->need;
}

kerf_err
kerf_store_room(const kerf_store *store, uint64_t bound, uint64_t need,
                const char *but, kerf_freed *freed, kerf_detail *why)
{
    kerf_survey survey = {0};
    room r = {.bound = bound, .need = need};
    char a[32], b[32], c[32];
    size_t before = freed->bundles;
    kerf_err err = kerf_store_measure(store, &r.used, why);

    if (err != KERF_OK)
        return err;
    err = trim(store, KERF_STORE_BUNDLES_KEPT - (need > 0), but, freed);
    if (freed->bundles != before)
        kerf_store_sweep(store, freed);
    if (err == KERF_OK && fits(store, &r))
        return KERF_OK;
    evict_damaged(store, but, freed);
    kerf_store_sweep(store, freed);
    if (err == KERF_OK)
        err = kerf_survey_make(&survey, store);
    if (err != KERF_OK)
        return kerf_fail(why, err, "%s: cannot be looked at: %s", store->path,
                         kerf_err_text(err));
    for (size_t i = 0; i < survey.count && !fits(store, &r); i++) {
        if (evict(store, survey.found[i].dir, survey.found[i].name, but, freed))
            kerf_store_sweep(store, freed);
    }
    kerf_survey_free(&survey);
    if (fits(store, &r))
        return KERF_OK;
    if (!r.is_bound) /* the disk's own answer decides, when it is written to */
        return KERF_OK;
    return kerf_fail(
        why, KERF_ENOSPC,
        "%s: no room within --store-max %s: %s are in use, %s more are "
        "needed: give it more",
        store->path, kerf_text_bytes(a, sizeof a, bound),
        kerf_text_bytes(b, sizeof b, r.used),
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

/* What is missing, held, among those that come in. */
static kerf_err
write_coming(kerf_store *store, const kerf_manifest *m, uint64_t need,
             kerf_detail *why)
{
    char name[KERF_STORE_NAME];
    char what[KERF_NAME_MAX + 32];
    char *json = NULL;
    kerf_freed freed = {0};
    kerf_err err = kerf_manifest_format(m, &json);
    int code;

    if (err != KERF_OK)
        return kerf_fail(why, err, "%s: cannot write its manifest: %s", m->name,
                         kerf_err_text(err));
    kerf_store_bundle_name(name, m->id);
    code = kerf_store_clear(store, KERF_STORE_PARTIAL, name);
    if (code == 0)
        code = kerf_store_write(store, KERF_STORE_PARTIAL, name, json,
                                strlen(json));
    if (code != 0) {
        (void)snprintf(what, sizeof what, "the manifest of %s", m->name);
        err = kerf_store_fail(store, what, code, why);
    }
    /* The manifest will stand twice, for a moment. */
    if (err == KERF_OK)
        err = kerf_store_room(store, store->bound, need + strlen(json), name,
                              &freed, why);
    free(json);
    return err;
}

kerf_err
kerf_store_begin(kerf_store *store, const kerf_manifest *m, bool tail,
                 kerf_detail *why)
{
    char name[KERF_STORE_NAME];
    uint64_t need;
    int lock = -1;
    kerf_err err = kerf_store_lock(&lock, store, why);

    if (err != KERF_OK)
        return err;
    kerf_hold_free(store->coming);
    store->coming = NULL;
    err = kerf_hold_take(&store->coming, store, m->id, why);
    need = count_missing(store, m, tail);
    kerf_store_bundle_name(name, m->id);
    /* As far as sizes tell. */
    if (err == KERF_OK &&
        (need > 0 || kerf_store_size(store, KERF_STORE_BUNDLES, name) == 0))
        err = write_coming(store, m, need, why);
    kerf_store_unlock(lock);
    return err;
}
