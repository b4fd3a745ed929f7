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

static int
by_use(const void *a, const void *b)
{
    const kerf_listed *x = a, *y = b;

    if (x->used != y->used)
        return x->used < y->used ? -1 : 1;
    if (x->used_ns != y->used_ns)
        return x->used_ns < y->used_ns ? -1 : 1;
    return strcmp(x->name, y->name);
}

static void
add_names(kerf_listed *list, size_t *count, const kerf_store *store,
          const kerf_used *used, kerf_store_dir dir, const kerf_names *names)
{
    for (size_t i = 0; i < names->count; i++) {
        kerf_listed *at = &list[*count];
        uint8_t id[KERF_BUNDLE_ID_LEN];
        const kerf_used_one *one;

        if (!kerf_store_bundle_id(id, names->name[i]))
            continue;
        one = kerf_used_find(used, id);
        *at = (kerf_listed){.dir = dir,
                            .used = one == NULL ? 0 : one->count,
                            .used_ns =
                                kerf_store_used_ns(store, dir, names->name[i])};
        (void)snprintf(at->name, sizeof at->name, "%s", names->name[i]);
        ++*count;
    }
}

kerf_err
kerf_survey_list(const kerf_store *store, kerf_listed **out, size_t *count)
{
    static const kerf_store_dir dirs[] = {KERF_STORE_BUNDLES,
                                          KERF_STORE_PARTIAL};
    kerf_listed *list = NULL;
    kerf_used used;
    kerf_err err = kerf_used_read(&used, store);

    *count = 0;
    if (err != KERF_OK)
        return err;
    for (size_t d = 0; d < 2 && err == KERF_OK; d++) {
        kerf_names names = {0};
        kerf_listed *grown;

        err =
            kerf_fs_list_at(store->dir[dirs[d]], KERF_STORE_FILES_MOST, &names);
        grown = reallocarray(list, *count + names.count + 1, sizeof *list);
        if (grown == NULL)
            err = KERF_ENOMEM;
        else
            list = grown;
        if (err == KERF_OK)
            add_names(list, count, store, &used, dirs[d], &names);
        kerf_names_free(&names);
    }
    kerf_used_free(&used);
    if (err != KERF_OK) {
        free(list);
        return err;
    }
    qsort(list, *count, sizeof *list, by_use);
    *out = list;
    return KERF_OK;
}

static kerf_err
add(kerf_survey *survey, const kerf_store *store, const kerf_listed *at)
{
    kerf_found found = {.dir = at->dir, .used_ns = at->used_ns};
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
    err = kerf_store_manifest(store, at->dir, at->name, &found.manifest);
    if (err != KERF_OK)
        return err == KERF_ENOMEM ? err : KERF_OK;
    make_small(&found.manifest);
    memcpy(found.name, at->name, sizeof found.name);
    survey->found[survey->count++] = found;
    return KERF_OK;
}

kerf_err
kerf_survey_make(kerf_survey *survey, const kerf_store *store)
{
    kerf_listed *list = NULL;
    size_t count = 0;
    kerf_err err = kerf_survey_list(store, &list, &count);

    for (size_t i = 0; err == KERF_OK && i < count; i++)
        err = add(survey, store, &list[i]);
    free(list);
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
