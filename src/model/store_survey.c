#include "model/store_own.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "model/probe_json.h"
#include "model/units.h"

#define HEX_DIGITS ((size_t)KERF_SHA256_HEX - 1)

bool
kerf_store_is_hex(const char *name, const char **more)
{
    size_t n = strspn(name, "0123456789abcdef");

    *more = name + n;
    return n == HEX_DIGITS;
}

uint64_t
kerf_store_size(const kerf_store *store, kerf_store_dir dir, const char *name)
{
    struct stat st;

    if (fstatat(store->dir[dir], name, &st, AT_SYMLINK_NOFOLLOW) != 0 ||
        !S_ISREG(st.st_mode))
        return 0;
    return (uint64_t)st.st_size;
}

int64_t
kerf_store_used_ns(const kerf_store *store, kerf_store_dir dir,
                   const char *name)
{
    struct stat st;

    if (fstatat(store->dir[dir], name, &st, AT_SYMLINK_NOFOLLOW) != 0)
        return 0;
    return (int64_t)st.st_mtim.tv_sec * 1000000000 + st.st_mtim.tv_nsec;
}

/* Only what says which parts there are. */
static void
make_small(kerf_manifest *m)
{
    for (size_t i = 0; i < KERF_PARTS_MAX; i++)
        kerf_units_drop(&m->file[i]);
    kerf_probes_free(m->probe, m->probe_count);
    m->probe = NULL;
    m->probe_count = 0;
}

static kerf_err
add(kerf_survey *survey, const kerf_store *store, const kerf_used *used,
    kerf_store_dir dir, const char *name)
{
    kerf_found found = {.dir = dir,
                        .used_ns = kerf_store_used_ns(store, dir, name)};
    const kerf_used_one *one;
    kerf_err err;

    if (survey->count == KERF_STORE_BUNDLES_MOST)
        return KERF_ETOOBIG;
    if (survey->count == survey->room) {
        size_t room = survey->room > 0 ? 2 * survey->room : 16;
        kerf_found *grown = reallocarray(survey->found, room, sizeof *grown);

        if (grown == NULL)
            return KERF_ENOMEM;
        survey->found = grown;
        survey->room = room;
    }
    err = kerf_store_manifest(store, dir, name, &found.manifest);
    if (err != KERF_OK)
        return err == KERF_ENOMEM ? err : KERF_OK;
    make_small(&found.manifest);
    one = kerf_used_find(used, found.manifest.id);
    found.used = one == NULL ? 0 : one->count;
    (void)snprintf(found.name, sizeof found.name, "%s", name);
    survey->found[survey->count++] = found;
    return KERF_OK;
}

static int
by_use(const void *a, const void *b)
{
    const kerf_found *x = a, *y = b;

    if (x->used != y->used)
        return x->used < y->used ? -1 : 1;
    if (x->used_ns != y->used_ns)
        return x->used_ns < y->used_ns ? -1 : 1;
    return strcmp(x->name, y->name);
}

kerf_err
kerf_survey_make(kerf_survey *survey, const kerf_store *store)
{
    static const kerf_store_dir dirs[] = {KERF_STORE_BUNDLES,
                                          KERF_STORE_PARTIAL};
    kerf_used used;
    kerf_err err = kerf_used_read(&used, store);

    if (err != KERF_OK)
        return err;
    for (size_t d = 0; d < 2 && err == KERF_OK; d++) {
        kerf_names names = {0};

        err =
            kerf_fs_list_at(store->dir[dirs[d]], KERF_STORE_FILES_MOST, &names);
        for (size_t i = 0; err == KERF_OK && i < names.count; i++) {
            const char *more;

            if (kerf_store_is_hex(names.name[i], &more) &&
                strcmp(more, KERF_MANIFEST_END) == 0)
                err = add(survey, store, &used, dirs[d], names.name[i]);
        }
        kerf_names_free(&names);
    }
    kerf_used_free(&used);
    if (err == KERF_OK && survey->count > 1)
        qsort(survey->found, survey->count, sizeof *survey->found, by_use);
    if (err != KERF_OK)
        kerf_survey_free(survey);
    return err;
}

void
kerf_survey_free(kerf_survey *survey)
{
    for (size_t i = 0; i < survey->count; i++)
        kerf_manifest_fini(&survey->found[i].manifest);
    free(survey->found);
    *survey = (kerf_survey){.count = 0};
}

bool
kerf_survey_needs(const kerf_survey *survey, const char *hex,
                  const kerf_found *but)
{
    char digits[KERF_SHA256_HEX];
    uint8_t sum[KERF_SHA256_LEN];

    (void)snprintf(digits, sizeof digits, "%s", hex);
    if (!kerf_unhex(sum, sizeof sum, digits))
        return false;
    for (size_t i = 0; i < survey->count; i++) {
        const kerf_manifest *m = &survey->found[i].manifest;

        for (size_t k = 0; &survey->found[i] != but && k < m->file_count; k++) {
            if (memcmp(m->file[k].sha256, sum, sizeof sum) == 0)
                return true;
        }
    }
    return false;
}
